package client_test

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"kith/web/client"
)

// TestRoomOfAHundred makes a room of a hundred people of three providers, and lets a new device of one of them come into
// it, by itself, and a new person, by a Welcome. Neither costs two seconds of processor time, hub and inviter included.
func TestRoomOfAHundred(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred engines are for the long tests")
	}
	world(t, func(h *hub) {
		alice := h.join("alice")
		var others []string
		for i := range 98 {
			name := fmt.Sprintf("user%d@%c.example", i, 'a'+i%3)
			h.join(name).stop() // its packages are out
			others = append(others, name)
		}
		bob := h.join("bob@b.example")
		ctx := context.Background()
		r, err := alice.session.NewGroup(ctx, "Hundred", append(others, "bob@b.example"))
		must(t, err)
		bob.awaitRoom("Hundred")
		if n := bob.view(r.ID).Members; n != 100 {
			t.Fatalf("%d members", n)
		}
		alice.send(r.ID, "hello all")
		bob.sees(r.ID, "Alice: hello all")

		start := cpuTime()
		second := h.device("bob@b.example")
		second.awaitRoom("Hundred")
		bySelf := cpuTime() - start
		alice.send(r.ID, "to the new device")
		second.sees(r.ID, "Alice: to the new device")

		carol := h.join("carol@c.example")
		start = cpuTime()
		must(t, alice.session.AddMembers(ctx, r.ID, []string{"carol@c.example"}))
		carol.awaitRoom("Hundred")
		byWelcome := cpuTime() - start
		carol.send(r.ID, "thank you")
		alice.until("carol", func() bool { return slices.Contains(alice.lines(r.ID), "Carol: thank you") })
		t.Logf("into a room of a hundred: by oneself %v, by a Welcome %v, of processor time of all", bySelf, byWelcome)
		if bySelf > 2*time.Second || byWelcome > 2*time.Second {
			t.Errorf("entering took %v and %v", bySelf, byWelcome)
		}
		list, err := carol.session.Members(ctx, r.ID)
		must(t, err)
		if len(list) != 101 {
			t.Errorf("%d members listed", len(list))
		}
		if s := carol.state(); s.State != client.StateReady {
			t.Errorf("state %+v", s)
		}
	})
}

// cpuTime is the processor time that this process has used: others' use of the machine does not count.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
