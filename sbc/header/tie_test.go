package header

import (
	"strings"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// oneCall knows a call of 204, out outside and in inside, and hides all else.
type oneCall struct {
	hiding
	out, in tu.DialogID
}

func (c oneCall) Counterpart(side nat.Side, ours tu.DialogID) (tu.DialogID, bool) {
	if side == nat.Inside {
		return c.out, ours == c.in
	}
	return c.in, ours == c.out
}

func (c oneCall) Phone(outside tu.DialogID) string {
	if outside == c.out {
		return "204@example.com"
	}
	return ""
}

func TestTie(t *testing.T) {
	ties := oneCall{
		hiding{tu.NewVeils(tu.NewNameKey([16]byte{1}))}, tu.DialogID{CallID: "o", Local: "our-o", Remote: "his"}, tu.DialogID{CallID: "i", Local: "our-i", Remote: "pbx"},
	}
	phone := &tu.Peer{Kind: tu.KindPhone, Side: nat.Outside, Name: "204@example.com"}
	stranger := &tu.Peer{Kind: tu.KindPhone, Side: nat.Outside}
	node := &tu.Peer{Kind: tu.KindNode, Side: nat.Inside}
	trunk := &tu.Peer{Kind: tu.KindTrunk, Side: nat.Outside, Name: "itsp"}
	veil := func(d DialogRef) DialogRef {
		hide := func(id string) string { return ties.Veil(phone.Name, id) }
		d.CallID, d.Local, d.Remote = hide(d.CallID), hide(d.Local), hide(d.Remote)
		return d
	}
	ref := func(call, local, remote string) DialogRef {
		return DialogRef{Name: "Replaces", CallID: call, Local: local, Remote: remote, Params: ";early-only"}
	}
	for _, c := range []struct {
		name     string
		ties     tu.Ties
		from, to *tu.Peer
		d, want  DialogRef
		ok       bool
	}{
		{"a phone's own call", ties, phone, node, ref("o", "our-o", "his"), ref("i", "pbx", "our-i"), true},
		{"the same from the other end", ties, phone, node, ref("o", "his", "our-o"), ref("i", "our-i", "pbx"), true},
		{"the PBX's", ties, node, phone, ref("i", "our-i", "pbx"), ref("o", "his", "our-o"), true},
		{"the PBX's, from the other end", ties, node, phone, ref("i", "pbx", "our-i"), ref("o", "our-o", "his"), true},
		{"others' to a phone", ties, node, phone, ref("x", "a", "b"), veil(ref("x", "a", "b")), true},
		{"others' from a phone", ties, phone, node, veil(ref("x", "a", "b")), ref("x", "a", "b"), true},
		{"what no call has", ties, phone, node, ref("x", "a", "b"), ref("x", "a", "b"), true},
		{"a stranger's", ties, stranger, node, veil(ref("x", "a", "b")), veil(ref("x", "a", "b")), true},
		{"others' to a provider", ties, node, trunk, ref("x", "a", "b"), ref("x", "a", "b"), false},
		{"nobody knows calls", nil, phone, node, ref("x", "a", "b"), ref("x", "a", "b"), true},
		{"nobody knows calls, to a phone", nil, node, phone, ref("x", "a", "b"), ref("x", "a", "b"), false},
	} {
		if got, ok := Tie(c.ties, c.from, c.to, c.d); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %v %v", c.name, got, ok)
		}
	}
}

// BenchmarkDialogInfo is a lamp's state on its way to a phone.
func BenchmarkDialogInfo(b *testing.B) {
	ties := hiding{tu.NewVeils(tu.NewNameKey([16]byte{1}))}
	tell := TellingOf(ties, &tu.Peer{Side: nat.Inside}, &tu.Peer{Side: nat.Outside, Name: "204@example.com"}, Hosts{To: "example.com"})
	body := []byte(`<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="sip:205@example.com">` +
		strings.Repeat(`<dialog id="1" call-id="12345678901234567890@10.0.0.10" local-tag="abcdefgh" remote-tag="ijklmnop" direction="recipient"><state>early</state><remote><identity>sip:300@10.0.0.10</identity></remote></dialog>`, 2) + `</dialog-info>`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		tell.Body("application/dialog-info+xml", body)
	}
}
