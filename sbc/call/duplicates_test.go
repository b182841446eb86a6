package call

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sallyport/sbc/tu"
	"sallyport/sbc/tu/script"
)

// TestEverythingTwice plays the golden files with every event of the network that can be repeated given to the call again at once. The
// transactions absorb most repeats (RFC 3261 §17); what gets through, or would if a table were full, changes nothing: the repeat
// makes nothing but what a repeat is owed, and the rest of the file is played as it stands.
func TestEverythingTwice(t *testing.T) {
	files, err := filepath.Glob("../../testdata/call/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if filepath.Base(name) == "README.txt" {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			repeating = true
			defer func() { repeating = false }()
			if got := play(t, string(text)); got != string(text) {
				t.Errorf("a repeat changes what comes after it\n%s", script.Difference(string(text), got))
			}
		})
	}
}

// repeating has stages give repeats to their calls.
var repeating bool

// again gives the call an event that it has just had.
func (s *stage) again(ev tu.Event, first []tu.Action) {
	s.t.Helper()
	switch x := ev.(type) {
	case tu.Answered:
		if x.Msg.Status < 200 && s.c.assured == required {
			return // one more, reliably: it has a number of its own (RFC 3262 §3)
		}
	case tu.Failed, tu.Acked, tu.Cancelled, tu.Tick:
	default:
		return // the core gives it once
	}
	if s.ended {
		return
	}
	for _, a := range s.c.Step(s.now, ev, nil) {
		if !owed(ev, a, first) {
			s.errorf("%T again makes %T: %+v", ev, a, a)
		}
	}
}

// owed reports whether a repeat may make an action: the ACK of a 2xx again (RFC 3261 §13.2.2.4), a provisional response again, and
// what the relay was told already.
func owed(ev tu.Event, a tu.Action, first []tu.Action) bool {
	switch a := a.(type) {
	case tu.SendAck:
		return true
	case tu.Respond:
		x, is := ev.(tu.Answered)
		return is && x.Msg.Status < 200 && (a.Msg.Status == x.Msg.Status || a.Msg.Status == 183)
	case tu.Cancel: // the table sends one CANCEL
		return slices.Contains(first, tu.Action(a))
	case tu.Point:
		for _, f := range first {
			if reflect.DeepEqual(f, tu.Action(a)) {
				return true
			}
		}
	}
	return false
}
