package api

import (
	"strings"
	"time"
)

// Resolved is the name that an address of a peer system comes from, and how that stands. An address that is written in the
// configuration has none.
type Resolved struct {
	Name      string    `json:"name,omitempty"`
	NameAt    time.Time `json:"name_at,omitzero"`     // when a name server last said so
	NameError string    `json:"name_error,omitempty"` // of the last look; what was known stays in force
}

// where is a peer's address with the name that it comes from; a name that leads nowhere stands alone.
func (p *Peer) where(zone *time.Location) string {
	switch {
	case p.Name == "":
		return p.Address
	case p.Address == "":
		return p.Name + ", no address yet"
	}
	return p.Address + " (" + p.Name + " at " + clock(p.NameAt, zone) + ")"
}

// why is what is wrong with a peer, its name included.
func (p *Peer) why() string {
	var words []string
	unheard := ""
	if p.State == "unknown" && p.Reason == "" && p.Answer != "" {
		unheard = "has never answered an OPTIONS; used all the same"
	}
	for _, s := range []string{p.Reason, unheard, p.NameError} {
		if s != "" {
			words = append(words, printable(s))
		}
	}
	return strings.Join(words, "; ")
}
