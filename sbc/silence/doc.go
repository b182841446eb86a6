// Package silence finds nodes of the PBX out that answer nothing at all, long before their probes do, and keeps what waits there from
// waiting on.
//
// A request that stays without any word counts against its node, unless the node has answered another one since; one that is merely slow
// answers something. What a request proves depends on who has made it, and on its method:
//
//	                  INVITE, REGISTER   anything else
//	somebody known    it counts          as the probe says
//	a stranger        as the probe says  as the probe says
//
// An INVITE a proxy answers 100 by itself, and a REGISTER ends there; of anything else a node may have to say no more than its far end
// does, and phones choose that. Whoever is not known may send what the node cannot read and drops without a word, as often as he likes:
// nothing of his may move a node's state by itself. Known is a peer system, by its address or its certificate, and a phone by the very
// flow that it is bound to; not by the name in its request, nor by the address of a NAT that it shares. (Who can forge both address and
// port of a phone bound by UDP passes for it.)
//
// "As the probe says": such a request makes the node suspect, its probe asks it at once, in time to be done with when the request has
// waited long enough, and only where the probe, too, has no word does the request count. A node without a probe is not suspected. One
// that leaves its probe without an answer at other times, too, is asked, and not convicted. The same holds for what is lost with a
// connection, which a node may end because of something that it cannot read, and for strangers' datagrams that are refused, by a firewall
// perhaps.
//
// Any word breaks a row of requests that were in vain. It is one success where it is the final answer to a request, and nobody else tells
// the book of that one.
//
// A Watch is told of requests and of answers, by their flows; Doors are its one rule of which node is at the other end of a flow. It
// calls nobody: what it comes to is in the book (trunk.Book.Attempt) and in its findings. So there is an order: first all that is overdue is
// counted, of all nodes (Count), then what was found is followed, one finding after the other (Next), then what the dead still hold is
// given up (Gone). Whoever looks for a way in the midst of that may count, for it changes nothing but what is known.
//
//	func (w *Watch) Learn(b *trunk.Book)                                                        // which nodes there are
//	func (w *Watch) Left(now time.Time, realm nat.Realm, to nat.Flow, r Request)
//	func (w *Watch) Heard(now time.Time, realm nat.Realm, from nat.Flow, method string, code int) // a response
//	func (w *Watch) Spoke(now time.Time, realm nat.Realm, from nat.Flow)                        // a request of the node's own
//	func (w *Watch) Unreached(now time.Time, realm nat.Realm, to nat.Flow)                      // an ICMP error, a connection refused or ended
//	func (w *Watch) Vain(id string)                                                             // its probe was refused
//	func (w *Watch) Count(now time.Time, probed func(id string) bool)
//	func (w *Watch) Next() (f Finding, some bool)
//	func (w *Watch) Gone(now time.Time) (ids []string)
//
// It is pure, and belongs to whoever has the core's turn. It judges nodes alone: whether a trunk's addresses live is known from what
// becomes of calls there (trunk.Ledger), and how many misses make a node down is the book's affair.
//
// RFC 3261 §17.1 and §18, RFC 3263 §4, RFC 3581, RFC 4320 §4.1.
package silence
