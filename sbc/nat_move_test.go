package sbc_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
)

// relatching is how many packets a phone may lose when its NAT gives it another port: the relay waits for 500 ms.
const relatching = 32

// reconnects gives a phone whose connection has ended another one, over which it registers at once.
func (h *handset) reconnects() {
	h.l.t.Helper()
	old := h.stream
	h.stream, h.browser = h.l.joins(h.host, h.transport)
	h.l.do(h.agent, func() { h.agent.Rebind(h.stream) })
	_ = old.Close()
	h.l.do(h.agent, h.bound.Now)
	time.Sleep(2 * time.Second)
}

// called sets a call up from the PBX to a phone, or from the phone to the PBX.
func (l *audible) called(pbx *end, h *handset, out bool) (atPhone, atPBX *demo.Call) {
	l.t.Helper()
	if out {
		h.calls("100")
	} else {
		pbx.rings(h.user)
	}
	atPBX, atPhone = pbx.stands(), h.stands()
	l.bothWays(pbx.voice, h.voice, 100, latching)
	return atPhone, atPBX
}

// TestNATMovesInMidCall: the box forgets, or gives other ports, while a phone speaks. Audio recovers, and so do requests
// of either end.
func TestNATMovesInMidCall(t *testing.T) {
	t.Parallel()
	for name, loses := range map[string]func(*natlab.NAT){"forgets": (*natlab.NAT).Forget, "rebinds": (*natlab.NAT).Rebind} {
		for _, o := range []natlab.NATOptions{{}, {PreservePorts: true}, strictest} {
			for _, out := range []bool{false, true} {
				for _, by := range []string{"a refresh", "a re-INVITE", "a BYE"} {
					direction := map[bool]string{false: "called", true: "calling"}[out]
					t.Run(name+"/"+o.String()+"/"+direction+"/"+by, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { moves(t, o, loses, out, by) })
					})
				}
			}
		}
	}
}

func moves(t *testing.T, o natlab.NATOptions, loses func(*natlab.NAT), out bool, by string) {
	l := newAudible(t, roamingConfig, natlab.Options{Seed: 8}, nil)
	defer l.close()
	home := l.home(7, o)
	h, pbx := l.handset(home.Host(private), "204", 5060, nat.UDP, private).registers(), l.pbxEnd()
	atPhone, atPBX := l.called(pbx, h, out)
	for range 2 { // it must work again
		loses(home)
		l.bothWays(pbx.voice, h.voice, 100, relatching)
		l.bothWays(pbx.voice, h.voice, 50, 0)
	}
	switch by {
	case "a BYE": // of the phone, from a port that nobody has seen
		hangs(atPhone, h.end, pbx)
	case "a re-INVITE":
		h.agent.Do(func() { atPhone.Reinvite(h.voice.sdp()) })
		l.bothWays(pbx.voice, h.voice, 50, relatching)
		hangs(atPBX, pbx, h.end)
	default:
		speak(46*50, pbx.voice, h.voice)
		hangs(atPBX, pbx, h.end)
	}
	h.leaves()
	l.settled()
	if r := l.record(); r.Code != 200 || r.Reason != "" || !r.Media[0].Outside.Latched {
		t.Errorf("record %+v", r)
	}
}

// TestNATMovesToAnotherAddress: the provider gives the household another address. The phone is reached as soon as it has
// registered from there, and its audio comes back.
func TestNATMovesToAnotherAddress(t *testing.T) {
	for _, tr := range []nat.Transport{nat.UDP, nat.TCP} {
		t.Run(tr.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newAudible(t, roamingConfig, natlab.Options{Seed: 8}, nil)
				defer l.close()
				home := l.home(7, strictest)
				h, pbx := l.handset(home.Host(private), "204", 5060, tr, private).registers(), l.pbxEnd()
				_, atPBX := l.called(pbx, h, false)
				home.Renumber(netip.MustParseAddr("198.51.100.77"))
				if tr == nat.UDP {
					speak(46*50, pbx.voice, h.voice) // until the refresh
				} else {
					h.reconnects()
					speak(6*50, pbx.voice, h.voice) // "after 5 s without a valid packet"
				}
				l.mustBe("204@example.com")
				l.bothWays(pbx.voice, h.voice, 100, 0)
				hangs(atPBX, pbx, h.end)
				h.leaves()
				l.settled()
			})
		})
	}
}

// TestNATLosesAStreamInMidCall: the call goes on, and once the phone is back its requests are the call's.
func TestNATLosesAStreamInMidCall(t *testing.T) {
	secure := certified(t, roamingConfig)
	for name, o := range map[string]natlab.NATOptions{"silently": strictest, "with resets": {ResetUnknown: true}} {
		for tr, yaml := range map[nat.Transport]string{nat.TCP: roamingConfig, nat.TLS: secure, nat.WSS: secure} {
			for _, by := range []string{"phone", "PBX"} {
				t.Run(name+"/"+tr.String()+"/"+by, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						l := newAudible(t, yaml, natlab.Options{Seed: 8}, nil)
						defer l.close()
						home := l.home(7, o)
						h, pbx := l.handset(home.Host(private), "204", 5060, tr, private).registers(), l.pbxEnd()
						atPhone, atPBX := l.called(pbx, h, by == "phone")
						home.Forget()
						l.bothWays(pbx.voice, h.voice, 100, relatching)
						h.reconnects()
						l.mustBe("204@example.com")
						l.bothWays(pbx.voice, h.voice, 50, 0)
						if by == "phone" {
							hangs(atPhone, h.end, pbx)
						} else {
							hangs(atPBX, pbx, h.end)
						}
						pbx.rings("204")
						pbx.stands()
						hangs(h.stands(), h.end, pbx)
						h.leaves()
						l.settled()
					})
				})
			}
		}
	}
}

// TestNATPhoneWithoutItsConnection: "A TCP/TLS/WSS phone whose connection is gone: 480 at once", and reachable again once it is
// back.
func TestNATPhoneWithoutItsConnection(t *testing.T) {
	secure := certified(t, roamingConfig)
	for tr, yaml := range map[nat.Transport]string{nat.TCP: roamingConfig, nat.TLS: secure, nat.WSS: secure} {
		for name, dies := range map[string]struct {
			how  func(*natlab.NAT, *handset)
			wait time.Duration // until the gate can know
		}{
			"closed":        {func(_ *natlab.NAT, h *handset) { _ = h.stream.Close() }, time.Millisecond},
			"switched off":  {func(_ *natlab.NAT, h *handset) { h.host.Restart() }, time.Minute},
			"lost":          {func(n *natlab.NAT, _ *handset) { n.Forget() }, 20 * time.Minute},
			"lost with RST": {func(n *natlab.NAT, _ *handset) { n.Forget() }, time.Minute},
		} {
			t.Run(tr.String()+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					patient := rewritten(t, yaml, "phones: { domains: [ voice.example.net ] }", "phones: { registration: { outside: 1h } }")
					l := newAudible(t, patient, natlab.Options{Seed: 8}, nil)
					defer l.close()
					home := l.home(7, natlab.NATOptions{Mapping: natlab.AddressAndPortDependent, ResetUnknown: name == "lost with RST"})
					h, pbx := l.handset(home.Host(private), "204", 5060, tr, private).registers(), l.pbxEnd()
					h.l.do(h.agent, h.bound.Stop)
					time.Sleep(time.Second)
					dies.how(home, h)
					time.Sleep(dies.wait)
					began := time.Now()
					pbx.rings("204")
					select {
					case r := <-pbx.done:
						if r.Code != 480 || time.Since(began) != 0 {
							t.Errorf("the PBX hears %d (%s) after %v, want 480 at once", r.Code, r.Why, time.Since(began))
						}
					case <-time.After(time.Minute):
						t.Fatal("the PBX hears nothing")
					}
					h.reconnects()
					pbx.rings("204")
					pbx.stands()
					hangs(h.stands(), h.end, pbx)
					h.leaves()
					l.settled()
				})
			})
		}
	}
}
