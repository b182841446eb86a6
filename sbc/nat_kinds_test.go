package sbc_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab"
	"sallyport/sbc/reason"
)

// pbxEnd is the PBX with a voice. It takes calls.
func (l *audible) pbxEnd() *end {
	l.t.Helper()
	return l.end(l.pbx, l.voice(l.net.Host(pbxAt.Addr()), 4002, pbxAt.Addr())).answers()
}

// reaches lets a registered phone be silent for ten minutes, be called and call, with audio both ways, and leave.
func (l *audible) reaches(h *handset, lost int) {
	l.t.Helper()
	pbx := l.pbxEnd()
	h.registers()
	time.Sleep(10*time.Minute + 25*time.Second) // silent: its last refresh is longer ago than its NAT remembers
	l.mustBe(h.user + "@example.com")

	pbx.rings(h.user)
	pbx.stands()
	answered := h.stands()
	l.bothWays(pbx.voice, h.voice, 100, lost)
	hangs(answered, h.end, pbx)

	h.calls("100")
	placed := h.stands()
	answered = pbx.stands()
	l.bothWays(pbx.voice, h.voice, 100, lost)
	hangs(answered, pbx, h.end)
	_ = placed

	h.leaves()
	l.settled()
	records := l.cdrs.all()
	if len(records) != 2 {
		l.t.Fatalf("%d records of 2 calls: %+v", len(records), records)
	}
	for i, r := range records {
		if r.AoR != h.user+"@example.com" || r.Code != 200 || r.Reason != reason.Reason("") || r.Direction != []string{"outbound", "inbound"}[i] ||
			r.Correlation != "" || len(r.Media) != 1 {
			l.t.Fatalf("record %+v", r)
		}
		out, in := r.Media[0].Outside, r.Media[0].Inside
		if out.Packets < uint64(100-lost) || in.Packets != 100 || out.Sent < uint64(100-lost) || in.Sent < uint64(100-lost) || !out.Latched {
			l.t.Errorf("media of the record: %+v", r.Media[0])
		}
	}
}

// mustBe checks who is registered.
func (l *audible) mustBe(aors ...string) {
	l.t.Helper()
	list, err := l.gate.Control(nil).Registrations(l.ctx, "")
	if err != nil || len(list) != len(aors) {
		l.t.Fatalf("registered are %v (%v), want %v", list, err, aors)
	}
	for i, r := range list {
		if r.AoR != aors[i] || r.Lost {
			l.t.Errorf("registered is %+v, want %s", r, aors[i])
		}
	}
}

// TestEveryNATReachesAudio: each mapping × filtering of RFC 4787, over UDP, TCP, TLS and WebSocket, called and calling, whatever
// address the phone names.
func TestEveryNATReachesAudio(t *testing.T) {
	t.Parallel()
	secure := certified(t, roamingConfig)
	alg := natlab.SIPALG(natlab.SIPALGOptions{Ports: true, FixLength: true})
	half := natlab.SIPALG(natlab.SIPALGOptions{FixLength: true})
	for _, v := range []struct {
		name      string
		transport nat.Transport
		public    bool // the phone knows its public address
		alg       natlab.ALG
	}{
		{"udp", nat.UDP, false, nil},
		{"tcp", nat.TCP, false, nil},
		{"tls", nat.TLS, false, nil},
		{"wss", nat.WSS, false, nil},
		{"udp, public address", nat.UDP, true, nil},
		{"tcp, public address", nat.TCP, true, nil},
		{"udp, ALG", nat.UDP, false, alg},
		{"udp, ALG that leaves ports alone", nat.UDP, false, half},
	} {
		for _, o := range natlab.Kinds() {
			o.ALG = v.alg
			t.Run(v.name+"/"+o.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					yaml := roamingConfig
					if v.transport.Secure() {
						yaml = secure
					}
					l := newAudible(t, yaml, natlab.Options{Seed: 3}, nil)
					defer l.close()
					home := l.home(7, o)
					says := private
					if v.public {
						says = home.Addr()
					}
					l.reaches(l.handset(home.Host(private), "204", 5060, v.transport, says), latching)
				})
			})
		}
	}
}

// TestNATDelayedLatchingLosesNoAudio: the first to prove himself has the leg, so that nobody waits for an SDP port that
// cannot come.
func TestNATDelayedLatchingLosesNoAudio(t *testing.T) {
	yaml := rewritten(t, roamingConfig, "phones: { domains: [ voice.example.net ] }", "phones: { latching: delayed }")
	for _, o := range natlab.Kinds() {
		t.Run(o.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newAudible(t, yaml, natlab.Options{Seed: 3}, nil)
				defer l.close()
				l.reaches(l.handset(l.home(7, o).Host(private), "204", 5060, nat.UDP, private), 3)
			})
		})
	}
}

// TestCarrierNATReachesAudio: a box behind a carrier's box, the nine kinds of each against the strictest of the other.
func TestCarrierNATReachesAudio(t *testing.T) {
	strictest := natlab.NATOptions{Mapping: natlab.AddressAndPortDependent, Filtering: natlab.AddressAndPortDependent}
	for _, tr := range []nat.Transport{nat.UDP, nat.TCP} {
		for _, o := range natlab.Kinds() {
			t.Run(tr.String()+"/"+o.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newAudible(t, roamingConfig, natlab.Options{Seed: 4}, nil)
					defer l.close()
					carrier := l.home(9, strictest)
					home := carrier.NAT(netip.MustParseAddr("100.64.3.3"), o)
					l.reaches(l.handset(home.Host(private), "204", 5060, tr, private), latching)
				})
			})
		}
	}
}
