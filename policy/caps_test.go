package policy

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

// TestTheDefaultTablesAreCapped fills every table at its default size and beyond.
func TestTheDefaultTablesAreCapped(t *testing.T) {
	alone(t)
	g, err := New(Options{Now: noon, Seed: maphash.MakeSeed(), Rules: compile(t, scarce("INVITE")), Sizes: Sizes{Bans: 10_000}})
	must(t, err)
	if n := (Sizes{}).withDefaults().Bans; n != 100_000 {
		t.Errorf("%d bans by default", n)
	}
	g.SetPeers([]Peer{{netip.MustParsePrefix("10.0.0.0/8"), Phone, nat.Outside, nat.Phones, "phones"}})
	data := msg{}.bytes()
	var view scan.View
	must(t, scan.Scan(data, &view))
	check := func(source uint32) {
		g.Check(&Packet{Now: noon, Interface: outsidePhones, Source: netip.AddrPortFrom(addr4(source), 5060), Data: data, View: &view})
	}
	for n := range uint32(150_000) {
		check(0xC0000000 + n)
		if n < 140_000 {
			check(0x0A000000 + n)
		}
	}
	for n := range 300_000 {
		g.Live().Add(fmt.Sprint("our", n), addr4(1))
	}
	var refused int
	for n := range uint32(10_100) {
		if g.Bans().Add(noon, Ban{Prefix: netip.PrefixFrom(addr4(0xD0000000+n), 32)}) != nil {
			refused++
		}
	}
	if refused != 100 {
		t.Errorf("%d bans refused, want 100", refused)
	}
	want := map[string]int{"limiter strangers": 65_536, "limiter known peers": 65_536, "live dialogs and INVITEs": 262_144, "bans": 10_000,
		"evidence strangers": 4_096, "evidence known peers": 4_096}
	judged := []string{"bans not forgiven", "blocked ports", "slowed users", "points strangers", "points known peers"} // TestConductIsCapped
	for _, l := range g.Levels(noon) {
		if slices.Contains(judged, l.Name) {
			continue
		}
		if l.Cap != want[l.Name] || l.Used > l.Cap || l.Used < l.Cap*98/100 || l.Most < l.Used {
			t.Errorf("%+v, want a cap of %d", l, want[l.Name])
		}
		delete(want, l.Name)
	}
	if len(want) != 0 {
		t.Errorf("no level of %v", want)
	}
	// What was full empties by itself once nothing is owed and nothing holds.
	for _, l := range g.Levels(noon.Add(25 * time.Hour))[:2] {
		if l.Used != 0 {
			t.Errorf("%+v after a day", l)
		}
	}
	for n := range 300_000 {
		g.Live().Remove(fmt.Sprint("our", n))
	}
	if g.Live().Len() != 0 {
		t.Errorf("%d live", g.Live().Len())
	}
}

func TestTrafficLeavesNoMemoryBehind(t *testing.T) {
	alone(t)
	g := newGuard(t, busyConfig())
	g.SetSecurityLog(func(LogLine) {})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	flood := func(from uint32) {
		for n := range uint32(30_000) {
			m := msg{method: everyMethod[n%16], branch: fmt.Sprint("z9hG4bK", n), agent: fmt.Sprint("agent", n)}
			send(g, noon.Add(time.Duration(from+n)*time.Millisecond), outsidePhones, addr4(from+n).String(), m.bytes())
		}
	}
	flood(1)
	before := heap()
	flood(0x40000000)
	if after := heap(); float64(after) > 1.05*float64(before)+64<<10 {
		t.Errorf("the heap grew from %d to %d", before, after)
	}
}

// TestReadersTogetherGetNoMoreThanOne: many readers race for the same bucket and the same budget.
func TestReadersTogetherGetNoMoreThanOne(t *testing.T) {
	g := newGuard(t, &Config{
		Phones: PhonesConfig{Registrar: true}, Strangers: StrangersConfig{Rate: "1/day", Burst: ptr(300)},
		RateLimits: []RateLimitConfig{{Limits: map[string]string{"REGISTER": "1/day", "INVITE": "1/day"}, Burst: ptr(100)}},
	})
	var phones, strangers atomic.Int64
	var wg sync.WaitGroup
	for reader := range 8 {
		wg.Go(func() {
			for n := range 500 {
				id := fmt.Sprint("z9hG4bK", reader, "-", n)
				if send(g, noon, outsidePhones, phone, msg{branch: id}.bytes()).Action == Allow {
					phones.Add(1)
				}
				if send(g, noon, outsidePhones, fmt.Sprintf("192.0.2.%d", n%10), msg{method: "REGISTER", branch: id}.bytes()).Action == Allow {
					strangers.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if phones.Load() != 100 {
		t.Errorf("%d requests of the phone passed, want 100", phones.Load())
	}
	if n := strangers.Load(); n > 300 || n < 290 {
		t.Errorf("%d requests of strangers passed, want 300", n)
	}
}

func TestRepeatsOverManyReaders(t *testing.T) {
	g := newGuard(t, scarce("*"))
	data := msg{method: "REGISTER"}.bytes()
	wantSays(t, send(g, noon, outsidePhones, phone, data), "allow allow")
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if send(g, noon.Add(time.Second), outsidePhones, phone, data).Action == Allow {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != mostRepeats {
		t.Errorf("%d repeats passed, want %d", passed.Load(), mostRepeats)
	}
}
