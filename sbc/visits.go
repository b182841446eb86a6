package sbc

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/policy"
	"sallyport/policy/toll"
	"sallyport/sbc/api"
	"sallyport/sbc/message"
	"sallyport/sbc/registrar"
)

// visitsMost bounds the addresses-of-record whose last REGISTER is remembered: anybody can send one for any user. Those
// with a binding are forgotten last.
const visitsMost = 4096

// visits is what `sbc why` knows of the REGISTERs of an address-of-record. It belongs to whoever has the core's turn.
type visits struct {
	by    map[string]*visit
	order []string // oldest first
}

// visit is the last REGISTER of an address-of-record, and what is worth knowing of those before.
type visit struct {
	at         time.Time
	last       registrar.Outcome
	challenged time.Time
	wrong      int
	wrongAt    time.Time
	wrongFrom  netip.AddrPort
}

// registering is the last REGISTER for people to read.
func (x *visit) registering() *api.Registering {
	o := &x.last
	return &api.Registering{
		At: x.at, Source: o.Flow.Transport.String() + " " + o.Flow.Remote.String(), UserAgent: o.UserAgent,
		Node: strings.TrimPrefix(o.Node, pbxName+" "), Code: o.Code, Phrase: o.Phrase, Reason: string(o.Why), Local: o.Local,
	}
}

// note keeps what became of a REGISTER.
func (v *visits) note(now time.Time, r *registrar.Register, book *registrar.Book) {
	if o, ok := r.Outcome(); ok {
		v.keep(now, &o, book)
	}
}

func (v *visits) keep(now time.Time, o *registrar.Outcome, book *registrar.Book) {
	x := v.by[o.AoR]
	if x == nil {
		v.makeRoom(book)
		x = &visit{}
		v.by[o.AoR] = x
		v.order = append(v.order, o.AoR)
	}
	x.at, x.last = now, *o
	switch denied := o.Code == 401 || o.Code == 407; {
	case o.Signed && !o.Stale && (denied || o.Code == 403):
		x.wrong++
		x.wrongAt, x.wrongFrom = now, o.Flow.Remote
	case denied:
		x.challenged = now
	}
}

func (v *visits) makeRoom(book *registrar.Book) {
	if v.by == nil {
		v.by = map[string]*visit{}
	}
	for tries := 0; len(v.order) >= visitsMost; tries++ {
		oldest := v.order[0]
		v.order = slices.Delete(v.order, 0, 1)
		if tries < 8 && len(book.AoR(oldest)) > 0 {
			v.order = append(v.order, oldest)
			continue
		}
		delete(v.by, oldest)
	}
}

// isPhone reports whether a subject names an address-of-record that we serve: user@domain, or a user of whom something is
// known, in whatever spelling.
func (c control) isPhone(ctx context.Context, subject string) (aor string, ok bool) {
	user, host := message.SplitAoR(subject)
	if user == "" {
		return "", false
	}
	err := c.core.Do(ctx, func(time.Time) {
		w := c.assembly.world
		aor = user + "@" + message.PlainHost(w.snap.PBX.Domain)
		if host != "" {
			ok = w.serves(host)
		} else {
			ok = len(c.assembly.phones.book.AoR(aor)) > 0 || c.assembly.phones.visits.by[aor] != nil
		}
	})
	// Whoever was refused before a registration is a phone, too.
	ok = ok || host == "" && len(c.guard.Senders(user)) > 0
	return aor, ok && err == nil
}

// whyPhone is what is known of a phone.
func (c control) whyPhone(ctx context.Context, subject, aor string) (api.Why, error) {
	p := api.Phone{AoR: aor, Recording: c.since}
	var sources []netip.AddrPort
	err := c.core.Do(ctx, func(now time.Time) {
		for _, b := range c.assembly.phones.book.AoR(aor) {
			p.Bindings = append(p.Bindings, c.registration(b, c.callsByToken()[b.Token], true))
			sources = append(sources, b.Flow.Remote)
		}
		if x := c.assembly.phones.visits.by[aor]; x != nil {
			p.Register, p.Challenged, p.Wrong, p.WrongAt = x.registering(), x.challenged, x.wrong, x.wrongAt
			if x.wrong > 0 {
				p.WrongFrom = x.wrongFrom.String()
			}
		}
		for _, x := range c.assembly.calls {
			if v := x.View(); v.AoR == aor {
				p.Calls = append(p.Calls, api.Spoken{ID: v.ID, Direction: v.Direction, Other: other(v.Direction, v.From, v.To), Start: v.Start})
			}
		}
	})
	if err != nil {
		return api.Why{}, err
	}
	p.Budgets = c.standing(ctx, toll.Who{AoR: aor})
	slices.SortFunc(p.Calls, func(a, b api.Spoken) int { return b.Start.Compare(a.Start) })
	p.Calls = append(p.Calls, c.recent.of(aor)...)
	if len(sources) == 0 && p.Register != nil {
		if _, at, ok := strings.Cut(p.Register.Source, " "); ok {
			if a, err := netip.ParseAddrPort(at); err == nil {
				sources = append(sources, a)
			}
		}
	}
	for _, a := range sources {
		if x := c.guard.Explain(c.now(), a.Addr()); !x.Allowed {
			p.Guard = append(p.Guard, refusedNow(a.Addr(), &x.Now))
		}
	}
	user, _, _ := strings.Cut(aor, "@")
	for _, b := range c.guard.Bans().OfUser(c.now(), user) {
		shown := banShown(&b)
		p.Banned = append(p.Banned, fmt.Sprintf("from %s until %s: %s", shown.Address, b.Until.Local().Format(time.DateTime), shown.Why()))
	}
	if !p.Reachable() {
		for _, s := range c.guard.Senders(user) {
			if p.Register == nil || s.Refused() && s.At.After(p.Register.At) {
				p.Seen = append(p.Seen, seenText(&s))
			}
		}
	}
	return p.Why(subject, c.now(), time.Local)
}

func other(direction, from, to string) string {
	if direction == "outbound" {
		return from
	}
	return to
}

func refusedNow(a netip.Addr, m *policy.Meeting) string {
	text := fmt.Sprintf("%s: %s of %s", a, m.Action, m.Method)
	if m.Rule != nil {
		text += fmt.Sprintf(" by rule %q", m.Rule.Name)
	}
	return text + ", " + string(m.Reason)
}

// of are the last calls of a phone, newest first.
func (r *recent) of(aor string) (out []api.Spoken) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range recentCalls {
		x := &r.ring[(r.next-1-i+2*recentCalls)%recentCalls]
		if x.Call == "" || x.AoR != aor {
			continue
		}
		out = append(out, api.Spoken{
			ID: x.Call, Direction: x.Direction, Other: other(x.Direction, x.From, x.To), Start: x.Start, Code: x.Code, Reason: string(x.Reason),
			EndedBy: x.EndedBy, Duration: x.Duration, Silent: silentSides(x),
		})
		if len(out) == 10 {
			break
		}
	}
	return out
}
