package media

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	pionrtcp "github.com/pion/rtcp"
	"pgregory.net/rapid"

	"sallyport/nat"
)

// reporting is an engine with one stream on which the peer of leg 0 hears SSRC 77, and was told of a time stamp.
func reporting() *Engine {
	layout := wireLayout()
	e := NewEngine(layout, time.Unix(1e9, 0))
	peer := layout.Pairs * 2
	for side, leg := range []int{0, peer} {
		w := Want{RTP: netip.AddrPortFrom(layout.Addresses[side], 4000), Send: true, Receive: true}
		c := w.command(nat.Side(side), leg, peer-leg, 1)
		e.Apply(1e9, &c)
	}
	e.receptions[peer/2].ssrc = 77
	e.receptions[peer/2].seq.reset(1)
	e.told(2e9, 0, saidAt(77, 0x1234_5678))
	return e
}

// saidAt is a sender's report whose time stamp has these middle 32 bits.
func saidAt(ssrc, mid uint32) []byte {
	b, err := (&pionrtcp.SenderReport{SSRC: ssrc, NTPTime: uint64(mid) << 16}).Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

// expected is what pion makes of a compound packet: how often the peer reports on SSRC 77, and what it says last.
func expected(packets []pionrtcp.Packet) (reports int, last pionrtcp.ReceptionReport) {
	for _, p := range packets {
		var blocks []pionrtcp.ReceptionReport
		switch p := p.(type) {
		case *pionrtcp.SenderReport:
			blocks = p.Reports
		case *pionrtcp.ReceiverReport:
			blocks = p.Reports
		}
		for _, b := range blocks {
			if b.SSRC == 77 {
				reports, last = reports+1, b
				break
			}
		}
	}
	return reports, last
}

// Whatever arrives, we read what pion reads of it, and leave it as it is.
func FuzzReports(f *testing.F) {
	block := pionrtcp.ReceptionReport{SSRC: 77, FractionLost: 1, TotalLost: 2, LastSequenceNumber: 3, Jitter: 4, LastSenderReport: 0x1234_5678, Delay: 5}
	for _, seed := range [][]pionrtcp.Packet{
		{&pionrtcp.ReceiverReport{SSRC: 1, Reports: []pionrtcp.ReceptionReport{block}}, pionrtcp.NewCNAMESourceDescription(1, "a@b")},
		{&pionrtcp.SenderReport{SSRC: 1, Reports: []pionrtcp.ReceptionReport{{SSRC: 5}, block}}},
		{&pionrtcp.ReceiverReport{SSRC: 1}, &pionrtcp.ExtendedReport{SenderSSRC: 1, Reports: []pionrtcp.ReportBlock{
			&pionrtcp.DLRRReportBlock{Reports: []pionrtcp.DLRRReport{{SSRC: 77, LastRR: 0x1234_5678, DLRR: 9}}},
			&pionrtcp.VoIPMetricsReportBlock{SSRC: 77, DiscardRate: 1, MOSLQ: 40, MOSCQ: 39},
		}}},
		{&pionrtcp.Goodbye{Sources: []uint32{77}}},
	} {
		b, err := pionrtcp.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(b, b...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, before := reporting(), bytes.Clone(b)
		e.reported(3e9, 1, b)
		e.told(3e9, 1, b)
		if !bytes.Equal(b, before) {
			t.Fatal("reading has changed the datagram")
		}
		s, ok := e.board.read(0, 1)
		if !ok {
			t.Fatal("no figures")
		}
		packets, err := pionrtcp.Unmarshal(before)
		if err != nil || len(packets) > maxParts {
			return
		}
		reports, last := expected(packets)
		if s.reports != uint32(reports) {
			t.Fatalf("%d reports, pion has %d", s.reports, reports)
		}
		if reports > 0 && uint64(s.farJitter) != min(uint64(last.Jitter)*125, 1<<32-1) {
			t.Fatalf("jitter %d µs, pion has %d samples", s.farJitter, last.Jitter)
		}
	})
}

// The figures of a report are pion's.
func TestBlocksAgainstPion(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var packets []pionrtcp.Packet
		for n := rapid.IntRange(1, 4).Draw(rt, "packets"); n > 0; n-- {
			var blocks []pionrtcp.ReceptionReport
			for m := rapid.IntRange(0, 4).Draw(rt, "blocks"); m > 0; m-- {
				blocks = append(blocks, pionrtcp.ReceptionReport{
					SSRC: rapid.SampledFrom([]uint32{1, 76, 77, 78}).Draw(rt, "ssrc"), TotalLost: rapid.Uint32Range(0, 1<<24-1).Draw(rt, "lost"),
					Jitter: rapid.Uint32().Draw(rt, "jitter"), LastSenderReport: rapid.SampledFrom([]uint32{0, 1, 0x1234_5678}).Draw(rt, "lsr"),
					Delay: rapid.Uint32Range(0, 1<<16).Draw(rt, "delay"),
				})
			}
			if rapid.Bool().Draw(rt, "sender") {
				packets = append(packets, &pionrtcp.SenderReport{SSRC: 9, Reports: blocks})
			} else {
				packets = append(packets, &pionrtcp.ReceiverReport{SSRC: 9, Reports: blocks})
			}
		}
		b, err := pionrtcp.Marshal(packets)
		if err != nil {
			rt.Fatal(err)
		}
		e := reporting()
		e.reported(2e9+500e6, 0, b)
		s, _ := e.board.read(0, 1)
		reports, last := expected(packets)
		lost := int64(last.TotalLost)
		if lost >= 1<<23 {
			lost = 0 // negative: more came than was sent
		}
		if s.reports != uint32(reports) || reports > 0 && s.farLost != lost {
			rt.Fatalf("%d reports, %d lost; pion has %d and %d", s.reports, s.farLost, reports, lost)
		}
		if reports > 0 && last.LastSenderReport == 0x1234_5678 {
			want := max(1, 500_000-int64(last.Delay)*1e6>>16)
			if d := int64(s.trip) - want; d < -1 || d > 1 {
				rt.Fatalf("round trip %d µs, want %d", s.trip, want)
			}
		}
	})
}

// Compound packets end where they end, however many parts they claim to have.
func TestCompound(t *testing.T) {
	part := func(length byte, rest ...byte) []byte { return append([]byte{0x80, 201, 0, length}, rest...) }
	long := bytes.Repeat(part(0), maxParts+1)
	for name, c := range map[string]struct {
		buf   []byte
		parts int
	}{
		"one": {part(1, 0, 0, 0, 1), 1}, "two": {append(part(0), part(1, 1, 2, 3, 4)...), 2}, "none": {nil, 0},
		"cut": {part(1, 0, 0, 0), 0}, "rest": {append(part(0), 0x80), 0}, "another version": {append(part(0), 0x40, 201, 0, 0), 0},
		"most": {long[4:], maxParts}, "too many": {long, 0},
	} {
		n := 0
		for w := wholeCompound(c.buf); ; n++ {
			if _, ok := w.next(); !ok {
				break
			}
		}
		if n != c.parts {
			t.Errorf("%s: %d parts, want %d", name, n, c.parts)
		}
	}
}

func TestReadingReportsAllocatesNothing(t *testing.T) {
	e := reporting()
	b, err := pionrtcp.Marshal([]pionrtcp.Packet{
		&pionrtcp.SenderReport{SSRC: 77, NTPTime: 5 << 32, Reports: []pionrtcp.ReceptionReport{{SSRC: 77, LastSenderReport: 0x1234_5678}}},
		&pionrtcp.ExtendedReport{SenderSSRC: 77, Reports: []pionrtcp.ReportBlock{
			&pionrtcp.DLRRReportBlock{Reports: []pionrtcp.DLRRReport{{SSRC: 77, LastRR: 0x1234_5678}}}, &pionrtcp.VoIPMetricsReportBlock{SSRC: 77},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { e.reported(3e9, 0, b); e.told(3e9, 0, b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
