package media

import (
	"net/netip"
	"time"

	"sallyport/nat"
)

// Copy is the copy of a datagram of a tapped stream.
type Copy struct {
	ID     ID
	Side   nat.Side
	At     time.Time
	Local  netip.AddrPort // our bound address
	Remote netip.AddrPort
	Sent   bool      // to the peer; else by it, or by whoever sent to our port
	Form   Tap       // what Data is; both where SRTP makes no difference
	Why    Rejection // of one that came and was not relayed
	Data   []byte    // valid until the onlooker returns
}

// Onlooker takes copies, and hears how many more were lost on their way. It must not wait, nor ask the Plane.
type Onlooker func(list []Copy, lost int)

// tapping is what the Plane knows of taps.
type tapping struct {
	onlooker Onlooker
	streams  map[tappedLeg]tappedStream // both RTP legs of each stream that is or was tapped
}

type tappedLeg struct {
	leg        int32
	generation uint32
}

type tappedStream struct {
	id   ID
	side nat.Side
}

// SetOnlooker says who takes the copies of tapped streams.
func (p *Plane) SetOnlooker(o Onlooker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taps.onlooker = o
}

// Tap says in which forms the datagrams of a stream are copied, on both sides, from now on; 0: not at all. A stream that
// has been tapped is to be untapped once nobody cares any more, be it released or not: until then copies of its last
// packets may come. Tapping one that is not reserved is ErrGone.
func (p *Plane) Tap(id ID, forms Tap) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	forms &= tapForms
	s := p.find(id)
	if s == nil || p.closed {
		p.untap(id)
		if forms == 0 {
			return nil
		}
		return ErrGone
	}
	if forms == 0 {
		p.untap(id)
	}
	if s.tap == forms {
		return nil
	}
	s.tap = forms
	for side, pair := range s.pair {
		if forms != 0 {
			if p.taps.streams == nil {
				p.taps.streams = make(map[tappedLeg]tappedStream)
			}
			p.taps.streams[tappedLeg{int32(pair * 2), s.generation}] = tappedStream{id, nat.Side(side)}
		}
		if s.pointed[side] {
			p.backend.Post(p.commandOf(s, side))
		}
	}
	return nil
}

// untap forgets a stream.
func (p *Plane) untap(id ID) {
	for k, s := range p.taps.streams {
		if s.id == id {
			delete(p.taps.streams, k)
		}
	}
}

// commandOf is the wanted state of a stream's leg.
func (p *Plane) commandOf(s *stream, side int) Command {
	c := s.want[side].command(nat.Side(side), s.pair[side]*2, s.pair[1-side]*2, s.generation)
	s.withKeys(side, &c)
	c.tap = s.tap
	return c
}

// tapped takes copies from the back end.
func (p *Plane) tapped(list []Tapped, lost int) {
	p.mu.Lock()
	onlooker := p.taps.onlooker
	copies := make([]Copy, 0, len(list))
	for i := range list {
		t := &list[i]
		s, ok := p.taps.streams[tappedLeg{t.Leg &^ 1, t.Generation}]
		if !ok || int(t.Leg) >= p.layout.Legs() {
			continue
		}
		copies = append(copies, Copy{
			ID: s.id, Side: s.side, At: p.board.Base.Add(time.Duration(t.At)), Local: p.layout.From(int(t.Leg), t.Remote.AddrPort().Addr()),
			Remote: t.Remote.AddrPort(), Sent: t.Sent, Form: t.Form, Why: t.Why, Data: t.Data,
		})
	}
	p.mu.Unlock()
	if onlooker != nil && (len(copies) > 0 || lost > 0) {
		onlooker(copies, lost)
	}
}
