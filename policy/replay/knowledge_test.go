package replay

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/reason"
)

// asksFor is a stranger whose requests are answered with a code.
func (c *tape) asksFor(n int, method string, code int, extra string) *tape {
	for i := range n {
		m := sip{method: method, user: "666", callID: fmt.Sprintf("%s-%d", method, i), extra: extra}
		c.udp(scanner+":5071", gatePhones, m.String())
		m.status, m.toTag, m.extra = code, "t", ""
		c.udp(gatePhones, scanner+":5071", m.String()).wait(200 * time.Millisecond)
	}
	return c
}

// TestOutcomesCount: what the answers say of a source counts against it, as on the wire.
func TestOutcomesCount(t *testing.T) {
	forward := func(c *policy.Config) { c.Phones.Unregistered = "forward" }
	for _, c := range []struct {
		name string
		tape *tape
		ban  bool
	}{
		{"unknown users", newTape(t).asksFor(30, "MESSAGE", 404, ""), true},
		{"unknown users, 480", newTape(t).asksFor(30, "MESSAGE", 480, ""), true},
		{"calls to nowhere", newTape(t).asksFor(30, "INVITE", 404, ""), true},
		{"wrong passwords, 403", newTape(t).asksFor(30, "REGISTER", 403, signs("n")), true},
		{"busy is no offence", newTape(t).asksFor(30, "INVITE", 486, ""), false},
	} {
		x := of(t, run1(t, c.tape, setup(forward)), scanner)
		if banned := len(x.Refusals) > 0 && x.Refusals[0].Reason == reason.Ban; banned != c.ban {
			t.Errorf("%s: %+v", c.name, x)
		}
	}
}

// TestCallsOfOurs: a call that the program makes to a trunk is live for the trunk until some time after its end.
func TestCallsOfOurs(t *testing.T) {
	c := newTape(t)
	out := sip{method: "INVITE", uri: "sip:+4930@203.0.113.20", callID: "out", fromTag: "ours-out"}
	c.udp(gateTrunks, itsp+":5060", out.String())
	answer := out
	answer.status, answer.toTag = 200, "theirs"
	c.udp(itsp+":5060", gateTrunks, answer.String())
	// From their point of view our tag is the To tag.
	update := sip{method: "UPDATE", callID: "out", fromTag: "theirs", toTag: "ours-out", cseq: 7}
	c.udp(itsp+":5060", gateTrunks, update.String())
	bye := sip{method: "BYE", callID: "out", fromTag: "ours-out", toTag: "theirs", cseq: 2}
	c.udp(gateTrunks, itsp+":5060", bye.String()).wait(40 * time.Second)
	update.cseq = 8
	c.udp(itsp+":5060", gateTrunks, update.String())
	r, err := newRun(c.open(), setup(nil))
	if err != nil {
		t.Fatal(err)
	}
	var got []reason.Reason
	if _, err := r.all(c.open(), func(_ *Message, j *judged) {
		if j.way == received {
			got = append(got, j.verdict.Reason)
		}
	}); err != nil {
		t.Fatal(err)
	}
	want(t, "reasons", got, []reason.Reason{reason.LiveDialog, reason.LiveDialog, reason.Allow})
}

// TestAllContactsLeave: Contact: * ends every binding of the user, wherever it is.
func TestAllContactsLeave(t *testing.T) {
	c := newTape(t).registers(office+":40001", "201", "r1", 1).registers(office+":40002", "202", "r2", 1)
	elsewhere := sip{method: "REGISTER", user: "201", callID: "r3", extra: "Contact: <sip:201@192.168.9.9:5060>\r\n"}
	c.udp("198.51.100.8:1", gatePhones, elsewhere.String())
	elsewhere.status, elsewhere.toTag = 200, "g"
	c.udp(gatePhones, "198.51.100.8:1", elsewhere.String())
	leave := sip{method: "REGISTER", user: "201", callID: "r1", cseq: 5, extra: "Contact: *\r\nExpires: 0\r\n"}
	c.udp(office+":40001", gatePhones, leave.String())
	leave.status, leave.toTag, leave.extra = 200, "g", ""
	c.udp(gatePhones, office+":40001", leave.String())
	r, err := newRun(c.open(), setup(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.all(c.open(), nil); err != nil {
		t.Fatal(err)
	}
	if b := r.known.book; len(b.all) != 1 || r.guard.Phones() != 1 || b.phones[ap(office+":1").Addr()] != 1 || len(b.places) != 3 || len(b.sources) != 1 {
		t.Errorf("%+v, the guard knows of %d", b, r.guard.Phones())
	}
}

// TestAnswerWithoutItsRequest: the capture begins between a REGISTER and its answer.
func TestAnswerWithoutItsRequest(t *testing.T) {
	c := newTape(t).registers(office+":40001", "201", "r1", 1)
	c.packets = c.packets[3:]
	c.udp(office+":40001", gatePhones, sip{method: "INVITE", user: "201", callID: "i"}.String())
	if x := of(t, run1(t, c, setup(nil)), office); x.Allowed != 1 || x.Phones != 1 {
		t.Errorf("%+v", x)
	}
}

func TestIPv6ExtensionHeaders(t *testing.T) {
	ip := newTape(t).udp("[2001:db8::7]:1", "[2001:db8::10]:5060", options).packets[0].ip
	with := func(first byte, headers ...byte) []byte {
		p := append(append(append([]byte(nil), ip[:40]...), headers...), ip[40:]...)
		p[6] = first
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
		return p
	}
	for name, c := range map[string]struct {
		ip []byte
		ok bool
	}{
		"hop by hop, destination":  {with(0, 60, 0, 1, 4, 0, 0, 0, 0, protocolUDP, 0, 1, 4, 0, 0, 0, 0), true},
		"authentication":           {with(51, protocolUDP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), true},
		"a fragment that is whole": {with(protocolFragment, protocolUDP, 0, 0, 0, 0, 0, 0, 9), true},
		"a header beyond the end":  {with(60, protocolUDP, 255, 0, 0, 0, 0, 0, 0), false},
		"nothing behind it":        {with(60)[:44], false},
		"headers without end":      {with(60, []byte(strings.Repeat("\x3c\x00\x00\x00\x00\x00\x00\x00", 9))...), false},
		"cut":                      {ip[:30], false},
		"version 5":                {append([]byte{0x50}, ip[1:]...), false},
		"empty":                    {nil, false},
	} {
		d, f, ok := decode(c.ip)
		if ok != c.ok || ok && (d.protocol != protocolUDP || len(d.data) != len(ip)-40 || f.more || f.offset != 0) {
			t.Errorf("%s: %v %+v %+v", name, ok, d.protocol, f)
		}
	}
	four := newTape(t).udp(office+":1", gatePhones, options).packets[0].ip
	for name, change := range map[string]func([]byte) []byte{
		"a head of 4 bytes": func(p []byte) []byte { p[0] = 0x41; return p }, "a head beyond the end": func(p []byte) []byte { p[0] = 0x4f; return p[:40] },
		"shorter than its head": func(p []byte) []byte { p[2], p[3] = 0, 10; return p }, "cut": func(p []byte) []byte { return p[:19] },
	} {
		if _, _, ok := decode(change(append([]byte(nil), four...))); ok {
			t.Errorf("%s: is taken", name)
		}
	}
	four[2], four[3] = 0, 0 // segmented by the network card
	if d, _, ok := decode(four); !ok || len(d.data) != len(four)-20 {
		t.Error("a packet of length 0 is lost")
	}
}

// TestSuggestTellsWhomItWouldRefuse: the tail beyond the percentile is named.
func TestSuggestTellsWhomItWouldRefuse(t *testing.T) {
	c := newTape(t)
	c.lasts = 900
	for i := range 40 {
		phone := fmt.Sprintf("[2001:db8:%x::7]:5060", 0x100+i)
		gate := "[2001:db8::10]:5060"
		for n := range 1 + i/39*20 { // one registers without end
			m := sip{method: "REGISTER", user: "201", callID: fmt.Sprintf("%d-%d", i, n), extra: contactLine("201", 900)}
			c.udp(phone, gate, m.String())
			m.status, m.toTag = 200, "t"
			c.udp(gate, phone, m.String())
		}
		c.wait(time.Minute)
	}
	s := setup(nil)
	s.Interfaces[0].Bind, s.Interfaces[0].Advertised = ap("[2001:db8::10]:5060"), ap("[2001:db8::10]:5060")
	x, err := Suggest(c.open(), s, SuggestOptions{Percentile: 90, Margin: 0})
	if err != nil {
		t.Fatal(err)
	}
	if x.Predicted.Sources != 1 || x.Predicted.Requests != 17 || len(x.Rules) != 1 {
		t.Errorf("%+v %+v", x.Predicted, x.Limits)
	}
	text := x.Text(time.UTC)
	if !strings.Contains(text, "# they would have refused 17 of these requests, of 1 source:\n#   2001:db8:127::7, 1 phone: 17 limit-exceeded") {
		t.Error(text)
	}
}

func TestTexts(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := amount(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	many := make([]Refusal, 5)
	for i := range many {
		many[i] = Refusal{Reason: reason.Ban, Count: uint64(i)}
	}
	if got := whys(many); got != "0 ban; 1 ban; 2 ban; and 2 more reasons" {
		t.Error(got)
	}
	if got := brief([]byte("a\x1b[31m\xffb" + strings.Repeat("x", 200))); !strings.HasPrefix(got, "a?[31m?b") || len(got) != sampleMost {
		t.Errorf("%q", got)
	}
	if got := lasting(&BanReport{At: noon}); got != "ever" {
		t.Error(got)
	}
}

// TestWhatIsNoWrongPassword: a registered phone that is forbidden a number, and an answer to a nonce from before the PBX has
// restarted, are held against nobody, in a replay as in the program.
func TestWhatIsNoWrongPassword(t *testing.T) {
	forbidden := newTape(t).registers(office+":40001", "201", "r1", 1)
	old := newTape(t)
	for i := range 30 {
		m := sip{method: "INVITE", user: "201", callID: fmt.Sprint("call-", i), extra: signs("n")}
		forbidden.udp(office+":40001", gatePhones, m.String())
		m.status, m.toTag, m.extra = 403, "t", ""
		forbidden.udp(gatePhones, office+":40001", m.String()).wait(200 * time.Millisecond)

		m = sip{method: "REGISTER", user: fmt.Sprint(300 + i), callID: fmt.Sprint("reg-", i), extra: signs("before")}
		old.udp(office+":40001", gatePhones, m.String())
		m.status, m.toTag, m.extra = 401, "t", challenge("after")
		old.udp(gatePhones, office+":40001", m.String()).wait(200 * time.Millisecond)
	}
	for name, c := range map[string]*tape{"forbidden numbers": forbidden, "old nonces": old} {
		r := run1(t, c, setup(nil))
		if len(r.Bans) > 0 || r.Refused > 0 {
			t.Errorf("%s: %+v, %+v", name, r.Bans, of(t, r, office))
		}
	}
}

// TestANonceThatIsGivenOutAgain: a PBX that has one nonce for all has given it out when it refuses the first who makes use of it. Over
// TCP, where nothing else has to prove the address.
func TestANonceThatIsGivenOutAgain(t *testing.T) {
	r, err := newRun(newTape(t).scans(1).open(), setup(nil))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		m := sip{method: "REGISTER", user: "204", callID: fmt.Sprint("guess-", i), extra: signs("the one")}
		in := Message{Time: noon, Source: ap(scanner + ":40000"), Destination: ap(gatePhones), Transport: nat.TCP, Data: []byte(m.String())}
		m.status, m.toTag, m.extra = 401, "t", challenge("the one")
		out := Message{Time: noon, Source: in.Destination, Destination: in.Source, Transport: nat.TCP, Data: []byte(m.String())}
		for _, m := range []*Message{&in, &out, &out} { // what is sent again says nothing new
			if _, err := r.message(m); err != nil {
				t.Fatal(err)
			}
		}
		if want := i / 3; len(r.report.Bans) != want {
			t.Errorf("after %d: %+v", i+1, r.report.Bans)
		}
	}
}

// TestNoncesOfThePBX: where the capture shows what the PBX gives out, a challenge of the gate's own is none of them.
func TestNoncesOfThePBX(t *testing.T) {
	for _, inside := range []bool{false, true} {
		c := newTape(t)
		if inside {
			out := sip{method: "REGISTER", user: "201", callID: "to the PBX", extra: contactLine("201", 300)}
			c.udp("10.0.0.2:5060", node, out.String())
			out.status, out.toTag, out.extra = 401, "p", challenge("of the PBX")
			c.udp(node, "10.0.0.2:5060", out.String())
		}
		for i := range 12 {
			c.logsIn(scanner+":5071", "204", "crack", 1+2*i, 401).wait(300 * time.Millisecond)
		}
		if p := run1(t, c, setup(nil)); (len(p.Bans) == 0) != inside {
			t.Errorf("inside %v: %+v", inside, p.Bans)
		}
	}
}
