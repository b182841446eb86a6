package media

import (
	"math"
	"strings"
	"time"
)

// How speech sounds at the end of a path, estimated by the E-model (ITU-T G.107, 06/2015) with the impairments of codecs
// of ITU-T G.113 Appendix I (05/2007). It is a planning model: what it says of a call is what most people would say of
// calls with this loss, delay and codec.
//
//	R = (Ro - Is) - Id(delay) - Ie-eff(codec, loss)                     G.107 §7.1
//
// All parameters that the network does not measure (noise, loudness, echo loss) have the defaults of G.107 Table 2, so an
// undisturbed G.711 call has R = 93.2, MOS 4.41. Advantage A is 0: nobody forgives a desk phone.

// Voice is what speech is carried by.
type Voice struct {
	Codec  string        // encoding name of RFC 3551 or its registration, in any case; "": not known
	Packet time.Duration // of speech in a packet; 0: 20 ms
}

// Path is what the network does to packets.
type Path struct {
	Loss   float64       // share of packets that do not arrive, 0 to 1
	Jitter time.Duration // interarrival jitter (RFC 3550 §6.4.1)
	Delay  time.Duration // one way
}

// Score is an estimate of quality.
type Score struct {
	R       float64 // 0 to 100
	MOS     float64 // 1 to 4.5 (MOS-CQE, ITU-T P.800.1); 0: not known
	Assumed bool    // nothing is published of the codec: it is scored as G.711
}

// codecImpairment is what a codec does to speech: Ie without loss, and how it bears loss (Bpl).
type codecImpairment struct{ ie, bpl float64 }

// ITU-T G.113 Appendix I, Tables I.1 to I.4. G.711 with concealment (G.711 Appendix I), which every phone of today has.
// G.722 and Opus are rated on wider scales than this one (G.107.1, G.107.2), iLBC is not rated there: they have no place
// here.
var impairments = map[string]codecImpairment{
	"PCMU": {0, 25.1}, "PCMA": {0, 25.1},
	"G729": {11, 19}, // Annex A with VAD; plain G.729 is 10
	"G723": {15, 16.1},
	"GSM":  {20, 10}, "GSM-EFR": {5, 10}, // Bpl is that of EFR; none is published of full rate
}

// Estimate scores speech that comes over a path and is played out there.
func Estimate(v Voice, p Path) (s Score) {
	codec, known := impairments[strings.ToUpper(v.Codec)]
	if !known {
		codec = impairments["PCMU"]
	}
	packet := v.Packet
	if packet <= 0 {
		packet = 20 * time.Millisecond
	}
	buffer, late := playout(packet, p.Jitter)
	arrive := (1 - min(max(p.Loss, 0), 1)) * (1 - late)
	s.R = min(max(basic-delayImpairment(max(p.Delay, 0)+packet+buffer)-codec.effective(1-arrive), 0), 100)
	s.MOS, s.Assumed = mosOf(s.R), !known
	return s
}

// Playout: a buffer that follows the jitter, from two packets to a fifth of a second. Delays in queues are about
// exponential; their mean is then the jitter as RFC 3550 measures it, and e^(-buffer/jitter) of the packets come too late.
const (
	playoutJitters = 6
	playoutMost    = 200 * time.Millisecond
)

func playout(packet, jitter time.Duration) (buffer time.Duration, late float64) {
	if jitter <= 0 {
		return packet, 0
	}
	buffer = max(packet, min(max(2*packet, playoutJitters*jitter), playoutMost))
	return buffer, math.Exp(-float64(buffer) / float64(jitter))
}

// The defaults of G.107 Table 2 as far as delay needs them, and what follows from the others: Ro (§7.2) and Is (§7.3).
const (
	defaultRo = 94.7688
	defaultIs = 1.4136
	slr       = 8.0   // sending loudness rating, dB
	rlr       = 2.0   // receiving loudness rating, dB
	telr      = 65.0  // talker echo loudness rating, dB
	wepl      = 110.0 // weighted echo path loss, dB
	basic     = defaultRo - defaultIs
)

// delayImpairment is Id of a one-way delay, G.107 §7.4: talker echo, listener echo and delay as such. Without echo
// control on the way T = Ta, and the round trip of listener echo is twice that.
func delayImpairment(delay time.Duration) float64 {
	ta := float64(delay) / float64(time.Millisecond)
	return talkerEcho(ta) + listenerEcho(2*ta) + tooLong(ta)
}

// talkerEcho is Idte with STMR at its default, between 9 and 20 dB.
func talkerEcho(t float64) float64 {
	terv := telr - 40*math.Log10((1+t/10)/(1+t/150)) + 6*math.Exp(-0.3*t*t)
	re := 80 + 2.5*(terv-14)
	no := (15-defaultRo)/1.5 - slr // Ro = 15 - 1.5 (SLR + No)
	roe := -1.5 * (no - rlr)
	half := (roe - re) / 2
	return (half + math.Sqrt(half*half+100) - 1) * (1 - math.Exp(-t))
}

// listenerEcho is Idle.
func listenerEcho(tr float64) float64 {
	rle := 10.5 * (wepl + 7) * math.Pow(tr+1, -0.25)
	half := (defaultRo - rle) / 2
	return half + math.Sqrt(half*half+169)
}

// tooLong is Idd, with the default sensitivity (sT = 1, mT = 100 ms).
func tooLong(ta float64) float64 {
	if ta <= 100 {
		return 0
	}
	x := math.Log2(ta / 100)
	return 25 * (math.Pow(1+math.Pow(x, 6), 1.0/6) - 3*math.Pow(1+math.Pow(x/3, 6), 1.0/6) + 2)
}

// effective is Ie-eff, G.107 §7.5, for losses that are independent of each other (BurstR = 1).
func (c codecImpairment) effective(loss float64) float64 {
	ppl := loss * 100
	return c.ie + (95-c.ie)*ppl/(ppl+c.bpl)
}

// mosOf is G.107 Annex B.
func mosOf(r float64) float64 {
	switch {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	return max(1, 1+0.035*r+r*(r-60)*(100-r)*7e-6) // the curve dips below 1 for R under 6.5
}

// scoreLeast is how many packets are enough to judge by: two seconds of speech.
const scoreLeast = 100

// Scores are what can be known of the quality of a leg's speech. in is that of its peer's as it arrives here: the way from
// the peer to us. out is that of what its peer hears, by its own reports: the whole way from the other peer, what was lost
// before us included. Each has MOS 0 where nothing is known of it.
func Scores(legs *[2]LegStats, side int, v Voice) (in, out Score) {
	l, far := &legs[side], &legs[1-side]
	if n := l.Packets + l.Lost; n >= scoreLeast {
		in = Estimate(v, Path{Loss: float64(l.Lost) / float64(n), Jitter: l.Jitter, Delay: l.RoundTrip / 2})
	}
	if l.Reports > 0 && l.FarSent >= scoreLeast {
		loss := min(float64(l.FarLost)/float64(l.FarSent), 1)
		p := Path{Loss: loss, Jitter: l.FarJitter, Delay: (l.RoundTrip + far.RoundTrip) / 2}
		if l.FarDiscarded > 0 {
			// It says itself what its buffer could not use, which is better than to guess.
			p.Loss, p.Jitter = 1-(1-loss)*(1-l.FarDiscarded), 0
		}
		out = Estimate(v, p)
	}
	return in, out
}
