package sbc

import (
	"strings"
	"testing"
	"time"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// TestRecordTextTellsTheWay: `sbc why` of a call that has ended says what each hop answered.
func TestRecordTextTellsTheWay(t *testing.T) {
	r := tu.CDR{
		Call: "abc", Direction: "outbound", Code: 503, EndedBy: "sbc", Attempts: 4, End: time.Unix(1e9, 0), Cause: "Q.850;cause=34\x1b",
		Tries: []tu.Try{
			{Peer: "one", Address: "203.0.113.20:5060", Code: 503, Reason: reason.NoCapacity, Unsent: true},
			{Peer: "two", Address: "203.0.113.21:5060", Code: 408, Reason: reason.Timeout, Took: 1.5},
			{Peer: "10.0.0.10:5060", Address: "10.0.0.10:5060", Code: 486, Took: 2},
			{Peer: "three", Address: "203.0.113.22:5060"},
			{Peer: "four", Address: "203.0.113.23:5060", Code: 503, Reason: reason.Timeout}, {Peer: "five", Address: "203.0.113.24:5060", Code: 503, Took: 1},
		},
	}
	text := recordText(&r)
	for _, want := range []string{
		"said    \"Q.850;cause=34\\x1b\"\n", "tried   one 203.0.113.20:5060: no place left, nothing was sent\n",
		"tried   two 203.0.113.21:5060: no answer in 1.5 s\n", "tried   10.0.0.10:5060: 486 after 2.0 s\n",
		"tried   three 203.0.113.22:5060: nobody waited for its answer\n",
		"tried   four 203.0.113.23:5060: unreachable, after 0.0 s: nothing listens there", "tried   five 203.0.113.24:5060: 503 after 1.0 s\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	r = tu.CDR{Code: 200, Tries: r.Tries[2:3]}
	if strings.Contains(recordText(&r), "tried") {
		t.Error("a call that went well has one hop, and it is named already")
	}
}
