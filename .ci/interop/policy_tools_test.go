//go:build interop

package interop

import (
	"bytes"
	be "encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The addresses that are forged are those of the networks for benchmarks (RFC 2544).
const forgedNetwork = "198.18.0.0/15"

// forgedSource is one of them.
func forgedSource(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18 + byte(i>>16&1), byte(i >> 8), byte(i)})
}

// addresses gives a host more addresses of the provider's network.
func (w *world) addresses(t *testing.T, list ...string) {
	t.Helper()
	var batch strings.Builder
	for _, a := range list {
		fmt.Fprintf(&batch, "address add %s/24 dev %s\n", a, nsOutside)
	}
	path := filepath.Join(w.dir, "addresses")
	if err := os.WriteFile(path, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.in(t, nsOutside, "ip", "-batch", path)
}

// asks has a verb of the running program print JSON.
func (g *gate) asks(t *testing.T, into any, args ...string) {
	t.Helper()
	out, code := g.verb(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("sbc %s --json: exit code %d, %v: %s", strings.Join(args, " "), code, err, out)
	}
}

// count is a row of the decisions that `sbc status` counts.
type count struct {
	Side, Realm, Action, Reason string
	Count                       int
}

// overview is what the tests read of `sbc status`.
type overview struct {
	Counts     []count
	Interfaces []struct {
		Side, Realm, Transport string
		Drops                  int `json:"kernel_drops"`
	}
	Rules []struct {
		Path, Name string
		Hits       int
	}
}

func (g *gate) overview(t *testing.T) (o overview) {
	t.Helper()
	g.asks(t, &o, "status")
	return o
}

// decided is how many messages at a door outside were decided so; empty: however, for whatever reason.
func (o overview) decided(realm, action, reason string) (n int) {
	for _, c := range o.Counts {
		if c.Side == nsOutside && c.Realm == realm && (action == "" || c.Action == action) && (reason == "" || c.Reason == reason) {
			n += c.Count
		}
	}
	return n
}

// drops is how many datagrams the kernel dropped at a door outside, for want of room.
func (o overview) drops(realm string) (n int) {
	for _, i := range o.Interfaces {
		if i.Side == nsOutside && i.Realm == realm && i.Transport == "udp" {
			n += i.Drops
		}
	}
	return n
}

// ban is a row of `sbc bans`.
type ban struct {
	Address, Kind, AoR, Comment, By string
	Port                            int
	Evidence                        []string
}

func (g *gate) bans(t *testing.T) (list []ban) {
	t.Helper()
	g.asks(t, &list, "bans")
	return list
}

// record captures what an interface of a host carries, into a file whose path it returns, until stop.
func (w *world) record(t *testing.T, ns, device, name, filter string) (file string, stop func()) {
	t.Helper()
	file = filepath.Join(w.dir, name+".pcapng")
	p := w.start(t, ns, "record-"+name, "dumpcap", "-q", "-i", device, "-B", "32", "-f", filter, "-w", file)
	until(t, "capture of "+name, 10*time.Second, func() bool {
		text, _ := os.ReadFile(p.log)
		return bytes.Contains(text, []byte("File:"))
	})
	return file, func() {
		time.Sleep(400 * time.Millisecond) // the kernel hands packets over in blocks
		p.signal(syscall.SIGINT)
		if _, err := p.wait(10 * time.Second); err != nil {
			t.Error(err)
		}
	}
}

// forged is a datagram from an address that its sender does not have: IPv4 and UDP headers, and a payload in which the
// bytes at some places are renewed each time it is sent.
type forged struct {
	b      []byte
	serial []int
}

// mark stands in a payload where the serial number goes: new ids for each message.
const mark = "########"

// forge makes a datagram.
func forge(src, dst netip.AddrPort, payload string) forged {
	b := make([]byte, 28, 28+len(payload))
	b[0], b[8], b[9] = 0x45, 64, syscall.IPPROTO_UDP // the kernel fills in length, id and checksum
	from, to := src.Addr().As4(), dst.Addr().As4()
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	be.BigEndian.PutUint16(b[20:], src.Port())
	be.BigEndian.PutUint16(b[22:], dst.Port())
	be.BigEndian.PutUint16(b[24:], uint16(8+len(payload))) // no checksum: RFC 768 allows that
	f := forged{b: append(b, payload...)}
	for at := 0; ; at += len(mark) {
		i := bytes.Index(f.b[at:], []byte(mark))
		if i < 0 {
			return f
		}
		at += i
		f.serial = append(f.serial, at)
	}
}

// renew writes a serial number, in letters and figures that a Call-ID and a branch may have.
func (f *forged) renew(n uint32) {
	const digits = "0123456789abcdef"
	for _, at := range f.serial {
		for i := range 8 {
			f.b[at+i] = digits[n>>(28-4*i)&15]
		}
	}
}

// forger sends forged datagrams, one after the other and from the beginning again.
type forger struct {
	fd   int
	to   unix.RawSockaddrInet4
	list []forged
	next int
	sent atomic.Int64
}

// forger opens a raw socket in a namespace. Nothing answers for its addresses: what is sent to them is dropped there.
func (w *world) forger(t *testing.T, ns string, list []forged) *forger {
	t.Helper()
	f := &forger{list: list}
	var err error
	w.visit(t, ns, func() { f.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(f.fd) })
	_ = unix.SetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8<<20)
	f.to = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte(list[0].b[16:20])}
	return f
}

// mmsghdr is the kernel's struct of sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32
	_ uint32
}

// sends sends so many datagrams by few system calls and reports how many the kernel took.
func (f *forger) sends(n int) int {
	const most = 64
	var iov [most]unix.Iovec
	var messages [most]mmsghdr
	n = min(n, most)
	for i := range n {
		p := &f.list[f.next]
		f.next = (f.next + 1) % len(f.list)
		p.renew(uint32(f.sent.Load()) + uint32(i))
		iov[i].Base = &p.b[0]
		iov[i].SetLen(len(p.b))
		messages[i].Name, messages[i].Namelen = (*byte)(unsafe.Pointer(&f.to)), unix.SizeofSockaddrInet4
		messages[i].Iov = &iov[i]
		messages[i].SetIovlen(1)
	}
	done, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(f.fd), uintptr(unsafe.Pointer(&messages[0])), uintptr(n), 0, 0, 0)
	runtime.KeepAlive(f)
	if errno != 0 {
		return 0
	}
	f.sent.Add(int64(done))
	return int(done)
}

// run sends at a rate for a while, so many datagrams at once as are due after each pause; without one, each in its moment, which
// takes a CPU. What it cannot send in time it does not make up for.
func (f *forger) run(perSecond int, length, pause time.Duration) {
	begun, done := time.Now(), 0
	for {
		gone := time.Since(begun)
		if gone >= length {
			return
		}
		due := int(gone.Seconds() * float64(perSecond))
		if due-done > perSecond/20 {
			done = due - perSecond/20
		}
		for done < due {
			done += max(1, f.sends(due-done))
		}
		if pause > 0 {
			time.Sleep(pause)
		}
	}
}

// once sends every datagram one time.
func (f *forger) once(t *testing.T) {
	t.Helper()
	for range f.list {
		if f.sends(1) != 1 {
			t.Fatal("the kernel does not take a forged datagram")
		}
	}
}
