package core

import (
	"math"
	"time"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/tu"
)

// Figures are the relay's figures of a stream as records and listings have them. of says what the stream carries, which
// only signalling knows.
func Figures(legs *[2]media.LegStats, of tu.StreamStats) tu.StreamStats {
	voice := media.Voice{Codec: of.Codec, Packet: time.Duration(of.Packet * float64(time.Millisecond))}
	out := tu.StreamStats{Codec: of.Codec, Packet: of.Packet}
	said := [2]tu.LegStats{nat.Outside: of.Outside, nat.Inside: of.Inside}
	for side, to := range []*tu.LegStats{nat.Outside: &out.Outside, nat.Inside: &out.Inside} {
		*to = legFigures(&legs[side])
		to.SRTP, to.Profile, to.ICE = said[side].SRTP, said[side].Profile, said[side].ICE
		if of.Codec == "" {
			continue // not speech, or not known
		}
		heard, sent := media.Scores(legs, side, voice)
		to.MOSIn, to.MOSOut = rounded(heard.MOS, 2), rounded(sent.MOS, 2)
		out.AsG711 = out.AsG711 || heard.Assumed || sent.Assumed
	}
	return out
}

func legFigures(s *media.LegStats) tu.LegStats {
	out := tu.LegStats{
		Packets: s.Packets, Bytes: s.Bytes, Sent: s.Sent, Lost: s.Lost, Rejected: s.RejectedTotal(), Latched: s.Latched, Ported: s.Ported,
		Jitter: milliseconds(s.Jitter), Reports: s.Reports, FarLost: s.FarLost, FarSent: s.FarSent, FarJitter: milliseconds(s.FarJitter),
		FarMOS: s.FarMOS, RoundTrip: milliseconds(s.RoundTrip),
	}
	if s.Remote.IsValid() {
		out.Remote = s.Remote.String()
	}
	for why, n := range s.Rejected {
		if n == 0 {
			continue
		}
		if out.Rejections == nil {
			out.Rejections = make(map[string]uint64)
		}
		out.Rejections[media.Rejection(why).String()] = n
	}
	return out
}

// milliseconds are exact to a microsecond: what is finer is noise.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func rounded(v float64, digits int) float64 {
	unit := math.Pow10(digits)
	return math.Round(v*unit) / unit
}
