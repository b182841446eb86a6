package media

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"sallyport/nat"
)

func aligned(size int) []byte {
	room := make([]byte, size+cacheLine)
	skip := -int(uintptr(unsafe.Pointer(&room[0]))) & (cacheLine - 1)
	return room[skip:][:size]
}

// What one process writes the other reads, in a clock of its own.
func TestBoardIsSeenFromElsewhere(t *testing.T) {
	layout := wireLayout()
	base := time.Unix(1e9, 0)
	region := aligned(BoardSize(layout))
	e := NewEngineOn(layout, LayBoard(region, layout, base, 5e9))
	c := (&Want{}).command(nat.Inside, layout.Pairs*2+8, 8, 3)
	e.Apply(int64(2*time.Second), &c)
	e.Board().SetMissing(3)
	// Ten seconds after the base, by the clock that both have.
	elsewhere := time.Unix(2e9, 0)
	seen, err := ViewBoard(region, layout, elsewhere, 15e9)
	if err != nil {
		t.Fatal(err)
	}
	if m := seen.Missing(); len(m) != 1 || m[0] != 3 {
		t.Errorf("missing %v", m)
	}
	n := 0
	for h := range seen.Holdings() {
		n++
		if h.Leg != layout.Pairs*2+8 || h.Peer != 8 || h.Side != nat.Inside || h.Generation != 3 || !h.Since.Equal(elsewhere.Add(-8*time.Second)) || !h.Seen.IsZero() {
			t.Errorf("%+v", h)
		}
	}
	if n != 1 || !seen.held(layout.Pairs*2+8, 3) || seen.held(layout.Pairs*2+8, 2) || seen.newest() != 3 {
		t.Errorf("%d legs in use, newest %d", n, seen.newest())
	}
	c.Free = true
	e.Apply(int64(3*time.Second), &c)
	for h := range seen.Holdings() {
		t.Errorf("freed, but in use: %+v", h)
	}
}

func TestForeignRegionsAreRefused(t *testing.T) {
	layout := wireLayout()
	now := time.Unix(1e9, 0)
	other := layout
	other.First += 2
	for says, change := range map[string]func(region []byte) ([]byte, Layout){
		"bytes":             func(r []byte) ([]byte, Layout) { return r[:len(r)-1], layout },
		"no table":          func(r []byte) ([]byte, Layout) { r[0]++; return r, layout },
		"layout 6":          func(r []byte) ([]byte, Layout) { r[8]++; return r, layout },
		"both processes":    func(r []byte) ([]byte, Layout) { r[12]++; return r, layout },
		"from port 30000":   func(r []byte) ([]byte, Layout) { return r, other },
		"is of 200 legs fr": func(r []byte) ([]byte, Layout) { r[20]++; return r, layout },
	} {
		region := aligned(BoardSize(layout))
		LayBoard(region, layout, now, 0)
		region, want := change(region)
		if _, err := ViewBoard(region, want, now, 0); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want it to say %q", err, says)
		}
	}
}

// A process that died within a frame leaves it open: its readers are not caught in it.
func TestAnOpenFrameEnds(t *testing.T) {
	b := NewBoard(wireLayout(), time.Unix(1e9, 0))
	b.cells[0].generation.Store(1)
	b.cells[0].turn.Store(1)
	if _, ok := b.read(0, 1); ok {
		t.Error("a torn state was taken for a whole one")
	}
	b.cells[0].turn.Add(1)
	if _, ok := b.read(0, 1); !ok {
		t.Error("a whole state was refused")
	}
}
