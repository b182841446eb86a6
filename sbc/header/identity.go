package header

import (
	"strings"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// told reads what a peer tells of its caller: what it may not tell is cut, and its own form becomes the one that the other side
// reads.
func (f *finish) told(id *tu.Naming) {
	m := f.out
	switch id.Asserted {
	case tu.IdentityRemove: // "it MUST … remove" what comes from outside the Trust Domain (RFC 3325 §5)
		dropAsserted(m)
	case tu.IdentityRemote:
		asserted(m)
	case tu.IdentityPass, tu.IdentityFixed, tu.IdentityAsserted, tu.IdentityPreferred:
	}
	if id.STIR == tu.IdentityRemove {
		m.Remove("Identity")
	}
	switch id.Diversion {
	case tu.DiversionRemove:
		dropDiversion(m)
	case tu.DiversionField, tu.DiversionHistory:
		// The other side reads which of the two it knows.
		if _, has := m.Get("Diversion"); !has {
			f.diversions()
		}
		if _, has := m.Get("History-Info"); !has {
			f.histories()
		}
	case tu.DiversionPass:
	}
}

// tell gives a message the form in which a peer is told of the caller.
func (f *finish) tell(id *tu.Naming) {
	m := f.out
	if f.fresh {
		switch id.From {
		case tu.IdentityRemove:
			hideFrom(m)
		case tu.IdentityPass, tu.IdentityFixed, tu.IdentityAsserted, tu.IdentityPreferred, tu.IdentityRemote:
		}
	}
	f.assert(id)                                                            // of the caller's own From
	if f.fresh && id.From == tu.IdentityFixed && !nobody(m.From.URI.Host) { // who hides stays hidden
		m.From.Display, m.From.URI = id.FromFixed.Display, id.FromFixed.URI
	}
	if id.STIR == tu.IdentityRemove {
		m.Remove("Identity")
	}
	switch id.Diversion {
	case tu.DiversionRemove:
		dropDiversion(m)
	case tu.DiversionField:
		if _, has := m.Get("Diversion"); !has {
			f.diversions()
		}
		m.Remove("History-Info")
	case tu.DiversionHistory:
		if _, has := m.Get("History-Info"); !has {
			f.histories()
		}
		m.Remove("Diversion")
	case tu.DiversionPass:
	}
}

// assert puts the caller's identity in a peer's form. One that a message has none of is made of From where a request opens a
// dialog: the PBX has told us who calls, and a provider that wants it in this form gets it.
func (f *finish) assert(id *tu.Naming) {
	m := f.out
	switch id.Asserted {
	case tu.IdentityPass:
		return
	case tu.IdentityRemove:
		dropAsserted(m)
		return
	case tu.IdentityFixed, tu.IdentityAsserted, tu.IdentityPreferred, tu.IdentityRemote:
	}
	list := asserts(m)
	switch {
	case id.Asserted == tu.IdentityFixed && (len(list) > 0 || f.fresh):
		dropAsserted(m)
		m.Add("P-Asserted-Identity", id.AssertedFixed.String())
		return
	case len(list) == 0 && f.fresh && !nobody(m.From.URI.Host) && (m.Method == "INVITE" || m.Method == "MESSAGE"):
		list = []message.NameAddr{{Display: m.From.Display, URI: m.From.URI}}
	case len(list) == 0:
		return
	}
	dropAsserted(m)
	switch id.Asserted {
	case tu.IdentityAsserted:
		m.Add("P-Asserted-Identity", joined(list))
	case tu.IdentityPreferred:
		m.Add("P-Preferred-Identity", joined(list[:1]))
	case tu.IdentityRemote:
		m.Add("Remote-Party-ID", remoteParty(m, list[0]))
	case tu.IdentityPass, tu.IdentityRemove, tu.IdentityFixed:
	}
}

// dropAsserted takes all forms of a caller's identity out.
func dropAsserted(m *message.Message) {
	m.Remove("P-Asserted-Identity")
	m.Remove("P-Preferred-Identity")
	m.Remove("Remote-Party-ID")
}

// asserts are the identities of a message, in whatever form: what was asserted counts more than what somebody would like. None of
// them has parameters.
func asserts(m *message.Message) []message.NameAddr {
	for _, name := range [...]string{"P-Asserted-Identity", "Remote-Party-ID", "P-Preferred-Identity"} {
		list, err := m.NameAddrs(name)
		if err != nil {
			continue
		}
		kept := list[:0]
		for _, n := range list {
			if party, said := n.Param("party"); said && name == "Remote-Party-ID" && strings.EqualFold(party, "called") == m.IsRequest() {
				continue // it is of the other party
			}
			kept = append(kept, message.NameAddr{Display: n.Display, URI: n.URI})
		}
		if len(kept) > 0 {
			return kept[:min(len(kept), 2)] // "There may be one or two P-Asserted-Identity values" (RFC 3325 §9.1)
		}
	}
	return nil
}

// remoteParty writes an identity as Remote-Party-ID (draft-ietf-sip-privacy-04): of the caller in requests, of the callee in
// responses.
func remoteParty(m *message.Message, n message.NameAddr) string {
	n.Params = ";party=calling;privacy=off;screen=yes"
	if !m.IsRequest() {
		n.Params = ";party=called;privacy=off;screen=yes"
	}
	if asked(m)&(wantsID|wantsUser) != 0 {
		n.Params = strings.Replace(n.Params, "privacy=off", "privacy=full", 1)
	}
	return n.String()
}

// asserted makes of Remote-Party-ID P-Asserted-Identity, with Privacy where it asks for that (RFC 3325 §9.3).
func asserted(m *message.Message) {
	parties, err := m.NameAddrs("Remote-Party-ID")
	if _, has := m.Get("P-Asserted-Identity"); has || err != nil || len(parties) == 0 {
		return
	}
	list := asserts(m)
	if len(list) == 0 {
		return
	}
	hidden := false
	for _, p := range parties {
		privacy, _ := p.Param("privacy")
		hidden = hidden || privacy != "" && !strings.EqualFold(privacy, "off")
	}
	m.Remove("Remote-Party-ID")
	m.Add("P-Asserted-Identity", joined(list))
	if _, has := m.Get("Privacy"); hidden && !has {
		m.Add("Privacy", "id")
	}
}
