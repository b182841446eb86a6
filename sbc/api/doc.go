// Package api is how the running program is asked and told: HTTP and JSON over the admin socket. The verbs of `sbc` are
// its client.
//
// The room knows the shapes of questions and answers and who may ask for a change; it decides nothing and holds nothing.
// What it asks of the program stands in Control, which the assembler implements. Everybody who can open the socket may
// ask (mode 0660, so root and the group); changes are made only for root and for the user that the program runs as,
// told by the kernel (SO_PEERCRED, unix(7)), and each is reported with its uid, refused ones too.
//
// It serves no TCP port and no web page, and never waits without a bound.
package api
