package transport

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/sbc/scan"
)

// takes is a connection whose reader is called by hand. What is sent to it goes nowhere.
func takes(guard guardFunc, h Handler) *connection {
	conf := &Config{Guard: guard, Handler: h, Now: time.Now, Log: zap.NewNop(), Streams: StreamLimits{}.filled()}
	d := newDoor(conf, stream(0, nat.TCP))
	return &connection{
		door: d, hub: newHub(conf), id: 1, remote: netip.MustParseAddrPort(theirs), stranger: true,
		born: time.Now(), active: time.Now(), raw: &wire{},
	}
}

// A message costs no more on a stream than in a datagram, whether it comes in one piece or in two, and a drop nothing.
func TestStreamAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("allocations are not counted under the race detector")
	}
	data := []byte(request("INVITE", "a"))
	e, _ := bench(guardFunc(known), sink{})
	datagram := testing.AllocsPerRun(1000, func() { e.receive(data, netip.MustParseAddrPort(theirs)) })
	for _, c := range []struct {
		name  string
		guard guardFunc
		most  float64
		cut   int
	}{
		{"whole", known, datagram, len(data)},
		{"in pieces", known, datagram, 100},
		{"dropped", drop, 0, len(data)},
		{"dropped in pieces", drop, 0, 100},
	} {
		s := takes(c.guard, sink{})
		n := testing.AllocsPerRun(1000, func() {
			s.take(data[:c.cut], false)
			if c.cut < len(data) {
				s.take(data[c.cut:], false)
			}
		})
		if n > c.most+0.5 { // the pool is emptied by a collection now and then
			t.Errorf("%s: %v allocations, %v are allowed", c.name, n, c.most)
		}
		if got := s.snapshot(); got.Delivered+got.Dropped != 1001 {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func BenchmarkStreamDeliver(b *testing.B) {
	s, data := takes(known, sink{}), []byte(request("INVITE", "a"))
	b.ReportAllocs()
	for b.Loop() {
		s.take(data, false)
	}
}

func BenchmarkStreamDrop(b *testing.B) {
	s, data := takes(drop, sink{}), []byte(request("INVITE", "a"))
	b.ReportAllocs()
	for b.Loop() {
		s.take(data, false)
	}
}

// Whatever a stream brings, and however it is cut, the same messages come out of it and nothing panics.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		request("INVITE", "a", "Content-Length: 5") + "hello" + request("ACK", "b"), "\r\n\r\n\r\n" + response("a"),
		request("INVITE", "a") + "\r\n", "\r\n\r", "\r\nX", "INVITE", request("INVITE", "a", "CSeq: 1 OPTIONS"),
		request("INVITE", "a", "Content-Length: 3\r\nl: 4") + "abcd", "\x16\x03\x01", "A\r\n", "A\r\n\r\n",
		strings.Repeat("\r\n", 20) + request("BYE", "c"), request("INVITE", "a", "Content-Length: 99999999999"),
	} {
		f.Add([]byte(s), []byte{3, 1, 200, 7})
		f.Add([]byte(s), []byte{})
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		whole, all := run(t, data, nil)
		pieces, cut := run(t, data, cuts)
		if all != cut || whole.Delivered != pieces.Delivered || whole.Streams.Pings != pieces.Streams.Pings {
			t.Fatalf("%v: whole %q %+v, in pieces %q %+v", cuts, all, whole, cut, pieces)
		}
	})
}

// run feeds a stream in pieces and tells what was delivered.
func run(t *testing.T, data, cuts []byte) (Counters, string) {
	in := &inbox{}
	s := takes(known, in)
	why := alive
	for i := 0; len(data) > 0 && why == alive; i++ {
		n := min(len(data), 4096)
		if len(cuts) > 0 {
			n = min(len(data), int(cuts[i%len(cuts)])+1)
		}
		why = s.take(bytes.Clone(data[:n]), i%3 == 0)
		data = data[n:]
		if s.work != nil && s.first.IsZero() && s.work.framer.Pending() > 0 && why == alive {
			t.Fatal("a message is begun and no clock runs")
		}
		if len(s.out) > 64<<10 || s.held > scan.MaxPending+workSize {
			t.Fatalf("%d bytes to send, %d held", len(s.out), s.held)
		}
	}
	s.release(false)
	s.drop()
	if s.charged != 0 {
		t.Fatalf("%d bytes stay charged", s.charged)
	}
	c := s.snapshot()
	if c.Panics != 0 {
		t.Fatalf("%+v", c)
	}
	var ids strings.Builder
	for _, p := range in.all() {
		ids.WriteString(p.Msg.Method + " " + p.Msg.CallID + " " + string(p.Msg.Body) + "\n")
	}
	return c, ids.String()
}
