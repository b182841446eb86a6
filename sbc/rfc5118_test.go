package sbc_test

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

// raw sends bytes as they are.
func (w *wire) raw(to netip.AddrPort, b []byte) {
	w.l.t.Helper()
	if _, err := w.conn.WriteToUDPAddrPort(b, to); err != nil {
		w.l.t.Fatal(err)
	}
	synctest.Wait()
}

// TestRFC5118 sends the torture messages of IPv6 to the gate that they are addressed to, from where their topmost Via says, and plays
// who is behind it. Those that RFC 5118 calls well-formed do what they ask for; the others reach nobody.
// (What the raw scan answers to a stranger before anything is parsed is not for here: the URI with three colons is message's.)
func TestRFC5118(t *testing.T) {
	outside := netip.MustParseAddr("2001:db8::10")
	phones, trunks := netip.AddrPortFrom(outside, 5060), netip.AddrPortFrom(outside, 5080)
	for _, x := range []struct {
		name, from string
		to         netip.AddrPort
		inside     string // what the PBX hears; empty: nothing
		answer     int    // what the PBX answers, then the sender; without inside what the sender hears; 0: nothing
		media      string // of the description inside
	}{
		{"ipv6-good", "[2001:db8::9:1]:5060", phones, "REGISTER", 401, ""},
		{"ipv6-bad", "[2001:db8::9:1]:5060", phones, "", 0, ""},
		{"port-ambiguous", "[2001:db8::9:1]:5060", phones, "REGISTER", 401, ""},
		{"port-unambiguous", "[2001:db8::9:1]:5060", phones, "REGISTER", 401, ""},
		{"via-received-param-with-delim", "[2001:db8::9:1]:5060", phones, "", 0, ""},
		{"via-received-param-no-delim", "[2001:db8::9:1]:5060", phones, "", 200, ""},
		{"ipv6-in-sdp-fixed", "[2001:db8::20]:5060", trunks, "INVITE", 486, "audio:ours video:ours"},
		{"mult-ip-in-header", "[2001:db8::9:1]:6050", phones, "", 0, ""},
		{"mult-ip-in-sdp-fixed", "[2001:db8::20]:5060", trunks, "INVITE", 486, "audio:0 video:ours"},
		{"ipv4-mapped-ipv6-fixed", "[2001:db8::20]:19823", trunks, "", 488, ""},
		{"ipv6-correct-abnf-2-colons", "[2001:db8::9:1]:5060", phones, "", 200, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			b, err := os.ReadFile("../testdata/sip/rfc5118-" + x.name + ".sip")
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, rewritten(t, familyConfig(trunkEnds[1], pbxEnds[0], false), "policy: {", "policy: { strangers: { phones: answer },"), natlab.Options{Seed: 1})
				defer l.close()
				l.watches(trunkEnds[1], pbxEnds[0])
				sender, pbx := l.wire(netip.MustParseAddrPort(x.from)), l.wire(pbxAt)
				sender.raw(x.to, b)
				if x.inside != "" {
					m := pbx.want(x.inside)
					if got := streams(m); got != x.media {
						t.Errorf("described as %q, want %q:\n%s", got, x.media, m)
					}
					pbx.reply(m, x.answer, nil, message.Header{Name: "WWW-Authenticate", Value: `Digest realm="example.com", nonce="1"`})
				}
				var last *message.Message
				for {
					m := sender.next(3 * time.Second)
					if m == nil {
						break
					}
					last = m
				}
				switch {
				case x.answer == 0 && last != nil && last.Status < 400:
					t.Errorf("answered\n%s", last)
				case x.answer != 0 && (last == nil || last.Status != x.answer):
					t.Errorf("answered\n%v, want %d", last, x.answer)
				}
				if last != nil {
					top, _, _ := bytes.Cut(b[bytes.Index(b, []byte("Via:")):], []byte("\r\n"))
					if host, _, _ := strings.Cut(strings.TrimPrefix(string(top), "Via: SIP/2.0/UDP "), ";"); !strings.Contains(last.String(), "Via: SIP/2.0/UDP "+host) {
						t.Errorf("%s is missing in\n%s", host, last)
					}
				}
				pbx.quiet(time.Second, "INVITE", "REGISTER", "OPTIONS", "BYE")
				if g := l.gate.Gauges(); g.Panics != 0 {
					t.Errorf("%+v", g)
				}
			})
		})
	}
}

// streams are the m= lines of a description.
func streams(m *message.Message) string {
	var out []string
	for line := range strings.Lines(string(m.Body)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[0], "m=") {
			if f[1] != "0" {
				f[1] = "ours" // of the pool, in no order
			}
			out = append(out, strings.TrimPrefix(f[0], "m=")+":"+f[1])
		}
	}
	return strings.Join(out, " ")
}
