package media

import (
	"math"
	"time"
)

// state is how far a leg is with its peer.
type state uint8

const (
	stateFree   state = iota // a free port
	stateFixed               // Off: the SDP's address, no latch
	stateOpen                // waits for a latch; remote is the exact address meanwhile
	stateLocked              // remote is proven
)

// leg is one port's hot state: two cache lines at most, no pointers. Only the engine's thread touches it.
type leg struct {
	remote     Endpoint // where to send, and who is accepted without a question
	payloads   [2]uint64
	heard      int64 // last datagram of remote, whatever it was
	valid      int64 // last one that could have counted for a latch
	arrived    int64 // of the last RTP packet, for the jitter
	jitter     int64 // nanoseconds × 16
	lostBefore int64 // by earlier SSRCs and restarts
	seq        sequence
	peer       int32 // RTP leg of the other side
	generation uint32
	ssrc       uint32
	alt        uint32 // another SSRC seen last; its second packet in a row changes ssrc
	stamp      uint32
	clock      uint32
	state      state
	mode       Mode
	flags      flags
}

// rule is the rest: read when a source is not the leg's remote.
type rule struct {
	exact    Endpoint // the SDP's address, or its port at the signalling address
	fallback Endpoint // signalling address
	own      run      // of exact, while open
	until    int64    // while open: before it only exact may speak
	vouched  int64    // last valid packet of exact while open
	retake   int64    // while locked: until then exact may take the leg back
	nsources uint8
	permit   bool // a new epoch permits a new latch
	epoch    uint32
}

// A rule's rows of other tables. Most legs never write into theirs, so that they take up no memory: with a rule in one row
// they would be four fifths of what a call costs.
type (
	hopefuls [runSlots]run       // sources other than exact that hope for the latch
	listing  [MaxSources]network // nsources of them count
)

// ruling is a rule with all its rows.
type ruling struct {
	*rule
	runs    *hopefuls
	sources *listing
}

func (e *Engine) ruling(i int) ruling { return ruling{&e.rules[i], &e.hopefuls[i], &e.listings[i]} }

// forget ends all runs. It writes only where something has been written.
func (r ruling) forget() {
	r.own = run{}
	for i := range r.runs {
		if r.runs[i].count == 0 {
			return // slots fill from the first
		}
		r.runs[i] = run{}
	}
}

// list takes over the sources of a command.
func (r ruling) list(c *Command) {
	r.nsources = c.nsources
	copy(r.sources[:c.nsources], c.sources[:c.nsources])
}

// run counts the valid packets of one source that hopes for the latch.
type run struct {
	from  Endpoint
	at    int64
	ssrc  uint32
	seq   uint16
	count uint8
}

// The latch's figures (BEHAVIOUR of the latch: package comment).
const (
	latchAfter   = 3                             // valid packets of one SSRC
	strictWindow = int64(500 * time.Millisecond) // for the exact port
	retakeWithin = int64(3 * time.Second)        // Delayed
	rebindQuiet  = int64(500 * time.Millisecond) // of the locked port, before another one of its address
	lostQuiet    = int64(5 * time.Second)        // without a valid packet, before another candidate
	runSlots     = 8                             // hopeful sources watched at a time
	runSticky    = int64(200 * time.Millisecond) // one keeps its slot so long
	never        = int64(math.MaxInt64)
	runGap       = int64(2 * time.Second)  // between packets of a run
	controlGap   = int64(20 * time.Second) // the same for RTCP
	controlQuiet = int64(25 * time.Second) // five RTCP intervals (RFC 3550 §6.3.5)
)

func (l *leg) is(f flags) bool { return l.flags&f != 0 }

// counts reports whether a datagram may count towards a latch: version and header (parse), class of the port, and a
// negotiated payload type.
func (l *leg) counts(h *header) bool {
	if !h.latchy || h.class != l.expects() {
		return false
	}
	if h.class != classRTP || l.payloads == [2]uint64{} {
		return true
	}
	return l.payloads[h.pt>>6]&(1<<(h.pt&63)) != 0
}

func (l *leg) expects() class {
	switch {
	case l.is(flagControl):
		return classRTCP
	case l.is(flagOpaque):
		return classOpaque
	}
	return classRTP
}

func (r ruling) listed(p Endpoint) bool {
	for i := range r.nsources {
		if r.sources[i].contains(p) {
			return true
		}
	}
	return false
}

// candidate reports whether signalling vouches for an address.
func (r ruling) candidate(p Endpoint) bool {
	return p.sameAddr(r.exact) || p.sameAddr(r.fallback) || r.listed(p)
}
