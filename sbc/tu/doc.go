// Package tu is what the core and its users share: events, actions, ids, peers, hops and media values. A user (RFC 3261
// "transaction user") is anything that lives in time: a call, an out-of-dialog exchange, a probe. It hears events and
// answers with actions; it does nothing else, so that its whole behaviour is a list of both.
//
// The room holds types, and what all users decide alike, as pure functions: their ids, when to try another hop, what a refusal
// may say, which answers are judged for what they say of whoever asked (sbc/credentials). It sends nothing, keeps no time and knows no user.
//
// RFC 3261 §5 (transaction user), §8, §12.
package tu
