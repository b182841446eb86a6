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
		type sent struct{ local, dest netip.AddrPort }
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

// A deliver function that injects again stands for the kernel between two of our own ports.
func TestDeliverMayInject(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var b *sim.Backend
	var last netip.AddrPort
	b = sim.New(func() time.Time { return now }, func(local, dest netip.AddrPort, payload []byte) {
		last = dest
		b.Inject(dest, local, payload)
	})
	p, err := media.New(config, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	var ids [2]media.ID
	var local [2][2]netip.AddrPort
	for i := range ids {
		if ids[i], local[i], err = p.Reserve(now); err != nil {
			t.Fatal(err)
		}
	}
	phones := [2]netip.AddrPort{at("198.51.100.1:4000"), at("198.51.100.2:4000")}
	for i, id := range ids {
		outside := media.Want{RTP: phones[i], Send: true, Receive: true}
		inside := media.Want{RTP: local[1-i][nat.Inside], Send: true, Receive: true}
		if err := p.Point(id, nat.Outside, outside); err != nil {
			t.Fatal(err)
		}
		if err := p.Point(id, nat.Inside, inside); err != nil {
			t.Fatal(err)
		}
	}
	b.Inject(local[0][nat.Outside], phones[0], pcmu(1))
	if last != phones[1] {
		t.Fatalf("the joined call delivered to %v, want %v", last, phones[1])
	}
}
