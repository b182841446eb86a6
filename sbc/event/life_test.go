package event

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// up plays a subscription until it is active and has been notified once.
func up(t *testing.T, from string) *stage {
	t.Helper()
	s := newStage(t, from)
	m := s.request(subscriber, "SUBSCRIBE", "")
	m.Add("Expires", "600")
	s.step(s.arrive(subscriber, m))
	other := "node1"
	if s.hop[subscriber].Peer.Kind == tu.KindNode {
		other = "phone1"
	}
	s.step(tu.Routed{Hops: []tu.Hop{stageHop(other)}})
	s.step(s.response(s.last(notifier), 200, "x"))
	s.notify(nil)
	if s.s.phase != active || !s.s.notified {
		t.Fatalf("not up: %+v", s.s)
	}
	return s
}

// last is our last request to a leg.
func (s *stage) last(leg int) *client {
	var found *client
	for _, ref := range s.refs {
		if x := s.clients[ref]; x.leg == leg {
			found = x
		}
	}
	return found
}

// notify plays one NOTIFY with its answer.
func (s *stage) notify(change func(*message.Message)) {
	m := s.request(notifier, "NOTIFY", "x")
	if change != nil {
		change(m)
	}
	s.step(s.arrive(notifier, m))
	s.step(s.response(s.last(subscriber), 200, ""))
}

// refresh plays one refresh with its answer.
func (s *stage) refresh(asked, granted string) {
	m := s.request(subscriber, "SUBSCRIBE", "")
	if asked != "" {
		m.Add("Expires", asked)
	}
	s.step(s.arrive(subscriber, m))
	ev := s.response(s.last(notifier), 200, "")
	ev.Msg.Remove("Expires")
	if granted != "" {
		ev.Msg.Add("Expires", granted)
	}
	s.step(ev)
}

// TestExpires: of how long the subscription lives the last word counts, and for each there is a default.
func TestExpires(t *testing.T) {
	for _, c := range []struct {
		name, asked, granted, state string
		want                        time.Duration
	}{
		{"granted less", "600", "300", "", 300*time.Second + margin},
		{"granted more", "60", "300", "", 300*time.Second + margin},
		{"granted without asking", "", "300", "", 300*time.Second + margin},
		{"not said", "60", "", "", 60*time.Second + margin},
		{"said by nobody", "", "", "", usual + margin},
		{"unreadable", "60", "1h", "", 60*time.Second + margin},
		{"too large to read", "60", "4294967296", "", 60*time.Second + margin},
		{"the largest", "60", "4294967295", "", 4294967295*time.Second + margin},
		{"given up", "0", "0", "", timerN},
		{"given up, whatever is granted", "0", "600", "", timerN},
		{"granted nothing", "600", "0", "", timerN},
		{"the NOTIFY counts", "600", "600", "active;expires=30", 30*time.Second + margin},
		{"the NOTIFY says more", "600", "600", "pending;expires=900", 900*time.Second + margin},
		{"the NOTIFY says nothing", "600", "600", "active", 600*time.Second + margin},
		{"the NOTIFY says 0", "600", "600", "active;expires=0", 600*time.Second + margin},
		{"the NOTIFY does not end it", "0", "0", "active", timerN},
		{"the NOTIFY does not end it and says more", "0", "0", "active;expires=20", 20*time.Second + margin},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := up(t, "phone1")
			s.now = s.now.Add(100 * time.Second)
			s.refresh(c.asked, c.granted)
			if c.state != "" {
				s.notify(func(m *message.Message) { m.Set("Subscription-State", c.state) })
			}
			if got := s.s.Deadline().Sub(s.now); got != c.want {
				t.Errorf("it ends in %v, want %v", got, c.want)
			}
			s.now = s.s.Deadline()
			s.step(tu.Tick{})
			if !s.ended {
				t.Error("it has not ended")
			}
		})
	}
}

// TestADay: a subscription that is refreshed and notified for long, by peers that show something new each time, does not
// grow.
func TestADay(t *testing.T) {
	s := up(t, "phone1")
	for i := range 2000 {
		s.now = s.now.Add(43 * time.Second)
		s.notify(func(m *message.Message) {
			m.Set("Contact", fmt.Sprintf("<sip:n%d@10.0.%d.%d>", i, i/200, i%200))
			m.Set("Record-Route", fmt.Sprintf("<sip:p%d.pbx.example;lr>", i))
		})
		if i%10 == 0 {
			s.refresh("600", "600")
		}
	}
	for l := range s.s.legs {
		b := &s.s.legs[l].brought
		if len(b.Hosts) > 64 || len(b.IDs) > 64 || len(b.Addrs) > 64 {
			t.Errorf("leg %d has kept %d hosts, %d ids, %d addresses", l, len(b.Hosts), len(b.IDs), len(b.Addrs))
		}
	}
	if len(s.s.relays)+len(s.s.own) > 0 || len(s.s.attempts) != 1 || cap(s.s.relays) > 16 {
		t.Errorf("it has kept %d relays, %d requests, %d attempts", len(s.s.relays), len(s.s.own), len(s.s.attempts))
	}
	s.step(tu.Hangup{Code: 503})
	s.finishOwn()
	if !s.ended {
		t.Error("it has not ended")
	}
}

// finishOwn answers what we have asked.
func (s *stage) finishOwn() {
	for _, ref := range s.refs {
		if x := s.clients[ref]; x.final == 0 {
			s.step(s.response(x, 200, "x"))
		}
	}
}

// TestOnTheWire: the messages of a subscription, as they are written. A phone has subscribed to its line, and the PBX tells it.
func TestOnTheWire(t *testing.T) {
	s := newStage(t, "phone1")
	m := s.request(subscriber, "SUBSCRIBE", "")
	adorn(m, words{
		"Event": "dialog;id=7", "Expires": "600", "Accept": "application/dialog-info+xml", "Supported": "replaces, eventlist, path",
		"Allow-Events": "talk", "P-Asserted-Identity": "<sip:boss@example.com>", "Proxy-Authorization": `Digest username="204"`,
		"Route": "<sip:203.0.113.10;lr>", "X-Account": "7", "X-Other": "8",
	})
	s.step(s.arrive(subscriber, m))
	s.step(tu.Routed{Hops: []tu.Hop{stageHop("node1")}})
	first := s.last(notifier).msg
	s.step(s.response(s.last(notifier), 200, "x"))
	s.notify(func(m *message.Message) {
		adorn(m, words{
			"Event": "dialog;id=7", "state": "active;expires=600", "type": "application/dialog-info+xml",
			"text": `<dialog-info entity="sip:204@example.com"/>`, "Allow": "NOTIFY, REFER",
		})
	})
	names := strings.NewReplacer(first.CallID, "C1", first.From.Tag, "T1", s.tag, "T2")
	for _, c := range []struct {
		msg  *message.Message
		want string
	}{
		{first, `SUBSCRIBE sip:210@example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx
Max-Forwards: 69
From: <sip:204@example.com>;tag=T1
To: <sip:210@example.com>
Call-ID: C1
CSeq: 17 SUBSCRIBE
Contact: <sip:token204token204@10.0.0.2:5060>
Accept: application/dialog-info+xml
Event: dialog;id=7
Expires: 600
Proxy-Authorization: Digest username="204"
Supported: replaces, eventlist
X-Account: 7
Content-Length: 0

`},
		{s.last(subscriber).msg, `NOTIFY sip:204@192.168.1.20:5062 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx
Max-Forwards: 69
From: <sip:210@example.com>;tag=T2
To: <sip:204@example.com>;tag=phonetag
Call-ID: outside-id@192.168.1.20
CSeq: 1 NOTIFY
Contact: <sip:210@203.0.113.10:5060>
Allow: NOTIFY, REFER
Event: dialog;id=7
Subscription-State: active;expires=600
Content-Type: application/dialog-info+xml
Content-Length: 43

<dialog-info entity="sip:204@example.com"/>`},
	} {
		out := *c.msg
		out.Via = []message.Via{{Transport: "UDP", Host: "192.0.2.1", Branch: "z9hG4bKx", RPort: -1}}
		out.Remove("Allow-Events") // passes where the table lets it
		b, err := out.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := names.Replace(strings.ReplaceAll(string(b), "\r\n", "\n")); got != c.want {
			t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
		}
	}
}
