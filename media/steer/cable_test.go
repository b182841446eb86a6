//go:build linux

package steer

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/media/rig"
	"sallyport/nat"
)

// peersOf opens the far ends of a call.
func peersOf(t *testing.T, f *far, addresses ...string) (conns [2]*net.UDPConn, at [2]netip.AddrPort) {
	t.Helper()
	f.do(func() {
		for side := range conns {
			conns[side], at[side] = rig.At(t, addresses[side])
		}
	})
	return conns, at
}

// opaque points a stream at two peers without header checks.
func opaque(t *testing.T, p *media.Plane, peers [2]netip.AddrPort) (id media.ID, local [2]netip.AddrPort) {
	t.Helper()
	id, local, err := p.Reserve(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for side, at := range peers {
		if err := p.Point(id, nat.Side(side), media.Want{RTP: at, Send: true, Receive: true, Opaque: true}); err != nil {
			t.Fatal(err)
		}
	}
	return id, local
}

// Datagrams of every size arrive whole over a cable of ordinary packet size: the kernel's verdict on lengths and
// checksums. The longer ones come in fragments and leave in fragments.
func TestEverySizeArrives(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	for _, c := range []struct{ relay, phone, pbx string }{{relay4, phone4, pbx4}, {relay6, phone6, pbx6}, {relay4, phone4, beyond4}, {relay6, beyond6, pbx6}} {
		b := New(Options{})
		b.limit = unlimited
		p := rig.Plane(t, rig.Config(30000, c.relay), b)
		conns, at := peersOf(t, f, c.phone, c.pbx)
		id, local := opaque(t, p, at)
		count := uint64(0)
		for n := 1; n <= largest; n += 1 + n%7*(n/600) {
			payload := bytes.Repeat([]byte{0x0f}, n) // no STUN, no DTLS
			for i := 1; i < n; i++ {
				payload[i] = byte(i * n)
			}
			rig.Pass(t, conns[0], local[0], conns[1], local[1], payload)
			rig.Pass(t, conns[1], local[1], conns[0], local[0], payload)
			count++
		}
		// Longer ones are counted and go nowhere.
		rig.Send(t, conns[0], make([]byte, largest+1), local[0])
		rig.Eventually(t, "a datagram of excessive length is not counted", func() bool {
			legs, _ := p.Stats(id)
			return legs[nat.Outside].RejectedTotal() == 1
		})
		legs, _ := p.Stats(id)
		if legs[0].Packets != count || legs[1].Packets != count || legs[0].Sent != count || legs[1].Sent != count {
			t.Errorf("%d each way: %+v", count, legs)
		}
		_ = p.Close()
	}
	for _, counter := range []string{"InCsumErrors", "InErrors"} {
		if v := snmp(t, counter); v != "0" {
			t.Errorf("%s: %s", counter, v)
		}
	}
}

// snmp is a counter of the kernel's UDP in this namespace.
func snmp(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if fields[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i := range names {
			if names[i] == name {
				return fields[i]
			}
		}
	}
	t.Fatalf("no counter %s", name)
	return ""
}

// The path's packet size is what routers say: a datagram that fits the device and not the path is cut as well.
func TestNarrowPath(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	run(t, "ip", "route", "add", pbx4+"/32", "dev", "near", "mtu", "600")
	run(t, "ip", "route", "replace", beyond4+"/32", "via", phone4, "mtu", "600")
	for _, peer := range []string{pbx4, beyond4} {
		p := rig.Plane(t, rig.Config(30000, relay4), New(Options{}))
		conns, at := peersOf(t, f, phone4, peer)
		_, local := opaque(t, p, at)
		for _, n := range []int{100, 572, 573, 1200, 2000} {
			rig.Pass(t, conns[0], local[0], conns[1], local[1], bytes.Repeat([]byte{0x0f}, n))
		}
		_ = p.Close()
	}
}

// Every port's datagrams are those of the port: also the one that the worker's own socket is bound to.
func TestEveryPort(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	p := rig.Plane(t, rig.Config(30000, relay4, relay6), New(Options{}))
	for range 8 {
		outside, outsideAt := peersOf(t, f, phone4, pbx4)
		inside, insideAt := peersOf(t, f, phone6, pbx6)
		_, local := opaque(t, p, [2]netip.AddrPort{outsideAt[0], insideAt[0]})
		for _, n := range []int{50, 1800} {
			payload := bytes.Repeat([]byte{0x0f}, n)
			rig.Pass(t, outside[0], local[0], inside[0], local[1], payload)
			rig.Pass(t, inside[0], local[1], outside[0], local[0], payload)
		}
	}
}

// What is not for the relay's addresses and ports goes where it went before.
func TestOthersKeepTheirTraffic(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	everywhere, _ := rig.Listen(t, "0.0.0.0:30004") // before the relay
	p := rig.Plane(t, rig.Config(30000, relay4), New(Options{}))
	if m := p.Missing(); len(m) != 1 || m[0].Port() != 30004 {
		t.Errorf("missing %v", m)
	}
	conns, _ := peersOf(t, f, phone4, pbx4)
	for name, c := range map[string]*net.UDPConn{
		relay4 + ":30004": everywhere, relay4 + ":29999": nil, relay4 + ":30016": nil, relay4b + ":30000": nil,
	} {
		if c == nil {
			c, _ = rig.Listen(t, name)
		}
		rig.Send(t, conns[0], rig.Packet, netip.MustParseAddrPort(name))
		if n, _, err := rig.Receive(c, make([]byte, 2048)); err != nil || n != len(rig.Packet) {
			t.Errorf("%s: %d bytes: %v", name, n, err)
		}
	}
	// TCP has ports of its own.
	l, err := net.Listen("tcp", relay4+":30000")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	f.do(func() {
		c, err := net.DialTimeout("tcp", relay4+":30000", 5*time.Second)
		if err != nil {
			t.Errorf("TCP: %v", err)
			return
		}
		_ = c.Close()
	})
	if g := p.Gauges(); g.Strays != 0 {
		t.Errorf("%d strays", g.Strays)
	}
	// On a free port of ours a stray is counted, and nobody is told that the port is closed.
	rig.Send(t, conns[0], rig.Packet, netip.MustParseAddrPort(relay4+":30007"))
	rig.Eventually(t, "the stray was not counted", func() bool { return p.Gauges().Strays == 1 })
	if v := snmp(t, "NoPorts"); v != "0" {
		t.Errorf("%s datagrams met no port", v)
	}
}

// A peer that closes its port is not noticed, and is heard again when it comes back.
func TestClosedPeer(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	p := rig.Plane(t, rig.Config(30000, relay4), New(Options{}))
	conns, at := peersOf(t, f, phone4, pbx4)
	id, local := rig.Call(t, p, at)
	rig.Pass(t, conns[0], local[0], conns[1], local[1], rig.Packet)
	_ = conns[1].Close()
	for range 10 {
		rig.Send(t, conns[0], rig.Packet, local[0])
	}
	rig.Eventually(t, "not sent", func() bool {
		legs, _ := p.Stats(id)
		return legs[nat.Inside].Sent == 11 && legs[nat.Inside].RejectedTotal() == 0
	})
	f.do(func() { conns[1], _ = rig.Listen(t, at[1].String()) })
	rig.Pass(t, conns[0], local[0], conns[1], local[1], rig.Packet)
	rig.Pass(t, conns[1], local[1], conns[0], local[0], rig.Packet)
}

// The mark and the time to live are on the wire.
func TestMark(t *testing.T) {
	if !alone(t) {
		return
	}
	f := lay(t)
	for _, c := range []struct {
		relay, phone, pbx        string
		level, class, ttl        int
		classIs, ttlIs, wantHops int
	}{
		{relay4, phone4, pbx4, unix.IPPROTO_IP, unix.IP_RECVTOS, unix.IP_RECVTTL, unix.IP_TOS, unix.IP_TTL, 64},
		{relay6, phone6, pbx6, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, unix.IPV6_RECVHOPLIMIT, unix.IPV6_TCLASS, unix.IPV6_HOPLIMIT, 64},
		{relay4, phone4, beyond4, unix.IPPROTO_IP, unix.IP_RECVTOS, unix.IP_RECVTTL, unix.IP_TOS, unix.IP_TTL, 64},
		{relay6, phone6, beyond6, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, unix.IPV6_RECVHOPLIMIT, unix.IPV6_TCLASS, unix.IPV6_HOPLIMIT, 64},
	} {
		p := rig.Plane(t, rig.Config(30000, c.relay), New(Options{}))
		conns, at := peersOf(t, f, c.phone, c.pbx)
		raw, err := conns[1].SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) {
			for _, name := range []int{c.class, c.ttl} {
				if err := unix.SetsockoptInt(int(fd), c.level, name, 1); err != nil {
					t.Error(err)
				}
			}
		})
		_, local := opaque(t, p, at)
		for _, n := range []int{100, 1900} { // also what is sent in fragments
			rig.Send(t, conns[0], bytes.Repeat([]byte{0x0f}, n), local[0])
			oob := make([]byte, 128)
			_ = conns[1].SetReadDeadline(time.Now().Add(5 * time.Second))
			_, oobn, _, _, err := conns[1].ReadMsgUDPAddrPort(make([]byte, 2048), oob)
			if err != nil {
				t.Fatal(err)
			}
			list, err := unix.ParseSocketControlMessage(oob[:oobn])
			if err != nil || len(list) != 2 {
				t.Fatalf("%v: %v", list, err)
			}
			for _, m := range list {
				if int(m.Header.Type) == c.classIs && m.Data[0] != 46<<2 || int(m.Header.Type) == c.ttlIs && int(m.Data[0]) != c.wantHops {
					t.Errorf("%s, %d bytes: %v", c.relay, n, m)
				}
			}
		}
		_ = p.Close()
	}
}

func init() {
	// hold steers until it is killed.
	roles["hold"] = func() error {
		p, err := media.New(rig.Config(30000, "127.0.0.1"), New(Options{Process: true}), 1)
		if err != nil {
			return err
		}
		if _, _, err := p.Reserve(time.Now()); err != nil {
			return err
		}
		_, _ = os.Stdout.WriteString("ready\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return p.Close()
	}
}

// A process that is killed steers no longer, and another one may begin at once.
func TestKilledProcessLeavesNothing(t *testing.T) {
	if !alone(t) {
		return
	}
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), roleVariable+"=hold")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = in.Close() }()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
			t.Fatalf("the child did not begin: %v", err)
		}
		if ids, err := attached(); err != nil || len(ids) != 1 {
			t.Fatalf("programs %v: %v", ids, err)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		rig.Eventually(t, "the program is left", func() bool {
			ids, err := attached()
			return err == nil && len(ids) == 0
		})
	}
	a, aAt := rig.Listen(t, "127.0.0.1:0")
	p := rig.Plane(t, rig.Config(30000, "127.0.0.1"), New(Options{}))
	_, local := rig.Call(t, p, [2]netip.AddrPort{aAt, aAt})
	rig.Pass(t, a, local[0], a, local[1], rig.Packet)
}
