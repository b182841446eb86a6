package policy

import (
	"hash/maphash"
	"time"

	"sallyport/nat"
)

// Decide judges a message by the fixed Order. Equal arguments and states give equal verdicts: the one clock is now.
// It charges the limits that the message meets, unless the Subject is a trial; it records nothing.
func Decide(now time.Time, s *Subject, r *Rules, st *State) Verdict {
	v := verdict(Allow, 0, causeAllow)
	if st.isLive(now, s) { // 1
		v.because(causeLive)
		return v
	}
	spared := r.whiteList(s, &v) // 2

	if spared&exemptBans == 0 && (r.blackList(now, s, &v) || r.fed(s, &v) || st.banned(now, s, &v)) { // 3, 4
		return finish(s, v)
	}
	if r.isEmergency(s) && r.isUrgent(now, s, st) {
		spared |= exemptLimits | exemptCountries
	}
	if spared&exemptCountries == 0 && r.foreign(s, &v) { // 5
		return finish(s, v)
	}
	if insane(s, &v) { // 6
		if !r.chargeUnparseable(now, s, st, &v, spared) {
			return finish(s, v)
		}
		if s.Kind() == Stranger {
			r.answerStranger(now, s, st, &v)
		}
		return finish(s, v)
	}
	said, allowed := r.messageRules(s, &v) // 7
	if said || !allowed && spared&exemptUserAgents == 0 && r.userAgents(s, &v) {
		if v.Action == Reject && !r.mayAnswer(now, s, st) {
			v.Action = Drop
		}
		return finish(s, v)
	}
	end := v
	if s.Kind() == Stranger {
		end = r.strangersFate(now, s, st) // what 11 will say; silence costs no budget
	}
	if !r.charge(now, s, st, &v, spared, end.Action != Drop) { // 8, 9
		v.Warn = v.Warn || end.Warn
		return finish(s, v)
	}
	if end.Refused() { // 11
		end.Shadow, end.Alarm = v.Shadow, v.Alarm
		return finish(s, end)
	}
	return v
}

// finish makes an answer of a refusal only where one may be sent.
func finish(s *Subject, v Verdict) Verdict {
	if v.Action != Reject || !answerable(s) {
		v.Action, v.Code = Drop, 0
	}
	return v
}

// isLive is step 1: a request of a live dialog from the address of its leg, or the answer to one of ours; the CANCEL or
// ACK of a live INVITE, or a repeat of an admitted request from the same address.
func (st *State) isLive(now time.Time, s *Subject) bool {
	if s.Malformed {
		return false
	}
	a, near := s.Source.Addr(), st.vouched.at(st.hashOf(s))
	legs := near.legs.Load() > 0
	if !s.Request {
		// A phone may answer the BYE of a call that has outlived its registration.
		return legs && len(s.FromTag) > 0 && (st.ownTag == nil || st.ownTag(s.FromTag)) && st.live.holds(s.FromTag, a)
	}
	// A REGISTER makes no dialog and is in none (RFC 3261 §10.2), whatever tag it carries.
	if (legs || s.Kind().system()) && len(s.ToTag) > 0 && s.Method != MethodRegister && (st.ownTag == nil || st.ownTag(s.ToTag)) && st.ofLeg(s) {
		if s.Method == MethodBye && !s.Trial {
			st.admit(now, s) // the dialog ends with it, and its answer may be lost (RFC 3261 §17.2.2)
		}
		return true
	}
	if len(s.CallID) == 0 || len(s.Branch) == 0 {
		return false
	}
	repeats := near.mayHaveAdmitted(st.age(now), maphash.Bytes(st.seed, s.Branch)) && st.isRepeat(now, s)
	// RFC 3261 §9.1, §17.1.1.3: CANCEL and the ACK of a refusal carry the INVITE's branch.
	return repeats || legs && (s.Method == MethodCancel || s.Method == MethodAck) && st.live.holdsInvite(s.CallID, s.Branch, a)
}

// ofLeg reports whether a dialog with the To-tag of a request is live at its source, or, where that is a system, at another address
// of the same one: any node of a PBX may pass on what a lost one has begun, any proxy of a trunk likewise.
func (st *State) ofLeg(s *Subject) bool {
	leg, there := st.live.at(maphash.Bytes(st.live.seed, s.ToTag))
	if !there || leg == s.Source.Addr() {
		return there
	}
	if !s.Kind().system() || s.peers == nil {
		return false
	}
	other := s.peers.find(s.Side, s.Realm, leg)
	return other != nil && other.Kind == s.Peer.Kind && (other.Kind == Node || other.Name == s.Peer.Name)
}

// banned is the other half of step 3, bans made by hand, and step 4, bans made from evidence.
func (st *State) banned(now time.Time, s *Subject, v *Verdict) bool {
	ban, alarm := st.bans.binding(now, s)
	if alarm {
		v.Warn = v.Warn || !s.Trial && st.mayWarn(now, warnBanned)
	}
	if ban == nil && !st.distrusted(now, s) {
		return false
	}
	*v = verdict(Drop, 0, causeBan)
	return true
}

// insane is step 6: what the raw scan refuses, and what is too large to be worth a parse.
func insane(s *Subject, v *Verdict) bool {
	switch {
	case s.Size > MaxMessageBytes:
		*v = verdict(Reject, 513, causeTooLarge) // RFC 3261 §21.5.7
	case s.Malformed:
		*v = verdict(Reject, 400, causeMalformed)
	default:
		return false
	}
	return true
}

// strangersFate is what a stranger's message comes to if no rule refuses it first: Allow, an answer, or silence.
func (r *Rules) strangersFate(now time.Time, s *Subject, st *State) Verdict {
	v := verdict(Drop, 0, causeStranger)
	if !s.Request {
		return v // a response that nobody asked for; forged ones must not wake anything
	}
	switch {
	case s.Side == nat.Inside:
		v.Action, v.Code = Reject, 403
		v.Warn = !s.Trial && st.mayWarn(now, warnInside)
		return v
	case s.Realm == nat.Trunks:
		v.because(causeTrunk)
	case s.Method == MethodRegister && r.phones.registrar:
		return verdict(Allow, 0, causeAllow)
	case needsRegistration(s.Method):
		v.because(causeRegistered)
		if r.phones.unregistered == Allow {
			return verdict(Allow, 0, causeAllow)
		}
		if r.phones.unregistered == Reject {
			v.Action, v.Code = Reject, 403
			return v
		}
	}
	if r.answer[s.Realm] && s.Method != MethodAck {
		v.Action, v.Code = Reject, 403
		if s.Method == MethodOptions {
			v.Code = 200
		}
	}
	return v
}

// needsRegistration lists the requests that `phones.unregistered` is about.
func needsRegistration(m Method) bool {
	return m == MethodInvite || m == MethodMessage || m == MethodSubscribe || m == MethodPublish || m == MethodRefer
}

// answerStranger turns the refusal of a stranger's malformed message into an answer where strangers are answered, into
// silence otherwise.
func (r *Rules) answerStranger(now time.Time, s *Subject, st *State, v *Verdict) {
	if s.Side == nat.Outside && !r.answer[s.Realm] || !r.mayAnswer(now, s, st) {
		v.Action = Drop
	}
}

// mayAnswer reports whether a refusal of this message may be an answer at all, and takes a stranger's out of the budget
// of all strangers: so a flood of forged requests makes no flood of answers.
func (r *Rules) mayAnswer(now time.Time, s *Subject, st *State) bool {
	if !answerable(s) {
		return false
	}
	return s.Kind() != Stranger || s.Side == nat.Inside || st.afford(now, s, r)
}

// answerable reports whether there is anything to answer: a response and an ACK never are (RFC 3261 §17.1.1.3, §18.1.2).
func answerable(s *Subject) bool { return s.Request && s.Method != MethodAck && !s.Unreadable }
