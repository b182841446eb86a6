package tu

import (
	"time"

	"sallyport/sbc/reason"
)

// CDR is the one record that a call leaves. Times are wall time; Duration is by the monotonic clock.
type CDR struct {
	Call        string        `json:"call"`
	Version     int           `json:"version,omitempty"` // of this schema, see docs/cdr.md; whoever writes it to a file fills it in
	Correlation string        `json:"correlation,omitempty"`
	Direction   string        `json:"direction"` // inbound: provider to PBX; outbound
	Trunk       string        `json:"trunk,omitempty"`
	Node        string        `json:"node,omitempty"`
	AoR         string        `json:"aor,omitempty"` // of the phone
	From        string        `json:"from"`
	To          string        `json:"to"`
	Source      string        `json:"source"`      // transport address of the caller's leg
	Destination string        `json:"destination"` // transport address of the callee's leg
	CallIDs     [2]string     `json:"call_ids"`    // caller's leg, callee's leg
	Transports  [2]string     `json:"transports"`  // of both legs: udp, tcp, tls, wss
	UserAgents  [2]string     `json:"user_agents"` // what the ends call themselves (User-Agent, Server)
	FromSent    string        `json:"from_sent"`   // the caller's user as the callee was told, after number rules; empty: nobody was asked
	ToSent      string        `json:"to_sent"`     // the callee's user as the callee was told
	Start       time.Time     `json:"start"`
	Ringing     time.Time     `json:"ringing,omitzero"`
	Answer      time.Time     `json:"answer,omitzero"`
	End         time.Time     `json:"end"`
	Duration    float64       `json:"duration"` // seconds from answer to end; 0 unanswered
	Code        int           `json:"code"`     // final SIP code towards the caller
	Reason      reason.Reason `json:"reason,omitempty"`
	EndedBy     string        `json:"ended_by"`        // caller, callee, sbc
	Cause       string        `json:"cause,omitempty"` // the Reason field (RFC 3326) of the message that ended it, as its sender wrote it
	Q850        int           `json:"q850,omitempty"`  // the cause of ITU-T Q.850 in it; 0: none
	PostDial    float64       `json:"post_dial_delay"` // seconds from the INVITE to the first ringing, or to the answer; 0: neither came
	Attempts    int           `json:"attempts"`        // hops tried
	Tries       []Try         `json:"tries,omitempty"` // what became of each
	Transfers   []Transferral `json:"transfers,omitempty"`
	Media       []StreamStats `json:"media,omitempty"`
}

// Try is one hop that a call's INVITE went to.
type Try struct {
	Peer      string        `json:"peer"`    // trunk, node or phone
	Address   string        `json:"address"` // transport address
	Transport string        `json:"transport"`
	At        time.Time     `json:"at"`
	Code      int           `json:"code"` // its final answer; 408, 503: what none counts as (RFC 3261 §8.1.3.1); 0: none was waited for
	Reason    reason.Reason `json:"reason,omitempty"`
	Took      float64       `json:"took"`             // seconds until then
	Unsent    bool          `json:"unsent,omitempty"` // there was no place for it (capacity): nothing was sent
}

// Transferral is one change of a call's ends: a leg whose place was taken.
type Transferral struct {
	Leg string    `json:"leg"` // caller, callee: whose place it was
	To  string    `json:"to"`  // the user who has it now
	At  time.Time `json:"at"`
}

// StreamStats are the relay's figures of one stream of a call.
type StreamStats struct {
	Codec   string   `json:"codec,omitempty"`       // as negotiated: the first one that both sides named
	Packet  float64  `json:"packet_ms,omitempty"`   // of speech in a packet; absent: 20
	AsG711  bool     `json:"mos_as_g711,omitempty"` // nothing is published of the codec: its MOS is that of G.711
	Outside LegStats `json:"outside"`
	Inside  LegStats `json:"inside"`
}

// LegStats are the relay's figures of one leg: what its peer sent, and what the peer says of what it was sent. MOS is by
// the E-model, 1 to 4.5.
type LegStats struct {
	Packets    uint64            `json:"packets"`
	Bytes      uint64            `json:"bytes"`
	Lost       uint64            `json:"lost"`
	Jitter     float64           `json:"jitter_ms"`
	MOSIn      float64           `json:"mos_in,omitempty"` // of the peer's speech as it came here; absent: too little came
	Sent       uint64            `json:"sent"`             // relayed to this peer
	Reports    uint64            `json:"reports,omitempty"`
	FarLost    uint64            `json:"far_lost,omitempty"` // the rest of these as the peer reports it, what was lost before us included
	FarSent    uint64            `json:"far_sent,omitempty"` // Sent at its last report
	FarJitter  float64           `json:"far_jitter_ms,omitempty"`
	FarMOS     float64           `json:"far_mos,omitempty"`       // by its own estimate (RFC 3611)
	RoundTrip  float64           `json:"round_trip_ms,omitempty"` // between us and this peer
	MOSOut     float64           `json:"mos_out,omitempty"`       // of what the peer hears; absent: it does not report
	Rejected   uint64            `json:"rejected"`                // of all reasons
	Rejections map[string]uint64 `json:"rejections,omitempty"`
	Remote     string            `json:"remote,omitempty"`
	Latched    bool              `json:"latched"`
	Ported     bool              `json:"ported,omitempty"`  // from another port than its SDP said
	SRTP       string            `json:"srtp,omitempty"`    // the suite that protects it, or ByHandshake; absent: nothing does
	ICE        bool              `json:"ice,omitempty"`     // the peer shows where it is by checks
	Profile    string            `json:"profile,omitempty"` // of RTP, as this peer has it; absent: RTP/AVP
}

// ByHandshake stands in the place of a suite where the peers agree upon it by DTLS (RFC 5764).
const ByHandshake = "DTLS-SRTP"
