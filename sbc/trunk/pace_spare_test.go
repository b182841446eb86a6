package trunk

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPaceKeepsHalfForWhoIsKnown: however many strangers come, they take no more than half of the slots (and one that was free), and
// whoever is known finds the rest; what strangers are told moves nobody's place in the line.
func TestPaceKeepsHalfForWhoIsKnown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(2, 200).Draw(t, "count")
		each := rapid.IntRange(1, 2).Draw(t, "each")
		p := NewPace(count, time.Second)
		strangers := 0
		for range count * 3 {
			if p.Spare(paceBegan, each) {
				strangers += each
			} else if d := p.Later(); d < waitMost/2 || d > waitMost {
				t.Fatalf("told to wait for %v", d)
			}
		}
		known := 0
		for p.Take(paceBegan, 1) {
			known++
		}
		if strangers > (count+1)/2+each || known < count/2-each || strangers+known < count {
			t.Fatalf("of %d: %d strangers, %d who are known", count, strangers, known)
		}
		if d := p.Wait(paceBegan, 1); d > max(time.Second, 2*time.Second/time.Duration(count)) {
			t.Fatalf("the first of the line waits for %v", d)
		}
		if p.Spare(paceBegan.Add(time.Second/2), 1) != false && count > 2 {
			t.Fatal("a stranger passes before half of the slots are free")
		}
	})
}
