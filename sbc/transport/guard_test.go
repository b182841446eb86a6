package transport

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/reason"
)

// sheddingGuard lets everything pass that it does not shed.
type sheddingGuard struct {
	guardFunc
	shed netip.Addr
}

func (g sheddingGuard) Shed(_ time.Time, i *nat.Interface, source netip.AddrPort) bool {
	return i != nil && source.Addr() == g.shed
}

// TestWhatIsShedIsNotLookedAt: not by the scan, not by the guard; it counts as dropped.
func TestWhatIsShedIsNotLookedAt(t *testing.T) {
	for _, c := range []struct {
		shed      string
		delivered uint64
	}{{"203.0.113.20", 0}, {"203.0.113.21", 1}} {
		checked := 0
		g := sheddingGuard{func(p *policy.Packet) policy.Verdict { checked++; return known(p) }, netip.MustParseAddr(c.shed)}
		e, _ := bench(g, &inbox{})
		e.receive([]byte(request("INVITE", "a")), netip.MustParseAddrPort(theirs))
		if n := e.count.delivered.Load(); n != c.delivered || checked != int(n) || e.count.dropped.Load() != 1-n || e.count.received.Load() != 1 {
			t.Errorf("%s: delivered %d, checked %d, dropped %d", c.shed, n, checked, e.count.dropped.Load())
		}
	}
}

func TestGuardDecides(t *testing.T) {
	reject := func(code int) guardFunc {
		return func(*policy.Packet) policy.Verdict { return verdict(policy.Reject, code, reason.Stranger) }
	}
	silent := func(a policy.Action) guardFunc {
		return func(*policy.Packet) policy.Verdict { return verdict(a, 0, reason.Ban) }
	}
	for _, c := range []struct {
		name  string
		guard guardFunc
		send  string
		want  string // start of the answer; empty: silence
	}{
		{"drop", silent(policy.Drop), request("INVITE", "a"), ""},
		{"ignore", silent(policy.Ignore), "\r\n\r\n", ""},
		{"403", reject(403), request("INVITE", "a"), "SIP/2.0 403 "},
		{"200 to OPTIONS", reject(200), request("OPTIONS", "a"), "SIP/2.0 200 OK"},
		{"503 of a trunk's limit", reject(503), request("INVITE", "a"), "SIP/2.0 503 "},
		{"503 of a phone's limit", func(*policy.Packet) policy.Verdict {
			v := verdict(policy.Reject, 503, reason.LimitExceeded)
			v.RetryAfter = 40
			return v
		}, request("INVITE", "a"), "SIP/2.0 503 "},
		{"never to an ACK", reject(403), request("ACK", "a"), ""},
		{"never to a response", reject(403), response("a"), ""},
		{"never without a header section", reject(400), "INVITE sip:a SIP/2.0\r\nVia: x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, c.guard, func(l *lab) {
				l.send(c.send)
				if len(l.in.all()) != 0 {
					t.Error("it was delivered")
				}
				got := l.answer()
				if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") || len(got) > len(c.send)+200 {
					t.Errorf("answer %q", got)
				}
				// 40 seconds, or up to four more.
				if strings.Contains(c.name, "phone's") != strings.Contains(got, "\r\nRetry-After: 4") || strings.Count(got, "Retry-After") > 1 {
					t.Errorf("a provider takes Retry-After for the whole trunk, a phone for itself: %q", got)
				}
				for _, line := range []string{"Call-ID: a", "CSeq: 1 ", "received=203.0.113.20"} {
					if got != "" && !strings.Contains(got, line) {
						t.Errorf("answer lacks %q: %q", line, got)
					}
				}
				if again := l.answer(); again != "" {
					t.Errorf("a second answer: %q", again)
				}
			})
		})
	}
}

func TestTagOfStatelessAnswers(t *testing.T) {
	reject := func(*policy.Packet) policy.Verdict { return verdict(policy.Reject, 403, reason.Stranger) }
	inLab(t, reject, func(l *lab) {
		l.send(request("INVITE", "a"), request("INVITE", "a"), request("INVITE", "b"))
		tag := func() string {
			_, after, _ := strings.Cut(l.answer(), "To: <sip:b@example.com>;tag=")
			tag, _, _ := strings.Cut(after, "\r\n")
			return tag
		}
		first, repeat, other := tag(), tag(), tag()
		if first == "" || first != repeat || first == other {
			t.Errorf("tags %q, %q and of another request %q", first, repeat, other)
		}
	})
}

func TestMalformed(t *testing.T) {
	for _, c := range []struct {
		name, send, want string // want: what a known peer is told
	}{
		{"scan: CSeq", request("INVITE", "a", "CSeq: x INVITE"), ""},
		{"scan: Content-Length", request("INVITE", "a", "Content-Length: 99"), "SIP/2.0 400 "},
		{"parser: no To tag rules broken", request("INVITE", "a", "CSeq: 1 OPTIONS"), "SIP/2.0 400 "},
		{"parser: scheme", strings.Replace(request("INVITE", "a"), "sip:b@", "http:b@", 1), "SIP/2.0 416 "},
		{"parser: version", strings.Replace(request("INVITE", "a"), "SIP/2.0\r\n", "SIP/7.0\r\n", 1), "SIP/2.0 505 "},
		{"parser: response", strings.Replace(response("a"), "CSeq: 1 INVITE", "CSeq: 1 ;", 1), ""},
		{"parser: ACK", request("ACK", "a", "From: <sip:a@"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, known, func(l *lab) {
				l.send(c.send)
				if got := l.answer(); c.want != "" && !strings.HasPrefix(got, c.want) || len(l.in.all()) != 0 {
					t.Errorf("a known peer is told %q, want %q", got, c.want)
				}
			})
			inLab(t, stranger, func(l *lab) {
				l.send(c.send)
				if got := l.answer(); got != "" || len(l.in.all()) != 0 {
					t.Errorf("a stranger is told %q", got)
				}
				if n := l.counters(); n.Malformed+n.Dropped != 1 {
					t.Errorf("counters %+v", n)
				}
			})
		})
	}
}

func TestGuardHearsOfParseErrors(t *testing.T) {
	var heard []error
	inLab(t, func(p *policy.Packet) policy.Verdict {
		heard = append(heard, p.ScanErr)
		return known(p)
	}, func(l *lab) {
		l.send(request("INVITE", "a", "CSeq: 1 OPTIONS"))
		if len(heard) != 2 || heard[0] != nil || heard[1] == nil {
			t.Errorf("the guard heard %v", heard)
		}
	})
}

func TestInboxFull(t *testing.T) {
	inLab(t, known, func(l *lab) {
		l.in.outcome = func(p Packet) Outcome {
			if p.Msg.IsRequest() && p.Msg.Method == "INVITE" {
				return Busy
			}
			return Dropped
		}
		l.send(request("INVITE", "a"), request("OPTIONS", "b"), response("c"))
		got := l.answer()
		if !strings.HasPrefix(got, "SIP/2.0 503 ") || !strings.Contains(got, "\r\nRetry-After: ") {
			t.Errorf("answer %q", got)
		}
		if again := l.answer(); again != "" {
			t.Errorf("what was dropped is answered %q", again)
		}
		if c := l.counters(); c.Busy != 1 || c.Overflow != 2 || c.Replies != 1 || c.Delivered != 0 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestWarnings(t *testing.T) {
	inLab(t, func(*policy.Packet) policy.Verdict {
		v := verdict(policy.Reject, 403, reason.Stranger)
		v.Warn = true
		return v
	}, func(l *lab) {
		l.send(request("INVITE", "a"))
		lines := l.logs.FilterField(zap.String("reason", "stranger")).FilterField(zap.String("src", theirs))
		if lines.Len() != 1 && l.logs.Len() != 1 {
			t.Errorf("log %v", l.logs.All())
		}
	})
}

// The guard of the program and this room agree on who is told what.
func TestWithTheRealGuard(t *testing.T) {
	trunk := policy.Peer{
		Prefix: netip.MustParsePrefix("203.0.113.20/32"), Kind: policy.Trunk, Side: nat.Outside, Realm: nat.Trunks, Name: "itsp",
	}
	check := func(t *testing.T, peers ...policy.Peer) guardFunc {
		g, err := policy.New(policy.Options{Now: time.Now(), Seed: maphash.MakeSeed()})
		if err != nil {
			t.Fatal(err)
		}
		g.SetPeers(peers)
		return g.Check
	}
	for _, c := range []struct {
		name, send string
		answer     string // to the trunk; a stranger hears nothing
		delivered  int    // of the trunk
	}{
		{"good", request("INVITE", "g"), "", 1},
		{"keep-alive", "\r\n\r\n", "", 0},
		{"junk", "GET / HTTP/1.1\r\n\r\n", "", 0},
		{"scan", request("INVITE", "s", "Content-Length: 99"), "SIP/2.0 400 ", 0},
		{"too many fields", request("INVITE", "h", strings.Repeat("X: y\r\n", 130)+"X: y"), "", 0},
		{"parser", request("INVITE", "p", "CSeq: 1 OPTIONS"), "SIP/2.0 400 ", 0},
		{"parser's own code", strings.Replace(request("INVITE", "v"), "SIP/2.0\r\n", "SIP/7.0\r\n", 1), "SIP/2.0 505 ", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, check(t, trunk), func(l *lab) {
				l.send(c.send)
				got := l.answer()
				if !strings.HasPrefix(got, c.answer) || (got == "") != (c.answer == "") || len(l.in.all()) != c.delivered {
					t.Errorf("the trunk is told %q, %d delivered", got, len(l.in.all()))
				}
			})
			inLab(t, check(t), func(l *lab) {
				l.send(c.send)
				if got := l.answer(); got != "" || len(l.in.all()) != 0 {
					t.Errorf("a stranger is told %q, %d delivered", got, len(l.in.all()))
				}
			})
		})
	}
}
