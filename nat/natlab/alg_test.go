package natlab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const algSDP = "v=0\r\no=- 1 1 IN IP4 192.168.1.10\r\ns=192.168.1.10\r\nc=IN IP4 192.168.1.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

func algInvite(body string, length int) string {
	return "INVITE sip:200@192.0.2.1 SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK1;rport\r\n" +
		"v: SIP/2.0/UDP 192.168.1.100:5060;branch=z9hG4bK0\r\n" +
		"From: <sip:100@192.168.1.10>;tag=1\r\nCall-ID: 1@192.168.1.10\r\n" +
		"CONTACT : <sip:100@192.168.1.10:5060>\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n\r\n", length) + body
}

func TestSIPALG(t *testing.T) {
	private, public, remote := netip.AddrPortFrom(homeAddr, 5060), netip.AddrPortFrom(publicAddr, 40000), netip.AddrPortFrom(addrA, 5060)
	out := Translation{Out: true, Private: private, Public: public, Remote: remote}
	in := Translation{Private: private, Public: public, Remote: remote}
	mangled := strings.ReplaceAll(strings.ReplaceAll(algSDP, "IP4 192.168.1.10", "IP4 203.0.113.7"), "", "")
	edited := func(port string, length int) string {
		s := algInvite(mangled, length)
		s = strings.Replace(s, "UDP 192.168.1.10:5060", "UDP 203.0.113.7:"+port, 1)
		return strings.Replace(s, "<sip:100@192.168.1.10:5060>", "<sip:100@203.0.113.7:"+port+">", 1)
	}
	ringing := "SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP %s;received=%s\r\nContact: <sip:200@192.0.2.1>\r\nContent-Length: 0\r\n\r\n"
	notify := "NOTIFY sip:100@%s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060\r\nl: 0\r\n\r\n"
	for _, c := range []struct {
		name     string
		o        SIPALGOptions
		t        Translation
		in, want string
	}{
		{"out", SIPALGOptions{}, out, algInvite(algSDP, len(algSDP)), edited("5060", len(algSDP))},
		{"out, ports", SIPALGOptions{Ports: true}, out, algInvite(algSDP, len(algSDP)), edited("40000", len(algSDP))},
		{"out, length", SIPALGOptions{FixLength: true}, out, algInvite(algSDP, len(algSDP)), edited("5060", len(mangled))},
		{"out, wrong length stays", SIPALGOptions{FixLength: true}, out, algInvite(algSDP, 7), edited("5060", 7)},
		{"answer", SIPALGOptions{}, in, fmt.Sprintf(ringing, "203.0.113.7:40000", "203.0.113.7"),
			fmt.Sprintf(ringing, "192.168.1.10:40000", "192.168.1.10")},
		{"answer, ports", SIPALGOptions{Ports: true}, in, fmt.Sprintf(ringing, "203.0.113.7:40000", "203.0.113.7"),
			fmt.Sprintf(ringing, "192.168.1.10:5060", "192.168.1.10")},
		{"request", SIPALGOptions{Ports: true}, in, fmt.Sprintf(notify, "203.0.113.7:40000"), fmt.Sprintf(notify, "192.168.1.10:5060")},
		{"another's port", SIPALGOptions{Ports: true}, in, fmt.Sprintf(notify, "203.0.113.7:400001"), fmt.Sprintf(notify, "192.168.1.10:400001")},
		{"no SIP", SIPALGOptions{}, out, "\r\n\r\n", "\r\n\r\n"},
		{"half a message", SIPALGOptions{}, out, "BYE sip:192.168.1.10 SIP/2.0\r\nVia: 192.168.1.10", "BYE sip:192.168.1.10 SIP/2.0\r\nVia: 192.168.1.10"},
		{"start line alone", SIPALGOptions{}, in, "BYE sip:203.0.113.7 SIP/2.0\r\n\r\n", "BYE sip:192.168.1.10 SIP/2.0\r\n\r\n"},
		{"other ports", SIPALGOptions{Port: 5080}, out, algInvite(algSDP, 1), algInvite(algSDP, 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := strings.Clone(c.in)
			payload := []byte(c.in)
			if got := string(SIPALG(c.o)(c.t, payload)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if string(payload) != before {
				t.Error("it wrote into what it got")
			}
		})
	}
}

// What goes out comes back as it was, where the ALG is a good one.
func TestALGIsUndoneOnTheWayBack(t *testing.T) {
	natted(t, NATOptions{ALG: SIPALG(SIPALGOptions{Port: 1001, Ports: true, FixLength: true})}, func(t *testing.T, h *home) {
		sent := algInvite(algSDP, len(algSDP))
		write(t, h.phone, addrOf(h.a1), []byte(sent))
		buf := make([]byte, 2000)
		n, src, err := h.a1.ReadFromUDPAddrPort(buf)
		if err != nil || !strings.Contains(string(buf[:n]), "Via: SIP/2.0/UDP "+src.String()) {
			t.Fatalf("%s\n%v", buf[:n], err)
		}
		write(t, h.a1, src, buf[:n])
		if n, _, err = h.phone.ReadFromUDPAddrPort(buf); err != nil || string(buf[:n]) != sent {
			t.Errorf("%s\n%v", buf[:n], err)
		}
	})
}

// An address is found whole or not at all.
func TestALGFindsWholeAddresses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		from, to := netip.MustParseAddrPort("10.0.0.1:5"), netip.MustParseAddrPort("203.0.113.7:6")
		line := rapid.StringMatching(`([0-9.:;@ ]|10\.0\.0\.1){0,20}`).Draw(rt, "line")
		var want strings.Builder
		for i := 0; i < len(line); {
			whole := strings.HasPrefix(line[i:], "10.0.0.1") && (i == 0 || !partOfAddress(line[i-1])) &&
				(i+8 == len(line) || !partOfAddress(line[i+8]))
			if whole {
				want.WriteString("203.0.113.7")
				i += 8
				continue
			}
			want.WriteByte(line[i])
			i++
		}
		if got := string(SIPALGOptions{}.replace([]byte(line), from, to)); got != want.String() {
			rt.Fatalf("%q became %q, want %q", line, got, want.String())
		}
	})
}

func FuzzSIPALG(f *testing.F) {
	for _, s := range []string{"", "SIP/2.0", algInvite(algSDP, 1), "A B SIP/2.0\r\n\r\n", "SIP/2.0 200 OK\r\nv:\r\nl: 0\r\n\r\nc=\no=203.0.113.7"} {
		f.Add([]byte(s), true, true, true)
		f.Add([]byte(s), false, false, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, out, ports, fix bool) {
		tr := Translation{
			Out: out, Private: netip.AddrPortFrom(homeAddr, 5060), Public: netip.AddrPortFrom(publicAddr, 4), Remote: netip.AddrPortFrom(addrA, 5060),
		}
		alg := SIPALG(SIPALGOptions{Ports: ports, FixLength: fix})
		before := string(b)
		got := alg(tr, b)
		if string(b) != before {
			t.Fatal("it wrote into what it got")
		}
		// An address that is not there cannot be changed; what is changed stays as many lines.
		if !strings.Contains(before, tr.Private.Addr().String()) && !strings.Contains(before, tr.Public.Addr().String()) && string(got) != before && !fix {
			t.Fatalf("%q became %q", before, got)
		}
		if strings.Count(string(got), "\n") != strings.Count(before, "\n") {
			t.Fatalf("%q became %q", before, got)
		}
	})
}
