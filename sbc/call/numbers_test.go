package call

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/media/sdp"
	"sallyport/sbc/tu"
)

// negotiation is two legs that describe one stream to each other, with a naive memory of all that each has seen.
type negotiation struct {
	t    tester
	c    *Call
	seen [2]map[uint8]string // what a number means to a leg
	in   [2]formats          // in force
}

func newNegotiation(t tester) *negotiation {
	return &negotiation{t: t, c: &Call{}, seen: [2]map[uint8]string{{}, {}}}
}

// say passes a description of a leg on and returns its formats and those that the other leg is told.
func (n *negotiation) say(from int, list string) formats {
	s, err := sdp.Parse(describe(netip.MustParseAddrPort("10.0.0.1:1"), "audio:4000::"+list))
	if err != nil {
		n.t.Fatalf("%v", err)
	}
	line := s.At(0)
	f := n.c.renumber(from, 0, s, &line)
	for _, x := range f.said {
		n.seen[from][x.Number] = x.Codec
	}
	again := s.Formats(0)
	if len(again) != len(f.told) {
		n.t.Fatalf("told %v, written %v", f.told, again)
	}
	for i, x := range f.told {
		if again[i] != x {
			n.t.Fatalf("told %v, written %v", f.told, again)
		}
		// RFC 3264 §8.3.2.
		if was, ok := n.seen[1-from][x.Number]; ok && was != x.Codec {
			n.t.Fatalf("%d meant %s, now %s", x.Number, was, x.Codec)
		}
		n.seen[1-from][x.Number] = x.Codec
	}
	n.in[from] = f
	return f
}

// Whatever two peers call their codecs, each hears its own numbers for as long as the call lasts, and packets arrive as
// what they were sent as.
func TestNumbersNeverMove(t *testing.T) {
	codecs := []string{"opus/48000/2", "speex/16000", "iLBC/8000", "telephone-event/8000", "telephone-event/48000", "PCMU/8000", "G722/8000"}
	rapid.Check(t, func(rt *rapid.T) {
		n := newNegotiation(rt)
		var own [2][]int // each peer's numbers
		for l := range own {
			own[l] = rapid.Permutation([]int{96, 97, 98, 99, 100, 101, 102}).Draw(rt, "numbers")
		}
		list := func(l int, which []int) string {
			var f []string
			for _, k := range which {
				f = append(f, fmt.Sprintf("%d=%s", own[l][k], codecs[k]))
			}
			return strings.Join(f, "+")
		}
		subset := func(of []int) (some []int) {
			for _, k := range of {
				if rapid.Bool().Draw(rt, "in") {
					some = append(some, k)
				}
			}
			if len(some) == 0 {
				some = of[:1]
			}
			return some
		}
		for range rapid.IntRange(1, 6).Draw(rt, "rounds") {
			from := rapid.IntRange(0, 1).Draw(rt, "from")
			offered := subset([]int{0, 1, 2, 3, 4, 5, 6})
			n.say(from, list(from, offered))
			if rapid.IntRange(0, 4).Draw(rt, "refused") == 0 {
				return // its numbers stay known, but no media is agreed on
			}
			accepted := subset(offered)
			n.say(1-from, list(1-from, accepted))
			n.c.legs[caller].media.formats, n.c.legs[callee].media.formats = []formats{n.in[caller]}, []formats{n.in[callee]}
			var x, y tu.Aim
			n.c.number(0, &x, &y)
			for _, k := range accepted {
				codec := n.codec(1-from, uint8(own[1-from][k]))
				for l, a := range [2]tu.Aim{x, y} {
					told := n.number(1-l, codec) // what it has been told to send it by
					to, far := told, uint8(own[1-l][k])
					if v := a.Numbers[to]; v != 0 {
						to = v - 1
					}
					if to != far || !a.Payloads.Has(told) {
						rt.Fatalf("leg %d sends %s as %d; the other hears %d, and calls it %d", l, codecs[k], told, to, far)
					}
				}
			}
		}
	})
}

// codec is what a leg has called by a number last.
func (n *negotiation) codec(leg int, number uint8) string {
	for _, f := range n.in[leg].said {
		if f.Number == number {
			return f.Codec
		}
	}
	n.t.Fatalf("leg %d has not said %d", leg, number)
	return ""
}

// number is the one by which what a leg has said was told to the other.
func (n *negotiation) number(leg int, codec string) uint8 {
	for _, f := range n.in[leg].told {
		if f.Codec == codec {
			return f.Number
		}
	}
	n.t.Fatalf("%s was not told", codec)
	return 0
}

// Peers that agree on numbers cost nothing.
func TestSameNumbersNeedNoMap(t *testing.T) {
	n := newNegotiation(t)
	n.say(caller, "96=opus/48000/2+0+101=telephone-event/8000+63=red/48000/2(96/96)")
	n.say(callee, "96=opus/48000/2+63=red/48000/2(96/96)+101=telephone-event/8000")
	n.c.legs[caller].media.formats, n.c.legs[callee].media.formats = []formats{n.in[caller]}, []formats{n.in[callee]}
	var x, y tu.Aim
	n.c.number(0, &x, &y)
	if x.Numbers != (tu.Numbering{}) || y.Numbers != (tu.Numbering{}) || !x.Continuous || !y.Continuous {
		t.Errorf("%v\n%v", x, y)
	}
}

// An audio stream whose repairs have an SSRC of their own is not one voice; video never is.
func TestOneVoice(t *testing.T) {
	for list, want := range map[string]bool{
		"0": true, "96=opus/48000/2+63=red/48000/2": true, "96=opus/48000/2+97=rtx/48000(apt=96)": false, "0+96=flexfec-03/8000": false,
	} {
		n := newNegotiation(t)
		if f := n.say(caller, list); f.voice != want {
			t.Errorf("%s: %v", list, f.voice)
		}
	}
}

// A leg that has a meaning for every number gets the description as it is.
func TestNoNumberLeft(t *testing.T) {
	n := newNegotiation(t)
	b := n.c.legs[callee].media.book(0)
	for k := range uint8(128) {
		b.learn([]sdp.Format{{Number: k, Codec: fmt.Sprint("x", k)}}, true)
	}
	f := []sdp.Format{{Number: 96, Codec: "opus/48000/2"}}
	if got := b.translate(f, func(taken *tu.Payloads) (uint8, bool) { return n.c.legs[callee].media.free(*taken) }); got[0] != f[0] {
		t.Errorf("%v", got)
	}
}

// What a peer sends by its own numbers, though it was told others, is understood as long as it can mean one thing only.
func TestPeersOwnNumbers(t *testing.T) {
	f := func(number uint8, codec string) sdp.Format { return sdp.Format{Number: number, Codec: codec} }
	said, told := []sdp.Format{f(97, "opus"), f(101, "event")}, []sdp.Format{f(96, "opus"), f(97, "speex"), f(110, "event")}
	far := []sdp.Format{f(96, "opus"), f(97, "speex"), f(110, "event")}
	m := mapped(said, told, far, []sdp.Format{f(96, "opus"), f(110, "event")})
	for number, want := range map[uint8]uint8{96: 0, 97: 96 + 1, 101: 110 + 1, 110: 0, 8: 0} {
		if m[number] != want {
			t.Errorf("%d: %d, want %d", number, m[number], want)
		}
	}
	m = mapped([]sdp.Format{f(0, "pcmu"), f(97, "ilbc")}, nil, []sdp.Format{f(97, "opus")}, nil)
	if m[97] != 255 || m[0] != 0 {
		t.Errorf("%v", m)
	}
}

// Where the peers have the keys, no packet is changed, whatever the numbers are.
func TestSealedPacketsStayAsTheyAre(t *testing.T) {
	c := &Call{}
	a, b := []sdp.Format{{Number: 96, Codec: "opus/48000/2"}}, []sdp.Format{{Number: 111, Codec: "opus/48000/2"}}
	c.legs[caller].media.formats = []formats{{said: a, told: a, voice: true, sealed: true}}
	c.legs[callee].media.formats = []formats{{said: b, told: b, voice: true, sealed: true}}
	var x, y tu.Aim
	c.number(0, &x, &y)
	if x.Numbers != (tu.Numbering{}) || y.Numbers != (tu.Numbering{}) || x.Continuous || y.Continuous {
		t.Errorf("%v\n%v", x, y)
	}
	if !x.Payloads.Has(96) || !x.Payloads.Has(111) || x.Payloads != y.Payloads {
		t.Errorf("%v, %v", x.Payloads, y.Payloads)
	}
	c.legs[callee].media.formats[0].sealed = false // the answer declined: it is plain
	c.number(0, &x, &y)
	if x.Numbers == (tu.Numbering{}) || !x.Continuous {
		t.Errorf("%v", x)
	}
}
