package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func explainOf(g *Guard, now time.Time, a string) Explanation {
	return g.Explain(now, netip.MustParseAddr(a))
}

func TestStrangersNeverOverwriteKnownPeers(t *testing.T) {
	g := newGuard(t, &Config{})
	send(g, noon, outsideTrunks, "203.0.113.20", msg{extra: "Content-Length: 9\r\n"}.bytes())
	for n := range uint32(10_000) {
		send(g, noon, outsideTrunks, addr4(0x20000000+n).String(), msg{}.bytes())
	}
	x := explainOf(g, noon, "203.0.113.20")
	if x.Seen == nil || x.Seen.Refused != 1 || len(x.Last) != 1 {
		t.Fatalf("the trunk's evidence is %+v", x.Seen)
	}
	// A peer is known whichever listener it comes to.
	send(g, noon, outsidePhones, "203.0.113.20", msg{}.bytes())
	for n := range uint32(10_000) {
		send(g, noon, outsidePhones, addr4(0x20000000+n).String(), msg{}.bytes())
	}
	if x = explainOf(g, noon, "203.0.113.20"); x.Seen.Refused != 2 {
		t.Errorf("the trunk's evidence is %+v", x.Seen)
	}
}

func TestAFloodOfOnePacketSourcesLeavesRepeatedOnes(t *testing.T) {
	alone(t)
	g := newGuard(t, &Config{})
	for n := range 20 {
		send(g, noon, outsidePhones, "192.0.2.66", msg{branch: fmt.Sprint("z9hG4bK", n)}.bytes())
	}
	for n := range uint32(20_000) {
		send(g, noon.Add(time.Second), outsidePhones, addr4(0x20000000+n).String(), msg{}.bytes())
	}
	if x := explainOf(g, noon.Add(time.Second), "192.0.2.66"); x.Seen == nil || x.Seen.Refused != 20 {
		t.Fatalf("the evidence is gone: %+v", x.Seen)
	}
	// Long idle sources give way.
	for n := range uint32(20_000) {
		for range 2 { // who comes again gets a place
			send(g, noon.Add(time.Hour), outsidePhones, addr4(0x30000000+n).String(), msg{}.bytes())
		}
	}
	if x := explainOf(g, noon.Add(time.Hour), "192.0.2.66"); x.Seen != nil {
		t.Errorf("idle evidence keeps its place: %+v", x.Seen)
	}
}

func TestRecordsKeepWhatWasRefusedFromWhatWasNot(t *testing.T) {
	g := newGuard(t, &Config{DenyUserAgents: []UserAgentConfig{{Match: "evil"}}})
	send(g, noon, outsidePhones, phone, msg{agent: "evil"}.bytes())
	for n := range 500 {
		send(g, noon.Add(time.Duration(n)*time.Millisecond), outsidePhones, phone, msg{branch: fmt.Sprint("z9hG4bK", n)}.bytes())
	}
	x := explainOf(g, noon.Add(time.Second), "198.51.100.7")
	if x.Seen.Refused != 1 || x.Seen.Passed != 500 || len(x.Last) != knownRecords/4+1 {
		t.Fatalf("%d refused, %d passed, %d records", x.Seen.Refused, x.Seen.Passed, len(x.Last))
	}
	if last := x.Last[len(x.Last)-1]; last.Reason != "user-agent" || last.Rule != "evil" || last.Agent != "evil" {
		t.Errorf("the oldest record is %+v", last)
	}
	for i := range x.Last[1:] {
		if x.Last[i+1].At.After(x.Last[i].At) {
			t.Error("records are not newest first")
		}
	}
	for n := range 500 {
		send(g, noon.Add(2*time.Second), outsidePhones, phone, msg{agent: "evil", branch: fmt.Sprint("z9hG4bKe", n)}.bytes())
	}
	if x = explainOf(g, noon, "198.51.100.7"); len(x.Last) != knownRecords || x.Seen.Refused != 501 || x.Seen.Reasons["user-agent"] != 501 {
		t.Errorf("%d records, %+v", len(x.Last), x.Seen)
	}
}

// TestAFloodOfOneSourceIsWrittenDownNowAndThen: all is counted; once its records are full, a source that says the same again
// and again gets one record in a while, and one as soon as anything is different.
func TestAFloodOfOneSourceIsWrittenDownNowAndThen(t *testing.T) {
	g := newGuard(t, &Config{DenyUserAgents: []UserAgentConfig{{Match: "evil"}}})
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	for n := range 1000 {
		send(g, at(n), outsidePhones, "192.0.2.66:5060", msg{method: "OPTIONS", branch: fmt.Sprint("z9hG4bK", n)}.bytes())
	}
	x := explainOf(g, at(1000), "192.0.2.66")
	const room = strangerRecords - strangerRecords/4
	if x.Seen.Refused != 1000 || x.Seen.Methods["OPTIONS"] != 1000 || !x.Seen.Last.Equal(at(999)) || len(x.Last) != room {
		t.Fatalf("%d records, %+v", len(x.Last), x.Seen)
	}
	if newest := x.Last[0].At; at(999).Sub(newest) >= evidencePause {
		t.Errorf("the newest record is of %v", newest)
	}
	if oldest, next := x.Last[room-1].At, x.Last[0].At.Sub(x.Last[1].At); !oldest.Before(at(room)) || next != evidencePause {
		t.Errorf("the oldest record is of %v, the newest two %v apart", oldest, next)
	}
	send(g, at(1000), outsidePhones, "192.0.2.66:5060", msg{agent: "evil"}.bytes())
	send(g, at(1000), outsidePhones, "192.0.2.66:5061", msg{agent: "evil"}.bytes())
	x = explainOf(g, at(1000), "192.0.2.66")
	if x.Seen.Refused != 1002 || x.Last[0].Port != 5061 || x.Last[1].Rule != "evil" || x.Last[1].Port != 5060 {
		t.Errorf("%+v", x.Last[:2])
	}
}

// TestMoreRepeatedSourcesThanRoom: where more sources come again and again than there is room for, a few keep their place.
func TestMoreRepeatedSourcesThanRoom(t *testing.T) {
	g := newGuard(t, &Config{})
	st := g.state
	room := len(st.evidence.strangers.sets) * evidenceWays
	for round := range 20 {
		for n := range uint32(4 * room) {
			send(g, noon.Add(time.Duration(round)*time.Millisecond), outsidePhones, addr4(0x20000000+n).String(), msg{}.bytes())
		}
	}
	kept := 0
	for n := range uint32(4 * room) {
		if x := explainOf(g, noon.Add(time.Second), addr4(0x20000000+n).String()); x.Seen != nil && x.Seen.Refused > 10 {
			kept++
		}
	}
	if kept < room/2 {
		t.Errorf("%d of %d places are kept for long", kept, room)
	}
}

func TestForeignTextIsCutAndHarmless(t *testing.T) {
	g := newGuard(t, &Config{})
	data := strings.Replace(string(msg{agent: strings.Repeat("A\x1b[31m"[:1], 100)}.bytes()), "sip:204@example.com",
		"sip:\xff\xfe"+strings.Repeat("u", 100)+"@example.com", 1)
	send(g, noon, outsidePhones, "192.0.2.66", []byte(data))
	x := explainOf(g, noon, "192.0.2.66")
	if len(x.Last) != 1 || len(x.Last[0].User) != maxUser || len(x.Last[0].Agent) != maxAgent {
		t.Fatalf("%+v", x.Last)
	}
	if !strings.HasPrefix(x.Last[0].User, "%FF%FEuuu") {
		t.Errorf("user is %q", x.Last[0].User)
	}
	if got := printable([]byte("a\x1b[31m\r\nb\x00é")); got != "a?[31m??b???" {
		t.Errorf("printable made %q", got)
	}
}

func TestPerson(t *testing.T) {
	for from, want := range map[string]string{
		`"Bob" <sip:204@example.com>;tag=1`:                "204@example.com",
		`<sip:204@example.com:5060;user=phone>`:            "204@example.com", // a port is no part of who it is
		`<sip:204:secret@example.com>`:                     "204@example.com",
		`<sip:%32%304;isub=1@example.com>`:                 "204@example.com",
		`<sip:a%0d%0Ab%22%00%ff@x>;y="<sip:999@z>"`:        "a%0D%0Ab%22@x",
		`"<sip:999@z>" <sip:j%c3%b6rg@[2001:db8::1]:5061>`: "j%C3%B6rg@[2001:db8::1]",
		`<sip:example.com:5060>`:                           "example.com",
		`sip:204@example.com;tag=1`:                        "204@example.com",
		`"a<b" <sips:x@y?h=1>`:                             "x@y",
		`<tel:+4930123>`:                                   "+4930123",
		`Anonymous <sip:anonymous@anonymous.invalid`:       "anonymous@anonymous.invalid",
		``:      "",
		`<`:     "",
		`<sip:`: "",
		`junk`:  "junk",
	} {
		if got := Person([]byte(from)); got != want {
			t.Errorf("%s: %q, want %q", from, got, want)
		}
	}
}

func TestPaceKnowsTheBusiestMinute(t *testing.T) {
	var p pace
	for second := range 600 {
		n := 1
		if second/60 == 4 {
			n = 3
		}
		for range n {
			p.count(time.Duration(second) * time.Second)
		}
	}
	if p.peak != 180 {
		t.Errorf("peak is %d", p.peak)
	}
	for range 100_000 {
		p.count(time.Hour)
	}
	if p.peak != 65535 {
		t.Errorf("peak is %d", p.peak)
	}
}
