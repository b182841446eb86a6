package core

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// TestLeases: an INVITE that begins a leg has a place before it leaves. The place is given back where the INVITE comes to nothing,
// and stays with a leg that came to be.
func TestLeases(t *testing.T) {
	for _, tt := range []struct {
		name   string
		full   bool
		method string
		toTag  string
		then   func(r *rig)
		sent   int
		left   int
		heard  string
	}{
		{"rings", false, "INVITE", "", func(r *rig) { r.hear(inner, r.answer(r.sent[0], 180, "b")) }, 1, 1, "Tick, Answered 180"},
		{"is answered", false, "INVITE", "", func(r *rig) { r.hear(inner, r.answer(r.sent[0], 200, "b")) }, 1, 1, "Tick, Answered 200"},
		{"is refused", false, "INVITE", "", func(r *rig) { r.hear(inner, r.answer(r.sent[0], 486, "b")) }, 2, 0, "Tick, Answered 486"},
		{"dies", false, "INVITE", "", func(r *rig) { r.pass(33 * time.Second) }, 7, 0, "Tick, Failed 408 timeout"},
		{"finds nobody", false, "INVITE", "", func(r *rig) { r.unreachable(r.now, inner) }, 1, 0, "Tick, Failed 503 timeout"},
		{"finds no place", true, "INVITE", "", func(*rig) {}, 0, 0, "Tick, Failed 503 no-capacity"},
		{"within a dialog needs none", true, "INVITE", "b", func(*rig) {}, 1, 0, "Tick"},
		{"of another method needs none", true, "MESSAGE", "", func(*rig) {}, 1, 0, "Tick"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.full = tt.full
			r.script = func(_ *actor, _ time.Time, ev tu.Event) []tu.Action {
				if _, first := ev.(tu.Tick); !first {
					return nil
				}
				m := outgoing(tt.method, "c", "ours", 1)
				m.To.Tag = tt.toTag
				return []tu.Action{tu.Send{Ref: 7, Msg: m, Hop: hop(nat.Inside)}}
			}
			a := &actor{r: r}
			a.id = r.Start(func(tu.UserID, tu.Seed) tu.User { return a })
			r.settle(r.now)
			tt.then(r)
			if len(r.sent) != tt.sent || len(r.leases) != tt.left || a.kinds() != tt.heard {
				t.Errorf("%d sent, %d places taken, heard %s", len(r.sent), len(r.leases), a.kinds())
			}
		})
	}
}

// TestLeaseOfWhatCannotBeSent is given back.
func TestLeaseOfWhatCannotBeSent(t *testing.T) {
	r := newRig(t)
	r.script = func(_ *actor, _ time.Time, ev tu.Event) []tu.Action {
		if _, first := ev.(tu.Tick); !first {
			return nil
		}
		m := outgoing("INVITE", "c", "ours", 1)
		m.Headers = append(m.Headers, message.Header{Name: "X", Value: "a\r\nb"})
		return []tu.Action{tu.Send{Ref: 7, Msg: m, Hop: hop(nat.Inside)}}
	}
	a := &actor{r: r}
	a.id = r.Start(func(tu.UserID, tu.Seed) tu.User { return a })
	r.settle(r.now)
	if len(r.sent) != 0 || len(r.leases) != 0 {
		t.Errorf("%d sent, %d places taken, heard %s", len(r.sent), len(r.leases), a.kinds())
	}
}

// TestRegistrationIsTold: what a trunk's registration has come to is for the program around the core.
func TestRegistrationIsTold(t *testing.T) {
	r := newRig(t)
	r.script = func(*actor, time.Time, tu.Event) []tu.Action {
		return []tu.Action{tu.Registration{Trunk: "itsp", State: tu.Registered}, tu.End{}}
	}
	r.Start(func(tu.UserID, tu.Seed) tu.User { return &actor{r: r} })
	r.settle(r.now)
	if len(r.registrations) != 1 || r.registrations[0].State.String() != "registered" {
		t.Errorf("%+v", r.registrations)
	}
	r.zero()
}

// lease is the place of an INVITE.
type lease struct {
	user tu.UserID
	ref  tu.Ref
}

func (f fakeAssembly) Registered(_ time.Time, r tu.Registration) {
	f.r.registrations = append(f.r.registrations, r)
}

func (f fakeAssembly) Lease(_ time.Time, id tu.UserID, a tu.Send) (tu.Failed, bool) {
	if f.r.full {
		return tu.Failed{Ref: a.Ref, Code: 503, Why: reason.NoCapacity}, false
	}
	f.r.leases[lease{id, a.Ref}]++
	return tu.Failed{}, true
}

func (f fakeAssembly) Unlease(id tu.UserID, ref tu.Ref) { delete(f.r.leases, lease{id, ref}) }

func (f fakeAssembly) UnleaseAll(id tu.UserID) {
	maps.DeleteFunc(f.r.leases, func(l lease, _ int) bool { return l.user == id })
}

func (f fakeAssembly) Attempted(_ time.Time, _ tu.UserID, ref tu.Ref, code int) {
	f.r.heard = append(f.r.heard, fmt.Sprint(ref, ":", code))
}

func (f fakeAssembly) Occupy(_ time.Time, id tu.UserID, a tu.Occupy) { f.r.leases[lease{id, a.Ref}]++ }

// TestAPlaceIsKeptForTheSameAgain: an INVITE that was challenged goes again before its place is given back; in between nobody else can
// have it.
func TestAPlaceIsKeptForTheSameAgain(t *testing.T) {
	r := newRig(t)
	both := 0
	r.script = func(_ *actor, _ time.Time, ev tu.Event) []tu.Action {
		switch ev := ev.(type) {
		case tu.Tick:
			return []tu.Action{tu.Send{Ref: 7, Msg: outgoing("INVITE", "c", "ours", 1), Hop: hop(nat.Inside)}}
		case tu.Answered:
			if ev.Ref == 7 {
				both = len(r.leases)
				return []tu.Action{tu.Send{Ref: 8, Msg: outgoing("INVITE", "c", "ours", 2), Hop: hop(nat.Inside)}}
			}
		}
		return nil
	}
	a := &actor{r: r}
	a.id = r.Start(func(tu.UserID, tu.Seed) tu.User { return a })
	r.settle(r.now)
	r.hear(inner, r.answer(r.sent[0], 407, "b"))
	if both != 1 || len(r.leases) != 1 || r.leases[lease{a.id, 8}] != 1 {
		t.Errorf("%d places while it hears, then %v", both, r.leases)
	}
}

// TestWordOfAttempts: what becomes of an INVITE is told with its code; that nobody answers, whoever finds it out, with none.
func TestWordOfAttempts(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(r *rig)
		want string
	}{
		{"rings, and is refused", func(r *rig) {
			for _, code := range []int{100, 180, 486} {
				r.hear(inner, r.answer(r.sent[0], code, "b"))
			}
		}, "[7:100 7:180 7:486]"},
		{"dies", func(r *rig) { r.pass(33 * time.Second) }, "[7:0]"},
		{"finds nobody", func(r *rig) { r.unreachable(r.now, inner) }, "[7:0]"},
		{"is given up for the next hop", func(r *rig) { r.Tell(1, tu.Hangup{}); r.settle(r.now) }, "[7:0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.script = func(_ *actor, _ time.Time, ev tu.Event) []tu.Action {
				switch ev.(type) {
				case tu.Tick:
					return []tu.Action{tu.Send{Ref: 7, Msg: outgoing("INVITE", "c", "ours", 1), Hop: hop(nat.Inside)}}
				case tu.Hangup:
					return []tu.Action{tu.Cancel{Ref: 7, Quiet: true}}
				}
				return nil
			}
			r.Start(func(tu.UserID, tu.Seed) tu.User { return &actor{r: r} })
			r.settle(r.now)
			tt.then(r)
			if got := fmt.Sprint(r.heard); got != tt.want {
				t.Errorf("told %s, want %s", got, tt.want)
			}
		})
	}
}

// TestPlacesOfLegsThatChange: a leg that comes in takes one, one that goes gives its own back, and the record all.
func TestPlacesOfLegsThatChange(t *testing.T) {
	r := newRig(t)
	var do []tu.Action
	r.script = func(*actor, time.Time, tu.Event) []tu.Action { return do }
	a := &actor{r: r}
	a.id = r.Start(func(tu.UserID, tu.Seed) tu.User { return a })
	r.settle(r.now)
	for _, step := range []struct {
		do   []tu.Action
		want int
	}{
		{[]tu.Action{tu.Send{Ref: 7, Msg: outgoing("INVITE", "c", "ours", 1), Hop: hop(nat.Inside)}}, 1},
		{[]tu.Action{tu.Occupy{Ref: 9, Leg: "d", Hop: hop(nat.Inside)}, tu.Vacate{Ref: 7}, tu.Vacate{Ref: 7}}, 1},
		{[]tu.Action{tu.Occupy{Ref: 10, Leg: "e", Hop: hop(nat.Inside)}}, 2},
		{[]tu.Action{tu.Record{CDR: tu.CDR{Call: "x"}}}, 0},
	} {
		do = step.do
		r.Tell(a.id, tu.Trying{})
		r.settle(r.now)
		if do = nil; len(r.leases) != step.want {
			t.Errorf("%v, want %d", r.leases, step.want)
		}
	}
}
