package transaction

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The alphabets of random sequences: small, so that inputs meet.
var (
	fuzzMethods  = []string{"INVITE", "INVITE", "ACK", "CANCEL", "OPTIONS", "BYE"}
	fuzzSources  = []string{"A", "B", "C", "A:7000", "B/tcp", "A@2"}
	fuzzPeers    = []string{"B", "B", "B", "B", "C", "B:7000", "B/tcp", "B@2"}
	fuzzStatuses = []int{100, 180, 183, 200, 202, 302, 408, 486, 487, 603}
	fuzzTags     = []string{"", "x", "tt"}
	fuzzSteps    = []string{"0s", "1ms", "500ms", "1s", "4s", "5s", "32s", "40s"}
)

// command turns four bytes into a command of the timelines: any input in any state.
func command(a, b, c, d byte) string {
	of := func(list []string, n byte) string { return list[int(n)%len(list)] }
	status := func(n byte) int { return fuzzStatuses[int(n)%len(fuzzStatuses)] }
	switch a % 12 {
	case 0, 1, 2:
		return fmt.Sprintf("recv %s b=%d call=c%d src=%s to=%s", of(fuzzMethods, b), c%5, c%3, of(fuzzSources, d), of(fuzzTags, d/8))
	case 3, 4:
		return fmt.Sprintf("respond %d %d tag=%s", b%16+1, status(c), of(fuzzTags[1:], d))
	case 5:
		return fmt.Sprintf("send %s %d %d b=%d dst=%s to=%s", of(fuzzMethods, b), c%3, c%5, c%4, of(fuzzPeers, d), of(fuzzTags, d/8))
	case 6, 7:
		return fmt.Sprintf("resp %d %s b=%d src=%s to=%s", status(b), of(fuzzMethods, b/16), c%4, of(fuzzPeers, d), of(fuzzTags, d/8))
	case 8:
		return fmt.Sprintf("cancel %d %d", b%3, c%5)
	case 9:
		switch b % 4 {
		case 0:
			return fmt.Sprintf("disown %d", c%3)
		case 1:
			return "unreachable " + of(fuzzSources, c)
		case 2:
			return fmt.Sprintf("drop %d", c%16+1)
		}
		return fmt.Sprintf("own %d %d tag=%s", c%16+1, d%3, of(fuzzTags, d/8))
	}
	return "run " + of(fuzzSteps, b)
}

// play runs a random sequence and checks the table after every command; then everybody leaves and nothing may stay.
func play(t failer, data []byte) {
	s := newScript(t, fuzzConfig(data))
	for ; len(data) >= 4; data = data[4:] {
		s.run(command(data[0], data[1], data[2], data[3]))
		verify(t, s.table)
	}
	for id, srv := range s.table.servers {
		if !srv.answered() {
			s.run(fmt.Sprintf("respond %d 480 tag=tt", id))
		}
	}
	for user := range 3 {
		s.run(fmt.Sprintf("disown %d", user))
	}
	s.run("run 1h")
	verifyEmpty(t, s.table)
	for _, l := range s.said {
		if !strings.Contains(l, " transmit to ") && !strings.Contains(l, " not-acked ") {
			t.Fatalf("after everybody left: %s", l)
		}
	}
}

// fuzzConfig takes the table's configuration from a sequence's length: small tables, and systems of several addresses.
func fuzzConfig(data []byte) Config {
	s := &script{}
	line := "table"
	if len(data)/4%2 == 1 {
		line += " max=6"
	}
	if len(data)/4%3 == 1 {
		line += " same=BC known=A"
	}
	return s.config(split(line))
}

// TestAnySequence: every input in every state has a result, and nothing leaks.
func TestAnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		play(t, rapid.SliceOfN(rapid.Byte(), 100, 1000).Draw(t, "sequence"))
	})
}

// FuzzTable looks for a sequence that panics, leaks or disorders the table.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 3, 0, 1, 1, 3, 0, 3, 1, 0, 2, 1, 16, 11, 6, 0, 0})            // INVITE, 180, 200, ACK
	f.Add([]byte{0, 0, 1, 0, 0, 3, 1, 0, 3, 0, 8, 1, 0, 2, 1, 16})                         // INVITE, CANCEL, 487, ACK
	f.Add([]byte{5, 0, 8, 1, 6, 1, 1, 1, 8, 2, 3, 0, 6, 8, 1, 1, 6, 3, 1, 9})              // INVITE out, 180, CANCEL, 487, 200
	f.Add([]byte{5, 4, 8, 1, 9, 1, 1, 0, 6, 67, 1, 1, 9, 0, 2, 0})                         // OPTIONS out, ICMP error, 200
	f.Add([]byte{0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 4, 9, 2, 0, 0, 0, 2, 1, 0, 10, 7, 0, 0}) // one branch, three sources
	f.Add([]byte{5, 0, 8, 1, 8, 2, 3, 0, 6, 0, 1, 1, 9, 0, 2, 0, 6, 3, 1, 9, 11, 6, 0, 0}) // remembered CANCEL
	f.Add([]byte{9, 3, 0, 1, 0, 4, 1, 0, 9, 3, 0, 1, 10, 4, 0, 0, 9, 0, 1, 0, 0, 4, 1, 0}) // owned OPTIONS, 100, disowned
	f.Fuzz(func(t *testing.T, data []byte) { play(t, data[:min(len(data), 2000)]) })
}

// TestQueue compares the heap with a list that is searched.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		timers := make([]timer, 20)
		for i := range timers {
			timers[i] = timer{retry: never, limit: never, pos: -1}
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			tm := &timers[rapid.IntRange(0, len(timers)-1).Draw(t, "timer")]
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				tm.stop()
			case 1:
				tm.limit = instant(rapid.IntRange(0, 50).Draw(t, "limit"))
			default:
				tm.retry = instant(rapid.IntRange(0, 50).Draw(t, "retry"))
			}
			q.settle(tm)
			nearest := never
			for i := range timers {
				nearest = min(nearest, timers[i].due())
			}
			if q.next() != nearest {
				t.Fatalf("next %d, want %d", q.next(), nearest)
			}
		}
		for last := instant(-1); q.next() != never; {
			tm := q.slots[0].tm
			if tm.due() < last {
				t.Fatal("not in order")
			}
			last = tm.due()
			tm.stop()
			q.settle(tm)
			if tm.pos != -1 {
				t.Fatal("removed timer has a place")
			}
		}
	})
}

// TestChains: members enter and leave lists in any order.
func TestChains(t *testing.T) {
	type member struct {
		l    links[member]
		in   int // the list it is in; -1: none
		name int
	}
	rapid.Check(t, func(t *rapid.T) {
		c := newChains[int](func(m *member) *links[member] { return &m.l })
		all := make([]*member, 12)
		for i := range all {
			all[i] = &member{in: -1, name: i}
		}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			m := all[rapid.IntRange(0, len(all)-1).Draw(t, "member")]
			switch k := rapid.IntRange(0, 3).Draw(t, "list"); {
			case k == 3:
				for x := range c.drain(0) {
					x.in = -1
				}
			case m.in < 0:
				c.add(k, m)
				m.in = k
			default:
				c.drop(m.in, m)
				c.drop(k, m) // it is not there any more
				m.in = -1
			}
			for k := range 3 {
				n := 0
				for x := c.heads[k]; x != nil; x = x.l.next {
					if n++; x.in != k {
						t.Fatalf("member %d of list %d is in list %d", x.name, x.in, k)
					}
				}
				for _, x := range all {
					if x.in == k {
						n--
					}
				}
				if n != 0 {
					t.Fatalf("list %d has %d members too many", k, n)
				}
			}
		}
	})
}

// TestNextIsWhenTickActs: a tick before Next does nothing, one at Next does.
func TestNextIsWhenTickActs(t *testing.T) {
	s := newScript(t, Config{})
	s.run("send INVITE 5 1 b=1")
	for {
		next := s.table.Next()
		if next.IsZero() {
			break
		}
		if out := s.table.Tick(next.Add(-time.Nanosecond), nil); len(out) != 0 {
			t.Fatalf("before its time: %v", out)
		}
		if out := s.table.Tick(next, nil); len(out) == 0 {
			t.Fatalf("nothing at %v", next)
		}
	}
	verifyEmpty(t, s.table)
}
