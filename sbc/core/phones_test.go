package core

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/tu"
)

// onArrival is a script that answers the first event with some actions.
func onArrival(do func(a *actor) []tu.Action) func(*actor, time.Time, tu.Event) []tu.Action {
	return func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
		if _, ok := ev.(tu.Arrived); !ok {
			return nil
		}
		return do(a)
	}
}

// TestAConnectionThatIsGone fails what is sent on it at once, and nothing that is sent on another one.
func TestAConnectionThatIsGone(t *testing.T) {
	r := newRig(t)
	gone := hop(nat.Inside)
	gone.Flow.Transport, gone.Flow.Conn = nat.TCP, 7
	other := gone
	other.Flow.Conn = 8
	r.script = onArrival(func(*actor) []tu.Action {
		return []tu.Action{tu.Send{Ref: 1, Msg: outgoing("INFO", "a", "x", 1), Hop: other}}
	})
	r.hear(outer, request("MESSAGE", "c", "1", ""))
	r.refuse = fmt.Errorf("flow: %w", ErrGone)
	r.script = onArrival(func(*actor) []tu.Action {
		return []tu.Action{tu.Send{Ref: 2, Msg: outgoing("INFO", "b", "y", 1), Hop: gone}}
	})
	r.hear(outer, request("MESSAGE", "d", "2", ""))
	if got := r.users[1].kinds(); got != "Arrived MESSAGE, Failed 503 timeout" {
		t.Errorf("on the dead connection: %s", got)
	}
	if got := r.users[0].kinds(); got != "Arrived MESSAGE" {
		t.Errorf("on the living one: %s", got)
	}
	r.unreachable(r.now, other.Flow)
	if got := r.users[0].kinds(); got != "Arrived MESSAGE, Failed 503 timeout" {
		t.Errorf("once it is closed: %s", got)
	}
}

func TestPing(t *testing.T) {
	r := newRig(t)
	at := nat.Flow{Interface: 1, Transport: nat.TCP, Remote: outer.Remote, Conn: 3}
	r.script = onArrival(func(*actor) []tu.Action { return []tu.Action{tu.Ping{Flow: at}} })
	r.hear(outer, request("MESSAGE", "c", "1", ""))
	if len(r.sent) != 1 || r.sent[0].text != "\r\n\r\n" || r.sent[0].to != at {
		t.Errorf("%v", r.sent)
	}
}

// TestChallengesAreTold: whoever keeps the nonces hears who issued them, and the user gets the answer as well.
func TestChallengesAreTold(t *testing.T) {
	for code, want := range map[int]int{401: 1, 407: 1, 403: 0, 200: 0} {
		r := newRig(t)
		r.script = onArrival(func(*actor) []tu.Action {
			return []tu.Action{tu.Send{Ref: 1, Msg: outgoing("MESSAGE", "a", "x", 1), Hop: hop(nat.Inside)}}
		})
		r.hear(outer, request("MESSAGE", "c", "1", ""))
		r.hear(inner, r.answer(r.find("MESSAGE"), code, "t"))
		if len(r.challenges) != want || want == 1 && r.challenges[0] != fmt.Sprint(code, " ", inner.Remote) {
			t.Errorf("%d: told %v", code, r.challenges)
		}
		if got := r.users[0].kinds(); got != fmt.Sprint("Arrived MESSAGE, Answered ", code) {
			t.Errorf("%d: heard %s", code, got)
		}
	}
}

// TestHairpins: media may go into a port of ours that another user holds, inside and nowhere else.
func TestHairpins(t *testing.T) {
	held, own, free := netip.MustParseAddrPort("10.0.0.2:30002"), netip.MustParseAddrPort("10.0.0.2:30004"), netip.MustParseAddrPort("10.0.0.2:30998")
	for _, tt := range []struct {
		name   string
		to     netip.AddrPort
		side   nat.Side
		joined int
	}{
		{"another call's port", held, nat.Inside, 1},
		{"its own port", own, nat.Inside, 0},
		{"a port that nobody holds", free, nat.Inside, 0},
		{"another call's port, named outside", held, nat.Outside, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.owners = map[netip.AddrPort]media.ID{held: 1, own: 2, free: 0}
			aim := tu.Point{Side: tt.side, Aim: tu.Aim{RTP: tt.to}}
			r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
				switch ev.(type) {
				case tu.Arrived:
					return []tu.Action{tu.Reserve{Streams: 1}}
				case tu.Reserved:
					if a.id == 2 {
						return []tu.Action{aim}
					}
				}
				return nil
			}
			r.hear(outer, request("INVITE", "c", "1", ""))
			r.hear(inner, request("INVITE", "d", "2", ""))
			if len(r.joined) != tt.joined || len(r.aims) != tt.joined {
				t.Errorf("joined %v, aimed %d times", r.joined, len(r.aims))
			}
			want := "Arrived INVITE, Reserved"
			if tt.joined == 0 {
				want += ", MediaRefused"
			}
			if got := r.users[1].kinds(); got != want {
				t.Errorf("heard %q, want %q", got, want)
			}
		})
	}
}

func TestHolds(t *testing.T) {
	r := newRig(t)
	r.script = onArrival(func(a *actor) []tu.Action { return []tu.Action{a.open()} })
	r.hear(outer, request("INVITE", "c", "1", ""))
	if !r.Holds(nat.Outside, "c", r.users[0].tag) || r.Holds(nat.Inside, "c", r.users[0].tag) || r.Holds(nat.Outside, "c", "x") {
		t.Error("a dialog is found by side, Call-ID and our tag")
	}
}

// TestManyTimeoutsOfOneUser: after a standstill thousands of questions of the one who keeps ways open end in one moment.
func TestManyTimeoutsOfOneUser(t *testing.T) {
	const asked = 10_000
	r := newRig(t)
	r.script = onArrival(func(*actor) []tu.Action {
		var do []tu.Action
		for i := range asked {
			do = append(do, tu.Send{Ref: tu.Ref(i + 1), Msg: outgoing("OPTIONS", fmt.Sprint("c", i), "x", 1), Hop: hop(nat.Outside)})
		}
		return do
	})
	r.hear(outer, request("MESSAGE", "c", "1", ""))
	r.now = r.now.Add(40 * time.Second)
	r.advance(r.now)
	if heard := len(r.users[0].heard); heard != asked+1 || r.faultsContained() != 0 || len(r.Core.users) != 1 {
		t.Errorf("heard %d events of %d, %d faults, %d users left", heard, asked+1, r.faultsContained(), len(r.Core.users))
	}
}
