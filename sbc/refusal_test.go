package sbc_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
)

// place sends an INVITE and returns its final answer, which is acknowledged.
func (w *wire) place(gate netip.AddrPort, number string, extra ...message.Header) *message.Message {
	w.l.t.Helper()
	invite := withBody(w.request("INVITE", gate, number, extra...), sdpAt(w.at.Addr(), 4000))
	w.send(gate, invite)
	return w.final(gate, invite)
}

// final reads the final answer to an INVITE and acknowledges it, if it refuses (RFC 3261 §17.1.1.3).
func (w *wire) final(gate netip.AddrPort, invite *message.Message) *message.Message {
	w.l.t.Helper()
	for {
		m := w.next(5 * time.Minute)
		if m == nil {
			w.l.t.Fatalf("%s hears no final answer", w.at)
		}
		if m.Method != "INVITE" || m.Status < 200 || m.CallID != invite.CallID {
			continue
		}
		if m.Status >= 300 {
			ack := *invite
			ack.Method, ack.To, ack.Body, ack.Headers = "ACK", m.To, nil, nil
			w.send(gate, &ack)
		}
		return m
	}
}

func retryAfter(m *message.Message) string {
	v, _ := m.Get("Retry-After")
	return v
}

func TestNoPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, labConfig, "30000-31000", "30000-30003"), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		a, b := l.connect(itsp, pbx, trunkSocket)
		l.connect(pbx, itsp, pbxSocket)
		for _, w := range []struct {
			*wire
			gate netip.AddrPort
		}{{itsp, trunkSocket}, {pbx, pbxSocket}} {
			if m := w.place(w.gate, "+4930123"); m.Status != 503 || retryAfter(m) == "" {
				t.Errorf("without ports: %s", m)
			}
		}
		for _, r := range l.cdrs.all() {
			if r.Code != 503 || r.Reason != reason.NoPorts || r.EndedBy != "sbc" || r.Attempts != 0 {
				t.Errorf("CDR %+v", r)
			}
		}
		hangup(a, b)
		l.cdrs.forget()
		a, b = l.connect(itsp, pbx, trunkSocket) // at once: rest gives way before a call is refused
		hangup(a, b)
		if c := l.record(); c.Code != 200 || c.Reason != "" {
			t.Errorf("CDR %+v", c)
		}
		pbx.quiet(time.Second, "INVITE")
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, labConfig, "policy:", "limits: { calls: 1, calls_per_second: 2 }\npolicy:"), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		a, b := l.connect(itsp, pbx, trunkSocket)
		if m := itsp.place(trunkSocket, "100"); m.Status != 503 || retryAfter(m) != "10" {
			t.Errorf("a call too many: %s", m)
		}
		hangup(a, b)
		time.Sleep(time.Second)
		var got []int
		for range 4 {
			invite := withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000))
			itsp.send(trunkSocket, invite)
			for m := pbx.next(time.Millisecond); m != nil; m = pbx.next(time.Millisecond) {
				if m.Method == "INVITE" {
					pbx.reply(m, 486, nil)
				}
			}
			m := itsp.final(trunkSocket, invite)
			if m.Status == 503 && retryAfter(m) != "1" {
				t.Errorf("too fast: %s", m)
			}
			got = append(got, m.Status)
		}
		if got[0] != 486 || got[1] != 486 || got[2] != 503 || got[3] != 503 {
			t.Errorf("two calls a second are allowed, four were placed: %v", got)
		}
		time.Sleep(time.Minute)
	})
}

// TestWithoutPBX: nobody inside answers, whatever the way of not answering.
func TestWithoutPBX(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(l *lab)
	}{
		{"nobody listens (ICMP)", func(*lab) {}},
		{"the hosts are gone", func(l *lab) {
			l.net.Host(pbxAt.Addr()).Hide(true)
			l.net.Host(otherPBXAt.Addr()).Hide(true)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, labConfig, natlab.Options{Seed: 1})
				defer l.close()
				tt.make(l)
				itsp := l.wire(providerAt)
				if m := itsp.place(trunkSocket, "100"); m.Status != 503 || retryAfter(m) == "" {
					t.Errorf("%s", m)
				}
				if c := l.record(); c.Reason != reason.NoPBX || c.Code != 503 || c.Attempts != 2 {
					t.Errorf("CDR %+v", c)
				}
				l.empty()
			})
		})
	}
}

// TestThePBXChallengesATrunkCall: the provider never sees the challenge, and `why` says what is wrong.
func TestThePBXChallengesATrunkCall(t *testing.T) {
	for code, name := range map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"} {
		synctest.Test(t, func(t *testing.T) {
			l := newGate(t, labConfig, natlab.Options{Seed: 1})
			defer l.close()
			itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
			invite := withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000))
			itsp.send(trunkSocket, invite)
			pbx.reply(pbx.want("INVITE"), code, nil, field(name+`: Digest realm="pbx.internal", nonce="a", algorithm=MD5`))
			pbx.want("ACK")
			m := itsp.final(trunkSocket, invite)
			if m.Status != 503 || strings.Contains(m.String(), "pbx.internal") || strings.Contains(m.String(), name) {
				t.Errorf("the provider hears\n%s", m)
			}
			for _, subject := range []string{providerAt.Addr().String(), pbxAt.Addr().String()} {
				if text := l.why(subject); strings.Contains(text, "challenge") {
					return
				}
			}
			t.Errorf("why %s says\n%s\nwhy %s says\n%s", providerAt.Addr(), l.why(providerAt.Addr().String()), pbxAt.Addr(), l.why(pbxAt.Addr().String()))
		})
	}
}

func (l *lab) why(subject string) string {
	l.t.Helper()
	w, err := l.gate.Control(nil).Why(l.ctx, subject)
	if err != nil {
		l.t.Fatal(err)
	}
	return w.Text
}

func TestNoRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		for _, number := range []string{"alice", "1", "+49301234567890123456", "00%4149"} {
			if m := pbx.place(pbxSocket, number); m.Status != 404 || retryAfter(m) != "" {
				t.Errorf("%s: %s", number, m)
			}
		}
		for _, c := range l.cdrs.all() {
			if c.Code != 404 || c.Reason != reason.NoRoute || c.Direction != "outbound" || c.EndedBy != "sbc" {
				t.Errorf("CDR %+v", c)
			}
		}
		itsp.quiet(time.Second)
	})
}

// TestMethodsNotForProviders: out-of-dialog requests that a provider has no business in. A MESSAGE crosses.
func TestMethodsNotForProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		for _, method := range []string{"SUBSCRIBE", "PUBLISH", "REGISTER", "FROBNICATE"} {
			itsp.send(trunkSocket, itsp.request(method, trunkSocket, "100"))
			m := itsp.want("405 " + method)
			if allow, _ := m.Get("Allow"); !strings.Contains(allow, "INVITE") || strings.Contains(allow, method) {
				t.Errorf("%s: Allow %q", method, allow)
			}
		}
		itsp.send(trunkSocket, itsp.request("REFER", trunkSocket, "100", field("Refer-To: <sip:200@example.com>"), field("Contact: "+itsp.contact())))
		itsp.want("603 REFER")
		itsp.send(trunkSocket, itsp.request("MESSAGE", trunkSocket, "100"))
		pbx.reply(pbx.want("MESSAGE"), 202, nil)
		itsp.want("202 MESSAGE")
		for _, method := range []string{"BYE", "INFO", "UPDATE"} { // of no dialog
			m := itsp.request(method, trunkSocket, "100")
			m.To.Tag = "nobody"
			itsp.send(trunkSocket, m)
			itsp.want("481 " + method)
		}
		pbx.quiet(time.Second)
	})
}

// TestUnknownSources: silence outside, 403 inside; nothing is passed on.
func TestUnknownSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		inside := l.wire(netip.MustParseAddrPort("10.0.0.99:5060"))
		for _, method := range []string{"INVITE", "OPTIONS", "MESSAGE", "REGISTER"} {
			inside.send(pbxSocket, inside.request(method, pbxSocket, "+4930123"))
			inside.want("403 " + method)
		}
		outside := l.wire(strangerAt)
		for _, method := range []string{"INVITE", "OPTIONS", "MESSAGE", "REGISTER"} {
			outside.send(trunkSocket, outside.request(method, trunkSocket, "100"))
		}
		outside.quiet(time.Minute)
		itsp.quiet(time.Second)
		pbx.quiet(time.Second)
		if text := l.why(strangerAt.Addr().String()); !strings.Contains(text, "unknown-trunk") && !strings.Contains(text, "stranger") {
			t.Errorf("why says\n%s", text)
		}
	})
}

// TestOptions: a peer that asks whether we live hears of what is behind us.
func TestOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, probing, natlab.Options{Seed: 1})
		defer l.close()
		asks := func(a netip.AddrPort, gate netip.AddrPort, want string) {
			t.Helper()
			w := l.wire(netip.AddrPortFrom(a.Addr(), 5999))
			defer w.conn.Close()
			w.send(gate, w.request("OPTIONS", gate, "ping"))
			m := w.want(want + " OPTIONS")
			if want == "503" && retryAfter(m) == "" {
				t.Errorf("%s", m)
			}
		}
		time.Sleep(time.Minute)
		asks(providerAt, trunkSocket, "200")
		asks(pbxAt, pbxSocket, "200")
		l.net.Impair(gateInside, pbxAt.Addr(), natlab.Link{Loss: 1})
		l.net.Impair(gateOutside, providerAt.Addr(), natlab.Link{})
		time.Sleep(time.Minute)
		asks(providerAt, trunkSocket, "200") // the second node lives
		l.net.Impair(gateInside, otherPBXAt.Addr(), natlab.Link{Loss: 1})
		time.Sleep(time.Minute)
		asks(providerAt, trunkSocket, "503")
	})
}

// TestExternalAddressOfATrunk: one trunk has an external address of its own, in everything it sees.
func TestExternalAddressOfATrunk(t *testing.T) {
	yaml := rewritten(t, labConfig, "keepalive: { method: none }", "external_address: 198.51.100.5\n    keepalive: { method: none }")
	for _, way := range []string{"in", "out"} {
		synctest.Test(t, func(t *testing.T) {
			l := newGate(t, yaml, natlab.Options{Seed: 1})
			defer l.close()
			var shown []string
			itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
			l.net.Observe(func(d natlab.Datagram) {
				if d.Dst == providerAt {
					shown = append(shown, string(d.Payload))
				}
			})
			from, to, gate := itsp, pbx, trunkSocket
			if way == "out" {
				from, to, gate = pbx, itsp, pbxSocket
			}
			a, b := l.connect(from, to, gate)
			l.reinvite(b, a)
			hangup(b, a)
			for _, m := range shown {
				if rest := strings.ReplaceAll(m, "To: <sip:+4930123@203.0.113.10:5080>", ""); way == "out" && strings.Contains(m, "203.0.113.10") ||
					strings.Contains(rest, "Contact: ") && !strings.Contains(rest, "@198.51.100.5:5080>") ||
					strings.Contains(rest, "c=IN") && !strings.Contains(rest, "c=IN IP4 198.51.100.5\r\n") {
					t.Errorf("%s: the trunk sees\n%s", way, m)
				}
			}
		})
	}
}

// TestACancelIsNeverLimited: a rule on the trunk leaves no room for it, and it has rung for longer than the guard
// remembers requests.
func TestACancelIsNeverLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, labConfig, "rate_limits: []",
			`rate_limits: [ { name: itsp, range: 203.0.113.20, realms: [trunks], limits: { INVITE: 9/second, "*": 1/hour }, burst: 1 } ]`),
			natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		pbx.reply(arrived, 180, nil)
		itsp.want("180 INVITE")
		time.Sleep(2 * time.Minute)
		for range 2 {
			itsp.send(trunkSocket, itsp.request("OPTIONS", trunkSocket, "x")) // the bucket is empty
		}
		itsp.want("200 OPTIONS")
		itsp.quiet(time.Second)
		cancel := *invite
		cancel.Method, cancel.Body, cancel.Headers = "CANCEL", nil, nil
		itsp.send(trunkSocket, &cancel)
		pbx.reply(pbx.want("CANCEL"), 200, nil)
		pbx.reply(arrived, 487, nil)
		itsp.final(trunkSocket, invite)
		l.empty()
		s, err := l.gate.Control(nil).Status(l.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range s.Limits {
			if limit.Name == "live dialogs and INVITEs" && limit.Level != 0 {
				t.Errorf("left in the live set: %+v", limit)
			}
		}
	})
}
