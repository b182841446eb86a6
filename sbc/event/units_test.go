package event

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/dialog"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

func TestStateOf(t *testing.T) {
	for _, c := range []struct {
		value, state string
		left         time.Duration
		said         bool
	}{
		{"active;expires=600", "active", 600 * time.Second, true},
		{" Pending ; Expires = 60 ; x", "pending", 60 * time.Second, true},
		{"terminated;reason=timeout", "terminated", 0, false},
		{"terminated;reason=probation;retry-after=5", "terminated", 0, false},
		{"active;expires=0", "active", 0, true},
		{"active;expires=99999999999", "active", 0, false},
		{"active;expires=-1", "active", 0, false},
		{"", "", 0, false},
	} {
		m := &message.Message{}
		m.Add("Subscription-State", c.value)
		if state, left, said := stateOf(m); state != c.state || left != c.left || said != c.said {
			t.Errorf("%q: %q %v %v", c.value, state, left, said)
		}
	}
	if state, _, said := stateOf(&message.Message{}); state != "" || said {
		t.Errorf("without the field: %q", state)
	}
}

// FuzzStateOf: no text of a peer makes a lifetime that time cannot hold.
func FuzzStateOf(f *testing.F) {
	f.Add("active;expires=600")
	f.Add("terminated;;expires=;expires=4294967295")
	f.Fuzz(func(t *testing.T, value string) {
		m := &message.Message{}
		m.Add("Subscription-State", value)
		m.Add("Event", value)
		if _, left, _ := stateOf(m); left < 0 || left > 1<<32*time.Second || start.Add(left+margin).Before(start) {
			t.Errorf("%q: %v", value, left)
		}
		packageOf(m)
	})
}

func TestPackageOf(t *testing.T) {
	for value, want := range map[string]string{"dialog": "dialog", " message-summary ; id=3": "message-summary", "presence.winfo": "presence.winfo", ";id=1": ""} {
		m := &message.Message{}
		m.Add("Event", value)
		if got := packageOf(m); got != want {
			t.Errorf("%q: %q", value, got)
		}
	}
}

func TestGone(t *testing.T) {
	ends := map[int]bool{}
	for _, code := range []int{404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604} { // RFC 6665 §4.1.2.2
		ends[code] = true
	}
	for code := 300; code < 700; code++ {
		if gone(code) != ends[code] {
			t.Errorf("%d: %v", code, gone(code))
		}
	}
}

func TestNextHop(t *testing.T) {
	stream := stageHop("node1")
	stream.Flow.Transport, stream.Flow.Conn = nat.TLS, 5
	for _, c := range []struct {
		name, target, route string
		hop                 tu.Hop
		want                string
		conn                uint64
	}{
		{name: "target", target: "sip:x@10.0.0.33:5070", hop: stageHop("node1"), want: "10.0.0.33:5070"},
		{name: "no port", target: "sip:x@10.0.0.33", hop: stageHop("node1"), want: "10.0.0.33:5060"},
		{name: "route", target: "sip:x@10.0.0.33", route: "<sip:10.0.0.34:5090;lr>", hop: stageHop("node1"), want: "10.0.0.34:5090"},
		{name: "a name", target: "sip:x@pbx.example", hop: stageHop("node1"), want: "10.0.0.10:5060"},
		{name: "out of reach", target: "sip:x@192.0.2.9", hop: stageHop("node1"), want: "10.0.0.10:5060"},
		{name: "ourselves", target: "sip:x@10.0.0.2:5060", hop: stageHop("node1"), want: "10.0.0.10:5060"},
		{name: "a phone", target: "sip:x@10.0.0.33", hop: stageHop("phone1"), want: "198.51.100.7:40001"},
		{name: "another connection", target: "sip:x@10.0.0.33", hop: stream, want: "10.0.0.33:5061"},
		{name: "the same connection", target: "sip:x@pbx.example", hop: stream, want: "10.0.0.10:5060", conn: 5},
	} {
		u, err := message.ParseURI(c.target)
		if err != nil {
			t.Fatal(err)
		}
		d := &dialog.Dialog{Target: u}
		if c.route != "" {
			r, _ := message.ParseNameAddr(c.route)
			d.Routes = []message.NameAddr{r}
		}
		if f := c.hop.Toward(d.NextHop()); f.Remote != netip.MustParseAddrPort(c.want) || f.Conn != c.conn {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

func TestMayAsk(t *testing.T) {
	phone, other := stageHop("phone1"), stageHop("phone1")
	stranger := *other.Peer
	stranger.Name, stranger.AoRs, stranger.Token = "", nil, ""
	elsewhere := nat.Flow{Remote: netip.MustParseAddrPort("198.51.100.66:5060")}
	port := phone.Flow
	port.Remote = netip.MustParseAddrPort("198.51.100.7:1")
	nameless := stageHop("stranger1")
	for _, c := range []struct {
		name string
		leg  tu.Hop
		flow nat.Flow
		peer *tu.Peer
		want bool
	}{
		{"its flow", phone, phone.Flow, phone.Peer, true},
		{"its address, another port", phone, port, &stranger, true},
		{"its address, nobody", phone, port, nil, false},
		{"another address, bound", phone, elsewhere, phone.Peer, true},
		{"another address, another phone", phone, elsewhere, &tu.Peer{Kind: tu.KindPhone, AoRs: []string{"205@example.com"}}, false},
		{"another address, none", phone, elsewhere, &stranger, false},
		{"a phone without name, another address", nameless, elsewhere, &tu.Peer{Kind: tu.KindPhone, AoRs: []string{""}}, false},
		{"a trunk at the phone's address", phone, phone.Flow, stageHop("itsp1").Peer, false},
		{"a node", stageHop("node1"), stageHop("node1").Flow, stageHop("node1").Peer, true},
		{"another node", stageHop("node1"), stageHop("node2").Flow, stageHop("node2").Peer, true},
		{"nobody inside", stageHop("node1"), nat.Flow{Interface: 1, Remote: netip.MustParseAddrPort("10.0.0.77:5060")}, nil, false},
		{"the same trunk", stageHop("itsp1"), stageHop("itsp2").Flow, stageHop("itsp1").Peer, true},
		{"another trunk", stageHop("itsp1"), stageHop("itsp2").Flow, stageHop("itsp2").Peer, false},
		{"a phone for a node", stageHop("node1"), phone.Flow, phone.Peer, false},
	} {
		l := leg{hop: c.leg}
		if got := l.mayAsk(tu.Arrived{Flow: c.flow, Peer: c.peer}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// sent plays a SUBSCRIBE as far as the node and returns what it hears.
func sent(t *testing.T, set *Settings, seed tu.Seed, from string, change func(*message.Message)) *message.Message {
	t.Helper()
	s := newStage(t, from)
	s.s = New(set, seed)
	m := s.request(subscriber, "SUBSCRIBE", "")
	change(m)
	s.step(s.arrive(subscriber, m))
	s.step(tu.Routed{Hops: []tu.Hop{stageHop("node1")}})
	if len(s.refs) != 1 {
		t.Fatalf("%d requests", len(s.refs))
	}
	return s.clients[s.refs[0]].msg
}

// TestNames: the ids of what a phone asks depend on its own and its address-of-record, and on nothing else.
func TestNames(t *testing.T) {
	same := func(*message.Message) {}
	first := sent(t, settings(), tu.Seed{1}, "phone1", same)
	for _, c := range []struct {
		name   string
		seed   tu.Seed
		from   string
		change func(*message.Message)
		same   bool
	}{
		{"another seed", tu.Seed{2}, "phone1", same, true},
		{"the next number", tu.Seed{1}, "phone1", func(m *message.Message) { m.CSeq++ }, true},
		{"another Call-ID", tu.Seed{1}, "phone1", func(m *message.Message) { m.CallID = "outside-id-2" }, false},
		{"another tag", tu.Seed{1}, "phone1", func(m *message.Message) { m.From.Tag = "phonetag2" }, false},
		{"another user", tu.Seed{1}, "phone1", func(m *message.Message) { m.From.URI.User = "205" }, false},
		{"another package", tu.Seed{1}, "phone1", func(m *message.Message) { m.Set("Event", "dialog") }, true},
		{"a number without room behind it", tu.Seed{1}, "phone1", func(m *message.Message) { m.CSeq = 1<<31 - 2 }, false},
		{"its flow", tu.Seed{1}, "tls1", same, true},
	} {
		m := sent(t, settings(), c.seed, c.from, c.change)
		if got := m.CallID == first.CallID && m.From.Tag == first.From.Tag; got != c.same {
			t.Errorf("%s: the same ids: %v", c.name, got)
		}
	}
	set := settings()
	if !set.Tags.Owns([]byte(first.From.Tag)) {
		t.Errorf("the guard would not know the tag %q", first.From.Tag)
	}
	if first.CSeq != 17 {
		t.Errorf("CSeq %d is not the phone's", first.CSeq)
	}
	set.Names = nil
	if a, b := sent(t, set, tu.Seed{1}, "phone1", same), sent(t, set, tu.Seed{2}, "phone1", same); a.CallID == b.CallID || a.CSeq != 1 {
		t.Errorf("without a key the ids are not random: %q %q", a.CallID, b.CallID)
	}
}

func TestWhoIsIn(t *testing.T) {
	s := newStage(t, "phone1")
	if s.s.Uses(0) || s.s.Uses(1) {
		t.Error("a subscription that has not begun has legs")
	}
	s.step(s.arrive(subscriber, s.request(subscriber, "SUBSCRIBE", "")))
	if !s.s.Uses(0) || s.s.Uses(1) {
		t.Error("the subscriber's leg alone is there")
	}
	s.step(tu.Routed{Hops: []tu.Hop{stageHop("node1")}})
	if !s.s.Uses(0) || !s.s.Uses(1) || s.s.Uses(2) {
		t.Error("both legs are there")
	}
}

// TestWaiting: how many requests may wait where nobody has said so.
func TestWaiting(t *testing.T) {
	if n := New(&Settings{Tags: settings().Tags}, tu.Seed{}).waiting(); n != 8 {
		t.Error(n)
	}
}

// TestContactOfARegisteredTrunk: a provider that we registered with finds the user in our Contact that it knows.
func TestContactOfARegisteredTrunk(t *testing.T) {
	for user, want := range map[string]string{"": "<sip:210@203.0.113.10:5080>", "4930555": "<sip:4930555@203.0.113.10:5080>"} {
		s, hop := newStage(t, "pbx1"), stageHop("itsp1")
		s.step(s.arrive(subscriber, s.request(subscriber, "SUBSCRIBE", "")))
		hop.Peer.ContactUser = user
		s.step(tu.Routed{Hops: []tu.Hop{hop}})
		if got, _ := s.clients[s.refs[0]].msg.Get("Contact"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
