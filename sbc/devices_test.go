package sbc_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
)

// bind registers and returns the token that the PBX is told.
func (d *door) bind(w *wire, m *message.Message) string {
	d.t.Helper()
	w.send(phoneSocket, m)
	in := d.pbx.want("REGISTER")
	d.pbx.reply(in, 200, nil, echo(d.t, in, 3600)...)
	w.want("200 REGISTER")
	list, _, err := in.Contacts()
	if err != nil || len(list) == 0 {
		d.t.Fatalf("the PBX is told %v, %v", list, err)
	}
	return list[0].URI.User
}

// TestContactsAsPhonesWriteThem: whatever a phone writes into its Contact, it hears it back and is reached by it.
func TestContactsAsPhonesWriteThem(t *testing.T) {
	for name, contact := range map[string]string{
		"cisco":    `<sip:204@192.168.1.5:5060;user=phone;transport=udp>;+sip.instance="<urn:uuid:00000000-0000-0000-0000-0011bb>";+u.sip!model.ccm.cisco.com="308"`,
		"linphone": `<sip:204@192.168.1.5;transport=udp>;+sip.instance="<urn:uuid:1>";+org.linphone.specs="groupchat,lime"`,
		"bria":     `<sip:204@192.168.1.5:5060;rinstance=ab12cd>;methods="INVITE, ACK, BYE"`,
		"v6":       `<sip:204@[2001:db8::7]:5060>`,
		"zoiper":   `<sip:204@192.168.1.5:41000;rinstance=0f0f;transport=UDP>`,
		"snom":     `<sip:204@192.168.1.5:2051;line=x1y2>;reg-id=1;q=1.0;+sip.instance="<urn:uuid:2>";audio;mobility="fixed";methods="INVITE,ACK"`,
		"bare":     `sip:204@192.168.1.5:5060;expires=60`,
		"sips":     `<sips:204@192.168.1.5:5061>`,
		"escaped":  `<sip:20%23@192.168.1.5:5060>`,
		"named":    `"Front Desk" <sip:204@192.168.1.5:5060;mac=00:11:22>`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig)
				defer d.close()
				token := d.bind(d.phone, d.phone.registers("204", contact))
				m := d.pbx.request("OPTIONS", phonesInside, token)
				d.pbx.send(phonesInside, m)
				want, err := message.ParseNameAddr(contact)
				if err != nil {
					t.Fatal(err)
				}
				if got := d.phone.want("OPTIONS"); got.URI.User != want.URI.User || got.URI.Host != want.URI.Host || got.URI.Port != want.URI.Port {
					t.Errorf("it is asked as %s", got.URI)
				}
			})
		})
	}
}

func TestARefreshThatRepeatsTheToTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		reg := d.phone.registers("204", "<sip:204@192.168.1.5:5060>")
		token := d.bind(d.phone, reg)
		again := d.phone.again(reg)
		again.To.Tag = "of-the-last-answer"
		if got := d.bind(d.phone, again); got != token {
			t.Errorf("another token: %s, not %s", got, token)
		}
	})
}

// TestACallerWhoHidesHisName: RFC 3323 §4.1. The PBX knows the phone by its digest, the gate by its flow.
func TestACallerWhoHidesHisName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		d.enter(d.phone, "204")
		m := d.phone.asks("INVITE", "204", user("100", "example.com"))
		m.From.URI = user("anonymous", "anonymous.invalid")
		m.Add("Privacy", "id")
		withBody(m, sdpAt(phoneAt.Addr(), 4000))
		d.phone.send(phoneSocket, m)
		in := d.pbx.want("INVITE")
		if in.From.URI.User != "anonymous" || in.From.URI.Host != "anonymous.invalid" {
			t.Errorf("the PBX hears %s", in.From)
		}
		// From nowhere in particular the same is a stranger's.
		visitor := d.wire(visitorAt)
		n := visitor.asks("INVITE", "204", user("100", "example.com"))
		n.From.URI = m.From.URI
		visitor.send(phoneSocket, withBody(n, sdpAt(visitorAt.Addr(), 4000)))
		visitor.quiet(time.Second)
	})
}

// TestAPasswordInFrom: a second call with the ids of the first does not reach the PBX, however its name is written.
func TestAPasswordInFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.ErrorLevel)
		l := newGate(t, doorConfig, natlab.Options{Seed: 6}, func(o *sbc.Options) { o.Log = zap.New(core) })
		d := &door{l, l.wire(phoneAt), l.wire(pbxAt)}
		d.pbx.n = 100
		defer d.close()
		d.enter(d.phone, "204")
		invite := func(cseq uint32) *message.Message {
			m := d.phone.asks("INVITE", "204", user("100", "example.com"))
			m.From.URI.User, m.CallID, m.From.Tag, m.CSeq = "204:pw", "same", "same", cseq
			return withBody(m, sdpAt(phoneAt.Addr(), 4000))
		}
		d.phone.send(phoneSocket, invite(1))
		in := d.pbx.want("INVITE")
		if in.From.URI.User != "204" {
			t.Errorf("the PBX hears %s", in.From)
		}
		d.pbx.reply(in, 180, nil)
		d.phone.want("180 INVITE")
		d.phone.send(phoneSocket, invite(2))
		d.phone.want("500 INVITE")
		d.pbx.quiet(time.Second)
		for _, e := range logs.All() {
			t.Error(e.Message)
		}
	})
}

// TestAListOfStates: RFC 4662 §5.2, the NOTIFY requires `eventlist`.
func TestAListOfStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig)
		defer d.close()
		d.enter(d.phone, "204")
		d.phone.send(phoneSocket, d.phone.asks("SUBSCRIBE", "204", user("blf-204", "example.com"), field("Event: dialog"),
			field("Expires: 600"), field("Supported: eventlist")))
		in := d.pbx.want("SUBSCRIBE")
		if s, _ := in.Get("Supported"); s != "eventlist" {
			t.Errorf("the PBX hears Supported: %q", s)
		}
		d.pbx.reply(in, 200, nil, field("Expires: 600"), field("Require: eventlist"), field("Contact: "+d.pbx.contact()))
		d.phone.want("200 SUBSCRIBE")
		list, _, _ := in.Contacts()
		d.pbx.send(phonesInside, &message.Message{
			Method: "NOTIFY", URI: list[0].URI, Via: d.pbx.via(), CSeq: 1, MaxForwards: 70, CallID: in.CallID,
			From: message.NameAddr{URI: in.To.URI, Tag: fmt.Sprintf("answer-%d-%d", pbxAt.Port(), in.CSeq)}, To: in.From,
			Headers: []message.Header{
				field("Event: dialog"), field("Require: eventlist"), field("Subscription-State: active;expires=600"),
				field("Contact: " + d.pbx.contact()),
			},
		})
		if r, _ := d.phone.want("NOTIFY").Get("Require"); r != "eventlist" {
			t.Errorf("the phone hears Require: %q", r)
		}
	})
}

// TestTwoDevicesOfOneNameBehindOneNAT: the second one's mapping has changed, and it calls; then the first one's changes, and
// it registers anew. Neither is given the other's call.
func TestTwoDevicesOfOneNameBehindOneNAT(t *testing.T) {
	for _, tt := range []struct{ name, contact string }{
		{"told apart by Contact", "<sip:204@192.168.1.6:5060>"}, {"not told apart", "<sip:204@192.168.1.99:5060>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, doorConfig)
				defer d.close()
				reg := d.phone.registers("204", "<sip:204@192.168.1.5:5060>")
				deskToken := d.bind(d.phone, reg)
				soft := d.wire(besideAt)
				soft.n = 200
				softToken := d.bind(soft, soft.registers("204", "<sip:204@192.168.1.6:5060>"))

				moved := d.wire(netip.MustParseAddrPort("198.51.100.7:7070"))
				moved.n = 300
				m := moved.asks("INVITE", "204", user("100", "example.com"))
				m.Headers = []message.Header{{Name: "Contact", Value: tt.contact}}
				moved.send(phoneSocket, withBody(m, sdpAt(phoneAt.Addr(), 4000)))
				inv := d.pbx.want("INVITE")
				c, _, _ := inv.Contacts()
				if got := c[0].URI.User; got == deskToken || tt.contact == "<sip:204@192.168.1.6:5060>" && got != softToken {
					t.Errorf("the PBX is told %s; the desk phone is %s, the soft phone %s", got, deskToken, softToken)
				}
				d.pbx.reply(inv, 200, sdpAt(pbxAt.Addr(), 4002))
				ok := moved.want("200 INVITE")
				dlg, err := dialog.UAC(m, ok)
				if err != nil {
					t.Fatal(err)
				}
				ack := dlg.Request("ACK", m.CSeq)
				ack.Via = moved.via()
				moved.send(phoneSocket, ack)
				d.pbx.want("ACK")

				desk := d.wire(netip.MustParseAddrPort("198.51.100.7:5061"))
				desk.n = 400
				again := d.phone.again(reg)
				again.Via = desk.via()
				d.bind(desk, again)
				d.pbx.send(phonesInside, &message.Message{
					Method: "BYE", URI: c[0].URI, Via: d.pbx.via(), CSeq: 1, MaxForwards: 70, CallID: inv.CallID,
					From: message.NameAddr{URI: inv.To.URI, Tag: fmt.Sprintf("answer-%d-%d", pbxAt.Port(), inv.CSeq)}, To: inv.From,
				})
				moved.want("BYE")
				desk.quiet(time.Second)
			})
		})
	}
}

// TestAGatewayThatEditsDescriptionsAlone is named by the first call.
func TestAGatewayThatEditsDescriptionsAlone(t *testing.T) {
	for sdp, want := range map[string]int{
		string(sdpAt(phoneAt.Addr(), 4000)):                                                           1,
		string(sdpAt(netip.MustParseAddr("192.168.1.5"), 4000)):                                       0,
		string(sdpAt(phoneAt.Addr(), 4000)) + "a=candidate:1 1 UDP 1 198.51.100.7 4000 typ srflx\r\n": 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, doorConfig)
			defer d.close()
			private := func(m *message.Message) *message.Message {
				m.Via[0].Host, m.Via[0].Port = "192.168.1.5", 5060
				return m
			}
			d.bind(d.phone, private(d.phone.registers("204", "<sip:204@192.168.1.5:5060>")))
			d.phone.send(phoneSocket, private(withBody(d.phone.asks("INVITE", "204", user("100", "example.com")), []byte(sdp))))
			d.pbx.want("INVITE")
			list, err := d.gate.Control(nil).Registrations(d.ctx, "204")
			if err != nil || len(list) != 1 || len(list[0].ALG) != want {
				t.Errorf("%v %+v for\n%s", err, list, sdp)
			}
		})
	}
}
