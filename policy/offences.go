package policy

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/userpart"
)

// offender is who did something that counts against him.
type offender struct {
	place   place
	source  netip.AddrPort
	kind    PeerKind // what his address is anywhere; a stranger is one everywhere
	proven  bool     // nobody else can have sent the request
	spared  bool     // white-listed: never banned
	user    []byte   // folded name that a wrong digest was for
	aor     string   // the same as it was written
	agent   []byte
	request string // method
}

// standing is what an address is anywhere. A trunk or a node counts before a phone. Of an IPv6 address all of its /64
// counts, for that is what a ban would shut out. An address whose phones were registered until lately is still theirs: when
// they come back after an outage, the one with a wrong password must not shut out the others.
func (d directory) standing(now time.Duration, a netip.Addr) PeerKind {
	kind := Stranger
	if a.Is4() && !d.peers.known(a) {
		if d.phones.behind(now, a) > 0 {
			kind = Phone
		}
		return kind
	}
	for side := nat.Outside; side <= nat.Inside; side++ {
		for realm := nat.Phones; realm <= nat.Trunks; realm++ {
			p := d.peers.find(side, realm, a)
			if p == nil && a.Is6() {
				p = d.near(side, realm, SourcePrefix(a))
			}
			if p == nil {
				continue
			}
			if p.Kind.system() {
				return p.Kind
			}
			kind = p.Kind
		}
	}
	if kind == Stranger && d.phones.behind(now, a) > 0 {
		kind = Phone
	}
	return kind
}

// near is a peer of the list within a prefix at a realm of a side, or nil.
func (d directory) near(side nat.Side, realm nat.Realm, prefix netip.Prefix) *Peer {
	for _, p := range d.peers.tables[side][realm].Subnets(prefix) {
		return p
	}
	return nil
}

// offenceOf is what a verdict says of who sent the message; ok is false if nothing. Merely odd traffic is no
// evidence: keep-alives, STUN, ACK, CANCEL, responses.
func offenceOf(s *Subject, v *Verdict, response bool) (what offence, ok bool) {
	if response || s.Method == MethodAck || s.Method == MethodCancel {
		return 0, false
	}
	switch {
	case v.Ban && v.cause == causeLimit:
		return overLimit, true
	case v.Ban:
		return byRule, true
	case v.cause == causeMalformed || s.Malformed && v.cause == causeLimit:
		return malformed, true
	case v.Refused() && (v.cause == causeAgent || v.cause == causeMessage):
		return scanner, true
	}
	return 0, false
}

// judge holds against the source of a message what the verdict says of it.
func (g *Guard) judge(p *Packet, s *Subject, v *Verdict, r *Rules, peers directory) {
	if s.Kind().system() && v.Alarm < 0 && s.Request {
		v.Alarm = r.suspicious(s)
	}
	if r.bans.points == 0 {
		return
	}
	what, ok := offenceOf(s, v, !s.Request && p.View.Status != 0)
	if !ok {
		return
	}
	o := offender{place: place{true, s.Side, s.Realm, s.Transport}, source: s.Source, kind: peers.standing(g.state.age(p.Now), s.Source.Addr()),
		proven: s.Proven, agent: trimSpace(s.Agents[0])}
	if s.Request {
		o.request = s.Method.String()
	}
	if what == scanner && o.kind == Phone && v.cause == causeMessage {
		return // what an administrator does not want his own phones to say is no attack
	}
	o.spared = s.spared()&exemptBans != 0
	id, cseq := maphash.Bytes(g.state.seed, s.CallID), s.CSeq
	if len(s.CallID) == 0 {
		id, cseq = maphash.Bytes(g.state.seed, p.Data[:min(len(p.Data), 512)]), 0
	}
	if !g.state.conduct.isNew(g.state.age(p.Now), o.kind != Stranger, s.Key, id, cseq) {
		return
	}
	if g.offend(p.Now, r, &o, what) {
		v.Warn = v.Warn || g.state.mayWarn(p.Now, warnBanned)
	}
}

// suspicious is the user-agent rule that a trunk's or a node's request would meet if it were a stranger's, or -1. They meet
// no rule that does not name them, for anyone may forge them; but somebody should look why a provider calls itself a
// scanner.
func (r *Rules) suspicious(s *Subject) int32 {
	for _, agent := range s.Agents {
		if len(agent) == 0 {
			continue
		}
		if i := r.agents.matcher.match(agent); i >= 0 {
			return r.agents.rules[i]
		}
	}
	return -1
}

// unitOf is the smallest thing that an offence can be held against.
func unitOf(o *offender) unit {
	switch {
	case o.kind.system() || o.spared || o.place.side == nat.Inside:
		// Anyone can forge a datagram of a trunk's or of our own network's: they are never shut out.
		return unitWatched
	case o.kind == Phone && !o.proven:
		return unitWatched
	case o.kind == Phone && len(o.user) > 0:
		return unitUser
	case o.kind == Phone:
		return unitFlow
	case o.proven: // by this very request: who forges the address of a port that answered a challenge has proven nothing
		return unitAddress
	}
	return unitPort
}

// offend counts an offence and does what the points come to. It reports whether that is an alarm.
func (g *Guard) offend(now time.Time, r *Rules, o *offender, what offence) (alarm bool) {
	c, age := &g.state.conduct, g.state.age(now)
	if what == wrongDigest && len(o.user) > 0 {
		g.offendName(now, r, o)
	}
	key := scoreKey{unit: unitOf(o)}
	switch key.unit {
	case unitAddress, unitWatched:
		key.source = SourceKey(o.source.Addr()).As16()
	case unitUser:
		key.source, key.id = SourceKey(o.source.Addr()).As16(), c.nameKey(o.user)
	default:
		key.source, key.id = o.source.Addr().As16(), uint64(o.source.Port())
	}
	var sum tally
	full := false
	c.scores[index(o.kind != Stranger)].with(age, r.bans.within, key, true, func(s *score) {
		s.nameLen = uint8(copy(s.name[:], o.user))
		s.add(what)
		sum = s.total()
		if full = what == byRule || sum.points() >= r.bans.points; full {
			s.clear()
		}
	})
	if !full {
		return false
	}
	all := sum // what is told of escapes to the heap, and sentences are rare
	return g.sentence(now, r, o, what, key.unit, &all)
}

// offendName counts a wrong digest for a user, whoever sent it. Guesses from several addresses slow his credentials down.
func (g *Guard) offendName(now time.Time, r *Rules, o *offender) {
	c, age := &g.state.conduct, g.state.age(now)
	source := SourceKey(o.source.Addr()).As16()
	var sum tally
	attacked := false
	c.scores[0].with(age, r.bans.within, scoreKey{id: c.nameKey(o.user), unit: unitName}, true, func(s *score) {
		if s.first == ([16]byte{}) {
			s.first = source
			s.nameLen = uint8(copy(s.name[:], o.user))
		}
		s.several = s.several || s.first != source
		s.add(wrongDigest)
		sum = s.total()
		attacked = s.several && sum.points() >= r.bans.points
	})
	if !attacked {
		return
	}
	line := LogLine{Event: EventSlowed, User: userpart.Escaped(string(clip(o.user, maxUser))), Until: now.Add(r.bans.first), Points: sum.points(),
		Of: r.bans.points, Evidence: sum.String() + " from several addresses", Shadow: r.bans.shadow}
	if r.bans.shadow {
		if c.mayAlarm(age, c.nameKey(o.user), netip.IPv6Unspecified()) {
			g.tell(now, o, line)
		}
		return
	}
	if c.slowed.slow(age, age+r.bans.first, string(o.user), evidenceText(&sum, &r.bans)+" from several addresses") {
		c.counts.slowed.Add(1)
		g.tell(now, o, line)
	}
}

// sentence does what full points come to: a ban, a block, or an alarm.
func (g *Guard) sentence(now time.Time, r *Rules, o *offender, what offence, u unit, sum *tally) (alarm bool) {
	c, age := &g.state.conduct, g.state.age(now)
	if u == unitPort && !r.bans.shadow {
		length := min(r.bans.first, mostBlock)
		c.blocks.add(o.source, age+length, *sum)
		c.counts.blocks.Add(1)
		if log := g.log.Load(); log == nil || !log.affords(age, now, EventBlocked, g.rules.Load().log) {
			return false // a flood makes many blocks: no line is put into words in vain
		}
	}
	line := LogLine{Event: EventBlocked, Text: what.String(), Points: sum.points(), Of: r.bans.points, Evidence: sum.String(),
		By: byEvidence, Shadow: r.bans.shadow, Ban: o.source.String()}
	switch {
	case u == unitWatched:
		c.counts.alarms.Add(1)
		if c.mayAlarm(age, 0, SourceKey(o.source.Addr())) {
			line.Event, line.Ban, line.Shadow = EventAlarm, "", false
			line.Text += fmt.Sprintf(": %s is not banned for it", o.who())
			g.tell(now, o, line)
		}
		return true
	case r.bans.shadow:
		c.counts.shadowed.Add(1)
		if u != unitPort {
			line.Event = EventBanned
			ban := o.ban(u)
			line.Ban = ban.Target()
		}
		g.tell(now, o, line)
	case u == unitPort:
		line.Until = now.Add(min(r.bans.first, mostBlock))
		g.tell(now, o, line)
	default:
		g.ban(now, r, o, what, u, sum)
	}
	return false
}

// who names the offender in an alarm.
func (o *offender) who() string {
	switch {
	case o.kind.system():
		return "a " + o.kind.String()
	case o.spared:
		return "a white-listed source"
	case o.kind == Phone:
		return "a phone, whose address may be forged,"
	}
	return "a source inside"
}

// ban is the ban that a unit comes to.
func (o *offender) ban(u unit) Ban {
	a := o.source.Addr()
	ban := Ban{Prefix: SourcePrefix(a), place: o.place}
	switch u {
	case unitFlow:
		ban.Prefix, ban.Port = netip.PrefixFrom(a, a.BitLen()), o.source.Port()
	case unitUser:
		ban.AoR = printable(clip([]byte(o.aor), maxAoR))
	default: // the address
	}
	return ban
}

// ban bans an address, a flow or a user. The hooks of the table tell of it.
func (g *Guard) ban(now time.Time, r *Rules, o *offender, what offence, u unit, sum *tally) {
	ban := o.ban(u)
	ban.Reason, ban.score = what.String(), sum.points()
	ban.Evidence = []string{evidenceText(sum, &r.bans), o.last(now)}
	made, err := g.state.bans.punish(now, &ban, &r.bans)
	switch {
	case err != nil:
		g.state.conduct.counts.refused.Add(1)
		if g.state.mayWarn(now, warnFull) {
			g.tell(now, o, LogLine{Event: EventAlarm, Text: err.Error(), Ban: ban.Target(), Evidence: sum.String()})
		}
	case made:
		g.state.conduct.counts.bans.Add(1)
	}
}

// last describes the request that filled the measure.
func (o *offender) last(now time.Time) string {
	text := fmt.Sprintf(lastAt+"%s: %s:%d at %s/%s", now.UTC().Format(time.RFC3339), o.place.transport, o.source.Port(), o.place.side, o.place.realm)
	if o.request != "" {
		text += " " + o.request
	}
	if o.aor != "" {
		text += " for " + plain(o.aor, maxAoR)
	}
	if len(o.agent) > 0 {
		text += fmt.Sprintf(" from %q", printable(clip(o.agent, maxAgent)))
	}
	return text
}

// lastAt begins what is said of the request that filled the measure; its time follows as RFC 3339 in UTC, for whoever reads it by program.
const lastAt = "last at "

// InZone is a line of a ban's evidence for people: with its time as it is in a zone, like all times beside it.
func InZone(line string, zone *time.Location) string {
	rest, ok := strings.CutPrefix(line, lastAt)
	stamp, tail, _ := strings.Cut(rest, ": ")
	at, err := time.Parse(time.RFC3339, stamp)
	if !ok || err != nil {
		return line
	}
	return lastAt + at.In(zone).Format(time.DateTime) + ": " + tail
}

// tell writes a line of the security log about an offender.
func (g *Guard) tell(now time.Time, o *offender, line LogLine) {
	log := g.log.Load()
	if log == nil {
		return
	}
	line.At, line.Source, line.placed = now, o.source, true
	line.Side, line.Realm, line.Transport, line.Method = o.place.side, o.place.realm, o.place.transport, o.request
	if line.User == "" {
		line.User = printable(clip([]byte(o.aor), maxUser))
	}
	line.Agent = printable(clip(o.agent, maxAgent))
	log.event(g.state.age(now), now, line, g.rules.Load().log)
}

// tellBan writes the line of a ban, whoever made it.
func (g *Guard) tellBan(ban Ban) {
	log := g.log.Load()
	if log == nil {
		return
	}
	line := LogLine{At: ban.Since, Event: EventBanned, Ban: ban.Target(), Until: ban.Until, Points: ban.score, By: ban.By, Text: ban.Reason,
		Source: netip.AddrPortFrom(ban.Prefix.Addr(), ban.Port), User: printable(clip([]byte(ban.AoR), maxUser)), Count: ban.Count,
		placed: ban.place.known, Side: ban.place.side, Realm: ban.place.realm, Transport: ban.place.transport}
	if len(ban.Evidence) > 0 {
		line.Evidence = ban.Evidence[0]
	}
	rules := g.rules.Load()
	if ban.Auto {
		line.Of = rules.bans.points
	}
	log.event(g.state.age(ban.Since), ban.Since, line, rules.log)
}

// OnBan calls f with every ban that is made, by hand or from evidence: to close connections and early dialogs of its
// target, to tell a packet filter. f is called outside locks, by whoever made the ban; it must not block for long.
func (g *Guard) OnBan(f func(Ban)) { g.state.bans.onMade(f) }
