package sbc_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
)

// lookout watches what crosses the public network for what belongs inside, and the other way round.
type lookout struct {
	t        *testing.T
	forbid   [2][]string // outside, inside
	observed int
}

// looks watches a door from now on. Words are added as a test learns them.
func (d *door) looks() *lookout {
	s := &lookout{t: d.t, forbid: [2][]string{
		{"10.0.0.10", "10.0.0.11", "10.0.0.2", "FreeSWITCH"},
		{"198.51.100.", "203.0.113.", "192.168.1.", "Yealink"},
	}}
	d.net.Observe(func(g natlab.Datagram) {
		d.ladder.note(g)
		side := 1
		switch {
		case g.Src.Addr() == gateOutside:
			side = 0
		case g.Src.Addr() != gateInside:
			return // what others bring
		}
		s.observed++
		for _, word := range s.forbid[side] {
			if strings.Contains(string(g.Payload), word) {
				s.t.Errorf("%s > %s shows %q:\n%s", g.Src, g.Dst, word, g.Payload)
			}
		}
	})
	return s
}

// watching is a subscription through the gate, with both its ends.
type watching struct {
	*door
	subscriber, notifier party
	name                 string
	first                *message.Message
}

// learns takes the ids of a message, which the other side must not see.
func (s *lookout) learns(inside bool, m *message.Message) {
	side := 1
	if inside {
		side = 0
	}
	s.forbid[side] = append(s.forbid[side], m.CallID, ";tag="+m.From.Tag+"\r\n")
}

const summary = "Messages-Waiting: yes\r\nMessage-Account: sip:204@example.com\r\nVoice-Message: 2/8 (0/2)\r\n"

const dialogInfo = `<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" entity="sip:205@example.com"><dialog id="1"><state>confirmed</state></dialog></dialog-info>`

// packages are the two that pass, with a body of each.
var packages = []struct{ name, kind, body string }{
	{"message-summary", "application/simple-message-summary", summary},
	{"dialog", "application/dialog-info+xml", dialogInfo},
}

// subscribes sets a subscription up from one wire to another. The NOTIFY comes first where eager.
func (d *door) subscribes(s *lookout, from, to *wire, m *message.Message, eager bool) *watching {
	d.t.Helper()
	name := value(m, "Event")
	fromPhone := from == d.phone
	s.learns(!fromPhone, m)
	gate := map[bool]struct{ near, far party }{
		true:  {party{wire: from, gate: phoneSocket}, party{wire: to, gate: phonesInside}},
		false: {party{wire: from, gate: phonesInside}, party{wire: to, gate: phoneSocket}},
	}[fromPhone]
	w := &watching{door: d, subscriber: gate.near, notifier: gate.far, name: name, first: m}
	from.send(w.subscriber.gate, m)
	arrived := to.want("SUBSCRIBE")
	s.learns(fromPhone, arrived)
	tag := "notifier-" + name
	ok := message.Reply(arrived, 200, "")
	ok.To.Tag = tag
	ok.Headers = append(ok.Headers, field("Expires: 600"), field("Contact: "+to.contact()))
	var err error
	if w.notifier.dlg, err = dialog.UAS(arrived, tag); err != nil {
		d.t.Fatal(err)
	}
	answer := func() {
		to.send(w.notifier.gate, ok)
		got := from.want("200 SUBSCRIBE")
		if value(got, "Expires") != "600" || got.To.Tag == tag {
			d.t.Errorf("the subscriber is told\n%s", got)
		}
		if w.subscriber.dlg, err = dialog.UAC(m, got); err != nil {
			d.t.Fatal(err)
		}
	}
	if eager {
		in := w.notifies("active;expires=600", true)
		answer()
		from.reply(in, 200, nil)
		to.want("200 NOTIFY")
	} else {
		answer()
		w.notifies("active;expires=600", false)
	}
	return w
}

// notifies sends a NOTIFY; held leaves it unanswered, and returns it as it came.
func (w *watching) notifies(state string, held bool) *message.Message {
	w.t.Helper()
	body, kind := summary, packages[0].kind
	if w.name == "dialog" {
		body, kind = dialogInfo, packages[1].kind
	}
	m := w.notifier.within("NOTIFY", 0, field("Event: "+w.name), field("Subscription-State: "+state), field("Content-Type: "+kind), field("Contact: "+w.notifier.contact()))
	m.Body = []byte(body)
	w.notifier.send(w.notifier.gate, m)
	in := w.subscriber.want("NOTIFY")
	if in.CallID != w.first.CallID || in.To.Tag != w.first.From.Tag || string(in.Body) != body || value(in, "Subscription-State") != state ||
		value(in, "Event") != w.name || value(in, "Content-Type") != kind {
		w.t.Errorf("the subscriber is notified\n%s", in)
	}
	if !held {
		w.subscriber.reply(in, 200, nil)
		w.notifier.want("200 NOTIFY")
	}
	return in
}

// refreshes asks for more time, or for the end.
func (w *watching) refreshes(expires string) {
	w.t.Helper()
	m := w.subscriber.within("SUBSCRIBE", 0, field("Event: "+w.name), field("Expires: "+expires), field("Contact: "+w.subscriber.contact()))
	w.subscriber.send(w.subscriber.gate, m)
	in := w.notifier.want("SUBSCRIBE")
	if in.CallID != w.notifier.dlg.CallID || value(in, "Expires") != expires || value(in, "Event") != w.name {
		w.t.Errorf("a refresh is\n%s", in)
	}
	w.notifier.reply(in, 200, nil, field("Expires: "+expires), field("Contact: "+w.notifier.contact()))
	if got := w.subscriber.want("200 SUBSCRIBE"); value(got, "Expires") != expires {
		w.t.Errorf("the answer to a refresh is\n%s", got)
	}
}

// subscription is a SUBSCRIBE of a phone for a mailbox or another phone, or of the PBX for a phone by its token.
func (d *door) subscription(fromPhone bool, name, token string) *message.Message {
	who, to := d.phone, user("205", "example.com")
	if !fromPhone {
		who, to = d.pbx, at(token, phonesInside)
	}
	m := who.asks("SUBSCRIBE", "204", to, field("Event: "+name), field("Expires: 3600"), field("Accept: */*"))
	if fromPhone {
		m.Add("User-Agent", "Yealink SIP-T46U")
	} else {
		m.From.URI = user("operator", "example.com")
		m.Add("User-Agent", "FreeSWITCH")
	}
	return m
}

// TestSubscriptionsPass both ways: refreshed, notified, ended by either side or by time, with ids of ours.
func TestSubscriptionsPass(t *testing.T) {
	for _, p := range packages {
		for _, fromPhone := range []bool{true, false} {
			for _, eager := range []bool{false, true} {
				for _, end := range []string{"unsubscribed", "terminated", "expired", "refused"} {
					name := fmt.Sprintf("%s/from the phone %v/NOTIFY first %v/%s", p.name, fromPhone, eager, end)
					t.Run(name, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { passSubscription(t, p.name, fromPhone, eager, end) })
					})
				}
			}
		}
	}
}

func passSubscription(t *testing.T, name string, fromPhone, eager bool, end string) {
	d := newDoor(t, doorConfig, "phones: { unregistered: drop", "phones: { registration: { outside: 0s }, unregistered: drop")
	defer d.close()
	token := d.enter(d.phone, "204")
	s := d.looks()
	m := d.subscription(fromPhone, name, token)
	from, to := d.phone, d.pbx
	if !fromPhone {
		from, to = to, from
	}
	w := d.subscribes(s, from, to, m, eager)
	if g := d.gate.Gauges(); g.Subscriptions != 1 || g.Dialogs != 2 {
		t.Errorf("one subscription: %+v", g)
	}
	w.notifies("active;expires=590", false)
	time.Sleep(5 * time.Minute)
	w.refreshes("300")
	w.notifies("active;expires=300", false)
	switch end {
	case "unsubscribed":
		w.refreshes("0")
		w.notifies("terminated;reason=timeout", false)
	case "terminated":
		w.notifies("terminated;reason=noresource", false)
	case "expired":
		time.Sleep(300*time.Second + 40*time.Second)
	case "refused":
		in := w.notifies("active;expires=200", true)
		w.subscriber.reply(in, 481, nil)
		w.notifier.want("481 NOTIFY")
	}
	w.gone()
	if s.observed < 10 {
		t.Errorf("only %d datagrams were looked at", s.observed)
	}
}

// gone checks that nothing of a subscription is left, and that either end is told so.
func (w *watching) gone() {
	w.t.Helper()
	time.Sleep(time.Minute)
	if g := w.gate.Gauges(); g.Subscriptions != 0 || g.Dialogs != 0 || g.Users != 0 || g.Leaks != 0 {
		w.t.Errorf("left behind: %+v", g)
	}
	w.enter(w.phone, "204") // its time may be over, and a stranger meets silence
	late := w.notifier.within("NOTIFY", 0, field("Event: "+w.name), field("Subscription-State: active"), field("Contact: "+w.notifier.contact()))
	w.notifier.send(w.notifier.gate, late)
	w.notifier.want("481 NOTIFY")
	late = w.subscriber.within("SUBSCRIBE", 0, field("Event: "+w.name), field("Expires: 60"), field("Contact: "+w.subscriber.contact()))
	w.subscriber.send(w.subscriber.gate, late)
	w.subscriber.want("481 SUBSCRIBE")
	w.empty()
}

// TestSixteenSubscriptionsOfAPhone are taken, the next is refused without Retry-After, another phone's is not, and one that
// ends makes room.
func TestSixteenSubscriptionsOfAPhone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, "phones: { unregistered: drop", "phones: { registration: { outside: 0s }, unregistered: drop")
		defer d.close()
		d.enter(d.phone, "204")
		visitor := d.wire(visitorAt)
		d.enter(visitor, "206")
		s := d.looks()
		var all []*watching
		ask := func() *message.Message {
			m := d.subscription(true, "message-summary", "")
			m.URI.User = fmt.Sprint(300 + len(all))
			return m
		}
		for range 128 {
			all = append(all, d.subscribes(s, d.phone, d.pbx, ask(), false))
		}
		d.phone.send(phoneSocket, ask())
		if m := d.phone.want("503 SUBSCRIBE"); value(m, "Retry-After") != "" {
			t.Errorf("one phone has enough, and is told that the whole gate has:\n%s", m)
		}
		d.pbx.quiet(time.Second)
		other := visitor.asks("SUBSCRIBE", "206", user("300", "example.com"), field("Event: dialog"), field("Expires: 0"))
		visitor.send(phoneSocket, other)
		d.pbx.reply(d.pbx.want("SUBSCRIBE"), 404, nil)
		visitor.want("404 SUBSCRIBE")
		all[3].refreshes("0")
		all[3].notifies("terminated;reason=timeout", false)
		time.Sleep(10 * time.Second)
		all = append(all[:3], all[4:]...)
		all = append(all, d.subscribes(s, d.phone, d.pbx, ask(), false))
		if g := d.gate.Gauges(); g.Subscriptions != 128 || g.Dialogs != 256 {
			t.Errorf("%+v", g)
		}
		d.pbx.quiet(12*time.Minute, "SUBSCRIBE") // all run out: nobody refreshes
		d.empty()
		if g := d.gate.Gauges(); g.Subscriptions != 0 {
			t.Errorf("left behind: %+v", g)
		}
	})
}

// TestRequestsOutsideOfDialogsPass: MESSAGE both ways, OPTIONS and an unsolicited NOTIFY to a phone by its token, with ids of
// ours and nothing of the other side.
func TestRequestsOutsideOfDialogsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		token := d.enter(d.phone, "204")
		s := d.looks()
		text := []message.Header{field("Content-Type: text/plain")}
		for _, tt := range []struct {
			method    string
			fromPhone bool
			extra     []message.Header
			body      string
			code      int
		}{
			{"MESSAGE", true, text, "hello, inside", 202},
			{"MESSAGE", true, text, "too much", 413},
			{"MESSAGE", false, text, "hello, phone", 200},
			{"MESSAGE", false, text, "not now", 486},
			{"OPTIONS", true, nil, "", 200},
			{"OPTIONS", false, nil, "", 200},
			{"NOTIFY", false, []message.Header{field("Event: check-sync;reboot=true"), field("Subscription-State: terminated")}, "", 200},
			{"NOTIFY", false, []message.Header{field("Event: message-summary"), field("Subscription-State: active"), field("Content-Type: " + packages[0].kind)}, summary, 200},
			{"INFO", false, text, "x", 501},
			{"PUBLISH", true, []message.Header{field("Event: presence"), field("Content-Type: application/pidf+xml"), field("Expires: 60")}, "<presence/>", 200},
		} {
			from, to, gate, uri := d.phone, d.pbx, phoneSocket, user("205", "example.com")
			if !tt.fromPhone {
				from, to, gate, uri = d.pbx, d.phone, phonesInside, at(token, phonesInside)
			}
			m := from.asks(tt.method, "204", uri, tt.extra...)
			m.Add("User-Agent", map[bool]string{true: "Yealink", false: "FreeSWITCH"}[tt.fromPhone])
			if tt.method == "NOTIFY" {
				m.Add("Contact", from.contact())
			}
			m.Body = []byte(tt.body)
			s.learns(!tt.fromPhone, m)
			from.send(gate, m)
			in := to.want(tt.method)
			if s.learns(tt.fromPhone, in); string(in.Body) != tt.body || tt.method == "NOTIFY" && value(in, "Event") != value(m, "Event") {
				t.Errorf("%s arrives as\n%s", tt.method, in)
			}
			if !tt.fromPhone && in.URI.String() != "sip:204@"+phoneAt.String() || tt.fromPhone && in.URI.String() != "sip:205@example.com" {
				t.Errorf("%s arrives for %s", tt.method, in.URI.String())
			}
			to.reply(in, tt.code, nil, field("Server: FreeSWITCH Yealink"), field("Allow: INVITE, OPTIONS"))
			got := from.want(fmt.Sprint(tt.code, " ", tt.method))
			if got.To.Tag == fmt.Sprintf("answer-%d-%d", to.at.Port(), in.CSeq) {
				t.Errorf("the far side's tag comes back:\n%s", got)
			}
		}
		d.pbx.send(phonesInside, d.pbx.asks("NOTIFY", "204", at("abcdefghijklmnop", phonesInside), field("Event: check-sync"), field("Subscription-State: active"), field("Contact: "+d.pbx.contact())))
		d.pbx.want("404 NOTIFY")
		d.phone.quiet(time.Second)
		d.empty()
		if g := d.gate.Gauges(); g.Users != 0 || g.Leaks != 0 || s.observed < 20 {
			t.Errorf("left behind: %+v (%d datagrams)", g, s.observed)
		}
	})
}
