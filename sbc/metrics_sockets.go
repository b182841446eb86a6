package sbc

import (
	"time"

	"sallyport/nat"
	"sallyport/sbc/metrics"
	"sallyport/sbc/transport"
)

// ofSockets are the listeners and their connections.
func (f figures) ofSockets(s *metrics.Scrape) {
	var panics uint64
	for _, c := range f.sockets.Counters() {
		panics += c.Panics
		socket(s, &c)
		if c.Interface.Transport.Reliable() {
			connections(s, &c.Streams, socketLabels(&c.Interface))
		}
	}
	s.Add(metrics.Panics, float64(panics), "reader")
}

// socketLabels name a listener.
func socketLabels(i *nat.Interface) []string {
	return []string{i.Side.String(), i.Realm.String(), i.Transport.String(), i.Bind.String()}
}

// with is labels and one more.
func with(labels []string, last string) []string {
	return append(labels[:len(labels):len(labels)], last)
}

func socket(s *metrics.Scrape, c *transport.Counters) {
	of := socketLabels(&c.Interface)
	for _, n := range []struct {
		outcome string
		count   uint64
	}{
		{"ignored", c.Ignored}, {"dropped", c.Dropped}, {"rejected", c.Rejected}, {"malformed", c.Malformed},
		{"delivered", c.Delivered}, {"overflow", c.Overflow}, {"busy", c.Busy}, {"failed", c.Panics},
	} {
		s.Add(metrics.SocketReceived, float64(n.count), with(of, n.outcome)...)
	}
	s.Add(metrics.SocketBytesIn, float64(c.ReceivedBytes), of...)
	s.Add(metrics.SocketSent, float64(c.Sent), of...)
	s.Add(metrics.SocketBytesOut, float64(c.SentBytes), of...)
	s.Add(metrics.SocketUnsent, float64(c.Lost), with(of, "buffer")...)
	s.Add(metrics.SocketUnsent, float64(c.Failed), with(of, "refused")...)
	s.Add(metrics.SocketDropped, float64(c.KernelDrops), of...)
	s.Add(metrics.SocketErrors, float64(c.Unreachable), with(of, "icmp")...)
	s.Add(metrics.SocketErrors, float64(c.ReadErrors), with(of, "read")...)
}

// connections are those of one listener.
func connections(s *metrics.Scrape, c *transport.StreamCounters, of []string) {
	for _, n := range []struct {
		event string
		count uint64
	}{{"accepted", c.Accepted}, {"refused", c.Refused}, {"dialled", c.Dialled}, {"dial-failed", c.DialFailures}} {
		s.Add(metrics.Connections, float64(n.count), with(of, n.event)...)
	}
	for _, n := range []struct {
		cause string
		count uint64
	}{
		{"peer", c.ClosedByPeer}, {"idle", c.ClosedIdle}, {"deadline", c.ClosedDeadline}, {"framing", c.ClosedFraming},
		{"slow", c.ClosedSlow}, {"crowded", c.ClosedCrowded}, {"overload", c.ClosedOverload}, {"asked", c.ClosedAsked},
		{"listener", c.ClosedHere},
	} {
		s.Add(metrics.ConnectionEnds, float64(n.count), with(of, n.cause)...)
	}
	s.Add(metrics.Handshakes, float64(c.HandshakeFailures), of...)
}

// certificateFigures say when certificates end.
func (f figures) certificateFigures(s *metrics.Scrape) {
	if ends := f.certificates.Load(); ends != nil {
		for name, at := range *ends {
			s.Time(metrics.CertificateEnd, at, name)
		}
	}
}

// certified notes when the certificates in force end: that of the listeners, nil: there is none, and those of trunks.
func (s *SBC) certified(t *transport.TLS) {
	ends := map[string]time.Time{}
	if t != nil {
		ends["outside"] = t.Ends()
	}
	for name, own := range s.read {
		if c := own.who.Certificate; c != nil && c.Leaf != nil {
			ends["trunk "+name] = c.Leaf.NotAfter
		}
	}
	s.certificates.Store(&ends)
}
