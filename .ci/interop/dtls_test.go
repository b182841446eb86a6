//go:build interop

package interop

import (
	"regexp"
	"strings"
	"testing"
)

// TestDTLS: a telephone outside, behind a NAT, that protects its audio by keys of a handshake, and a PBX inside that knows
// nothing of it. It calls, holds and resumes, and is called, with ICE and without; both hear each other word for word, and
// nothing leaves the gate outside in the clear. What it says once more of its stream when its checks have ended is no affair
// of the PBX, which would not expect it.
func TestDTLS(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{unlimited: true})
	for _, c := range []struct {
		transport, more string
		ice             bool
	}{
		{"udp", ";mediaenc=dtls_srtp", false},
		{"tcp", ";mediaenc=dtls_srtp;medianat=ice", true},
	} {
		t.Run(strings.TrimPrefix(c.more, ";")+" over "+c.transport, func(t *testing.T) {
			var b *baresip
			calls := len(g.records(t))
			all := g.observe(t, 2, []string{bert.ns}, func() {
				b = w.baresip(t, bert, c.transport, doors[c.transport], 60, c.more)
				b.registers(t, 1)
				w.callAndHold(t, b) // what it takes is known once it has called
				w.deskRings(t, b, node1, 2)
				b.quit(t)
			})
			w.protected(t, all, b, 16) // AEAD_AES_128_GCM, which both prefer (RFC 7714 §13.2)
			if !c.ice {
				certificatesStayApart(t, all)
			}
			for _, r := range g.records(t)[calls:] {
				stream := r["media"].([]any)[0].(map[string]any)
				outside, inside := stream["outside"].(map[string]any), stream["inside"].(map[string]any)
				if ice, _ := outside["ice"].(bool); outside["srtp"] != "DTLS-SRTP" || ice != c.ice {
					t.Errorf("a record says of the leg outside: %v", outside)
				}
				// Who has to begin its handshake once more is silent for a second, 50 packets, and hears nothing meanwhile.
				rejections, _ := inside["rejections"].(map[string]any)
				if lost, _ := rejections["no-destination"].(float64); lost >= 25 {
					t.Errorf("%v packets came before there were keys: %v", lost, r)
				}
			}
			g.binds(t, 0)
		})
	}
	g.stop(t)
}

// certificatesStayApart checks the descriptions outside and inside: outside the fingerprint and the role of whoever wrote
// them, each his own; inside plain RTP and nothing of a handshake.
func certificatesStayApart(t *testing.T, all []packet) {
	t.Helper()
	print := regexp.MustCompile(`a=fingerprint:(?i)(\S+ [0-9A-F:]+)`)
	owner, seen := map[string]bool{}, 0
	for _, p := range choose(all, packet.sip, packet.atGate) {
		text := string(p.payload)
		if !strings.Contains(text, "m=audio") {
			continue
		}
		prints := print.FindAllStringSubmatch(text, -1)
		if p.side == nsInside {
			for _, word := range []string{"fingerprint", "a=setup", "a=ice", "a=candidate", "rtcp-mux", "TLS"} {
				if strings.Contains(text, word) {
					t.Errorf("inside, %s: %s in %q", p.start(), word, text[strings.Index(text, "m=audio"):])
				}
			}
			continue
		}
		ours := p.src.Addr().String() == gateOutside
		if len(prints) == 0 || !strings.Contains(text, " UDP/TLS/RTP/SAVP") || ours && len(prints) != 1 {
			t.Errorf("outside, %s: %q", p.start(), text[strings.Index(text, "m=audio"):])
		}
		for _, f := range prints {
			if of, known := owner[f[1]]; known && of != ours {
				t.Errorf("a certificate of one side is shown by the other: %s", p.start())
			}
			owner[f[1]] = ours
		}
		if ours && strings.HasPrefix(p.start(), "SIP/2.0 ") && !strings.Contains(text, "a=setup:passive") {
			t.Errorf("an answer of ours has not setup:passive: %q", text[strings.Index(text, "m=audio"):])
		}
		seen++
	}
	if seen < 4 || len(owner) < 2 {
		t.Errorf("%d descriptions outside, %d certificates", seen, len(owner))
	}
}
