package trunk

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// ProbeConfig is how an address is asked whether it lives.
type ProbeConfig struct {
	Hop       tu.Hop
	Interval  time.Duration // 0: never asked, the state stays unknown
	Failures  int           // misses in a row that make it down
	Successes int           // answers in a row that make it up again
	CRLF      bool          // nothing is asked: empty lines keep the way open (RFC 5626 §4.4.1, over UDP as is customary)
}

// Same reports whether two configurations ask the same thing in the same way: then a reload keeps the probe, with the
// answers and misses that it has counted. A probe that is replaced at every reload would never come to its third miss.
func (c *ProbeConfig) Same(o *ProbeConfig) bool {
	return c.Hop.ID == o.Hop.ID && c.Hop.Flow == o.Hop.Flow && c.Hop.Here == o.Hop.Here &&
		c.CRLF == o.CRLF && c.Interval == o.Interval && c.Failures == o.Failures && c.Successes == o.Successes
}

// Probe asks one address by OPTIONS, in a rhythm of its own (RFC 3261 §11). It is a tu.User.
type Probe struct {
	cfg      ProbeConfig
	ids      tu.IDs
	callID   string
	tag      string
	seq      uint32
	ref      tu.Ref    // the question that is out; 0: none
	next     time.Time // when the next one is due, or the one that is out counts as missed
	asked    time.Time
	missed   int
	answered int
	state    State
	seen     netip.AddrPort // where the last answer shows us
	retired  bool
}

// NewProbe makes a probe in a known state. Its first Tick starts it.
func NewProbe(cfg ProbeConfig, state State, seed tu.Seed, key *tu.TagKey) *Probe {
	p := &Probe{cfg: cfg, ids: tu.NewIDs(seed, key), state: state}
	p.callID, p.tag = p.ids.CallID(), p.ids.Tag()
	return p
}

// Deadline is when the next question is due.
func (p *Probe) Deadline() time.Time {
	if p.retired {
		return time.Time{}
	}
	return p.next
}

// Step asks, and judges the answer.
func (p *Probe) Step(now time.Time, ev tu.Event, do []tu.Action) []tu.Action {
	switch ev := ev.(type) {
	case tu.Hangup:
		p.retired = true
		if p.ref == 0 {
			return append(do, tu.End{})
		}
	case tu.Tick:
		return p.tick(now, do)
	case tu.Doubted:
		if p.ref == 0 && !p.retired && !p.cfg.CRLF && !p.next.IsZero() { // else it has just asked, or never does
			return p.ask(now, do)
		}
	case tu.Answered:
		if ev.Ref == p.ref && ev.Msg.Status >= 200 {
			// "A peer is alive on any final response but 408 and 503."
			took := max(now.Sub(p.asked), 1)
			p.seen = sightOf(ev.Msg, &p.cfg.Hop.Here)
			return p.judge(now, ev.Msg.Status != 408 && ev.Msg.Status != 503, took, answerText(ev.Msg), do)
		}
	case tu.Failed:
		switch {
		case ev.Ref != p.ref:
		case ev.Why != reason.Timeout:
			// Our own table was full: that says nothing of the peer.
			return p.rest(now, do)
		case ev.Code == 503:
			return p.judge(now, false, 0, unreachable, do)
		default:
			return p.judge(now, false, 0, noAnswer, do)
		}
	}
	return do
}

// What became of a question without an answer.
const (
	noAnswer    = "no answer"
	unreachable = "unreachable" // an ICMP error, or no way to send
)

// Refused reports whether a question has not even arrived.
func Refused(h *tu.Health) bool { return !h.Alive && h.Answer == unreachable }

// phraseMost bounds what is kept of a peer's reason phrase, in bytes.
const phraseMost = 40

// answerText is an answer in a few words.
func answerText(m *message.Message) string {
	phrase := m.Reason
	if len(phrase) > phraseMost {
		phrase = strings.ToValidUTF8(phrase[:phraseMost], "") + "…"
	}
	return strings.TrimSpace(strconv.Itoa(m.Status) + " " + phrase)
}

// Abort ends the probe.
func (p *Probe) Abort(_ time.Time, do []tu.Action) []tu.Action { return append(do, tu.End{}) }

func (p *Probe) tick(now time.Time, do []tu.Action) []tu.Action {
	switch {
	case p.retired || p.cfg.Interval <= 0 || now.Before(p.next):
		return do
	case p.next.IsZero():
		// Spread in time: a thousand probes that start together must not ask together.
		p.next = now.Add(p.ids.Between(0, min(p.cfg.Interval/10, time.Second)))
		return do
	case p.ref != 0:
		// No answer within an interval is a miss: Timer F (32 s) would find a dead node out too late.
		return p.judge(now, false, 0, noAnswer, do)
	case p.cfg.CRLF:
		p.asked = now
		return p.rest(now, append(do, tu.Ping{Flow: p.cfg.Hop.Flow}))
	default:
		return p.ask(now, do)
	}
}

func (p *Probe) ask(now time.Time, do []tu.Action) []tu.Action {
	p.seq++
	p.ref, p.asked = tu.Ref(p.seq), now
	p.next = now.Add(min(p.cfg.Interval, patience))
	here := p.cfg.Hop.Here.Signal
	us := message.URI{Scheme: "sip", Host: here.Addr().String(), Port: here.Port()}
	host := message.URI{Scheme: "sip", Host: p.cfg.Hop.Flow.Remote.Addr().String(), Port: p.cfg.Hop.Flow.Remote.Port()}
	m := &message.Message{
		Method: "OPTIONS", URI: host, CallID: p.callID, CSeq: p.seq, MaxForwards: 70,
		From: message.NameAddr{URI: us, Tag: p.tag}, To: message.NameAddr{URI: host},
	}
	contact := message.NameAddr{URI: us}
	if t := p.cfg.Hop.Here.Transport; t != nat.UDP { // RFC 3261 §19.1.1: without it a URI means UDP
		contact.URI.Params = ";transport=" + t.Param()
	}
	m.Add("Contact", contact.String())
	m.Add("Accept", "application/sdp")
	return append(do, tu.Send{Ref: p.ref, Msg: m, Hop: p.cfg.Hop})
}

// patience is the longest that a question waits for its answer.
const patience = 5 * time.Second

// rest waits for the next question.
func (p *Probe) rest(now time.Time, do []tu.Action) []tu.Action {
	p.ref = 0
	if p.retired {
		return append(do, tu.End{})
	}
	// Spread in time: a hundred probes that came together must not stay together.
	p.next = p.asked.Add(p.ids.Between(p.cfg.Interval*9/10, p.cfg.Interval*11/10))
	if p.next.Before(now) {
		p.next = now
	}
	return do
}

// judge counts answers and misses: failures in a row make down, successes in a row make up. said is what the
// administrator reads of it, took the round trip of an answer.
func (p *Probe) judge(now time.Time, alive bool, took time.Duration, said string, do []tu.Action) []tu.Action {
	do = p.rest(now, do)
	if p.retired {
		return do
	}
	if alive {
		p.missed = 0
		p.answered++
		if p.state == Unknown || p.answered >= p.cfg.Successes {
			p.state = Up
		}
	} else {
		p.answered, took, p.seen = 0, 0, netip.AddrPort{}
		p.missed++
		// "A peer that never answered is unknown and used": it is asked on, and goes down only from up.
		if p.state == Up && p.missed >= p.cfg.Failures {
			p.state = Down
		}
	}
	return append(do, tu.Health{
		Peer: p.cfg.Hop.ID, Up: p.state == Up, Known: p.state != Unknown, Answer: said, Alive: alive, Took: took, Seen: p.seen,
	})
}
