package policy

import (
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/sbc/reason"
)

// ImpactSubject is somebody whom rules should not shut out: a trunk, a node, a registered phone, the administrator.
type ImpactSubject struct {
	Who       string // for people: "trunk itsp", "phone 204@example.com"
	Source    netip.AddrPort
	Side      nat.Side
	Realm     nat.Realm
	Transport nat.Transport
	Agent     string // the User-Agent that it sends; empty: none
	AoR       string // of a phone
	Vital     bool   // never to be shut out; others only in small part
}

// Hit is a subject that would newly be refused.
type Hit struct {
	Subject ImpactSubject
	Method  string        // the first of REGISTER, INVITE and OPTIONS that would be
	Reason  reason.Reason // why
	Rule    string        // path and name of the rule that would refuse it; empty: none did
	Before  reason.Reason // what it meets now
}

// impactMethods are the requests that everybody here may send.
var impactMethods = [...]Method{MethodRegister, MethodInvite, MethodOptions}

// Impact tells which of the subjects the next rules would refuse though those in force do not. It charges and changes
// nothing. A subject that is a stranger to the guard, as an administrator's own address mostly is, is hit if it would newly
// be shut out for its address: whatever it sends is refused, and a packet filter that drops the same sources would cut off
// its session.
func Impact(now time.Time, g *Guard, next *Rules, subjects []ImpactSubject) []Hit {
	var hits []Hit
	current, peers := g.rules.Load(), g.directory()
	for i := range subjects {
		for _, m := range impactMethods {
			if m == MethodRegister && subjects[i].Realm == nat.Trunks {
				continue // nobody registers with us there
			}
			s := subjects[i].subject(g, now, peers, m)
			was, is := s, s // a Subject remembers what it was asked about by one rule set
			before, after := Decide(now, &was, current, g.state), Decide(now, &is, next, g.state)
			if !shutsOut(&s, &after) || shutsOut(&s, &before) {
				continue
			}
			hit := Hit{Subject: subjects[i], Method: m.String(), Reason: after.Reason, Before: before.Reason}
			if info, ok := next.Rule(after.Rule); ok {
				hit.Rule = info.Path + " " + info.name()
			}
			hits = append(hits, hit)
			break
		}
	}
	return hits
}

// subject is what a subject would send.
func (i *ImpactSubject) subject(g *Guard, now time.Time, peers directory, m Method) Subject {
	var s Subject
	s.readSource(&nat.Interface{Side: i.Side, Realm: i.Realm, Transport: i.Transport}, i.Source)
	s.Proven = i.Transport.Reliable()
	s.Request, s.Method, s.Size, s.Trial = true, m, 500, true
	if i.AoR != "" {
		s.From = []byte("<sip:" + i.AoR + ">")
		s.To = s.From
	}
	if i.Agent != "" {
		s.Agents[0] = []byte(i.Agent)
	}
	peers.identify(g.state.age(now), &s)
	return s
}

// shutsOut reports whether a verdict refuses a known peer, or a stranger for nothing but its address.
func shutsOut(s *Subject, v *Verdict) bool {
	if s.Kind() != Stranger {
		return v.Refused()
	}
	return v.Refused() && (v.cause == causeBlack || v.cause == causeCountry || v.cause == causeBan)
}

// BanImpact tells which of the subjects a ban would shut out that nothing shuts out now. One by hand binds trunks and
// nodes, too.
func (g *Guard) BanImpact(now time.Time, ban Ban, subjects []ImpactSubject) []Hit {
	if ban.settle() != nil {
		return nil
	}
	var hits []Hit
	rules, peers := g.rules.Load(), g.directory()
	for i := range subjects {
		s := subjects[i].subject(g, now, peers, MethodInvite)
		before := Decide(now, &s, rules, g.state)
		if shutsOut(&s, &before) || !ban.Prefix.Contains(s.Source.Addr()) || !ban.holdsAt(s.Realm) || !ban.isAbout(&s) {
			continue
		}
		spared := rules.exemptions(s.Realm, s.Source.Addr())&exemptBans != 0
		if spared || ban.Auto && (s.Kind().system() || s.Kind() == Phone && !ban.narrow()) {
			continue
		}
		hits = append(hits, Hit{Subject: subjects[i], Method: MethodInvite.String(), Reason: reason.Ban, Before: before.Reason})
	}
	return hits
}
