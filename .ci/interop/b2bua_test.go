//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"
)

// trunkGate starts the program with further lines for its trunk.
func (w *world) trunkGate(t *testing.T, lines ...string) *gate {
	t.Helper()
	c := fmt.Sprintf(document, "0s", "none", w.dir, "debug", "30000-31000")
	for _, l := range lines {
		c = strings.Replace(c, "    keepalive:", "    "+l+"\n    keepalive:", 1)
	}
	return w.run(t, c, gateOutside+":5080", gateInside+":5080")
}

// both makes every call in both directions through one gate.
func both(t *testing.T, g *gate, calls []call) {
	t.Helper()
	for _, d := range directions {
		for _, c := range calls {
			t.Run(d.name+"/"+c.name, func(t *testing.T) {
				all := g.call(t, d, c)
				if c.audio > 0 {
					afterEach(t, all, d.ends(), c.held)
				}
			})
		}
	}
}

// agreements are the times at which a session was agreed upon or changed: a 2xx to INVITE or UPDATE has left the gate.
func agreements(all []packet) (at []float64) {
	for _, p := range choose(all, packet.sip) {
		cseq := p.header("CSeq")
		if !p.own() && strings.HasPrefix(p.start(), "SIP/2.0 2") && (strings.HasSuffix(cseq, "INVITE") || strings.HasSuffix(cseq, "UPDATE")) {
			at = append(at, p.at)
		}
	}
	return at
}

// ends are where the two of a call live.
func (d direction) ends() []string { return []string{d.caller.address, d.callee.address} }

// afterEach fails the test unless these ends hear the other one after each agreement, until the next one or a BYE. With held only
// the last one counts: those before interrupt the audio on purpose.
func afterEach(t *testing.T, all []packet, ends []string, held bool) {
	t.Helper()
	const settled, least = 0.1, 0.25 // seconds: until audio follows, and the shortest time that tells something
	at := agreements(all)
	if held && len(at) > 0 {
		at = at[len(at)-1:]
	}
	end := all[len(all)-1].at
	for _, p := range choose(all, packet.sip) {
		if strings.HasPrefix(p.start(), "BYE ") {
			end = min(end, p.at)
		}
	}
	for i, begin := range at {
		until := end
		if i+1 < len(at) {
			until = at[i+1]
		}
		if begin += settled; until-begin < least {
			continue
		}
		for _, who := range ends {
			heard := choose(all, packet.rtp, on(home[who]), to(who), func(p packet) bool { return !p.own() && p.at >= begin && p.at < until })
			if want := int((until - begin) / 0.02 * 0.7); len(heard) < want {
				t.Errorf("%s hears %d packets in the %.2f s after agreement %d of %d, want at least %d", who, len(heard), until-begin, i+1, len(at), want)
			}
		}
	}
}

// TestReliable: 100rel on one leg alone, either one, and on both (RFC 3262); late offers in the first reliable response and in
// the 2xx, while the other leg has no PRACK to answer in.
func TestReliable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.trunkGate(t)
	both(t, g, []call{
		{name: "callee alone", caller: "caller-early", callee: "callee-reliable", audio: 60},
		{name: "caller alone", caller: "caller-insists", callee: "callee-early", audio: 60},
		{name: "both", caller: "caller-insists", callee: "callee-reliable", audio: 50},
		{name: "caller alone, offer in 200", caller: "caller-late-insists", callee: "callee-delayed", audio: 35},
		{name: "offer in 183, answer in PRACK", caller: "caller-late-early", callee: "callee-late-early", audio: 40},
	})
	g.stop(t)
}

// TestUpdate: UPDATE before the answer and after it, by either end, and where a callee has none (RFC 3311); a re-INVITE without an
// offer.
func TestUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.trunkGate(t)
	both(t, g, []call{
		{name: "offer in the answer to a re-INVITE", caller: "caller-reinvites-empty", callee: "callee-reoffers", audio: 40},
		{name: "UPDATE", caller: "caller-updates", callee: "callee-updates", audio: 40, held: true},
		{name: "UPDATE becomes re-INVITE", caller: "caller-updates-late", callee: "callee-no-update", audio: 40, held: true},
	})
	g.stop(t)
}

// TestForks: two early dialogs of one call; the caller hears the last that speaks. Both answer: the second gets ACK and BYE.
func TestForks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.trunkGate(t)
	both(t, g, []call{{name: "second 2xx", caller: "caller-hears-forks", callee: "callee-forks", audio: 40}})
	g.stop(t)
}

// TestCodecLists: what a list leaves, in its order, whoever offers; without a common codec nobody is called.
func TestCodecLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.trunkGate(t, "codecs: [ PCMA, PCMU ]")
	for _, d := range directions {
		t.Run(d.name+"/order", func(t *testing.T) {
			all := g.call(t, d, call{caller: "caller-prefers", callee: "callee", audio: 30})
			p, _ := firstTo(all, d.callee.address, "INVITE ")
			if text := string(p.payload); !strings.Contains(text, " RTP/AVP 8 0 101\r\n") || strings.Contains(text, "G729") || strings.Contains(text, "G722") {
				t.Errorf("offered: %s", text)
			}
		})
		t.Run(d.name+"/none left", func(t *testing.T) {
			caller := d.caller
			caller.scenario = "caller-exotic"
			all := g.observe(t, 1, nil, func() { w.verdict(t, w.sipp(t, caller)) })
			if p, ok := firstTo(all, d.callee.address, "INVITE "); ok {
				t.Errorf("the callee hears %s", p.payload)
			}
		})
	}
	g.stop(t)
}

// TestHoldSpellings: inactive, sendonly, recvonly and 0.0.0.0 pass as they are, and the call comes back from each.
func TestHoldSpellings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.trunkGate(t)
	both(t, g, []call{{name: "every spelling", caller: "caller-spells", callee: "callee-spelled", audio: 45, held: true}})
	g.stop(t)
}
