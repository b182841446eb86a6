package sbc

import (
	"bytes"
	"strings"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/message"
	"sallyport/sbc/registrar"
	"sallyport/sbc/scan"
	"sallyport/sbc/tu"
)

// securityLine writes a line of the bounded security log. Its fields come as the guard has ordered them: the source first, in
// front of all that others wrote, so that who reads lines by pattern (fail2ban) is not led astray by a User-Agent.
func (s *SBC) securityLine(l policy.LogLine) {
	var fields []zap.Field
	for key, value := range l.Fields() {
		fields = append(fields, zap.Any(key, value))
	}
	s.tellSecurity(l.Message(), fields)
}

func (s *SBC) tellSecurity(msg string, fields []zap.Field) {
	s.log.Warn(msg, fields...)
	if s.opt.Security != nil {
		s.opt.Security.Warn(msg, fields...)
	}
}

// noteTextMost bounds what is kept of a clause, in bytes: it may name what a stranger wrote.
const noteTextMost = 200

// note keeps what a call found out about a source, for `sbc why`, and tells the log.
func (s *SBC) note(now time.Time, n tu.Note) {
	if n.Judgement != tu.Unjudged {
		s.judged(now, n.Judgement, n.Code, n.Request, nat.Flow{Transport: n.Transport, Remote: n.Source}, n.Side, n.Realm)
		return
	}
	if len(n.Text) > noteTextMost {
		n.Text = strings.ToValidUTF8(n.Text[:noteTextMost], "") + "…"
	}
	if !s.notes.add(now, n) || n.Realm == nat.Trunks && n.Method == "REGISTER" || !s.told.AllowN(now, 1) {
		return // how our own registrations stand the assembly says, once
	}
	text := n.Text
	if text == "" {
		text = "refused: sbc why " + n.Source.Addr().String()
	}
	s.log.Warn(text, zap.String("src", n.Source.String()), zap.String("side", n.Side.String()),
		zap.String("realm", n.Realm.String()), zap.String("method", n.Method), zap.Int("code", n.Code),
		zap.String("reason", string(n.Why)))
}

// outcomes are the guard's words for judgements.
var outcomes = map[tu.Judgement]policy.OutcomeKind{
	tu.WrongDigest: policy.WrongDigest, tu.DoubtedDigest: policy.WrongDigest, tu.UnknownUser: policy.UnknownUser, tu.Nowhere: policy.Nowhere,
	tu.Accepted: policy.Success,
}

// judged tells the guard what a final answer says about who asked. It runs in the core's turn.
func (s *SBC) judged(now time.Time, j tu.Judgement, code int, asked *message.Message, from nat.Flow, side nat.Side, realm nat.Realm) {
	kind, known := outcomes[j]
	if !known || asked == nil {
		return
	}
	// Phones begin with the nonce that they had last. A PBX that has restarted does not know it, and not every one calls it
	// stale: an office that comes back has guessed no password. Of a 403 the digest has been looked at.
	if j == tu.WrongDigest && code != 403 && s.assembly.strange(asked) {
		return
	}
	at, book := from.Remote.Addr(), s.assembly.phones.book
	posing := kind == policy.WrongDigest && s.assembly.poses(asked, at)
	if j == tu.DoubtedDigest && !posing {
		return
	}
	user := asked.From.URI
	if asked.Method == "REGISTER" {
		user = asked.To.URI // whose password it is (RFC 3261 §10.2)
	}
	switch aor := s.assembly.world.aor(user); {
	case posing:
		book.Suspect(now, aor, at)
	case j == tu.Accepted && book.Suspected(now, aor, at):
		return // else who has an account could try three passwords of another's, register, and try three more
	}
	s.guard.Outcome(now, policy.Outcome{
		Source: from.Remote, Side: side, Realm: realm, Transport: from.Transport, AoR: user.User + "@" + user.Host, Kind: kind,
		CallID: asked.CallID, CSeq: asked.CSeq,
	})
}

// judge reads what became of a REGISTER for the guard.
func (a *assembly) judge(r *registrar.Register) {
	o, ok := r.Outcome()
	if !ok || o.Node == "" {
		return // it was not the PBX that spoke
	}
	i := a.world.interfaces[o.Flow.Interface]
	if i == nil || i.Side != nat.Outside {
		return
	}
	stranger := !a.sbc.guard.Knows(i, o.Flow.Remote.Addr())
	j := tu.Judge("REGISTER", o.Code, o.Signed, o.Stale, stranger)
	a.sbc.judged(a.sbc.now(), j, o.Code, r.Asked(), o.Flow, i.Side, i.Realm)
}

// challengesMost bounds a generation of challenges; two are kept.
const challengesMost = 8192

// challenges remembers which requests have been challenged, so that a challenge that is sent again counts once. It belongs to
// whoever has the core's turn.
type challenges struct{ young, old map[challenge]struct{} }

// challenge names a challenged request (RFC 3261 §8.1.1.4, §8.1.1.5) and the challenge: who asks again and again under one
// Call-ID and CSeq is challenged anew each time.
type challenge struct {
	to     nat.Flow
	callID string
	cseq   uint32
	nonces string
}

// add reports whether a challenge is a new one.
func (c *challenges) add(x challenge) bool {
	if _, there := c.young[x]; there {
		return false
	}
	if _, there := c.old[x]; there {
		return false
	}
	if c.young == nil || len(c.young) >= challengesMost {
		c.old, c.young = c.young, make(map[challenge]struct{})
	}
	c.young[x] = struct{}{}
	return true
}

// passing looks at a message on its way out: of a challenge the guard learns the nonce. Whoever answers that from the
// address that it goes to has received it there, and a first answer is no attempt to guess, so it is not charged. It runs
// in the core's turn, and costs other messages a comparison.
func (a *assembly) passing(to nat.Flow, b []byte) {
	if !bytes.HasPrefix(b, []byte("SIP/2.0 401")) && !bytes.HasPrefix(b, []byte("SIP/2.0 407")) {
		return
	}
	i := a.world.interfaces[to.Interface]
	if i == nil || i.Side != nat.Outside {
		return
	}
	var v scan.View
	nonces := noncesIn(b)
	if scan.Scan(b, &v) != nil || !a.challenged.add(challenge{to, string(v.Bytes(v.CallID)), v.CSeq, strings.Join(nonces, " ")}) {
		return
	}
	now := a.sbc.now()
	for _, nonce := range nonces {
		a.sbc.guard.Challenged(now, to.Remote, nonce)
	}
}

// noncesIn are the nonces of a written challenge, one a field.
func noncesIn(b []byte) (out []string) {
	head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch string(name) { // as we write them
		case "WWW-Authenticate", "Proxy-Authenticate":
			out = append(out, nonceOf(string(bytes.TrimSpace(value))))
		}
	}
	return out
}
