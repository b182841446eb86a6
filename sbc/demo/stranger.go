package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"sallyport/sbc/api"
	"sallyport/sbc/config"
)

// hush is how long the stranger waits for an answer.
const hush = 400 * time.Millisecond

// attack is a stranger's request.
type attack struct{ name, text string }

// attacks are what scanners send: a probe, a call under a scanner's name, and a call that claims to come from somebody
// known (a provider or a phone, by its address) in every header field.
func attacks(gate, known, from netip.AddrPort, who string) []attack {
	request := func(method, agent, lower, who string) string {
		return fmt.Sprintf("%[1]s sip:+4930100@%[2]s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;branch=z9hG4bK%[1]s%[6]d\r\n%[5]s"+
			"Max-Forwards: 70\r\nFrom: <sip:%[8]s@%[4]s>;tag=%[6]d\r\nTo: <sip:+4930100@%[2]s>\r\nCall-ID: %[1]s%[6]d@%[4]s\r\n"+
			"CSeq: 1 %[1]s\r\nContact: <sip:%[8]s@%[4]s>\r\n%[7]sContent-Length: 0\r\n\r\n",
			method, gate, from, who, lower, len(agent), agent, phoneUser)
	}
	us, them := from.String(), known.String()
	return []attack{
		{"OPTIONS", request("OPTIONS", "", "", us)},
		{"INVITE of friendly-scanner", request("INVITE", "User-Agent: friendly-scanner\r\n", "", us)},
		{"INVITE with the " + who + "'s address in a lower Via, From and Contact",
			request("INVITE", "User-Agent: PBX\r\n", "Via: SIP/2.0/UDP "+them+";branch=z9hG4bKp\r\n", them)},
	}
}

func scanned(ctx context.Context, h *house, s *Scene) {
	h.scan(ctx, s, h.addresses.Stranger, h.addresses.Outside, h.addresses.Provider, "provider")
}

// scannedPhones scans the port where phones may come from anywhere.
func scannedPhones(ctx context.Context, h *house, s *Scene) {
	h.scan(ctx, s, h.addresses.Scanner, h.addresses.OutsidePhones, netip.AddrPortFrom(h.addresses.Phone, h.addresses.PhoneHome.Port()), "phone")
}

// scan sends what a stranger would and listens for an answer, of which there must be none.
func (h *house) scan(ctx context.Context, s *Scene, stranger netip.Addr, gate, known netip.AddrPort, who string) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(stranger, 0)))
	if err != nil {
		s.problem("no socket for the stranger: %v", err)
		return
	}
	defer func() { _ = conn.Close() }()
	for _, a := range attacks(gate, known, conn.LocalAddr().(*net.UDPAddr).AddrPort(), who) {
		if _, err := conn.WriteToUDPAddrPort([]byte(a.text), gate); err != nil {
			s.problem("%s not sent: %v", a.name, err)
		}
		s.finding("sent      %s", a.name)
	}
	buf := make([]byte, 2048)
	_ = conn.SetReadDeadline(time.Now().Add(hush))
	n, _, err := conn.ReadFromUDPAddrPort(buf)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		line, _, _ := strings.Cut(string(buf[:n]), "\r\n")
		s.problem("the stranger heard %q: somebody is there (%v)", line, err)
	} else {
		s.finding("heard     nothing, within %v", hush)
	}
	if _, invites := h.traffic.end(); invites > 0 {
		s.problem("%d INVITEs of the stranger reached the PBX", invites)
	} else {
		s.finding("the PBX   heard nothing")
	}
	h.explain(ctx, s, stranger)
}

// explain shows what `sbc why` says of the stranger.
func (h *house) explain(ctx context.Context, s *Scene, stranger netip.Addr) {
	why, err := h.control().Why(ctx, stranger.String())
	if err != nil {
		s.problem("sbc why: %v", err)
		return
	}
	s.shown("sbc why "+stranger.String(), why.Text)
	if why.Allowed {
		s.problem("sbc why says that the stranger would be let in")
	}
	if !strings.Contains(string(why.Detail), `"refused":3`) {
		s.problem("sbc why does not know of the 3 refused requests: %s", why.Detail)
	}
}

// control is what the verbs of `sbc` ask.
func (h *house) control() api.Control {
	return h.gate.Control(func() (*config.Snapshot, config.Report) {
		return config.Parse("demonstration", h.addresses.yaml(), config.Flags{})
	})
}
