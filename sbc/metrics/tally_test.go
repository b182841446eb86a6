package metrics

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"sallyport/sbc/reason"
	"sallyport/sbc/tu"
)

// gathered is what a tally would show, by name and labels in the order of their names.
func gathered(t interface{ Fatal(...any) }, y *Tally) (values map[string]float64, counts map[string]uint64) {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{func(_ context.Context, s *Scrape) { y.Collect(s) }})
	found, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values, counts = map[string]float64{}, map[string]uint64{}
	for _, f := range found {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum()
			counts[name] = m.GetHistogram().GetSampleCount()
			last := uint64(0)
			for _, b := range m.GetHistogram().GetBucket() {
				if b.GetCumulativeCount() < last {
					t.Fatal(name, " is not cumulative")
				}
				last = b.GetCumulativeCount()
			}
			if m.GetHistogram() != nil && last > m.GetHistogram().GetSampleCount() {
				t.Fatal(name, " has more in its buckets than in all")
			}
		}
	}
	return values, counts
}

func TestTally(t *testing.T) {
	y := NewTally()
	y.Name([]string{"itsp"}, []string{"10.0.0.10:5060"})
	at := time.Unix(1e9, 0)
	y.Record(&tu.CDR{
		Direction: "outbound", Trunk: "itsp", Node: "10.0.0.10:5060", Start: at, Answer: at.Add(4 * time.Second), Duration: 60, Code: 200,
		PostDial: 1.5, EndedBy: "caller", Tries: []tu.Try{{Peer: "itsp", Code: 503}, {Peer: "itsp", Code: 200}, {Peer: "gone", Code: 200}, {Peer: "itsp", Code: 503, Unsent: true}},
		Media: []tu.StreamStats{{Outside: tu.LegStats{Packets: 90, Lost: 10, Jitter: 4, MOSIn: 4.2, Sent: 100}, Inside: tu.LegStats{Packets: 100, MOSOut: 3.9}}},
	})
	y.Record(&tu.CDR{Direction: "inbound", Trunk: "itsp", Node: "10.0.0.10:5060", Code: 503, EndedBy: "sbc", Reason: reason.NoPBX,
		Tries: []tu.Try{{Peer: "10.0.0.10:5060", Code: 408}, {Peer: "10.0.0.10:5060"}}})
	y.Record(&tu.CDR{Direction: "inbound", Trunk: "stranger", Code: 486, EndedBy: "callee"})
	values, counts := gathered(t, y)
	for name, want := range map[string]float64{
		"sbc_calls_ended_total outbound caller answered": 1, "sbc_calls_ended_total inbound sbc failed": 1,
		"sbc_calls_ended_total inbound callee busy": 1, "sbc_call_reasons_total no-pbx": 1,
		"sbc_trunk_attempts_total 5xx itsp": 1, "sbc_trunk_attempts_total 2xx itsp": 1, "sbc_trunk_attempts_total none itsp": 0,
		"sbc_trunk_attempts_total full itsp":         1,
		"sbc_node_attempts_total 4xx 10.0.0.10:5060": 1, "sbc_node_attempts_total none 10.0.0.10:5060": 1,
		"sbc_trunk_calls_ended_total outbound answered itsp": 1, "sbc_trunk_calls_ended_total inbound failed itsp": 1,
		"sbc_call_setup_duration_seconds outbound": 4, "sbc_call_post_dial_delay_seconds outbound": 1.5,
		"sbc_call_duration_seconds outbound": 60, "sbc_media_loss_ratio outside": 0.1, "sbc_media_jitter_seconds outside": 0.004,
		"sbc_media_packets_total in outside": 90, "sbc_media_packets_total out outside": 100, "sbc_media_lost_packets_total outside": 10,
		"sbc_media_mos in outside": 4.2, "sbc_media_mos out inside": 3.9,
	} {
		if got, ok := values[name]; !ok || math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %v (%v), want %v", name, got, ok, want)
		}
	}
	for name, want := range map[string]uint64{"sbc_media_mos in inside": 0, "sbc_media_mos in outside": 1, "sbc_call_setup_duration_seconds inbound": 0} {
		if got := counts[name]; got != want {
			t.Errorf("%s has %d observations, want %d", name, got, want)
		}
	}
	if _, ok := values["sbc_trunk_calls_ended_total inbound busy stranger"]; ok {
		t.Error("a trunk that the configuration does not name has series")
	}

	y.Name([]string{"itsp", "other"}, nil)
	if values, _ = gathered(t, y); values["sbc_trunk_attempts_total 2xx itsp"] != 1 {
		t.Error("a reload has forgotten counts")
	}
	if _, ok := values["sbc_trunk_attempts_total 2xx other"]; !ok {
		t.Error("a new trunk has no series")
	}
	if _, ok := values["sbc_node_attempts_total none 10.0.0.10:5060"]; ok {
		t.Error("a node that is gone has series")
	}
}

// TestTallyAddsUp: whatever records say, all calls are in the sums, and no figure is none.
func TestTallyAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		y := NewTally()
		y.Name([]string{"a", "b"}, []string{"n"})
		word := func(list ...string) *rapid.Generator[string] { return rapid.SampledFrom(append(list, "", "other")) }
		n := rapid.IntRange(0, 20).Draw(t, "calls")
		for range n {
			y.Record(&tu.CDR{
				Direction: word(directions[:]...).Draw(t, "direction"), EndedBy: word(enders[:]...).Draw(t, "by"),
				Code: rapid.IntRange(-1, 800).Draw(t, "code"), Trunk: word("a", "b").Draw(t, "trunk"), Node: word("n").Draw(t, "node"),
				PostDial: rapid.Float64().Draw(t, "pdd"), Duration: rapid.Float64().Draw(t, "duration"), Answer: time.Unix(1, 0),
				Tries: []tu.Try{{Peer: word("a", "n").Draw(t, "peer"), Code: rapid.IntRange(-1, 800).Draw(t, "tried")}},
				Media: []tu.StreamStats{{Outside: tu.LegStats{Packets: 1, Jitter: rapid.Float64().Draw(t, "jitter"), MOSIn: rapid.Float64().Draw(t, "mos")}}},
			})
		}
		values, _ := gathered(t, y)
		sum := 0.0
		for _, d := range directions {
			for _, r := range results {
				for _, by := range enders {
					sum += values["sbc_calls_ended_total "+d+" "+by+" "+r]
				}
			}
		}
		if int(sum) != n {
			t.Fatalf("%v of %d calls", sum, n)
		}
		for name, v := range values {
			if math.IsNaN(v) || v < 0 {
				t.Fatalf("%s is %v", name, v)
			}
		}
	})
}

func TestRecordAllocatesNothing(t *testing.T) {
	y := NewTally()
	y.Name([]string{"itsp"}, nil)
	r := &tu.CDR{
		Direction: "outbound", Trunk: "itsp", Code: 200, PostDial: 1, Answer: time.Unix(1, 0), Tries: []tu.Try{{Peer: "itsp", Code: 200}},
		Media: []tu.StreamStats{{Outside: tu.LegStats{Packets: 1, MOSIn: 4}}},
	}
	if n := testing.AllocsPerRun(100, func() { y.Record(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
