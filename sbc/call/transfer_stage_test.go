package call

import (
	"net/netip"
	"strings"

	"sallyport/nat"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// ties are what the stage knows of other calls: one, whose inside dialog is "in-other" and whose outside one "out-other".
type ties struct{}

var others = [2]tu.DialogID{
	nat.Outside: {CallID: "out-other", Local: "gate-out", Remote: "itsp-out"},
	nat.Inside:  {CallID: "in-other", Local: "gate-in", Remote: "pbx-in"},
}

func (ties) Counterpart(side nat.Side, ours tu.DialogID) (tu.DialogID, bool) {
	if others[side] == ours {
		return others[1-side], true
	}
	return tu.DialogID{}, false
}

func (ties) Phone(tu.DialogID) string { return "" }

func (ties) Veil(aor, id string) string {
	user, _, _ := strings.Cut(aor, "@")
	return "veil-" + user + "-" + id
}

func (t ties) Unveil(aor, veiled string) (string, bool) {
	return strings.CutPrefix(veiled, t.Veil(aor, ""))
}

// loopHop is the way back into the program.
func loopHop() tu.Hop {
	at := netip.AddrPortFrom(gate[nat.Inside], 5080)
	return tu.Hop{
		ID: "loop", Peer: &tu.Peer{Kind: tu.KindNode, Name: "loop", Side: nat.Inside, Realm: nat.Trunks, Host: "example.com"},
		Flow: nat.Flow{Interface: 99, Remote: at}, Here: tu.Local{Interface: 99, Signal: at, Media: gate[nat.Inside]},
	}
}

// transferring are settings with all that transfers need.
func transferring(s *Settings) *Settings {
	loop := loopHop()
	s.Ties, s.Loop = ties{}, &loop
	s.Behind = func(token string) (string, bool) {
		user, is := strings.CutPrefix(token, "token")
		return user[:min(3, len(user))], is
	}
	return s
}

// transferOf reads a way as the configuration writes it.
func transferOf(word string) tu.Transfer {
	return map[string]tu.Transfer{"local": tu.TransferLocal, "reject": tu.TransferReject}[word]
}

// transfers gives a peer its ways with REFER: transfer= of those that come to it, referral= of its own.
func transfers(p *tu.Peer, w words) {
	p.Transfer, p.Referral = transferOf(w["transfer"]), transferOf(w["referral"])
	p.Redirect = map[string]tu.Redirect{"follow": tu.RedirectFollow, "reject": tu.RedirectReject}[w["redirect"]]
}

// byName puts ids of ours in the place of what they are called: $T1, and $a and $b for the Call-ID of a leg, $x for that of
// the last new leg.
func (p *player) byName(text string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	for id, name := range p.names {
		text = strings.ReplaceAll(text, "$"+name+";", id+";")
		if strings.HasSuffix(text, "$"+name) {
			text = strings.TrimSuffix(text, "$"+name) + id
		}
	}
	text = strings.ReplaceAll(text, "$a", p.c.legs[caller].callID)
	return strings.ReplaceAll(text, "$b", p.c.legs[callee].callID)
}

// inDialogOf makes a request one of the dialog that another request was sent in, or arrived in: of=N, ours; in=N, theirs.
func (p *player) inDialogOf(m *message.Message, w words) {
	if n := w.Number("of", 0); n > 0 {
		x := p.clients[tu.Ref(n)].msg
		m.CallID, m.From, m.To = x.CallID, x.To, x.From
		m.From.Tag = "x"
		if w["tag"] != "" {
			m.From.Tag = w["tag"]
		}
	}
	if n := w.Number("in", 0); n > 0 {
		x := p.servers[tu.TxID(n)]
		m.CallID, m.From, m.To = x.msg.CallID, x.msg.From, x.sent.To
	}
}

// standsAt lets a request come from another hop: at leg, from=HOP is for phones that are where they should not be.
func (p *player) standsAt(ev *tu.Arrived, w words) {
	if w["by"] == "" {
		return
	}
	h := p.takerHop(w["by"])
	ev.Flow, ev.Peer, ev.Here = h.Flow, h.Peer, h.Here
}

func (p *player) takerHop(name string) tu.Hop {
	if name == "loop" {
		return loopHop()
	}
	return stageHop(name)
}

// isThird reports whether an INVITE opens a leg that a transfer calls.
func (s *stage) isThird(m *message.Message) bool {
	return s.c.moves != nil && m.CallID != s.c.legs[callee].callID
}

// insideLeg is the leg that stands inside.
func (s *stage) insideLeg() int {
	if s.hop[caller].Peer.Side == nat.Inside {
		return caller
	}
	return callee
}

// transferEvent plays the events of transfers: taker HOP INVITE.
func (p *player) transferEvent(what string, plain []string, w words) ([]tu.Action, bool) {
	if what != "taker" {
		return nil, false
	}
	var body []byte
	h := p.takerHop(plain[0])
	if w["sdp"] != "" {
		body = describe(h.Flow.Remote, w["sdp"])
	}
	ev := p.taking(h, body)
	p.adorn(ev.Msg, w)
	return p.step(ev), true
}

// taking is an INVITE of the inside that comes to the call.
func (s *stage) taking(h tu.Hop, body []byte) tu.Arrived {
	at := h.Flow.Remote
	m := &message.Message{
		Method: "INVITE", URI: message.URI{Scheme: "sip", User: "+4930123", Host: gate[nat.Inside].String()},
		Via:  []message.Via{{Transport: "UDP", Host: at.Addr().String(), Branch: "z9hG4bKtaker", RPort: -1}},
		From: message.NameAddr{URI: message.URI{Scheme: "sip", User: "201", Host: "example.com"}, Tag: "taker-pbxtag"},
		To:   message.NameAddr{URI: message.URI{Scheme: "sip", User: "+4930123", Host: gate[nat.Inside].String()}},
		CSeq: 1, MaxForwards: 70, CallID: "taker-inside-id", Body: body,
		Headers: []message.Header{{Name: "Contact", Value: "<sip:taker@" + at.String() + ">"}},
	}
	if len(body) > 0 {
		m.Add("Content-Type", "application/sdp")
	}
	tx := tu.TxID(len(s.order) + 1)
	s.servers[tx] = &server{leg: s.insideLeg(), msg: m}
	s.order = append(s.order, tx)
	return tu.Arrived{Tx: tx, Msg: m, Flow: h.Flow, Peer: h.Peer, Here: h.Here}
}
