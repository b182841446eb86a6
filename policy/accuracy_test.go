package policy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// traffic is how the messages of an accuracy test arrive.
type traffic struct {
	times float64       // how much faster than the limit, on average
	idle  time.Duration // a pause after every hundred messages
	port  func(n int) uint16
	v6    bool
}

// source is where the nth message comes from: one IPv4 address, or addresses all over one /64.
func (x *traffic) source(n int) netip.AddrPort {
	if x.v6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 15: byte(n), 14: byte(n >> 8)}), x.port(n))
	}
	return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.66"), x.port(n))
}

// TestLimitsAreAccurate compares the whole guard with an ideal token bucket: at every rate, over and under it, after idle
// gaps, from one port or from ever new ones, over IPv4 and IPv6, beside ranges that overlap and do not decide.
func TestLimitsAreAccurate(t *testing.T) {
	alone(t)
	one := func(int) uint16 { return 5060 }
	each := func(n int) uint16 { return uint16(1024 + n%60_000) }
	for _, text := range []string{"1/day", "10/day", "1/hour", "30/hour", "1/minute", "6/minute", "15/minute", "100/minute", "1/second",
		"10/second", "100/second", "1000/second"} {
		r, _ := ParseRate(text)
		every := time.Duration(float64(time.Second) / r.PerSecond())
		for _, x := range []traffic{
			{times: 0.5, port: one}, {times: 3, port: one}, {times: 3, port: each}, {times: 3, port: each, v6: true},
			{times: 20, port: each}, {times: 5, idle: 10 * every, port: each}, {times: 5, idle: 3 * time.Hour, port: one, v6: true},
		} {
			g := newGuard(t, &Config{Phones: PhonesConfig{Registrar: true}, Strangers: StrangersConfig{Rate: "10000000/second", Burst: ptr(1_000_000)},
				RateLimits: []RateLimitConfig{
					{Name: "wide", Limits: map[string]string{"REGISTER": "2/day", "INVITE": "1/day"}, Burst: ptr(1)},
					{Name: "decides", Range: []string{"192.0.2.0/25", "2001:db8::/48"}, Limits: map[string]string{"REGISTER": text}},
					{Name: "same, later", Range: []string{"192.0.2.0/25", "2001:db8::/48"}, Limits: map[string]string{"REGISTER": "1/day"}, Burst: ptr(1)},
					{Name: "narrow, another method", Range: []string{"192.0.2.66", "2001:db8::/64"}, Limits: map[string]string{"INVITE": "1/day"}, Burst: ptr(1)},
					{Name: "elsewhere", Range: []string{"192.0.2.67-192.0.2.99"}, Limits: map[string]string{"*": "1/day"}, Burst: ptr(1)},
				}})
			ideal := idealBucket{float64(r.DefaultBurst()), float64(r.DefaultBurst()), r.PerSecond(), noon}
			now, passed, want := noon, 0, 0
			for n := range 1500 {
				now = now.Add(time.Duration(float64(every) / x.times))
				if n%100 == 99 {
					now = now.Add(x.idle)
				}
				m := msg{method: "REGISTER", callID: fmt.Sprint(n), branch: fmt.Sprint("z9hG4bK", n), cseq: n + 1}
				if send(g, now, outsidePhones, x.source(n).String(), m.bytes()).Action == Allow {
					passed++
				}
				if ideal.take(now) {
					want++
				}
			}
			if off := passed - want; off > max(1, want/20) || off < -max(1, want/20) {
				t.Errorf("%s, %.1f times as fast, idle %s, IPv6 %v: %d passed, an ideal bucket lets %d", text, x.times, x.idle, x.v6, passed, want)
			}
		}
	}
}

// TestLimitsPerPhoneAreAccurate: the number of phones changes at random, and the limit is at any time that of an ideal
// bucket of so many times the size.
func TestLimitsPerPhoneAreAccurate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := RateLimitConfig{Limits: map[string]string{"REGISTER": rapid.SampledFrom([]string{"6/minute", "1/second", "30/hour"}).Draw(t, "rate")},
			Burst: ptr(rapid.IntRange(1, 6).Draw(t, "burst")), PerPhone: true}
		g := newGuard(&testing.T{}, &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: []RateLimitConfig{e},
			Strangers: StrangersConfig{Rate: "10000/second", Burst: ptr(10_000)}})
		r, _ := ParseRate(e.Limits["REGISTER"])
		source := netip.MustParseAddr("192.0.2.77")
		ideal := &idealBucket{float64(*e.Burst), float64(*e.Burst), r.PerSecond(), noon}
		w := newPast()
		now, passed, want, phones := noon, 0, 0, 0
		for n := range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(float64(time.Second)/r.PerSecond())).Draw(t, "gap")))
			g.Tick(now)
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1:
				g.AddPhone(source)
				phones++
			case 2:
				g.RemovePhone(source)
				phones = max(0, phones-1)
			}
			w.note(now, phones)
			times := float64(max(1, w.most(now, crowdLife)))
			if got := g.phones.behind(now.Sub(noon), source); got < w.most(now, crowdLife) || got > w.most(now, crowdLife+crowdGrain) {
				t.Fatalf("%d phones, %d within ten minutes, %d counted", phones, w.most(now, crowdLife), got)
			}
			if got := g.phones.behind(now.Sub(noon), source); float64(max(1, got)) != times {
				times = float64(max(1, got)) // within the grain of memory
			}
			ideal = ideal.resized(now, float64(*e.Burst)*times, r.PerSecond()*times)
			m := msg{method: "REGISTER", branch: fmt.Sprint("z9hG4bK", n), callID: fmt.Sprint(n)}
			if send(g, now, outsidePhones, "192.0.2.77", m.bytes()).Action == Allow {
				passed++
			}
			if ideal.take(now) {
				want++
			}
			if passed < want-1 || passed > want+1 {
				t.Fatalf("step %d: %d passed, an ideal bucket lets %d", n, passed, want)
			}
		}
	})
}

// past is a plain record of how many phones there were when.
type past struct {
	at    []time.Time
	count []int
}

func newPast() *past { return &past{at: []time.Time{noon}, count: []int{0}} }

func (p *past) note(now time.Time, n int) {
	p.at, p.count = append(p.at, now), append(p.count, n)
}

// most is the largest number that there was at some time within a life before now.
func (p *past) most(now time.Time, life time.Duration) (most int) {
	for i := range p.at {
		until := now
		if i+1 < len(p.at) {
			until = p.at[i+1]
		}
		if until.Add(life).After(now) {
			most = max(most, p.count[i])
		}
	}
	return most
}
