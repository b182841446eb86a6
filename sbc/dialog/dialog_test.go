package dialog

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/sbc/message"
)

func uri(t interface{ Fatal(...any) }, s string) message.URI {
	u, err := message.ParseURI(s)
	if err != nil {
		t.Fatal(s, err)
	}
	return u
}

// invite is a request as RFC 3261 §24.2 has it.
func invite(t interface{ Fatal(...any) }, fields ...string) *message.Message {
	m := &message.Message{
		Method: "INVITE", URI: uri(t, "sip:bob@biloxi.example.com"), CallID: "3848276298220188511@atlanta.example.com", CSeq: 314159,
		From:        message.NameAddr{Display: "Alice", URI: uri(t, "sip:alice@atlanta.example.com"), Tag: "1928301774"},
		To:          message.NameAddr{Display: "Bob", URI: uri(t, "sip:bob@biloxi.example.com")},
		MaxForwards: 70,
	}
	add(m, fields)
	return m
}

func add(m *message.Message, fields []string) {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		m.Add(name, value)
	}
}

func response(req *message.Message, status int, tag string, fields ...string) *message.Message {
	m := message.Reply(req, status, "")
	m.To.Tag = tag
	add(m, fields)
	return m
}

const (
	aliceContact = "Contact: <sip:alice@192.0.2.1:5070>"
	bobContact   = "Contact: <sip:bob@192.0.2.4>"
)

// TestBothSidesAgree: what the two sides of one INVITE make of it is the same dialog, seen from either end (RFC 3261 §12.1).
func TestBothSidesAgree(t *testing.T) {
	req := invite(t, aliceContact, "Record-Route: <sip:p2.example.com;lr>", "Record-Route: <sip:p1.example.com;lr>")
	resp := response(req, 180, "a6c85cf", bobContact)
	callee, err := UAS(req, "a6c85cf")
	if err != nil {
		t.Fatal(err)
	}
	caller, err := UAC(req, resp)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"Call-ID", caller.CallID, callee.CallID},
		{"tags", caller.Local.Tag + caller.Remote.Tag, callee.Remote.Tag + callee.Local.Tag},
		{"caller's target", caller.Target.String(), "sip:bob@192.0.2.4"},
		{"callee's target", callee.Target.String(), "sip:alice@192.0.2.1:5070"},
		{"caller's routes", routes(caller), "<sip:p1.example.com;lr> <sip:p2.example.com;lr>"},
		{"callee's routes", routes(callee), "<sip:p2.example.com;lr> <sip:p1.example.com;lr>"},
		{"state", caller.State.String() + callee.State.String(), "earlyearly"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if caller.LocalSeq != 314159 || callee.RemoteSeq != 314159 || callee.LocalSeq != 0 || caller.RemoteSeq != 0 {
		t.Errorf("numbers %+v %+v", caller, callee)
	}
	bye := callee.Request("BYE", 0)
	if bye.CSeq != 1 || bye.From.Tag != "a6c85cf" || bye.To.Tag != "1928301774" || bye.From.Display != "Bob" {
		t.Errorf("the callee's BYE: %+v", bye)
	}
	if err := caller.Accept(bye); err != nil {
		t.Error(err)
	}
}

func routes(d Dialog) string {
	var all []string
	for _, r := range d.Routes {
		all = append(all, r.String())
	}
	return strings.Join(all, " ")
}

func TestNoDialog(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields []string
		tag    string
		want   error
	}{
		{"no Contact", nil, "x", ErrNoContact},
		{"two Contacts", []string{bobContact, aliceContact}, "x", ErrNoContact},
		{"a star", []string{"Contact: *"}, "x", ErrNoContact},
		{"garbage", []string{"Contact: <sip:"}, "x", ErrNoContact},
		{"no SIP URI", []string{"Contact: <tel:+4930>"}, "x", ErrNoContact},
		{"no tag", []string{bobContact}, "", ErrNoTag},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := UAC(invite(t), response(invite(t), 200, c.tag, c.fields...)); !errors.Is(err, c.want) {
				t.Errorf("UAC: %v, want %v", err, c.want)
			}
			if errors.Is(c.want, ErrNoTag) {
				return
			}
			if _, err := UAS(invite(t, c.fields...), "x"); !errors.Is(err, c.want) {
				t.Errorf("UAS: %v, want %v", err, c.want)
			}
		})
	}
	bad := "Record-Route: <sip:"
	if _, err := UAS(invite(t, aliceContact, bad), "x"); err == nil {
		t.Error("UAS took a broken Record-Route")
	}
	if _, err := UAC(invite(t), response(invite(t), 200, "x", bobContact, bad)); err == nil {
		t.Error("UAC took a broken Record-Route")
	}
}

// TestRequest is RFC 3261 §12.2.1.1 with its example of a strict router.
func TestRequest(t *testing.T) {
	for _, c := range []struct {
		name, records, target string
		uri, route, next      string
	}{
		{"no route", "", "sip:bob@192.0.2.4", "sip:bob@192.0.2.4", "", "sip:bob@192.0.2.4"},
		{
			"loose", "Record-Route: <sip:proxy2;lr>, <sip:proxy1;lr>", "sip:user@remoteua", "sip:user@remoteua",
			"<sip:proxy1;lr>|<sip:proxy2;lr>", "sip:proxy1;lr",
		},
		{
			"strict", "Record-Route: <sip:proxy4>, <sip:proxy3;lr>, <sip:proxy2>, <sip:proxy1>", "sip:user@remoteua", "sip:proxy1",
			"<sip:proxy2>|<sip:proxy3;lr>|<sip:proxy4>|<sip:user@remoteua>", "sip:proxy1",
		},
		{"lr with a value", "Record-Route: <sip:proxy1;lr=on>", "sip:user@remoteua", "sip:user@remoteua", "<sip:proxy1;lr=on>", "sip:proxy1;lr=on"},
		{
			"what no Request-URI may hold", "Record-Route: <sip:proxy1;method=INVITE;x=1?Subject=a>", "sip:u@h;method=BYE;transport=udp?Replaces=1",
			"sip:proxy1;x=1", "<sip:u@h;transport=udp>", "sip:proxy1;method=INVITE;x=1?Subject=a",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields := []string{"Contact: <" + c.target + ">"}
			if c.records != "" {
				fields = append(fields, c.records)
			}
			d, err := UAC(invite(t), response(invite(t), 200, "x", fields...))
			if err != nil {
				t.Fatal(err)
			}
			m := d.Request("INFO", 0)
			var route []string
			for _, h := range m.Headers {
				if h.Name != "Route" {
					t.Errorf("field %s", h.Name)
				}
				route = append(route, h.Value)
			}
			if got := strings.Join(route, "|"); m.URI.String() != c.uri || got != c.route {
				t.Errorf("%s with Route %s, want %s with %s", m.URI, got, c.uri, c.route)
			}
			if d.NextHop().String() != c.next {
				t.Errorf("next hop %s, want %s", d.NextHop(), c.next)
			}
			if m.CSeq != 314160 || m.MaxForwards != 70 || m.CallID != d.CallID || m.To.Tag != "x" {
				t.Errorf("%+v", m)
			}
			if ack := d.Request("ACK", 314159); ack.CSeq != 314159 || d.LocalSeq != 314160 {
				t.Errorf("an ACK takes the number of its INVITE and none of its own: %d, %d", ack.CSeq, d.LocalSeq)
			}
		})
	}
}

// TestConfirm: the 2xx tells the route set and target anew (RFC 3261 §13.2.2.4).
func TestConfirm(t *testing.T) {
	d, err := UAC(invite(t), response(invite(t), 183, "x", bobContact, "Record-Route: <sip:old;lr>"))
	if err != nil {
		t.Fatal(err)
	}
	d.Confirm(response(invite(t), 200, "x", "Contact: <sip:bob@192.0.2.5>", "Record-Route: <sip:b;lr>, <sip:a;lr>"))
	if d.State != Confirmed || d.Target.Host != "192.0.2.5" || routes(d) != "<sip:a;lr> <sip:b;lr>" {
		t.Errorf("%+v", d)
	}
	d.Confirm(response(invite(t), 200, "x", "Record-Route: <sip:"))
	if d.Target.Host != "192.0.2.5" || routes(d) != "<sip:a;lr> <sip:b;lr>" {
		t.Errorf("a broken 2xx changed it: %+v", d)
	}
	d.Refresh(invite(t, "Contact: <sip:new@192.0.2.6>"))
	if d.Target.User != "new" {
		t.Errorf("target %s", d.Target)
	}
	d.Refresh(invite(t))
	if d.Target.User != "new" || Terminated.String() != "terminated" {
		t.Errorf("a request without Contact changed the target to %s", d.Target)
	}
}

func TestAccept(t *testing.T) {
	d, err := UAS(invite(t, aliceContact), "x")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cseq uint32
		ok   bool
	}{{314159, false}, {314160, true}, {314160, false}, {314200, true}, {314199, false}, {1, false}, {314201, true}} {
		err := d.Accept(&message.Message{CSeq: c.cseq})
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrOutOfOrder) {
			t.Errorf("CSeq %d: %v", c.cseq, err)
		}
	}
	mine, err := UAC(invite(t), response(invite(t), 200, "x", bobContact))
	if err != nil {
		t.Fatal(err)
	}
	if mine.Accept(&message.Message{CSeq: 7}) != nil || mine.Accept(&message.Message{CSeq: 7}) == nil {
		t.Error("the first request of the peer may have any number, and each number once")
	}
}

// TestNumbers: whatever is sent and received, our numbers rise by one, and no number of the peer is taken twice.
func TestNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, err := UAS(invite(t, aliceContact), "x")
		if err != nil {
			t.Fatal(err)
		}
		sent, taken := uint32(0), d.RemoteSeq
		for range rapid.IntRange(0, 30).Draw(t, "n") {
			if rapid.Bool().Draw(t, "send") {
				sent++
				if m := d.Request("INFO", 0); m.CSeq != sent {
					t.Fatalf("CSeq %d, want %d", m.CSeq, sent)
				}
				continue
			}
			n := rapid.Uint32Range(314150, 314180).Draw(t, "cseq")
			err := d.Accept(&message.Message{CSeq: n})
			if (err == nil) != (n > taken) {
				t.Fatalf("CSeq %d after %d: %v", n, taken, err)
			}
			taken = max(taken, n)
		}
	})
}

// FuzzDialog: no Contact, Record-Route or target makes a request that cannot be written.
func FuzzDialog(f *testing.F) {
	f.Add("<sip:bob@192.0.2.4>", "<sip:p1;lr>, <sip:p2>")
	f.Add("sip:bob@192.0.2.4;x=y", "<sip:p1>,<sip:p2;lr>")
	f.Add("\"B, ob\" <sips:b@[2001:db8::1]:5061;method=X?a=b>;q=1", "")
	f.Add("*", "<sip:;lr>")
	f.Add("<tel:+4930>", "<mailto:x@y>")
	f.Fuzz(func(t *testing.T, contact, record string) {
		resp := response(invite(t), 200, "x", "Contact: "+contact)
		if record != "" {
			resp.Add("Record-Route", record)
		}
		d, err := UAC(invite(t), resp)
		if err != nil {
			return
		}
		d.Confirm(resp)
		for _, method := range []string{"ACK", "BYE"} {
			m := d.Request(method, 0)
			m.Via = []message.Via{{Transport: "UDP", Host: "192.0.2.1", Branch: "z9hG4bKx", RPort: -1}}
			if m.URI.Headers != "" {
				t.Errorf("Request-URI with header fields: %s", m.URI)
			}
			if _, err := m.Append(nil); err != nil && !strings.ContainsAny(contact+record, "\r\n\x00\x7f") && printable(contact+record) {
				t.Errorf("%q, %q: %v", contact, record, err)
			}
		}
		if err := d.Accept(&message.Message{CSeq: d.RemoteSeq}); err == nil && d.RemoteSeq != 0 {
			t.Error("the same number twice")
		}
	})
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' {
			return false
		}
	}
	return true
}
