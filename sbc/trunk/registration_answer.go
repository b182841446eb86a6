package trunk

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/digest"
	"sallyport/sbc/message"
	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
	"sallyport/sbc/userpart"
)

// judge takes a final answer of the registrar.
func (r *Registration) judge(now time.Time, m *message.Message, do []tu.Action) []tu.Action {
	r.unsure = false
	said := answerText(m)
	switch {
	case m.Status < 300:
		return r.accepted(now, m, do)
	case m.Status < 400:
		// Whoever may redirect us could have our password proven to somebody else; the configuration says where to register.
		return r.failed(now, said+" (not followed)", do)
	case tu.Challenge(m.Status):
		return r.challenged(now, m, said, do)
	case m.Status == 423 && r.raise(m):
		// "it MAY retry the registration after making the expiration interval … equal to or greater than the expiration interval
		// within the Min-Expires header field" (RFC 3261 §10.2.8).
		return r.ask(now, do)
	case r.stale.Host != "" && !r.alone && (m.Status == 400 || m.Status == 403 || m.Status == 500):
		r.alone = true // it may be two Contacts that it cannot bear; the old one ends by itself
		return r.ask(now, do)
	case (m.Status == 403 || m.Status == 404) && r.signed():
		r.login = digest.Client{}
		if r.proven && r.fails == 0 {
			return r.failed(now, said, do) // of what it accepted last time: some say so while they are under repair
		}
		r.wrong = true
		return r.failed(now, said+" (password refused?)", do)
	case m.Status == 420 && r.cfg.GIN:
		return r.failed(now, said+" (no gin there?)", do)
	}
	if wait := retryAfter(m); wait > 0 {
		r.rests[r.at.ID] = now.Add(wait)
	}
	if m.Status == 408 || m.Status >= 500 && m.Status < 600 { // of this server alone; 4xx and 6xx are the registrar's word, whoever says it
		return r.nextHop(now, said, do)
	}
	return r.failed(now, said, do)
}

// signed reports whether the question had credentials.
func (r *Registration) signed() bool { return r.sent != nil && tu.Signed(r.sent) }

// challenged asks again with credentials, or has none that count.
func (r *Registration) challenged(now time.Time, m *message.Message, said string, do []tu.Action) []tu.Action {
	if r.cfg.Account == nil {
		return r.failed(now, said+" (no password)", do)
	}
	switch err := r.sign(m); {
	case err == nil:
		return r.ask(now, do)
	case errors.Is(err, digest.ErrRefused):
		r.wrong, said = true, said+" (password refused)"
	case errors.Is(err, digest.ErrForeign):
		said += " (a realm that is not registration.realm)"
	default:
		said += " (no challenge that we know)"
	}
	r.login = digest.Client{}
	return r.failed(now, said, do)
}

// sign takes a challenge to what was sent.
func (r *Registration) sign(m *message.Message) error {
	account := *r.cfg.Account
	if len(account.Realms) == 0 { // who answers from the registrar's address may have any name; the calls' challenges must have the same
		account.Realms = digest.Realms(m)
	}
	nonce := r.ids.Block()
	err := r.login.Answer(m, r.sent, r.tries, account, hex.EncodeToString(nonce[:8]))
	r.tries++
	return err
}

// raise takes the least expiry of a 423, once a question.
func (r *Registration) raise(m *message.Message) bool {
	least := seconds(m, "Min-Expires")
	if r.raised || least <= r.asks || least > longestExpiry {
		return false
	}
	r.raised, r.asks = true, least
	return true
}

// unraise takes back what a 423 has raised beyond an hour: a registrar may answer so "if and only if the expiration
// interval is greater than zero AND smaller than one hour AND less than a registrar-configured minimum" (RFC 3261 §10.3 item 7). A registrar that means it says so again; of one answer that was
// forged, or a mistake, nothing stays.
func (r *Registration) unraise() {
	if r.asks > time.Hour {
		r.asks = r.cfg.Expires
	}
}

// longestExpiry is what a registrar may want us to ask for at most.
const longestExpiry = 7 * 24 * time.Hour

// accepted takes a 2xx.
func (r *Registration) accepted(now time.Time, m *message.Message, do []tu.Action) []tu.Action {
	granted := r.granted(m)
	if granted <= 0 {
		return r.failed(now, answerText(m)+" (without a binding)", do)
	}
	if r.maybe.at.IsValid() {
		r.seen, r.maybe = r.maybe.sight, glimpse{}
	}
	r.login.Heard(m)
	if realms := r.login.Realms(); len(realms) > 0 && r.signed() {
		r.realms = realms // each has let us pass: a registrar, and a proxy before it
	}
	r.proven = r.proven || r.signed()
	if r.taken != r.at.ID {
		r.taken, r.came = r.at.ID, now
	}
	r.state, r.bound, r.stale = tu.Registered, r.offer, message.URI{}
	r.fails, r.wrong, r.answer, r.round = 0, false, answerText(m), nil
	r.until, r.routes = now.Add(granted), serviceRoutes(m)
	// Between 80 and 90 % of what we have, so that one that is lost can be sent again before the end.
	rhythm := min(granted, r.asks)
	r.next = now.Add(max(r.ids.Between(rhythm*8/10, rhythm*9/10), shortestRest))
	if is := r.contact(&r.at); is != r.bound {
		// The answer shows that we stand elsewhere than the Contact says: nobody would reach us there.
		r.hurry(now)
	}
	return do
}

// granted is how long our binding lasts. "The UA compares each contact address to see if it created the contact address … [and]
// updates the expiration time interval according to the expires parameter or, if absent, the Expires field value" (RFC 3261
// §10.2.4). A registrar that lists us otherwise than we wrote it is believed all the same.
func (r *Registration) granted(m *message.Message) time.Duration {
	list, _, _ := m.Contacts()
	for i := range list {
		if !equivalent(&list[i].URI, &r.offer) {
			continue
		}
		if v, ok := list[i].Param("expires"); ok {
			return number(v)
		}
	}
	if _, said := m.Get("Expires"); said {
		return seconds(m, "Expires")
	}
	if len(list) == 1 {
		if v, ok := list[0].Param("expires"); ok {
			return number(v)
		}
	}
	return r.asks
}

// equivalent compares what makes two Contacts of ours the same place (RFC 3261 §19.1.4).
func equivalent(a, b *message.URI) bool {
	transport := func(u *message.URI) string {
		v, _ := u.Param("transport")
		if v = strings.ToLower(v); v == "udp" {
			return ""
		}
		return v
	}
	port := func(u *message.URI) uint16 {
		switch {
		case u.Port != 0:
			return u.Port
		case transport(u) == "tls" || u.Scheme == "sips":
			return 5061
		}
		return 5060
	}
	return a.Scheme == b.Scheme && userpart.Same(a.User, b.User) && message.PlainHost(a.Host) == message.PlainHost(b.Host) && port(a) == port(b) && transport(a) == transport(b)
}

// serviceRoutes are the way that the registrar wants requests to take (RFC 3608 §6.1), in the order of the fields. Of a list that
// cannot be read, is long, or has a strict router, nothing is taken: without it requests go to the hop as they always could.
func serviceRoutes(m *message.Message) (routes []string) {
	list, err := m.NameAddrs("Service-Route")
	if err != nil || len(list) > maxRoutes {
		return nil
	}
	for i := range list {
		if _, loose := list[i].URI.Param("lr"); !loose {
			return nil
		}
		routes = append(routes, list[i].String())
	}
	return routes
}

// maxRoutes is the longest way that is believed.
const maxRoutes = 8

// released takes an answer while we go.
func (r *Registration) released(now time.Time, m *message.Message, do []tu.Action) []tu.Action {
	last := r.farewellSent()
	switch {
	case m.Status < 300 && !last: // it is to the one before, and we are registered
		r.until, r.bound, r.tries = now.Add(r.granted(m)), r.offer, 0
		return r.ask(now, do)
	case tu.Challenge(m.Status) && r.cfg.Account != nil && (last || !r.until.IsZero()):
		if r.sign(m) == nil {
			return r.ask(now, do)
		}
	case !last && !r.until.IsZero():
		r.tries = 0
		return r.ask(now, do)
	}
	r.answer = answerText(m)
	return r.end(do)
}

// farewellSent reports whether what is answered took the binding back.
func (r *Registration) farewellSent() bool {
	v, _ := r.sent.Get("Expires")
	return v == "0"
}

// note leaves evidence on the registrar's address.
func (r *Registration) note(state tu.Enrolment) tu.Note {
	n := tu.Note{Source: r.at.Flow.Remote, Side: r.at.Peer.Side, Realm: r.at.Peer.Realm, Transport: r.at.Flow.Transport, Method: "REGISTER"}
	code, _, _ := strings.Cut(r.answer, " ")
	n.Code, _ = strconv.Atoi(code)
	switch {
	case r.answer == noAnswer, r.answer == unreachable:
		n.Code, n.Why = 408, reason.Timeout
		if r.answer == unreachable {
			n.Code = 503
		}
	}
	n.Text = "registration of trunk " + r.cfg.Trunk + ": " + r.answer
	if state == tu.Registered {
		n.Text = "trunk " + r.cfg.Trunk + " is registered"
	}
	return n
}

// look notes where the registrar sees us. Its challenge shows it as well as its 2xx; what else it may answer, and anybody on the way
// to it may have, says nothing that counts.
func (r *Registration) look(m *message.Message) {
	if m.Status >= 300 && m.Status != 401 && m.Status != 407 {
		return
	}
	if at := sightOf(m, &r.at.Here); r.plausible(at) {
		r.maybe = glimpse{sight{face: r.at.Here.Interface, at: at}, r.at.ID}
	}
}

// Sighted hears where a hop has seen us since: a NAT may have given us another port. It is asked to register us from there, and
// believed when it does. If that is news, a Tick must follow.
func (r *Registration) Sighted(id string, at netip.AddrPort) (news bool) {
	i := r.index(id)
	if i < 0 || id != r.taken || r.state != tu.Registered || !at.IsValid() || at == r.seen.at {
		return false
	}
	if before := r.doubt; !r.plausible(at) {
		return r.doubt != before
	}
	r.maybe = glimpse{sight{face: r.order[i].Here.Interface, at: at}, id}
	r.soon = r.soon || r.contact(&r.order[i]) != r.bound
	return r.soon
}

// plausible reports whether we may be where an answer shows us, and notes why not.
func (r *Registration) plausible(at netip.AddrPort) bool {
	why := r.refused(at)
	if why != "" {
		r.doubt = at.String() + ", which " + why
	}
	return at.IsValid() && why == ""
}

func (r *Registration) refused(at netip.AddrPort) string {
	if !at.IsValid() || r.cfg.Refuse == nil {
		return ""
	}
	return r.cfg.Refuse(at)
}

// sightOf is where an answer shows us: "received" and "rport" of our Via (RFC 3261 §18.2.1, RFC 3581 §4); invalid: it says nothing
// that can be. Over a connection its port says nothing of our listener's.
func sightOf(m *message.Message, here *tu.Local) (none netip.AddrPort) {
	if len(m.Via) == 0 {
		return none
	}
	v := &m.Via[0]
	host := v.Received
	if host == "" && v.RPort > 0 {
		host = v.Host
	}
	port := here.Signal.Port()
	if here.Transport == nat.UDP && v.RPort > 0 && v.RPort < 1<<16 {
		port = uint16(v.RPort)
	}
	at, err := parsePlace(host, port)
	if a, us := at.Addr(), here.Signal.Addr(); err != nil || a.Is4() != us.Is4() || a.IsLoopback() != us.IsLoopback() ||
		a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return none
	}
	return at
}

func seconds(m *message.Message, name string) time.Duration {
	v, _ := m.Get(name)
	return number(v)
}

// retryAfter is what a refusal asks us to wait (RFC 3261 §20.33): "18000;duration=3600", "120 (I'm in a meeting)".
func retryAfter(m *message.Message) time.Duration {
	v, _ := m.Get("Retry-After")
	if end := strings.IndexAny(v, ";( \t"); end >= 0 {
		v = v[:end]
	}
	return min(number(v), longestRest)
}

// number is a count of seconds; 0: none that can be read. "a decimal integer number of seconds … between 0 and (2**32)-1" (RFC 3261
// §20.19).
func number(s string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
