//go:build !linux

package mls

import (
	"testing"
	"time"
)

// cpuTime is the time that f takes, in want of a clock of the processor.
func cpuTime(_ testing.TB, f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}
