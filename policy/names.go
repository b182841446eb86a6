package policy

import (
	"maps"
	"slices"
	"strings"
)

// maxName is the longest DNS name in its textual form (RFC 1035 §2.3.4, without the final dot).
const maxName = 253

// NamesOf lists the DNS names that the ranges of a configuration mention, sorted, each once, in lower case and without a
// final dot. Whoever compiles it looks them up and hands the answers in as Data.Names under these spellings.
func NamesOf(c *Config) []string {
	found := map[string]bool{}
	note := func(texts []string) {
		r, _ := parseRanges(texts) // Validate reports what is wrong with it
		for _, name := range r.names {
			found[name] = true
		}
	}
	for i := range c.WhiteList {
		note(c.WhiteList[i].Range)
	}
	for i := range c.BlackList {
		note(c.BlackList[i].Range)
	}
	for i := range c.MessageRules {
		note(c.MessageRules[i].Range)
	}
	for i := range c.RateLimits {
		note(c.RateLimits[i].Range)
	}
	return slices.Sorted(maps.Keys(found))
}

// hostName reads a DNS name: at least two labels of letters, digits and hyphens (RFC 1123 §2.1), the last one not of
// digits. A single word is no name here, so that a misspelt `any` is seen; nor is what looks like an address with a slip
// of the pen in its last part.
func hostName(text string) (name string, ok bool) {
	text = strings.TrimSuffix(text, ".")
	if len(text) == 0 || len(text) > maxName || !strings.Contains(text, ".") {
		return "", false
	}
	labels, numbers, last := 0, 0, ""
	for label := range strings.SplitSeq(text, ".") {
		if !isLabel(label) {
			return "", false
		}
		labels++
		if isNumber(label) {
			numbers++
		}
		last = label
	}
	if len(last) < 2 || isNumber(last) || strings.Contains(last, "-") && !strings.HasPrefix(strings.ToLower(last), "xn--") ||
		labels == 4 && numbers == 3 {
		return "", false
	}
	return strings.ToLower(text), true
}

// isLabel reports whether a text is one label of a host name.
func isLabel(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }
