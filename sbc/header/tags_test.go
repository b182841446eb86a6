package header

import (
	"slices"
	"testing"

	"sallyport/sbc/message"
)

// TestOptionsOfCalls: what a call serves by itself is not missing where it may be required, and never passes.
func TestOptionsOfCalls(t *testing.T) {
	for _, x := range []struct {
		method, name, tags string
		missing            []string
	}{
		{"INVITE", "Require", "100rel", nil},
		{"INVITE", "Require", "100REL, Precondition, 199", nil},
		{"UPDATE", "Require", "precondition", nil},
		{"PRACK", "Require", "precondition", nil},
		{"SUBSCRIBE", "Require", "100rel", []string{"100rel"}}, // RFC 3262 §4: of an INVITE
		{"OPTIONS", "Require", "precondition", []string{"precondition"}},
		{"INVITE", "Proxy-Require", "100rel", []string{"100rel"}}, // no proxy sends reliable responses of its own
		{"INVITE", "Require", "100rel, wings", []string{"wings"}},
		{"ACK", "Require", "wings", nil},
	} {
		m := &message.Message{Method: x.method}
		m.Add(x.name, x.tags)
		if got := Unsupported(m); !slices.Equal(got, x.missing) {
			t.Errorf("%s %s: %s: %v, want %v", x.method, x.name, x.tags, got, x.missing)
		}
	}
	for dir := TrunkToPBX; dir <= PBXToPhone; dir++ {
		in, out := &message.Message{Method: "INVITE"}, &message.Message{}
		in.Add("Supported", "100rel, precondition, 199")
		in.Add("Require", "100rel")
		in.Add("RSeq", "1")
		in.Add("RAck", "1 1 INVITE")
		Copy(dir, in, out, Hosts{})
		if len(out.Headers) > 0 {
			t.Errorf("direction %d: %v passes", dir, out.Headers)
		}
	}
}
