package api

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// TrunkRegistration is how our own registration at a trunk's provider stands.
type TrunkRegistration struct {
	State   string `json:"state"`   // unregistered, registering, registered, refused
	Address string `json:"address"` // of the registrar that has it, or was asked last
	// Transport is how it is reached; absent: UDP.
	Transport string    `json:"transport,omitempty"`
	Until     time.Time `json:"until,omitzero"`    // its end, unless it is refreshed; absent: there is none
	Next      time.Time `json:"next,omitzero"`     // when the next REGISTER is due; absent: one is out
	SeenAs    string    `json:"seen_as,omitempty"` // where the registrar sees us
	Realm     string    `json:"realm,omitempty"`   // whose challenge was answered; several: with commas between them
	Routes    []string  `json:"routes,omitempty"`  // Service-Route, which calls take
	Answer    string    `json:"answer,omitempty"`  // to the last REGISTER
	Fails     int       `json:"fails"`             // attempts in a row that came to nothing
}

// row is its line in `sbc trunks`, under that of its trunk.
func (r *TrunkRegistration) row(zone *time.Location) []string {
	var why []string
	say := func(is bool, format string, args ...any) {
		if is {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	say(!r.Until.IsZero(), "until %s", clock(r.Until, zone))
	say(!r.Next.IsZero(), "next %s", clock(r.Next, zone))
	say(r.SeenAs != "", "seen as %s", r.SeenAs)
	say(r.Fails > 0, "%d failed", r.Fails)
	return []string{"", r.State, "", "", strings.TrimSpace("registrar "+r.Transport) + " " + cmp.Or(r.Address, "-"), "", "", cmp.Or(printable(r.Answer), "-"), strings.Join(why, ", ")}
}
