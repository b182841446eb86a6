package policy

import (
	"container/heap"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// air is a network in virtual time: what happens at a time, in order.
type air struct {
	now   time.Time
	queue []happening
	n     int
}

type happening struct {
	at time.Time
	n  int
	do func()
}

func (a *air) Len() int { return len(a.queue) }
func (a *air) Less(i, j int) bool {
	x, y := &a.queue[i], &a.queue[j]
	return x.at.Before(y.at) || x.at.Equal(y.at) && x.n < y.n
}
func (a *air) Swap(i, j int) { a.queue[i], a.queue[j] = a.queue[j], a.queue[i] }
func (a *air) Push(x any)    { a.queue = append(a.queue, x.(happening)) }
func (a *air) Pop() any {
	x := a.queue[len(a.queue)-1]
	a.queue = a.queue[:len(a.queue)-1]
	return x
}

func (a *air) after(d time.Duration, do func()) {
	a.n++
	heap.Push(a, happening{a.now.Add(d), a.n, do})
}

func (a *air) run(until time.Time) {
	for a.Len() > 0 && !a.queue[0].at.After(until) {
		h := heap.Pop(a).(happening)
		a.now = h.at
		h.do()
	}
	a.now = until
}

// officePhone is one phone of an office behind a NAT: it registers, answers the challenge, and repeats what is not answered
// by the timers of RFC 3261 §17.1.2.2 (E from T1 to T2, F).
type officePhone struct {
	air        *air
	g          *Guard
	n          int
	source     string
	cseq       int
	nonce      string // of the PBX's challenge
	registered time.Time
	refused    int
}

const (
	wireTime = 40 * time.Millisecond // there, through the PBX, and back
	timerT1  = 500 * time.Millisecond
	timerT2  = 4 * time.Second
	timerF   = 64 * timerT1
)

// register begins a transaction.
func (p *officePhone) register() {
	p.cseq++
	m := msg{method: "REGISTER", callID: fmt.Sprint("office", p.n), branch: fmt.Sprint("z9hG4bKo", p.n, "-", p.cseq), cseq: p.cseq,
		agent: "Yealink SIP-T46U 108.86.0.45"}
	if p.nonce != "" {
		m.extra = fmt.Sprintf("Authorization: Digest username=\"%d\", nonce=\"%s\"\r\n", 200+p.n, p.nonce)
	}
	data := []byte(strings.ReplaceAll(string(m.bytes()), "sip:204@", fmt.Sprintf("sip:%d@", 200+p.n)))
	p.send(data, p.cseq, p.air.now, timerT1)
}

// send sends a request, and again until there is an answer.
func (p *officePhone) send(data []byte, cseq int, began time.Time, again time.Duration) {
	if cseq != p.cseq || !p.registered.IsZero() || p.air.now.Sub(began) >= timerF {
		return
	}
	if v := send(p.g, p.air.now, outsidePhones, p.source, data); v.Action == Allow {
		if v.Reason != "live-dialog" { // the PBX answers a repeat out of its transaction, at the same time
			p.air.after(wireTime, func() { p.answered(cseq) })
		}
	} else {
		p.refused++
	}
	p.air.after(again, func() { p.send(data, cseq, began, min(2*again, timerT2)) })
}

// answered is what the PBX says.
func (p *officePhone) answered(cseq int) {
	source := addrPort(p.source)
	if p.nonce == "" {
		p.nonce = fmt.Sprint("nonce", p.n)
		p.g.Challenged(p.air.now, source, p.nonce)
		p.register()
		return
	}
	p.registered = p.air.now
	p.g.AddPhone(source.Addr())
	p.g.Outcome(p.air.now, Outcome{Source: source, Side: outsidePhones.Side, Realm: outsidePhones.Realm, Transport: outsidePhones.Transport,
		AoR: fmt.Sprintf("%d@example.com", 200+p.n), Kind: Success, CallID: fmt.Sprint("office", p.n), CSeq: uint32(cseq)})
}

// TestAnOfficeComesBackAfterAnOutage: fifty phones behind one address register at the same instant, nobody knows them any
// more, and the shipped rule is in force. All are registered within ten seconds, and nobody is banned.
func TestAnOfficeComesBackAfterAnOutage(t *testing.T) {
	for _, c := range []struct {
		name   string
		phones int
		source func(n int) string
		spread time.Duration // over which they begin
	}{
		{"fifty at once", 50, func(n int) string { return fmt.Sprintf("198.51.100.50:%d", 20000+n) }, 0},
		{"fifty in a second", 50, func(n int) string { return fmt.Sprintf("198.51.100.50:%d", 20000+n) }, time.Second},
		{"fifty of one /64", 50, func(n int) string { return fmt.Sprintf("[2001:db8:50::%x]:5060", n+1) }, 0},
		{"a household", 3, func(n int) string { return fmt.Sprintf("198.51.100.50:%d", 20000+n) }, 0},
		{"two hundred", 200, func(n int) string { return fmt.Sprintf("198.51.100.50:%d", 20000+n) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: ShippedRateLimits()})
			a := &air{now: noon}
			var office []*officePhone
			for n := range c.phones {
				p := &officePhone{air: a, g: g, n: n, source: c.source(n)}
				office = append(office, p)
				a.after(c.spread*time.Duration(n)/time.Duration(c.phones), p.register)
			}
			a.run(noon.Add(30 * time.Second))
			last, refused := noon, 0
			for _, p := range office {
				refused += p.refused
				if p.registered.IsZero() {
					t.Fatalf("phone %d is not registered after 30 s", p.n)
				}
				if p.registered.After(last) {
					last = p.registered
				}
			}
			if took := last.Sub(noon); took > 10*time.Second {
				t.Errorf("the last one is registered after %s", took)
			}
			if bans := g.Bans().List(a.now); len(bans) > 0 {
				t.Errorf("banned: %+v", bans)
			}
			if x := g.Explain(a.now, addrPort(c.source(0)).Addr()); !x.Allowed {
				t.Errorf("afterwards %+v", x.Now)
			}
			if c.phones > 4 && refused == 0 {
				t.Error("nothing was refused: the test tests nothing")
			}
		})
	}
}

// TestAnOfficeThatIsKnownComesBackAtOnce: bindings that survived the outage, or ended within the last ten minutes, give the
// room that their phones need.
func TestAnOfficeThatIsKnownComesBackAtOnce(t *testing.T) {
	for _, gone := range []bool{false, true} {
		g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: ShippedRateLimits()})
		source := netip.MustParseAddr("198.51.100.50")
		registerPhones(g, source.String(), 50)
		if gone {
			g.Tick(noon.Add(time.Minute))
			for range 50 {
				g.RemovePhone(source)
			}
		}
		a := &air{now: noon.Add(5 * time.Minute)}
		var office []*officePhone
		for n := range 50 {
			office = append(office, &officePhone{air: a, g: g, n: n, source: fmt.Sprintf("198.51.100.50:%d", 20000+n)})
			a.after(0, office[n].register)
		}
		a.run(a.now.Add(time.Second))
		for _, p := range office {
			if p.registered.IsZero() || p.refused > 0 {
				t.Fatalf("gone %v: phone %d registered %s, %d refused", gone, p.n, p.registered, p.refused)
			}
		}
	}
}
