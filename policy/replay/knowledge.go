package replay

import (
	"container/heap"
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/scan"
)

// The bounds of what is remembered of a capture.
const (
	requestsMost = 65_536
	bindingsMost = 100_000
	dialogsMost  = 65_536
	noncesMost   = 8_192            // in each of two generations
	requestLife  = 5 * time.Minute  // longer than a call rings
	dialogLife   = 12 * time.Hour   // phones.max_call
	afterlife    = 32 * time.Second // 64·T1: repeats of the last requests
	expiresElse  = time.Hour        // RFC 3261 §10.2.1.1
)

// requestKey finds the request that an answer is for.
type requestKey struct {
	remote netip.Addr
	callID string
	cseq   uint32
	method string
}

// request is what is remembered of a received request.
type request struct {
	at      time.Time
	let     bool   // the guard let it in: its answers are real
	signed  bool   // carried credentials
	nonce   string // that they answer
	branch  string
	asked   fields // of a REGISTER
	invited bool   // its INVITE is in the live set
}

// bindingKey is one binding (RFC 3261 §10).
type bindingKey struct{ aor, contact string }

type binding struct {
	at      netip.Addr
	expires time.Time
}

// knowledge is what the running program would know, and what it would tell its guard.
type knowledge struct {
	guard    *policy.Guard
	requests map[requestKey]*request
	order    []requestKey // of requests, oldest first
	bindings map[bindingKey]binding
	phones   map[netip.Addr]int     // bindings at an address
	dialogs  map[string]bool        // our tags in the live set
	nonces   [2]map[string]struct{} // of challenges, the younger half first
	due      deadlines
	first    func(bindingKey, netip.Addr) // hears of a binding that was not there before; nil: nobody
	ever     map[bindingKey]struct{}      // those that first has heard of
}

func newKnowledge(g *policy.Guard) knowledge {
	return knowledge{
		guard: g, requests: map[requestKey]*request{}, bindings: map[bindingKey]binding{}, phones: map[netip.Addr]int{},
		dialogs: map[string]bool{},
	}
}

func keyOf(remote netip.Addr, v *scan.View, method []byte) requestKey {
	return requestKey{remote, string(v.Bytes(v.CallID)), v.CSeq, string(method)}
}

// received hears of a request and what the guard said.
func (k *knowledge) received(now time.Time, source netip.AddrPort, v *scan.View, let bool) {
	method := v.Bytes(v.Method)
	switch string(method) {
	case "ACK", "CANCEL":
		return
	}
	key := keyOf(source.Addr(), v, method)
	q := k.requests[key]
	if q == nil {
		q = &request{at: now, signed: !v.Authorization.Empty(), nonce: string(v.Bytes(v.Nonces[0])), branch: string(v.Bytes(v.Branch))}
		if string(method) == "REGISTER" {
			q.asked = fieldsOf(v)
		}
		k.remember(now, key, q)
	}
	if let && !q.let {
		q.let = true
		if string(method) == "INVITE" && v.ToTag.Empty() {
			q.invited = k.guard.Live().AddInvite(key.callID, q.branch, key.remote)
		}
	}
}

// remember keeps a request for as long as answers to it may come.
func (k *knowledge) remember(now time.Time, key requestKey, q *request) {
	for len(k.order) > 0 {
		old := k.order[0]
		x := k.requests[old]
		if x != nil && len(k.order) < requestsMost && now.Sub(x.at) < requestLife {
			break
		}
		k.order = k.order[1:]
		if x != nil {
			k.forget(old, x)
		}
	}
	k.requests[key] = q
	k.order = append(k.order, key)
}

func (k *knowledge) forget(key requestKey, q *request) {
	if q.invited {
		k.guard.Live().RemoveInvite(key.callID, q.branch)
	}
	delete(k.requests, key)
}

// sent hears of a message of the program's own.
func (k *knowledge) sent(now time.Time, i *nat.Interface, to netip.AddrPort, v *scan.View) {
	if v.IsRequest {
		k.asked(now, to, v)
		return
	}
	method := v.Bytes(v.CSeqMethod)
	q := k.requests[keyOf(to.Addr(), v, method)]
	if q != nil && !q.let {
		return // this guard has refused what it answers
	}
	if q == nil {
		q = &request{let: true, asked: fields{expires: -1}} // it came before the capture began
	}
	switch code := v.Status; {
	case string(method) == "BYE" && code >= 200:
		k.hangUp(now, string(v.Bytes(v.ToTag)))
	case code == 401 || code == 407:
		f := fieldsOf(v)
		if i.Side == nat.Outside {
			k.guard.Challenged(now, to, f.nonce)
		}
		if q.signed && !f.stale && k.issued(q.nonce) && !k.forbids(to, string(method)) {
			k.outcome(now, i, to, v, policy.WrongDigest)
		}
		k.issue(f.nonce)
	case code > 100 && code < 300 && string(method) == "REGISTER":
		if q.signed {
			k.outcome(now, i, to, v, policy.Success)
		}
		if i.Side == nat.Outside && i.Realm == nat.Phones {
			k.register(now, to.Addr(), party(v.Bytes(v.To)), &q.asked, fieldsOf(v))
		}
	case code > 100 && code < 300:
		k.talk(now, string(v.Bytes(v.ToTag)), to.Addr(), string(method))
	case code >= 300:
		k.refused(now, i, to, v, q)
	}
}

// issue remembers a nonce. As in the program, an answer to one that is not known says nothing of a password: the PBX may
// have restarted.
func (k *knowledge) issue(nonce string) {
	if k.nonces[0] == nil || len(k.nonces[0]) >= noncesMost {
		k.nonces[0], k.nonces[1] = map[string]struct{}{}, k.nonces[0]
	}
	k.nonces[0][nonce] = struct{}{}
}

func (k *knowledge) issued(nonce string) bool {
	for _, half := range k.nonces {
		if _, there := half[nonce]; there {
			return true
		}
	}
	return false
}

// forbids reports whether a refusal is of what a registered phone wants and not of who it is: it has shown its password when
// it registered.
func (k *knowledge) forbids(to netip.AddrPort, method string) bool {
	return method != "REGISTER" && k.phones[to.Addr().Unmap().WithZone("")] > 0
}

// refused hears of a final refusal.
func (k *knowledge) refused(now time.Time, i *nat.Interface, to netip.AddrPort, v *scan.View, q *request) {
	method := string(v.Bytes(v.CSeqMethod))
	if method == "INVITE" {
		k.hangUp(now, string(v.Bytes(v.ToTag)))
	}
	switch {
	case k.forbids(to, method):
	case v.Status == 403 && q.signed:
		k.outcome(now, i, to, v, policy.WrongDigest)
	case v.Status == 404 && method == "INVITE":
		k.outcome(now, i, to, v, policy.Nowhere)
	case v.Status == 403 || v.Status == 404 || v.Status == 480:
		k.outcome(now, i, to, v, policy.UnknownUser)
	}
}

func (k *knowledge) outcome(now time.Time, i *nat.Interface, to netip.AddrPort, v *scan.View, kind policy.OutcomeKind) {
	if i.Side != nat.Outside {
		return
	}
	who := v.From
	if string(v.Bytes(v.CSeqMethod)) == "REGISTER" {
		who = v.To
	}
	k.guard.Outcome(now, policy.Outcome{
		Source: to, Side: i.Side, Realm: i.Realm, Transport: i.Transport, AoR: party(v.Bytes(who)), Kind: kind,
		CallID: string(v.Bytes(v.CallID)), CSeq: v.CSeq,
	})
}

// asked hears of a request that the program sent.
func (k *knowledge) asked(now time.Time, to netip.AddrPort, v *scan.View) {
	tag := string(v.Bytes(v.FromTag))
	switch string(v.Bytes(v.Method)) {
	case "BYE":
		k.hangUp(now, tag)
	case "INVITE", "SUBSCRIBE":
		k.talk(now, tag, to.Addr(), string(v.Bytes(v.Method)))
	}
}

// talk makes a dialog of the program's live: whoever has the other end of it is heard (RFC 3261 §12).
func (k *knowledge) talk(now time.Time, tag string, with netip.Addr, method string) {
	if tag == "" || k.dialogs[tag] || len(k.dialogs) >= dialogsMost || method != "INVITE" && method != "SUBSCRIBE" {
		return
	}
	if k.guard.Live().Add(tag, with) {
		k.dialogs[tag] = true
		k.due.add(deadline{at: now.Add(dialogLife), tag: tag})
	}
}

func (k *knowledge) hangUp(now time.Time, tag string) {
	if k.dialogs[tag] {
		k.due.add(deadline{at: now.Add(afterlife), tag: tag})
	}
}

// register does what a 2xx to a REGISTER does to the bindings. A registrar answers with all bindings of the user; only
// those count here that the phone asked for, or that would be its own if its REGISTER is not in the capture.
func (k *knowledge) register(now time.Time, from netip.Addr, aor string, asked *fields, answer fields) {
	if asked.star {
		for key, b := range k.bindings {
			if key.aor == aor && b.at == from {
				k.unbind(key, b)
			}
		}
		return
	}
	wanted := asked.contacts
	if len(wanted) == 0 && asked.expires < 0 && len(answer.contacts) == 1 {
		wanted = answer.contacts
	}
	for _, c := range wanted {
		lasts := firstSaid(c.expires, asked.expires, expiresElse)
		granted := len(answer.contacts) == 0 && lasts > 0
		for _, g := range answer.contacts {
			if g.uri == c.uri || len(answer.contacts) == 1 && len(wanted) == 1 && lasts > 0 { // some gates spell it anew
				granted, lasts = true, firstSaid(g.expires, answer.expires, lasts)
			}
		}
		key := bindingKey{aor, c.uri}
		if !granted || lasts == 0 {
			if b, there := k.bindings[key]; there {
				k.unbind(key, b)
			}
			continue
		}
		k.bind(key, binding{from, now.Add(lasts)})
	}
}

func firstSaid(list ...time.Duration) time.Duration {
	for _, d := range list {
		if d >= 0 {
			return d
		}
	}
	return 0
}

func (k *knowledge) bind(key bindingKey, b binding) {
	old, there := k.bindings[key]
	if !there && len(k.bindings) >= bindingsMost {
		return
	}
	if !there && k.first != nil {
		k.tellFirst(key, b.at)
	}
	if !there || old.at != b.at {
		k.guard.AddPhone(b.at)
		k.phones[b.at]++
		if there {
			k.leave(old.at)
		}
	}
	k.bindings[key] = b
	k.due.add(deadline{at: b.expires, binding: key})
}

// tellFirst tells of a binding once.
func (k *knowledge) tellFirst(key bindingKey, at netip.Addr) {
	if k.ever == nil {
		k.ever = map[bindingKey]struct{}{}
	}
	if _, twice := k.ever[key]; twice || len(k.ever) >= bindingsMost {
		return
	}
	k.ever[key] = struct{}{}
	k.first(key, at)
}

func (k *knowledge) unbind(key bindingKey, b binding) {
	delete(k.bindings, key)
	k.leave(b.at)
}

func (k *knowledge) leave(at netip.Addr) {
	k.guard.RemovePhone(at)
	if k.phones[at]--; k.phones[at] <= 0 {
		delete(k.phones, at)
	}
}

// expire does what is due by time alone.
func (k *knowledge) expire(now time.Time) {
	for len(k.due.list) > 0 && !k.due.list[0].at.After(now) {
		d := heap.Pop(&k.due).(deadline)
		if d.tag != "" {
			if k.dialogs[d.tag] {
				delete(k.dialogs, d.tag)
				k.guard.Live().Remove(d.tag)
			}
			continue
		}
		if b, there := k.bindings[d.binding]; there && !b.expires.After(now) {
			k.unbind(d.binding, b)
		}
	}
}

// deadline is when a binding or a dialog ends, unless it has been refreshed since.
type deadline struct {
	at      time.Time
	tag     string
	binding bindingKey
}

// deadlinesMost bounds the heap: refreshes leave their old deadlines in it.
const deadlinesMost = 4 * (bindingsMost + dialogsMost)

// deadlines is a heap, the next one first.
type deadlines struct{ list []deadline }

func (h *deadlines) add(d deadline) {
	if len(h.list) < deadlinesMost {
		heap.Push(h, d)
	}
}

// Len, Less, Swap, Push and Pop make it a heap.
func (h *deadlines) Len() int           { return len(h.list) }
func (h *deadlines) Less(i, j int) bool { return h.list[i].at.Before(h.list[j].at) }
func (h *deadlines) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *deadlines) Push(x any)         { h.list = append(h.list, x.(deadline)) }
func (h *deadlines) Pop() any {
	last := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return last
}
