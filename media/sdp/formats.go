package sdp

import (
	"fmt"
	"slices"
	"strings"
)

// DropFormats takes payload types out of stream i: from its m= line, and with their attributes. A stream keeps one format at
// least, for an m= line without any is none (RFC 8866 §9): where all would go, nothing is changed, and it reports false.
func (s *Session) DropFormats(i int, numbers ...uint8) bool {
	sec := s.media[i]
	v := sec[0].value()
	_, at := word(v, 0)
	_, at = word(v, at)
	_, at = word(v, at)
	goes := func(f string) bool {
		n, ok := payloadType(f)
		return ok && slices.Contains(numbers, n)
	}
	kept := slices.DeleteFunc(strings.Fields(v[at:]), goes)
	if len(kept) == 0 {
		return false
	}
	sec[0].text = "m=" + v[:at] + " " + strings.Join(kept, " ")
	s.media[i] = slices.DeleteFunc(sec, func(l line) bool {
		_, n, ok := l.numbered()
		return ok && slices.Contains(numbers, n)
	})
	return true
}

// AddFormat adds a payload type to stream i, behind the others: a number that the stream does not have, what it stands for as
// rtpmap writes it, and its fmtp; "": none.
func (s *Session) AddFormat(i int, number uint8, encoding, parameters string) {
	sec := s.media[i]
	sec[0].text = fmt.Sprintf("%s %d", strings.TrimRight(sec[0].text, " \t"), number)
	at := 1 // behind the attributes of the other formats
	for k := range sec {
		if _, _, ok := sec[k].numbered(); ok || k > 0 && sec[k].text[0] != 'a' {
			at = k + 1
		}
	}
	sec = s.insert(sec, at, fmt.Sprintf("a=rtpmap:%d %s", number, encoding))
	if parameters != "" {
		sec = s.insert(sec, at+1, fmt.Sprintf("a=fmtp:%d %s", number, parameters))
	}
	s.media[i] = sec
}
