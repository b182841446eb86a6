package replay

import (
	"bytes"
	"container/list"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"sallyport/sbc/scan"
)

// The bounds of TCP streams.
const (
	streamsMost  = 4096      // directions of connections; the one that has been silent longest gives way
	streamsBytes = 32 << 20  // held by all of them
	earlyMost    = 64        // segments of one that wait for others
	earlyBytes   = 128 << 10 // of one
	earlyWait    = time.Second
)

// pair is one direction of a connection.
type pair struct{ from, to netip.AddrPort }

// segment is one TCP segment (RFC 9293 §3.1).
type segment struct {
	sequence           uint32
	syn, fin, rst, cut bool
	data               []byte
}

// decodeTCP takes a segment apart.
func decodeTCP(b []byte) (ports [2]uint16, s segment, ok bool) {
	if len(b) < 20 {
		return ports, s, false
	}
	head := int(b[12]>>4) * 4
	if head < 20 || head > len(b) {
		return ports, s, false
	}
	ports = [2]uint16{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])}
	flags := b[13]
	return ports, segment{
		sequence: binary.BigEndian.Uint32(b[4:]), fin: flags&1 != 0, syn: flags&2 != 0, rst: flags&4 != 0, data: b[head:],
	}, true
}

// stream is one direction of a connection: its bytes in order, cut into messages.
type stream struct {
	key     pair
	place   *list.Element
	next    uint32 // sequence number
	aligned bool   // the next byte begins a message, or goes on with one
	adopt   bool   // next is not known: the end of a segment was cut off
	dead    bool   // cannot be cut into messages any more, or is encrypted
	framer  scan.Framer
	view    scan.View
	early   []early // by sequence number
	held    int     // bytes of early
	counted int     // bytes as streams.bytes has them
}

// early is a segment that came before the one ahead of it.
type early struct {
	at       time.Time
	sequence uint32
	data     []byte
}

// framed is one message of a stream, or why there will be no more.
type framed struct {
	data []byte
	err  error
}

// streams are the connections of a capture.
type streams struct {
	all       map[pair]*stream
	recent    list.List // most lately heard first
	bytes     int
	out       []framed // messages that are ready
	encrypted uint64   // directions that are TLS
	broken    uint64   // places where bytes are missing
	crowded   uint64   // directions given up for room
}

// add takes a segment; messages that it completes stand in out.
func (t *streams) add(now time.Time, key pair, s segment) {
	x := t.all[key]
	switch {
	case s.rst:
		t.drop(x)
		return
	case s.syn:
		t.drop(x)
		x = t.open(key, s.sequence+1, true)
		s.sequence++
	case len(s.data) == 0:
		if s.fin && x != nil && len(x.early) == 0 {
			t.drop(x)
		}
		return
	case x == nil:
		x = t.open(key, s.sequence, false) // the capture began later than the connection
	default:
		t.recent.MoveToFront(x.place)
	}
	if len(s.data) > 0 && !x.dead {
		t.order(now, x, s)
		t.account(x)
	}
	if s.fin && len(x.early) == 0 {
		t.drop(x)
	}
	t.bound()
}

func (t *streams) open(key pair, next uint32, aligned bool) *stream {
	if t.all == nil {
		t.all = map[pair]*stream{}
	}
	x := &stream{key: key, next: next, aligned: aligned}
	x.place = t.recent.PushFront(x)
	t.all[key] = x
	return x
}

func (t *streams) drop(x *stream) {
	if x == nil {
		return
	}
	t.recent.Remove(x.place)
	delete(t.all, x.key)
	t.bytes -= x.counted
}

// account counts what a stream holds.
func (t *streams) account(x *stream) {
	now := x.held + x.framer.Pending()
	t.bytes += now - x.counted
	x.counted = now
}

func (t *streams) bound() {
	for len(t.all) > streamsMost || t.bytes > streamsBytes {
		last := t.recent.Back().Value.(*stream)
		t.crowded++
		t.drop(last)
	}
}

// order delivers what is next, keeps what is early and forgets what has been there (RFC 9293 §3.4: sequence numbers are
// compared modulo 2³²).
func (t *streams) order(now time.Time, x *stream, s segment) {
	ahead := distance(s.sequence, x.next)
	if x.adopt || ahead > windowMost || ahead < -windowMost {
		t.jump(x, s.sequence)
		ahead = 0
	}
	switch {
	case ahead > 0:
		t.keep(now, x, s)
	case -ahead < len(s.data):
		t.deliver(x, s.data[-ahead:])
	}
	for len(x.early) > 0 && !x.dead {
		first := &x.early[0]
		ahead := distance(first.sequence, x.next)
		if ahead > 0 {
			// What is missing was not captured: the peers would not go on for so long without it.
			if len(x.early) < earlyMost && x.held < earlyBytes && now.Sub(first.at) < earlyWait {
				return
			}
			x.next, ahead = first.sequence, 0
			t.gap(x)
		}
		data := first.data
		x.held -= len(data)
		x.early = slices.Delete(x.early, 0, 1)
		if -ahead < len(data) {
			t.deliver(x, data[-ahead:])
		}
	}
	if s.cut {
		t.gap(x)
		x.adopt = true
	}
}

// windowMost is further than a peer can be ahead, or a repeat behind: beyond it a new connection uses the old ports.
const windowMost = 16 << 20

// distance is how far a sequence number is ahead of another one.
func distance(a, b uint32) int { return int(int32(a - b)) }

// jump goes on at another sequence number.
func (t *streams) jump(x *stream, to uint32) {
	if !x.adopt {
		t.gap(x)
	}
	x.next, x.adopt, x.early, x.held = to, false, nil, 0
}

// keep puts a segment aside.
func (t *streams) keep(now time.Time, x *stream, s segment) {
	i, there := slices.BinarySearchFunc(x.early, s.sequence, func(e early, sequence uint32) int { return distance(e.sequence, sequence) })
	if there && len(x.early[i].data) >= len(s.data) {
		return
	}
	x.early = slices.Insert(x.early, i, early{now, s.sequence, bytes.Clone(s.data)})
	x.held += len(s.data)
}

// gap notes that bytes are missing: the message in progress is lost, the next one is found by its start line.
func (t *streams) gap(x *stream) {
	t.broken++
	x.aligned, x.framer = false, scan.Framer{}
}

// deliver takes the next bytes of a stream.
func (t *streams) deliver(x *stream, data []byte) {
	x.next += uint32(len(data))
	if x.dead {
		return
	}
	if x.framer.Pending() == 0 && isTLS(data) {
		t.encrypted++
		t.end(x)
		return
	}
	if !x.aligned {
		if !startsMessage(data) {
			return
		}
		x.aligned = true
	}
	for len(data) > 0 {
		part := data[:min(len(data), scan.MaxPending-x.framer.Pending())]
		data = data[len(part):]
		if err := t.cut(x, part); err != nil {
			t.end(x)
			return
		}
	}
}

// cut feeds the framer and takes its messages out.
func (t *streams) cut(x *stream, part []byte) error {
	if err := x.framer.Feed(part); err != nil {
		return err
	}
	for {
		left := x.framer.Pending()
		kind, msg, err := x.framer.Next(&x.view)
		switch {
		case err != nil:
			// As the reader on the wire does: what can still be seen of the message in doubt is judged.
			seen := part[:0]
			if left <= len(part) {
				seen = part[len(part)-left:]
			}
			t.out = append(t.out, framed{bytes.Clone(seen), err})
			return err
		case kind == scan.None:
			return nil
		case kind == scan.Message:
			t.out = append(t.out, framed{bytes.Clone(msg), nil})
		}
	}
}

// end stops looking at a stream until its connection is opened anew.
func (t *streams) end(x *stream) {
	x.dead, x.framer, x.early, x.held = true, scan.Framer{}, nil, 0
}

// isTLS tells the records of TLS by their type and version (RFC 8446 §5.1).
func isTLS(data []byte) bool {
	return len(data) >= 3 && data[0] >= 0x14 && data[0] <= 0x17 && data[1] == 3 && data[2] <= 4
}

// startsMessage reports whether a SIP message begins here.
func startsMessage(data []byte) bool {
	if scan.Classify(data) != scan.Message {
		return false
	}
	line, _, _ := bytes.Cut(bytes.TrimLeft(data, "\r\n"), []byte("\r\n"))
	return bytes.HasPrefix(line, []byte("SIP/2.0 ")) || bytes.HasSuffix(line, []byte(" SIP/2.0"))
}
