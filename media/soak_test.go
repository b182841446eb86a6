package media_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/media"
	"sallyport/media/epoll"
	"sallyport/media/process"
	"sallyport/media/steer"
	"sallyport/nat"
)

// The size of the soak. In a narrow range a port has its next call while the last one's peers still send there; in a wide
// one phones call again at once from the port that still sends to the last call.
const (
	soakWide     = 2_000
	soakShort    = 300
	narrowPairs  = 40
	widePairs    = 300
	soakSpeakers = 128 // on each side: who has hung up rests until all that he sent has been looked at
	soakAlive    = 36  // calls at a time at most
	soakLingers  = 16  // calls whose peers go on after the release
	soakBurst    = 32  // calls that come, or go, at the same time
	soakLeak     = 160 // bytes that a call may leave behind: some of it is the heap's own books, until they have their size
)

// soakRounds are how many set-ups lie between two looks at what the relay holds: ten thousand. The first round is the
// largest, so that none needs more at a time.
var soakRounds = []int{4000, 2000, 2000, 2000}

// soak is a relay under test with all that speaks to it.
type soak struct {
	t      *testing.T
	plane  *media.Plane
	settle func()
	pid    int // of the relay
	rnd    *rand.Rand
	idle   [2][]*speaker
	all    []*speaker
	pairs  int
	live   []*soakCall
	late   []*soakCall // released, their peers go on
	again  bool        // speakers of released calls call again at once
	number uint32
	buf    [2048]byte
	noisy  int // ports that were handed out while somebody sent there
}

// soakBackends open a back end; settle returns once what was posted is in force.
var soakBackends = []struct {
	name string
	open func(t *testing.T) (b media.Backend, settle func(), pid func() int)
}{
	{"epoll", func(*testing.T) (media.Backend, func(), func() int) {
		b := epoll.New(epoll.Options{})
		return b, b.Settle, os.Getpid
	}},
	{"steer", func(t *testing.T) (media.Backend, func(), func() int) {
		if err := steer.Probe(); err != nil {
			t.Skip(err)
		}
		b := steer.New(steer.Options{})
		return b, b.Settle, os.Getpid
	}},
	{"process", func(t *testing.T) (media.Backend, func(), func() int) {
		socket := filepath.Join(t.TempDir(), "media.sock")
		t.Setenv(socketVariable, socket)
		b := process.New(process.Options{Socket: socket, Build: "test", Program: os.Args[0]})
		return b, func() {
			if err := b.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, func() int { return b.State().PID }
	}},
}

// Ten thousand calls come and go over each back end, several at a time, some protected, some with checks, some whose
// handshake nobody answers. The peers of a call that has ended go on sending, and nothing of it is heard in the next one.
// In the end every port is back, and the relay is as large as before.
func TestSoak(t *testing.T) {
	for n, c := range soakBackends {
		t.Run(c.name+"/narrow", func(t *testing.T) {
			s := openSoak(t, n, narrowPairs)
			if testing.Short() {
				s.run(soakShort)
				s.over()
				return
			}
			looks, last := []size{}, 0
			for _, setups := range soakRounds {
				s.run(setups)
				looks, last = append(looks, s.look()), last+setups
			}
			s.flat(looks, last-soakRounds[0])
			s.over()
		})
		t.Run(c.name+"/wide", func(t *testing.T) {
			s := openSoak(t, n, widePairs)
			s.again = true
			setups := soakWide
			if testing.Short() {
				setups = soakShort
			}
			s.run(setups)
			if s.noisy > 0 {
				t.Errorf("%d ports were handed out while somebody sent there, although others were quiet", s.noisy)
			}
			s.over()
		})
	}
}

func openSoak(t *testing.T, backend, pairs int) *soak {
	t.Helper()
	b, settle, pid := soakBackends[backend].open(t)
	first := uint16(21000 + 1000*backend)
	if pairs == narrowPairs {
		first += 2 * widePairs // a process of the range before may still be about to end
	}
	cfg := media.Config{Addresses: [2]netip.Addr{own(3), own(4)}, First: first, Last: first + uint16(2*pairs) - 1, Workers: 2}
	plane, err := media.New(cfg, b, 7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Close() })
	s := &soak{t: t, plane: plane, settle: settle, pid: pid(), pairs: pairs, rnd: rand.New(rand.NewPCG(1, uint64(backend)))}
	for i := range soakSpeakers {
		// Every other phone is behind one NAT with all of these: only the port tells them apart.
		phone := netip.AddrPortFrom(own(byte(32+i)), 14000)
		if i&1 == 1 {
			phone = netip.AddrPortFrom(own(7), uint16(14000+2*i))
		}
		s.speaker(nat.Outside, phone)
		s.speaker(nat.Inside, netip.AddrPortFrom(own(2), uint16(15000+2*i)))
	}
	return s
}

// run sets up a number of calls and ends them all, in random order.
func (s *soak) run(setups int) {
	for setups > 0 || len(s.live) > 0 {
		if n := min(1+s.rnd.IntN(soakBurst), setups, soakAlive-len(s.live)); n > 0 && s.rnd.IntN(2) == 0 {
			s.setUp(n)
			setups -= n
		} else {
			s.release(min(1+s.rnd.IntN(soakBurst), len(s.live)))
		}
		if s.t.Failed() {
			s.t.FailNow()
		}
	}
	for len(s.late) > 0 {
		s.retire()
	}
	s.settle()
	for _, e := range s.all {
		s.listen(e)
	}
}

// size is what a relay holds of its machine.
type size struct{ heap, resident, files, threads int }

func (s size) String() string {
	return fmt.Sprintf("%d kB of heap, %d kB resident, %d descriptors, %d goroutines", s.heap>>10, s.resident>>10, s.files, s.threads)
}

// look measures it while there is no call, once handshakes that were given up have ended and a process without calls has
// collected what they left.
func (s *soak) look() (is size) {
	s.t.Helper()
	s.settle()
	other, enough := s.pid != os.Getpid(), 3
	if other {
		enough = 8 // it looks four times a second whether there is something to collect
	}
	for steady := 0; steady < enough; steady++ {
		was := is
		time.Sleep(50 * time.Millisecond)
		if is = s.measure(); is.threads != was.threads || other && is.resident != was.resident {
			steady = 0
		}
	}
	return is
}

func (s *soak) measure() (is size) {
	s.t.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		s.t.Fatal(err)
	}
	// Without pages of the program itself, which come as its parts are first used, and without the Board, which is shared.
	_, anonymous, _ := strings.Cut(string(status), "RssAnon:")
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		s.t.Fatal(err)
	}
	kilobytes, err := strconv.Atoi(strings.Fields(anonymous + " 0")[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return size{int(m.HeapAlloc), kilobytes << 10, len(files), runtime.NumGoroutine()}
}

// flat checks that calls have left nothing: the heap of this process is collected before it is measured; of another one
// all that it has counts.
func (s *soak) flat(looks []size, setups int) {
	s.t.Helper()
	for round, is := range looks {
		s.t.Logf("round %d: %v", round+1, is)
	}
	before, after := looks[0], looks[len(looks)-1]
	if media.Raced {
		return
	}
	if after.heap-before.heap > before.heap/20 {
		s.t.Errorf("%d bytes of heap more", after.heap-before.heap)
	}
	if s.pid != os.Getpid() && after.resident-before.resident > setups*soakLeak {
		s.t.Errorf("%d kB resident more", (after.resident-before.resident)>>10)
	}
	if after.files != before.files || after.threads > before.threads {
		s.t.Error("descriptors or goroutines are left")
	}
}

// over checks that nothing is left of any call, and that there is still room for a handshake.
func (s *soak) over() {
	s.t.Helper()
	g := s.plane.Gauges()
	if free := len(s.free()); g.Reserved != 0 || g.Orphans != 0 || g.Missing != 0 || g.Free != s.pairs || free != s.pairs {
		s.t.Errorf("%d streams reserved, %d orphans, %d ports missing, %d free, %d taken of %d", g.Reserved, g.Orphans, g.Missing, g.Free, free, s.pairs)
	}
	var why []string
	for r, n := range g.Rejected {
		if n > 0 {
			why = append(why, fmt.Sprintf("%v %d", media.Rejection(r), n))
		}
	}
	s.t.Logf("%d set-ups, %d at once; %v", s.number, g.HighWater, why)
	if g.Strays == 0 || !s.again && g.Rejected[media.RejectedSource] == 0 || g.Rejected[media.RejectedInternal] != 0 {
		s.t.Error("nobody has sent to a port whose call is over: the test proves nothing")
	}
	s.shake()
}

// shake has a peer make a handshake.
func (s *soak) shake() {
	s.t.Helper()
	print, ok := s.plane.Fingerprint()
	id, local, err := s.plane.Reserve(time.Now())
	if err != nil || !ok {
		s.t.Fatal(err, ok)
	}
	b := newBrowser(s.t, 14100, local[0])
	w := with(want("phone"), func(w *media.Want) { w.Mux, w.ICE, w.Peer, w.Latch = true, credentials, b.print(), media.Strict })
	if err := s.plane.Point(id, nat.Outside, w); err != nil {
		s.t.Fatal(err)
	}
	s.settle()
	b.check()
	b.shake(print)
	s.plane.Release(time.Now(), id)
}

// free takes all that the pool has left.
func (s *soak) free() (list []media.ID) {
	for {
		id, _, err := s.plane.Reserve(time.Now())
		if err != nil {
			break
		}
		list = append(list, id)
	}
	for _, id := range list {
		s.plane.Release(time.Now(), id)
	}
	return list
}
