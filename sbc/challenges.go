package sbc

import (
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// noncesMost bounds a generation of nonces; two are kept.
const noncesMost = 8192

// nonces remembers which node issued a nonce: credentials go to that one (nodes of a cluster seldom share them). The
// older half is forgotten whenever the younger is full.
type nonces struct{ young, old map[string]issue }

// issue is who has issued a nonce, and how often. Kamailio and OpenSIPS make it of the second and a secret: whoever is challenged in
// the same second has the same one, and of nodes that share the secret as well.
type issue struct {
	nodes []netip.AddrPort // the last one first
	times int
}

// issuersMost bounds the nodes that are remembered of a nonce.
const issuersMost = 8

func (n *nonces) add(nonce string, node netip.AddrPort) {
	is, known := n.find(nonce)
	if n.young == nil || len(n.young) >= noncesMost {
		n.old, n.young = n.young, make(map[string]issue)
	}
	if is.times++; !known || is.nodes[0] != node {
		nodes := []netip.AddrPort{node}
		for _, was := range is.nodes {
			if was != node && len(nodes) < issuersMost {
				nodes = append(nodes, was)
			}
		}
		is.nodes = nodes
	}
	n.young[nonce] = is
}

func (n *nonces) find(nonce string) (issue, bool) {
	is, ok := n.young[nonce]
	if !ok {
		is, ok = n.old[nonce]
	}
	return is, ok
}

// spentNonces are the nonces that have come back, and how often, the older half forgotten whenever the younger is full, as the
// nonces themselves.
type spentNonces struct{ young, old map[string]int }

// spend notes that a nonce has come back. It reports whether that may be the answer to a challenge, of which there are so many as it
// was issued times, or is another request that makes use of it once more.
func (n *spentNonces) spend(nonce string, issued int) bool {
	times, ok := n.young[nonce]
	if !ok {
		times = n.old[nonce]
	}
	if times >= issued {
		return false
	}
	if n.young == nil || !ok && len(n.young) >= noncesMost {
		n.old, n.young = n.young, map[string]int{}
	}
	n.young[strings.Clone(nonce)] = times + 1
	return true
}

// Challenged remembers which node issued a nonce.
func (a *assembly) Challenged(now time.Time, m *message.Message, from nat.Flow) {
	i := a.world.interfaces[from.Interface]
	if i == nil || i.Side != nat.Inside {
		return
	}
	for k := range m.Headers {
		if h := &m.Headers[k]; h.Name == "WWW-Authenticate" || h.Name == "Proxy-Authenticate" {
			if nonce := credentials.Remembered(h.Value); nonce != "" {
				a.phones.nonces.add(nonce, from.Remote)
				if m.Method == "REGISTER" {
					a.pacing.asked = now
				}
			}
		}
	}
}

// A challenged INVITE and its retry are one call with one record: the record of the first waits for the second.
const (
	heldFor  = 32 * time.Second // 64·T1: no retry comes later for this INVITE
	heldMost = 4096             // more are written at once, and the retries are calls of their own
)

// held are the records of challenged calls, by the phone's Call-ID and address.
type held map[heldKey]tu.CDR

type heldKey struct {
	callID string
	source netip.Addr
}

// hold keeps a record back. It reports false for one that must be written.
func (h *held) hold(r tu.CDR) bool {
	at, err := netip.ParseAddrPort(r.Source)
	if err != nil || r.AoR == "" || r.Direction != "inbound" || r.Reason != "" || r.Code != 401 && r.Code != 407 || len(*h) >= heldMost {
		return false
	}
	if *h == nil {
		*h = held{}
	}
	key := heldKey{r.CallIDs[0], at.Addr()}
	if _, twice := (*h)[key]; twice {
		return false
	}
	(*h)[key] = r
	return true
}

// has reports whether a record waits for a retry.
func (h *held) has(callID string, source netip.Addr) bool {
	_, ok := (*h)[heldKey{callID, source}]
	return ok
}

// take is the record that a retry goes on with.
func (h *held) take(callID string, source netip.Addr) (tu.CDR, bool) {
	key := heldKey{callID, source}
	r, ok := (*h)[key]
	delete(*h, key)
	return r, ok
}

// due are the records of phones that did not try again.
func (h *held) due(now time.Time) (out []tu.CDR) {
	for key, r := range *h {
		if now.Sub(r.End) >= heldFor {
			out = append(out, r)
			delete(*h, key)
		}
	}
	return out
}

// all empties it.
func (h *held) all() (out []tu.CDR) {
	for _, r := range *h {
		out = append(out, r)
	}
	clear(*h)
	return out
}
