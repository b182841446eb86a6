package sbc

import (
	"context"
	"fmt"
	"iter"
	"time"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/call"
	"sallyport/sbc/capture"
	"sallyport/sbc/config"
	"sallyport/sbc/tu"
)

// newCaptures makes the captures, and has the relay hand them what it copies.
func (s *SBC) newCaptures() *capture.Set {
	set := capture.New(capture.Options{Program: captured{s}, Now: s.now, Log: s.log})
	s.plane.SetOnlooker(set.Copied)
	return set
}

// captureRules are the message rules of a configuration that capture.
func captureRules(snap *config.Snapshot) capture.Rules {
	rules := capture.Rules{Config: capture.Config(snap.Policy.Captures)}
	for i := range snap.Policy.Messages {
		if snap.Policy.Messages[i].Capture {
			rules.Paths = append(rules.Paths, fmt.Sprintf("policy.message_rules[%d]", i))
		}
	}
	return rules
}

// Captures are those under way.
func (c control) Captures(context.Context) ([]api.Capture, error) { return c.captures.List(), nil }

// Capture writes what happens to a subject until something ends it.
func (c control) Capture(ctx context.Context, q api.CaptureRequest, to api.CaptureSink) (api.Capture, error) {
	return c.captures.Run(ctx, q, to)
}

// StopCapture ends a capture.
func (c control) StopCapture(_ context.Context, id int) error { return c.captures.Stop(id) }

// captured is the program as captures see it.
type captured struct{ *SBC }

// Do implements capture.Program.
func (c captured) Do(ctx context.Context, f func(time.Time)) error { return c.core.Do(ctx, f) }

// Calls implements capture.Program.
func (c captured) Calls() iter.Seq2[tu.UserID, capture.Call] {
	return func(yield func(tu.UserID, capture.Call) bool) {
		for id, x := range c.assembly.calls {
			if !yield(id, capturedCall{x}) {
				return
			}
		}
	}
}

// Streams implements capture.Program.
func (c captured) Streams(id tu.UserID) []media.ID { return c.core.Streams(id) }

// Tap implements capture.Program.
func (c captured) Tap(id media.ID, forms media.Tap) error { return c.plane.Tap(id, forms) }

// Phone implements capture.Program.
func (c captured) Phone(ctx context.Context, word string) (aor string, ok bool) {
	return control{SBC: c.SBC}.isPhone(ctx, word)
}

// Serves implements capture.Program.
func (c captured) Serves(host string) bool { return served(c.snap.Load(), host) }

// Rules implements capture.Program.
func (c captured) Rules() *policy.Rules { return c.guard.Rules() }

// capturedCall is a call as captures see it.
type capturedCall struct{ *call.Call }

// View implements capture.Call.
func (c capturedCall) View() capture.View {
	v := c.Call.View()
	out := capture.View{ID: v.ID, AoR: v.AoR}
	for i := range v.Legs {
		out.CallIDs, out.Ends = append(out.CallIDs, v.Legs[i].CallID), append(out.Ends, v.Legs[i].Remote)
	}
	for i := range v.Streams {
		out.Ends = append(out.Ends, v.Streams[i].Signalled[nat.Outside], v.Streams[i].Signalled[nat.Inside])
	}
	return out
}
