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

// asks makes a call of the PBX by which a provider is asked; ask is what it does with each INVITE: nil takes it. It returns the INVITEs.
func (l *lab) asks(itsp, pbx *wire, ask func(n int, m *message.Message) bool) (all []*message.Message) {
	l.t.Helper()
	invite := withBody(pbx.request("INVITE", pbxSocket, "+4930123"), sdpAt(pbxAt.Addr(), 4000))
	pbx.send(pbxSocket, invite)
	for {
		m := itsp.want("INVITE")
		if all = append(all, m); len(all) > 5 {
			l.t.Fatal("a loop")
		}
		if ask == nil || !ask(len(all), m) {
			break
		}
	}
	last := all[len(all)-1]
	itsp.reply(last, 200, sdpAt(providerAt.Addr(), 4002))
	itsp.want("ACK")
	caller, callee := l.ends(pbx, itsp, pbxSocket, invite, last, pbx.innocent(pbx.want("200 INVITE")))
	pbx.send(pbxSocket, caller.within("ACK", invite.CSeq))
	hangup(caller, callee)
	return all
}

func bare(m *message.Message) bool {
	return !strings.Contains(m.String(), "uthorization:")
}

// TestANonceServesLaterCalls: with the next count, until the provider asks anew; that is one more round, and no refusal.
func TestANonceServesLaterCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, passwordConfig(t), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		asked := func(nonce string, extra ...string) func(int, *message.Message) bool {
			return func(n int, m *message.Message) bool {
				if n == 1 {
					itsp.challenge(m, 407, "itsp", nonce, extra...)
				}
				return n == 1
			}
		}
		if got := l.asks(itsp, pbx, asked("n1")); len(got) != 2 || !bare(got[0]) {
			t.Fatalf("%d INVITEs", len(got))
		}
		seen := map[string]bool{}
		for range 3 {
			got := l.asks(itsp, pbx, nil)
			v := itsp.proven(got[0], "gate", "wonderland", "itsp", "n1")
			if _, count, _ := strings.Cut(v, "nc="); seen[count] {
				t.Errorf("a count twice: %s", v)
			} else {
				seen[count] = true
			}
		}
		got := l.asks(itsp, pbx, asked("n2", ", stale=true"))
		itsp.proven(got[1], "gate", "wonderland", "itsp", "n2")
		got = l.asks(itsp, pbx, asked("n3")) // not called stale, and no refusal
		itsp.proven(got[0], "gate", "wonderland", "itsp", "n2")
		itsp.proven(got[1], "gate", "wonderland", "itsp", "n3")
		time.Sleep(11 * time.Minute)
		if got = l.asks(itsp, pbx, nil); !bare(got[0]) {
			t.Error("an old nonce is offered")
		}
		l.empty()
		if w := l.why(providerAt.Addr().String()); strings.Contains(w, "password") {
			t.Error(w)
		}
	})
}

// TestNoncesOfOnce: a provider that takes none twice costs what it always did, and is spared soon.
func TestNoncesOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, passwordConfig(t), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		offered := 0
		for i := range 12 {
			got := l.asks(itsp, pbx, func(n int, m *message.Message) bool {
				if n == 1 {
					itsp.challenge(m, 407, "itsp", fmt.Sprint("n", i))
				}
				return n == 1
			})
			if len(got) != 2 {
				t.Errorf("%d INVITEs", len(got))
			}
			if !bare(got[0]) {
				offered++
			}
		}
		if offered == 0 || offered > 3 {
			t.Errorf("offered %d times in vain", offered)
		}
		l.empty()
	})
}

// TestKeptCredentialsAreForgotten: by a reload with another password or realm, and where the trunk stands elsewhere. What changes nothing
// of them keeps them.
func TestKeptCredentialsAreForgotten(t *testing.T) {
	second := netip.MustParseAddrPort("203.0.113.21:5060")
	for _, tt := range []struct {
		name, from, to string
		at             netip.AddrPort
		kept           bool
	}{
		{"nothing of them", "max_calls", "max_calls", providerAt, true},
		{"another password", "password: wonderland", "password: elsewhere", providerAt, false},
		{"another login", "username: gate", "username: door", providerAt, false},
		{"another realm", "realm: itsp", "realm: [ other, home ]", providerAt, false},
		{"one realm more", "realm: itsp", "realm: [ other, itsp ]", providerAt, true},
		{"another address", providerAt.String(), second.String(), second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, passwordConfig(t), natlab.Options{Seed: 1})
				defer l.close()
				itsp, other, pbx := l.wire(providerAt), l.wire(second), l.wire(pbxAt)
				l.asks(itsp, pbx, func(n int, m *message.Message) bool {
					if n == 1 {
						itsp.challenge(m, 407, "itsp", "n1")
					}
					return n == 1
				})
				if tt.from != tt.to {
					l.reload(rewritten(t, passwordConfig(t), tt.from, tt.to))
				} else {
					l.reload(passwordConfig(t) + "\n")
				}
				if tt.at == second {
					itsp = other
				}
				pbx.send(pbxSocket, withBody(pbx.request("INVITE", pbxSocket, "+4930123"), sdpAt(pbxAt.Addr(), 4000)))
				m := itsp.want("INVITE")
				if bare(m) == tt.kept {
					t.Errorf("kept: %v\n%s", !bare(m), m)
				}
				itsp.reply(m, 486, nil)
				itsp.want("ACK")
				pbx.want("486 INVITE")
				l.empty()
			})
		})
	}
}

// TestARefusedPasswordGoesOn: to the next trunk; the record and `sbc why` say so, and where no trunk is left the PBX hears 503 without
// Retry-After.
func TestARefusedPasswordGoesOn(t *testing.T) {
	second := netip.MustParseAddrPort("203.0.113.21:5060")
	yaml := rewritten(t, passwordConfig(t), "trunks:\n", "trunks:\n  - name: backup\n    peers: [ { address: \"203.0.113.21:5060\" } ]\n"+
		"    keepalive: { method: none }\n    group: all\n    priority: 2\n")
	yaml = rewritten(t, yaml, "  - name: itsp\n", "  - name: itsp\n    group: all\n")
	for _, tt := range []struct {
		name string
		code int // of the backup
		want string
	}{{"it is taken", 486, "486 INVITE"}, {"nobody is left", 503, "503 INVITE"}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, yaml, natlab.Options{Seed: 1})
				defer l.close()
				itsp, backup, pbx := l.wire(providerAt), l.wire(second), l.wire(pbxAt)
				pbx.send(pbxSocket, withBody(pbx.request("INVITE", pbxSocket, "+4930123"), sdpAt(pbxAt.Addr(), 4000)))
				itsp.challenge(itsp.want("INVITE"), 407, "itsp", "n1")
				itsp.challenge(itsp.want("INVITE"), 407, "itsp", "n2")
				m := backup.innocent(backup.want("INVITE"))
				backup.reply(m, tt.code, nil)
				backup.want("ACK")
				final := pbx.innocent(pbx.want(tt.want))
				if _, waits := final.Get("Retry-After"); waits {
					t.Error("the PBX would spare the whole gate")
				}
				itsp.quiet(time.Second, "INVITE")
				l.empty()
				r := l.record()
				if len(r.Tries) != 2 || r.Tries[0].Code != 407 || r.Tries[0].Reason != "no-route" || r.Tries[1].Code != tt.code {
					t.Errorf("%+v", r.Tries)
				}
				if w := l.why(providerAt.Addr().String()); !strings.Contains(w, "refuses user name or password") {
					t.Error(w)
				}
			})
		})
	}
}
