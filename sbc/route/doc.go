// Package route says where a request may go, and why: from the PBX to the trunks that take a number, in order; from a trunk to
// the group of PBX nodes that a rule names. It reads numbers as a country dials them, and gives them the form that a trunk
// wants.
//
// Every decision is made once and told in two ways: as the plan that a call goes by, and as what each rule had to say, for
// `sbc route test`. It picks no address of a peer, takes no turns and knows nobody's health; package trunk does.
//
// A name stays a name: what cannot be told to be a number of the public network is matched and passed as it was dialled.
//
// It is pure. RFC 3261 §19.1 (user=phone, §19.1.6), RFC 3966 (tel, visual separators §5.1.1, phone-context §5.1.5), ITU-T E.164.
package route
