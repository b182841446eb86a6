// Package header decides what of a message crosses the gate. A leg's message is built from an allow list for each
// direction, never copied raw; hosts in identities become ours; what belongs to one hop (Via, Route, Record-Route,
// Contact, Call-ID, CSeq, tags) and what names a product (Server, User-Agent, Organization) never crosses. Before a
// message leaves, the leak guard looks at it once more for addresses, hosts and ids of the other side.
//
// Between the two, Finish has the last hand on every message: numbers, identity and privacy as a peer wants them, and the rules
// of its administrator. Nothing that is the leg's own can be named there.
//
// Of bodies it changes what tells the state of something: hosts and ids in documents of dialogs and in their lists, the account
// of a message summary, the fields of a fragment; byte for byte but for what must change. In other documents the guard looks for
// hosts, as in the whole message: in every spelling that a receiver could read as one (guardscan.go, guardquad.go, guardhextet.go,
// guardescape.go). It refuses to keep state, to choose a route or an id, and to touch any other text. It is pure.
//
// RFC 3261 §8, §16, §20; RFC 3323 and 3325 (privacy, asserted identity), 5806 (Diversion), 7044 (History-Info), 7544 (of one the other),
// 3966 (tel), 4904 (trunk groups), 8224 (Identity), 3515 and 3891 (dialogs that other requests name), 4235 (dialog-info), 4662
// (lists), 3842 (message-summary), 3420 (sipfrag), 4291 and 6052 (how addresses are written, and embedded in others).
package header
