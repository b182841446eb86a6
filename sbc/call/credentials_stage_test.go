package call

import (
	"fmt"
	"strings"

	oracle "github.com/icholy/digest"

	"sallyport/sbc/digest"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Whom the account of a stage's peer belongs to.
const (
	accountUser     = "alice"
	accountPassword = "wonderland"
)

// trusts gives a peer of the stage an account, and a route set: account=REALM,REALM routes=URI,URI.
func trusts(p *tu.Peer, w words) {
	if w["account"] != "" {
		p.Account = &tu.Account{Username: accountUser, Password: tu.NewPassword(accountPassword), Realms: strings.Split(w["account"], ",")}
	}
	for r := range strings.SplitSeq(w["routes"], ",") {
		if r != "" {
			p.Routes = append(p.Routes, "<"+r+">")
		}
	}
}

// lets has a hop let an earlier call in by its challenge, known=REALM/NONCE: one request has had the nonce.
func (s *stage) lets(h tu.Hop, challenge string) {
	if challenge == "" || h.Peer.Account == nil {
		return
	}
	b := digest.NewBook(s.c.set.Keys)
	m := &message.Message{Method: "INVITE", URI: message.URI{Scheme: "sip", Host: "x"}, CallID: "earlier", CSeq: 1}
	b.Sign(s.now, tu.Send{Ref: 1, Msg: m, Hop: h})
	no := &message.Message{Status: 407}
	asks(no, challenge)
	a, _ := b.Heard(s.now, tu.Answered{Ref: 1, Msg: no})
	if b.Answer(s.now, &a, no, "0a4f113b0a4f113b") {
		b.Again(s.now, a, 2, 2)
		b.Heard(s.now, tu.Answered{Ref: 2, Msg: &message.Message{Status: 200}})
	}
}

// asks puts challenges into a response: ask=REALM/NONCE[/ALGORITHM][/stale][|...]; basic: of another scheme.
func asks(m *message.Message, list string) {
	name := map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[m.Status]
	for x := range strings.SplitSeq(list, "|") {
		f := strings.Split(x, "/")
		switch {
		case f[0] == "":
			continue
		case f[0] == "basic":
			m.Add(name, `Basic realm="itsp"`)
			continue
		}
		v := fmt.Sprintf(`Digest realm=%q, nonce=%q, qop="auth"`, f[0], f[1])
		for _, word := range f[2:] {
			if word == "stale" {
				v += ", stale=true"
			} else {
				v += ", algorithm=" + word
			}
		}
		m.Add(name, v)
	}
}

// passwordText writes credentials of ours as realm/nonce/count, once an oracle has found them right.
func passwordText(h message.Header, m *message.Message) string {
	if h.Name != "Authorization" && h.Name != "Proxy-Authorization" {
		return h.Value
	}
	got, err := oracle.ParseCredentials(h.Value)
	if err != nil || got.Username != accountUser {
		return h.Value
	}
	method := m.Method
	if method == "ACK" {
		method = "INVITE" // whose credentials it repeats
	}
	want, err := oracle.Digest(&oracle.Challenge{Realm: got.Realm, Nonce: got.Nonce, Algorithm: got.Algorithm, QOP: []string{"auth"}}, oracle.Options{
		Method: method, URI: got.URI, Count: got.Nc, Username: accountUser, Password: accountPassword, Cnonce: got.Cnonce,
	})
	text := fmt.Sprintf("%s/%s/%d", got.Realm, got.Nonce, got.Nc)
	if got.Algorithm != "" {
		text += "/" + got.Algorithm
	}
	if err != nil || want.Response != got.Response || method == m.Method && m.Method != "ACK" && got.URI != m.URI.String() {
		text += "(wrong)"
	}
	return text
}

// secret checks that a peer without the account sees nothing of it, nor of what another one has asked for. A hop without peer is that
// of a response, which has none of it in any case.
func (s *stage) secret(m *message.Message, h tu.Hop) {
	s.t.Helper()
	for _, f := range m.Headers {
		switch {
		case strings.Contains(f.Value, accountPassword):
			s.errorf("the password stands in %s", f.Value)
		case strings.Contains(f.Value, `username="`+accountUser) && (h.Peer == nil || h.Peer.Account == nil):
			s.errorf("credentials for somebody else: %s", f.Value)
		case strings.Contains(f.Value, `username="`+accountUser):
			if c, err := oracle.ParseCredentials(f.Value); err != nil || !h.Peer.Account.Answers(c.Realm) {
				s.errorf("credentials for a realm that is not the account's: %s", f.Value)
			}
		case s.hop[caller].Peer.Kind == tu.KindPhone, s.hop[callee].Peer != nil && s.hop[callee].Peer.Kind == tu.KindPhone: // the PBX may ask it
		case strings.HasSuffix(f.Name, "-Authenticate") && strings.Contains(f.Value, `realm="itsp"`):
			s.errorf("a challenge of a peer with an account passes: %s", f.Value)
		}
	}
}

// challenged reports whether the last BYE in a dialog was challenged: then it may come once more.
func (s *stage) challenged(d string) (was bool) {
	for _, ref := range s.refs {
		if x := s.clients[ref]; x.msg.Method == "BYE" && dialogAt(x.msg, x.hop) == d && x.final != 0 {
			was = tu.Challenge(x.final)
		}
	}
	return was
}

// trusted chooses whether a peer has an account of ours.
func (g *game) trusted(p *tu.Peer) {
	switch realms := []string{"", "itsp", "itsp,home"}[g.pick(3)]; {
	case p.Kind == tu.KindPhone:
	case g.pick(2) == 0:
		trusts(p, words{"account": realms, "routes": "sip:edge.example.net;lr"})
	default:
		trusts(p, words{"account": realms})
	}
}

// challenges lets a 401 or 407 ask for credentials: in a name of the account's or in another one, with a nonce that is new or not.
func (g *game) challenges(m *message.Message) {
	if !tu.Challenge(m.Status) {
		return
	}
	list := []string{"", "itsp/n", "itsp/n", "itsp/n", "itsp/n/stale", "home/n/SHA-256", "evil/n", "basic", "evil/n|itsp/n|home/n"}[g.pick(9)]
	asks(m, strings.ReplaceAll(list, "/n", fmt.Sprintf("/n%d", g.pick(3))))
}
