package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket/layers"

	"sallyport/nat"
)

// Message is one SIP message of a capture, or what came where one should be. Its bytes are valid until the next one is
// read.
type Message struct {
	Time        time.Time
	Source      netip.AddrPort
	Destination netip.AddrPort
	Transport   nat.Transport // UDP or TCP; TLS too in a dump of the flight recorder
	Data        []byte
	Cut         bool           // the capture does not hold all of it
	Err         error          // of a stream that cannot be cut into messages (scan.Framer); Data is what is left
	Listener    *nat.Interface // in a dump of the flight recorder
}

// Facts are what there is to know of a capture besides its messages.
type Facts struct {
	Packets    uint64    `json:"packets"`
	First      time.Time `json:"first,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	Cut        uint64    `json:"cut_packets,omitempty"`       // longer than the snap length
	Dropped    uint64    `json:"dropped_packets,omitempty"`   // that the capturing program missed, as far as it tells
	Duplicates uint64    `json:"duplicates,omitempty"`        // seen at several places of one machine
	Links      uint64    `json:"unknown_links,omitempty"`     // packets of link types that are not read
	Fragments  uint64    `json:"lost_fragments,omitempty"`    // datagrams of which pieces are missing
	Encrypted  uint64    `json:"encrypted_streams,omitempty"` // directions of TLS connections
	Gaps       uint64    `json:"gaps,omitempty"`              // places where a stream lacks bytes
	Crowded    uint64    `json:"streams_given_up,omitempty"`  // for want of room
	End        string    `json:"ends_too_early,omitempty"`    // why the file could not be read to its end
	BadTimes   uint64    `json:"impossible_times,omitempty"`  // packets whose time was set to that of the one before
	link       layers.LinkType
}

// Capture reads the messages of a file, in order.
type Capture struct {
	file      source
	facts     Facts
	fragments fragments
	streams   streams
	seen      seen
	current   Message // of the streams' messages
	taken     int     // of streams.out
	done      bool
}

// Open reads the head of a capture: pcap or pcapng, gzip or not.
func Open(r io.Reader) (*Capture, error) {
	file, err := openSource(r)
	if err != nil {
		return nil, err
	}
	return &Capture{file: file, seen: seen{seed: maphash.MakeSeed()}}, nil
}

// Facts are what has been found out so far.
func (c *Capture) Facts() Facts {
	f := c.facts
	f.Dropped, f.Fragments = c.file.dropped(), c.fragments.lost
	if c.done {
		f.Fragments += c.fragments.waitingNow()
	}
	f.Encrypted, f.Gaps, f.Crowded = c.streams.encrypted, c.streams.broken, c.streams.crowded
	return f
}

// Next reads the next message, or datagram that is none. It returns io.EOF at the end; a file that ends too early ends
// likewise, and Facts tell of it.
func (c *Capture) Next(m *Message) error {
	for {
		if c.taken < len(c.streams.out) {
			x := &c.streams.out[c.taken]
			c.taken++
			*m = c.current
			m.Data, m.Err = x.data, x.err
			return nil
		}
		clear(c.streams.out)
		c.streams.out, c.taken = c.streams.out[:0], 0
		if c.done {
			return io.EOF
		}
		p, err := c.file.next()
		if err != nil {
			c.done = true
			if !errors.Is(err, io.EOF) {
				c.facts.End = ending(err)
			}
			return io.EOF
		}
		if c.packet(&p, m) {
			return nil
		}
	}
}

func ending(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "it ends within a packet"
	}
	return err.Error()
}

// oldest is before any SIP packet; times before it are mistakes of the file.
var oldest = time.Unix(0, 0).UTC()

// packet takes a packet apart. It reports true if that was a datagram with something in it.
func (c *Capture) packet(p *packet, m *Message) bool {
	f := &c.facts
	f.Packets++
	if p.at.Before(oldest) || p.at.Year() > 2200 {
		f.BadTimes++
		if p.at = f.Last; p.at.IsZero() {
			p.at = oldest
		}
	}
	if f.First.IsZero() {
		f.First = p.at
	}
	if p.at.After(f.Last) {
		f.Last = p.at
	}
	if p.cut {
		f.Cut++
	}
	ip, place, known := internet(p.link, p.data)
	if !known {
		f.Links++
		f.link = p.link
		return false
	}
	d, piece, ok := decode(ip)
	if !ok {
		return false
	}
	if piece.more || piece.offset > 0 {
		if d.data = c.fragments.add(p.at, &d, piece); d.data == nil {
			return false
		}
		d.cut = false
	}
	switch d.protocol {
	case protocolUDP:
		return c.udp(p, &d, p.place<<40|place, m)
	case protocolTCP:
		c.tcp(p, &d)
	}
	return false
}

// udp is RFC 768.
func (c *Capture) udp(p *packet, d *datagram, place int, m *Message) bool {
	if len(d.data) < 8 {
		return false
	}
	size, data := int(binary.BigEndian.Uint16(d.data[4:])), d.data[8:]
	cut := d.cut || p.cut && size > len(d.data)
	if size >= 8 && size-8 < len(data) {
		data = data[:size-8]
	}
	if len(data) == 0 {
		return false
	}
	*m = Message{
		Time:   p.at,
		Source: netip.AddrPortFrom(d.from, binary.BigEndian.Uint16(d.data)), Destination: netip.AddrPortFrom(d.to, binary.BigEndian.Uint16(d.data[2:])),
		Data: data, Cut: cut, Listener: p.face,
	}
	if p.face != nil {
		m.Transport = p.face.Transport
	} else if data[0] >= 'A' && data[0] <= 'z' && c.seen.twice(m, place) { // media need no such care
		c.facts.Duplicates++
		return false
	}
	return true
}

func (c *Capture) tcp(p *packet, d *datagram) {
	ports, s, ok := decodeTCP(d.data)
	if !ok {
		return
	}
	s.cut = d.cut
	c.current = Message{
		Time: p.at, Source: netip.AddrPortFrom(d.from, ports[0]), Destination: netip.AddrPortFrom(d.to, ports[1]), Transport: nat.TCP,
	}
	c.streams.add(p.at, pair{c.current.Source, c.current.Destination}, s)
}

// Notes say in words what the reader of a report should know of the capture.
func (f *Facts) Notes() []string {
	var out []string
	say := func(n uint64, format string, args ...any) {
		if n > 0 {
			out = append(out, fmt.Sprintf(format, append([]any{n}, args...)...))
		}
	}
	if f.End != "" {
		out = append(out, "the file could not be read to its end: "+f.End+"; what stands before is used")
	}
	say(f.Cut, "%d packets were cut when they were captured: capture with tcpdump -s 0")
	say(f.Dropped, "%d packets were missed by the capturing program")
	say(f.Duplicates, "%d datagrams were seen at a second place of the machine and count once")
	say(f.Links, "%d packets are of a link type that is not read (%s)", f.link)
	say(f.Fragments, "%d fragmented datagrams are not complete")
	say(f.Encrypted, "%d streams are encrypted and were left out: sbc record holds their messages in clear")
	say(f.Gaps, "%d times bytes of a TCP stream are missing")
	say(f.Crowded, "%d TCP streams were given up: too many at a time")
	say(f.BadTimes, "%d packets have impossible times")
	return out
}

// A packet that passes a bridge or a tunnel is captured at each interface that it crosses.
const (
	copiesWithin = 10 * time.Millisecond // far less than any repeat of a request takes
	copiesKept   = 1024
)

// seen finds datagrams that were captured twice on their way.
type seen struct {
	seed  maphash.Seed
	by    map[uint64]sighting
	order [copiesKept]uint64
	at    int
}

// sighting is when and where a datagram was captured first.
type sighting struct {
	at    time.Time
	place int
}

// twice reports whether the same datagram was captured a moment ago at another place.
func (s *seen) twice(m *Message, place int) bool {
	var h maphash.Hash
	h.SetSeed(s.seed)
	for _, end := range [...]netip.AddrPort{m.Source, m.Destination} {
		a := end.Addr().As16()
		_, _ = h.Write(a[:])
		_, _ = h.Write([]byte{byte(end.Port()), byte(end.Port() >> 8)})
	}
	_, _ = h.Write(m.Data)
	key := h.Sum64()
	first, there := s.by[key]
	if there && first.place != place && m.Time.Sub(first.at).Abs() <= copiesWithin {
		return true
	}
	if s.by == nil {
		s.by = make(map[uint64]sighting, copiesKept)
	}
	if !there {
		delete(s.by, s.order[s.at])
		s.order[s.at] = key
		s.at = (s.at + 1) % copiesKept
	}
	s.by[key] = sighting{m.Time, place}
	return false
}
