package replay

import (
	"fmt"
	"testing"
	"time"

	"sallyport/sbc/reason"
)

// aRun is a replay that has heard of nobody.
func aRun(t *testing.T) *run {
	t.Helper()
	c := newTape(t).scans(1)
	r, err := newRun(c.open(), setup(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.all(c.open(), nil); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDeadlinesThatNoLongerCountMakeRoom: after however many calls and refreshes, what has a time ends when that is over.
func TestDeadlinesThatNoLongerCountMakeRoom(t *testing.T) {
	r := aRun(t)
	k := &r.known
	for range deadlinesMost {
		k.due.list = append(k.due.list, deadline{at: noon.Add(dialogLife), tag: "of a call that has ended"})
	}
	key := bindingKey{"204@example.com", "204@192.168.1.5"}
	k.bind(key, binding{from: ap(office + ":5060"), expires: noon.Add(time.Hour)})
	k.talk(noon, "ours", ap(office+":5060").Addr(), "INVITE", true)
	k.hangUp(noon, "ours", time.Minute)
	if n := len(k.due.list); n > deadlinesMost {
		t.Errorf("%d deadlines", n)
	}
	k.expire(noon.Add(2 * time.Minute))
	if len(k.dialogs) != 0 || len(k.book.all) != 1 {
		t.Errorf("after two minutes there are %d dialogs and %d bindings", len(k.dialogs), len(k.book.all))
	}
	k.expire(noon.Add(2 * time.Hour))
	if len(k.book.all) != 0 || r.guard.Phones() != 0 {
		t.Errorf("after two hours there are %d bindings and %d phones", len(k.book.all), r.guard.Phones())
	}
}

// TestAByeThatIsSentAgain: a dialog ends when the first one has waited long enough for its answer.
func TestAByeThatIsSentAgain(t *testing.T) {
	r := aRun(t)
	k := &r.known
	k.talk(noon, "ours", ap(office+":5060").Addr(), "INVITE", true)
	for _, at := range []time.Duration{0, time.Second, 31 * time.Second} {
		k.hangUp(noon.Add(at), "ours", afterlife)
	}
	if k.expire(noon.Add(afterlife - time.Second)); len(k.dialogs) != 1 {
		t.Error("it ends too early")
	}
	if k.expire(noon.Add(afterlife)); len(k.dialogs) != 0 {
		t.Error("it goes on")
	}
}

// TestWhatEndsInASilence ends when its time is over: how many phones a source had is remembered from then on, and not from the next
// message.
func TestWhatEndsInASilence(t *testing.T) {
	s := setup(nil)
	s.Config.RateLimits = limitsOf("few", "100/minute", 1)
	s.Config.RateLimits[0].Limits, s.Config.RateLimits[0].PerPhone = map[string]string{"OPTIONS": "1/day"}, true
	for after, refused := range map[time.Duration]uint64{11 * time.Minute: 1, 13 * time.Minute: 3} {
		c := newTape(t) // the bindings last for two minutes, the memory of them for ten
		for n := range 3 {
			c.registers(fmt.Sprintf("%s:4000%d", office, n), fmt.Sprint(201+n), fmt.Sprint("r", n), 1)
		}
		c.wait(after)
		for n := range 4 {
			c.udp(office+":40001", gatePhones, sip{method: "OPTIONS", callID: fmt.Sprint("late", n)}.String())
		}
		limited := uint64(0)
		for _, x := range of(t, run1(t, c, s), office).Refusals {
			if x.Reason == reason.LimitExceeded {
				limited += x.Count
			}
		}
		if limited != refused {
			t.Errorf("%s later %d are refused, not %d", after, limited, refused)
		}
	}
}

// TestAQueryMovesNobody: a REGISTER without a Contact asks where the user is, and he stays there (RFC 3261 §10.2.3).
func TestAQueryMovesNobody(t *testing.T) {
	const other = "198.51.100.8"
	c := newTape(t).scans(1).wait(2*expiresElse).registers(office+":40001", "201", "r1", 1)
	ask := sip{method: "REGISTER", user: "201", callID: "q"}
	c.udp(other+":5060", gatePhones, ask.String())
	ask.status, ask.toTag, ask.extra = 200, "h", contactLine("201", 90)
	c.udp(gatePhones, other+":5060", ask.String())
	for _, from := range []string{office + ":40001", other + ":5060"} {
		c.udp(from, gatePhones, sip{method: "INVITE", user: "201", callID: "i" + from}.String())
	}
	p := run1(t, c, setup(nil))
	if x := of(t, p, office); x.Refused != 0 {
		t.Errorf("the phone is no longer one: %+v", x)
	}
	if x := of(t, p, other); x.Phones != 0 || len(x.Refusals) != 1 || x.Refusals[0].Reason != reason.NotRegistered {
		t.Errorf("who asked is a phone: %+v", x)
	}
}

// TestARuleCountsASourceOnce, whichever of its limits refuse it.
func TestARuleCountsASourceOnce(t *testing.T) {
	s := setup(nil)
	s.Config.RateLimits = limitsOf("few", "2/minute", 1)
	s.Config.RateLimits[0].Limits["OPTIONS"] = "2/minute"
	c := newTape(t)
	for i := range 4 {
		for _, method := range []string{"REGISTER", "OPTIONS"} {
			c.udp(office+":40001", gatePhones, sip{method: method, callID: fmt.Sprint(method, i)}.String())
		}
	}
	p := run1(t, c, s)
	limits := 0
	for _, x := range of(t, p, office).Refusals {
		if x.Reason == reason.LimitExceeded {
			limits++
		}
	}
	if limits != 2 {
		t.Errorf("%d limits refuse", limits)
	}
	if len(p.Rules) != 1 || p.Rules[0].Sources != 1 {
		t.Errorf("%+v", p.Rules)
	}
}
