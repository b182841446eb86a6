//go:build interop

package interop

import (
	"bytes"
	le "encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	faxPackets = 30
	faxEvery   = 20 * time.Millisecond
	clipped    = 3 // the callee speaks while its new port is still on the way to the relay
)

// udptl is a datagram of a fax: a number, a primary packet, no redundancy (ITU-T T.38 annex D).
func udptl(n int) []byte { return []byte{0, byte(n), 6, 'f', 'a', 'x', 'f', 'a', 'x', 0, 0} }

// fax reports whether the packet is one of these.
func (p packet) fax() bool {
	return len(p.payload) == 11 && bytes.HasPrefix(p.payload[3:], []byte("faxfax"))
}

// faxes writes a capture for sipp to play.
func (w *world) faxes(t *testing.T) {
	t.Helper()
	b := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0}
	for n := range faxPackets {
		data, at := udptl(n), time.Duration(n)*faxEvery
		size := uint32(14 + 20 + 8 + len(data))
		for _, v := range []uint32{0, uint32(at / time.Microsecond), size, size} {
			b = le.LittleEndian.AppendUint32(b, v)
		}
		b = append(b, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 8, 0) // Ethernet
		b = append(b, 0x45, 0)
		b = le.BigEndian.AppendUint16(b, uint16(20+8+len(data)))
		b = append(b, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1)
		b = append(b, 0x17, 0x70, 0x17, 0x70)
		b = le.BigEndian.AppendUint16(b, uint16(8+len(data)))
		b = append(b, 0, 0)
		b = append(b, data...)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "fax.pcap"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFax: voice becomes a fax by T.38 and voice again, and every datagram of the fax is counted at the other end; where T.38 is
// refused the call goes on as it was.
func TestFax(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.faxes(t)
	g := w.trunkGate(t)
	for _, d := range directions {
		t.Run(d.name+"/taken", func(t *testing.T) {
			all := g.call(t, d, call{caller: "caller-faxes", callee: "callee-faxes", audio: 45, held: true})
			afterEach(t, all, d.ends(), true)
			for _, ends := range [][2]string{{d.caller.address, d.callee.address}, {d.callee.address, d.caller.address}} {
				heard := choose(all, packet.fax, on(home[ends[1]]), to(ends[1]), func(p packet) bool { return !p.own() })
				if len(heard) < faxPackets-clipped {
					t.Errorf("%s hears %d of %d datagrams of the fax", ends[1], len(heard), faxPackets)
				}
				for i, p := range heard {
					if n := faxPackets - len(heard) + i; n < 0 || !bytes.Equal(p.payload, udptl(n)) {
						t.Errorf("%s hears %x as datagram %d", ends[1], p.payload, n)
						break
					}
				}
			}
		})
	}
	for _, d := range directions {
		t.Run(d.name+"/refused", func(t *testing.T) {
			all := g.call(t, d, call{caller: "caller-fax-refused", callee: "callee-no-fax", audio: 20})
			afterEach(t, all, []string{d.callee.address}, false) // sipp's callee is silent once it was offered no voice
		})
	}
	g.stop(t)
}
