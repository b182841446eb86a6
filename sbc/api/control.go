package api

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"sallyport/sbc/tu"
)

// Control is what the API asks of the running program. Every method answers within its context and may be called from
// any goroutine. An *Error carries its own status to the client; any other error is an internal one.
type Control interface {
	// Status is the program as a whole.
	Status(ctx context.Context) (Status, error)
	// Calls are the calls in progress, oldest first.
	Calls(ctx context.Context) ([]Call, error)
	// Call is one call in full: by its id, or the Call-ID of either leg.
	Call(ctx context.Context, id string) (Call, error)
	// Trunks are the trunks in file order.
	Trunks(ctx context.Context) ([]Trunk, error)
	// Media is the relay in full.
	Media(ctx context.Context) (Relay, error)
	// Nodes are the PBX nodes in file order.
	Nodes(ctx context.Context) ([]Node, error)
	// DrainTrunk takes a trunk out, or back in; by says who asks.
	DrainTrunk(ctx context.Context, name string, on bool, by string) (Trunk, error)
	// DrainNode does so with a PBX node, which is named by its address, with the port where there are several.
	DrainNode(ctx context.Context, name string, on bool, by string) (Node, error)
	// Registrations are the bindings of phones, by address-of-record; of one of them alone if aor names one (user, or
	// user@domain).
	Registrations(ctx context.Context, aor string) ([]Registration, error)
	// Why explains what happens to an address, an address of record or a call, and why.
	Why(ctx context.Context, subject string) (Why, error)
	// TestMessage says what the rules would do with a message, and charges nobody.
	TestMessage(ctx context.Context, q PolicyTest) (PolicyVerdict, error)
	// TestRoute says where a call would go, and why; nobody makes it.
	TestRoute(ctx context.Context, q RouteQuestion) (RouteAnswer, error)
	// Bans are the bans in force.
	Bans(ctx context.Context) ([]Ban, error)
	// AddBan bans an address or a prefix, or replaces its ban. Unless it is forced it is refused where it shuts out somebody
	// who must not be.
	AddBan(ctx context.Context, ban Ban) (Ban, error)
	// RemoveBan lifts the bans of an address or prefix, and forgets what else is held against it.
	RemoveBan(ctx context.Context, address string) error
	// Reload reads the configuration anew, or only says what would change. A wrong configuration is no error of the
	// method: the result lists what is wrong, and nothing has changed.
	Reload(ctx context.Context, r ReloadRequest) (ReloadResult, error)
	// KeepReload makes a reload that is on trial last. It is an error if none is.
	KeepReload(ctx context.Context) error
	// Record writes what the flight recorder holds.
	Record(ctx context.Context, w io.Writer) error
	// Captures are those under way.
	Captures(ctx context.Context) ([]Capture, error)
	// Capture writes what happens to a subject to a sink, until something ends it. ctx is the client.
	Capture(ctx context.Context, q CaptureRequest, to CaptureSink) (Capture, error)
	// StopCapture ends a capture.
	StopCapture(ctx context.Context, id int) error
	// Drain takes no new calls from now on and waits until the last one ends, or so long.
	Drain(ctx context.Context, wait time.Duration) (DrainResult, error)
}

// Status is the program as a whole.
type Status struct {
	Version    string       `json:"version"`
	PID        int          `json:"pid"`
	Since      time.Time    `json:"since"`
	Config     string       `json:"config,omitempty"` // the file; empty: flags alone
	Draining   bool         `json:"draining"`
	Attention  []Notice     `json:"attention,omitempty"` // what somebody should look at, the worst first
	Peers      PeerGauge    `json:"peers,omitzero"`
	Bans       int          `json:"bans"` // in force
	Interfaces []Interface  `json:"interfaces"`
	Calls      CallGauge    `json:"calls"`
	Phones     PhoneGauge   `json:"phones,omitzero"`
	Media      Media        `json:"media"`
	Busy       float64      `json:"core_busy_ratio"` // 0 to 1
	Counts     []Count      `json:"counts"`          // refusals and admissions since the start
	Rules      []Rule       `json:"rules"`           // the rules in force, in the order of the file
	Limits     []Limit      `json:"limits"`          // every capped table
	Audit      []Gauge      `json:"audit"`           // what must be zero once all calls have ended, and what must never happen
	Data       []DataSource `json:"data,omitempty"`  // what the rules work with besides their text
	Off        []string     `json:"off,omitempty"`   // what the configuration leaves off, one clause each
	Captures   []Capture    `json:"captures,omitempty"`
}

// Interface is one listening socket.
type Interface struct {
	Side       string `json:"side"`
	Realm      string `json:"realm"`
	Transport  string `json:"transport"`
	Bind       string `json:"bind"`
	Advertised string `json:"advertised"`
	Closing    bool   `json:"closing,omitempty"` // no longer configured, waits for its last dialog
	Drops      uint64 `json:"kernel_drops"`
}

// CallGauge counts calls.
type CallGauge struct {
	Now   int    `json:"now"`
	High  int    `json:"high"` // most at a time
	Most  int    `json:"most"` // bound; 0: by media ports
	Total uint64 `json:"total"`
}

// PhoneGauge counts bindings of phones.
type PhoneGauge struct {
	Now  int `json:"now"`
	High int `json:"high"` // most at a time
	Lost int `json:"lost"` // their connection is gone: calls to them get 480
	Most int `json:"most"` // bound
	Held int `json:"held"` // kept beyond their time, in an outage of the PBX or of our own way
	// Local counts the REGISTERs that were answered here since the start, if any may be (Throttled), Passed those that went to the
	// PBX.
	Local     uint64 `json:"registers_local"`
	Passed    uint64 `json:"registers_passed"`
	Throttled bool   `json:"throttled"`
}

// Media is the relay's pool of port pairs.
type Media struct {
	Ports   string `json:"ports"` // "30000-31000"
	Backend string `json:"backend"`
	Pairs   int    `json:"pairs"` // of all sides together
	Free    int    `json:"free"`
	Resting int    `json:"resting"`
	High    int    `json:"high"`              // most in use at a time
	Missing int    `json:"missing,omitempty"` // ports that other programs hold
	// Streams of calls whose signalling a crash has ended, and when the oldest of those calls began.
	Orphans      int       `json:"orphans,omitempty"`
	OrphansSince time.Time `json:"orphans_since,omitzero"`
}

// Count is how often something was decided: by the guard, with side and realm, or later, of an admitted request.
type Count struct {
	Side   string `json:"side,omitempty"`
	Realm  string `json:"realm,omitempty"`
	Action string `json:"action"` // allow, reject, drop; refuse: later
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// Rule is one rule of the policy and how often it decided since the start.
type Rule struct {
	Path   string `json:"path"` // policy.rate_limits[2]; that of the list for a shipped one
	Name   string `json:"name"`
	Hits   uint64 `json:"hits"`
	Shadow uint64 `json:"shadow_hits,omitempty"` // what a shadow rule would have refused
}

// Limit is one capped table: its level, the most it ever held, and where it ends.
type Limit struct {
	Name  string `json:"name"`
	Level int    `json:"level"`
	High  int    `json:"high"`
	Cap   int    `json:"cap"`
}

// DataSource is a list, a name or a database that rules work with.
type DataSource struct {
	Kind    string    `json:"kind"` // countries, feed, name
	Name    string    `json:"name"` // file of the database
	Entries int       `json:"entries"`
	Fetched time.Time `json:"fetched,omitzero"` // of a database: when it was made
	Error   string    `json:"error,omitempty"`  // of the last try; what was known stays in force
}

// Gauge is one figure by name.
type Gauge struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
	Bad   bool   `json:"bad,omitempty"` // it should be another: `status --audit` then exits 1
}

// Call is one call in progress.
type Call struct {
	ID          string    `json:"id"`
	Correlation string    `json:"correlation,omitempty"`
	Direction   string    `json:"direction"` // inbound: provider to PBX; outbound
	State       string    `json:"state"`     // trying, ringing, talking, held, ending
	Trunk       string    `json:"trunk,omitempty"`
	Node        string    `json:"node,omitempty"`
	AoR         string    `json:"aor,omitempty"` // of the phone
	From        string    `json:"from"`
	To          string    `json:"to"`
	Start       time.Time `json:"start"`
	Answer      time.Time `json:"answer,omitzero"`
	Transfers   []string  `json:"transfers,omitempty"` // of one call in full: whose place was taken by whom; the last may be under way
	Legs        []Leg     `json:"legs,omitempty"`      // of one call in full: the caller's, the callee's
	Streams     []Stream  `json:"streams,omitempty"`
}

// Leg is one side's dialog of a call (states of RFC 4235).
type Leg struct {
	Side   string `json:"side"`
	State  string `json:"state"`
	Peer   string `json:"peer"`   // trunk, node
	Remote string `json:"remote"` // transport address
	CallID string `json:"call_id"`
}

// Stream is one m= line of a call.
type Stream struct {
	Index   int       `json:"index"`
	Codec   string    `json:"codec,omitempty"`
	Packet  float64   `json:"packet_ms,omitempty"`   // of speech in a packet; absent: 20
	AsG711  bool      `json:"mos_as_g711,omitempty"` // nothing is published of the codec: its MOS is that of G.711
	Outside StreamLeg `json:"outside"`
	Inside  StreamLeg `json:"inside"`
}

// StreamLeg is one side of a stream: our bound address, the one its SDP named, the one learned from its packets, and its
// figures, which are those of the call's record.
type StreamLeg struct {
	Local     string `json:"local"`
	Signalled string `json:"signalled,omitempty"`
	Learned   string `json:"learned,omitempty"`
	tu.LegStats
}

// Why is the answer to "why?".
type Why struct {
	Subject string          `json:"subject"`
	Allowed bool            `json:"allowed"`          // a request from there would pass now
	Text    string          `json:"text"`             // for people, several lines
	Detail  json.RawMessage `json:"detail,omitempty"` // the same for programs
}

// DrainResult is what a drain came to.
type DrainResult struct {
	Left int `json:"left"` // calls still in progress
}
