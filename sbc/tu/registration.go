package tu

import (
	"net/netip"
	"time"
)

// Registration says how our own registration at a trunk's registrar stands (RFC 3261 §10.2). It is sent when that is news.
type Registration struct {
	Trunk  string
	User   string // of the address-of-record
	State  Enrolment
	Hop    string         // Hop.ID of the one that has it, or was asked last
	Until  time.Time      // when it ends, unless it is refreshed; zero: there is none
	Next   time.Time      // when the next REGISTER is due; zero: none is
	Routes []string       // Service-Route (RFC 3608), in order
	Realms []string       // whose challenges were answered, and then it accepted us; none: nobody challenged
	Seen   netip.AddrPort // where the registrar sees us (received and rport of our Via); invalid: it does not say
	Doubt  string         // what it last said of that and nobody believes, and why; empty: nothing
	Answer string         // to the last REGISTER: "200 OK", "no answer", "403 Forbidden"; short, the phrase is the peer's
	Failed int            // attempts in a row that came to nothing
	Wrong  bool           // user name or password were refused last
}

func (Registration) isAction() {}

// Enrolment is the state of a registration of ours.
type Enrolment uint8

// The states.
const (
	Unregistered Enrolment = iota // nobody has been asked yet, or we have left
	Registering                   // asked, and not answered yet
	Registered
	Refused // the registrar refuses, or does not answer; tried again
)

// String is the state's name in `sbc trunks`.
func (e Enrolment) String() string {
	return [...]string{"unregistered", "registering", "registered", "refused"}[e%4]
}
