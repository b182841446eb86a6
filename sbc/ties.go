package sbc

import (
	"strings"

	"sallyport/nat"
	"sallyport/sbc/call"
	"sallyport/sbc/tu"
)

// ties tell users of each other's dialogs (tu.Ties). They are asked in the core's turn.
type ties struct {
	*tu.Veils
	of *assembly
}

// holder is the call that has a dialog of ours; nil: none.
func (t *ties) holder(side nat.Side, ours tu.DialogID) *call.Call {
	id, ok := t.of.sbc.core.Holder(side, ours.CallID, ours.Local)
	if !ok {
		return nil
	}
	return t.of.calls[id]
}

// Counterpart is the dialog of the other leg of the call that has a dialog of ours.
func (t *ties) Counterpart(side nat.Side, ours tu.DialogID) (far tu.DialogID, ok bool) {
	c := t.holder(side, ours)
	if c == nil {
		return far, false
	}
	return c.Counterpart(side, ours)
}

// Phone is the address-of-record of the phone that has a dialog with us.
func (t *ties) Phone(outside tu.DialogID) string {
	if c := t.holder(nat.Outside, outside); c != nil {
		return c.View().AoR
	}
	return ""
}

// tie gives the users of phones what they need to speak of each other's dialogs.
func (p *phones) tie(t *ties) {
	p.events.Ties, p.exchanges.Ties = t, t
	p.events.Behind, p.exchanges.Behind = p.behind, p.behind
}

// behind is the user of the phone that the PBX knows by a token.
func (p *phones) behind(token string) (user string, ok bool) {
	b := p.book.Token(token)
	if b == nil {
		return "", false
	}
	user, _, ok = strings.Cut(b.AoR, "@")
	return user, ok
}
