package sbc

import (
	"time"

	"sallyport/sbc/tu"
)

// Registered takes what a trunk's registration has come to.
func (a *assembly) Registered(_ time.Time, _ tu.Registration) {}
