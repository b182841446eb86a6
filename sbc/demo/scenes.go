package demo

import (
	"context"
	"errors"
	"time"

	"sallyport/media/sdp"
	"sallyport/nat"
)

// scene is one thing to try.
type scene struct {
	name    string
	outside string // who stands outside, on the ladder
	play    func(context.Context, *house, *Scene)
}

var scenes = []scene{
	{"the provider calls in, the PBX answers and echoes, the provider hangs up", "provider", callIn},
	{"the PBX calls out, the provider answers and echoes, the provider hangs up", "provider", callOut},
	{"the PBX puts a call on hold with music, and takes it back", "provider", holdAndResume},
	{"the provider gives up while the PBX rings", "provider", cancelled},
	{"the PBX is busy", "provider", busy},
	{"a stranger scans port 5080", "stranger", scanned},
	{"a phone behind a NAT registers: a wrong password is refused by the PBX, the right one is accepted", "phone", registers},
	{"the phone calls the PBX, which challenges it, answers and echoes; the phone holds the call, and takes it back", "phone", phoneCalls},
	{"the PBX calls the phone, which answers and echoes", "phone", phoneCalled},
	{"the NAT forgets the phone: it cannot be called until it registers again", "phone", phoneMoves},
	{"a stranger scans port 5060", "stranger", scannedPhones},
	{"neither side sees anything of the other", "-", keptApart},
}

// The lengths of talk, in packets of 20 ms.
const (
	talkLong  = 50
	talkShort = 25
)

// pair is a call as both ends see it.
type pair struct {
	caller, callee *line
	call, called   *Call
}

// connect sets a call up and waits until it stands at both ends.
func (h *house) connect(ctx context.Context, from, to *station, number string) (p pair, err error) {
	select {
	case <-to.arrived: // of an earlier scene
	default:
	}
	if p.caller, err = from.dial(ctx, number, h, 0); err != nil {
		return p, err
	}
	select {
	case p.callee = <-to.arrived:
	case r := <-p.caller.ended:
		return p, errors.New("the call never arrived: the caller heard " + r.Why + " " + itoa(r.Code))
	case <-ctx.Done():
		return p, errors.New("the call never arrived")
	}
	for _, end := range []struct {
		l *line
		c **Call
	}{{p.caller, &p.call}, {p.callee, &p.called}} {
		select {
		case *end.c = <-end.l.up:
		case r := <-end.l.ended:
			return p, errors.New("the call ended before it stood: " + r.Why + " " + itoa(r.Code))
		case <-ctx.Done():
			return p, errors.New("the call was never answered")
		}
	}
	return p, nil
}

// hangUp ends a call from one end, waits for the other, and checks the record.
func (h *house) hangUp(ctx context.Context, s *Scene, p pair, by *line, call *Call, endedBy string) {
	by.st.Do(call.Hangup)
	for _, l := range []*line{p.caller, p.callee} {
		select {
		case <-l.ended:
		case <-ctx.Done():
			s.problem("%s never heard the end of the call", l.st.Name)
			return
		}
	}
	h.recorded(ctx, s, 200, endedBy)
}

// recorded waits for the CDR of the scene's call.
func (h *house) recorded(ctx context.Context, s *Scene, code int, by string) {
	aor := ""
	if s.Outside == h.phone.Name {
		aor = phoneUser + "@" + pbxDomain
	}
	c, ok := h.records.wait(ctx, h.calls-1)
	switch {
	case !ok:
		s.problem("no CDR was written")
	case c.Code != code || c.EndedBy != by:
		s.problem("the CDR says code %d, ended by %s; want %d, %s", c.Code, c.EndedBy, code, by)
	case c.AoR != aor:
		s.problem("the CDR names the phone %q, want %q", c.AoR, aor)
	}
}

// talk lets one end speak and judges what arrives at the other, and what comes back.
func (h *house) talk(ctx context.Context, s *Scene, phase string, speaker, listener *line, n int, echo bool) {
	h.mark++
	mark := h.mark
	a := Audio{Phase: phase, Speaker: speaker.st.Name, Listener: listener.st.Name, Echo: echo}
	a.Sent = speaker.sound.speak(ctx, mark, n)
	there, back := listener.sound.ear(mark), speaker.sound.ear(mark)
	// The last packets are still on their way, longer on a busy machine.
	for range 200 {
		if there.packets >= a.Sent && (!echo || back.packets >= a.Sent) || ctx.Err() != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
		there, back = listener.sound.ear(mark), speaker.sound.ear(mark)
	}
	a.Heard, a.Back = there.packets, back.packets
	a.Reordered, a.Damaged = there.reordered+back.reordered, there.damaged+back.damaged
	a.judge()
	s.Audio = append(s.Audio, a)
	title := "RTP " + itoa(a.Sent) + " sent, " + itoa(a.Heard) + " heard"
	if echo {
		title += ", " + itoa(a.Back) + " back"
	}
	h.traffic.audio(title)
	if !a.OK {
		s.problem("audio %s", &a)
	}
}

func callIn(ctx context.Context, h *house, s *Scene) {
	p, err := h.connect(ctx, h.provider, h.pbx, numberEcho)
	if err != nil {
		s.problem("%v", err)
		return
	}
	h.talk(ctx, s, "both ways", p.caller, p.callee, talkLong, true)
	h.hangUp(ctx, s, p, p.caller, p.call, "caller")
}

func callOut(ctx context.Context, h *house, s *Scene) {
	p, err := h.connect(ctx, h.pbx, h.provider, numberAway)
	if err != nil {
		s.problem("%v", err)
		return
	}
	h.talk(ctx, s, "both ways", p.caller, p.callee, talkLong, true)
	h.hangUp(ctx, s, p, p.callee, p.called, "callee")
}

func holdAndResume(ctx context.Context, h *house, s *Scene) {
	p, err := h.connect(ctx, h.provider, h.pbx, numberEcho)
	if err != nil {
		s.problem("%v", err)
		return
	}
	h.talk(ctx, s, "before", p.caller, p.callee, talkShort, true)
	if h.reinvite(ctx, s, p.callee, p.called, sdp.SendOnly) {
		h.talk(ctx, s, "on hold", p.callee, p.caller, talkShort, false)
		if n := p.caller.sound.speak(ctx, 0, 1); n > 0 {
			s.problem("the provider may send although it is on hold")
		}
	}
	if h.reinvite(ctx, s, p.callee, p.called, sdp.SendRecv) {
		h.talk(ctx, s, "after", p.caller, p.callee, talkShort, true)
	}
	h.hangUp(ctx, s, p, p.caller, p.call, "caller")
}

// reinvite lets one end offer another direction.
func (h *house) reinvite(ctx context.Context, s *Scene, by *line, call *Call, d sdp.Direction) bool {
	offer := by.sound.describe(d)
	by.st.Do(func() { call.Reinvite(offer) })
	select {
	case code := <-by.asked:
		if code == 200 {
			return true
		}
		s.problem("the re-INVITE with %s met %d", d, code)
	case <-ctx.Done():
		s.problem("the re-INVITE with %s was never answered", d)
	}
	return false
}

func cancelled(ctx context.Context, h *house, s *Scene) {
	refused(ctx, h, s, numberRing, 300*time.Millisecond, 487, "caller")
}

func busy(ctx context.Context, h *house, s *Scene) {
	refused(ctx, h, s, numberBusy, 0, 486, "callee")
}

// refused plays a call that never stands.
func refused(ctx context.Context, h *house, s *Scene, number string, cancel time.Duration, code int, by string) {
	l, err := h.provider.dial(ctx, number, h, cancel)
	if err != nil {
		s.problem("%v", err)
		return
	}
	select {
	case r := <-l.ended:
		if r.Code != code {
			s.problem("the provider heard %d, want %d", r.Code, code)
		}
	case <-ctx.Done():
		s.problem("the provider never heard the end of the call")
		return
	}
	h.recorded(ctx, s, code, by)
}

// keptApart looks through everything that the gate sent to either side, and at what it still holds.
func keptApart(ctx context.Context, h *house, s *Scene) {
	for side := nat.Outside; side <= nat.Inside; side++ {
		messages, size, ids, found := h.traffic.seenAcross(side)
		s.finding("%-8s %d messages from the gate (%d bytes) looked through for %d addresses, Call-IDs, tags and branches "+
			"of the other side: %d found", side, messages, size, ids, len(found))
		s.Problems = append(s.Problems, found...)
		if messages == 0 {
			s.problem("nothing was sent to the %s side", side)
		}
	}
	for h.phone.keepalives.Load() == 0 && ctx.Err() == nil { // it is due within the interval, wherever in it
		time.Sleep(20 * time.Millisecond)
	}
	if n := h.phone.keepalives.Load(); n == 0 {
		s.problem("no keepalive has come to the phone")
	} else {
		s.finding("the phone was kept reachable by %d OPTIONS from the gate, all answered", n)
	}
	g := h.gate.Gauges()
	s.finding("the gate  holds %d calls, %d dialogs and %d media streams after %d calls", g.Calls, g.Dialogs, g.Streams, g.Total)
	if g.Calls+g.Dialogs+g.Streams+g.Panics+g.LeaksFatal > 0 {
		s.problem("something was left behind: %+v", g)
	}
}
