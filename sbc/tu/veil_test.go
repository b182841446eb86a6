package tu

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/nat"
)

const watcher = "204@example.com"

func veils(key byte) *Veils { return NewVeils(NewNameKey([16]byte{key})) }

// TestVeils: any id comes back for the phone it was hidden from, and for nobody else; the same each time, and after a restart.
func TestVeils(t *testing.T) {
	v, again, other := veils(1), veils(1), veils(2)
	rapid.Check(t, func(t *rapid.T) {
		id := string(rapid.SliceOfN(rapid.Byte(), 1, veiledMax).Draw(t, "id"))
		aor := rapid.StringN(0, 20, 40).Draw(t, "aor")
		word := v.Veil(aor, id)
		if strings.Trim(word, alphabet) != "" || len(word) != ((veilMark+len(id))*8+4)/5 {
			t.Fatalf("%q is hidden as %q", id, word)
		}
		if len(id) >= 4 && strings.Contains(word, id) {
			t.Fatalf("%q shows in %q", id, word)
		}
		if word != v.Veil(aor, id) || word != again.Veil(aor, id) {
			t.Fatalf("%q has two veils", id)
		}
		if upper := strings.ToUpper(aor); upper != aor && word == v.Veil(upper, id) {
			t.Fatalf("%q and %q are two users", aor, upper)
		}
		if got, ok := again.Unveil(aor, word); !ok || got != id {
			t.Fatalf("%q is uncovered as %q, %v", id, got, ok)
		}
		if _, ok := v.Unveil(aor+"x", word); ok {
			t.Fatal("another phone's veil is uncovered")
		}
		if _, ok := other.Unveil(aor, word); ok || other.Veil(aor, id) == word {
			t.Fatal("another key does as well")
		}
		at := rapid.IntRange(0, len(word)-1).Draw(t, "at")
		letter := alphabet[rapid.IntRange(0, 31).Draw(t, "letter")]
		if forged := word[:at] + string(letter) + word[at+1:]; forged != word {
			if _, ok := v.Unveil(aor, forged); ok {
				t.Fatalf("%q is uncovered, and nobody gave it out", forged)
			}
		}
	})
}

func TestVeilsOfOddLengths(t *testing.T) {
	v := veils(1)
	if v.Veil(watcher, "") != "" {
		t.Error("nothing is hidden as something")
	}
	long := strings.Repeat("x", veiledMax+1)
	word := v.Veil(watcher, long)
	if len(word) != 16 || word != v.Veil(watcher, long) || word == v.Veil(watcher, long+"x") {
		t.Errorf("a long id is hidden as %q", word)
	}
	for _, text := range []string{"", "0", word, word + "0", strings.Repeat("0", 18), strings.Repeat("0", 4000), "UPPER", v.Veil(watcher, "abc") + "0"} {
		if id, ok := v.Unveil(watcher, text); ok {
			t.Errorf("%q is uncovered as %q", text, id)
		}
	}
}

func FuzzUnveil(f *testing.F) {
	v := veils(1)
	f.Add(watcher, v.Veil(watcher, "0815@10.0.0.10"))
	f.Add(watcher, "00000000000000000000")
	f.Add("", "zzzzzzzzzzzzzzzzz")
	f.Fuzz(func(t *testing.T, aor, text string) {
		if id, ok := v.Unveil(aor, text); ok && v.Veil(aor, id) != text {
			t.Errorf("%q has another spelling, %q", v.Veil(aor, id), text)
		}
		if word := v.Veil(aor, text); text != "" && len(text) <= veiledMax {
			if id, ok := v.Unveil(aor, word); !ok || id != text {
				t.Errorf("%q comes back as %q", text, id)
			}
		}
	})
}

// pair ties the two dialogs of one call, and hides with veils.
type pair struct {
	*Veils
	outside, inside DialogID
	aor             string
}

func (p pair) Counterpart(side nat.Side, ours DialogID) (DialogID, bool) {
	if side == nat.Inside && ours == p.inside {
		return p.outside, true
	}
	return p.inside, side == nat.Outside && ours == p.outside
}

func (p pair) Phone(outside DialogID) string {
	if outside == p.outside {
		return p.aor
	}
	return ""
}

func TestShownAndMeant(t *testing.T) {
	out, in := DialogID{"o", "our-o", "phone"}, DialogID{"i", "our-i", "pbx"}
	v := veils(1)
	ties := pair{v, out, in, watcher}
	hide := func(aor string, d DialogID) DialogID {
		return DialogID{v.Veil(aor, d.CallID), v.Veil(aor, d.Local), v.Veil(aor, d.Remote)}
	}
	other := DialogID{"x", "a", "b"}
	const neighbour = "205@example.com"
	for _, c := range []struct {
		name        string
		aor         string
		pbx, phones DialogID
	}{
		{"its own call", watcher, in, out.Reversed()},
		{"its own call, seen from the other end", watcher, in.Reversed(), out},
		{"its call for another phone", neighbour, in, hide(neighbour, in)},
		{"a call of others", watcher, other, hide(watcher, other)},
		{"one that is still to be answered", watcher, DialogID{"x", "a", ""}, hide(watcher, DialogID{"x", "a", ""})},
	} {
		if got := Shown(ties, c.aor, c.pbx); got != c.phones {
			t.Errorf("%s is shown as %v", c.name, got)
		}
		if got := Meant(ties, c.aor, c.phones); got != c.pbx {
			t.Errorf("%s is meant as %v", c.name, got)
		}
	}
	if got := Shown(ties, "", in); got != hide("", in) {
		t.Errorf("a phone without a name is shown %v", got)
	}
	for _, d := range []DialogID{other, hide(neighbour, other), {}} {
		if got := Meant(ties, watcher, d); got != d {
			t.Errorf("%v is meant as %v", d, got)
		}
	}
	if got := Meant(ties, "", hide("", other)); got != hide("", other) {
		t.Errorf("a stranger's veil is lifted: %v", got)
	}
}
