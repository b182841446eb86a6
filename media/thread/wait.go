//go:build linux

package thread

import (
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	rawWait  = 100 // ms: bounds how long a stop of the world waits for a raw wait
	lazyWait = 200 // ms: how long commands may wait while nothing arrives

	// gather is how long packets are gathered at most.
	gather = time.Millisecond
)

// Look returns how many events there are, without waiting. What events has no room for shows the next time.
func (t *Thread) Look(events []unix.EpollEvent) int { return t.poll(events, 0) }

// Await is Look, but waits until there is something. In a process of its own that is a raw system call; elsewhere the
// scheduler gets its processor back, and a look goes first: under load it saves the hand-over, which costs more than
// relaying a packet. 0: the engine has something to do of itself, or nothing came for long enough that a command may be
// waiting which did not ring.
func (t *Thread) Await(events []unix.EpollEvent) int {
	if t.raw {
		return t.poll(events, t.spare(rawWait))
	}
	if n := t.poll(events, 0); n > 0 {
		return n
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(t.pollFD), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(t.spare(lazyWait)), 0, 0)
	return t.told(events, n, errno)
}

// Raw says that waits keep the scheduler's processor: the process does nothing but media.
func (t *Thread) Raw() bool { return t.raw }

// Sleep lasts until the next millisecond: what arrives meanwhile is one batch and costs one wake-up. For a thread that is
// Patient.
func (t *Thread) Sleep() {
	t.rest = unix.NsecToTimespec(int64(gather - time.Since(t.base)%gather))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t.rest)), 0, 0)
}

func (t *Thread) poll(events []unix.EpollEvent, ms int) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(t.pollFD), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(ms), 0, 0)
	return t.told(events, n, errno)
}

// told is what a wait has come to. A ring is heard here.
func (t *Thread) told(events []unix.EpollEvent, n uintptr, errno unix.Errno) int {
	if errno != 0 {
		return 0 // EINTR; nothing else can happen to descriptors that this thread alone closes
	}
	for i := range events[:n] {
		if events[i].Fd == wakeIndex {
			t.hear()
		}
	}
	return int(n)
}

// hear takes the ring of the eventfd.
func (t *Thread) hear() {
	_, _ = unix.Read(t.wakeFD, t.rings[:])
}

// spare is how many of a wait's milliseconds are left before the engine has something to do of itself.
func (t *Thread) spare(ms int) int {
	due := t.Engine.Due(t.Number)
	if due == math.MaxInt64 { // never, as nearly always: no clock is read
		return ms
	}
	return until(ms, time.Duration(due), time.Since(t.base))
}

// until is how many of a wait's milliseconds there are before something is due: whole ones, since what is looked at too
// early is looked at again.
func until(ms int, due, now time.Duration) int {
	return max(0, min(ms, int((due-now+time.Millisecond-1)/time.Millisecond)))
}
