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

// leg is one port's hot state: one cache line, no pointers. Only the engine's thread touches it.
type leg struct {
	remote Endpoint // where to send, and who is accepted without a question
	heard  int64    // last datagram of remote, whatever it was
	valid  int64    // last one that could have counted for a latch; while open: of exact, 0: none yet
	// While open: before it only exact may speak. While locked: until then exact may take the leg back.
	limit      int64
	peer       int32 // RTP leg of the other side
	generation uint32
	epoch      uint32
	state      state
	mode       Mode
	flags      flags
}

// reception is what an RTP leg knows of what it hears, one cache line.
type reception struct {
	payloads   [2]uint64 // that its peer may send
	arrived    int64     // of the last RTP packet, for the jitter
	seq        sequence
	ssrc       uint32
	alt        uint32 // another SSRC seen last; its second packet in a row changes ssrc
	stamp      uint32
	clock      uint32
	lostBefore int32 // by earlier SSRCs and restarts
}

// rule is the rest, of both ports of a pair: read when a source is not the leg's remote.
type rule struct {
	exacts   [2]address // the SDP's address, or its port at the signalling address
	fallback address    // signalling address
	own      [2]proof   // of exact, while open
	ports    [2]uint16  // of exacts
	nsources uint8
}

// A rule's rows of other tables. Most legs never write into theirs, so that they take up no memory: with a rule in one row
// they would be three quarters of what a call costs.
type (
	hopefuls [runSlots]run       // sources other than exact that hope for the latch, by leg
	listing  [MaxSources]network // nsources of them count, by pair
)

// ruling is a leg's rule with all its rows.
type ruling struct {
	*rule
	exact   Endpoint
	port    int // 0 RTP, 1 RTCP
	runs    *hopefuls
	sources *listing
}

func (e *Engine) ruling(i int) ruling {
	r, port := &e.rules[i>>1], i&1
	return ruling{r, r.exacts[port].at(r.ports[port]), port, &e.hopefuls[i], &e.listings[i>>1]}
}

// point takes over where signalling says that the peer is.
func (r *ruling) point(exact Endpoint) {
	r.exact, r.exacts[r.port], r.ports[r.port] = exact, exact.address(), exact.port
}

// forget ends all runs. It writes only where something has been written.
func (r ruling) forget() {
	r.own[r.port] = proof{permit: r.own[r.port].permit}
	for i := range r.runs {
		if r.runs[i].count == 0 {
			return // slots fill from the first
		}
		r.runs[i] = run{}
	}
}

// permit says whether a new epoch permits a new latch.
func (r ruling) permit(yes bool) { r.own[r.port].permit = yes }

// list takes over the other addresses of a command.
func (r ruling) list(c *Command) {
	r.fallback, r.nsources = c.fallback.address(), c.nsources
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

// proof is the run of a leg's remote, while it is the exact address; it was last heard at leg.valid.
type proof struct {
	ssrc   uint32
	seq    uint16
	count  uint8
	permit bool // a new epoch permits a new latch
}

// The latch's figures (what they are for: package comment).
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
func (e *Engine) counts(i int, l *leg, h *header) bool {
	if !h.latchy || h.class != l.expects() {
		return false
	}
	return h.class != classRTP || e.receptions[i>>1].takes(h.pt)
}

// takes reports whether a payload type has been negotiated.
func (x *reception) takes(pt uint8) bool {
	return x.payloads[pt>>6&1]&(1<<(pt&63)) != 0 || x.payloads == [2]uint64{}
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
	return p.address() == r.exacts[r.port] || p.address() == r.fallback || r.listed(p)
}
