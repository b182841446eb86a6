package sbc_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// strictest is the NAT that admits least.
var strictest = natlab.NATOptions{Mapping: natlab.AddressAndPortDependent, Filtering: natlab.AddressAndPortDependent}

// The ways in which two phones, or a phone and a provider, may stand to each other.
var households = []struct {
	name  string
	trunk string // "to", "from": the far end is the provider
	hosts func(l *audible) (a, b *natlab.Host)
}{
	{"one NAT", "", func(l *audible) (a, b *natlab.Host) {
		home := l.home(7, strictest)
		return home.Host(private), home.Host(private.Next())
	}},
	{"one NAT with hairpin", "", func(l *audible) (a, b *natlab.Host) {
		home := l.home(7, natlab.NATOptions{Hairpin: true, PreservePorts: true})
		return home.Host(private), home.Host(private.Next())
	}},
	{"two NATs, one private address", "", func(l *audible) (a, b *natlab.Host) {
		return l.home(7, strictest).Host(private), l.home(8, strictest).Host(private)
	}},
	{"two homes behind a carrier's NAT", "", func(l *audible) (a, b *natlab.Host) {
		carrier := l.home(9, strictest)
		one, two := carrier.NAT(netip.MustParseAddr("100.64.3.3"), strictest), carrier.NAT(netip.MustParseAddr("100.64.3.4"), strictest)
		return one.Host(private), two.Host(private)
	}},
	{"to a trunk", "to", func(l *audible) (a, b *natlab.Host) { return l.home(7, strictest).Host(private), nil }},
	{"from a trunk", "from", func(l *audible) (a, b *natlab.Host) { return l.home(7, strictest).Host(private), nil }},
}

// The kinds of PBX that a call may go through.
var exchanges = []struct {
	name    string
	wrap    func(*natlab.PacketConn, *demo.Registrar) demo.PacketConn
	prepare func(l *audible)
	hairpin bool
}{
	{"proxy", proxying(true), nil, true},
	{"proxy off the path", proxying(false), nil, true},
	{"B2BUA", nil, func(l *audible) { l.bridges() }, true},
	{"B2BUA with a relay", nil, func(l *audible) {
		host := l.net.Host(pbxAt.Addr())
		l.bridges(l.voice(host, 4100, pbxAt.Addr()), l.voice(host, 4102, pbxAt.Addr()))
	}, false},
}

// TestNATCallsCrossTheGateTwice: phone to phone, phone to trunk, trunk to phone, through every kind of PBX.
func TestNATCallsCrossTheGateTwice(t *testing.T) {
	t.Parallel()
	for _, x := range exchanges {
		for _, home := range households {
			for _, tr := range []nat.Transport{nat.UDP, nat.TCP} {
				t.Run(x.name+"/"+home.name+"/"+tr.String(), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						l := newAudible(t, roamingConfig, natlab.Options{Seed: 5}, x.wrap)
						defer l.close()
						if x.prepare != nil {
							x.prepare(l)
						}
						one, two := home.hosts(l)
						l.twice(one, two, tr, home.trunk, x.hairpin)
					})
				})
			}
		}
	}
}

func (l *audible) twice(one, two *natlab.Host, tr nat.Transport, trunk string, hairpin bool) {
	l.t.Helper()
	phone := l.handset(one, "204", 5060, tr, private).registers()
	phones := []*handset{phone}
	caller, callee := phone.end, (*end)(nil)
	if two != nil {
		other := l.handset(two, "205", 5064, nat.UDP, two.Addr()).registers()
		phones = append(phones, other)
		callee = other.end
	} else {
		callee = l.end(l.provider, l.voice(l.net.Host(providerAt.Addr()), 4000, providerAt.Addr())).answers()
	}
	for turn := range 2 { // each end hangs up once
		switch {
		case trunk == "from":
			callee.dials(trunkSocket, "204")
		case trunk == "to":
			phone.calls("+49301234")
		default:
			phone.calls("205")
		}
		a, b := caller.stands(), callee.stands()
		l.bothWays(caller.voice, callee.voice, 100, 2*latching)
		if turn == 0 {
			hangs(a, caller, callee)
		} else {
			hangs(b, callee, caller)
		}
	}
	for _, h := range phones {
		h.leaves()
	}
	l.settled()
	l.correlated(2, hairpin)
}

// correlated checks that each call left two records that belong together, if it was joined in the gate.
func (l *audible) correlated(calls int, hairpin bool) {
	l.t.Helper()
	records := l.cdrs.all()
	if len(records) != 2*calls {
		l.t.Fatalf("%d records of %d calls that crossed the gate twice: %+v", len(records), calls, records)
	}
	by := map[string]int{}
	for _, r := range records {
		by[r.Correlation]++
		if r.Code != 200 || (r.Correlation != "") != hairpin || len(r.Media) != 1 {
			l.t.Fatalf("record %+v", r)
		}
		if m := r.Media[0]; m.Outside.Packets < 70 || m.Inside.Packets < 70 {
			l.t.Errorf("media of a record: %+v", m)
		}
	}
	if hairpin && len(by) != calls {
		l.t.Errorf("%d calls have correlations %v", calls, by)
	}
}

// TestNATHairpinsEndAsTheyShould: cancelled, busy, and held calls from phone to phone by a proxy.
func TestNATHairpinsEndAsTheyShould(t *testing.T) {
	for _, record := range []bool{true, false} {
		t.Run(fmt.Sprint("on the path ", record), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newAudible(t, roamingConfig, natlab.Options{Seed: 6}, proxying(record))
				defer l.close()
				one := l.handset(l.home(7, strictest).Host(private), "204", 5060, nat.UDP, private).registers()
				two := l.handset(l.home(8, strictest).Host(private), "205", 5060, nat.TCP, private).registers()
				incoming := two.agent.Incoming
				plays := func(s demo.Script) {
					l.do(two.agent, func() { two.agent.Incoming = func(*message.Message) demo.Script { return two.script(s) } })
				}

				plays(demo.Script{Ring: 100 * time.Millisecond, Answer: -1})
				one.agent.Do(func() { one.agent.Call("205", phoneSocket, one.script(demo.Script{Cancel: 3 * time.Second})) })
				one.ended("refused") // by the 487
				two.ended("cancelled")

				plays(demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second, Refuse: 486})
				one.calls("205")
				one.ended("refused")
				two.ended("refused")

				l.do(two.agent, func() { two.agent.Incoming = incoming })
				held := make(chan int, 1)
				one.agent.Do(func() {
					one.agent.Call("205", phoneSocket, one.script(demo.Script{
						Reinvite: 4 * time.Second, Hold: hold(one.voice.sdp()), Reinvited: func(code int) { held <- code },
					}))
				})
				call := one.stands()
				two.stands()
				l.bothWays(one.voice, two.voice, 100, 2*latching)
				if code := <-held; code != 200 {
					t.Errorf("a hold is answered by %d", code)
				}
				one.voice.forget()
				speak(50, one.voice, two.voice)
				if n, _ := one.voice.of(two.voice); n != 0 {
					t.Errorf("a phone that holds the other hears %d of its packets", n)
				}
				one.agent.Do(func() { call.Reinvite(one.voice.sdp()) })
				if code := <-held; code != 200 {
					t.Errorf("a resume is answered by %d", code)
				}
				l.bothWays(one.voice, two.voice, 50, 0)
				hangs(call, one.end, two.end)
				one.leaves()
				two.leaves()
				l.settled()
				for i, r := range l.cdrs.all() {
					if want := []int{487, 487, 486, 486, 200, 200}[i]; r.Code != want || r.Reason != "" {
						t.Errorf("record %d: %+v", i, r)
					}
				}
				if n := len(l.cdrs.all()); n != 6 {
					t.Errorf("%d records of 3 calls that crossed the gate twice", n)
				}
			})
		})
	}
}
