package message

import (
	"errors"
	"net/netip"
	"strconv"

	"sallyport/sbc/scan"
)

// Reply builds a response to a request: Via, From, To, Call-ID and CSeq as RFC 3261 §8.2.6.2 asks, Record-Route as
// §12.1.1 does for responses that make a dialog, Timestamp in a 100 (§8.2.6.1). The caller adds the To tag. An empty
// phrase is the standard one. The hops are shared with the request, the rest is the caller's.
func Reply(req *Message, status int, phrase string) *Message {
	if phrase == "" {
		phrase = Phrase(status)
	}
	m := &Message{
		Method: req.Method, Status: status, Reason: phrase,
		Via: req.Via[:len(req.Via):len(req.Via)], From: req.From, To: req.To,
		CallID: req.CallID, CSeq: req.CSeq, MaxForwards: -1,
	}
	for i := range req.Headers {
		switch name := req.Headers[i].Name; {
		case name == "Record-Route" && status > 100 && status < 300, name == "Timestamp" && status == 100:
			m.Headers = append(m.Headers, req.Headers[i])
		}
	}
	return m
}

// The errors of ShortReply.
var (
	ErrNoReply       = errors.New("no reply: the message is an ACK, a response, or lacks the fields that a response repeats")
	ErrReplyTooLarge = errors.New("no reply: it would be more than 200 bytes larger than the request")
)

// replyMargin is how much larger than its request a stateless reply may be, so that nobody is worth reflecting off us.
const replyMargin = 200

// ShortReply writes a stateless response from the raw lines of a request that was refused or could not be parsed: all
// Via fields, the topmost with received and rport by the source, From, To with toTag if it has no tag, Call-ID, CSeq,
// and extra (RFC 3261 §8.2.7, §18.2.1; RFC 3581). v must come from a Scan of raw that got to the end of the header
// section. dst is returned as it was with an error.
func ShortReply(dst, raw []byte, v *scan.View, src netip.AddrPort, status int, phrase, toTag string, extra ...Header) ([]byte, error) {
	if !v.Complete() || !v.IsRequest || string(v.Bytes(v.Method)) == "ACK" || v.SentBy.Empty() ||
		v.From.Empty() || v.To.Empty() || v.CallID.Empty() || v.CSeqMethod.Empty() {
		return dst, ErrNoReply
	}
	if phrase == "" {
		phrase = Phrase(status)
	}
	w := writer{out: dst}
	w.out = append(strconv.AppendInt(append(w.out, "SIP/2.0 "...), int64(status), 10), ' ')
	w.out = append(w.out, phrase...)
	w.foul = foul(w.out[len(dst):])
	w.out = append(w.out, "\r\n"...)
	if err := w.repeat(v, src, toTag); err != nil {
		return dst, err
	}
	for _, h := range extra {
		if err := checkName(h.Name); err != nil {
			return dst, err
		}
		w.field(h.Name, h.Value)
	}
	w.number("Content-Length", 0)
	w.out = append(w.out, "\r\n"...)
	switch {
	case w.foul:
		return dst, ErrWriteControl
	case len(w.out)-len(dst) > len(raw)+replyMargin:
		return dst, ErrReplyTooLarge
	}
	return w.out, nil
}

// repeat copies the fields of the request that a response repeats, unfolded.
func (w *writer) repeat(v *scan.View, src netip.AddrPort, toTag string) error {
	for at := v.FirstField; ; {
		name, value, next, ok := v.Field(at)
		if !ok {
			break
		}
		at = next
		if n := v.Bytes(name); len(n) != 1 && len(n) != 3 || CanonicalName(string(n)) != "Via" {
			continue
		}
		w.name("Via")
		if value != v.Via {
			w.unfold(v.Bytes(value))
		} else if err := w.topVia(v, src); err != nil {
			return err
		}
		w.end()
	}
	w.name("From")
	w.unfold(v.Bytes(v.From))
	w.end()
	w.name("To")
	w.unfold(v.Bytes(v.To))
	if v.ToTag.Empty() && toTag != "" {
		w.out = append(append(w.out, ";tag="...), toTag...)
	}
	w.end()
	w.name("Call-ID")
	w.unfold(v.Bytes(v.CallID))
	w.end()
	w.name("CSeq")
	w.out = append(strconv.AppendUint(w.out, uint64(v.CSeq), 10), ' ')
	w.out = append(w.out, v.Bytes(v.CSeqMethod)...)
	w.end()
	return nil
}

// topVia writes the first Via field: its first hop with the source, further hops as they are.
func (w *writer) topVia(v *scan.View, src netip.AddrPort) error {
	from := len(w.out)
	w.unfold(v.Bytes(v.Via))
	value := string(w.out[from:])
	end, err := elementLen(value)
	if err != nil {
		return ErrNoReply
	}
	hop := Via{RPort: -1}
	if err := hop.parse(trim(value[:end])); err != nil {
		return ErrNoReply
	}
	hop.Received, hop.RPort = sourceParams(hop.Host, hop.RPort, src)
	w.out = append(hop.append(w.out[:from]), value[end:]...)
	return nil
}

// unfold copies a value without its line ends.
func (w *writer) unfold(value []byte) {
	for _, c := range value {
		if c != '\r' && c != '\n' {
			w.out = append(w.out, c)
		}
	}
}
