package policy

import (
	"runtime"
	"syscall"
	"testing"
)

// rusageThread is RUSAGE_THREAD: what this thread alone has used.
const rusageThread = 1

// onCPU binds a benchmark to its thread and reports the processor time of each operation, which other programs on the
// machine disturb less than the time on the wall.
func onCPU(b *testing.B) (report func()) {
	runtime.LockOSThread()
	used := func() int64 {
		var u syscall.Rusage
		if syscall.Getrusage(rusageThread, &u) != nil {
			return 0
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() {
		b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op")
		runtime.UnlockOSThread()
	}
}
