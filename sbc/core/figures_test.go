package core

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/media"
	"sallyport/sbc/tu"
)

func TestFigures(t *testing.T) {
	legs := [2]media.LegStats{
		{
			Packets: 950, Bytes: 163400, Lost: 50, Jitter: 2345678 * time.Nanosecond, Sent: 1000, RoundTrip: 41234567 * time.Nanosecond,
			Reports: 4, FarLost: 9, FarSent: 900, FarJitter: 3 * time.Millisecond, FarMOS: 4.1,
			Remote: netip.MustParseAddrPort("198.51.100.7:4000"), Latched: true, Ported: true,
		},
		{Packets: 1000, Sent: 950},
	}
	legs[0].Rejected[media.RejectedSource], legs[0].Rejected[media.RejectedPolice] = 3, 4
	got := Figures(&legs, tu.StreamStats{Codec: "PCMA", Packet: 20})
	if got.Codec != "PCMA" || got.Packet != 20 || got.AsG711 {
		t.Errorf("%+v", got)
	}
	out, in := got.Outside, got.Inside
	if !(out.MOSIn > 3.5 && out.MOSIn < 4.1 && out.MOSOut > 4 && out.MOSOut < 4.41 && in.MOSIn > 4.3 && in.MOSOut == 0) {
		t.Errorf("MOS %v %v, %v %v", out.MOSIn, out.MOSOut, in.MOSIn, in.MOSOut)
	}
	out.MOSIn, out.MOSOut = 0, 0
	want := tu.LegStats{
		Packets: 950, Bytes: 163400, Lost: 50, Jitter: 2.345, Sent: 1000, Reports: 4, FarLost: 9, FarSent: 900, FarJitter: 3, FarMOS: 4.1,
		RoundTrip: 41.234, Rejected: 7, Rejections: map[string]uint64{"source": 3, "policed": 4}, Remote: "198.51.100.7:4000", Latched: true, Ported: true,
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
}

// What is not known is not there; what is not speech has no score.
func TestFiguresOfLittle(t *testing.T) {
	var legs [2]media.LegStats
	text, err := json.Marshal(Figures(&legs, tu.StreamStats{}))
	leg := `{"packets":0,"bytes":0,"lost":0,"jitter_ms":0,"sent":0,"rejected":0,"latched":false}`
	if err != nil || string(text) != `{"outside":`+leg+`,"inside":`+leg+`}` {
		t.Errorf("%s %v", text, err)
	}
	legs[0].Packets, legs[1].Packets = 1000, 1000
	if f := Figures(&legs, tu.StreamStats{}); f.Outside.MOSIn != 0 || f.AsG711 {
		t.Errorf("%+v", f)
	}
	if f := Figures(&legs, tu.StreamStats{Codec: "opus"}); f.Outside.MOSIn == 0 || !f.AsG711 {
		t.Errorf("%+v", f)
	}
	// A round MOS of two digits, as people compare them.
	if f := Figures(&legs, tu.StreamStats{Codec: "PCMU"}); f.Outside.MOSIn != 4.38 {
		t.Errorf("%v", f.Outside.MOSIn)
	}
}
