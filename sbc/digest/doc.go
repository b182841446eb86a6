// Package digest is the client side of SIP digest authentication: it reads the challenges of a 401 or 407, chooses those that it may
// and can answer, and writes Authorization and Proxy-Authorization. It is a function of challenge, secret and request: a cnonce is
// handed in, nothing is kept but what one peer has asked for.
//
//	type Account struct{ Username, Password string; Realms []string }       // tu.Account converts: digest.Account(*peer.Account)
//	type Client struct{ … }                                                 // of one leg, registration or exchange; zero is ready
//	func (c *Client) Answer(challenge, sent *message.Message, tries int, a Account, cnonce string) error
//	func (c *Client) Sign(m *message.Message)                               // credentials for a request: a retry, or a later one
//	func (c *Client) Heard(m *message.Message)                              // a 2xx: nextnonce of Authentication-Info
//	func (c *Client) Realms() []string                                      // whose challenges have been answered
//	func Copy(from, to *message.Message)                                    // an ACK has what its INVITE had
//	func Realms(challenge *message.Message) []string                        // who challenges, for an account without a realm yet
//	func Complaint(why error, who, keys string) string                      // the same in a sentence for the administrator
//	ErrForeign, ErrRefused, ErrUnknown                                      // why there is no answer; errors.Is
//
// A request that is challenged goes once more, after Answer has returned nil, with the next CSeq, without Via, and signed:
//
//	if err := client.Answer(response, sent, tries, account, cnonce); err == nil {
//		again := *sent // Sign gives it header fields of its own
//		again.CSeq, again.Via = again.CSeq+1, nil
//		client.Sign(&again)
//	}
//
// Credentials go to realms that the account names, and to no other: who challenges in a foreign name learns nothing. Of several
// challenges of a realm the strongest that we know is answered (RFC 8760 §2.4 leaves that to local policy): SHA-512-256, SHA-256,
// MD5, each also as -sess; quality of protection auth, else none, else auth-int. One answer a challenge: a realm that asks again for
// what has just been answered has refused the password, unless it says that the nonce was stale. Texts of a challenge go back byte
// for byte; those with control characters, without an end or without measure are no challenge.
//
// It refuses to be a server, to keep passwords, and to answer Basic or any other scheme.
//
// RFC 3261 §22; RFC 7616; RFC 8760; RFC 2617 §3.2.2.1 (without qop).
package digest
