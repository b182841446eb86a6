package policy

import (
	"net/netip"

	"github.com/gaissmai/bart"

	"sallyport/policy/geo"
)

// Data is what a rule set works with besides its text. Whoever compiles hands it in; it does not change afterwards.
type Data struct {
	// Names holds the addresses of the DNS names that ranges mention. A name without an entry covers nothing yet.
	Names map[string][]netip.Addr
	// Feeds holds the entries of each feed by its name; one without an entry covers nothing yet.
	Feeds map[string]*bart.Lite
	// Countries is the country database; nil: no country is known.
	Countries *geo.Database
}

// NeverJudged reports an address that is never judged by country: private, shared, loopback, link-local.
func NeverJudged(a netip.Addr) bool { return private(a.Unmap()) }
