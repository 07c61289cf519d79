package server

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"kith/mimi"
	"kith/mimi/wire"
)

// A hub need not send to a provider what that provider's own users have sent. Our devices wait for it all the same: it is
// how they know the place of their own commit among the others, and how our other devices hear of it at all. So the
// follower expects to see again what a hub has accepted from here, and delivers it by itself if it does not come. Should
// it come after all, it is the same octets, which are stored once (NT-5).
//
// draft-ietf-mimi-protocol-06, Section 5.5

const (
	// echoPatience is how long it may take from the hub's answer on; browsers are more patient with a gap than that.
	echoPatience = 2 * time.Second
	// joinPatience is that for an external commit. The hub may add proposals to it, which we do not know.
	joinPatience = 15 * time.Second
	// silentFor is how long a hub that has not sent something back is expected to go on like that.
	silentFor = 10 * time.Minute
	// maxEchoes bounds what is expected at a time. What is beyond that is up to the hubs.
	maxEchoes = 10_000
)

type echoKey [sha256.Size]byte

// echo is what is on its way to a hub, or was accepted by it.
type echo struct {
	key   echoKey
	room  mimi.RoomID
	event []byte // as we shall deliver it; nil while there is no answer
	due   time.Time
}

// echoes is what is expected to be seen again. It is for the use of many goroutines.
type echoes struct {
	wake chan struct{}

	mu     sync.Mutex
	list   map[echoKey]*echo
	silent map[mimi.ProviderID]time.Time // until when hubs are known not to send our own back
}

func newEchoes() *echoes {
	return &echoes{wake: make(chan struct{}, 1), list: make(map[echoKey]*echo), silent: make(map[mimi.ProviderID]time.Time)}
}

// sending notes a message before it is sent: it may come back before the answer.
func (e *echoes) sending(id mimi.RoomID, m *wire.MLSMessage) echoKey {
	key := echoKey(sha256.Sum256(m.Raw))
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.list) < maxEchoes {
		e.list[key] = &echo{key: key, room: id}
	}
	return key
}

// refused forgets a message of which nothing will come, or nobody knows.
func (e *echoes) refused(key echoKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.list, key)
}

// came notes what the hub of a room sends.
func (e *echoes) came(id mimi.RoomID, list []wire.FanoutPart) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.list) == 0 {
		return
	}
	for _, part := range list {
		key := echoKey(sha256.Sum256(part.Message.Message.Raw))
		if x := e.list[key]; x != nil && x.room == id {
			delete(e.list, key)
		}
	}
}

// accepted notes the event that a hub has made of a message. It reports whether there is no use in waiting for it.
func (e *echoes) accepted(key echoKey, event []byte, patience time.Duration) (now bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.list[key]
	if x == nil {
		return false // it was faster than the answer
	}
	if until, silent := e.silent[x.room.Provider()]; silent && time.Now().Before(until) {
		delete(e.list, key)
		return true
	}
	x.event, x.due = event, time.Now().Add(patience)
	poke(e.wake)
	return false
}

// overdue takes out what should have come by now, and tells whether there is more to wait for.
func (e *echoes) overdue(now time.Time) (due []*echo, more bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, x := range e.list {
		switch {
		case x.event == nil:
		case now.Before(x.due):
			more = true
		default:
			delete(e.list, key)
			e.silent[x.room.Provider()] = now.Add(silentFor)
			due = append(due, x)
		}
	}
	slices.SortFunc(due, func(a, b *echo) int { return a.due.Compare(b.due) })
	return due, more
}

// accepted sees to it that our devices get what a hub has accepted from one of them.
func (f *follower) accepted(ctx context.Context, key echoKey, id mimi.RoomID, event []byte, patience time.Duration) {
	if f.echoes.accepted(key, event, patience) {
		f.deliverOwn(ctx, id, event)
	}
}

func (f *follower) deliverOwn(ctx context.Context, id mimi.RoomID, event []byte) {
	if err := f.Notify(ctx, id, event); err != nil && ctx.Err() == nil {
		f.log.Error("what a hub has accepted from here was not delivered", "peer", id.Provider().Host(), "error", err.Error())
	}
}

// watchEchoes delivers what hubs do not send back. It looks now and then, for all at once, as long as something is expected.
func (f *follower) watchEchoes(ctx context.Context) {
	for more := false; ; {
		if !more {
			select {
			case <-ctx.Done():
				return
			case <-f.echoes.wake:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(echoPatience / 4):
		}
		var due []*echo
		due, more = f.echoes.overdue(time.Now())
		for _, x := range due {
			f.deliverOwn(ctx, x.room, x.event)
		}
	}
}
