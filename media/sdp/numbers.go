package sdp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Format is one payload type of an RTP stream. Codec is what it stands for, in a form that is the same for the same thing:
// name, clock and channels, and those parameters without which two formats do not understand each other. It is no text
// to be shown or sent.
type Format struct {
	Number uint8
	Codec  string
}

// Base is the codec without parameters.
func (f *Format) Base() string {
	base, _, _ := strings.Cut(f.Codec, ";")
	return base
}

// Is reports whether a format is of an encoding name, in any case.
func (f *Format) Is(name string) bool {
	got, _, _ := strings.Cut(f.Codec, "/")
	return strings.EqualFold(got, name)
}

// maxFormats is how many formats of a stream are told apart: all that there are numbers for.
const maxFormats = 128

// Formats are the payload types of stream i in its order, each once. It panics where there is no stream i.
func (s *Session) Formats(i int) (list []Format) {
	d := s.describe(i)
	for _, n := range d.order {
		list = append(list, Format{Number: n, Codec: d.codec(n, 0)})
	}
	return list
}

// mappings are what the attributes of a stream say of its payload types.
type mappings struct {
	order   []uint8
	maps    map[uint8]string // of rtpmap, as written
	formats map[uint8]string // of fmtp
}

func (s *Session) describe(i int) (d mappings) {
	sec := s.media[i]
	st, _ := parseStream(sec[0].value()) // Parse has checked the line
	for f := range strings.FieldsSeq(st.formats) {
		if n, ok := payloadType(f); ok && len(d.order) < maxFormats && !slices.Contains(d.order, n) {
			d.order = append(d.order, n)
		}
	}
	d.maps, d.formats = map[uint8]string{}, map[uint8]string{}
	for _, l := range sec {
		name, v := l.attribute()
		into := d.maps
		switch {
		case strings.EqualFold(name, "fmtp"):
			into = d.formats
		case !strings.EqualFold(name, "rtpmap"):
			continue
		}
		number, at := word(v, 0)
		if n, ok := payloadType(number); ok {
			into[n] = strings.TrimSpace(v[at:])
		}
	}
	return d
}

func payloadType(s string) (uint8, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil && n < 128
}

// codec is the canonical form. depth ends an apt that leads to itself.
func (d *mappings) codec(n uint8, depth int) string {
	encoding := d.maps[n]
	if encoding == "" {
		if encoding = staticEncoding(n); encoding == "" {
			return fmt.Sprintf("?%d", n) // nobody says what it is: it is what its number is
		}
	}
	name, rest, _ := strings.Cut(strings.ToLower(encoding), "/")
	clock, channels, _ := strings.Cut(rest, "/")
	name, clock, channels = strings.TrimSpace(name), strings.TrimSpace(clock), strings.TrimSpace(channels)
	switch {
	case name == "opus":
		clock, channels = "48000", "2" // RFC 7587 §7: always; some leave it out
	case name == "g722":
		clock = "8000" // RFC 3551 §4.5.2: an old mistake that must stay; some write 16000
	}
	if channels == "" {
		channels = "1"
	}
	return name + "/" + clock + "/" + channels + d.distinction(n, name, depth)
}

// distinction is what tells formats of one encoding apart.
func (d *mappings) distinction(n uint8, name string, depth int) string {
	value := func(key, otherwise string) string {
		for p := range strings.SplitSeq(d.formats[n], ";") {
			k, v, _ := strings.Cut(p, "=")
			if strings.EqualFold(strings.TrimSpace(k), key) {
				return strings.ToLower(strings.TrimSpace(v))
			}
		}
		return otherwise
	}
	switch name {
	case "h264": // RFC 6184 §8.2.2: profile and packetization mode are symmetric, the level is not
		return ";" + profileH264(value("profile-level-id", "42000a")) + ";" + value("packetization-mode", "0")
	case "h265": // RFC 7798 §7.2.2
		return ";" + value("profile-id", "1")
	case "vp9": // RFC 9628 §7
		return ";" + value("profile-id", "0")
	case "av1":
		return ";" + value("profile", "0")
	case "amr", "amr-wb": // RFC 4867 §8.3.1; the other three need the octet-aligned form
		for _, key := range [...]string{"octet-align", "crc", "robust-sorting"} {
			if value(key, "0") == "1" {
				return ";1"
			}
		}
		if value("interleaving", "") != "" {
			return ";1"
		}
		return ";0"
	case "g7221": // RFC 5577 §5
		return ";" + value("bitrate", "")
	case "rtx": // RFC 4588 §8.6: it repeats another format
		if apt, ok := payloadType(value("apt", "")); ok && depth == 0 {
			return ";" + d.codec(apt, depth+1)
		}
	}
	return ""
}

// profileH264 is the profile that a profile-level-id names, by RFC 6184 §8.1, table 5.
func profileH264(id string) string {
	v, err := strconv.ParseUint(id, 16, 24)
	if err != nil || len(id) != 6 {
		return id
	}
	idc, iop := v>>16, v>>8&0xff
	for _, p := range [...]struct {
		idc, mask, bits uint64
		name            string
	}{
		{0x42, 0x4f, 0x40, "cb"}, {0x4d, 0x8f, 0x80, "cb"}, {0x58, 0xcf, 0xc0, "cb"},
		{0x42, 0x4f, 0x00, "b"}, {0x58, 0xcf, 0x80, "b"}, {0x4d, 0xaf, 0x00, "m"},
	} {
		if idc == p.idc && iop&p.mask == p.bits {
			return p.name
		}
	}
	return id[:4]
}

// Renumber gives the payload types of stream i other numbers: in the m= line, in the attributes that begin with one (rtpmap,
// fmtp, rtcp-fb, imageattr, framesize), and where a value names one (apt of rtx, the list of red, pt of rid). to names
// the new number of each; no two formats of the stream may get the same. Attributes of numbers that the m= line does not
// list are taken out, for their numbers may now be others'. A static payload type whose new number is dynamic gets its
// rtpmap.
func (s *Session) Renumber(i int, to *[128]uint8) {
	d := s.describe(i)
	sec := s.media[i]
	v := sec[0].value()
	_, at := word(v, 0)
	_, at = word(v, at)
	_, at = word(v, at)
	sec[0].text = "m=" + v[:at] + renumberWords(v[at:], " \t", to)
	sec = slices.DeleteFunc(sec, func(l line) bool {
		_, n, ok := l.numbered()
		return ok && !slices.Contains(d.order, n)
	})
	for k := range sec[1:] {
		sec[k+1].renumber(&d, to)
	}
	for _, n := range d.order {
		if e := staticEncoding(n); e != "" && d.maps[n] == "" && to[n] != n {
			sec = s.insert(sec, len(sec), fmt.Sprintf("a=rtpmap:%d %s", to[n], e))
		}
	}
	s.media[i] = sec
}

// staticEncoding is the rtpmap that a static payload type need not have (RFC 3551 §6); "": it has no meaning of its own.
func staticEncoding(n uint8) string {
	c, known := static[n]
	switch {
	case !known:
		return ""
	case n == 10:
		return "L16/44100/2" // 11 is mono
	}
	return fmt.Sprintf("%s/%d", c.Name, c.Clock)
}

// numbered tells the payload type that an attribute is about.
func (l line) numbered() (name string, n uint8, ok bool) {
	name, v := l.attribute()
	switch name = strings.ToLower(name); name {
	case "rtpmap", "fmtp", "rtcp-fb", "imageattr", "framesize":
		number, _ := word(v, 0)
		n, ok = payloadType(number)
	}
	return name, n, ok
}

// renumber rewrites one attribute.
func (l *line) renumber(d *mappings, to *[128]uint8) {
	name, n, ok := l.numbered()
	if !ok {
		if name == "rid" {
			l.renumberParameter("pt", ",", to)
		}
		return
	}
	colon := strings.IndexByte(l.text, ':') + 1
	v := l.text[colon:]
	number, at := word(v, 0)
	rest := v[at:]
	if name == "fmtp" {
		switch encoding, _, _ := strings.Cut(d.maps[n], "/"); strings.ToLower(strings.TrimSpace(encoding)) {
		case "red": // RFC 2198 §5: the formats of the blocks
			rest = renumberWords(rest, " \t/", to)
		case "rtx":
			l.text = l.text[:colon+at-len(number)] + strconv.Itoa(int(to[n])) + rest
			l.renumberParameter("apt", ",", to)
			return
		}
	}
	l.text = l.text[:colon+at-len(number)] + strconv.Itoa(int(to[n])) + rest
}

// renumberParameter rewrites the numbers of key=… in a line.
func (l *line) renumberParameter(key, between string, to *[128]uint8) {
	for at := 0; at < len(l.text); {
		i := strings.Index(strings.ToLower(l.text[at:]), key+"=")
		if i < 0 {
			return
		}
		from := at + i + len(key) + 1
		end := from
		for end < len(l.text) && !strings.ContainsRune("; \t", rune(l.text[end])) {
			end++
		}
		whole := at+i == 0 || strings.ContainsRune("; \t", rune(l.text[at+i-1])) // not the end of another word
		if whole {
			value := renumberWords(l.text[from:end], between, to)
			l.text, end = l.text[:from]+value+l.text[end:], from+len(value)
		}
		at = end
	}
}

// renumberWords rewrites the words of s that are payload types and leaves what is between them.
func renumberWords(s, between string, to *[128]uint8) string {
	var b strings.Builder
	for s != "" {
		end := strings.IndexAny(s, between)
		if end < 0 {
			end = len(s)
		}
		if n, ok := payloadType(s[:end]); ok && to[n] != n {
			b.WriteString(strconv.Itoa(int(to[n])))
		} else {
			b.WriteString(s[:end])
		}
		if end < len(s) {
			b.WriteByte(s[end])
			end++
		}
		s = s[end:]
	}
	return b.String()
}

// DropSources takes the SSRCs of stream i out (RFC 5576): a relay that lets several sources speak with one voice cannot
// tell beforehand which, and a receiver that is told none takes the one that it hears.
func (s *Session) DropSources(i int) {
	s.media[i] = slices.DeleteFunc(s.media[i], func(l line) bool {
		name, _ := l.attribute()
		return strings.EqualFold(name, "ssrc") || strings.EqualFold(name, "ssrc-group")
	})
}

// NameSources puts another name in the place of each by which stream i describes its sources (RFC 5576 §6.1).
func (s *Session) NameSources(i int, alias func(name string) string) {
	for k := range s.media[i] {
		l := &s.media[i][k]
		name, value := l.attribute()
		source, rest, _ := strings.Cut(value, " ")
		attribute, text, ok := strings.Cut(rest, ":")
		if ok && strings.EqualFold(name, "ssrc") && strings.EqualFold(attribute, "cname") {
			l.text = "a=ssrc:" + source + " cname:" + alias(text)
		}
	}
}

// Sealed reports whether stream i may be protected by keys that its peers agree upon (RFC 4568, 5763, 4567): by its
// profile, or as an offer that either may decline.
func (s *Session) Sealed(i int) bool {
	sec := s.media[i]
	st, _ := parseStream(sec[0].value())
	if strings.Contains(strings.ToUpper(st.proto), "SAVP") {
		return true
	}
	return slices.ContainsFunc(sec, func(l line) bool {
		name, _ := l.attribute()
		return strings.EqualFold(name, "crypto") || strings.EqualFold(name, "fingerprint") || strings.EqualFold(name, "key-mgmt")
	})
}
