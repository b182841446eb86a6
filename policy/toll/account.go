package toll

import (
	"fmt"
	"time"
)

// account is what one caller has used of one rule's budget.
type account struct {
	calls int // in progress

	debt   float64 // calls of the last minute that have not been forgotten
	debtAt time.Time

	talking int           // answered calls in progress
	since   time.Duration // sum of their answers' times, counted from the ledger's birth
	spoken  *day          // nil: nothing yet
	warned  bool          // that little is left of the day's minutes
}

// nearly is how much of a day's minutes may be gone before somebody is told.
const nearly = 0.8

// recent are the calls of the last minute, so far as they still count.
func (a *account) recent(now time.Time, perMinute int) float64 {
	gone := now.Sub(a.debtAt).Minutes() * float64(perMinute)
	return max(0, min(a.debt, float64(perMinute))-max(0, gone))
}

// charge counts a new call.
func (a *account) charge(now time.Time, r *rule) {
	a.calls++
	if r.PerMinute > 0 {
		a.debt, a.debtAt = a.recent(now, r.PerMinute)+1, now
	}
}

// used are the seconds talked within the last 24 hours, calls in progress included.
func (a *account) used(now, birth time.Time) time.Duration {
	sum := a.running(now, birth)
	if a.spoken != nil {
		sum += a.spoken.sum(now)
	}
	return sum
}

func (a *account) running(now, birth time.Time) time.Duration {
	return max(0, time.Duration(a.talking)*now.Sub(birth)-a.since)
}

// idle reports whether the account says no more than a new one would.
func (a *account) idle(now time.Time, r *rule) bool {
	return a.calls == 0 && (r.PerMinute == 0 || a.recent(now, r.PerMinute) < slack) && (a.spoken == nil || a.spoken.sum(now) == 0)
}

// slack forgives what floating point loses.
const slack = 1e-6

// over reports whether a further call would be too much, which figure says so, and when it would not be any more.
func (a *account) over(now, birth time.Time, r *rule) (figure string, clears time.Time, over bool) {
	if r.MinutesPerDay > 0 {
		if used, most := a.used(now, birth), time.Duration(r.MinutesPerDay)*time.Minute; used >= most {
			clears = now.Add(24 * time.Hour) // by calls that run: they have yet to be forgotten at all
			if a.spoken != nil && a.running(now, birth) < most {
				clears = a.spoken.clears(now, used-most)
			}
			return figureOf(int(used/time.Minute), r.MinutesPerDay, "minutes a day"), clears, true
		}
	}
	if r.Concurrent > 0 && a.calls >= r.Concurrent {
		return figureOf(a.calls, r.Concurrent, "calls at a time"), time.Time{}, true
	}
	if r.PerMinute > 0 {
		if debt := a.recent(now, r.PerMinute); debt+1 > float64(r.PerMinute)+slack {
			wait := time.Duration((debt + 1 - float64(r.PerMinute)) / float64(r.PerMinute) * float64(time.Minute))
			return figureOf(r.PerMinute, r.PerMinute, "calls a minute"), now.Add(wait), true
		}
	}
	return "", time.Time{}, false
}

func figureOf(used, most int, what string) string {
	return fmt.Sprintf("%d of %d %s", used, most, what)
}

// warn reports, once each time that it comes to be so, that little is left of the day's minutes.
func (a *account) warn(now, birth time.Time, r *rule) (figure string, news bool) {
	if r.MinutesPerDay == 0 {
		return "", false
	}
	used := a.used(now, birth)
	near := used.Minutes() >= nearly*float64(r.MinutesPerDay)
	news, a.warned = near && !a.warned, near
	return figureOf(int(used/time.Minute), r.MinutesPerDay, "minutes a day"), news
}

// day keeps what was talked in each of the last 24 hours and the one that runs: an hour is forgotten as a whole, once all of
// it is more than 24 hours ago.
type day struct {
	hour  int64             // the last one that is counted
	slots [25]time.Duration // by hour modulo their number
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// roll forgets hours that have passed. A clock that was set back counts in the hour that it had reached.
func (d *day) roll(now time.Time) {
	h := hourOf(now)
	if h-d.hour >= int64(len(d.slots)) {
		*d = day{hour: h}
		return
	}
	for d.hour < h {
		d.hour++
		d.slots[d.hour%int64(len(d.slots))] = 0
	}
}

func (d *day) sum(now time.Time) (sum time.Duration) {
	d.roll(now)
	for _, s := range d.slots {
		sum += s
	}
	return sum
}

// add counts what was talked from a moment until now, each hour by itself.
func (d *day) add(from, now time.Time) {
	d.roll(now)
	for end := now; end.After(from); {
		h := hourOf(end.Add(-1))
		begin := time.Unix(h*3600, 0)
		if begin.Before(from) {
			begin = from
		}
		at := min(h, d.hour)
		if at <= d.hour-int64(len(d.slots)) {
			return // forgotten already
		}
		d.slots[at%int64(len(d.slots))] += end.Sub(begin)
		end = begin
	}
}

// clears is when so much, and a little, has been forgotten.
func (d *day) clears(now time.Time, most time.Duration) time.Time {
	d.roll(now)
	n := int64(len(d.slots))
	for h := d.hour - n + 1; h <= d.hour; h++ {
		if most -= d.slots[h%n]; most < 0 {
			return time.Unix((h+n)*3600, 0)
		}
	}
	return now.Add(time.Hour)
}
