package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"pgregory.net/rapid"

	"sallyport/nat"
	"sallyport/sbc/reason"
)

var noon = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

func face(side nat.Side, realm nat.Realm, tr nat.Transport, bind string) *nat.Interface {
	a := netip.MustParseAddrPort(bind)
	return &nat.Interface{Side: side, Realm: realm, Transport: tr, Bind: a, Advertised: a}
}

var (
	phones4 = face(nat.Outside, nat.Phones, nat.UDP, "203.0.113.10:5060")
	secure6 = face(nat.Outside, nat.Phones, nat.TLS, "[2001:db8::10]:5061")
	inner   = face(nat.Inside, nat.Trunks, nat.UDP, "10.0.0.2:5080")
)

// packet is one packet of a dump.
type packet struct {
	face, from, to, comment string
	at                      time.Time
	data                    string
	cut                     int
	out                     bool
}

func (p packet) String() string {
	return fmt.Sprintf("%s %s>%s %q %s", p.face, p.from, p.to, p.comment, p.data)
}

// read takes a dump apart with the library that others use.
func read(t *testing.T, r *Recorder) (list []packet, dropped uint64, comment string) {
	t.Helper()
	var file bytes.Buffer
	if err := r.Dump(&file); err != nil {
		t.Fatal(err)
	}
	ng, err := pcapgo.NewNgReader(&file, pcapgo.NgReaderOptions{
		WantMixedLinkType: true, StatisticsCallback: func(_ int, s pcapgo.NgInterfaceStatistics) { dropped = s.PacketsDropped },
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, ci, opts, err := ng.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			return list, dropped, ng.SectionInfo().Comment
		}
		if err != nil {
			t.Fatal(err)
		}
		i, err := ng.Interface(ci.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		p := gopacket.NewPacket(data, layers.LinkTypeRaw, gopacket.Default)
		if p.ErrorLayer() != nil || p.TransportLayer() == nil {
			t.Fatalf("%v", p)
		}
		n, u := p.NetworkLayer().NetworkFlow(), p.TransportLayer().(*layers.UDP)
		out := packet{
			face: i.Name, from: fmt.Sprintf("%s:%d", n.Src(), u.SrcPort), to: fmt.Sprintf("%s:%d", n.Dst(), u.DstPort),
			at: ci.Timestamp, data: string(u.Payload), cut: ci.Length - ci.CaptureLength,
			out: opts.Flags != nil && opts.Flags.Direction == pcapgo.NgEpbFlagDirectionOutbound,
		}
		if len(opts.Comments) > 0 {
			out.comment = opts.Comments[0]
		}
		list = append(list, out)
	}
}

func TestDumpHoldsWhatWasNoted(t *testing.T) {
	r := New(1 << 20)
	phone, scanner := netip.MustParseAddrPort("198.51.100.7:40122"), netip.MustParseAddrPort("[2001:db8:66::1]:9")
	node := netip.AddrPortFrom(netip.MustParseAddr("::ffff:10.0.0.10"), 5060) // as a socket of both families sees it
	r.Note(&Note{At: noon, Interface: phones4, Remote: phone, Known: true, Reason: reason.Allow, Data: []byte("one")})
	r.Note(&Note{At: noon.Add(2), Interface: secure6, Remote: scanner, Refused: true, Reason: reason.StrangersBudget, Data: []byte("two")})
	r.Note(&Note{At: noon.Add(3), Interface: phones4, Remote: phone, Known: true, Sent: true, Data: []byte("three")})
	r.Note(&Note{At: noon.Add(1), Interface: inner, Remote: node, Known: true, Reason: reason.LiveDialog, Data: []byte("four")})
	list, dropped, comment := read(t, r)
	var got []string
	for _, p := range list {
		got = append(got, p.String())
	}
	want := []string{
		`outside/phones udp 203.0.113.10:5060 198.51.100.7:40122>203.0.113.10:5060 "allow" one`,
		`outside/phones tls [2001:db8::10]:5061 2001:db8:66::1:9>2001:db8::10:5061 "refused: strangers-budget" two`,
		`outside/phones udp 203.0.113.10:5060 203.0.113.10:5060>198.51.100.7:40122 "" three`,
		`inside/trunks udp 10.0.0.2:5080 10.0.0.10:5060>10.0.0.2:5080 "live-dialog" four`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if !list[0].at.Equal(noon) || list[0].out || !list[2].out || dropped != 0 || strings.Contains(comment, "left out") {
		t.Errorf("%+v, %d dropped, %q", list, dropped, comment)
	}
	if s := r.Stats(); s.Noted != 4 || s.LeftOut != 0 || s.Size != 1<<20 {
		t.Errorf("%+v", s)
	}
}

func TestStrangersAreBounded(t *testing.T) {
	r := New(16 << 20)
	scanner := netip.MustParseAddrPort("192.0.2.66:5060")
	for i := range 3000 { // a thousand a second
		r.Note(&Note{At: noon.Add(time.Duration(i) * time.Millisecond), Interface: phones4, Remote: scanner, Reason: reason.Stranger, Data: []byte("x")})
	}
	r.Note(&Note{At: noon, Interface: phones4, Remote: scanner, Known: true, Reason: reason.Allow, Data: []byte("known")})
	list, dropped, comment := read(t, r)
	if s := r.Stats(); len(list) != 601 || dropped != 2400 || s.LeftOut != 2400 || !strings.Contains(comment, "2400 messages of strangers were left out") {
		t.Errorf("%d kept, %d dropped, %+v, %q", len(list), dropped, s, comment)
	}
}

func TestStrangersNeverOverwriteTheKnown(t *testing.T) {
	r := New(256 << 10)
	big := bytes.Repeat([]byte("z"), 8000)
	r.Note(&Note{At: noon, Interface: phones4, Remote: phones4.Bind, Known: true, Reason: reason.Allow, Data: []byte("precious")})
	for i := range 1000 {
		r.Note(&Note{At: noon.Add(time.Duration(i) * time.Second), Interface: phones4, Remote: phones4.Bind, Data: big})
	}
	list, _, _ := read(t, r)
	if list[0].data != "precious" || len(list) > 17 || len(list) < 9 {
		t.Errorf("%d kept, the first %.20s", len(list), list[0].data)
	}
	if list[len(list)-1].at != noon.Add(999*time.Second) {
		t.Errorf("the newest is missing: %s", list[len(list)-1].at)
	}
}

// TestRingKeepsTheNewest: whatever is written, a dump is the newest records without a gap, in order.
func TestRingKeepsTheNewest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRing(rapid.IntRange(1, 5).Draw(rt, "blocks") * blockSize)
		sizes := rapid.SliceOfN(rapid.IntRange(0, 20<<10), 0, 80).Draw(rt, "sizes")
		for i, n := range sizes {
			r.write(&Note{At: noon.Add(time.Duration(i)), Interface: phones4, Remote: phones4.Bind, Data: make([]byte, n)})
		}
		var got []int
		for c := r.cursor(); c.advance(); {
			i := int(c.current.at.Sub(noon))
			if c.current.length != sizes[i] || len(c.current.data) != min(sizes[i], maxData) {
				rt.Fatalf("record %d: %d of %d bytes, want %d", i, len(c.current.data), c.current.length, sizes[i])
			}
			got = append(got, i)
		}
		for i := range got {
			if got[i] != len(sizes)-len(got)+i {
				rt.Fatalf("of %d records it keeps %v", len(sizes), got)
			}
		}
		if len(sizes) > 0 && len(got) == 0 {
			rt.Fatal("it keeps nothing")
		}
	})
}

// TestWritersAndDumpsAtOnce: a dump while others write is whole.
func TestWritersAndDumpsAtOnce(t *testing.T) {
	r := New(256 << 10)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 3000 {
				n := Note{At: noon.Add(time.Duration(i)), Interface: phones4, Remote: phones4.Bind, Known: w > 0, Data: bytes.Repeat([]byte{'a' + byte(w)}, 100+i%700)}
				r.Note(&n)
			}
		})
	}
	for range 20 {
		list, _, _ := read(t, r)
		for _, p := range list {
			if strings.Trim(p.data, p.data[:1]) != "" {
				t.Fatalf("a record is mixed up: %q", p.data)
			}
		}
	}
	wg.Wait()
}

func TestLargeMessagesAreCut(t *testing.T) {
	r := New(1)
	r.Note(&Note{At: noon, Interface: phones4, Remote: phones4.Bind, Data: make([]byte, 40_000)})
	list, _, _ := read(t, r)
	if len(list) != 1 || len(list[0].data) != maxData || list[0].cut != 40_000-maxData {
		t.Errorf("%d packets, %d bytes, %d cut", len(list), len(list[0].data), list[0].cut)
	}
}

func TestOffAndEmpty(t *testing.T) {
	off := New(0)
	off.Note(&Note{At: noon, Interface: phones4})
	if err := off.Dump(io.Discard); err == nil || !strings.Contains(err.Error(), "policy.recorder") || off.Stats() != (Stats{}) {
		t.Errorf("%v %+v", err, off.Stats())
	}
	if list, _, _ := read(t, New(1)); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

// failing fails after so many bytes.
type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestDumpEndsWithItsReader(t *testing.T) {
	r := New(1 << 20)
	for range 500 {
		r.Note(&Note{At: noon, Interface: phones4, Remote: phones4.Bind, Known: true, Data: make([]byte, 1000)})
	}
	for _, n := range []int{0, 100, 5000, 100_000} {
		if err := r.Dump(&failing{n}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

func TestNotingAllocatesNothing(t *testing.T) {
	r := New(16 << 20)
	data := make([]byte, 700)
	now := noon
	for _, known := range []bool{true, false} {
		if n := testing.AllocsPerRun(1000, func() {
			now = now.Add(time.Millisecond)
			r.Note(&Note{At: now, Interface: phones4, Remote: phones4.Bind, Known: known, Reason: reason.Allow, Data: data})
		}); n != 0 {
			t.Errorf("known %v: %v allocations", known, n)
		}
	}
}

func BenchmarkNote(b *testing.B) {
	data := make([]byte, 700)
	for _, c := range []struct {
		name  string
		known bool
	}{{"known", true}, {"flood of strangers", false}} {
		b.Run(c.name, func(b *testing.B) {
			r := New(16 << 20)
			b.ReportAllocs()
			for b.Loop() {
				r.Note(&Note{At: noon, Interface: phones4, Remote: phones4.Bind, Known: c.known, Reason: reason.Allow, Data: data})
			}
		})
	}
	b.Run("known, parallel", func(b *testing.B) {
		r := New(16 << 20)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r.Note(&Note{At: noon, Interface: phones4, Remote: phones4.Bind, Known: true, Reason: reason.Allow, Data: data})
			}
		})
	})
}
