package sbc

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"sallyport/nat"
	"sallyport/policy/toll"
	"sallyport/sbc/api"
	"sallyport/sbc/call"
	"sallyport/sbc/config"
	"sallyport/sbc/core"
	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/route"
	"sallyport/sbc/tu"
)

// tolls judges who may call what, and counts what is called. It belongs to whoever has the core's turn.
type tolls struct {
	ledger  *toll.Ledger
	ids     map[string]tu.UserID     // of the calls that count, by the names that their records bear
	unheard map[tu.UserID]*call.Call // those that nobody has answered yet
	further map[string]*further      // what transferred calls count beside their first numbers, by the names of their records
	told    *rate.Limiter            // lines in the log of all rules together; each rule and key is bounded before

	refused [refusalsMost]refusal // the last ones, for `sbc why`
	next    int
}

// refusal is a call that a rule on calls refused.
type refusal struct {
	at        time.Time
	aor, text string
}

const refusalsMost = 256

func newTolls(now time.Time, rules *toll.Rules) tolls {
	return tolls{
		ledger: toll.NewLedger(now, rules), ids: map[string]tu.UserID{}, unheard: map[tu.UserID]*call.Call{}, further: map[string]*further{},
		told: rate.NewLimiter(10, 200),
	}
}

// setTolls makes the world's rules ready on who may call what.
func (w *world) setTolls(snap *config.Snapshot) (err error) {
	w.tolls, err = toll.Compile(&snap.Policy.Toll)
	return err
}

// calling is a call as the rules on calls see it; false: they do not judge it. What the PBX sends to a phone costs nothing,
// and who may be called by a trunk is the PBX's affair unless a rule names that trunk.
func (a *assembly) calling(ev *tu.Arrived) (toll.Call, bool) {
	m, p := ev.Msg, ev.Peer
	c := toll.Call{Source: ev.Flow.Remote.Addr(), Number: m.URI.UserName(), Reads: a.world.table.Country().Readings(m.URI)}
	switch {
	case p.Kind == tu.KindPhone && p.Name != "":
		c.Kind, c.AoR = toll.Phone, p.Name
	case p.Kind == tu.KindPhone:
		c.Kind = toll.Stranger
	case p.Kind == tu.KindTrunk:
		c.Kind, c.Trunk = toll.Trunk, p.Name
	case p.Realm == nat.Trunks:
		c.Kind, c.Source = toll.PBX, netip.Addr{}
		c.AoR = a.callingFor(m)
		c.Trunk = a.trunkFor(m.URI)
	default:
		return c, false
	}
	return c, true
}

// callingFor is the address-of-record for which the PBX calls: of the user that it asserts (RFC 3325 §9.1), else of that of From.
func (a *assembly) callingFor(m *message.Message) string {
	who := m.From.URI
	if list, err := m.NameAddrs("P-Asserted-Identity"); err == nil {
		for _, n := range list {
			if n.URI.User != "" {
				who = n.URI
				break
			}
		}
	}
	who.User = who.User[:min(len(who.User), userMost)]
	return who.AoR(a.world.snap.PBX.Domain)
}

// judgeToll judges a call and begins to count it. It reports false with the answer for one that is refused.
func (a *assembly) judgeToll(now time.Time, id tu.UserID, ev *tu.Arrived) (core.Answer, bool) {
	c, judged := a.calling(ev)
	if !judged || a.emergency(ev) {
		return core.Answer{}, true
	}
	return a.judgeAs(now, uint64(id), c, ev)
}

// judgeAs is judgeToll for a call as the rules see it, under the id that the ledger knows it by.
func (a *assembly) judgeAs(now time.Time, id uint64, c toll.Call, ev *tu.Arrived) (core.Answer, bool) {
	v := a.tolls.ledger.Begin(now, id, c)
	a.tellTolls(now, v.Alarms, ev)
	if !v.Refuse {
		return core.Answer{}, true
	}
	text := shortened(v.Text(time.Local))
	a.sbc.notes.add(now, tu.Note{
		Source: ev.Flow.Remote, Side: ev.Peer.Side, Realm: ev.Peer.Realm, Method: "INVITE", Code: v.Code, Why: reason.Fraud,
		Text: text,
	})
	t := &a.tolls
	t.refused[t.next], t.next = refusal{now, c.AoR, text}, (t.next+1)%refusalsMost
	return core.Answer{Code: v.Code, Why: reason.Fraud}, false
}

// shortened bounds a text that may name what others wrote.
func shortened(text string) string {
	if len(text) > noteTextMost {
		text = strings.ToValidUTF8(text[:noteTextMost], "") + "…"
	}
	return text
}

// countToll follows a call that may go on, by its name in its record.
func (a *assembly) countToll(id tu.UserID, c *call.Call) {
	if a.tolls.ledger.Counts(uint64(id)) {
		a.tolls.ids[c.ID()] = id
		a.tolls.unheard[id] = c
	}
}

// tickTolls hears of answers, for whom a day's minutes run from then on, and of days that are nearly used up.
func (a *assembly) tickTolls(now time.Time) {
	for id, c := range a.tolls.unheard {
		if at := c.Answered(); !at.IsZero() {
			a.tolls.ledger.Answered(at, uint64(id))
			delete(a.tolls.unheard, id)
		}
	}
	for _, f := range a.tolls.further {
		a.settleFurther(now, f)
	}
	a.tellTolls(now, a.tolls.ledger.Tick(now), nil)
}

// settleToll counts what a call has used. One that the PBX has challenged counts for nothing: its retry does.
func (a *assembly) settleToll(now time.Time, r *tu.CDR) {
	a.dropFurther(now, r.Call)
	id, counts := a.tolls.ids[r.Call]
	if !counts {
		return
	}
	delete(a.tolls.ids, r.Call)
	delete(a.tolls.unheard, id)
	if tu.Challenge(r.Code) {
		a.tolls.ledger.Forgive(now, uint64(id))
		return
	}
	if r.Duration > 0 {
		a.tolls.ledger.Answered(now.Add(-time.Duration(r.Duration*float64(time.Second))), uint64(id))
	}
	a.tellTolls(now, a.tolls.ledger.End(now, uint64(id)), nil)
}

// dropToll forgets a call that has gone, with a record or without.
func (a *assembly) dropToll(id tu.UserID) {
	if c := a.calls[id]; c != nil {
		a.dropFurther(a.sbc.now(), c.ID())
		if a.tolls.ids[c.ID()] == id {
			delete(a.tolls.ids, c.ID())
		}
	}
	delete(a.tolls.unheard, id)
	a.tellTolls(a.sbc.now(), a.tolls.ledger.End(a.sbc.now(), uint64(id)), nil)
}

// tellTolls writes lines for the log. ev is the call that was judged, if there is one.
func (a *assembly) tellTolls(now time.Time, alarms []toll.Alarm, ev *tu.Arrived) {
	for i := range alarms {
		if !a.tolls.told.AllowN(now, 1) {
			return
		}
		x := &alarms[i]
		msg := "call alarm"
		if x.Refuse {
			msg = "call refused"
		}
		fields := []zap.Field{
			zap.String("rule", x.Rule), zap.String("aor", x.AoR), zap.String("trunk", x.Trunk), zap.String("reason", string(reason.Fraud)),
			zap.String("key", x.Key), zap.String("figure", x.Figure), zap.String("number", shortened(x.Number)),
		}
		if x.Source.IsValid() { // of the PBX there is none: nobody shall be banned for what it calls
			fields = append(fields, zap.String("src", x.Source.String()))
		}
		if ev != nil {
			fields = append(fields, zap.String("side", ev.Peer.Side.String()), zap.String("realm", ev.Peer.Realm.String()))
		}
		a.sbc.tellSecurity(msg, fields)
	}
}

// reachable reports whether a source that is not registered may ask for somebody (phones.reachable).
func reachable(snap *config.Snapshot, uri message.URI) bool {
	number := route.Number(uri)
	for _, re := range snap.Phones.Reachable {
		if re.MatchString(number) {
			return true
		}
	}
	return false
}

// unreachable refuses a request of somebody who is not registered for somebody whom such may not reach.
func (a *assembly) unreachable(now time.Time, ev *tu.Arrived) core.Answer {
	n := tu.Note{
		Source: ev.Flow.Remote, Transport: ev.Flow.Transport, Side: ev.Peer.Side, Realm: ev.Peer.Realm, Method: ev.Msg.Method,
		Code: 403, Why: reason.Fraud,
	}
	if ev.Peer.Stranger { // what an unknown user at a phone's address does is no reason to harm the phone
		judged := n
		judged.Judgement, judged.Request = credentials.Nowhere, ev.Msg
		a.Note(now, judged)
	}
	n.Text = shortened("not registered, it asks for " + route.Number(ev.Msg.URI) + ", whom phones.reachable does not name")
	a.Note(now, n)
	return core.Answer{Code: 403, Why: reason.Fraud}
}

// tollRules is how often the rules on calls have decided. It runs in the core's turn.
func (a *assembly) tollRules() []api.Rule {
	var out []api.Rule
	for _, h := range a.tolls.ledger.Hits() {
		out = append(out, api.Rule{Path: h.Path, Name: h.Name, Hits: h.Enforced, Shadow: h.Shadow})
	}
	return out
}

// tollLevels are the tables behind them. It runs in the core's turn.
func (a *assembly) tollLevels() []api.Limit {
	var out []api.Limit
	for _, l := range a.tolls.ledger.Levels() {
		out = append(out, api.Limit{Name: l.Name, Level: l.Used, High: l.Most, Cap: l.Cap})
	}
	return out
}

// standing is what a caller has used of the budgets that rules on calls give it, and what they refused it lately.
func (c control) standing(ctx context.Context, w toll.Who) (out []string) {
	_ = c.core.Do(ctx, func(now time.Time) { // a core that does not answer says so elsewhere
		out = append(c.assembly.tolls.refusals(w.AoR), c.assembly.tolls.ledger.Standing(now, w)...)
	})
	return out
}

// refusalsTold is how many refusals of one phone are told.
const refusalsTold = 3

// refusals are the last ones of an address-of-record, newest first.
func (t *tolls) refusals(aor string) (out []string) {
	for i := range refusalsMost {
		r := &t.refused[(t.next-1-i+refusalsMost)%refusalsMost]
		if aor != "" && r.aor == aor && len(out) < refusalsTold {
			out = append(out, "refused at "+r.at.Local().Format(time.TimeOnly)+": "+r.text)
		}
	}
	return out
}
