package policy

import (
	"cmp"
	"slices"
	"time"
)

func fateOf(s *Subject, v *Verdict, rules *Rules) fate {
	return fate{
		rule: rules.keyOf(v.Rule), shadow: rules.keyOf(v.Shadow), alarm: rules.keyOf(v.Alarm), code: uint16(v.Code), port: s.Source.Port(),
		method: s.Method, action: v.Action, cause: v.cause, transport: s.Transport, side: s.Side,
		realm: s.Realm, response: !s.Request,
		malformed: s.Malformed || s.Size > MaxMessageBytes,
	}
}

// write writes down a message and what became of it. What it leaves of an older one's texts is beyond their lengths.
func (r *record) write(at time.Duration, seq uint32, f fate, s *Subject) {
	r.fate, r.at, r.seq = f, at, seq
	r.userLen = uint8(len(person(&r.user, s.From)))
	r.agentLen = uint8(copy(r.agent[:], trimSpace(s.Agents[0])))
}

func sortNewest(records []record) {
	slices.SortFunc(records, func(a, b record) int { return cmp.Compare(b.seq, a.seq) })
}

func (f *fate) refused() bool { return f.action == Drop || f.action == Reject }

// printable makes a foreign text safe for a terminal and a log: bytes that are no printable ASCII become '?'.
func printable(b []byte) string {
	out := make([]byte, len(b))
	for i, c := range b {
		if c < ' ' || c > '~' {
			c = '?'
		}
		out[i] = c
	}
	return string(out)
}
