package tu

import "sallyport/sbc/message"

// Preload gives a request outside of dialogs the peer's route set: "a UA … MAY choose to exercise a service route by preparing a Route
// header field", with the values of Service-Route in their order (RFC 3608 §5, §6.1). Where the request is sent is another matter:
// to the hop, which knows the way. Requests of a dialog have the route set of the dialog.
func (p *Peer) Preload(m *message.Message) {
	for _, r := range p.Routes {
		m.Add("Route", r)
	}
}
