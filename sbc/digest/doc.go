// Package digest is the client side of SIP digest authentication: it reads the challenges of a 401 or 407, chooses those that it may
// and can answer, and writes Authorization and Proxy-Authorization. It is a function of challenge, secret and request: a cnonce is
// handed in, nothing is kept but what one peer has asked for.
//
//	type Client struct{ … }                                                 // of one leg or registration; zero is ready
//	func (c *Client) Answer(challenge, sent *message.Message, tries int, a tu.Account, cnonce string) error
//	func (c *Client) Sign(m *message.Message)                               // credentials for a request: a retry, or a later one
//	func (c *Client) Heard(m *message.Message)                              // a 2xx: nextnonce of Authentication-Info
//	func (c *Client) Realms() []string                                      // whose challenges have been answered
//	func Realms(challenge *message.Message) []string                        // who challenges, for an account without a realm yet
//	func Check(a tu.Account) error                                          // what of an account cannot be written
//	ErrForeign, ErrRefused, ErrUnknown                                      // why there is no answer; errors.Is
//
// A request that is challenged goes once more, after Answer has returned nil, with the next CSeq, without Via, and signed. For calls,
// subscriptions and requests that belong to no dialog a Book does that, of what each of them has sent; who waits for an answer waits for
// that of the new one. A Keyring has, for the whole program, what peers have let calls in by, so that the next one need not be asked:
//
//	func NewBook(keys *Keyring) *Book                                       // of one user of the core
//	func (b *Book) Sign(now time.Time, s tu.Send)                           // a request that is about to be sent
//	func (b *Book) SignAck(ack *message.Message)
//	func (b *Book) Heard(now time.Time, ev tu.Event) (a Asked, challenged bool)
//	func (b *Book) Answer(now time.Time, a *Asked, m *message.Message, cnonce string) bool
//	func (b *Book) Again(now time.Time, a Asked, ref tu.Ref, seq uint32) tu.Send
//	func (b *Book) Others(p *tu.Peer, plan []tu.Hop, from int) (rest []tu.Hop, other bool)
//	func (b *Book) Complaint(who, keys, otherwise string) string            // in a sentence for the administrator
//
// A Keyring also passes on what a peer makes of the account itself: Judged.
//
// Credentials go to realms that the account names, and to no other: who challenges in a foreign name learns nothing. Of several
// challenges of a realm the strongest that we know is answered (RFC 8760 §2.4 leaves that to local policy): SHA-512-256, SHA-256,
// MD5, each also as -sess; quality of protection auth, else none, else auth-int. One answer a challenge: a realm that asks again for
// what has just been answered has refused the password, unless it says that the nonce was stale. Texts of a challenge go back byte
// for byte; those with control characters, without an end or without measure are no challenge.
//
// It refuses to be a server, to show a password or a hash that is as good, and to answer Basic or any other scheme.
//
// RFC 3261 §22; RFC 7616; RFC 8760; RFC 2617 §3.2.2.1 (without qop).
package digest
