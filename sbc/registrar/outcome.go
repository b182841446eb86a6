package registrar

import (
	"strings"

	"sallyport/nat"
	"sallyport/sbc/credentials"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
)

// Outcome is what became of one REGISTER, for `sbc why`.
type Outcome struct {
	AoR       string
	Flow      nat.Flow
	UserAgent string
	Node      string // ID of the hop that answered; empty: the answer is our own
	Code      int    // the PBX's, even where the phone was told another
	Phrase    string // likewise, cut; without room: which limit is reached
	Why       reason.Reason
	Signed    bool // it carried credentials, and the PBX judged them
	Stale     bool // the PBX found fault with their nonce, not with the password
	Local     bool // it was a refresh and was answered here
}

// said is the final answer.
type said struct {
	node, phrase string
	code         int
	why          reason.Reason
	stale        bool
}

// phraseMost bounds what is kept of texts that others wrote.
const phraseMost = 64

// hear keeps the PBX's final answer.
func (r *Register) hear(m *message.Message, node string) {
	r.said = said{node: node, code: m.Status, phrase: cut(m.Reason)}
	if m.Status == 401 || m.Status == 407 {
		for _, name := range [...]string{"WWW-Authenticate", "Proxy-Authenticate"} {
			if v, ok := m.Get(name); ok {
				r.said.stale = r.said.stale || credentials.Stale(v)
			}
		}
	}
}

func cut(s string) string {
	if len(s) <= phraseMost {
		return s
	}
	return strings.Clone(s[:phraseMost])
}

// Asked is the REGISTER as it came, nil before it has. It must not be kept beyond the Register's end.
func (r *Register) Asked() *message.Message { return r.msg }

// Outcome is what became of the REGISTER; false: it named no user, or has no answer yet.
func (r *Register) Outcome() (Outcome, bool) {
	if r.phase != ended || r.aor == "" || r.said.code == 0 {
		return Outcome{}, false
	}
	ua, _ := r.msg.Get("User-Agent")
	return Outcome{
		AoR: r.aor, Flow: r.flow, UserAgent: cut(ua), Node: r.said.node, Code: r.said.code, Phrase: r.said.phrase, Why: r.said.why,
		Signed: r.said.node != "" && r.authorised(), Stale: r.said.stale,
	}, true
}
