package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/web/api"
	"kith/web/client"
)

// seeded returns a random source whose seed is printed, so that a failure can be repeated.
func seeded(t *testing.T) *lockedRand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return &lockedRand{r: rand.New(rand.NewPCG(seed, 0))}
}

// lockedRand is used by the test and the hub's connections.
type lockedRand struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (l *lockedRand) intN(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.IntN(n)
}

// TestCommitsAtOnce lets two devices change the same room at the same moment, hundreds of times, with random delays
// on the way: one wins, the other tries again, both go on, and so do the messages between.
func TestCommitsAtOnce(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	world(t, func(h *hub) {
		random := seeded(t)
		alice, bob := h.join("alice"), h.join("bob")
		other := h.device("alice") // two admins are two devices of Alice
		carol := h.join("carol")
		r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob", "carol"})
		must(t, err)
		for _, a := range h.agents {
			a.awaitRoom("Club")
		}
		h.mu.Lock()
		h.delay = func() time.Duration { return time.Duration(random.intN(20)) * time.Millisecond }
		h.mu.Unlock()
		var want []string
		for i := range rounds {
			done := make(chan error, 2)
			for j, a := range []*agent{alice, other} {
				name := fmt.Sprintf("Club %d.%d", i, j)
				pause := time.Duration(random.intN(15)) * time.Millisecond
				go func() {
					time.Sleep(pause)
					done <- a.session.Rename(context.Background(), r.ID, name)
				}()
			}
			if i%10 == 0 {
				text := fmt.Sprint(i)
				bob.send(r.ID, text)
				want = append(want, "Bob: "+text)
			}
			must(t, <-done)
			must(t, <-done)
		}
		for _, a := range h.agents {
			a.sees(r.ID, want...)
			a.until("same name", func() bool { return a.view(r.ID).Name == alice.view(r.ID).Name })
			a.until("same notices", func() bool { return slices.Equal(a.renamings(r.ID), alice.renamings(r.ID)) })
		}
		if n := len(carol.renamings(r.ID)); n != 2*rounds {
			t.Errorf("%d renamings arrived, want %d", n, 2*rounds)
		}
	})
}

// TestBadNetwork loses answers and connections at random moments while people talk and the group changes.
func TestBadNetwork(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	for i := range rounds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			world(t, func(h *hub) { badNetwork(t, h, seeded(t)) })
		})
	}
}

func badNetwork(t *testing.T, h *hub, random *lockedRand) {
	alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
	ctx := context.Background()
	r, err := alice.session.NewGroup(ctx, "Club", []string{"bob", "carol"})
	must(t, err)
	for _, a := range h.agents {
		a.awaitRoom("Club")
	}
	h.mu.Lock()
	h.loseAnswer = func(op api.Op) bool {
		return random.intN(6) == 0 && op != api.OpHello && op != api.OpRegisterDevice
	}
	h.mu.Unlock()
	var want []string
	for i := range 20 {
		for _, a := range h.agents {
			text := fmt.Sprintf("%s-%d", a.user.Name(), i)
			a.send(r.ID, text)
			want = append(want, a.state().Me.DisplayName+": "+text)
		}
		switch i % 5 {
		case 1:
			_ = alice.session.Rename(ctx, r.ID, fmt.Sprint("Club ", i)) // may be offline
		case 3:
			[]*agent{alice, bob, carol}[random.intN(3)].restart()
		}
		time.Sleep(time.Duration(random.intN(3000)) * time.Millisecond)
	}
	h.mu.Lock()
	h.loseAnswer = nil
	h.mu.Unlock()
	alice.insist("last name", func() error { return alice.session.Rename(ctx, r.ID, "Last") })
	slices.Sort(want)
	agree(t, r.ID, h.agents, want...)
	for _, a := range h.agents {
		a.until("last name", func() bool { return a.view(r.ID).Name == "Last" })
		for _, m := range a.messages(r.ID) {
			if m.State == client.MessageFailed {
				t.Errorf("%s: failed message: %+v", a.user.Name(), m)
			}
		}
	}
}

// renamings are the notices about the room's name.
func (a *agent) renamings(room string) []string {
	return slices.DeleteFunc(a.notices(room), func(n string) bool { return !strings.HasPrefix(n, client.NoticeRenamed) })
}
