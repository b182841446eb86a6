package config

import (
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"time"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// RegistrarSection is our account at a provider that knows us by our registering with it (mode register).
type RegistrarSection struct {
	Registrar    Endpoint `yaml:"registrar,omitempty" reload:"live"`           // whose domain the account is in
	Proxy        Endpoint `yaml:"proxy,omitempty" reload:"live"`               // where it is reached, if that is another place
	Transport    string   `yaml:"transport" oneof:"udp|tcp|tls" reload:"live"` // to the registrar or proxy
	Username     string   `yaml:"username" reload:"live"`                      // user of the address-of-record
	AuthUsername string   `yaml:"auth_username,omitempty" reload:"live"`       // of the digest; default: username
	Password     Secret   `yaml:"password" reload:"live"`
	Expires      Duration `yaml:"expires" reload:"live"`                // asked for
	ContactUser  string   `yaml:"contact_user,omitempty" reload:"live"` // of our Contact; default: username
	Realm        Words    `yaml:"realm" reload:"live"`                  // whose challenges are answered; none: that which has accepted us
	GIN          bool     `yaml:"gin" reload:"live"`                    // one registration for all numbers (RFC 6140)
}

// TrunkRegistration is our account at a provider.
type TrunkRegistration struct {
	Domain      string // of the account
	Username    string
	Account     *tu.Account // nil: there is no password
	Expires     time.Duration
	ContactUser string // of our Contact, there and in calls; empty where it is the number (RFC 6140)
	GIN         bool
	Targets     []Peer // where we register

	// Of what the registrar has said, in a configuration that a world is made of; else they are zero:

	Hop    string         // ID of the hop that has our binding
	Realms []string       // whose challenges were answered, and accepted
	Routes []string       // Service-Route
	Seen   netip.AddrPort // where it sees us
}

func defaultRegistration() RegistrarSection {
	return RegistrarSection{Transport: "udp", Expires: Duration(600 * time.Second), Realm: Words{}}
}

func (t *TrunkEntry) registers() bool { return t.Mode == "register" }

// target is where a trunk registers.
func (s *RegistrarSection) target() (e Endpoint, key string) {
	if s.Proxy.given() {
		return s.Proxy, "proxy"
	}
	return s.Registrar, "registrar"
}

// domain is the host of the account's address-of-record, which is the registrar's name.
func (s *RegistrarSection) domain() string {
	if !s.Registrar.Name.IsZero() {
		return s.Registrar.Name.Host
	}
	if !s.Registrar.IsValid() {
		return ""
	}
	return s.Registrar.Addr().String()
}

// places are where a trunk's calls go: its peers, by default where it registers.
func (t *TrunkEntry) places() []PeerEntry {
	if len(t.Peers) > 0 || !t.registers() {
		return t.Peers
	}
	e, _ := t.Registration.target()
	return []PeerEntry{{Address: e, Transport: t.Registration.Transport, Weight: 1, Priority: 1}}
}

// settleRegistrations fixes what depends on other keys: a port that was not written is that of the transport.
func settleRegistrations(doc *Document, from *origin) {
	for i := range doc.Trunks {
		s := &doc.Trunks[i].Registration
		for _, e := range []*Endpoint{&s.Registrar, &s.Proxy} {
			e.settle(s.Transport)
			e.choose(from.given(index("trunks", i) + ".registration.transport"))
		}
	}
}

// longestRegistration and shortestRegistration bound what may be asked for.
const (
	shortestRegistration = Duration(30 * time.Second)
	longestRegistration  = Duration(24 * time.Hour)
)

// registration checks a trunk's account.
func (c *checker) registration(path string, t *TrunkEntry) {
	s := &t.Registration
	if !t.registers() {
		if show(reflect.ValueOf(*s)) != show(reflect.ValueOf(defaultRegistration())) {
			c.fail(path+".registration", "write mode: register, or remove the section", "the trunk's mode is address: it has no account")
		}
		return
	}
	at := path + ".registration"
	if !s.Registrar.given() {
		c.fail(at+".registrar", "write registration: { registrar: sip.example.net, username: …, password: \"file:/etc/sbc/trunk.secret\" }",
			"missing: the provider's domain, or the registrar's address")
	} else if e, key := s.target(); c.target(at+"."+key, e) {
		c.registrarReachable(at, key, s.Transport, e)
	}
	c.account(at, s)
	switch {
	case s.Expires < shortestRegistration || s.Expires > longestRegistration:
		c.fail(at+".expires", "write 30s to 24h; providers mostly want 600s to 3600s", "%s is out of range", s.Expires)
	case s.GIN && s.ContactUser != "":
		c.fail(at+".contact_user", "remove it: the Contact of such a registration stands for all numbers and has no user (RFC 6140)", "not with gin: true")
	case s.ContactUser != "" && !accountRE.MatchString(s.ContactUser):
		c.fail(at+".contact_user", "use letters, digits and . _ ~ + - ( ) ! *, at most 64", "%q is no user part of a URI", s.ContactUser)
	}
	for i, realm := range s.Realm {
		if realm == "" || len(realm) > 255 || strings.ContainsAny(realm, "\r\n") {
			c.fail(index(at+".realm", i), "write what the provider's challenges have as realm, or leave it out", "%q is no realm", realm)
		}
	}
}

// registrarReachable is reachable for a registration, whose transport stands beside it.
func (c *checker) registrarReachable(at, key, transport string, e Endpoint) {
	before := len(c.report.Errors)
	c.reachable(at, nat.Outside, "trunks", transport, e)
	for i := before; i < len(c.report.Errors); i++ {
		if p := &c.report.Errors[i]; strings.HasSuffix(p.Path, ".address") {
			*p = c.from.problem(at+"."+key, p.What, p.Hint)
		}
	}
}

// accountRE is a user part as it may stand in a URI (RFC 3261 §25.1).
var accountRE = regexp.MustCompile(`^[A-Za-z0-9_.!~*'()&=+$,;?/%-]{1,64}$`)

// account checks names and password.
func (c *checker) account(at string, s *RegistrarSection) {
	switch {
	case s.Username == "":
		c.fail(at+".username", "write the user that the provider gave you: the part before @ of the account's address", "missing")
	case !accountRE.MatchString(s.Username):
		c.fail(at+".username", "write the part before @ alone; a login that looks otherwise goes into auth_username", "%q is no user part of a URI", s.Username)
	}
	if strings.ContainsAny(s.AuthUsername, "\"\\\r\n") || len(s.AuthUsername) > 255 {
		c.fail(at+".auth_username", "write the login as the provider gave it", "%q cannot stand in credentials", s.AuthUsername)
	}
	if s.Password.IsZero() {
		c.warn(at+".password", `write password: "file:/etc/sbc/trunk.secret", if the provider gave you one`, "missing: challenges are not answered")
		return
	}
	if c.secret(at+".password", &s.Password) && (len(s.Password.value.Reveal()) > 255 || strings.ContainsAny(s.Password.value.Reveal(), "\r\n\x00")) {
		c.fail(at+".password", "one line of at most 255 bytes", "no password looks like that")
	}
}

// buildRegistration is the account of a trunk; nil: it has none.
func buildRegistration(t *TrunkEntry) *TrunkRegistration {
	if !t.registers() {
		return nil
	}
	s := &t.Registration
	out := &TrunkRegistration{
		Domain: s.domain(), Username: s.Username, Expires: s.Expires.Std(), ContactUser: s.ContactUser, GIN: s.GIN,
	}
	if out.ContactUser == "" && !s.GIN {
		out.ContactUser = s.Username
	}
	if s.Password.value != (tu.Password{}) {
		out.Account = &tu.Account{Username: s.AuthUsername, Password: s.Password.value, Realms: s.Realm}
		if out.Account.Username == "" {
			out.Account.Username = s.Username
		}
	}
	e, _ := s.target()
	transport, _ := nat.ParseTransport(s.Transport)
	out.Targets = []Peer{{Address: e.AddrPort, Name: e.Name, Transport: transport, Weight: 1, Priority: 1}}
	return out
}
