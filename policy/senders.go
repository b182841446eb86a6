package policy

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
)

// sendersMost bounds the sources that Senders tells.
const sendersMost = 4

// Sender is a source that spoke for a user lately, and what became of the last message in which it did.
type Sender struct {
	Source netip.Addr // of IPv6 the /64 that evidence is kept of
	Port   uint16
	At     time.Time
	Method string
	User   string // as the message named it, in one spelling (Person): not trusted
	Action Action
	Reason reason.Reason
}

// Refused reports whether that message was refused.
func (s *Sender) Refused() bool { return s.Action == Drop || s.Action == Reject }

// Senders are the sources whose From fields at outside/phones named a user lately, user or user@host, newest first, however they spelled
// it. It is for those who ask of a phone whose address they do not know: whoever is refused never comes as far as a registration. It changes nothing.
func (g *Guard) Senders(user string) []Sender {
	var out []Sender
	e, who := &g.state.evidence, wanted{name: foldUser(user)}
	_, who.host, who.whole = strings.Cut(user, "@")
	if who.name == "" {
		return nil
	}
	for _, t := range []*dossierTable{&e.known, &e.strangers} {
		for n := range t.sets {
			out = t.senders(n, &who, g.state.base, out)
		}
	}
	slices.SortStableFunc(out, func(a, b Sender) int { return b.At.Compare(a.At) })
	return out[:min(len(out), sendersMost)]
}

// senders adds those of one set, each source with its latest message.
func (t *dossierTable) senders(n int, who *wanted, base time.Time, out []Sender) []Sender {
	s := &t.sets[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.dossiers {
		d := &s.dossiers[i]
		if s.tags[i] == 0 || !d.taken {
			continue
		}
		if r := d.latestOf(t.recordsOf(n, i), who); r != nil {
			method := r.method.String()
			out = append(out, Sender{
				Source: netip.AddrFrom16(d.source).Unmap(), Port: r.port, At: base.Add(r.at), Method: method,
				User: printable(r.user[:r.userLen]), Action: r.action, Reason: reason.All[r.cause],
			})
		}
	}
	return out
}

// latestOf is the latest request on record that names a user; nil: none does.
func (d *dossier) latestOf(records []record, who *wanted) (latest *record) {
	good := len(records) / 4
	look := func(list []record) {
		for i := range list {
			r := &list[i]
			if !r.response && r.side == nat.Outside && r.realm == nat.Phones && who.names(r) && (latest == nil || r.seq > latest.seq) {
				latest = r
			}
		}
	}
	look(records[:d.good.len])
	look(records[good : good+int(d.bad.len)])
	return latest
}

// wanted is who is asked for: a user as it is compared, and the host if that was named.
type wanted struct {
	name, host string
	whole      bool
}

// names reports whether a record is of him.
func (w *wanted) names(r *record) bool {
	var room [maxUserName]byte
	user, host, _ := bytes.Cut(r.user[:r.userLen], []byte{'@'})
	return string(appendUser(room[:0], user)) == w.name && (!w.whole || strings.EqualFold(string(host), w.host))
}
