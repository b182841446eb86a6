package sbc_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/api"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// bounded is the lab with a bound on the trunk, and with another trunk behind it.
func bounded(t *testing.T, capacity string) string {
	t.Helper()
	return rewritten(t, labConfig, "keepalive: { method: none }\n", "keepalive: { method: none }\n    capacity: "+capacity+"\n"+
		`  - { name: backup, peers: [ { address: "203.0.113.21:5060" } ], outbound: { match: ["^\\+?[0-9]{2,15}$"] }, keepalive: { method: none } }`+"\n")
}

// channels counts the calls that a peer has, by what passes on its wire: its own bookkeeping, not ours.
type channels struct {
	mu    sync.Mutex
	at    netip.AddrPort
	calls map[string]bool
	most  int
	all   int
	begun []time.Time
	stops int // answers that would stop the whole trunk
}

// seen is what has been counted so far.
func (x *channels) seen() (most, all, stops int, begun []time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.most, x.all, x.stops, slices.Clone(x.begun)
}

// channelsOf counts at two peers; a network has one observer.
func channelsOf(l *lab, one, two netip.AddrPort) (x, y *channels) {
	x, y = &channels{at: one, calls: map[string]bool{}}, &channels{at: two, calls: map[string]bool{}}
	l.net.Observe(func(d natlab.Datagram) {
		l.ladder.note(d)
		x.note(d)
		y.note(d)
	})
	return x, y
}

func (x *channels) note(d natlab.Datagram) {
	if bytes.Contains(d.Payload, []byte("\r\nRetry-After:")) {
		x.mu.Lock()
		x.stops++
		x.mu.Unlock()
	}
	if d.Src != x.at && d.Dst != x.at {
		return
	}
	start, rest, _ := bytes.Cut(d.Payload, []byte("\r\n"))
	field := func(name string) string {
		_, v, _ := bytes.Cut(rest, []byte("\r\n"+name+": "))
		v, _, _ = bytes.Cut(v, []byte("\r\n"))
		return string(v)
	}
	id := field("Call-ID")
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case bytes.HasPrefix(start, []byte("INVITE ")) && d.Dst == x.at && !strings.Contains(field("To"), ";tag="):
		if _, known := x.calls[id]; !known {
			x.all++
			x.begun = append(x.begun, time.Now())
			x.calls[id] = true
		}
	case bytes.HasPrefix(start, []byte("BYE ")), d.Src == x.at && start[8] >= '3' && bytes.HasPrefix(start, []byte("SIP/2.0 ")) && strings.HasSuffix(field("CSeq"), " INVITE"):
		x.calls[id] = x.calls[id] && false
	}
	now := 0
	for _, up := range x.calls {
		if up {
			now++
		}
	}
	x.most = max(x.most, now)
}

// TestCapacityHolds: of two hundred attempts a second thirty calls stand, not one more and not one less, whoever calls. The provider
// hears 486; the PBX's call takes the next trunk, or hears 503 without Retry-After where there is none.
func TestCapacityHolds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, way string
		config    func(t *testing.T) string
	}{
		{"provider", "in", func(t *testing.T) string { return bounded(t, "{ calls: 30 }") }},
		{"provider hears another code", "in", func(t *testing.T) string { return bounded(t, "{ calls: 30, code: 480 }") }},
		{"PBX, and another trunk", "out", func(t *testing.T) string { return bounded(t, "{ calls: 30 }") }},
		{"PBX, and no other trunk", "alone", func(t *testing.T) string {
			return rewritten(t, labConfig, "keepalive: { method: none }\n", "keepalive: { method: none }\n    capacity: { calls: 30 }\n")
		}},
		{"nodes", "nodes", func(t *testing.T) string {
			return strings.NewReplacer(`"10.0.0.10:5060" }`, `"10.0.0.10:5060", capacity: { calls: 20 } }`, `priority: 2 }`, `priority: 2, capacity: { calls: 10 } }`).Replace(labConfig)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, tt.config(t), natlab.Options{Seed: 3})
				defer l.close()
				backup := l.agent("backup", farAt, 13)
				answer := func(a *demo.Agent) {
					a.Incoming = scriptOf(demo.Script{Answer: 20 * time.Millisecond}, sdpAt(a.Addr.Addr(), 4002))
				}
				for _, a := range []*demo.Agent{l.pbx, l.other, l.provider, backup} {
					answer(a)
				}
				from, to, at, beyond := l.provider, trunkSocket, pbxAt, otherPBXAt
				if tt.way == "out" || tt.way == "alone" {
					from, to, at, beyond = l.pbx, pbxSocket, providerAt, farAt
				}
				full, rest := channelsOf(l, at, beyond)
				var mu sync.Mutex
				heard := map[string]int{}
				for i := range 1000 {
					s := demo.Script{SDP: sdpAt(from.Addr.Addr(), 4000), Hangup: 2 * time.Second}
					s.Done = func(r demo.Result) {
						mu.Lock()
						defer mu.Unlock()
						heard[fmt.Sprint(r.Code)]++
					}
					from.Do(func() { from.Call(fmt.Sprintf("+49%05d", i), to, s) })
					time.Sleep(5 * time.Millisecond)
				}
				stood, _, _, _ := full.seen()
				if tt.way == "in" {
					if r := l.call(backup, to, "+4930", demo.Script{SDP: sdpAt(farAt.Addr(), 4000), Hangup: time.Second}); r.Code != 200 {
						t.Errorf("the other trunk hears %d", r.Code)
					}
				}
				l.empty()
				_, all, stops, _ := full.seen()
				mostBeside, allBeside, _, _ := rest.seen()
				most, beside := 30, 0
				code := "486"
				switch tt.way {
				case "out":
					code, beside = "503", mostBeside
				case "alone":
					code = "503"
				case "nodes":
					most, beside = 20, 10
				}
				if strings.Contains(tt.name, "another code") {
					code = "480"
				}
				if stood != most || mostBeside != beside {
					t.Errorf("%d calls at a time, want %d; beside them %d, want %d", stood, most, mostBeside, beside)
				}
				refused := 1000 - all - allBeside
				if tt.way == "in" {
					refused++ // that of the other trunk
				}
				if heard[code] != refused || heard["200"] != 1000-refused || tt.way == "out" && (refused != 0 || allBeside < 500) {
					t.Errorf("heard %v; %d and %d calls", heard, all, allBeside)
				}
				l.refusals(code)
				if stops > 0 {
					t.Error("somebody is told to stop")
				}
			})
		})
	}
}

// refusals checks that who was refused for want of room is so in the records.
func (l *lab) refusals(code string) {
	l.t.Helper()
	for _, r := range l.cdrs.all() {
		if r.Code != 200 && (fmt.Sprint(r.Code) != code || r.Reason != "no-capacity") {
			l.t.Fatalf("record %+v", r)
		}
	}
}

// TestCallsPerSecondHold: in no second more calls begin than may, and none less.
func TestCallsPerSecondHold(t *testing.T) {
	for _, way := range []string{"in", "out"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, rewritten(t, labConfig, "keepalive: { method: none }\n", "keepalive: { method: none }\n    capacity: { calls_per_second: 10 }\n"), natlab.Options{Seed: 3})
				defer l.close()
				from, to, callee := l.provider, trunkSocket, l.pbx
				if way == "out" {
					from, to, callee = l.pbx, pbxSocket, l.provider
				}
				callee.Incoming = scriptOf(demo.Script{Answer: 10 * time.Millisecond}, sdpAt(callee.Addr.Addr(), 4002))
				at, _ := channelsOf(l, callee.Addr, strangerAt)
				var ended atomic.Int64
				for i := range 2000 {
					s := demo.Script{SDP: sdpAt(from.Addr.Addr(), 4000), Hangup: 100 * time.Millisecond, Done: func(demo.Result) { ended.Add(1) }}
					from.Do(func() { from.Call(fmt.Sprintf("+49%05d", i), to, s) })
					time.Sleep(5 * time.Millisecond)
				}
				l.empty()
				_, all, _, begun := at.seen()
				if all != 100 || ended.Load() != 2000 {
					t.Errorf("%d calls within ten seconds, want 100; %d ended", all, ended.Load())
				}
				for i := 10; i < len(begun); i++ {
					if d := begun[i].Sub(begun[i-10]); d < time.Second {
						t.Fatalf("eleven calls within %v", d)
					}
				}
			})
		})
	}
}

// TestPlacesComeBack: after ten thousand calls of all endings, over a network that loses and reorders, by a trunk whose first host is
// dead, some of them crashing, nobody holds a place.
func TestPlacesComeBack(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	synctest.Test(t, func(t *testing.T) {
		config := strings.NewReplacer(
			`peers: [ { address: "203.0.113.20:5060" } ]`, `peers: [ { address: "203.0.113.22:5060" }, { address: "203.0.113.20:5060", priority: 2 } ]`+"\n    capacity: { calls: 900, calls_per_second: 900 }",
			`"10.0.0.10:5060" }`, `"10.0.0.10:5060", capacity: { calls: 900 } }`).Replace(labConfig)
		cdrs := &fragile{}
		l := newGate(t, config, natlab.Options{Seed: 7, Link: natlab.Link{Loss: 0.05, Jitter: 30 * time.Millisecond, Delay: 10 * time.Millisecond, Reorder: true}},
			func(o *sbc.Options) { o.Records = cdrs })
		defer l.close()
		l.provider, l.pbx, l.other = l.agent("provider", providerAt, 10), l.agent("pbx", pbxAt, 11), l.agent("other", otherPBXAt, 12)
		l.net.Host(netip.MustParseAddr("203.0.113.22")).Down(true)
		for _, a := range []*demo.Agent{l.pbx, l.other, l.provider} {
			a.Incoming = func(m *message.Message) demo.Script {
				i, _ := strconv.Atoi(strings.TrimPrefix(m.URI.User, "+49"))
				s := endings[i%len(endings)].callee
				s.SDP = sdpAt(a.Addr.Addr(), 4002)
				if s.Hangup == 0 {
					s.Hangup = 20 * time.Second
				}
				if s.Answer < 0 {
					s.Answer, s.Refuse = 3*time.Minute, 480
				}
				return s
			}
		}
		var ended atomic.Int64
		most := 0
		for i := range n {
			s := endings[i%len(endings)].caller
			from, to := l.provider, trunkSocket
			if (i/len(endings))%2 == 1 {
				from, to = l.pbx, pbxSocket
			}
			s.SDP = sdpAt(from.Addr.Addr(), 4000)
			s.Done = func(demo.Result) { ended.Add(1) }
			from.Do(func() { from.Call(fmt.Sprintf("+49%04d", i), to, s) })
			time.Sleep(50 * time.Millisecond)
			if i%100 == 0 {
				most = max(most, l.trunks()[0].Calls)
				for _, g := range l.audit() {
					if g.Bad && g.Name != "internal errors" {
						t.Fatalf("amid calls: %+v", g)
					}
				}
			}
		}
		time.Sleep(5 * time.Minute)
		if most < 10 || ended.Load() != int64(n) || cdrs.broken.Load() < int64(n/200) {
			t.Errorf("%d calls at a time at most, %d of %d ended, %d crashed", most, ended.Load(), n, cdrs.broken.Load())
		}
		if x := l.trunks()[0]; x.Calls != 0 || x.High < most || x.Most != 900 {
			t.Errorf("%+v", x)
		}
		for _, g := range l.audit() {
			if g.Bad && g.Name != "internal errors" || g.Value != 0 && (g.Name == "calls" || g.Name == "places of calls") {
				t.Errorf("%+v", g)
			}
		}
	})
}

// fragile takes records, and fails on each hundredth call: the call is aborted.
type fragile struct{ broken atomic.Int64 }

func (f *fragile) Write(r tu.CDR) {
	if strings.HasSuffix(r.To, "77") {
		f.broken.Add(1)
		panic("this record cannot be written")
	}
}

func (l *lab) trunks() []api.Trunk {
	l.t.Helper()
	list, err := l.gate.Control(nil).Trunks(l.ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

func (l *lab) audit() []api.Gauge {
	l.t.Helper()
	s, err := l.gate.Control(nil).Status(l.ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	return s.Audit
}

// unplaced checks that nobody holds a place.
func (l *lab) unplaced() {
	l.t.Helper()
	for _, g := range l.audit() {
		if strings.Contains(g.Name, "place") && g.Value != 0 {
			l.t.Errorf("%s: %d", g.Name, g.Value)
		}
	}
}

// TestPhonesHaveBounds: of a phone, and of an address.
func TestPhonesHaveBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, rewritten(t, doorConfig, "unregistered: drop", "unregistered: drop, capacity: { calls: 1, per_source: 2 }"))
		defer d.close()
		for _, user := range []string{"204", "205", "206"} {
			d.enter(d.phone, user)
		}
		meets := func(user string) string {
			d.phone.send(phoneSocket, d.phone.speaks("INVITE", user))
			if m := d.pbx.next(10 * time.Millisecond); m != nil {
				d.pbx.reply(m, 180, nil) // and rings on
			}
			for {
				m := d.phone.next(time.Second)
				if m == nil || m.Status > 100 {
					return fmt.Sprint(m.Status)
				}
			}
		}
		if a, b, c, e := meets("204"), meets("204"), meets("205"), meets("206"); a != "180" || b != "486" || c != "180" || e != "503" {
			t.Errorf("met %s, %s, %s, %s", a, b, c, e)
		}
	})
}

// TestEmergencyCallsFindAPlace however full it is.
func TestEmergencyCallsFindAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := rewritten(t, labConfig, "keepalive: { method: none }\n", "keepalive: { method: none }\n    capacity: { calls: 1, calls_per_second: 1 }\nemergency: { numbers: [\"112\"] }\n")
		l := newLab(t, config, natlab.Options{Seed: 1})
		defer l.close()
		l.provider.Incoming = scriptOf(demo.Script{Answer: time.Millisecond}, sdpAt(providerAt.Addr(), 4002))
		var codes []int
		var mu sync.Mutex
		for _, number := range []string{"+4930", "+4931", "112", "112"} {
			s := demo.Script{SDP: sdpAt(pbxAt.Addr(), 4000), Hangup: time.Minute, Done: func(r demo.Result) {
				mu.Lock()
				defer mu.Unlock()
				codes = append(codes, r.Code)
			}}
			l.pbx.Do(func() { l.pbx.Call(number, pbxSocket, s) })
			time.Sleep(100 * time.Millisecond)
		}
		if x := l.trunks()[0]; x.Calls != 3 || x.High != 3 {
			t.Errorf("%+v", x)
		}
		l.empty()
		if fmt.Sprint(codes) != "[503 200 200 200]" {
			t.Error(codes)
		}
	})
}

// TestBoundsOfAReload: a lower one ends no call, a higher one lets calls in at once.
func TestBoundsOfAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := func(calls int) string {
			return rewritten(t, labConfig, "keepalive: { method: none }\n", fmt.Sprintf("keepalive: { method: none }\n    capacity: { calls: %d }\n", calls))
		}
		l := newLab(t, with(2), natlab.Options{Seed: 1})
		defer l.close()
		l.provider.Incoming = scriptOf(demo.Script{Answer: time.Millisecond}, sdpAt(providerAt.Addr(), 4002))
		var ok atomic.Int64
		place := func() {
			s := demo.Script{SDP: sdpAt(pbxAt.Addr(), 4000), Hangup: time.Minute, Done: func(r demo.Result) {
				if r.Code == 200 {
					ok.Add(1)
				}
			}}
			l.pbx.Do(func() { l.pbx.Call("+4930", pbxSocket, s) })
			time.Sleep(100 * time.Millisecond)
		}
		place()
		place()
		l.mustReload(with(1))
		place()
		if x := l.trunks()[0]; x.Calls != 2 || x.Most != 1 {
			t.Errorf("%+v", x)
		}
		l.mustReload(with(3))
		place()
		place()
		if x := l.trunks()[0]; x.Calls != 3 || x.Most != 3 {
			t.Errorf("%+v", x)
		}
		l.empty()
		if ok.Load() != 3 {
			t.Errorf("%d calls", ok.Load())
		}
	})
}
