package transaction

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/sbc/message"
)

// verify checks what must hold for a table between any two calls.
func verify(t failer, tab *Table) {
	t.Helper()
	held, timers := verifyServers(t, tab)
	h, n := verifyClients(t, tab)
	held, timers = held+h, timers+n
	if held != tab.retained {
		t.Fatalf("retained %d, counted %d", held, tab.retained)
	}
	if timers != len(tab.queue.slots) {
		t.Fatalf("%d timers run, %d stand in the queue", timers, len(tab.queue.slots))
	}
	for i := 1; i < len(tab.queue.slots); i++ {
		if tab.queue.slots[i].before(&tab.queue.slots[(i-1)/2]) {
			t.Fatalf("queue out of order at %d", i)
		}
	}
	reachable := len(tab.crowded)
	for key, s := range tab.namesake {
		for n := 1; s != nil; s, n = s.next, n+1 {
			reachable++
			if n > namesakesMost || anySource(s.key) != key || tab.servers[s.id] != s {
				t.Fatalf("namesake %d of %q is out of place", n, key)
			}
		}
	}
	if len(tab.merged) > len(tab.servers) || len(tab.accepted) > len(tab.servers) || reachable != len(tab.servers) {
		t.Fatalf("an index outlived its transactions")
	}
}

func verifyServers(t failer, tab *Table) (held, timers int) {
	t.Helper()
	for id, s := range tab.servers {
		held += len(s.last)
		timers += checkTimer(t, tab, &s.timer)
		if found, _ := tab.find([]byte(s.key), s.from); s.id != id || found != s {
			t.Fatalf("server %d is not under its key", id)
		}
		if s.twin != "" && tab.merged[s.twin] != s {
			t.Fatalf("server %d is not where its twin looks for it", id)
		}
		if s.await != "" && (s.state != accepted || tab.accepted[s.await] == nil) {
			t.Fatalf("server %d awaits an ACK in state %d", id, s.state)
		}
		if s.retry != never && len(s.last) == 0 && s.state != trying {
			t.Fatalf("server %d in state %d would repeat nothing", id, s.state)
		}
		if s.answered() != (s.req == nil) {
			t.Fatalf("server %d in state %d: request held: %v", id, s.state, s.req != nil)
		}
		if s.pos < 0 && !(s.invite && s.state == proceeding) {
			t.Fatalf("server %d in state %d has no timer", id, s.state)
		}
	}
	return held, timers
}

func verifyClients(t failer, tab *Table) (held, timers int) {
	t.Helper()
	named := 0
	for head := range maps.Values(tab.byUser.heads) {
		for c := head; c != nil; c = c.siblings.next {
			named++
		}
	}
	for key, c := range tab.clients {
		held += len(c.raw)
		timers += checkTimer(t, tab, &c.timer)
		if !c.orphan && (c.waiting() || c.state == accepted) {
			named--
		}
		if c.key != key {
			t.Fatalf("client %q is under %q", c.key, key)
		}
		if c.retry != never && len(c.raw) == 0 {
			t.Fatalf("client %q in state %d would repeat nothing", key, c.state)
		}
		if c.invite && c.waiting() != (c.req != nil) {
			t.Fatalf("INVITE client in state %d: request held: %v", c.state, c.req != nil)
		}
		if c.pos < 0 && (!c.invite || c.state != proceeding || c.cancel) {
			t.Fatalf("client %q in state %d has no timer", key, c.state)
		}
	}
	if named != 0 {
		t.Fatalf("%d clients too many stand under their users", named)
	}
	return held, timers
}

func checkTimer(t failer, tab *Table, tm *timer) int {
	t.Helper()
	if tm.pos < 0 {
		if tm.due() != never {
			t.Fatalf("a timer runs outside the queue")
		}
		return 0
	}
	if s := tab.queue.slots[tm.pos]; s.tm != tm || s.due != tm.due() {
		t.Fatalf("a timer is not in its place")
	}
	return 1
}

// verifyEmpty checks that nothing is left.
func verifyEmpty(t failer, tab *Table) {
	t.Helper()
	verify(t, tab)
	left := []int{
		len(tab.servers), len(tab.namesake), len(tab.crowded), len(tab.merged), len(tab.accepted), len(tab.owned.heads),
		len(tab.clients), len(tab.byUser.heads), len(tab.unanswered.heads), len(tab.queue.slots), tab.retained,
	}
	if slices.Max(left) > 0 {
		t.Fatalf("left: servers, namesakes, crowded, merged, accepted, owned, clients, by user, unanswered, timers, bytes: %v", left)
	}
	if !tab.Next().IsZero() {
		t.Fatalf("an empty table wants to run at %v", tab.Next())
	}
}

func TestConfigValidate(t *testing.T) {
	for _, tc := range []struct {
		cfg Config
		ok  bool
	}{
		{Config{}, true},
		{Config{T1: time.Millisecond, T2: time.Second, T4: time.Second, Max: 10}, true},
		{Config{T1: -1}, false},
		{Config{T2: -1}, false},
		{Config{T4: -1}, false},
		{Config{Max: -1}, false},
		{Config{T1: time.Second, T2: time.Millisecond}, false},
	} {
		if err := tc.cfg.Validate(); (err == nil) != tc.ok {
			t.Errorf("%+v: %v", tc.cfg, err)
		}
	}
}

// TestErrorsAreTold: callers decide by errors.Is.
func TestErrorsAreTold(t *testing.T) {
	s := newScript(t, Config{Max: 2})
	s.run("recv INVITE b=1")
	if _, err := s.table.Respond(s.now, 99, response(200, "INVITE", split("x to=t")), nil); !errors.Is(err, ErrGone) {
		t.Errorf("unknown ID: %v", err)
	}
	if _, err := s.table.Respond(s.now, 1, request("INVITE", split("x")), nil); !errors.Is(err, ErrMessage) {
		t.Errorf("a request as response: %v", err)
	}
	bad := response(200, "INVITE", split("x to=t"))
	bad.Reason = "OK\r\nEvil: yes"
	if out, err := s.table.Respond(s.now, 1, bad, nil); !errors.Is(err, message.ErrWriteControl) || len(out) != 0 {
		t.Errorf("header injection: %v %v", out, err)
	}
	s.run("respond 1 200")
	if _, err := s.table.Respond(s.now, 1, response(200, "INVITE", split("x to=t")), nil); !errors.Is(err, ErrAnswered) {
		t.Errorf("second final: %v", err)
	}
	s.run("send OPTIONS 5 1 b=2")
	if _, err := s.table.Send(s.now, 5, 2, request("OPTIONS", split("x b=3")), flow("B"), nil); !errors.Is(err, ErrFull) {
		t.Errorf("full: %v", err)
	}
	twoVias := request("OPTIONS", split("x b=4"))
	twoVias.Via = append(twoVias.Via, twoVias.Via[0])
	if _, err := s.table.Send(s.now, 5, 2, twoVias, flow("B"), nil); !errors.Is(err, ErrMessage) {
		t.Errorf("two Vias: %v", err)
	}
	verify(t, s.table)
}

// TestOddInput: messages that the gate would not let pass change nothing.
func TestOddInput(t *testing.T) {
	s := newScript(t, Config{})
	noVia := request("INVITE", split("x"))
	noVia.Via = nil
	for _, m := range []*message.Message{noVia, response(200, "INVITE", split("x"))} {
		if out := s.table.Request(s.now, m, flow("A"), flow("A"), nil); len(out) != 0 {
			t.Errorf("request %s: %v", m.Method, out)
		}
	}
	noVia = response(200, "INVITE", split("x"))
	noVia.Via = nil
	for _, m := range []*message.Message{noVia, request("INVITE", split("x"))} {
		if out := s.table.Response(s.now, m, flow("A"), nil); len(out) != 0 {
			t.Errorf("response %s: %v", m.Method, out)
		}
	}
	verifyEmpty(t, s.table)
}

// TestEffectsAreAppended: what stands in the slice stays.
func TestEffectsAreAppended(t *testing.T) {
	tab := NewTable(Config{})
	first := Effect{Kind: StrayAck}
	out := tab.Request(dayZero, request("INVITE", split("x")), flow("A"), flow("A"), []Effect{first})
	if len(out) != 2 || out[0].Kind != StrayAck || out[1].Kind != NewRequest {
		t.Fatalf("got %v", out)
	}
	if tab.out != nil {
		t.Error("the table keeps its caller's slice")
	}
}

// TestEqualTimersKeepOrder: what was set first runs first.
func TestEqualTimersKeepOrder(t *testing.T) {
	s := newScript(t, Config{})
	var want []string
	for i := range 100 {
		s.run(fmt.Sprintf("send OPTIONS 5 %d b=%d", i, i))
		want = append(want, fmt.Sprintf("0.5s transmit to B: OPTIONS b=%d", i))
	}
	if got := s.run("run 500ms"); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestLateTick: a core that fell behind sends each message once, not all that it missed, and a state that is over
// sends nothing.
func TestLateTick(t *testing.T) {
	s := newScript(t, Config{})
	s.run("send INVITE 5 1 b=1")
	s.now = s.now.Add(20 * time.Second)
	s.hear(s.table.Tick(s.now, nil))
	s.now = s.now.Add(20 * time.Second)
	s.hear(s.table.Tick(s.now, nil))
	want := []string{"0s transmit to B: INVITE b=1", "20s transmit to B: INVITE b=1", "40s timeout user 5 ref 1"}
	if !slices.Equal(s.said, want) {
		t.Errorf("got %v", s.said)
	}
}

// TestAckAndCancelRepeatTheirInvite: RFC 3261 §9.1 and §17.1.1.3, field by field.
func TestAckAndCancelRepeatTheirInvite(t *testing.T) {
	invite := request("INVITE", split("x b=1 to=there seq=7 route=<sip:edge;lr> body=sdp"))
	invite.Add("Contact", "<sip:us@gate.example>")
	cancel := follow(invite, "CANCEL")
	ack := ackOf(invite, response(486, "INVITE", split("x b=1 to=resp seq=7")))
	for _, m := range []*message.Message{cancel, ack} {
		if m.URI != invite.URI || m.CallID != invite.CallID || m.From != invite.From || m.CSeq != 7 || len(m.Via) != 1 ||
			m.Via[0] != invite.Via[0] || m.MaxForwards != 70 || len(m.Body) != 0 {
			t.Errorf("%s: %+v", m.Method, m)
		}
		if len(m.Headers) != 1 || m.Headers[0] != (message.Header{Name: "Route", Value: "<sip:edge;lr>"}) {
			t.Errorf("%s headers: %v", m.Method, m.Headers)
		}
	}
	if cancel.Method != "CANCEL" || cancel.To.Tag != "there" || ack.Method != "ACK" || ack.To.Tag != "resp" {
		t.Errorf("To: %q %q", cancel.To.Tag, ack.To.Tag)
	}
}

// TestLongNamesAreShort: a peer that chooses long identifiers does not make keys grow, and they still tell apart.
func TestLongNamesAreShort(t *testing.T) {
	long := strings.Repeat("x", 5000)
	s := newScript(t, Config{})
	s.run("recv INVITE b=" + long + " call=" + long + " from=" + long)
	s.run("recv INVITE b=" + long + "y call=" + long + " from=" + long)
	for _, server := range s.table.servers {
		if key := server.key; len(key) > keyMost+sourceLen {
			t.Errorf("key of %d bytes", len(key))
		}
	}
	for key := range s.table.merged {
		if len(key) > keyMost {
			t.Errorf("merged key of %d bytes", len(key))
		}
	}
	if srv, _ := s.table.Len(); srv != 2 || len(s.table.merged) != 1 {
		t.Errorf("%d transactions, %d merged keys", srv, len(s.table.merged))
	}
}

// TestKeysKeepPartsApart: moving a byte from one part to the next makes another key.
func TestKeysKeepPartsApart(t *testing.T) {
	a := request("INVITE", split("x b=1a by=b"))
	b := request("INVITE", split("x b=1 by=ab"))
	if string(serverKey(nil, a, "INVITE", flow("A"))) == string(serverKey(nil, b, "INVITE", flow("A"))) {
		t.Error("server keys collide")
	}
	if string(serverKey(nil, a, "INVITE", flow("A"))) != string(serverKey(nil, a, "INVITE", flow("A:9/tcp"))) {
		t.Error("server keys depend on more than the source's address")
	}
	a = request("INVITE", split("x call=ca from=b"))
	b = request("INVITE", split("x call=c from=ab"))
	if string(mergedKey(nil, a)) == string(mergedKey(nil, b)) || string(ackKey(nil, a, "t")) == string(ackKey(nil, b, "t")) {
		t.Error("dialog keys collide")
	}
	if string(clientKey(nil, "b", "INVITE")) == string(clientKey(nil, "b", "CANCEL")) {
		t.Error("client keys collide")
	}
}

// TestUnwritableAnswers: what the table would send of its own but cannot write is counted, and everybody is told as
// ever. The parser lets no such message in.
func TestUnwritableAnswers(t *testing.T) {
	s := newScript(t, Config{})
	s.run("send INVITE 5 1 b=1")
	bad := response(486, "INVITE", split("x b=1 to=a"))
	bad.To.Display = "\x00"
	s.hear(s.table.Response(s.now, bad, flow("B"), nil))
	if want := "0s response user 5 ref 1: 486 INVITE b=1 to=a"; len(s.said) != 2 || s.said[1] != want {
		t.Errorf("got %q", s.said)
	}
	stray := request("CANCEL", split("x b=2"))
	stray.From.Display = "\x00"
	if out := s.table.Request(s.now, stray, flow("A"), flow("A"), nil); len(out) != 0 {
		t.Errorf("got %v", out)
	}
	if n := s.table.Counters().Unsendable; n != 2 {
		t.Errorf("%d counted", n)
	}
	verify(t, s.table)
	s.run("run 1h")
	verifyEmpty(t, s.table)
}

// TestSharedKeyInAnyOrder: transactions under one key end in any order.
func TestSharedKeyInAnyOrder(t *testing.T) {
	for _, order := range [][]int{{1, 2, 3}, {3, 2, 1}, {2, 1, 3}, {2, 3, 1}} {
		s := newScript(t, Config{})
		for i, src := range []string{"A/tcp", "B/tcp", "C/tcp"} {
			s.run(fmt.Sprintf("recv OPTIONS b=1 call=c%d src=%s", i, src))
		}
		for _, id := range order {
			s.run(fmt.Sprintf("respond %d 200", id)) // Timer J is zero
			verify(t, s.table)
		}
		verifyEmpty(t, s.table)
	}
}

// TestNamesakesAreBounded: one branch from ever more sources makes no list to search, and each source has its answer.
func TestNamesakesAreBounded(t *testing.T) {
	s := newScript(t, Config{})
	const n = 25
	for i := range n {
		s.run(fmt.Sprintf("recv OPTIONS b=1 call=c%d src=%c", i, 'A'+i))
	}
	for i := range n {
		s.run(fmt.Sprintf("respond %d 200", (i*7)%n+1))
	}
	verify(t, s.table)
	for i := range n {
		want := fmt.Sprintf("0s transmit to %c: 200 OPTIONS b=1 to=tt", 'A'+i)
		if got := s.run(fmt.Sprintf("recv OPTIONS b=1 src=%c", 'A'+i)); !slices.Equal(got, []string{want}) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	s.run("run 1h")
	verifyEmpty(t, s.table)
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for k := Transmit; k <= LateAnswer; k++ {
		if seen[k.String()] || k.String() == "" {
			t.Errorf("kind %d: %q", k, k)
		}
		seen[k.String()] = true
	}
	if int(LateAnswer)+1 != len(kindNames) {
		t.Errorf("%d names for %d kinds", len(kindNames), LateAnswer+1)
	}
}

// TestForksAreBounded: To tags beyond the bound are reported, not remembered.
func TestForksAreBounded(t *testing.T) {
	s := newScript(t, Config{})
	s.run("send INVITE 5 1 b=1")
	s.run("disown 5")
	for i := range 3 * forksMost {
		s.run(fmt.Sprintf("resp 200 INVITE b=1 to=t%d", i))
	}
	for _, c := range s.table.clients {
		if len(c.forks) != forksMost {
			t.Errorf("%d tags", len(c.forks))
		}
	}
}

// TestRepeatsDoNotAllocate: what a flood of repeats and strays meets costs no memory.
func TestRepeatsDoNotAllocate(t *testing.T) {
	s := newScript(t, Config{})
	s.run("recv OPTIONS b=1")
	s.run("respond 1 200")
	s.run("recv INVITE b=2 call=c2")
	s.run("respond 2 200")
	s.run("recv ACK b=3 call=c2 to=tt")
	options, ack := request("OPTIONS", split("x b=1")), request("ACK", split("x b=3 call=c2 to=tt"))
	stray := response(200, "OPTIONS", split("x b=99"))
	from := flow("A")
	out := make([]Effect, 0, 8)
	for what, f := range map[string]func(){
		"repeated request": func() { out = s.table.Request(s.now, options, from, from, out[:0]) },
		"repeated ACK":     func() { out = s.table.Request(s.now, ack, from, from, out[:0]) },
		"stray response":   func() { out = s.table.Response(s.now, stray, from, out[:0]) },
		"idle tick":        func() { out = s.table.Tick(s.now, out[:0]) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}
