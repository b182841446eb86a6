package call

import (
	"bytes"
	"slices"
	"strings"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Who comes into a call later may have fewer streams than the one whose place it takes: a phone without video in the place of one with.
// "If an m= line … existed in the previous SDP, … there MUST be a corresponding m= line" (RFC 3264 §8), so the other leg is told of
// the missing ones as declined, and the newcomer's answers have as many as it has offered.

// evened adds to a description the m= lines that another one has beyond it, all of them declined.
func evened(body, told []byte) []byte {
	n, at := mLines(body), 0
	var out []byte
	for line := range strings.Lines(string(told)) {
		if !strings.HasPrefix(line, "m=") {
			continue
		}
		if at++; at <= n {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 4 {
			return body // we wrote it
		}
		if out == nil {
			out = append(bytes.TrimRight(bytes.Clone(body), "\r\n"), "\r\n"...)
		}
		f[1] = "0"
		out = append(out, strings.Join(f, " ")+"\r\nc=IN IP4 0.0.0.0\r\n"...)
	}
	if out == nil {
		return body
	}
	return out
}

// shortened leaves the first n m= lines of a description.
func shortened(body []byte, n int) []byte {
	at := 0
	for line := range bytes.Lines(body) {
		if bytes.HasPrefix(line, []byte("m=")) {
			if n--; n < 0 {
				return body[:at]
			}
		}
		at += len(line)
	}
	return body
}

// even is an offer of a leg that may have fewer streams than the call, with all of them. A leg that never had fewer must not have: it is
// refused where that is judged.
func (c *Call) even(from int, m *message.Message) *message.Message {
	l := &c.legs[from]
	if l.short == 0 || !described(m) {
		return m
	}
	n, all := mLines(sdpOf(m)), mLines(l.media.in)
	switch {
	case n >= all:
		l.short = 0
		return m
	case n < l.short:
		return m
	}
	l.short = n
	return withSDP(m, evened(sdpOf(m), l.media.in))
}

// evenTaker is even for the offer of a leg that comes into a call, whose other leg knows these streams.
func (l *leg) evenTaker(m *message.Message, told []byte) *message.Message {
	n := mLines(sdpOf(m))
	if n >= mLines(told) {
		return m
	}
	l.short = n
	return withSDP(m, evened(sdpOf(m), told))
}

// withSDP is a message with another description.
func withSDP(m *message.Message, body []byte) *message.Message {
	start, end, ok := sdp.FindSDP(contentType(m), m.Body)
	if !ok {
		return m
	}
	out := *m
	out.Body = slices.Concat(m.Body[:start], body, m.Body[end:])
	return &out
}

// answersShort leaves of our answer to a leg what answers its offer.
func (l *leg) answersShort(m *message.Message) {
	if l.short == 0 || !described(m) {
		return
	}
	body := shortened(sdpOf(m), l.short)
	*m = *withSDP(m, body)
	l.media.sent = body
}

// bids reports whether the 2xx to a request is an offer.
func (c *Call) bids(tx tu.TxID) bool {
	return slices.ContainsFunc(c.relays, func(r relay) bool { return r.tx == tx && r.delayed })
}
