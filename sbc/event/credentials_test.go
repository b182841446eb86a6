package event

import (
	"fmt"
	"strings"

	oracle "github.com/icholy/digest"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// trusts gives a peer an account, and a route set: account=REALM,REALM routes=URI,URI.
func trusts(p *tu.Peer, w words) {
	if w["account"] != "" {
		p.Account = &tu.Account{Username: "alice", Password: tu.NewPassword("wonderland"), Realms: strings.Split(w["account"], ",")}
	}
	for r := range strings.SplitSeq(w["routes"], ",") {
		if r != "" {
			p.Routes = append(p.Routes, "<"+r+">")
		}
	}
}

// asks puts challenges into a response: ask=REALM/NONCE[/stale][|...].
func asks(m *message.Message, list string) {
	name := map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[m.Status]
	for x := range strings.SplitSeq(list, "|") {
		if f := strings.Split(x, "/"); len(f) > 1 && name != "" {
			v := fmt.Sprintf(`Digest realm=%q, nonce=%q, qop="auth"`, f[0], f[1])
			if len(f) > 2 {
				v += ", stale=true"
			}
			m.Add(name, v)
		}
	}
}

// passwordText writes credentials of ours as realm/nonce/count, once an oracle has found them right.
func passwordText(h message.Header, m *message.Message) string {
	if !strings.HasSuffix(h.Name, "uthorization") {
		return h.Value
	}
	got, err := oracle.ParseCredentials(h.Value)
	if err != nil || got.Username != "alice" {
		return h.Value
	}
	want, err := oracle.Digest(&oracle.Challenge{Realm: got.Realm, Nonce: got.Nonce, QOP: []string{"auth"}}, oracle.Options{
		Method: m.Method, URI: m.URI.String(), Count: got.Nc, Username: "alice", Password: "wonderland", Cnonce: got.Cnonce,
	})
	if err != nil || want.Response != got.Response {
		return "wrong"
	}
	return fmt.Sprintf("%s/%s/%d", got.Realm, got.Nonce, got.Nc)
}

// challenged reports whether the last NOTIFY to the subscriber was challenged: then it may come once more.
func (s *stage) challenged() (was bool) {
	for _, ref := range s.refs {
		if x := s.clients[ref]; x.leg == subscriber && x.final != 0 {
			was = was || x.final == 401 || x.final == 407
		}
	}
	return was
}

// secret checks that nobody sees anything of an account but the peer that has it, in the name of a realm of its own.
func (s *stage) secret(m *message.Message, p *tu.Peer) {
	s.t.Helper()
	for _, h := range m.Headers {
		switch {
		case strings.Contains(h.Value, "wonderland"):
			s.t.Errorf("the password stands in %s", h.Value)
		case strings.Contains(h.Value, `username="alice"`):
			if c, err := oracle.ParseCredentials(h.Value); err != nil || p == nil || !p.Account.Answers(c.Realm) {
				s.t.Errorf("credentials for somebody else: %s", h.Value)
			}
		}
	}
}

// challenges lets a 401 or 407 ask for credentials, in a name of the account's or in another one.
func (g *game) challenges(m *message.Message) {
	if m.Status == 401 || m.Status == 407 {
		list := []string{"", "itsp/n", "itsp/n", "itsp/n/stale", "home/n", "evil/n", "evil/n|itsp/n"}[g.pick(7)]
		asks(m, strings.ReplaceAll(list, "/n", fmt.Sprintf("/n%d", g.pick(3))))
	}
}

// trusted chooses whether a peer system has an account of ours.
func (g *game) trusted(p *tu.Peer) {
	if n := g.pick(3); p.Kind != tu.KindPhone {
		trusts(p, []words{{}, {"account": "itsp"}, {"account": "itsp,home", "routes": "sip:edge.example.net;lr"}}[n])
	}
}
