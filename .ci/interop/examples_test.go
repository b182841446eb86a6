//go:build interop

package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The phones in the house of the examples: in a network of their own, before which a gate stands, or beside the PBX.
const (
	nsHouse   = "house"
	gateHouse = "10.1.0.2"
)

var (
	apart  = []extension{{"301", nsHouse, "10.1.0.21"}, {"302", nsHouse, "10.1.0.22"}}
	beside = []extension{{"301", nsInside, "10.0.0.31"}, {"302", nsInside, "10.0.0.32"}}
)

func init() {
	for _, x := range slices.Concat(apart, beside) {
		home[x.address] = x.ns
	}
	far[nsHouse] = []string{"10.0.0.", "203.0.113.", "198.51.100.", "192.168.1.", "kamailio", "PhoneProduct", "CallerProduct"}
	far[nsInside] = append(far[nsInside], "10.1.0.", "HouseProduct")
	far[nsOutside] = append(far[nsOutside], "10.1.0.", "HouseProduct")
}

// example is a set-up of deploy/examples as it runs, with two telephones in each place.
type example struct {
	*world
	gates  map[string]*gate  // by the name of their files
	before map[string]string // which gate stands before those of a role; missing: none
	inner  []string          // the gates' addresses inside
	dials  string            // the host by which the provider reaches our numbers
	house  []seat
	phones []seat // roaming, behind one NAT
	away   seat   // whom the provider serves
}

// written are the places that the examples name, and what stands for them in a folder of the test's.
var written = []struct {
	place *regexp.Regexp
	here  string
}{
	{regexp.MustCompile(`/var/log/sbc(/[a-z]+)?`), "/cdr"},
	{regexp.MustCompile(`/var/lib/sbc(/[a-z]+)?`), "/state"},
	{regexp.MustCompile(`/run/sbc(/[a-z]+)?/sbc\.sock`), "/sbc.sock"},
}

// opens starts a gate with one of the files, just as it stands but for where files are: the addresses in it are those of this world.
func (e *example) opens(t *testing.T, file string, listeners ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy/examples", file))
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(file), ".yaml")
	room := &world{name: e.name, dir: filepath.Join(e.dir, name)} // the same network, a folder of its own
	if err := os.MkdirAll(room.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range written {
		if !p.place.Match(text) {
			t.Fatalf("%s does not say where %s is", file, p.here)
		}
		text = p.place.ReplaceAllLiteral(text, []byte(room.dir+p.here))
	}
	configuration := strings.NewReplacer("/etc/sbc/tls.", e.dir+"/tls.", "/etc/sbc/itsp.", e.dir+"/itsp.").Replace(string(text))
	e.gates[name] = room.run(t, configuration, listeners...)
}

// staffs starts the telephones: two in the house that use next as their server, two roaming ones that use door.
func (e *example) staffs(t *testing.T, house []extension, next, product, door string) {
	t.Helper()
	for _, x := range house {
		e.house = append(e.house, seat{e.userAgent(t, x.ns, x.address, next, product, &x), local, x.user})
	}
	for _, x := range []extension{anna, bert} {
		e.phones = append(e.phones, seat{e.userAgent(t, x.ns, x.address, door, "PhoneProduct", &x), roaming, x.user})
	}
	for _, x := range slices.Concat(e.house, e.phones) {
		x.register(t, 60)
	}
}

// reaches has a telephone call another one: they talk, hang up, and each gate that the call has crossed has a record of it.
func (e *example) reaches(t *testing.T, from, to seat) {
	t.Helper()
	uri := "sip:" + to.number + "@" + domain
	if from.role == trunk {
		uri = "sip:+4930555" + to.number + "@" + e.dials
	}
	had := map[string]int{}
	for name, g := range e.gates {
		had[name] = len(g.records(t))
	}
	from.reaches(t, to, uri)
	for name, g := range e.gates {
		crossed := 0
		for _, x := range []seat{from, to} {
			if e.before[x.role] == name {
				crossed++
			}
		}
		g.recorded(t, had[name], crossed)
	}
}

// plays has everybody call everybody, over TLS too, and looks at what was on the wires.
func (e *example) plays(t *testing.T, tls string, hosts ...string) []packet {
	t.Helper()
	rec := e.capture(t, hosts...)
	for _, c := range []struct {
		name     string
		from, to seat
	}{
		{"trunk to house", e.away, e.house[0]},
		{"trunk to roaming", e.away, e.phones[0]},
		{"house to trunk", e.house[1], e.away},
		{"roaming to trunk", e.phones[1], e.away},
		{"roaming to house", e.phones[0], e.house[1]},
		{"house to roaming", e.house[0], e.phones[1]},
		{"roaming to roaming", e.phones[0], e.phones[1]},
		{"house to house", e.house[0], e.house[1]},
	} {
		t.Run(c.name, func(t *testing.T) { e.reaches(t, c.from, c.to) })
	}
	t.Run("TLS", func(t *testing.T) {
		e.verdict(t, e.phone(t, sippPhone{extension: cora, transport: "tls", scenario: "phone-leaves", registrar: tls}))
	})
	all := rec.stop(t)
	if t.Failed() {
		t.Logf("ladder:\n%s", ladder(choose(all, packet.atGate)))
		for _, g := range e.gates {
			t.Log(g.tail())
		}
	}
	noLeak(t, all)
	for _, h := range hosts {
		for _, l := range leaks(all, h) {
			t.Errorf("%s: %s", h, l)
		}
	}
	e.secluded(t, all)
	return all
}

// soundsWith has another make play the provider, sipp, which calls a telephone and is called by it; all that both say is counted.
func (e *example) soundsWith(t *testing.T, x seat) {
	t.Helper()
	e.away.conn.Close()
	rec := e.capture(t, x.ns)
	x.behave(x.number, rings)
	caller := e.sipp(t, agent{ns: nsOutside, address: provider, scenario: "caller", number: "+4930555" + x.number, towards: e.dials})
	if l := x.comes(t, x.number); l != nil {
		l.accept()
	}
	e.verdict(t, caller)
	callee := e.sipp(t, agent{ns: nsOutside, address: provider, scenario: "callee", number: foreign})
	l := x.dial(x.number, "sip:"+foreign+"@"+domain)
	l.wait(t, "answered", l.up)
	time.Sleep(time.Second) // they talk
	l.hangUp()
	e.verdict(t, callee)
	all := rec.stop(t)
	noLeak(t, all)
	audible(t, all, provider, x.address, 100, false)
	if t.Failed() {
		t.Logf("ladder:\n%s", ladder(choose(all, packet.atGate)))
	}
}

// secluded fails the test where the PBX has heard of, or spoken to, anybody on its wire but the gates.
func (e *example) secluded(t *testing.T, all []packet) {
	t.Helper()
	heard := map[string]int{}
	for _, p := range choose(all, on(nsInside)) {
		a, b := p.src.Addr().String(), p.dst.Addr().String()
		switch node1 {
		case a:
			heard[b]++
		case b:
			heard[a]++
		}
	}
	for _, a := range e.inner {
		if heard[a] == 0 {
			t.Errorf("the PBX has nothing to do with %s", a)
		}
		delete(heard, a)
	}
	if len(heard) > 0 {
		t.Errorf("the PBX has to do with others than the gates: %v", heard)
	}
}

// closes ends the gates, which keep nothing of the calls.
func (e *example) closes(t *testing.T) {
	t.Helper()
	for name, g := range e.gates {
		var out string
		code := -1
		for end := time.Now().Add(10 * time.Second); code != 0 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			out, code = g.verb("status", "--audit")
		}
		if code != 0 {
			t.Errorf("%s: sbc status --audit: exit code %d\n%s", name, code, out)
		}
	}
	for _, g := range e.gates {
		g.stop(t)
	}
}

// TestExamples: the set-ups of deploy/examples, each with the files that stand there. Everybody calls everybody and is heard, and the PBX
// meets the gates alone.
func TestExamples(t *testing.T) {
	long(t)
	t.Run("best practice", bestPractice)
	t.Run("one gate", oneGate)
}

// bestPractice has three gates on one machine, as sbc@.service runs them.
func bestPractice(t *testing.T) {
	w := newHomes(t)
	e := &example{
		world: w, gates: map[string]*gate{}, before: map[string]string{trunk: "trunks", roaming: "roaming", local: "internal"},
		inner: []string{"10.0.0.2", "10.0.0.3", "10.0.0.4"}, dials: gateOutside + ":5080",
	}
	const door = "203.0.113.11"
	w.in(t, nsGate, "ip", "address", "add", door+"/24", "dev", nsOutside)
	for _, a := range e.inner[1:] {
		w.in(t, nsGate, "ip", "address", "add", a+"/24", "dev", nsInside)
	}
	w.namespace(t, nsHouse)
	w.cable(t, nsHouse, nsGate, []string{apart[0].address, apart[1].address}, gateHouse)
	w.pbx(t, node1, "-A", "STRICT")
	e.opens(t, "best-practice/trunks.yaml", gateOutside+":5080", "10.0.0.2:5080")
	e.opens(t, "best-practice/roaming.yaml", door+":5060", "10.0.0.3:5060")
	e.opens(t, "best-practice/internal.yaml", gateHouse+":5060", "10.0.0.4:5060")
	e.away = seat{w.userAgent(t, nsOutside, provider, gateOutside+":5080", "CallerProduct", nil), trunk, foreign}
	e.staffs(t, apart, gateHouse+":5060", "HouseProduct", door+":5060")
	all := e.plays(t, door+":5061", nsHouse)
	t.Run("sipp as the provider/house", func(t *testing.T) { e.soundsWith(t, e.house[1]) })
	t.Run("sipp as the provider/roaming", func(t *testing.T) { e.soundsWith(t, e.phones[1]) })
	expect(t, all, provider, "INVITE", map[string]string{"Request-URI": "sip:" + foreign + "@" + provider, "From": "sip:+4930555302@"})
	for _, p := range choose(all, on(nsInside), packet.rtp) { // the audio of two gates on one machine stays there
		t.Errorf("audio at the PBX's network: %s to %s", p.src, p.dst)
		break
	}
	for name, g := range e.gates { // on one machine none is in another's way
		if out, code := g.verb("media"); code != 0 || !strings.Contains(out, "missing   none") || !strings.Contains(out, "orphans   none") {
			t.Errorf("%s: sbc media: exit code %d\n%s", name, code, out)
		}
	}
	e.closes(t)
}

// oneGate has one before trunk and roaming phones, and the phones in the house at the PBX.
func oneGate(t *testing.T) {
	w := newHomes(t)
	e := &example{
		world: w, gates: map[string]*gate{}, before: map[string]string{trunk: "sbc", roaming: "sbc"},
		inner: []string{gateInside}, dials: "sip.example.net",
	}
	for _, x := range beside {
		w.in(t, nsInside, "ip", "address", "add", x.address+"/24", "dev", nsInside)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "itsp.secret"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.pbx(t, node1, "-A", "STRICT")
	k := w.carrier(t, provider)
	e.opens(t, "one-gate/sbc.yaml", gateOutside+":5060", gateInside+":5060", gateOutside+":5080", gateInside+":5080")
	k.only(t, "the gate registers", 15*time.Second, at(gateOutside))
	e.away = seat{w.userAgent(t, nsOutside, stranger, provider+":5060", "CallerProduct", nil), trunk, foreign}
	e.staffs(t, beside, node1+":5060", "DeskProduct", gateOutside+":5060")
	all := e.plays(t, gateOutside+":5061")
	expect(t, all, provider, "INVITE", map[string]string{"Request-URI": "sip:" + foreign + "@sip.example.net", "From": "sip:+4930555302@sip.example.net"})
	if n := starts(all, nsOutside, "REGISTER sip:sip.example.net"); n > 0 {
		t.Errorf("the gate registers again within the time that it was granted: %d", n)
	}
	e.closes(t)
}
