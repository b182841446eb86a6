package registrar

import (
	"strings"

	"sallyport/sbc/header"
	"sallyport/sbc/message"
)

// challenge is the last one that the PBX gave to a REGISTER: what the next stranger would see of any user there is.
type challenge struct {
	status int // 401 or 407; 0: none seen yet
	phrase string
	field  message.Header
}

// keep notes a challenge that passes to a phone.
func (c *challenge) keep(far *message.Message) {
	for _, name := range [2]string{"WWW-Authenticate", "Proxy-Authenticate"} {
		if v, ok := far.Get(name); ok {
			*c = challenge{far.Status, far.Reason, message.Header{Name: name, Value: v}}
			return
		}
	}
}

// decoy is the answer to a stranger whom the PBX's refusal would tell which users there are: without credentials a
// challenge like any other, with them 403 (BEHAVIOUR: enumeration). Nil: the refusal passes as it is.
func (r *Register) decoy(far *message.Message) *message.Message {
	if r.peer == nil || !r.peer.Stranger || far.Status != 403 && far.Status != 404 && far.Status != 480 {
		return nil
	}
	c := &r.set.Book.challenge
	if r.authorised() || c.status == 0 {
		return message.Reply(r.msg, 403, "")
	}
	shown := &message.Message{Headers: []message.Header{{Name: c.field.Name, Value: r.renew(c.field.Value)}}}
	m := message.Reply(r.msg, c.status, c.phrase)
	header.Copy(header.PBXToPhone, shown, m, header.Hosts{})
	return m
}

// renew puts another nonce of the same shape in a challenge: one that occurred twice would tell them apart.
func (r *Register) renew(value string) string {
	at := nonceAt(value)
	if at < 0 {
		return value
	}
	end := strings.IndexByte(value[at:], '"')
	if end < 0 {
		return value
	}
	nonce := []byte(value[at : at+end])
	letters := alphabetOf(nonce)
	var block [16]byte
	for i, c := range nonce {
		if i%len(block) == 0 {
			block = r.fresh().Block()
		}
		if strings.IndexByte(alphanumeric, c) >= 0 {
			nonce[i] = letters[int(block[i%len(block)])%len(letters)]
		}
	}
	return value[:at] + string(nonce) + value[at+end:]
}

// nonceAt is where the nonce of a challenge begins, or -1; cnonce and nextnonce are none.
func nonceAt(value string) int {
	const key = `nonce="`
	for at := 0; ; {
		i := strings.Index(strings.ToLower(value[at:]), key)
		if i < 0 {
			return -1
		}
		at += i
		if at > 0 && strings.IndexByte(" \t,", value[at-1]) >= 0 {
			return at + len(key)
		}
		at += len(key)
	}
}

const (
	digits       = "0123456789"
	lowerHex     = digits + "abcdef"
	upperHex     = digits + "ABCDEF"
	alphanumeric = digits + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// alphabetOf is the narrowest alphabet that the letters and digits of a nonce come from.
func alphabetOf(nonce []byte) string {
	for _, letters := range [...]string{digits, lowerHex, upperHex} {
		fits := true
		for _, c := range nonce {
			fits = fits && (strings.IndexByte(letters, c) >= 0 || strings.IndexByte(alphanumeric, c) < 0)
		}
		if fits {
			return letters
		}
	}
	return alphanumeric
}
