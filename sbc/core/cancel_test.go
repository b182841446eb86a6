package core

import (
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestTheReasonOfACancelPassesTheLeakGuard: the CANCEL is the INVITE's, which the guard has seen; its Reason is new.
func TestTheReasonOfACancelPassesTheLeakGuard(t *testing.T) {
	for _, tt := range []struct {
		name, reason string
		guard        func(m *message.Message) (int, bool)
		want         string
		leaks        int64
	}{
		{"none", "", nil, "", 0},
		{"passes", `SIP;cause=200;text="Call completed elsewhere"`, nil, `SIP;cause=200;text="Call completed elsewhere"`, 0},
		{"repaired", "SIP;cause=487;text=10.0.0.9", func(m *message.Message) (int, bool) {
			m.Set("Reason", "SIP;cause=487;text=repaired")
			return 1, true
		}, "SIP;cause=487;text=repaired", 1},
		{"beyond repair", "SIP;cause=487;text=10.0.0.9", func(*message.Message) (int, bool) { return 1, false }, "", 1},
		{"taken out", "SIP;cause=487", func(m *message.Message) (int, bool) { m.Remove("Reason"); return 1, true }, "", 1},
		{"foul", "SIP\r\nVia: evil", nil, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			var looked int
			r.script = func(a *actor, _ time.Time, ev tu.Event) []tu.Action {
				switch ev.(type) {
				case tu.Arrived:
					return []tu.Action{tu.Send{Ref: 1, Msg: outgoing("INVITE", a.ids.CallID(), a.ids.Tag(), 1), Hop: hop(nat.Inside)}}
				case tu.Cancelled:
					return []tu.Action{tu.Cancel{Ref: 1, Reason: tt.reason, Side: nat.Inside}, a.reply(487)}
				}
				return nil
			}
			r.check = func(m *message.Message) (int, bool) {
				if m.Method != "CANCEL" {
					return 0, true
				}
				if looked++; tt.guard == nil {
					return 0, true
				}
				return tt.guard(m)
			}
			r.hear(outer, request("INVITE", "c", "1", ""))
			r.hear(inner, r.answer(r.find("INVITE"), 180, "callee"))
			r.hear(outer, request("CANCEL", "c", "1", ""))
			cancel := r.find("CANCEL")
			if got := cancel.field("Reason"); got != tt.want || strings.Contains(cancel.text, "evil") {
				t.Errorf("Reason %q, want %q\n%s", got, tt.want, cancel.text)
			}
			if looked > 1 || (tt.reason != "") != (looked == 1) || r.gauges.Leaks.Load() != tt.leaks {
				t.Errorf("%d looks, %d leaks", looked, r.gauges.Leaks.Load())
			}
		})
	}
}
