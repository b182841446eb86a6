package sbc

import (
	"bytes"
	"hash/maphash"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/message"
	"sallyport/sbc/scan"
	"sallyport/sbc/trace"
)

// TestWatchedGuard: every message is noted once, with what the guard said; keep-alives are not.
func TestWatchedGuard(t *testing.T) {
	now := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	rules, err := policy.Compile(&policy.Config{}, policy.Data{})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := policy.New(policy.Options{Now: now, Seed: maphash.MakeSeed(), Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	guard.SetPeers([]policy.Peer{{Prefix: netip.MustParsePrefix("203.0.113.20/32"), Kind: policy.Trunk, Side: nat.Outside, Realm: nat.Trunks, Name: "itsp"}})
	at := netip.MustParseAddrPort("203.0.113.10:5080")
	face := &nat.Interface{Side: nat.Outside, Realm: nat.Trunks, Bind: at, Advertised: at}
	s := &SBC{guard: guard, recorder: trace.New(1 << 20)}
	ask := func(source, text string, parser error) policy.Verdict {
		var v scan.View
		p := policy.Packet{Now: now, Interface: face, Source: netip.MustParseAddrPort(source), Data: []byte(text), View: &v}
		if p.ScanErr = scan.Scan(p.Data, &v); parser != nil {
			p.ScanErr = parser
		}
		return s.watchedGuard().Check(&p)
	}
	invite := "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
	ask("203.0.113.20:5060", invite, nil)
	ask("203.0.113.20:5060", invite, &message.Error{Code: 416}) // the parser's word on the same message
	ask("203.0.113.20:5060", "\r\n\r\n", nil)
	for range 300 {
		ask("192.0.2.66:5060", strings.Replace(invite, "INVITE", "OPTIONS", 2), nil)
	}
	if n := s.recorder.Stats(); n.Noted != 201 || n.LeftOut != 100 {
		t.Errorf("%+v", n)
	}
	var dump bytes.Buffer
	if err := (control{SBC: s}).Record(t.Context(), &dump); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"outside/trunks udp 203.0.113.10:5080", "refused: unknown-trunk", "INVITE sip:a@b"} {
		if !bytes.Contains(dump.Bytes(), []byte(text)) {
			t.Errorf("the dump does not hold %q", text)
		}
	}
	s.recorder = nil
	if v := ask("203.0.113.20:5060", strings.Replace(invite, "branch=z9hG4bK1", "branch=z9hG4bK2", 1), nil); v.Refused() {
		t.Errorf("without a recorder: %+v", v)
	}
	if err := (control{SBC: s}).Record(t.Context(), &dump); err == nil || !strings.Contains(err.Error(), "policy.recorder") {
		t.Error(err)
	}
}

// TestRecordingCostsNoAllocation: the guard's promise holds with the recorder before it.
func TestRecordingCostsNoAllocation(t *testing.T) {
	now := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	guard, err := policy.New(policy.Options{Now: now, Seed: maphash.MakeSeed()})
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort("203.0.113.10:5060")
	face := &nat.Interface{Bind: at, Advertised: at}
	s := &SBC{guard: guard, recorder: trace.New(1 << 20)}
	g := s.watchedGuard()
	data := []byte("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n")
	var v scan.View
	p := policy.Packet{Now: now, Interface: face, Source: netip.MustParseAddrPort("192.0.2.66:5060"), Data: data, View: &v}
	if n := testing.AllocsPerRun(500, func() {
		p.Now = p.Now.Add(10 * time.Millisecond)
		p.ScanErr = scan.Scan(data, &v)
		g.Check(&p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
