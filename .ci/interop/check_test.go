//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// identifiers are what a dialog and its transactions are known by (RFC 3261 §8.1.1): they may not cross the gate.
var identifiers = regexp.MustCompile(`(?im)^(?:call-id|i)\s*:\s*([^\r\n]+)|;tag=([^\s;,>]+)|;branch=([^\s;,>]+)`)

// digest are the headers that pass byte for byte, or the phone's answer would not fit the PBX's question: the uri of an
// answer names the gate as the phone sees it.
var digest = regexp.MustCompile(`(?i)^(?:(?:proxy-)?authorization|(?:www|proxy)-authenticate)\s*:`)

// far is what belongs to the other side as such: its network, and the products that the scenarios name on both sides.
var far = map[string][]string{
	nsOutside: {"10.0.0.", "fd00:", "CallerProduct", "CalleeProduct"},
	nsInside:  {"203.0.113.", "2001:db8:", "CallerProduct", "CalleeProduct"},
}

// home is who lives where.
var home = map[string]string{
	provider: nsOutside, stranger: nsOutside, node1: nsInside, node2: nsInside, provider6: nsOutside, phone6: nsOutside, node6: nsInside,
}

// own reports whether the packet was sent by one who lives on its side, not by the gate.
func (p packet) own() bool { return home[p.src.Addr().String()] == p.side }

// atGate reports whether the packet was captured beside the gate, not at a host further away.
func (p packet) atGate() bool { return p.side == nsOutside || p.side == nsInside }

// leaks lists what the messages that came out of the gate on a side bear of the other side.
func leaks(all []packet, side string) (found []string) {
	marks := slices.Clone(far[side])
	for _, p := range choose(all, packet.sip, packet.atGate) {
		if p.side == side {
			continue
		}
		for _, m := range identifiers.FindAllStringSubmatch(string(p.payload), -1) {
			marks = append(marks, m[1]+m[2]+m[3]) // one of them matched
		}
	}
	slices.Sort(marks)
	marks = slices.Compact(marks)
	for _, p := range choose(all, packet.sip, on(side)) {
		if p.own() {
			continue
		}
		for line := range bytes.SplitSeq(p.payload, []byte("\r\n")) {
			if digest.Match(line) {
				continue
			}
			for _, mark := range marks {
				if bytes.Contains(line, []byte(mark)) {
					found = append(found, fmt.Sprintf("%s of the other side in %q to %s: %s", mark, p.start(), p.dst, line))
				}
			}
		}
	}
	return found
}

// noLeak fails the test for every trace of one side on the other.
func noLeak(t *testing.T, all []packet) {
	t.Helper()
	for _, side := range []string{nsOutside, nsInside} {
		for _, l := range leaks(all, side) {
			t.Errorf("%s: %s", side, l)
		}
	}
}

// audio counts the RTP of a direction at both ends.
type audio struct{ sent, heard, foreign int }

// spoken is an RTP packet without its number: of what is not relayed during a hold the listener sees no hole.
func (p packet) spoken() string { return string(p.payload[:2]) + string(p.payload[4:]) }

// relayed follows the audio from one end to the other. Foreign is what arrives and was never sent.
func relayed(all []packet, speaker, listener string) (a audio) {
	sent := map[string]bool{}
	for _, p := range choose(all, packet.rtp, packet.own, from(speaker)) {
		sent[p.spoken()] = true
		a.sent++
	}
	for _, p := range choose(all, packet.rtp, on(home[listener]), to(listener)) {
		a.heard++
		if !sent[p.spoken()] {
			a.foreign++
		}
	}
	return a
}

// audible fails the test unless both ends heard what the other said: least packets (20 ms each) and nothing else. With
// whole, no packet may be missing but those that are under way when the call ends.
func audible(t *testing.T, all []packet, caller, callee string, least int, whole bool) {
	t.Helper()
	for _, ends := range [][2]string{{caller, callee}, {callee, caller}} {
		a := relayed(all, ends[0], ends[1])
		switch {
		case a.heard < least:
			t.Errorf("audio %s to %s: %d packets sent, %d heard, want at least %d", ends[0], ends[1], a.sent, a.heard, least)
		case a.foreign > 0:
			t.Errorf("audio %s to %s: %d of %d packets heard were never sent", ends[0], ends[1], a.foreign, a.heard)
		case whole && a.heard < a.sent-15:
			t.Errorf("audio %s to %s: %d packets sent, only %d heard", ends[0], ends[1], a.sent, a.heard)
		default:
			t.Logf("audio %s to %s: %d packets sent, %d heard", ends[0], ends[1], a.sent, a.heard)
		}
	}
}

// firstTo is the first SIP message with that start of its first line that the gate sent to address.
func firstTo(all []packet, address, start string) (packet, bool) {
	for _, p := range choose(all, packet.sip, to(address)) {
		if !p.own() && strings.HasPrefix(p.start(), start) {
			return p, true
		}
	}
	return packet{}, false
}

// header is the value of a header of a message.
func (p packet) header(name string) string {
	m := regexp.MustCompile(`(?im)^` + name + `\s*:\s*([^\r\n]*)`).FindSubmatch(p.payload)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// expect fails the test unless the request that reached address has those parts, named "Request-URI" or by header.
func expect(t *testing.T, all []packet, address, method string, want map[string]string) {
	t.Helper()
	p, ok := firstTo(all, address, method+" ")
	if !ok {
		t.Errorf("no %s reached %s", method, address)
		return
	}
	for name, part := range want {
		got := p.header(name)
		if name == "Request-URI" {
			got = strings.Fields(p.start())[1]
		}
		if !strings.Contains(got, part) {
			t.Errorf("%s at %s: %s is %q, want %q in it", method, address, name, got, part)
		}
	}
}
