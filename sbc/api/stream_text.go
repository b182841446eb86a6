package api

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sallyport/sbc/tu"
)

// rows are a stream's part of `sbc calls ID`.
func (s *Stream) rows() (rows [][]string) {
	name := fmt.Sprintf("stream %d", s.Index)
	if s.Codec != "" {
		text := printable(s.Codec)
		if s.Packet > 0 {
			text += fmt.Sprintf(", %g ms a packet", s.Packet)
		}
		if s.AsG711 {
			text += "; its MOS is that of G.711, none is published"
		}
		rows = append(rows, []string{name, text})
	}
	for _, side := range []struct {
		name string
		leg  *StreamLeg
	}{{"outside", &s.Outside}, {"inside", &s.Inside}} {
		l := side.leg
		rows = append(rows,
			[]string{name + " " + side.name, l.address()},
			[]string{"  heard", l.heard()},
			[]string{"  sent", l.sent()})
		if l.Rejected > 0 {
			rows = append(rows, []string{"  refused", Rejections(&l.LegStats)})
		}
	}
	return rows
}

// address is where the leg's media goes and comes from.
func (l *StreamLeg) address() string {
	text := l.Local + " ⇄ " + cmp.Or(l.Learned, l.Signalled, "nobody yet")
	switch {
	case l.Learned == "":
	case l.Signalled != "" && l.Learned != l.Signalled:
		text += " (learned; said " + l.Signalled + ")"
	default:
		text += " (learned)"
	}
	return text
}

// heard is what came from the peer.
func (l *StreamLeg) heard() string {
	text := fmt.Sprintf("%d packets, %s, jitter %.1f ms", l.Packets, lost(l.Lost, l.Packets+l.Lost), l.Jitter)
	if l.MOSIn > 0 {
		text += fmt.Sprintf(", MOS %.2f", l.MOSIn)
	}
	return text
}

// sent is what the peer was sent, and what it says of that.
func (l *StreamLeg) sent() string {
	text := fmt.Sprintf("%d packets", l.Sent)
	switch l.Reports {
	case 0:
		text += "; the peer has not reported on them"
	case 1:
		text += fmt.Sprintf("; by 1 report %s, jitter %.1f ms", lost(l.FarLost, l.FarSent), l.FarJitter)
	default:
		text += fmt.Sprintf("; by %d reports %s, jitter %.1f ms", l.Reports, lost(l.FarLost, l.FarSent), l.FarJitter)
	}
	if l.RoundTrip > 0 {
		text += fmt.Sprintf(", round trip %.1f ms", l.RoundTrip)
	}
	if l.MOSOut > 0 {
		text += fmt.Sprintf(", MOS %.2f", l.MOSOut)
	}
	if l.FarMOS > 0 {
		text += fmt.Sprintf(" (%.1f by its own count)", l.FarMOS)
	}
	return text
}

func lost(n, of uint64) string {
	if n == 0 || of == 0 {
		return fmt.Sprintf("%d lost", n)
	}
	return fmt.Sprintf("%d lost (%.1f %%)", n, 100*float64(n)/float64(of))
}

// Rejections are a leg's rejected datagrams, the most frequent reason first.
func Rejections(l *tu.LegStats) string {
	reasons := slices.SortedFunc(maps.Keys(l.Rejections), func(a, b string) int {
		return cmp.Or(cmp.Compare(l.Rejections[b], l.Rejections[a]), cmp.Compare(a, b))
	})
	if len(reasons) == 0 {
		return fmt.Sprint(l.Rejected)
	}
	for i, why := range reasons {
		reasons[i] = fmt.Sprintf("%d %s", l.Rejections[why], why)
	}
	return strings.Join(reasons, ", ")
}
