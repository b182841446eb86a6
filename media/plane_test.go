package media_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/media/sim"
	"sallyport/nat"
)

func TestConfigValidate(t *testing.T) {
	good := sceneConfig()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		change func(*media.Config)
		says   string
	}{
		"no address":       {func(c *media.Config) { c.Addresses[1] = netip.Addr{} }, "inside address"},
		"wildcard":         {func(c *media.Config) { c.Addresses[0] = netip.IPv6Unspecified() }, "outside address"},
		"multicast":        {func(c *media.Config) { c.Addresses[0] = netip.MustParseAddr("224.0.0.1") }, "outside address"},
		"backwards":        {func(c *media.Config) { c.First, c.Last = 31000, 30000 }, "is empty"},
		"one port":         {func(c *media.Config) { c.First, c.Last = 30000, 30000 }, "holds no call"},
		"odd pair":         {func(c *media.Config) { c.First, c.Last = 30001, 30002 }, "holds no call"},
		"one pair, shared": {func(c *media.Config) { c.Addresses[1], c.First, c.Last = c.Addresses[0], 30000, 30001 }, "holds no call"},
		"dscp":             {func(c *media.Config) { c.DSCP = 64 }, "dscp 64"},
		"buffer":           {func(c *media.Config) { c.ReceiveBuffer = -1 }, "buffer"},
	}
	for name, c := range cases {
		cfg := sceneConfig()
		c.change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
		if _, err := media.New(cfg, sim.New(nil, nil), 1); err == nil {
			t.Errorf("%s: New takes it", name)
		}
	}
}

func TestStreamsOfARange(t *testing.T) {
	cases := []struct {
		first, last uint16
		shared      bool
		streams     int
	}{
		{30000, 31000, false, 500}, // 31000 alone is no pair
		{30000, 31000, true, 250},
		{30001, 30006, false, 2},
		{30000, 30001, false, 1},
		{65534, 65535, false, 1},
	}
	for _, c := range cases {
		cfg := sceneConfig()
		cfg.First, cfg.Last = c.first, c.last
		if c.shared {
			cfg.Addresses[1] = cfg.Addresses[0]
		}
		p, err := media.New(cfg, sim.New(nil, nil), 3)
		if err != nil {
			t.Fatal(err)
		}
		if p.Gauges().Free != c.streams {
			t.Errorf("%d-%d: %d free, want %d", c.first, c.last, p.Gauges().Free, c.streams)
		}
		now, seen := time.Unix(1e9, 0), map[netip.AddrPort]bool{}
		for range c.streams {
			_, local, err := p.Reserve(now)
			if err != nil {
				t.Fatal(err)
			}
			for side, at := range local {
				if seen[at] || at.Port()%2 != 0 || at.Port() < c.first || at.Port() >= c.last || at.Addr() != cfg.Addresses[side] {
					t.Errorf("%v side %d of %d-%d", at, side, c.first, c.last)
				}
				seen[at] = true
			}
		}
		if _, _, err := p.Reserve(now); !errors.Is(err, media.ErrNoPorts) {
			t.Errorf("one more than %d streams: %v", c.streams, err)
		}
		if g := p.Gauges(); g.Reserved != c.streams || g.HighWater != c.streams || g.Free != 0 {
			t.Errorf("gauges %+v", g)
		}
	}
}

// A failed Reserve takes nothing: on a shared pool of an odd number of pairs the last one stays free.
func TestReserveIsWhole(t *testing.T) {
	cfg := sceneConfig()
	cfg.Addresses[1], cfg.First, cfg.Last = cfg.Addresses[0], 30000, 30005
	p, err := media.New(cfg, sim.New(nil, nil), 3)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	id, _, err := p.Reserve(now)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := p.Reserve(now); !errors.Is(err, media.ErrNoPorts) {
			t.Fatal(err)
		}
	}
	p.Release(now, id)
	if _, _, err := p.Reserve(now); err != nil {
		t.Fatalf("after the release: %v", err)
	}
}

func TestGenerations(t *testing.T) {
	p, err := media.New(sceneConfig(), sim.New(nil, nil), 3)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	seen := map[media.ID]bool{0: true}
	for range 300 {
		now = now.Add(time.Second)
		id, _, err := p.Reserve(now)
		if err != nil || seen[id] {
			t.Fatalf("id %x: %v", id, err)
		}
		seen[id] = true
		p.Release(now, id)
		p.Release(now, id) // a release may be repeated
		if _, ok := p.Stats(id); ok {
			t.Fatal("stats of a released stream")
		}
		if err := p.Point(id, nat.Outside, public(media.Off)); !errors.Is(err, media.ErrGone) {
			t.Fatal(err)
		}
	}
	for _, id := range []media.ID{0, 1, 1 << 63, ^media.ID(0)} {
		p.Release(now, id)
		if err := p.Point(id, nat.Inside, insideWant()); !errors.Is(err, media.ErrGone) {
			t.Fatalf("id %x: %v", id, err)
		}
	}
	if g := p.Gauges(); g.Reserved != 0 || g.Free != 50 || g.HighWater != 1 || g.Resting == 0 {
		t.Fatalf("gauges %+v", g)
	}
}

// The old call's packets reach nobody once its ports are free, nor after another call has taken them.
func TestReleaseEndsTheRelay(t *testing.T) {
	s := newScene(t, public(media.Off))
	s.talk(phone, 1, 1, 3)
	s.plane.Release(s.now, s.id)
	if why := s.rtpFrom(phone, rtp(0, 4, 1)); why != media.RejectedStray {
		t.Fatal(why)
	}
	if g := s.plane.Gauges(); g.Strays != 1 || g.Resting != 2 {
		t.Fatalf("gauges %+v", g)
	}
	for {
		id, local, err := s.plane.Reserve(s.now)
		if err != nil {
			t.Fatal("the released pair never came back")
		}
		if local[nat.Outside] == s.local[nat.Outside] {
			s.id, s.local = id, local
			break
		}
	}
	if why := s.rtpFrom(phone, rtp(0, 4, 1)); why != media.RejectedStray {
		t.Fatalf("reserved but not pointed: %v", why)
	}
	s.point(nat.Outside, with(public(media.Off), func(w *media.Want) { w.RTP = third }))
	s.point(nat.Inside, insideWant())
	if why := s.rtpFrom(phone, rtp(0, 4, 1)); why != media.RejectedSource {
		t.Fatal(why)
	}
	if st := s.outside(); st.Packets != 0 || st.Rejected[media.RejectedSource] != 1 {
		t.Fatalf("the figures of the old call: %+v", st)
	}
}

func TestPointRefuses(t *testing.T) {
	s := newScene(t, public(media.Off))
	other, otherLocal, err := s.plane.Reserve(s.now)
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }
	up := func(ap netip.AddrPort, n uint16) netip.AddrPort { return netip.AddrPortFrom(ap.Addr(), ap.Port()+n) }
	free := at("10.0.0.2:30000")
	for free == s.local[nat.Inside] || free == otherLocal[nat.Inside] {
		free = up(free, 2)
	}
	cases := []struct {
		name string
		side nat.Side
		rtp  netip.AddrPort
		want error
	}{
		{"another call's inside port", nat.Inside, otherLocal[nat.Inside], nil},
		{"our address beyond the pool", nat.Inside, at("10.0.0.2:5080"), nil},
		{"hold", nat.Outside, at("0.0.0.0:4000"), nil},
		{"its own port", nat.Inside, s.local[nat.Inside], media.ErrLoop},
		{"its own other port", nat.Inside, s.local[nat.Outside], media.ErrLoop},
		{"another call's outside port", nat.Inside, otherLocal[nat.Outside], media.ErrForbidden},
		{"a free port of ours", nat.Inside, free, media.ErrForbidden},
		{"an RTCP port of ours", nat.Inside, up(otherLocal[nat.Inside], 1), media.ErrForbidden},
		{"our port from outside", nat.Outside, otherLocal[nat.Outside], media.ErrForbidden},
		{"our inside port from outside", nat.Outside, otherLocal[nat.Inside], media.ErrForbidden},
		{"multicast", nat.Outside, at("224.0.0.5:4000"), media.ErrForbidden},
		{"broadcast", nat.Outside, at("255.255.255.255:4000"), media.ErrForbidden},
		{"the other family", nat.Outside, at("[2001:db8::1]:4000"), media.ErrForbidden},
	}
	for _, c := range cases {
		w := with(insideWant(), func(w *media.Want) { w.RTP = c.rtp })
		if err := s.plane.Point(s.id, c.side, w); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	w := with(insideWant(), func(w *media.Want) { w.RTCP = s.local[nat.Inside] })
	if err := s.plane.Point(s.id, nat.Inside, w); !errors.Is(err, media.ErrLoop) {
		t.Errorf("RTCP to itself: %v", err)
	}
	w = with(insideWant(), func(w *media.Want) { w.Sources = make([]netip.Prefix, 17) })
	if err := s.plane.Point(s.id, nat.Inside, w); err == nil {
		t.Error("seventeen sources")
	}
	w.Sources = w.Sources[:1]
	if err := s.plane.Point(s.id, nat.Inside, w); err == nil {
		t.Error("a source that is no prefix")
	}
	// The other call ends: its port is no destination any more.
	s.plane.Release(s.now, other)
	w = with(insideWant(), func(w *media.Want) { w.RTP = otherLocal[nat.Inside] })
	if err := s.plane.Point(s.id, nat.Inside, w); !errors.Is(err, media.ErrForbidden) {
		t.Errorf("a released port: %v", err)
	}
}

// A proxy PBX hands the SDP of one call to the other: the two are joined through the kernel, RTP and RTCP, and neither a
// third call nor the one that gets the port later can be reached that way.
func TestHairpin(t *testing.T) {
	now := time.Unix(1e9, 0)
	var far []delivery
	var b *sim.Backend
	b = sim.New(func() time.Time { return now }, func(local, dest netip.AddrPort, payload []byte) {
		if dest.Addr() == sceneConfig().Addresses[nat.Inside] {
			b.Inject(dest, local, payload)
			return
		}
		far = append(far, delivery{local, dest, string(payload)})
	})
	p, err := media.New(sceneConfig(), b, 5)
	if err != nil {
		t.Fatal(err)
	}
	phones := [2]netip.AddrPort{phone, third}
	var ids [2]media.ID
	var local [2][2]netip.AddrPort
	for i := range ids {
		if ids[i], local[i], err = p.Reserve(now); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range ids {
		for side, to := range []netip.AddrPort{phones[i], local[1-i][nat.Inside]} {
			w := with(public(media.Off), func(w *media.Want) { w.RTP, w.Fallback = to, netip.Addr{} })
			if err := p.Point(id, nat.Side(side), w); err != nil {
				t.Fatal(err)
			}
		}
	}
	up := func(ap netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(ap.Addr(), ap.Port()+1) }
	for i := range ids {
		b.Inject(local[i][nat.Outside], phones[i], rtp(0, 1, 1))
		b.Inject(up(local[i][nat.Outside]), up(phones[i]), rtcp(1))
		if len(far) != 2 || far[0].dest != phones[1-i] || far[1].dest != up(phones[1-i]) {
			t.Fatalf("from phone %d: %v", i, far)
		}
		far = nil
	}
	p.Release(now, ids[1])
	reuse(t, p, now, local[1][nat.Inside])
	b.Inject(local[0][nat.Outside], phones[0], rtp(0, 2, 1))
	if len(far) != 0 || p.Gauges().Rejected[media.RejectedOwn] != 1 {
		t.Fatalf("the old call is heard in the new one: %v", far)
	}
}

// reuse reserves streams until one gets an inside port again.
func reuse(t *testing.T, p *media.Plane, now time.Time, port netip.AddrPort) {
	t.Helper()
	for {
		id, at, err := p.Reserve(now)
		if err != nil {
			t.Fatal("the released pair never came back")
		}
		outside := with(public(media.Off), func(w *media.Want) { w.RTP, w.Fallback = mappedPort, netip.Addr{} })
		for side, w := range []media.Want{outside, insideWant()} {
			if err := p.Point(id, nat.Side(side), w); err != nil {
				t.Fatal(err)
			}
		}
		if at[nat.Inside] == port {
			return
		}
	}
}

func TestClosedPlane(t *testing.T) {
	s := newScene(t, public(media.Off))
	for range 2 {
		if err := s.plane.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.plane.Reserve(s.now); !errors.Is(err, media.ErrClosed) {
		t.Error(err)
	}
	if err := s.plane.Point(s.id, nat.Outside, public(media.Off)); !errors.Is(err, media.ErrClosed) {
		t.Error(err)
	}
	if _, ok := s.plane.Stats(s.id); !ok {
		t.Error("the figures went with the sockets")
	}
	s.plane.Release(s.now, s.id)
	s.plane.Refill()
	if g := s.plane.Gauges(); g.Reserved != 0 {
		t.Errorf("gauges %+v", g)
	}
}
