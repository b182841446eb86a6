package registrar

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// throttled is a stage whose PBX is asked for an hour, where refreshes are answered for ten minutes.
func throttled(t judge) *stage {
	s := newStage(t)
	s.set.Inside, s.set.Reauthenticate = time.Hour, 10*time.Minute
	return s
}

// enter registers a phone and comes to a moment at which its refresh could be answered here for a minute yet.
func (s *stage) enter(p *phone, edit func(*message.Message)) *Binding {
	s.t.Helper()
	_, m := s.register(p, edit)
	if m.Status != 200 {
		s.t.Fatalf("%s is met with %d", p.name, m.Status)
	}
	for { // its own moment may be near: the next one is a while away
		b := s.set.Book.OnFlow(p.flow)[0]
		if s.set.due(b).Sub(s.now) > 3*time.Minute {
			return b
		}
		s.now = s.set.due(b)
		s.register(p, edit)
	}
}

// TestARefreshThatIsAnsweredHere: and each single thing that sends it to the PBX.
func TestARefreshThatIsAnsweredHere(t *testing.T) {
	instance := func(m *message.Message) {
		m.Set("Contact", `"Desk" <sip:204@192.168.1.20:5060;ob>;q=0.5;+sip.instance="<urn:uuid:1>";expires=3600`)
	}
	contact := func(s string) func(*stage, *phone, *message.Message) {
		return func(_ *stage, _ *phone, m *message.Message) { m.Set("Contact", s) }
	}
	for name, change := range map[string]func(*stage, *phone, *message.Message){
		"":                       func(*stage, *phone, *message.Message) {},
		"later":                  func(s *stage, _ *phone, _ *message.Message) { s.now = s.now.Add(50 * time.Second) },
		"shorter":                contact(`"Desk" <sip:204@192.168.1.20:5060;ob>;q=0.5;+sip.instance="<urn:uuid:1>";expires=20`),
		"header field":           contact(`"Desk" <sip:204@192.168.1.20:5060;ob>;q=0.5;+sip.instance="<urn:uuid:1>"`),
		"credentials":            func(_ *stage, _ *phone, m *message.Message) { m.Add("Authorization", "Digest x") },
		"another domain of ours": func(_ *stage, _ *phone, m *message.Message) { m.To.URI.Host, m.From.URI.Host = "old.net", "old.net" },
		"others register": func(s *stage, _ *phone, _ *message.Message) {
			s.register(s.phones["b"], nil)
			s.register(s.phones["c"], nil)
		},
		"a forged one was challenged": func(s *stage, p *phone, _ *message.Message) {
			thief := *p
			thief.flow = udp("198.51.100.7:40123")
			m := thief.request()
			instance(m)
			r, _ := s.start(&thief, m, nil)
			s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
			s.step(r, tu.Answered{Ref: r.last, Msg: message.Reply(r.sent[r.last].Msg, 401, "")})
		},

		"! CSeq":            func(_ *stage, _ *phone, m *message.Message) { m.CSeq-- },
		"! Call-ID":         func(_ *stage, _ *phone, m *message.Message) { m.CallID += "x" },
		"! user":            func(_ *stage, _ *phone, m *message.Message) { m.To.URI.User, m.From.URI.User = "205", "205" },
		"! third party":     func(_ *stage, _ *phone, m *message.Message) { m.From.URI.User = "205" },
		"! port":            func(_ *stage, p *phone, _ *message.Message) { p.flow = udp("198.51.100.7:40123") },
		"! address":         func(_ *stage, p *phone, _ *message.Message) { p.flow = udp("198.51.100.8:40122") },
		"! interface":       func(_ *stage, p *phone, _ *message.Message) { p.flow.Interface++ },
		"! transport":       func(_ *stage, p *phone, _ *message.Message) { p.flow.Transport = nat.TCP },
		"! connection":      func(_ *stage, p *phone, _ *message.Message) { p.flow.Conn++ },
		"! Contact":         contact(`"Desk" <sip:204@192.168.1.20:5061;ob>;q=0.5;+sip.instance="<urn:uuid:1>";expires=3600`),
		"! its host's case": contact(`"Desk" <SIP:204@192.168.1.20:5060;OB>;q=0.5;+sip.instance="<urn:uuid:1>";expires=3600`),
		"! its name":        contact(`<sip:204@192.168.1.20:5060;ob>;q=0.5;+sip.instance="<urn:uuid:1>";expires=3600`),
		"! q":               contact(`"Desk" <sip:204@192.168.1.20:5060;ob>;q=0.6;+sip.instance="<urn:uuid:1>";expires=3600`),
		"! instance":        contact(`"Desk" <sip:204@192.168.1.20:5060;ob>;q=0.5;+sip.instance="<urn:uuid:2>";expires=3600`),
		"! no instance":     contact(`"Desk" <sip:204@192.168.1.20:5060;ob>;q=0.5;expires=3600`),
		"! feature":         contact(`"Desk" <sip:204@192.168.1.20:5060;ob>;q=0.5;+sip.instance="<urn:uuid:1>";video;expires=3600`),
		"! removal":         contact(`"Desk" <sip:204@192.168.1.20:5060;ob>;q=0.5;+sip.instance="<urn:uuid:1>";expires=0`),
		"! wildcard": func(_ *stage, _ *phone, m *message.Message) {
			m.Set("Contact", "*")
			m.Set("Expires", "0")
		},
		"! query":               func(_ *stage, _ *phone, m *message.Message) { m.Remove("Contact") },
		"! another one besides": func(_ *stage, _ *phone, m *message.Message) { m.Add("Contact", "<sip:204@192.168.1.20:5070>") },
		"! malformed":           contact("<sip:"),
		"! Require":             func(_ *stage, _ *phone, m *message.Message) { m.Add("Require", "outbound") },
		"! Max-Forwards":        func(_ *stage, _ *phone, m *message.Message) { m.MaxForwards = 0 },
		"! tel":                 func(_ *stage, _ *phone, m *message.Message) { m.To.URI.Scheme, m.From.URI.Scheme = "tel", "tel" },
		"! off":                 func(s *stage, _ *phone, _ *message.Message) { s.set.Inside = 0 },
		"! never":               func(s *stage, _ *phone, _ *message.Message) { s.set.Reauthenticate = 0 },
		"! time is over":        func(s *stage, p *phone, _ *message.Message) { s.now = s.set.due(s.set.Book.OnFlow(p.flow)[0]) },
		"! reauthenticate":      func(s *stage, _ *phone, _ *message.Message) { s.now = s.now.Add(10 * time.Minute) },
		"! the clock was set":   func(s *stage, p *phone, _ *message.Message) { s.now = s.set.Book.OnFlow(p.flow)[0].Accepted.Add(-1) },
		"! the PBX's lifetime": func(s *stage, p *phone, _ *message.Message) {
			s.set.Reauthenticate, s.now = time.Hour, s.now.Add(58*time.Minute)
		},
		"! its node is gone":      func(s *stage, _ *phone, _ *message.Message) { s.set.Moves = func(*Binding) bool { return true } },
		"! the connection is too": func(s *stage, p *phone, _ *message.Message) { s.set.Book.OnFlow(p.flow)[0].Lost = true },
		"! one is under way": func(s *stage, p *phone, _ *message.Message) {
			s.start(p, p.request(), nil)
			p.cseq--
		},
		"! the PBX was silent": func(s *stage, p *phone, m *message.Message) {
			refused(s, p, m, tu.Failed{Ref: 1, Code: 408})
		},
		"! the PBX wanted a password": func(s *stage, p *phone, m *message.Message) {
			refused(s, p, m, tu.Answered{Ref: 1, Msg: message.Reply(m, 401, "")})
		},
		"! the PBX refused": func(s *stage, p *phone, m *message.Message) {
			refused(s, p, m, tu.Answered{Ref: 1, Msg: message.Reply(m, 403, "")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := throttled(t)
			p := s.phones["a"]
			b := *s.enter(p, instance)
			s.set.Book.Changes()
			m := p.request()
			instance(m)
			change(s, p, m)
			s.set.Book.Changes()
			had := s.set.Book.Figures()
			reply, ok := s.local(p, m)
			if ok == strings.HasPrefix(name, "!") {
				t.Fatalf("answered here: %v", ok)
			}
			after, changes := s.set.Book.Token(b.Token), s.set.Book.Changes()
			if !ok {
				if len(changes) != 0 || s.set.Book.Figures() != had {
					t.Fatalf("it goes to the PBX, and changes %+v", changes)
				}
				return
			}
			list, _, err := reply.Contacts()
			if err != nil || len(list) != 1 || list[0].URI != b.Contact.URI {
				t.Errorf("lists %v (%v)", list, err)
			}
			want := b
			want.CSeq, want.Refreshed, want.Expires, want.Local = m.CSeq, s.now, after.Expires, b.Local+1
			if d := cmp.Diff(want, *after, byTime); d != "" || after.Expires.Sub(s.now) > time.Minute || len(changes) != 1 || s.set.Book.Figures().Local != had.Local+1 {
				t.Errorf("the binding is not as it was: %s", d)
			}
			consistent(t, s.set.Book)
		})
	}
}

// refused plays a REGISTER of a phone that the PBX does not accept.
func refused(s *stage, p *phone, m *message.Message, ev tu.Event) {
	again := *m
	again.CSeq++ // whoever comes behind it has a higher one
	m.CSeq += 2
	r, _ := s.start(p, &again, nil)
	s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
	s.step(r, ev)
	if !r.over {
		s.t.Fatal("it goes on")
	}
}

// TestALocalAnswerCannotPoison: who forges the flow too, and so only the phone hears the answer, can spoil the number; the
// phone's next REGISTER goes to the PBX then, which sets it right.
func TestALocalAnswerCannotPoison(t *testing.T) {
	s := throttled(t)
	p := s.phones["a"]
	b := s.enter(p, nil)
	m := p.request()
	m.CSeq = 1<<31 - 1
	if _, ok := s.local(p, m); !ok {
		t.Fatal("it is like the phone's own")
	}
	p.cseq++
	if _, ok := s.local(p, p.request()); ok {
		t.Fatal("a number that is too low")
	}
	s.register(p, nil)
	b = s.set.Book.Token(b.Token)
	if b.CSeq != p.cseq {
		t.Errorf("CSeq is %d, the phone's %d", b.CSeq, p.cseq)
	}
	if s.set.due(b).Sub(s.now) > time.Minute {
		if _, ok := s.local(p, p.request()); !ok {
			t.Error("nothing stands against it")
		}
	}
}

// TestTheMomentsAreSpread: 20,000 phones that the PBX accepted in one moment come back to it evenly over the whole time, none
// later than that, and again at the same distance.
func TestTheMomentsAreSpread(t *testing.T) {
	for _, every := range []time.Duration{10 * time.Minute, time.Hour} {
		set := settings()
		set.Inside, set.Reauthenticate = time.Hour, every
		whole := min(every, time.Hour-3*time.Minute)
		var shares [20]int
		const phones = 20_000
		for i := range phones {
			b := &Binding{Token: testNames.Token(fmt.Sprint(i)), Accepted: zero, ExpiresPBX: zero.Add(time.Hour)}
			due := set.due(b)
			wait := due.Sub(zero)
			if wait <= 0 || wait > whole {
				t.Fatalf("due after %v of %v", wait, whole)
			}
			shares[min(int(wait*20/whole), 19)]++
			// It comes a little later than that, and is due at its next moment.
			b.Accepted, b.ExpiresPBX = due.Add(40*time.Second), due.Add(40*time.Second+time.Hour)
			if again := set.due(b).Sub(due); again != whole {
				t.Fatalf("due again after %v of %v", again, whole)
			}
		}
		for i, n := range shares {
			if n < phones/20*8/10 || n > phones/20*12/10 {
				t.Errorf("%v: %d of %d in part %d of 20", every, n, phones, i)
			}
		}
	}
}

// TestAShortGrant: what the PBX grants counts. A refresh is answered here only where its lifetime allows.
func TestAShortGrant(t *testing.T) {
	for granted, most := range map[time.Duration]time.Duration{
		30 * time.Second: 0, time.Minute: 0, 2 * time.Minute: 0, 5 * time.Minute: 3 * time.Minute, time.Hour: 10 * time.Minute,
	} {
		set := settings()
		set.Inside, set.Reauthenticate = time.Hour, 10*time.Minute
		for i := range 100 {
			b := &Binding{Token: testNames.Token(fmt.Sprint(i)), Accepted: zero, ExpiresPBX: zero.Add(granted), Told: insideAt}
			longest := time.Duration(0)
			for d := time.Second; d < granted; d += time.Second {
				if set.stands(zero.Add(d), &entry{b: b}) {
					longest = d
				}
			}
			if longest > most {
				t.Fatalf("%v granted, and it stands for %v", granted, longest)
			}
		}
	}
}

// rule is what a naive observer knows of one sequence of REGISTERs of one Contact from one flow.
type rule struct {
	accepted, until time.Time
	cseq            uint32
	contact         string
	sound           bool // the PBX accepted the last one that went to it
}

// TestNeverAnsweredHereWithoutCause: whatever is sent in whatever order, and whatever the PBX says to it, an answer of our own
// has all its causes, changes nothing else and promises nothing that the PBX has not.
func TestNeverAnsweredHereWithoutCause(t *testing.T) {
	answers := 0
	rapid.Check(t, func(t *rapid.T) {
		s := throttled(t)
		s.set.Reauthenticate = time.Duration(rapid.IntRange(1, 70).Draw(t, "reauthenticate")) * time.Minute
		known := map[string]*rule{}
		flows := []nat.Flow{udp("198.51.100.7:40122"), udp("198.51.100.7:40123"), udp("203.0.113.9:40122")}
		cseq := uint32(0)
		for range rapid.IntRange(5, 60).Draw(t, "events") {
			if rapid.IntRange(0, 2).Draw(t, "passes") == 0 {
				s.now = s.now.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "seconds")) * time.Second)
				s.set.Book.Expire(s.now)
			}
			p := *s.phones["a"]
			p.flow = rapid.SampledFrom(flows[:rapid.IntRange(1, 3).Draw(t, "flows")]).Draw(t, "flow")
			p.callID = rapid.SampledFrom([]string{"c", "c", "c", "d"}).Draw(t, "call-id")
			p.user = rapid.SampledFrom([]string{"204", "204", "204", "205"}).Draw(t, "user")
			cseq++
			p.cseq = max(cseq-uint32(rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "behind")), 1) - 1
			m := p.request()
			c := rapid.SampledFrom([]string{"<sip:1@h>", "<sip:1@h>", "<sip:1@h>", "<sip:1@H>", "<sip:1@h>;video", "<sip:2@h>"}).Draw(t, "contact")
			m.Set("Contact", c+";expires="+rapid.SampledFrom([]string{"3600", "3600", "60", "30", "0"}).Draw(t, "expires"))
			removes := strings.Contains(m.Headers[1].Value, "expires=0")
			binds := []string{c}
			if removes {
				binds = nil
			}
			one := true
			if rapid.IntRange(0, 9).Draw(t, "two") == 0 {
				m.Add("Contact", "<sip:3@h>;expires=60")
				binds, one = append(binds, "<sip:3@h>"), false
			}
			key := p.user + p.callID + c
			var before Binding
			on := s.set.Book.AoR(p.user + "@example.com")
			for _, b := range on {
				if b.Contact.String() == strings.Replace(c, ";q", "", 1) && b.CallID == p.callID {
					before = *b
				}
			}
			if reply, ok := s.local(&p, m); ok {
				answers++
				k := known[key+p.flow.Remote.String()]
				switch {
				case k == nil || !k.sound || !one || removes:
					t.Fatalf("answered here without cause: %+v\n%s", k, m)
				case m.CSeq <= k.cseq || k.contact != c:
					t.Fatalf("answered here, CSeq %d behind %d", m.CSeq, k.cseq)
				case k.until.Sub(s.now) <= 2*time.Minute || s.now.Sub(k.accepted) >= s.set.Reauthenticate:
					t.Fatalf("answered here, until %v, accepted %v ago", k.until.Sub(s.now), s.now.Sub(k.accepted))
				}
				k.cseq = m.CSeq
				after := s.set.Book.Token(before.Token)
				if after == nil || before.Flow != p.flow || after.Flow != before.Flow || after.Contact != before.Contact || !after.ExpiresPBX.Equal(k.until) ||
					after.Expires.Sub(s.now) > time.Minute || after.Expires.After(k.until) || after.Node != before.Node {
					t.Fatalf("it was %+v\nand is %+v", before, after)
				}
				list, _, _ := reply.Contacts()
				for _, x := range list {
					if v, _ := x.Param("expires"); seconds(v) > 60 || seconds(v) < 1 {
						t.Fatalf("told %s", x)
					}
				}
				continue
			}
			s.upstream(t, &p, m, known, binds)
			consistent(t, s.set.Book)
		}
	})
	if answers == 0 {
		t.Error("no answer of our own at all")
	}
}

// upstream plays a REGISTER with the PBX, and keeps the observer's books.
func (s *stage) upstream(t *rapid.T, p *phone, m *message.Message, known map[string]*rule, binds []string) {
	r, _ := s.start(p, m, nil)
	if r.over {
		return
	}
	s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
	sent := r.sent[r.last].Msg
	if v, ok := sent.Get("Contact"); len(binds) > 1 && (!ok || !strings.Contains(v, ";expires=3600")) {
		t.Fatalf("the PBX is asked for %s", v)
	}
	code := rapid.SampledFrom([]int{200, 200, 200, 200, 401, 403, 408}).Draw(t, "answer")
	granted := rapid.SampledFrom([]uint32{3600, 3600, 600, 100}).Draw(t, "granted")
	for k, x := range known { // of the same AoR and Call-ID all is open until the PBX has accepted it
		if strings.HasPrefix(k, p.user+p.callID) && strings.HasSuffix(k, p.flow.Remote.String()) && touches(m, x.contact) {
			x.sound = false
		}
	}
	switch code {
	case 200:
		s.step(r, s.grant(r, r.last, granted))
		for k := range known { // the binding is where the PBX has accepted it last
			if touches(m, known[k].contact) && strings.HasPrefix(k, p.user+p.callID) {
				delete(known, k)
			}
		}
		for _, contact := range binds {
			known[p.user+p.callID+contact+p.flow.Remote.String()] = &rule{
				accepted: s.now, until: s.now.Add(time.Duration(granted) * time.Second), cseq: m.CSeq, contact: contact, sound: true,
			}
		}
	case 408:
		s.step(r, tu.Failed{Ref: r.last, Code: 408})
	default:
		s.step(r, tu.Answered{Ref: r.last, Msg: message.Reply(sent, code, "")})
	}
}

// touches reports whether a REGISTER means the binding of a Contact: the same URI, however it is spelt.
func touches(m *message.Message, contact string) bool {
	list, _, _ := m.Contacts()
	for _, c := range list {
		if c.URI.User == contact[5:6] {
			return true
		}
	}
	return false
}

// TestRefreshesCostLittle: an answer of our own needs a fraction of what a relayed one does, and no user.
func TestRefreshesCostLittle(t *testing.T) {
	s := throttled(t)
	p := s.phones["a"]
	s.enter(p, nil)
	s.set.Book.Changes()
	m := p.request()
	n := testing.AllocsPerRun(100, func() {
		m.CSeq++
		if _, _, ok := s.set.Local(s.now, p.flow, m); !ok {
			t.Fatal("it goes to the PBX")
		}
		s.set.Book.changes = s.set.Book.changes[:0]
	})
	if n > 8 {
		t.Errorf("%v allocations", n)
	}
	stranger := netip.MustParseAddrPort("203.0.113.99:5060")
	if n := testing.AllocsPerRun(100, func() { s.set.Local(s.now, nat.Flow{Interface: 1, Remote: stranger}, m) }); n != 0 {
		t.Errorf("%v allocations for a stranger", n)
	}
}

// TestARefusalOutlivesARestart: the program that comes after answers nothing in the place of a PBX that has refused the phone.
func TestARefusalOutlivesARestart(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer int
		signed bool
		stands bool
	}{
		{"never refused", 0, false, true},
		{"refused", 403, false, false},
		{"a wrong password", 401, true, false},
		{"a challenge, which the phone answers", 401, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := throttled(t)
			p := s.phones["a"]
			b := s.enter(p, nil)
			if m := p.request(); tt.answer != 0 {
				if tt.signed {
					m.Add("Authorization", `Digest username="204", realm="x", nonce="n", uri="sip:example.com", response="0"`)
				}
				refused(s, p, m, tu.Answered{Ref: 1, Msg: message.Reply(m, tt.answer, "")})
			}
			kept := *s.set.Book.Token(b.Token)
			raw, err := kept.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			var read Binding
			if err := read.UnmarshalBinary(raw); err != nil {
				t.Fatal(err)
			}
			s.set.Book = NewBook()
			s.set.Book.Restore([]Binding{read}, s.now)
			m := p.request()
			m.CSeq += 3
			if _, ok := s.local(p, m); ok != tt.stands {
				t.Errorf("answered here: %v", ok)
			}
			consistent(t, s.set.Book)
		})
	}
}
