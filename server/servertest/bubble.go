package servertest

import (
	"fmt"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// How long a test in a bubble may take: by the fake clock, and by the real one.
const (
	bubbleTime = 5 * 24 * time.Hour
	realTime   = 5 * time.Minute
)

// Bubble is synctest.Test with an end. A provider has timers that go off for ever, so in a bubble with one a wait for
// what never comes is no deadlock: fake time runs on as fast as it can. Here that ends with the stacks of all goroutines,
// and so does a loop in which no time passes at all.
func Bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	name := t.Name()
	stop := func(what string, after time.Duration) func() {
		timer := time.AfterFunc(after, func() {
			debug.SetTraceback("all")
			panic(fmt.Sprintf("servertest: %s waits for something that never comes: %s of %s time have passed", name, after, what))
		})
		return func() { timer.Stop() }
	}
	defer stop("real", realTime)()
	synctest.Test(t, func(t *testing.T) {
		defer stop("fake", bubbleTime)()
		fn(t)
	})
}
