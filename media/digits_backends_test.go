package media_test

import (
	"testing"
	"time"

	pionrtp "github.com/pion/rtp"

	"sallyport/media"
	"sallyport/nat"
)

// Over each back end that has sockets a tone is played to its end although nothing else ever arrives, and a digit comes to
// signalling by a hint, without a sweep that looks for it.
func TestDigitsOverBackends(t *testing.T) {
	for name, rigOf := range map[string]func(*testing.T) *rig{"epoll": epollRig, "steer": steerRig, "process": processRig} {
		t.Run(name, func(t *testing.T) {
			r := rigOf(t)
			events := media.Events{Payload: telephoneEvent, Clock: 8000}
			r.point(nat.Outside, with(want("phone"), func(w *media.Want) {
				w.Events, w.Events.Report = events, true
			}))
			r.point(nat.Inside, with(want("pbx"), func(w *media.Want) {
				w.Continuous, w.Events, w.Tones = true, events, tones(2, tone(5, 60), tone(11, 40))
			}))
			var list []pionrtp.Packet
			for range 5 + 4 {
				from, payload := r.next("pbx")
				if from != r.at(insideRTP) {
					t.Fatalf("from %v", from)
				}
				var p pionrtp.Packet
				if err := p.Unmarshal(append([]byte(nil), payload...)); err != nil {
					t.Fatal(err)
				}
				list = append(list, p)
			}
			for n, p := range list {
				second := n >= 5
				if code := map[bool]byte{false: 5, true: 11}[second]; p.Payload[0] != code || p.SequenceNumber != list[0].SequenceNumber+uint16(n) ||
					p.Marker != (n == 0 || n == 5) || p.SSRC != list[0].SSRC || p.PayloadType != telephoneEvent {
					t.Errorf("packet %d: %v %v", n, p.Header, p.Payload)
				}
			}
			r.send("phone", r.at(outsideRTP), eventPacket(9, 77))
			select {
			case <-r.plane.Hinted():
			case <-time.After(5 * time.Second): // a bound for failure
				t.Fatal("no hint")
			}
			hints := r.plane.Sweep(time.Now())
			if len(hints) != 1 || hints[0].Kind != media.Heard || hints[0].Digit != (media.Digit{Event: 9, Volume: 10, Duration: 100}) || hints[0].Side != nat.Outside {
				t.Errorf("%+v", hints)
			}
		})
	}
}

// eventPacket is the end of an event of 100 ms.
func eventPacket(event uint8, ssrc uint32) []byte {
	return events(1, 1000, ssrc, report{event, true, 10, 800})
}
