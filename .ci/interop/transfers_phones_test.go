//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// hearsPhone has a telephone of the test's own talk to one of another make, and fails the test unless it hears somebody; what
// the other one hears, sounded says when all was recorded.
func hearsPhone(t *testing.T, x seat, p telephone) {
	t.Helper()
	const least = 40
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		n := 0
		for _, l := range x.live(x.number) {
			n += l.media.strange()
		}
		if n >= least {
			t.Logf("audio: %s hears %d packets of %s", x.number, n, p.subscriber().user)
			return
		}
	}
	t.Errorf("%s does not hear %s", x.number, p.subscriber().user)
}

// sounded counts what a host was sent of a telephone's voice.
func sounded(all []packet, x extension, name string) int {
	return len(choose(all, packet.rtp, on(x.ns), to(x.address), func(p packet) bool {
		return bytes.Equal(bytes.TrimRight(p.payload[12:], " "), []byte(name))
	}))
}

func heardBy(t *testing.T, all []packet, x extension, speaker seat) {
	t.Helper()
	if n := sounded(all, x, speaker.number); n < 20 {
		t.Errorf("%s hears %d packets of %s, want 20 at least", x.user, n, speaker.number)
	} else {
		t.Logf("audio: %s hears %d packets of %s", x.user, n, speaker.number)
	}
}

// lone waits until a telephone of the test's own has exactly one call, and returns it.
func lone(t *testing.T, x seat, number string) *line {
	t.Helper()
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if list := x.live(number); len(list) == 1 && !pending(list[0].up) {
			return list[0]
		}
	}
	t.Fatalf("%s has %d calls, want one that is answered", number, len(x.live(number)))
	return nil
}

// TestTransfersOfTelephones: telephones that people use refer, are referred, and are what others are referred to.
func TestTransfersOfTelephones(t *testing.T) {
	t.Parallel()
	w := newHomes(t)
	w.pbx(t, node1)
	s := &stage{world: w, g: w.phoneGate(t, phoneSettings{health: "1h"})}
	office := w.desks(t)
	carrier := w.callers(t)
	mobile := w.userAgent(t, anna.ns, anna.address, doors["udp"], "PhoneProduct", &anna)
	mobile.register(t, 60)
	l, l2 := seat{office, local, "100"}, seat{office, local, "101"}
	far, far2 := seat{carrier, trunk, "+493055501"}, seat{carrier, trunk, "+493055502"}
	r := seat{mobile, roaming, anna.user}
	b, c := w.baresip(t, bert, "udp", doors["udp"], 60), w.linphone(t, cora, "udp", doors["udp"], 60)
	b.registers(t, 1)
	c.registers(t, 1)
	as := func(x extension) seat { return seat{nil, roaming, x.user} }
	for _, k := range []struct {
		name    string
		shown   bool
		records int
		play    func(t *testing.T) (phone extension, speakers []seat)
	}{
		{"baresip refers a trunk to the office", true, 2, func(t *testing.T) (extension, []seat) {
			far.gets(t, far.uri(as(bert)))
			hearsPhone(t, far, b)
			closed := b.seen("CALL_CLOSED")
			b.do("transfer", "sip:100@"+domain)
			l.comes(t, l.number)
			b.reaches(t, "CALL_CLOSED", closed+1, 5*time.Second)
			talking(t, far, l)
			leaves(t, far, l)
			return bert, []seat{far}
		}},
		{"the office refers baresip to a trunk", false, 3, func(t *testing.T) (extension, []seat) {
			one := l.gets(t, l.uri(as(bert)))
			hearsPhone(t, l, b)
			one.refer(l.uri(far))
			far.comes(t, far.number)
			if got := one.reported(t); !strings.HasPrefix(got, "200") {
				t.Errorf("the office hears of its transfer: %v", one.told)
			}
			one.hangUp()
			hearsPhone(t, far, b)
			time.Sleep(600 * time.Millisecond)
			lone(t, far, far.number).hangUp()
			return bert, []seat{l, far}
		}},
		{"linphone joins a trunk and the office", false, 3, func(t *testing.T) (extension, []seat) {
			far.gets(t, far.uri(as(cora)))
			c.speak()
			hearsPhone(t, far, c)
			c.waits(t)
			c.call("100")
			l.comes(t, l.number)
			c.speak()
			hearsPhone(t, l, c)
			c.joins(t)
			talking(t, far, l)
			leaves(t, l, far)
			return cora, []seat{far, l}
		}},
		{"linphone joins two calls of the trunk", true, 4, func(t *testing.T) (extension, []seat) {
			far.gets(t, far.uri(as(cora)))
			c.speak()
			hearsPhone(t, far, c)
			c.waits(t)
			c.call(far2.number)
			far2.comes(t, far2.number)
			c.speak()
			hearsPhone(t, far2, c)
			c.joins(t)
			talking(t, far, far2)
			leaves(t, far2, far)
			return cora, []seat{far, far2}
		}},
		{"the office joins a trunk and linphone", false, 2, func(t *testing.T) (extension, []seat) {
			_, one := far.calls(t, l)
			return s.joinsWithLinphone(t, c, one, far, l)
		}},
		{"the office joins another telephone and linphone, which knows the call by ids of its own", true, 2, func(t *testing.T) (extension, []seat) {
			_, one := l2.calls(t, l)
			return s.joinsWithLinphone(t, c, one, l2, l)
		}},
		{"the office joins a phone and linphone, which knows the call by ids of its own", false, 4, func(t *testing.T) (extension, []seat) {
			_, one := r.calls(t, l)
			return s.joinsWithLinphone(t, c, one, r, l)
		}},
	} {
		if !*full && !k.shown {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			for _, x := range []seat{l, far, r} {
				x.clear()
			}
			var phone extension
			var speakers []seat
			all := s.g.observe(t, k.records, []string{bert.ns, cora.ns}, func() { phone, speakers = k.play(t) })
			for _, x := range speakers {
				heardBy(t, all, phone, x)
			}
			s.spotless(t)
		})
	}
	b.quit(t)
	c.quit(t)
	s.g.stop(t)
}

// TestTransfersWithKeys: a telephone with TLS and SRTP is joined with a trunk that has neither, by whoever refers.
func TestTransfersWithKeys(t *testing.T) {
	long(t)
	t.Parallel()
	w := newHomes(t)
	w.pbx(t, node1)
	s := &stage{world: w, g: w.phoneGate(t, phoneSettings{health: "1h"})}
	office := w.desks(t)
	carrier := w.callers(t)
	l, far, phone := seat{office, local, "100"}, seat{carrier, trunk, "+493055501"}, seat{nil, roaming, bert.user}
	b := w.baresip(t, bert, "tls", doors["tls"], 60, ";mediaenc=srtp-mand")
	b.registers(t, 1)
	for _, k := range []struct {
		name    string
		records int
		play    func(t *testing.T)
	}{
		{"after a consultation", 2, func(t *testing.T) {
			_, one := far.calls(t, l)
			one.hold(t)
			two := l.gets(t, l.uri(phone))
			hearsPhone(t, l, b)
			one.refer(referTo(two.remote, two.replaces()))
			one.reported(t)
			gone(t, l)
		}},
		{"blind", 2, func(t *testing.T) {
			_, one := far.calls(t, l)
			one.refer(l.uri(phone))
			one.reported(t)
			gone(t, l)
		}},
		{"there and back", 3, func(t *testing.T) {
			far.gets(t, far.uri(phone))
			hearsPhone(t, far, b)
			b.do("transfer", "sip:100@"+domain)
			second := l.comes(t, l.number)
			talking(t, far, l)
			second.refer(l.uri(phone))
			second.reported(t)
			gone(t, l)
		}},
	} {
		t.Run(k.name, func(t *testing.T) {
			far.clear()
			l.clear()
			s.plays(t, k.records, func() {
				k.play(t)
				for _, x := range far.live(far.number) {
					x.media.forget()
				}
				hearsPhone(t, far, b)
				lone(t, far, far.number).hangUp()
			})
		})
	}
	b.quit(t)
	words := linear(fmt.Appendf(nil, "%-160s", far.number))
	if n := bytes.Count(w.ear(t, b), words); n < 120 {
		t.Errorf("%d packets of the trunk's words in the phone's ear, want 120 at least", n)
	} else {
		t.Logf("%d packets of the trunk's words in the phone's ear", n)
	}
	s.g.stop(t)
}

// joinsWithLinphone: somebody in the office, who talks to b, calls linphone and joins the two.
func (s *stage) joinsWithLinphone(t *testing.T, c *linphone, one *line, b, office seat) (extension, []seat) {
	t.Helper()
	one.hold(t)
	two := office.gets(t, office.uri(seat{nil, roaming, cora.user}))
	c.speak()
	hearsPhone(t, office, c)
	one.transfers(t, referTo(two.remote, two.replaces()))
	one.hangUp()
	gone(t, office)
	c.speak()
	for _, l := range b.live(b.number) {
		l.media.forget()
	}
	hearsPhone(t, b, c)
	time.Sleep(600 * time.Millisecond)
	lone(t, b, b.number).hangUp()
	return cora, []seat{office, b}
}

// waits puts linphone's call on hold, so that it may make another one.
func (l *linphone) waits(t *testing.T) {
	t.Helper()
	const mark = "is now paused."
	before := strings.Count(l.output(), mark)
	l.hold()
	l.says(t, l.log, mark, before+1, 5*time.Second)
}

// joins has linphone join the two calls that it has.
func (l *linphone) joins(t *testing.T) {
	t.Helper()
	ids := l.callIDs(t)
	if len(ids) != 2 {
		t.Fatalf("linphone has the calls %v, want two\n%s", ids, l.tail())
	}
	l.do("transfer " + ids[0] + " --to-call " + ids[1])
}

// callIDs are the numbers of linphone's calls, as its console lists them.
func (l *linphone) callIDs(t *testing.T) (ids []string) {
	t.Helper()
	const mark = "Call states"
	before := strings.Count(l.output(), mark)
	l.do("calls")
	until(t, "linphone lists its calls", 5*time.Second, func() bool { return strings.Count(l.output(), mark) > before })
	time.Sleep(100 * time.Millisecond) // it writes line by line
	text := l.output()
	for _, found := range linphoneCall.FindAllStringSubmatch(text[strings.LastIndex(text, mark):], -1) {
		ids = append(ids, found[1])
	}
	return ids
}
