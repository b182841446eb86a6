package sim_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/media"
	"sallyport/media/sim"
	"sallyport/nat"
)

var config = media.Config{
	Addresses: [2]netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("10.0.0.2")},
	First:     30000, Last: 30019,
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// pcmu is a plain RTP packet.
func pcmu(seq byte) []byte {
	return append([]byte{0x80, 0, 0, seq, 0, 0, 0, seq, 1, 2, 3, 4}, make([]byte, 160)...)
}

func TestRelaysInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []sent
		b := sim.New(nil, func(local, dest netip.AddrPort, payload []byte) {
			if len(payload) != 172 {
				t.Errorf("payload of %d bytes", len(payload))
			}
			got = append(got, sent{local, dest})
		})
		p, err := media.New(config, b, 1)
		if err != nil {
			t.Fatal(err)
		}
		id, local, err := p.Reserve(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		out, in := at("198.51.100.1:4000"), at("10.0.0.10:5000")
		both := media.Want{Send: true, Receive: true, Final: true, Timeout: time.Minute}
		for side, peer := range []netip.AddrPort{out, in} {
			both.RTP = peer
			if err := p.Point(id, nat.Side(side), both); err != nil {
				t.Fatal(err)
			}
		}
		if why := b.Inject(local[nat.Outside], out, pcmu(1)); why != media.Accepted {
			t.Fatal(why)
		}
		if why := b.Inject(local[nat.Inside], in, pcmu(1)); why != media.Accepted {
			t.Fatal(why)
		}
		want := []sent{{local[nat.Inside], in}, {local[nat.Outside], out}}
		if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
			t.Fatalf("sent %v, want %v", got, want)
		}
		p.Sweep(time.Now())
		time.Sleep(time.Minute)
		if h := p.Sweep(time.Now()); len(h) != 1 || h[0] != (media.Hint{ID: id, Kind: media.Silent}) {
			t.Fatalf("hints %v after a minute of silence", h)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if why := b.Inject(local[nat.Outside], out, pcmu(2)); why != media.RejectedStray {
			t.Fatalf("after Close: %v", why)
		}
	})
}

func TestHeldPortsAreMissing(t *testing.T) {
	held := at("203.0.113.10:30001")
	b := sim.New(nil, nil, held, at("203.0.113.10:40000"))
	p, err := media.New(config, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	if m := p.Missing(); len(m) != 1 || m[0] != held {
		t.Fatalf("missing %v", m)
	}
	if g := p.Gauges(); g.Free != 9 || g.Missing != 1 {
		t.Fatalf("gauges %+v", g)
	}
	if why := b.Inject(held, at("198.51.100.1:4000"), pcmu(1)); why != media.RejectedStray {
		t.Fatal(why)
	}
	if _, err := media.New(config, b, 1); err == nil {
		t.Fatal("one back end served two planes")
	}
}

// pair is two calls of one moment, each with a phone outside.
type pair struct {
	backend *sim.Backend
	plane   *media.Plane
	ids     [2]media.ID
	local   [2][2]netip.AddrPort // by call, by side
	got     []sent
}

type sent struct{ local, dest netip.AddrPort }

var phones = [2]netip.AddrPort{at("198.51.100.1:4000"), at("198.51.100.2:4000")}

// joined makes them a hairpin: the PBX handed each call the other's inside port.
func joined(t *testing.T) *pair {
	t.Helper()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	p := &pair{}
	p.backend = sim.New(func() time.Time { return now }, func(local, dest netip.AddrPort, _ []byte) {
		p.got = append(p.got, sent{local, dest})
	})
	var err error
	if p.plane, err = media.New(config, p.backend, 1); err != nil {
		t.Fatal(err)
	}
	for i := range p.ids {
		if p.ids[i], p.local[i], err = p.plane.Reserve(now); err != nil {
			t.Fatal(err)
		}
	}
	for i := range p.ids {
		p.point(t, i, nat.Outside, phones[i])
		p.point(t, i, nat.Inside, p.local[1-i][nat.Inside])
	}
	return p
}

func (p *pair) point(t *testing.T, call int, side nat.Side, to netip.AddrPort) {
	t.Helper()
	if err := p.plane.Point(p.ids[call], side, media.Want{RTP: to, Send: true, Receive: true}); err != nil {
		t.Fatal(err)
	}
}

func above(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

// A hairpin goes through the engine as through the kernel's loopback, both ways, RTP and RTCP.
func TestHairpin(t *testing.T) {
	p := joined(t)
	report := []byte{0x80, 201, 0, 1, 1, 2, 3, 4}
	for call := range 2 {
		other := 1 - call
		for _, c := range []struct {
			at, from, leaves, to netip.AddrPort
			payload              []byte
		}{
			{p.local[call][nat.Outside], phones[call], p.local[other][nat.Outside], phones[other], pcmu(1)},
			{above(p.local[call][nat.Outside]), above(phones[call]), above(p.local[other][nat.Outside]), above(phones[other]), report},
		} {
			p.got = nil
			if why := p.backend.Inject(c.at, c.from, c.payload); why != media.Accepted {
				t.Fatal(why)
			}
			if len(p.got) != 1 || p.got[0] != (sent{c.leaves, c.to}) {
				t.Errorf("call %d: the glue saw %v, want %v", call, p.got, sent{c.leaves, c.to})
			}
		}
	}
	for i, id := range p.ids {
		legs, _ := p.plane.Stats(id)
		for side, l := range legs {
			if l.Packets != 1 || l.Control != 1 || l.Sent != 2 || l.RejectedTotal() != 0 {
				t.Errorf("call %d, %v: %+v", i, nat.Side(side), l)
			}
		}
	}
}

// The second call ends first: the first one's audio finds a free port, and nobody hears it.
func TestHalfAHairpin(t *testing.T) {
	p := joined(t)
	p.plane.Release(time.Now(), p.ids[1])
	if why := p.backend.Inject(p.local[0][nat.Outside], phones[0], pcmu(1)); why != media.Accepted {
		t.Fatal(why)
	}
	if len(p.got) != 0 || p.plane.Gauges().Strays != 1 {
		t.Errorf("the glue saw %v, %d strays", p.got, p.plane.Gauges().Strays)
	}
}

// A ring that no signalling would let through (a proxy PBX hands our port from call to call) ends
// by itself: a port that hears from another one than its own peer refuses it.
func TestRing(t *testing.T) {
	p := joined(t)
	third, local, err := p.plane.Reserve(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ring := func(id media.ID, to netip.AddrPort) {
		t.Helper()
		if err := p.plane.Point(id, nat.Inside, media.Want{RTP: to, Send: true, Receive: true}); err != nil {
			t.Fatal(err)
		}
	}
	ring(p.ids[0], p.local[1][nat.Inside])
	ring(p.ids[1], local[nat.Inside])
	ring(third, p.local[0][nat.Inside])
	if why := p.backend.Inject(p.local[0][nat.Outside], phones[0], pcmu(1)); why != media.Accepted {
		t.Fatal(why)
	}
	legs, _ := p.plane.Stats(p.ids[1])
	if len(p.got) != 0 || legs[nat.Inside].Rejected[media.RejectedOwn] != 1 {
		t.Errorf("the glue saw %v; %+v", p.got, legs[nat.Inside])
	}
}
