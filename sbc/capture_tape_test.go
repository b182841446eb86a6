package sbc_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"sallyport/sbc"
	"sallyport/sbc/api"
)

// tape is a capture under way.
type tape struct {
	t     *testing.T
	gate  *sbc.SBC
	begun chan api.Capture
	over  chan struct{}
	first api.Capture
	last  api.Capture
	err   error
	hold  chan struct{} // not nil: nothing is taken before it is closed

	mu   sync.Mutex
	file bytes.Buffer
}

// Begin implements api.CaptureSink.
func (p *tape) Begin(c api.Capture) { p.begun <- c }

// Write implements api.CaptureSink.
func (p *tape) Write(b []byte) (int, error) {
	if p.hold != nil {
		<-p.hold
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.file.Write(b)
}

// capture begins a capture.
func (l *lab) capture(q api.CaptureRequest, change ...func(*tape)) *tape {
	l.t.Helper()
	p := &tape{t: l.t, gate: l.gate, begun: make(chan api.Capture, 1), over: make(chan struct{})}
	for _, f := range change {
		f(p)
	}
	if q.For == 0 {
		q.For = time.Hour
	}
	if q.Max == 0 {
		q.Max = 100 << 20
	}
	l.running.Go(func() {
		p.last, p.err = l.gate.Control(nil).Capture(l.ctx, q, p)
		close(p.over)
	})
	select {
	case p.first = <-p.begun:
	case <-p.over:
	}
	return p
}

// end ends the capture and takes it apart.
func (p *tape) end() []taped {
	p.t.Helper()
	time.Sleep(2 * time.Second) // what has happened so far is on its way
	if err := p.gate.Control(nil).StopCapture(p.t.Context(), p.first.ID); err != nil {
		p.t.Error(err)
	}
	return p.read()
}

// taped is a packet of a capture.
type taped struct {
	face, comment string
	from, to      netip.AddrPort
	data          []byte
	at            time.Time
	sent          bool
}

// read waits for the capture's end.
func (p *tape) read() []taped {
	p.t.Helper()
	<-p.over
	if p.err != nil {
		p.t.Fatal(p.err)
	}
	list, dropped := unfile(p.t, p.file.Bytes())
	if want := p.last.Lost + p.last.Missed; dropped != want || uint64(len(list)) != p.last.SIP+p.last.RTP {
		p.t.Errorf("%d packets, %d dropped; told %+v", len(list), dropped, p.last)
	}
	return list
}

// unfile takes a file apart, and tells how many packets it says are missing.
func unfile(t *testing.T, file []byte) (list []taped, dropped uint64) {
	t.Helper()
	ng, err := pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.NgReaderOptions{
		WantMixedLinkType: true, StatisticsCallback: func(_ int, s pcapgo.NgInterfaceStatistics) { dropped = s.PacketsDropped },
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, ci, opts, err := ng.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			return list, dropped
		}
		if err != nil {
			t.Fatal(err)
		}
		i, err := ng.Interface(ci.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		n := gopacket.NewPacket(data, layers.LinkTypeRaw, gopacket.Default)
		u := n.TransportLayer().(*layers.UDP)
		flow := n.NetworkLayer().NetworkFlow()
		at := func(e gopacket.Endpoint, port layers.UDPPort) netip.AddrPort {
			return netip.AddrPortFrom(netip.MustParseAddr(e.String()), uint16(port))
		}
		x := taped{
			face: i.Name, from: at(flow.Src(), u.SrcPort), to: at(flow.Dst(), u.DstPort), data: u.Payload, at: ci.Timestamp,
			sent: opts.Flags != nil && opts.Flags.Direction == pcapgo.NgEpbFlagDirectionOutbound, comment: strings.Join(opts.Comments, " "),
		}
		list = append(list, x)
	}
}

// count is how many packets a condition holds for.
func count(list []taped, f func(taped) bool) (n int) {
	for _, x := range list {
		if f(x) {
			n++
		}
	}
	return n
}

// callID is the id of the only call.
func (l *lab) callID(t *testing.T) string {
	t.Helper()
	calls, err := l.gate.Control(nil).Calls(t.Context())
	if err != nil || len(calls) != 1 {
		t.Fatalf("%v %+v", err, calls)
	}
	full, err := l.gate.Control(nil).Call(t.Context(), calls[0].ID)
	if err != nil || len(full.Streams) != 1 {
		t.Fatalf("%v %+v", err, full)
	}
	l.doors = [2]netip.AddrPort{netip.MustParseAddrPort(full.Streams[0].Outside.Local), netip.MustParseAddrPort(full.Streams[0].Inside.Local)}
	return calls[0].ID
}

// door is a side's port of the only call.
func (l *lab) door(t *testing.T, side int) netip.AddrPort {
	t.Helper()
	if !l.doors[side].IsValid() {
		l.callID(t)
	}
	return l.doors[side]
}

// pour sends so many packets both ways, as the two peers protect them.
func (l *lab) pour(n int, peers *[2]*sealed) {
	l.t.Helper()
	for i := range n {
		for side, from := range [2]netip.AddrPort{providerSound, pbxSound} {
			b := rtp(0, byte(i))
			if peers != nil {
				b = peers[side].says(l.t, b, false)
			}
			l.relay.Inject(l.door(l.t, side), from, b)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
