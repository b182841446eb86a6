//go:build interop

package interop

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// packet is one captured datagram, a TCP segment that bears something, or an ICMP error.
type packet struct {
	at       float64 // seconds since 1970
	side     string  // the namespace it was captured in
	src, dst netip.AddrPort
	payload  []byte
}

// sip reports whether the packet is a SIP message; keep-alives and audio are none.
func (p packet) sip() bool {
	line, _, found := bytes.Cut(p.payload, []byte("\r\n"))
	return found && bytes.Contains(line, []byte("SIP/2.0"))
}

// rtp reports whether the packet is RTP (RFC 3550 §5.1): version 2, and a payload type that is no RTCP (RFC 5761 §4).
func (p packet) rtp() bool {
	return len(p.payload) >= 12 && p.payload[0]>>6 == 2 && (p.payload[1]&0x7f < 64 || p.payload[1]&0x7f > 95)
}

// start is the first line of a SIP message.
func (p packet) start() string {
	line, _, _ := bytes.Cut(p.payload, []byte("\r\n"))
	return string(line)
}

// capture records at both ends, as the peers' own interfaces see it, and at the hosts named besides.
type capture struct {
	w     *world
	procs map[string]*process
}

func (w *world) capture(t *testing.T, hosts ...string) *capture {
	t.Helper()
	c := &capture{w: w, procs: map[string]*process{}}
	for _, side := range append([]string{nsOutside, nsInside}, hosts...) {
		_ = os.Remove(c.file(side))
		c.procs[side] = w.start(t, side, "capture-"+side, "dumpcap", "-q", "-i", side, "-B", "32", "-w", c.file(side))
	}
	for side, p := range c.procs {
		until(t, "capture of "+side, 10*time.Second, func() bool {
			text, _ := os.ReadFile(p.log)
			return bytes.Contains(text, []byte("File:"))
		})
	}
	return c
}

// draw records until the test ends and draws the ladder if it has failed by then.
func (w *world) draw(t *testing.T) {
	t.Helper()
	c := w.capture(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("ladder:\n%s", ladder(c.stop(t)))
		}
	})
}

func (c *capture) file(side string) string { return filepath.Join(c.w.dir, side+".pcapng") }

// stop ends the recording and returns the packets of both ends in the order of time.
func (c *capture) stop(t *testing.T) []packet {
	t.Helper()
	time.Sleep(400 * time.Millisecond) // the kernel hands packets over in blocks
	for _, p := range c.procs {
		p.signal(syscall.SIGINT)
	}
	var all []packet
	for side, p := range c.procs {
		if _, err := p.wait(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		all = append(all, read(t, side, c.file(side))...)
	}
	slices.SortStableFunc(all, func(a, b packet) int { return cmp.Compare(a.at, b.at) })
	return all
}

// read has tshark take a capture apart: one line a packet.
func read(t *testing.T, side, file string) []packet {
	t.Helper()
	cmd := exec.Command("tshark", "-n", "-r", file, "-Y", "udp or icmp or tcp.len > 0", "-T", "fields", "-E", "occurrence=f", "-e", "frame.time_epoch",
		"-e", "ip.src", "-e", "udp.srcport", "-e", "ip.dst", "-e", "udp.dstport", "-e", "icmp.type", "-e", "udp.payload",
		"-e", "tcp.srcport", "-e", "tcp.dstport", "-e", "tcp.payload", "-e", "ipv6.src", "-e", "ipv6.dst")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, errs.String())
	}
	var list []packet
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) < 12 {
			continue
		}
		if f[1] == "" {
			f[1], f[3] = f[10], f[11]
		}
		if f[7] != "" {
			f[2], f[4], f[6] = f[7], f[8], f[9]
		}
		at, _ := strconv.ParseFloat(f[0], 64)
		var payload []byte
		if f[5] == "" { // an ICMP error quotes a datagram and is none
			payload, _ = hex.DecodeString(strings.ReplaceAll(f[6], ":", ""))
		}
		list = append(list, packet{at, side, endpoint(f[1], f[2]), endpoint(f[3], f[4]), payload})
	}
	return list
}

func endpoint(address, port string) netip.AddrPort {
	a, _ := netip.ParseAddr(address)
	p, _ := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(p))
}

// from and to select by address.
func from(address string) func(packet) bool {
	return func(p packet) bool { return p.src.Addr().String() == address }
}

func to(address string) func(packet) bool {
	return func(p packet) bool { return p.dst.Addr().String() == address }
}

func on(side string) func(packet) bool { return func(p packet) bool { return p.side == side } }

// choose keeps the packets that all conditions hold for.
func choose(all []packet, conditions ...func(packet) bool) (kept []packet) {
	for _, p := range all {
		if !slices.ContainsFunc(conditions, func(c func(packet) bool) bool { return !c(p) }) {
			kept = append(kept, p)
		}
	}
	return kept
}

// ladder draws the SIP messages, for a failure's message; of a long one, beginning and end.
func ladder(all []packet) string {
	const ends = 40
	var b strings.Builder
	messages := choose(all, packet.sip)
	for i, p := range messages {
		if i == ends && len(messages) > 2*ends {
			fmt.Fprintf(&b, "  … %d messages\n", len(messages)-2*ends)
		}
		if i < ends || i >= len(messages)-ends {
			fmt.Fprintf(&b, "  %8.3f  %-7s %21s > %-21s %s\n", p.at-all[0].at, p.side, p.src, p.dst, p.start())
		}
	}
	return b.String()
}
