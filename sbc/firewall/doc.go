// Package firewall lets the kernel drop what comes from banned sources, before it costs a socket's buffer or a wake-up: one
// nftables table of our own ("inet sallyport") with a set of banned ranges for each address family, whose entries carry
// their ends, and one chain at the input hook that drops what comes from them to our listeners' addresses and ports, and
// nothing else. Rules of others are neither read nor changed.
//
// It is an aid and no authority: the guard refuses the same sources without it. So nothing waits for it and nothing
// depends on it. Whoever holds the bans hands in the whole list that it wants, whenever that changes; a goroutine of its own
// brings the kernel there step by step, and after an error builds everything anew. It needs CAP_NET_ADMIN.
//
// It refuses to judge who may be banned: the list is made elsewhere, without trunks, nodes, registered phones and the white
// list.
package firewall
