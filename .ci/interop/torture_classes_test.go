//go:build interop

package interop

import (
	"fmt"
	"strings"
)

// class is one message of the eight classes of faults that parsers of others had, and the answer that a known peer is owed.
type class struct {
	name string
	code int // 0: silence
	text []byte
}

func plain(list []class) (texts [][]byte) {
	for _, c := range list {
		texts = append(texts, c.text)
	}
	return texts
}

// classes: parser, integers, size, quadratic work, truncation, large answers, duplicates. Smuggling needs a stream. What cannot be
// read to its end, or names nobody to answer by, meets silence.
func classes() (list []class) {
	n := 0
	add := func(name string, code int, uri string, edit func(fields []string) []string, body string) {
		n++
		id := fmt.Sprintf("class%d", n)
		fields := []string{
			"Via: SIP/2.0/UDP " + provider + ":5060;branch=z9hG4bK" + id, "Max-Forwards: 70", "From: <sip:+49401234567@" + provider + ">;tag=" + id,
			"To: <sip:+4930100@" + gateOutside + ">", "Call-ID: " + id, "CSeq: 1 INVITE", "Contact: <sip:+49401234567@" + provider + ":5060>",
			fmt.Sprintf("Content-Length: %d", len(body)),
		}
		if edit != nil {
			fields = edit(fields)
		}
		list = append(list, class{name, code, []byte("INVITE " + uri + " SIP/2.0\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n" + body)})
	}
	uri := "sip:+4930100@" + gateOutside + ":5080"
	more := func(field string) func([]string) []string {
		return func(f []string) []string { return append(f, field) }
	}
	instead := func(name, field string) func([]string) []string {
		return func(f []string) []string {
			for i := range f {
				if strings.HasPrefix(f[i], name+":") {
					f[i] = field
				}
			}
			return f
		}
	}
	times := strings.Repeat
	// Parser.
	add("To twice", 400, uri, more("To: <sip:x@y>"), "")
	add("empty Via", 0, uri, instead("Via", "Via:"), "")
	add("Via without host", 0, uri, instead("Via", "Via: SIP/2.0/UDP ;branch=z9hG4bKx"), "")
	add("parameters without names", 0, uri, instead("Via", "Via: SIP/2.0/UDP "+provider+";=;;==;branch=z9hG4bKy"), "")
	add("broken UTF-8 in a name", 404, uri, instead("From", "From: \"\xff\xfe\xc0\x80\" <sip:a@"+provider+">;tag=u"), "")
	add("open digest", 404, uri, more(`Authorization: Digest username="a`), "")
	add("multipart without its boundary", 404, uri, more("Content-Type: multipart/mixed"), "")
	add("Replaces of nothing", 400, uri, more("Replaces: ;;to-tag"), "")
	// Integers.
	add("CSeq of 2^32", 0, uri, instead("CSeq", "CSeq: 4294967296 INVITE"), "")
	add("negative CSeq", 0, uri, instead("CSeq", "CSeq: -1 INVITE"), "")
	add("Content-Length of 2^32", 400, uri, instead("Content-Length", "Content-Length: 4294967296"), "")
	add("negative Content-Length", 400, uri, instead("Content-Length", "Content-Length: -1"), "")
	add("Max-Forwards of 999", 400, uri, instead("Max-Forwards", "Max-Forwards: 999"), "")
	add("Expires of 10^24", 404, uri, more("Expires: 1000000000000000000000000"), "")
	// Size.
	add("64 KiB in one datagram", 0, uri, more("X-Long: "+times("y", 64000)), "")
	add("5,000 header fields", 0, uri, more(times("X-A: b\r\n", 5000)+"X-B: c"), "")
	add("600 Via", 0, uri, more(times("Via: SIP/2.0/UDP a;branch=b\r\n", 600)+"X-B: c"), "")
	add("30 Via", 404, uri, more(times("Via: SIP/2.0/UDP 192.0.2.1;branch=b\r\n", 29)+"X-B: c"), "")
	add("5,000 parameters", 0, uri, instead("Contact", "Contact: <sip:a@"+provider+times(";p", 5000)+">"), "")
	add("a body of 40 KiB", 513, uri, more("Content-Type: text/plain"), times("z", 40000))
	// Quadratic work.
	add("commas", 400, uri, instead("Contact", "Contact: "+times(",", 7000)), "")
	add("quotes", 400, uri, instead("Contact", "Contact: "+times(`"`, 7001)), "")
	add("folds", 400, uri, instead("Contact", "Contact:"+times("\r\n ", 2000)), "")
	add("colons in brackets", 400, uri, instead("Contact", "Contact: <sip:["+times(":", 7000)+"]>"), "")
	// Large answers.
	add("a long Call-ID", 404, uri, instead("Call-ID", "Call-ID: "+times("c", 250)), "")
	// Duplicates.
	add("Content-Length twice", 400, uri, more("Content-Length: 5"), "")
	add("Content-Length in both forms", 400, uri, more("l: 5"), "")
	add("CSeq twice", 400, uri, more("CSeq: 2 INVITE"), "")
	add("unknown Require", 420, uri, more("Require: nothing-that-is-known"), "")
	add("unknown scheme", 416, "ftp:+4930100@"+gateOutside, nil, "")
	return list
}
