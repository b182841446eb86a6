package sbc_test

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/nat/natlab"
	"sallyport/sbc"
)

// flood is strangers who send REGISTERs and INVITEs that the PBX's parser drops without a word.
type flood struct {
	from []*wire
	sent int
	logs *observer.ObservedLogs
}

// newFlood makes a gate with a PBX of one node, which is up and has a call of a provider's ringing, and strangers.
func newFlood(t *testing.T) (l *lab, pbx *mate, r *ringing, f *flood) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	l = newGate(t, rewritten(t, doorConfig, `  health: { interval: 0 }`, "  health: { interval: 10s }\ntrunks:\n"+
		"  - name: itsp\n    peers: [ { address: \"203.0.113.20:5060\" } ]\n    keepalive: { method: none }",
		`unregistered: drop`, `unregistered: forward, reachable: [ "1[0-9]{2}" ]`), natlab.Options{Seed: 6},
		func(o *sbc.Options) { o.Log = zap.New(core) })
	pbx = l.mate(pbxAt)
	time.Sleep(12 * time.Second)
	r = &ringing{itsp: l.wire(providerAt)}
	invite := withBody(r.itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000))
	r.itsp.send(trunkSocket, invite)
	arrived := pbx.must("INVITE", time.Second)
	pbx.reply(arrived, 180, nil)
	r.itsp.want("180 INVITE")
	r.answer = func() { pbx.reply(arrived, 200, sdpAt(pbxAt.Addr(), 4002)) }
	l.running.Go(func() { // nothing of the flood is answered
		for l.ctx.Err() == nil {
			select {
			case m := <-pbx.in:
				if m.Method == "CANCEL" && m.CallID == arrived.CallID {
					r.cancelled.Store(true)
				}
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	f = &flood{logs: logs}
	for i := range 20 {
		f.from = append(f.from, l.wire(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}), 5060)))
	}
	return l, pbx, r, f
}

// ringing is a call that rings at the PBX.
type ringing struct {
	itsp      *wire
	answer    func()
	cancelled atomic.Bool
}

// wave sends so many, by turns.
func (f *flood) wave(many int) {
	for range many {
		w := f.from[f.sent%len(f.from)]
		m := w.registers(fmt.Sprint(300+f.sent), "<sip:x@"+w.at.String()+">")
		if f.sent%2 == 1 {
			m = withBody(w.asks("INVITE", fmt.Sprint(300+f.sent), user("100", "example.com")), sdpAt(w.at.Addr(), 4000))
		}
		m.Add("Authorization", `Digest username="x",,= "`)
		w.throws(phoneSocket, m)
		f.sent++
	}
}

// TestAFloodOfStrangersMovesNoLamp: the node is up all the while, a provider's OPTIONS are answered 200, and what rings goes on.
func TestAFloodOfStrangersMovesNoLamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, call, f := newFlood(t)
		defer l.close()
		beside := l.wire(netip.AddrPortFrom(providerAt.Addr(), 5070))
		before := f.logs.FilterMessageSnippet("peer is").Len()
		for i := range 600 {
			if i%20 == 0 {
				f.wave(8)
			}
			if s := l.states(); s != "up" {
				t.Fatalf("after %d requests of strangers the node is %s", f.sent, s)
			}
			beside.throws(trunkSocket, beside.request("OPTIONS", trunkSocket, ""))
			if m := beside.next(time.Second); m == nil || kind(m) != "200 OPTIONS" {
				t.Fatalf("after %d requests of strangers the provider hears\n%s", f.sent, m)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if said := f.logs.FilterMessageSnippet("peer is").All()[before:]; len(said) > 0 {
			t.Errorf("after %d requests of strangers the log says %v", f.sent, said)
		}
		if call.cancelled.Load() {
			t.Error("the ringing call is given up")
		}
		call.answer()
		call.itsp.want("200 INVITE")
	})
}

// TestANodeThatDiesInAFlood is found out by the flood itself, as soon as if its requests counted by themselves; the call that rings there is let go.
func TestANodeThatDiesInAFlood(t *testing.T) {
	for _, tt := range []struct {
		of, how string
		most    time.Duration
	}{
		{"both", "unreachable", 3500 * time.Millisecond},
		{"both", "silent", 3500 * time.Millisecond},
		{"both", "killed", time.Second},
		{"REGISTER", "unreachable", 5 * time.Second},
		{"REGISTER", "killed", time.Second},
	} {
		t.Run(tt.of+", "+tt.how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, pbx, call, f := newFlood(t)
				defer l.close()
				wave := func() {
					if f.wave(1); tt.of == "REGISTER" {
						f.sent++
					}
					time.Sleep(200 * time.Millisecond)
				}
				for range 100 {
					wave()
				}
				pbx.dies(tt.how)
				died := time.Now()
				for l.states() != "down" && time.Since(died) < 20*time.Second {
					wave()
				}
				if took := time.Since(died); took > tt.most {
					t.Errorf("it was found after %v", took)
				}
				call.itsp.want("480 INVITE")
			})
		})
	}
}
