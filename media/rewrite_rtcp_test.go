package media_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	pionrtcp "github.com/pion/rtcp"
	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/nat"
)

// reported is a call in which both sides' sources have changed: the outside peer hears 1 for what 1 sent first and 2 sends
// now, the inside peer hears 70 for what 70 sent first and 71 sends now.
type reported struct {
	b     *bare
	legs  [2]int
	clock uint32 // shift of the timestamps of 2
}

const (
	lastOf1   = 100 // sequence number of 1; 2 begins at 20, as 101
	shiftOf2  = 101 - 20
	lastOf70  = 500
	firstOf71 = 501
	shift71   = firstOf71 - 7
)

func newReported(t testing.TB, outside, inside bool) *reported {
	mux := func(on bool) func(*media.Want) {
		return func(w *media.Want) { w.Continuous, w.Mux = true, on }
	}
	b, _, _, legs := bareCall(t, with(public(media.Off), mux(outside)), with(insideWant(), mux(inside)))
	r := &reported{b: b, legs: legs}
	last := uint32(0)
	for _, s := range []struct {
		side nat.Side
		v    voice
	}{
		{nat.Inside, voice{ssrc: 1, seq: lastOf1, stamp: 1000}}, {nat.Inside, voice{ssrc: 2, seq: 20, stamp: 99999}},
		{nat.Outside, voice{ssrc: 70, seq: lastOf70}}, {nat.Outside, voice{ssrc: 71, seq: 7, stamp: 1 << 30}},
	} {
		b.now += int64(time.Second)
		from := media.EndpointOf(pbx)
		if s.side == nat.Outside {
			from = media.EndpointOf(phone)
		}
		got := b.engine.Packet(b.now, legs[s.side], from, s.v.next())
		if got.Why != media.Accepted {
			t.Fatal(got.Why)
		}
		if s.v.ssrc == 2 {
			last = uint32(got.Data[4])<<24 | uint32(got.Data[5])<<16 | uint32(got.Data[6])<<8 | uint32(got.Data[7])
		}
	}
	r.clock = last - 99999
	return r
}

// relay sends a datagram of the inside peer to our RTCP port, or to the RTP port if the side has rtcp-mux.
func (r *reported) relay(mux bool, buf []byte) media.Verdict {
	leg, from := r.legs[nat.Inside]+1, media.EndpointOf(pbxRTCP)
	if mux {
		leg, from = leg-1, media.EndpointOf(pbx)
	}
	return r.b.engine.Packet(r.b.now, leg, from, append(make([]byte, 0, len(buf)+media.Tailroom), buf...))
}

// The model: what each packet of the inside peer is to become, on parsed packets.
func (r *reported) model(p pionrtcp.Packet) {
	sender := func(ssrc *uint32) {
		if *ssrc == 2 {
			*ssrc = 1
		}
	}
	reports := func(list []pionrtcp.ReceptionReport) {
		for i := range list {
			if b := &list[i]; b.SSRC == 70 && int16(uint16(b.LastSequenceNumber)-firstOf71) >= 0 {
				b.SSRC, b.LastSequenceNumber = 71, b.LastSequenceNumber-shift71
			}
		}
	}
	latest := func(ssrc *uint32) {
		if *ssrc == 70 {
			*ssrc = 71
		}
	}
	switch p := p.(type) {
	case *pionrtcp.SenderReport:
		if p.SSRC == 2 {
			p.RTPTime += r.clock
		}
		sender(&p.SSRC)
		reports(p.Reports)
	case *pionrtcp.ReceiverReport:
		sender(&p.SSRC)
		reports(p.Reports)
	case *pionrtcp.SourceDescription:
		for i := range p.Chunks {
			sender(&p.Chunks[i].Source)
		}
	case *pionrtcp.Goodbye:
		for i, s := range p.Sources {
			switch s {
			case 1:
				p.Sources[i] = 2
			case 2:
				p.Sources[i] = 1
			}
		}
	case *pionrtcp.TransportLayerNack:
		sender(&p.SenderSSRC)
		if p.MediaSSRC == 70 && len(p.Nacks) > 0 && int16(p.Nacks[0].PacketID-lastOf70) > 0 {
			p.MediaSSRC = 71
			for i := range p.Nacks {
				p.Nacks[i].PacketID -= shift71
			}
		}
	case *pionrtcp.PictureLossIndication:
		sender(&p.SenderSSRC)
		latest(&p.MediaSSRC)
	case *pionrtcp.FullIntraRequest:
		sender(&p.SenderSSRC)
		latest(&p.MediaSSRC)
		for i := range p.FIR {
			latest(&p.FIR[i].SSRC)
		}
	case *pionrtcp.ExtendedReport:
		sender(&p.SenderSSRC)
		for _, b := range p.Reports {
			r.modelBlock(b, latest)
		}
	}
}

func (r *reported) modelBlock(b pionrtcp.ReportBlock, latest func(*uint32)) {
	ranged := func(ssrc *uint32, begin, end *uint16) {
		if *ssrc == 70 && int16(*end-1-lastOf70) > 0 {
			*ssrc, *begin, *end = 71, *begin-shift71, *end-shift71
		}
	}
	switch b := b.(type) {
	case *pionrtcp.LossRLEReportBlock:
		ranged(&b.SSRC, &b.BeginSeq, &b.EndSeq)
	case *pionrtcp.DuplicateRLEReportBlock:
		ranged(&b.SSRC, &b.BeginSeq, &b.EndSeq)
	case *pionrtcp.PacketReceiptTimesReportBlock:
		ranged(&b.SSRC, &b.BeginSeq, &b.EndSeq)
	case *pionrtcp.StatisticsSummaryReportBlock:
		ranged(&b.SSRC, &b.BeginSeq, &b.EndSeq)
	case *pionrtcp.VoIPMetricsReportBlock:
		latest(&b.SSRC)
	case *pionrtcp.DLRRReportBlock:
		for i := range b.Reports {
			latest(&b.Reports[i].SSRC)
		}
	}
}

func read(t *testing.T, buf []byte) []pionrtcp.Packet {
	list, err := pionrtcp.Unmarshal(buf)
	if err != nil {
		t.Fatalf("%x: %v", buf, err)
	}
	return list
}

// drawControl makes one packet.
func drawControl(rt *rapid.T) pionrtcp.Packet {
	ssrc := func() uint32 { return rapid.SampledFrom([]uint32{1, 2, 3, 70, 71}).Draw(rt, "ssrc") }
	seq := func() uint16 { return uint16(rapid.IntRange(400, 600).Draw(rt, "seq")) }
	blocks := func() (list []pionrtcp.ReceptionReport) {
		for range rapid.IntRange(0, 3).Draw(rt, "blocks") {
			list = append(list, pionrtcp.ReceptionReport{
				SSRC: ssrc(), LastSequenceNumber: uint32(rapid.IntRange(400, 70000).Draw(rt, "highest")), Jitter: 5, TotalLost: 3,
				FractionLost: 9, LastSenderReport: rapid.Uint32().Draw(rt, "lsr"), Delay: 6,
			})
		}
		return list
	}
	switch rapid.IntRange(0, 7).Draw(rt, "kind") {
	case 0:
		return &pionrtcp.SenderReport{SSRC: ssrc(), NTPTime: 1 << 40, RTPTime: rapid.Uint32().Draw(rt, "time"), PacketCount: 9, Reports: blocks()}
	case 1:
		return &pionrtcp.ReceiverReport{SSRC: ssrc(), Reports: blocks()}
	case 2:
		d := &pionrtcp.SourceDescription{}
		for range rapid.IntRange(1, 3).Draw(rt, "chunks") {
			text := rapid.StringMatching(`[a-z]{0,9}`).Draw(rt, "name")
			d.Chunks = append(d.Chunks, pionrtcp.SourceDescriptionChunk{Source: ssrc(), Items: []pionrtcp.SourceDescriptionItem{{Type: pionrtcp.SDESCNAME, Text: text}}})
		}
		return d
	case 3:
		return &pionrtcp.Goodbye{Sources: []uint32{ssrc(), ssrc()}, Reason: rapid.SampledFrom([]string{"", "bye"}).Draw(rt, "why")}
	case 4:
		return &pionrtcp.TransportLayerNack{SenderSSRC: ssrc(), MediaSSRC: ssrc(), Nacks: []pionrtcp.NackPair{{PacketID: seq(), LostPackets: 3}, {PacketID: seq()}}}
	case 5:
		return &pionrtcp.PictureLossIndication{SenderSSRC: ssrc(), MediaSSRC: ssrc()}
	case 6:
		return &pionrtcp.FullIntraRequest{SenderSSRC: ssrc(), MediaSSRC: ssrc(), FIR: []pionrtcp.FIREntry{{SSRC: ssrc(), SequenceNumber: 2}}}
	}
	x := &pionrtcp.ExtendedReport{SenderSSRC: ssrc()}
	for range rapid.IntRange(0, 4).Draw(rt, "reports") {
		var b pionrtcp.ReportBlock
		switch rapid.IntRange(0, 5).Draw(rt, "block") {
		case 0:
			b = &pionrtcp.LossRLEReportBlock{SSRC: ssrc(), BeginSeq: seq(), EndSeq: seq(), Chunks: []pionrtcp.Chunk{1, 2}}
		case 1:
			b = &pionrtcp.PacketReceiptTimesReportBlock{SSRC: ssrc(), BeginSeq: seq(), EndSeq: seq(), ReceiptTime: []uint32{4}}
		case 2:
			b = &pionrtcp.StatisticsSummaryReportBlock{SSRC: ssrc(), BeginSeq: seq(), EndSeq: seq(), LossReports: true}
		case 3:
			b = &pionrtcp.VoIPMetricsReportBlock{SSRC: ssrc(), LossRate: 4}
		case 4:
			b = &pionrtcp.DLRRReportBlock{Reports: []pionrtcp.DLRRReport{{SSRC: ssrc()}, {SSRC: ssrc()}}}
		case 5:
			b = &pionrtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: 99}
		}
		x.Reports = append(x.Reports, b)
	}
	return x
}

// Reports keep step with what has been rewritten, whichever side shares a port for both.
func TestReportsKeepStep(t *testing.T) {
	for _, mux := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		rapid.Check(t, func(rt *rapid.T) {
			r := newReported(t, mux[nat.Outside], mux[nat.Inside])
			var packets []pionrtcp.Packet
			for range rapid.IntRange(1, 4).Draw(rt, "packets") {
				packets = append(packets, drawControl(rt))
			}
			buf := must(pionrtcp.Marshal(packets))
			got := r.relay(mux[nat.Inside], buf)
			out := r.legs[nat.Outside]
			if !mux[nat.Outside] {
				out++
			}
			if got.Why != media.Accepted || int(got.Out) != out || len(got.Data) != len(buf) {
				rt.Fatalf("%v by leg %d, want %d: %x", got.Why, got.Out, out, got.Data)
			}
			want := read(t, buf)
			for _, p := range want {
				r.model(p)
			}
			if have := read(t, got.Data); !reflect.DeepEqual(have, want) {
				rt.Fatalf("%v\nwant %v", have, want)
			}
		})
	}
}

// A receiver that has come into the call after a wrap of the sequence numbers counts fewer cycles than there were: what it says
// is said of the present source all the same.
func TestReportsOfALateReceiver(t *testing.T) {
	b, _, _, legs := bareCall(t, with(public(media.Off), func(w *media.Want) { w.Continuous = true }), with(insideWant(), func(w *media.Want) { w.Continuous = true }))
	for _, v := range []voice{
		{ssrc: 70, seq: 40000}, {ssrc: 70, seq: 42900}, {ssrc: 70, seq: 45800}, {ssrc: 70, seq: 48700}, {ssrc: 70, seq: 51600},
		{ssrc: 70, seq: 54500}, {ssrc: 70, seq: 57400}, {ssrc: 70, seq: 60300}, {ssrc: 70, seq: 63200}, {ssrc: 70, seq: 500}, {ssrc: 71, seq: 7},
	} {
		b.now += int64(time.Second)
		if got := b.engine.Packet(b.now, legs[nat.Outside], media.EndpointOf(phone), v.next()); got.Why != media.Accepted {
			t.Fatal(got.Why)
		}
	}
	buf := must(pionrtcp.Marshal([]pionrtcp.Packet{&pionrtcp.ReceiverReport{SSRC: 1, Reports: []pionrtcp.ReceptionReport{{SSRC: 70, LastSequenceNumber: 501}}}}))
	got := b.engine.Packet(b.now, legs[nat.Inside]+1, media.EndpointOf(pbxRTCP), append(make([]byte, 0, len(buf)+media.Tailroom), buf...))
	if got.Why != media.Accepted {
		t.Fatal(got.Why)
	}
	report := read(t, got.Data)[0].(*pionrtcp.ReceiverReport).Reports[0]
	if report.SSRC != 71 || uint16(report.LastSequenceNumber) != 7 {
		t.Errorf("%+v", report)
	}
}

// While nothing has been rewritten, RTCP passes byte for byte.
func TestReportsOfOneVoice(t *testing.T) {
	b, _, _, legs := bareCall(t, with(public(media.Off), func(w *media.Want) { w.Continuous = true }), insideWant())
	v := voice{ssrc: 1, seq: 5}
	b.engine.Packet(b.now, legs[nat.Inside], media.EndpointOf(pbx), v.next())
	buf := must(pionrtcp.Marshal([]pionrtcp.Packet{&pionrtcp.SenderReport{SSRC: 1, RTPTime: 7}, &pionrtcp.Goodbye{Sources: []uint32{1}}}))
	got := b.engine.Packet(b.now, legs[nat.Inside]+1, media.EndpointOf(pbxRTCP), slices.Clone(buf))
	if got.Why != media.Accepted || !slices.Equal(got.Data, buf) {
		t.Fatalf("%v %x", got.Why, got.Data)
	}
}

// Padding, which belongs to no packet, is left alone, and so is all behind something that is not well formed.
func TestMalformedReports(t *testing.T) {
	r := newReported(t, false, false)
	for name, c := range map[string]struct{ in, want []byte }{
		"padded nack": {
			[]byte{0x80 | 0x20 | 1, 205, 0, 4, 0, 0, 0, 2, 0, 0, 0, 70, 1, 0xf5, 0, 0, 0, 0, 0, 4},
			[]byte{0x80 | 0x20 | 1, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 71, 0, 7, 0, 0, 0, 0, 0, 4},
		},
		"padding too long": {
			[]byte{0x80 | 0x20, 201, 0, 1, 0, 0, 0, 200}, []byte{0x80 | 0x20, 201, 0, 1, 0, 0, 0, 200},
		},
		"second packet too long": {
			[]byte{0x80, 201, 0, 1, 0, 0, 0, 2, 0x80, 201, 0, 2, 0, 0, 0, 2},
			[]byte{0x80, 201, 0, 1, 0, 0, 0, 1, 0x80, 201, 0, 2, 0, 0, 0, 2},
		},
		"second packet of another version": {
			[]byte{0x80, 201, 0, 1, 0, 0, 0, 2, 0x40, 201, 0, 1, 0, 0, 0, 2},
			[]byte{0x80, 201, 0, 1, 0, 0, 0, 1, 0x40, 201, 0, 1, 0, 0, 0, 2},
		},
		"fewer blocks than counted": {
			[]byte{0x83, 201, 0, 1, 0, 0, 0, 2}, []byte{0x83, 201, 0, 1, 0, 0, 0, 1},
		},
		"unknown": {
			[]byte{0x80, 201, 0, 1, 0, 0, 0, 2, 0x80, 211, 0, 1, 0, 0, 0, 2}, []byte{0x80, 201, 0, 1, 0, 0, 0, 1, 0x80, 211, 0, 1, 0, 0, 0, 2},
		},
		"chunk without an end": {
			[]byte{0x81, 202, 0, 2, 0, 0, 0, 2, 1, 9, 'a', 'b'}, []byte{0x81, 202, 0, 2, 0, 0, 0, 2, 1, 9, 'a', 'b'},
		},
	} {
		if got := r.relay(false, c.in); got.Why != media.Accepted || !slices.Equal(got.Data, c.want) {
			t.Errorf("%s: %v\n%x\n%x", name, got.Why, got.Data, c.want)
		}
	}
}

// FuzzRewriting throws anything at the rewriting of RTCP. The oracle is another parser: what it can read before, it can read
// after, as the model says, unless it reads more leniently than we do.
func FuzzRewriting(f *testing.F) {
	f.Add(must(pionrtcp.Marshal([]pionrtcp.Packet{
		&pionrtcp.SenderReport{SSRC: 2, Reports: []pionrtcp.ReceptionReport{{SSRC: 70, LastSequenceNumber: 600}}},
		&pionrtcp.SourceDescription{Chunks: []pionrtcp.SourceDescriptionChunk{{Source: 2, Items: []pionrtcp.SourceDescriptionItem{{Type: pionrtcp.SDESCNAME, Text: "a"}}}}},
	})))
	f.Add(must(pionrtcp.Marshal([]pionrtcp.Packet{&pionrtcp.Goodbye{Sources: []uint32{2}}, &pionrtcp.TransportLayerNack{SenderSSRC: 2, MediaSSRC: 70, Nacks: []pionrtcp.NackPair{{PacketID: 700}}}})))
	f.Add(must(pionrtcp.Marshal([]pionrtcp.Packet{&pionrtcp.ExtendedReport{SenderSSRC: 2, Reports: []pionrtcp.ReportBlock{&pionrtcp.VoIPMetricsReportBlock{SSRC: 70}, &pionrtcp.DLRRReportBlock{Reports: []pionrtcp.DLRRReport{{SSRC: 70}}}}}})))
	f.Add([]byte{0x80, 201, 0, 1, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, buf []byte) {
		r := newReported(t, false, false)
		got := r.relay(false, buf)
		if got.Why != media.Accepted {
			return
		}
		if len(got.Data) != len(buf) {
			t.Fatalf("%d bytes became %d", len(buf), len(got.Data))
		}
		want, err := pionrtcp.Unmarshal(buf)
		if err != nil {
			return
		}
		have, err := pionrtcp.Unmarshal(got.Data)
		if err != nil || len(have) != len(want) {
			t.Fatalf("%v: %v became %v", err, want, have)
		}
		for i := range want {
			if reflect.TypeOf(have[i]) != reflect.TypeOf(want[i]) {
				t.Fatalf("%v became %v", want[i], have[i])
			}
			switch p := want[i].(type) {
			case *pionrtcp.SenderReport, *pionrtcp.ReceiverReport:
				r.model(p)
				if !reflect.DeepEqual(have[i], want[i]) {
					t.Fatalf("%v, want %v", have[i], want[i])
				}
			}
		}
	})
}
