// Package credentials reads what requests and challenges carry of digest authentication, and judges what an answer of the PBX says
// about whoever asked: that he guesses passwords, tries users that there are not, or has shown that he is who he says.
//
//	func Parse(field string) []Params                             // schemes and parameters of a field
//	func Nonce(field string) (nonce string, plain bool)           // that of a field, for whoever passes it on
//	func Remembered(field string) string                          // the same, as it is kept in tables
//	func Usernames(field string) (names []string, whole bool)     // those of credentials
//	func Stale(challenge string) bool                             // it finds fault with an old nonce alone
//	func (a *Answer) Judge() Judgement                            // by the answer
//	func Weigh(Judgement, int, iter.Seq[string], Known) Judgement // by what is known besides
//	type Login struct{ … }                                        // the user name that the PBX has accepted a phone under
//	func Answers(iter.Seq2[string, Login], string) bool           // whether a user name is one of those that phones have
//	type Suspects struct{ … }                                     // phones that have tried another's name lately
//	type Challenges struct{ … }                                   // which challenges have been counted
//
// It is a room of its own, without a parser of messages, so that the running program and a replay of its captures judge by the same
// lines: a rule that only one of the two had would make the replay a promise that nobody keeps.
//
// It knows no password and checks no digest, it bans nobody, and its tables are bounded, since strangers fill them. It is pure: now
// is handed in, and what the PBX has given out, and to whom, it is told.
//
// RFC 3261 §21.4.4, §22; RFC 7616 §3.3, §3.4.
package credentials
