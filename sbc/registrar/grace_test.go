package registrar

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// town is phones of many homes that refresh each 45 s, by a PBX that grants an hour, and a gate that keeps bindings for half of one.
type town struct {
	*stage
	list []*phone
	next []time.Time // when a phone registers again
	off  map[int]bool
	out  bool // our own way
}

func newTown(t judge, phones, homes int) *town {
	w := &town{stage: newStage(t), off: map[int]bool{}}
	w.set.Book.Hold(30*time.Minute, w.set.Outside)
	for i := range phones {
		p := &phone{
			name: fmt.Sprint("p", i), user: fmt.Sprint(1000 + i), callID: fmt.Sprint("call-", i), host: "192.168.1.20:5060",
			flow: udp(fmt.Sprintf("198.51.100.%d:%d", 1+i%homes, 5000+i)),
		}
		w.list = append(w.list, p)
		w.next = append(w.next, zero.Add(time.Duration(i)*45*time.Second/time.Duration(phones)))
	}
	w.pass(time.Minute)
	return w
}

// pass lets time pass, second by second as the program does.
func (w *town) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(time.Second) {
		for i, p := range w.list {
			if w.out || w.off[i] || w.now.Before(w.next[i]) {
				continue
			}
			w.next[i] = w.now.Add(45 * time.Second)
			w.register(p, nil)
		}
		w.set.Book.Expire(w.now)
		w.runs = nil
	}
	consistent(w.t, w.set.Book)
}

func (w *town) held() (n int) {
	for b := range w.set.Book.All {
		if until, ok := w.set.Book.Held(b.Token); ok {
			n++
			if until.After(b.Expires.Add(30*time.Minute)) || until.After(b.ExpiresPBX) {
				w.t.Errorf("held until %v", until)
			}
		}
	}
	return n
}

func (w *town) want(what string, bound, held int) {
	w.t.Helper()
	if n := w.set.Book.Len(); n != bound || w.held() != held {
		w.t.Errorf("%s: %d bindings, %d held; want %d, %d", what, n, w.held(), bound, held)
	}
}

// TestAnOutageOfOurOwnWay empties nothing for as long as grace lasts; phones that come back are as before, those that do not
// go at its end.
func TestAnOutageOfOurOwnWay(t *testing.T) {
	for _, phones := range []int{8, 40, 500} {
		t.Run(fmt.Sprint(phones), func(t *testing.T) {
			w := newTown(t, phones, 5)
			w.want("before", phones, 0)
			w.out = true
			w.pass(10 * time.Minute)
			w.want("in it", phones, phones)
			w.out = false
			for i := range phones { // each in a patience of its own, and one never
				w.next[i] = w.now.Add(time.Duration(i) * 10 * time.Minute / time.Duration(phones))
			}
			w.off[0] = true
			w.pass(5 * time.Minute)
			if n := w.set.Book.Len(); n != phones {
				t.Errorf("%d of %d bindings while they come back", n, phones)
			}
			w.pass(6 * time.Minute)
			w.want("afterwards", phones, 1)
			w.pass(12 * time.Minute)
			w.want("in the end", phones-1, 0)
			w.off[1] = true
			w.pass(2 * time.Minute)
			w.want("one leaves", phones-2, 0)
		})
	}
}

// TestASilenceThatIsNone: few phones, or those of one house, may well have gone by themselves; one among many is no silence.
func TestASilenceThatIsNone(t *testing.T) {
	for _, c := range []struct {
		name          string
		phones, homes int
		off           int // how many fall silent
	}{{"few", 7, 7, 7}, {"one house", 40, 1, 40}, {"half", 40, 5, 20}, {"all but one", 40, 5, 39}, {"one", 40, 5, 1}} {
		t.Run(c.name, func(t *testing.T) {
			w := newTown(t, c.phones, c.homes)
			for i := range c.off {
				w.off[i] = true
			}
			w.pass(3 * time.Minute)
			w.want("after their time", c.phones-c.off, 0)
		})
	}
	w := newTown(t, 40, 5)
	w.set.Book.Hold(0, time.Minute)
	w.out = true
	w.pass(2 * time.Minute)
	w.want("without grace", 0, 0)
}

// TestHeldButNotForEver: not beyond what the PBX has granted, not without a connection, and not in the place of others.
func TestHeldButNotForEver(t *testing.T) {
	w := newTown(t, 40, 5)
	p := w.list[0]
	m := p.request()
	r, _ := w.start(p, m, nil)
	w.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
	w.step(r, w.grant(r, r.last, 200))
	stream := *w.list[1]
	stream.flow = nat.Flow{Interface: 3, Transport: nat.TLS, Remote: netip.MustParseAddrPort("198.51.100.50:51000"), Conn: 77}
	w.register(&stream, nil)
	w.out = true
	w.pass(3 * time.Minute)
	if n := w.held(); n != 40 {
		t.Errorf("%d are held", n)
	}
	w.set.Book.Lost(stream.flow)
	w.pass(time.Minute)
	w.set.Book.Expire(w.now.Add(time.Hour))
	if n := w.set.Book.Len(); n != 0 {
		t.Errorf("%d after an hour", n)
	}

	w = newTown(t, 40, 5)
	w.out = true
	w.pass(2 * time.Minute)
	for i := range 9 { // a user's phones come back with all new: the old one gives way
		again := *w.list[0]
		again.callID, again.host = fmt.Sprint("new-", i), fmt.Sprintf("192.168.1.20:%d", 6000+i)
		m := again.request()
		m.Add("Authorization", "Digest x")
		r, do := w.start(&again, m, nil)
		if r.over != (i == 8) {
			t.Fatalf("%d: %v", i, do)
		}
		if !r.over {
			w.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
			w.step(r, w.grant(r, r.last, 3600))
		}
	}
	if n := len(w.set.Book.AoR("1000@example.com")); n != 8 {
		t.Errorf("%d bindings of one user", n)
	}
}

// TestAHeldBindingIsNobodyElses: nobody has it by asking for it, not behind the same NAT either; its phone has it again by
// the PBX, or here if that is still due to it.
func TestAHeldBindingIsNobodyElses(t *testing.T) {
	w := newTown(t, 40, 5)
	w.set.Inside, w.set.Reauthenticate = time.Hour, time.Hour
	w.out = true
	w.pass(5 * time.Minute)
	p := w.list[3]
	b := w.set.Book.OnFlow(p.flow)[0]
	for _, at := range []string{"198.51.100.4:40000", "203.0.113.66:5003"} {
		thief := *p
		thief.flow = udp(at)
		r, m := w.register403(&thief)
		if m.Status != 403 || !r.over || w.set.Book.Token(b.Token) != b {
			t.Errorf("%s: %d, %+v", at, m.Status, w.set.Book.Token(b.Token))
		}
	}
	m := p.request()
	_, here := w.local(p, m)
	if want := w.now.Before(w.set.due(b)); here != want {
		t.Errorf("answered here: %v, want %v", here, want)
	}
	if !here {
		w.register(p, nil)
	}
	if _, held := w.set.Book.Held(b.Token); held {
		t.Error("it is back, and held")
	}
}

// register403 plays a REGISTER that the PBX refuses.
func (s *stage) register403(p *phone) (*run, *message.Message) {
	m := p.request()
	if _, ok := s.local(p, m); ok {
		s.t.Fatal("answered here")
	}
	r, _ := s.start(p, m, nil)
	s.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
	do := s.step(r, tu.Answered{Ref: r.last, Msg: message.Reply(r.sent[r.last].Msg, 403, "")})
	return r, do[len(do)-2].(tu.Respond).Msg
}

// TestWhatExpiredWhileNoProgramRan is held by the next one, within the same bounds.
func TestWhatExpiredWhileNoProgramRan(t *testing.T) {
	w := newTown(t, 3, 3)
	var kept []Binding
	for b := range w.set.Book.All {
		x := *b
		x.Expires, x.ExpiresPBX = x.Expires.Round(0), x.ExpiresPBX.Round(0)
		kept = append(kept, x)
	}
	kept[0].Flow.Transport, kept[0].Lost = nat.TCP, true
	for down, want := range map[time.Duration]int{time.Second: 3, 5 * time.Minute: 2, 29 * time.Minute: 2, 32 * time.Minute: 0, 2 * time.Hour: 0} {
		book := NewBook()
		book.Hold(30*time.Minute, time.Minute)
		now := w.now.Add(down)
		book.Restore(kept, now)
		consistent(t, book)
		if book.Len() != want {
			t.Errorf("%v later: %d bindings, want %d", down, book.Len(), want)
		}
		book.Expire(now.Add(32 * time.Minute))
		if book.Len() != 0 {
			t.Errorf("%v later: %d for ever", down, book.Len())
		}
		plain := NewBook()
		plain.Restore(kept, now)
		if want := map[bool]int{true: 3}[down == time.Second]; plain.Len() != want {
			t.Errorf("%v later without grace: %d bindings, want %d", down, plain.Len(), want)
		}
	}
}
