package sbc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/sbc/api"
	"sallyport/sbc/message"
	"sallyport/sbc/registrar"
	"sallyport/sbc/tu"
)

// gauge counts the bindings. It runs in the core's turn.
func (p *phones) gauge() api.PhoneGauge {
	c := p.book.Census()
	g := api.PhoneGauge{Now: p.book.Len(), High: p.book.High(), Most: bindingsMost, Lost: c.Lost, Held: c.Held}
	f := p.book.Figures()
	g.Throttled, g.Local, g.Passed = p.registrar.Inside > 0, f.Local, f.Passed
	return g
}

// byNode counts the bindings by the node that accepted them last. It runs in the core's turn.
func (p *phones) byNode() map[string]int { return p.book.Census().Nodes }

// Registrations are the bindings of phones, of one address-of-record or of all, in its order.
func (c control) Registrations(ctx context.Context, aor string) ([]api.Registration, error) {
	var out []api.Registration
	err := c.core.Do(ctx, func(time.Time) {
		calls, is := c.callsByToken(), c.assembly.world.meant(aor)
		for b := range c.assembly.phones.book.All {
			if aor == "" || is(b.AoR) {
				out = append(out, c.registration(b, calls[b.Token], aor != ""))
			}
		}
	})
	slices.SortFunc(out, func(a, b api.Registration) int {
		if n := strings.Compare(a.AoR, b.AoR); n != 0 {
			return n
		}
		return a.Since.Compare(b.Since)
	})
	return out, err
}

// meant tells the addresses-of-record that an administrator's word means: its user, at the PBX's domain or one that stands for it, in
// whatever spelling. Case does not count here: who asks is shown all that he may mean.
func (w *world) meant(word string) func(aor string) bool {
	user, host := message.SplitAoR(word)
	if user == "" || host != "" && !w.serves(host) {
		return func(string) bool { return false }
	}
	return func(aor string) bool {
		is, _, _ := strings.Cut(aor, "@")
		return strings.EqualFold(is, user)
	}
}

// callsByToken finds the calls of each phone: one look at each call, however many phones are listed. It runs in the
// core's turn.
func (c control) callsByToken() map[string][]tu.UserID {
	out := map[string][]tu.UserID{}
	for id, x := range c.assembly.calls {
		for _, token := range x.Tokens() {
			out[token] = append(out[token], id)
		}
	}
	return out
}

// registration runs in the core's turn.
func (c control) registration(b *registrar.Binding, calls []tu.UserID, full bool) api.Registration {
	out := api.Registration{
		AoR: b.AoR, Contact: b.Contact.String(), Token: b.Token, Lost: b.Lost, UserAgent: b.UserAgent, NAT: b.NAT.String(),
		Flow: b.Flow.Transport.String() + " " + b.Flow.Remote.String(), Node: strings.TrimPrefix(b.Node, pbxName+" "),
		ALG: slices.Clone(b.ALG), Since: b.Since, Refreshed: b.Refreshed, Expires: b.Expires, ExpiresPBX: b.ExpiresPBX,
		Answered: b.Answered, Keepalive: c.keepalive(b), Accepted: b.Accepted, Local: int(b.Local), Passed: int(b.Passed),
	}
	out.Held, _ = c.assembly.phones.book.Held(b.Token)
	if i := c.assembly.world.interfaces[b.Flow.Interface]; i != nil {
		out.Interface = i.Transport.String() + " " + i.Bind.String()
	}
	for _, id := range calls {
		x := c.assembly.calls[id]
		out.Calls = append(out.Calls, x.ID())
		if !full {
			continue
		}
		for _, s := range c.describe(id, x, true).Streams {
			text := fmt.Sprintf("%s stream %d: told %s", x.ID(), s.Index, orNone(s.Outside.Signalled))
			if s.Outside.Learned != "" {
				text += ", heard from " + s.Outside.Learned
			}
			text = fmt.Sprintf("%s, %d packets in, %d out", text, s.Outside.Packets, s.Outside.Sent)
			if s.Outside.Rejected > 0 {
				text += fmt.Sprintf(", %d refused from elsewhere", s.Outside.Rejected)
			}
			out.Media = append(out.Media, text)
		}
	}
	slices.Sort(out.Calls)
	return out
}

func orNone(s string) string {
	if s == "" {
		return "no usable address"
	}
	return s
}

func (c control) keepalive(b *registrar.Binding) string {
	every := c.assembly.phones.registrar.Keepalive
	switch {
	case every <= 0:
		return "none"
	case b.Flow.Transport == nat.UDP:
		return "options " + every.String()
	case b.Flow.Transport == nat.WSS:
		return "ping " + every.String()
	default:
		return "crlf " + every.String()
	}
}

// tellBinding logs what became of a phone: that it came, moved, lost its connection or went. Refreshes are no news.
func (a *assembly) tellBinding(before, after *registrar.Binding) {
	b, what := after, ""
	switch {
	case before == nil:
		what = "phone registered"
	case after == nil:
		b, what = before, "phone is no longer registered"
	case after.Lost && !before.Lost:
		what = "phone has lost its connection"
	case before.Flow != after.Flow:
		what = "phone has moved"
	default:
		return
	}
	fields := []zap.Field{
		zap.String("aor", b.AoR), zap.String("src", b.Flow.Remote.String()), zap.String("node", strings.TrimPrefix(b.Node, pbxName+" ")),
		zap.String("ua", b.UserAgent),
	}
	if before == nil && len(b.ALG) > 0 {
		a.sbc.log.Warn("a SIP ALG edits this phone's messages: "+strings.Join(b.ALG, "; ")+"\n"+
			"  hint: switch SIP ALG (SIP helper) off in the phone's router, or let the phone use TLS", fields...)
	}
	a.sbc.log.Info(what, fields...)
}
