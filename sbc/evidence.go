package sbc

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/credentials"
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
	if n.Judgement != credentials.Unjudged {
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

// judged tells the guard what a final answer says about who asked. It runs in the core's turn.
func (s *SBC) judged(now time.Time, j credentials.Judgement, code int, asked *message.Message, from nat.Flow, side nat.Side, realm nat.Realm) {
	if asked == nil {
		return
	}
	user := asked.From.URI
	if asked.Method == "REGISTER" {
		user = asked.To.URI // whose password it is (RFC 3261 §10.2)
	}
	by := &witness{s.assembly, now, s.assembly.world.aor(user), from.Remote.Addr()}
	kind, known := policy.OutcomeOf(credentials.Weigh(j, code, tu.Credentials(asked), by))
	if !known {
		return
	}
	s.guard.Outcome(now, policy.Outcome{
		Source: from.Remote, Side: side, Realm: realm, Transport: from.Transport, AoR: user.AoR(user.Host), Kind: kind,
		CallID: asked.CallID, CSeq: asked.CSeq,
	})
}

// witness is what the program knows of who has asked: credentials.Known.
type witness struct {
	a   *assembly
	now time.Time
	aor string
	at  netip.Addr
}

// Issued reports whether a node of the PBX has given a nonce out.
func (w *witness) Issued(nonce string) bool {
	_, issued := w.a.phones.nonces.find(nonce)
	return issued
}

// Answers reports whether a user name may be a phone's at the address.
func (w *witness) Answers(username string) bool { return w.a.phones.book.Answers(w.at, username) }

// Suspect and Suspected are those of the book.
func (w *witness) Suspect()        { w.a.phones.book.Suspect(w.now, w.aor, w.at) }
func (w *witness) Suspected() bool { return w.a.phones.book.Suspected(w.now, w.aor, w.at) }

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
	said := credentials.Answer{
		Method: "REGISTER", Code: o.Code, Signed: o.Signed, Stale: o.Stale, Stranger: !a.sbc.guard.Knows(i, o.Flow.Remote.Addr()),
	}
	a.sbc.judged(a.sbc.now(), said.Judge(), o.Code, r.Asked(), o.Flow, i.Side, i.Realm)
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
	if scan.Scan(b, &v) != nil || !a.challenged.Add(credentials.Challenge{To: to, CallID: string(v.Bytes(v.CallID)), CSeq: v.CSeq, Nonces: strings.Join(nonces, " ")}) {
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
			out = append(out, credentials.Remembered(string(bytes.TrimSpace(value))))
		}
	}
	return out
}
