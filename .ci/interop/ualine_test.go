//go:build interop

package interop

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// line is one call of a user agent.
type line struct {
	*agentUser
	number string         // of the telephone that it is
	hop    netip.AddrPort // where its requests are sent
	media  *handset

	id, from, to string // as requests of its own have them
	remote       string // where they go: the Contact of the other end
	routes       []string
	seq          int
	invite       message // the INVITE that made it
	outgoing     bool
	noticed      bool // the test knows of it
	version      int

	turn      sync.Mutex // one request of its own at a time
	mu        sync.Mutex
	rings     chan struct{} // closed when the far end rings
	up        chan struct{} // closed when it is answered
	over      chan struct{} // closed when it has ended
	told      []string      // the status lines of NOTIFYs
	heard     chan string   // the same, as they come
	final     int           // how its INVITE was answered
	cancelled string        // the Reason of a CANCEL
}

func newLine(u *agentUser, number string) *line {
	return &line{
		agentUser: u, number: number, hop: u.next, rings: make(chan struct{}), up: make(chan struct{}), over: make(chan struct{}), heard: make(chan string, 16),
		media: u.handset(number),
	}
}

// enlist makes a call known, once its dialog has ids.
func (u *agentUser) enlist(l *line) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lines = append(u.lines, l)
}

func shut(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

func pending(c chan struct{}) bool {
	select {
	case <-c:
		return false
	default:
		return true
	}
}

func (l *line) local() string    { return tag(l.from) }
func (l *line) farTag() string   { return tag(l.to) }
func (l *line) replaces() string { return l.id + ";to-tag=" + l.farTag() + ";from-tag=" + l.local() }

func (l *line) sdp(direction string) string {
	l.version++
	return strings.Replace(sdp(l.address, l.version, direction), "20000", fmt.Sprint(l.media.port), 1)
}

// dial begins a call; more are header fields. It is over, or answered, when wait says so.
func (u *agentUser) dial(number, uri string, more ...string) *line {
	l := u.prepare(number, uri)
	go l.set(uri, l.sdp("sendrecv"), more)
	return l
}

// dialLate is dial without an offer: the other end makes it, and the ACK has the answer.
func (u *agentUser) dialLate(number, uri string, more ...string) *line {
	l := u.prepare(number, uri)
	go l.set(uri, "", more)
	return l
}

func (u *agentUser) prepare(number, uri string) *line {
	l := newLine(u, number)
	l.outgoing, l.id = true, u.unique("call")
	name := domain
	if u.ns == nsOutside {
		name = u.address
	}
	l.from, l.to, l.remote = "<sip:"+number+"@"+name+">;tag="+u.unique("t"), "<"+uri+">", uri
	u.enlist(l)
	return l
}

func (l *line) set(uri, offer string, more []string) {
	fields := more
	for {
		l.seq++
		text := insert(l.personal(request("INVITE", uri, l.via(), l.from, l.to, l.id, l.seq, offer), l.number), fields...)
		l.mu.Lock()
		l.invite = message{text}
		l.mu.Unlock()
		answer, err := l.ask(text, l.hop, func(m message) {
			if m.status() >= 180 {
				l.mu.Lock()
				l.learn(m)
				l.mu.Unlock()
				l.media.towards(m.body())
				shut(l.rings)
			}
		})
		if err != nil {
			l.fault("%v", err)
			shut(l.over)
			return
		}
		if answer.status() < 300 {
			l.mu.Lock()
			l.learn(answer)
			l.final = answer.status()
			l.mu.Unlock()
			l.media.towards(answer.body())
			if offer == "" {
				l.send(l.within("ACK", l.seq, l.sdp("sendrecv")), l.hop)
			} else {
				l.ack()
			}
			shut(l.up)
			return
		}
		l.send(request("ACK", uri, message{text}.viaValue(), l.from, answer.get("To"), l.id, l.seq, ""), l.hop)
		if (answer.status() == 401 || answer.status() == 407) && l.who != nil && len(fields) == len(more) {
			fields = append(append([]string{}, more...), l.credentials("INVITE", uri, answer))
			continue
		}
		l.mu.Lock()
		l.final = answer.status()
		l.mu.Unlock()
		shut(l.over)
		return
	}
}

func (m message) viaValue() string { return strings.TrimPrefix(m.get("Via"), "SIP/2.0/UDP ") }

// learn takes the dialog from a response to its own INVITE: routes in reverse.
func (l *line) learn(m message) {
	l.to, l.remote, l.routes = m.get("To"), m.target(), nil
	for _, r := range recordRoutes(m) {
		l.routes = append([]string{r}, l.routes...)
	}
}

func recordRoutes(m message) (list []string) {
	for line := range strings.SplitSeq(m.text, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, "Record-Route") {
			for r := range strings.SplitSeq(v, ",") {
				list = append(list, strings.TrimSpace(r))
			}
		}
	}
	return list
}

// within writes a request of the dialog.
func (l *line) within(method string, seq int, sdp string, more ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq == 0 {
		l.seq++
		seq = l.seq
	}
	text := l.personal(request(method, l.remote, l.via(), l.from, l.to, l.id, seq, sdp), l.number)
	for _, r := range l.routes {
		more = append(more, "Route: "+r)
	}
	return insert(text, more...)
}

func (l *line) ack() { l.send(l.within("ACK", l.seq, ""), l.hop) }

// does sends a request of the dialog and returns the answer's code.
func (l *line) does(method, sdp string, more ...string) int {
	l.turn.Lock()
	defer l.turn.Unlock()
	text := l.within(method, 0, sdp, more...)
	answer, err := l.ask(text, l.hop, nil)
	if err != nil {
		l.fault("%v", err)
		return 0
	}
	if method == "INVITE" {
		if answer.status() < 300 {
			l.send(l.within("ACK", answer.seq(), ""), l.hop)
			l.media.towards(answer.body())
		} else {
			l.send(request("ACK", message{text}.uri(), message{text}.viaValue(), l.from, l.to, l.id, answer.seq(), ""), l.hop)
		}
	}
	return answer.status()
}

func (l *line) hangUp() {
	if pending(l.over) {
		l.does("BYE", "")
		shut(l.over)
		l.media.stop()
	}
}

// cancel gives a call up that rings.
func (l *line) cancel() {
	l.mu.Lock()
	m := l.invite
	l.mu.Unlock()
	_, _ = l.ask(request("CANCEL", m.uri(), m.viaValue(), m.get("From"), m.get("To"), m.get("Call-ID"), m.seq(), ""), l.hop, nil)
}

func (l *line) hold(t *testing.T)   { l.again(t, "sendonly") }
func (l *line) resume(t *testing.T) { l.again(t, "sendrecv") }

func (l *line) again(t *testing.T, direction string) {
	t.Helper()
	if code := l.does("INVITE", l.sdp(direction)); code != 200 {
		t.Errorf("re-INVITE (%s) of %s: %d", direction, l.number, code)
	}
}

// refer asks the other end to call, and returns the code of the answer.
func (l *line) refer(to string, more ...string) int {
	return l.does("REFER", "", append(more, "Refer-To: <"+to+">", "Referred-By: <sip:"+l.number+"@"+domain+">")...)
}

// reported waits for the status line of a final NOTIFY, and returns its code.
func (l *line) reported(t *testing.T) string {
	t.Helper()
	limit := time.After(15 * time.Second)
	for {
		select {
		case s := <-l.heard:
			if !strings.HasPrefix(s, "1") {
				return s
			}
		case <-limit:
			t.Errorf("%s hears nothing final of its transfer, only %v", l.number, l.told)
			return ""
		}
	}
}

// transfers has a telephone refer the other end of a call, and fails the test unless that is accepted and reported as done.
func (l *line) transfers(t *testing.T, to string) {
	t.Helper()
	if code := l.refer(to); code != 202 {
		t.Fatalf("REFER: %d", code)
	}
	if got := l.reported(t); !strings.HasPrefix(got, "200") {
		t.Errorf("%s hears of its transfer: %v", l.number, l.told)
	}
}

// wait waits for a change of the call.
func (l *line) wait(t *testing.T, what string, c chan struct{}) bool {
	t.Helper()
	if l == nil {
		return false
	}
	select {
	case <-c:
		return true
	case <-time.After(8 * time.Second):
		t.Errorf("%s: not %s within 8 s; answered %d", l.number, what, l.final)
		return false
	}
}

// comes waits for a call that comes in at a telephone.
func (u *agentUser) comes(t *testing.T, number string) (found *line) {
	t.Helper()
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, l := range u.live(number) {
			if !l.outgoing && !l.noticed {
				l.noticed = true
				return l
			}
		}
	}
	t.Errorf("nobody calls %s at %s within 8 s", number, u.address)
	return nil
}

// live are the calls of a telephone that have not ended.
func (u *agentUser) live(number string) (list []*line) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.lines {
		if l.number == number && pending(l.over) {
			list = append(list, l)
		}
	}
	return list
}
