package sdp

import (
	"bytes"
	"fmt"
	"strings"
)

// Limits of a description. A phone's offer has 40 lines and 2 KB, a browser's 120 lines and 8 KB.
const (
	MaxBytes = 64 << 10
	MaxLines = 500
	MaxMedia = 32
)

// line is one line of a description; type letter and '=' are part of its text.
type line struct {
	text string
	end  string // "\r\n", "\n", or "" in the last line
}

// value is the text behind the '='.
func (l line) value() string { return l.text[2:] }

// Session is a description under edit. It belongs to one goroutine.
type Session struct {
	head  []line   // up to the first m= line
	media [][]line // each begins with its m= line
	tail  []line   // blank lines behind the end
	moved bool     // SetMedia has dealt with the session's c= line
}

// Parse reads a description. It refuses what two readers could understand differently: more than one v=, o= or s=
// line, a NUL, a CR that ends no line, a line that is no "letter=value" of RFC 8866 §5, and m=, c= or a=rtcp lines
// whose numbers cannot be read. Its errors begin with the number of the line.
func Parse(b []byte) (*Session, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("sdp: %d bytes, at most %d are read", len(b), MaxBytes)
	}
	if n := bytes.Count(b, []byte{'\n'}); n > MaxLines {
		return nil, fmt.Errorf("sdp: %d lines, at most %d are read", n, MaxLines)
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return nil, fmt.Errorf("sdp line %d: NUL byte", 1+bytes.Count(b[:i], []byte{'\n'}))
	}
	lines, err := split(string(b))
	if err != nil {
		return nil, err
	}
	s := &Session{}
	for n := len(lines); n > 0 && lines[n-1].text == ""; n-- {
		s.tail = lines[n-1:]
	}
	lines = lines[: len(lines)-len(s.tail) : len(lines)-len(s.tail)]
	if err := check(lines); err != nil {
		return nil, err
	}
	s.cut(lines)
	return s, nil
}

// split cuts text into lines, each with the line end it came with.
func split(text string) ([]line, error) {
	lines := make([]line, 0, 1+strings.Count(text, "\n"))
	for text != "" {
		var l line
		var ended bool
		if l.text, text, ended = strings.Cut(text, "\n"); ended {
			l.end = "\n"
			if t, ok := strings.CutSuffix(l.text, "\r"); ok {
				l.text, l.end = t, "\r\n"
			}
		}
		if strings.IndexByte(l.text, '\r') >= 0 {
			return nil, fmt.Errorf("sdp line %d: CR inside a line", len(lines)+1)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// check holds every line against its syntax.
func check(lines []line) error {
	if len(lines) == 0 {
		return fmt.Errorf("sdp line 1: empty description, want v=0")
	}
	// RFC 8866 §5.1: version 0, and §5: v= is the first line.
	if strings.TrimRight(lines[0].text, " ") != "v=0" {
		return fmt.Errorf("sdp line 1: %.20q, want v=0", lines[0].text)
	}
	var seen [256]int
	media := 0
	for i, l := range lines {
		if len(l.text) < 2 || l.text[1] != '=' {
			return fmt.Errorf("sdp line %d: %.20q is no letter=value", i+1, l.text)
		}
		letter := l.text[0]
		// RFC 8866 §5: a description with a type letter that is not known is not used at all.
		if strings.IndexByte("vosiuepcbtrzkam", letter) < 0 {
			return fmt.Errorf("sdp line %d: unknown type %.10q", i+1, l.text)
		}
		// A second v=, o= or s= would begin another description for some readers, and be ignored by others.
		if seen[letter]++; seen[letter] > 1 && strings.IndexByte("vos", letter) >= 0 {
			return fmt.Errorf("sdp line %d: second %c= line", i+1, letter)
		}
		if letter == 'm' {
			media++
		}
		if err := l.check(media > 0); err != nil {
			return fmt.Errorf("sdp line %d: %w", i+1, err)
		}
	}
	if media > MaxMedia {
		return fmt.Errorf("sdp: %d m= lines, at most %d are read", media, MaxMedia)
	}
	return nil
}

// check holds the lines that are edited against their syntax; all others are opaque.
func (l line) check(inMedia bool) error {
	switch l.text[0] {
	case 'm':
		_, err := parseStream(l.value())
		return err
	case 'o':
		if inMedia {
			return fmt.Errorf("o= line behind an m= line")
		}
	case 'c':
		if _, ok := parseConnection(l.value()); !ok {
			return fmt.Errorf("c= line %.60q, want c=IN IP4 ADDRESS", l.text)
		}
	case 'a':
		if name, v := l.attribute(); strings.EqualFold(name, "rtcp") {
			if _, ok := parseRTCP(v); !ok {
				return fmt.Errorf("attribute %.60q, want a=rtcp:PORT [IN IP4 ADDRESS] (RFC 3605)", l.text)
			}
		}
	}
	return nil
}

// cut sorts the lines into the session's and each stream's.
func (s *Session) cut(lines []line) {
	var starts []int
	for i := range lines {
		if lines[i].text[0] == 'm' {
			starts = append(starts, i)
		}
	}
	starts = append(starts, len(lines))
	s.head = lines[:starts[0]:starts[0]]
	s.media = make([][]line, 0, len(starts)-1)
	for i := range len(starts) - 1 {
		s.media = append(s.media, lines[starts[i]:starts[i+1]:starts[i+1]])
	}
}

// Bytes is the description as it stands now.
func (s *Session) Bytes() []byte {
	n := 0
	for l := range s.all() {
		n += len(l.text) + len(l.end)
	}
	b := make([]byte, 0, n)
	for l := range s.all() {
		b = append(b, l.text...)
		b = append(b, l.end...)
	}
	return b
}

// all yields every line in order.
func (s *Session) all() func(yield func(line) bool) {
	return func(yield func(line) bool) {
		for i := -1; i <= len(s.media); i++ {
			sec := s.tail
			if i < 0 {
				sec = s.head
			} else if i < len(s.media) {
				sec = s.media[i]
			}
			for _, l := range sec {
				if !yield(l) {
					return
				}
			}
		}
	}
}

// Origin is the o= line (RFC 8866 §5.2). Its numbers are text: equipment sends more than 64 bits, and signs.
type Origin struct {
	Username, SessionID, Version string
	Addr                         string // address literal or host name
}

// Origin reads the o= line. It reports false if there is none, or one with fewer than six fields.
func (s *Session) Origin() (Origin, bool) {
	i := find(s.head, 'o')
	if i < 0 {
		return Origin{}, false
	}
	// From the right: the user name of some cameras holds blanks.
	f := strings.Fields(s.head[i].value())
	n := len(f)
	if n < 6 {
		return Origin{}, false
	}
	return Origin{
		Username: strings.Join(f[:n-5], " "), SessionID: f[n-5], Version: f[n-4], Addr: f[n-1],
	}, true
}

// Connection is the host of the session's c= line, as it is written; it reports false if there is no such line.
// At tells the one that counts for a stream.
func (s *Session) Connection() (host string, ok bool) {
	i := find(s.head, 'c')
	if i < 0 {
		return "", false
	}
	c, ok := parseConnection(s.head[i].value())
	return c.host, ok
}

// find is the index of the first line of a type in a section, or -1.
func find(sec []line, letter byte) int {
	for i := range sec {
		if sec[i].text[0] == letter {
			return i
		}
	}
	return -1
}
