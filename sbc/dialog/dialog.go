// Package dialog is the peer-to-peer relationship of RFC 3261 §12: ids, sequence numbers, route set and remote target of
// one dialog, as one user agent sees it.
//
// It is pure and knows no method's meaning: it makes requests of a dialog, judges the sequence number of those that
// arrive, and keeps the target fresh. It sends nothing and knows neither call nor transaction.
//
// RFC 3261 §12, §13.2.2.4, §14; state names of RFC 4235 §3.7.1.
package dialog

import (
	"errors"
	"slices"
	"strings"

	"sallyport/sbc/message"
)

// State is a dialog's state (RFC 4235 §3.7.1, those that a dialog with both tags can have).
type State uint8

// The states.
const (
	Early State = iota
	Confirmed
	Terminated
)

// String is the state's name of RFC 4235.
func (s State) String() string { return [...]string{"early", "confirmed", "terminated"}[s] }

// Dialog is one dialog. Its fields are read freely and written by its methods.
type Dialog struct {
	State     State
	CallID    string
	Local     message.NameAddr // what we write in From, with our tag
	Remote    message.NameAddr // what we write in To, with the peer's tag
	LocalSeq  uint32           // number of the last request sent
	RemoteSeq uint32           // number of the last request received; 0: none yet
	Target    message.URI      // remote target, from the peer's Contact
	Routes    []message.NameAddr
}

// ErrNoContact means that a message which makes a dialog has no usable Contact (RFC 3261 §12.1.1 asks for exactly one).
var ErrNoContact = errors.New("dialog: no single SIP Contact; the peer cannot be reached in the dialog")

// ErrNoTag means that a response has no To tag, by which alone its dialog differs from others of the same request (RFC 3261
// §12.1.1 asks for one; RFC 2543 did not).
var ErrNoTag = errors.New("dialog: response without To tag; no request could be told to belong to it")

// ErrOutOfOrder means that a request's CSeq is not higher than the last one (RFC 3261 §12.2.2).
var ErrOutOfOrder = errors.New("dialog: CSeq is lower than that of an earlier request")

// UAS makes the dialog of the side that answers (RFC 3261 §12.1.1): req is the INVITE, tag our To tag.
func UAS(req *message.Message, tag string) (Dialog, error) {
	target, err := contact(req)
	if err != nil {
		return Dialog{}, err
	}
	// "The route set MUST be set to the list of URIs in the Record-Route header field from the request, taken in
	// order".
	routes, err := req.NameAddrs("Record-Route")
	if err != nil {
		return Dialog{}, err
	}
	local := req.To
	local.Tag = tag
	return Dialog{
		CallID: req.CallID, Local: local, Remote: req.From, RemoteSeq: req.CSeq, Target: target, Routes: routes,
	}, nil
}

// UAC makes the dialog of the side that asked (RFC 3261 §12.1.2): req is the INVITE as it was sent, resp the response
// with a To tag.
func UAC(req, resp *message.Message) (Dialog, error) {
	if resp.To.Tag == "" {
		return Dialog{}, ErrNoTag
	}
	target, err := contact(resp)
	if err != nil {
		return Dialog{}, err
	}
	routes, err := resp.NameAddrs("Record-Route")
	if err != nil {
		return Dialog{}, err
	}
	// "taken in order … reverse order" of the response.
	slices.Reverse(routes)
	remote := resp.To
	return Dialog{
		CallID: req.CallID, Local: req.From, Remote: remote, LocalSeq: req.CSeq, Target: target, Routes: routes,
	}, nil
}

func contact(m *message.Message) (message.URI, error) {
	list, star, err := m.Contacts()
	if err != nil || star || len(list) != 1 {
		return message.URI{}, ErrNoContact
	}
	u := list[0].URI
	if u.Scheme != "sip" && u.Scheme != "sips" {
		return message.URI{}, ErrNoContact // RFC 3261 §8.1.1.8: a SIP or SIPS URI
	}
	return requestURI(u), nil
}

// requestURI takes off what may stand in Contact and Route and not in a Request-URI: header fields and the method
// parameter (RFC 3261 §19.1.1, table 1).
func requestURI(u message.URI) message.URI {
	u.Headers = ""
	if _, found := u.Param("method"); !found {
		return u
	}
	kept := ""
	for p := range strings.SplitSeq(strings.TrimPrefix(u.Params, ";"), ";") {
		if name, _, _ := strings.Cut(p, "="); !strings.EqualFold(name, "method") {
			kept += ";" + p
		}
	}
	u.Params = kept
	return u
}

// Confirm moves the dialog to confirmed and takes the route set and target of the 2xx, which may differ from those of
// a provisional response (RFC 3261 §13.2.2.4: "recomputed … using the procedure of 12.2.1.2").
func (d *Dialog) Confirm(resp *message.Message) {
	if routes, err := resp.NameAddrs("Record-Route"); err == nil {
		slices.Reverse(routes)
		d.Routes = routes
	}
	d.Refresh(resp)
	d.State = Confirmed
}

// Refresh takes a new remote target from the Contact of a target refresh request or its 2xx (RFC 3261 §12.2).
func (d *Dialog) Refresh(m *message.Message) {
	if target, err := contact(m); err == nil {
		d.Target = target
	}
}

// Accept judges the sequence number of a request of this dialog (RFC 3261 §12.2.2).
func (d *Dialog) Accept(m *message.Message) error {
	// "If the remote sequence number was not empty, but the sequence number of the request is lower than the remote
	// sequence number, the request is out of order and MUST be rejected with a 500". A gap is legal.
	if d.RemoteSeq != 0 && m.CSeq <= d.RemoteSeq {
		return ErrOutOfOrder
	}
	d.RemoteSeq = m.CSeq
	return nil
}

// Request makes a request of the dialog (RFC 3261 §12.2.1.1), without Via, Contact or body. ACK takes the number of
// its INVITE: give it as seq; 0 takes the next number.
func (d *Dialog) Request(method string, seq uint32) *message.Message {
	if seq == 0 {
		d.LocalSeq++
		seq = d.LocalSeq
	}
	m := &message.Message{
		Method: method, URI: d.Target, From: d.Local, To: d.Remote, CallID: d.CallID, CSeq: seq, MaxForwards: 70,
	}
	d.route(m)
	return m
}

// route writes the Route fields, and swaps the Request-URI for a strict router.
func (d *Dialog) route(m *message.Message) {
	if len(d.Routes) == 0 {
		return
	}
	first := d.Routes[0]
	if _, loose := first.URI.Param("lr"); loose {
		for _, r := range d.Routes {
			m.Add("Route", r.String())
		}
		return
	}
	// "If the first URI does not contain the lr parameter … the UAC MUST place the first URI from the route set into the
	// Request-URI … and then place the remote target URI into the Route header field as the last value."
	m.URI = requestURI(first.URI)
	for _, r := range d.Routes[1:] {
		m.Add("Route", r.String())
	}
	last := message.NameAddr{URI: d.Target}
	m.Add("Route", last.String())
}

// NextHop is the URI that a request of the dialog is sent to: the first route, else the remote target.
func (d *Dialog) NextHop() message.URI {
	if len(d.Routes) > 0 {
		return d.Routes[0].URI
	}
	return d.Target
}
