package registrar

import (
	"strings"
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// What became of a REGISTER is what the PBX said, whatever the phone was told.
func TestOutcome(t *testing.T) {
	pbx := func(status int, fields ...message.Header) func(*stage, *run) {
		return func(s *stage, r *run) {
			s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
			ev := s.grant(r, 1, 600)
			if status != 200 {
				ev.Msg = message.Reply(r.sent[1].Msg, status, "")
			}
			ev.Msg.Headers = append(ev.Msg.Headers, fields...)
			s.step(r, ev)
		}
	}
	for _, c := range []struct {
		name string
		edit func(*message.Message)
		then func(*stage, *run)
		want Outcome
	}{
		{"granted", nil, pbx(200), Outcome{Node: "pbx 10.0.0.10:5060", Code: 200, Phrase: "OK"}},
		{"challenged", nil, pbx(401, message.Header{Name: "WWW-Authenticate", Value: `Digest nonce="n"`}), Outcome{Node: "pbx 10.0.0.10:5060", Code: 401, Phrase: "Unauthorized"}},
		{
			"stale nonce", func(m *message.Message) { m.Add("Authorization", "Digest x") },
			pbx(407, message.Header{Name: "Proxy-Authenticate", Value: `Digest nonce="n", Stale="TRUE"`}),
			Outcome{Node: "pbx 10.0.0.10:5060", Code: 407, Phrase: "Proxy Authentication Required", Signed: true, Stale: true},
		},
		{"unknown user, told 403", nil, pbx(404), Outcome{Node: "pbx 10.0.0.10:5060", Code: 404, Phrase: "Not Found"}},
		{"no PBX", nil, func(s *stage, r *run) { s.step(r, tu.Routed{Code: 503, Why: reason.NoPBX}) }, Outcome{Code: 503, Why: reason.NoPBX}},
		{
			"no room: that says nothing of the password", func(m *message.Message) {
				m.Set("Contact", "<sip:a@x>,<sip:b@x>")
				m.Add("Authorization", "Digest x")
			}, func(*stage, *run) {},
			Outcome{Code: 403, Why: reason.NoCapacity, Phrase: "2 contacts in one REGISTER, no more than 1 are taken (phones.registration.contacts)"[:phraseMost]},
		},
	} {
		s := newStage(t)
		s.set.Limits.Contacts = 1
		p := s.phones["a"]
		m := p.request()
		if c.edit != nil {
			c.edit(m)
		}
		r, _ := s.start(p, m, nil)
		if _, ok := r.Outcome(); ok && !r.over {
			t.Errorf("%s: an outcome before the end", c.name)
		}
		c.then(s, r)
		c.want.AoR, c.want.Flow, c.want.UserAgent = "204@example.com", p.flow, "Phone a"
		if got, ok := r.Outcome(); !ok || got != c.want {
			t.Errorf("%s: %v %+v, want %+v", c.name, ok, got, c.want)
		}
	}
}

// One that names no user has none, and long texts of others are cut.
func TestOutcomeIsBounded(t *testing.T) {
	s := newStage(t)
	r, _ := s.start(s.phones["a"], func() *message.Message {
		m := s.phones["a"].request()
		m.To.URI.User = ""
		return m
	}(), nil)
	if _, ok := r.Outcome(); ok || !r.over {
		t.Error("who is it?")
	}
	m := s.phones["b"].request()
	m.Set("User-Agent", strings.Repeat("x", 500))
	r, _ = s.start(s.phones["b"], m, nil)
	s.step(r, tu.Routed{Code: 503})
	if got, ok := r.Outcome(); !ok || len(got.UserAgent) != phraseMost {
		t.Errorf("%+v", got)
	}
}
