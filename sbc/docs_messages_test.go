package sbc_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sallyport/policy"
	"sallyport/sbc/api"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
)

// spoken is one line of messages: who sends what.
type spoken struct {
	source    netip.AddrPort
	realm     string
	transport string
	times     int
	newPorts  bool // each from a port of its own
	newUsers  bool // each of a user of his own
	method    string
	user, to  string
	agent     string
	display   string
	password  string // "", wrong, right
}

var (
	spokenRE = regexp.MustCompile(`^(\S+)\s+(phones|trunks)\s+(udp|tcp)\s+(?:(\d+) × )?([A-Z]+|nonsense)(.*?)\s*→`)
	laterRE  = regexp.MustCompile(`^\((\S+) later\)$`)
	comeRE   = regexp.MustCompile(`^\((\d+) phones?(?: "([^"]*)")? registers? from (\S+?)(?:, one every (\S+))?\)$`)
	agentRE  = regexp.MustCompile(`"([^"]*)"`)
	nameRE   = regexp.MustCompile(`called (\S+)`)
)

// acts does what the lines of a piece say, and returns them with what came of it. Blank space begins what is the output of
// before.
func (s *scene) acts(text []string) (out []string) {
	for _, line := range text {
		if !strings.HasPrefix(line, " ") {
			out = append(out, strings.Split(s.act(line), "\n")...)
		}
	}
	return out
}

// act does what a line says, and returns it with what came of it, in several lines if several things did.
func (s *scene) act(line string) string {
	if m := laterRE.FindStringSubmatch(line); m != nil {
		d, err := time.ParseDuration(m[1])
		if err != nil {
			s.failed("%v", err)
		}
		time.Sleep(d)
		return line
	}
	if m := comeRE.FindStringSubmatch(line); m != nil {
		s.come(m)
		return line
	}
	m := spokenRE.FindStringSubmatch(line)
	if m == nil {
		if strings.TrimSpace(line) != "" {
			s.failed("nobody understands %q", line)
		}
		return line
	}
	left, _, _ := strings.Cut(line, "→")
	next := "\n" + strings.Repeat(" ", utf8.RuneCountInString(left)+3)
	return left + "→  " + strings.Join(s.say(s.spoken(m)), next)
}

func (s *scene) spoken(m []string) (x spoken) {
	x = spoken{realm: m[2], transport: m[3], times: 1, method: m[5], user: "204"}
	var err error
	if x.source, err = netip.ParseAddrPort(m[1]); err != nil {
		a, err := netip.ParseAddr(m[1])
		if err != nil {
			s.failed("%v", err)
		}
		x.source = netip.AddrPortFrom(a, 5060)
	}
	if m[4] != "" {
		x.times, _ = strconv.Atoi(m[4])
	}
	rest := m[6]
	if a := agentRE.FindStringSubmatch(rest); a != nil {
		x.agent, rest = a[1], strings.Replace(rest, a[0], "", 1)
	}
	if a := nameRE.FindStringSubmatch(rest); a != nil {
		x.display, rest = a[1], strings.Replace(rest, a[0], "", 1)
	}
	for _, part := range strings.Split(rest, ",") {
		switch part = strings.TrimSpace(part); part {
		case "":
		case "wrong password", "right password":
			x.password = strings.Fields(part)[0]
		case "each from a port of its own":
			x.newPorts = true
		case "each phone its own":
			x.newPorts, x.newUsers = true, true
		default:
			from, to, _ := strings.Cut(part, " to ")
			x.user, x.to = strings.TrimSpace(from), strings.TrimSpace(to)
			if strings.ContainsAny(x.user+x.to, " ") {
				s.failed("nobody understands %q", part)
			}
		}
	}
	return x
}

// say sends the messages of a line one after the other and tells what became of them.
func (s *scene) say(x spoken) (kinds []string) {
	counts := map[string]int{}
	for i := range x.times {
		if i > 0 && x.newPorts {
			x.source = netip.AddrPortFrom(x.source.Addr(), x.source.Port()+1)
		}
		if i > 0 && x.newUsers {
			n, _ := strconv.Atoi(x.user)
			x.user = fmt.Sprint(n + 1)
		}
		became := s.try(&x)
		if counts[became]++; counts[became] == 1 {
			kinds = append(kinds, became)
		}
	}
	if x.times > 1 {
		for i, k := range kinds {
			kinds[i] = fmt.Sprintf("%d × %s", counts[k], k)
		}
	}
	return kinds
}

// try is one message, and where a password is asked for its whole try.
func (s *scene) try(x *spoken) string {
	s.calls++
	m := s.message(x, "")
	became, nonce := s.pass(x, m)
	if x.password == "" || nonce == "" {
		return became
	}
	again := s.message(x, nonce)
	again.CSeq = 2
	became, _ = s.pass(x, again)
	return became
}

// message builds what is sent.
func (s *scene) message(x *spoken, nonce string) *message.Message {
	w := &wire{l: s.lab, at: x.source, n: s.calls*10 + len(nonce)}
	gate, to := phoneSocket, user(x.to, "example.com")
	if x.realm == "trunks" {
		gate = trunkSocket
	}
	m := w.request(x.method, gate, x.to)
	m.From.URI = user(x.user, "example.com")
	m.From.Display = x.display
	m.CallID, m.From.Tag = fmt.Sprintf("doc-%d@%s", s.calls, x.source.Addr()), fmt.Sprintf("tag-%d", s.calls)
	m.Via[0].Transport = strings.ToUpper(x.transport)
	switch {
	case x.method == "REGISTER":
		m.URI, to = message.URI{Scheme: "sip", Host: "example.com"}, user(x.user, "example.com")
		m.Add("Contact", fmt.Sprintf("<sip:%s@%s>", x.user, x.source))
		m.Add("Expires", "3600")
	case x.realm == "trunks":
		to = m.To.URI
	case x.to == "":
		to = user("100", "example.com")
		m.URI = to
	default:
		m.URI = to
	}
	m.To = message.NameAddr{URI: to}
	if x.agent != "" {
		m.Add("User-Agent", x.agent)
	}
	if nonce != "" {
		m.Add("Authorization", fmt.Sprintf(`Digest username=%q, realm="example.com", nonce=%q, uri="sip:example.com", response=%q`,
			x.user, nonce, map[string]string{"right": "00000000000000000000000000000000", "wrong": "ffffffffffffffffffffffffffffffff"}[x.password]))
	}
	if x.method == "INVITE" {
		withBody(m, sdpAt(x.source.Addr(), 4000))
	}
	return m
}

// pass sends a message: what the rules say of it in advance, what the guard says then, what the PBX hears and answers.
func (s *scene) pass(x *spoken, m *message.Message) (became, nonce string) {
	data := write(s.t, m)
	if x.method == "nonsense" {
		data = []byte("this is no SIP\r\n\r\n")
	}
	v, err := s.control().TestMessage(s.ctx, api.PolicyTest{Source: x.source.String(), Side: "outside", Realm: x.realm, Transport: x.transport, Message: data})
	if err != nil {
		s.failed("%v", err)
	}
	var trial policy.Trial
	if err := json.Unmarshal(v.Detail, &trial); err != nil {
		s.failed("%v", err)
	}
	at := time.Now()
	open := s.deliver(x, data)
	if judged := s.same(at, x, &trial); !judged && !open {
		return "the connection is closed", ""
	}
	became = verdictText(&trial)
	if !open {
		return became + ", the connection is closed", ""
	}
	until := time.Now().Add(20 * time.Millisecond)
	for arrived := s.pbx.next(time.Until(until)); arrived != nil; arrived = s.pbx.next(time.Until(until)) {
		if arrived.Method == m.Method && trial.Action == "allow" { // others belong to what was before
			code := 0
			code, nonce = s.answer(arrived)
			return became + fmt.Sprintf(", the PBX answers %d", code), nonce
		}
	}
	s.hearing.Lock()
	defer s.hearing.Unlock()
	if s.heard != nil && s.heard.CallID == m.CallID && s.heard.CSeq == m.CSeq && trial.Action == "allow" {
		became += fmt.Sprintf(", answered %d", s.heard.Status)
	}
	return became, nonce
}

// deliver puts a message on the wire.
func (s *scene) deliver(x *spoken, data []byte) bool {
	to := phoneSocket
	if x.realm == "trunks" {
		to = trunkSocket
	}
	if x.transport == "udp" {
		if err := s.net.Inject(x.source, to, data); err != nil {
			s.failed("%v", err)
		}
		time.Sleep(time.Millisecond)
		return true
	}
	c := s.streams[x.source]
	if c == nil {
		var err error
		if c, err = s.net.Host(x.source.Addr()).DialStream(s.ctx, x.source, to); err != nil {
			return false
		}
		s.streams[x.source] = c
	}
	_, err := c.Write(data)
	time.Sleep(time.Millisecond)
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, e := c.Read(make([]byte, 65536)); err == nil && e != nil {
		if n, ok := errors.AsType[net.Error](e); !ok || !n.Timeout() {
			err = e
		}
	}
	if err != nil {
		_ = c.Close()
		delete(s.streams, x.source)
	}
	return err == nil
}

// same checks that what was foretold is what happened. It reports false if nothing has, for a connection was closed.
func (s *scene) same(at time.Time, x *spoken, foretold *policy.Trial) bool {
	w, err := s.control().Why(s.ctx, x.source.Addr().String())
	if err != nil {
		s.failed("%v", err)
	}
	var was struct {
		Seen *policy.Seen            `json:"seen"`
		Last []policy.RecordedPacket `json:"last"`
	}
	if err := json.Unmarshal(w.Detail, &was); err != nil {
		s.failed("%v", err)
	}
	if foretold.Reason == reason.LiveDialog || foretold.Action == "ignore" {
		return true
	}
	counted := was.Seen != nil && !was.Seen.Last.Before(at) // of equal refusals in a flood not each has a record
	if len(was.Last) == 0 || was.Last[0].At.Before(at) && !counted {
		if x.transport == "udp" {
			s.failed("%s of %s: nobody has heard of it", x.method, x.source)
		}
		return false
	}
	if l := &was.Last[0]; l.Action != foretold.Action || l.Code != foretold.Code || l.Reason != foretold.Reason {
		s.failed("%s of %s was to meet %s, and met %s %d %s", x.method, x.source, verdictText(foretold), l.Action, l.Code, l.Reason)
	}
	return true
}

// answer plays the PBX: it challenges, takes the right password, and is busy.
func (s *scene) answer(m *message.Message) (code int, nonce string) {
	credentials, signed := m.Get("Authorization")
	switch {
	case m.Method == "REGISTER" && !(signed && strings.Contains(credentials, "00000000")):
		s.nonces++
		nonce = fmt.Sprintf("nonce%d", s.nonces)
		s.pbx.reply(m, 401, nil, field(fmt.Sprintf(`WWW-Authenticate: Digest realm="example.com", nonce=%q`, nonce)))
		code = 401
	case m.Method == "REGISTER":
		s.pbx.reply(m, 200, nil, echo(s.t, m, 3600)...)
		code = 200
	case m.Method == "INVITE":
		s.pbx.reply(m, 486, nil)
		code = 486
	default:
		s.pbx.reply(m, 200, nil)
		code = 200
	}
	time.Sleep(5 * time.Millisecond)
	return code, nonce
}

// come registers phones, each from a port of its own.
func (s *scene) come(m []string) {
	n, _ := strconv.Atoi(m[1])
	pause, _ := time.ParseDuration(m[4])
	for range n {
		s.users++
		x := spoken{source: netip.AddrPortFrom(netip.MustParseAddr(m[3]), uint16(40_200+s.users)), realm: "phones", transport: "udp", times: 1,
			method: "REGISTER", user: fmt.Sprint(200 + s.users), agent: m[2], password: "right"}
		if became := s.try(&x); !strings.HasPrefix(became, "allow") || !strings.HasSuffix(became, "the PBX answers 200") {
			s.failed("phone %s: %s", x.user, became)
		}
		time.Sleep(pause)
	}
}

// verdictText is what became of a message, in short.
func verdictText(v *policy.Trial) string {
	text := v.Action
	if v.Code == 200 {
		text = "answer"
	}
	if v.Code != 0 {
		text += fmt.Sprintf(" %d", v.Code)
	}
	if string(v.Reason) != v.Action && v.Reason != "" {
		text += " " + string(v.Reason)
	}
	if v.Rule != nil {
		if text += " by " + v.Rule.Path; !strings.HasPrefix(v.Rule.Path, "policy.") && v.Limit == "" {
			text += fmt.Sprintf(" %q", v.Rule.Name)
		}
	}
	if v.Limit != "" {
		text += ": " + v.Limit
	}
	if v.Ban {
		text += ", and a ban"
	}
	if v.Shadow != "" {
		text += fmt.Sprintf(" (shadow %q)", v.Shadow)
	}
	if v.Alarm != "" {
		text += fmt.Sprintf(" (alarm %q)", v.Alarm)
	}
	return text
}
