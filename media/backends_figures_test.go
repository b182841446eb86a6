package media_test

import (
	"testing"
	"time"

	pionrtcp "github.com/pion/rtcp"

	"sallyport/media"
	"sallyport/nat"
)

// figuresRigs are the back ends with sockets.
var figuresRigs = map[string]func(*testing.T) *rig{"epoll": epollRig, "steer": steerRig, "process": processRig}

// Every back end with sockets measures how long datagrams stay in it.
func TestDelaysAreMeasured(t *testing.T) {
	for name, rigOf := range figuresRigs {
		t.Run(name, func(t *testing.T) {
			r := rigOf(t)
			r.point(nat.Outside, want("phone"))
			r.point(nat.Inside, want("pbx"))
			// The last one may be counted after it has arrived, and the kernel stamps nothing until a moment after it was asked to.
			limit := time.Now().Add(5 * time.Second)
			for n := uint16(0); n < 250 || r.plane.Gauges().Delay.Samples < 2; n++ {
				r.run([]step{{from: "phone", to: outsideRTP, payload: rtp(0, n, 1), dest: "pbx", via: insideRTP}})
				if time.Now().After(limit) {
					t.Fatalf("%+v", r.plane.Gauges().Delay)
				}
			}
			if d := r.plane.Gauges().Delay; d.P50 <= 0 || d.P50 > d.P99 || d.P99 > d.Max {
				t.Errorf("%+v", d)
			}
		})
	}
}

// Reports and policing are the engine's, whatever carries the datagrams.
func TestFiguresOverBackends(t *testing.T) {
	rigs := map[string]func(*testing.T) *rig{"sim": simRig}
	for name, rigOf := range figuresRigs {
		rigs[name] = rigOf
	}
	for name, rigOf := range rigs {
		t.Run(name, func(t *testing.T) {
			r := rigOf(t)
			r.point(nat.Outside, with(want("phone"), func(w *media.Want) { w.Police = media.Police{Rate: 2, Size: 200} }))
			r.point(nat.Inside, want("pbx"))
			stamp := uint64(7) << 32
			steps := []step{
				{from: "pbx", to: insideRTP, payload: rtp(0, 1, 77), dest: "phone", via: outsideRTP},
				{from: "pbx rtcp", to: insideRTCP, payload: sender(77, stamp), dest: "phone rtcp", via: outsideRTCP},
				{from: "phone rtcp", to: outsideRTCP, payload: receiver(1, pionrtcp.ReceptionReport{SSRC: 77, TotalLost: 3, Jitter: 16, LastSenderReport: middle(stamp)}),
					dest: "pbx rtcp", via: insideRTCP},
				{from: "phone", to: outsideRTP, payload: sized(1, 201), why: media.RejectedPolice},
			}
			for n := range uint16(8) { // four seconds at two a second
				steps = append(steps, step{from: "phone", to: outsideRTP, payload: rtp(0, n, 1), dest: "pbx", via: insideRTP})
			}
			r.run(steps)
			legs, _ := r.plane.Stats(r.id)
			out := &legs[nat.Outside]
			if out.Reports != 1 || out.FarLost != 3 || out.FarJitter != 2*time.Millisecond || out.RoundTrip <= 0 || out.RoundTrip > time.Second {
				t.Errorf("%+v", out)
			}
			if out.Rejected[media.RejectedPolice] != 1 {
				t.Errorf("%v", out.Rejected)
			}
		})
	}
}
