package registrar

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// full is a binding with everything in it.
func full(t judge) Binding {
	at := zero.Local().Add(123456789)
	return Binding{
		AoR: "204@example.com", Token: "5t4f6e3gyceer690", Instance: `"<urn:uuid:1>"`, CallID: "x@192.168.1.20", UserAgent: "Yealink SIP-T46U",
		Node: "pbx 10.0.0.10:5060", Q: "0.7", CSeq: 1<<31 - 1, Lost: true, NAT: nat.KindAddress, ALG: []string{"one", "two"},
		Contact: mustNameAddr(t, `"A, B" <sip:204@[2001:db8::1]:5060;transport=tls?x=y>;methods="INVITE, ACK";+sip.instance="<urn:uuid:1>"`),
		Flow:    nat.Flow{Interface: 65535, Transport: nat.WSS, Remote: netip.MustParseAddrPort("[fe80::1%eth0]:65535"), Conn: 1<<64 - 1},
		Since:   at, Refreshed: at.Add(1), Expires: at.Add(time.Minute), ExpiresPBX: at.Add(1 << 32 * time.Second), Answered: at.Add(5),
		Accepted: at.Add(2), Told: netip.MustParseAddrPort("[2001:db8::2]:5060"), Local: 1<<32 - 1, Passed: 7,
	}
}

var byTime = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmpopts.EquateApproxTime(0), cmpopts.EquateEmpty(),
}

func TestBindingSurvives(t *testing.T) {
	small := Binding{AoR: "a@b", Token: "t", Flow: udp("198.51.100.7:5060"), Contact: message.NameAddr{URI: message.URI{Scheme: "sip", Host: "x"}}}
	for _, b := range []Binding{full(t), small} {
		raw, err := b.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got Binding
		if err := got.UnmarshalBinary(raw); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b, got, byTime); d != "" {
			t.Error(d)
		}
	}
}

// A cut or lengthened binding, and one of another version, is an error that changes nothing.
func TestBindingThatCannotBeRead(t *testing.T) {
	b := full(t)
	raw, err := b.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for n := range raw {
		got := Binding{AoR: "kept"}
		if err := got.UnmarshalBinary(raw[:n]); err == nil || got.AoR != "kept" {
			t.Fatalf("%d of %d bytes were read: %v", n, len(raw), err)
		}
	}
	var got Binding
	if err := got.UnmarshalBinary(append(raw[:len(raw):len(raw)], 0)); !errors.Is(err, ErrBinding) {
		t.Errorf("one byte more: %v", err)
	}
	raw[0] = 3
	if err := got.UnmarshalBinary(raw); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	if got.AoR != "" {
		t.Error("an error changed the binding")
	}
}

// A binding on disk is read by later releases: its bytes must not change under the same version.
func TestBindingOnDiskStays(t *testing.T) {
	b := Binding{
		AoR: "204@example.com", Token: "5t4f6e3gyceer690", CallID: "c", UserAgent: "u", Node: "n", Q: "1", CSeq: 7, NAT: nat.KindPort,
		Contact: mustNameAddr(t, "<sip:204@192.168.1.20>"), Flow: udp("198.51.100.7:40122"), Since: time.Unix(1, 2), ALG: []string{"x"},
		Accepted: time.Unix(1, 3), Told: insideAt, Local: 300, Passed: 4,
	}
	raw, err := b.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	const want = "\x02\x0f204@example.com\x105t4f6e3gyceer690\x00\x01c\x01u\x01n\x16<sip:204@192.168.1.20>\x011\x06\xc63d\x07\xba\x9c\x01\x00\x00\x03\x00\a" +
		"\x84\xa8\xd6\xb9\a\x00\x00\x00\x00\x01\x01x" +
		"\x86\xa8\xd6\xb9\a\x06\x0a\x00\x00\x02\xc4\x13\xac\x02\x04"
	if string(raw) != want {
		t.Errorf("%q", raw)
	}
}

// What the first version wrote is read still. When the PBX accepted it is as good as known; what it was told is not.
func TestABindingOfTheFirstVersion(t *testing.T) {
	b := full(t)
	raw, err := b.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	was := b
	was.Accepted, was.Told, was.Local, was.Passed = b.Refreshed, netip.AddrPort{}, 0, 0
	b.Accepted, b.Told, b.Local, b.Passed = time.Time{}, netip.AddrPort{}, 0, 0
	brief, err := b.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	old := append([]byte{1}, brief[1:len(brief)-6]...) // without the four fields at its end, empty here
	var got Binding
	if err := got.UnmarshalBinary(old); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(was, got, byTime); d != "" {
		t.Error(d)
	}
	if err := got.UnmarshalBinary(append([]byte{1}, raw[1:]...)); !errors.Is(err, ErrBinding) {
		t.Errorf("a later one under the first one's number: %v", err)
	}
}

func FuzzUnmarshalBinding(f *testing.F) {
	b := full(f)
	raw, err := b.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Add([]byte{version})
	f.Add(append([]byte{versionFirst}, raw[1:]...))
	f.Add([]byte{version, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, again Binding
		if got.UnmarshalBinary(data) != nil {
			return
		}
		raw, err := got.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalBinary(raw); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if d := cmp.Diff(got, again, byTime); d != "" {
			t.Error(d)
		}
		// And it can be restored.
		book := NewBook()
		book.Restore([]Binding{got, got}, time.Unix(0, 0))
		consistent(t, book)
	})
}
