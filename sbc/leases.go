package sbc

import (
	"time"

	"sallyport/sbc/tu"
)

// Lease takes a place for an INVITE that begins a leg towards a peer system.
func (a *assembly) Lease(_ time.Time, _ tu.UserID, _ *tu.Send) (tu.Failed, bool) {
	return tu.Failed{}, true
}

// Unlease gives it back.
func (a *assembly) Unlease(_ tu.UserID, _ tu.Ref) {}
