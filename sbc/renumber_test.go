package sbc_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pionrtp "github.com/pion/rtp"

	"sallyport/nat/natlab"
)

// speaking is a description with these formats, as NUMBER=ENCODING.
func speaking(addr netip.Addr, port int, lines string, formats ...string) []byte {
	var numbers, maps strings.Builder
	for _, f := range formats {
		number, encoding, mapped := strings.Cut(f, "=")
		numbers.WriteString(" " + number)
		if mapped {
			maps.WriteString("a=rtpmap:" + number + " " + encoding + "\r\n")
		}
	}
	return fmt.Appendf(nil, "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP%s\r\n%s%s",
		addr, addr, port, &numbers, &maps, lines)
}

// mouth is a source of audio at an address.
type mouth struct {
	at   netip.AddrPort
	ssrc uint32
	seq  uint16
	time uint32
	pt   uint8
}

// speaks lets a source send its next packet to the gate, 20 ms after what was before, and returns what comes out, nil if nothing.
func (l *lab) speaks(m *mouth, gate, to netip.AddrPort) *pionrtp.Packet {
	l.t.Helper()
	time.Sleep(20 * time.Millisecond)
	l.sounds.drain()
	b, err := (&pionrtp.Packet{
		Header:  pionrtp.Header{Version: 2, PayloadType: m.pt, SequenceNumber: m.seq, Timestamp: m.time, SSRC: m.ssrc},
		Payload: []byte{byte(m.seq), 1, 2, 3},
	}).Marshal()
	if err != nil {
		l.t.Fatal(err)
	}
	m.seq, m.time = m.seq+1, m.time+160
	l.relay.Inject(gate, m.at, b)
	got := l.sounds.drain()
	if len(got) == 0 {
		return nil
	}
	p := &pionrtp.Packet{}
	if err := p.Unmarshal([]byte(got[0].payload)); err != nil || len(got) != 1 || got[0].to != to {
		l.t.Fatalf("%v, %d datagrams, the first to %v, want %v", err, len(got), got[0].to, to)
	}
	return p
}

// ear is what a peer hears, which must be one voice.
type ear struct {
	t    *testing.T
	last *pionrtp.Packet
}

// hears checks that a packet goes on with what was heard: the SSRC, the next number, a later time.
func (e *ear) hears(p *pionrtp.Packet, pt uint8) {
	e.t.Helper()
	if p == nil || p.PayloadType != pt {
		e.t.Fatalf("%v, want payload type %d", p, pt)
	}
	if l := e.last; l != nil && (p.SSRC != l.SSRC || p.SequenceNumber != l.SequenceNumber+1 || int32(p.Timestamp-l.Timestamp) <= 0) {
		e.t.Fatalf("%+v\nafter %+v", p.Header, l.Header)
	}
	e.last = p
}

// reoffer changes a call from its callee's side and returns what the caller and then the callee was told.
func (l *lab) reoffer(c *talk, offer, answer []byte) (offered, answered []byte) {
	l.t.Helper()
	m := withBody(c.callee.within("INVITE", 0), offer)
	c.callee.send(c.callee.gate, m)
	arrived := c.caller.want("INVITE")
	c.caller.reply(arrived, 200, answer)
	answered = c.callee.want("200 INVITE").Body
	c.callee.send(c.callee.gate, c.callee.within("ACK", m.CSeq))
	c.caller.want("ACK")
	return arrived.Body, answered
}

// hasLine reports whether a description has a line.
func hasLine(sdp []byte, line string) bool { return strings.Contains(string(sdp), "\r\n"+line+"\r\n") }

// A call is transferred behind the PBX to a telephone with other payload types and another source: the provider keeps its
// numbers, and hears one voice going on.
func TestTransferKeepsNumbersAndVoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		offer := speaking(providerAt.Addr(), 4000, "a=ssrc:1 cname:x\r\n", "96=opus/48000/2", "0", "101=telephone-event/8000")
		c := l.talk(itsp, pbx, trunkSocket, offer, speaking(pbxAt.Addr(), 4002, "", "0", "101=telephone-event/8000"))
		if hasLine(c.shown[1], "a=ssrc:1 cname:x") {
			t.Error("an SSRC is told that will not be kept")
		}
		outside, inside := told(t, c.shown[0], 0), told(t, c.shown[1], 0)
		first := &mouth{at: pbxSound, ssrc: 5, seq: 1000, time: 1}
		provider := &mouth{at: providerSound, ssrc: 6, seq: 9}
		heard, back := &ear{t: t}, &ear{t: t}
		for range 10 {
			heard.hears(l.speaks(first, inside, providerSound), 0)
			back.hears(l.speaks(provider, outside, pbxSound), 0)
		}

		second := netip.AddrPortFrom(pbxAt.Addr(), 4010)
		shown, answered := l.reoffer(&c, speaking(pbxAt.Addr(), 4010, "", "0", "96=telephone-event/8000", "8"),
			speaking(providerAt.Addr(), 4000, "", "0", "101=telephone-event/8000", "8"))
		if !hasLine(shown, "a=rtpmap:101 telephone-event/8000") || hasLine(shown, "a=rtpmap:96 telephone-event/8000") {
			t.Errorf("the provider is told\n%s", shown)
		}
		if !hasLine(answered, "a=rtpmap:96 telephone-event/8000") {
			t.Errorf("the PBX is told\n%s", answered)
		}
		other := &mouth{at: second, ssrc: 77, seq: 60000, time: 1 << 30}
		p := l.speaks(other, inside, providerSound)
		if heard.hears(p, 0); !p.Marker {
			t.Error("a new voice begins without a marker")
		}
		other.pt, provider.pt = 96, 101
		heard.hears(l.speaks(other, inside, providerSound), 101)
		back.hears(l.speaks(provider, outside, second), 96)
		other.pt = 0
		heard.hears(l.speaks(other, inside, providerSound), 0)
		hangup(c.caller, c.callee)
		l.empty()
	})
}

// The PBX holds and plays music of another source; on resume the first one comes back where it is by then.
func TestHoldMusicIsTheSameVoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
		outside, inside := told(t, c.shown[0], 0), told(t, c.shown[1], 0)
		voice := &mouth{at: pbxSound, ssrc: 5, seq: 65530}
		provider := &mouth{at: providerSound, ssrc: 6, seq: 9}
		heard, back := &ear{t: t}, &ear{t: t}
		for range 10 {
			heard.hears(l.speaks(voice, inside, providerSound), 0)
			back.hears(l.speaks(provider, outside, pbxSound), 0)
		}
		l.reoffer(&c, hold(sdpAt(pbxAt.Addr(), 4002)), append(sdpAt(providerAt.Addr(), 4000), "a=recvonly\r\n"...))
		music := &mouth{at: pbxSound, ssrc: 99, seq: 3, time: 7}
		for range 100 {
			heard.hears(l.speaks(music, inside, providerSound), 0)
			if l.speaks(provider, outside, pbxSound) != nil {
				t.Fatal("the PBX hears whom it holds")
			}
		}
		l.reoffer(&c, sdpAt(pbxAt.Addr(), 4002), sdpAt(providerAt.Addr(), 4000))
		voice.time += 160 * 220 // it has been playing to itself
		for range 10 {
			heard.hears(l.speaks(voice, inside, providerSound), 0)
			back.hears(l.speaks(provider, outside, pbxSound), 0)
		}
		hangup(c.caller, c.callee)
		l.empty()
	})
}

// Two forks ring with announcements of their own, each with its numbers; the caller hears one voice in its own numbers, and
// goes on hearing it when one of them answers.
func TestForkedEarlyMediaIsOneVoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		invite := withBody(itsp.request("INVITE", trunkSocket, "100"), speaking(providerAt.Addr(), 4000, "", "96=opus/48000/2"))
		itsp.send(trunkSocket, invite)
		arrived := pbx.want("INVITE")
		inside := told(t, arrived.Body, 0)
		heard := &ear{t: t}
		tag := arrived.To.Tag
		forks := []struct {
			port   int
			number string
			pt     uint8
		}{{4002, "111=opus/48000/2", 111}, {4012, "120=opus/48000/2", 120}}
		for i, f := range forks {
			arrived.To.Tag = fmt.Sprint("fork", i)
			pbx.reply(arrived, 183, speaking(pbxAt.Addr(), f.port, "", f.number))
			if early := itsp.want("183 INVITE"); !hasLine(early.Body, "a=rtpmap:96 opus/48000/2") {
				t.Fatalf("told\n%s", early.Body)
			}
			m := &mouth{at: netip.AddrPortFrom(pbxAt.Addr(), uint16(f.port)), ssrc: uint32(i) + 50, seq: uint16(i) * 30000, pt: f.pt}
			for range 10 {
				heard.hears(l.speaks(m, inside, providerSound), 96)
			}
		}
		arrived.To.Tag = "fork0"
		pbx.reply(arrived, 200, speaking(pbxAt.Addr(), 4002, "", "111=opus/48000/2"))
		arrived.To.Tag = tag
		final := itsp.want("200 INVITE")
		caller, callee := l.ends(itsp, pbx, trunkSocket, invite, arrived, final)
		callee.dlg.Local.Tag = "fork0"
		itsp.send(trunkSocket, caller.within("ACK", 1))
		pbx.want("ACK")
		winner := &mouth{at: pbxSound, ssrc: 50, seq: 10, time: 160 * 40, pt: 111}
		for range 10 {
			heard.hears(l.speaks(winner, inside, providerSound), 96)
		}
		outside := told(t, final.Body, 0)
		back := &ear{t: t}
		back.hears(l.speaks(&mouth{at: providerSound, ssrc: 6, pt: 96}, outside, pbxSound), 111)
		hangup(caller, callee)
	})
}
