package replay

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"time"

	"sallyport/nat"
	"sallyport/policy"
	"sallyport/sbc/reason"
	"sallyport/sbc/scan"
)

// judged is what became of one message.
type judged struct {
	now     time.Time
	face    *nat.Interface
	way     way
	verdict policy.Verdict // of what was received
	view    *scan.View
	asks    bool // a challenge that was sent, and not before
}

// let reports whether a received message went on.
func (j *judged) let() bool { return j.way == received && j.verdict.Action == policy.Allow }

// run is a capture on its way through one configuration.
type run struct {
	setup    *Setup
	rules    *policy.Rules
	guard    *policy.Guard
	doors    doors
	presumed []presumed
	known    knowledge
	view     scan.View
	now      time.Time
	ticked   time.Time
	unjudged uint64 // received messages of which the capture holds too little
	report   *Report
}

// newRun makes a run; the guard is made with the first message, whose time is when it begins to live.
func newRun(open Opener, s *Setup) (*run, error) {
	rules, err := policy.Compile(s.Config, s.Data)
	if err != nil {
		return nil, err
	}
	d, err := guess(open, s)
	if err != nil {
		return nil, err
	}
	r := &run{setup: s, rules: rules, doors: d, report: newReport(s.Name)}
	r.presumed, err = presume(open, s, d)
	return r, err
}

// with makes a run of the same capture with other rate limits.
func (r *run) with(limits []policy.RateLimitConfig) (*run, error) {
	s := *r.setup
	c := *s.Config
	c.RateLimits = limits
	s.Config = &c
	rules, err := policy.Compile(&c, s.Data)
	return &run{setup: &s, rules: rules, doors: r.doors, presumed: r.presumed, report: newReport(s.Name)}, err
}

// presumed is a binding that must be older than the capture.
type presumed struct {
	key bindingKey
	binding
}

// presume finds the phones that register in a capture soon after it begins. A phone registers anew before its binding
// ends, so they were registered all the time; without them the first calls of a capture would look like a stranger's,
// and a large office like a single phone. What the rules say does not matter here.
func presume(open Opener, s *Setup, d doors) ([]presumed, error) {
	none := 0
	all := *s
	all.Config = &policy.Config{
		Strangers: policy.StrangersConfig{Rate: "1000000/second"}, DenyUserAgents: []policy.UserAgentConfig{},
		RateLimits: []policy.RateLimitConfig{}, Bans: policy.BansConfig{Points: &none},
		Phones: policy.PhonesConfig{Registrar: true, Unregistered: "forward"},
	}
	rules, err := policy.Compile(all.Config, policy.Data{})
	if err != nil {
		return nil, err
	}
	r := &run{setup: &all, rules: rules, doors: d, report: newReport("")}
	var began time.Time
	var out []presumed
	_, err = open.each(func(m *Message) bool {
		if _, err := r.message(m); err != nil {
			return false
		}
		if began.IsZero() {
			began = r.now
			r.known.book.first = func(key bindingKey, b binding) { out = append(out, presumed{key, b}) }
		}
		return r.now.Sub(began) < expiresElse
	})
	return out, err
}

// begin makes the guard as the program does at its start.
func (r *run) begin(now time.Time) error {
	sizes := r.setup.sizes
	// Nobody asks this guard why: it needs no room for what each source sent last.
	sizes.StrangerSources, sizes.KnownSources = 8, 8
	g, err := policy.New(policy.Options{Now: now, Seed: maphash.MakeSeed(), Rules: r.rules, Sizes: sizes})
	if err != nil {
		return err
	}
	g.SetPeers(r.setup.Peers)
	g.OnBan(r.report.banned)
	r.guard, r.known = g, newKnowledge(r.setup, g)
	r.now, r.ticked = now, now
	for _, p := range r.presumed {
		p.expires = now.Add(expiresElse)
		r.known.bind(p.key, p.binding)
	}
	return nil
}

// message takes one message of the capture.
func (r *run) message(m *Message) (j judged, err error) {
	if r.guard == nil {
		if err := r.begin(m.Time); err != nil {
			return j, err
		}
	}
	r.advance(m.Time)
	j = judged{now: r.now}
	if j.face, j.way = r.doors.find(m); j.way == elsewhere {
		return j, nil
	}
	scanErr := scan.Scan(m.Data, &r.view)
	switch {
	case m.Err != nil:
		scanErr = m.Err
	case m.Cut && r.view.Complete() && errors.Is(scanErr, scan.ErrBodyShort):
		scanErr = nil // its sender had sent all of it
	case m.Cut && !r.view.Complete():
		r.unjudged++
		j.way = elsewhere
		return j, nil
	}
	j.view = &r.view
	if j.way == sent {
		if scanErr == nil {
			j.asks = r.known.sent(r.now, j.face, m.Destination, j.view)
		}
		return j, nil
	}
	if !j.face.Transport.Reliable() && r.guard.Shed(r.now, j.face, m.Source) {
		j.verdict = policy.Verdict{Action: policy.Drop, Reason: reason.StrangersBudget, Rule: -1, Shadow: -1, Limit: -1, Alarm: -1}
		return j, nil
	}
	j.verdict = r.guard.Check(&policy.Packet{
		Now: r.now, Interface: j.face, Source: m.Source, Data: m.Data, View: j.view, ScanErr: scanErr,
	})
	switch {
	case scanErr != nil:
	case r.view.IsRequest:
		r.known.received(r.now, j.face, m.Source, j.view, j.let())
	case j.let():
		r.known.answer(r.now, j.face, j.view)
	}
	return j, nil
}

// advance lets time pass up to a message, and does on the way what is due then, as the program does: what ends in a silence ends when its
// time is over, and not with the next message. Packets of several interfaces may stand in a file a little out of order; time never runs
// backwards here.
func (r *run) advance(to time.Time) {
	for at, some := r.known.next(); some && !at.After(to); at, some = r.known.next() {
		r.tick(at)
		r.known.expire(at)
	}
	r.tick(to)
}

// tick is the guard's second hand.
func (r *run) tick(now time.Time) {
	if now.After(r.now) {
		r.now = now
	}
	if r.now.Sub(r.ticked) >= time.Second {
		r.ticked = r.now
		r.guard.Tick(r.now)
	}
}

// who is what a source is at a door, in a word.
func (r *run) who(i *nat.Interface, source netip.Addr) string {
	source = source.Unmap().WithZone("")
	best := -1
	for n := range r.setup.Peers {
		p := &r.setup.Peers[n]
		if p.Side == i.Side && p.Realm == i.Realm && p.Prefix.Contains(source) && (best < 0 || p.Prefix.Bits() > r.setup.Peers[best].Prefix.Bits()) {
			best = n
		}
	}
	switch {
	case best >= 0:
		p := &r.setup.Peers[best]
		return p.Kind.String() + " " + p.Name
	case i.Side == nat.Outside && i.Realm == nat.Phones && r.known.book.phones[source] > 0:
		return whoPhone
	}
	return whoStranger
}

// What sources are that no peer of the configuration covers.
const (
	whoPhone    = "phone"
	whoStranger = "stranger"
)

// Run runs a capture through a configuration.
func Run(open Opener, s *Setup) (*Report, error) {
	r, err := newRun(open, s)
	if err != nil {
		return nil, err
	}
	return r.all(open, nil)
}

// all runs the whole capture; watch sees each message that came in or went out.
func (r *run) all(open Opener, watch func(*Message, *judged)) (*Report, error) {
	var failed error
	facts, err := open.each(func(m *Message) bool {
		var j judged
		if j, failed = r.message(m); failed != nil {
			return false
		}
		r.report.add(r, m, &j)
		if watch != nil && j.way != elsewhere {
			watch(m, &j)
		}
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	r.report.finish(r, &facts)
	if r.report.Messages == 0 {
		return nil, errNothing
	}
	return r.report, nil
}
