package header

import (
	"testing"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestIDsAsWholeWords: an id that begins as one of the other leg does is another one; in whatever form the true one stands in a field
// that names dialogs, it is found.
func TestIDsAsWholeWords(t *testing.T) {
	for _, c := range []struct {
		name, value string
		shows       bool
	}{
		{"Replaces", "call-1@h;to-tag=tag-5060-101;from-tag=y", false},
		{"Replaces", "call-1@h;to-tag=xtag-5060-1;from-tag=y", false},
		{"Replaces", "call-1@h;to-tag=tag-5060-1", true},
		{"Replaces", "call-1@h;to-tag=tag-5060-10;from-tag=tag-5060-1;early-only", true},
		{"Replaces", "tag-5060-1@h;to-tag=x;from-tag=y", true},
		{"Refer-To", "<sip:205@h?Replaces=c%40h%3Bto-tag%3Dtag-5060-101%3Bfrom-tag%3Dy>", false},
		{"Refer-To", "<sip:205@h?Replaces=c%40h%3Bto-tag%3Dtag-5060-1%3Bfrom-tag%3Dy>", true},
		{"Refer-To", "<sip:205@h?Replaces=c%40h%3Bto-tag%3Dtag%2d5060%2D1>", true},
		{"Refer-To", "<sip:205@h?Replaces=%zz%3Bto-tag=tag-5060-1>", true},
		{"Refer-To", "<sip:205@h?Replaces=%zz%3Bto-tag%3Dtag%2d5060%2D1>", true}, // half an escape hides nothing behind it
		{"In-Reply-To", "a@b, tag-5060-1", true},
		{"X-Call", "is-tag-5060-101", true}, // nobody knows how such a field is made
	} {
		look := check{brought: &tu.Secrets{IDs: []string{"tag-5060-1"}}}
		if got := look.showsID(&message.Header{Name: c.name, Value: c.value}); got != c.shows {
			t.Errorf("%s: %s shows an id: %v", c.name, c.value, got)
		}
	}
}

// TestIDsWithPercent: in a header field a "%" of an id is one (RFC 3261 §25.1, word), in a URI it is escaped.
func TestIDsWithPercent(t *testing.T) {
	for _, h := range []message.Header{
		{Name: "Replaces", Value: "a%41b-2c;to-tag=x;from-tag=y"},
		{Name: "In-Reply-To", Value: "a%41b-2c"},
		{Name: "Refer-To", Value: "<sip:205@h?Replaces=a%2541b-2c%3Bto-tag%3Dx>"},
		{Name: "X-Call", Value: "a%41b-2c"},
	} {
		look := check{brought: &tu.Secrets{IDs: []string{"a%41b-2c"}}}
		if !look.showsID(&h) {
			t.Errorf("%s: %s shows no id", h.Name, h.Value)
		}
	}
}

// TestAllowWithoutREFER: who may not refer is not told that it could.
func TestAllowWithoutREFER(t *testing.T) {
	for _, c := range []struct {
		to   tu.Peer
		want string
	}{
		{tu.Peer{Kind: tu.KindTrunk, Side: nat.Outside, Referral: tu.TransferReject}, "INVITE, NOTIFY"},
		{tu.Peer{Kind: tu.KindPhone, Side: nat.Outside, Referral: tu.TransferReject}, "INVITE, NOTIFY"},
		{tu.Peer{Kind: tu.KindTrunk, Side: nat.Outside, Referral: tu.TransferPass}, "INVITE, REFER, NOTIFY"},
		{tu.Peer{Kind: tu.KindTrunk, Side: nat.Outside, Referral: tu.TransferLocal}, "INVITE, REFER, NOTIFY"},
		{tu.Peer{Kind: tu.KindNode, Side: nat.Inside, Referral: tu.TransferReject}, "INVITE, REFER, NOTIFY"},
	} {
		m := &message.Message{Method: "INVITE", Headers: []message.Header{{Name: "Allow", Value: "INVITE, REFER, NOTIFY"}}}
		Finish(nil, &c.to, nil, m)
		if got, _ := m.Get("Allow"); got != c.want {
			t.Errorf("%v with %v is told %q", c.to.Kind, c.to.Referral, got)
		}
	}
}
