package sbc_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/message"
)

const longBindings = "phones: { registration: { outside: 0s }, unregistered: drop"

// TestAStopEndsSubscriptions: who is not told believes in its subscription until a refresh meets 481.
func TestAStopEndsSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, "phones: { unregistered: drop", longBindings)
		defer d.close()
		token := d.enter(d.phone, "204")
		s := d.looks()
		d.subscribes(s, d.phone, d.pbx, d.subscription(true, "message-summary", token), false)
		d.stopGate()
		if state, _ := d.phone.want("NOTIFY").Get("Subscription-State"); !strings.HasPrefix(state, "terminated") {
			t.Errorf("the subscriber hears %q", state)
		}
		if expires, _ := d.pbx.want("SUBSCRIBE").Get("Expires"); expires != "0" {
			t.Errorf("the notifier hears Expires: %q", expires)
		}
	})
}

// TestSubscriptionsOfOneName: an account that registers under ever new Contacts has no more of them for that.
func TestSubscriptionsOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		refused := 0
		for round := range 10 {
			contact := fmt.Sprintf("<sip:204@192.168.1.5:%d>", 6000+round)
			reg := d.phone.registers("204", contact)
			d.bind(d.phone, reg)
			for range 16 {
				d.phone.send(phoneSocket, d.phone.asks("SUBSCRIBE", "204", user("205", "example.com"), field("Event: dialog"), field("Expires: 4000000")))
				in := d.pbx.next(time.Second)
				if in == nil {
					d.phone.want("503 SUBSCRIBE")
					refused++
					continue
				}
				d.pbx.reply(in, 200, nil, field("Expires: 4000000"), field("Contact: "+d.pbx.contact()))
				d.phone.want("200 SUBSCRIBE")
				list, _, _ := in.Contacts()
				d.pbx.send(phonesInside, &message.Message{
					Method: "NOTIFY", URI: list[0].URI, Via: d.pbx.via(), CSeq: 1, MaxForwards: 70, CallID: in.CallID,
					From: message.NameAddr{URI: in.To.URI, Tag: fmt.Sprintf("answer-%d-%d", pbxAt.Port(), in.CSeq)}, To: in.From,
					Headers: []message.Header{
						field("Event: dialog"), field("Subscription-State: active;expires=4000000"), field("Contact: " + d.pbx.contact()),
					},
				})
				d.phone.reply(d.phone.want("NOTIFY"), 200, nil)
				d.pbx.want("200 NOTIFY")
			}
			bye := d.phone.registers("204", contact+";expires=0")
			bye.CallID, bye.From.Tag, bye.CSeq = reg.CallID, reg.From.Tag, 2
			d.phone.send(phoneSocket, bye)
			d.pbx.reply(d.pbx.want("REGISTER"), 200, nil)
			d.phone.want("200 REGISTER")
		}
		if got := d.gate.Gauges().Subscriptions; got != 128 || refused != 32 {
			t.Errorf("%d subscriptions, %d refused of 160", got, refused)
		}
	})
}

// TestADrainLetsPhonesRefresh: their bindings are for the program that comes after.
func TestADrainLetsPhonesRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		reg := d.phone.registers("204", "<sip:204@192.168.1.5:5060>")
		d.bind(d.phone, reg)
		if _, err := d.gate.Drain(d.ctx, time.Millisecond); err != nil {
			t.Fatal(err)
		}
		d.bind(d.phone, d.phone.again(reg))
		visitor := d.wire(visitorAt)
		visitor.send(phoneSocket, visitor.registers("205", "<sip:205@192.168.9.5:5060>"))
		visitor.want("503 REGISTER")
	})
}

// TestStrangersDoNotFillTheLog with what they ask the PBX for.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		lenient := rewritten(t, doorConfig, "strangers: { phones: silent }", "strangers: { phones: silent }\n  bans: { points: 0 }")
		l := newGate(t, lenient, natlab.Options{Seed: 6}, func(o *sbc.Options) { o.Log = zap.New(core) })
		d := &door{l, l.wire(phoneAt), l.wire(pbxAt)}
		d.pbx.n = 100
		defer d.close()
		synctest.Wait()
		before := logs.Len()
		scanner := l.wire(visitorAt)
		for i := range 200 {
			scanner.send(phoneSocket, scanner.registers(fmt.Sprint("u", i, strings.Repeat("x", 100)), "<sip:x@198.51.100.8>"))
			d.pbx.reply(d.pbx.want("REGISTER"), 404, nil)
			time.Sleep(50 * time.Millisecond)
		}
		bytes := 0
		for _, e := range logs.All()[before:] {
			bytes += len(e.Message)
		}
		if lines := logs.Len() - before; lines > 1 || bytes > 300 {
			t.Errorf("%d lines, %d bytes for 200 REGISTERs in 10 s", lines, bytes)
		}
		scanner.send(phoneSocket, scanner.registers(strings.Repeat("x", 3000), "<sip:x@198.51.100.8>"))
		d.pbx.quiet(time.Second)
	})
}

// TestAMovedInsideListenerServesItsPhones: the PBX was told of the old one, and goes there until each phone has refreshed.
func TestAMovedInsideListenerServesItsPhones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		token := d.enter(d.phone, "204")
		s := d.looks()
		w := d.subscribes(s, d.phone, d.pbx, d.subscription(true, "message-summary", token), false)
		yaml := rewritten(t, doorConfig, "inside: { address: 10.0.0.2, phones: { udp: 5060 }", "inside: { address: 10.0.0.2, phones: { udp: 5062 }")
		if _, err := d.gate.Reload(d.ctx, parse(t, yaml)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		d.pbx.send(phonesInside, d.pbx.asks("OPTIONS", "100", at(token, phonesInside)))
		d.phone.want("OPTIONS")
		d.pbx.send(phonesInside, w.notifier.within("NOTIFY", 0, field("Event: message-summary"),
			field("Subscription-State: active;expires=500"), field("Contact: "+d.pbx.contact())))
		d.phone.want("NOTIFY")
	})
}

// TestAConnectionThatEndsBeforeTheAnswer leaves no binding that calls would wait for.
func TestAConnectionThatEndsBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		conn, err := d.net.Host(visitorAt.Addr()).DialStream(d.ctx, visitorAt, phoneSocket)
		if err != nil {
			t.Fatal(err)
		}
		m := d.wire(visitorAt).registers("204", "<sip:204@192.168.1.5:5060;transport=tcp>")
		m.Via[0].Transport = "TCP"
		if _, err := conn.Write(write(t, m)); err != nil {
			t.Fatal(err)
		}
		in := d.pbx.want("REGISTER")
		_ = conn.Close()
		time.Sleep(time.Second)
		d.pbx.reply(in, 200, nil, echo(t, in, 3600)...)
		time.Sleep(time.Second)
		list, err := d.gate.Control(nil).Registrations(d.ctx, "")
		if err != nil || len(list) != 1 || !list[0].Lost {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// TestAForeignDomainIsNamed: the commonest mistake meets silence on the wire, and must not do so here.
func TestAForeignDomainIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		m := d.phone.registers("301", "<sip:301@192.168.1.5:5060>")
		m.URI.Host, m.From.URI.Host, m.To.URI.Host = "other.org", "other.org", "other.org"
		d.phone.send(phoneSocket, m)
		d.phone.quiet(time.Second)
		control := d.gate.Control(nil)
		w, err := control.Why(d.ctx, phoneAt.Addr().String())
		if err != nil || !strings.Contains(w.Text, "add other.org to phones.domains") {
			t.Errorf("%v\n%s", err, w.Text)
		}
		if _, err = control.Why(d.ctx, "301@other.org"); err == nil || !strings.Contains(err.Error(), "other.org is no domain that is served") {
			t.Errorf("%v", err)
		}
	})
}
