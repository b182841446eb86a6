//go:build interop

package interop

import (
	bits "encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// key is a digit as it was sent or heard in telephone events.
type key struct {
	event byte
	ms    int
}

// keys reads the digits of one direction of audio (RFC 4733): each once, however often its end was said. whole also proves that
// what is heard is one stream without a gap, the audio around the digits included.
func keys(t *testing.T, list []packet, whole bool) (out []key) {
	t.Helper()
	const events = 101
	ended := map[uint32]bool{}
	var last packet
	for _, p := range list {
		b := p.payload
		if whole && last.payload != nil {
			before := last.payload
			if seq := bits.BigEndian.Uint16(b[2:]); seq != bits.BigEndian.Uint16(before[2:])+1 || bits.BigEndian.Uint32(b[8:]) != bits.BigEndian.Uint32(before[8:]) {
				t.Errorf("packet %d of %x after %d of %x", seq, b[8:12], bits.BigEndian.Uint16(before[2:]), before[8:12])
			}
		}
		last = p
		stamp := bits.BigEndian.Uint32(b[4:])
		if b[1]&0x7f == events && len(b) >= 16 && b[13]&0x80 != 0 && !ended[stamp] {
			ended[stamp] = true
			out = append(out, key{b[12], int(bits.BigEndian.Uint16(b[14:])) / 8})
		}
	}
	return out
}

// TestDTMF: INFO on one leg and telephone events on the other, in both directions of the call. What the far end hears is taken
// from its own wire: every digit once, in its length, in one stream with the audio; and what it presses comes as INFO.
func TestDTMF(t *testing.T) {
	w := newWorld(t)
	for n, dtmf := range []string{"info", "rfc4733"} { // the provider's way: it calls in, and it is called
		d := directions[n]
		t.Run(d.name, func(t *testing.T) {
			configuration := fmt.Sprintf(document, "0s", "none", w.dir, "debug", "30000-31000")
			configuration = strings.Replace(configuration, "    keepalive:", "    dtmf: "+dtmf+"\n    keepalive:", 1)
			g := w.run(t, configuration, gateOutside+":5080", gateInside+":5080")
			defer g.stop(t)
			before := len(g.records(t))
			caller, callee := d.caller, d.callee
			caller.scenario, callee.scenario = "keys-info", "keys-events"
			rec := w.capture(t)
			answering := w.sipp(t, callee)
			calling := w.sipp(t, caller)
			w.verdict(t, calling)
			if t.Failed() {
				answering.kill()
			}
			w.verdict(t, answering)
			all := rec.stop(t)
			noLeak(t, all)
			g.recorded(t, before, 1)

			heard := choose(all, packet.rtp, on(home[callee.address]), to(callee.address))
			if got := keys(t, heard, true); !slices.Equal(got, []key{{7, 200}, {10, 100}}) {
				t.Errorf("the callee hears %v", got)
			}
			if len(heard) < 60 {
				t.Errorf("the callee hears %d packets", len(heard))
			}
			pressed := keys(t, choose(all, packet.rtp, packet.own, from(callee.address)), false)
			var want, got []string
			for _, k := range pressed {
				want = append(want, fmt.Sprintf("Signal=%s Duration=%d", map[byte]string{5: "5", 11: "#"}[k.event], k.ms))
			}
			for _, p := range choose(all, packet.sip, to(caller.address)) {
				if _, body, ok := strings.Cut(string(p.payload), "\r\n\r\n"); ok && strings.HasPrefix(p.start(), "INFO ") && !p.own() {
					got = append(got, strings.Join(strings.Fields(body), " "))
				}
			}
			if len(pressed) != 2 || !slices.Equal(got, want) {
				t.Errorf("the callee presses %v, the caller hears %v", want, got)
			}
			if events := keys(t, choose(all, packet.rtp, on(home[caller.address]), to(caller.address)), false); len(events) > 0 {
				t.Errorf("the caller hears events, too: %v", events)
			}
			if t.Failed() || *ladders {
				t.Logf("ladder:\n%s", ladder(all))
			}
			if t.Failed() {
				t.Log(g.tail())
			}
		})
	}
}
