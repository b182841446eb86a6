package header

import (
	"net/netip"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestContact: our Contact says at which of our sockets a peer finds us, by which transport, and by which name.
func TestContact(t *testing.T) {
	hop := func(p *tu.Peer, addr string, by nat.Transport) tu.Hop {
		return tu.Hop{Peer: p, Here: tu.Local{Signal: netip.MustParseAddrPort(addr), Transport: by}}
	}
	trunk, registered := &tu.Peer{Kind: tu.KindTrunk}, &tu.Peer{Kind: tu.KindTrunk, ContactUser: "4930555"}
	for _, c := range []struct {
		hop    tu.Hop
		user   string
		secure bool
		want   string
	}{
		{hop(trunk, "198.51.100.5:5080", nat.UDP), "204", false, "<sip:204@198.51.100.5:5080>"},
		{hop(trunk, "198.51.100.5:5080", nat.UDP), "", false, "<sip:198.51.100.5:5080>"},
		{hop(trunk, "[2001:db8::5]:5080", nat.UDP), "204", false, "<sip:204@[2001:db8::5]:5080>"},
		{hop(trunk, "198.51.100.5:5080", nat.TCP), "204", true, "<sip:204@198.51.100.5:5080;transport=tcp>"},
		{hop(trunk, "198.51.100.5:5061", nat.TLS), "204", false, "<sip:204@198.51.100.5:5061;transport=tls>"},
		{hop(trunk, "198.51.100.5:5061", nat.TLS), "204", true, "<sips:204@198.51.100.5:5061>"},
		{hop(trunk, "198.51.100.5:443", nat.WSS), "204", false, "<sip:204@198.51.100.5:443;transport=ws>"},
		{hop(trunk, "198.51.100.5:443", nat.WSS), "204", true, "<sips:204@198.51.100.5:443;transport=ws>"},
		{hop(registered, "198.51.100.5:5080", nat.UDP), "204", false, "<sip:4930555@198.51.100.5:5080>"},
		{hop(nil, "198.51.100.5:5080", nat.UDP), "204", false, "<sip:204@198.51.100.5:5080>"},
	} {
		got := Contact(c.hop, c.user, c.secure)
		if got.Name != "Contact" || got.Value != c.want {
			t.Errorf("%s by %v, secure %v: %s: %s, want %s", c.user, c.hop.Here.Transport, c.secure, got.Name, got.Value, c.want)
		}
	}
}

func TestRequestURI(t *testing.T) {
	asked := message.URI{Scheme: "sip", User: "tok", Host: "10.0.0.5", Port: 5060}
	hosts := Hosts{RequestURI: "pbx.example"}
	if got := RequestURI(asked, tu.Hop{}, hosts); got.String() != "sip:tok@pbx.example" {
		t.Errorf("at a peer's host: %s", got.String())
	}
	phone := message.URI{Scheme: "sip", User: "204", Host: "192.168.1.20", Params: ";line=1", Headers: "?Subject=x"}
	got := RequestURI(asked, tu.Hop{Target: &phone}, hosts)
	if got.String() != "sip:204@192.168.1.20;line=1" {
		t.Errorf("a phone's Contact: %s", got.String())
	}
	if phone.Headers == "" {
		t.Error("the binding's Contact has changed")
	}
}

func TestNamePhone(t *testing.T) {
	for _, c := range []struct{ name, token, to, want string }{
		{"204@example.com", "tok", "tok", "204"},
		{"204@example.com", "tok", "205", "205"}, // the PBX wrote a name of its own
		{"204@example.com", "", "", ""},
		{"nobody", "tok", "tok", "tok"},
	} {
		to := message.URI{Scheme: "sip", User: c.to, Host: "x"}
		NamePhone(&to, tu.Hop{Peer: &tu.Peer{Kind: tu.KindPhone, Name: c.name, Token: c.token}})
		if to.User != c.want {
			t.Errorf("%s with token %q, To %q: %q, want %q", c.name, c.token, c.to, to.User, c.want)
		}
	}
}
