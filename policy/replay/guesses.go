package replay

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/credentials"
	"sallyport/sbc/scan"
	"sallyport/sbc/userpart"
)

// speaker is who sends a request outside of dialogs that is no REGISTER: what the rooms behind the guard make of it.
type speaker struct {
	named    bool // a registered phone that speaks as who it is
	stranger bool // nobody is registered there
	refused  bool // the program itself answers it, the PBX hears nothing of it
}

// speaks finds out who sends a request that was let in, as the program does (sbc, fromPhone). A caller without a name is known by his
// flow (RFC 3323 §4.1).
func (k *knowledge) speaks(now time.Time, i *nat.Interface, source netip.AddrPort, v *scan.View, q *request) {
	at := flow(endpoint{i.Bind, i.Transport}, source)
	here, near := k.book.places[at] > 0, k.book.places[at.near("")] > 0
	_, host := person(v.Bytes(v.From))
	named := k.book.places[at.near(k.aor(v.Bytes(v.From)))] > 0
	if strings.EqualFold(host, "anonymous.invalid") {
		named = here
	}
	q.from = speaker{named: named || here, stranger: !near}
	method := string(v.Bytes(v.Method))
	if named || method == "OPTIONS" && near || q.within {
		return
	}
	switch reachable := k.setup.Reachable; {
	case k.setup.Config.Phones.Unregistered != "forward" || method == "REFER":
		q.from.refused = true
	case reachable != nil && !reachable(string(v.Bytes(v.RequestURI))):
		q.from.refused = true
		if q.from.stranger { // what an unknown user at a phone's address does is no reason to harm the phone
			k.outcome(now, i, source, v, credentials.Nowhere)
		}
	}
}

// judge tells the guard what a final answer says about who asked, as the program does.
func (k *knowledge) judge(now time.Time, i *nat.Interface, to netip.AddrPort, v *scan.View, q *request, f *fields) {
	method, who := string(v.Bytes(v.CSeqMethod)), v.Bytes(v.From)
	a := credentials.Answer{
		Method: method, Code: v.Status, Signed: len(q.credentials) > 0, Stale: f.stale, Stranger: q.from.stranger, Named: q.from.named,
	}
	switch {
	case method == "REGISTER":
		who = v.Bytes(v.To)
		a.Stranger = !k.guard.Knows(i, to.Addr())
	case q.from.refused:
		return
	case q.within && method != "SUBSCRIBE" && method != "NOTIFY":
		return // of calls the program judges the first request, of subscriptions all
	case q.at.IsZero():
		a.Stranger = !k.guard.Knows(i, to.Addr()) // the capture does not have the request
	}
	by := &witness{k, now, k.served(who), to.Addr()}
	k.outcome(now, i, to, v, credentials.Weigh(a.Judge(), a.Code, slices.Values(q.credentials), by))
}

// relayed reports whether an answer to a REGISTER can be the PBX's. The program refuses a domain that it does not serve, and where it
// throttles phones it answers refreshes itself: only what answers a challenge has been with the PBX for certain.
func (k *knowledge) relayed(code int, who []byte, q *request) bool {
	switch {
	case code == 403:
		return k.served(who) != ""
	case code < 300 && k.setup.Throttled:
		return k.issued.spend(q.credentials)
	}
	return true
}

// outcome tells the guard.
func (k *knowledge) outcome(now time.Time, i *nat.Interface, at netip.AddrPort, v *scan.View, j credentials.Judgement) {
	kind, known := policy.OutcomeOf(j)
	if !known {
		return
	}
	who := v.From
	if string(v.Bytes(v.CSeqMethod)) == "REGISTER" {
		who = v.To
	}
	user, host := person(v.Bytes(who))
	k.guard.Outcome(now, policy.Outcome{
		Source: at, Side: i.Side, Realm: i.Realm, Transport: i.Transport, AoR: aorOf(user, host), Kind: kind,
		CallID: string(v.Bytes(v.CallID)), CSeq: v.CSeq,
	})
}

// served is the address-of-record that a From or To means; "": it is of no domain that the configuration serves.
func (k *knowledge) served(who []byte) string {
	user, host := person(who)
	if k.setup.AoR == nil {
		return aorOf(user, host)
	}
	return k.setup.AoR(user, host)
}

// aor is the same, by its own domain where that is not served: another gate's capture has phones too.
func (k *knowledge) aor(who []byte) string {
	if aor := k.served(who); aor != "" {
		return aor
	}
	return aorOf(person(who))
}

// aorOf is the address-of-record of a user at a host, in one spelling.
func aorOf(user, host string) string { return userpart.Canonical(user) + "@" + strings.ToLower(host) }

// witness is what is known of who has asked: credentials.Known.
type witness struct {
	k   *knowledge
	now time.Time
	aor string
	at  netip.Addr
}

// Issued reports whether the PBX has given a nonce out.
func (w *witness) Issued(nonce string) bool { return w.k.issued.has(nonce) }

// Answers reports whether a user name may be a phone's at the address.
func (w *witness) Answers(username string) bool { return w.k.book.answers(w.at, username) }

// Suspect and Suspected keep who has tried another's name.
func (w *witness) Suspect()        { w.k.suspects.Note(w.now, w.aor, policy.SourceKey(w.at)) }
func (w *witness) Suspected() bool { return w.k.suspects.Has(w.now, w.aor, policy.SourceKey(w.at)) }

// issued are the nonces that the PBX has given out, and how often: some make them of the second. The older half is forgotten whenever
// the younger is full. As in the program, an answer to one that is not known says nothing of a password: the PBX may have restarted.
type issued struct {
	young, old map[string]int
	inside     bool // the capture shows what the PBX itself gives out
}

func (n *issued) add(nonce string) {
	if nonce == "" {
		return
	}
	times := n.times(nonce)
	if n.young == nil || len(n.young) >= noncesMost {
		n.old, n.young = n.young, map[string]int{}
	}
	n.young[nonce] = times + 1
}

func (n *issued) times(nonce string) int {
	if times, there := n.young[nonce]; there {
		return times
	}
	return n.old[nonce]
}

func (n *issued) has(nonce string) bool {
	_, young := n.young[nonce]
	_, old := n.old[nonce]
	return young || old
}

// spend reports whether credentials may be the answer to a challenge, of which there are so many as a nonce was given out times, and
// takes note of it.
func (n *issued) spend(fields []string) bool {
	for _, field := range fields {
		if nonce := credentials.Remembered(field); n.times(nonce) > 0 {
			half := n.young
			if _, there := half[nonce]; !there {
				half = n.old
			}
			half[nonce]--
			return true
		}
	}
	return false
}
