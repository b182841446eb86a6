package transaction

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/message"
)

// Config is what a table lives by. The zero value has the timers of RFC 3261 §17 (Table 4), 65,536 places, and knows
// no systems.
type Config struct {
	T1, T2, T4 time.Duration // 500 ms, 4 s, 5 s where 0
	Max        int           // server and client transactions together; 65,536 where 0

	// SameSystem reports whether what should come from one flow may come from the other: the addresses of one trunk or
	// of the PBX. It must be pure. Nil: never.
	SameSystem func(expected, from nat.Flow) bool
	// Known reports whether a source is a known peer: it may fill the last eighth of the table, and is told 481 for a
	// stray CANCEL, which a stranger is not. It must be pure. Nil: nobody has the last eighth, all are told.
	Known func(from nat.Flow) bool
}

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.T1 < 0 || c.T2 < 0 || c.T4 < 0:
		return errors.New("transaction: timers T1, T2 and T4 must not be negative; leave them 0 for the defaults")
	case c.T2 > 0 && c.T1 > c.T2:
		return fmt.Errorf("transaction: T1 (%v) must not exceed T2 (%v)", c.T1, c.T2)
	case c.Max < 0:
		return errors.New("transaction: the table's size must not be negative; leave it 0 for 65536")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.T1 == 0 {
		c.T1 = 500 * time.Millisecond
	}
	if c.T2 == 0 {
		c.T2 = 4 * time.Second
	}
	if c.T4 == 0 {
		c.T4 = 5 * time.Second
	}
	if c.Max == 0 {
		c.Max = 65536
	}
	if c.SameSystem == nil {
		c.SameSystem = func(_, _ nat.Flow) bool { return false }
	}
	return c
}

// The errors of a user's call. The table is as it was.
var (
	ErrGone     = errors.New("transaction: the server transaction has ended; nobody waits for the response")
	ErrAnswered = errors.New("transaction: the request was answered or dropped already; a transaction has one final response")
	ErrFull     = errors.New("transaction: the table is full; refuse the request with 503")
	ErrMessage  = errors.New("transaction: not a message for this call")
)

// Table holds the transactions of one core. Make it with NewTable; use it from one goroutine.
type Table struct {
	cfg    Config
	all    time.Duration // 64·T1
	trying time.Duration // when a silent non-INVITE server transaction sends 100 (RFC 4320 §4.1)

	servers  map[ID]*server
	namesake map[string]*server // by key without source: a few of all sources, threaded by server.next
	crowded  map[string]*server // by key: those that find no place among their namesakes
	merged   map[string]*server
	accepted map[string]*server // 2xx sent to an INVITE, by the ACK they wait for
	owned    chains[uint64, server]
	lastID   ID

	clients    map[string]*client
	byUser     chains[uint64, client]
	unanswered chains[destination, client] // on their way: nothing has been heard
	pending    chains[destination, client] // with a provisional response

	queue    queue
	epoch    time.Time
	retained int
	counters Counters

	now instant  // of the call that is under way
	out []Effect // of the call that is under way
	key []byte   // scratch
	raw []byte   // scratch
}

// destination is where a request was sent to.
type destination struct {
	iface  uint16
	class  uint32
	remote netip.AddrPort
	conn   uint64
}

func destinationOf(f nat.Flow) destination {
	return destination{f.Interface, f.Class, f.Remote, f.Conn}
}

// NewTable makes an empty table. The configuration must be valid.
func NewTable(cfg Config) *Table {
	cfg = cfg.withDefaults()
	t := &Table{
		cfg: cfg, all: 64 * cfg.T1,
		servers: map[ID]*server{}, namesake: map[string]*server{}, crowded: map[string]*server{},
		merged: map[string]*server{}, accepted: map[string]*server{},
		owned:      newChains[uint64](func(s *server) *links[server] { return &s.peers }),
		clients:    map[string]*client{},
		byUser:     newChains[uint64](func(c *client) *links[client] { return &c.siblings }),
		unanswered: newChains[destination](func(c *client) *links[client] { return &c.travellers }),
		pending:    newChains[destination](func(c *client) *links[client] { return &c.travellers }),
	}
	for e := cfg.T1; e < cfg.T2; e *= 2 {
		t.trying += e
	}
	return t
}

// Request takes a request from the network: from is its source, reply where responses to it go (RFC 3261 §18.2.2,
// RFC 3581 §4). The message must have a Via.
func (t *Table) Request(now time.Time, m *message.Message, from, reply nat.Flow, out []Effect) []Effect {
	t.enter(now, out)
	switch {
	case !m.IsRequest() || len(m.Via) == 0:
	case m.Method == "ACK":
		t.ack(m, from)
	case m.Method == "CANCEL":
		t.cancelled(m, from, reply)
	default:
		t.request(m, from, reply)
	}
	return t.leave()
}

// Response takes a response from the network.
func (t *Table) Response(now time.Time, m *message.Message, from nat.Flow, out []Effect) []Effect {
	t.enter(now, out)
	if !m.IsRequest() {
		t.response(m, from)
	}
	return t.leave()
}

// Unreachable says that what was sent on a flow did not arrive: an ICMP error, a refused or closed connection. Requests
// on their way there that have no answer yet fail; those on another connection to the same address, or by one of another class, do not.
func (t *Table) Unreachable(now time.Time, to nat.Flow, out []Effect) []Effect {
	t.enter(now, out)
	for c := range t.unanswered.drain(destinationOf(to)) {
		if c.invite {
			t.inviteFailed(c)
		} else {
			t.otherFailed(c)
		}
	}
	return t.leave()
}

// Abandon says that nobody lives at a flow's address: of the requests on their way there that have had no answer, those that may
// be asked elsewhere fail. They are named by their user and ref; those of nobody stay.
func (t *Table) Abandon(now time.Time, to nat.Flow, elsewhere func(user uint64, ref uint32) bool, out []Effect) []Effect {
	t.enter(now, out)
	for c := t.unanswered.heads[destinationOf(to)]; c != nil; {
		next := c.travellers.next
		if c.user != 0 && elsewhere(c.user, c.ref) {
			t.heard(c)
			if c.invite {
				t.inviteFailed(c)
			} else {
				t.otherFailed(c)
			}
		}
		c = next
	}
	return t.leave()
}

// Forsake says that who was at some flows lives no more: what has had a provisional response there, and waits for the final one,
// gets none. An INVITE would wait without end, for nothing repeats it any more (RFC 3261 §17.1.1.2); of what nobody waits for nobody
// hears.
func (t *Table) Forsake(now time.Time, gone func(to nat.Flow) bool, out []Effect) []Effect {
	t.enter(now, out)
	var lost []*client
	for _, c := range t.pending.heads {
		if !gone(c.to) {
			continue
		}
		for ; c != nil; c = c.travellers.next {
			if c.user != 0 {
				lost = append(lost, c)
			}
		}
	}
	slices.SortFunc(lost, func(a, b *client) int { return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.ref, b.ref)) })
	for _, c := range lost {
		if c.invite {
			t.inviteLost(c)
		} else {
			t.otherLost(c)
		}
	}
	return t.leave()
}

// Next is when Tick has something to do; the zero time means never.
func (t *Table) Next() time.Time {
	due := t.queue.next()
	if due == never {
		return time.Time{}
	}
	return t.epoch.Add(time.Duration(due))
}

// Tick runs the timers that are due. A core whose user may Cancel at the same moment lets the user go first: then
// nothing more is sent for the cancelled request.
func (t *Table) Tick(now time.Time, out []Effect) []Effect {
	t.enter(now, out)
	for t.queue.next() <= t.now {
		tm := t.queue.slots[0].tm
		switch {
		case tm.limit <= t.now: // the end of a state goes before a transmission in it
			tm.owner.expire(t)
		default:
			tm.owner.resend(t)
		}
	}
	return t.leave()
}

// Len is the number of live transactions.
func (t *Table) Len() (server, client int) { return len(t.servers), len(t.clients) }

// Retained is the number of bytes held to answer repeats with, and to repeat requests.
func (t *Table) Retained() int { return t.retained }

// Counters are the figures of what was thrown away.
func (t *Table) Counters() Counters { return t.counters }

func (t *Table) enter(now time.Time, out []Effect) {
	if t.epoch.IsZero() {
		t.epoch = now
	}
	t.now, t.out = instant(now.Sub(t.epoch)), out
}

func (t *Table) leave() []Effect {
	out := t.out
	t.out = nil
	return out
}

func (t *Table) emit(e Effect) { t.out = append(t.out, e) }

// transmit sends bytes to a flow; nothing if there are none.
func (t *Table) transmit(b []byte, to nat.Flow) {
	if len(b) > 0 {
		t.emit(Effect{Kind: Transmit, Bytes: b, Flow: to})
	}
}

// write puts a message on the wire form, in memory of exactly its size.
func (t *Table) write(m *message.Message) ([]byte, error) {
	b, err := m.Append(t.raw[:0])
	if err != nil {
		return nil, fmt.Errorf("transaction: %s %d cannot be written: %w", m.Method, m.Status, err)
	}
	t.raw = b
	return append(make([]byte, 0, len(b)), b...), nil
}

// compose writes a message that the table made itself. Nil: it could not be written, which is counted; the peer's timers
// deal with its absence.
func (t *Table) compose(m *message.Message) []byte {
	b, err := t.write(m)
	if err != nil {
		t.counters.Unsendable++
	}
	return b
}

// keep replaces bytes that a transaction retains.
func (t *Table) keep(held *[]byte, b []byte) {
	t.retained += len(b) - len(*held)
	*held = b
}

// room reports whether one more transaction has a place. The last eighth is kept for requests within dialogs and for
// known peers: strangers that fill the table cannot keep a call from ending.
func (t *Table) room(reserved bool) bool {
	most := t.cfg.Max
	if !reserved {
		most -= most / 8
	}
	return len(t.servers)+len(t.clients) < most
}

// roomFor is room for a request from a source, which is looked at only if it matters.
func (t *Table) roomFor(m *message.Message, from nat.Flow) bool {
	return t.room(false) || t.room(m.To.Tag != "" || t.cfg.Known != nil && t.cfg.Known(from))
}

// lasting is a timer that is zero on a reliable transport (D, I, J, K).
func lasting(tr nat.Transport, d time.Duration) time.Duration {
	if tr.Reliable() {
		return 0
	}
	return d
}

// expected reports whether a message may be the counterpart of what went over a flow: it came to the same interface
// from the same address (a port may change with a NAT or a connection), or from the same system.
func (t *Table) expected(flow, from nat.Flow) bool {
	return sameSource(flow, from) || t.cfg.SameSystem(flow, from)
}

func sameSource(a, b nat.Flow) bool {
	return a.Interface == b.Interface && a.Remote.Addr().Unmap() == b.Remote.Addr().Unmap()
}
