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
	d        Data
	peers    []Peer
	phones   []netip.Addr       // one entry for each binding
	peaks    map[netip.Addr]int // the most bindings there ever were behind a key
	bans     []Ban
	live     map[string]netip.Addr
	admitted map[string]*twinRepeat
	credits  map[netip.Addr][]time.Time // when each open challenge was passed
	nonces   map[netip.Addr]time.Time   // when the nonce was passed
	buckets  map[string]*idealBucket
}

type twinRepeat struct {
	born         time.Time
	text         string
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
	text        string
}

func newTwin(c *Config) *twin {
	return &twin{c: c, peers: testPeers(), live: map[string]netip.Addr{}, admitted: map[string]*twinRepeat{},
		credits: map[netip.Addr][]time.Time{}, nonces: map[netip.Addr]time.Time{}, buckets: map[string]*idealBucket{}, peaks: map[netip.Addr]int{}}
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
		w.admitted[m.i.String()+m.source.String()+m.id+m.method] = &twinRepeat{born: m.now, text: m.text}
	}
	return said
}

// isLive is step 1.
func (w *twin) isLive(m *twinMessage) bool {
	if m.malformed || m.method == "" {
		return false
	}
	if leg, ok := w.live[m.toTag]; ok && strings.HasPrefix(m.toTag, "our") && leg == m.source && m.method != "REGISTER" {
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
	if m.method == "ACK" {
		r.plain = 12 // nothing is repeated behind it
	}
	if method != m.method {
		n = &r.joint
	} else if r.text != m.text {
		return false
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
	case !exempt["bans"] && w.fedTo(m):
		return "drop black-list", false
	case !exempt["bans"] && w.isBanned(m):
		return "drop ban", false
	case !exempt["countries"] && w.isForeign(m):
		return "drop country", false
	case m.malformed:
		if said, ok := w.chargeUnparseable(m, exempt["limits"]); !ok {
			return said, false
		}
		return w.malformedSays(m), false
	}
	if said := w.ruled(m, exempt["user_agents"]); said != "" {
		return said, false
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
	if exempt || m.method == "" {
		return "", true
	}
	named := w.kind(m) == Trunk || w.kind(m) == Node
	rules, _ := naiveLimits(w.c, m.i.Realm, m.source, m.method, named)
	budget := w.kind(m) == Stranger && m.i.Side == nat.Outside && spends
	if m.credentials && w.answersChallenge(m) && w.chargeAnswer(m, rules, budget) {
		return "", true
	}
	over, taken := w.look(m, m.method, rules, "")
	if over >= 0 {
		return w.refusal(m, w.c.RateLimits[over].Action, 503, "limit-exceeded"), false
	}
	if budget && !w.spend(m) {
		return "drop strangers-budget", false
	}
	w.takeAll(taken)
	return "", true
}

// chargeAnswer charges an answer to a challenge to the buckets that stand beside those of requests.
func (w *twin) chargeAnswer(m *twinMessage, rules []int, budget bool) bool {
	over, taken := w.look(m, m.method, rules, "answers")
	if over >= 0 || budget && !w.filled(w.queue(m)+" answers", w.c.Strangers.Rate, *w.c.Strangers.Burst).take(m.now) {
		return false
	}
	w.takeAll(taken)
	return true
}

// chargeUnparseable charges what the scan refuses to what limits say of it.
func (w *twin) chargeUnparseable(m *twinMessage, exempt bool) (said string, ok bool) {
	if exempt {
		return "", true
	}
	rules, _ := naiveLimits(w.c, m.i.Realm, m.source, "unparseable", w.kind(m) == Trunk || w.kind(m) == Node)
	over, taken := w.look(m, "unparseable", rules, "")
	if over >= 0 {
		return "drop limit-exceeded", false
	}
	w.takeAll(taken)
	return "", true
}

// look finds the first rule that has nothing left, or the buckets to take from.
func (w *twin) look(m *twinMessage, method string, rules []int, use string) (over int, taken map[string]*idealBucket) {
	taken = map[string]*idealBucket{}
	for _, i := range rules {
		if w.c.RateLimits[i].Action == "alarm" {
			continue
		}
		name, b := w.bucket(m, method, i, use)
		if b.tokens < 1 {
			return i, nil
		}
		taken[name] = b
	}
	return -1, taken
}

func (w *twin) takeAll(taken map[string]*idealBucket) {
	for name, b := range taken {
		b.tokens--
		w.buckets[name] = b
	}
}

// behind is how many phones count behind a source: nobody calls Tick in these tests, so that the first ten minutes are
// remembered whole, and nothing after them.
func (w *twin) behind(m *twinMessage) int { return max(1, w.lately(m)) }

func (w *twin) lately(m *twinMessage) int {
	if m.i.Side != nat.Outside || m.i.Realm != nat.Phones {
		return 0
	}
	key, n := SourceKey(m.source), w.bindings(m.source)
	if m.now.Sub(noon) < 10*time.Minute {
		n = max(n, w.peaks[key])
	}
	return n
}

// bindings counts those behind the key of a source.
func (w *twin) bindings(source netip.Addr) (n int) {
	for _, a := range w.phones {
		if SourceKey(a) == SourceKey(source) {
			n++
		}
	}
	return n
}

// bucket is that of a source for a rule, refilled, but not yet kept: it is kept when something is taken from it.
func (w *twin) bucket(m *twinMessage, method string, i int, use string) (string, *idealBucket) {
	e := &w.c.RateLimits[i]
	text := e.Limits[method]
	if text == "" {
		method, text = "*", e.Limits["*"]
	}
	name := func(known bool) string { return fmt.Sprint(use, e.Name, method, SourceKey(m.source), known) }
	known := w.kind(m) != Stranger || w.lately(m) > 0
	b := w.buckets[name(known)]
	if b == nil && known {
		b = w.buckets[name(false)] // a phone owes what it owed before it had registered
	}
	r, _ := ParseRate(text)
	size := 1.0
	if e.PerPhone {
		size = float64(w.behind(m))
	}
	if b == nil {
		b = &idealBucket{0, 0, r.PerSecond(), m.now}
	}
	b = b.resized(m.now, float64(*e.Burst)*size, r.PerSecond()*size)
	if _, there := w.buckets[name(known)]; there {
		w.buckets[name(known)] = b
	}
	return name(known), b
}

// resized is a bucket with its debt, refilled at the old rate, in another size.
func (b *idealBucket) resized(now time.Time, burst, perSecond float64) *idealBucket {
	debt := max(0, b.burst-b.tokens-now.Sub(b.last).Seconds()*b.perSecond)
	return &idealBucket{burst - min(debt, burst), burst, perSecond, now}
}

func (w *twin) filled(name, text string, burst int) *idealBucket {
	if w.buckets[name] == nil {
		r, _ := ParseRate(text)
		w.buckets[name] = &idealBucket{float64(burst), float64(burst), r.PerSecond(), noon}
	}
	return w.buckets[name]
}

func (w *twin) spend(m *twinMessage) bool {
	return w.filled(w.queue(m), w.c.Strangers.Rate, *w.c.Strangers.Burst).take(m.now)
}

// queue is whom a stranger shares his budget with.
func (w *twin) queue(m *twinMessage) string {
	if w.lately(m) > 0 {
		return "returning"
	}
	return "strangers"
}

func TestGuardEqualsItsTwin(t *testing.T) {
	sources := []string{"192.0.2.66", "192.0.2.67", "198.51.100.7", "203.0.113.20", "10.0.0.10", "10.9.9.9", "2001:db8::1", "2001:db8::2"}
	rapid.Check(t, func(t *rapid.T) {
		c := drawTwinConfig(t)
		drawTwinRules(t, c)
		g, w := newGuard(&testing.T{}, c), newTwin(c)
		w.d = twinData(&testing.T{})
		g.SetRules(noon, compileWith(&testing.T{}, c, w.d))
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
				// One by hand stands in place of an automatic one; an automatic one leaves it alone.
				w.bans = slices.DeleteFunc(w.bans, func(b Ban) bool { return b.Prefix == ban.Prefix && (b.Auto || !ban.Auto) })
				w.bans = append(w.bans, ban)
			case 3:
				g.Challenged(now, netip.AddrPortFrom(m.source, 5060), "x")
				w.challenged(now, m.source)
				w.nonces[m.source] = now
			case 4:
				g.AddPhone(m.source)
				w.phones = append(w.phones, m.source)
				w.peaks[SourceKey(m.source)] = max(w.peaks[SourceKey(m.source)], w.bindings(m.source))
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
	m.text = string(out.bytes())
	want := w.check(m)
	got := says(send(g, m.now, m.i, netip.AddrPortFrom(m.source, 5060).String(), out.bytes()))
	if got != want {
		t.Fatalf("message %d, %q from %s at %s after %v (to %q, agent %q, branch %s): %q, the twin says %q",
			n, method, m.source, m.i, m.now.Sub(noon), out.toTag, out.agent, out.branch, got, want)
	}
}
