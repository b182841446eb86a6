package media_test

import (
	"testing"

	"sallyport/media"
	"sallyport/nat"
)

// A payload type that a peer with RTCP on its RTP port would take for RTCP (RFC 5761 §4) is not sent to it.
func TestPayloadTypesThatLookLikeRTCP(t *testing.T) {
	s := newScene(t, with(want("phone"), func(w *media.Want) { w.RTP, w.Mux, w.Payloads = phone, true, [2]uint64{} }))
	s.point(nat.Inside, with(want("pbx"), func(w *media.Want) { w.RTP, w.Payloads = pbx, [2]uint64{} }))
	for pt, relayed := range map[uint8]bool{63: true, 64: false, 72: false, 95: false, 96: true} {
		if why := s.sim.Inject(s.local[nat.Inside], pbx, rtp(pt, 1, 7)); (why == media.Accepted) != relayed {
			t.Errorf("payload type %d: %v", pt, why)
		}
	}
}
