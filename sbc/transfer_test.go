package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"sallyport/nat/natlab"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
)

// named is the value of a Replaces that names the dialog of a party: it speaks to the gate, which stands at its other end.
func named(p *party) string {
	return p.dlg.CallID + ";to-tag=" + p.dlg.Remote.Tag + ";from-tag=" + p.dlg.Local.Tag
}

// escaped is a value as the header part of a URI has it.
func escaped(value string) string {
	return strings.NewReplacer(";", "%3B", "=", "%3D", "@", "%40").Replace(value)
}

// refer asks for a transfer, and reads the 202 and the first NOTIFY.
func (p *party) refer(to string) {
	p.l.t.Helper()
	p.ask("REFER", field("Refer-To: "+to), field("Contact: "+p.contact()))
	p.want("202 REFER")
	p.notified("SIP/2.0 100 Trying\r\n")
}

// notified answers the next NOTIFY, which must have a body.
func (p *party) notified(body string) {
	p.l.t.Helper()
	m := p.want("NOTIFY")
	if event, _ := m.Get("Event"); event != "refer" && !strings.HasPrefix(event, "refer;id=") || string(m.Body) != body {
		p.l.t.Errorf("%s hears of its transfer\n%s", p.at, m)
	}
	p.reply(m, 200, nil)
}

// reoffered answers the re-INVITE that a party gets, and returns what it is told.
func (p *party) reoffered(answer []byte) []byte {
	p.l.t.Helper()
	m := p.want("INVITE")
	if m.CallID != p.dlg.CallID || m.To.Tag != p.dlg.Local.Tag {
		p.l.t.Fatalf("%s should be asked anew in its dialog, and hears\n%s", p.at, m)
	}
	p.reply(m, 200, answer)
	p.want("ACK")
	return m.Body
}

// byed answers the BYE that a party gets.
func (p *party) byed() {
	p.l.t.Helper()
	m := p.want("BYE")
	if m.CallID != p.dlg.CallID {
		p.l.t.Errorf("%s should be hung up, and hears\n%s", p.at, m)
	}
	p.reply(m, 200, nil)
}

// twoTrunks is the configuration with another provider, for the numbers of another country.
var twoTrunks = strings.NewReplacer(`[0-9]{2,15}`, `49[0-9]{2,12}`,
	"policy:", `  - { name: other, peers: [ { address: "203.0.113.21:5060" } ], outbound: { match: ["^\\+44.*"] }, keepalive: { method: none } }`+"\npolicy:").Replace(labConfig)

// consultation is a PBX with two calls through the gate: a provider has called, and another one was called.
func consultation(t *testing.T) (l *lab, itsp, pbx, far *wire, one talk, two talk) {
	l = newGate(t, twoTrunks, natlab.Options{Seed: 1})
	itsp, pbx, far = l.wire(providerAt), l.wire(pbxAt), l.wire(farAt)
	pbx.n = 500 // no id of its own begins as one of the other wires
	one = l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
	invite := withBody(pbx.request("INVITE", pbxSocket, "+44123"), sdpAt(pbxAt.Addr(), 4012))
	pbx.send(pbxSocket, invite)
	arrived := far.want("INVITE")
	far.reply(arrived, 200, sdpAt(farAt.Addr(), 4010))
	final := pbx.want("200 INVITE")
	caller, callee := l.ends(pbx, far, pbxSocket, invite, arrived, final)
	pbx.send(pbxSocket, caller.within("ACK", 1))
	far.want("ACK")
	return l, itsp, pbx, far, one, talk{caller, callee, [2][]byte{final.Body, arrived.Body}}
}

var farAt = addrPort("203.0.113.21:5060")

// joined checks two records that belong together and tell of a transfer.
func (l *lab) joined(transfers int) {
	l.t.Helper()
	records := l.cdrs.all()
	if len(records) != 2 || records[0].Correlation == "" || records[0].Correlation != records[1].Correlation {
		l.t.Fatalf("records %+v", records)
	}
	n := 0
	for _, r := range records {
		n += len(r.Transfers)
		if r.Code != 200 || r.Reason != "" {
			l.t.Errorf("record %+v", r)
		}
	}
	if n != transfers {
		l.t.Errorf("%d transfers in %+v", n, records)
	}
}

// TestTransferAfterConsultation: a phone of the PBX has called a second provider while the first one waits, and joins both by a
// REFER with Replaces. Each provider is offered the other one's media, and knows nothing of the other one; the PBX is out.
func TestTransferAfterConsultation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, itsp, pbx, far, one, two := consultation(t)
		defer l.close()
		one.callee.refer("<sip:+44123@10.0.0.2:5080?Replaces=" + escaped(named(two.caller)) + ">")
		toFar := two.callee.reoffered(sdpAt(farAt.Addr(), 4010))
		two.caller.byed()
		toITSP := one.caller.reoffered(sdpAt(providerAt.Addr(), 4000))
		one.callee.notified("SIP/2.0 200 OK\r\n")
		one.callee.byed()
		pbx.quiet(0)
		for _, m := range [][]byte{toFar, toITSP} {
			if strings.Contains(string(m), "10.0.0.") || strings.Contains(string(m), "4002") {
				t.Errorf("a provider is told\n%s", m)
			}
		}
		l.hear(mediaAt(providerAt, 4000), told(t, toITSP, 0), rtp(0, 1), told(t, toFar, 0), mediaAt(farAt, 4010))
		l.hear(mediaAt(farAt, 4010), told(t, toFar, 0), rtp(0, 2), told(t, toITSP, 0), mediaAt(providerAt, 4000))
		hangup(one.caller, two.callee)
		_, _ = itsp, far
		l.empty()
		l.joined(2)
	})
}

// TestTransferAfterConsultationEndsFromTheOtherEnd: the second provider hangs up.
func TestTransferAfterConsultationEndsFromTheOtherEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, _, _, one, two := consultation(t)
		defer l.close()
		one.callee.refer("<sip:+44123@10.0.0.2:5080?Replaces=" + escaped(named(two.caller)) + ">")
		// The PBX hangs up at once, as it may.
		one.callee.ask("BYE")
		two.callee.reoffered(sdpAt(farAt.Addr(), 4010))
		one.caller.reoffered(sdpAt(providerAt.Addr(), 4000))
		hangup(two.callee, one.caller)
		two.caller.byed()
		l.empty()
		l.joined(2)
	})
}

// TestReplacesIsExecuted: the PBX itself replaces its leg by another one, as a PBX does that executes transfers.
func TestReplacesIsExecuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx, other := l.wire(providerAt), l.wire(pbxAt), l.wire(otherPBXAt)
		one := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		other.n = 700
		invite := withBody(other.request("INVITE", pbxSocket, "+4930123", field("Replaces: "+named(one.callee)), field("Require: replaces")),
			sdpAt(otherPBXAt.Addr(), 4020))
		other.send(pbxSocket, invite)
		shown := one.caller.reoffered(sdpAt(providerAt.Addr(), 4000))
		final := other.want("200 INVITE")
		taker := &party{wire: other, gate: pbxSocket}
		var err error
		if taker.dlg, err = dialog.UAC(invite, final); err != nil {
			t.Fatal(err)
		}
		other.send(pbxSocket, taker.within("ACK", 1))
		one.callee.byed()
		l.hear(mediaAt(providerAt, 4000), told(t, shown, 0), rtp(0, 1), told(t, final.Body, 0), mediaAt(otherPBXAt, 4020))
		hangup(taker, one.caller)

		// A second time there is nothing left to replace.
		again := withBody(other.request("INVITE", pbxSocket, "+4930123", field("Replaces: "+named(one.callee)), field("Require: replaces")),
			sdpAt(otherPBXAt.Addr(), 4020))
		l.empty()
		other.send(pbxSocket, again)
		other.want("481 INVITE")
		l.empty()
		if r := l.cdrs.all()[0]; len(r.Transfers) != 1 || r.Transfers[0].Leg != "callee" || r.Node != otherPBXAt.String() {
			t.Errorf("record %+v", r)
		}
	})
}

// TestBlindTransferFromTrunkToTrunk: the PBX refers the provider's call to a number of another provider. The third leg goes to the PBX,
// which lets it cross the gate again.
func TestBlindTransferFromTrunkToTrunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, twoTrunks, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx, far := l.wire(providerAt), l.wire(pbxAt), l.wire(farAt)
		pbx.n = 500 // no id of its own begins as one of the other wires
		one := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		one.callee.refer("<sip:+44123@10.0.0.10>")

		third := pbx.want("INVITE")
		if third.URI.User != "+44123" || third.URI.Host != "example.com" || third.From.URI.User != "4930555" {
			t.Errorf("the PBX is called by\n%s", third)
		}
		pbx.reply(third, 180, nil)
		one.callee.notified("SIP/2.0 180 Ringing\r\n")
		invite := withBody(pbx.request("INVITE", pbxSocket, "+44123"), third.Body) // a proxy leaves the media alone
		pbx.send(pbxSocket, invite)
		arrived := far.want("INVITE")
		far.reply(arrived, 200, sdpAt(farAt.Addr(), 4010))
		final := pbx.want("200 INVITE")
		caller, callee := l.ends(pbx, far, pbxSocket, invite, arrived, final)
		pbx.send(pbxSocket, caller.within("ACK", 1))
		far.want("ACK")
		pbx.reply(third, 200, final.Body)
		pbx.want("ACK")
		shown := one.caller.reoffered(sdpAt(providerAt.Addr(), 4000))
		one.callee.notified("SIP/2.0 200 OK\r\n")
		one.callee.byed()
		l.hear(mediaAt(providerAt, 4000), told(t, shown, 0), rtp(0, 1), told(t, arrived.Body, 0), mediaAt(farAt, 4010))
		l.hear(mediaAt(farAt, 4010), told(t, arrived.Body, 0), rtp(0, 2), told(t, shown, 0), mediaAt(providerAt, 4000))

		one.caller.ask("BYE")
		bye := pbx.want("BYE")
		pbx.reply(bye, 200, nil)
		hangup(caller, callee)
		l.empty()
		l.joined(1)
	})
}

// TestTransferThatFails: the PBX is busy, and all is as it was; then it refers to its own dialog's number, hangs up, and the new leg
// fails.
func TestTransferThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		one := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		one.callee.refer("<sip:205@example.com>")
		pbx.reply(pbx.want("INVITE"), 486, nil)
		one.callee.notified("SIP/2.0 486 Busy Here\r\n")
		l.hear(providerSound, told(t, one.shown[0], 0), rtp(0, 1), told(t, one.shown[1], 0), pbxSound)
		one.callee.ask("REFER", field("Refer-To: <sip:206@example.com>"), field("Refer-Sub: false"))
		if m := pbx.want("202 REFER"); fieldIs(m, "Refer-Sub", "true") {
			t.Errorf("%s", m)
		}
		third := pbx.want("INVITE")
		one.callee.ask("BYE")
		pbx.want("200 BYE")
		pbx.reply(third, 404, nil)
		itsp.reply(itsp.want("BYE"), 200, nil)
		l.empty()
		if r := l.record(); r.Reason != "transfer" || r.EndedBy != "sbc" || len(r.Transfers) != 0 {
			t.Errorf("record %+v", r)
		}
	})
}

func fieldIs(m *message.Message, name, value string) bool {
	v, _ := m.Get(name)
	return v == value
}

// TestProviderMayNotRefer unless it may.
func TestProviderMayNotRefer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		one := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		one.caller.ask("REFER", field("Refer-To: <sip:+49900123@203.0.113.20>"))
		itsp.want("603 REFER")
		pbx.quiet(0)
		hangup(one.caller, one.callee)
		l.empty()
		if why := l.why(providerAt.Addr().String()); !strings.Contains(why, "a transfer is not allowed here") {
			t.Errorf("why says\n%s", why)
		}
	})
}

// TestPhoneTransfers: a phone refers the PBX to another phone's call, whose ids it knows from outside; the PBX is told its own. The
// phone hangs up before its transfer has ended, and hears of it to the end.
func TestPhoneTransfers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		d.enter(d.phone, "204")
		calls := func(number string) (at, pbx *party) {
			invite := withBody(d.phone.asks("INVITE", "204", user(number, "example.com"), field("Contact: <sip:204@"+phoneAt.String()+">")), sdpAt(phoneAt.Addr(), 4000))
			invite.Remove("Contact")
			invite.Add("Contact", "<sip:204@"+phoneAt.String()+">")
			d.phone.send(phoneSocket, invite)
			arrived := d.pbx.want("INVITE")
			d.pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002))
			at, pbx = d.ends(d.phone, d.pbx, phoneSocket, invite, arrived, d.phone.want("200 INVITE"))
			d.phone.send(phoneSocket, at.within("ACK", invite.CSeq))
			d.pbx.want("ACK")
			return at, pbx
		}
		one, oneInside := calls("210")
		two, twoInside := calls("211")
		one.ask("REFER", field("Refer-To: <sip:211@203.0.113.10:5060?Replaces="+escaped(named(two))+">"), field("Contact: <sip:204@"+phoneAt.String()+">"))
		m := d.pbx.want("REFER")
		want := "<sip:211@example.com?Replaces=" + escaped(twoInside.dlg.CallID+";to-tag="+twoInside.dlg.Local.Tag+";from-tag="+twoInside.dlg.Remote.Tag) + ">"
		if to, _ := m.Get("Refer-To"); to != want {
			t.Errorf("the PBX is referred to\n%s, want\n%s", to, want)
		}
		d.pbx.reply(m, 202, nil)
		d.phone.want("202 REFER")
		one.ask("BYE")
		d.pbx.reply(d.pbx.want("BYE"), 200, nil)
		d.phone.want("200 BYE")
		fragment := oneInside.within("NOTIFY", 0, field("Event: refer;id="+fmt.Sprint(m.CSeq)), field("Subscription-State: terminated;reason=noresource"),
			field("Contact: "+d.pbx.contact()), field("Content-Type: message/sipfrag"))
		fragment.Body = []byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.10\r\n")
		d.pbx.send(oneInside.gate, fragment)
		heard := d.phone.want("NOTIFY")
		if event, _ := heard.Get("Event"); event != "refer;id="+fmt.Sprint(one.dlg.LocalSeq-1) || string(heard.Body) != "SIP/2.0 200 OK\r\n" {
			t.Errorf("the phone hears of its transfer, which was number %d,\n%s", one.dlg.LocalSeq-1, heard)
		}
		d.phone.reply(heard, 200, nil)
		d.pbx.want("200 NOTIFY")
		twoInside.ask("BYE")
		d.phone.reply(d.phone.want("BYE"), 200, nil)
		d.empty()
		records := d.cdrs.all()
		if len(records) != 2 {
			t.Errorf("records %+v", records)
		}
	})
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func mediaAt(a netip.AddrPort, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), port) }
