package sbc

import (
	"time"

	"go.uber.org/zap"

	"sallyport/policy"
	"sallyport/sbc/config"
	"sallyport/sbc/core"
	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// intake bounds what may reach the PBX from outside: so many new requests of a method, all sources together (pbx.limits).
// Strangers have four fifths of it at most, so that phones which are registered keep their registrations while all the world
// knocks. It belongs to whoever has the core's turn.
type intake struct {
	all, strangers *policy.Budgets
	spent          spentNonces // that requests have answered free of charge
}

func newIntake(now time.Time, w *world) (t intake, err error) {
	if t.all, err = policy.NewBudgets(now, limitTexts(w.snap.PBX.Limits)); err != nil {
		return t, err
	}
	t.strangers, err = policy.NewBudgets(now, fourFifths(w.snap.PBX.Limits))
	return t, err
}

// setLimits takes other limits; what is owed stays owed.
func (a *assembly) setLimits(now time.Time) {
	limits := a.world.snap.PBX.Limits
	err := a.intake.all.SetLimits(now, limitTexts(limits))
	if err == nil {
		err = a.intake.strangers.SetLimits(now, fourFifths(limits))
	}
	if err != nil { // the configuration has been checked
		a.sbc.log.Error("pbx.limits stay as they are", zap.Error(err))
	}
}

func limitTexts(limits map[string]config.Rate) map[string]string {
	out := map[string]string{}
	for method, r := range limits {
		out[method] = r.String()
	}
	return out
}

// fourFifths are limits less a fifth. A count that has none is written by the next longer unit.
func fourFifths(limits map[string]config.Rate) map[string]string {
	out := map[string]string{}
	for method, text := range limitTexts(limits) {
		r, err := policy.ParseRate(text)
		if err != nil {
			continue
		}
		for _, longer := range [...]time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
			if r.Count%5 != 0 && r.Count < 1000 && longer > r.Per { // of a thousand, rounding takes no more than a part
				r.Count, r.Per = r.Count*int(longer/r.Per), longer
			}
		}
		r.Count = max(1, r.Count*4/5)
		out[method] = r.String()
	}
	return out
}

// takeLimit takes a new request out of what may reach the PBX. It reports false with the answer for one too many. The PBX's
// own requests are not bound, nor is the one that answers a challenge: its first was counted.
func (a *assembly) takeLimit(now time.Time, ev *tu.Arrived) (core.Answer, bool) {
	m, p := ev.Msg, ev.Peer
	if p.Kind == tu.KindNode || a.emergency(ev) || a.answersChallenge(m) {
		return core.Answer{}, true
	}
	ok, limit := true, ""
	if p.Stranger {
		if ok, limit = a.intake.strangers.Take(now, m.Method); !ok {
			limit += ", the part of pbx.limits that strangers may have"
		}
	}
	if ok {
		ok, limit = a.intake.all.Take(now, m.Method)
	}
	if ok {
		return core.Answer{}, true
	}
	a.Note(now, tu.Note{
		Source: ev.Flow.Remote, Transport: ev.Flow.Transport, Side: p.Side, Realm: p.Realm, Method: m.Method, Code: 503,
		Why: reason.LimitExceeded, Text: "pbx.limits: all sources together have used " + limit,
	})
	answer := core.Answer{Code: 503, Why: reason.LimitExceeded}
	if p.Kind == tu.KindPhone {
		answer.RetryAfter = 1 // a provider would stop the whole trunk on it
	}
	return answer, false
}

// answersChallenge reports whether a request is the first with a nonce that the PBX gave out: the second half of one that was
// counted. Later ones with the same nonce are requests of their own.
func (a *assembly) answersChallenge(m *message.Message) bool {
	for value := range tu.Credentials(m) {
		nonce := credentials.Remembered(value)
		if is, ours := a.phones.nonces.find(nonce); ours && a.intake.spent.spend(nonce, is.times) {
			return true
		}
	}
	return false
}
