// Package resolve finds where a DNS name leads: RFC 3263 (locating SIP servers) with NAPTR (RFC 3403), SRV (RFC 2782) and
// A/AAAA records, over whatever answers DNS questions.
//
//	type Exchanger interface { Exchange(ctx, *dns.Msg) (*dns.Msg, error) }   // System{…} asks the machine's name servers
//	New(Exchanger, now) *Resolver
//	(*Resolver).Lookup(ctx, Target) (Answer, error)                           // one name, now
//	NewWatcher(*Resolver, now, notice) *Watcher
//	(*Watcher).Ask(ctx, wants)     looks up what is not known yet
//	(*Watcher).Set(wants)          these are kept fresh from now on, and no others
//	(*Watcher).State(want) State   what a name leads to, since when, and what is wrong
//	(*Watcher).Run(ctx)            asks again whenever an answer's time is over
//
// An Answer is an unordered set of endpoints with the material that orders them (priority, weight): who sends to them also
// knows which of them live. Within a transport's records priority counts first, lower before higher, then weight (RFC 2782).
//
// What it refuses to do: an empty answer, or none, never takes away what was known (the last good answer stays in force,
// RFC 8767 in spirit); no answer is believed for longer than an hour or asked for again within five seconds; no name leads
// through more than eight aliases or to more than 64 endpoints, however much a name server writes. It follows no search
// list: a name is whole. Which addresses are acceptable is the business of whoever asks (Want.Refuse).
package resolve
