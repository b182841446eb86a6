package sbc_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pionrtp "github.com/pion/rtp"

	"sallyport/nat/natlab"
	"sallyport/sbc/message"
)

// audioAt is a description of µ-law, with telephone events under a number, or none for 0.
func audioAt(at netip.AddrPort, events uint8) []byte {
	formats, more := "0", ""
	if events > 0 {
		formats = fmt.Sprintf("0 %d", events)
		more = fmt.Sprintf("a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-16\r\n", events, events)
	}
	return fmt.Appendf(nil, "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP %s\r\n%s", at.Addr(), at.Addr(), at.Port(), formats, more)
}

// press sends a key of so many milliseconds as telephone events to the gate.
func (l *lab) press(from, gate netip.AddrPort, pt, event uint8, ms int, seq *uint16, stamp uint32) {
	l.t.Helper()
	for n := 20; n <= ms+40; n += 20 {
		p := pionrtp.Packet{
			Header:  pionrtp.Header{Version: 2, PayloadType: pt, SequenceNumber: *seq, Timestamp: stamp, SSRC: 99, Marker: n == 20},
			Payload: []byte{event, 10, 0, 0},
		}
		if n >= ms {
			p.Payload[1] |= 0x80
		}
		binary.BigEndian.PutUint16(p.Payload[2:], uint16(min(n, ms)*8))
		b, err := p.Marshal()
		if err != nil {
			l.t.Fatal(err)
		}
		*seq++
		l.relay.Inject(gate, from, b)
		time.Sleep(20 * time.Millisecond)
	}
}

// keyed is a digit with its length in milliseconds, as an end heard it.
type keyed struct {
	event uint8
	ms    int
}

// keys reads the digits of what left the relay for an address, and proves that it is one stream without a gap.
func (l *lab) keys(list []sound, to netip.AddrPort, pt uint8) (out []keyed) {
	l.t.Helper()
	var last *pionrtp.Packet
	ended := map[uint32]bool{}
	for _, s := range list {
		if s.to != to {
			continue
		}
		p := &pionrtp.Packet{}
		if err := p.Unmarshal([]byte(s.payload)); err != nil {
			l.t.Fatal(err)
		}
		if last != nil && (p.SequenceNumber != last.SequenceNumber+1 || p.SSRC != last.SSRC) {
			l.t.Errorf("%v after %v", p.Header, last.Header)
		}
		last = p
		if p.PayloadType == pt && p.Payload[1]&0x80 != 0 && !ended[p.Timestamp] {
			ended[p.Timestamp] = true
			out = append(out, keyed{p.Payload[0], int(binary.BigEndian.Uint16(p.Payload[2:])) / 8})
		}
	}
	return out
}

// dial sends an INFO with a digit.
func (p *party) dial(signal string, ms int) {
	p.l.t.Helper()
	m := p.within("INFO", 0)
	m.Add("Content-Type", "application/dtmf-relay")
	m.Body = fmt.Appendf(nil, "Signal=%s\r\nDuration=%d\r\n", signal, ms)
	p.send(p.gate, m)
}

// dialled takes an INFO and returns its digit.
func (p *party) dialled() string {
	p.l.t.Helper()
	m := p.want("INFO")
	p.reply(m, 200, nil)
	kind, _ := m.Get("Content-Type")
	return kind + " " + strings.TrimSpace(strings.ReplaceAll(string(m.Body), "\r\n", " "))
}

// TestDigitsThroughTheGate: INFO on one leg, telephone events on the other, both ways, with audio and without.
func TestDigitsThroughTheGate(t *testing.T) {
	for _, tt := range []struct {
		name, dtmf string
		provider   uint8 // the number of events that the provider offers
		pbx        uint8 // the one that the PBX answers; 0: it has INFO
	}{
		{"the provider speaks INFO", "info", 0, 101},
		{"the provider speaks telephone events", "rfc4733", 96, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newGate(t, rewritten(t, labConfig, "keepalive: { method: none }", "keepalive: { method: none }\n    dtmf: "+tt.dtmf), natlab.Options{Seed: 1})
				defer l.close()
				itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
				c := l.talk(itsp, pbx, trunkSocket, audioAt(providerSound, tt.provider), audioAt(pbxSound, tt.pbx))
				outside, inside := told(t, c.shown[0], 0), told(t, c.shown[1], 0)
				// Who speaks events, where, and who INFO.
				ear, mouth, number, into, far := c.callee, c.caller, tt.pbx, inside, pbxSound
				if tt.pbx == 0 {
					ear, mouth, number, into, far = c.caller, c.callee, tt.provider, outside, providerSound
				}
				if list := string(c.shown[0]); strings.Contains(list, "telephone-event") != (tt.provider != 0) {
					t.Errorf("the provider is answered\n%s", list)
				}
				said := byte(0)
				audio := func(on bool, d time.Duration) {
					from, gate := providerSound, outside
					if far == providerSound {
						from, gate = pbxSound, inside
					}
					for range d / (20 * time.Millisecond) {
						if said++; on {
							l.relay.Inject(gate, from, rtp(0, said))
						}
						time.Sleep(20 * time.Millisecond)
					}
				}
				l.sounds.drain()
				audio(tt.pbx == 0, 200*time.Millisecond) // with audio in one of the two cases
				mouth.dial("7", 100)
				mouth.want("200 INFO")
				mouth.dial("*", 60)
				mouth.want("200 INFO")
				audio(tt.pbx == 0, 600*time.Millisecond)
				if got := fmt.Sprint(l.keys(l.sounds.drain(), far, number)); got != "[{7 100} {10 60}]" {
					t.Errorf("heard %s", got)
				}
				seq := uint16(1)
				l.press(far, into, number, 5, 200, &seq, 1000)
				l.press(far, into, number, 11, 100, &seq, 9000)
				for _, want := range []string{"application/dtmf-relay Signal=5 Duration=200", "application/dtmf-relay Signal=# Duration=100"} {
					if got := mouth.dialled(); got != want {
						t.Errorf("dialled %q, want %q", got, want)
					}
				}
				for _, s := range l.sounds.drain() {
					if b := s.payload; b[1]&0x7f != 0 {
						t.Errorf("an event goes to %v all the same", s.to)
					}
				}
				mouth.quiet(2*time.Second, "INFO")
				ear.quiet(time.Second, "INFO")
				hangup(c.caller, c.callee)
				l.empty()
			})
		})
	}
}

// TestDigitsPass: where nobody has said otherwise, digits pass as they come.
func TestDigitsPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, audioAt(providerSound, 101), audioAt(pbxSound, 101))
		outside := told(t, c.shown[0], 0)
		c.caller.dial("7", 100)
		if got := c.callee.dialled(); got != "application/dtmf-relay Signal=7 Duration=100" {
			t.Errorf("dialled %q", got)
		}
		c.caller.want("200 INFO")
		l.sounds.drain()
		seq := uint16(1)
		l.press(providerSound, outside, 101, 5, 100, &seq, 1000)
		if got := fmt.Sprint(l.keys(l.sounds.drain(), pbxSound, 101)); got != "[{5 100}]" {
			t.Errorf("heard %s", got)
		}
		c.callee.quiet(time.Second, "INFO")
		hangup(c.callee, c.caller)
		l.empty()
	})
}

// TestRefusedDigitsAreNoted: the call goes on, and `sbc why` tells of it.
func TestRefusedDigitsAreNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, rewritten(t, labConfig, "keepalive: { method: none }", "keepalive: { method: none }\n    dtmf: info"), natlab.Options{Seed: 1})
		defer l.close()
		itsp, pbx := l.wire(providerAt), l.wire(pbxAt)
		c := l.talk(itsp, pbx, trunkSocket, audioAt(providerSound, 0), audioAt(pbxSound, 101))
		inside := told(t, c.shown[1], 0)
		seq := uint16(1)
		l.press(pbxSound, inside, 101, 5, 100, &seq, 1000)
		itsp.reply(itsp.want("INFO"), 405, nil, message.Header{Name: "Allow", Value: "INVITE, ACK, BYE"})
		time.Sleep(time.Second)
		if g := l.gate.Gauges(); g.Calls != 1 {
			t.Errorf("%d calls", g.Calls)
		}
		if text := l.why(providerAt.Addr().String()); !strings.Contains(text, "INFO") || !strings.Contains(text, "refuses digits") {
			t.Errorf("why says\n%s", text)
		}
		hangup(c.caller, c.callee)
		l.empty()
	})
}
