package nat

import (
	"net/netip"
	"strconv"
	"testing"
)

func TestAdvertise(t *testing.T) {
	internal := NewRanges(prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")...)
	behind := &Interface{Bind: netip.MustParseAddrPort("10.0.0.2:5080"), Advertised: netip.MustParseAddrPort("198.51.100.5:5080")}
	plain := &Interface{Bind: netip.MustParseAddrPort("203.0.113.10:5080"), Advertised: netip.MustParseAddrPort("203.0.113.10:5080")}
	local := &Interface{Bind: netip.MustParseAddrPort("127.0.0.1:5080"), Advertised: netip.MustParseAddrPort("198.51.100.5:5080")}
	tests := []struct {
		name   string
		i      *Interface
		remote string
		want   string
	}{
		{"Internet peer behind our NAT", behind, "203.0.113.20", "198.51.100.5:5080"},
		{"internal peer", behind, "10.0.0.51", "10.0.0.2:5080"},
		{"internal peer in IPv6 clothes", behind, "::ffff:10.0.0.51", "10.0.0.2:5080"},
		{"VPN office", behind, "192.168.44.3", "10.0.0.2:5080"},
		{"no NAT", plain, "203.0.113.20", "203.0.113.10:5080"},
		{"no NAT, internal peer", plain, "10.0.0.51", "203.0.113.10:5080"},
		{"loopback", local, "127.0.0.7", "127.0.0.1:5080"},
		{"loopback does not reach a bound address", behind, "127.0.0.7", "198.51.100.5:5080"},
	}
	for _, tt := range tests {
		if got := Advertise(tt.i, addr(tt.remote), internal).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		external := tt.i.Advertised.Addr()
		if got := AdvertiseMedia(tt.i.Bind.Addr(), external, addr(tt.remote), internal); got != netip.MustParseAddrPort(tt.want).Addr() {
			t.Errorf("%s: media %s", tt.name, got)
		}
	}
	if got := AdvertiseMedia(addr("203.0.113.10"), netip.Addr{}, addr("203.0.113.20"), internal); got != addr("203.0.113.10") {
		t.Errorf("without an external address the bound one is told: %v", got)
	}
}

func TestVocabulary(t *testing.T) {
	if Outside.Other() != Inside || Inside.Other() != Outside || Outside.String() != "outside" || Inside.String() != "inside" {
		t.Error("sides")
	}
	if Phones.String() != "phones" || Trunks.String() != "trunks" {
		t.Error("realms")
	}
	for tr := UDP; tr <= WSS; tr++ {
		if got, ok := ParseTransport(tr.Via()); !ok || got != tr {
			t.Errorf("%v: %v %v", tr, got, ok)
		}
	}
	for tr, want := range map[Transport]string{UDP: "udp false", TCP: "tcp false", TLS: "tls true", WSS: "ws true"} {
		if got := tr.Param() + " " + strconv.FormatBool(tr.Secure()); got != want {
			t.Errorf("%s: %s, want %s", tr, got, want)
		}
	}
	if _, ok := ParseTransport("sctp"); ok || UDP.Reliable() || !TLS.Reliable() {
		t.Error("transports")
	}
	i := &Interface{Side: Outside, Realm: Trunks, Transport: UDP, Bind: netip.MustParseAddrPort("203.0.113.10:5080")}
	if got := i.String(); got != "outside/trunks udp 203.0.113.10:5080" {
		t.Error(got)
	}
}
