//go:build linux

package steer

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// slow is the checksum as RFC 1071 §4.1 writes it down.
func slow(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i++ {
		if i%2 == 0 {
			s += uint32(b[i]) << 8
		} else {
			s += uint32(b[i])
		}
		s = s&0xffff + s>>16
	}
	if v := ^uint16(s); v != 0 {
		return v
	}
	return 0xffff
}

func TestSumIsThatOfTheStandard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "bytes")
		if rapid.Bool().Draw(t, "extreme") {
			b = bytes.Repeat([]byte{rapid.SampledFrom([]byte{0, 1, 0xff, 0xfe}).Draw(t, "byte")}, len(b))
		}
		if got, want := fold(sum(0, b)), slow(b); got != want {
			t.Fatalf("%d bytes: %04x, want %04x", len(b), got, want)
		}
		// In pieces, all but the last of even length; and with a value instead of its bytes.
		cut := rapid.IntRange(0, len(b)/2).Draw(t, "cut") * 2
		v := rapid.Uint64().Draw(t, "value")
		whole := append(binary.BigEndian.AppendUint64(nil, v), b...)
		if got, want := fold(sum(sum(add(0, v), b[:cut]), b[cut:])), slow(whole); got != want {
			t.Fatalf("%d bytes cut at %d: %04x, want %04x", len(b), cut, got, want)
		}
	})
}

// Every length up to two turns of the loops, with the carries of all ones.
func TestSumOfEveryLength(t *testing.T) {
	for n := range 130 {
		for _, fill := range []byte{0, 0x80, 0xff} {
			b := bytes.Repeat([]byte{fill}, n)
			if got, want := fold(sum(0, b)), slow(b); got != want {
				t.Errorf("%d × %02x: %04x, want %04x", n, fill, got, want)
			}
		}
	}
}

func TestFoldIsNeverZero(t *testing.T) {
	for _, s := range []uint64{0xffff, 0xffff_ffff, 1<<64 - 1, 0xffff << 16} {
		if v := fold(s); v != 0xffff {
			t.Errorf("%x: %04x", s, v)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if fold(rapid.Uint64().Draw(t, "sum")) == 0 {
			t.Fatal("no checksum")
		}
	})
}

func BenchmarkSum(b *testing.B) {
	p := make([]byte, 180)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		fold(sum(0, p))
	}
}
