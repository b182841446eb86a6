package sbc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/policy/toll"
	"sallyport/sbc/api"
	"sallyport/sbc/call"
	"sallyport/sbc/config"
	"sallyport/sbc/core"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// control answers the administrator.
type control struct {
	*SBC
	load func() (*config.Snapshot, config.Report)
}

// Control is what the admin socket asks; load reads the configuration anew for a reload.
func (s *SBC) Control(load func() (*config.Snapshot, config.Report)) api.Control {
	return control{s, load}
}

// Calls are the calls in progress, oldest first.
func (c control) Calls(ctx context.Context) ([]api.Call, error) {
	var out []api.Call
	err := c.core.Do(ctx, func(time.Time) {
		for id, x := range c.assembly.calls {
			out = append(out, c.describe(id, x, false))
		}
	})
	slices.SortFunc(out, func(a, b api.Call) int { return a.Start.Compare(b.Start) })
	return out, err
}

// Call is one call in full.
func (c control) Call(ctx context.Context, name string) (api.Call, error) {
	var out api.Call
	found := false
	err := c.core.Do(ctx, func(time.Time) {
		for id, x := range c.assembly.calls {
			if x.Is(name) {
				out, found = c.describe(id, x, true), true
			}
		}
	})
	if err == nil && !found {
		err = api.NotFound("`sbc calls` lists the calls in progress; `sbc why` with the same id says how one has ended", "no call %q", name)
	}
	return out, err
}

// describe runs in the core's turn.
func (c control) describe(id tu.UserID, x *call.Call, full bool) api.Call {
	v := x.View()
	out := api.Call{
		ID: v.ID, Correlation: x.Correlation(), Direction: v.Direction, State: v.State, Trunk: v.Trunk, Node: v.Node, AoR: v.AoR,
		From: v.From, To: v.To, Start: v.Start,
		Answer: v.Answer,
	}
	if !full {
		return out
	}
	for _, t := range v.Transfers {
		out.Transfers = append(out.Transfers, t.Leg+" → "+t.To)
	}
	if v.Moving != "" {
		out.Transfers = append(out.Transfers, v.Moving)
	}
	for _, l := range v.Legs {
		out.Legs = append(out.Legs, api.Leg{Side: l.Side.String(), State: l.State, Peer: l.Peer, Remote: l.Remote, CallID: l.CallID})
	}
	ids, carries := c.core.Streams(id), x.Carries()
	for i, s := range v.Streams {
		st := api.Stream{Index: i}
		if i < len(ids) && i < len(carries) {
			if legs, ok := c.plane.Stats(ids[i]); ok {
				f := core.Figures(&legs, carries[i])
				st.Codec, st.Packet, st.AsG711 = f.Codec, f.Packet, f.AsG711
				st.Outside.LegStats, st.Inside.LegStats = f.Outside, f.Inside
			}
		}
		for side, leg := range []*api.StreamLeg{nat.Outside: &st.Outside, nat.Inside: &st.Inside} {
			leg.Local, leg.Signalled = s.Local.At(nat.Side(side)).String(), s.Signalled[side]
			if leg.Latched {
				leg.Learned = leg.Remote
			}
		}
		out.Streams = append(out.Streams, st)
	}
	return out
}

func problem(p config.Problem) api.Problem {
	hint := p.Hint
	p.Hint = ""
	return api.Problem{Text: p.String(), Hint: hint}
}

// Drain takes no new calls and waits for the last one.
func (c control) Drain(ctx context.Context, wait time.Duration) (api.DrainResult, error) {
	left, err := c.SBC.Drain(ctx, wait)
	return api.DrainResult{Left: left}, err
}

// Why explains an address or a call.
func (c control) Why(ctx context.Context, subject string) (api.Why, error) {
	if a, is := addressOf(subject); is {
		return c.whyAddress(ctx, subject, a)
	}
	if x, err := c.Call(ctx, subject); err == nil {
		detail, err := json.Marshal(x)
		return api.Why{Subject: subject, Allowed: true, Text: x.Text(c.now(), time.Local), Detail: detail}, err
	}
	if r, ok := c.recent.find(subject); ok {
		detail, err := json.Marshal(r)
		return api.Why{Subject: subject, Allowed: r.Code < 300, Text: c.told(&r), Detail: detail}, err
	}
	// The name of a trunk before that of a phone: anybody can call himself so and be refused.
	if w, ok, err := c.whyTrunk(ctx, subject); ok || err != nil {
		return w, err
	}
	if aor, ok := c.isPhone(ctx, subject); ok {
		return c.whyPhone(ctx, subject, aor)
	}
	if w, ok, err := c.whyNumber(ctx, subject); ok || err != nil {
		return w, err
	}
	if _, host, whole := strings.Cut(subject, "@"); whole {
		return api.Why{}, api.NotFound("a call's Call-ID is not known either; phones register in "+c.snap.Load().PBX.Domain+
			": correct the phone's domain, or add "+host+" to phones.domains", "%s is no domain that is served", host)
	}
	return api.Why{}, api.NotFound("give an address, a phone (user or user@domain), a number that was dialled, a trunk, a call's id, or a Call-ID of either leg; "+
		"the last "+itoa(recentCalls)+" calls are kept; of a phone that never came here ask as "+subject+"@"+c.snap.Load().PBX.Domain,
		"nothing is known of %q", subject)
}

// whyAddress is the guard's explanation, and what calls found out about the address.
func (c control) whyAddress(ctx context.Context, subject string, a netip.Addr) (api.Why, error) {
	x := struct {
		policy.Explanation
		Notes []note `json:"notes,omitempty"`
	}{c.guard.Explain(c.now(), a), c.notes.of(a)}
	x.SetRegistered(c.registeredAt(ctx, a))
	text := x.Text(time.Local)
	text += notedText(x.Notes)
	if last := behind(&x.Explanation, x.Notes); last != nil {
		x.Allowed = false
		text += "behind  the guard lets it in, and what stands behind it refused its last request: see noted\n"
	}
	for _, line := range c.standing(ctx, toll.Who{Source: a}) {
		text += "budget  " + line + "\n"
	}
	detail, err := json.Marshal(x)
	return api.Why{Subject: subject, Allowed: x.Allowed, Text: text, Detail: detail}, err
}

// behind is what refused the last request of a source that the guard would let in; nil: nothing did.
func behind(x *policy.Explanation, notes []note) *note {
	if !x.Allowed || x.Seen == nil || len(notes) == 0 {
		return nil
	}
	last := &notes[len(notes)-1]
	if last.Code < 400 && last.Reason == "" || tu.Challenge(last.Code) || last.At.Before(x.Seen.Last) {
		return nil
	}
	return last
}

// notedText tells notes, one line for each run of equal ones.
func notedText(notes []note) (text string) {
	for i := 0; i < len(notes); {
		n, times := notes[i], 0
		for ; i < len(notes) && n.same(&notes[i]); i++ {
			n.At = notes[i].At
			times++
		}
		text += fmt.Sprintf("noted   %s: %s", n.At.Local().Format(time.TimeOnly), n.what())
		if n.Text != "" {
			text += ": " + n.Text
		}
		if times > 1 {
			text += fmt.Sprintf(" (%d times)", times)
		}
		text += "\n"
	}
	return text
}

// what is the request, how it was answered, if it was, and the reason, if it is ours.
func (n *note) what() string {
	out := n.Method
	if n.Code != 0 {
		out += " " + itoa(n.Code)
	}
	if n.Reason != "" {
		out += " " + string(n.Reason)
	}
	return out
}

// registeredAt are the addresses-of-record behind a source, as limits count it: of IPv6 its /64.
func (c control) registeredAt(ctx context.Context, a netip.Addr) (aors []string) {
	key := policy.SourceKey(a)
	err := c.core.Do(ctx, func(time.Time) {
		for b := range c.assembly.phones.book.All {
			if policy.SourceKey(b.Flow.Remote.Addr()) == key && !slices.Contains(aors, b.AoR) {
				aors = append(aors, b.AoR)
			}
		}
	})
	if err != nil {
		return nil // a core that is too busy to tell: the guard's answer stands
	}
	return aors
}

func recordText(r *tu.CDR) string {
	text := fmt.Sprintf("%s   %s call, %s → %s\n", r.Call, r.Direction, api.Printable(r.From), api.Printable(r.To))
	text += fmt.Sprintf("ended   %s: code %d by %s", r.End.Local().Format(time.TimeOnly), r.Code, r.EndedBy)
	if r.Reason != "" {
		text += ", " + string(r.Reason)
	}
	caller, callee := r.Trunk+r.AoR, r.Node
	if r.Direction == "outbound" {
		caller, callee = callee, caller
	}
	text += fmt.Sprintf("\nway     %s (%s) → %s (%s), %s, talked %.1f s\n", r.Source, caller, r.Destination, callee, attempts(r.Attempts), r.Duration)
	if r.Cause != "" {
		text += fmt.Sprintf("said    %q\n", r.Cause)
	}
	for i := range r.Tries {
		if len(r.Tries) > 1 || r.Code >= 300 {
			text += "tried   " + triedText(&r.Tries[i]) + "\n"
		}
	}
	for i := range r.Media {
		text += fmt.Sprintf("audio   outside %s; inside %s\n", heard(&r.Media[i].Outside), heard(&r.Media[i].Inside))
	}
	return text
}

// triedText says what became of one hop.
func triedText(x *tu.Try) string {
	text := x.Peer
	if !strings.Contains(text, x.Address) {
		text += " " + x.Address
	}
	switch {
	case x.Unsent:
		return text + ": no place left, nothing was sent"
	case x.Code == 0:
		return text + ": nobody waited for its answer"
	case x.Reason == reason.Timeout && x.Code == 408:
		return text + fmt.Sprintf(": no answer in %.1f s", x.Took)
	case x.Reason == reason.Timeout && x.Code == 503:
		return text + fmt.Sprintf(": unreachable, after %.1f s: nothing listens there, or nothing leads there", x.Took)
	}
	text += fmt.Sprintf(": %d after %.1f s", x.Code, x.Took)
	if x.Reason != "" {
		text += ", " + string(x.Reason)
	}
	return text
}

// heard says of one leg's media what tells one-way audio, and how it sounded.
func heard(l *tu.LegStats) string {
	text := fmt.Sprintf("%d packets heard", l.Packets)
	if l.Packets == 0 {
		text = "nothing heard"
	}
	if l.Remote != "" {
		text += " from " + l.Remote
	}
	if l.Lost > 0 {
		text += fmt.Sprintf(", %d lost", l.Lost)
	}
	if l.MOSIn > 0 {
		text += fmt.Sprintf(", MOS %.1f", l.MOSIn)
	}
	if l.MOSOut > 0 {
		text += fmt.Sprintf(", MOS %.1f of what it heard", l.MOSOut)
	}
	if l.Rejected > 0 {
		text += ", refused " + api.Rejections(l)
	}
	return text
}
