// Package registrar relays the registrations of phones to the PBX and keeps what came of them. The PBX stays the
// registrar: it has the passwords and says who is registered. Here is written down, at its 2xx and never before, which
// flow reaches which phone.
//
// Three things live here. The Book holds the bindings: address-of-record, the phone's Contact, the flow it came by, and the
// token that stands for it in our Contact towards the PBX. An address-of-record is one, however the phone spells its user
// (message.URI.AoR); the PBX gets To and From as the phone wrote them, since its digest, and it, may be particular about that. A
// Register is the transaction user of one REGISTER on its way to the PBX and back. The Keeper is the one user that keeps
// the ways through NATs open.
//
// It refuses to check a digest (it passes untouched), to answer a REGISTER in the PBX's place unless that is the refresh of
// what the PBX has granted for longer (local.go: throttling, off unless Settings.Inside is set), to change a binding for a
// request that the PBX did not accept, however well it is forged, and to show one phone another one's Contacts. It is pure:
// events in, actions out; now and ids are handed in.
//
// RFC 3261 §10 (registration), §19.1.4 (comparing URIs); RFC 3581 (rport), RFC 4787 (why only what comes back keeps a way
// open), RFC 5626 §4.4.1 (keepalive over streams), RFC 7092.
package registrar
