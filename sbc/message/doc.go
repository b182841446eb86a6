// Package message is the strict, lossless view of one SIP message: parse, validate, look at, build, write.
//
// It is the only room that imports sipgo, whose parser splits the message; what sipgo loses or lets pass (case and
// white space of parameters, raw Contact and Route values, duplicates, bare line feeds, numbers out of range) is
// repaired or refused here. A message that leaves this room by Parse is well-formed; one that leaves it by Append holds
// no CR, LF or NUL that its builder did not mean as a line end.
//
// It keeps no state, opens nothing and never judges who sent the message.
//
// RFC 3261 §7, §8.2, §19, §20, §25; RFC 3581; RFC 4475 and 5118 (tests).
package message
