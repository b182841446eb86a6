package core

import (
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

func (f fakeAssembly) Lease(_ time.Time, id tu.UserID, a *tu.Send) (tu.Failed, bool) {
	if f.r.full {
		return tu.Failed{Ref: a.Ref, Code: 503, Why: reason.NoCapacity}, false
	}
	f.r.leases[lease{id, a.Ref}]++
	return tu.Failed{}, true
}

func (f fakeAssembly) Unlease(id tu.UserID, ref tu.Ref) { delete(f.r.leases, lease{id, ref}) }
