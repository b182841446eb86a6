// Package config reads what the administrator writes: the YAML document and the flags of `sbc run`. It turns both into
// one immutable Snapshot, or into the complete list of what is wrong with them, each with file, line, column and what to
// do about it.
//
// Keys are strict: an unknown key is an error, and so is a key whose work is not built yet; nothing is parsed and
// ignored. Every key carries in its struct tag when a changed value counts: live (at once), new calls, listener (the
// socket is opened anew) or restart. Diff, documentation and reload read that tag.
//
// The room is pure apart from reading the one file and those that it names, whose certificates, keys and permissions it
// judges: it opens no socket, resolves no name, knows no clock, writes no log.
// It decides nothing about a call; it only says what was asked for.
package config
