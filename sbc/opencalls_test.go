package sbc_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/media"
	"sallyport/media/sim"
	"sallyport/nat/natlab"
	"sallyport/sbc"
	"sallyport/sbc/reason"
	"sallyport/sbc/transport"
	"sallyport/sbc/tu"
)

// engine is a media process: it outlives those that speak to it.
type engine struct {
	*sim.Backend
	board *media.Board // nil: nobody has asked for ports yet
}

// free ends what nobody speaks for any more, as the media process does with silent calls.
func (e *engine) free() {
	var frees []media.Command
	for h := range e.board.Holdings() {
		frees = append(frees, media.Command{Leg: int32(h.Leg), Peer: int32(h.Peer), Generation: h.Generation, Free: true})
	}
	for _, c := range frees {
		e.Post(c)
	}
}

// lives counts runs, of all tests.
var lives byte

// life is one run of signalling, as far as it is cut off when it crashes.
type life struct {
	*engine
	crashed atomic.Bool
	state   *memory
	records ledger
	logs    *observer.ObservedLogs
	mu      sync.Mutex
	sockets []transport.PacketConn
}

func (r *life) Open(layout media.Layout, hears media.Listener) (*media.Board, error) {
	if r.board == nil {
		board, err := r.Backend.Open(layout, hears)
		r.board = board
		return board, err
	}
	return r.board, nil
}

func (r *life) Post(c media.Command) {
	if !r.crashed.Load() {
		r.engine.Post(c)
	}
}

func (r *life) Close() error { return nil }

func (r *life) Write(c tu.CDR) {
	if !r.crashed.Load() {
		r.records.Write(c)
	}
}

// crashes is a lab whose gate may crash.
type crashes struct {
	*lab
	*life
	itsp, pbx *wire
}

// gives makes a gate live that life. With files it writes its records itself.
func (r *life) gives(files bool) func(*sbc.Options) {
	return func(o *sbc.Options) {
		seen, logs := observer.New(zapcore.InfoLevel)
		r.logs = logs
		if r.Backend == nil {
			r.Backend = o.Relay.(*sim.Backend)
		}
		o.Relay, o.Calls, o.Log, o.Records = r, r.state, zap.New(seen), r
		lives++
		o.Key = [16]byte{1, lives} // no name of one life comes again in another
		if files {
			o.Records = nil
		}
		listen := o.Listen
		o.Listen = func(at netip.AddrPort) (transport.PacketConn, error) {
			conn, err := listen(at)
			if err == nil {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.sockets = append(r.sockets, conn)
			}
			return conn, err
		}
	}
}

// kept is a configuration whose records are in a directory.
func kept(dir string) string {
	if dir == "" {
		return labConfig
	}
	return labConfig + "cdr: { directory: " + dir + " }\n"
}

// newCrashes must run inside a bubble. dir is where records go; "": they are kept in memory.
func newCrashes(t *testing.T, dir string) *crashes {
	t.Helper()
	r := &life{engine: &engine{}, state: &memory{}}
	c := &crashes{lab: newGate(t, kept(dir), natlab.Options{Seed: 1}, r.gives(dir != "")), life: r}
	c.itsp, c.pbx = c.wire(providerAt), c.wire(pbxAt)
	return c
}

// crash is kill -9: what the gate has written stays, nothing that it does from now on has any effect.
func (c *crashes) crash() (left *memory) {
	c.t.Helper()
	left = c.state.copied()
	c.crashed.Store(true)
	c.life.mu.Lock()
	for _, s := range c.sockets {
		_ = s.Close()
	}
	c.life.mu.Unlock()
	c.stops()
	return left
}

// again starts signalling anew, with the state that is left.
func (c *crashes) again(left *memory, dir string) {
	c.t.Helper()
	c.life = &life{engine: c.engine, state: left}
	if err := c.starts(kept(dir), c.gives(dir != "")); err != nil {
		c.t.Fatal(err)
	}
	synctest.Wait()
}

func (c *crashes) dials() talk {
	c.t.Helper()
	return c.talk(c.itsp, c.pbx, trunkSocket, sdpAt(providerAt.Addr(), 4000), sdpAt(pbxAt.Addr(), 4002))
}

// rings is a call that nobody has answered yet.
func (c *crashes) rings() {
	c.t.Helper()
	c.itsp.send(trunkSocket, withBody(c.itsp.request("INVITE", trunkSocket, "+4930123"), sdpAt(providerAt.Addr(), 4000)))
	c.pbx.reply(c.pbx.want("INVITE"), 183, sdpAt(pbxAt.Addr(), 4002))
	c.itsp.want("183 INVITE")
}

// speak sends a packet each way and checks that it comes out.
func (c *crashes) speak(k talk, n byte) {
	c.t.Helper()
	outside, inside := told(c.t, k.shown[0], 0), told(c.t, k.shown[1], 0)
	c.hear(providerSound, outside, rtp(0, n), inside, pbxSound)
	c.hear(pbxSound, inside, rtp(0, n), outside, providerSound)
}

// said counts lines of the log.
func (r *life) said(text string) int {
	return r.logs.Filter(func(e observer.LoggedEntry) bool { return strings.Contains(e.Message, text) }).Len()
}

// entries are the calls that a state has.
func (m *memory) entries(t *testing.T) map[string]tu.CDR {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]tu.CDR{}
	for key, value := range m.values {
		var e struct{ CDR tu.CDR }
		if name, isCall := strings.CutPrefix(key, "call/"); isCall {
			if err := json.Unmarshal(value, &e); err != nil || e.CDR.Call != name {
				t.Fatalf("%s: %s: %v", key, value, err)
			}
			out[name] = e.CDR
		}
	}
	return out
}

// TestACrashEndsNoCall: audio goes on, and each call has one record when it has fallen silent, however often signalling
// crashes meanwhile.
func TestACrashEndsNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrashes(t, "")
		defer c.close()
		free := c.gate.Gauges().PortsFree
		began := time.Now()
		talks := []talk{c.dials(), c.dials(), c.dials()}
		c.rings()
		gone := c.dials()
		time.Sleep(time.Second)
		hangup(gone.caller, gone.callee)
		for n := range byte(50) {
			for _, k := range talks {
				c.speak(k, n)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if n := len(c.records.all()); n != 1 {
			t.Errorf("%d records before the crash", n)
		}
		left := c.crash()
		if n := len(left.entries(t)); n != 4 {
			t.Errorf("the journal has %d calls of 4", n)
		}
		for n := range byte(50) { // nobody is there to signal
			c.speak(talks[0], 50+n)
			time.Sleep(20 * time.Millisecond)
		}
		c.again(left, "")
		if n := c.said("4 calls of before this start have no record yet: 4 of them"); n != 1 {
			t.Errorf("log: %v", c.logs.All())
		}
		fresh := c.dials()
		for _, k := range talks {
			if told(t, k.shown[0], 0) == told(t, fresh.shown[0], 0) || told(t, k.shown[1], 0) == told(t, fresh.shown[1], 0) {
				t.Error("a new call has the ports of one that goes on")
			}
		}
		c.speak(fresh, 1)
		for n := range byte(100) {
			c.speak(talks[1], 50+n)
			time.Sleep(100 * time.Millisecond)
		}
		hangup(fresh.caller, fresh.callee)
		time.Sleep(time.Second)
		if n := len(c.records.all()); n != 1 {
			t.Errorf("%d records while the calls go on, want that of the new one", n)
		}
		status, err := c.gate.Control(nil).Status(c.ctx)
		if err != nil || status.Media.Orphans != 4 || status.Media.OrphansSince.IsZero() {
			t.Errorf("status: %+v, %v", status.Media, err)
		}
		left = c.crash()
		c.again(left, "")
		last := time.Now()
		c.speak(talks[2], 200)
		c.engine.free()
		time.Sleep(2 * time.Second)
		all := c.records.all()
		if len(all) != 4 {
			t.Fatalf("%d records of 4 calls: %+v", len(all), all)
		}
		answered := 0
		for i, r := range all {
			if r.Reason != reason.SignallingLost || r.EndedBy != "sbc" || len(r.Media) != 1 || i > 0 && r.End.Before(all[i-1].End) || !r.Start.Equal(began) {
				t.Errorf("record %+v", r)
			}
			if r.Answer.IsZero() {
				if r.Code != 408 || r.Duration != 0 || r.Ringing.IsZero() {
					t.Errorf("the one that rang: %+v", r)
				}
				continue
			}
			answered++
			if r.Code != 200 || r.Duration != r.End.Sub(r.Answer).Seconds() || r.Media[0].Outside.Packets == 0 || r.Media[0].Inside.Packets != r.Media[0].Outside.Packets {
				t.Errorf("record %+v", r)
			}
		}
		if answered != 3 || !all[3].End.Equal(last) || all[2].Media[0].Outside.Packets != 150 || all[3].Media[0].Outside.Packets != 51 {
			t.Errorf("%d answered, the last one ended %v, its last packet came %v: %+v", answered, all[3].End, last, all)
		}
		c.empty()
		if g := c.gate.Gauges(); g.PortsFree != free || len(c.state.entries(t)) != 0 {
			t.Errorf("%d of %d ports are free, the journal has %v", g.PortsFree, free, c.state.entries(t))
		}
	})
}

// TestBothProcessesCrash: nothing goes on, so the records are written at once; the end is when signalling last lived.
func TestBothProcessesCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrashes(t, "")
		defer c.close()
		k := c.dials()
		for n := range byte(30) {
			c.speak(k, n)
			time.Sleep(time.Second)
		}
		crashed := time.Now()
		left := c.crash()
		c.bothGone()
		time.Sleep(time.Hour)
		c.again(left, "")
		time.Sleep(time.Second)
		all := c.records.all()
		if len(all) != 1 || all[0].Reason != reason.SignallingLost || crashed.Sub(all[0].End) > 6*time.Second || all[0].End.After(crashed) {
			t.Errorf("crashed %v: %+v", crashed, all)
		}
		if n := len(c.state.entries(t)); n != 0 {
			t.Errorf("%d calls are in the journal", n)
		}
		left = c.crash()
		c.again(left, "")
		time.Sleep(time.Second)
		if n := len(c.records.all()); n != 0 {
			t.Errorf("%d records more after another crash", n)
		}
	})
}

// bothGone is a crash of the media process, too.
func (c *crashes) bothGone() {
	c.lab.relay = sim.New(nil, c.sounds.take)
	c.engine = &engine{Backend: c.lab.relay}
}
