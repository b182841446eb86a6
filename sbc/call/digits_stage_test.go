package call

import (
	"fmt"
	"strings"

	"sallyport/sbc/tu"
)

// What golden files say of digits.

func dtmfOf(word string) tu.DTMF {
	return map[string]tu.DTMF{"rfc4733": tu.DTMFEvents, "info": tu.DTMFInfo}[word]
}

// digitBody is an INFO's body: relay=SIGNAL/DURATION or plain=SIGNAL.
func digitBody(form, value string) (body []byte, kind string) {
	if form == "plain" {
		return []byte(value), "application/dtmf"
	}
	signal, duration, _ := strings.Cut(value, "/")
	return fmt.Appendf(nil, "Signal=%s\r\nDuration=%s\r\n", signal, duration), "application/dtmf-relay"
}

// digit is word of the relay: digit N leg=a volume=10 duration=100 stream=0.
func (p *player) digit(event string, w words) []tu.Action {
	leg := callee
	if w["leg"] == "a" {
		leg = caller
	}
	var n uint8
	_, _ = fmt.Sscan(event, &n)
	return p.step(tu.DigitHeard{
		Stream: w.Number("stream", 0), Side: p.hop[leg].Peer.Side, Event: n, Volume: uint8(w.Number("volume", 10)),
		Duration: uint16(w.Number("duration", 100)),
	})
}

// keysText is the part that a leg has in digits.
func keysText(a tu.Aim) string {
	if a.Events.Payload == 0 {
		return ""
	}
	text := fmt.Sprintf(" events:%d/%d", a.Events.Payload, a.Events.Clock)
	if a.Events.Report {
		text += ":told"
	}
	for n, t := range a.Tones.List[:a.Tones.Count] {
		text += fmt.Sprintf(" tone%d=%s/%d@-%d", int(a.Tones.Serial)-int(a.Tones.Count)+n+1, signalOf(t.Event), t.Duration, t.Volume)
	}
	return text
}
