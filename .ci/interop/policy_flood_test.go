//go:build interop

package interop

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var floodRate = flag.Int("flood", 30_000, "packets a second of the floods")

const (
	floodSources = 20_000
	floodLength  = 20 * time.Second
	floodPhones  = 10
	floodCalls   = 50 // of all phones
	trunkRate    = 20 // calls a second
)

// flooded is a gate with the rules that are shipped; the PBX's phones and trunks are at different nodes.
const flooded = `outside: { address: 203.0.113.10, phones: { udp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060", realms: [phones] }, { address: "10.0.0.11:5060", realms: [trunks] } ]
  health: { interval: 0s }
phones: { registration: { outside: 3600s } }
trunks:
  - name: itsp
    peers: [ { address: "203.0.113.20:5060" } ]
    outbound: { match: ["^\\+?[0-9]{4,15}$"] }
    keepalive: { method: none }
cdr: { directory: %[1]s/cdr }
state: { directory: %[1]s/state }
log: { level: info }
admin: { socket: %[1]s/sbc.sock }
`

// strangerSays is message i of a flood: each has new ids, every eighth has a scanner's name, every eighth is broken.
func strangerSays(i int, src netip.AddrPort) string {
	method, agent, via := "REGISTER", "Yealink SIP-T46U 108.86.0.20", "Via: SIP/2.0/UDP "
	switch i % 8 {
	case 3, 4:
		method = "INVITE"
	case 5:
		method = "OPTIONS"
	case 6:
		agent = "friendly-scanner"
	case 7:
		via = "Via SIP/2.0/UDP "
	}
	uri := "sip:" + domain
	if method == "INVITE" {
		uri = "sip:00972595301234@" + domain
	}
	return fmt.Sprintf("%[1]s %[2]s SIP/2.0\r\n%[3]s%[4]s;branch=z9hG4bK%[5]s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:flood%[6]d@%[7]s>;tag=%[5]s\r\n"+
		"To: <sip:flood%[6]d@%[7]s>\r\nCall-ID: %[5]s\r\nCSeq: 1 %[1]s\r\nContact: <sip:flood%[6]d@%[4]s>\r\nExpires: 3600\r\nUser-Agent: %[8]s\r\n"+
		"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nContent-Length: 0\r\n\r\n", method, uri, via, src, mark, i%1000, domain, agent)
}

// strangers are the datagrams of so many forged sources.
func strangers(n int, says func(i int, src netip.AddrPort) string) []forged {
	list := make([]forged, n)
	for i := range list {
		src := netip.AddrPortFrom(forgedSource(i), uint16(1024+i*7%60000))
		list[i] = forge(src, addrPort(gateOutside+":5060"), says(i, src))
	}
	return list
}

// crowd writes the phones for sipp: user, address, credentials.
func (w *world) crowd(t *testing.T, n int) (path string) {
	t.Helper()
	list := "SEQUENTIAL\n"
	var addresses []string
	for i := range n {
		a := source(i)
		addresses = append(addresses, a)
		list += fmt.Sprintf("%[1]d;%[2]s;[authentication username=%[1]d password=secret%[1]d]\n", 210+i, a)
	}
	w.addresses(t, addresses...)
	path = filepath.Join(w.dir, "phones.csv")
	if err := os.WriteFile(path, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// phonesCall has the phones register and call, so many calls at a rate.
func (w *world) phonesCall(t *testing.T, phones string, calls, rate int) *process {
	t.Helper()
	return w.sipp(t, agent{ns: nsOutside, address: stranger, scenario: "flood-phone", number: "phones", towards: gateOutside + ":5060", load: []string{
		"-t", "ui", "-max_socket", "100", "-ip_field", "1", "-inf", phones, "-auth_uri", domain, "-m", strconv.Itoa(calls), "-r", strconv.Itoa(rate), "-timeout", "60s",
	}})
}

// figure is a column of sipp's statistics, as it stood at the end.
func (w *world) figure(t *testing.T, p *process, column string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, p.name+".csv"))
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.FieldsPerRecord = ';', -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%s: no statistics: %v", p.name, err)
	}
	for i, name := range rows[0] {
		if name == column {
			n, err := strconv.Atoi(rows[len(rows)-1][i])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s: no column %s", p.name, column)
	return 0
}

func (w *world) statistics(name string) []string {
	return []string{"-trace_stat", "-stf", filepath.Join(w.dir, name+".csv"), "-fd", "1"}
}

// TestFlood: 20,000 forged addresses send 30,000 packets a second to the phones' door. The trunk's calls notice nothing,
// the phones' calls all complete, the PBX hears no more of it than strangers may cost, and the kernel's drops are told.
func TestFlood(t *testing.T) {
	w := newHomes(t)
	w.in(t, nsGate, "ip", "route", "add", forgedNetwork, "via", provider)
	w.pbx(t, node1)
	phones := w.crowd(t, floodPhones)
	g := w.run(t, fmt.Sprintf(flooded, w.dir), gateOutside+":5060", gateOutside+":5080")
	desk := w.sipp(t, agent{ns: nsInside, address: desk, scenario: "bench-callee", number: "100", load: []string{"-m", "1000", "-timeout", "120s"}})
	w.verdict(t, w.phonesCall(t, phones, floodPhones, floodPhones))
	if t.Failed() {
		t.Fatal(g.tail())
	}
	attack := w.forger(t, nsOutside, strangers(floodSources, strangerSays))
	file, stop := w.record(t, nsInside, nsInside, "inside", "udp and src host "+gateInside+" and dst host "+node1)
	before, memory := g.overview(t), resident(t, g.pid())
	seconds := int(floodLength/time.Second) + 4
	calls := seconds * trunkRate
	trunkLoad := []string{"-m", strconv.Itoa(calls), "-timeout", "60s"}
	callee := w.sipp(t, agent{ns: nsInside, address: node2, scenario: "bench-callee", number: "+4930100", load: append(trunkLoad, w.statistics("bench-callee-"+node2)...)})
	trunk := w.sipp(t, agent{ns: nsOutside, address: provider, scenario: "bench-caller", number: "+4930100", towards: gateOutside + ":5080",
		load: append(append(trunkLoad, "-r", strconv.Itoa(trunkRate)), w.statistics("bench-caller-"+provider)...)})
	done, still := make(chan time.Duration), w.stillness()
	go func() {
		begun := time.Now()
		time.Sleep(time.Second)
		attack.run(*floodRate, floodLength, time.Millisecond)
		done <- time.Since(begun) - time.Second
	}()
	time.Sleep(2 * time.Second)
	calling := w.phonesCall(t, phones, floodCalls, 3)
	time.Sleep(8 * time.Second)
	why, code := g.verb("why", source(0))
	if code != 0 || !strings.Contains(why, "registered") {
		t.Errorf("sbc why %s in the flood: exit code %d\n%s", source(0), code, why)
	}
	peak := resident(t, g.pid())
	w.verdict(t, calling)
	took := <-done
	w.verdict(t, trunk)
	w.verdict(t, callee)
	stop()
	desk.kill()
	g.survived(t, w, attack, before, took)
	stood := still()
	t.Logf("the test itself was kept waiting for %v at most", stood.Round(time.Millisecond))
	for _, p := range []*process{trunk, callee} {
		// Where the machine keeps everybody waiting for about as long as T1, a repeat says nothing about the gate.
		if n := w.figure(t, p, "Retransmissions(C)"); n != 0 && (stood < 200*time.Millisecond || n > trunkRate) {
			t.Errorf("%s: %d retransmissions, want none", p.name, n)
		} else if n != 0 {
			t.Logf("%s: %d retransmissions on a machine that stood still for %v", p.name, n, stood)
		}
	}
	t.Logf("trunk: %d of %d calls; phones: %d of %d calls, %d repeats", successful(trunk), calls, successful(calling), floodCalls, w.repeats(t, calling))
	after := resident(t, g.pid())
	t.Logf("resident: %d kB before, %d kB in the flood, %d kB after", memory, peak, after)
	if max(peak, after) > memory+200_000 {
		t.Errorf("%d kB resident, %d kB before the flood", max(peak, after), memory)
	}
	reached := 0
	for _, p := range choose(read(t, nsInside, file), packet.sip) {
		if strings.Contains(string(p.payload), "sip:flood") {
			reached++
		}
	}
	most := 100 + int(took.Seconds()*50) + 1
	t.Logf("%d requests of strangers reached the PBX in %v, at most %d may", reached, took.Round(time.Millisecond), most)
	if reached > most || reached == 0 {
		t.Errorf("%d requests of strangers reached the PBX, want 1 to %d", reached, most)
	}
	if t.Failed() {
		t.Logf("%s\n%s", g.tail(), why)
	}
	g.stop(t)
}

// stillness begins to watch how long the machine keeps a program waiting that only wants to wake up; what it returns ends that
// and tells the longest time.
func (w *world) stillness() (end func() time.Duration) {
	stop, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		const nap = 5 * time.Millisecond
		var most time.Duration
		for {
			begun := time.Now()
			select {
			case <-stop:
				longest <- most
				return
			case <-time.After(nap):
				most = max(most, time.Since(begun)-nap)
			}
		}
	}()
	return func() time.Duration { close(stop); return <-longest }
}

// repeats are the messages that a sipp with no statistics file sent again.
func (w *world) repeats(t *testing.T, p *process) int {
	t.Helper()
	text, _ := os.ReadFile(p.log)
	n := 0
	screens := bytes.Split(text, []byte("Messages  Retrans"))
	for line := range bytes.Lines(screens[len(screens)-1]) {
		if f := strings.Fields(string(line)); len(f) >= 4 && f[1] == "---------->" {
			again, _ := strconv.Atoi(f[3])
			n += again
		}
	}
	return n
}

// survived compares what was sent with what the gate says it has decided, and what the kernel dropped before it.
func (g *gate) survived(t *testing.T, w *world, attack *forger, before overview, took time.Duration) {
	t.Helper()
	time.Sleep(500 * time.Millisecond)
	o := g.overview(t)
	sent := int(attack.sent.Load())
	decided, dropped := o.decided("phones", "", "")-before.decided("phones", "", ""), o.drops("phones")-before.drops("phones")
	t.Logf("%d packets sent in %v, %.0f a second, from %d addresses", sent, took.Round(time.Millisecond), float64(sent)/took.Seconds(), floodSources)
	t.Logf("sbc status: %d decided, %d dropped by the kernel", decided, dropped)
	for _, c := range o.Counts {
		if c.Side == nsOutside && c.Realm == "phones" {
			t.Logf("  %-7s %-16s %d", c.Action, c.Reason, c.Count)
		}
	}
	own := g.kernelDrops()
	if own != dropped+before.drops("phones") && max(own-dropped, dropped-own) > 100+own/100 {
		t.Errorf("sbc status tells of %d datagrams that the kernel dropped, the kernel itself of %d", dropped, own)
	}
	if missing := sent - decided - dropped; missing > sent/100 {
		t.Errorf("%d of %d packets are neither decided nor dropped", missing, sent)
	}
	if dropped > sent/2 {
		t.Logf("the gate keeps up with %d of %d", decided, sent)
	}
}

// kernelDrops is the kernel's own count of what it dropped at the phones' UDP socket.
func (g *gate) kernelDrops() int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/udp", g.pid()))
	a := addrPort(gateOutside + ":5060")
	ip := a.Addr().As4()
	want := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], a.Port())
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 12 && f[1] == want {
			n, _ := strconv.Atoi(f[len(f)-1])
			return n
		}
	}
	return 0
}
