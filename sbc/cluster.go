package sbc

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/registrar"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// phoneToPBX is the way of what a phone asks outside dialogs. Nodes of a PBX share less than one hopes: nonces seldom, locations
// and lamps not always. So whatever a phone does comes to one node: the one that has just asked for its password, else the one
// that has its registration, else the one that its address-of-record chooses (trunk.Book.PlanFor).
//
// Calls of trunks do not choose by what was dialled: a node has nothing that the number of a call would find again there, and
// a company's main number would be all on one node. They come to each in its turn, by weight (trunk.Book.Plan).
func (a *assembly) phoneToPBX(now time.Time, r tu.Route) tu.Routed {
	aor := a.world.aor(r.Msg.From.URI)
	if r.Msg.Method == "REGISTER" {
		aor = r.Msg.To.URI.AoR(a.world.snap.PBX.Domain) // whose binding it is (RFC 3261 §10.2)
	} else if r.Peer.Name != "" {
		aor = r.Peer.Name // From may hide it
	}
	plan := a.listed(a.book.PlanFor(pbxPhones, nat.Inside, aor))
	if r.Msg.Method == "REGISTER" {
		return a.registers(now, plan, r, aor)
	}
	return a.toPBX(a.preferred(plan, r))
}

// first puts the hop that has a name first.
func first(plan []tu.Hop, id string) bool {
	for i := range plan {
		if plan[i].ID == id {
			h := plan[i]
			copy(plan[1:i+1], plan[:i])
			plan[0] = h
			return true
		}
	}
	return false
}

// preferred puts first the node that has just challenged the request, else the one that has the phone's registration, else
// the one whose nonce the request bears once more.
func (a *assembly) preferred(plan []tu.Hop, r tu.Route) []tu.Hop {
	if len(plan) < 2 {
		return plan
	}
	asker, fresh := a.challenger(r.Msg, plan)
	if fresh && first(plan, asker) {
		return plan
	}
	if b := a.phones.book.Token(r.Peer.Token); b != nil && a.book.Usable(b.Node) && first(plan, b.Node) {
		return plan
	}
	if a.book.Usable(asker) {
		first(plan, asker)
	}
	return plan
}

// challenger is the node that issued the nonce of a request's credentials, if it lives; of several that issued the same one, the
// first of the plan. It is fresh where this is the answer to the challenge; later requests with the same nonce are new ones, that may
// go elsewhere and be challenged there.
func (a *assembly) challenger(m *message.Message, plan []tu.Hop) (id string, fresh bool) {
	for value := range tu.Credentials(m) {
		nonce := credentials.Remembered(value)
		is, known := a.phones.nonces.find(nonce)
		if !known {
			continue
		}
		if id = a.foremost(is.nodes, plan); id != "" {
			return id, a.spent.spend(nonce, is.times)
		}
	}
	return "", false
}

// foremost is the node of those that has the first place in the plan, and lives.
func (a *assembly) foremost(nodes []netip.AddrPort, plan []tu.Hop) string {
	w := a.watch()
	var behind [issuersMost]*trunk.Hop
	for k, n := range nodes {
		behind[k] = w.From(nat.Phones, nat.Flow{Remote: n})
	}
	for i := range plan {
		at := plan[i].Flow.Remote
		if a.book.Lives(plan[i].ID) && slices.ContainsFunc(behind[:], func(h *trunk.Hop) bool { return h != nil && h.Flow.Remote == at }) {
			return plan[i].ID
		}
	}
	for _, h := range behind { // the plan has none of them
		if h != nil && a.book.Lives(h.ID) {
			return h.ID
		}
	}
	return ""
}

// registers is the way of a REGISTER. A phone stays with the node that has its registration as long as that node is the one that
// it would choose; else, and when its node is lost or drained, it moves with its next REGISTER. To a node that comes back only
// so many move a second (pbx.pace); the others stay, or are told when to come.
func (a *assembly) registers(now time.Time, plan []tu.Hop, r tu.Route, aor string) tu.Routed {
	if len(plan) == 0 {
		return a.toPBX(plan)
	}
	a.watchNodes(now)
	if asker, fresh := a.challenger(r.Msg, plan); fresh && first(plan, asker) {
		a.pay(r.User, asker) // with the request that was challenged
		return tu.Routed{Hops: plan}
	}
	node := ""
	if b := a.refreshed(r, aor); b != nil && a.book.Usable(b.Node) {
		node = b.Node
	}
	if removes(r.Msg) {
		first(plan, node)
		a.pay(r.User, plan[0].ID)
		return tu.Routed{Hops: plan}
	}
	if plan[0].ID == node {
		a.stay(now, node)
		a.pay(r.User, node)
		return tu.Routed{Hops: plan}
	}
	kept, wait := plan[:0:0], time.Duration(0)
	for i := range plan {
		h := &plan[i]
		switch {
		case len(kept) > 0: // what it fails over to is counted when it goes there
			kept = append(kept, *h)
		case h.ID == node:
			kept = append(kept, *h)
			a.stay(now, node)
			a.pay(r.User, h.ID)
		case !a.book.Lives(h.ID) && node != "": // worse than where it is
		default:
			if ok, later := a.move(now, h.ID, r.Peer.Stranger); ok {
				kept = append(kept, *h)
				a.pay(r.User, h.ID)
			} else if wait == 0 {
				wait = later
			}
		}
	}
	if len(kept) == 0 {
		return tu.Routed{Code: 503, Why: reason.NoCapacity, Peer: pbxName, Wait: int((wait + time.Second - 1) / time.Second)}
	}
	return tu.Routed{Hops: kept}
}

// refreshed is the binding that a REGISTER refreshes, or nil: that of the same sequence of REGISTERs (RFC 3261 §10.2.4), else
// that of the phone's flow.
func (a *assembly) refreshed(r tu.Route, aor string) *registrar.Binding {
	var near *registrar.Binding
	for _, b := range a.phones.book.AoR(aor) {
		if b.CallID == r.Msg.CallID {
			return b
		}
		if b.Token == r.Peer.Token {
			near = b
		}
	}
	return near
}

// removes reports whether a REGISTER only asks, or takes back what there is: no node has more of it afterwards.
func removes(m *message.Message) bool {
	contacts, _, err := m.Contacts() // the wildcard is none
	if err != nil {
		return false
	}
	usual, _ := m.Get("Expires")
	for i := range contacts {
		v, own := contacts[i].Param("expires")
		if !own {
			v = usual
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32); err != nil || n > 0 {
			return false
		}
	}
	return true
}
