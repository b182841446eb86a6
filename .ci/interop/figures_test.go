//go:build interop

package interop

import (
	"testing"
	"time"
)

// legFigures is what the tests read of one leg's figures, in `sbc calls ID` and in call records alike.
type legFigures struct {
	Packets, Sent, Lost, Reports uint64
	FarLost                      uint64  `json:"far_lost"`
	MOSIn                        float64 `json:"mos_in"`
	MOSOut                       float64 `json:"mos_out"`
}

type streamFigures struct {
	Codec           string
	Outside, Inside legFigures
}

// TestLossIsSeen: a phone whose network loses every eighth packet that it sends. The gate says on whose side that is, how it
// sounds there and what the phone itself reports of what it hears, while the call lasts and in its record. The report tells the PBX nothing else.
func TestLossIsSeen(t *testing.T) {
	w := newHomes(t)
	w.pbx(t, node1)
	g := w.phoneGate(t, phoneSettings{})
	b := w.baresip(t, anna, "udp", doors["udp"], 60)
	b.registers(t, 1)
	w.in(t, anna.ns, "nft", "add table ip lossy; add chain ip lossy out { type filter hook output priority 0; };"+
		"add rule ip lossy out udp dport 30000-31000 @th,31,1 0 numgen random mod 8 0 drop") // even ports alone: the one report of 15 s has to come
	all := g.observe(t, 1, []string{anna.ns}, func() {
		callee := w.deskAnswers(t, "callee")
		b.call("100")
		b.established(t, 1)
		var s streamFigures
		var id string
		for end := time.Now().Add(20 * time.Second); s.Outside.Reports == 0 || s.Outside.Packets < 300; time.Sleep(500 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the phone has not reported: %+v", s)
			}
			var calls []struct{ ID string }
			g.asks(t, &calls, "calls")
			if len(calls) != 1 {
				t.Fatalf("%d calls", len(calls))
			}
			id = calls[0].ID
			var call struct{ Streams []streamFigures }
			g.asks(t, &call, "calls", id)
			s = call.Streams[0]
		}
		text, _ := g.verb("calls", id)
		t.Logf("\n%s", text)
		s.lossy(t)
		b.hangUp()
		w.verdict(t, callee)
	})
	w.unnamed(t, all, anna)
	records := g.records(t)
	media, _ := records[len(records)-1]["media"].([]any)
	if len(media) != 1 {
		t.Fatalf("%v", records)
	}
	out, _ := media[0].(map[string]any)["outside"].(map[string]any)
	if lost, _ := out["lost"].(float64); lost == 0 || out["mos_in"] == nil || out["mos_out"] == nil {
		t.Errorf("the record says %v", media)
	}
	b.quit(t)
	g.stop(t)
}

// lossy checks the figures of a call that loses an eighth on the way from the phone, and nothing else.
func (s *streamFigures) lossy(t *testing.T) {
	t.Helper()
	share := float64(s.Outside.Lost) / float64(s.Outside.Lost+s.Outside.Packets)
	if share < 0.05 || share > 0.25 || s.Inside.Lost > 5 {
		t.Errorf("%.1f %% lost outside, %d inside: %+v", 100*share, s.Inside.Lost, s)
	}
	if s.Codec == "" || s.Outside.MOSIn == 0 || s.Outside.MOSIn > 3.9 || s.Inside.MOSIn < 4.2 || s.Outside.MOSOut < 4 || s.Outside.FarLost > 5 {
		t.Errorf("%+v", s)
	}
}
