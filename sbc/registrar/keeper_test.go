package registrar

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// keeping runs a Keeper in virtual time as the core does.
type keeping struct {
	t    testing.TB
	k    *Keeper
	set  *Settings
	now  time.Time
	sent map[nat.Flow][]time.Time
	out  map[nat.Flow]tu.Send // not answered yet
	over bool
	// answer says what becomes of an OPTIONS at once; nil: it stays out.
	answer func(tu.Send) tu.Event
}

func newKeeping(t testing.TB, set *Settings) *keeping {
	r := &keeping{t: t, k: NewKeeper(set, tu.Seed{1}), set: set, now: zero, sent: map[nat.Flow][]time.Time{}, out: map[nat.Flow]tu.Send{}}
	r.answer = func(s tu.Send) tu.Event { return tu.Answered{Ref: s.Ref, Msg: echoed(s, 200)} }
	r.step(tu.Tick{})
	return r
}

// echoed is a phone's answer.
func echoed(s tu.Send, status int) *message.Message {
	m := message.Reply(s.Msg, status, "")
	m.To.Tag = "phone"
	at := s.Hop.Here.Signal
	m.Via = []message.Via{{Transport: "UDP", Host: at.Addr().String(), Port: at.Port(), Branch: "z9hG4bKk", RPort: 5060, Received: "203.0.113.10"}}
	return m
}

func (r *keeping) step(ev tu.Event) {
	for _, a := range r.k.Step(r.now, ev, nil) {
		switch a := a.(type) {
		case tu.Send:
			f := a.Hop.Flow
			if _, already := r.out[f]; already {
				r.t.Fatalf("two questions to %v", f)
			}
			r.out[f] = a
			r.sent[f] = append(r.sent[f], r.now)
			a.Msg.Via = []message.Via{{Transport: "UDP", Host: "203.0.113.10", Branch: "z9hG4bKx", RPort: -1}}
			if _, err := a.Msg.Append(nil); err != nil {
				r.t.Fatal(err)
			}
			if r.answer != nil {
				if ev := r.answer(a); ev != nil {
					delete(r.out, f)
					r.step(ev)
				}
			}
		case tu.Ping:
			if !a.Flow.Transport.Reliable() {
				r.t.Fatalf("a ping to %v", a.Flow)
			}
			r.sent[a.Flow] = append(r.sent[a.Flow], r.now)
		case tu.End:
			r.over = true
		default:
			r.t.Fatalf("%T", a)
		}
	}
}

func (r *keeping) until(d time.Duration) {
	end := zero.Add(d)
	for !r.over {
		next := r.k.Deadline()
		if next.IsZero() || next.After(end) {
			break
		}
		if !next.After(r.now) && next != r.now {
			r.t.Fatalf("a deadline in the past: %v at %v", next, r.now)
		}
		r.now = next
		r.step(tu.Tick{})
	}
	r.now = end
}

// bind puts a binding into a Book as a REGISTER would.
func bind(b *Book, f nat.Flow, aor string, n int) *Binding {
	x := &Binding{
		AoR: aor, Token: fmt.Sprintf("token%011d", n), Flow: f, Since: zero, Expires: zero.Add(1000 * time.Hour), ExpiresPBX: zero.Add(1000 * time.Hour),
		Contact: message.NameAddr{URI: message.URI{Scheme: "sip", User: "204", Host: "192.168.1.20", Port: 5060, Params: ";ob", Headers: "?x=y"}},
	}
	b.insert(&entry{b: x, index: -1})
	return x
}

func flowOf(n int) nat.Flow {
	return nat.Flow{Interface: 1, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 14), byte(n >> 6)}), uint16(1024+n%64))}
}

func TestKeeperAsksEachFlowOnceAnInterval(t *testing.T) {
	set := settings()
	for n := range 50 {
		bind(set.Book, flowOf(n), "204@example.com", n)
	}
	bind(set.Book, flowOf(0), "205@example.com", 50) // a second account of a phone
	r := newKeeping(t, set)
	r.until(10 * 25 * time.Second)
	for n := range 50 {
		times := r.sent[flowOf(n)]
		if len(times) != 10 {
			t.Fatalf("flow %d was asked %d times", n, len(times))
		}
		for i := 1; i < len(times); i++ {
			if d := times[i].Sub(times[i-1]); d != 25*time.Second {
				t.Fatalf("flow %d: %v", n, d)
			}
		}
		if set.Book.OnFlow(flowOf(n))[0].Answered != times[9] {
			t.Errorf("flow %d: answered %v", n, set.Book.OnFlow(flowOf(n))[0].Answered)
		}
	}
	if both := set.Book.OnFlow(flowOf(0)); both[0].Answered.IsZero() || both[1].Answered != both[0].Answered {
		t.Error("an answer counts for all accounts of a flow")
	}
}

// 20,000 phones, taken up at once as after a restart: no tenth of a second sees more than three times its share.
func TestKeeperSpreads(t *testing.T) {
	set := settings()
	const phones, slots = 20_000, 250
	for n := range phones {
		bind(set.Book, flowOf(n), fmt.Sprint(n, "@example.com"), n)
	}
	r := newKeeping(t, set)
	r.until(25 * time.Second)
	var busy [slots]int
	total := 0
	for _, times := range r.sent {
		for _, at := range times {
			busy[min(slots-1, int(at.Sub(zero)*slots/(25*time.Second)))]++
			total++
		}
	}
	if most := slices.Max(busy[:]); total != phones || most > 3*phones/slots {
		t.Errorf("%d asked, %d of them within 100 ms; an even share is %d", total, most, phones/slots)
	}
}

func TestKeeperFollowsTheBook(t *testing.T) {
	set := settings()
	r := newKeeping(t, set)
	if !r.k.Deadline().IsZero() {
		t.Error("nobody is there to be asked")
	}
	a := bind(set.Book, flowOf(1), "204@example.com", 1)
	r.step(tu.Tick{})
	r.until(60 * time.Second)
	if n := len(r.sent[flowOf(1)]); n != 2 {
		t.Errorf("asked %d times", n)
	}
	// It moves.
	moved := *a
	moved.Flow = flowOf(2)
	set.Book.swap(set.Book.tokens[a.Token], &moved)
	r.step(tu.Tick{})
	r.until(120 * time.Second)
	if len(r.sent[flowOf(1)]) != 2 || len(r.sent[flowOf(2)]) < 2 {
		t.Errorf("%d and %d times", len(r.sent[flowOf(1)]), len(r.sent[flowOf(2)]))
	}
	// It goes.
	set.Book.remove(set.Book.tokens[a.Token])
	r.step(tu.Tick{})
	if !r.k.Deadline().IsZero() || len(r.k.pings) != 0 || len(r.k.refs) != 0 {
		t.Errorf("%v, %d flows, %d questions", r.k.Deadline(), len(r.k.pings), len(r.k.refs))
	}
}

// A change of keepalive.interval counts from the next Tick on; 0 asks nobody.
func TestKeeperTakesItsInterval(t *testing.T) {
	set := settings()
	bind(set.Book, flowOf(1), "204@example.com", 1)
	r := newKeeping(t, set)
	set.Keepalive = 0
	r.step(tu.Tick{})
	bind(set.Book, flowOf(2), "205@example.com", 2)
	r.step(tu.Tick{})
	r.until(time.Hour)
	if len(r.sent) != 0 {
		t.Errorf("%v", r.sent)
	}
	set.Keepalive = 10 * time.Second
	r.step(tu.Tick{})
	r.until(time.Hour + time.Minute)
	if len(r.sent[flowOf(1)]) != 6 || len(r.sent[flowOf(2)]) != 6 {
		t.Errorf("%d and %d", len(r.sent[flowOf(1)]), len(r.sent[flowOf(2)]))
	}
}

// More changes than it keeps make it look at all.
func TestKeeperLooksAtAllWhenManyCome(t *testing.T) {
	set := settings()
	r := newKeeping(t, set)
	for n := range 3 * freshMost {
		bind(set.Book, flowOf(n), fmt.Sprint(n, "@example.com"), n)
	}
	if len(set.Book.fresh) > freshMost {
		t.Errorf("%d flows wait", len(set.Book.fresh))
	}
	r.step(tu.Tick{})
	if len(r.k.pings) != 3*freshMost || len(r.k.clock.heap) != 3*freshMost {
		t.Errorf("%d of %d", len(r.k.pings), 3*freshMost)
	}
	// Without a Keeper nothing waits for one.
	alone := NewBook()
	for n := range 3 * freshMost {
		bind(alone, flowOf(n), "x@y", n)
	}
	if alone.fresh != nil {
		t.Error("changes wait for nobody")
	}
}

// A phone that does not answer is asked on, one question at a time, and stays registered.
func TestKeeperIsPatient(t *testing.T) {
	set := settings()
	b := bind(set.Book, flowOf(1), "204@example.com", 1)
	r := newKeeping(t, set)
	r.answer = nil
	misses := 0
	for at := time.Duration(0); misses < 10; at += time.Second {
		r.until(at)
		for f, s := range r.out {
			if r.now.Sub(r.sent[f][len(r.sent[f])-1]) >= 32*time.Second {
				delete(r.out, f)
				code := 408
				if misses%2 == 1 {
					code = 503
				}
				r.step(tu.Failed{Ref: s.Ref, Code: code, Why: reason.Timeout})
				misses++
			}
		}
	}
	if set.Book.Token(b.Token) != b || !b.Answered.IsZero() {
		t.Error("it must stay as it is")
	}
	r.answer = func(s tu.Send) tu.Event { return tu.Answered{Ref: s.Ref, Msg: echoed(s, 486)} }
	r.until(r.now.Sub(zero) + 30*time.Second)
	if b.Answered.IsZero() {
		t.Error("any final answer is a sign of life")
	}
}

// While the question of a binding that went is out, a new one of the same flow waits for its end.
func TestKeeperAsksOneAtATime(t *testing.T) {
	set := settings()
	b := bind(set.Book, flowOf(1), "204@example.com", 1)
	r := newKeeping(t, set)
	r.answer = nil
	r.until(25 * time.Second)
	if len(r.out) != 1 {
		t.Fatal("no question")
	}
	old := r.out[flowOf(1)]
	set.Book.remove(set.Book.tokens[b.Token])
	r.step(tu.Tick{})
	again := bind(set.Book, flowOf(1), "204@example.com", 2)
	r.step(tu.Tick{})
	r.until(55 * time.Second) // the stage fails if there are two
	delete(r.out, flowOf(1))
	r.step(tu.Answered{Ref: old.Ref, Msg: echoed(old, 200)})
	if again.Answered.IsZero() {
		t.Error("the way is open, whoever asked")
	}
	// An answer that comes when nobody is there any more.
	r.until(100 * time.Second)
	late := r.out[flowOf(1)]
	set.Book.remove(set.Book.tokens[again.Token])
	r.step(tu.Tick{})
	r.step(tu.Answered{Ref: late.Ref, Msg: echoed(late, 200)})
	r.step(tu.Answered{Ref: late.Ref, Msg: echoed(late, 200)})
	r.step(tu.Failed{Ref: 4711, Code: 408})
	if len(r.k.pings) != 0 || len(r.k.refs) != 0 {
		t.Errorf("%d flows, %d questions stay", len(r.k.pings), len(r.k.refs))
	}
}

func TestKeeperQuestion(t *testing.T) {
	set := settings()
	bind(set.Book, flowOf(1), "204@example.com", 1)
	r := newKeeping(t, set)
	var texts []string
	r.answer = func(s tu.Send) tu.Event {
		texts = append(texts, s.Msg.String())
		return tu.Answered{Ref: s.Ref, Msg: echoed(s, 200)}
	}
	r.until(50 * time.Second)
	if len(texts) != 2 {
		t.Fatalf("%d questions", len(texts))
	}
	for _, want := range []string{
		"OPTIONS sip:204@192.168.1.20:5060;ob SIP/2.0", "To: <sip:204@192.168.1.20:5060;ob>\r\n", "From: <sip:example.com>;tag=", "CSeq: 1 OPTIONS",
	} {
		if !strings.Contains(texts[0], want) {
			t.Errorf("%q is not in\n%s", want, texts[0])
		}
	}
	for _, never := range []string{"Contact", "User-Agent", "10.0.0.", "?x=y"} {
		if strings.Contains(texts[0], never) {
			t.Errorf("%q is in\n%s", never, texts[0])
		}
	}
	if !strings.Contains(texts[1], "CSeq: 2 OPTIONS") {
		t.Error("the second question has no new number")
	}
}

// Streams are pinged on their connection while it lives, and not with OPTIONS.
func TestKeeperPingsStreams(t *testing.T) {
	set := settings()
	f := flowOf(1)
	f.Transport, f.Conn = nat.TLS, 5
	b := bind(set.Book, f, "204@example.com", 1)
	r := newKeeping(t, set)
	r.until(50 * time.Second)
	if len(r.sent[f]) != 2 {
		t.Errorf("%d pings", len(r.sent[f]))
	}
	set.Book.Lost(f)
	r.step(tu.Tick{})
	r.until(200 * time.Second)
	if len(r.sent[f]) != 2 || !r.k.Deadline().IsZero() {
		t.Error("a lost connection is pinged")
	}
	if got := set.Book.Token(b.Token); !got.Lost || b.Lost || len(set.Book.OnFlow(f)) != 0 || set.Book.At(1, f.Remote.Addr()) != 1 {
		t.Errorf("%+v", got)
	}
	set.Book.Lost(f) // once more
	if n := len(set.Book.Changes()); n != 2 {
		t.Errorf("%d changes", n)
	}
}

// What comes back edited tells of a gateway: it is noted once.
func TestKeeperSeesGateways(t *testing.T) {
	set := settings()
	b := bind(set.Book, flowOf(1), "204@example.com", 1)
	set.Book.Changes()
	r := newKeeping(t, set)
	r.answer = func(s tu.Send) tu.Event {
		m := echoed(s, 200)
		m.To.URI.Host, m.To.URI.Port = "198.51.100.7", 40122
		return tu.Answered{Ref: s.Ref, Msg: m}
	}
	r.until(100 * time.Second)
	changes := set.Book.Changes()
	if len(changes) != 1 || changes[0].Old != b || len(changes[0].New.ALG) != 1 || !strings.Contains(changes[0].New.ALG[0], "To of our request") {
		t.Fatalf("%+v", changes)
	}
	if got := set.Book.Token(b.Token); got != changes[0].New || got.Answered.IsZero() || b.ALG != nil {
		t.Error("the binding in the Book is another one now")
	}
	consistent(t, set.Book)
}

func TestKeeperEnds(t *testing.T) {
	for _, abort := range []bool{false, true} {
		set := settings()
		bind(set.Book, flowOf(1), "204@example.com", 1)
		r := newKeeping(t, set)
		r.answer = nil
		r.until(25 * time.Second)
		if abort {
			if do := r.k.Abort(r.now, nil); len(do) != 1 || do[0] != (tu.End{}) {
				t.Errorf("%v", do)
			}
		} else {
			r.step(tu.Trying{})
			r.step(tu.Hangup{})
			if !r.over || set.Book.watched {
				t.Error("it goes on")
			}
		}
		if do := r.k.Step(r.now, tu.Tick{}, nil); len(do) != 0 || !r.k.Deadline().IsZero() {
			t.Errorf("%v after the end", do)
		}
	}
}

// A listener that is gone sends nothing.
func TestKeeperNeedsAListener(t *testing.T) {
	set := settings()
	set.Hop = func(b *Binding) tu.Hop { return tu.Hop{Flow: b.Flow} }
	bind(set.Book, flowOf(1), "204@example.com", 1)
	r := newKeeping(t, set)
	r.until(time.Minute)
	if len(r.sent) != 0 {
		t.Error("it asks from nowhere")
	}
}

func BenchmarkKeeper(b *testing.B) {
	set := settings()
	for n := range 25_000 {
		bind(set.Book, flowOf(n), fmt.Sprint(n, "@example.com"), n)
	}
	k := NewKeeper(set, tu.Seed{1})
	k.Step(zero, tu.Tick{}, nil)
	var do []tu.Action
	asked := 0
	b.ReportAllocs()
	for b.Loop() {
		now := k.Deadline()
		do = k.Step(now, tu.Tick{}, do[:0])
		for _, a := range do {
			if s, ok := a.(tu.Send); ok {
				asked++
				k.Step(now, tu.Answered{Ref: s.Ref, Msg: &message.Message{Status: 200, From: s.Msg.From, To: s.Msg.To}}, nil)
			}
		}
	}
	b.ReportMetric(float64(asked)/float64(b.N), "asked/op")
}
