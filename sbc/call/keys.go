package call

import (
	"bytes"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Digits as INFO carries them, and telephone events as descriptions name them.

// The events of keys (RFC 4733 §3.2), and one of RFC 2833 that is not a tone.
const (
	star     = 10
	pound    = 11
	lastTone = 15
	flash    = 16
)

const (
	shortestTone = 40   // milliseconds; ITU-T Q.24: a receiver may take less for noise
	longestTone  = 5000 // nobody holds a key so long by intention
	defaultTone  = 160
	volumeTone   = 10 // -10 dBm0: what most gateways send
	mostDigit    = 256
)

// digitKind is a form of digit in INFO.
type digitKind uint8

const (
	noDigit    digitKind = iota
	relayDigit           // application/dtmf-relay: Signal= and Duration= lines
	plainDigit           // application/dtmf: the digit alone
)

// digitType tells the form by the Content-Type.
func digitType(m *message.Message) digitKind {
	kind, _, err := mime.ParseMediaType(contentType(m))
	switch {
	case err != nil:
		return noDigit
	case kind == "application/dtmf-relay":
		return relayDigit
	case kind == "application/dtmf":
		return plainDigit
	}
	return noDigit
}

// parseDigit reads the body of an INFO. Both forms have no standard, so what is read is what equipment sends: blanks
// anywhere, any case, numbers for letters, lines in any order, and the one form in the name of the other.
func parseDigit(kind digitKind, body []byte) (t tu.Tone, ok bool) {
	if len(body) > mostDigit {
		return t, false
	}
	t = tu.Tone{Volume: volumeTone, Duration: defaultTone}
	if kind == plainDigit && !bytes.Contains(body, []byte("=")) {
		t.Event, ok = parseSignal(string(body))
		return t, ok
	}
	for line := range strings.FieldsFuncSeq(string(body), func(r rune) bool { return r == '\r' || r == '\n' }) {
		key, value, _ := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "signal":
			if t.Event, ok = parseSignal(value); !ok {
				return t, false
			}
		case "duration":
			if ms, err := strconv.ParseUint(value, 10, 32); err == nil && ms > 0 {
				t.Duration = uint16(min(max(ms, shortestTone), longestTone))
			}
		}
	}
	return t, ok
}

// keyNames are what keys without a number are called.
var keyNames = map[string]uint8{"*": star, "#": pound, "A": 12, "B": 13, "C": 14, "D": 15, "!": flash, "FLASH": flash}

func parseSignal(s string) (event uint8, ok bool) {
	s = strings.ToUpper(strings.Trim(strings.TrimSpace(s), `"`))
	if event, ok = keyNames[s]; ok {
		return event, true
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil && n <= flash && len(s) <= 2
}

// signalOf is how a key is written.
func signalOf(event uint8) string {
	if event < star || event > lastTone {
		return strconv.Itoa(int(event))
	}
	return string("*#ABCD"[event-star])
}

// writeDigit makes an INFO one of a digit.
func writeDigit(m *message.Message, d tu.DigitHeard, plain bool) {
	if plain {
		m.Set("Content-Type", "application/dtmf")
		m.Body = []byte(signalOf(d.Event))
		return
	}
	m.Set("Content-Type", "application/dtmf-relay")
	m.Body = fmt.Appendf(nil, "Signal=%s\r\nDuration=%d\r\n", signalOf(d.Event), min(max(d.Duration, shortestTone), longestTone))
}

// Telephone events in descriptions.

const eventName = "telephone-event"

func isEvent(f sdp.Format) bool { return f.Is(eventName) }

// besideVoice reports whether a format carries no speech by itself.
func besideVoice(f sdp.Format) bool {
	name, _, _ := strings.Cut(f.Codec, "/")
	c := sdp.Codec{Name: name}
	return !c.Speech()
}

// clockOf is the RTP clock of a format in Hz.
func clockOf(f sdp.Format) uint32 {
	_, rest, _ := strings.Cut(f.Codec, "/")
	hz, _, _ := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(hz, 10, 32)
	if err != nil || n == 0 {
		return 8000
	}
	return uint32(n)
}

// voiceClock is the clock of the codec that two descriptions agree on: the first one of the shorter, which is the answer,
// that the other one has too.
func voiceClock(a, b []sdp.Format) uint32 {
	if len(b) < len(a) {
		a, b = b, a
	}
	for _, f := range a {
		if !besideVoice(f) && slices.ContainsFunc(b, func(x sdp.Format) bool { return x.Codec == f.Codec }) {
			return clockOf(f)
		}
	}
	return 8000
}

// matchEvents makes of stream i, which leg from has described, what the other leg's peer is to read of telephone events:
// none where it speaks INFO, and some where we make them of INFO, or take them for INFO. offer is the offer that this
// answers, nil for an offer. It reports false where nothing would be left: an answer that takes nothing but the
// events that we have added.
func (c *Call) matchEvents(from, i int, s *sdp.Session, line *sdp.Media, f *formats, offer *proposal) bool {
	near, far := c.legs[from].speaks(), c.legs[1-from].speaks()
	if near == far || !f.voice || f.sealed || line.Type != "audio" {
		return true
	}
	has := slices.ContainsFunc(f.told, isEvent)
	switch {
	case far == tu.DTMFInfo:
		return c.cutEvents(i, s, f)
	case offer == nil:
		if !has && (far == tu.DTMFEvents || near == tu.DTMFInfo) {
			c.offerEvents(1-from, i, s, f)
		}
	default:
		var asked []sdp.Format // the far peer's own
		if i < len(offer.formats) {
			asked = offer.formats[i].said
		}
		if !slices.ContainsFunc(asked, isEvent) { // an answer names nothing that was not offered (RFC 3264 §6.1)
			return c.cutEvents(i, s, f)
		} else if !has && (far == tu.DTMFEvents || near == tu.DTMFInfo) {
			c.answerEvents(1-from, i, s, f, asked)
		}
	}
	return true
}

// cutEvents takes telephone events out of a description, and reports whether any format is left.
func (c *Call) cutEvents(i int, s *sdp.Session, f *formats) bool {
	var numbers []uint8
	for _, x := range f.told {
		if isEvent(x) {
			numbers = append(numbers, x.Number)
		}
	}
	if len(numbers) == 0 {
		return true
	}
	f.told = slices.DeleteFunc(slices.Clone(f.told), isEvent)
	return s.DropFormats(i, numbers...)
}

// offerEvents offers a leg telephone events: with a clock of 8000 Hz, and that of the first codec where that is another (RFC
// 4733 §2.1: "the RTP clock rate … MUST be the same").
func (c *Call) offerEvents(to, i int, s *sdp.Session, f *formats) {
	clocks := []uint32{8000}
	for _, x := range f.told {
		if hz := clockOf(x); !besideVoice(x) && hz != 8000 {
			clocks = append(clocks, hz)
			break
		}
	}
	for _, hz := range clocks {
		x := sdp.Format{Codec: fmt.Sprintf("%s/%d/1", eventName, hz)}
		taken := numbersOf(f.told, f.said)
		n, ok := c.legs[to].media.book(i).find(x, &taken)
		if !ok {
			n, ok = c.legs[to].media.eventNumber(taken)
		}
		if ok {
			x.Number = n
			c.addEvents(to, i, s, f, x)
		}
	}
}

// answerEvents accepts what a leg has offered: the events whose clock is that of the codec.
func (c *Call) answerEvents(to, i int, s *sdp.Session, f *formats, asked []sdp.Format) {
	voice, best := voiceClock(f.told, asked), -1
	for k, x := range asked {
		if isEvent(x) && (best < 0 || clockOf(x) == voice && clockOf(asked[best]) != voice) {
			best = k
		}
	}
	if taken := numbersOf(f.told); best >= 0 && !taken.Has(asked[best].Number) {
		c.addEvents(to, i, s, f, asked[best])
	}
}

func (c *Call) addEvents(to, i int, s *sdp.Session, f *formats, x sdp.Format) {
	s.AddFormat(i, x.Number, fmt.Sprintf("%s/%d", eventName, clockOf(x)), "0-15")
	f.told = append(slices.Clone(f.told), x)
	c.legs[to].media.book(i).learn([]sdp.Format{x}, false)
}

// eventNumber is a number for telephone events that the leg has not seen: the one that nearly everybody uses, if it is free.
func (s *mediaState) eventNumber(taken tu.Payloads) (uint8, bool) {
	const usual = 101
	if !taken.Has(usual) && !slices.ContainsFunc(s.books, func(b book) bool { return b.has(usual) }) {
		return usual, true
	}
	return s.free(taken)
}
