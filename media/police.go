package media

// What a peer may send is bounded by what its codec can send. Latching keeps others out; policing is for the peer itself:
// a broken one, or one that has been taken over and floods whoever it has called through us.
//
// Rate and size are bounds of what is possible, not of what is usual: audio that stood still somewhere on its way comes in
// one bunch, events and comfort noise come besides, redundancy doubles. See Police for who chooses them.

// meter is a leg's bound, a table of its own. It is the generic cell rate algorithm (ITU-T I.371 Annex A, virtual
// scheduling): one number, however many packets.
type meter struct {
	due      int64  // when the next packet would be due at the full rate
	interval uint32 // nanoseconds between two packets; 0: any
	size     uint16 // 0: any
}

const (
	// policeBurst is for how long at the full rate a peer may have been held up and come all at once.
	policeBurst = int64(4e9)
	// RTCP has a share of the media's rate: a report comes every few seconds (RFC 3550 §6.2), feedback of video many times
	// a second (RFC 4585).
	controlShare = 4
	controlLeast = 25
	// controlSize is more than a compound packet may have where nothing is fragmented.
	controlSize = 1500
)

// under is the meter with a bound; what has been sent under the last one still counts.
func (m meter) under(p Police, f flags) meter {
	m.interval, m.size = 0, p.Size
	rate := p.Rate
	if f&flagControl != 0 && f&flagPoliced != 0 {
		m.size = controlSize
		if rate != 0 {
			rate = max(controlLeast, rate/controlShare)
		}
	}
	if rate != 0 {
		m.interval = uint32(max(1, 1e9/rate))
	}
	return m
}

// admit reports whether a datagram of the leg's peer is within the bound.
func (m *meter) admit(now int64, class class, size int) bool {
	if m.size != 0 && size > int(m.size) && (class != classRTCP || size > controlSize) {
		return false
	}
	due := max(m.due, now)
	if due-now > policeBurst {
		return false
	}
	m.due = due + int64(m.interval)
	return true
}
