package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTurnedAway: whoever called as no trunk is found with the host that he gave, what else was refused is not.
func TestTurnedAway(t *testing.T) {
	g := newGuard(t, &Config{DenyUserAgents: []UserAgentConfig{{Match: "evil"}}})
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	sent := 0
	calls := func(n int, source, from string, m msg) {
		sent++
		m.branch = fmt.Sprint("z9hG4bK", sent)
		send(g, at(n), outsideTrunks, source, as(from, m))
	}
	calls(1, "198.51.100.1:5060", "0301234@SIP.itsp.example:5060", msg{})
	calls(2, "198.51.100.2:5060", "0301234@old.example", msg{})
	calls(3, "198.51.100.2:5060", "0301234@[2001:db8::1]:5060", msg{})
	calls(4, "[2001:db8:7::9]:5060", "itsp.example", msg{})
	calls(5, "198.51.100.3:5060", "+4930123456789012@a-very-long-name.itsp.example", msg{})
	calls(6, "198.51.100.4:5060", "x@itsp.example", msg{agent: "evil"})
	calls(7, "198.51.100.5:5060", "x@itsp.example", msg{method: "OPTIONS"})
	send(g, at(8), outsidePhones, "198.51.100.6:5060", as("x@itsp.example", msg{branch: "z9hG4bKp"}))
	calls(9, "198.51.100.7:5060", "x@it\u202esp.example", msg{})
	var got []string
	for _, x := range g.TurnedAway(at(1)) {
		got = append(got, fmt.Sprint(x.Source, " ", x.At.Format(time.TimeOnly), " ", x.Host, " ", x.Cut))
	}
	want := []string{
		"198.51.100.7 12:00:09 it???sp.example false", "198.51.100.3 12:00:05 a-very-long-name.itsp true", "2001:db8:7:: 12:00:04 itsp.example false",
		"198.51.100.2 12:00:03 2001:db8::1 false", "198.51.100.1 12:00:01 sip.itsp.example false",
	}
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
	if late := g.TurnedAway(at(4)); len(late) != 3 {
		t.Errorf("since then: %+v", late)
	}
}

// TestTurnedAwayNoMore: whoever has become a trunk's is turned away no more.
func TestTurnedAwayNoMore(t *testing.T) {
	g := newGuard(t, &Config{})
	send(g, noon, outsideTrunks, "203.0.113.20:5060", msg{}.bytes())
	send(g, noon, outsideTrunks, "198.51.100.1:5060", msg{branch: "z9hG4bKb"}.bytes())
	for _, x := range g.TurnedAway(noon.Add(-time.Hour)) {
		if g.directory().find(outsideTrunks.Side, outsideTrunks.Realm, x.Source) != nil {
			t.Errorf("%+v is a trunk's", x)
		}
	}
}

// TestTurnedAwayIsBounded: no flood makes it tell more sources than there are dossiers.
func TestTurnedAwayIsBounded(t *testing.T) {
	g := newGuard(t, &Config{})
	for n := range uint32(30_000) {
		send(g, noon.Add(time.Duration(n)*time.Millisecond), outsideTrunks, addr4(0x20000000+n).String(), msg{branch: fmt.Sprint("z9hG4bK", n)}.bytes())
	}
	e := &g.state.evidence
	if n, most := len(g.TurnedAway(noon)), (len(e.strangers.sets)+len(e.known.sets))*evidenceWays; n == 0 || n > most {
		t.Errorf("%d sources of %d", n, most)
	}
}

// FuzzFromHost: whatever a From holds, its host is one printable word of the record's length, and the bytes of nobody else.
func FuzzFromHost(f *testing.F) {
	for _, seed := range []string{"", "@", "x@", "x@[", "x@[::1", "x@[::1]", "x@[::1]:5060", "x@host:5060", "x@HOST.", "a@b@c:d:e", "[@]", strings.Repeat("x@", 20), "\x1b[2J@\u202e"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, user []byte) {
		var r record
		r.userLen = uint8(copy(r.user[:], user))
		host, cut := r.fromHost()
		if len(host) > maxUser || strings.ToLower(host) != host || printable([]byte(host)) != host || cut && len(user) < maxUser {
			t.Errorf("%q: %q, %v", user, host, cut)
		}
	})
}
