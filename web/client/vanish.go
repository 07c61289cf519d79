package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
)

// Messages that are to vanish do so by this device's own clock, with or without a connection. The store has them in the
// order of their time, behind keyVanish.

// vanishCheck is how long the time is trusted to pass as it should: computers sleep, and clocks are set.
const vanishCheck = 15 * time.Minute

// maxVanish bounds how many messages vanish in one commit of the store.
const maxVanish = 100

// vanishNever is the time of a row without an end.
const vanishNever = 0

// expire decides when a message that was just received, or written, is to vanish: as its sender wishes, within what the
// room allows. Where the room demands an end, one without it has the longest that is allowed.
//
// draft-ietf-mimi-room-policy-03, Section 6.8; draft-ietf-mimi-content-08, Section 4.1
func expire(v *rooms.View, m *content.Message, sent uint64) (at, afterRead uint64) {
	p, ok := v.State().Expiration()
	if !ok {
		p.MaxDuration = maxExpiry // what content.Message.Check lets pass
	}
	x := m.Expires
	switch {
	case p.ExpiringMessages == policy.Forbidden:
		return vanishNever, vanishNever
	case x == nil && p.ExpiringMessages == policy.Required:
		return sent + uint64(p.MaxDuration)*1000, vanishNever
	case x == nil:
		return vanishNever, vanishNever
	case x.Relative:
		return vanishNever, uint64(min(max(x.Time, p.MinDuration), p.MaxDuration)) * 1000
	}
	least, most := sent+uint64(p.MinDuration)*1000, sent+uint64(p.MaxDuration)*1000
	return min(max(uint64(x.Time)*1000, least), most), vanishNever
}

// vanishes notes when a row is to vanish. What this user wrote is read already.
func (e *engine) vanishes(b *batch, r *room, m *message) {
	if m.afterRead != vanishNever && m.state != MessageReceived {
		m.vanish, m.afterRead = e.nowMS()+m.afterRead, vanishNever
	}
	if m.vanish == vanishNever {
		return
	}
	b.put(r.vanishKey(m), nil)
	b.then = append(b.then, func() { e.vanishings++ })
}

func (r *room) vanishKey(m *message) string {
	return fmt.Sprintf("%s%016x|%s|%s", keyVanish, m.vanish, r.id, m.id)
}

// readNow begins the time of a message that vanishes some time after it was read.
func (e *engine) readNow(b *batch, r *room, m *message) {
	m.vanish, m.afterRead = e.nowMS()+m.afterRead, vanishNever
	b.put(r.rowKey(keyMessage, m.key), m.bytes())
	e.vanishes(b, r, m)
}

// runVanishing deletes messages when their time has come.
func (e *engine) runVanishing(ctx context.Context) {
	for ctx.Err() == nil {
		var seen uint64
		var pause time.Duration
		err := e.do(ctx, func() (err error) {
			seen = e.vanishings
			pause, err = e.vanishDue()
			return err
		})
		if err != nil {
			return
		}
		if pause == 0 {
			continue
		}
		timer, stop := context.WithTimeout(ctx, pause)
		err = e.wait(timer, func() bool { return e.vanishings != seen })
		stop()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
}

// vanishDue deletes what is due and returns how long nothing else will be; 0: there is more.
func (e *engine) vanishDue() (time.Duration, error) {
	now := e.nowMS()
	list, err := e.store.Range(e.ctx, keyVanish, "", "", maxVanish, false)
	if err != nil {
		return 0, storeError(err)
	}
	b := new(batch)
	changed := map[*room]bool{}
	for _, kv := range list {
		stamp, rest, _ := strings.Cut(strings.TrimPrefix(kv.Key, keyVanish), "|")
		name, id, _ := strings.Cut(rest, "|")
		at, ok := parseSeq(stamp)
		if ok && at > now {
			err := e.vanished(b, changed)
			return min(time.Duration(at-now)*time.Millisecond, vanishCheck), err
		}
		b.del(kv.Key)
		if r := e.roomOf(name); r != nil {
			changed[r] = true
			if err := e.vanishRow(b, r, id); err != nil {
				return 0, err
			}
		}
	}
	err = e.vanished(b, changed)
	if len(list) < maxVanish {
		return vanishCheck, err
	}
	return 0, err
}

func (e *engine) roomOf(name string) *room {
	id, err := mimi.ParseRoomID(name)
	if err != nil {
		return nil
	}
	return e.rooms[id]
}

// vanishRow deletes a message with all that is kept of it, sent or not.
func (e *engine) vanishRow(b *batch, r *room, id string) error {
	m, err := e.row(r, id)
	if err != nil || m == nil {
		return err
	}
	b.del(r.rowKey(keyMessage, m.key))
	b.del(r.rowKey(keyMID, m.id))
	r.out = slices.DeleteFunc(r.out, func(o *outgoing) bool {
		if o.id == m.id {
			b.del(r.outKey(o))
		}
		return o.id == m.id
	})
	if m.state == MessageReceived && m.key > r.rec.readKey && r.rec.unread > 0 {
		r.rec.unread--
	}
	if r.rec.lastKey == m.key {
		r.rec.lastText, r.rec.lastSender = "", ""
	}
	return nil
}

// vanished stores that, and has the pages show the rooms anew.
func (e *engine) vanished(b *batch, changed map[*room]bool) error {
	for r := range changed {
		e.saveRecord(b, r)
		b.then = append(b.then, func() { e.cfg.Post(View{ViewTimeline, RoomRef{r.id.String()}}) })
	}
	return e.commit(b)
}
