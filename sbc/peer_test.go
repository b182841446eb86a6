package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

// TestWhereAnswersGo: source address always; source port where the peer asks for it or is symmetric, else Via's.
func TestWhereAnswersGo(t *testing.T) {
	for _, tt := range []struct {
		name      string
		symmetric bool
		via       message.Via
		port      uint16 // where the answer is to come, at the provider's address
	}{
		{"asymmetric", false, message.Via{Host: "203.0.113.20", Port: 5070, RPort: -1}, 5070},
		{"asymmetric, default port", false, message.Via{Host: "203.0.113.20", RPort: -1}, 5060},
		{"asymmetric, a name", false, message.Via{Host: "sbc.provider.example", Port: 5070, RPort: -1}, 5070},
		{"asymmetric, another host", false, message.Via{Host: "198.51.100.77", Port: 5070, RPort: -1}, 5070},
		{"rport", false, message.Via{Host: "203.0.113.20", Port: 5070}, 40000},
		{"rport, another host", false, message.Via{Host: "198.51.100.77", Port: 5070}, 40000},
		{"symmetric", true, message.Via{Host: "203.0.113.20", Port: 5070, RPort: -1}, 40000},
		{"symmetric, rport", true, message.Via{Host: "203.0.113.20", Port: 5070}, 40000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				yaml := labConfig
				if tt.symmetric {
					yaml = rewritten(t, labConfig, "keepalive: { method: none }", "symmetric: true\n    keepalive: { method: none }")
				}
				l := newGate(t, yaml, natlab.Options{Seed: 1})
				defer l.close()
				sender := l.wire(netip.AddrPortFrom(providerAt.Addr(), 40000))
				ports := map[uint16]*wire{40000: sender, 5070: nil, 5060: nil}
				for p, w := range ports {
					if w == nil {
						ports[p] = l.wire(netip.AddrPortFrom(providerAt.Addr(), p))
					}
				}
				elsewhere := l.wire(netip.MustParseAddrPort("198.51.100.77:5070"))
				pbx := l.wire(pbxAt)
				invite := withBody(sender.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000))
				tt.via.Transport, tt.via.Branch = "UDP", invite.Via[0].Branch
				invite.Via[0] = tt.via
				sender.send(trunkSocket, invite)
				arrived := pbx.want("INVITE")
				pbx.reply(arrived, 180, nil)
				pbx.reply(arrived, 486, nil)
				for p, w := range ports {
					var heard []string
					for m := w.next(time.Second); m != nil; m = w.next(time.Second) {
						heard = append(heard, kind(m))
						received := m.Via[0].Received == "203.0.113.20"
						if want := tt.via.RPort >= 0 || tt.via.Host != "203.0.113.20"; received != want || tt.via.RPort >= 0 && m.Via[0].RPort != 40000 {
							t.Errorf("Via of the answer: %+v", m.Via[0])
						}
					}
					if got := strings.Join(heard, ", "); p == tt.port && got != "100 INVITE, 180 INVITE, 486 INVITE" || p != tt.port && got != "" {
						t.Errorf("port %d hears %q", p, got)
					}
				}
				elsewhere.quiet(time.Second)
				l.empty()
			})
		})
	}
}

// TestWhereInDialogRequestsGo: to the Contact or the first route where that lies within what the trunk's file says, else
// to the peer of the set-up.
func TestWhereInDialogRequestsGo(t *testing.T) {
	yaml := rewritten(t, labConfig, "keepalive: { method: none }", "sources: [ 203.0.113.16/28 ]\n    keepalive: { method: none }")
	for _, tt := range []struct {
		name    string
		contact string
		route   string
		to      netip.AddrPort
	}{
		{"Contact within", "sip:x@203.0.113.21:5062", "", netip.MustParseAddrPort("203.0.113.21:5062")},
		{"Contact within, default port", "sip:x@203.0.113.21", "", netip.MustParseAddrPort("203.0.113.21:5060")},
		{"Contact elsewhere", "sip:x@198.51.100.9:5062", "", providerAt},
		{"Contact inside", "sip:x@10.0.0.10:5060", "", providerAt},
		{"Contact is ours", "sip:x@203.0.113.10:5080", "", providerAt},
		{"Contact is a name", "sip:x@gw.provider.example", "", providerAt},
		{"Contact invalid", "sip:x@anonymous.invalid", "", providerAt},
		{"route within", "sip:x@198.51.100.9", "<sip:203.0.113.22;lr>", netip.MustParseAddrPort("203.0.113.22:5060")},
		{"two routes", "sip:x@203.0.113.21", "<sip:203.0.113.22:5064;lr>, <sip:203.0.113.23;lr>", netip.MustParseAddrPort("203.0.113.22:5064")},
		{"route elsewhere", "sip:x@203.0.113.21", "<sip:198.51.100.9;lr>", providerAt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, yaml, natlab.Options{Seed: 1})
				defer l.close()
				itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
				target := itsp
				if tt.to != providerAt {
					target = l.wire(tt.to)
				}
				invite := itsp.request("INVITE", trunkSocket, "100")
				invite.Set("Contact", "<"+tt.contact+">")
				if tt.route != "" {
					invite.Add("Record-Route", tt.route)
				}
				itsp.send(trunkSocket, withBody(invite, sdpAt(providerAt.Addr(), 4000)))
				arrived := pbx.want("INVITE")
				if _, shown := arrived.Get("Record-Route"); shown {
					t.Errorf("the PBX sees the outside route:\n%s", arrived)
				}
				pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
				final := itsp.want("200 INVITE")
				if rr, _ := final.Get("Record-Route"); rr != tt.route {
					t.Errorf("Record-Route of the answer: %q", rr)
				}
				caller, callee := l.ends(itsp, pbx, trunkSocket, invite, arrived, final)
				itsp.send(trunkSocket, caller.within("ACK", 1))
				pbx.want("ACK")
				callee.ask("BYE")
				bye := target.want("BYE")
				if got := bye.URI.String(); got != tt.contact {
					t.Errorf("Request-URI %s", got)
				}
				if r, _ := bye.Get("Route"); strings.Split(r, ",")[0] != strings.Split(tt.route, ",")[0] {
					t.Errorf("Route %q, the provider recorded %q", r, tt.route)
				}
				target.reply(bye, 200, nil)
				pbx.want("200 BYE")
				l.empty()
			})
		})
	}
}

// TestForeignersChangeNothing: messages with the right ids from an address that has nothing to do with the call.
func TestForeignersChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		forge := func(from, to netip.AddrPort, m *message.Message) {
			t.Helper()
			if err := l.net.Inject(from, to, write(t, m)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		insideForeigner := netip.MustParseAddrPort("10.0.0.99:5060")

		// While it rings: a CANCEL, answers to our INVITE.
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		pbx.reply(arrived, 180, nil)
		itsp.want("180 INVITE")
		cancel := *invite
		cancel.Method, cancel.Body, cancel.Headers = "CANCEL", nil, nil
		forge(strangerAt, trunkSocket, &cancel)
		for _, code := range []int{200, 486, 183} {
			r := message.Reply(arrived, code, "")
			r.To.Tag = fmt.Sprint("forged", code)
			r.Add("Contact", "<sip:evil@10.0.0.99>")
			forge(insideForeigner, pbxSocket, withBody(r, sdpAt(insideForeigner.Addr(), 6666)))
			forge(strangerAt, trunkSocket, r)
		}
		pbx.quiet(time.Second)
		itsp.quiet(time.Second)

		// Once it is up: BYE, re-INVITE, UPDATE, INFO, ACK.
		pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
		caller, callee := l.ends(itsp, pbx, trunkSocket, invite, arrived, itsp.want("200 INVITE"))
		itsp.send(trunkSocket, caller.within("ACK", 1))
		pbx.want("ACK")
		for _, method := range []string{"BYE", "INVITE", "UPDATE", "INFO", "MESSAGE", "NOTIFY", "ACK", "PRACK"} {
			for _, p := range []struct {
				*party
				from netip.AddrPort
			}{{caller, strangerAt}, {callee, insideForeigner}} {
				d := p.dlg // its numbers do not advance
				m := d.Request(method, d.LocalSeq+7)
				m.Via = p.via()
				if method == "INVITE" || method == "UPDATE" {
					m.Add("Contact", "<sip:evil@"+p.from.String()+">")
					withBody(m, sdpAt(p.from.Addr(), 6666))
				}
				forge(p.from, p.gate, m)
			}
		}
		pbx.quiet(time.Second)
		itsp.quiet(time.Second)
		l.reinvite(caller, callee)
		l.reinvite(callee, caller)
		hangup(callee, caller)
		l.empty()
		if c := l.record(); c.Code != 200 || c.EndedBy != "callee" {
			t.Errorf("CDR %+v", c)
		}
	})
}
