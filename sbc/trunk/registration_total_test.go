package trunk

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// TestRegistrationIsTotal: whatever happens in whatever order, one REGISTER is out at a time, rounds keep their distance, and there is
// one next deadline until the one end.
func TestRegistrationIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := registrationConfig(registrarHop("203.0.113.20:5060", 1), registrarHop("203.0.113.21:5060", 1))
		other := registrationConfig(registrarHop("203.0.113.21:5060", 1), registrarHop("203.0.113.22:5060", 2))
		other.Account = &tu.Account{Username: "login", Password: tu.NewPassword("new"), Realms: []string{"example.net"}}
		r := NewRegistration(cfg, tu.Seed{rapid.Byte().Draw(t, "seed")}, probeKey)
		now, out, ended, leaves := zero, tu.Ref(0), false, false
		var sent *message.Message
		var round time.Time
		step := func(ev tu.Event) {
			for _, a := range r.Step(now, ev, nil) {
				switch a := a.(type) {
				case tu.Send:
					if out != 0 || ended {
						t.Fatalf("REGISTER %d while %d is out, ended %v", a.Ref, out, ended)
					}
					_, tick := ev.(tu.Tick)
					if tick && !round.IsZero() && now.Sub(round) < shortestRest {
						t.Fatalf("a round %v after the one before", now.Sub(round))
					}
					if tick {
						round = now
					}
					out, sent = a.Ref, a.Msg
				case tu.Registration:
					if a.Trunk != "itsp" || len(a.Answer) > 120 || a.State == tu.Registered && a.Until.IsZero() {
						t.Fatalf("%+v", a)
					}
				case tu.End:
					if ended {
						t.Fatal("ends twice")
					}
					ended = true
				}
			}
			if due := r.Deadline(); due.IsZero() != ended {
				t.Fatalf("ended %v, deadline %v", ended, due)
			}
		}
		step(tu.Tick{})
		for range rapid.IntRange(1, 80).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20000).Draw(t, "ms")) * time.Millisecond)
			if due := r.Deadline(); rapid.Bool().Draw(t, "due") && due.After(now) {
				now = due
			}
			ref := out
			if rapid.IntRange(0, 9).Draw(t, "old") == 0 && ref > 1 {
				ref--
			}
			answer := func(code int, fields ...string) tu.Event {
				if sent == nil {
					return tu.Tick{}
				}
				ev := reply(sent, code, rapid.SampledFrom([]string{"", "198.51.100.7:40001", "198.51.100.7:40002"}).Draw(t, "seen"), fields...).(tu.Answered)
				ev.Ref = ref
				return ev
			}
			kind := rapid.IntRange(0, 14).Draw(t, "kind")
			var ev tu.Event = tu.Tick{}
			switch kind {
			case 0, 1:
				ev = answer(200, "Expires: "+rapid.SampledFrom([]string{"0", "1", "60", "600", "4294967295", "x"}).Draw(t, "expires"))
			case 2, 3:
				ev = answer(401, rapid.SampledFrom([]string{challengeMD5, challengeMD5 + ", stale=true", `WWW-Authenticate: Digest realm="other", nonce="1"`, "WWW-Authenticate: x"}).Draw(t, "challenge"))
			case 4:
				ev = answer(rapid.SampledFrom([]int{100, 180, 302, 400, 403, 404, 408, 420, 500, 603}).Draw(t, "code"))
			case 5:
				ev = answer(503, "Retry-After: "+rapid.SampledFrom([]string{"0", "5", "100", "x"}).Draw(t, "after"))
			case 6:
				ev = answer(423, "Min-Expires: "+rapid.SampledFrom([]string{"1", "900", "99999999"}).Draw(t, "least"))
			case 7:
				ev = tu.Failed{Ref: ref, Code: rapid.SampledFrom([]int{408, 503}).Draw(t, "failed"), Why: rapid.SampledFrom([]reason.Reason{reason.Timeout, reason.Overload, reason.Leak}).Draw(t, "why")}
			case 8:
				r.Configure(rapid.SampledFrom([]RegistrationConfig{cfg, other, {Trunk: "itsp", Domain: cfg.Domain, User: cfg.User, Expires: cfg.Expires}}).Draw(t, "cfg"))
			case 9:
				r.Recovered("itsp 203.0.113.21:5060")
				r.Answers("itsp 203.0.113.21:5060")
			case 10:
				if leaves = rapid.IntRange(0, 9).Draw(t, "leaves") == 0; leaves {
					ev = tu.Hangup{}
				}
			case 11:
				ev = tu.Trying{Ref: ref}
			case 12:
				r.Lost(cfg.Hops[0].Flow)
			case 13:
				r.Sighted("itsp 203.0.113.21:5060", netip.MustParseAddrPort("198.51.100.7:40003"))
			}
			switch done := ev.(type) {
			case tu.Answered:
				if done.Ref == out && done.Msg.Status >= 200 {
					out = 0
				}
			case tu.Failed:
				if done.Ref == out {
					out = 0
				}
			case tu.Tick:
				if out != 0 && !now.Before(r.out.Add(giveUp)) {
					out = 0
				}
			}
			step(ev)
		}
		if !ended {
			out = 0 // the farewell does not wait for it
			step(tu.Hangup{})
			for i := 0; !ended; i++ {
				if i > 3 {
					t.Fatal("does not end")
				}
				now = r.Deadline()
				step(tu.Tick{})
			}
		}
	})
}
