// Package header decides what of a message crosses the gate. A leg's message is built from an allow list for each
// direction, never copied raw; hosts in identities become ours; what belongs to one hop (Via, Route, Record-Route,
// Contact, Call-ID, CSeq, tags) and what names a product (Server, User-Agent, Organization) never crosses. Before a
// message leaves, the leak guard looks at it once more for addresses, hosts and ids of the other side.
//
// It refuses to keep state, to choose a route or an id, and to touch a body other than a session description. It is
// pure.
//
// RFC 3261 §8, §16, §20; RFC 3323 and 3325 (privacy, asserted identity), 5806 (Diversion), 7044 (History-Info),
// 3966 (tel), 4904 (trunk groups), 8224 (Identity).
package header
