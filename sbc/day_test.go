package sbc_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// full has tests run at their largest size: that what a smaller one shows holds at scale as well takes minutes.
var full = flag.Bool("full", false, "the largest sizes (make soak)")

// A household of the day has eight phones, of which every fourth speaks TCP.
const household = 8

// dayConfig lets phones refresh every half an hour, and asks them every ten minutes: a day of 60 s would be four
// million REGISTERs that show nothing new.
const dayConfig = `
outside: { address: 203.0.113.10, phones: { udp: 5060, tcp: 5060 }, trunks: { udp: 5080 } }
inside: { address: 10.0.0.2, phones: { udp: 5060 }, trunks: { udp: 5080 } }
media: { ports: 30000-31000 }
pbx:
  domain: example.com
  nodes: [ { address: "10.0.0.10:5060" } ]
  health: { interval: 0 }
phones: { registration: { outside: 2400s }, keepalive: { interval: 10m } }
policy: { rate_limits: [] }
`

// resident is one phone of the day.
type resident struct {
	*demo.Agent
	user      string
	home      *natlab.NAT
	host      *natlab.Host
	transport nat.Transport
	bound     *demo.Registration
	stays     bool // registered at the end
	codes     map[int]int
}

// day is a town of phones, and what became of their calls.
type day struct {
	*roaming
	residents []*resident
	placed    int
	outcomes  chan outcome
	calls     map[string]int // by "hour what code"
	failed    int            // in quiet hours
}

type outcome struct {
	at    time.Time
	quiet bool // nothing was disturbed when it was placed
	way   string
	r     demo.Result
}

func newDay(t *testing.T, n int) *day {
	t.Helper()
	l := newRoaming(t, dayConfig, natlab.Options{Seed: 9})
	d := &day{roaming: l, outcomes: make(chan outcome, 1024), calls: map[string]int{}}
	d.registrar.Expires = 2 * time.Hour
	d.pbx.Incoming = scriptOf(demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second, Hangup: time.Minute}, sdpAt(pbxAt.Addr(), 4002))
	kinds := natlab.Kinds()
	var home *natlab.NAT
	for i := range n {
		if i%household == 0 {
			o := kinds[(i/household)%len(kinds)]
			o.UDPTimeout = 20 * time.Minute
			home = l.net.NAT(netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i/household)}), o)
		}
		d.moveIn(i, home)
	}
	return d
}

// moveIn makes a phone.
func (d *day) moveIn(i int, home *natlab.NAT) {
	d.t.Helper()
	r := &resident{
		user: fmt.Sprintf("%d", 10_000+i), home: home, host: home.Host(netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + i%household)})),
		stays: true, codes: map[int]int{},
	}
	if i%4 == 3 {
		r.transport = nat.TCP
	}
	r.Agent = d.phone(r.host, r.user, 5060, r.transport)
	r.Incoming = scriptOf(demo.Script{Ring: 100 * time.Millisecond, Answer: time.Second}, sdpAt(r.host.Addr(), 4000))
	r.Lost = func() { go d.dialsAgain(r) }
	d.residents = append(d.residents, r)
}

// dialsAgain is what a phone does whose connection is gone.
func (d *day) dialsAgain(r *resident) {
	conn, err := d.dial(r.host)
	if err != nil {
		return // the day is over
	}
	r.Do(func() {
		r.Rebind(conn)
		if r.stays && r.bound != nil {
			r.bound.Now()
		}
	})
}

// registersAll lets every phone register, spread over ten minutes.
func (d *day) registersAll() {
	for _, r := range d.residents {
		r.Do(func() {
			r.bound = r.Register(phoneSocket, demo.RegisterOptions{Heard: func(o demo.Registered) { r.codes[o.Code]++ }})
		})
		time.Sleep(10 * time.Minute / time.Duration(len(d.residents)))
	}
}

// live places a call every so often for a while: by turns a phone calls and is called.
func (d *day) live(span time.Duration, quiet bool) {
	const every = 20 * time.Second
	for end := time.Now().Add(span); time.Now().Before(end); d.placed++ {
		r := d.residents[(d.placed*7)%len(d.residents)]
		way := []string{"from", "to"}[d.placed%2]
		if r.stays {
			o := outcome{at: time.Now(), quiet: quiet, way: way}
			s := demo.Script{SDP: sdpAt(r.host.Addr(), 4000), Hangup: 30 * time.Second, Done: func(got demo.Result) { o.r = got; d.outcomes <- o }}
			if way == "from" {
				r.Do(func() { r.Call("100", phoneSocket, s) })
			} else {
				d.pbx.Do(func() { d.ringFrom(r.user, s) })
			}
		}
		time.Sleep(every)
		d.collect()
	}
}

// ringFrom runs on the PBX's goroutine.
func (d *day) ringFrom(user string, s demo.Script) {
	s.SDP = sdpAt(pbxAt.Addr(), 4004)
	list := d.registrar.Contacts(user, time.Now())
	if len(list) == 0 {
		s.Done(demo.Result{Code: 404, Why: "not registered at the PBX"})
		return
	}
	d.pbx.Invite(list[0].URI, message.NameAddr{URI: message.URI{Scheme: "sip", User: user, Host: "example.com"}}, phonesInside, s)
}

func (d *day) collect() {
	for {
		select {
		case o := <-d.outcomes:
			d.calls[fmt.Sprintf("%s a phone %d", o.way, o.r.Code)]++
			if o.quiet && o.r.Code != 200 {
				if d.failed++; d.failed < 5 {
					d.t.Errorf("a call %s a phone at %s ended with %d (%s)", o.way, o.at.Format(time.TimeOnly), o.r.Code, o.r.Why)
				}
			}
		default:
			return
		}
	}
}

// settle waits until calls and what they leave behind for a while are over. Registrations go on.
func (d *day) settle() {
	time.Sleep(2 * time.Minute)
	d.collect()
	for _, a := range []*demo.Agent{d.pbx, d.provider} {
		a.Forget(d.t.Context())
	}
}

// heap is what the program and its peers hold, without the 64 KiB that each phone reads into.
func (d *day) heap() uint64 {
	d.settle()
	d.cdrs.forget()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc - uint64(len(d.residents))<<16
}

// counts checks that bindings, the guard's phones and what the administrator sees are the same.
func (d *day) counts() {
	d.t.Helper()
	want, homes := 0, map[netip.Addr]int{}
	for _, r := range d.residents {
		homes[r.home.Addr()] += 0
		if r.stays {
			want++
			homes[r.home.Addr()]++
		}
	}
	g := d.gate.Gauges()
	if g.Bindings != want || g.Panics != 0 || g.LeaksFatal != 0 || g.KeptAside != 0 || g.Subscriptions != 0 || g.Overload != 0 || g.InboxDropped != 0 {
		d.t.Errorf("%d phones are registered; %+v", want, g)
	}
	if g.Calls != 0 || g.Streams != 0 || g.Dialogs != 0 {
		d.t.Errorf("calls are left behind: %+v", g)
	}
	if list := d.registered(); len(list) != want {
		d.t.Errorf("the administrator sees %d, want %d", len(list), want)
	}
	for home, n := range homes {
		if got := d.behind(home); got != n {
			d.t.Errorf("the guard knows %d phones behind %s, want %d", got, home, n)
		}
	}
}

// behind is how many phones the guard knows behind an address.
func (d *day) behind(home netip.Addr) int {
	why, err := d.gate.Control(nil).Why(d.ctx, home.String())
	if err != nil {
		d.t.Fatal(err)
	}
	var x struct {
		Known []struct {
			Phones int `json:"phones"`
		} `json:"known"`
	}
	if err := json.Unmarshal(why.Detail, &x); err != nil {
		d.t.Fatal(err)
	}
	n := 0
	for _, k := range x.Known {
		n += k.Phones
	}
	return n
}

// TestADayOfPhones: five hundred phones behind 63 NATs, with -full two thousand behind 250, register, refresh and call for a day in
// which some leave, some NATs forget them, the PBX is down for ten minutes and the configuration is reloaded.
func TestADayOfPhones(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n, hours := 500, 24
	switch {
	case *full:
		n = 2000
	case testing.Short():
		n, hours = 80, 12
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDay(t, n)
		defer d.close()
		began := time.Now()
		d.registersAll()
		d.live(50*time.Minute, true)
		first := d.heap()
		d.counts()
		for hour := 2; hour <= hours; hour++ {
			d.hour(hour)
		}
		last := d.heap()
		d.counts()
		t.Logf("%v: heap without read buffers %d KiB after an hour, %d KiB at the end", time.Since(began), first>>10, last>>10)
		g := d.gate.Gauges()
		t.Logf("calls: %v; registrations: %v; at most %d bindings, %d transactions, %d in the inbox", d.calls, d.registrations(), g.BindingsHigh,
			g.TransactionsHigh, g.InboxHigh)
		if !testing.Short() && last > first+first/20 {
			t.Errorf("heap grew from %d to %d bytes", first, last)
		}
		d.leave()
	})
}

// hour is an hour of the day with what happens in it.
func (d *day) hour(n int) {
	switch n {
	case 4: // a tenth leaves: half of them say so
		for i, r := range d.residents {
			if i%10 == 0 {
				r.stays = false
				r.Do(func() {
					if i%20 == 0 {
						r.bound.End()
					} else {
						r.bound.Stop() // switched off: its time runs out
					}
				})
			}
		}
		d.live(time.Hour, false)
	case 6: // every third NAT forgets
		for i := 0; i < len(d.residents); i += 3 * household {
			d.residents[i].home.Rebind()
		}
		d.live(time.Hour, false)
	case 8: // the PBX is gone for ten minutes
		d.net.Host(pbxAt.Addr()).Down(true)
		d.live(10*time.Minute, false)
		d.net.Host(pbxAt.Addr()).Down(false)
		d.live(50*time.Minute, false)
	case 10:
		d.mustReload(strings.Replace(dayConfig, "phones: { registration: { outside: 2400s }", "phones: { domains: [ other.example ], ring_timeout: 90s, registration: { outside: 2300s }", 1))
		d.live(time.Hour, true)
	default:
		d.live(time.Hour, true)
	}
}

// registrations are the outcomes of REGISTERs, by code; 0: no answer.
func (d *day) registrations() map[int]int {
	synctest.Wait()
	sum := map[int]int{}
	for _, r := range d.residents {
		for code, n := range r.codes {
			sum[code] += n
		}
	}
	return sum
}

// leave takes every phone away.
func (d *day) leave() {
	for _, r := range d.residents {
		if r.stays {
			r.stays = false
			r.Do(r.bound.End)
			time.Sleep(10 * time.Millisecond)
		}
	}
	d.empty()
	d.counts()
	if g := d.gate.Gauges(); g.Users != 0 || g.Retained != 0 || g.PortsFree != 500 || g.PortsResting != 0 {
		d.t.Errorf("left behind: %+v", g)
	}
}
