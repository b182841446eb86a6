package media_test

import (
	"testing"

	pionrtp "github.com/pion/rtp"
	"pgregory.net/rapid"

	"sallyport/media"
)

// Any sources in any order, without a loss on their way: the peer hears one SSRC, numbers without a gap, and a clock that
// goes forward and keeps to the time elapsed.
func TestVoicesInTurns(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := newVoices(t, func(w *media.Want) { w.Numbers[13] = media.Discard })
		sources := make([]voice, rapid.IntRange(1, 4).Draw(rt, "sources"))
		restart := func(s *voice) {
			s.seq += uint16(rapid.IntRange(10000, 12000).Draw(rt, "jump"))
			s.stamp += rapid.Uint32Range(1<<24, 1<<30).Draw(rt, "stamp") // nothing that the time elapsed could make
		}
		for i := range sources {
			sources[i] = voice{ssrc: uint32(i) * 1000, seq: rapid.Uint16().Draw(rt, "seq")}
			restart(&sources[i])
		}
		var last *pionrtp.Packet
		var first int64
		began, who := uint32(0), 0
		for range rapid.IntRange(1, 200).Draw(rt, "packets") {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				who = rapid.IntRange(0, len(sources)-1).Draw(rt, "who")
			case 1:
				who = (who + 1) % len(sources)
			case 2:
				restart(&sources[who])
			}
			s := &sources[who]
			s.pt = 0
			if rapid.IntRange(0, 9).Draw(rt, "discard") == 0 {
				s.pt = 13
			}
			v.pass(frame)
			for i := range sources { // clocks run on, whether anybody speaks or not
				if i != who {
					sources[i].stamp += 160
				}
			}
			p := v.say(s.next())
			if s.pt == 13 {
				continue
			}
			switch {
			case p == nil:
				rt.Fatal("not heard")
			case last == nil:
				began, first = p.Timestamp, v.b.now
			case p.SSRC != last.SSRC || p.SequenceNumber != last.SequenceNumber+1 || int32(p.Timestamp-last.Timestamp) <= 0:
				rt.Fatalf("%+v after %+v", p.Header, last.Header)
			}
			if off := int64(int32(p.Timestamp-began)) - (v.b.now-first)/125000; off < -800 || off > 800+160 {
				rt.Fatalf("the clock is %d units off", off)
			}
			last = p
		}
	})
}

// Losses, repeats and disorder on top: no number is given twice to different packets, a repeat has that of its first, unless
// more has changed since than is kept in mind, and the numbers go no further than there were packets.
func TestVoicesOnABadNetwork(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := newVoices(t, func(w *media.Want) { w.Numbers[13] = media.Discard })
		sources := []voice{{ssrc: 10, seq: 65500}, {ssrc: 20, seq: 5, stamp: 1 << 31}}
		var sent [][]byte
		who := 0
		for range rapid.IntRange(1, 150).Draw(rt, "packets") {
			if rapid.IntRange(0, 7).Draw(rt, "change") == 0 {
				who = 1 - who
			}
			sources[who].pt = 0
			if rapid.IntRange(0, 5).Draw(rt, "discard") == 0 {
				sources[who].pt = 13
			}
			sent = append(sent, sources[who].next())
		}
		given := map[uint16]string{}
		numbers, at := map[string]uint16{}, map[string]int{}
		changes, speaker := 0, byte(0)
		var first, top uint16
		for i := 0; i < len(sent); i++ {
			p := sent[i]
			switch rapid.IntRange(0, 9).Draw(rt, "fate") {
			case 0:
				continue
			case 1:
				if k := i + rapid.IntRange(1, 5).Draw(rt, "by"); k < len(sent) {
					p = sent[k]
					sent[i], sent[k] = sent[k], sent[i]
				}
			case 2:
				i--
			}
			v.pass(frame)
			if p[11] != speaker || p[1] == 13 {
				changes, speaker = changes+1, p[11]
			}
			q := v.say(p)
			if q == nil {
				continue
			}
			if len(given) == 0 {
				first, top = q.SequenceNumber, q.SequenceNumber
			}
			key := string(p)
			if int16(q.SequenceNumber-top) >= 0 {
				if top = q.SequenceNumber; given[top] == "" {
					at[key] = changes
				}
			}
			if other, ok := given[q.SequenceNumber]; ok && other != key {
				rt.Fatalf("number %d for %x and %x", q.SequenceNumber, other, key)
			}
			given[q.SequenceNumber] = key
			if since, ok := at[key]; ok && numbers[key] != 0 && numbers[key] != q.SequenceNumber && changes-since <= 3 {
				n := numbers[key]
				rt.Fatalf("%x has numbers %d and %d", key, n, q.SequenceNumber)
			}
			numbers[key] = q.SequenceNumber
			if q.SSRC != 10 && q.SSRC != 20 || int(int16(top-first)) > 2*len(sent) {
				rt.Fatalf("%+v", q.Header)
			}
		}
	})
}
