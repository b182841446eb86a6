//go:build linux

package process

import (
	"bytes"
	"testing"

	"sallyport/media"
)

func someCopies(n int) (list []media.Tapped) {
	for i := range n {
		list = append(list, media.Tapped{At: int64(i), Leg: int32(i), Generation: 7, Sent: i%2 == 0, Form: media.TapWire, Data: bytes.Repeat([]byte{byte(i)}, i*13%1500)})
	}
	return list
}

// TestCopiesCrossTheSocket: whole, in order, in as many datagrams as it takes, each no longer than one may be.
func TestCopiesCrossTheSocket(t *testing.T) {
	var c copies
	list := someCopies(500)
	var got []media.Tapped
	for c.lost = 3; len(list) > 0; c.lost = 0 {
		n := c.fill(list)
		list = list[n:]
		if len(c.buf) > maxDatagram || n == 0 {
			t.Fatalf("%d copies in %d bytes", n, len(c.buf))
		}
		k, count, rest, err := open(bytes.Clone(c.buf))
		if err != nil || k != kindTapped || count != n {
			t.Fatalf("%v %d %d %v", k, count, n, err)
		}
		was, lost := len(got), 0
		if got, lost, err = decodeTapped(got, count, rest); err != nil || lost != c.lost || len(got) != was+n {
			t.Fatalf("%d, %d lost: %v", len(got)-was, lost, err)
		}
	}
	for i, want := range someCopies(500) {
		if got[i].At != want.At || got[i].Leg != want.Leg || got[i].Sent != want.Sent || !bytes.Equal(got[i].Data, want.Data) {
			t.Fatalf("%d: %+v", i, got[i])
		}
	}
	if n := c.fill(nil); n != 0 || len(c.buf) != copiesAt {
		t.Errorf("%d, %d bytes", n, len(c.buf))
	}
}

// TestCopiesOfNobody: without signalling nothing is kept for later.
func TestCopiesOfNobody(t *testing.T) {
	var s server
	s.tapped(someCopies(5), 2)
	if s.copies.lost != 0 || len(s.copies.buf) != 0 {
		t.Errorf("%d lost, %d bytes", s.copies.lost, len(s.copies.buf))
	}
}

func FuzzDecodeTapped(f *testing.F) {
	var c copies
	c.fill(someCopies(3))
	f.Add(3, c.buf[headLen:])
	f.Add(2, c.buf[headLen:])
	f.Add(0, []byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, count int, rest []byte) {
		list, _, err := decodeTapped(nil, count, rest)
		if err == nil && len(list) != max(0, count) {
			t.Fatalf("%d of %d", len(list), count)
		}
	})
}
