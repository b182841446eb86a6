package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

// twin is the guard as the documentation describes it, written to be read and not to be fast: lists are searched from
// end to end, and every table is an unbounded map. TestGuardEqualsItsTwin compares the two message by message.
type twin struct {
	c        *Config
	peers    []Peer
	phones   []netip.Addr // one entry for each binding
	bans     []Ban
	live     map[string]netip.Addr
	admitted map[string]*twinRepeat
	credits  map[netip.Addr][]time.Time // when each open challenge was passed
	buckets  map[string]*idealBucket
}

type twinRepeat struct {
	born         time.Time
	plain, joint int
}

// twinMessage is a message as the twin sees it.
type twinMessage struct {
	now         time.Time
	i           *nat.Interface
	source      netip.Addr
	method      string // empty: a response
	id          string // Call-ID, CSeq, branch
	toTag       string
	agent       string
	credentials bool
	malformed   bool
}

func newTwin(c *Config) *twin {
	return &twin{c: c, peers: testPeers(), live: map[string]netip.Addr{}, admitted: map[string]*twinRepeat{},
		credits: map[netip.Addr][]time.Time{}, buckets: map[string]*idealBucket{}}
}

func (w *twin) kind(m *twinMessage) PeerKind {
	for _, p := range w.peers {
		if p.Side == m.i.Side && p.Realm == m.i.Realm && p.Prefix.Contains(m.source) {
			return p.Kind
		}
	}
	if m.i.Side == nat.Outside && m.i.Realm == nat.Phones && slices.Contains(w.phones, m.source) {
		return Phone
	}
	return Stranger
}

// check says what the guard should say.
func (w *twin) check(m *twinMessage) string {
	if w.isLive(m) {
		return "allow live-dialog"
	}
	said, admit := w.judge(m)
	if admit && m.method != "ACK" && m.method != "CANCEL" && m.method != "" {
		w.admitted[m.i.String()+m.source.String()+m.id+m.method] = &twinRepeat{born: m.now}
	}
	return said
}

// isLive is step 1.
func (w *twin) isLive(m *twinMessage) bool {
	if m.malformed || m.method == "" {
		return false
	}
	if leg, ok := w.live[m.toTag]; ok && strings.HasPrefix(m.toTag, "our") && leg == m.source {
		return true
	}
	method := m.method
	if method == "CANCEL" || method == "ACK" {
		method = "INVITE"
	}
	r := w.admitted[m.i.String()+m.source.String()+m.id+method]
	if r == nil || m.now.Sub(r.born) >= 32*time.Second {
		return false
	}
	n := &r.plain
	if method != m.method {
		n = &r.joint
	}
	if *n == 12 {
		return false
	}
	*n++
	return true
}

// judge is steps 2 to 11.
func (w *twin) judge(m *twinMessage) (said string, admit bool) {
	exempt, white := w.exemptions(m)
	pass := "allow allow"
	if white {
		pass = "allow white-list"
	}
	switch {
	case !exempt["bans"] && w.blackListed(m):
		return "drop black-list", false
	case !exempt["bans"] && w.isBanned(m):
		return "drop ban", false
	case m.malformed:
		return w.malformedSays(m), false
	}
	if !exempt["user_agents"] && w.kind(m) != Trunk && w.kind(m) != Node {
		if i := naiveAgents(w.c.DenyUserAgents, m.agent); i >= 0 {
			return w.refusal(m, w.c.DenyUserAgents[i].Action, 403, "user-agent"), false
		}
	}
	fate := w.fate(m)
	if said, ok := w.chargeAll(m, exempt["limits"], !strings.HasPrefix(fate, "drop")); !ok {
		return said, false
	}
	if fate != "" {
		return fate, false
	}
	return pass, true
}

func (w *twin) exemptions(m *twinMessage) (exempt map[string]bool, white bool) {
	exempt = map[string]bool{}
	for _, e := range w.c.WhiteList {
		if !twinRange(e.Range, m.source) || !slices.Contains(realmsOf(e.Realms), m.i.Realm) {
			continue
		}
		white = true
		for _, x := range exemptionNames {
			exempt[x] = exempt[x] || len(e.Exempt) == 0 || slices.Contains(e.Exempt, x)
		}
	}
	return exempt, white
}

func twinRange(texts []string, a netip.Addr) bool {
	r, _ := parseRanges(texts)
	return r.any || slices.ContainsFunc(r.spans, func(s span) bool { return s.contains(a) })
}

func (w *twin) blackListed(m *twinMessage) bool {
	return slices.ContainsFunc(w.c.BlackList, func(e BlackEntry) bool {
		return twinRange(e.Range, m.source) && slices.Contains(realmsOf(e.Realms), m.i.Realm) &&
			(e.Until.IsZero() || m.now.Before(e.Until))
	})
}

func (w *twin) isBanned(m *twinMessage) bool {
	return slices.ContainsFunc(w.bans, func(b Ban) bool {
		spared := b.Auto && w.kind(m) != Stranger
		return b.Prefix.Contains(m.source) && !spared && (b.Until.IsZero() || m.now.Before(b.Until)) &&
			(len(b.Realms) == 0 || slices.Contains(b.Realms, m.i.Realm))
	})
}

// malformedSays is what a message that the scan refuses meets.
func (w *twin) malformedSays(m *twinMessage) string {
	if m.method == "" || m.method == "ACK" {
		return "drop malformed"
	}
	if w.kind(m) != Stranger || m.i.Side == nat.Inside || w.answers(m) && w.spend(m) {
		return "reject 400 malformed"
	}
	return "drop malformed"
}

func (w *twin) answers(m *twinMessage) bool {
	if m.i.Realm == nat.Phones {
		return m.i.Side == nat.Outside && w.c.Strangers.Phones == "answer"
	}
	return m.i.Side == nat.Outside && w.c.Strangers.Trunks == "answer"
}

// refusal is what a rule's action comes to.
func (w *twin) refusal(m *twinMessage, action string, code int, why string) string {
	if action != "reject" || m.method == "" || m.method == "ACK" || w.kind(m) == Stranger && m.i.Side == nat.Outside && !w.spend(m) {
		return "drop " + why
	}
	return fmt.Sprintf("reject %d %s", code, why)
}

// fate is what a stranger's message comes to in the end: "" means that it goes on.
func (w *twin) fate(m *twinMessage) string {
	if w.kind(m) != Stranger {
		return ""
	}
	if m.method == "" {
		return "drop stranger"
	}
	why := "stranger"
	answer := w.answers(m)
	switch {
	case m.i.Side == nat.Inside:
		answer = true
	case m.i.Realm == nat.Trunks:
		why = "unknown-trunk"
	case m.method == "REGISTER" && w.c.Phones.Registrar:
		return ""
	case slices.Contains([]string{"INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER"}, m.method):
		why = "not-registered"
		if w.c.Phones.Unregistered == "forward" {
			return ""
		}
		answer = answer || w.c.Phones.Unregistered == "reject"
	}
	switch {
	case !answer || m.method == "ACK":
		return "drop " + why
	case m.method == "OPTIONS" && m.i.Side == nat.Outside:
		return "reject 200 " + why
	}
	return "reject 403 " + why
}

// chargeAll is steps 8 and 9: all limits that the request meets and the strangers' budget, or none of them.
func (w *twin) chargeAll(m *twinMessage, exempt, spends bool) (said string, ok bool) {
	if exempt || m.method == "" || m.credentials && w.answersChallenge(m) {
		return "", true
	}
	named := w.kind(m) == Trunk || w.kind(m) == Node
	rules, _ := naiveLimits(w.c, m.i.Realm, m.source, m.method, named)
	var buckets []*idealBucket
	for _, i := range rules {
		b := w.bucket(m, i)
		b.take0(m.now)
		if b.tokens < 1 {
			return w.refusal(m, w.c.RateLimits[i].Action, 503, "limit-exceeded"), false
		}
		buckets = append(buckets, b)
	}
	if w.kind(m) == Stranger && m.i.Side == nat.Outside && spends && !w.spend(m) {
		return "drop strangers-budget", false
	}
	for _, b := range buckets {
		b.tokens--
	}
	return "", true
}

// take0 refills a bucket.
func (b *idealBucket) take0(now time.Time) {
	b.tokens = min(b.burst, b.tokens+now.Sub(b.last).Seconds()*b.perSecond)
	b.last = now
}

func (w *twin) bucket(m *twinMessage, i int) *idealBucket {
	e := &w.c.RateLimits[i]
	method, text := m.method, e.Limits[m.method]
	if text == "" {
		method, text = "*", e.Limits["*"]
	}
	known := w.kind(m) != Stranger
	return w.filled(fmt.Sprint(e.Name, method, SourceKey(m.source), known), text, *e.Burst)
}

func (w *twin) filled(name, text string, burst int) *idealBucket {
	if w.buckets[name] == nil {
		r, _ := ParseRate(text)
		w.buckets[name] = &idealBucket{float64(burst), float64(burst), r.PerSecond(), noon}
	}
	return w.buckets[name]
}

func (w *twin) spend(m *twinMessage) bool {
	return w.filled("strangers", w.c.Strangers.Rate, *w.c.Strangers.Burst).take(m.now)
}

func (w *twin) answersChallenge(m *twinMessage) bool {
	key := SourceKey(m.source)
	open := w.credits[key]
	if len(open) == 0 || m.now.Sub(open[len(open)-1]) >= 32*time.Second {
		return false // the youngest one keeps the others open
	}
	w.credits[key] = open[:len(open)-1]
	if len(open) > 1 {
		w.credits[key][len(open)-2] = open[len(open)-1]
	}
	return true
}

func (w *twin) challenged(now time.Time, a netip.Addr) {
	key := SourceKey(a)
	open := w.credits[key]
	if len(open) > 0 && now.Sub(open[len(open)-1]) >= 32*time.Second {
		open = nil
	}
	w.credits[key] = append(open, now)
}

// drawTwinConfig draws rules of every kind over a handful of addresses. Rates and times are such that token counts are
// exact in binary.
func drawTwinConfig(t *rapid.T) *Config {
	ranges := rapid.SliceOfN(rapid.SampledFrom([]string{"192.0.2.66", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8",
		"any", "2001:db8::/64", "192.0.2.60-192.0.2.70"}), 1, 2)
	realms := rapid.SampledFrom([][]string{nil, nil, {"phones"}, {"trunks"}})
	word := func(words ...string) string { return rapid.SampledFrom(words).Draw(t, "word") }
	c := &Config{
		Strangers: StrangersConfig{Phones: word("silent", "answer"), Trunks: word("silent", "answer"), Rate: word("1/second", "4/second"),
			Burst: ptr(rapid.IntRange(1, 6).Draw(t, "budget"))},
		Phones:         PhonesConfig{Registrar: rapid.Bool().Draw(t, "registrar"), Unregistered: word("drop", "reject", "forward")},
		DenyUserAgents: []UserAgentConfig{{Match: "evil", Action: word("drop", "reject")}, {Match: "odd", Mode: "exact", Action: word("drop", "reject")}},
	}
	for range rapid.IntRange(0, 2).Draw(t, "white") {
		c.WhiteList = append(c.WhiteList, WhiteEntry{Range: ranges.Draw(t, "range"), Realms: realms.Draw(t, "realms"),
			Exempt: rapid.SliceOfNDistinct(rapid.SampledFrom(exemptionNames[:]), 0, 2, rapid.ID[string]).Draw(t, "exempt")})
	}
	for range rapid.IntRange(0, 1).Draw(t, "black") {
		c.BlackList = append(c.BlackList, BlackEntry{Range: ranges.Draw(t, "range"), Realms: realms.Draw(t, "realms"),
			Until: rapid.SampledFrom([]time.Time{{}, noon.Add(20 * time.Second)}).Draw(t, "until")})
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "limits") {
		e := RateLimitConfig{Name: fmt.Sprint("rule ", i), Range: ranges.Draw(t, "range"), Realms: realms.Draw(t, "realms"),
			Limits: map[string]string{}, Burst: ptr(rapid.IntRange(1, 4).Draw(t, "burst")), Stack: rapid.Bool().Draw(t, "stack"),
			Action: word("drop", "reject")}
		for _, m := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"INVITE", "REGISTER", "OPTIONS", "*"}), 1, 2, rapid.ID[string]).Draw(t, "m") {
			e.Limits[m] = word("1/second", "2/second", "4/second")
		}
		c.RateLimits = append(c.RateLimits, e)
	}
	return c
}

func TestGuardEqualsItsTwin(t *testing.T) {
	sources := []string{"192.0.2.66", "192.0.2.67", "198.51.100.7", "203.0.113.20", "10.0.0.10", "10.9.9.9", "2001:db8::1", "2001:db8::2"}
	rapid.Check(t, func(t *rapid.T) {
		c := drawTwinConfig(t)
		g, w := newGuard(&testing.T{}, c), newTwin(c)
		now := noon
		for n := range 120 {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 1, 2, 4, 130}).Draw(t, "step")) * 250 * time.Millisecond)
			m := twinMessage{now: now, i: rapid.SampledFrom([]*nat.Interface{outsidePhones, outsideTrunks, insidePhones, insideTrunks}).Draw(t, "door"),
				source: netip.MustParseAddr(rapid.SampledFrom(sources).Draw(t, "source"))}
			switch rapid.IntRange(0, 24).Draw(t, "what") {
			case 0:
				tag := rapid.SampledFrom([]string{"our1", "our2", "alien"}).Draw(t, "tag")
				g.Live().Add(tag, m.source)
				w.live[tag] = m.source
			case 1:
				g.Live().Remove("our1")
				delete(w.live, "our1")
			case 2:
				ban := Ban{Prefix: SourcePrefix(m.source), Auto: rapid.Bool().Draw(t, "auto"), Until: now.Add(time.Second)}
				must(&testing.T{}, g.Bans().Add(now, ban))
				w.bans = slices.DeleteFunc(w.bans, func(b Ban) bool { return b.Prefix == ban.Prefix })
				w.bans = append(w.bans, ban)
			case 3:
				g.Challenged(now, m.source)
				w.challenged(now, m.source)
			case 4:
				g.AddPhone(m.source)
				w.phones = append(w.phones, m.source)
			case 5:
				g.RemovePhone(m.source)
				if i := slices.Index(w.phones, m.source); i >= 0 {
					w.phones = slices.Delete(w.phones, i, i+1)
				}
			case 6:
				g.SetPeers(testPeers()) // a reload: the phones stay
			default:
				compareWithTwin(t, g, w, &m, n)
			}
		}
	})
}

func compareWithTwin(t *rapid.T, g *Guard, w *twin, m *twinMessage, n int) {
	method := rapid.SampledFrom([]string{"INVITE", "INVITE", "REGISTER", "OPTIONS", "ACK", "CANCEL", "BYE", "SUBSCRIBE", "WEIRD", ""}).Draw(t, "method")
	out := msg{method: method, toTag: rapid.SampledFrom([]string{"", "", "our1", "our2", "alien"}).Draw(t, "to"),
		agent: rapid.SampledFrom([]string{"", "fine", "fine", "Evil phone", "odd"}).Draw(t, "agent"), branch: fmt.Sprint("z9hG4bK", n)}
	if rapid.IntRange(0, 2).Draw(t, "repeat") == 0 {
		out.branch = "z9hG4bKsame"
	}
	m.method, m.toTag, m.agent, m.id = method, out.toTag, out.agent, out.branch
	if method == "" {
		out.method, out.status, out.agent = "INVITE", 200, ""
		m.agent = ""
	}
	switch rapid.IntRange(0, 9).Draw(t, "extra") {
	case 0:
		m.malformed, out.extra = true, "Content-Length: 99\r\n"
	case 1, 2:
		m.credentials, out.extra = true, "Authorization: Digest nonce=\"x\"\r\n"
	}
	want := w.check(m)
	got := says(send(g, m.now, m.i, netip.AddrPortFrom(m.source, 5060).String(), out.bytes()))
	if got != want {
		t.Fatalf("message %d, %q from %s at %s after %v (to %q, agent %q, branch %s): %q, the twin says %q",
			n, method, m.source, m.i, m.now.Sub(noon), out.toTag, out.agent, out.branch, got, want)
	}
}
