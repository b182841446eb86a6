package sbc_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

// doorConfig leaves the phones in peace: what a test hears it has caused.
const doorConfig = `
outside: { address: 203.0.113.10, phones: { udp: 5060, tcp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0 }
phones: { unregistered: drop, keepalive: { interval: 0 } }
policy:
  rate_limits: []
  strangers: { phones: silent }
`

// The places that phones and others speak from.
var (
	phoneAt   = netip.MustParseAddrPort("198.51.100.7:5060")
	besideAt  = netip.MustParseAddrPort("198.51.100.7:6060")
	visitorAt = netip.MustParseAddrPort("198.51.100.8:5060")
)

// door is a gate with a phone and a PBX, both played by hand.
type door struct {
	*lab
	phone, pbx *wire
}

func newDoor(t *testing.T, yaml string, pairs ...string) *door {
	t.Helper()
	l := newGate(t, rewritten(t, yaml, pairs...), natlab.Options{Seed: 6})
	d := &door{l, l.wire(phoneAt), l.wire(pbxAt)}
	d.pbx.n = 100 // ids of its own
	return d
}

func user(name, host string) message.URI { return message.URI{Scheme: "sip", User: name, Host: host} }

// asks is a request outside a dialog of a user of our domain.
func (w *wire) asks(method, from string, uri message.URI, extra ...message.Header) *message.Message {
	m := w.request(method, phoneSocket, "")
	m.URI, m.To, m.From.URI = uri, message.NameAddr{URI: uri}, user(from, "example.com")
	if method == "SUBSCRIBE" {
		m.Add("Contact", w.contact())
	}
	m.Headers = append(m.Headers, extra...)
	return m
}

// registers is a REGISTER of a user with Contacts.
func (w *wire) registers(name string, contacts ...string) *message.Message {
	m := w.asks("REGISTER", name, message.URI{Scheme: "sip", Host: "example.com"})
	m.To.URI = user(name, "example.com")
	for _, c := range contacts {
		m.Add("Contact", c)
	}
	m.Add("Expires", "3600")
	return m
}

// again is the same request with the next number, as a retry or a refresh.
func (w *wire) again(m *message.Message, extra ...message.Header) *message.Message {
	next := *m
	next.CSeq++
	next.Via = w.via()
	next.Headers = append(slices.Clone(m.Headers), extra...)
	return &next
}

// echo is the PBX's list of the contacts that a REGISTER brought.
func echo(t *testing.T, m *message.Message, expires int) (out []message.Header) {
	t.Helper()
	list, star, err := m.Contacts()
	if err != nil || star {
		t.Fatalf("no list of contacts (%v) in\n%s", err, m)
	}
	for _, c := range list {
		if v, _ := c.Param("expires"); v != "0" {
			out = append(out, message.Header{Name: "Contact", Value: fmt.Sprintf("<%s>;expires=%d", c.URI.String(), expires)})
		}
	}
	return out
}

// enter registers a user from a place, and returns the token that the PBX was given.
func (d *door) enter(w *wire, name string) (token string) {
	d.t.Helper()
	w.send(phoneSocket, w.registers(name, "<sip:"+name+"@"+w.at.String()+">"))
	m := d.pbx.want("REGISTER")
	list, _, err := m.Contacts()
	if err != nil || len(list) != 1 {
		d.t.Fatalf("the PBX sees no Contact (%v) in\n%s", err, m)
	}
	d.pbx.reply(m, 200, nil, echo(d.t, m, 3600)...)
	w.want("200 REGISTER")
	return list[0].URI.User
}

// met is what becomes of a request: "silence", the gate's own code, or "PBX" where the PBX was asked, whose answer comes back.
func (d *door) met(w *wire, m *message.Message) string {
	d.t.Helper()
	w.send(phoneSocket, m)
	arrived := d.pbx.next(100 * time.Millisecond)
	if arrived != nil {
		if arrived.Method != m.Method {
			d.t.Fatalf("the PBX hears\n%s", arrived)
		}
		code := 202
		if m.Method == "INVITE" {
			code = 486
		}
		d.pbx.reply(arrived, code, nil)
		if got := w.want(fmt.Sprint(code, " ", m.Method)); m.Method == "INVITE" {
			w.send(phoneSocket, ackOf(m, got))
			d.pbx.want("ACK")
		}
		return "PBX"
	}
	for {
		switch got := w.next(time.Second); {
		case got == nil:
			return "silence"
		case got.Status >= 200:
			if m.Method == "INVITE" {
				w.send(phoneSocket, ackOf(m, got))
			}
			return strconv.Itoa(got.Status)
		}
	}
}

// ackOf acknowledges a refusal.
func ackOf(invite, refusal *message.Message) *message.Message {
	return &message.Message{
		Method: "ACK", URI: invite.URI, Via: invite.Via, From: invite.From, To: refusal.To, CallID: invite.CallID, CSeq: invite.CSeq, MaxForwards: 70,
	}
}

// sources are those who may speak at the phones' listener.
var sources = []struct {
	name string
	at   netip.AddrPort
	from string
}{
	{"stranger", strangerAt, "204"},
	{"known address, other AoR", besideAt, "299"},
	{"known address, same AoR", besideAt, "204"},
	{"registered", phoneAt, "204"},
}

// due is what docs/policy.md (Strangers) says of a request.
func due(source, method, unregistered, strangers string) string {
	if source == "registered" || source == "known address, same AoR" {
		switch method {
		case "REGISTER elsewhere":
			return "403"
		case "OPTIONS of the gate":
			return "200"
		case "FOO":
			return "405"
		}
		return "PBX"
	}
	stranger := source == "stranger"
	quiet := map[bool]string{true: "silence", false: "403"}[stranger && strangers == "silent"]
	switch method {
	case "REGISTER":
		return "PBX"
	case "REGISTER elsewhere":
		return quiet
	case "INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER":
		switch {
		case unregistered == "forward" && method == "REFER":
			return "403" // nobody whom none knows has others place calls
		case unregistered == "forward":
			return "PBX"
		case unregistered == "reject":
			return "403"
		}
		return quiet
	case "OPTIONS", "OPTIONS of the gate":
		switch {
		case !stranger && method == "OPTIONS":
			return "PBX"
		case stranger && strangers == "silent":
			return "silence"
		}
		return "200"
	case "FOO":
		if !stranger && unregistered == "forward" {
			return "405"
		}
	}
	if !stranger && unregistered == "forward" {
		return "PBX"
	}
	return quiet
}

// TestWhoIsHeardAtThePhonesDoor is the table of strangers: source × method × phones.unregistered × policy.strangers.
func TestWhoIsHeardAtThePhonesDoor(t *testing.T) {
	methods := []string{"REGISTER", "REGISTER elsewhere", "INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER", "OPTIONS", "OPTIONS of the gate", "NOTIFY", "INFO", "FOO"}
	for _, unregistered := range []string{"drop", "reject", "forward"} {
		for _, strangers := range []string{"silent", "answer"} {
			t.Run(unregistered+"/"+strangers, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDoor(t, doorConfig, "unregistered: drop", "reachable: [ '.*' ], unregistered: "+unregistered, "phones: silent", "phones: "+strangers)
					defer d.close()
					wires := map[netip.AddrPort]*wire{phoneAt: d.phone, besideAt: d.wire(besideAt), strangerAt: d.wire(strangerAt)}
					d.enter(d.phone, "204")
					for _, s := range sources {
						w := wires[s.at]
						for _, method := range methods {
							if got, want := d.met(w, w.speaks(method, s.from)), due(s.name, method, unregistered, strangers); got != want {
								t.Errorf("%s of a %s meets %s, want %s", method, s.name, got, want)
							}
						}
						w.ignored(d)
					}
				})
			})
		}
	}
}

// speaks is a request of the table; the REGISTERs are queries, so that nobody becomes another by them.
func (w *wire) speaks(method, from string) *message.Message {
	event := message.Header{Name: "Event", Value: "dialog"}
	switch method {
	case "REGISTER":
		m := w.registers(from)
		m.Remove("Expires")
		return m
	case "REGISTER elsewhere":
		m := w.registers(from)
		m.URI.Host, m.To.URI.Host = "elsewhere.example", "elsewhere.example"
		return m
	case "OPTIONS of the gate":
		return w.asks("OPTIONS", from, message.URI{Scheme: "sip", Host: gateOutside.String()})
	case "INVITE":
		return withBody(w.asks("INVITE", from, user("100", "example.com")), sdpAt(w.at.Addr(), 4000))
	case "REFER":
		return w.asks(method, from, user("100", "example.com"), message.Header{Name: "Refer-To", Value: "<sip:300@example.com>"}, message.Header{Name: "Contact", Value: w.contact()})
	case "SUBSCRIBE", "PUBLISH", "NOTIFY":
		m := w.asks(method, from, user("100", "example.com"), event)
		if method == "NOTIFY" {
			m.Add("Subscription-State", "active")
			m.Add("Contact", w.contact())
		}
		return m
	}
	return w.asks(method, from, user("100", "example.com"))
}

// ignored checks that merely odd traffic is met with silence, whoever it comes from.
func (w *wire) ignored(d *door) {
	d.t.Helper()
	for _, junk := range []string{"\r\n\r\n", "\x00\x00", "jaK", "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"} {
		if _, err := w.conn.WriteToUDPAddrPort([]byte(junk), phoneSocket); err != nil {
			d.t.Fatal(err)
		}
	}
	ack := w.asks("ACK", "204", user("100", "example.com"))
	w.send(phoneSocket, ack)
	w.quiet(time.Second)
	d.pbx.quiet(0)
}

// TestAnswersToStrangersAreSmallAndSaidOnce: a forged source gets no flood.
func TestAnswersToStrangersAreSmallAndSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, "phones: silent", "phones: answer")
		defer d.close()
		asked, answered := map[string]int{}, map[string]int{}
		d.net.Observe(func(g natlab.Datagram) {
			d.ladder.note(g)
			_, id, _ := strings.Cut(string(g.Payload), "\r\nCall-ID: ")
			id, _, _ = strings.Cut(id, "\r\n")
			switch {
			case g.Src == strangerAt:
				asked[id] = len(g.Payload)
			case g.Dst == strangerAt:
				if answered[id]++; len(g.Payload) > asked[id]+200 {
					t.Errorf("%d bytes answer %d", len(g.Payload), asked[id])
				}
			}
		})
		w := d.wire(strangerAt)
		for _, method := range []string{"INVITE", "OPTIONS of the gate", "MESSAGE", "NOTIFY", "REGISTER elsewhere", "FOO"} {
			w.send(phoneSocket, w.speaks(method, "204"))
			time.Sleep(patience)
		}
		for id, n := range answered {
			if n != 1 {
				t.Errorf("%s was answered %d times", id, n)
			}
		}
		if len(answered) != 6 || len(d.cdrs.all()) != 0 {
			t.Errorf("%d of 6 were answered, %d CDRs", len(answered), len(d.cdrs.all()))
		}
		d.empty()
	})
}

// TestTheStrangersBudget: strangers together may ask so much; phones and their calls do not notice.
func TestTheStrangersBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, "strangers: { phones: silent }", "strangers: { phones: silent, rate: 2/second, burst: 5 }")
		defer d.close()
		d.enter(d.phone, "204")
		time.Sleep(10 * time.Second)
		flood := func() (passed int) {
			for i := range 50 {
				at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), 5060)
				m := d.phone.registers(fmt.Sprint(300+i), "<sip:x@192.0.2.1>")
				m.Via[0].Host, m.CallID = at.Addr().String(), fmt.Sprint(d.phone.n, "-of-", at)
				if err := d.net.Inject(at, phoneSocket, write(t, m)); err != nil {
					t.Fatal(err)
				}
			}
			for d.pbx.next(100*time.Millisecond) != nil {
				passed++
			}
			return passed
		}
		if n := flood(); n != 5 {
			t.Errorf("%d of 50 strangers' REGISTERs reach the PBX, the burst is 5", n)
		}
		if got := d.met(d.phone, d.phone.speaks("INVITE", "204")); got != "PBX" {
			t.Errorf("the phone's call meets %s", got)
		}
		if got := d.met(d.phone, d.phone.speaks("REGISTER", "204")); got != "PBX" {
			t.Errorf("the phone's REGISTER meets %s", got)
		}
	})
}

// TestCapsOfRegistration: eight contacts an address-of-record, two hundred a source.
func TestCapsOfRegistration(t *testing.T) {
	credentials := message.Header{Name: "Authorization", Value: `Digest username="204", realm="example.com", nonce="n", uri="sip:example.com", response="r"`}
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, throttled(t, doorConfig, "0s", "10m", "0s")) // without grace: they all fall silent at once
		defer d.close()
		for i := range 8 {
			w := d.wire(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(100 + i)}), 5060))
			d.enter(w, "204")
		}
		ninth := d.wire(visitorAt)
		m := ninth.registers("204", "<sip:204@"+visitorAt.String()+">")
		m.Headers = append(m.Headers, credentials)
		ninth.send(phoneSocket, m)
		ninth.want("403 REGISTER")
		d.pbx.quiet(time.Second)
		if n := d.gate.Gauges().Bindings; n != 8 {
			t.Errorf("%d bindings of one address-of-record", n)
		}
		nine := ninth.registers("205")
		for i := range 9 {
			nine.Add("Contact", fmt.Sprintf("<sip:205@%s:%d>", visitorAt.Addr(), 5060+i))
		}
		ninth.send(phoneSocket, nine)
		ninth.want("403 REGISTER")
		d.pbx.quiet(time.Second)

		for i := range 200 {
			d.enter(d.phone, fmt.Sprint(1000+i))
		}
		m = d.phone.registers("2000", "<sip:2000@"+phoneAt.String()+">")
		d.phone.send(phoneSocket, m)
		refused := d.phone.want("503 REGISTER")
		if _, has := refused.Get("Retry-After"); has {
			t.Errorf("one house is full, and all are told to come back later:\n%s", refused)
		}
		d.pbx.quiet(time.Second)
		d.enter(d.phone, "1000") // a refresh has its place
		if n := d.gate.Gauges().Bindings; n != 208 {
			t.Errorf("%d bindings, want 208", n)
		}
		why, err := d.gate.Control(nil).Why(d.ctx, phoneAt.Addr().String())
		if err != nil || !strings.Contains(why.Text, "phones.registration.per_source") {
			t.Errorf("why says (%v)\n%s", err, why.Text)
		}
		time.Sleep(2 * time.Minute)
		if n := d.gate.Gauges().Bindings; n != 0 {
			t.Errorf("%d bindings after their time", n)
		}
	})
}

// TestPhonesRegisterInEveryDomainThatWeServe, and the PBX sees its own.
func TestPhonesRegisterInEveryDomainThatWeServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, doorConfig, "phones: { unregistered: drop", "phones: { domains: [ voice.example.net ], unregistered: drop")
		defer d.close()
		stranger := d.wire(strangerAt)
		for _, tt := range []struct {
			host   string
			port   uint16
			served bool
		}{
			{"example.com", 0, true}, {"EXAMPLE.com", 5060, true}, {"example.com.", 0, true}, {"voice.example.net", 0, true},
			{"203.0.113.10", 0, true}, {"203.0.113.10", 5060, true}, {"10.0.0.2", 0, false}, {"10.0.0.10", 0, false},
			{"sub.example.com", 0, false}, {"example.net", 0, false}, {"2001:db8::1", 0, false},
		} {
			m := stranger.registers("204")
			m.URI.Host, m.URI.Port = tt.host, tt.port
			for _, u := range []*message.URI{&m.To.URI, &m.From.URI} {
				u.Host, u.Port = tt.host, tt.port
			}
			if got, want := d.met(stranger, m), map[bool]string{true: "PBX", false: "silence"}[tt.served]; got != want {
				t.Errorf("a REGISTER for %s:%d meets %s, want %s", tt.host, tt.port, got, want)
			}
		}
		d.phone.send(phoneSocket, func() *message.Message {
			m := d.phone.registers("204", "<sip:204@"+phoneAt.String()+">")
			m.URI.Host, m.To.URI.Host, m.From.URI.Host = "voice.example.net", "VOICE.example.net", "voice.example.net"
			return m
		}())
		in := d.pbx.want("REGISTER")
		if in.URI.String() != "sip:example.com" || in.To.URI.String() != "sip:204@example.com" || in.From.URI.String() != "sip:204@example.com" {
			t.Errorf("the PBX sees\n%s", in)
		}
		d.pbx.reply(in, 200, nil, echo(t, in, 3600)...)
		ok := d.phone.want("200 REGISTER")
		if ok.To.URI.Host != "VOICE.example.net" || len(listed(t, ok)) != 1 {
			t.Errorf("the phone hears\n%s", ok)
		}
	})
}
