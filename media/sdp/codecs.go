package sdp

import (
	"strconv"
	"strings"
	"time"
)

// Codec is one format of an RTP stream.
type Codec struct {
	Payload uint8
	Name    string // encoding name as its rtpmap writes it, else that of the static payload type; "": not said
	Clock   uint32 // in Hz; 0: not said
}

// Is compares encoding names, which are not case-sensitive (RFC 4855 §3).
func (c *Codec) Is(name string) bool { return strings.EqualFold(c.Name, name) }

// Speech reports whether a format carries speech by itself: events, comfort noise, redundancy and error correction go with
// one that does.
func (c *Codec) Speech() bool {
	for _, beside := range [...]string{"telephone-event", "tone", "CN", "red", "ulpfec", "flexfec", "parityfec", "rtx"} {
		if c.Is(beside) {
			return false
		}
	}
	return true
}

// Encoding names and clocks of static payload types (RFC 3551 §6), those that anybody uses.
var static = map[uint8]Codec{
	0: {0, "PCMU", 8000}, 3: {3, "GSM", 8000}, 4: {4, "G723", 8000}, 5: {5, "DVI4", 8000}, 6: {6, "DVI4", 16000},
	7: {7, "LPC", 8000}, 8: {8, "PCMA", 8000}, 9: {9, "G722", 8000}, 10: {10, "L16", 44100}, 11: {11, "L16", 44100},
	12: {12, "QCELP", 8000}, 13: {13, "CN", 8000}, 15: {15, "G728", 8000}, 18: {18, "G729", 8000},
	26: {26, "JPEG", 90000}, 31: {31, "H261", 90000}, 34: {34, "H263", 90000},
}

// Codecs are the formats of stream i in its order, each once. It panics where there is no stream i.
func (s *Session) Codecs(i int) (list []Codec) {
	d := s.describe(i)
	for _, n := range d.order {
		c := static[n]
		c.Payload = n
		if said := d.maps[n]; said != "" {
			c.read(said)
		}
		list = append(list, c)
	}
	return list
}

// read takes over what an rtpmap says (RFC 8866 §6.6).
func (c *Codec) read(encoding string) {
	name, rest, _ := strings.Cut(encoding, "/")
	clock, _, _ := strings.Cut(rest, "/")
	c.Name = strings.TrimSpace(name)
	if hz, err := strconv.ParseUint(strings.TrimSpace(clock), 10, 32); err == nil {
		c.Clock = uint32(hz)
	}
	if c.Is("G722") {
		c.Clock = 8000 // RFC 3551 §4.5.2: an old mistake that must stay; some write 16000
	}
}

// PacketTimes are how much speech the writer of stream i wants in a packet, and how much there may be at most (RFC 8866
// §6.4, §6.5); 0 where it does not say.
func (s *Session) PacketTimes(i int) (usual, most time.Duration) {
	for _, l := range s.media[i] {
		switch name, v := l.attribute(); {
		case strings.EqualFold(name, "ptime"):
			usual = packetTime(v)
		case strings.EqualFold(name, "maxptime"):
			most = packetTime(v)
		}
	}
	return usual, most
}

// packetTime reads milliseconds. Some write fractions of them.
func packetTime(v string) time.Duration {
	ms, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	if err != nil || !(ms > 0 && ms <= 1000) {
		return 0
	}
	return time.Duration(ms * float64(time.Millisecond))
}
