package media_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/nat"
)

// far is a back end whose engine and whose signalling may be lost, each by itself.
type far struct {
	layout media.Layout
	engine *media.Engine
	hears  media.Listener
	deaf   bool // commands are lost
	base   time.Time
	now    int64
}

func (f *far) Open(l media.Layout, hears media.Listener) (*media.Board, error) {
	if f.engine == nil {
		f.layout, f.base, f.now = l, time.Unix(1e9, 0), 1e9
		f.engine = media.NewEngine(l, f.base)
	}
	f.hears, f.deaf = hears, false
	return f.engine.Board(), nil
}

func (f *far) Post(c media.Command) {
	if !f.deaf {
		f.engine.Apply(f.now, &c)
	}
}

func (f *far) Close() error { return nil }

func (f *far) clock() time.Time { return f.base.Add(time.Duration(f.now)) }

// crash loses the engine, and another one takes its place.
func (f *far) crash(missing ...int) {
	f.engine = media.NewEngine(f.layout, f.base)
	for _, leg := range missing {
		f.engine.Board().SetMissing(leg)
	}
	f.deaf = false
	f.hears.Renewed(f.engine.Board())
}

// endOrphans does what the media process does with legs that are silent and that nobody owns.
func (f *far) endOrphans(owned map[uint32]bool) {
	for h := range f.engine.Board().Holdings() {
		if !owned[h.Generation] {
			f.engine.Apply(f.now, &media.Command{Leg: int32(h.Leg), Peer: int32(h.Peer), Generation: h.Generation, Free: true})
		}
	}
}

func farConfig(shared bool, workers int) media.Config {
	c := sceneConfig()
	c.Last, c.Workers = c.First+15, workers
	if shared {
		c.Addresses[1] = c.Addresses[0]
	}
	return c
}

// A call goes on in another engine with its figures and where the phone was found.
func TestAnotherEngineGoesOn(t *testing.T) {
	f := &far{}
	p, err := media.New(farConfig(false, 1), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	id, local, err := p.Reserve(f.clock())
	if err != nil {
		t.Fatal(err)
	}
	w := natted(media.Strict)
	for side, w := range [2]media.Want{w, insideWant()} {
		if err := p.Point(id, nat.Side(side), w); err != nil {
			t.Fatal(err)
		}
	}
	outside, _ := f.layout.Leg(local[nat.Outside])
	inside, _ := f.layout.Leg(local[nat.Inside])
	hear := func(n uint16, from netip.AddrPort, leg int) media.Verdict {
		f.now += int64(20 * time.Millisecond)
		return f.engine.Packet(f.now, leg, media.EndpointOf(from), rtp(0, n, 7))
	}
	f.now += int64(time.Second)
	for n := range uint16(10) {
		hear(n, mappedPort, outside)
	}
	before, _ := p.Stats(id)
	if !before[nat.Outside].Latched || before[nat.Outside].Remote != mappedPort {
		t.Fatalf("%+v", before[nat.Outside])
	}
	p.Sweep(f.clock())
	f.crash()
	if v := hear(1, pbx, inside); v.Why != media.Accepted || v.To.AddrPort() != mappedPort {
		t.Errorf("the phone is not found: %v %v", v.Why, v.To.AddrPort())
	}
	if v := hear(11, mappedPort, outside); v.Why != media.Accepted {
		t.Errorf("the phone is not heard: %v", v.Why)
	}
	if v := hear(12, third, outside); v.Why != media.RejectedSource {
		t.Errorf("a stranger is heard: %v", v.Why)
	}
	after, _ := p.Stats(id)
	if after[nat.Outside].Packets != before[nat.Outside].Packets+1 || after[nat.Outside].Sent != before[nat.Outside].Sent+1 ||
		after[nat.Outside].Rejected[media.RejectedSource] != before[nat.Outside].Rejected[media.RejectedSource]+1 {
		t.Errorf("figures %+v, before %+v", after[nat.Outside], before[nat.Outside])
	}
	if g := p.Gauges(); g.Renewals != 1 {
		t.Errorf("gauges %+v", g)
	}
	// What signalling no longer vouches for is not believed a second time.
	w.RTP, w.Fallback, w.Latch, w.Epoch = netip.MustParseAddrPort("198.51.100.9:4000"), netip.MustParseAddr("198.51.100.9"), media.Strict, 9
	if err := p.Point(id, nat.Outside, w); err != nil {
		t.Fatal(err)
	}
	f.crash()
	if v := hear(2, pbx, inside); v.To.AddrPort() != w.RTP {
		t.Errorf("sent to %v", v.To.AddrPort())
	}
}

// What was released while nobody could be told ends when somebody can.
func TestForgottenReleases(t *testing.T) {
	f := &far{}
	p, err := media.New(farConfig(false, 1), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := p.Reserve(f.clock())
	if err := p.Point(id, nat.Outside, natted(media.Off)); err != nil {
		t.Fatal(err)
	}
	f.deaf = true
	p.Release(f.clock(), id)
	f.deaf = false
	f.hears.Renewed(f.engine.Board())
	for h := range f.engine.Board().Holdings() {
		t.Errorf("%+v is still in use", h)
	}
}

// Ports that another program took while the engine was away leave the pool, and come back with the next engine.
func TestMissingPortsChange(t *testing.T) {
	f := &far{}
	p, err := media.New(farConfig(false, 1), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	if g := p.Gauges(); g.Free != 8 || g.Missing != 0 {
		t.Fatalf("gauges %+v", g)
	}
	f.crash(3)
	if g := p.Gauges(); g.Free != 7 || g.Missing != 1 || len(p.Missing()) != 1 || p.Missing()[0].Port() != 30003 {
		t.Fatalf("gauges %+v, missing %v", g, p.Missing())
	}
	f.crash()
	if g := p.Gauges(); g.Free != 8 || g.Missing != 0 {
		t.Fatalf("gauges %+v", g)
	}
}

// Whoever crashes, and in whatever order: no port is handed out twice, none of an orphan is handed out at all, and in the
// end all are back.
func TestNoPortIsHandedOutTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shared, workers := rapid.Bool().Draw(t, "shared"), rapid.IntRange(1, 3).Draw(t, "workers")
		f := &far{}
		open := func() *media.Plane {
			p, err := media.New(farConfig(shared, workers), f, rapid.Int64().Draw(t, "seed"))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		p := open()
		total := p.Gauges().Free
		live := map[media.ID][2]netip.AddrPort{}
		var order []media.ID
		used := func() map[netip.AddrPort]bool {
			u := map[netip.AddrPort]bool{}
			for _, local := range live {
				u[local[0]], u[local[1]] = true, true
			}
			for _, o := range p.Orphans() {
				u[o.Local[0]], u[o.Local[1]] = true, true
			}
			return u
		}
		owned := func() map[uint32]bool {
			o := map[uint32]bool{}
			for id := range live {
				o[uint32(id>>32)] = true
			}
			return o
		}
		drop := func(n int) media.ID {
			id := order[n]
			order = append(order[:n:n], order[n+1:]...)
			delete(live, id)
			return id
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				taken := used()
				id, local, err := p.Reserve(f.clock())
				if err != nil {
					if p.Gauges().Free != 0 {
						t.Fatalf("refused with %d left", p.Gauges().Free)
					}
					return
				}
				if _, again := live[id]; again || slices.ContainsFunc(p.Orphans(), func(o media.Orphan) bool { return o.ID == id }) || taken[local[0]] || taken[local[1]] || local[0] == local[1] {
					t.Fatalf("%v %v handed out twice", id, local)
				}
				live[id] = local
				order = append(order, id)
				for side, w := range [2]media.Want{natted(media.Off), insideWant()} {
					if rapid.IntRange(0, 3).Draw(t, "told") > 0 {
						if shared {
							w = natted(media.Off)
						}
						if err := p.Point(id, nat.Side(side), w); err != nil {
							t.Fatal(err)
						}
					}
				}
			},
			"release": func(t *rapid.T) {
				if len(order) > 0 {
					p.Release(f.clock(), drop(rapid.IntRange(0, len(order)-1).Draw(t, "which")))
				}
			},
			"release an orphan": func(t *rapid.T) {
				if list := p.Orphans(); len(list) > 0 {
					p.Release(f.clock(), list[0].ID)
				}
			},
			"media lost":      func(*rapid.T) { f.crash() },
			"deaf":            func(*rapid.T) { f.deaf = true },
			"heard again":     func(*rapid.T) { f.deaf = false; f.hears.Renewed(f.engine.Board()) },
			"orphans end":     func(*rapid.T) { f.endOrphans(owned()) },
			"sweep":           func(*rapid.T) { p.Sweep(f.clock()) },
			"time":            func(t *rapid.T) { f.now += rapid.Int64Range(1, 3e9).Draw(t, "passes") },
			"signalling lost": func(*rapid.T) { p, live, order = open(), map[media.ID][2]netip.AddrPort{}, nil },
			"": func(t *rapid.T) {
				g := p.Gauges()
				if g.Reserved != len(live) || g.Orphans != len(p.Orphans()) {
					t.Fatalf("gauges %+v, %d streams", g, len(live))
				}
				for id, local := range live {
					for _, at := range local {
						if owner, ours := p.Owner(at); !ours || owner != id {
							t.Fatalf("%v belongs to %v, not %v", at, owner, id)
						}
					}
				}
			},
		})
		f.deaf = false
		f.hears.Renewed(f.engine.Board())
		for len(order) > 0 {
			p.Release(f.clock(), drop(0))
		}
		f.endOrphans(nil)
		p.Sweep(f.clock())
		if g := p.Gauges(); g.Free != total || g.Orphans != 0 || g.Reserved != 0 {
			t.Fatalf("not all ports are back: %+v of %d", g, total)
		}
	})
}
