package dtls

import (
	"net/netip"
	"time"

	"sallyport/media"
)

// Attachment is what a back end lends to the handshakes of its engine. Each function may be called from any goroutine, and
// must not wait.
type Attachment struct {
	// Send sends a record from a leg's port.
	Send func(leg int32, to netip.AddrPort, record []byte)
	// Agreed has the leg's thread call Engine.Agree, and tells signalling.
	Agreed func(media.Agreement)
	// Certificate is that of an earlier engine, so that what signalling has told of it stays true; into one that is empty or
	// cannot be used goes the one that is used. nil: one that nobody else has.
	Certificate *media.Certificate
}

// Attach gives an engine that does not run yet its handshakes. The table is to be closed before the sockets are.
func Attach(e *media.Engine, a Attachment) (*Table, error) {
	certificate, own, err := certificateOf(a.Certificate, time.Now())
	if err != nil {
		return nil, err
	}
	t := New(Options{
		Certificate: certificate, Send: a.Send,
		Done: func(k Keys) {
			a.Agreed(media.Agreement{Leg: k.Leg, Generation: k.Generation, From: media.EndpointOf(k.From), Peer: k.Peer, Crypto: k.Crypto})
		},
		Failed: func(leg int32, generation uint32, _ error) { e.Board().Estranged(int(leg), generation) },
	})
	e.SetKeying(t)
	e.Board().SetFingerprint(own)
	return t, nil
}
