package header

import (
	"fmt"
	"strings"
	"testing"

	"sallyport/nat"
	"sallyport/sbc/tu"
)

// BenchmarkGuardAtWorst is what a message of the largest size can cost.
func BenchmarkGuardAtWorst(b *testing.B) {
	const most = 16 << 10
	many := &tu.Secrets{}
	for n := range 32 {
		many.AddHost(fmt.Sprintf("192.168.7.%d", n))
	}
	for _, s := range secretAddrs {
		many.AddAddr(s)
	}
	for name, piece := range map[string]string{
		"text": "the quick brown fox ", "leaking quads": "10.0.0.10.", "quads": "1.2.3.4 ", "a run of quads": "1.", "digits": "1", "colons": ":", "hextets": "1:",
		"embedded": "64:ff9b:1::", "gaps": "::1 ", "escapes": "%31", "escaped quads": "%31.2.3.4 ", "leaking escapes": "%31%30.0.0.10 ", "sip": "sip:", "zones": "[::1%25", "entities": "&#49;",
		"at": "@a.b", "dots": ".", "backslashes": `\`,
	} {
		v := []byte(strings.Repeat(piece, most/len(piece)))
		b.Run(name, func(b *testing.B) {
			g := testGuard()
			for b.Loop() {
				m := clean(nat.Outside)
				typed(m, "application/pidf+xml", "")
				m.Body = v
				g.Check(nat.Outside, m, many)
			}
		})
	}
}
