// Package names knows the DNS names of a configuration: which there are, what they lead to (RFC 3263, by package resolve), how
// each one stands, and how the answers outlive the program.
//
//	New(Options) *Book                 with the answers of the run before
//	(*Book).Ask(ctx, snap)             looks up what is not known yet, for a bounded time
//	(*Book).Use(snap)                  these names are kept fresh from now on, and no others
//	(*Book).Run(ctx)                   asks again whenever an answer's time is over
//	(*Book).Expand(snap) *Snapshot     the configuration with addresses in place of names
//	(*Book).Save()                     puts the last good answers down, for a start without a name server
//	(*Book).All, Trunk, Nodes          how names stand, each a Standing
//
// A configuration that does not run is tried without a Book: LookedUp asks once, StandIns asks nobody, LookUp tells.
//
// A name may stand for a peer system (pbx.nodes, trunks[].peers, registrars), for a further source of signalling or media, or for an
// address of ours that others are told. A peer's name stands for as many entries as it has endpoints; their order is the
// entry's own priority first, then that of the records (RFC 2782), and the entry's weight is shared and not multiplied.
//
// What it refuses to do: it does not make the world of what has changed (Options.Changed says so to whoever does); it lets no
// name lead to an address that is forbidden, our own, or, for outside, in the internal networks, whoever owns the zone; it
// never changes a snapshot that it is handed; and it takes no name away because a name server is silent (see package
// resolve). What registrars say of us is not DNS and none of its business.
package names
