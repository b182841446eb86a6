// Package silence finds nodes of the PBX out that answer nothing at all, long before their probes do, and keeps what waits there from
// waiting on.
//
// A request that stays without any word counts against its node, unless the node has answered another one since; one that is merely slow
// answers something. That holds for an INVITE, which a proxy answers 100 by itself, and for a REGISTER, which ends there. Of anything
// else a node may have to say no more than its far end does, and phones choose that: such a request makes the node suspect, its probe asks it at
// once, and only where that stays without a word too does it count. A node without a probe is not suspected.
//
// A Watch is told of requests and of answers, by their flows; Doors are its one rule of which node is at the other end of a flow. It
// calls nobody: what it comes to is in the book (trunk.Book.Attempt) and in its findings. So there is an order: first all that is overdue is
// counted, of all nodes (Count), then what was found is followed, one finding after the other (Next), then what the dead still hold is
// given up (Gone). Whoever looks for a way in the midst of that may count, for it changes nothing but what is known.
//
//	func (w *Watch) Learn(b *trunk.Book)                                                        // which nodes there are
//	func (w *Watch) Left(now time.Time, realm nat.Realm, to nat.Flow, method string, attempt time.Duration)
//	func (w *Watch) Heard(now time.Time, realm nat.Realm, from nat.Flow, code int)              // a response
//	func (w *Watch) Spoke(now time.Time, realm nat.Realm, from nat.Flow)                        // a request of the node's own
//	func (w *Watch) Unreached(now time.Time, realm nat.Realm, to nat.Flow)                      // an ICMP error, a connection refused
//	func (w *Watch) Count(now time.Time, probed func(id string) bool)
//	func (w *Watch) Next() (f Finding, some bool)
//	func (w *Watch) Gone(now time.Time) (ids []string)
//
// It is pure, and belongs to whoever has the core's turn. It judges nodes alone: whether a trunk's addresses live is known from what
// becomes of calls there (trunk.Ledger), and how many misses make a node down is the book's affair.
//
// RFC 3261 §17.1 and §18, RFC 3263 §4, RFC 3581, RFC 4320 §4.1.
package silence
