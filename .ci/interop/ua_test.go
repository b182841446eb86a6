//go:build interop

package interop

import (
	"crypto/md5" //nolint:gosec // digest authentication of RFC 2617 is made of it
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// agentUser is a user agent of the test's own, with as many telephones as there are numbers: it calls, answers, holds, refers
// and is referred, takes over what Replaces names, and speaks and listens. What it begins goes to one address, as with an
// outbound proxy. Where its next hop challenges, it answers as the extension it is.
type agentUser struct {
	w           *world
	ns, address string
	product     string
	next        netip.AddrPort
	who         *extension // whose credentials it has; nil: nobody's
	conn        *net.UDPConn

	mu      sync.Mutex
	lines   []*line
	pending map[string]chan message   // by branch and method: who waits for a final answer
	said    map[string]string         // what it has answered, for requests that come again
	sources map[string]netip.AddrPort // where requests came from
	conduct map[string]string         // what its telephones do by number: "", or one of those below
	desk    *registrarDesk            // where REGISTERs go; nil: each is accepted
	serial  int
	faults  []string
}

// What a telephone does that does not simply answer.
const (
	rings    = "ring"
	busy     = "busy"
	ignorant = "ignorant" // of Replaces
	stays    = "stays"    // refuses to move: 488 to every re-INVITE
	joins    = "joins"    // as a PBX: two of its own calls, of which one is referred to the other
)

// userAgent starts one; it speaks SIP from address:5060.
func (w *world) userAgent(t *testing.T, ns, address, next, product string, who *extension) *agentUser {
	t.Helper()
	u := &agentUser{
		w: w, ns: ns, address: address, product: product, next: addrPort(next), who: who, conn: w.socket(t, ns, address+":5060"),
		pending: map[string]chan message{}, said: map[string]string{}, sources: map[string]netip.AddrPort{}, conduct: map[string]string{},
	}
	go u.serve()
	t.Cleanup(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, f := range u.faults {
			t.Errorf("%s: %s", address, f)
		}
		for _, l := range u.lines {
			l.media.close()
		}
	})
	return u
}

func (u *agentUser) fault(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults = append(u.faults, fmt.Sprintf(format, args...))
}

// behave sets what a telephone does when it is called.
func (u *agentUser) behave(number, conduct string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conduct[number] = conduct
}

func (u *agentUser) conductOf(number string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.conduct[number]
}

// unique is a word that nobody else says.
func (u *agentUser) unique(what string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.serial++
	return fmt.Sprintf("%s%s%dx%d", what, strings.ReplaceAll(u.address, ".", ""), u.serial, time.Now().UnixNano()%1e6)
}

func (u *agentUser) serve() {
	buf := make([]byte, 65535)
	for {
		n, from, err := u.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n <= 12 {
			continue
		}
		m := message{string(buf[:n])}
		if m.status() == 0 {
			u.mu.Lock()
			u.sources[m.branch()+m.method()] = from
			u.mu.Unlock()
			u.requested(m)
			continue
		}
		u.mu.Lock()
		waiting := u.pending[m.branch()+m.method()]
		u.mu.Unlock()
		if waiting != nil {
			select {
			case waiting <- m:
			default:
			}
		}
	}
}

func (u *agentUser) send(text string, to netip.AddrPort) {
	_, _ = u.conn.WriteToUDPAddrPort([]byte(text), to)
}

// ask sends a request, again as long as nothing is heard, and returns the final answer; progress hears what comes before it.
func (u *agentUser) ask(text string, to netip.AddrPort, progress func(message)) (message, error) {
	m := message{text}
	heard := make(chan message, 16)
	u.mu.Lock()
	u.pending[m.branch()+m.method()] = heard
	u.mu.Unlock()
	u.send(text, to)
	again := time.NewTimer(500 * time.Millisecond)
	limit := time.After(20 * time.Second)
	for {
		select {
		case r := <-heard:
			again.Stop()
			if r.status() >= 200 {
				return r, nil
			}
			if progress != nil {
				progress(r)
			}
		case <-again.C:
			u.send(text, to)
			again.Reset(time.Second)
		case <-limit:
			return message{}, fmt.Errorf("no answer to %s %s", m.method(), m.uri())
		}
	}
}

// answer answers a request, and keeps the answer for when it comes again.
func (u *agentUser) answer(m message, status, contact, sdp string, more ...string) {
	text := m.reply(status, contact, sdp)
	here := "<" + u.contact(m.number()) + ">"
	if m.method() == "REGISTER" {
		here = m.get("Contact")
	}
	text = strings.Replace(text, "<sip:pbx@"+contact+">", here, 1)
	if !m.inDialog() {
		text = strings.Replace(text, ";tag=stand-in", ";tag="+u.unique("s"), 1)
	}
	text = insert(text, append(more, "User-Agent: "+u.product+"/1.0", allows)...)
	u.mu.Lock()
	u.said[m.branch()+m.method()] = text
	to := u.sources[m.branch()+m.method()]
	u.mu.Unlock()
	u.send(text, to)
}

const allows = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, REFER, NOTIFY"

func (u *agentUser) contact(number string) string { return "sip:" + number + "@" + u.address + ":5060" }

// insert puts header fields before Content-Length or Content-Type.
func insert(text string, fields ...string) string {
	if len(fields) == 0 {
		return text
	}
	head, rest, _ := strings.Cut(text, "\r\nContent-")
	return head + "\r\n" + strings.Join(fields, "\r\n") + "\r\nContent-" + rest
}

var (
	branchOf   = regexp.MustCompile(`(?i)^Via:[^\r\n]*;branch=([^\s;,]+)`)
	tagOf      = regexp.MustCompile(`;tag=([^\s;,>]+)`)
	userOf     = regexp.MustCompile(`sips?:([^@;>\s]+)@`)
	challenge  = regexp.MustCompile(`(?i)(realm|nonce|qop)="?([^",\r\n]+)`)
	replacesOf = regexp.MustCompile(`^([^;]+);(.*)$`)
)

func (m message) branch() string {
	_, after, _ := strings.Cut(m.text, "\r\n")
	for line := range strings.SplitSeq(after, "\r\n") {
		if found := branchOf.FindStringSubmatch(line); found != nil {
			return found[1]
		}
	}
	return ""
}

// field is the first value of any header field.
func (m message) field(name string) string {
	for line := range strings.SplitSeq(m.text, "\r\n") {
		if line == "" {
			return ""
		}
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (m message) body() string {
	_, b, _ := strings.Cut(m.text, "\r\n\r\n")
	return b
}

// uri is the Request-URI.
func (m message) uri() string {
	parts := strings.Fields(m.text)
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

// number is the user part of the Request-URI, as it was dialled.
func (m message) number() string { return strings.ReplaceAll(userPart(m.uri()), "%2B", "+") }

func tag(value string) string {
	if found := tagOf.FindStringSubmatch(value); found != nil {
		return found[1]
	}
	return ""
}

func userPart(value string) string {
	if found := userOf.FindStringSubmatch(value); found != nil {
		return found[1]
	}
	return ""
}

// credentials answers a challenge.
func (u *agentUser) credentials(method, uri string, m message) string {
	name, in := "Authorization", m.field("WWW-Authenticate")
	if m.status() == 407 {
		name, in = "Proxy-Authorization", m.field("Proxy-Authenticate")
	}
	p := map[string]string{}
	for _, found := range challenge.FindAllStringSubmatch(in, -1) {
		p[strings.ToLower(found[1])] = found[2]
	}
	hash := func(parts ...string) string { return fmt.Sprintf("%x", md5.Sum([]byte(strings.Join(parts, ":")))) } //nolint:gosec // see the import
	ha1, ha2 := hash(u.who.user, p["realm"], u.who.password()), hash(method, uri)
	response, more := hash(ha1, p["nonce"], ha2), ""
	if p["qop"] != "" {
		response, more = hash(ha1, p["nonce"], "00000001", "1234abcd", "auth", ha2), `, qop=auth, nc=00000001, cnonce="1234abcd"`
	}
	return fmt.Sprintf(`%s: Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=MD5%s`,
		name, u.who.user, p["realm"], p["nonce"], uri, response, more)
}

// register registers the extension that it is, or unregisters it.
func (u *agentUser) register(t *testing.T, expires int) {
	t.Helper()
	aor, id, from := "sip:"+u.who.aor(), u.unique("register"), u.unique("t")
	fields := []string{}
	for seq := 1; seq <= 2; seq++ {
		text := request("REGISTER", "sip:"+domain, u.via(), "<"+aor+">;tag="+from, "<"+aor+">", id, seq, "")
		text = u.personal(text, u.who.user)
		answer, err := u.ask(insert(text, append(fields, fmt.Sprintf("Expires: %d", expires))...), u.next, nil)
		switch {
		case err != nil:
			t.Fatal(err)
		case answer.status() == 200:
			return
		case answer.status() == 401 && seq == 1:
			fields = append(fields, u.credentials("REGISTER", "sip:"+domain, answer))
		default:
			t.Fatalf("REGISTER of %s: %d", aor, answer.status())
		}
	}
}

func (u *agentUser) via() string {
	return u.address + ":5060;rport;branch=z9hG4bK" + u.unique("b")
}

// personal puts its own Contact and product into a request.
func (u *agentUser) personal(text, number string) string {
	text = contactLine.ReplaceAllLiteralString(text, "Contact: <"+u.contact(number)+">")
	if u.conductOf(number) != ignorant {
		text = insert(text, "Supported: replaces")
	}
	return insert(text, "User-Agent: "+u.product+"/1.0", allows)
}

var contactLine = regexp.MustCompile(`(?m)^Contact: [^\r\n]*`)
