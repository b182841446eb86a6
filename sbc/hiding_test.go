package sbc_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

// sideOf is the side that a lab address stands on.
func outsideAddr(a netip.Addr) bool { return !a.Is4() || a.As4()[0] != 10 }

// spy looks at every datagram that the gate sends and finds what of the other side shows in it.
type spy struct {
	words   [2][]string // what marks a side, by outside?0:1
	ids     [2]map[string]bool
	seen    int
	sinners []string
}

func mark(outside bool) int {
	if outside {
		return 0
	}
	return 1
}

// note runs under the network's lock.
func (s *spy) note(d natlab.Datagram) {
	side := mark(outsideAddr(d.Src.Addr()))
	if d.Src.Addr() != gateOutside && d.Src.Addr() != gateInside {
		s.learn(side, d.Payload)
		return
	}
	s.seen++
	for _, w := range s.words[1-side] {
		if bytes.Contains(bytes.ToLower(d.Payload), []byte(strings.ToLower(w))) {
			s.sin(w, d)
		}
	}
	for id := range s.ids[1-side] {
		if !s.ids[side][id] && bytes.Contains(d.Payload, []byte(id)) {
			s.sin(id, d)
		}
	}
}

func (s *spy) sin(what string, d natlab.Datagram) {
	if len(s.sinners) < 5 {
		s.sinners = append(s.sinners, fmt.Sprintf("%q in what goes to %s:\n%s", what, d.Dst, d.Payload))
	}
}

// learn keeps the ids that a peer made: Call-ID, tags, branches.
func (s *spy) learn(side int, b []byte) {
	if s.ids[side] == nil {
		s.ids[side] = map[string]bool{}
	}
	for _, prefix := range []string{"\r\nCall-ID: ", ";tag=", ";branch="} {
		rest := string(b)
		for {
			_, after, found := strings.Cut(rest, prefix)
			if !found {
				break
			}
			id, _, _ := strings.Cut(after, "\r\n")
			id, _, _ = strings.Cut(id, ";")
			if len(id) > 6 {
				s.ids[side][id] = true
			}
			rest = after
		}
	}
	if len(s.ids[side]) > 4096 {
		clear(s.ids[side])
	}
}

// hostile is what a peer puts into all its messages to show itself through the gate. private goes into a private field,
// which may pass from a trunk to the PBX.
func hostile(address, product, private string) []message.Header {
	var list []message.Header
	for _, line := range []string{
		"Server: %p", "User-Agent: %p", "Organization: %p Corp", "X-Asterisk-HangupCause: Normal", "X-FS-Support: %x",
		"P-Asserted-Identity: <sip:boss@%a>", "P-Preferred-Identity: <sip:boss@%a>", "Remote-Party-ID: <sip:boss@%a>;party=calling",
		"Warning: 399 %a \"seen by %a\"", "Diversion: <sip:4711@%a>;reason=unconditional", "History-Info: <sip:4711@%a>;index=1",
		"Call-Info: <http://%a/photo.jpg>;purpose=icon", "Alert-Info: <http://%a/ring.wav>", "Error-Info: <sip:hint@%a>",
		"P-Charging-Vector: icid-value=\"1@%a\"", "P-Charging-Function-Addresses: ccf=%a", "P-Visited-Network-ID: %a",
		"In-Reply-To: 7@%a", "Reply-To: <sip:boss@%a>", "Via-Trace: %a", "Referred-By: <sip:boss@%a>",
		"Subject: session 1700000000.%a.5060", "Geolocation: <http://h/?u=sip%3Aboss%40%a>",
	} {
		list = append(list, field(strings.NewReplacer("%a", address, "%p", product, "%x", private).Replace(line)))
	}
	return list
}

func showy(addr netip.Addr, port int, product string) []byte {
	return fmt.Appendf(nil, "v=0\r\no=%s 1 1 IN IP4 %s\r\ns=%s\r\ni=%s\r\nu=http://%s/\r\ne=boss@%s\r\nc=IN IP4 %s\r\nt=0 0\r\na=tool:%s\r\n"+
		"m=audio %d RTP/AVP 0 8 101\r\nc=IN IP4 %s\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:8 x=%s\r\na=rtcp:%d IN IP4 %s\r\na=sendrecv\r\n",
		product, addr, product, product, addr, addr, addr, product, port, addr, addr, port+1, addr)
}

// TestNothingShows: whole calls between two peers that say all they know of themselves in every message.
func TestNothingShows(t *testing.T) {
	const inProduct, outProduct = "Asterisk-PBX-18.9", "Oracle-SBC-9.1"
	for _, way := range []string{"in", "out"} {
		for _, scene := range []string{"up", "busy", "cancelled", "redirected", "stopped"} {
			t.Run(scene+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newGate(t, labConfig, natlab.Options{Seed: 1})
					defer l.close()
					s := &spy{words: [2][]string{
						{"203.0.113.", outProduct}, {"10.0.0.", inProduct, "asterisk"},
					}}
					l.net.Observe(func(d natlab.Datagram) { l.ladder.note(d); s.note(d) })
					itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
					extra := map[*wire][]message.Header{
						itsp: hostile(providerAt.Addr().String(), outProduct, "x"), pbx: hostile(pbxAt.Addr().String(), inProduct, inProduct),
					}
					product := map[*wire]string{itsp: outProduct, pbx: inProduct}
					from, to, gate := itsp, pbx, trunkSocket
					if way == "out" {
						from, to, gate = pbx, itsp, pbxSocket
					}
					invite := withBody(from.request("INVITE", gate, "+4930123", extra[from]...), showy(from.at.Addr(), 4000, product[from]))
					invite.From.Display = `"Front Desk"` // people's text passes
					from.send(gate, invite)
					arrived := to.want("INVITE")
					early := append([]message.Header{}, extra[to]...)
					to.reply(arrived, 180, nil, early...)
					from.want("180 INVITE")
					to.reply(arrived, 183, showy(to.at.Addr(), 4002, product[to]), early...)
					from.want("183 INVITE")
					switch scene {
					case "busy":
						to.reply(arrived, 486, nil, append(early, field("Reason: Q.850;cause=17"))...)
						from.final(gate, invite)
						to.want("ACK")
					case "redirected":
						to.reply(arrived, 302, nil, append(early, field("Contact: <sip:4711@"+to.at.String()+">"))...)
						from.final(gate, invite)
						to.want("ACK")
					case "cancelled":
						cancel := *invite
						why := field(`Reason: SIP;cause=200;text="Call completed elsewhere, by ` + from.at.Addr().String() + `"`)
						cancel.Method, cancel.Body, cancel.Headers = "CANCEL", nil, append(append([]message.Header{}, extra[from]...), why)
						from.send(gate, &cancel)
						c := to.want("CANCEL")
						if got, _ := c.Get("Reason"); !strings.HasPrefix(got, `SIP;cause=200;text="Call completed elsewhere, by `) {
							t.Errorf("the CANCEL's Reason is %q", got)
						}
						to.reply(c, 200, nil, early...)
						to.reply(arrived, 487, nil, early...)
						from.final(gate, invite)
					default:
						l.talkLoud(from, to, gate, invite, arrived, extra, product, scene == "stopped")
					}
					time.Sleep(time.Minute)
					l.net.Observe(l.ladder.note)
					if s.seen < 6 {
						t.Errorf("the gate sent %d datagrams", s.seen)
					}
					for _, sin := range s.sinners {
						t.Error(sin)
					}
					if scene != "stopped" {
						l.empty()
					}
				})
			})
		}
	}
}

// talkLoud answers and goes through what can happen in a call.
func (l *lab) talkLoud(from, to *wire, gate netip.AddrPort, invite, arrived *message.Message, extra map[*wire][]message.Header,
	product map[*wire]string, stop bool,
) {
	l.t.Helper()
	to.reply(arrived, 200, showy(to.at.Addr(), 4002, product[to]), extra[to]...)
	final := from.want("200 INVITE")
	caller, callee := l.ends(from, to, gate, invite, arrived, final)
	from.send(gate, caller.within("ACK", 1, extra[from]...))
	to.want("ACK")
	for _, p := range [][2]*party{{caller, callee}, {callee, caller}} {
		by, other := p[0], p[1]
		m := withBody(by.within("INVITE", 0, extra[by.wire]...), bytes.ReplaceAll(showy(by.at.Addr(), 4000, product[by.wire]), []byte("sendrecv"), []byte("sendonly")))
		by.send(by.gate, m)
		other.reply(other.want("INVITE"), 200, showy(other.at.Addr(), 4002, product[other.wire]), extra[other.wire]...)
		by.want("200 INVITE")
		by.send(by.gate, by.within("ACK", m.CSeq, extra[by.wire]...))
		other.want("ACK")
		m = withBody(by.within("INVITE", 0, extra[by.wire]...), showy(by.at.Addr(), 4044, product[by.wire]))
		by.send(by.gate, m)
		other.reply(other.want("INVITE"), 488, nil, extra[other.wire]...)
		by.final(by.gate, m)
		for _, method := range []string{"INFO", "MESSAGE", "NOTIFY", "UPDATE", "OPTIONS"} {
			h := append([]message.Header{}, extra[by.wire]...)
			if method == "NOTIFY" {
				h = append(h, field("Event: check-sync"), field("Subscription-State: active"))
			}
			by.ask(method, h...)
			for m := other.next(time.Second); m != nil; m = other.next(time.Second) {
				if m.IsRequest() && m.Method == method {
					other.reply(m, 200, nil, extra[other.wire]...)
				}
			}
			by.want("200 " + method)
		}
	}
	if stop {
		l.stopGate()
		synctest.Wait()
		from.want("BYE")
		to.want("BYE")
		return
	}
	caller.ask("BYE", append(append([]message.Header{}, extra[from]...), field("Reason: Q.850;cause=16"))...)
	to.reply(to.want("BYE"), 200, nil, extra[to]...)
	from.want("200 BYE")
}

// TestOrdinaryTrafficMeetsNoLeakGuard: all endings between ordinary peers; what the guard repairs is none, and nothing
// shows.
func TestOrdinaryTrafficMeetsNoLeakGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, labConfig, natlab.Options{Seed: 5, Link: natlab.Link{Loss: 0.02, Delay: time.Millisecond, Jitter: 10 * time.Millisecond}})
		defer l.close()
		s := &spy{words: [2][]string{{"203.0.113.", "demo provider"}, {"10.0.0.", "FreeSWITCH", "demo pbx"}}}
		l.net.Observe(s.note)
		n := 0
		for _, e := range endings {
			for _, way := range []string{"in", "out"} {
				from, callee, to := l.provider, l.pbx, trunkSocket
				if way == "out" {
					from, callee, to = l.pbx, l.provider, pbxSocket
				}
				callee.Incoming = scriptOf(e.callee, sdpAt(callee.Addr.Addr(), 4002))
				l.other.Incoming = scriptOf(e.callee, sdpAt(otherPBXAt.Addr(), 4002))
				caller := e.caller
				caller.SDP = sdpAt(from.Addr.Addr(), 4000)
				caller.Hangup = max(caller.Hangup, time.Minute)
				l.call(from, to, "+4930123", caller)
				n++
			}
		}
		l.empty()
		if g := l.gate.Gauges(); g.Leaks != 0 || g.LeaksFatal != 0 || int(g.Total) < n {
			t.Errorf("%d calls, %d leaks repaired, %d refused", g.Total, g.Leaks, g.LeaksFatal)
		}
		for _, sin := range s.sinners {
			t.Error(sin)
		}
	})
}
