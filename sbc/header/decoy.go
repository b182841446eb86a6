package header

import (
	"strings"
	"time"

	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// Decoys remembers how the PBX challenges, so that a refusal which would tell a stranger which users there are can be shown
// as the challenge that the same request for any user meets. One serves all rooms that pass answers of the PBX; it belongs to
// whoever has the core's turn. Nil remembers nothing.
type Decoys struct {
	last   *shape
	shapes map[string]*shape // by method
}

// shape is the last challenge to a method, and what changed in it since the one before.
type shape struct {
	far     *message.Message
	nonce   string // of the one before; empty: there was none
	opaque  string
	settled bool // its opaque is always the same
}

// shapesMost bounds the methods that are told apart; those that pass the gate are fewer.
const shapesMost = 16

// Keep notes a challenge of the PBX that passes to a phone.
func (d *Decoys) Keep(far *message.Message) {
	field := challengeOf(far)
	if d == nil || field == nil {
		return
	}
	if d.shapes == nil {
		d.shapes = map[string]*shape{}
	}
	s := &shape{far: far}
	if old := d.shapes[far.Method]; old != nil {
		before := challengeOf(old.far).Value
		s.nonce, s.opaque = param(before, "nonce"), param(before, "opaque")
		s.settled = s.opaque == param(field.Value, "opaque") && (s.opaque != "" || old.settled)
	}
	if d.shapes[far.Method] != nil || len(d.shapes) < shapesMost {
		d.shapes[far.Method] = s
	}
	d.last = s
}

func challengeOf(far *message.Message) *message.Header {
	for i := range far.Headers {
		if h := &far.Headers[i]; h.Name == "WWW-Authenticate" || h.Name == "Proxy-Authenticate" {
			return h
		}
	}
	return nil
}

// Tells reports whether an answer of the PBX would tell a stranger whether there is a user of that name.
func Tells(code int) bool {
	switch code {
	case 403, 404, 410, 480, 484, 485, 604:
		return true
	default:
		return false
	}
}

// Disguise is the answer that a stranger gets in the place of one that Tells: the PBX's last challenge to that method, with
// other nonces; 403 to a request with credentials, and where no challenge has been seen. It goes on as an answer of the PBX
// does, so that nothing tells them apart. block gives 16 random bytes.
func (d *Decoys) Disguise(now time.Time, req, far *message.Message, block func() [16]byte) *message.Message {
	m := *far
	m.Status, m.Reason, m.Headers, m.Body = 403, "", nil, nil
	if d == nil || d.last == nil || tu.Signed(req) {
		return &m
	}
	s := d.shapes[req.Method]
	if s == nil {
		s = d.last
	}
	m.Status, m.Reason = s.far.Status, s.far.Reason
	for _, h := range s.far.Headers {
		switch h.Name {
		case "WWW-Authenticate", "Proxy-Authenticate":
			h.Value = s.renew(h.Value, block)
		case "Date":
			h.Value = now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") // RFC 3261 §20.17
		case "Contact", "Content-Type", "Content-Length":
			continue
		}
		m.Headers = append(m.Headers, h)
	}
	return &m
}

// renew puts another nonce of the same shape in a challenge, and another opaque where that changes too: a value that occurred
// twice would tell them apart. What two nonces in a row begin with alike is no accident, and stays.
func (s *shape) renew(value string, block func() [16]byte) string {
	nonce := param(value, "nonce")
	value = replace(value, "nonce", another(nonce, shared(nonce, s.nonce), block))
	if opaque := param(value, "opaque"); opaque != "" && !s.settled {
		value = replace(value, "opaque", another(opaque, shared(opaque, s.opaque), block))
	}
	return value
}

// sharedLeast is the shortest beginning that two nonces hardly have in common by chance.
const sharedLeast = 4

// shared is how much of two values at the front is the same, so far as it means something.
func shared(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if n < sharedLeast || n == len(a) {
		return 0
	}
	return n
}

// another is a value with the letters and digits after the first keep ones drawn anew, each part of it from its own
// alphabet: "1690000000/ff00" begins with a time.
func another(value string, keep int, block func() [16]byte) string {
	out := []byte(value)
	var random [16]byte
	n := 0
	for from := 0; from < len(out); {
		letters, end := part(value, from)
		for i := from; i < end; i++ {
			if i < keep {
				continue
			}
			if n%len(random) == 0 {
				random = block()
			}
			out[i] = letters[int(random[n%len(random)])%len(letters)]
			n++
		}
		for end < len(out) && strings.IndexByte(letters, out[end]) < 0 && strings.IndexByte(alphanumeric, out[end]) < 0 {
			end++ // punctuation
		}
		from = end
	}
	return string(out)
}

// param is a quoted parameter of a challenge, empty if there is none; cnonce and nextnonce are no nonce.
func param(value, name string) string {
	at, end := locate(value, name)
	if at < 0 {
		return ""
	}
	return value[at:end]
}

func replace(value, name, with string) string {
	at, end := locate(value, name)
	if at < 0 {
		return value
	}
	return value[:at] + with + value[end:]
}

// locate finds a quoted parameter: where it begins and ends, -1 if there is none.
func locate(value, name string) (at, end int) {
	key := name + `="`
	for from := 0; ; {
		i := indexFold(value[from:], key)
		if i < 0 {
			return -1, -1
		}
		from += i
		begin := from + len(key)
		if from > 0 && strings.IndexByte(" \t,", value[from-1]) >= 0 {
			n := strings.IndexByte(value[begin:], '"')
			if n < 0 {
				return -1, -1
			}
			return begin, begin + n
		}
		from = begin
	}
}

const (
	decimal      = "0123456789"
	lowerHex     = decimal + "abcdef"
	upperHex     = decimal + "ABCDEF"
	alphanumeric = decimal + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	base64       = alphanumeric + "+/"
)

// part is where a run of letters and digits ends, and the narrowest alphabet that they come from. Values in base 64 have no
// punctuation but at their end.
func part(value string, from int) (letters string, end int) {
	if spelled(value, base64) && !spelled(value, alphanumeric) && strings.ToLower(value) != value && strings.ToUpper(value) != value {
		end = from
		for end < len(value) && strings.IndexByte(base64, value[end]) >= 0 {
			end++
		}
		return base64, end
	}
	end = from
	for end < len(value) && strings.IndexByte(alphanumeric, value[end]) >= 0 {
		end++
	}
	for _, letters := range [...]string{decimal, lowerHex, upperHex} {
		if spelled(value[from:end], letters) {
			return letters, end
		}
	}
	return alphanumeric, end
}

// spelled reports whether a value, but for what pads it, is of an alphabet.
func spelled(value, letters string) bool {
	for _, c := range []byte(strings.TrimRight(value, "=")) {
		if strings.IndexByte(letters, c) < 0 {
			return false
		}
	}
	return true
}
