// Package trunk knows the peer systems on both sides: trunk providers and PBX nodes, with their addresses, their health,
// their order, and who holds a place at them. It tells who a source is, and which hops of a system to try first.
//
// It identifies by transport source only, never by what a message says of itself. It is pure: the probe is a user of the
// core like any other, and book and ledger are values that belong to the core's turn.
//
// An address is unknown, up, degraded or down by what is heard of it: by its probe (Book.Probed: OPTIONS in a rhythm, its round
// trip, its misses), and by what becomes of requests that are sent there (Book.Attempt, Book.Refused, Book.Alive). Besides, the administrator
// may drain a trunk or a node (Book.Drain), and a trunk may refuse our password (Book.Deny, Book.Admit): then it is set aside for a
// while (denial.go). Book.Plan has what is up or unknown first, then what is degraded, what is set aside, what is down, and what is
// drained not at all; of nodes, where nothing else is left, last. Ask Book.Usable before an address is preferred.
//
//	func (b *Book) Probed(now time.Time, h tu.Health) (changed bool)           // a probe's finding
//	func (b *Book) Attempt(id string, ok bool, now time.Time) (changed bool)   // a request was answered by the hop, or by nobody
//	func (b *Book) Refused(id string, now time.Time) (changed bool)            // it was answered 503
//	func (b *Book) Alive(id string)                                            // the hop has said something, that is no success
//	func (b *Book) Deny(name string, now, least time.Time) (news bool)         // a trunk has refused user name or password
//	func (b *Book) Admit(name string, now time.Time) (news bool)               // it has let us in
//	func (b *Book) State(id string) State                                      // Unknown, Up, Degraded, Down, or Drained
//	func (b *Book) Usable(id string) bool                                      // neither down nor drained
//	func (b *Book) Health(id string) Health                                    // with the reason, for the administrator
//	func (b *Book) Drain(kind tu.Kind, name string, on bool)                   // trunk by name, node by address:port
//	func (b *Book) Tick(now time.Time) (changed []string)                      // each second: what was lost to calls is tried anew
//
// RFC 3261 §11 (OPTIONS), RFC 2782 (priority and weight).
//
// A trunk that the provider knows by an account keeps itself registered (registration.go): another user of the core, with a binding that
// outlives changes of the hops, of the password and of the address by which the registrar sees us. It follows no redirection, and keeps no
// password but in its configuration. RFC 3261 §10.2, §22; RFC 3327; RFC 3581; RFC 3608; RFC 5626 §4.5; RFC 6140.
package trunk
