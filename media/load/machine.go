//go:build linux

package load

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Keep binds the calling goroutine to a thread of its own on a processor, before all ordinary threads there (sched(7):
// SCHED_FIFO), so that what else the machine does is not measured. That takes CAP_SYS_NICE. undo ends it.
func Keep(processor int) (undo func(), err error) {
	runtime.LockOSThread()
	var before, set unix.CPUSet
	set.Set(processor)
	err = errors.Join(unix.SchedGetaffinity(0, &before), unix.SchedSetaffinity(0, &set))
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("media/load: processor %d: %w", processor, err)
	}
	undo = func() {
		_ = policy(unix.SCHED_NORMAL, 0)
		_ = unix.SchedSetaffinity(0, &before)
		runtime.UnlockOSThread()
	}
	if err := policy(unix.SCHED_FIFO, 1); err != nil {
		undo()
		return nil, fmt.Errorf("media/load: real-time priority: %w", err)
	}
	return undo, nil
}

func policy(policy, priority uint32) error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority}, 0)
}

// ProcessorTime is what a process has used so far, user and system, all of its threads (clock_getcpuclockid(3)).
func ProcessorTime(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		return 0, fmt.Errorf("media/load: processor time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}
