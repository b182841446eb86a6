package message

import (
	"bytes"
	"strings"

	"sallyport/sbc/scan"
)

// maxContacts is how many contacts a request may carry.
const maxContacts = 64

// once numbers the header fields that may occur once (RFC 3261 §7.3.1, §20) and that somebody acts upon.
func once(name string) int {
	switch name {
	case "From":
		return 0
	case "To":
		return 1
	case "Call-ID":
		return 2
	case "CSeq":
		return 3
	case "Max-Forwards":
		return 4
	case "Content-Length":
		return 5
	case "Content-Type":
		return 6
	case "Expires":
		return 7
	case "User-Agent":
		return 8
	case "Server":
		return 9
	case "Event":
		return 10
	case "Refer-To":
		return 11
	case "Referred-By":
		return 12
	case "Replaces":
		return 13
	case "Session-Expires":
		return 14
	case "Min-SE":
		return 15
	case "RSeq":
		return 16
	case "RAck":
		return 17
	case "Subscription-State":
		return 18
	case "Content-Disposition":
		return 19
	case "Min-Expires":
		return 20
	case "Max-Breadth":
		return 21
	case "Content-Transfer-Encoding":
		return 22
	}
	return -1
}

// take puts one header field in its place. The name is canonical.
func (p *parse) take(name, value string) *Error {
	if bit := once(name); bit >= 0 {
		if p.seen&(1<<bit) != 0 {
			return bad("more than one " + name + "; send it once")
		}
		p.seen |= 1 << bit
	}
	var err error
	m := p.m
	switch name {
	case "Via":
		m.Via, err = appendVias(m.Via, value)
	case "From":
		m.From, err = ParseNameAddr(value)
	case "To":
		m.To, err = ParseNameAddr(value)
	case "Call-ID":
		return p.takeCallID(value)
	case "CSeq":
		return p.takeCSeq(value)
	case "Max-Forwards":
		return p.takeNumber(&m.MaxForwards, name, value, 255)
	case "Content-Length":
		return p.takeNumber(&p.length, name, value, scan.MaxDatagram)
	case "User-Agent", "Server":
		if (name == "User-Agent") == p.v.IsRequest {
			if err := p.agreeAgent(value); err != nil {
				return err
			}
		}
		fallthrough
	default:
		m.Headers = append(m.Headers, Header{Name: name, Value: value})
	}
	if err != nil {
		return bad(name + ": " + err.Error())
	}
	return nil
}

// takeCallID: RFC 3261 §25.1, a word or two joined by '@'. Their exact characters matter to nobody; white space would.
func (p *parse) takeCallID(value string) *Error {
	if value == "" || space(value) >= 0 {
		return bad("Call-ID is empty or holds white space")
	}
	p.m.CallID = value
	return nil
}

// takeCSeq: RFC 3261 §8.1.1.5, a number below 2³¹ and a method.
func (p *parse) takeCSeq(value string) *Error {
	i := space(value)
	if i < 0 {
		return bad("CSeq is not a number and a method")
	}
	n, ok := parseNumber(value[:i], 1<<31-1)
	method := trim(value[i:])
	if !ok || !ValidToken(method) || len(method) > scan.MaxMethod {
		return bad("CSeq is not a number below 2^31 and a method")
	}
	p.m.CSeq, p.cseq = uint32(n), method
	return nil
}

func (p *parse) takeNumber(to *int, name, value string, most uint64) *Error {
	n, ok := parseNumber(value, most)
	if !ok {
		return bad(name + " is not a number in its range")
	}
	*to = int(n)
	return nil
}

func parseNumber(s string, most uint64) (n uint64, ok bool) {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		if n = n*10 + uint64(s[i]-'0'); n > most {
			return 0, false
		}
	}
	return n, s != ""
}

// mandatory: RFC 3261 §8.1.1, and the rules that tie fields together. An absent Max-Forwards is forgiven (§16.3).
func (p *parse) mandatory() *Error {
	m := p.m
	const from, to, callID, cseq = 1 << 0, 1 << 1, 1 << 2, 1 << 3
	switch {
	case len(m.Via) == 0:
		return bad("no Via")
	case p.seen&from == 0:
		return bad("no From")
	case p.seen&to == 0:
		return bad("no To")
	case p.seen&callID == 0:
		return bad("no Call-ID")
	case p.seen&cseq == 0:
		return bad("no CSeq")
	case m.From.Tag == "":
		// RFC 3261 §8.1.1.3. Without it neither dialog nor transaction of ours can name its peer.
		return bad("From has no tag")
	case m.Via[0].Branch == "" || m.Via[0].Branch == magicCookie:
		// RFC 3261 §8.1.1.7. A branch without the cookie (RFC 2543) still tells transactions apart; none does not.
		return bad("topmost Via has no branch")
	}
	if !m.IsRequest() {
		m.Method = intern([]byte(p.cseq))
		return nil
	}
	if p.cseq != m.Method {
		return bad("CSeq names another method than the request line")
	}
	return nil
}

// magicCookie begins every branch of RFC 3261 (§8.1.1.7).
const magicCookie = "z9hG4bK"

// lists checks the address lists of a request, so that whoever reads them later meets no surprise. Those of a response
// are checked when they are read: a call does not die of a contact that nobody needs.
func (p *parse) lists() *Error {
	if !p.m.IsRequest() {
		return nil
	}
	contacts := 0
	for i := range p.m.Headers {
		h := &p.m.Headers[i]
		switch h.Name {
		case "Contact":
			if h.Value == "*" && p.m.Method == "REGISTER" {
				break
			}
			n, err := checkNameAddrs(h.Value)
			if err != nil {
				return bad("Contact: " + err.Error())
			}
			if contacts += n; contacts > maxContacts {
				return bad("too many contacts")
			}
		case "Route", "Record-Route":
			if _, err := checkNameAddrs(h.Value); err != nil {
				return bad(h.Name + ": " + err.Error())
			}
		}
	}
	return nil
}

// checkNameAddrs counts the elements of a list without keeping them.
func checkNameAddrs(s string) (n int, err error) {
	for {
		end, err := elementLen(s)
		if err != nil {
			return 0, err
		}
		if trim(s[:end]) == "" {
			return 0, errList
		}
		if _, err := ParseNameAddr(s[:end]); err != nil {
			return 0, err
		}
		if n++; end == len(s) {
			return n, nil
		}
		s = s[end+1:]
	}
}

// agree compares what the parser read with what the scan read. The start line they share.
func (p *parse) agree() *Error {
	m, v := p.m, p.v
	same := func(s scan.Span, text string) bool { return string(v.Bytes(s)) == text }
	switch {
	case !same(v.CallID, m.CallID):
		return twoWays("Call-ID")
	case v.CSeq != m.CSeq || !same(v.CSeqMethod, p.cseq):
		return twoWays("CSeq")
	case !same(v.Branch, m.Via[0].Branch):
		return twoWays("Via")
	case !same(v.FromTag, m.From.Tag):
		return twoWays("From")
	case !same(v.ToTag, m.To.Tag):
		return twoWays("To")
	case v.MaxForwards != m.MaxForwards:
		return twoWays("Max-Forwards")
	case v.ContentLength != p.length:
		return twoWays("Content-Length")
	case v.Agents != p.agents:
		return twoWays("User-Agent")
	}
	return nil
}

func twoWays(name string) *Error { return bad(name + " can be read in two ways") }

// agreeAgent compares one User-Agent (request) or Server (response) with the scan's.
func (p *parse) agreeAgent(value string) *Error {
	if p.agents < scan.MaxAgents && !equalFolded(p.v.Bytes(p.v.UserAgents[p.agents]), value) {
		return twoWays("User-Agent")
	}
	p.agents++
	return nil
}

// equalFolded compares a raw value that may be folded with an unfolded one; runs of white space are equal.
func equalFolded(raw []byte, text string) bool {
	if string(raw) == text {
		return true
	}
	white := func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }
	a, b := bytes.FieldsFunc(raw, white), strings.FieldsFunc(text, white)
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if string(a[i]) != b[i] {
			return false
		}
	}
	return true
}

// intern returns the usual methods without an allocation.
func intern(method []byte) string {
	switch string(method) {
	case "INVITE":
		return "INVITE"
	case "ACK":
		return "ACK"
	case "BYE":
		return "BYE"
	case "CANCEL":
		return "CANCEL"
	case "OPTIONS":
		return "OPTIONS"
	case "REGISTER":
		return "REGISTER"
	case "SUBSCRIBE":
		return "SUBSCRIBE"
	case "NOTIFY":
		return "NOTIFY"
	case "PRACK":
		return "PRACK"
	case "UPDATE":
		return "UPDATE"
	case "INFO":
		return "INFO"
	case "REFER":
		return "REFER"
	case "MESSAGE":
		return "MESSAGE"
	case "PUBLISH":
		return "PUBLISH"
	}
	return string(method)
}
