package transaction

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// TestLossyNetwork joins two tables by a network that loses, repeats and reorders, lets users at both ends call, cancel
// and hang up at random, and checks what the table promises.
func TestLossyNetwork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.IntRange(0, 35).Draw(t, "loss %"))
		for i := range rapid.IntRange(4, 24).Draw(t, "requests") {
			w.plan(i)
		}
		w.run()
		w.judge()
	})
}

// TestQuietNetwork: without loss nothing times out and every 2xx is acknowledged.
func TestQuietNetwork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 0)
		for i := range rapid.IntRange(4, 24).Draw(t, "requests") {
			w.plan(i)
		}
		w.run()
		w.judge()
		for ref, s := range w.sent {
			if s.timeouts > 0 && !s.deaf && !s.failed {
				t.Fatalf("request %d (%s) timed out on a network without loss", ref, s.method)
			}
		}
		for id, s := range w.served {
			if s.notAcked > 0 && !s.mute {
				t.Fatalf("2xx of #%d was not acknowledged on a network without loss", id)
			}
		}
	})
}

// world is two tables, the network between them and the users on both sides. Its client table stands at B, its server
// table at A.
type world struct {
	t              *rapid.T
	now            time.Time
	client, server *Table
	loss           int
	tcp            bool
	todo           []job
	jobs           int
	sent           map[uint32]*sentRequest
	served         map[ID]*servedRequest
	branches       map[string]ID
}

// job is something that happens at a moment: a packet arrives, a user acts.
type job struct {
	at  time.Time
	seq int
	do  func()
}

// sentRequest is what the client's user heard of one request.
type sentRequest struct {
	method                      string
	finals, repeats, timeouts   int
	status                      int
	cancelled, disowned, failed bool
	late                        int
	deaf                        bool // the server's user never answers
	tags                        map[string]bool
}

// servedRequest is what the server's user did and heard.
type servedRequest struct {
	msg                            *message.Message
	answered, acks, notAcked       int
	cancelled                      int
	accepted, mute, invite, merged bool // mute: the client's user does not acknowledge
}

func newWorld(t *rapid.T, loss int) *world {
	cfg := Config{}
	return &world{
		t: t, now: dayZero, client: NewTable(cfg), server: NewTable(cfg), loss: loss,
		tcp:  rapid.Bool().Draw(t, "tcp"),
		sent: map[uint32]*sentRequest{}, served: map[ID]*servedRequest{}, branches: map[string]ID{},
	}
}

func (w *world) at(d time.Duration, do func()) {
	w.jobs++
	w.todo = append(w.todo, job{at: w.now.Add(d), seq: w.jobs, do: do})
}

func (w *world) pick(what string, from, to int) int { return rapid.IntRange(from, to).Draw(w.t, what) }

func (w *world) flow(s string) nat.Flow {
	if w.tcp {
		s += "/tcp"
	}
	return flow(s)
}

// post sends a packet: lost, late, or twice, but never later than 2 s, so that it does not outlive what it belongs to.
// A stream loses and reorders nothing.
func (w *world) post(b []byte, arrive func(m *message.Message)) {
	m := read(w.t, b)
	if w.tcp {
		w.at(20*time.Millisecond, func() { arrive(m) })
		return
	}
	for range w.pick("copies", 1, 2) {
		if w.pick("luck", 0, 99) >= w.loss {
			w.at(time.Duration(w.pick("ms", 1, 2000))*time.Millisecond, func() { arrive(m) })
		}
	}
}

func (w *world) toServer(m *message.Message) {
	w.fromServer(w.server.Request(w.now, m, w.flow("B"), w.flow("B"), nil))
}

func (w *world) toClient(m *message.Message) {
	w.fromClient(w.client.Response(w.now, m, w.flow("A"), nil))
}

// plan lets the client's user send request number i, and perhaps cancel it, end, or lose its server.
func (w *world) plan(i int) {
	ref := uint32(i + 1)
	s := &sentRequest{tags: map[string]bool{}}
	s.method = [...]string{"INVITE", "OPTIONS", "BYE"}[w.pick("method", 0, 2)]
	s.deaf = w.pick("deaf", 0, 9) == 0
	w.sent[ref] = s
	line := fmt.Sprintf("x b=%d call=c%d from=%v", ref, ref, s.deaf)
	start := time.Duration(w.pick("start ms", 0, 3000)) * time.Millisecond
	w.at(start, func() {
		out, err := w.client.Send(w.now, uint64(ref), ref, request(s.method, split(line)), w.flow("A"), nil)
		if err != nil {
			w.t.Fatal(err)
		}
		w.fromClient(out)
	})
	later := start + time.Duration(w.pick("later ms", 1, 20000))*time.Millisecond
	if w.pick("cancels", 0, 2) == 0 || s.deaf {
		w.at(later, func() {
			s.cancelled = true
			w.fromClient(w.client.Cancel(w.now, uint64(ref), ref, ref%2 == 0, "", nil))
		})
	}
	switch w.pick("fate", 0, 7) {
	case 0:
		w.at(later, func() {
			s.disowned = true
			w.fromClient(w.client.Disown(w.now, uint64(ref), nil))
		})
	case 1:
		w.at(later, func() {
			w.fromClient(w.client.Unreachable(w.now, w.flow("A"), nil))
		})
	}
}

// fromClient is the client's user.
func (w *world) fromClient(out []Effect) {
	for _, e := range out {
		s := w.sent[e.Ref]
		switch e.Kind {
		case Transmit:
			w.post(e.Bytes, w.toServer)
		case Provisional:
			if s.finals+s.timeouts > 0 || s.disowned || s.failed {
				w.t.Fatalf("%s: 1xx after the end", s.method)
			}
		case Response:
			w.answered(s, e.Msg)
		case Timeout:
			s.timeouts++
		case Failed:
			s.failed = true
			s.timeouts++
		case LateAnswer:
			w.lateAnswer(e)
		default:
			w.t.Fatalf("the client's table says %v", e.Kind)
		}
	}
}

func (w *world) answered(s *sentRequest, m *message.Message) {
	if s.disowned || s.failed || s.timeouts > 0 {
		w.t.Fatalf("%s: a response after the end", s.method)
	}
	if s.finals > 0 {
		if s.method != "INVITE" || s.status >= 300 || m.Status >= 300 {
			w.t.Fatalf("%s: %d after %d", s.method, m.Status, s.status)
		}
		s.repeats++
	}
	s.finals, s.status = 1, m.Status
	if s.method == "INVITE" && m.Status < 300 {
		w.acknowledge(m)
	}
}

// lateAnswer is what the core does with a 2xx that nobody waits for: ACK each copy. Its BYE is left out.
func (w *world) lateAnswer(e Effect) {
	var ref uint32
	fmt.Sscanf(e.Msg.CallID, "c%d", &ref)
	s := w.sent[ref]
	if e.Repeat != s.tags[e.Msg.To.Tag] {
		w.t.Fatalf("late answer: repeat %v of tag %q", e.Repeat, e.Msg.To.Tag)
	}
	s.tags[e.Msg.To.Tag] = true
	if !s.disowned && !s.failed && s.status < 300 {
		w.t.Fatalf("a late answer for a user that waits")
	}
	s.late++
	w.acknowledge(e.Msg)
}

// acknowledge sends the ACK for a 2xx, outside any transaction; the user of an odd-numbered call never does.
func (w *world) acknowledge(m *message.Message) {
	if w.isMute(m) {
		return
	}
	ack := *m
	ack.Method, ack.Status, ack.URI, ack.MaxForwards = "ACK", 0, m.To.URI, 70
	ack.Via = []message.Via{{Transport: "UDP", Host: "a.example", Branch: m.Via[0].Branch + "ack", RPort: -1}}
	b, err := ack.Append(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.post(b, w.toServer)
}

func (w *world) isMute(m *message.Message) bool {
	var ref int
	fmt.Sscanf(m.CallID, "c%d", &ref)
	return ref%5 == 0
}

// fromServer is the server's user.
func (w *world) fromServer(out []Effect) {
	for _, e := range out {
		switch e.Kind {
		case Transmit:
			w.post(e.Bytes, w.toClient)
		case NewRequest:
			w.serve(e)
		case Cancelled:
			s := w.served[e.ID]
			if s.cancelled++; s.cancelled > 1 || s.answered > 0 {
				w.t.Fatalf("#%d: cancelled %d times, answered %d", e.ID, s.cancelled, s.answered)
			}
			w.respond(e.ID, 487)
		case AckFor2xx:
			w.served[e.ID].acks++
		case NotAcked:
			w.served[e.ID].notAcked++
		case StrayAck:
			// Legal here: an ACK in Proceeding, or one that comes after Timer L.
		default:
			w.t.Fatalf("the server's table says %v", e.Kind)
		}
	}
}

func (w *world) serve(e Effect) {
	m := e.Msg
	if old, ok := w.branches[m.Via[0].Branch+m.Method]; ok && w.server.servers[old] != nil {
		w.t.Fatalf("#%d is a copy of #%d, which lives", e.ID, old)
	}
	w.branches[m.Via[0].Branch+m.Method] = e.ID
	s := &servedRequest{msg: m, invite: m.Method == "INVITE", merged: e.Merged, mute: w.isMute(m)}
	w.served[e.ID] = s
	if e.Merged {
		w.t.Fatalf("#%d is merged, but nothing forks here", e.ID)
	}
	w.server.Own(e.ID, uint64(e.ID), fmt.Sprint("t", e.ID))
	if m.From.Tag == "true" && !s.invite { // deaf
		return
	}
	status := [...]int{200, 200, 202, 302, 486, 500, 603}[w.pick("status", 0, 6)]
	wait := time.Duration(w.pick("answer ms", 0, 20000)) * time.Millisecond
	if s.invite {
		w.respond(e.ID, 100)
		w.at(wait/2, func() { w.respond(e.ID, 180) })
		if m.From.Tag == "true" {
			// Rings until it is cancelled; the CANCEL may be lost for good, so that somebody ends it at last.
			w.at(5*time.Minute, func() { w.respond(e.ID, 480) })
			return
		}
	}
	w.at(wait, func() { w.respond(e.ID, status) })
}

func (w *world) respond(id ID, status int) {
	s := w.served[id]
	r := message.Reply(s.msg, status, "")
	if status > 100 {
		r.To.Tag = fmt.Sprint("t", id)
	}
	out, err := w.server.Respond(w.now, id, r, nil)
	if err == nil && status >= 200 {
		s.answered++
		s.accepted = status < 300
	}
	w.fromServer(out)
}

// run lets time go until nothing is left to do, and nobody waits any more.
func (w *world) run() {
	for range 1_000_000 {
		slices.SortFunc(w.todo, func(a, b job) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq))
		})
		next := w.client.Next()
		for _, x := range []time.Time{w.server.Next(), w.nextJob()} {
			if next.IsZero() || !x.IsZero() && x.Before(next) {
				next = x
			}
		}
		if next.IsZero() {
			if w.giveUp(); len(w.todo) == 0 {
				return
			}
			continue
		}
		w.now = next
		if j := w.nextJob(); j.Equal(next) { // users and packets before timers
			do := w.todo[0].do
			w.todo = w.todo[1:]
			do()
		} else {
			w.fromClient(w.client.Tick(w.now, nil))
			w.fromServer(w.server.Tick(w.now, nil))
		}
	}
	w.t.Fatal("the network never comes to rest")
}

// giveUp lets the client's users cancel the INVITEs whose final response is lost for good, all copies of it: an INVITE that rings does so
// until Timer C (RFC 3261 §16.8), which is its user's.
func (w *world) giveUp() {
	for ref := uint32(1); int(ref) <= len(w.sent); ref++ {
		if s := w.sent[ref]; s.method == "INVITE" && s.finals+s.timeouts == 0 && !s.disowned && !s.cancelled {
			w.at(3*time.Minute, func() {
				s.cancelled = true
				w.fromClient(w.client.Cancel(w.now, uint64(ref), ref, true, "", nil))
			})
		}
	}
}

func (w *world) nextJob() time.Time {
	if len(w.todo) == 0 {
		return time.Time{}
	}
	return w.todo[0].at
}

// judge checks what each user heard.
func (w *world) judge() {
	for ref, s := range w.sent {
		if n := s.finals + s.timeouts; n != 1 && !s.disowned || n > 1 {
			w.t.Fatalf("request %d (%s): %d finals, %d timeouts", ref, s.method, s.finals, s.timeouts)
		}
	}
	for id, s := range w.served {
		if s.answered > 1 {
			w.t.Fatalf("#%d answered %d times", id, s.answered)
		}
		if n := s.acks + s.notAcked; s.invite && s.accepted && n != 1 || (!s.invite || !s.accepted) && n != 0 {
			w.t.Fatalf("#%d: accepted %v, %d ACKs and %d missing", id, s.accepted, s.acks, s.notAcked)
		}
		if s.invite && s.answered == 0 {
			w.t.Fatalf("INVITE #%d was never answered", id)
		}
	}
	verifyEmpty(w.t, w.client)
	verifyEmpty(w.t, w.server)
}
