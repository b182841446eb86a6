package media

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/nat"
)

func wireLayout() Layout {
	c := Config{
		Addresses: [2]netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8::2")},
		First:     30000, Last: 30099, DSCP: 46, Workers: 2, LowLatency: true, Choice: Steer, Silence: time.Minute,
	}
	return c.layout()
}

func anyAddr(t *rapid.T, name string) netip.Addr {
	switch rapid.IntRange(0, 2).Draw(t, name) {
	case 0:
		return netip.Addr{}
	case 1:
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, name+"4")))
	}
	return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name+"6")))
}

// Whatever is wanted arrives as it was wanted.
func TestCommandsCrossTheBorder(t *testing.T) {
	layout := wireLayout()
	rapid.Check(t, func(t *rapid.T) {
		w := Want{
			RTP: netip.AddrPortFrom(anyAddr(t, "rtp"), rapid.Uint16().Draw(t, "port")), RTCP: netip.AddrPortFrom(anyAddr(t, "rtcp"), rapid.Uint16().Draw(t, "rtcp port")),
			Fallback: anyAddr(t, "fallback"), Latch: Mode(rapid.IntRange(0, int(Ported)).Draw(t, "mode")),
			Payloads: [2]uint64{rapid.Uint64().Draw(t, "low"), rapid.Uint64().Draw(t, "high")}, Clock: rapid.Uint32().Draw(t, "clock"),
			Mux: rapid.Bool().Draw(t, "mux"), Opaque: rapid.Bool().Draw(t, "opaque"), Send: rapid.Bool().Draw(t, "send"),
			Receive: rapid.Bool().Draw(t, "receive"), Final: rapid.Bool().Draw(t, "final"), Epoch: rapid.Uint32().Draw(t, "epoch"),
		}
		for n := range rapid.IntRange(0, MaxSources).Draw(t, "sources") {
			if a := anyAddr(t, "source"); a.IsValid() {
				w.Sources = append(w.Sources, netip.PrefixFrom(a, min(n*8, a.BitLen())))
			}
		}
		side := nat.Side(rapid.IntRange(0, 1).Draw(t, "side"))
		pair := 2 * rapid.IntRange(0, layout.Pairs/2-1).Draw(t, "pair")
		copy(w.CNAMEs[:], rapid.SliceOfN(rapid.Byte(), len(w.CNAMEs), len(w.CNAMEs)).Draw(t, "cnames"))
		c := w.command(side, pair*2, pair*2+layout.Pairs*2, rapid.Uint32().Draw(t, "generation"))
		c.learned = [2]Endpoint{EndpointOf(netip.AddrPortFrom(anyAddr(t, "learned"), 7)), {}}
		c.keyed = keyed{rapid.Bool().Draw(t, "told"), rapid.Uint32().Draw(t, "stamp"), rapid.Uint32().Draw(t, "played")}
		c.resume = resume{rapid.Uint64().Draw(t, "in"), rapid.Uint64().Draw(t, "out"), rapid.Uint32().Draw(t, "proved"), rapid.Uint32().Draw(t, "reported"), rapid.Uint32().Draw(t, "marks")}
		c.Free = rapid.Bool().Draw(t, "free")
		b := c.AppendTo(nil)
		if len(b) != CommandSize {
			t.Fatalf("%d bytes", len(b))
		}
		if back, err := DecodeCommand(b, layout); err != nil || back != c {
			t.Fatalf("%v: %+v came back as %+v", err, c, back)
		}
	})
}

func TestForeignCommandsAreRefused(t *testing.T) {
	layout := wireLayout()
	good := (&Want{}).command(nat.Outside, 0, layout.Pairs*2, 1)
	for name, change := range map[string]func(*Command){
		"a leg beyond the table":  func(c *Command) { c.Leg = int32(layout.Legs()) },
		"a negative leg":          func(c *Command) { c.Leg = -2 },
		"an RTCP leg":             func(c *Command) { c.Leg = 1 },
		"a peer beyond the table": func(c *Command) { c.Peer = int32(layout.Legs()) },
		"two workers' legs":       func(c *Command) { c.Peer += 2 },
		"a mode nobody has":       func(c *Command) { c.mode = Ported + 1 },
		"too many sources":        func(c *Command) { c.nsources = MaxSources + 1 },
		"a prefix too long":       func(c *Command) { c.sources[3].bits = 129 },
		"the RTCP leg's own flag": func(c *Command) { c.flags |= flagControl },
		"an unknown flag":         func(c *Command) { c.flags |= flagsEnd },
	} {
		c := good
		change(&c)
		if _, err := DecodeCommand(c.AppendTo(nil), layout); err == nil {
			t.Errorf("%s is taken", name)
		}
		e := NewEngine(layout, time.Unix(1e9, 0))
		if !layout.serves(&c) {
			e.Apply(1, &c)
			for range e.Board().Holdings() {
				t.Errorf("%s: a leg is in use", name)
			}
		}
	}
	if _, err := DecodeCommand(good.AppendTo(nil)[1:], layout); err == nil {
		t.Error("a short record is taken")
	}
	if b := good.AppendTo(nil); true {
		b[0] = 2
		if _, err := DecodeCommand(b, layout); err == nil {
			t.Error("an unknown first byte is taken")
		}
	}
}

func TestLayoutsCrossTheBorder(t *testing.T) {
	l := wireLayout()
	b := l.AppendTo(nil)
	if back, err := DecodeLayout(b); err != nil || back != l || len(b) != LayoutSize {
		t.Fatalf("%v: %+v came back as %+v", err, l, back)
	}
	for name, change := range map[string]func(*Layout){
		"no pairs":            func(l *Layout) { l.Pairs = 0 },
		"beyond the ports":    func(l *Layout) { l.Pairs = 40000 },
		"odd":                 func(l *Layout) { l.First++ },
		"three blocks":        func(l *Layout) { l.Blocks = 3 },
		"one block of two":    func(l *Layout) { l.Blocks = 1 },
		"mark":                func(l *Layout) { l.DSCP = 64 },
		"buffer":              func(l *Layout) { l.ReceiveBuffer = maxBuffer + 1 },
		"no workers":          func(l *Layout) { l.Workers = 0 },
		"workers without end": func(l *Layout) { l.Workers = 1 << 30 },
		"silence":             func(l *Layout) { l.Silence = maxSilence + 1 },
		"back end":            func(l *Layout) { l.Choice = Steer + 1 },
		"past":                func(l *Layout) { l.Silence = -1 },
		"wildcard":            func(l *Layout) { l.Addresses[0] = netip.IPv6Unspecified() },
	} {
		bad := l
		change(&bad)
		if got, err := DecodeLayout(bad.AppendTo(nil)); err == nil {
			t.Errorf("%s: taken as %+v", name, got)
		}
		if text := l.Differences(bad); text == "" && name != "three blocks" && name != "one block of two" {
			t.Errorf("%s: no difference", name)
		}
	}
	other := l
	other.First, other.DSCP = 40000, 0
	if text := l.Differences(other); !strings.Contains(text, "ports 40000-40099 instead of 30000-30099, dscp 0 instead of 46") || l.Fits(other) {
		t.Errorf("differences: %q", text)
	}
	if other.First = l.First; !l.Fits(other) || l.Differences(l) != "" {
		t.Error("another mark needs other ports")
	}
}

func FuzzDecodeCommand(f *testing.F) {
	layout := wireLayout()
	c := (&Want{RTP: netip.MustParseAddrPort("192.0.2.1:4000"), Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}).command(nat.Inside, 4, 0, 7)
	f.Add(c.AppendTo(nil))
	f.Add(make([]byte, CommandSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b, layout)
		if err != nil {
			return
		}
		if again, err := DecodeCommand(c.AppendTo(nil), layout); err != nil || again != c {
			t.Fatalf("%v: %+v became %+v", err, c, again)
		}
		// Whatever is well formed the engine bears.
		e := NewEngine(layout, time.Unix(1e9, 0))
		e.Apply(1, &c)
		for i := range e.legs {
			e.Packet(2, i, Endpoint4([4]byte{192, 0, 2, 1}, 4000), []byte{0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1})
		}
	})
}

func FuzzDecodeLayout(f *testing.F) {
	f.Add(wireLayout().AppendTo(nil))
	f.Add(make([]byte, LayoutSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := DecodeLayout(b)
		if err != nil {
			return
		}
		if again, err := DecodeLayout(l.AppendTo(nil)); err != nil || again != l {
			t.Fatalf("%v: %+v became %+v", err, l, again)
		}
		for leg := range l.Legs() {
			if back, ok := l.Leg(l.Local(leg)); !ok || back != leg || l.Worker(leg) >= l.Workers {
				t.Fatalf("%+v: leg %d is %d", l, leg, back)
			}
		}
	})
}
