//go:build interop

package interop

import (
	"bytes"
	"encoding/hex"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tap has the gate capture until end is called.
func (g *gate) tap(t *testing.T, name string, args ...string) (file string, end func() string) {
	t.Helper()
	file = filepath.Join(g.w.dir, name+".pcapng")
	path, _ := filepath.Abs(*binary)
	args = append([]string{path, "capture"}, args...)
	p := g.w.start(t, nsGate, "tap-"+name, append(args, file, "--socket", filepath.Join(g.w.dir, "sbc.sock"))...)
	until(t, "capture "+name, 10*time.Second, func() bool { return strings.Contains(p.text(), "capturing") || p.ended() })
	return file, func() string {
		t.Helper()
		p.signal(syscall.SIGINT)
		code, err := p.wait(10 * time.Second)
		if err != nil || code != 0 {
			t.Errorf("sbc capture: exit code %d, %v\n%s", code, err, p.text())
		}
		return p.text()
	}
}

// fields has tshark take the packets of a filter apart.
func fields(t *testing.T, file, filter string, args ...string) (list [][]string) {
	t.Helper()
	args = append([]string{"-n", "-r", file, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Y", filter, "-T", "fields"}, args...)
	var errs bytes.Buffer
	cmd := exec.Command("tshark", args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, errs.String())
	}
	for line := range strings.Lines(string(out)) {
		list = append(list, strings.Split(strings.TrimRight(line, "\n"), "\t"))
	}
	return list
}

// TestCaptureTap: while a telephone that protects its audio calls and is called, the gate captures it by its name, decrypted,
// and by its address, as on the wire. tshark reads both files: SIP of both legs, RTP of both legs with real addresses, each
// packet with its call; of the first one the words that were said, without help and where it is told that a port is RTP; in
// neither a key.
func TestCaptureTap(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{unlimited: true})
	clear, endClear := g.tap(t, "clear", bert.aor(), "--clear", "--for", "5m")
	wire, endWire := g.tap(t, "wire", public1+"/32", "--for", "5m")
	none, endNone := g.tap(t, "none", "203.0.113.200", "--for", "5m")
	var b *baresip
	all := g.observe(t, 2, []string{bert.ns}, func() {
		b = w.baresip(t, bert, "udp", doors["udp"], 60, ";mediaenc=srtp-mand")
		b.registers(t, 1)
		w.deskRings(t, b, node1, 1)
		w.callAndHold(t, b)
		b.quit(t)
	})
	for name, end := range map[string]func() string{"clear": endClear, "wire": endWire, "none": endNone} {
		if said := end(); strings.Contains(said, "lost") || strings.Contains(said, "missed") {
			t.Errorf("%s: %s", name, said)
		} else {
			t.Log(said)
		}
	}
	seen := map[bool]int{} // at the gate's outer wire: to it, from it
	for _, p := range choose(all, packet.rtp, on(nsOutside)) {
		seen[p.src.Addr().String() == gateOutside]++
	}
	for file, size := range map[string]int{clear: 172, wire: 182} {
		tapRead(t, file, size, seen)
		for _, text := range fields(t, file, "sdp.media_attr contains \"inline:\"", "-e", "sdp.media_attr") {
			if !strings.Contains(text[0], "inline:xxxx") {
				t.Errorf("%s: a key: %s", file, text)
			}
		}
	}
	tapWords(t, clear)
	if list := fields(t, none, "frame", "-e", "frame.number"); len(list) > 0 {
		t.Errorf("%d packets of nobody", len(list))
	}
	g.stop(t)
}

// tapRead checks what any capture of the two calls has.
func tapRead(t *testing.T, file string, size int, seen map[bool]int) {
	t.Helper()
	if bad := fields(t, file, "_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0", "-e", "frame.number", "-e", "_ws.col.Info"); len(bad) > 0 {
		t.Errorf("%s: malformed: %v", file, bad)
	}
	invites := map[string]int{}
	for _, f := range fields(t, file, "sip.Method == \"INVITE\" && sip.resend == 0", "-e", "frame.interface_name") {
		side, _, _ := strings.Cut(f[0], "/")
		invites[side]++
	}
	if invites["outside"] < 4 || invites["inside"] < 4 { // two calls, hold and resume
		t.Errorf("%s: INVITEs %v", file, invites)
	}
	sides, lengths := map[string]int{}, map[string]int{}
	from := map[bool]int{}
	for _, f := range fields(t, file, "rtp && !icmp", "-e", "frame.interface_name", "-e", "ip.src", "-e", "ip.dst", "-e", "udp.length", "-e", "frame.comment") {
		sides[f[0]]++
		lengths[f[0]+" "+f[3]]++
		if f[0] == "outside media" {
			from[f[1] == gateOutside]++
			if f[1] != gateOutside && f[1] != public1 || f[2] != gateOutside && f[2] != public1 {
				t.Errorf("%s: outside from %s to %s", file, f[1], f[2])
			}
		}
		if !strings.HasPrefix(f[4], "call ") {
			t.Errorf("%s: a packet without its call: %v", file, f)
		}
	}
	t.Logf("%s: %v %v, at the wire %v", filepath.Base(file), sides, lengths, seen)
	for _, own := range []bool{false, true} {
		if from[own] < seen[own]*95/100 || from[own] == 0 {
			t.Errorf("%s: %d RTP packets from the gate %v, %d on the wire", file, from[own], own, seen[own])
		}
	}
	if sides["inside media"] < 200 || len(sides) != 2 {
		t.Errorf("%s: RTP %v", file, sides)
	}
	want := map[int]string{172: "180", 182: "190"}[size]
	if n := lengths["outside media "+want]; n < sides["outside media"]*95/100 {
		t.Errorf("%s: %d packets of %s bytes outside", file, n, want)
	}
}

// tapWords looks for what the telephone said, in the packets that came from it.
func tapWords(t *testing.T, file string) {
	t.Helper()
	ramp, ports := rampLaw(), map[string]bool{}
	for _, help := range []bool{false, true} {
		var args []string
		if help {
			for port := range ports {
				args = append(args, "-d", "udp.port=="+port+",rtp")
			}
		}
		words := 0
		for _, f := range fields(t, file, "rtp && ip.src == "+public1, append(args, "-e", "rtp.payload", "-e", "udp.dstport")...) {
			b, err := hex.DecodeString(strings.ReplaceAll(f[0], ":", ""))
			if err == nil && len(b) == 160 && bytes.Contains(ramp, b) {
				words++
			}
			ports[f[1]] = true
		}
		if words < 100 {
			t.Errorf("%d packets of the telephone's words, told which ports are RTP: %v", words, help)
		}
	}
}
