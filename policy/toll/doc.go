// Package toll judges who may call what: it stops toll fraud, the calls to dear numbers that somebody makes with a stolen
// password or through a PBX that was broken into.
//
// A destination rule refuses numbers by their first digits; the first one that matches decides. A budget rule bounds what
// one caller may use: calls at a time, calls a minute, minutes a day; every one that matches counts. Rules of both kinds stand
// in one list, and each may be on trial (shadow): counted, never enforced.
//
// It refuses to look at anything but the number, the caller and the time: no message, no registration, no price. It cuts no
// call that runs: a budget that is used up refuses the next one. It is pure: `now` is handed in, and whoever owns a Ledger
// calls it from one goroutine at a time.
//
// RFC 3966 §5.1.1 (visual separators), RFC 3261 §19.1.1 (user parts, escapes), E.164 (00 and +).
package toll
