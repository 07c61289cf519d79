package mls

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// cpuClock says that there is a clock of the processor time.
const cpuClock = true

// cpuTime is the processor time that f takes. Others' use of the machine does not count.
func cpuTime(t testing.TB, f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const thread = 1 // RUSAGE_THREAD
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(thread, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	f()
	return used() - before
}
