package media_test

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/nat"
)

// called is a phone with DTLS and without ICE, whose NAT gives it another port than its SDP names.
func called(b *browser) media.Want {
	return with(latching("phone"), func(w *media.Want) {
		w.RTP, w.Latch, w.Mux, w.Peer = netip.AddrPortFrom(netip.Addr{}, 9000), media.Ported, true, b.print()
	})
}

// backends runs a case over real sockets and each back end.
func backends(t *testing.T, test func(*testing.T, *rig)) {
	for name, open := range map[string]func(*testing.T) *rig{"epoll": epollRig, "steer": steerRig, "process": processRig} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// A phone that is called begins its handshake before its answer is here. It says so but once, and does not have to say it again.
func TestCalledPhoneBeginsAtOnce(t *testing.T) {
	backends(t, func(t *testing.T, r *rig) {
		b := newBrowser(t, 14100, r.at(outsideRTP))
		b.once = true
		print, _ := r.plane.Fingerprint()
		r.point(nat.Inside, want("pbx")) // the offer; the phone rings
		go func() {
			for limit := time.Now().Add(soon); r.plane.Gauges().Strays == 0; {
				if time.Now().After(limit) {
					t.Error("it does not begin")
					return
				}
			}
			if err := r.plane.Point(r.id, nat.Outside, called(b)); err != nil { // the answer
				t.Error(err)
			}
		}()
		send, hear := b.shake(print)
		b.talk(r, send, hear, 1)
		if legs, _ := r.plane.Stats(r.id); legs[0].Remote.Port() != 14100 {
			t.Errorf("it is at %v", legs[0].Remote)
		}
	})
}

// The certificate of our handshakes outlives the media process: a phone that is still to shake hands has been told of it.
func TestCertificateOutlivesTheProcess(t *testing.T) {
	r := processRig(t)
	b := newBrowser(t, 14100, r.at(outsideRTP))
	print, ok := r.plane.Fingerprint()
	if !ok {
		t.Fatal("the back end has no handshakes")
	}
	r.point(nat.Inside, want("pbx"))
	r.point(nat.Outside, called(b))
	for range 2 {
		r.renew()
		if now, _ := r.plane.Fingerprint(); now != print {
			t.Fatal("another certificate")
		}
	}
	send, hear := b.shake(print)
	b.talk(r, send, hear, 1)
}
