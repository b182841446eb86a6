package call

import (
	"slices"
	"time"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// View is a call as the administrator sees it. It is a copy.
type View struct {
	ID          string
	Correlation string // of a call that crosses the gate twice
	Direction   string // inbound: from outside to the PBX; outbound
	State       string // trying, ringing, talking, held, ending
	Trunk       string
	Node        string
	AoR         string // of the phone
	From, To    string
	Start       time.Time
	Answer      time.Time
	Transfers   []tu.Transferral // what its legs have been exchanged for
	Moving      string           // what is under way: "callee → 205, ringing"; empty: nothing
	Legs        []LegView        // the caller's, then the callee's once there is one
	Streams     []StreamView
}

// LegView is one leg.
type LegView struct {
	Side   nat.Side
	State  string // of its dialog (RFC 4235): trying, early, confirmed
	Peer   string
	Remote string
	CallID string
}

// StreamView is one m= line: our addresses, and what the SDP of each side said.
type StreamView struct {
	Local     tu.Stream
	Signalled [2]string // by nat.Side
}

// View tells how the call stands.
func (c *Call) View() View {
	v := View{
		ID: c.id, Correlation: c.cdr.Correlation, Direction: c.cdr.Direction, State: c.state(), Trunk: c.cdr.Trunk,
		Node: c.cdr.Node, AoR: c.cdr.AoR, From: c.cdr.From, To: c.cdr.To, Start: c.cdr.Start, Answer: c.cdr.Answer,
	}
	v.Transfers, v.Moving = slices.Clone(c.cdr.Transfers), c.underWay()
	for i := range c.legs {
		l := &c.legs[i]
		if l.peer == nil {
			continue
		}
		switch l.peer.Kind {
		case tu.KindTrunk:
			v.Trunk = l.peer.Name
		case tu.KindNode:
			if !c.loops(i) { // which is another call of ours, and has a peer of its own
				v.Node = l.peer.Name
			}
		case tu.KindPhone:
			v.AoR = l.peer.Name
		}
		v.Legs = append(v.Legs, LegView{
			Side: l.peer.Side, State: c.dialogState(i), Peer: l.peer.Name, Remote: l.hop.Flow.Remote.String(), CallID: l.callID,
		})
	}
	for i := range c.streams {
		s := StreamView{Local: c.streams[i]}
		for k := range c.legs {
			if l := &c.legs[k]; l.peer != nil && i < len(l.media.aims) && l.media.aims[i].RTP.IsValid() {
				s.Signalled[l.peer.Side] = l.media.aims[i].RTP.String()
			}
		}
		v.Streams = append(v.Streams, s)
	}
	return v
}

// Peers yields who stands at its legs.
func (c *Call) Peers(yield func(*tu.Peer) bool) {
	for i := range c.legs {
		if p := c.legs[i].peer; p != nil && !yield(p) {
			return
		}
	}
}

func (c *Call) dialogState(leg int) string {
	if c.won >= 0 {
		return c.pairs[c.won].dlg[leg].State.String()
	}
	if len(c.pairs) > 0 {
		return "early"
	}
	return "trying"
}

func (c *Call) state() string {
	switch c.phase {
	case unborn, routing, reserving, inviting:
		return "trying"
	case ringing:
		return "ringing"
	case ending:
		return "ending"
	case answered, established:
	}
	for i := range c.legs {
		for _, a := range c.legs[i].media.aims {
			if (a.Receive || a.RTP.Port() != 0) && !(a.Send && a.Receive) { // a rejected stream has neither
				return "held"
			}
		}
	}
	return "talking"
}

// Early is the caller's flow and the user that he says he is, as long as he has no final answer; false: he has one.
func (c *Call) Early() (flow nat.Flow, user string, ok bool) {
	l := &c.legs[caller]
	if l.peer == nil || c.invite == nil || c.final || c.phase == ending {
		return flow, "", false
	}
	return l.hop.Flow, c.invite.From.URI.User, true
}

// Is reports whether a name is the call's: its id, or the Call-ID of a leg.
func (c *Call) Is(name string) bool {
	return name != "" && (c.id == name || c.legs[caller].callID == name || c.legs[callee].callID == name)
}

// Transfers tells how many transfers the call has had, and whether one is under way.
func (c *Call) Transfers() (n int, underWay bool) { return len(c.cdr.Transfers), c.exchanging() }

// Awaited is the flow that the caller's INVITE came by, while that has no final answer.
func (c *Call) Awaited() (from nat.Flow, waits bool) {
	return c.legs[caller].hop.Flow, c.phase != unborn && c.phase != ending && !c.final
}
