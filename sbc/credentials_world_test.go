package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	oracle "github.com/icholy/digest"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
)

// passwordConfig is the lab with an account at the provider, in the name of "itsp", and one at the PBX.
func passwordConfig(t *testing.T) string {
	return rewritten(t, rewritten(t, labConfig, "keepalive: { method: none }",
		"credentials: { username: gate, password: wonderland, realm: itsp }\n    keepalive: { method: none }"),
		"health: { interval: 0 }", "health: { interval: 0 }\n  credentials: { username: inside, password: looking-glass }")
}

// challenge answers a request with 401 or 407, and takes the ACK of it.
func (w *wire) challenge(m *message.Message, code int, realm, nonce string, extra ...string) {
	w.l.t.Helper()
	name := map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[code]
	w.reply(m, code, nil, field(name+`: Digest realm="`+realm+`", nonce="`+nonce+`", qop="auth", algorithm=SHA-256`+strings.Join(extra, "")))
	if m.Method == "INVITE" {
		w.want("ACK")
	}
}

// proven checks the credentials of a request for a realm and nonce, and returns them as they stand.
func (w *wire) proven(m *message.Message, user, password, realm, nonce string) string {
	w.l.t.Helper()
	for _, h := range m.Headers {
		if !strings.HasSuffix(h.Name, "uthorization") {
			continue
		}
		got, err := oracle.ParseCredentials(h.Value)
		if err != nil {
			w.l.t.Fatal(err)
		}
		want, err := oracle.Digest(&oracle.Challenge{Realm: realm, Nonce: nonce, QOP: []string{"auth"}, Algorithm: "SHA-256"}, oracle.Options{
			Method: m.Method, URI: m.URI.String(), Count: got.Nc, Username: user, Password: password, Cnonce: got.Cnonce,
		})
		if err != nil || *got != *want {
			w.l.t.Errorf("%s has %s", m.Method, h.Value)
		}
		return h.Value
	}
	w.l.t.Errorf("%s has no credentials:\n%s", m.Method, m)
	return ""
}

// innocent checks that a message shows nothing of somebody's challenge or account.
func (w *wire) innocent(m *message.Message) *message.Message {
	w.l.t.Helper()
	for _, word := range []string{"uthenticate", "uthorization", "Digest", "wonderland", "looking-glass", "username"} {
		if strings.Contains(m.String(), word) {
			w.l.t.Errorf("%s sees %q:\n%s", w.at, word, m)
		}
	}
	return m
}

// TestTrunkAsksForAPassword: a provider that challenges every request of a call is answered, and the PBX notices nothing.
func TestTrunkAsksForAPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, passwordConfig(t), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(pbx.request("INVITE", pbxSocket, "+4930123"), sdpAt(pbxAt.Addr(), 4000))
		pbx.send(pbxSocket, invite)
		first := itsp.innocent(itsp.want("INVITE"))
		itsp.challenge(first, 407, "itsp", "n1")
		again := itsp.want("INVITE")
		given := itsp.proven(again, "gate", "wonderland", "itsp", "n1")
		if again.CSeq != first.CSeq+1 || again.CallID != first.CallID || again.From.Tag != first.From.Tag || again.Via[0].Branch == first.Via[0].Branch {
			t.Errorf("the second INVITE is\n%s\nafter\n%s", again, first)
		}
		itsp.reply(again, 180, nil)
		itsp.reply(again, 200, sdpAt(providerAt.Addr(), 4002))
		ack := itsp.want("ACK")
		if got, _ := ack.Get("Proxy-Authorization"); got != given || ack.CSeq != again.CSeq {
			t.Errorf("the ACK has %q, the INVITE %q", got, given)
		}
		final := pbx.innocent(pbx.want("200 INVITE"))
		caller, callee := l.ends(pbx, itsp, pbxSocket, invite, again, final)
		pbx.send(pbxSocket, caller.within("ACK", invite.CSeq))

		reinvite := caller.within("INVITE", 0)
		pbx.send(pbxSocket, withBody(reinvite, sdpAt(pbxAt.Addr(), 4010)))
		m := itsp.want("INVITE")
		itsp.proven(m, "gate", "wonderland", "itsp", "n1") // unasked
		itsp.challenge(m, 401, "itsp", "n2")
		m = itsp.want("INVITE")
		itsp.proven(m, "gate", "wonderland", "itsp", "n1")
		itsp.reply(m, 200, sdpAt(providerAt.Addr(), 4002))
		itsp.want("ACK")
		pbx.innocent(pbx.want("200 INVITE"))
		pbx.send(pbxSocket, caller.within("ACK", reinvite.CSeq))

		for _, method := range []string{"INFO", "BYE"} {
			caller.ask(method)
			m = itsp.want(method)
			itsp.challenge(m, 407, "itsp", "n-"+method, ", stale=true")
			next := itsp.want(method)
			itsp.proven(next, "gate", "wonderland", "itsp", "n-"+method)
			if next.CSeq <= m.CSeq {
				t.Errorf("CSeq %d after %d", next.CSeq, m.CSeq)
			}
			itsp.reply(next, 200, nil)
			pbx.innocent(pbx.want("200 " + method))
		}
		l.empty()
		if r := l.record(); r.Code != 200 || r.Attempts != 1 {
			t.Errorf("CDR %+v", r)
		}
		_ = callee
	})
}

// TestNobodyElseGetsThePassword: who challenges in a foreign name gets none, nor another trunk in the right one, nor in a forged answer;
// the PBX hears a code of ours, and why says what is wrong.
func TestNobodyElseGetsThePassword(t *testing.T) {
	second := netip.MustParseAddrPort("203.0.113.21:5060")
	yaml := passwordConfig(t)
	yaml = rewritten(t, yaml, "policy:", `  - name: second
    peers: [ { address: "203.0.113.21:5060" } ]
    outbound: { match: ["00.*"] }
    keepalive: { method: none }
policy:`)
	for _, tt := range []struct {
		name, number, realm string
		at                  netip.AddrPort
		want                string
	}{
		{"a foreign realm", "+4930123", "evil", providerAt, `realm "evil"`},
		{"a realm that merely begins alike", "+4930123", "itsp.example", providerAt, `realm "itsp.example"`},
		{"a quote in it", "+4930123", `itsp\"`, providerAt, `got no password`},
		{"another trunk, the right realm", "0049", "itsp", second, "the trunk challenges our calls; set trunks[].credentials"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, yaml, natlab.Options{Seed: 1})
				defer l.close()
				trunk, pbx, stranger := l.wire(tt.at), l.wire(pbxAt), l.wire(strangerAt)
				number := tt.number
				if strings.HasPrefix(number, "00") {
					number = "004930123"
				}
				invite := withBody(pbx.request("INVITE", pbxSocket, number), sdpAt(pbxAt.Addr(), 4000))
				pbx.send(pbxSocket, invite)
				m := trunk.want("INVITE")
				trunk.challenge(m, 407, tt.realm, "n1")
				if got := pbx.innocent(pbx.want("503 INVITE")); retryAfter(got) != "" {
					t.Errorf("one trunk's password is no condition of the gate:\n%s", got)
				}
				trunk.quiet(time.Second, "INVITE")
				stranger.quiet(time.Second)
				if w := l.why(tt.at.Addr().String()); !strings.Contains(w, tt.want) {
					t.Errorf("want %q in\n%s", tt.want, w)
				}
				l.empty()
				if r := l.record(); r.Code != 503 || r.Reason != reason.NoRoute {
					t.Errorf("CDR %+v", r)
				}
			})
		})
	}
}

// TestForgedChallenge: a challenge with the right ids from elsewhere brings its sender nothing.
func TestForgedChallenge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, passwordConfig(t), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx, stranger := l.wire(providerAt), l.wire(pbxAt), l.wire(strangerAt)
		pbx.send(pbxSocket, withBody(pbx.request("INVITE", pbxSocket, "+4930123"), sdpAt(pbxAt.Addr(), 4000)))
		m := itsp.want("INVITE")
		stranger.reply(m, 407, nil, field(`Proxy-Authenticate: Digest realm="itsp", nonce="forged", qop="auth", algorithm=SHA-256`))
		stranger.quiet(time.Second)
		itsp.reply(m, 486, nil)
		pbx.innocent(pbx.want("486 INVITE"))
		l.empty()
	})
}

// TestWrongPassword: one answer a challenge, then the call fails with a code of ours.
func TestWrongPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, passwordConfig(t), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		pbx.send(pbxSocket, withBody(pbx.request("INVITE", pbxSocket, "+4930123"), sdpAt(pbxAt.Addr(), 4000)))
		itsp.challenge(itsp.want("INVITE"), 407, "itsp", "n1")
		m := itsp.want("INVITE")
		itsp.proven(m, "gate", "wonderland", "itsp", "n1")
		itsp.challenge(m, 407, "itsp", "n2")
		pbx.innocent(pbx.want("503 INVITE"))
		itsp.quiet(time.Second, "INVITE")
		if w := l.why(providerAt.Addr().String()); !strings.Contains(w, "refuses user name or password of trunks[].credentials") {
			t.Error(w)
		}
		l.empty()
	})
}

// TestPBXAsksForAPassword: pbx.credentials answers what the PBX asks of a trunk's call and MESSAGE, in the PBX's own name alone.
func TestPBXAsksForAPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, passwordConfig(t), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "100"), sdpAt(providerAt.Addr(), 4000))
		itsp.send(trunkSocket, invite)
		pbx.challenge(pbx.innocent(pbx.want("INVITE")), 401, "example.com", "p1")
		again := pbx.want("INVITE")
		pbx.proven(again, "inside", "looking-glass", "example.com", "p1")
		pbx.reply(again, 200, sdpAt(pbxAt.Addr(), 4002))
		caller, callee := l.ends(itsp, pbx, trunkSocket, invite, again, itsp.innocent(itsp.want("200 INVITE")))
		itsp.send(trunkSocket, caller.within("ACK", 1))
		pbx.want("ACK")
		hangup(callee, caller)

		itsp.send(trunkSocket, itsp.request("MESSAGE", trunkSocket, "100"))
		m := pbx.want("MESSAGE")
		pbx.proven(m, "inside", "looking-glass", "example.com", "p1") // unasked: it has let the call in
		pbx.challenge(m, 401, "example.com", "p2")
		m = pbx.want("MESSAGE")
		pbx.proven(m, "inside", "looking-glass", "example.com", "p2")
		pbx.reply(m, 202, nil)
		itsp.innocent(itsp.want("202 MESSAGE"))

		itsp.send(trunkSocket, itsp.request("MESSAGE", trunkSocket, "100"))
		pbx.challenge(pbx.want("MESSAGE"), 407, "elsewhere", "p3")
		itsp.innocent(itsp.want("503 MESSAGE"))
		pbx.quiet(time.Second)
		l.empty()
	})
}

// TestChallengesUnderLoad: 200 calls that are challenged, with loss and reordering, leave nothing behind.
func TestChallengesUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, passwordConfig(t), natlab.Options{Seed: 3})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		for i := range 200 {
			invite := withBody(pbx.request("INVITE", pbxSocket, "+4930123"), sdpAt(pbxAt.Addr(), 4000))
			pbx.send(pbxSocket, invite)
			m := itsp.want("INVITE")
			itsp.challenge(m, 407, "itsp", fmt.Sprint("n", i))
			m = itsp.want("INVITE")
			itsp.proven(m, "gate", "wonderland", "itsp", fmt.Sprint("n", i))
			code := []int{486, 603, 503, 404}[i%4]
			itsp.reply(m, code, nil)
			itsp.want("ACK")
			for got := pbx.next(patience); got == nil || got.Status < 300; got = pbx.next(patience) {
				if got == nil {
					t.Fatal("no final answer")
				}
				pbx.innocent(got)
			}
		}
		l.empty()
		if n := len(l.cdrs.all()); n != 200 {
			t.Errorf("%d records of 200 calls", n)
		}
	})
}
