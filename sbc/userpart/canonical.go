package userpart

// Who is meant by a user part does not depend on how it is spelled. Tables that know people by name, the bounds that hold for
// each of them, bans and lists are asked by the canonical form alone; what goes over the wire stays as it was written, since a
// digest, and many a PBX, has its own opinion of the letters.

// Bare is the user alone: what stands before a password (RFC 3261 §19.1.1, "user [ ":" password ]") and before parameters
// (§19.1.6, RFC 3966 §3: "204;isub=1"). A semicolon ends it however it is written, for PBXes that cut it off resolve escapes first; an
// escaped colon does not: MAC addresses are users. Neither does "@", since e-mail addresses are users as well ("alice%40example.org").
//
// An escaped NUL ends it, too: a PBX that is written in C reads no further. Canonical has no form for such a user.
func Bare[T Text](user T) T {
	for i := 0; i < len(user); {
		c, next := Char(user, i)
		if c == ';' || c == 0 || c == ':' && next == i+1 {
			return user[:i]
		}
		i = next
	}
	return user
}

// Named is a user as it was written, without its password.
func Named(user string) string {
	for i := range len(user) {
		if user[i] == ':' {
			return user[:i]
		}
	}
	return user
}

// Canonical is the user of an address-of-record, one text for each person: without password and parameters (Bare), every character
// as itself where it may stand so, all others as "%" and two capital digits (RFC 3986 §6.2.2; RFC 3261 §10.3 step 5: "any escaped
// characters MUST be converted to their unescaped form"). That is again a user part, it means the same, and nothing in it can end a
// line, a quotation or a URI, whoever wrote it. Case counts (RFC 3261 §19.1.4).
//
// It is empty where nobody is named, and for a user with control characters: what "204%00" is to a PBX nobody can tell (RFC 4475
// §3.1.1.4), nor what it writes into its logs of "204%0A".
func Canonical(user string) string {
	if isCanonical(user) {
		return user
	}
	out := make([]byte, 0, len(user)+8)
	for i := 0; i < len(user); {
		c, next := Char(user, i)
		if c == ';' || c == ':' && next == i+1 {
			break
		}
		if c < ' ' || c == 0x7f {
			return ""
		}
		out, i = appendChar(out, c), next
	}
	return string(out)
}

// isCanonical reports whether there is nothing to do, as is nearly always so.
func isCanonical(user string) bool {
	for i := range len(user) {
		if !bare[user[i]] {
			return false
		}
	}
	return true
}

// Append appends a user part to its end, spelled so: what Canonical cuts off is escaped, and so are control characters. It is for people
// to read, who are to see what was written.
func Append[T Text](dst []byte, user T) []byte {
	for i := 0; i < len(user); {
		var c byte
		c, i = Char(user, i)
		dst = appendChar(dst, c)
	}
	return dst
}

// Escaped is a text whose escapes have been resolved as a user part again, spelled so.
func Escaped(text string) string {
	if isCanonical(text) {
		return text
	}
	out := make([]byte, 0, len(text)+8)
	for i := range len(text) {
		out = appendChar(out, text[i])
	}
	return string(out)
}

// Same reports whether two user parts name the same person. Two that name nobody are the same only where they are spelled alike.
func Same(a, b string) bool {
	if a == b {
		return true
	}
	c := Canonical(a)
	return c != "" && c == Canonical(b)
}

// Equal compares two user parts as parts of URIs (RFC 3261 §19.1.4): with password and parameters, and an escape is equal to its
// character unless that is a reserved one (RFC 2396 §2.2).
func Equal(a, b string) bool {
	if a == b {
		return true
	}
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		c, ni := Char(a, i)
		d, nj := Char(b, j)
		if c != d || (ni-i != nj-j) && reserved(c) {
			return false
		}
		i, j = ni, nj
	}
	return i == len(a) && j == len(b)
}

// reserved tells the characters of RFC 2396 §2.2.
func reserved(c byte) bool {
	switch c {
	case ';', '/', '?', ':', '@', '&', '=', '+', '$', ',':
		return true
	}
	return false
}

// bare are the characters that stand for themselves in a canonical user: unreserved and user-unreserved (RFC 3261 §25.1), without ";",
// which begins parameters.
var bare = func() (is [256]bool) {
	const marks = "-_.!~*'()" + "&=+$,?/"
	for i := range len(marks) {
		is[marks[i]] = true
	}
	for c := '0'; c <= '9'; c++ {
		is[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		is[c], is[c-'a'+'A'] = true, true
	}
	return is
}()

const capitals = "0123456789ABCDEF"

func appendChar(dst []byte, c byte) []byte {
	if bare[c] {
		return append(dst, c)
	}
	return append(dst, '%', capitals[c>>4], capitals[c&15])
}
