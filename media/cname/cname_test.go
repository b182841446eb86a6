package cname_test

import (
	"fmt"
	"strings"
	"testing"

	"sallyport/media/cname"
)

func alias(k cname.Key, name string) string {
	text, n := k.Alias([]byte(name))
	return string(text[:n])
}

// Two programs that take over from each other have to agree on the function.
func TestAlias(t *testing.T) {
	key := cname.Key([]byte("0123456789abcdef"))
	for name, want := range map[string]string{
		"root@10.20.30.40": "TJRZNK/CZhc3DUli", // the first 96 bits of SHA-256 over key and name
		"":                 "",
		"a":                alias(key, "a"),
	} {
		if got := alias(key, name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	long := strings.Repeat("x", 255)
	for _, other := range []string{"root@10.20.30.41", "ROOT@10.20.30.40", "root@10.20.30.4", long} {
		if got := alias(key, other); got == alias(key, "root@10.20.30.40") || len(got) != min(16, len(other)) {
			t.Errorf("%q: %q", other, got)
		}
	}
	if alias(cname.Key{1}, long) == alias(cname.Key{2}, long) {
		t.Error("two calls, one name")
	}
	if alias(key, long) != alias(key, long+"more than an item holds") {
		t.Error("a description may say more of the name than RTCP can")
	}
}

func TestNoKeyIsPrinted(t *testing.T) {
	type holder struct{ Key cname.Key }
	h := holder{cname.Key([]byte("0123456789abcdef"))}
	if text := fmt.Sprintf("%v %+v %#v %s", h, h, h, h); strings.Contains(text, "48") || strings.Contains(text, "0x30") || strings.Contains(text, "0123") {
		t.Error(text)
	}
}

func TestAliasDoesNotAllocate(t *testing.T) {
	key, name := cname.Key{1}, []byte("root@10.20.30.40")
	if n := testing.AllocsPerRun(1000, func() { key.Alias(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
