package sbc

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/capture"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/trace"
	"sallyport/sbc/transport"
)

// watched is the guard that the readers ask: the flight recorder and captures note what came and what the guard said.
type watched struct {
	*policy.Guard
	recorder *trace.Recorder // nil: off
	captures *capture.Set
}

// watchedGuard is what stands behind the sockets.
func (s *SBC) watchedGuard() transport.Guard {
	return &watched{s.guard, s.recorder, s.captures}
}

// Check judges one message and notes it.
func (w *watched) Check(p *policy.Packet) policy.Verdict {
	v := w.Guard.Check(p)
	if p.ScanErr != nil {
		var parser *message.Error
		if errors.As(p.ScanErr, &parser) {
			return v // it has been noted when the scan had seen it
		}
	}
	w.captures.Heard(p, &v)
	if w.recorder == nil || v.Action == policy.Ignore {
		return v
	}
	w.recorder.Note(&trace.Note{
		At: p.Now, Interface: p.Interface, Remote: p.Source, Refused: v.Refused(), Reason: v.Reason, Data: p.Data,
		Known: v.Reason == reason.LiveDialog || w.Knows(p.Interface, p.Source.Addr()),
	})
	return v
}

// Answered notes what a reader has answered by itself.
func (w *watched) Answered(i *nat.Interface, to netip.AddrPort, b []byte) {
	w.captures.Answered(i, to, b)
}

// Shed counts what nobody looks at. A source that somebody captures is looked at.
func (w *watched) Shed(now time.Time, i *nat.Interface, source netip.AddrPort) bool {
	shed := !w.captures.Asks(source.Addr()) && w.Guard.Shed(now, i, source)
	if shed {
		w.recorder.LeaveOut()
	}
	return shed
}

// recordSent notes what goes to the outside: a replay needs the answers. It runs in the core's turn.
func (s *SBC) recordSent(to nat.Flow, b []byte) {
	if s.recorder == nil {
		return
	}
	i := s.assembly.world.interfaces[to.Interface]
	if i == nil || i.Side != nat.Outside || len(b) < 8 { // a keep-alive is no message
		return
	}
	s.recorder.Note(&trace.Note{
		At: s.now(), Interface: i, Remote: to.Remote, Sent: true, Known: s.guard.Knows(i, to.Remote.Addr()), Data: b,
	})
}

// Record writes what the flight recorder holds.
func (c control) Record(_ context.Context, w io.Writer) error {
	if c.recorder == nil {
		return api.NotFound("set policy.recorder to a size such as 16MiB, and restart", "the flight recorder is off")
	}
	return c.recorder.Dump(w)
}
