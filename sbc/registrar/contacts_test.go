package registrar

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/sbc/message"
)

func TestWithout(t *testing.T) {
	drop := func(name string) bool { return name == "x" }
	for in, want := range map[string]string{
		"": "", ";x": "", ";x;x=1": "", ";a": ";a", ";a;b=1": ";a;b=1", ";x;a": ";a", ";a;x=5": ";a", ";a;x;b": ";a;b", ";x;a;b;x": ";a;b",
		`;a="x;x";x;b="\\";c`: `;a="x;x";b="\\";c`, ";a;;b": ";a;b", ";;a": ";a", ";;x": "", ";a;": ";a", ";aa;x;a": ";aa;a",
	} {
		if got := without(in, drop); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	list := `;methods="INVITE, ACK";q=1;expires=3600`
	if n := testing.AllocsPerRun(100, func() { without(list, func(n string) bool { return n == "expires" || n == "q" }) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// TestWithoutKeepsTheRest: what is dropped is gone, what is left is in order.
func TestWithoutKeepsTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, want := "", ""
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			p := rapid.SampledFrom([]string{"", "a", "x", "x=1", "xx=2", `a="x;q"`, `b="\";x"`, "a"}).Draw(t, "param")
			list += ";" + p
			if name, _, _ := strings.Cut(p, "="); p != "" && name != "x" {
				want += ";" + p
			}
		}
		if got := without(list, func(n string) bool { return n == "x" }); got != want {
			t.Fatalf("%q: %q, want %q", list, got, want)
		}
	})
}

// RFC 3261 §19.1.4 has these examples.
func TestSameURI(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"sip:alice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER", "sip:biloxi.com;method=REGISTER;transport=tcp", true},
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com;transport=udp", "sip:bob@biloxi.com", false},
		{"sip:carol@chicago.com;security=off", "sip:carol@chicago.com;security=on", false},
		{"sip:a@x;user=phone", "sip:a@x", false},
		{"sip:a@x", "sips:a@x", false},
		{"sip:a@x?Subject=a", "sip:a@x", false},
		{"sip:a@192.168.1.20:5060;ob", "sip:a@192.168.1.20:5060", true},
	} {
		a, b := mustNameAddr(t, "<"+c.a+">").URI, mustNameAddr(t, "<"+c.b+">").URI
		if sameURI(&a, &b) != c.same || sameURI(&b, &a) != c.same || !sameURI(&a, &a) {
			t.Errorf("%s and %s: not %v", c.a, c.b, c.same)
		}
	}
}

func TestSeconds(t *testing.T) {
	for in, want := range map[string]uint32{
		"0": 0, "60": 60, "0060": 60, "4294967295": 4294967295, "4294967296": 4294967295, "99999999999999999999999": 4294967295,
		"": 3600, "x": 3600, "-1": 3600, "1.5": 3600, "60 ": 3600, `"60"`: 3600,
	} {
		if got := seconds(in); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

// A tag means nothing in a Contact; the phone gets it back all the same.
func TestContactWithATag(t *testing.T) {
	s := newStage(t)
	_, answer := s.register(s.phones["a"], func(m *message.Message) { m.Set("Contact", "<sip:204@x>;tag=1") })
	if v, _ := answer.Get("Contact"); !strings.Contains(v, "<sip:204@x>;tag=1;expires=60") {
		t.Errorf("%q", v)
	}
}
