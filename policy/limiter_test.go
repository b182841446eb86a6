package policy

import (
	"fmt"
	"hash/maphash"
	"math"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

// testLimiter has room for this many strangers and known peers.
func testLimiter(strangers, known int, limits ...limit) *limiter {
	l := &limiter{}
	seed := maphash.MakeSeed()
	l.strangers.init(seed, strangers)
	l.known.init(seed, known)
	l.install(0, limits)
	return l
}

func limitOf(text string, burst int) limit {
	r, err := ParseRate(text)
	if err != nil {
		panic(err)
	}
	return limit{key: keyOf("test", text), text: r, rate: r.PerSecond(), burst: burst}
}

// idealBucket is the textbook token bucket.
type idealBucket struct {
	tokens, burst, perSecond float64
	last                     time.Time
}

func (b *idealBucket) take(now time.Time) bool {
	b.tokens = min(b.burst, b.tokens+now.Sub(b.last).Seconds()*b.perSecond)
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func TestLimiterEqualsAnIdealBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"1/minute", "6/minute", "15/minute", "1/second", "100/second", "500/hour", "10/day"}).Draw(t, "rate")
		m := limitOf(text, rapid.IntRange(1, 50).Draw(t, "burst"))
		l := testLimiter(64, 64, m)
		ideal := idealBucket{float64(m.burst), float64(m.burst), m.text.PerSecond(), noon}
		source := netip.MustParseAddr("192.0.2.7")
		now := noon
		passed, want := 0, 0
		for range rapid.IntRange(1, 400).Draw(t, "messages") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(float64(2*time.Second)/m.text.PerSecond())).Draw(t, "gap")))
			if l.take(now.Sub(noon), m.key, m.size(1), source, false) {
				passed++
			}
			if ideal.take(now) {
				want++
			}
		}
		if diff := math.Abs(float64(passed - want)); diff > 1 && diff > 0.01*float64(want) {
			t.Fatalf("%d passed, an ideal bucket lets %d", passed, want)
		}
	})
}

func TestDebtSurvivesIdleness(t *testing.T) {
	// xt_hashlimit forgets after ten idle seconds; four messages every eleven seconds then pass any limit.
	m := limitOf("6/minute", 4)
	l := testLimiter(64, 64, m)
	source := netip.MustParseAddr("192.0.2.7")
	passed := 0
	for n := range 360 { // about an hour
		now := noon.Add(time.Duration(n) * 11 * time.Second)
		for range 4 {
			if l.take(now.Sub(noon), m.key, m.size(1), source, false) {
				passed++
			}
		}
	}
	if want := 360*11/10 + 4; passed < want-2 || passed > want {
		t.Errorf("%d passed in 66 minutes, want %d", passed, want)
	}
}

func TestAFullTableEvictsNoDebt(t *testing.T) {
	alone(t)
	m := limitOf("1/hour", 1)
	l := testLimiter(1024, 64, m)
	debtor := netip.MustParseAddr("198.51.100.99")
	if !l.take(0, m.key, m.size(1), debtor, false) || l.take(0, m.key, m.size(1), debtor, false) {
		t.Fatal("the bucket does not work")
	}
	passed := 0
	for n := range uint32(300_000) {
		now := noon.Add(time.Duration(n) * 10 * time.Microsecond)
		if l.take(now.Sub(noon), m.key, m.size(1), addr4(0xC0000000+n), false) {
			passed++
		}
		if n%1000 == 0 && l.take(now.Sub(noon), m.key, m.size(1), debtor, false) {
			t.Fatalf("after %d forged sources the debt is gone", n)
		}
	}
	// The table's own buckets, and of the shared one a burst and nothing more in those three seconds.
	if used, _ := l.strangers.used(); passed > used+1 {
		t.Errorf("%d passed a table of %d", passed, used)
	}
	if n := l.strangers.owed(4 * time.Second); n < 1000 {
		t.Errorf("only %d buckets are owed", n)
	}
	// Known peers have their own room, and nobody took it.
	peer := netip.MustParseAddr("203.0.113.20")
	if !l.take(4*time.Second, m.key, m.size(1), peer, true) {
		t.Error("a known peer found no bucket")
	}
	if used, _ := l.known.used(); used != 1 {
		t.Errorf("%d known buckets used", used)
	}
}

func TestFullBucketsAreRecycled(t *testing.T) {
	m := limitOf("1/second", 1)
	l := testLimiter(1024, 64, m)
	passed := 0
	for n := range uint32(20_000) {
		// Each bucket is full again after a second, so a table of 1024 carries well over 200 new sources a second.
		if l.take(time.Duration(n)*5*time.Millisecond, m.key, m.size(1), addr4(n), false) {
			passed++
		}
	}
	if passed < 19_900 {
		t.Errorf("only %d of 20000 slow sources passed", passed)
	}
}

func TestReloadKeepsDebtClippedToTheNewBurst(t *testing.T) {
	source := netip.MustParseAddr("192.0.2.7")
	for _, c := range []struct {
		was, is   int
		spent     int
		wantLeft  float64
		newRate   string
		afterwait time.Duration
	}{
		{10, 10, 10, 0, "1/hour", 0},
		{10, 4, 3, 1, "1/hour", 0},
		{10, 4, 9, 0, "1/hour", 0},
		{4, 10, 4, 6, "1/hour", 0},
		{4, 10, 0, 10, "1/hour", 0},
		{4, 10, 4, 8, "1/second", 2 * time.Second},
	} {
		before, after := limitOf("1/hour", c.was), limitOf(c.newRate, c.is)
		after.key = before.key
		l := testLimiter(64, 64, before)
		for range c.spent {
			l.take(0, before.key, before.size(1), source, false)
			l.overflow(before.key, false).take(0)
		}
		l.install(0, []limit{after})
		l.take(0, after.key, after.size(1), source, false) // the first message after the reload finds the old bucket
		at := noon.Add(c.afterwait)
		left, _ := l.level(at.Sub(noon), after.key, after.size(1), source, false)
		want := c.wantLeft
		if want > 0 && c.afterwait == 0 {
			want--
		} else if c.afterwait > 0 {
			want--
		}
		if math.Abs(left-max(0, want)) > 0.01 {
			t.Errorf("burst %d → %d after %d: %.2f left, want %.2f", c.was, c.is, c.spent, left, want)
		}
		l.overflow(after.key, false).take(0)
		if shared := l.overflow(after.key, false).left(at.Sub(noon)); math.Abs(shared-max(0, want)) > 0.01 {
			t.Errorf("burst %d → %d after %d: %.2f left in the shared bucket, want %.2f", c.was, c.is, c.spent, shared, want)
		}
	}
}

func TestLevelAsksWithoutCharging(t *testing.T) {
	m := limitOf("1/hour", 3)
	l := testLimiter(64, 64, m)
	source := netip.MustParseAddr("192.0.2.7")
	for range 10 {
		if left, shared := l.level(0, m.key, m.size(1), source, false); left != 3 || shared {
			t.Fatalf("%v left, shared %v", left, shared)
		}
	}
	l.take(0, m.key, m.size(1), source, false)
	if left, _ := l.level(0, m.key, m.size(1), source, false); left != 2 {
		t.Errorf("%v left", left)
	}
	for n := range uint32(2000) {
		for range 3 {
			l.take(0, m.key, m.size(1), addr4(n), false)
		}
	}
	if left, shared := l.level(0, m.key, m.size(1), addr4(1<<31), false); left != 0 || !shared {
		t.Errorf("a newcomer to a full table has %v, shared %v", left, shared)
	}
	other := limitOf("2/hour", 3)
	if left, shared := l.level(0, other.key, other.size(1), addr4(1<<31), false); left != 0 || !shared {
		t.Errorf("a limit that was never installed has %v, shared %v", left, shared)
	}
	if l.take(0, other.key, other.size(1), addr4(1<<31), false) {
		t.Error("a full table admits a limit that was never installed")
	}
}

// TestRotationDoesNotHelp sends from many ports, over many transports, with new Call-IDs: the limit is the address's.
func TestRotationDoesNotHelp(t *testing.T) {
	config := &Config{Phones: PhonesConfig{Registrar: true}, RateLimits: []RateLimitConfig{{Limits: map[string]string{"REGISTER": "6/minute"}, Burst: ptr(4)}}}
	g := newGuard(t, config)
	for name, source := range map[string]func(int) string{
		"IPv4": func(n int) string { return fmt.Sprintf("192.0.2.66:%d", 1024+n) },
		"IPv6": func(n int) string { return fmt.Sprintf("[2001:db8:6:6::%x]:5060", n+1) },
	} {
		passed := 0
		for n := range 600 { // ten minutes, one a second
			i := &nat.Interface{Side: nat.Outside, Realm: nat.Phones, Transport: nat.Transport(n % 4)}
			m := msg{method: "REGISTER", callID: fmt.Sprint("id", n), branch: fmt.Sprint("z9hG4bK", n), cseq: n + 1}
			if send(g, noon.Add(time.Duration(n)*time.Second), i, source(n), m.bytes()).Action == Allow {
				passed++
			}
		}
		if passed < 62 || passed > 64 {
			t.Errorf("%s: %d of 600 passed, want 64", name, passed)
		}
	}
}

// TestAFloodStarvesNoKnownPeer forges sources on 5060 while a phone and a trunk go about their business.
func TestAFloodStarvesNoKnownPeer(t *testing.T) {
	alone(t)
	g := newGuard(t, &Config{
		Strangers:  StrangersConfig{Rate: "50/second", Burst: ptr(100)},
		Phones:     PhonesConfig{Registrar: true},
		RateLimits: []RateLimitConfig{{Limits: map[string]string{"REGISTER": "15/minute", "INVITE": "10/minute"}}},
	})
	reached := 0
	const packets, perSecond = 60_000, 30_000
	for n := range packets {
		now := noon.Add(time.Duration(n) * time.Second / perSecond)
		m := msg{method: "REGISTER", callID: fmt.Sprint(n), branch: fmt.Sprint("z9hG4bK", n)}
		if send(g, now, outsidePhones, addr4(0x20000000+uint32(n)*7).String(), m.bytes()).Action == Allow {
			reached++
		}
		if n%(perSecond/20) == 0 { // the trunk: 20 a second
			v := send(g, now, outsideTrunks, "203.0.113.20", msg{branch: fmt.Sprint("z9hG4bKt", n)}.bytes())
			wantSays(t, v, "allow allow")
		}
		if n%perSecond == 0 { // the phone: one a second, within its burst
			v := send(g, now, outsidePhones, "198.51.100.7", msg{method: "REGISTER", branch: fmt.Sprint("z9hG4bKp", n)}.bytes())
			wantSays(t, v, "allow allow")
		}
	}
	if most := 50*packets/perSecond + 100; reached > most {
		t.Errorf("%d forged requests passed, at most %d may", reached, most)
	}
}
