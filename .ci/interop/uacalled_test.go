//go:build interop

package interop

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// requested acts upon a request that comes in.
func (u *agentUser) requested(m message) {
	u.mu.Lock()
	again, from := u.said[m.branch()+m.method()], u.sources[m.branch()+m.method()]
	u.mu.Unlock()
	if again != "" && m.method() != "ACK" {
		u.send(again, from)
		return
	}
	contact := u.address + ":5060"
	if m.method() == "INVITE" && !m.inDialog() {
		u.called(m)
		return
	}
	l := u.lineOf(m.get("Call-ID"), tag(m.get("To")))
	if m.method() == "CANCEL" {
		l = u.ringing(m)
	}
	switch {
	case m.method() == "ACK":
		if l != nil {
			l.media.towards(m.body())
		}
	case m.method() == "REGISTER" && u.desk != nil:
		status, fields := u.desk.asked(m)
		u.answer(m, status, contact, "", fields...)
	case m.method() == "REGISTER": // at a PBX
		u.answer(m, "200 OK", contact, "", "Expires: 60")
	case m.method() == "OPTIONS":
		u.answer(m, "200 OK", contact, "")
	case l == nil:
		u.answer(m, "481 Not Here", contact, "")
	default:
		l.requested(m)
	}
}

func (l *line) requested(m message) {
	contact := l.address + ":5060"
	switch m.method() {
	case "INVITE", "UPDATE":
		if l.conductOf(l.number) == stays {
			l.answer(m, "488 Not Acceptable Here", contact, "")
			return
		}
		direction := "sendrecv"
		switch {
		case strings.Contains(m.body(), "a=sendonly"):
			direction = "recvonly"
		case strings.Contains(m.body(), "a=inactive"):
			direction = "inactive"
		}
		l.mu.Lock()
		l.remote = m.target()
		l.mu.Unlock()
		body := ""
		if m.body() != "" || m.method() == "INVITE" {
			body = l.sdp(direction)
		}
		l.media.towards(m.body())
		l.answer(m, "200 OK", contact, body)
	case "BYE":
		l.answer(m, "200 OK", contact, "")
		l.media.stop()
		shut(l.over)
	case "CANCEL":
		l.answer(m, "200 OK", contact, "")
		if pending(l.up) {
			l.cancelled = m.field("Reason")
			l.say("487 Request Terminated", "")
			shut(l.over)
		}
	case "NOTIFY":
		l.answer(m, "200 OK", contact, "")
		status := strings.TrimPrefix(strings.TrimSpace(m.body()), "SIP/2.0 ")
		l.mu.Lock()
		l.told = append(l.told, status)
		l.mu.Unlock()
		l.heard <- status
	case "REFER":
		l.answer(m, "202 Accepted", contact, "")
		go l.referred(m)
	default:
		l.answer(m, "405 Not Allowed", contact, "")
	}
}

// referred calls whom a REFER names, and reports.
func (l *line) referred(m message) {
	report := func(status, state string) {
		text := l.within("NOTIFY", 0, "", "Event: refer", "Subscription-State: "+state)
		fragment := "SIP/2.0 " + status + "\r\n"
		text = strings.Replace(text, "Content-Length: 0", fmt.Sprintf("Content-Type: message/sipfrag;version=2.0\r\nContent-Length: %d", len(fragment)), 1) + fragment
		if answer, err := l.ask(text, l.hop, nil); err != nil || answer.status() != 200 {
			l.fault("NOTIFY %s: %v %d", status, err, answer.status())
		}
	}
	report("100 Trying", "active;expires=60")
	_, target, _ := strings.Cut(m.field("Refer-To"), "<")
	target, _, _ = strings.Cut(target, ">")
	uri, fields, _ := strings.Cut(target, "?")
	var more []string
	for f := range strings.SplitSeq(fields, "&") {
		if name, value, ok := strings.Cut(f, "="); ok {
			value, _ = url.PathUnescape(value)
			more = append(more, name+": "+value)
		}
	}
	if by := m.field("Referred-By"); by != "" {
		more = append(more, "Referred-By: "+by)
	}
	if l.conductOf(l.number) == joins {
		l.join(more, report)
		return
	}
	n := l.dial(l.number, uri, more...)
	select {
	case <-n.up:
		report("200 OK", "terminated;reason=noresource")
	case <-n.over:
		report(fmt.Sprint(n.final, " Refused"), "terminated;reason=noresource")
	case <-time.After(15 * time.Second):
		report("408 Request Timeout", "terminated;reason=noresource")
	}
}

// join lets two calls of a PBX go that it has joined: it knows the one that a REFER names by ids of its own.
func (l *line) join(fields []string, report func(status, state string)) {
	for _, f := range fields {
		if named, ok := strings.CutPrefix(f, "Replaces: "); ok {
			if other := l.replaced(named); other != nil {
				report("200 OK", "terminated;reason=noresource")
				l.hangUp()
				other.hangUp()
				return
			}
			l.fault("481 to Replaces: %s", named)
		}
	}
	report("481 No Such Dialog", "terminated;reason=noresource")
}

func (u *agentUser) lineOf(id, local string) *line {
	u.mu.Lock()
	lines := u.lines
	u.mu.Unlock()
	for _, l := range lines {
		l.mu.Lock()
		found := l.id == id && l.local() == local
		l.mu.Unlock()
		if found {
			return l
		}
	}
	return nil
}

func (u *agentUser) ringing(m message) *line {
	u.mu.Lock()
	lines := u.lines
	u.mu.Unlock()
	for _, l := range lines {
		if !l.outgoing && l.id == m.get("Call-ID") && l.farTag() == tag(m.get("From")) && l.invite.branch() == m.branch() {
			return l
		}
	}
	return nil
}

// called takes an INVITE that begins a call. With Replaces it takes over the dialog that is named (RFC 3891 §3).
func (u *agentUser) called(m message) {
	contact, number := u.address+":5060", m.number()
	conduct := u.conductOf(number)
	var old *line
	if named := m.field("Replaces"); named != "" && conduct != ignorant {
		old = u.replaced(named)
		switch {
		case old != nil && !old.outgoing && pending(old.up): // "an early dialog that was not initiated by this UA"
			u.answer(m, "481 Not Answered Yet", contact, "")
			return
		case old == nil || !pending(old.over):
			u.answer(m, "481 No Such Dialog", contact, "")
			u.fault("481 to Replaces: %s", named)
			return
		case strings.Contains(named, "early-only") && !pending(old.up):
			u.answer(m, "486 Busy Here", contact, "")
			return
		}
		conduct, number = "", old.number
	}
	if conduct == busy {
		u.answer(m, "486 Busy Here", contact, "")
		return
	}
	l := newLine(u, number)
	l.invite, l.id, l.remote, l.to = m, m.get("Call-ID"), m.target(), m.get("From")
	l.from = m.get("To") + ";tag=" + u.unique("t")
	l.routes = recordRoutes(m)
	u.mu.Lock()
	l.hop = u.sources[m.branch()+m.method()]
	u.mu.Unlock()
	l.media.towards(m.body())
	u.enlist(l)
	if conduct == rings {
		u.ring(l)
		return
	}
	l.accept()
	if old != nil {
		go old.hangUp()
	}
}

// replaced finds the dialog that a Replaces names.
func (u *agentUser) replaced(named string) *line {
	found := replacesOf.FindStringSubmatch(named)
	if found == nil {
		return nil
	}
	var local, far string
	for p := range strings.SplitSeq(found[2], ";") {
		switch n, v, _ := strings.Cut(strings.TrimSpace(p), "="); n {
		case "to-tag":
			local = v
		case "from-tag":
			far = v
		}
	}
	if l := u.lineOf(found[1], local); l != nil && l.farTag() == far {
		return l
	}
	return nil
}

func (l *line) say(status, sdp string) {
	m := l.invite
	m.text = strings.Replace(m.text, m.get("To"), l.from, 1)
	var more []string
	for _, r := range l.routes {
		more = append(more, "Record-Route: "+r)
	}
	if l.conductOf(l.number) != ignorant {
		more = append(more, "Supported: replaces")
	}
	l.answer(m, status, l.address+":5060", sdp, more...)
}

func (u *agentUser) ring(l *line) { l.say("180 Ringing", "") }

// accept answers a call.
func (l *line) accept() {
	l.final = 200
	l.say("200 OK", l.sdp("sendrecv"))
	shut(l.up)
}
