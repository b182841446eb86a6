package sdp

import (
	"slices"
	"strconv"
	"strings"
)

// videoCodecs and textCodecs are the encoding names by which a list of codecs speaks of more than audio (RFC 3551 §5 and the
// registrations since).
var (
	videoCodecs = []string{
		"AV1", "CelB", "FFV1", "H261", "H263", "H263-1998", "H263-2000", "H264", "H264-RCDO", "H264-SVC", "H265", "H266", "JPEG",
		"JPEG2000", "MP1S", "MP2P", "MP2T", "MP4V-ES", "MPV", "nv", "raw", "theora", "VC1", "VP8", "VP9",
	}
	textCodecs = []string{"t140", "t140c"}
)

// KindOf is the media type that an encoding name is of: "video", "text", or "audio" where it is not known to be another.
func KindOf(codec string) string {
	switch same := func(s string) bool { return strings.EqualFold(s, codec) }; {
	case slices.ContainsFunc(videoCodecs, same):
		return "video"
	case slices.ContainsFunc(textCodecs, same):
		return "text"
	default:
		return "audio"
	}
}

// Restrict leaves stream i the codecs that are named, by their encoding names in any case, whether an rtpmap names them or
// their static payload type. With ordered they stand in the order of the names, those of one name as they were. What is
// no codec goes with one: repetition, redundancy and repair with what they repeat (RFC 4588, 2198), or with any; comfort
// noise with a codec of its clock; events always stay. It reports false, and changes nothing, where no codec is left.
func (s *Session) Restrict(i int, names []string, ordered bool) bool {
	d := s.describe(i)
	codecs := s.Codecs(i)
	ranks := d.ranks(codecs, names)
	if len(ranks) == 0 {
		return false
	}
	var goes []uint8
	for _, c := range codecs {
		if _, stays := ranks[c.Payload]; !stays {
			goes = append(goes, c.Payload)
		}
	}
	if len(goes) > 0 {
		s.DropFormats(i, goes...)
	}
	if !ordered {
		return true
	}
	kept := slices.DeleteFunc(d.order, func(n uint8) bool { _, stays := ranks[n]; return !stays })
	by := func(a, b uint8) int { return ranks[a] - ranks[b] }
	if !slices.IsSortedFunc(kept, by) {
		slices.SortStableFunc(kept, by)
		s.reorder(i, kept)
	}
	return true
}

// ranks are the places of the formats that stay: of a codec that of its name, of what goes with one codec that of the codec,
// of what goes with any the last one. It is empty where no codec stays.
func (d *mappings) ranks(codecs []Codec, names []string) map[uint8]int {
	ranks := map[uint8]int{}
	clocks := map[uint32]bool{}
	for _, c := range codecs {
		at := slices.IndexFunc(names, func(name string) bool { return c.Is(name) })
		if at >= 0 && c.Name != "" && c.Speech() && !c.Is("flexfec-03") {
			ranks[c.Payload] = at
			clocks[c.Clock] = true
		}
	}
	if len(ranks) == 0 {
		return nil
	}
	main := func(n uint8) bool { _, ok := ranks[n]; return ok }
	besides := map[uint8]int{}
	for _, c := range codecs {
		if main(c.Payload) {
			continue
		}
		of, bound := d.repeats(&c)
		switch {
		case bound && main(of):
			besides[c.Payload] = ranks[of]
		case c.Is("rtx"), bound && !d.beside(of, codecs), c.Is("CN") && !clocks[c.Clock]: // what it goes with is gone
		case c.Name != "" && (!c.Speech() || c.Is("flexfec-03")):
			besides[c.Payload] = len(names)
		}
	}
	d.repeatsOfBesides(codecs, besides)
	for n, at := range besides {
		ranks[n] = at
	}
	return ranks
}

// repeats is the format that another one repeats: apt of rtx, the first one of red.
func (d *mappings) repeats(c *Codec) (of uint8, ok bool) {
	parameters := d.formats[c.Payload]
	switch {
	case c.Is("rtx"):
		for p := range strings.SplitSeq(parameters, ";") {
			if k, v, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(k), "apt") {
				return payloadType(strings.TrimSpace(v))
			}
		}
	case c.Is("red"):
		first, _, _ := strings.Cut(parameters, "/")
		return payloadType(strings.TrimSpace(first))
	}
	return 0, false
}

// beside reports whether a number is that of a format that is no codec.
func (d *mappings) beside(n uint8, codecs []Codec) bool {
	return slices.ContainsFunc(codecs, func(c Codec) bool { return c.Payload == n && !c.Speech() })
}

// repeatsOfBesides keeps the repetition of redundancy and the like, which video has: rtx of red.
func (d *mappings) repeatsOfBesides(codecs []Codec, besides map[uint8]int) {
	for _, c := range codecs {
		if of, ok := d.repeats(&c); ok && c.Is("rtx") {
			if at, stays := besides[of]; stays {
				besides[c.Payload] = at
			}
		}
	}
}

// reorder writes the formats of an m= line anew.
func (s *Session) reorder(i int, order []uint8) {
	sec := s.media[i]
	v := sec[0].value()
	_, at := word(v, 0)
	_, at = word(v, at)
	_, at = word(v, at)
	b := append([]byte("m="), v[:at]...)
	for _, n := range order {
		b = append(b, ' ')
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	for f := range strings.FieldsSeq(v[at:]) { // what is no number stays, whatever it means
		if _, ok := payloadType(f); !ok {
			b = append(append(b, ' '), f...)
		}
	}
	sec[0].text = string(b)
}
