package exchange

import (
	"bytes"
	"strings"
	"testing"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

func TestMute(t *testing.T) {
	const head = "v=0\r\no=bob 5 6 IN IP4 192.168.1.20\r\ns=Gizmo 3.1\r\n"
	const muted = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\n"
	for _, c := range []struct {
		name, in, out string
		bad           bool
	}{
		{name: "streams", in: head + "c=IN IP6 2001:db8::1\r\nt=0 0\r\nm=audio 49170/2 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n",
			out: muted + "c=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 0 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n"},
		{name: "who", in: head + "i=me\r\nu=http://a.example\r\ne=me@a.example\r\np=+1\r\na=tool:x\r\nt=0 0\r\n", out: muted + "t=0 0\r\n"},
		{name: "where", in: head + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=RTCP:9 IN IP4 10.1.1.1\r\na=candidate:1 1 UDP 1 10.1.1.1 5 typ host\r\na=ice-pwd:x\r\na=sendrecv\r\n",
			out: muted + "m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=sendrecv\r\n"},
		{name: "line feeds", in: "v=0\no=x 1 1 IN IP4 10.1.1.1\nm=image 4000 udptl t38", out: "v=0\no=- 1 1 IN IP4 0.0.0.0\nm=image 0 udptl t38"},
		{name: "empty line", in: "v=0\r\n\r\nt=0 0\r\n", out: "v=0\r\nt=0 0\r\n"},
		{name: "no version", in: "o=x 1 1 IN IP4 10.1.1.1\r\n", bad: true},
		{name: "no type", in: "v=0\r\nc IN IP4 10.1.1.1\r\n", bad: true},
		{name: "half an m line", in: "v=0\r\nm=audio 4000\r\n", bad: true},
		{name: "bare carriage return", in: "v=0\r\nt=0 0\rc=IN IP4 10.1.1.1\r\n", bad: true},
	} {
		out, ok := mute([]byte(c.in))
		if ok == c.bad || string(out) != c.out {
			t.Errorf("%s: %v %q", c.name, ok, out)
		}
	}
}

// FuzzMute: no address of a description is left, and muting twice is muting once.
func FuzzMute(f *testing.F) {
	f.Add([]byte("v=0\r\no=- 1 1 IN IP4 10.1.1.1\r\nc=IN IP4 10.1.1.1\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:5 IN IP4 10.1.1.1\r\n"))
	f.Add([]byte("v=0\nm=audio 4000 RTP/AVP 0\na=candidate:1 1 UDP 1 10.1.1.1 5 typ host\n"))
	f.Add([]byte("v=0\r\n\r\rm=x"))
	f.Fuzz(func(t *testing.T, body []byte) {
		out, ok := mute(body)
		if !ok {
			return
		}
		for line := range strings.SplitSeq(string(out), "\n") {
			for _, place := range []string{"c=IN IP4 1", "a=candidate:", "a=rtcp:", "o=- 2"} {
				if strings.HasPrefix(line, place) {
					t.Errorf("%q", line)
				}
			}
		}
		again, ok := mute(out)
		if !ok || !bytes.Equal(again, out) {
			t.Errorf("%v %q, then %q", ok, out, again)
		}
	})
}

func TestPassable(t *testing.T) {
	for _, c := range []struct {
		kind, body string
		out        string
		ok         bool
	}{
		{"", "", "", true},
		{"text/plain;charset=utf-8", "hi 10.0.0.10", "hi 10.0.0.10", true},
		{"Application/SDP; x=y", "v=0\r\nc=IN IP4 10.1.1.1\r\n", "v=0\r\nc=IN IP4 0.0.0.0\r\n", true},
		{"application/sdp", "hello", "", false},
		{"multipart/mixed;boundary=x", "--x\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x--", "--x\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x--", true},
		{"multipart/mixed;boundary=x", "--x\r\nContent-Type: application/SDP\r\n\r\nv=0\r\n--x--", "", false},
		{"", "hi", "", false},
	} {
		m := &message.Message{Body: []byte(c.body)}
		if c.kind != "" {
			m.Add("Content-Type", c.kind)
		}
		if out, ok := passable(m); ok != c.ok || string(out) != c.out {
			t.Errorf("%s %q: %v %q", c.kind, c.body, ok, out)
		}
	}
}

// sent plays a request as far as the node and returns what it hears.
func sent(t *testing.T, set *Settings, seed tu.Seed, from string, change func(*message.Message)) *message.Message {
	t.Helper()
	s := newStage(t, from)
	s.e = New(set, seed)
	m := s.request("MESSAGE")
	change(m)
	s.step(s.arrive(m))
	s.step(tu.Routed{Hops: []tu.Hop{stageHop("node1")}})
	if len(s.clients) != 1 {
		t.Fatalf("%d requests", len(s.clients))
	}
	return s.clients[0].msg
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
		{"another spelling of the domain", tu.Seed{1}, "phone1", func(m *message.Message) { m.From.URI.Host = "EXAMPLE.COM" }, true},
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
	set.Names = nil
	if a, b := sent(t, set, tu.Seed{1}, "phone1", same), sent(t, set, tu.Seed{2}, "phone1", same); a.CallID == b.CallID || a.CSeq != 1 {
		t.Errorf("without a key the ids are not random: %q %q", a.CallID, b.CallID)
	}
	if a, b := sent(t, set, tu.Seed{1}, "itsp1", same), sent(t, set, tu.Seed{2}, "itsp1", same); a.CallID == b.CallID {
		t.Errorf("the ids of a trunk's request are not random: %q", a.CallID)
	}
}

func TestPasses(t *testing.T) {
	for _, m := range strings.Fields("MESSAGE OPTIONS NOTIFY PUBLISH INFO") {
		if !Passes(m) {
			t.Error(m)
		}
	}
	for _, m := range strings.Fields("INVITE REGISTER SUBSCRIBE REFER BYE ACK CANCEL PRACK UPDATE message FOO") {
		if Passes(m) {
			t.Error(m)
		}
	}
}

func TestUses(t *testing.T) {
	s := newStage(t, "phone1")
	if s.e.Uses(0) || s.e.Uses(1) {
		t.Error("an exchange that has not begun uses an interface")
	}
	s.step(s.arrive(s.request("MESSAGE")))
	if !s.e.Uses(0) || s.e.Uses(1) {
		t.Error("the asker's interface alone is in use")
	}
	s.step(tu.Routed{Hops: []tu.Hop{stageHop("node1")}})
	if !s.e.Uses(0) || !s.e.Uses(1) {
		t.Error("both interfaces are in use")
	}
}

// TestContactOfARegisteredTrunk: a provider that we registered with finds the user in our Contact that it knows.
func TestContactOfARegisteredTrunk(t *testing.T) {
	for user, want := range map[string]string{"": "<sip:+49401@203.0.113.10:5080>", "4930555": "<sip:4930555@203.0.113.10:5080>"} {
		s, hop := newStage(t, "pbx1"), stageHop("itsp1")
		s.step(s.arrive(s.request("OPTIONS")))
		hop.Peer.ContactUser = user
		s.step(tu.Routed{Hops: []tu.Hop{hop}})
		if got, _ := s.clients[0].msg.Get("Contact"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
