package sdp

import (
	"bytes"
	"iter"
	"strings"
)

// maxParts bounds the parts of a body that are looked at.
const maxParts = 16

// FindSDP tells where the session description stands in a body: all of it if contentType is application/sdp, or the
// one part of that type in a multipart body (RFC 5621 §3), so that the caller can edit body[start:end] and put the body
// together again. It reports false if there is none, and if there are several: readers would choose differently.
func FindSDP(contentType string, body []byte) (start, end int, ok bool) {
	for s, e := range Parts(contentType, body) {
		if ok {
			return 0, 0, false
		}
		start, end, ok = s, e, true
	}
	return start, end, ok
}

// Parts yields where session descriptions stand in a body. Parts in parts are looked into once.
func Parts(contentType string, body []byte) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		leaves(Part{Type: contentType, End: len(body)}, body, 2, maxParts, func(p Part) bool {
			return p.Start == p.End || !strings.EqualFold(p.Media(), "application/sdp") || yield(p.Start, p.End)
		})
	}
}

// Part is one part of a body that is no multipart itself, or the whole body: its content is body[Start:End], and its header
// fields stand in body[Head:Start].
type Part struct {
	Type             string // value of its Content-Type
	Head, Start, End int
}

// Media is the part's media type without parameters, as it is written.
func (p Part) Media() string {
	media, _, _ := strings.Cut(p.Type, ";")
	return strings.TrimSpace(media)
}

// Leaves yields the parts of a body in order, at most so many of each multipart. Parts in parts are looked into once. A body
// that is no multipart, or one whose boundary cannot be read, is one part; text before, between and behind parts is none.
func Leaves(contentType string, body []byte, most int) iter.Seq[Part] {
	return func(yield func(Part) bool) { leaves(Part{Type: contentType, End: len(body)}, body, 2, most, yield) }
}

func leaves(p Part, body []byte, depth, most int, yield func(Part) bool) bool {
	media, params, _ := strings.Cut(p.Type, ";")
	if !hasFold(strings.TrimSpace(media), "multipart/") {
		return yield(p)
	}
	boundary, ok := boundaryOf(params)
	if depth == 0 || !ok {
		return yield(p)
	}
	sep := []byte("--" + boundary)
	body = body[:p.End]
	from, _ := nextDelimiter(body, p.Start, sep)
	for n := 0; n < most && from.next < len(body) && !from.last; n++ {
		to, found := nextDelimiter(body, from.next, sep)
		head, at := partType(body[from.next:to.begin])
		if !leaves(Part{Type: head, Head: from.next, Start: from.next + at, End: to.begin}, body, depth-1, most, yield) {
			return false
		}
		if !found {
			break
		}
		from = to
	}
	return true
}

// delimiter is a boundary line: where the part before it ends, where the next one begins, and whether none follows.
type delimiter struct {
	begin, next int
	last        bool
}

// nextDelimiter looks for a boundary line from an index (RFC 2046 §5.1.1). Where there is none, the part before it
// ends with the body.
func nextDelimiter(body []byte, from int, sep []byte) (delimiter, bool) {
	for at := from; ; {
		i := bytes.Index(body[at:], sep)
		if i < 0 {
			return delimiter{begin: len(body), next: len(body), last: true}, false
		}
		begin := at + i
		rest, next := nextLine(body, begin+len(sep))
		last := bytes.HasPrefix(rest, []byte("--"))
		tail := bytes.Trim(bytes.TrimPrefix(rest, []byte("--")), " \t")
		if (begin == 0 || body[begin-1] == '\n') && len(tail) == 0 {
			// The line end before the boundary belongs to it.
			end := begin
			if end > from && body[end-1] == '\n' {
				if end--; end > from && body[end-1] == '\r' {
					end--
				}
			}
			return delimiter{begin: end, next: next, last: last}, true
		}
		at = begin + len(sep)
	}
}

// partType reads the Content-Type of a part, and where its content begins.
func partType(part []byte) (contentType string, content int) {
	for at := 0; at < len(part); {
		l, next := nextLine(part, at)
		if at = next; len(l) == 0 {
			return contentType, at
		}
		name, value, ok := bytes.Cut(l, []byte{':'})
		name = bytes.TrimSpace(name)
		if ok && (bytes.EqualFold(name, []byte("Content-Type")) || bytes.EqualFold(name, []byte("c"))) {
			contentType = string(bytes.TrimSpace(value))
		}
	}
	return "", len(part)
}

// boundaryOf reads the boundary parameter.
func boundaryOf(params string) (string, bool) {
	for p := range strings.SplitSeq(params, ";") {
		name, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "boundary") {
			v = strings.Trim(strings.TrimSpace(v), `"`)
			return v, v != "" && len(v) <= 70
		}
	}
	return "", false
}
