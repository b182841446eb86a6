package call

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"

	"sallyport/media/sdp"
	"sallyport/sbc/tu"
)

// What the codecs of a stream say of its packets: how many there may be, and how they sound.

// The bounds of what a leg's peer may send (RFC 3551 §4.2, §4.5 and the codecs' own registrations). They are bounds of what
// is possible: a peer need not keep to the packet time that it was asked for; error correction sends each packet once
// more (RFC 5109), redundancy makes it longer (RFC 2198), events and comfort noise come besides, SRTP appends a tag and
// the number of its key.
const (
	shortestPacket = 10 * time.Millisecond  // of speech codecs
	newerPacket    = 5 * time.Millisecond   // of those with shorter frames, and of what is not known
	longestPacket  = 200 * time.Millisecond // RFC 3551 §4.2: what every receiver should bear
	rateMargin     = 2                      // error correction, or a clock gone wild
	rateBesides    = 100                    // packets a second of events and comfort noise
	sizeBesides    = 200                    // bytes of headers, extensions (RFC 8285), contributors, SRTP
	redundancy     = 3                      // a frame and two earlier ones
	videoRate      = 2000                   // packets a second: 16 Mbit/s, and a key frame at once
	faxRate        = 400                    // T.38 sends each 10 to 40 ms
)

// speech is how many bytes a codec makes of a millisecond at most.
var speech = map[string]float64{
	"PCMU": 8, "PCMA": 8, "G722": 8, "G729": 1, "G729D": 1, "G729E": 1.5, "G723": 0.8, "G728": 2, "G726-16": 2, "G726-24": 3,
	"G726-32": 4, "G726-40": 5, "GSM": 1.65, "GSM-EFR": 1.6, "GSM-HR-08": 0.8, "ILBC": 2, "AMR": 2, "AMR-WB": 3.5, "SPEEX": 6,
	"OPUS": 64, "EVS": 16.5, "DVI4": 8, "LPC": 0.8,
}

// police is what the peer that has written stream i of a description may send.
func police(s *sdp.Session, i int, line *sdp.Media) tu.Police {
	switch {
	case line.Type == "image":
		return tu.Police{Rate: faxRate}
	case !line.IsRTP(), line.Type != "audio":
		return tu.Police{Rate: videoRate}
	}
	usual, most := s.PacketTimes(i)
	shortest, bytes, factor := shortestPacket, 0.0, 1.0
	for _, c := range s.Codecs(i) {
		switch per, known := speech[strings.ToUpper(c.Name)]; {
		case c.Is("red"):
			factor = redundancy
		case !c.Speech():
		case !known:
			shortest, bytes = newerPacket, math.Inf(1)
		default:
			bytes = max(bytes, per)
			if c.Is("opus") {
				shortest = newerPacket // RFC 6716 §2.1.4: from 2.5 ms, which the margin covers
			}
		}
	}
	if usual > 0 {
		shortest = max(min(shortest, usual), time.Millisecond)
	}
	p := tu.Police{Rate: rateMargin*uint32(time.Second/shortest) + rateBesides}
	if size := bytes*factor*max(most, usual, longestPacket).Seconds()*1000 + sizeBesides; bytes > 0 && size < math.MaxUint16 {
		p.Size = uint16(size)
	}
	return p
}

// bound lets each leg's peer send what either has listed, which is what either may send, at the clock of the answer: the
// shorter list.
func bound(x, y *tu.Aim) {
	p := wider(x.Police, y.Police)
	x.Police, y.Police = p, p
	answer := y // it is the callee's, mostly
	if count(x.Payloads) < count(y.Payloads) {
		answer = x
	}
	x.Clock, y.Clock = answer.Clock, answer.Clock
}

func count(p tu.Payloads) int { return bits.OnesCount64(p[0]) + bits.OnesCount64(p[1]) }

// wider is a bound that two bounds keep to; 0 is none.
func wider(a, b tu.Police) (p tu.Police) {
	if a.Rate > 0 && b.Rate > 0 {
		p.Rate = max(a.Rate, b.Rate)
	}
	if a.Size > 0 && b.Size > 0 {
		p.Size = max(a.Size, b.Size)
	}
	return p
}

// Carries is what each stream carries, by the descriptions in force, for records and listings; the figures are not filled in.
func (c *Call) Carries() []tu.StreamStats {
	if len(c.streams) == 0 {
		return nil
	}
	list := make([]tu.StreamStats, len(c.streams))
	a, b := parsed(c.legs[caller].media.in), parsed(c.legs[callee].media.in)
	for i := range list {
		c.protected(i, &list[i])
		if at := agreed(a, b, i); at.Name != "" {
			list[i].Codec = codecName(at.Name)
			list[i].Packet = float64(cmp.Or(packetTime(a, i), packetTime(b, i))) / float64(time.Millisecond)
		}
	}
	return list
}

func parsed(in []byte) *sdp.Session {
	if len(in) == 0 {
		return nil
	}
	s, _ := sdp.Parse(in) // it has been parsed before
	return s
}

// packetTime is the one that a description asks for, 0 if it does not say.
func packetTime(s *sdp.Session, i int) time.Duration {
	if s == nil || i >= s.Len() {
		return 0
	}
	usual, _ := s.PacketTimes(i)
	return usual
}

// agreed is the codec that an audio stream has by both descriptions: the first one of the shorter list, which is that of
// the answer, that stands in the other one too (RFC 3264 §6.1).
func agreed(a, b *sdp.Session, i int) sdp.Codec {
	if a == nil || b == nil || i >= a.Len() || i >= b.Len() {
		return sdp.Codec{}
	}
	if line := a.At(i); line.Type != "audio" || !line.IsRTP() {
		return sdp.Codec{}
	}
	answer, offer := b.Codecs(i), a.Codecs(i)
	if len(offer) < len(answer) {
		answer, offer = offer, answer
	}
	for _, x := range answer {
		same := func(y sdp.Codec) bool { return y.Is(x.Name) && (y.Clock == x.Clock || y.Clock == 0 || x.Clock == 0) }
		if x.Name != "" && x.Speech() && slices.ContainsFunc(offer, same) {
			return x
		}
	}
	return sdp.Codec{}
}

// codecName is an encoding name in the case that it is registered in, as far as ours is known to differ.
func codecName(name string) string {
	for _, known := range [...]string{"iLBC", "opus", "speex"} {
		if strings.EqualFold(name, known) {
			return known
		}
	}
	return strings.ToUpper(name)
}

// clock is the RTP clock of the dynamic payload types that a peer may send: that of the first speech codec among them,
// whose events have the same (RFC 4733 §2.1).
func clock(s *sdp.Session, i int) uint32 {
	for _, c := range s.Codecs(i) {
		if c.Payload >= 35 && c.Speech() && c.Clock > 0 {
			return c.Clock
		}
	}
	return 0
}
