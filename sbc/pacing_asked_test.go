package sbc

import (
	"testing"
	"time"
)

// TestPasswordsAreNotAskedForEver: a PBX that has asked for passwords is taken to ask again, for a day.
func TestPasswordsAreNotAskedForEver(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var p pacing
	if n := p.each(now); n != 1 {
		t.Errorf("nobody has asked, and a phone comes %d times", n)
	}
	p.asked = now
	for after, want := range map[time.Duration]int{0: 2, asksLong - time.Second: 2, asksLong: 1} {
		if n := p.each(now.Add(after)); n != want {
			t.Errorf("after %v a phone comes %d times, want %d", after, n, want)
		}
	}
}
