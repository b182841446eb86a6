package tu

import (
	"net/netip"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
)

func TestJudgedLeavesANoteOfPhonesAlone(t *testing.T) {
	node := &Peer{Kind: KindNode, Side: nat.Inside}
	flow := nat.Flow{Transport: nat.TCP, Remote: netip.MustParseAddrPort("198.51.100.7:40000")}
	req := &message.Message{Method: "INVITE", Headers: []message.Header{{Name: "Authorization", Value: "Digest"}}}
	refused, fine := &message.Message{Status: 403}, &message.Message{Status: 200}
	for _, tt := range []struct {
		name   string
		near   *Peer
		far    *Peer
		answer *message.Message
		notes  int
	}{
		{"nobody", nil, node, refused, 0},
		{"a stranger", &Peer{Kind: KindPhone, Stranger: true}, node, refused, 1},
		{"somebody at a phone's address", &Peer{Kind: KindPhone}, node, refused, 1},
		{"a phone that may not call there", &Peer{Kind: KindPhone, Name: "204@example.com"}, node, refused, 0},
		{"a trunk", &Peer{Kind: KindTrunk}, node, refused, 0},
		{"another phone refuses", &Peer{Kind: KindPhone, Stranger: true}, &Peer{Kind: KindPhone}, refused, 0},
		{"before any answer", &Peer{Kind: KindPhone, Stranger: true}, nil, refused, 0},
		{"a call that is taken", &Peer{Kind: KindPhone, Stranger: true}, node, fine, 0},
	} {
		do := Judged(Hop{Peer: tt.near, Flow: flow}, tt.far, req, tt.answer, nil)
		if len(do) != tt.notes {
			t.Errorf("%s: %v", tt.name, do)
			continue
		}
		if tt.notes == 0 {
			continue
		}
		if n := do[0].(Note); n.Judgement != credentials.WrongDigest || n.Source != flow.Remote || n.Transport != nat.TCP || n.Request != req || n.Code != 403 {
			t.Errorf("%s: %+v", tt.name, n)
		}
	}
}

// TestJudgedDoubtsPhones: of a registered phone's request a challenge to credentials is evidence, and nothing else.
func TestJudgedDoubtsPhones(t *testing.T) {
	node, phone := &Peer{Kind: KindNode, Side: nat.Inside}, &Peer{Kind: KindPhone, Name: "204@example.com", Realm: nat.Phones}
	signed := []message.Header{{Name: "Proxy-Authorization", Value: `Digest username="205", nonce="n"`}}
	ask := func(value string) []message.Header {
		return []message.Header{{Name: "Proxy-Authenticate", Value: value}}
	}
	for _, tt := range []struct {
		name   string
		method string
		signed []message.Header
		code   int
		told   []message.Header
		want   credentials.Judgement
	}{
		{"a first challenge", "MESSAGE", nil, 407, ask(`Digest nonce="n"`), credentials.Unjudged},
		{"a second one", "MESSAGE", signed, 407, ask(`Digest nonce="n"`), credentials.DoubtedDigest},
		{"of a call", "INVITE", signed, 407, ask(`Digest nonce="n"`), credentials.DoubtedDigest},
		{"of the PBX itself", "SUBSCRIBE", signed, 401, nil, credentials.DoubtedDigest},
		{"an old nonce", "MESSAGE", signed, 407, ask(`Digest nonce="n", stale=TRUE`), credentials.Unjudged},
		{"a number that is forbidden", "INVITE", signed, 403, nil, credentials.Unjudged},
		{"a number that there is not", "INVITE", signed, 404, nil, credentials.Unjudged},
		{"taken", "INVITE", signed, 200, nil, credentials.Unjudged},
	} {
		req := &message.Message{Method: tt.method, Headers: tt.signed}
		got := credentials.Unjudged
		for _, a := range Judged(Hop{Peer: phone}, node, req, &message.Message{Status: tt.code, Headers: tt.told}, nil) {
			got = a.(Note).Judgement
		}
		if got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
