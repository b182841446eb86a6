package tu

import (
	"time"

	"sallyport/sbc/reason"
)

// CDR is the one record that a call leaves. Times are wall time; Duration is by the monotonic clock.
type CDR struct {
	Call        string        `json:"call"`
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
	Start       time.Time     `json:"start"`
	Ringing     time.Time     `json:"ringing,omitzero"`
	Answer      time.Time     `json:"answer,omitzero"`
	End         time.Time     `json:"end"`
	Duration    float64       `json:"duration"` // seconds from answer to end; 0 unanswered
	Code        int           `json:"code"`     // final SIP code towards the caller
	Reason      reason.Reason `json:"reason,omitempty"`
	EndedBy     string        `json:"ended_by"` // caller, callee, sbc
	Attempts    int           `json:"attempts"` // hops tried
	Media       []StreamStats `json:"media,omitempty"`
}

// StreamStats are the relay's figures of one stream of a call.
type StreamStats struct {
	Outside LegStats `json:"outside"`
	Inside  LegStats `json:"inside"`
}

// LegStats are the relay's figures of what one leg's peer sent.
type LegStats struct {
	Packets  uint64  `json:"packets"`
	Bytes    uint64  `json:"bytes"`
	Sent     uint64  `json:"sent"` // relayed to this peer
	Lost     uint64  `json:"lost"`
	Jitter   float64 `json:"jitter_ms"`
	Rejected uint64  `json:"rejected"` // from elsewhere, or no media
	Remote   string  `json:"remote,omitempty"`
	Latched  bool    `json:"latched"`
	Ported   bool    `json:"ported,omitempty"` // from another port than its SDP said
}
