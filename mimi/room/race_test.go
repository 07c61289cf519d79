package room_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"kith/mimi/wire"
)

// TestUP2Races lets all devices commit and speak at random, each for the epoch it knows, and delivers what the hub
// accepted. One wins per epoch; the losers try again; at the end everybody has the same room and the same order.
func TestUP2Races(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { race(t, rand.New(rand.NewPCG(seed, 3))) })
	}
}

func race(t *testing.T, r *rand.Rand) {
	w, alice, bob, bob2, carol := trio(t)
	members := []*device{alice, bob, bob2, carol}
	var said, lost int
	for i := range 40 {
		first, second := members[r.IntN(4)], members[r.IntN(4)]
		a := first.commit()
		var b *wire.UpdateRequest
		if second != first {
			b = second.commit()
		}
		w.now = w.now.Add(1e6)
		from := members[r.IntN(4)]
		late := from.say(fmt.Sprint(i))
		if r.IntN(2) == 0 && w.submit(from, late).StatusCode == wire.SubmitAccepted {
			said++
			late = nil
		}
		w.accept(first, a)
		if b != nil {
			w.refuse("UP-2", second, b)
			lost++
		}
		if late != nil && w.submit(from, late).StatusCode != wire.SubmitEpochTooOld {
			t.Error("message of the past epoch accepted")
		}
		if late != nil && w.submit(from, from.say(fmt.Sprint(i))).StatusCode == wire.SubmitAccepted {
			said++
		}
	}
	if lost == 0 || said != 40 {
		t.Errorf("%d lost, %d said", lost, said)
	}
	w.agree()
	for _, d := range members {
		for i := 1; i < len(d.texts); i++ {
			var a, b int
			fmt.Sscan(d.texts[i-1], &a)
			fmt.Sscan(d.texts[i], &b)
			if a >= b {
				t.Errorf("order %q", d.texts)
				break
			}
		}
	}
}
