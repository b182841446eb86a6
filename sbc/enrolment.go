package sbc

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"sallyport/nat"
	"sallyport/sbc/api"
	"sallyport/sbc/config"
	"sallyport/sbc/trunk"
	"sallyport/sbc/tu"
)

// enrolments is what registrars have said of our registrations, by trunk. Worlds are made of it on any goroutine.
type enrolments struct {
	mu sync.Mutex
	by map[string]tu.Registration
}

func (e *enrolments) of(trunk string) (r tu.Registration, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, ok = e.by[trunk]
	return r, ok
}

func (e *enrolments) set(r tu.Registration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.by == nil {
		e.by = map[string]tu.Registration{}
	}
	e.by[r.Trunk] = r
}

func (e *enrolments) forget(trunk string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.by, trunk)
}

// put is a configuration with what the registrars have said. One that has nothing to be put in stays as it is.
func (e *enrolments) put(snap *config.Snapshot) *config.Snapshot {
	var trunks []config.Trunk
	for i := range snap.Trunks {
		r := snap.Trunks[i].Registration
		said, known := e.of(snap.Trunks[i].Name)
		if r == nil || !known {
			continue
		}
		if trunks == nil {
			trunks = slices.Clone(snap.Trunks)
		}
		with := *r
		with.Seen, with.Realms = said.Seen, said.Realms
		if !said.Until.IsZero() { // a refresh that failed takes nothing away while the binding counts
			with.Hop, with.Routes = said.Hop, said.Routes
		}
		trunks[i].Registration = &with
	}
	if trunks == nil {
		return snap
	}
	out := *snap
	out.Trunks = trunks
	return &out
}

// changes reports whether two states of a registration make two different worlds.
func changes(a, b *tu.Registration) bool {
	on := func(r *tu.Registration) bool { return !r.Until.IsZero() }
	return a.Seen != b.Seen || !slices.Equal(a.Realms, b.Realms) || on(a) != on(b) || on(b) && (a.Hop != b.Hop || !slices.Equal(a.Routes, b.Routes))
}

// registering is a trunk's registration that runs.
type registering struct {
	user  tu.UserID // 0: it failed, and is begun anew
	again time.Time // then
	reg   *trunk.Registration
	told  []string  // what has been complained of since it was well
	doubt []string  // what it was told of our address and nobody believes
	since time.Time // when that began; zero: it is well
}

// toldMost bounds the different complaints of one outage.
const toldMost = 8

// startRegistrations gives each trunk that registers its user. One that is of the same account goes on with the binding that it has;
// those that are no longer wanted take theirs back.
func (a *assembly) startRegistrations(now time.Time) {
	if a.leaving {
		return
	}
	for name, r := range a.registering {
		if want, ok := a.world.registrations[name]; !ok || r.user != 0 && !r.reg.Same(&want) {
			a.sbc.core.Tell(r.user, tu.Hangup{})
			delete(a.registering, name)
			a.sbc.enrolments.forget(name)
		}
	}
	for name, cfg := range a.world.registrations {
		r := a.registering[name]
		switch {
		case r != nil && r.user != 0:
			if r.reg.Configure(cfg) {
				a.sbc.core.Tell(r.user, tu.Tick{})
			}
			continue
		case r == nil:
			r = &registering{}
			if a.registering == nil {
				a.registering = map[string]*registering{}
			}
			a.registering[name] = r
		case now.Before(r.again):
			continue
		}
		r.user = a.sbc.core.Start(func(_ tu.UserID, seed tu.Seed) tu.User {
			r.reg = trunk.NewRegistration(cfg, seed, a.sbc.tags)
			return r.reg
		})
	}
}

// restartEvery is how soon a registration that failed within itself is begun anew.
const restartEvery = 30 * time.Second

// unregistered hears that a user is gone, and reports whether it was a registration.
func (a *assembly) unregistered(id tu.UserID, u tu.User) bool {
	gone, is := u.(*trunk.Registration)
	if !is {
		return false
	}
	for _, r := range a.registering {
		if r.user == id && r.reg == gone {
			r.user, r.again = 0, a.sbc.now().Add(restartEvery)
		}
	}
	return true
}

// resumeRegistrations begins those anew that failed.
func (a *assembly) resumeRegistrations(now time.Time) {
	for _, r := range a.registering {
		if r.user == 0 && !now.Before(r.again) {
			a.startRegistrations(now)
			return
		}
	}
}

// leaveRegistrars takes all bindings back: the program ends.
func (a *assembly) leaveRegistrars() {
	a.leaving = true
	for _, r := range a.registering {
		a.sbc.core.Tell(r.user, tu.Hangup{})
	}
}

// enrolled is how many registrations are not at their end yet.
func (a *assembly) enrolled() (n int) {
	for _, r := range a.registering {
		if r.user != 0 {
			n++
		}
	}
	return n
}

// Registered takes what a trunk's registration has come to.
func (a *assembly) Registered(now time.Time, is tu.Registration) {
	r := a.registering[is.Trunk]
	if last := is.State == tu.Unregistered && is.Next.IsZero(); last {
		a.sbc.log.Info("registration ended: "+is.Answer, zap.String("trunk", is.Trunk), zap.String("node", is.Hop))
		if r == nil || a.leaving {
			a.sbc.enrolments.forget(is.Trunk)
		}
		return
	}
	if r == nil || r.user != 0 && !r.reg.Of(&is) { // nobody's, or the one before it that takes its leave
		return
	}
	was, _ := a.sbc.enrolments.of(is.Trunk)
	a.sbc.enrolments.set(is)
	a.tellRegistration(now, r, &was, &is)
	a.judgedAtRegistrar(now, &was, &is)
	if changes(&was, &is) {
		a.sbc.rebuild()
	}
}

// tellRegistration logs alarm and recovery, once each: not what repeats itself with every attempt.
func (a *assembly) tellRegistration(now time.Time, r *registering, was, is *tu.Registration) {
	fields := []zap.Field{zap.String("trunk", is.Trunk), zap.String("node", is.Hop)}
	if d := is.Doubt; d != "" && len(r.doubt) < toldMost && !slices.Contains(r.doubt, d) {
		r.doubt = append(r.doubt, d)
		a.sbc.log.Warn("it says that it sees us as "+d+"; that is not believed\n"+
			"  hint: if it is right, write it as trunks["+is.Trunk+"].external_address", fields...)
	}
	switch is.State {
	case tu.Registered:
		switch {
		case !r.since.IsZero():
			a.sbc.log.Info(fmt.Sprintf("registered again, after %v", now.Sub(r.since).Round(time.Second)), fields...)
		case was.State != tu.Registered:
			a.sbc.log.Info("registered until "+is.Until.Local().Format(time.TimeOnly), fields...)
		case was.Hop != is.Hop:
			a.sbc.log.Info("registered at another address", fields...)
		}
		if is.Seen.IsValid() && was.Seen != is.Seen {
			a.sbc.log.Info("the registrar sees us as "+is.Seen.String(), fields...)
		}
		r.since, r.told = time.Time{}, nil
	case tu.Refused:
		if r.since.IsZero() {
			r.since = now
		}
		if is.Next.IsZero() {
			return // it has just been asked again
		}
		no := a.noConnection(is)
		text := "registration failed: " + strings.TrimSuffix(is.Answer+": "+no, ": ")
		if len(r.told) >= toldMost || slices.ContainsFunc(r.told, func(t string) bool { return strings.HasPrefix(t, text) }) {
			return // or said with more than is known now
		}
		r.told = append(r.told, text)
		hint := registrationHint(is)
		if strings.Contains(no, "certificate") {
			hint = "what the registrar must prove to be, and what we show it, stand in trunks[" + is.Trunk + "].tls"
		}
		if is.Until.After(now) {
			text += "; the last one counts until " + is.Until.Local().Format(time.TimeOnly)
		}
		a.sbc.log.Warn(text+"; tried again at "+is.Next.Local().Format(time.TimeOnly)+"\n  hint: "+hint, fields...)
	case tu.Unregistered, tu.Registering: // nothing has come of it yet
	}
}

// noConnection is why there is no connection to a registrar that cannot be reached.
func (a *assembly) noConnection(is *tu.Registration) string {
	hops := a.world.registrations[is.Trunk].Hops
	for i := range hops {
		if hops[i].ID == is.Hop && strings.HasPrefix(is.Answer, "unreachable") {
			return a.sbc.unconnected(&hops[i].Hop)
		}
	}
	return ""
}

// registrationHint says what to do about a refusal.
func registrationHint(is *tu.Registration) string {
	at := "trunks[" + is.Trunk + "].registration"
	switch code := is.Answer[:min(3, len(is.Answer))]; {
	case code == "401", code == "407", code == "403", code == "404":
		return "are username, auth_username, password and realm of " + at + " what the provider gave you? Calls do not come in meanwhile"
	case code == "420":
		return "the provider does not know gin: remove it from " + at
	case code[:min(1, len(code))] == "3":
		return "the provider wants us elsewhere: correct registrar or proxy of " + at
	case code[:min(1, len(code))] == "n", code[:min(1, len(code))] == "u": // no answer, no address, unreachable
		return "is the registrar of " + at + " right, and does the firewall let us there?"
	}
	return "ask the provider; `sbc trunks` shows how it goes on"
}

// lostRegistrar hears that a connection is gone.
func (a *assembly) lostRegistrar(f nat.Flow) {
	for _, r := range a.registering {
		if r.user != 0 && f.Transport.Reliable() && r.reg.Lost(f) {
			a.sbc.core.Tell(r.user, tu.Tick{})
		}
	}
}

// registrarAnswers hears that an address answers.
func (a *assembly) registrarAnswers(hop string) {
	if r := a.registering[a.book.Trunk(hop)]; r != nil && r.user != 0 && r.reg.Recovered(hop) {
		a.sbc.core.Tell(r.user, tu.Tick{})
	}
}

// registrarSpeaks hears that an address has answered a question.
func (a *assembly) registrarSpeaks(hop string) {
	if r := a.registering[a.book.Trunk(hop)]; r != nil && r.user != 0 && r.reg.Answers(hop) {
		a.sbc.core.Tell(r.user, tu.Tick{})
	}
}

// enrolment is how the administrator is told of it.
func (s *SBC) enrolment(trunk string) *api.TrunkRegistration {
	is, _ := s.enrolments.of(trunk)
	address, transport, _ := strings.Cut(strings.TrimPrefix(is.Hop, trunk+" "), "/")
	out := &api.TrunkRegistration{
		State: is.State.String(), Address: address, Transport: transport, Until: is.Until, Next: is.Next, Realm: strings.Join(is.Realms, ", "), Routes: is.Routes,
		Answer: is.Answer, Fails: is.Failed,
	}
	if is.Seen.IsValid() {
		out.SeenAs = is.Seen.String()
	}
	return out
}

// sighted hears where a peer has seen us.
func (a *assembly) sighted(h *tu.Health) {
	if !h.Seen.IsValid() {
		return
	}
	if r := a.registering[a.book.Trunk(h.Peer)]; r != nil && r.user != 0 && r.reg.Sighted(h.Peer, h.Seen) {
		a.sbc.core.Tell(r.user, tu.Tick{})
	}
}
