package sbc_test

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat/natlab"
	"sallyport/sbc/api"
)

// TestMediaFigures: `sbc media` counts streams, ports and what was not relayed.
func TestMediaFigures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newGate(t, labConfig, natlab.Options{Seed: 1})
		defer l.close()
		a, b := l.connect(l.wire(providerAt), l.wire(pbxAt), trunkSocket)
		calls, err := l.gate.Control(nil).Calls(t.Context())
		if err != nil || len(calls) != 1 {
			t.Fatalf("%v, %v", calls, err)
		}
		call, err := l.gate.Control(nil).Call(t.Context(), calls[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		taken := netip.MustParseAddrPort(call.Streams[0].Outside.Local)
		stranger := netip.MustParseAddrPort("198.51.100.66:4000")
		rtp := []byte{0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}
		l.relay.Inject(taken, stranger, rtp)
		free := taken.Port() + 2
		if free > 30998 {
			free = 30000
		}
		l.relay.Inject(netip.AddrPortFrom(taken.Addr(), free), stranger, rtp)
		m, err := l.gate.Control(nil).Media(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Backend != "sim" || m.NotSteer != "" || m.Process != nil || m.Workers != 1 || m.Latency != "normal" || m.Strays != 1 {
			t.Errorf("%+v", m)
		}
		p := m.Pool
		if p.Ports != "30000-31000" || len(p.Addresses) != 2 || p.Addresses[0] != taken.Addr().String() || p.Reserved != 1 || p.Free != 499 || p.High != 1 {
			t.Errorf("%+v", p)
		}
		if !slices.Equal(m.Rejected, []api.Count{{Action: "drop", Reason: "source", Count: 1}}) {
			t.Errorf("rejected %+v", m.Rejected)
		}
		hangup(a, b)
		time.Sleep(time.Minute)
		if m, err = l.gate.Control(nil).Media(t.Context()); err != nil || m.Pool.Reserved != 0 || m.Pool.Free != 500 || m.Pool.High != 1 || m.Pool.Resting != 0 {
			t.Errorf("%v, after the call: %+v", err, m.Pool)
		}
	})
}
