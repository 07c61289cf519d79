package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"kith/db"
	"kith/mimi"
	"kith/web/api"
)

const (
	maxQueued      = 512       // live events that wait for one socket
	maxQueuedBytes = 1 << 20   // and their octets; beyond that the socket reads from the database
	coalesce       = 128 << 10 // frames are put into one websocket message up to about this size
)

// backlogPage bounds what is read from the database at a time when a device catches up.
var backlogPage = db.Page{Rows: 256, Bytes: 512 << 10, Window: 2048}

// publication is one committed event on its way to the devices of its room, or an answer that follows it.
type publication struct {
	room   *liveRoom
	cursor int64
	frame  []byte  // the encoded event, shared by all who get it; nil: deliver nothing
	join   []int64 // devices that receive the room's events from this one on
	only   bool    // deliver this one to join alone
	leave  []int64 // devices for which this is the room's last event
	silent []int64 // all members that get no messages from now on
	answer func()

	followers []string // the providers that follow the room from now on

	message bool // for the members that get messages
	changes bool // join, leave, silent and followers say who gets what from now on
}

// fanout hands committed events to the sockets of the devices they are for. Publications are added in the order of
// their commits and carried out in that order by one goroutine, which therefore owns every room's audience, and sees
// what one group commit brought as one batch: each socket is woken once for it.
type fanout struct {
	metrics *messengerMetrics
	outbox  *outbox // woken for the providers that follow a room

	mu      sync.Mutex
	pending []publication
	wake    chan struct{}
	done    chan struct{}
	ended   sync.Once

	devices sync.Mutex
	sockets map[int64]*socket // by device
}

func newFanout(metrics *messengerMetrics, o *outbox) *fanout {
	return &fanout{metrics: metrics, outbox: o, wake: make(chan struct{}, 1), done: make(chan struct{}), sockets: make(map[int64]*socket)}
}

// publish adds what one committed request caused. It never blocks.
func (f *fanout) publish(list ...publication) {
	f.mu.Lock()
	f.pending = append(f.pending, list...)
	f.mu.Unlock()
	poke(f.wake)
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (f *fanout) stop() { f.ended.Do(func() { close(f.done) }) }

// run is the goroutine of the fanout.
func (f *fanout) run() {
	var batch []publication
	var touched []*socket
	for {
		select {
		case <-f.wake:
		case <-f.done:
			return
		}
		f.mu.Lock()
		batch, f.pending = f.pending, batch[:0]
		f.mu.Unlock()
		for i := range batch {
			touched = f.deliver(&batch[i], touched)
		}
		for i := range batch {
			if batch[i].answer != nil {
				batch[i].answer()
			}
		}
		for _, s := range touched {
			poke(s.wake)
		}
		clear(batch)
		clear(touched)
		touched = touched[:0]
	}
}

// deliver carries out one publication and appends the sockets that have become worth waking.
func (f *fanout) deliver(p *publication, touched []*socket) []*socket {
	if p.room != nil {
		f.devices.Lock()
		to := p.room.audience
		switch {
		case p.message:
			to = p.room.readers
		case p.only:
			to = p.join
		case len(p.join) > 0:
			to = union(to, p.join)
		}
		if p.frame != nil {
			for _, device := range to {
				if s := f.sockets[device]; s != nil && s.outgoing.addEvent(p.cursor, p.frame) {
					touched = append(touched, s)
				}
			}
		}
		if p.frame != nil && len(p.join) > 0 {
			f.hintSiblings(p.join)
		}
		f.devices.Unlock()
		if p.frame != nil && !p.room.foreign {
			f.outbox.wake(p.room, p.room.followers)
			f.outbox.wake(p.room, p.followers)
		}
		if p.changes {
			p.room.followers = p.followers
			p.room.audience = without(union(p.room.audience, p.join), p.leave)
			p.room.readers = without(p.room.audience, p.silent)
		}
		p.room.release()
	}
	return touched
}

// hintSiblings lets the other devices of those who have entered a room look for it. The caller holds the lock.
func (f *fanout) hintSiblings(entered []int64) {
	users := make(map[mimi.UserID]bool)
	for _, device := range entered {
		if s := f.sockets[device]; s != nil {
			users[s.account.User] = true
		}
	}
	for device, s := range f.sockets {
		if users[s.account.User] && !slices.Contains(entered, device) {
			_ = s.send(&api.Hint{What: api.HintRooms}) // two octets are never too many
		}
	}
}

// union returns a list with all of a and b. It changes neither.
func union(a, b []int64) []int64 {
	out := a
	for _, d := range b {
		if !slices.Contains(out, d) {
			out = append(slices.Clip(out), d)
		}
	}
	return out
}

// without returns a list with what is in a and not in b. It changes neither.
func without(a, b []int64) []int64 {
	if len(b) == 0 {
		return a
	}
	return slices.DeleteFunc(slices.Clone(a), func(d int64) bool { return slices.Contains(b, d) })
}

// register makes s the device's socket and returns the one it replaces.
func (f *fanout) register(s *socket) (replaced *socket) {
	f.devices.Lock()
	defer f.devices.Unlock()
	replaced = f.sockets[s.device]
	f.sockets[s.device] = s
	return replaced
}

func (f *fanout) unregister(s *socket) {
	f.devices.Lock()
	defer f.devices.Unlock()
	if s.device != 0 && f.sockets[s.device] == s {
		delete(f.sockets, s.device)
	}
}

// socketOf returns the device's socket, nil if it is not connected.
func (f *fanout) socketOf(device int64) *socket {
	f.devices.Lock()
	defer f.devices.Unlock()
	return f.sockets[device]
}

// outgoing is what a socket has to send. Live events wait in a bounded queue. A device that is behind, because it has
// just come or its queue was full, gets its events from the database until it has caught up: the two meet without a gap,
// because a live event that comes in between is remembered as missed, and without a repetition, because an event up to
// the cursor is never queued.
type outgoing struct {
	wake chan struct{}

	mu      sync.Mutex
	drained sync.Cond
	closed  bool

	replies    [][]byte
	replyBytes int

	streaming  bool // after Hello
	behind     bool
	greeted    bool // the end of the first backlog has been told
	cursor     int64
	taken      int64 // cursor of the last event given to the writer
	missed     int64 // the newest live event that was not queued
	events     []queuedEvent
	eventBytes int
}

type queuedEvent struct {
	cursor int64
	frame  []byte
}

func (o *outgoing) init() {
	o.wake = make(chan struct{}, 1)
	o.drained.L = &o.mu
}

func (o *outgoing) close() {
	o.mu.Lock()
	o.closed = true
	o.replies, o.events = nil, nil
	o.mu.Unlock()
	o.drained.Broadcast()
	poke(o.wake)
}

// waitDrained waits until the browser has read most of its answers. It reports false when the socket is closed.
func (o *outgoing) waitDrained() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.replyBytes > maxReplies && !o.closed {
		o.drained.Wait()
	}
	return !o.closed
}

// addReply queues a frame that is for this socket alone.
func (o *outgoing) addReply(frame []byte) {
	o.mu.Lock()
	if !o.closed {
		o.replies = append(o.replies, frame)
		o.replyBytes += len(frame)
	}
	o.mu.Unlock()
	poke(o.wake)
}

// startStream queues the answer to Hello and lets events with a greater cursor follow it.
func (o *outgoing) startStream(answer []byte, cursor int64) {
	o.mu.Lock()
	o.replies = append(o.replies, answer)
	o.streaming, o.behind, o.cursor, o.taken = true, true, cursor, cursor
	o.mu.Unlock()
	poke(o.wake)
}

// addEvent queues a live event and reports whether the writer should be woken.
func (o *outgoing) addEvent(cursor int64, frame []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.streaming || o.closed || cursor <= o.cursor {
		return false
	}
	if o.behind {
		o.missed = cursor
		return false // the writer is at work anyway
	}
	if len(o.events) >= maxQueued || o.eventBytes+len(frame) > maxQueuedBytes && len(o.events) > 0 {
		o.events, o.eventBytes = nil, 0
		o.behind, o.missed, o.cursor = true, cursor, o.taken
		return true
	}
	o.events = append(o.events, queuedEvent{cursor, frame})
	o.eventBytes += len(frame)
	o.cursor = cursor
	return len(o.events) == 1 // otherwise somebody was told already
}

// takeReplies moves the answers out.
func (o *outgoing) takeReplies() [][]byte {
	replies := o.replies
	o.replies, o.replyBytes = nil, 0
	o.drained.Signal()
	return replies
}

// take moves what is to be sent out of the queues: frames, or where to go on reading the database. nothing to send and
// no catching up means wait.
func (o *outgoing) take(frames [][]byte) (_ [][]byte, events int, catchUp bool, from int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	frames = append(frames, o.takeReplies()...)
	if o.behind {
		return frames, 0, true, o.cursor
	}
	for i, e := range o.events {
		frames = append(frames, e.frame)
		o.taken = e.cursor
		o.events[i] = queuedEvent{}
	}
	events = len(o.events)
	o.eventBytes = 0
	if o.events = o.events[:0]; cap(o.events) > 64 {
		o.events = nil // an idle socket keeps no large queue
	}
	return frames, events, false, 0
}

// caughtUpTo notes that the stream is complete up to cursor. It reports whether the device is no longer behind, and
// whether that is for the first time.
func (o *outgoing) caughtUpTo(cursor int64, more bool) (live, first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cursor, o.taken = cursor, cursor
	if more || o.missed > cursor {
		return false, false
	}
	o.behind = false
	first = !o.greeted
	o.greeted = true
	return true, first
}

// write is the goroutine that sends. It puts what has gathered into as few websocket messages as reasonable.
func (s *socket) write() {
	defer s.cancel()
	var frames [][]byte
	for {
		var events int
		var behind bool
		var from int64
		frames, events, behind, from = s.outgoing.take(frames[:0])
		if behind {
			err := error(opInternal) // should it panic
			s.apart(func() { frames, events, err = s.catchUp(frames, from) })
			if err != nil {
				if s.context.Err() == nil {
					s.m.Log.Error("reading the backlog of a device", "error", err.Error())
					s.end(websocket.StatusInternalError, api.CodeInternal)
				}
				return
			}
		}
		if len(frames) == 0 && !behind {
			frames = nil
			select {
			case <-s.wake:
				continue
			case <-s.context.Done():
				return
			}
		}
		if err := s.sendFrames(frames); err != nil {
			s.conn.CloseNow()
			return
		}
		s.m.metrics.deliveries.Add(float64(events))
		clear(frames)
	}
}

// catchUp reads the next events of the device from the database and appends them.
func (s *socket) catchUp(frames [][]byte, from int64) (_ [][]byte, events int, err error) {
	var page []db.Delivery
	var cursor, head int64
	err = s.m.DB.Read(s.context, func(tx *db.Tx) error {
		if page, cursor, err = tx.Backlog(s.device, from, backlogPage); err != nil {
			return err
		}
		head, err = tx.Head()
		return err
	})
	if err != nil {
		return frames, 0, err
	}
	for _, d := range page {
		// One that no frame can hold is passed over as when it was live: it must not keep all that follows from the device.
		if frame := eventFrame(s.m.Log, d.ID, d.Room, d.Body); frame != nil {
			frames = append(frames, frame)
		}
	}
	if live, first := s.outgoing.caughtUpTo(cursor, cursor < head); live && first {
		frame, err := api.Bytes(&api.CaughtUp{Cursor: uint64(cursor)})
		if err != nil {
			return frames, 0, err
		}
		frames = append(frames, frame)
	}
	s.m.metrics.catchUps.Inc()
	return frames, len(page), nil
}

var writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// sendFrames sends frames in messages of about coalesce octets at most.
func (s *socket) sendFrames(frames [][]byte) error {
	if len(frames) == 0 {
		return nil
	}
	buffer := writeBuffers.Get().(*[]byte)
	defer func() {
		if cap(*buffer) <= 2*coalesce {
			writeBuffers.Put(buffer)
		}
	}()
	for len(frames) > 0 {
		message, n := frames[0], 1
		if len(frames) > 1 && len(frames[0]) < coalesce {
			joined := append((*buffer)[:0], frames[0]...)
			for ; n < len(frames) && len(joined)+len(frames[n]) <= coalesce; n++ {
				joined = append(joined, frames[n]...)
			}
			message, *buffer = joined, joined
		}
		s.m.metrics.messages.Inc()
		s.m.metrics.frames.Add(float64(n))
		s.writing.Store(time.Now().UnixNano())
		// No deadline here: that would cost a timer for each message. keepAlive watches instead.
		err := s.conn.Write(context.Background(), websocket.MessageBinary, message)
		s.writing.Store(0)
		if err != nil {
			return err
		}
		frames = frames[n:]
	}
	return nil
}
