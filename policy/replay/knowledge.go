package replay

import (
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/credentials"
	"sallyport/sbc/scan"
)

// The bounds of what is remembered of a capture.
const (
	requestsMost  = 65_536
	requestsBytes = 64 << 20 // of their texts
	bindingsMost  = 100_000
	dialogsMost   = 65_536
	noncesMost    = 8_192            // in each of two generations
	requestLife   = 5 * time.Minute  // longer than a call rings
	dialogLife    = 12 * time.Hour   // phones.max_call
	afterlife     = 32 * time.Second // 64·T1: repeats of a request, and the last one of a dialog
	expiresElse   = time.Hour        // RFC 3261 §10.2.1.1
)

// requestKey finds the request that an answer is for (RFC 3261 §17.1.3), and its repeats. What is sent again with another branch is
// another request, whatever Call-ID and CSeq it has.
type requestKey struct {
	remote netip.Addr
	callID string
	cseq   uint32
	method string
	branch string
}

// request is what is remembered of a received request.
type request struct {
	at          time.Time
	ended       time.Time // when it had its final answer
	let         bool      // the guard let it in: its answers are real
	within      bool      // it belongs to a dialog
	asked       fields    // of a REGISTER
	credentials []string
	from        speaker // of another request than REGISTER, once it was let in
	branch      string
	size        int  // bytes of its texts
	invited     bool // its INVITE is in the live set
}

// knowledge is what the running program would know, and what it would tell its guard.
type knowledge struct {
	setup      *Setup
	guard      *policy.Guard
	requests   map[requestKey]*request
	order      []requestKey // of requests, oldest first
	bytes      int          // of their texts
	book       book
	dialogs    map[string]dialog // in the live set, by our tags
	issued     issued
	challenged credentials.Challenges
	suspects   credentials.Suspects
	due        deadlines
}

func newKnowledge(s *Setup, g *policy.Guard) knowledge {
	return knowledge{setup: s, guard: g, requests: map[requestKey]*request{}, book: newBook(), dialogs: map[string]dialog{}}
}

func keyOf(remote netip.Addr, v *scan.View, method []byte) requestKey {
	return requestKey{remote, string(v.Bytes(v.CallID)), v.CSeq, string(method), string(v.Bytes(v.Branch))}
}

// received hears of a request and what the guard said.
func (k *knowledge) received(now time.Time, i *nat.Interface, source netip.AddrPort, v *scan.View, let bool) {
	method := v.Bytes(v.Method)
	switch string(method) {
	case "ACK", "CANCEL":
		return
	}
	key := keyOf(source.Addr(), v, method)
	q := k.requests[key]
	switch {
	case q == nil:
		q = k.remember(now, key, v)
	case !q.ended.IsZero() && now.Sub(q.ended) > afterlife:
		k.forget(key, q) // no repeat comes so late: a phone that does not change its branches
		q = k.remember(now, key, v)
	}
	if !let || q.let {
		return
	}
	q.let = true
	if key.method == "INVITE" && !q.within {
		q.invited = k.guard.Live().AddInvite(key.callID, q.branch, key.remote)
	}
	if key.method != "REGISTER" && i.Side == nat.Outside && i.Realm == nat.Phones {
		k.speaks(now, i, source, v, q)
	}
}

// remember keeps a request for as long as answers to it may come.
func (k *knowledge) remember(now time.Time, key requestKey, v *scan.View) *request {
	f := fieldsOf(v)
	q := &request{at: now, branch: key.branch, within: !v.ToTag.Empty(), credentials: f.credentials, size: len(key.callID) + len(key.branch)}
	for _, c := range f.credentials {
		q.size += len(c)
	}
	if key.method == "REGISTER" {
		q.asked = f
		q.size += textMost * len(f.contacts)
	}
	for len(k.order) > 0 {
		old := k.order[0]
		x := k.requests[old]
		if x != nil && len(k.order) < requestsMost && k.bytes+q.size <= requestsBytes && now.Sub(x.at) < requestLife {
			break
		}
		k.order = k.order[1:]
		if x != nil {
			k.forget(old, x)
		}
	}
	k.requests[key] = q
	k.order = append(k.order, key)
	k.bytes += q.size
	return q
}

func (k *knowledge) forget(key requestKey, q *request) {
	k.uninvite(key.callID, q)
	k.bytes -= q.size
	delete(k.requests, key)
}

// uninvite ends the transaction of an INVITE in the live set.
func (k *knowledge) uninvite(callID string, q *request) {
	if q.invited {
		q.invited = false
		k.guard.Live().RemoveInvite(callID, q.branch)
	}
}

// sent hears of a message of the program's own. It reports whether that is a challenge for the first time.
func (k *knowledge) sent(now time.Time, i *nat.Interface, to netip.AddrPort, v *scan.View) (challenge bool) {
	if v.IsRequest {
		k.asked(now, to, v)
		return false
	}
	method := string(v.Bytes(v.CSeqMethod))
	q := k.requests[keyOf(to.Addr(), v, v.Bytes(v.CSeqMethod))]
	switch {
	case q == nil:
		q = &request{let: true, asked: fields{expires: -1}} // it came before the capture began
	case !q.let:
		return false // this guard has refused what it answers
	}
	f := fieldsOf(v)
	code := v.Status
	if code == 401 || code == 407 {
		challenge = k.challenge(now, i, to, v, f.nonces)
	}
	if code < 200 || q.ended.IsZero() { // an answer that is sent again says nothing new
		k.answered(now, i, to, v, q, &f)
	}
	if code >= 200 {
		q.ended = now
		if method == "INVITE" && code >= 300 {
			k.uninvite(string(v.Bytes(v.CallID)), q)
		}
	}
	return challenge
}

// answered hears of an answer.
func (k *knowledge) answered(now time.Time, i *nat.Interface, to netip.AddrPort, v *scan.View, q *request, f *fields) {
	method, tag := string(v.Bytes(v.CSeqMethod)), string(v.Bytes(v.ToTag))
	code := v.Status
	switch {
	case method == "BYE" && code >= 200:
		// The program holds the dialog until the far side has answered the BYE as well, which takes a moment.
		k.hangUp(now, tag, 0)
	case method == "INVITE" && code >= 300:
		k.refuse(now, tag)
	case code > 100 && code < 300:
		k.talk(now, tag, to.Addr(), method, code >= 200)
	}
	if code < 200 {
		return
	}
	if i.Side != nat.Outside || i.Realm != nat.Phones {
		return
	}
	relayed := method != "REGISTER" || k.relayed(code, v.Bytes(v.To), q)
	if relayed {
		k.judge(now, i, to, v, q, f)
	}
	if method == "REGISTER" && code < 300 {
		k.register(now, i, to, k.aor(v.Bytes(v.To)), q, f, relayed)
	}
}

// challenge hears of a 401 or 407: its nonces are the PBX's, unless the capture shows what the PBX itself gives out, and whoever
// answers them from where they went to receives there. It reports false for one that is sent again.
func (k *knowledge) challenge(now time.Time, i *nat.Interface, to netip.AddrPort, v *scan.View, nonces []string) bool {
	if i.Side != nat.Outside {
		return false
	}
	x := credentials.Challenge{
		To:     nat.Flow{Interface: i.ID, Transport: i.Transport, Remote: to},
		CallID: string(v.Bytes(v.CallID)), CSeq: v.CSeq, Nonces: strings.Join(nonces, " "),
	}
	if !k.challenged.Add(x) {
		return false
	}
	for _, nonce := range nonces {
		if !k.issued.inside {
			k.issued.add(nonce)
		}
		k.guard.Challenged(now, to, nonce)
	}
	return true
}

// answer hears of an answer that came in: of the PBX's challenges, and of the end of calls that the program hung up.
func (k *knowledge) answer(now time.Time, i *nat.Interface, v *scan.View) {
	switch method, tag := string(v.Bytes(v.CSeqMethod)), string(v.Bytes(v.FromTag)); {
	case i.Side == nat.Inside && (v.Status == 401 || v.Status == 407):
		k.issued.inside = true
		for _, nonce := range fieldsOf(v).nonces {
			k.issued.add(nonce)
		}
	case method == "BYE" && v.Status >= 200:
		k.hangUp(now, tag, 0)
	case method == "INVITE" && v.Status >= 300:
		k.refuse(now, tag)
	case method == "INVITE" && v.Status >= 200:
		k.confirm(tag)
	}
}

// asked hears of a request that the program sent.
func (k *knowledge) asked(now time.Time, to netip.AddrPort, v *scan.View) {
	tag := string(v.Bytes(v.FromTag))
	switch method := string(v.Bytes(v.Method)); method {
	case "BYE":
		k.hangUp(now, tag, afterlife) // unless it is answered before
	case "NOTIFY":
		if fieldsOf(v).over {
			k.hangUp(now, tag, afterlife)
		}
	case "INVITE", "SUBSCRIBE":
		k.talk(now, tag, to.Addr(), method, false)
	}
}
