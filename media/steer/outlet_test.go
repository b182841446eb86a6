//go:build linux

package steer

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"sallyport/media"
	"sallyport/media/rig"
)

// What is written in front of a datagram is what another implementation reads, and its checksum is the one that it
// computes. The kernel's own reading of it: TestEverySizeArrives.
func TestHeaders(t *testing.T) {
	var room [headroom + largest + tailroom]byte
	address := func(t *rapid.T, v6 bool, label string) netip.Addr {
		n := 4
		if v6 {
			n = 16
		}
		a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, label))
		return a
	}
	var o outlet
	rapid.Check(t, func(t *rapid.T) {
		v6, near := rapid.Bool().Draw(t, "v6"), rapid.Bool().Draw(t, "near")
		local, remote := address(t, v6, "local"), address(t, v6, "remote")
		for remote.Is4In6() || remote.IsUnspecified() {
			remote = remote.Unmap().Next()
			if v6 && remote.Is4() {
				remote = netip.MustParseAddr("2001:db8::1")
			}
		}
		from, to := rapid.Uint16().Draw(t, "from"), rapid.Uint16Min(1).Draw(t, "to")
		dscp := rapid.IntRange(0, 63).Draw(t, "dscp")
		payload := rapid.SliceOfN(rapid.Byte(), 0, largest).Draw(t, "payload")
		copy(room[headroom:], payload)
		o = outlet{}
		o.prepare(local, dscp, 61, near)
		o.put(media.Verdict{To: media.EndpointOf(netip.AddrPortFrom(remote, to))}, from, &room, len(payload))
		if !bytes.Equal(room[headroom:headroom+len(payload)], payload) {
			t.Fatal("the datagram was changed")
		}
		written := bytes.Clone(unsafeBytes(o.iov[0]))
		if near {
			written = append(kernels(v6, local, remote, dscp, len(written)), written...)
		}
		read(t, written, v6, local, remote, from, to, dscp, payload)
	})
}

// kernels is the IP header that the kernel writes.
func kernels(v6 bool, local, remote netip.Addr, dscp, n int) []byte {
	h := []byte{4<<4 | 5, byte(dscp << 2), byte((header4 + n) >> 8), byte(header4 + n), 0, 0, 0x40, 0, 61, unix.IPPROTO_UDP, 0, 0}
	if v6 {
		h = []byte{6<<4 | byte(dscp>>2), byte(dscp << 6), 0, 0, byte(n >> 8), byte(n), unix.IPPROTO_UDP, 61}
	}
	return append(append(h, local.AsSlice()...), remote.AsSlice()...)
}

func read(t *rapid.T, packet []byte, v6 bool, local, remote netip.Addr, from, to uint16, dscp int, payload []byte) {
	first := gopacket.Decoder(layers.LayerTypeIPv4)
	if v6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(packet, first, gopacket.Default)
	var src, dst []byte
	var class, ttl int
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		src, dst, class, ttl = ip.SrcIP, ip.DstIP, int(ip.TOS), int(ip.TTL)
		if ip.Flags != layers.IPv4DontFragment || ip.IHL != 5 || int(ip.Length) != len(packet) || ip.Protocol != layers.IPProtocolUDP || ip.Id != 0 {
			t.Fatalf("%+v", ip)
		}
	case *layers.IPv6:
		src, dst, class, ttl = ip.SrcIP, ip.DstIP, int(ip.TrafficClass), int(ip.HopLimit)
		if int(ip.Length) != len(packet)-header6 || ip.NextHeader != layers.IPProtocolUDP || ip.FlowLabel != 0 {
			t.Fatalf("%+v", ip)
		}
	default:
		t.Fatalf("no IP header: %v", p.ErrorLayer())
	}
	if !bytes.Equal(src, local.AsSlice()) || !bytes.Equal(dst, remote.AsSlice()) || class != dscp<<2 || ttl != 61 {
		t.Fatalf("from %v to %v class %x ttl %d", src, dst, class, ttl)
	}
	udp, ok := p.TransportLayer().(*layers.UDP)
	if !ok || uint16(udp.SrcPort) != from || uint16(udp.DstPort) != to || int(udp.Length) != headerUDP+len(payload) {
		t.Fatalf("%+v", udp)
	}
	if err := udp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
		t.Fatal(err)
	}
	if got := udp.Checksum; got == 0 {
		t.Fatal("no checksum")
	}
	if err, result := udp.VerifyChecksum(); err != nil || !result.Valid {
		t.Fatalf("checksum %04x, want %04x: %v", result.Actual, result.Correct, err)
	}
}

// A batch in which the kernel refuses some: each is told once, with its own error, and all others are sent.
func TestRefusalsWithinABatch(t *testing.T) {
	need(t)
	for _, near := range []bool{false, true} {
		refusals(t, near)
	}
}

func refusals(t *testing.T, near bool) {
	a := netip.MustParseAddr(rig.Own(20))
	receiver, at := rig.At(t, rig.Own(21))
	o := opened(t, a, near)
	var rooms [batch][headroom + largest + tailroom]byte
	good, bad := media.EndpointOf(at), media.EndpointOf(netip.MustParseAddrPort("192.0.2.1:9")) // not from loopback
	for i := range rooms {
		v := media.Verdict{To: good, Out: int32(i)}
		if i%3 == 0 || i == batch-1 {
			v.To = bad
		}
		rooms[i][headroom] = byte(i)
		o.put(v, 9, &rooms[i], 1)
	}
	var refused []int32
	o.flush(func(v media.Verdict, payload []byte, why unix.Errno) {
		refused = append(refused, v.Out)
		if v.To != bad || why == 0 || len(payload) != 1 || payload[0] != byte(v.Out) {
			t.Errorf("near %v, %+v: %v", near, v, why)
		}
	})
	if len(refused) != 22 { // 0, 3 … 63
		t.Errorf("near %v: refused %v", near, refused)
	}
	for i := range batch {
		if i%3 == 0 {
			continue
		}
		buf := make([]byte, 8)
		if n, _, err := rig.Receive(receiver, buf); err != nil || n != 1 || buf[0] != byte(i) {
			t.Fatalf("near %v, %d: %d bytes %v: %v", near, i, n, buf[0], err)
		}
	}
	o.flush(func(media.Verdict, []byte, unix.Errno) { t.Error("sent again") })
}

// opened is an outlet of an address, marked as audio is.
func opened(t testing.TB, a netip.Addr, near bool) *outlet {
	t.Helper()
	const dscp = 46
	fd, err := openOutlet(a, media.Layout{DSCP: dscp}, near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	o := &outlet{fd: fd}
	o.prepare(a, dscp, hops(fd, a.Is6()), near)
	return o
}

// emit sends one datagram and returns the kernel's refusal.
func (o *outlet) emit(from uint16, to netip.AddrPort, payload []byte) (why unix.Errno) {
	var room [headroom + largest + tailroom]byte
	o.put(media.Verdict{To: media.EndpointOf(to)}, from, &room, copy(room[headroom:], payload))
	o.flush(func(_ media.Verdict, _ []byte, errno unix.Errno) { why = errno })
	return why
}

func BenchmarkPut(b *testing.B) {
	var room [headroom + largest + tailroom]byte
	for name, near := range map[string]bool{"near": true, "far": false} {
		b.Run(name, func(b *testing.B) {
			o := &outlet{}
			o.prepare(netip.MustParseAddr("10.0.0.1"), 46, 64, near)
			v := media.Verdict{To: media.EndpointOf(netip.MustParseAddrPort("10.0.0.2:4000")), Data: room[headroom : headroom+172]}
			for b.Loop() {
				o.put(v, 30000, &room, 172)
				o.n &= batch/2 - 1
			}
		})
	}
}
