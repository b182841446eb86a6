//go:build linux

package thread

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"sallyport/media"
	"sallyport/nat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is a bound for failure, not a measure.
const patience = 5 * time.Second

var relay, peer = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("192.0.2.99:4000")

func config() media.Config {
	return media.Config{Addresses: [2]netip.Addr{relay, relay}, First: 30000, Last: 30015, Workers: 1}
}

// worker has no sockets. It is given datagrams in place of a batch, and keeps what it is told.
type worker struct {
	Thread
	events  [4]unix.EpollEvent
	wait    func(w *worker) // nil: Await
	apply   func(w *worker)
	carry   func(w *worker, now int64)
	resumed int
	rounds  atomic.Int32
	applied [][]media.Command
	sent    chan []byte
}

func (w *worker) Resume() { w.resumed++ }

func (w *worker) Wait() {
	if w.wait != nil {
		w.wait(w)
		return
	}
	w.Await(w.events[:])
}

func (w *worker) Applied(list []media.Command) {
	if len(list) == 0 {
		return
	}
	w.applied = append(w.applied, slices.Clone(list))
	if w.apply != nil {
		w.apply(w)
	}
}

func (w *worker) Carry(now int64) {
	w.rounds.Add(1)
	if w.carry != nil {
		w.carry(w, now)
	}
}

func (w *worker) Send(v media.Verdict) bool {
	w.sent <- slices.Clone(v.Data)
	return true
}

// backend is one of workers without sockets.
type backend struct {
	options Options
	prepare func(*worker)
	crew    Crew
	workers []*worker
	shuts   int
}

func (b *backend) Open(layout media.Layout, hears media.Listener) (*media.Board, error) {
	board, err := b.crew.Open(layout, hears, b.options, func(int32, netip.AddrPort, []byte) bool { return false })
	if err != nil {
		return nil, err
	}
	for range max(1, layout.Workers) {
		w := &worker{sent: make(chan []byte, 100)}
		if b.prepare != nil {
			b.prepare(w)
		}
		if err := b.crew.Enlist(&w.Thread, w); err != nil {
			return nil, err
		}
		b.workers = append(b.workers, w)
	}
	b.crew.Start()
	return board, nil
}

func (b *backend) Post(c media.Command) { b.crew.Post(c) }

func (b *backend) Close() error {
	b.crew.Close(func() { b.shuts++; b.crew.Shut() })
	return nil
}

func open(t *testing.T, cfg media.Config, b *backend) *media.Plane {
	t.Helper()
	p, err := media.New(cfg, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// point points a new stream's outside at the peer.
func point(t *testing.T, p *media.Plane, w media.Want) (media.ID, [2]netip.AddrPort) {
	t.Helper()
	id, local, err := p.Reserve(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.RTP, w.Send, w.Receive = peer, true, true
	if err := p.Point(id, nat.Outside, w); err != nil {
		t.Fatal(err)
	}
	return id, local
}

// Each thread gets the commands of its legs, all of them before Settle returns and before anything is relayed.
func TestCommandsReachTheirThread(t *testing.T) {
	cfg := config()
	cfg.Workers = 2
	b := &backend{}
	p := open(t, cfg, b)
	for range 4 {
		point(t, p, media.Want{})
	}
	b.crew.Settle()
	b.crew.Stop()
	total := 0
	for n, w := range b.workers {
		for _, list := range w.applied {
			for _, c := range list {
				if total++; b.crew.layout.Worker(int(c.Leg)) != n {
					t.Errorf("worker %d was told of leg %d", n, c.Leg)
				}
			}
		}
		if len(w.applied) == 0 || w.Number != n {
			t.Errorf("worker %d, by its own count %d: %d batches of commands", n, w.Number, len(w.applied))
		}
	}
	if total < 4 {
		t.Errorf("%d commands for four streams", total)
	}
}

// Commands are carried out between the wait and the batch, with one reading of the clock for it.
func TestOrderOfARound(t *testing.T) {
	var steps []string
	var began, now, ended int64
	b := &backend{prepare: func(w *worker) {
		w.wait = func(w *worker) {
			w.Await(w.events[:])
			steps, began = append(steps, "wait"), int64(time.Since(w.base))
		}
		w.apply = func(*worker) { steps = append(steps, "apply") }
		w.carry = func(w *worker, at int64) {
			if steps = append(steps, "carry"); len(w.applied) > 0 && now == 0 {
				now, ended = at, int64(time.Since(w.base))
				if began > now || now > ended || now < int64(time.Second) {
					t.Errorf("the time of a batch is %d, of a round from %d to %d, on a clock that begins with a second", now, began, ended)
				}
			}
		}
	}}
	p := open(t, config(), b)
	point(t, p, media.Want{})
	b.crew.Settle()
	b.crew.Settle() // the round of the command is over
	b.crew.Stop()
	at := slices.Index(steps, "apply")
	if at < 1 || !slices.Equal(steps[at-1:at+2], []string{"wait", "apply", "carry"}) || now == 0 {
		t.Errorf("%v", steps)
	}
}

// A batch on which the engine fails costs what is left of it: the worker resumes, and everything else goes on.
func TestFailureInABatch(t *testing.T) {
	b := &backend{prepare: func(w *worker) {
		w.carry = func(w *worker, _ int64) {
			if w.resumed == 1 {
				panic("a bug of the engine")
			}
		}
	}}
	p := open(t, config(), b)
	b.crew.Settle()
	point(t, p, media.Want{})
	b.crew.Settle()
	b.crew.Stop()
	w := b.workers[0]
	if got := p.Gauges().Rejected[media.RejectedInternal]; got != 1 || w.resumed != 2 {
		t.Errorf("%d failures counted, resumed %d times", got, w.resumed)
	}
	if len(w.applied) == 0 {
		t.Error("nothing is heard after a failure")
	}
}

// failing fails on the first commands that it hears of.
type failing struct{ worker }

func (f *failing) Applied(list []media.Command) {
	f.worker.Applied(list)
	if len(list) > 0 && len(f.applied) == 1 {
		panic("a bug of the worker")
	}
}

// Who waits for commands is answered, whatever becomes of them.
func TestFailureInACommand(t *testing.T) {
	var c Crew
	layout := media.Layout{Addresses: [2]netip.Addr{relay, relay}, First: 30000, Pairs: 2, Blocks: 1, Workers: 1}
	if _, err := c.Open(layout, media.Listener{}, Options{}, func(int32, netip.AddrPort, []byte) bool { return false }); err != nil {
		t.Fatal(err)
	}
	var f failing
	if err := c.Enlist(&f.Thread, &f); err != nil {
		t.Fatal(err)
	}
	c.Start()
	c.Post(media.Command{Leg: 0, Peer: 2, Generation: 1})
	c.Settle()
	c.Post(media.Command{Leg: 0, Peer: 2, Generation: 2})
	c.Settle()
	c.Close(c.Shut)
	if len(f.applied) != 2 || f.resumed != 2 {
		t.Errorf("%d batches of commands, resumed %d times", len(f.applied), f.resumed)
	}
}

// What the clock asks for is sent by the worker though nothing arrives, in either kind of process, and what was published
// rings.
func TestClockAndNews(t *testing.T) {
	for _, process := range []bool{false, true} {
		heard := make(chan []byte, 1)
		var local atomic.Pointer[[2]netip.AddrPort]
		b := &backend{options: Options{Process: process}, prepare: func(w *worker) {
			w.carry = func(w *worker, now int64) {
				select {
				case data := <-heard:
					leg := int(local.Load()[nat.Outside].Port()) - 30000
					w.Engine.Packet(now, leg, media.EndpointOf(peer), append(data, make([]byte, media.Tailroom)...)[:len(data)])
				default:
				}
			}
		}}
		p := open(t, config(), b)
		want := media.Want{Continuous: true, Events: media.Events{Payload: 101, Clock: 8000, Report: true}}
		want.Tones = media.Tones{Serial: 1, Count: 1, List: [media.MaxTones]media.Tone{{Event: 5, Volume: 10, Duration: 60}}}
		id, at := point(t, p, want)
		if err := p.Point(id, nat.Inside, media.Want{RTP: peer, Send: true, Receive: true}); err != nil {
			t.Fatal(err)
		}
		local.Store(&at)
		for n := range 3 {
			select {
			case data := <-b.workers[0].sent:
				if len(data) != 16 || data[1]&0x7f != 101 || data[12] != 5 {
					t.Errorf("packet %d: %x", n, data)
				}
			case <-time.After(patience):
				t.Fatal("no tone")
			}
		}
		// The end of an event of 100 ms (RFC 4733 §2.3).
		end := append(binary.BigEndian.AppendUint32([]byte{0x80, 101, 0, 1, 0, 0, 3, 232}, 77), 9, 0x80|10, 800>>8, 800&0xff)
		heard <- end
		b.crew.Settle()
		select {
		case <-p.Hinted():
		case <-time.After(patience):
			t.Fatal("no hint")
		}
		_ = p.Close()
	}
}

// Who settles is answered when the commands have been carried out, and not before.
func TestSettledAfterwards(t *testing.T) {
	w := still(t, Options{}, false)
	w.queue.Open(w.wakeFD, 4)
	w.queue.Post(media.Command{Leg: 0, Peer: 2, Generation: 1})
	settled := w.queue.Settle()
	answered := func() bool {
		select {
		case <-settled:
			return true
		default:
			return false
		}
	}
	w.apply = func(*worker) {
		if answered() {
			t.Error("answered before the commands have been carried out")
		}
	}
	if w.commands(int64(time.Second)) || !answered() || len(w.applied) != 1 {
		t.Errorf("answered %v, %d batches of commands", answered(), len(w.applied))
	}
}

// A crew that never began rings nowhere when it is closed.
func TestStopBeforeStart(t *testing.T) {
	var c Crew
	layout := media.Layout{Addresses: [2]netip.Addr{relay, relay}, First: 30000, Pairs: 2, Blocks: 1, Workers: 1}
	if _, err := c.Open(layout, media.Listener{}, Options{}, func(int32, netip.AddrPort, []byte) bool { return false }); err != nil {
		t.Fatal(err)
	}
	var w worker
	if err := c.Enlist(&w.Thread, &w); err != nil {
		t.Fatal(err)
	}
	c.Post(media.Command{Leg: 0})
	c.Settle()
	if c.Close(c.Shut); w.queue.Waiting.Load() {
		t.Error("a queue without an event descriptor was stopped by one")
	}
}

// Whoever has no crew yet, or no more, may post, settle and stop; what could not be opened is opened once more.
func TestLife(t *testing.T) {
	var c Crew
	c.Post(media.Command{})
	c.Settle()
	c.Stop()
	b := &backend{options: Options{Board: func(media.Layout, time.Time) (*media.Board, error) { return nil, unix.ENOSPC }}}
	if _, err := media.New(config(), b, 1); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("no board: %v", err)
	}
	b.options = Options{}
	p := open(t, config(), b)
	for _, leg := range []int32{-1, 1 << 20} {
		b.crew.Post(media.Command{Leg: leg})
	}
	b.crew.Stop()
	b.crew.Stop()
	rounds := b.workers[0].rounds.Load()
	point(t, p, media.Want{})
	b.crew.Settle()
	if n := b.workers[0].rounds.Load(); n != rounds || len(b.workers[0].applied) != 0 {
		t.Errorf("a thread that was stopped went on for %d rounds", n-rounds)
	}
	b.crew.Start()
	point(t, p, media.Want{})
	b.crew.Settle()
	if len(b.workers[0].applied) != 1 {
		t.Error("a thread that was started again hears nothing")
	}
	for range 2 {
		if err := b.Close(); err != nil || b.shuts != 1 {
			t.Errorf("the sockets were given back %d times: %v", b.shuts, err)
		}
	}
	if w := b.workers[0]; w.pollFD != -1 || w.wakeFD != -1 {
		t.Error("descriptors are left")
	}
	b.crew.Shut() // and not those of somebody who has the numbers now
	b.crew.Settle()
}
