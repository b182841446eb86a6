package registrar

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// pbx is a registrar of RFC 3261 §10.3: contacts of an address-of-record by token, until when, and the last number of each
// Call-ID.
type pbx struct {
	bound map[string]map[string]time.Time
	last  map[string]uint32
}

// handle answers a relayed REGISTER.
func (p *pbx) handle(t *rapid.T, now time.Time, s tu.Send, deny bool) *message.Message {
	m := s.Msg
	reply := message.Reply(m, 200, "")
	reply.To.Tag = "pbx"
	switch {
	case deny:
		reply.Status = rapid.SampledFrom([]int{401, 403, 404, 423, 500}).Draw(t, "refusal")
		return reply
	case m.CSeq <= p.last[m.CallID]:
		reply.Status = 500
		return reply
	}
	p.last[m.CallID] = m.CSeq
	aor := m.To.URI.User
	if p.bound[aor] == nil {
		p.bound[aor] = map[string]time.Time{}
	}
	list, star, err := m.Contacts()
	if err != nil {
		t.Fatal(err)
	}
	if star {
		clear(p.bound[aor])
	}
	usual := "3600"
	if v, ok := m.Get("Expires"); ok {
		usual = v
	}
	seen := map[string]bool{}
	for _, c := range list {
		token := c.URI.User
		if seen[token] || len(token) != 16 || c.URI.Host != "10.0.0.2" {
			t.Fatalf("contact %s", c)
		}
		seen[token] = true
		v, ok := c.Param("expires")
		if !ok {
			v = usual
		}
		if n := min(seconds(v), 600); n == 0 {
			delete(p.bound[aor], token)
		} else {
			p.bound[aor][token] = now.Add(time.Duration(n) * time.Second)
		}
	}
	for _, token := range slices.Sorted(maps.Keys(p.bound[aor])) {
		if left := p.bound[aor][token].Sub(now); left > 0 {
			reply.Add("Contact", fmt.Sprintf("<sip:%s@10.0.0.2:5060>;expires=%d", token, left/time.Second))
		}
	}
	return reply
}

// world is a gate with phones that do what phones do, in any order, and answers that overtake one another.
type world struct {
	*stage
	t    *rapid.T
	pbx  pbx
	open []*run
	list []*phone
	full map[string]bool // tokens that the PBX has taken and the gate had no room for
}

func newWorld(t *rapid.T) *world {
	w := &world{stage: newStage(t), t: t, pbx: pbx{bound: map[string]map[string]time.Time{}, last: map[string]uint32{}}, full: map[string]bool{}}
	w.set.Limits = Limits{Contacts: 3, PerSource: 4, Bindings: 7}
	for i := range 8 {
		p := &phone{
			name: fmt.Sprint("p", i), user: fmt.Sprint(200 + i%3), callID: fmt.Sprint("call-", i),
			flow: udp(fmt.Sprintf("198.51.100.%d:%d", 1+i%3, 5000+i)), host: fmt.Sprintf("192.168.1.%d:5060", 20+i%2),
		}
		w.list = append(w.list, p)
	}
	return w
}

// contact is a Contact whose port says which phone wrote it.
func (w *world) contact(i, n int) string {
	p := w.list[i]
	c := fmt.Sprintf("<sip:%s@%s:%d>", p.user, netip.MustParseAddrPort(p.host).Addr(), 10_000+100*i+n)
	if i%4 == 0 {
		c += fmt.Sprintf(`;+sip.instance="<urn:%d>"`, i)
	}
	switch rapid.IntRange(0, 5).Draw(w.t, "expires") {
	case 0:
		c += ";expires=0"
	case 1:
		c += ";expires=30"
	}
	return c
}

// send starts a REGISTER of a phone.
func (w *world) send() {
	i := rapid.IntRange(0, len(w.list)-1).Draw(w.t, "phone")
	p := w.list[i]
	if rapid.IntRange(0, 5).Draw(w.t, "moves") == 0 {
		p.flow.Remote = netip.MustParseAddrPort(fmt.Sprintf("198.51.100.%d:%d", rapid.IntRange(1, 3).Draw(w.t, "to"), 6000+100*i+rapid.IntRange(0, 9).Draw(w.t, "port")))
	}
	if rapid.IntRange(0, 9).Draw(w.t, "reboots") == 0 {
		p.callID += "x"
	}
	m := p.request()
	m.Remove("Contact")
	switch rapid.IntRange(0, 7).Draw(w.t, "what") {
	case 0:
		m.Add("Contact", "*")
		m.Add("Expires", "0")
	case 1: // a query
	default:
		for range rapid.IntRange(1, 3).Draw(w.t, "contacts") {
			m.Add("Contact", w.contact(i, rapid.IntRange(0, 2).Draw(w.t, "which")))
		}
	}
	if rapid.Bool().Draw(w.t, "authorised") {
		m.Add("Authorization", "Digest x")
	}
	r, do := w.start(p, m, nil)
	w.unchanged("a request")
	if !r.over {
		w.step(r, tu.Routed{Hops: []tu.Hop{nodeHop("10.0.0.10:5060")}})
		w.open = append(w.open, r)
		w.unchanged("a plan")
	}
	w.look(p, do)
}

// answer lets the PBX handle one that is under way.
func (w *world) answer() {
	if len(w.open) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.open)-1).Draw(w.t, "answered")
	r := w.open[i]
	w.open = slices.Delete(w.open, i, i+1)
	deny := rapid.IntRange(0, 3).Draw(w.t, "deny") == 0
	m := w.pbx.handle(w.t, w.now, r.sent[r.last], deny)
	do := w.step(r, tu.Answered{Ref: r.last, Msg: m, Flow: r.sent[r.last].Hop.Flow})
	if !r.over {
		w.t.Fatal("it goes on")
	}
	if m.Status != 200 {
		w.unchanged("a refusal")
	}
	if answer := do[len(do)-2].(tu.Respond).Msg; m.Status == 200 && answer.Status != 200 {
		for i := range r.wish.list {
			w.full[r.wish.list[i].token] = true
		}
	}
	w.look(r.phone, do)
}

// unchanged holds the Book to what it was, but for what a node was told: of a phone that was refused that is forgotten.
func (w *world) unchanged(after string) {
	for _, ch := range w.set.Book.Changes() {
		if ch.Old == nil || ch.New == nil || ch.New.Told.IsValid() {
			w.t.Fatalf("a change after %s: %+v", after, ch)
		}
		was := *ch.Old
		was.Told = ch.New.Told
		if !reflect.DeepEqual(was, *ch.New) {
			w.t.Fatalf("a change after %s: %+v, then %+v", after, ch.Old, ch.New)
		}
	}
}

// look holds what a phone is shown to what it may see.
func (w *world) look(p *phone, do []tu.Action) {
	i := slices.Index(w.list, p)
	for _, a := range do {
		a, ok := a.(tu.Respond)
		if !ok {
			continue
		}
		list, _, err := a.Msg.Contacts()
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range list {
			if int(c.URI.Port-10_000)/100 != i {
				w.t.Fatalf("%s is shown %s", p.name, c)
			}
			if v, _ := c.Param("expires"); seconds(v) < 1 || seconds(v) > 60 {
				w.t.Fatalf("%s is told %s", p.name, v)
			}
		}
		if text := a.Msg.String(); strings.Contains(text, "10.0.0.") {
			w.t.Fatalf("the inside shows:\n%s", text)
		}
	}
	w.hold()
}

// hold checks what is always true.
func (w *world) hold() {
	book := w.set.Book
	consistent(w.t, book)
	if book.Len() > w.set.Limits.Bindings {
		w.t.Fatalf("%d bindings", book.Len())
	}
	for aor, list := range book.aors {
		if len(list) > w.set.Limits.Contacts {
			w.t.Fatalf("%s has %d", aor, len(list))
		}
	}
	for a, there := range book.sources {
		if len(there) > w.set.Limits.PerSource {
			w.t.Fatalf("%v has %d", a, len(there))
		}
	}
	for b := range book.All {
		user, _, _ := strings.Cut(b.AoR, "@")
		until, bound := w.pbx.bound[user][b.Token]
		if !bound && !w.full[b.Token] {
			w.t.Fatalf("%s is bound here and not at the PBX", b.Token)
		}
		if until.Before(b.Expires) && !w.full[b.Token] {
			w.t.Fatalf("%s is told %v, and the PBX ends it at %v", b.Token, b.Expires, until)
		}
	}
	for _, c := range book.Changes() {
		if c.Old == nil && c.New == nil || c.Old != nil && c.New != nil && c.Old.Token != c.New.Token {
			w.t.Fatalf("%+v", c)
		}
	}
}

// TestAnyOrder: whatever phones and PBX do in whatever order, no cap is passed, the indices agree, nothing is bound that the
// PBX has not bound for at least as long, only a 2xx changes anything, no phone sees another's Contact; and in the end all is
// gone.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			switch rapid.IntRange(0, 8).Draw(t, "event") {
			case 0, 1, 2, 3:
				w.send()
			case 4, 5, 6, 7:
				w.answer()
			default:
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
				w.set.Book.Expire(w.now)
				w.hold()
			}
		}
		for len(w.open) > 0 {
			w.answer()
		}
		w.set.Book.Expire(w.now.Add(time.Minute + Grace))
		consistent(t, w.set.Book)
		if n := w.set.Book.Len(); n != 0 || !w.set.Book.Next().IsZero() || len(w.set.Book.aors)+len(w.set.Book.flows)+len(w.set.Book.at)+len(w.set.Book.sources) != 0 {
			t.Fatalf("%d bindings are left", n)
		}
	})
}

// TestAnyEvent: a Register hears events in any order and of any kind, and ends once, with one answer.
func TestAnyEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStage(t)
		p := s.phones["a"]
		r := &run{Register: NewRegister(s.set, tu.Seed{1}), phone: p, sent: map[tu.Ref]tu.Send{}}
		answers := 0
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			var ev tu.Event
			ref := tu.Ref(rapid.IntRange(0, 4).Draw(t, "ref"))
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0, 1:
				ev = tu.Arrived{Tx: 1, Msg: p.request(), Flow: p.flow, Peer: &tu.Peer{Kind: tu.KindPhone}}
			case 2, 3:
				plan := rapid.SampledFrom([][]string{nil, {"10.0.0.10:5060"}, {"10.0.0.10:5060!", "10.0.0.11:5060!", "10.0.0.12:5060"}}).Draw(t, "plan")
				routed := tu.Routed{Code: 503}
				for _, h := range plan {
					routed.Hops = append(routed.Hops, nodeHop(h))
				}
				ev = routed
			case 4:
				ev = tu.Trying{Ref: ref}
			case 5, 6:
				if r.sent[ref].Msg == nil {
					continue
				}
				ev = tu.Answered{Ref: ref, Msg: message.Reply(r.sent[ref].Msg, rapid.SampledFrom([]int{183, 200, 302, 401, 404, 503, 600}).Draw(t, "status"), "")}
			case 7:
				ev = tu.Failed{Ref: ref, Code: rapid.SampledFrom([]int{408, 503}).Draw(t, "code")}
			case 8:
				if due := r.Deadline(); !due.IsZero() {
					s.now = due
				}
				ev = tu.Tick{}
			default:
				ev = tu.Hangup{Code: 503}
			}
			before := r.over
			do := r.Step(s.now, ev, nil)
			if before && len(do) > 0 {
				t.Fatalf("%T after the end: %v", ev, do)
			}
			for _, a := range do {
				switch a := a.(type) {
				case tu.Respond:
					answers++
				case tu.Send:
					r.sent[a.Ref] = a
				case tu.End:
					r.over = true
				}
			}
			if r.over && r.msg != nil && answers != 1 {
				t.Fatalf("ended with %d answers", answers)
			}
		}
	})
}

// TestTokensAreStable: a phone with an instance has one token for ever; without, as long as Contact and source stay; two
// phones never have one.
func TestTokensAreStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := map[string]string{}
		for i := range 5 {
			for range 2 { // over a restart without a store
				s := newStage(t)
				p := s.phones["a"]
				p.callID = rapid.StringMatching(`[a-z]{8}`).Draw(t, "call-id")
				p.user = fmt.Sprint(200 + i%2)
				instance := ""
				if i >= 2 {
					instance = fmt.Sprintf(`;+sip.instance="<urn:%d>"`, i)
					p.flow = udp(fmt.Sprint("198.51.100.7:", rapid.IntRange(1, 65535).Draw(t, "port")))
				}
				s.register(p, func(m *message.Message) { m.Set("Contact", "<sip:"+p.user+"@192.168.1.20>"+instance) })
				token := s.set.Book.AoR(p.user + "@example.com")[0].Token
				who := fmt.Sprint(p.user, instance)
				if tokens[who] == "" {
					tokens[who] = token
				}
				if tokens[who] != token {
					t.Fatalf("%s: %s, then %s", who, tokens[who], token)
				}
			}
		}
		seen := map[string]bool{}
		for _, token := range tokens {
			if seen[token] {
				t.Fatal("two phones with one token")
			}
			seen[token] = true
		}
	})
}
