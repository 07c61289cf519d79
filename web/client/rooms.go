package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
)

// room is what the engine holds in memory of one room.
type room struct {
	id     mimi.RoomID
	rec    *roomRecord
	group  *mls.Group     // nil: none, or not loaded yet
	whole  bool           // the ratchet state is stored in one, as it was before there were pieces
	change *pendingChange // at most one change of ours at a time
	join   *pendingJoin
	out    []*outgoing       // unconfirmed messages in the order they were written
	echo   map[string]string // hash of a ciphertext of ours → message id

	stranger string // who has put us into it without consent, see consent.go
	quitting bool   // it was declined and is being left

	held    []uint64 // cursors of events that cannot be processed yet, in order
	scan    int      // the next of them to try
	blocked bool     // whatever comes is held behind them

	proposals bool   // of others wait for a commit
	refused   uint64 // epoch in which the hub did not want our commit of them
	away      bool   // the hub could not be reached when it was last tried
	failures  int    // so often in a row
	news      int    // events so far; one tells that the hub can be reached

	sending, changing, joining, releasing, committing, asking, gap bool   // a flow is at it
	renewed                                                        bool   // the present certificate has been tried in this room
	code                                                           []byte // of the join link that is to let us in
	strange                                                        bool   // its hub lets us in, but into what we cannot be in
	agent                                                          []byte // FrankingAgentData that was checked
}

func (r *room) key(kind string) string { return kind + r.id.String() }

func (r *room) rowKey(kind, rest string) string { return kind + r.id.String() + "|" + rest }

// loadRooms reads the records of rooms and what is on its way in them. A record that is damaged concerns its room only:
// the room is entered anew, what was on its way is lost and counted.
func (e *engine) loadRooms(stored map[string][]KV) {
	loads := []struct {
		prefix string
		load   func(r *room, rest string, value []byte) error
	}{
		{keyRoom, loadRecord},
		{keyChange, loadInto(parsePendingChange, func(r *room) **pendingChange { return &r.change })},
		{keyJoin, loadInto(parsePendingJoin, func(r *room) **pendingJoin { return &r.join })},
		{keyEcho, func(r *room, rest string, v []byte) error { r.echo[rest] = string(v); return nil }},
		{keyOutbox, e.loadOutgoing},
		{keyHeld, e.loadHeld},
		{keyPending, func(r *room, _ string, _ []byte) error { r.proposals = true; return nil }},
		{keyStranger, func(r *room, _ string, v []byte) error { r.stranger = string(v); return nil }},
	}
	for _, l := range loads {
		for _, kv := range stored[l.prefix] {
			name, rest, _ := strings.Cut(strings.TrimPrefix(kv.Key, l.prefix), "|")
			id, err := mimi.ParseRoomID(name)
			if err == nil {
				err = l.load(e.roomFor(id), rest, kv.Value)
			}
			if err != nil {
				e.drop(dropDamaged)
			}
		}
	}
}

// loadRecord reads the record of a room. If it is damaged, the room is one to be entered again.
func loadRecord(r *room, _ string, value []byte) error {
	rec, err := parseRoomRecord(value)
	if err != nil {
		rec = &roomRecord{broken: true, order: 1}
	}
	r.rec = rec
	return err
}

func loadInto[T any](parse func([]byte) (*T, error), field func(r *room) **T) func(*room, string, []byte) error {
	return func(r *room, _ string, value []byte) error {
		v, err := parse(value)
		if err == nil {
			*field(r) = v
		}
		return err
	}
}

func (e *engine) loadOutgoing(r *room, rest string, value []byte) error {
	seq, ok := parseSeq(rest)
	if !ok {
		return errRecord
	}
	e.seq = max(e.seq, seq)
	o, err := parseOutgoing(seq, value)
	if err == nil {
		r.out = append(r.out, o)
	}
	return err
}

// roomFor returns the room, new and empty if it was not known.
func (e *engine) roomFor(id mimi.RoomID) *room {
	r := e.rooms[id]
	if r == nil {
		r = &room{id: id, rec: new(roomRecord), echo: map[string]string{}}
		e.rooms[id] = r
	}
	return r
}

// find is for operations: the room by its URI, or not_found.
func (e *engine) find(id string) (*room, error) {
	if parsed, err := mimi.ParseRoomID(id); err == nil {
		if r := e.rooms[parsed]; r != nil {
			return r, nil
		}
	}
	return nil, fail(CodeNotFound, "no such room")
}

// groupOf returns the room's MLS group, restoring it from the store when it is first needed; nil if there is none. One
// that cannot be restored breaks its room, and no other (D15).
func (e *engine) groupOf(r *room) (*mls.Group, error) {
	if r.group != nil || r.rec.removed {
		return r.group, nil
	}
	c, err := e.mlsClient()
	if err != nil {
		return nil, err
	}
	g, err := e.restoreGroup(r, c)
	if err == nil {
		r.group = g
		return g, nil
	}
	if errors.Is(err, errStore) {
		return nil, err
	}
	if r.rec.broken {
		return nil, nil // on its way back already
	}
	e.drop(dropDamaged)
	b := new(batch)
	e.breakRoom(b, r)
	return nil, e.commit(b)
}

// restoreGroup reads a group from the store. The error is errStore if the store cannot be read.
func (e *engine) restoreGroup(r *room, c *mls.Client) (*mls.Group, error) {
	ctx := context.WithoutCancel(e.ctx)
	state, err := e.store.Get(ctx, r.key(keyGroup))
	if err != nil || state == nil {
		return nil, storeError(err)
	}
	whole, err := e.store.Get(ctx, r.key(keyRatchet))
	if err != nil {
		return nil, storeError(err)
	}
	if r.whole = whole != nil; r.whole {
		return mls.RestoreGroup(e.mlsConfig(), c, state, whole)
	}
	pieces, err := e.ratchets(r)
	if err != nil {
		return nil, err
	}
	return mls.RestoreGroupFrom(e.mlsConfig(), c, state, pieces)
}

// ratchets are the stored pieces of the ratchet state.
func (e *engine) ratchets(r *room) ([]mls.RatchetPiece, error) {
	prefix := r.key(keyRatchet) + "|"
	list, err := e.store.Range(context.WithoutCancel(e.ctx), prefix, "", "", 0, false)
	err = storeError(err)
	pieces := make([]mls.RatchetPiece, len(list))
	for i, kv := range list {
		p := &pieces[i]
		p.Data = kv.Value
		epoch, part, _ := strings.Cut(strings.TrimPrefix(kv.Key, prefix), "-")
		e, known := parseSeq(epoch)
		n, ok := parseSeq(part)
		if p.Epoch, p.Part = e, uint32(n); !known || !ok || n > math.MaxUint32 {
			err = errors.Join(err, errRecord)
		}
	}
	return pieces, err
}

// ratchetKey is the key of a piece of the ratchet state.
func (r *room) ratchetKey(p mls.RatchetPiece) string {
	return fmt.Sprintf("%s|%016x-%x", r.key(keyRatchet), p.Epoch, p.Part)
}

// saveGroup stores the group, saveRatchets only what a message changes.
func (r *room) saveGroup(b *batch) {
	b.state(r.key(keyGroup), r.group.State)
	r.saveRatchets(b)
}

func (r *room) saveRatchets(b *batch) {
	pieces, err := r.group.RatchetChanges()
	b.err = errors.Join(b.err, err)
	for _, p := range pieces {
		b.ops = append(b.ops, Op{r.ratchetKey(p), p.Data}) // none: it is deleted
	}
	if r.whole {
		b.del(r.key(keyRatchet))
		r.whole = false
	}
}

// saveRecord stores the record and shows the room list anew once it is durable.
func (e *engine) saveRecord(b *batch, r *room) {
	b.put(r.key(keyRoom), r.rec.bytes())
	b.then = append(b.then, func() {
		e.roomsChanged = true
		if !r.rec.peer.IsZero() && e.waitsFor(r.rec.peer) && e.talks(r.rec.peer) {
			e.askConsents() // what was waited for is there
		}
	})
}

// forgetGroup deletes every secret of the room.
func (e *engine) forgetGroup(b *batch, r *room) {
	r.group = nil
	b.del(r.key(keyGroup))
	e.forgetRatchets(b, r)
}

// forgetRatchets deletes the ratchet state: in one, whether the group was loaded or not, and in pieces, those that are
// only in the batch too.
func (e *engine) forgetRatchets(b *batch, r *room) {
	b.del(r.key(keyRatchet))
	r.whole = false
	pieces, err := e.ratchets(r)
	b.err = errors.Join(b.err, err)
	for _, op := range b.ops[:len(b.ops):len(b.ops)] {
		if strings.HasPrefix(op.Key, r.key(keyRatchet)+"|") {
			b.del(op.Key)
		}
	}
	for _, p := range pieces {
		b.del(r.ratchetKey(p))
	}
}

// forget deletes a room that never came to be.
func (e *engine) forget(b *batch, r *room) {
	e.forgetGroup(b, r)
	e.forgetHeld(b, r)
	for _, kind := range []string{keyRoom, keyChange, keyJoin, keyPending, keyStranger} {
		b.del(r.key(kind))
	}
	delete(e.rooms, r.id)
	b.then = append(b.then, func() { e.roomsChanged = true })
}

// refresh brings the record up to date with a new epoch of the group.
func (e *engine) refresh(r *room, v *rooms.View) {
	users := v.Users()
	r.rec.name, r.rec.members = v.Name(), len(users)
	r.rec.peer = mimi.UserID{}
	if a, b, ok := v.Direct(); ok {
		r.rec.peer = a
		if a == e.user {
			r.rec.peer = b
		}
	}
	direct := !r.rec.peer.IsZero()
	r.rec.expire, r.rec.plain = uint64(expiry(v)), !detectsLinks(v)
	r.rec.canSend = v.Can(e.user, policy.CanSendMessage)
	r.rec.canManage = !direct && v.Can(e.user, policy.CanAddParticipant) && v.Can(e.user, policy.CanRemoveParticipant)
	r.rec.waiting = direct && len(v.Devices(r.rec.peer)) == 0 && r.rec.lastKey == ""
	for _, u := range users {
		e.wantName(u.ID)
	}
}

// viewOf is what the group's epoch says about the room.
func viewOf(g *mls.Group) (*rooms.View, error) { return rooms.NewView(g.Context(), g.Members()) }

// usable reports whether messages can be encrypted for the room now.
func (r *room) usable() bool { return !r.rec.removed && !r.rec.broken && r.join == nil && !r.blocked }

// roomList is the room list, the latest first.
func (e *engine) roomList() []RoomView {
	list := make([]*room, 0, len(e.rooms))
	for _, r := range e.rooms {
		if r.shown() && !e.hides(r) {
			list = append(list, r)
		}
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := list[i], list[j]
		return cmp.Or(cmp.Compare(b.sortTime(), a.sortTime()), cmp.Compare(a.id.String(), b.id.String())) < 0
	})
	views := make([]RoomView, len(list))
	for i, r := range list {
		views[i] = e.roomView(r)
	}
	return views
}

// shown reports whether the room is one for people: not one that is being made, and not a direct room in which the
// other has no device yet and nothing was said.
func (r *room) shown() bool {
	creating := r.change != nil && r.change.change.kind == changeCreate
	return r.rec.order > 0 && !creating && !r.rec.waiting
}

func (r *room) sortTime() int64 { return max(r.rec.lastTime, int64(r.rec.order)) }

func (e *engine) roomView(r *room) RoomView {
	v := RoomView{
		ID: r.id.String(), Name: r.rec.name, Kind: "group", Unread: r.rec.unread,
		LastText: r.rec.lastText, LastTime: r.sortTime(), Members: r.rec.members,
		CanSend: r.rec.canSend && !r.rec.removed, CanManage: r.rec.canManage && !r.rec.removed, Removed: r.rec.removed,
		HubAway: r.away, Hub: r.id.Provider().Host(), Held: r.blocked,
	}
	if u, err := mimi.ParseUserID(r.rec.lastSender); err == nil {
		v.LastSender = e.name(u)
	}
	if !r.rec.peer.IsZero() {
		v.Kind, v.Peer, v.Name = "direct", r.rec.peer.String(), e.name(r.rec.peer)
	}
	return v
}

func (e *engine) postRooms() {
	e.roomsChanged = false
	e.cfg.Post(View{ViewRooms, e.roomList()})
}

func (e *engine) postState() { e.cfg.Post(View{ViewState, e.stateView()}) }

func (e *engine) stateView() StateView {
	v := StateView{State: StateReady, Online: e.link != nil, Connecting: e.link == nil && e.connecting, Error: e.problem}
	v.Me.URI, v.Me.Name = e.user.String(), e.user.Name()
	switch {
	case e.problem != nil:
		v.State = StateError
	case e.dev == nil || !e.settled:
		v.State = StateLoading
	}
	v.ChangedIdentities = e.changedIdentities()
	if e.dev != nil {
		v.Me.DisplayName, v.Me.Client = e.dev.displayName, e.dev.client.String()
	}
	return v
}
