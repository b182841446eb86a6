package call

import (
	"strconv"
	"strings"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Session timers (RFC 4028) are kept by each leg for itself: it has an interval and a refresher of its own, or none. What is
// said of them never passes from one leg to the other.

// sessionTimer is that of a leg.
type sessionTimer struct {
	interval time.Duration // 0: the session does not expire
	ours     bool          // we refresh it, else the peer does
	alone    bool          // the peer knows nothing of it: all that a refresh asks is whether it is there
	least    time.Duration // the largest Min-SE that the peer has named
	begun    time.Time     // when it was refreshed last; zero: there is no 2xx yet
	due      time.Time     // ours: when it is refreshed next; zero: that is on its way
	updates  bool          // the peer takes UPDATE
	deaf     bool          // … but not for this
	asks     []sessionAsk  // requests of the peer that have no final answer
}

// sessionAsk is what a request asks of the session timer.
type sessionAsk struct {
	cseq      uint32
	supports  bool // it can do session timers
	interval  time.Duration
	least     time.Duration
	refresher string // uac, uas or nothing
}

// leastInterval is the shortest interval: "The minimum … MUST NOT be less than 90 seconds" (RFC 4028 §5). mostInterval bounds
// what is believed of a peer's numbers. maxTooSmall is how often a 422 is obeyed.
const (
	leastInterval = 90 * time.Second
	mostInterval  = 1 << 31 * time.Second
	maxTooSmall   = 3
)

// end is when the session is given up: "slightly before the session expiration. The minimum of 32 seconds and one third of
// the session interval is RECOMMENDED" (RFC 4028 §10).
func (s *sessionTimer) end() time.Time {
	if s == nil || s.interval == 0 || s.begun.IsZero() {
		return time.Time{}
	}
	return s.begun.Add(s.interval - min(32*time.Second, s.interval/3))
}

// next is when something is to be done for the session; zero: never.
func (s *sessionTimer) next() time.Time {
	end := s.end()
	if !end.IsZero() && s.ours && !s.due.IsZero() && s.due.Before(end) {
		return s.due
	}
	return end
}

// renew begins the interval anew: "the session expiration … is the time of the 2xx plus the interval" (RFC 4028 §7.2, §9).
// It is refreshed "once half the session interval has elapsed" (RFC 4028 §7.4).
func (s *sessionTimer) renew(now time.Time) {
	s.begun, s.due = now, time.Time{}
	if s.ours {
		s.due = now.Add(s.interval / 2)
	}
}

// timing is the leg's session timer, made if there is none.
func (l *leg) timing() *sessionTimer {
	if l.timer == nil {
		l.timer = &sessionTimer{}
	}
	return l.timer
}

// askTimer writes into a request of ours to a leg what we ask of the session timer: the INVITE of the set-up, and whatever
// refreshes the session afterwards. "In a session refresh request sent within a dialog with an active session timer, the
// Session-Expires header field SHOULD be present", and the refresher stays who it is (RFC 4028 §7.4).
func (c *Call) askTimer(m *message.Message, to int) {
	l := &c.legs[to]
	if m.Method != "INVITE" && m.Method != "UPDATE" || m.To.Tag != "" && c.won < 0 {
		return // an early dialog has no session to refresh
	}
	s, want := l.timer, l.peer.SessionTimer
	if want == 0 && (s == nil || s.interval == 0) {
		return
	}
	refresher := ""
	if s = l.timing(); s.interval > 0 && !s.begun.IsZero() {
		want = s.interval
		if refresher = ";refresher=uas"; s.ours {
			refresher = ";refresher=uac"
		}
	}
	least := max(leastInterval, s.least)
	want = max(want, least)
	if s.begun.IsZero() {
		s.interval = want
	}
	m.Add("Supported", "timer")
	m.Add("Session-Expires", seconds(want)+refresher)
	m.Add("Min-SE", seconds(least))
}

// timerGiven takes what a leg's peer says of the session timer in a 2xx to such a request.
func (c *Call) timerGiven(now time.Time, from int, m *message.Message) {
	l := &c.legs[from]
	interval, refresher := expiresOf(m)
	if interval == 0 && l.peer.SessionTimer == 0 {
		if l.timer != nil {
			// "A 2xx without a Session-Expires …: the session timer can be turned off" (RFC 4028 §7.2).
			l.timer.interval = 0
		}
		return
	}
	s := l.timing()
	s.hear(m)
	s.ours, s.alone = refresher != "uas", interval == 0
	if interval > 0 {
		s.interval = max(interval, leastInterval)
	} else {
		// The peer knows no session timers. A refresh tells all the same whether it is there: "the UAC … can perform the
		// refreshes" alone (RFC 4028 §7.2).
		s.interval = max(s.interval, l.peer.SessionTimer, leastInterval)
	}
	c.dropRefresh(from)
	s.renew(now)
}

// hear notes whether the peer takes UPDATE.
func (s *sessionTimer) hear(m *message.Message) {
	if _, said := m.Get("Allow"); said {
		s.updates = has(m, "Allow", "UPDATE")
	}
}

// timerAsked notes what a peer's INVITE or UPDATE asks of the session timer. Where that is too short, it returns the header
// field of the 422 that is the answer.
func (c *Call) timerAsked(from int, m *message.Message) (tooSmall []message.Header) {
	l := &c.legs[from]
	if m.To.Tag != "" && c.won < 0 {
		return nil
	}
	a := sessionAsk{cseq: m.CSeq, supports: has(m, "Supported", "timer") || has(m, "Require", "timer")}
	a.interval, a.refresher = expiresOf(m)
	if v, ok := m.Get("Min-SE"); ok {
		a.least = deltaSeconds(v)
	}
	if l.timer == nil && a.interval == 0 && l.peer.SessionTimer == 0 {
		return nil
	}
	// "If the Session-Expires interval is too small …, the UAS MUST reject the request with a 422 …, MUST contain a Min-SE".
	// A request that "does not indicate support … cannot usefully" be rejected (RFC 4028 §9, §8.1; erratum 1687).
	if a.interval > 0 && a.interval < leastInterval {
		if a.supports {
			return []message.Header{{Name: "Min-SE", Value: seconds(leastInterval)}}
		}
		a.interval = leastInterval
	}
	s := l.timing()
	s.hear(m)
	s.least = max(s.least, min(a.least, mostInterval))
	if len(s.asks) > maxRelays {
		s.asks = s.asks[:copy(s.asks, s.asks[1:])]
	}
	s.asks = append(s.asks, a)
	return nil
}

// answerTimer writes into a final answer of ours what becomes of the session timer.
func (c *Call) answerTimer(to int, m *message.Message) {
	s := c.legs[to].timer
	if s == nil || m.Status < 200 || m.Method != "INVITE" && m.Method != "UPDATE" {
		return
	}
	for i, a := range s.asks {
		if a.cseq != m.CSeq {
			continue
		}
		s.asks = append(s.asks[:i], s.asks[i+1:]...)
		if m.Status < 300 {
			c.grantTimer(to, a, m)
		}
		return
	}
}

// grantTimer decides upon the session timer where the peer has asked (RFC 4028 §9).
func (c *Call) grantTimer(to int, a sessionAsk, m *message.Message) {
	l := &c.legs[to]
	s, want := l.timer, l.peer.SessionTimer
	running := s.interval > 0 && !s.begun.IsZero()
	switch {
	case a.interval > 0:
		s.interval = a.interval
		if want > 0 { // "MAY reduce its value, but MUST NOT set it to a duration lower than the value in the Min-SE"
			s.interval = min(a.interval, max(want, a.least, s.least, leastInterval))
		}
	case running:
		s.interval = max(s.interval, s.least)
	case want > 0: // "The UAS may request a session timer in the 2XX response"
		s.interval = max(want, s.least, leastInterval)
	default:
		return
	}
	// Table 2: a UAC without session timers cannot refresh; else it is who the request says, and where that says nothing,
	// who it was, or the UAC.
	s.alone = !a.supports && a.interval == 0
	switch {
	case !a.supports:
		s.ours = true
	case a.refresher != "":
		s.ours = a.refresher == "uas"
	case !running:
		s.ours = false
	}
	value := seconds(s.interval) + ";refresher=uac"
	if s.ours {
		value = seconds(s.interval) + ";refresher=uas"
	}
	m.Add("Session-Expires", value)
	if a.supports {
		// "If the refresher parameter … is uac, the UAS MUST place a Require header field into the response with the value
		// 'timer'"; with uas it SHOULD, if the UAC knows it.
		m.Add("Require", "timer")
	}
	c.dropRefresh(to)
	s.renew(c.at)
}

// offers reports whether a relayed request is one that refreshes a session.
func (r *relay) offers() bool { return r.req.Method == "INVITE" || r.req.Method == "UPDATE" }

// tooSmall obeys a 422: the request goes again with what the peer wants, unless that helps nothing.
func (c *Call) tooSmall(from int, m *message.Message) bool {
	v, _ := m.Get("Min-SE")
	least := deltaSeconds(v)
	s := c.legs[from].timer
	if s == nil || least <= max(s.least, s.interval) || least > mostInterval {
		return false
	}
	// "the UAC … MAY retry the request … with a Session-Expires value larger than or equal to" it (RFC 4028 §7.3).
	s.least = least
	return true
}

// againLarger sends the INVITE of the current hop again after a 422: "same value of the Call-ID, To, and From …, but the CSeq
// … one higher than the previous" (RFC 4028 §7.3). ok is false where that is of no use.
func (c *Call) againLarger(now time.Time, m *message.Message, do []tu.Action) (_ []tu.Action, ok bool) {
	at := &c.attempts[len(c.attempts)-1]
	if c.retimed++; c.retimed > maxTooSmall || !c.tooSmall(callee, m) {
		return do, false
	}
	again := *at.sent
	again.Via = nil
	again.Headers = nil
	for _, h := range at.sent.Headers {
		switch {
		case h.Name == "Session-Expires", h.Name == "Min-SE", h.Name == "Supported" && strings.EqualFold(h.Value, "timer"):
		default:
			again.Headers = append(again.Headers, h)
		}
	}
	c.askTimer(&again, callee)
	c.cseq++
	again.CSeq = c.cseq
	c.lastRef++
	*at = attempt{ref: c.lastRef, hop: at.hop, sent: &again}
	c.disown()
	c.timerC = now.Add(timerC(at.hop.Peer))
	return append(do, tu.Send{Ref: at.ref, Msg: &again, Hop: at.hop, Hide: &c.legs[caller].brought}), true
}

// expiresOf is the Session-Expires of a message: 0 where there is none that can be read.
func expiresOf(m *message.Message) (interval time.Duration, refresher string) {
	v, ok := m.Get("Session-Expires")
	if !ok {
		return 0, ""
	}
	v, rest, _ := strings.Cut(v, ";")
	interval = deltaSeconds(v)
	for p := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "refresher") {
			continue
		}
		switch value = strings.ToLower(strings.TrimSpace(value)); value {
		case "uac", "uas":
			refresher = value
		}
	}
	return interval, refresher
}

// deltaSeconds reads delta-seconds (RFC 3261 §25.1), with parameters behind; 0 if they cannot be read.
func deltaSeconds(v string) time.Duration {
	v, _, _ = strings.Cut(v, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// retryAfterOf is the time of a Retry-After, behind which a comment may stand (RFC 3261 §20.33).
func retryAfterOf(m *message.Message) (time.Duration, bool) {
	v, ok := m.Get("Retry-After")
	if !ok {
		return 0, false
	}
	v, _, _ = strings.Cut(v, "(")
	v, _, _ = strings.Cut(v, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
	return time.Duration(n) * time.Second, err == nil
}

// has reports whether a list of tokens has one, in any case.
func has(m *message.Message, name, token string) bool {
	for t := range m.Tokens(name) {
		if strings.EqualFold(t, token) {
			return true
		}
	}
	return false
}
