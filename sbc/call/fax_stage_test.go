package call

import (
	"fmt"
	"strings"
)

// faxLines are what a fax gateway says of T.38 (RFC 7345 §9, ITU-T T.38 D.2.3), in the spellings that there are.
var faxLines = []string{
	"T38FaxVersion:0", "T38MaxBitRate:14400", "T38FaxFillBitRemoval", "T38FaxTranscodingMMR:0", "T38FaxRateManagement:transferredTCF",
	"T38FaxMaxBuffer:1024", "T38FaxMaxDatagram:238", "T38FaxUdpEC:t38UDPRedundancy", "T38VendorInfo:0 0 37",
}

// describeFax is an m= line of T.38; tcp: over TCP; rfc7345: over DTLS; bare: without attributes.
func describeFax(spec string) (proto, formats, attributes string) {
	proto = "udptl"
	if strings.Contains(spec, "tcp") {
		proto = "TCP"
	}
	if strings.Contains(spec, "rfc7345") {
		proto, attributes = "UDP/TLS/UDPTL", faxSeal
	}
	if !strings.Contains(spec, "bare") {
		for _, l := range faxLines {
			attributes += "a=" + l + "\r\n"
		}
	}
	return proto, " t38", attributes
}

// faxSeal is what a gateway says that protects T.38 by a handshake (RFC 7345).
var faxSeal = "a=setup:actpass\r\na=fingerprint:SHA-256 " + strings.TrimSuffix(strings.Repeat("EE:", 32), ":") + "\r\n"

// faxText tells how many of a gateway's lines have come through unharmed.
func faxText(body []byte, proto string) string {
	n := 0
	for _, l := range faxLines {
		if strings.Contains(string(body), "\r\na="+l+"\r\n") {
			n++
		}
	}
	text := fmt.Sprintf(" %s[t38×%d]", proto, n)
	if strings.Contains(string(body), faxSeal) {
		text += " sealed"
	}
	return text
}
