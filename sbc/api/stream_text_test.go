package api

import (
	"os"
	"strings"
	"testing"

	"sallyport/sbc/tu"
)

// The README shows a stream as the verb prints it.
func TestREADMEShowsAStream(t *testing.T) {
	s := Stream{
		Codec: "PCMA", Packet: 20,
		Outside: StreamLeg{Local: "203.0.113.10:30000", Signalled: "198.51.100.7:4000", Learned: "198.51.100.7:61000", LegStats: tu.LegStats{
			Packets: 1485, Lost: 15, Jitter: 2.5, MOSIn: 4.27, Sent: 1500, Reports: 6, FarSent: 1490, FarJitter: 3.125, RoundTrip: 41.5, MOSOut: 4.36,
			Rejected: 12, Rejections: map[string]uint64{"source": 2, "policed": 9, "junk": 1},
		}},
	}
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown, _, _ := strings.Cut(table(s.rows()), "stream 0 inside")
	if !strings.Contains(string(page), shown) {
		t.Errorf("the README shows another stream than\n%s", shown)
	}
}

func TestStreamText(t *testing.T) {
	for name, c := range map[string]struct {
		leg  StreamLeg
		want [3]string
	}{
		"nobody yet": {StreamLeg{Local: "a:1"}, [3]string{"a:1 ⇄ nobody yet", "0 packets, 0 lost, jitter 0.0 ms", "0 packets; the peer has not reported on them"}},
		"as signalled": {StreamLeg{Local: "a:1", Signalled: "b:2", Learned: "b:2"},
			[3]string{"a:1 ⇄ b:2 (learned)", "0 packets, 0 lost, jitter 0.0 ms", "0 packets; the peer has not reported on them"}},
		"all lost": {StreamLeg{Local: "a:1", Signalled: "b:2", LegStats: tu.LegStats{Lost: 5, Sent: 10, Reports: 1, FarLost: 10, FarSent: 10, FarMOS: 1}},
			[3]string{"a:1 ⇄ b:2", "0 packets, 5 lost (100.0 %), jitter 0.0 ms", "10 packets; by 1 report 10 lost (100.0 %), jitter 0.0 ms (1.0 by its own count)"}},
		"a round trip alone": {StreamLeg{Local: "a:1", Signalled: "b:2", LegStats: tu.LegStats{RoundTrip: 3}},
			[3]string{"a:1 ⇄ b:2", "0 packets, 0 lost, jitter 0.0 ms", "0 packets; the peer has not reported on them, round trip 3.0 ms"}},
	} {
		if got := [3]string{c.leg.address(), c.leg.heard(), c.leg.sent()}; got != c.want {
			t.Errorf("%s:\n%q, want\n%q", name, got, c.want)
		}
	}
	for want, l := range map[string]tu.LegStats{
		"7":                      {Rejected: 7},
		"4 junk, 4 stun, 1 auth": {Rejected: 9, Rejections: map[string]uint64{"auth": 1, "stun": 4, "junk": 4}},
	} {
		if got := Rejections(&l); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A codec's name is the peer's own text.
func TestStreamTextIsHarmless(t *testing.T) {
	s := Stream{Codec: "\x1b[31m\u202eX", AsG711: true}
	if text := table(s.rows()); strings.ContainsAny(text, "\x1b\u202e") {
		t.Errorf("%q", text)
	}
}
