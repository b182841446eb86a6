package sbc_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/media/epoll"
	"sallyport/sbc"
	"sallyport/sbc/config"
)

// BenchmarkRegister is a phone's whole refresh through the gate, on real sockets. Relayed: REGISTER, 401, REGISTER with
// credentials, 200; with a nonce that is good still, REGISTER and 200; here: REGISTER and 200, and the PBX hears of nothing.
// The phone and the registrar are part of the process and of the figures; they do next to nothing.
func BenchmarkRegister(b *testing.B) {
	const credentials = "Authorization: Digest username=\"204\", realm=\"example.com\", nonce=\"n1\", uri=\"sip:example.com\", response=\"0\"\r\n"
	b.Run("relayed", func(b *testing.B) {
		send := registering(b, "")
		b.ReportAllocs()
		for b.Loop() {
			send("")
			send(credentials)
		}
	})
	b.Run("unchallenged", func(b *testing.B) {
		send := registering(b, "")
		b.ReportAllocs()
		for b.Loop() {
			send(credentials)
		}
	})
	b.Run("here", func(b *testing.B) {
		send := registering(b, ", registration: { inside: 1d, reauthenticate: 1d }")
		send(credentials)
		b.ReportAllocs()
		for b.Loop() {
			send(credentials)
		}
	})
}

// registering is a phone at a gate; send has it register and wait for the answer.
func registering(b *testing.B, phones string) (send func(credentials string)) {
	listen := func(at string) *net.UDPConn {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		return c
	}
	phone, pbx := listen("127.0.17.4:0"), listen("127.0.17.3:0")
	gate := netip.MustParseAddrPort("127.0.17.1:25060")
	yaml := fmt.Sprintf(`
outside: { address: 127.0.17.1, phones: { udp: 25060 }, trunks: { udp: 25080 } }
inside: { address: 127.0.17.2, phones: { udp: 25060 }, trunks: { udp: 25080 } }
media: { ports: 25100-25110 }
pbx: { domain: example.com, nodes: [ { address: "%s" } ], health: { interval: 0 } }
phones: { keepalive: { interval: 0 }%s }
policy: { rate_limits: [], strangers: { rate: 100000/second, burst: 100000 } }
trunks: []
cdr: { directory: %s }
`, pbx.LocalAddr(), phones, b.TempDir())
	snap, report := config.Parse("bench.yaml", []byte(yaml), config.Flags{})
	if snap == nil {
		b.Fatal(report.String())
	}
	g, err := sbc.New(snap, sbc.Options{Relay: epoll.New(epoll.Options{}), Records: &tally{}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); g.Run(ctx) }()
	b.Cleanup(func() { stop(); <-ended })
	go func() { // the registrar: challenges what has no credentials
		buf := make([]byte, 4096)
		for {
			n, from, err := pbx.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = pbx.WriteToUDPAddrPort(registrarAnswer(buf[:n]), from)
		}
	}()
	cseq := 0
	return func(credentials string) {
		cseq++
		m := fmt.Sprintf("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.20:5060;branch=z9hG4bK%d;rport\r\n"+
			"Max-Forwards: 70\r\nFrom: <sip:204@example.com>;tag=abc\r\nTo: <sip:204@example.com>\r\nCall-ID: 1234@192.168.1.20\r\n"+
			"CSeq: %d REGISTER\r\nContact: <sip:204@192.168.1.20:5060>\r\nExpires: 3600\r\nUser-Agent: bench\r\n%sContent-Length: 0\r\n\r\n",
			cseq, cseq, credentials)
		if _, err := phone.WriteToUDPAddrPort([]byte(m), gate); err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 4096)
		_ = phone.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, _, err := phone.ReadFromUDPAddrPort(buf)
		if err != nil {
			b.Fatal(err)
		}
		want := "SIP/2.0 401"
		if credentials != "" {
			want = "SIP/2.0 200"
		}
		if !strings.HasPrefix(string(buf[:n]), want) {
			b.Fatalf("%s", buf[:n])
		}
	}
}

func registrarAnswer(req []byte) []byte {
	code, extra := "401 Unauthorized", "WWW-Authenticate: Digest realm=\"example.com\", nonce=\"n1\", qop=\"auth\"\r\n"
	if bytes.Contains(req, []byte("\r\nAuthorization:")) {
		code, extra = "200 OK", ""
	}
	out := []byte("SIP/2.0 " + code + "\r\n")
	for line := range bytes.Lines(req) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "Via", "From", "Call-ID", "CSeq":
			out = append(out, line...)
		case "To":
			out = append(append(out, bytes.TrimRight(line, "\r\n")...), ";tag=pbx\r\n"...)
		case "Contact":
			if extra == "" {
				out = append(out, line...)
			}
		}
	}
	return append(append(out, extra...), "Content-Length: 0\r\n\r\n"...)
}
