package sbc_test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/demo"
	"sallyport/sbc/message"
)

// TestToIsTheCallersWord: who calls a number of ours writes To as he likes, and with a trunk that registers it says which number is
// called. It is no way past the bounds, and reaches nothing but numbers of the trunk where they are known.
func TestToIsTheCallersWord(t *testing.T) {
	called := func(to string) string { return "To: <sip:" + to + "@sip.example.net>" }
	for _, tt := range []struct {
		name, more string // of the trunk
		calls      []string
		want       []string // whom the PBX is asked for
	}{
		{"capacity", "capacity: { calls: 1 }", []string{called("0301234"), called("0301234"), called("112"), called("112"), called("%3112")}, []string{"0301234"}},
		{"an emergency number is none of ours", "", []string{
			called("112"), called("0301234"), called("0301234") + "\r\nP-Called-Party-ID: <sip:112@sip.example.net>",
		}, []string{"4930555", "0301234", "4930555"}},
		{"numbers of the trunk", `inbound: { match: '0301.*' }`, []string{
			called("0301234"), called("*21*0900"), called("204"), called("0301235") + "\r\nP-Called-Party-ID: <sip:0301236@sip.example.net>",
		}, []string{"0301234", "4930555", "4930555", "0301236"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				yaml := strings.Replace(accountConfig, "keepalive: { interval: 20s }", "keepalive: { interval: 20s }\n    "+tt.more, 1)
				s := newSubscriber(t, yaml+"emergency: { numbers: [ \"112\" ] }\n", natlab.NATOptions{})
				defer s.close()
				time.Sleep(5 * time.Second)
				at, err := netip.ParseAddrPort(s.trunk().SeenAs)
				if err != nil {
					t.Fatal(err)
				}
				var asked []string
				s.answering(s.pbx, func(m *message.Message) demo.Script {
					asked = append(asked, m.URI.User)
					return demo.Script{Answer: time.Minute, SDP: sdpAt(pbxAt.Addr(), 4002)}
				})
				for i, to := range tt.calls {
					n := strconv.Itoa(i)
					sdp := string(sdpAt(providerAt.Addr(), 4000))
					invite := "INVITE sip:4930555@" + at.String() + " SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.20:5060;branch=z9hG4bKto" + n + "\r\n" +
						"From: <sip:+4940777@sip.example.net>;tag=1\r\n" + to + "\r\nCall-ID: to" + n + "\r\nCSeq: 1 INVITE\r\n" +
						"Contact: <sip:203.0.113.20>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: " +
						strconv.Itoa(len(sdp)) + "\r\n\r\n" + sdp
					if err := s.net.Inject(providerAt, at, []byte(invite)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(500 * time.Millisecond)
				}
				synctest.Wait()
				if !slices.Equal(asked, tt.want) {
					t.Errorf("the PBX is asked for %q, want %q", asked, tt.want)
				}
				time.Sleep(5 * time.Minute)
			})
		})
	}
}
