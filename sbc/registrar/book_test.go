package registrar

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

// consistent holds the Book's indices against each other.
func consistent(t judge, b *Book) {
	t.Helper()
	n := 0
	at, source := map[seen]int{}, 0
	want := Census{Nodes: map[string]int{}}
	for x := range b.All {
		n++
		want.Nodes[x.Node]++
		if x.Lost {
			want.Lost++
		}
		if _, held := b.Held(x.Token); held {
			want.Held++
		}
		if b.Token(x.Token) != x || !slices.Contains(b.AoR(x.AoR), x) {
			t.Fatalf("%s is not where it belongs", x.Token)
		}
		if slices.Contains(b.OnFlow(x.Flow), x) == x.Lost {
			t.Fatalf("%s lost %v, and on its flow %v", x.Token, x.Lost, !x.Lost)
		}
		at[seen{x.Flow.Interface, x.Flow.Remote.Addr()}]++
		if b.tokens[x.Token].due().Before(b.Next()) {
			t.Fatalf("%s ends before the Book says", x.Token)
		}
		if e := b.tokens[x.Token]; e.index < 0 || b.clock.heap[e.index].x != e || !b.clock.heap[e.index].due.Equal(e.due()) {
			t.Fatalf("%s has lost its alarm", x.Token)
		}
	}
	if got := b.Census(); got.Lost != want.Lost || got.Held != want.Held || !maps.Equal(got.Nodes, want.Nodes) {
		t.Fatalf("counted %+v, there are %+v", got, want)
	}
	for key, n := range at {
		if b.At(key.iface, key.addr) != n {
			t.Fatalf("%d at %v, counted %d", n, key, b.At(key.iface, key.addr))
		}
	}
	for key, there := range b.sources {
		source += len(there)
		for _, token := range there {
			if x := b.Token(token); x == nil || limitKey(x.Flow.Remote.Addr().Unmap()) != key {
				t.Fatalf("%s is not at %v", token, key)
			}
		}
	}
	aors, flows := 0, 0
	for aor, list := range b.aors {
		aors += len(list)
		for _, x := range list {
			if x.AoR != aor {
				t.Fatalf("%s of %s stands under %s", x.Token, x.AoR, aor)
			}
		}
	}
	for f, list := range b.flows {
		if flows += len(list); len(list) == 0 {
			t.Fatalf("%v is empty", f)
		}
	}
	if n != b.Len() || n > b.High() || len(b.clock.heap) != n || aors != n || source != n || len(b.at) != len(at) || flows > n {
		t.Fatalf("%d bindings, Len %d, High %d, %d alarms, %d in AoRs, %d of sources, %d on flows", n, b.Len(), b.High(), len(b.clock.heap), aors, source, flows)
	}
}

func TestAlarmsAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var clock alarms[*ping]
		var all []*ping
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				p := &ping{at: zero.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "at"))), index: -1}
				clock.set(p)
				all = append(all, p)
			case 2:
				if len(all) > 0 {
					p := all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
					p.at = zero.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "to")))
					clock.set(p)
				}
			default:
				if len(all) > 0 {
					i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
					clock.drop(all[i])
					clock.drop(all[i]) // harmless
					all = slices.Delete(all, i, i+1)
				}
			}
		}
		for range len(all) {
			first, ok := clock.first()
			if !ok {
				t.Fatal("one is missing")
			}
			for _, slot := range clock.heap {
				p := slot.x
				if p.at.Before(first.at) {
					t.Fatal("the first is not the earliest")
				}
			}
			clock.drop(first)
		}
		if _, ok := clock.first(); ok {
			t.Fatal("one is left")
		}
	})
}

func TestSpeaks(t *testing.T) {
	b := NewBook()
	one := bind(b, udp("198.51.100.7:1000"), "204@example.com", 1)
	two := bind(b, udp("198.51.100.7:2000"), "204@example.com", 2)
	tls := nat.Flow{Interface: 3, Transport: nat.TLS, Remote: udp("198.51.100.9:1000").Remote, Conn: 4}
	three := bind(b, tls, "205@example.com", 3)
	other := udp("198.51.100.7:1000")
	other.Interface = 2
	for _, c := range []struct {
		aor  string
		flow nat.Flow
		want *Binding
	}{
		{"204@example.com", udp("198.51.100.7:2000"), two},
		{"204@example.com", udp("198.51.100.7:1000"), one},
		{"204@example.com", udp("198.51.100.7:3000"), one},
		{"204@example.com", udp("[::ffff:198.51.100.7]:3000"), one},
		{"204@example.com", udp("198.51.100.8:1000"), nil},
		{"204@example.com", other, nil},
		{"205@example.com", udp("198.51.100.7:2000"), nil},
		{"205@example.com", tls, three},
		{"", tls, nil},
	} {
		if got := b.Speaks(c.aor, c.flow); got != c.want {
			t.Errorf("%s from %v: %v", c.aor, c.flow, got)
		}
	}
	b.Lost(tls)
	b.Lost(udp("198.51.100.7:1000")) // a datagram's flow has no connection to lose
	again := tls
	again.Conn, again.Remote = 9, udp("198.51.100.9:7777").Remote
	if got := b.Speaks("205@example.com", again); got == nil || !got.Lost {
		t.Errorf("a phone that comes back: %v", got)
	}
	if b.Token(one.Token).Lost {
		t.Error("lost by a datagram")
	}
}

func TestRestore(t *testing.T) {
	var list []Binding
	for i, at := range []time.Time{zero.Add(time.Minute), zero.Add(-time.Minute), zero, zero.Add(time.Hour)} {
		list = append(list, Binding{
			AoR: "204@example.com", Token: fmt.Sprint("t", i), Flow: udp(fmt.Sprint("198.51.100.7:", 1000+i)), Expires: at, Since: zero.Add(-time.Duration(i)),
		})
	}
	list = append(list, list[0], Binding{Token: "x"}, Binding{AoR: "x"})
	list[3].Flow.Transport, list[3].Lost = nat.TLS, true
	b := NewBook()
	b.Restore(list, zero)
	consistent(t, b)
	if b.Len() != 3 || len(b.Changes()) != 0 || b.Token("t1") != nil || b.High() != 3 {
		t.Errorf("%d bindings, %d changes", b.Len(), len(b.Changes()))
	}
	got := b.AoR("204@example.com")
	if len(got) != 3 || got[0].Token != "t3" || got[2].Token != "t0" {
		t.Errorf("not in the order of registration: %v", got)
	}
	list[0].UserAgent = "changed"
	if b.Token("t0").UserAgent != "" {
		t.Error("the list was not copied")
	}
	if n := b.At(1, list[0].Flow.Remote.Addr()); n != 3 {
		t.Errorf("%d at the address: a phone whose connection was lost is known there", n)
	}
}

func TestSourcesOfIPv6CountBySubnet(t *testing.T) {
	b := NewBook()
	bind(b, udp("[2001:db8::1]:5060"), "a@b", 1)
	bind(b, udp("[2001:db8::ffff:2]:5060"), "a@b", 2)
	bind(b, udp("[2001:db8:0:1::1]:5060"), "a@b", 3)
	if n := b.fromSource(udp("[2001:db8::77]:1").Remote.Addr()); n != 2 {
		t.Errorf("%d", n)
	}
	if n := b.At(1, udp("[2001:db8::1]:1").Remote.Addr()); n != 1 {
		t.Errorf("%d at exactly the address", n)
	}
}

func TestTarget(t *testing.T) {
	for in, want := range map[string]string{
		"<sip:204@192.168.1.20:5060;ob>":              "sip:204@192.168.1.20:5060;ob",
		"<sip:204@x;method=INVITE;transport=tcp?a=b>": "sip:204@x;transport=tcp",
		"<sips:x;lr;METHOD=BYE>":                      "sips:x;lr",
	} {
		b := Binding{Contact: mustNameAddr(t, in)}
		if u := b.Target(); u.String() != want {
			t.Errorf("%s: %s, want %s", in, u, want)
		}
	}
}

func TestMemoryForgetsTheOldest(t *testing.T) {
	var m memory[int]
	if m.get("x") != 0 {
		t.Error("something from nothing")
	}
	for i := range 3 * memoryMost {
		m.put(fmt.Sprint(i), i+1)
		m.put(fmt.Sprint(i), i+2)
		if len(m.values) > memoryMost {
			t.Fatalf("%d remembered", len(m.values))
		}
	}
	last := 3*memoryMost - 1
	if m.get(fmt.Sprint(last)) != last+2 || m.get(fmt.Sprint(last-memoryMost+1)) == 0 || m.get(fmt.Sprint(last-memoryMost)) != 0 {
		t.Error("the latest ones stay, the oldest go")
	}
}
