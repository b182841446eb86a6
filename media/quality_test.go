package media_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/media"
)

// Known values of the model. R of undisturbed G.711 is the default of G.107 Table 2 (93.2); its MOS, and those of R 50 to
// 90, are Table B.1's. Losses and codecs are G.113's formula worked by hand, delays G.114 Figure 1's curve.
func TestEstimate(t *testing.T) {
	near := func(got, want, by float64) bool { return math.Abs(got-want) <= by }
	for name, c := range map[string]struct {
		v      media.Voice
		p      media.Path
		r, mos float64
		within float64 // of R: a packet and the buffer delay as well
	}{
		"nothing wrong":     {media.Voice{Codec: "PCMU", Packet: 1}, media.Path{}, 93.2, 4.41, 0.05},
		"in any case":       {media.Voice{Codec: "pcma", Packet: 1}, media.Path{}, 93.2, 4.41, 0.05},
		"20 ms packets":     {media.Voice{Codec: "PCMU"}, media.Path{}, 92.2, 4.39, 0.7},
		"G.729":             {media.Voice{Codec: "G729", Packet: 1}, media.Path{}, 82.2, 4.12, 0.1},
		"G.723":             {media.Voice{Codec: "G723", Packet: 1}, media.Path{}, 78.2, 3.97, 0.1},
		"GSM":               {media.Voice{Codec: "GSM", Packet: 1}, media.Path{}, 73.2, 3.75, 0.1},
		"1 % lost":          {media.Voice{Codec: "PCMU", Packet: 1}, media.Path{Loss: 0.01}, 93.2 - 3.64, 4.32, 0.1},
		"5 % lost":          {media.Voice{Codec: "PCMU", Packet: 1}, media.Path{Loss: 0.05}, 93.2 - 15.78, 3.93, 0.1},
		"20 % lost":         {media.Voice{Codec: "PCMU", Packet: 1}, media.Path{Loss: 0.2}, 93.2 - 42.13, 2.63, 0.1},
		"G.729, 2 % lost":   {media.Voice{Codec: "G729", Packet: 1}, media.Path{Loss: 0.02}, 93.2 - 19, 3.79, 0.1},
		"everything lost":   {media.Voice{Codec: "PCMU", Packet: 1}, media.Path{Loss: 1}, 93.2 - 75.94, 1.18, 0.1},
		"150 ms":            {media.Voice{Codec: "PCMU", Packet: 1}, media.Path{Delay: 150 * time.Millisecond}, 89.5, 4.32, 0.5},
		"250 ms":            {media.Voice{Codec: "PCMU", Packet: 1}, media.Path{Delay: 250 * time.Millisecond}, 80, 4.05, 1},
		"400 ms":            {media.Voice{Codec: "PCMU", Packet: 1}, media.Path{Delay: 400 * time.Millisecond}, 62, 3.2, 1},
		"10 ms jitter":      {media.Voice{Codec: "PCMU"}, media.Path{Jitter: 10 * time.Millisecond}, 90.4, 4.34, 0.8},
		"an hour of jitter": {media.Voice{Codec: "PCMU"}, media.Path{Jitter: time.Hour}, 7.3, 1, 0.5},
	} {
		s := media.Estimate(c.v, c.p)
		if !near(s.R, c.r, c.within) || !near(s.MOS, c.mos, 0.02+c.within/20) || s.Assumed {
			t.Errorf("%s: R %.2f, MOS %.3f, want %.2f and %.2f", name, s.R, s.MOS, c.r, c.mos)
		}
	}
}

// G.107 Table B.1: R and MOS.
func TestMOSOfR(t *testing.T) {
	// R is set by loss: Ie-eff = 95 Ppl / (Ppl + 25.1).
	for r, mos := range map[float64]float64{90: 4.34, 80: 4.03, 70: 3.60, 60: 3.10, 50: 2.58} {
		ie := 93.206 - r
		loss := 25.1 * ie / (95 - ie) / 100
		if s := media.Estimate(media.Voice{Codec: "PCMU", Packet: 1}, media.Path{Loss: loss}); math.Abs(s.R-r) > 0.05 || math.Abs(s.MOS-mos) > 0.01 {
			t.Errorf("R %.2f, MOS %.3f, want %v and %v", s.R, s.MOS, r, mos)
		}
	}
}

// Of codecs that nobody has rated the score is that of G.711, and says so.
func TestEstimateOfUnknownCodecs(t *testing.T) {
	for _, codec := range []string{"", "opus", "G722", "iLBC", "x-mine"} {
		s, as := media.Estimate(media.Voice{Codec: codec}, media.Path{Loss: 0.03}), media.Estimate(media.Voice{Codec: "PCMA"}, media.Path{Loss: 0.03})
		if !s.Assumed || s.MOS != as.MOS || s.R != as.R {
			t.Errorf("%q: %+v, want %+v", codec, s, as)
		}
	}
}

// Nothing that gets worse makes a call better, and every estimate is on the scale.
func TestEstimateProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := media.Voice{
			Codec:  rapid.SampledFrom([]string{"PCMU", "G729", "G723", "GSM", "GSM-EFR", "opus"}).Draw(rt, "codec"),
			Packet: time.Duration(rapid.IntRange(0, 200).Draw(rt, "packet")) * time.Millisecond,
		}
		p := media.Path{
			Loss:   rapid.Float64Range(-0.1, 1.2).Draw(rt, "loss"),
			Jitter: time.Duration(rapid.IntRange(-5, 500).Draw(rt, "jitter")) * time.Millisecond,
			Delay:  time.Duration(rapid.IntRange(-5, 2000).Draw(rt, "delay")) * time.Millisecond,
		}
		s := media.Estimate(v, p)
		if !(s.R >= 0 && s.R <= 100 && s.MOS >= 1 && s.MOS <= 4.5) {
			rt.Fatalf("%+v", s)
		}
		worse := p
		switch rapid.IntRange(0, 1).Draw(rt, "worse") {
		case 0:
			worse.Loss += rapid.Float64Range(0, 0.5).Draw(rt, "more")
		case 1:
			worse.Delay += time.Duration(rapid.IntRange(0, 1000).Draw(rt, "more")) * time.Millisecond
		}
		if w := media.Estimate(v, worse); w.MOS > s.MOS+1e-9 {
			rt.Fatalf("%+v is worse than %+v, but MOS %v is above %v", worse, p, w.MOS, s.MOS)
		}
	})
}

func TestScores(t *testing.T) {
	v := media.Voice{Codec: "PCMU"}
	legs := [2]media.LegStats{
		{Packets: 950, Lost: 50, RoundTrip: 40 * time.Millisecond, Jitter: 2 * time.Millisecond},
		{Packets: 1000, RoundTrip: 60 * time.Millisecond, Reports: 3, FarSent: 900, FarLost: 90, FarJitter: 3 * time.Millisecond},
	}
	in, out := media.Scores(&legs, 0, v)
	if want := media.Estimate(v, media.Path{Loss: 0.05, Jitter: 2 * time.Millisecond, Delay: 20 * time.Millisecond}); in != want {
		t.Errorf("in %+v, want %+v", in, want)
	}
	if out.MOS != 0 {
		t.Errorf("it has not reported, but hears %+v", out)
	}
	in, out = media.Scores(&legs, 1, v)
	if want := media.Estimate(v, media.Path{Delay: 30 * time.Millisecond}); in != want {
		t.Errorf("in %+v, want %+v", in, want)
	}
	if want := media.Estimate(v, media.Path{Loss: 0.1, Jitter: 3 * time.Millisecond, Delay: 50 * time.Millisecond}); out != want {
		t.Errorf("out %+v, want %+v", out, want)
	}
	// What its buffer threw away is lost as well, and known better than by its jitter.
	legs[1].FarDiscarded = 0.1
	if _, out = media.Scores(&legs, 1, v); out != media.Estimate(v, media.Path{Loss: 1 - 0.9*0.9, Delay: 50 * time.Millisecond}) {
		t.Errorf("out %+v", out)
	}
	// Half a second tells nothing, nor do more lost than sent.
	legs[0].Packets, legs[0].Lost = 25, 0
	legs[1].FarLost, legs[1].FarDiscarded = 2000, 0
	if in, _ = media.Scores(&legs, 0, v); in.MOS != 0 {
		t.Errorf("in %+v", in)
	}
	if _, out = media.Scores(&legs, 1, v); out.MOS < 1 || out.MOS > 1.5 {
		t.Errorf("out %+v", out)
	}
}
