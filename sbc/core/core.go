package core

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sallyport/media"
	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/transaction"
	"sallyport/sbc/tu"
)

// Inbound is one parsed, validated message with the flow it came by.
type Inbound struct {
	Msg  *message.Message
	Flow nat.Flow
}

// Answer is what a request gets that becomes no user. Code 0 answers nothing, and so does any code towards a stranger.
type Answer struct {
	Code       int
	Why        reason.Reason
	RetryAfter int // seconds; 0: none
	Headers    []message.Header
}

// ErrGone says that a flow's connection is gone for good: what waits for an answer on it fails at once.
var ErrGone = errors.New("the connection is gone")

// Sender sends datagrams and stream messages. It must not block.
type Sender interface {
	// Send sends one message. An error that is ErrGone concerns all that went by that flow.
	Send(to nat.Flow, b []byte) error
}

// Media is the relay as the core uses it.
type Media interface {
	Reserve(now time.Time) (media.ID, [2]netip.AddrPort, error)
	Point(id media.ID, side nat.Side, w media.Want) error
	Release(now time.Time, id media.ID)
	Stats(id media.ID) ([2]media.LegStats, bool)
	// Owner finds the stream that holds a port of ours; ours is true for a port that nobody holds, too.
	Owner(at netip.AddrPort) (id media.ID, ours bool)
	// Fingerprint is that of the certificate in handshakes; ok is false where there are none.
	Fingerprint() (f media.Fingerprint, ok bool)
}

// LeakGuard is the last look at a message before it leaves a side. It repairs in place and reports false for what it
// cannot repair.
type LeakGuard interface {
	Check(leaving nat.Side, m *message.Message, brought *tu.Secrets) (hits int, repaired bool)
}

// Live is the set of dialogs that the guard lets pass without charge.
type Live interface {
	Add(tag string, source netip.Addr) bool
	Remove(tag string)
}

// Assembly is what the program around the core decides for it. Its methods run in the core's turn.
type Assembly interface {
	// Identify names the peer system behind a flow by its transport source (nil for a stranger), how it sees us, and the
	// side it stands on.
	Identify(flow nat.Flow) (*tu.Peer, tu.Local, nat.Side)
	// New makes the user for a request outside any dialog, or refuses it. It may name the peer in ev more closely, now
	// that there is a whole message to tell phones at one address apart.
	New(now time.Time, seed tu.Seed, id tu.UserID, ev *tu.Arrived) (tu.User, Answer)
	// Taker names the user that takes a request outside dialogs, where that is not for a new one: an INVITE that replaces a
	// dialog of it (RFC 3891).
	Taker(ev *tu.Arrived) (id tu.UserID, ok bool)
	// Route answers a Route action.
	Route(now time.Time, r tu.Route) tu.Routed
	// Health takes what a probe found.
	Health(now time.Time, h tu.Health)
	// Registered takes what a trunk's registration has come to.
	Registered(now time.Time, r tu.Registration)
	// Lease takes a place for an INVITE that begins a leg towards a peer system, before it leaves. Where there is none it
	// reports false, and the user is told of the failure.
	Lease(now time.Time, id tu.UserID, a tu.Send) (failed tu.Failed, ok bool)
	// Attempted hears what becomes of such an INVITE: the code of each response, 0 where nobody answered in time.
	Attempted(now time.Time, id tu.UserID, ref tu.Ref, code int)
	// Unlease gives the place of such an INVITE back: it has a final answer that is no 2xx, or gets none, and the user has done
	// what follows; or its leg is over.
	Unlease(id tu.UserID, ref tu.Ref)
	// UnleaseAll gives all places of a user back: its record is written.
	UnleaseAll(id tu.UserID)
	// Occupy takes a place for a leg that has taken another one's.
	Occupy(now time.Time, id tu.UserID, a tu.Occupy)
	// Note takes evidence for `sbc why`.
	Note(now time.Time, n tu.Note)
	// Record takes a call's CDR.
	Record(r tu.CDR)
	// Ended hears that a user is gone.
	Ended(id tu.UserID, u tu.User)
	// Challenged hears of a 401 or 407: credentials for its nonce go to the one who issued it.
	Challenged(now time.Time, m *message.Message, from nat.Flow)
	// Joined hears that the media of one user goes into ports that another one holds: a hairpin through the PBX.
	Joined(a, b tu.UserID)
	// SameSystem reports whether a response to what was sent to one flow may come from the other.
	SameSystem(sentTo, from nat.Flow) bool
}

// Config is what a core is made of.
type Config struct {
	Assembly Assembly
	Sender   Sender
	Media    Media
	Leaks    LeakGuard
	Live     Live
	Ways     Ways // nil: every node lives
	Now      func() time.Time
	Key      [16]byte // of this process: seeds and branches are a function of it
	Tags     *tu.TagKey
	Log      *zap.Logger
	Limits   Limits
}

// Limits bound what the core holds.
type Limits struct {
	Transactions int // 65,536 where 0
	Inbox        int // 4,096 where 0
	Internal     int // 4,096 where 0
}

// Gauges are the core's figures, readable from any goroutine. Levels are those of the last moment at which the core had
// nothing left to do, or of at most 64 messages ago.
type Gauges struct {
	Users, Dialogs, Streams             atomic.Int64
	ServerTransactions, ClientTransact  atomic.Int64
	TransactionsHigh, InboxHigh         atomic.Int64
	Panics, Leaks, LeaksFatal, Overload atomic.Int64
	SendErrors, Strays, InboxDropped    atomic.Int64
	Busy                                atomic.Int64 // thousandths of the last second spent working
	RetainedBytes                       atomic.Int64
	// Refused counts the requests that became no user, by the index of their reason in reason.All.
	Refused [len(reason.All)]atomic.Int64
}

// Core is the loop and what it owns. Make one with New, start it with Run, feed it with Deliver and Do.
type Core struct {
	cfg     Config
	network inbox
	control chan func(now time.Time)
	hints   chan hint
	bell    chan struct{} // rouses Run
	stopped chan struct{}

	// turn is held by whoever is the core at a moment: Run, or a goroutine that delivers. All that follows is its.
	turn    sync.Mutex
	wanted  atomic.Int32 // Run waits for its turn
	running bool
	alarmAt time.Time // when Run's timer rings

	table   *transaction.Table
	users   map[tu.UserID]*user
	dialogs map[dialogKey]*dialogState
	streams map[media.ID]streamOwner
	clock   deadlines
	ids     tu.IDs
	vias    map[sentBy]message.Via // of our own hops, without their branches
	lastID  tu.UserID

	effects      []transaction.Effect // work that the table gave us
	events       []queued             // work for users
	spareEffects []transaction.Effect // scratch of settle
	spareEvents  []queued             // scratch of settle
	actions      []tu.Action          // scratch of step
	arrived      tu.Arrived           // scratch of dispatch
	raw          []byte               // scratch of write

	round  uint64 // of settle
	faults int    // ticks of the table that failed in a row
	meter  meter

	gauges Gauges
}

// user is a living user with what the core holds for it.
type user struct {
	id       tu.UserID
	tu       tu.User
	deadline time.Time
	index    int // in the deadline heap, -1: not in it
	dialogs  []dialogKey
	streams  []media.ID
	ways     []way  // requests within dialogs that have no final answer
	round    uint64 // of settle, in which turns is counted
	turns    int
	recorded bool // its CDR is written
	broken   bool // what it wanted sent cannot be sent
	aborted  bool
	ended    bool
}

// dialogKey finds a dialog from our side of it (RFC 3261 §12: Call-ID and tags; our tag is unique by itself, the peer's
// tag is judged by the user).
type dialogKey struct {
	side   nat.Side
	callID string
	local  string
}

// dialogState is what an aborted user no longer can tell.
type dialogState struct {
	user   tu.UserID
	seq    uint32 // highest CSeq sent
	target message.URI
	remote string         // the peer's tag, once a request within the dialog was sent
	vain   netip.AddrPort // the next hop that was asked in vain last
}

type streamOwner struct {
	user  tu.UserID
	index int
}

type queued struct {
	user tu.UserID
	ev   tu.Event
	over tu.Ref // the INVITE whose place is given back behind the event; 0: none
}

// New makes a core. It starts nothing.
func New(cfg Config) *Core {
	if cfg.Limits.Inbox == 0 {
		cfg.Limits.Inbox = 4096
	}
	if cfg.Limits.Internal == 0 {
		cfg.Limits.Internal = 4096
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Core{
		cfg:     cfg,
		network: newInbox(cfg.Limits.Inbox),
		bell:    make(chan struct{}, 1),
		control: make(chan func(time.Time), cfg.Limits.Internal),
		hints:   make(chan hint, hintsMost),
		stopped: make(chan struct{}),
		table: transaction.NewTable(transaction.Config{
			Max: cfg.Limits.Transactions, SameSystem: cfg.Assembly.SameSystem,
			Known: func(f nat.Flow) bool { p, _, _ := cfg.Assembly.Identify(f); return p != nil && !p.Stranger },
		}),
		users:   map[tu.UserID]*user{},
		vias:    map[sentBy]message.Via{},
		dialogs: map[dialogKey]*dialogState{},
		streams: map[media.ID]streamOwner{},
		ids:     tu.NewIDs(tu.Seed(cfg.Key), cfg.Tags),
	}
}

// Gauges are the core's figures.
func (c *Core) Gauges() *Gauges { return &c.gauges }
