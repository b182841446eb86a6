//go:build linux

package load

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"sallyport/media"
	"sallyport/nat"
)

// Plan is a load: streams between endpoints at addresses of their own.
type Plan struct {
	Streams int
	Spare   int // further streams that the relay's range has room for
	// Relay are the bind addresses of the relay, by nat.Side; First is its first port. Stream n has the n'th pair of the
	// range on the Floor; another relay says itself which ports a stream has.
	Relay [2]netip.Addr
	First uint16
	// Peers are the endpoints of the first stream, by nat.Side. Each further stream has the next addresses, and the same
	// ports.
	Peers [2]netip.AddrPort
}

// Stream is where one stream's endpoints are, and which addresses the relay has for them, by nat.Side.
type Stream struct{ Peers, Relay [2]netip.AddrPort }

// Config is the narrowest relay that holds the plan, with one worker.
func (p Plan) Config() media.Config {
	return media.Config{Addresses: p.Relay, First: p.First, Last: p.First + uint16(2*(p.Streams+p.Spare)) - 1, DSCP: 46, Workers: 1}
}

// Part is the plan of some of the streams alone, from the one of a number on.
func (p Plan) Part(from, streams int) Plan {
	for side := range p.Peers {
		p.Peers[side] = p.peer(side, from)
	}
	p.Streams, p.First = min(streams, p.Streams-from), p.First+uint16(2*from)
	return p
}

// Fixed are the streams as the Floor has them.
func (p Plan) Fixed() []Stream {
	list := make([]Stream, p.Streams)
	for n := range list {
		for side := range p.Peers {
			list[n].Peers[side] = p.peer(side, n)
			list[n].Relay[side] = netip.AddrPortFrom(p.Relay[side], p.First+uint16(2*n))
		}
	}
	return list
}

// peer is the endpoint of stream n on a side.
func (p Plan) peer(side, n int) netip.AddrPort {
	a := p.Peers[side].Addr().As4()
	low := uint(a[2])<<8 + uint(a[3]) + uint(n) // a plan has fewer streams than a /16 has addresses
	a[2], a[3] = byte(low>>8), byte(low)
	return netip.AddrPortFrom(netip.AddrFrom4(a), p.Peers[side].Port())
}

// Point sets the streams up on a relay, as signalling does once a call is answered.
func (p Plan) Point(plane *media.Plane) (list []Stream, ids []media.ID, err error) {
	for n := range p.Streams {
		id, local, err := plane.Reserve(time.Now())
		if err != nil {
			return nil, nil, fmt.Errorf("media/load: stream %d of %d: %w", n+1, p.Streams, err)
		}
		s := Stream{Relay: local}
		for side := range p.Peers {
			s.Peers[side] = p.peer(side, n)
			if err := plane.Point(id, nat.Side(side), Answered(s.Peers[side])); err != nil {
				return nil, nil, fmt.Errorf("media/load: stream %d of %d: %w", n+1, p.Streams, err)
			}
		}
		list, ids = append(list, s), append(ids, id)
	}
	return list, ids, nil
}

// Answered is the wanted state of an answered call's leg whose peer sends G.711 from the address that it named, under the
// latching that the configuration has where nothing else is written.
func Answered(peer netip.AddrPort) media.Want {
	return media.Want{RTP: peer, Fallback: peer.Addr(), Latch: media.Strict, Payloads: [2]uint64{1}, Send: true, Receive: true, Final: true}
}

// String and ParsePlan carry a plan to another process.
func (p Plan) String() string {
	text, err := json.Marshal(p)
	if err != nil {
		return err.Error() // a plan has no values that this could happen to
	}
	return string(text)
}

// ParsePlan reads what String has written.
func ParsePlan(text string) (p Plan, err error) {
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return p, fmt.Errorf("media/load: plan %q: %w", text, err)
	}
	return p, p.check()
}

func (p Plan) check() error {
	switch {
	case p.Streams < 1 || p.Spare < 0 || int(p.First)+2*(p.Streams+p.Spare) > 1<<16:
		return fmt.Errorf("media/load: %d streams and room for %d do not fit above port %d", p.Streams, p.Spare, p.First)
	case !p.Relay[0].Is4() || !p.Relay[1].Is4() || !p.Peers[0].Addr().Is4() || !p.Peers[1].Addr().Is4():
		return fmt.Errorf("media/load: the plan needs IPv4 addresses of relay and peers: %v, %v", p.Relay, p.Peers)
	}
	return nil
}
