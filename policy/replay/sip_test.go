package replay

import (
	"fmt"
	"strings"
	"time"
)

// sip describes a message of a test; the zero fields take values that make it well-formed.
type sip struct {
	method, uri, user, callID, fromTag, toTag, branch, agent, extra, body string
	cseq, status                                                          int
}

// String is the message on the wire.
func (m sip) String() string {
	def := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	def(&m.uri, "sip:example.com")
	def(&m.user, "204")
	def(&m.callID, "c1")
	def(&m.fromTag, "f-"+m.callID)
	m.cseq = max(1, m.cseq)
	def(&m.branch, fmt.Sprintf("z9hG4bK-%s-%d-%s", m.callID, m.cseq, strings.Replace(m.method, "CANCEL", "INVITE", 1)))
	var b strings.Builder
	if m.status != 0 {
		fmt.Fprintf(&b, "SIP/2.0 %d Fine\r\n", m.status)
	} else {
		fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", m.method, m.uri)
	}
	fmt.Fprintf(&b, "Via: SIP/2.0/UDP 192.168.1.5:5060;branch=%s\r\nMax-Forwards: 70\r\nFrom: \"Phone\" <sip:%s@example.com>;tag=%s\r\n", m.branch, m.user, m.fromTag)
	to := m.user
	if m.method != "REGISTER" {
		to = "100"
	}
	fmt.Fprintf(&b, "To: <sip:%s@example.com>", to)
	if m.toTag != "" {
		b.WriteString(";tag=" + m.toTag)
	}
	fmt.Fprintf(&b, "\r\nCall-ID: %s\r\nCSeq: %d %s\r\n", m.callID, m.cseq, m.method)
	if m.agent != "" {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", m.agent)
	}
	fmt.Fprintf(&b, "%sContent-Length: %d\r\n\r\n%s", m.extra, len(m.body), m.body)
	return b.String()
}

func contactLine(user string, expires int) string {
	return fmt.Sprintf("Contact: <sip:%s@192.168.1.5:5060>;expires=%d\r\n", user, expires)
}

func signs(nonce string) string {
	return fmt.Sprintf("Authorization: Digest username=\"204\", realm=\"example.com\", nonce=\"%s\", uri=\"sip:example.com\", response=\"0123\"\r\n", nonce)
}

func challenge(nonce string) string {
	return fmt.Sprintf("WWW-Authenticate: Digest realm=\"example.com\", nonce=\"%s\"\r\n", nonce)
}

// registers is a phone that registers in four messages: asked for its password, and let in.
func (c *tape) registers(phone, user, callID string, cseq int) *tape {
	return c.logsIn(phone, user, callID, cseq, 200)
}

// logsIn is a REGISTER with a challenge, and how its credentials were answered.
func (c *tape) logsIn(phone, user, callID string, cseq, code int) *tape {
	m := sip{method: "REGISTER", user: user, callID: callID, cseq: cseq, agent: "Yealink SIP-T46U", extra: contactLine(user, 300)}
	c.udp(phone, gatePhones, m.String())
	nonce := fmt.Sprintf("n-%s-%d", callID, cseq)
	m.status, m.toTag, m.extra, m.agent = 401, "g"+callID, challenge(nonce), ""
	c.udp(gatePhones, phone, m.String())
	m.status, m.toTag, m.extra, m.agent, m.cseq = 0, "", contactLine(user, 300)+signs(nonce), "Yealink SIP-T46U", cseq+1
	c.udp(phone, gatePhones, m.String())
	m.status, m.toTag, m.agent, m.extra = code, "h"+callID, "", contactLine(user, c.lasts)
	if code != 200 {
		m.extra = challenge(nonce + "-again")
	}
	return c.udp(gatePhones, phone, m.String())
}

// calls is an INVITE, answered, acknowledged and ended by the phone.
func (c *tape) callsOut(phone, user string) *tape {
	c.calls++
	id := fmt.Sprintf("call-%d", c.calls)
	invite := sip{method: "INVITE", uri: "sip:100@example.com", user: user, callID: id, agent: "Yealink SIP-T46U"}
	c.udp(phone, gatePhones, invite.String())
	answer := invite
	answer.status, answer.toTag, answer.agent = 200, "ours-"+id, ""
	c.udp(gatePhones, phone, answer.String())
	ack := sip{method: "ACK", uri: "sip:g@203.0.113.10", user: user, callID: id, toTag: "ours-" + id, branch: "z9hG4bK-ack" + id}
	c.udp(phone, gatePhones, ack.String()).wait(20 * time.Second)
	bye := sip{method: "BYE", uri: "sip:g@203.0.113.10", user: user, callID: id, toTag: "ours-" + id, cseq: 2}
	c.udp(phone, gatePhones, bye.String())
	bye.status = 200
	return c.udp(gatePhones, phone, bye.String())
}

// scans is a scanner that asks for extensions.
func (c *tape) scans(n int) *tape {
	for i := range n {
		c.udp(scanner+":5071", gatePhones, sip{method: "OPTIONS", user: fmt.Sprint(100 + i), callID: fmt.Sprintf("scan-%d", i), agent: "friendly-scanner"}.String())
		c.wait(200 * time.Millisecond)
	}
	return c
}
