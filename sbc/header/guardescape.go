package header

import "sallyport/sbc/userpart"

// deepest is how often a text is read anew: a URI may stand in a header of a URI, which escapes it once more (RFC 3261 §19.1.1), and
// that one in a document.
const deepest = 3

// readingRoom is how long a text may be that is read without an allocation.
const readingRoom = 512

// inspectEscaped looks through a text as its receiver reads it, at every depth: escaped characters of a URI (RFC 3261 §25.1, "%31"),
// quoted pairs of a string ("\1"), references of an XML document ("&#49;") stand for what they mean. Which of them the grammar allows
// at a place is not asked.
func inspectEscaped[T text](c *check, v T) T {
	text, at := make([]byte, 0, readingRoom), make([]int32, 0, readingRoom+1)
	for depth := 1; depth <= deepest; depth++ {
		var other bool
		if text, at, other = reading(text[:0], at[:0], v, depth); !other {
			break
		}
		for kind := range kinds {
			list := find(c, text, kind)
			if len(list) == 0 {
				continue
			}
			for i := range list {
				list[i].from, list[i].to = int(at[list[i].from]), int(at[list[i].to])
			}
			v = spliced(v, list)
			text, at, _ = reading(text[:0], at[:0], v, depth)
		}
	}
	return v
}

// reading is a text as it reads at a depth, and where each byte of that stands in it, and the end. It reports false if that is no other
// than the one before it.
func reading[T text](text []byte, at []int32, v T, depth int) (_ []byte, _ []int32, other bool) {
	text = append(text, v...)
	for i := range len(v) + 1 {
		at = append(at, int32(i))
	}
	for range depth {
		n, size := 0, len(text)
		for i := 0; i < size; n++ {
			b, next := escaped(text, i)
			text[n], at[n] = b, at[i]
			i = next
		}
		at[n] = at[size]
		text, at, other = text[:n], at[:n+1], n < size
	}
	return text, at, other
}

// referenceMost bounds a character reference: "&#0000046;".
const referenceMost = 12

// escaped is the character at i, and where the next one begins.
func escaped(s []byte, i int) (b byte, next int) {
	switch s[i] {
	case '%':
		return userpart.Char(s, i)
	case '\\':
		if i+1 < len(s) {
			return s[i+1], i + 2
		}
	case '&':
		end := index(s[:min(len(s), i+referenceMost)], i, ';')
		if end < 0 {
			break
		}
		if b, ok := entity(string(s[i+1 : end])); ok {
			return b, end + 1
		}
	}
	return s[i], i + 1
}
