package transaction

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// realistic is a message of the size that providers send; n makes it unique.
func realistic(method string, n int) *message.Message {
	id := fmt.Sprintf("%032x", n)
	return &message.Message{
		Method: method, URI: message.URI{Scheme: "sip", User: "+4930123456789", Host: "203.0.113.20", Port: 5080},
		Via: []message.Via{{
			Transport: "UDP", Host: "198.51.100.7", Port: 5060, Branch: "z9hG4bK" + id[8:], RPort: 5060,
			Received: "198.51.100.7",
		}},
		From:   message.NameAddr{URI: message.URI{Scheme: "sip", User: "+49401234567", Host: "198.51.100.7"}, Tag: id[16:]},
		To:     message.NameAddr{URI: message.URI{Scheme: "sip", User: "+4930123456789", Host: "203.0.113.20"}},
		CallID: id + "@198.51.100.7", CSeq: 102, MaxForwards: 70,
		Headers: []message.Header{{Name: "Contact", Value: "<sip:+49401234567@198.51.100.7:5060>"}},
		Body:    []byte(strings.Repeat("a=rtpmap:8 PCMA/8000\r\n", 20)),
	}
}

func realisticReply(m *message.Message, status int) *message.Message {
	r := message.Reply(m, status, "")
	r.To.Tag = "k2v7p0q1w8z3x9c4"
	r.Headers = []message.Header{
		{Name: "Contact", Value: "<sip:203.0.113.20:5080>"},
		{Name: "Allow", Value: "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, MESSAGE, NOTIFY"},
	}
	return r
}

// peer is where these messages come from and go to.
var peer = flow("A")

// endings make one finished transaction of each kind.
var endings = []struct {
	what   string
	finish func(tab *Table, i int, out []Effect) []Effect
}{
	{"server OPTIONS", func(tab *Table, i int, out []Effect) []Effect {
		m := realistic("OPTIONS", i)
		out = tab.Request(dayZero, m, peer, peer, out)
		return must(tab.Respond(dayZero, out[0].ID, realisticReply(m, 200), out))
	}},
	{"server INVITE refused, no ACK yet", func(tab *Table, i int, out []Effect) []Effect {
		m := realistic("INVITE", i)
		out = tab.Request(dayZero, m, peer, peer, out)
		return must(tab.Respond(dayZero, out[0].ID, realisticReply(m, 486), out))
	}},
	{"server INVITE accepted and acknowledged", func(tab *Table, i int, out []Effect) []Effect {
		m := realistic("INVITE", i)
		out = tab.Request(dayZero, m, peer, peer, out)
		tab.Own(out[0].ID, uint64(i+1), "k2v7p0q1w8z3x9c4")
		r := realisticReply(m, 200)
		r.Body = m.Body
		out = must(tab.Respond(dayZero, out[0].ID, r, out))
		ack := realistic("ACK", i)
		ack.Via[0].Branch, ack.To.Tag = "z9hG4bKack", r.To.Tag
		return tab.Request(dayZero, ack, peer, peer, out)[:0]
	}},
	{"client OPTIONS", func(tab *Table, i int, out []Effect) []Effect {
		m := realistic("OPTIONS", i)
		out = must(tab.Send(dayZero, uint64(i+1), 1, m, peer, out))
		return tab.Response(dayZero, realisticReply(m, 200), peer, out)[:0]
	}},
	{"client INVITE refused", func(tab *Table, i int, out []Effect) []Effect {
		m := realistic("INVITE", i)
		out = must(tab.Send(dayZero, uint64(i+1), 1, m, peer, out))
		return tab.Response(dayZero, realisticReply(m, 486), peer, out)[:0]
	}},
	{"client INVITE accepted", func(tab *Table, i int, out []Effect) []Effect {
		m := realistic("INVITE", i)
		out = must(tab.Send(dayZero, uint64(i+1), 1, m, peer, out))
		return tab.Response(dayZero, realisticReply(m, 200), peer, out)[:0]
	}},
}

func must(out []Effect, err error) []Effect {
	if err != nil {
		panic(err)
	}
	return out[:0]
}

// TestFinishedTransactionsAreSmall: at most 1.5 KB is retained for a finished transaction of any kind (DESIGN: 65,536
// of them fit in 96 MiB).
func TestFinishedTransactionsAreSmall(t *testing.T) {
	const n, most = 10000, 1536
	for _, tc := range endings {
		t.Run(tc.what, func(t *testing.T) {
			tab := NewTable(Config{})
			out := make([]Effect, 0, 16)
			before := heap()
			for i := range n {
				out = tc.finish(tab, i, out)
				clear(out[:cap(out)])
			}
			each := (heap() - before) / n
			t.Logf("%d bytes retained, of them %d of messages", each, tab.Retained()/n)
			if s, c := tab.Len(); s+c != n || each > most {
				t.Errorf("%d transactions of %d bytes each; want at most %d", s+c, each, most)
			}
			runtime.KeepAlive(tab)
		})
	}
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// BenchmarkCall is the table's share of one call through both legs: INVITE, 100, 180, 200, ACK, BYE, 200.
func BenchmarkCall(b *testing.B) {
	tab := NewTable(Config{})
	a, z := flow("A"), flow("B")
	out := make([]Effect, 0, 16)
	now, i := dayZero, 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		now = now.Add(10 * time.Millisecond) // 3,200 calls in their last 32 s
		out = benchCall(tab, now, i, a, z, out)
		out = tab.Tick(now, out)[:0]
	}
}

func benchCall(tab *Table, now time.Time, i int, a, z nat.Flow, out []Effect) []Effect {
	in, onward := realistic("INVITE", i), realistic("INVITE", i+1<<32)
	out = tab.Request(now, in, a, a, out[:0])
	id := out[0].ID
	tab.Own(id, uint64(i), "k2v7p0q1w8z3x9c4")
	out, _ = tab.Respond(now, id, realisticReply(in, 100), out)
	out, _ = tab.Send(now, uint64(i), 1, onward, z, out)
	for _, status := range [...]int{180, 200} {
		out = tab.Response(now, realisticReply(onward, status), z, out)
		out, _ = tab.Respond(now, id, realisticReply(in, status), out)
	}
	ack := realistic("ACK", i)
	ack.Via[0].Branch, ack.To.Tag = "z9hG4bKack", "k2v7p0q1w8z3x9c4"
	out = tab.Request(now, ack, a, a, out[:0])
	bye := realistic("BYE", i)
	bye.Via[0].Branch, bye.To.Tag = bye.Via[0].Branch+"b", "k2v7p0q1w8z3x9c4"
	out = tab.Request(now, bye, a, a, out[:0])
	out, _ = tab.Respond(now, out[0].ID, realisticReply(bye, 200), out)
	onBye := realistic("BYE", i+1<<32)
	out, _ = tab.Send(now, uint64(i), 2, onBye, z, out)
	out = tab.Response(now, realisticReply(onBye, 200), z, out)
	return tab.Disown(now, uint64(i), out)[:0]
}

// BenchmarkRepeat is a retransmission storm: a full table hears the same requests again.
func BenchmarkRepeat(b *testing.B) {
	tab := NewTable(Config{})
	var out []Effect
	reqs := make([]*message.Message, 50000)
	for i := range reqs {
		reqs[i] = realistic("OPTIONS", i)
		out = tab.Request(dayZero, reqs[i], peer, peer, out[:0])
		out, _ = tab.Respond(dayZero, out[0].ID, realisticReply(reqs[i], 200), out)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		out = tab.Request(dayZero, reqs[i%len(reqs)], peer, peer, out[:0])
		i++
	}
}
