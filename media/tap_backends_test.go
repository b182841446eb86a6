package media_test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/nat"
)

// onlooker keeps copies.
type onlooker struct {
	mu   sync.Mutex
	list []media.Copy
	lost int
}

func (o *onlooker) take(list []media.Copy, lost int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost += lost
	for _, c := range list {
		c.Data = bytes.Clone(c.Data)
		o.list = append(o.list, c)
	}
}

// await waits for so many copies and forgets them.
func (o *onlooker) await(t *testing.T, count int) (list []media.Copy) {
	t.Helper()
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) { // a bound for failure, not a measure
		o.mu.Lock()
		if len(o.list) >= count {
			list, o.list = o.list, nil
			o.mu.Unlock()
			return list
		}
		o.mu.Unlock()
		if time.Now().After(limit) {
			t.Fatalf("%d copies of %d", len(o.list), count)
		}
	}
}

// TestTapOnEveryBackend: what came and what left is copied, with its addresses and what became of it, and a call that is not
// tapped is not.
func TestTapOnEveryBackend(t *testing.T) {
	for name, rigOf := range map[string]func(*testing.T) *rig{"sim": simRig, "epoll": epollRig, "steer": steerRig, "process": processRig} {
		t.Run(name, func(t *testing.T) {
			r := rigOf(t)
			var o onlooker
			r.plane.SetOnlooker(o.take)
			began := time.Now()
			r.point(nat.Outside, want("phone"))
			r.point(nat.Inside, want("pbx"))
			r.run([]step{{from: "phone", to: outsideRTP, payload: rtp(0, 1, 1), dest: "pbx", via: insideRTP}})
			tap := func(forms media.Tap) {
				if err := r.plane.Tap(r.id, forms); err != nil {
					t.Fatal(err)
				}
				r.point(nat.Outside, want("phone")) // commands go on asking for it
				r.settle()
			}
			tap(media.TapWire)
			steps := []step{
				{from: "phone", to: outsideRTP, payload: rtp(0, 2, 1), dest: "pbx", via: insideRTP},
				{from: "pbx", to: insideRTP, payload: rtp(0, 9, 2), dest: "phone", via: outsideRTP},
				{from: "attacker", to: outsideRTP, payload: rtp(0, 1, 7), why: media.RejectedSource},
				{from: "phone rtcp", to: outsideRTCP, payload: rtcp(1), dest: "pbx rtcp", via: insideRTCP},
			}
			r.run(steps)
			list := o.await(t, 7)
			if len(list) != 7 || o.lost != 0 {
				t.Fatalf("%d copies, %d lost", len(list), o.lost)
			}
			for _, s := range steps {
				found := func(local door, remote string, sent bool, why media.Rejection) {
					t.Helper()
					if !slices.ContainsFunc(list, func(c media.Copy) bool {
						return c.ID == r.id && c.Side == local.side && c.Local == r.at(local) && c.Remote == peers[remote] && c.Sent == sent && c.Why == why &&
							c.Form&media.TapWire != 0 && bytes.Equal(c.Data, s.payload) && !c.At.Before(began) && !c.At.After(time.Now())
					}) {
						t.Errorf("no copy of %s → %v, sent %v: %+v", s.from, local, sent, list)
					}
				}
				found(s.to, s.from, false, s.why)
				if s.why == media.Accepted {
					found(s.via, s.dest, true, media.Accepted)
				}
			}
			tap(0)
			r.run(steps[:1])
			if len(o.list) > 0 {
				t.Errorf("%d copies of a call that is not tapped any more", len(o.list))
			}
		})
	}
}

// settle returns when what was posted is in force.
func (r *rig) settle() {
	if r.settled != nil {
		r.settled()
	}
}

// TestTapOutlivesTheProcess: another media process copies on.
func TestTapOutlivesTheProcess(t *testing.T) {
	r := processRig(t)
	var o onlooker
	r.plane.SetOnlooker(o.take)
	r.point(nat.Outside, want("phone"))
	r.point(nat.Inside, want("pbx"))
	if err := r.plane.Tap(r.id, media.TapClear); err != nil {
		t.Fatal(err)
	}
	r.settle()
	for n := range 2 {
		r.run([]step{{from: "phone", to: outsideRTP, payload: rtp(0, uint16(n), 1), dest: "pbx", via: insideRTP}})
		o.await(t, 2)
		if n == 0 {
			r.renew()
		}
	}
}

// TestTapOfManyIsBounded: copies that nobody has room for are lost and counted, and the call goes on.
func TestTapOfManyIsBounded(t *testing.T) {
	r := processRig(t)
	var o onlooker
	held := make(chan struct{})
	r.plane.SetOnlooker(func(list []media.Copy, lost int) {
		<-held // signalling that does not read
		o.take(list, lost)
	})
	r.point(nat.Outside, want("phone"))
	r.point(nat.Inside, want("pbx"))
	if err := r.plane.Tap(r.id, media.TapWire); err != nil {
		t.Fatal(err)
	}
	r.settle()
	const count = 3000
	for n := range count {
		r.run([]step{{from: "phone", to: outsideRTP, payload: rtp(0, uint16(n), 1), dest: "pbx", via: insideRTP}})
	}
	close(held)
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		o.mu.Lock()
		came, lost := len(o.list), o.lost
		o.mu.Unlock()
		if came+lost == 2*count && lost > 0 && came > 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("%d came, %d were lost, of %d", came, lost, 2*count)
		}
	}
}

// TestTapOfNothing: a stream that is not reserved cannot be tapped; untapping it is no error.
func TestTapOfNothing(t *testing.T) {
	s := newScene(t, want("phone"))
	if err := s.plane.Tap(media.ID(99), media.TapWire); !errors.Is(err, media.ErrGone) {
		t.Error(err)
	}
	if err := s.plane.Tap(s.id, media.TapWire); err != nil {
		t.Error(err)
	}
	s.plane.Release(s.now, s.id)
	if err := errors.Join(s.plane.Tap(s.id, 0), s.plane.Tap(s.id, 0)); err != nil {
		t.Error(err)
	}
	if err := s.plane.Tap(s.id, media.TapWire); !errors.Is(err, media.ErrGone) {
		t.Error(err)
	}
}
