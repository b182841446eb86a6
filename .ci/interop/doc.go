// Package interop runs the program between real peers in network namespaces: sipp plays the provider outside and the PBX
// inside, and what both ends see on the wire decides. Where order within a millisecond matters or a peer has to behave
// badly, sockets of the test's own play the peer.
//
// Roaming phones are sipp, baresip and linphone in homes behind masquerading routers, which map every address and port anew
// and forget; the PBX that they register at is Kamailio, as registrar with digest and as a proxy, so that a call between two
// phones, or between phone and trunk, crosses the gate twice. TestPhonesWithoutTheGate proves these instruments without the
// program.
//
// The rules that are shipped apply wherever a case is not about others: telephones have to live with them. Those who attack
// are the tools of sipvicious, and raw sockets that send what nobody could have sent: tens of thousands of forged addresses,
// the provider's among them. TestLimitsAreExact compares with an ideal token bucket what a source gets through; TestReplay has
// dumpcap listen and runs what it wrote through replay, limits suggest and policy test (with -keep FOLDER it leaves the
// captures that the documentation's examples use). TestBenchDrop, for make bench, compares what a refused packet costs with
// a program that only receives it.
//
// TestRenumber joins a telephone and a provider whose payload types differ, and looks for the tone of each in what the other
// one gets: decoded by the test at both ends, and by the telephone itself.
//
// What makes a B2BUA of the gate has a case for each capability, in both directions: each leg's own 100rel, late offers, UPDATE
// and session timer, forks, codec lists, the spellings of hold, T.38, the rules on header fields and what they leave of a
// body of several parts, redirection, lamps and pick-up. One file of scenarios holds those of a subject, as templates named
// after files. After each offer that was answered both ends have to hear each other anew (afterEach).
//
// A case that takes long, or shows little that another does not, runs with -full alone (make interop-full); the function long
// says so. Without it each capability still has its case.
//
// TestDTLS has a telephone with handshakes (baresip), with ICE and without; TestWeb, for make interop-web, one in a page of
// headless Chromium (SIP.js, from the npm registry), led over the DevTools protocol: its microphone hears a tone, which is
// looked for inside, and the page says what it hears.
//
// TestTransfers has telephones of the test's own (agentUser) in the office, behind NATs and at the provider refer one another in
// every combination, blind and after a consultation; each says its name in its audio, so that who hears whom is counted.
// TestTransfersOfTelephones has baresip and linphone do so, TestTransfersOfAPBX a PBX that answers 481 to ids it does not know.
//
// The provider's side of a trunk that registers is Kamailio too, with digest, on one machine or on two that a name leads to
// (TestRegisteringTrunk behind a router in which nothing is open, TestTrunkSRVFailover with dnsmasq, TestTrunkChallenges, TestTrunkNonces); what
// registrars say that it does not is said by user agents of the test's own (TestScriptedRegistrar). TestProviderInName is a stranger
// who writes the provider's address into his messages.
//
// TestExamples starts what stands under deploy/examples, three gates on one machine and one alone, and has everybody call everybody: the
// provider, phones behind a NAT, phones in the house; the PBX may have to do with nobody but the gates.
//
// The tests carry the build tag "interop" and need root, sipp, iproute2 and tshark, those with phones Kamailio, baresip,
// linphone-cli and nftables, those with attackers sipvicious as well, those with names dnsmasq; `make interop` brings what is
// missing. Every test makes a world of its own and removes it, and what it leaves (configuration, logs, message files, captures)
// is kept when it fails. Those that mostly wait run beside one another at the end.
package interop
