package call

import (
	"strings"

	"sallyport/nat"
	"sallyport/sbc/header"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// Requests name other dialogs: Replaces (RFC 3891) the one that they take the place of, Join (RFC 3911) the one that they
// enter, Target-Dialog (RFC 4538) the one that entitles them, and the header part of Refer-To may hold each of these. Every
// leg has ids of its own, so what a peer names is translated for the other one (header.Tie). Whom an id of the outside entitles
// to what is the PBX's to judge, by digest: nothing that comes from outside is acted upon here.

// tieTags are the option tags that go with the fields (RFC 3891 §6.2, RFC 3911 §7.2, RFC 4538 §8).
var tieTags = map[string]string{"Replaces": "replaces", "Join": "join", "Target-Dialog": "tdialog"}

// tie is what a dialog that a leg's peer names is called towards the other leg; false: the field does not pass.
func (c *Call) tie(from int, d header.DialogRef) (header.DialogRef, bool) {
	return header.Tie(c.set.Ties, c.legs[from].peer, c.legs[1-from].peer, d)
}

// badTies reports whether an INVITE names dialogs in a way that must be refused: "If more than one Replaces header field is
// present in an INVITE …, the UAS MUST reject the request with a 400", and so it is for both Replaces and Join (RFC 3891 §3,
// RFC 3911 §4).
func badTies(m *message.Message) bool {
	n := 0
	for i := range m.Headers {
		h := &m.Headers[i]
		if !header.NamesDialog(h.Name) {
			continue
		}
		if _, err := header.ParseDialogRef(h.Name, h.Value); err != nil {
			return true
		}
		if h.Name != "Target-Dialog" {
			n++
		}
	}
	return n > 1
}

// errUnknownDialog refuses a request that must not be taken without the dialog that it names: "If no match is found, the
// UAS rejects the INVITE and returns a 481" (RFC 3891 §3).
var errUnknownDialog = &errMedia{code: 481, why: reason.Transfer, text: "a dialog that is not known on the other side"}

// tied puts into out what in says of other dialogs, in the ids and hosts of the leg that it goes to.
func (c *Call) tied(from int, in, out *message.Message) error {
	switch {
	case in.Method == "REFER":
		if r, err := header.ParseRefer(in); err == nil {
			if to, ok := c.referTo(from, r); ok {
				out.Add("Refer-To", to.String())
			}
		}
	case in.Method == "NOTIFY":
		c.passNotify(from, in, out)
		return nil
	case in.Method != "INVITE" || in.To.Tag != "":
		return nil
	}
	for i := range in.Headers {
		h := &in.Headers[i]
		if !header.NamesDialog(h.Name) || in.Method == "REFER" && h.Name != "Target-Dialog" {
			continue
		}
		d, err := header.ParseDialogRef(h.Name, h.Value)
		if err != nil {
			continue // an INVITE with it has been refused
		}
		if d, known := c.tie(from, d); known {
			out.Add(h.Name, d.String())
		} else if has(in, "Require", tieTags[h.Name]) {
			return errUnknownDialog
		}
	}
	return nil
}

// referTo is where a REFER leads, as the other leg is told: through the gate again, to the user who is meant. False: it names a
// dialog that the other side does not know, and would be another call without it.
func (c *Call) referTo(from int, r header.Refer) (message.NameAddr, bool) {
	near, far := &c.legs[from], &c.legs[1-from]
	_, hosts := c.hosts(from)
	host := hosts.From // of the PBX's users, or the gate itself
	if near.peer.Kind == tu.KindTrunk && ours(r.URI.Host, near) {
		host = far.peer.Host // the provider means a user of the PBX
	}
	r.URI = c.behind(r.URI)
	return r.Rehosted(host, func(d header.DialogRef) (header.DialogRef, bool) { return c.tie(from, d) })
}

// ours reports whether a host is what a leg's peer knows the gate by.
func ours(host string, l *leg) bool {
	return strings.EqualFold(strings.Trim(host, "[]"), l.hop.Here.Signal.Addr().String())
}

// behind puts the user of a phone in the place of the token that the PBX knows it by.
func (c *Call) behind(u message.URI) message.URI {
	if c.set.Behind == nil || u.User == "" {
		return u
	}
	if user, ok := c.set.Behind(u.User); ok {
		u.User = user
	}
	return u
}

// Counterpart is the dialog of the other leg, for a dialog of ours on a side.
func (c *Call) Counterpart(side nat.Side, ours tu.DialogID) (far tu.DialogID, ok bool) {
	for i := range c.pairs {
		for l := range c.pairs[i].dlg {
			d, other := &c.pairs[i].dlg[l], &c.pairs[i].dlg[1-l]
			if c.legs[l].peer == nil || c.legs[l].peer.Side != side || d.CallID != ours.CallID ||
				d.Local.Tag != ours.Local || ours.Remote != "" && d.Remote.Tag != ours.Remote || other.CallID == "" {
				continue
			}
			return tu.DialogID{CallID: other.CallID, Local: other.Local.Tag, Remote: other.Remote.Tag}, true
		}
	}
	return far, false
}
