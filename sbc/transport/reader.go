package transport

import (
	"hash/maphash"
	"math/rand/v2"
	"strconv"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/scan"
)

// reader takes one message after another through all checks, whatever the transport. It belongs to one goroutine.
type reader struct {
	*door
	line   line
	view   scan.View
	packet policy.Packet
	out    []byte // the last stateless answer
}

// line is where a reader's messages come from.
type line interface {
	// reply sends a stateless answer back to where the message came from.
	reply(b []byte) error
	// insist is asked about a packet that found the inbox full, and tells what became of it in the end.
	insist(p Packet) Outcome
	// delivered hears that a message was handed on.
	delivered()
	// who has proven to be at its other end; nil: its address says it.
	who() *policy.Peer
}

// judge lets the guard decide what becomes of a message that the scan has looked at.
func (r *reader) judge(now time.Time, data []byte, err error, f nat.Flow) {
	r.packet = policy.Packet{
		Now: now, Interface: &r.face, Source: f.Remote, Data: data, View: &r.view, ScanErr: err, Peer: r.line.who(),
	}
	v := r.Guard.Check(&r.packet)
	if v.Warn {
		r.warn(&v)
	}
	switch v.Action {
	case policy.Allow:
		if err != nil {
			r.malformed(err) // a guard lets nothing on that the scan refused; the parser would not take it
			return
		}
		r.admit(v, f)
	case policy.Ignore:
		r.count.ignored.Add(1)
	case policy.Reject:
		r.count.rejected.Add(1)
		r.refuse(&v, err)
	default:
		r.count.dropped.Add(1)
	}
}

// admit parses what the guard let through and hands it on.
func (r *reader) admit(v policy.Verdict, f nat.Flow) {
	m, err := message.Parse(r.packet.Data, &r.view) // copies: the buffer is free again
	if err != nil {
		r.malformed(err)
		return
	}
	m.SetSource(f.Remote)
	p := Packet{Interface: &r.face, Flow: f, Msg: m, Verdict: v}
	outcome := r.Handler.Deliver(p)
	if outcome == Dropped {
		outcome = r.line.insist(p)
	}
	switch outcome {
	case Accepted:
		r.count.delivered.Add(1)
		r.line.delivered()
	case Busy:
		r.count.busy.Add(1)
		// RFC 3261 §21.5.4. The whole program has too much to do, so everybody may be told to wait.
		r.answer(503, "", 5+rand.IntN(26))
	default:
		r.count.overflow.Add(1)
	}
}

// malformed asks the guard once more, now that the parser has found what the scan could not see: it keeps the evidence
// and knows who may be told. Known peers get the right 4xx, strangers silence.
func (r *reader) malformed(err error) {
	r.count.malformed.Add(1)
	r.packet.ScanErr = err
	v := r.Guard.Check(&r.packet)
	if v.Warn {
		r.warn(&v)
	}
	if v.Action == policy.Reject {
		r.refuse(&v, err)
	}
}

// refuse answers a verdict. Where the message itself is at fault, the parser knows the better code.
func (r *reader) refuse(v *policy.Verdict, err error) {
	code, phrase := v.Code, ""
	if better := message.Refusal(err); better != nil && v.Reason == reason.Malformed {
		code, phrase = better.Code, better.Text()
	}
	after := 0
	if v.RetryAfter > 0 {
		after = v.RetryAfter + rand.IntN(spread)
	}
	r.answer(code, phrase, after)
}

// spread is over how many seconds those come back who were told to at the same time, such as the phones of an office.
const spread = 5

// answer sends a stateless response to the packet's source, once. ShortReply refuses what must not be answered (ACK,
// responses) and what would be much larger than the request. It tells the sender to wait for so many seconds, 0: nothing
// of that kind.
func (r *reader) answer(code int, phrase string, retryAfter int) {
	var extra []message.Header
	if retryAfter > 0 {
		extra = []message.Header{{Name: "Retry-After", Value: strconv.Itoa(retryAfter)}}
	}
	out, err := message.ShortReply(r.out[:0], r.packet.Data, &r.view, r.packet.Source, code, phrase, r.tag(), extra...)
	if err != nil {
		return
	}
	r.out = out
	if w, ok := r.Guard.(Witness); ok {
		w.Answered(&r.face, r.packet.Source, out)
	}
	if r.line.reply(out) == nil {
		r.count.replies.Add(1)
	}
}

// tag makes the To tag of a stateless response: the same for every repeat of the request (RFC 3261 §8.2.7).
func (r *reader) tag() string {
	var h maphash.Hash
	h.SetSeed(r.tags)
	for _, s := range [...]scan.Span{r.view.CallID, r.view.FromTag, r.view.Branch} {
		_, _ = h.Write(r.view.Bytes(s))
		_ = h.WriteByte(0)
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

func (r *reader) warn(v *policy.Verdict) {
	r.Log.Warn("message of a source that should be known: "+v.Action.String(),
		zap.Stringer("side", r.face.Side), zap.Stringer("realm", r.face.Realm),
		zap.Stringer("src", r.packet.Source), zap.ByteString("method", r.view.Bytes(r.view.Method)),
		zap.Int("code", v.Code), zap.String("reason", string(v.Reason)))
}
