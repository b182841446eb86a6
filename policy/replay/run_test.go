package replay

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"sallyport/policy"
	"sallyport/sbc/reason"
)

func run1(t *testing.T, c *tape, s *Setup) *Report {
	t.Helper()
	p, err := Run(c.open(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// of is a source of a report.
func of(t *testing.T, p *Report, address string) *SourceReport {
	t.Helper()
	a := netip.MustParseAddr(address)
	for i := range p.Sources {
		if p.Sources[i].Address == a {
			return &p.Sources[i]
		}
	}
	t.Fatalf("%s is not in the report", address)
	return nil
}

// day is a morning of an office with two phones, a scanner, and a provider.
func morning(t *testing.T) *tape {
	c := newTape(t).registers(office+":40001", "201", "r1", 1).registers(office+":40002", "202", "r2", 1)
	c.callsOut(office+":40001", "201").scans(5)
	c.udp(itsp+":5060", gateTrunks, sip{method: "INVITE", user: "+4930123", callID: "in"}.String())
	c.udp("192.0.2.99:5060", gateTrunks, sip{method: "INVITE", user: "00972", callID: "fraud", agent: "pplsip"}.String())
	c.udp("192.0.2.98:5060", gateTrunks, sip{method: "INVITE", user: "00972", callID: "fraud2"}.String())
	c.udp(office+":40001", gatePhones, "\r\n\r\n").udp("10.0.0.77:9999", "10.0.0.78:8888", "RTP, perhaps")
	return c.wait(time.Minute).registers(office+":40001", "201", "r1", 3)
}

func TestReplay(t *testing.T) {
	p := run1(t, morning(t), setup(func(c *policy.Config) { c.DenyUserAgents = nil }))
	golden(t, "replay.txt", p.Text(time.UTC))
	s := of(t, p, office)
	if s.Who != "phone" || s.Phones != 2 || s.Refused != 0 || s.Messages != 9 {
		t.Errorf("the office: %+v", s)
	}
	if p.Ignored != 1 || p.Other != 1 || p.Sent != 8 || p.Messages != 17 || p.Allowed != 10 {
		t.Errorf("%+v", p)
	}
}

// TestAnswersAreTold: what the running program would know of its answers counts, what it would not know does not.
func TestAnswersAreTold(t *testing.T) {
	// A limit that the retries with credentials would exceed, were they charged.
	s := setup(func(c *policy.Config) { c.RateLimits = limitsOf("tight", "2/minute", 2) })
	c := newTape(t).registers(office+":40001", "201", "r1", 1).registers(office+":40001", "201", "r1", 3)
	if x := of(t, run1(t, c, s), office); x.Refused != 0 {
		t.Errorf("retries are charged: %+v", x)
	}
	// The third is refused; its answers are not told, so its credentials are charged too.
	c.registers(office+":40001", "201", "r1", 5)
	if x := of(t, run1(t, c, s), office); x.Refused != 2 || x.Refusals[0].Limit != "REGISTER 2/minute burst 2" || x.Refusals[0].First.From != "201@example.com" {
		t.Errorf("%+v", x)
	}
}

func TestRepeatsAndDialogsAreLive(t *testing.T) {
	s := setup(func(c *policy.Config) {
		one := 1
		c.RateLimits = []policy.RateLimitConfig{{Name: "one", Range: []string{"any"}, Limits: map[string]string{"*": "1/day"}, Burst: &one}}
	})
	c := newTape(t)
	invite := sip{method: "INVITE", callID: "i"}
	c.udp(itsp+":5060", gateTrunks, invite.String()).wait(500*time.Millisecond).udp(itsp+":5060", gateTrunks, invite.String())
	ringing := invite
	ringing.status, ringing.toTag = 180, "ours"
	c.udp(gateTrunks, itsp+":5060", ringing.String())
	c.udp(itsp+":5060", gateTrunks, sip{method: "CANCEL", callID: "i"}.String())
	c.udp(itsp+":5060", gateTrunks, sip{method: "UPDATE", callID: "i", toTag: "ours", cseq: 2}.String())
	c.udp("192.0.2.1:5060", gateTrunks, sip{method: "UPDATE", callID: "i", toTag: "ours", cseq: 2}.String())
	p := run1(t, c, s)
	if x := of(t, p, itsp); x.Allowed != 4 || x.Who != "trunk itsp" {
		t.Errorf("the trunk: %+v", x)
	}
	if x := of(t, p, "192.0.2.1"); x.Refused != 1 {
		t.Errorf("who only knows the tag: %+v", x)
	}
}

// TestPhonesComeAndGo: a binding ends when it expires, when the phone leaves, and moves with it.
func TestPhonesComeAndGo(t *testing.T) {
	s := setup(nil)
	call := func(c *tape, from, id string) {
		c.udp(from, gatePhones, sip{method: "INVITE", user: "201", callID: id}.String())
	}
	c := newTape(t).wait(-2*time.Hour).udp(office+":1", gatePhones, "\r\n").wait(2 * time.Hour) // nothing is presumed
	call(c, office+":40001", "before")
	c.registers(office+":40001", "201", "r1", 1)
	call(c, office+":40009", "another port")
	c.wait(119 * time.Second)
	call(c, office+":40001", "in time")
	c.wait(2 * time.Second)
	call(c, office+":40001", "too late")
	c.registers("198.51.100.8:1", "201", "r1", 3) // the same contact from elsewhere
	call(c, "198.51.100.8:1", "moved")
	leave := sip{method: "REGISTER", user: "201", callID: "r1", cseq: 9, extra: contactLine("201", 0)}
	c.udp("198.51.100.8:1", gatePhones, leave.String())
	leave.status, leave.toTag, leave.extra = 200, "g", ""
	c.udp(gatePhones, "198.51.100.8:1", leave.String())
	call(c, "198.51.100.8:1", "gone")
	p := run1(t, c, s)
	if x := of(t, p, office); x.Refused != 2 || x.Refusals[0].Reason != reason.NotRegistered || x.Allowed != 4 {
		t.Errorf("at first: %+v", x)
	}
	if x := of(t, p, "198.51.100.8"); x.Refused != 1 || x.Allowed != 4 {
		t.Errorf("elsewhere: %+v", x)
	}
}

func TestPhonesOfBeforeArePresumed(t *testing.T) {
	c := newTape(t).callsOut(office+":40001", "201").wait(time.Minute).registers(office+":40001", "201", "r1", 7)
	p := run1(t, c, setup(nil))
	if x := of(t, p, office); x.Refused != 0 || x.Phones != 1 {
		t.Errorf("%+v", x)
	}
	if !strings.Contains(strings.Join(p.Notes, "\n"), "a phone that registers within the first hour") {
		t.Errorf("%q", p.Notes)
	}
}

// TestBansAreMade: wrong passwords ban as on the wire, after the challenge proves the address.
func TestBansAreMade(t *testing.T) {
	c := newTape(t)
	for i := range 12 {
		c.logsIn(scanner+":5071", "204", "crack", 1+2*i, 401).wait(300 * time.Millisecond)
	}
	p := run1(t, c, setup(nil))
	x := of(t, p, scanner)
	if len(p.Bans) == 0 || x.Refused == 0 || x.Refusals[0].Reason != reason.Ban || !strings.Contains(p.Bans[0].Target, scanner) {
		t.Errorf("%+v %+v", p.Bans, x)
	}
	if text := p.Text(time.UTC); !strings.Contains(text, "\nBAN ") {
		t.Error(text)
	}
}

func TestGuessedListeners(t *testing.T) {
	old := "192.0.2.5" // the PBX of before
	c := newTape(t)
	for i, phone := range []string{office + ":5060", "198.51.100.8:5060"} { // not behind a NAT: ports do not tell who is who
		m := sip{method: "REGISTER", user: "20" + string(rune('1'+i)), callID: phone, extra: contactLine("20", 300)}
		c.udp(phone, old+":5060", m.String())
		m.status, m.toTag = 200, "t"
		c.udp(old+":5060", phone, m.String())
		c.udp(old+":5060", phone, sip{method: "NOTIFY", callID: "n" + phone}.String())
	}
	c.udp(itsp+":5080", old+":5080", sip{method: "INVITE", callID: "in"}.String())
	p := run1(t, c, setup(nil))
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "outside/phones udp 192.0.2.5:5060, outside/trunks udp 192.0.2.5:5080") {
		t.Errorf("%s", notes)
	}
	if x := of(t, p, office); x.Who != "phone" || x.Messages != 1 {
		t.Errorf("%+v", x)
	}
	if x := of(t, p, itsp); x.Who != "trunk itsp" || x.Allowed != 1 {
		t.Errorf("%+v", x)
	}
	// The PBX behind a gate is registered with too, but by the gate.
	c.udp(old+":5060", node, sip{method: "REGISTER", callID: "in"}.String())
	if notes := strings.Join(run1(t, c, setup(nil)).Notes, "\n"); strings.Contains(notes, node) {
		t.Errorf("%s", notes)
	}
	only := newTape(t).udp("192.0.2.1:53", "192.0.2.2:53", "no SIP at all")
	if _, err := Run(only.open(), setup(nil)); err == nil || !strings.Contains(err.Error(), "hint: capture where the listeners are") {
		t.Errorf("%v", err)
	}
}

func TestNamedListeners(t *testing.T) {
	for name, want := range map[string]string{
		"outside/phones tls [2001:db8::1]:5061": "outside/phones tls [2001:db8::1]:5061", "inside/trunks udp 10.0.0.2:5080": "inside/trunks udp 10.0.0.2:5080",
		"eth0": "", "outside/phones sctp 10.0.0.2:1": "", "outside/phones udp 10.0.0.2": "", "outside/doors udp 10.0.0.2:1": "",
	} {
		got := ""
		if i := listenerNamed(name); i != nil {
			got = i.String()
		}
		if got != want {
			t.Errorf("%q is %q", name, got)
		}
	}
}

func TestCutMessagesAreJudgedByTheirHeader(t *testing.T) {
	whole := sip{method: "INVITE", user: "201", callID: "x", body: strings.Repeat("v", 200)}.String()
	c := newTape(t).registers(office+":40001", "201", "r1", 1).udp(office+":40001", gatePhones, whole).udp(office+":40001", gatePhones, whole)
	c.packets[len(c.packets)-1].cut = 400
	c.packets[len(c.packets)-2].cut = 100
	p := run1(t, c, setup(nil))
	if x := of(t, p, office); x.Refused != 0 || x.Messages != 3 || !strings.Contains(strings.Join(p.Notes, "\n"), "1 messages were cut within their header") {
		t.Errorf("%+v %q", x, p.Notes)
	}
}

// TestDisorderIsNoTimeTravel: packets a little out of order, and impossible times, do not disturb a guard.
func TestDisorderIsNoTimeTravel(t *testing.T) {
	c := morning(t)
	for i := range c.packets {
		if i%3 == 1 {
			c.packets[i].at = c.packets[i].at.Add(-3 * time.Millisecond)
		}
	}
	c.packets[0].at = time.Unix(0, 0)
	p := run1(t, c, setup(nil))
	if x := of(t, p, office); x.Refused != 0 {
		t.Errorf("%+v", x)
	}
}

func TestCompare(t *testing.T) {
	c := morning(t)
	for i := range 8 {
		c.registers(office+":40003", "203", "r3", 1+2*i).wait(time.Second)
	}
	old := setup(func(c *policy.Config) { c.DenyUserAgents = nil })
	old.Name = "old.yaml"
	next := setup(func(c *policy.Config) {
		c.RateLimits = limitsOf("remote phones", "3/minute", 4)
		c.DenyUserAgents = []policy.UserAgentConfig{}
		c.Strangers.Phones = "answer"
	})
	next.Name = "new.yaml"
	got, err := Compare(c.open(), old, next)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.txt", got.Text(time.UTC))
	if len(got.Blocked) != 1 || got.Blocked[0].Phones != 3 || got.Blocked[0].Count == 0 {
		t.Errorf("%+v", got.Blocked)
	}
	back, err := Compare(c.open(), next, old)
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Passing) != 1 || back.Passing[0].Count != got.Blocked[0].Count || len(back.Blocked) != len(got.Passing) {
		t.Errorf("the other way round: %+v", back.Passing)
	}
	same, err := Compare(c.open(), old, old)
	if err != nil || len(same.Blocked)+len(same.Passing) != 0 || !strings.Contains(same.Text(time.UTC), "newly refused by old.yaml: nobody") {
		t.Errorf("%+v %v", same, err)
	}
}

func TestCompareWithoutAListener(t *testing.T) {
	c := newTape(t).registers(office+":40001", "201", "r1", 1)
	c.tcp(office+":50000", gatePhones, 99, "S", "").tcp(office+":50000", gatePhones, 100, "", sip{method: "INVITE", callID: "tcp"}.String())
	next := setup(nil)
	next.Name, next.Interfaces = "new.yaml", append(next.Interfaces[:1:1], next.Interfaces[2:]...) // no TCP any more
	got, err := Compare(c.open(), setup(nil), next)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Blocked) != 1 || got.Blocked[0].By[0].why() != "no listener" || got.Blocked[0].By[0].First.Start != "INVITE sip:example.com" {
		t.Errorf("%+v", got.Blocked)
	}
}

func TestAnyInterfaceCapture(t *testing.T) {
	c := morning(t)
	p, err := Run(opener(c.pcap(layers.LinkTypeLinuxSLL2)), setup(nil))
	if err != nil || p.Messages != 17 {
		t.Errorf("%+v %v", p, err)
	}
}

func TestWrongConfigurations(t *testing.T) {
	bad := setup(func(c *policy.Config) { c.RateLimits = limitsOf("x", "many", 1) })
	if _, err := Run(morning(t).open(), bad); err == nil || !strings.Contains(err.Error(), "policy.rate_limits[0]") {
		t.Error(err)
	}
	if _, err := Compare(morning(t).open(), setup(nil), bad); err == nil || !strings.HasPrefix(err.Error(), "sbc.yaml: ") {
		t.Error(err)
	}
}

// TestFloodsAreShed: strangers beyond what there is attention for are refused here as on the wire, phones are not.
func TestFloodsAreShed(t *testing.T) {
	c := newTape(t).registers(office+":40001", "201", "r1", 1)
	for i := range 3000 {
		c.udp(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}).String()+":5060", gatePhones, sip{method: "REGISTER", callID: "flood"}.String()).wait(-990 * time.Microsecond)
	}
	c.callsOut(office+":40001", "201")
	p := run1(t, c, setup(nil))
	if x := of(t, p, office); x.Refused != 0 {
		t.Errorf("the phone: %+v", x)
	}
	if p.Refused < 2500 || len(p.Sources) != 3001 || p.Sources[0].Refusals[0].Reason != reason.StrangersBudget {
		t.Errorf("%d refused of %d sources", p.Refused, len(p.Sources))
	}
}

// TestASpelledUserIsTheSame: a phone that spells its user otherwise in a call than in its REGISTER is who it is.
func TestASpelledUserIsTheSame(t *testing.T) {
	c := newTape(t).registers(office+":40001", "201", "r1", 1)
	for _, user := range []string{"201", "%3201", "%32%30%31", "201;isub=1", "201:secret"} {
		c.udp(office+":40009", gatePhones, sip{method: "INVITE", user: user, callID: "as " + user}.String())
	}
	if x := of(t, run1(t, c, setup(nil)), office); x.Refused != 0 || x.Phones != 1 {
		t.Errorf("%+v", x)
	}
	// A refresh in another spelling is no second phone.
	c.registers(office+":40001", "%3201", "r1", 3)
	if x := of(t, run1(t, c, setup(nil)), office); x.Phones != 1 {
		t.Errorf("%+v", x)
	}
}
