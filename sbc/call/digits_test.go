package call

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/media/sdp"
	"sallyport/sbc/message"
	"sallyport/sbc/tu"
)

// TestTruthTable is the table of the package documentation, every cell of it: what becomes of an event and of an INFO on the
// way from one leg to the other, by what both speak and whether each has agreed on events.
func TestTruthTable(t *testing.T) {
	const p, r, i = tu.DTMFPass, tu.DTMFEvents, tu.DTMFInfo
	both, near, far, none := [2]bool{true, true}, [2]bool{true, false}, [2]bool{false, true}, [2]bool{}
	type cell struct{ events, info bool } // converted
	for _, row := range []struct {
		from, to tu.DTMF
		events   [4]cell // both, near, far, none
	}{
		{p, p, [4]cell{}},
		{r, r, [4]cell{}},
		{i, i, [4]cell{}},
		{p, r, [4]cell{{false, true}, {}, {false, true}, {}}},
		{p, i, [4]cell{{true, false}, {true, false}, {}, {}}},
		{r, p, [4]cell{{}, {true, false}, {}, {}}},
		{r, i, [4]cell{{true, false}, {true, false}, {}, {}}},
		{i, p, [4]cell{{false, true}, {}, {false, true}, {}}},
		{i, r, [4]cell{{false, true}, {}, {false, true}, {}}},
	} {
		c := &Call{}
		c.legs[caller].peer, c.legs[callee].peer = &tu.Peer{}, &tu.Peer{}
		c.legs[caller].peer.Media.DTMF, c.legs[callee].peer.Media.DTMF = row.from, row.to
		for n, agreed := range [4][2]bool{both, near, far, none} {
			got := cell{c.toInfo(caller, agreed), c.toEvents(caller, agreed)}
			if got != row.events[n] {
				t.Errorf("%v to %v, events agreed %v: %+v, want %+v", row.from, row.to, agreed, got, row.events[n])
			}
		}
	}
}

func TestParseDigit(t *testing.T) {
	tone := func(event uint8, ms uint16) tu.Tone { return tu.Tone{Event: event, Volume: volumeTone, Duration: ms} }
	for _, tt := range []struct {
		kind digitKind
		body string
		want tu.Tone
		ok   bool
	}{
		{relayDigit, "Signal=5\r\nDuration=160\r\n", tone(5, 160), true},
		{relayDigit, "Signal= 5 \nDuration= 250", tone(5, 250), true},
		{relayDigit, "signal=*\r\nduration=100", tone(10, 100), true},
		{relayDigit, "SIGNAL = #", tone(11, 160), true},
		{relayDigit, "Duration=90\r\nSignal=d\r\n", tone(15, 90), true},
		{relayDigit, "Signal=10", tone(10, 160), true},
		{relayDigit, "Signal= 11", tone(11, 160), true},
		{relayDigit, "Signal=\"7\"\r\n\r\n\r\n", tone(7, 160), true},
		{relayDigit, "Signal=16", tone(16, 160), true},
		{relayDigit, "Signal=!", tone(16, 160), true},
		{relayDigit, "Signal=Flash", tone(16, 160), true},
		{relayDigit, "Signal=1\r\nDuration=1", tone(1, 40), true},
		{relayDigit, "Signal=1\r\nDuration=99999", tone(1, 5000), true},
		{relayDigit, "Signal=1\r\nDuration=99999999999999999999", tone(1, 160), true},
		{relayDigit, "Signal=1\r\nDuration=-1", tone(1, 160), true},
		{relayDigit, "Signal=1\r\nDuration=", tone(1, 160), true},
		{relayDigit, "Signal=1\r\nX=2\r\nvolume", tone(1, 160), true},
		{relayDigit, "5", tu.Tone{}, false},
		{relayDigit, "", tu.Tone{}, false},
		{relayDigit, "Signal=", tu.Tone{}, false},
		{relayDigit, "Signal=17", tu.Tone{}, false},
		{relayDigit, "Signal=005", tu.Tone{}, false},
		{relayDigit, "Signal=E", tu.Tone{}, false},
		{relayDigit, "Signal=12\x003", tu.Tone{}, false},
		{relayDigit, "Duration=100", tu.Tone{}, false},
		{relayDigit, "Signal=1" + strings.Repeat(" ", mostDigit), tu.Tone{}, false},
		{plainDigit, "5", tone(5, 160), true},
		{plainDigit, " a\r\n", tone(12, 160), true},
		{plainDigit, "#", tone(11, 160), true},
		{plainDigit, "Signal=9\r\nDuration=80\r\n", tone(9, 80), true},
		{plainDigit, "55", tu.Tone{}, false},
		{plainDigit, "DTMF#", tu.Tone{}, false},
		{plainDigit, "", tu.Tone{}, false},
	} {
		got, ok := parseDigit(tt.kind, []byte(tt.body))
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q: %+v %v, want %+v %v", tt.body, got, ok, tt.want, tt.ok)
		}
	}
}

func TestDigitType(t *testing.T) {
	for kind, want := range map[string]digitKind{
		"application/dtmf-relay": relayDigit, "Application/DTMF-Relay": relayDigit, "application/dtmf-relay;charset=utf-8": relayDigit,
		"application/dtmf": plainDigit, "application/dtmf ; x=y": plainDigit, "": noDigit, "application/dtmf-": noDigit,
		"application/media_control+xml": noDigit, "text/plain": noDigit, ";;": noDigit,
	} {
		m := &message.Message{}
		m.Set("Content-Type", kind)
		if got := digitType(m); got != want {
			t.Errorf("%q: %v, want %v", kind, got, want)
		}
	}
}

// What we write we read, in both forms.
func TestDigitsWrittenAndRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := tu.DigitHeard{Event: rapid.Uint8Range(0, flash).Draw(t, "event"), Duration: rapid.Uint16().Draw(t, "duration")}
		plain := rapid.Bool().Draw(t, "plain")
		m := &message.Message{}
		writeDigit(m, d, plain)
		got, ok := parseDigit(digitType(m), m.Body)
		want := min(max(d.Duration, shortestTone), longestTone)
		if plain {
			want = defaultTone
		}
		if !ok || got.Event != d.Event || got.Duration != want {
			t.Fatalf("%q: %+v %v", m.Body, got, ok)
		}
	})
}

func FuzzParseDigit(f *testing.F) {
	for _, s := range []string{"Signal=5\r\nDuration=160\r\n", "5", "Signal= #\nDuration=", "signal=\"16\"", "=", "Signal=1\r\rSignal=2", "\xff=\x00"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, body string, plain bool) {
		kind := relayDigit
		if plain {
			kind = plainDigit
		}
		tone, ok := parseDigit(kind, []byte(body))
		if !ok {
			return
		}
		if tone.Event > flash || tone.Duration < shortestTone || tone.Duration > longestTone || tone.Volume > 63 {
			t.Errorf("%q: %+v", body, tone)
		}
		m := &message.Message{}
		writeDigit(m, tu.DigitHeard{Event: tone.Event, Duration: tone.Duration}, false)
		if again, ok := parseDigit(relayDigit, m.Body); !ok || again != tone {
			t.Errorf("%q became %q: %+v", body, m.Body, again)
		}
	})
}

// TestEventsNeverOfferedAreNeverAnswered: whatever both sides speak and have, an answer names only what was offered, an m=
// line keeps a codec, and no two formats have one number.
func TestEventsNeverOfferedAreNeverAnswered(t *testing.T) {
	const te, wide = "101=telephone-event/8000", "96=telephone-event/48000"
	lists := []string{"0", "0+" + te, te + "+0", "111=opus/48000/2", "111=opus/48000/2+" + te + "+" + wide, "101=opus/48000/2", "0+101=opus/48000/2+97=telephone-event/8000", te}
	for n := range 3 * 3 * len(lists) * len(lists) {
		from, to := tu.DTMF(n%3), tu.DTMF(n/3%3)
		offer, answer := lists[n/9%len(lists)], lists[n/9/len(lists)]
		p := &player{t: t, stage: newStage(t, "itsp1"), names: map[string]string{}}
		p.hop[caller].Peer.Media.DTMF = from
		p.event("a INVITE sdp=audio:4000::" + offer)
		p.event(fmt.Sprintf("routed node1 dtmf=%s", to))
		p.event("reserved 1")
		sent := p.clients[p.refs[0]].msg.Body
		p.event("b 200 sdp=audio:4002::" + common(formatsIn(t, sent), formatsIn(t, describe(node1, "audio:4002::"+answer))))
		name := fmt.Sprintf("%v %s, %v %s", from, offer, to, answer)
		if p.servers[1].final == 488 || bytes.Contains(p.servers[1].sent.Body, []byte("m=audio 0 ")) {
			if voice(formatsIn(t, describe(itsp1, "audio:4000::"+offer)), formatsIn(t, describe(node1, "audio:4002::"+answer))) {
				t.Errorf("%s: declined", name)
			}
			p.lawless = true
			continue
		}
		told, said := formatsIn(t, p.servers[1].sent.Body), formatsIn(t, describe(itsp1, "audio:4000::"+offer))
		for _, f := range told {
			if isEvent(f) && !slices.Contains(said, f) {
				t.Errorf("%s: the answer names %v, which nobody offered", name, f)
			}
		}
		for _, list := range [][]sdp.Format{told, formatsIn(t, sent)} {
			var seen tu.Payloads
			for _, f := range list {
				if seen.Has(f.Number) {
					t.Errorf("%s: %d twice", name, f.Number)
				}
				seen.Add(f.Number)
			}
			if len(list) == 0 {
				t.Errorf("%s: no format left", name)
			}
		}
		if speech := len(formatsIn(t, sent)) > 1; speech && to == tu.DTMFInfo && from != to && bytes.Contains(sent, []byte(eventName)) {
			t.Errorf("%s: events are offered to who speaks INFO", name)
		}
		p.lawless = true
	}
}

// voice reports whether two lists have a codec in common.
func voice(a, b []sdp.Format) bool {
	return slices.ContainsFunc(a, func(f sdp.Format) bool {
		return !besideVoice(f) && slices.ContainsFunc(b, func(x sdp.Format) bool { return x.Codec == f.Codec })
	})
}

// common is the answer of a peer that has some codecs to an offer.
func common(offer, has []sdp.Format) string {
	var list []string
	for _, f := range offer {
		if slices.ContainsFunc(has, func(x sdp.Format) bool { return x.Codec == f.Codec }) {
			list = append(list, fmt.Sprintf("%d=%s", f.Number, f.Codec))
		}
	}
	if len(list) == 0 {
		return fmt.Sprintf("%d=%s", offer[0].Number, offer[0].Codec)
	}
	return strings.Join(list, "+")
}

func formatsIn(t *testing.T, body []byte) []sdp.Format {
	t.Helper()
	s, err := sdp.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	return s.Formats(0)
}
