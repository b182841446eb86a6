package sbc_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// lamp is a document of one dialog, about a user of the PBX, as the PBX writes it.
func lamp(version int, about string, d tu.DialogID, state string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0"?>`+"\r\n"+
		`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="%d" state="full" entity="sip:%s@10.0.0.10">`+"\r\n"+
		`  <dialog id="%s" call-id="%s" local-tag="%s" remote-tag="%s" direction="recipient"><state>%s</state>`+
		`<remote><identity>sip:300@10.0.0.10:5060</identity><target uri="sip:300@10.0.0.33:5060;transport=udp"/></remote></dialog>`+"\r\n</dialog-info>\r\n",
		version, about, d.CallID, d.CallID, d.Local, d.Remote, state)
}

// shown are the ids of the one dialog of a document.
func shown(t *testing.T, body []byte) (d tu.DialogID) {
	t.Helper()
	for name, to := range map[string]*string{" call-id": &d.CallID, "local-tag": &d.Local, "remote-tag": &d.Remote} {
		_, rest, ok := strings.Cut(string(body), name+`="`)
		if !ok {
			t.Fatalf("no %s in\n%s", name, body)
		}
		*to, _, _ = strings.Cut(rest, `"`)
	}
	return d
}

// lights sends the state of a lamp to its watcher, and returns what the watcher hears.
func (w *watching) lights(body []byte) *message.Message {
	w.t.Helper()
	m := w.notifier.within("NOTIFY", 0, field("Event: dialog"), field("Subscription-State: active;expires=600"),
		field("Content-Type: application/dialog-info+xml"), field("Contact: "+w.notifier.contact()))
	m.Body = body
	w.notifier.send(w.notifier.gate, m)
	in := w.subscriber.want("NOTIFY")
	w.subscriber.reply(in, 200, nil)
	w.notifier.want("200 NOTIFY")
	return in
}

// TestLamps: a phone watches another one. What rings there it may pick up by the ids that it was shown, which are good for
// nobody else and show nothing of the inside; of its own call it hears by its own ids.
func TestLamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, "phones: { unregistered: drop", "phones: { registration: { outside: 0s }, unregistered: drop")
		defer d.close()
		d.enter(d.phone, "204")
		visitor := d.wire(visitorAt)
		token := d.enter(visitor, "205")
		s := d.looks()
		w := d.subscribes(s, d.phone, d.pbx, d.subscription(true, "dialog", ""), false)

		// The PBX calls 205, which rings; 204 sees the lamp.
		invite := withBody(d.pbx.request("INVITE", phonesInside, token), sdpAt(pbxAt.Addr(), 4000))
		d.pbx.send(phonesInside, invite)
		arrived := visitor.want("INVITE")
		visitor.reply(arrived, 180, nil)
		ringing := d.pbx.want("180 INVITE")
		inside := tu.DialogID{CallID: invite.CallID, Local: ringing.To.Tag, Remote: invite.From.Tag}
		s.forbid[0] = append(s.forbid[0], inside.CallID, inside.Local, inside.Remote)
		seen := w.lights(lamp(1, "205", inside, "early"))
		veiled := shown(t, seen.Body)
		if want := strings.NewReplacer(
			"205@10.0.0.10", "205@example.com", "300@10.0.0.10:5060", "300@example.com", "300@10.0.0.33:5060;transport=udp", "300@example.com",
			`id="`+inside.CallID, `id="`+veiled.CallID, inside.Local, veiled.Local, inside.Remote, veiled.Remote,
		).Replace(string(lamp(1, "205", inside, "early"))); string(seen.Body) != want {
			t.Errorf("204 sees\n%s\nwant\n%s", seen.Body, want)
		}
		if again := shown(t, w.lights(lamp(2, "205", inside, "early")).Body); again != veiled {
			t.Errorf("the same call is shown as %v and %v", veiled, again)
		}

		// 204 picks it up (RFC 3891 §1); 206 has overheard the ids, and they mean nothing.
		replaces := fmt.Sprintf("Replaces: %s;to-tag=%s;from-tag=%s", veiled.CallID, veiled.Remote, veiled.Local)
		pick := func(who *wire, name string) *message.Message {
			m := withBody(who.asks("INVITE", name, user("300", "example.com"), field(replaces)), sdpAt(who.at.Addr(), 4010))
			who.send(phoneSocket, m)
			in := d.pbx.want("INVITE")
			d.pbx.reply(in, 486, nil)
			who.send(phoneSocket, ackOf(m, who.want("486 INVITE")))
			d.pbx.want("ACK")
			return in
		}
		if got := value(pick(d.phone, "204"), "Replaces"); got != fmt.Sprintf("%s;to-tag=%s;from-tag=%s", inside.CallID, inside.Remote, inside.Local) {
			t.Errorf("204 picks up %q", got)
		}
		if got := value(pick(visitor, "205"), "Replaces"); strings.Contains(got, inside.CallID) {
			t.Errorf("205 picks up what 204 was shown: %q", got)
		}
		visitor.reply(arrived, 486, nil)
		d.pbx.send(phonesInside, ackOf(invite, d.pbx.want("486 INVITE")))

		// 204 calls 205 itself: the lamp speaks of that call by the ids that 204 knows.
		own := withBody(d.phone.asks("INVITE", "204", user("205", "example.com")), sdpAt(phoneAt.Addr(), 4020))
		d.phone.send(phoneSocket, own)
		in := d.pbx.want("INVITE")
		d.pbx.reply(in, 200, sdpAt(pbxAt.Addr(), 4022))
		ok := d.phone.want("200 INVITE")
		caller, err := dialog.UAC(own, ok)
		if err != nil {
			t.Fatal(err)
		}
		p := party{wire: d.phone, gate: phoneSocket, dlg: caller}
		d.phone.send(phoneSocket, p.within("ACK", own.CSeq))
		d.pbx.want("ACK")
		pbxTag := fmt.Sprintf("answer-%d-%d", pbxAt.Port(), in.CSeq)
		got := shown(t, w.lights(lamp(3, "205", tu.DialogID{CallID: in.CallID, Local: pbxTag, Remote: in.From.Tag}, "confirmed")).Body)
		if want := (tu.DialogID{CallID: own.CallID, Local: ok.To.Tag, Remote: own.From.Tag}); got != want {
			t.Errorf("204 sees its own call as %v, and knows it as %v", got, want)
		}
		p.ask("BYE")
		d.pbx.reply(d.pbx.want("BYE"), 200, nil)
		d.phone.want("200 BYE")
		w.refreshes("0")
		w.notifies("terminated;reason=timeout", false)
		time.Sleep(time.Minute)
		if g := d.gate.Gauges(); g.Subscriptions != 0 || g.Calls != 0 || g.Dialogs != 0 || g.Leaks != 0 {
			t.Errorf("left behind: %+v", g)
		}
	})
}

// TestPhoneShowsItsCalls: the PBX watches a phone, and hears of its call by the ids that the PBX has for it.
func TestPhoneShowsItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, "phones: { unregistered: drop", "phones: { registration: { outside: 0s }, unregistered: drop")
		defer d.close()
		token := d.enter(d.phone, "204")
		s := d.looks()
		w := d.subscribes(s, d.pbx, d.phone, d.subscription(false, "dialog", token), false)
		invite := withBody(d.pbx.request("INVITE", phonesInside, token), sdpAt(pbxAt.Addr(), 4000))
		d.pbx.send(phonesInside, invite)
		arrived := d.phone.want("INVITE")
		d.phone.reply(arrived, 180, nil)
		ringing := d.pbx.want("180 INVITE")
		body := strings.ReplaceAll(string(lamp(0, "204", tu.DialogID{
			CallID: arrived.CallID, Local: fmt.Sprintf("answer-%d-%d", phoneAt.Port(), arrived.CSeq), Remote: arrived.From.Tag,
		}, "early")), "10.0.0.", "198.51.100.")
		got := w.lights([]byte(body))
		if want := (tu.DialogID{CallID: invite.CallID, Local: ringing.To.Tag, Remote: invite.From.Tag}); shown(t, got.Body) != want {
			t.Errorf("the PBX sees %v, and knows it as %v", shown(t, got.Body), want)
		}
		d.phone.reply(arrived, 486, nil)
		d.pbx.send(phonesInside, ackOf(invite, d.pbx.want("486 INVITE")))
		w.notifies("terminated;reason=noresource", false)
		w.gone()
	})
}

// TestReferOutsideOfCalls: "click to dial": the PBX has a phone call somebody, and hears how that goes; and the other way round.
func TestReferOutsideOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, "phones: { unregistered: drop", "phones: { registration: { outside: 0s }, unregistered: drop")
		defer d.close()
		token := d.enter(d.phone, "204")
		s := d.looks()
		for _, fromPhone := range []bool{false, true} {
			from, to, gate, back, uri, whom := d.pbx, d.phone, phonesInside, phoneSocket, at(token, phonesInside), "sip:300@10.0.0.10"
			if fromPhone {
				from, to, gate, back, uri, whom = to, from, phoneSocket, phonesInside, user("210", "example.com"), "sip:300@198.51.100.7"
			}
			m := from.asks("REFER", "204", uri, field("Refer-To: <"+whom+">"), field("Contact: "+from.contact()))
			s.learns(!fromPhone, m)
			from.send(gate, m)
			in := to.want("REFER")
			if value(in, "Refer-To") != "<sip:300@example.com>" {
				t.Errorf("referred to %q", value(in, "Refer-To"))
			}
			to.reply(in, 202, nil, field("Contact: "+to.contact()))
			from.want("202 REFER")
			dlg, err := dialog.UAS(in, fmt.Sprintf("answer-%d-%d", to.at.Port(), in.CSeq))
			if err != nil {
				t.Fatal(err)
			}
			far := party{wire: to, gate: back, dlg: dlg}
			for _, status := range []string{"100 Trying", "200 OK"} {
				state := "active;expires=60"
				if status == "200 OK" {
					state = "terminated;reason=noresource"
				}
				n := far.within("NOTIFY", 0, field(fmt.Sprintf("Event: refer;id=%d", in.CSeq)), field("Subscription-State: "+state), field("Content-Type: message/sipfrag;version=2.0"), field("Contact: "+to.contact()))
				n.Body = []byte("SIP/2.0 " + status + "\r\n")
				to.send(back, n)
				told := from.want("NOTIFY")
				if told.CallID != m.CallID || string(told.Body) != string(n.Body) || value(told, "Event") != fmt.Sprintf("refer;id=%d", m.CSeq) {
					t.Errorf("told\n%s", told)
				}
				from.reply(told, 200, nil)
				to.want("200 NOTIFY")
			}
		}
		d.empty()
		if g := d.gate.Gauges(); g.Users != 0 || g.Leaks != 0 || g.Subscriptions != 0 {
			t.Errorf("left behind: %+v", g)
		}
	})
}
