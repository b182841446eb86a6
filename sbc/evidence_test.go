package sbc

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/firewall"
)

func TestNoncesOfAWrittenChallenge(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"one", "SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"n1\"\r\n\r\n", []string{"n1"}},
		{"two", "SIP/2.0 407 x\r\nProxy-Authenticate: Digest nonce=\"n1\"\r\nVia: x\r\nProxy-Authenticate: Digest cnonce=\"x\", nonce=\"n2\"\r\n\r\n", []string{"n1", "n2"}},
		{"none", "SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\r\n", []string{""}},
		{"of the body", "SIP/2.0 401 Unauthorized\r\nX: y\r\n\r\nWWW-Authenticate: Digest nonce=\"n1\"\r\n", nil},
		{"elsewhere", "SIP/2.0 401 Unauthorized\r\nX-WWW-Authenticate: Digest nonce=\"n1\"\r\n\r\n", nil},
	} {
		if got := noncesIn([]byte(tt.text)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestWhatTheKernelMayEnforce: whole sources at all listeners, and nobody whom the guard would let through.
func TestWhatTheKernelMayEnforce(t *testing.T) {
	rules, err := policy.Compile(&policy.Config{WhiteList: []policy.WhiteEntry{
		{Range: []string{"192.0.2.64/28"}, Exempt: []string{"bans"}}, {Range: []string{"192.0.2.80/28"}, Exempt: []string{"limits"}},
	}}, policy.Data{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	g, err := policy.New(policy.Options{Now: now, Seed: maphash.MakeSeed(), Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	until := now.Add(time.Hour)
	at := netip.MustParsePrefix
	spared := []netip.Prefix{at("198.51.100.7/32"), at("203.0.113.20/30"), at("2001:db8:7::7/128")}
	for _, tt := range []struct {
		ban  policy.Ban
		want bool
	}{
		{policy.Ban{Prefix: at("192.0.2.1/32"), Until: until, Auto: true}, true},
		{policy.Ban{Prefix: at("192.0.2.0/26")}, true},
		{policy.Ban{Prefix: at("192.0.2.1/32"), Port: 5060}, false},
		{policy.Ban{Prefix: at("192.0.2.1/32"), AoR: "204"}, false},
		{policy.Ban{Prefix: at("192.0.2.1/32"), Realms: []nat.Realm{nat.Phones}}, false},
		{policy.Ban{Prefix: at("192.0.2.64/32")}, false}, // white list
		{policy.Ban{Prefix: at("192.0.2.0/24")}, false},  // holds some of it
		{policy.Ban{Prefix: at("192.0.2.80/28")}, true},  // that spares limits alone
		{policy.Ban{Prefix: at("198.51.100.7/32")}, false},
		{policy.Ban{Prefix: at("198.51.100.0/24")}, false},
		{policy.Ban{Prefix: at("198.51.100.8/32")}, true},
		{policy.Ban{Prefix: at("203.0.113.21/32")}, false},
		{policy.Ban{Prefix: at("2001:db8:7::/64")}, false},
		{policy.Ban{Prefix: at("2001:db8:8::/64")}, true},
	} {
		got := enforceable(g, []policy.Ban{tt.ban}, slices.Clone(spared))
		if (len(got) == 1) != tt.want || tt.want && got[0] != (firewall.Entry{Prefix: tt.ban.Prefix, Until: tt.ban.Until}) {
			t.Errorf("%s: %v", tt.ban.Target(), got)
		}
	}
}
