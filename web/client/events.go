package client

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/wire"
	"kith/web/api"
)

// Reasons why something was dropped, counted in the diagnostics.
const (
	dropMalformed   = "malformed event"
	dropNoGroup     = "event of a room we are not in"
	dropPastEpoch   = "past epoch"
	dropFutureEpoch = "future epoch"
	dropReplayed    = "replayed"
	dropOwn         = "own message without a trace here"
	dropCrypto      = "does not decrypt or verify"
	dropContent     = "malformed content"
	dropContext     = "content contradicts its context"
	dropUnsupported = "unsupported content"
	dropDuplicate   = "duplicate message"
	dropPolicy      = "against the policy of the room"
	dropExpired     = "vanished before it came"
	dropWelcome     = "welcome without use"
	dropDamaged     = "damaged in the store"
	dropFrank       = "frank that does not verify" // the message is shown
)

// hashOf is how we know our own messages when they come back: by the octets of the MLSMessage (NT-11).
func hashOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// onEvent processes one event of the stream: everything it changes and the cursor go into one commit. What cannot be
// used is dropped with a reason, and the stream goes on.
func (e *engine) onEvent(ev *api.Event) error {
	if ev.Cursor <= e.cursor {
		return nil
	}
	b := new(batch)
	reason := dropMalformed
	if id, err := mimi.ParseRoomID(ev.Room); err == nil {
		reason = e.receive(b, id, ev.Cursor, ev.Message)
	}
	if reason != "" {
		e.drop(reason)
	}
	if e.ctx.Err() != nil {
		return e.stopped()
	}
	e.cursor = ev.Cursor
	b.put(keyCursor, binary.BigEndian.AppendUint64(nil, ev.Cursor))
	return e.commit(b)
}

// apply changes memory and fills the batch; it returns why the event was of no use, or "". If it is to be held, nothing
// has changed.
func (e *engine) apply(b *batch, id mimi.RoomID, message []byte) string {
	f, err := wire.UnmarshalFanoutMessage(message)
	if err != nil {
		return dropMalformed
	}
	clear(e.roots.wanted)
	if f.Message.WireFormat == mls.WireFormatWelcome {
		return e.onWelcome(b, id, f)
	}
	r := e.rooms[id]
	if r == nil {
		return dropNoGroup
	}
	hash := hashOf(f.Message.Raw)
	if r.join != nil && r.join.hash == hash {
		return e.joined(b, r, f)
	}
	if r.join != nil && r.early(f) {
		return heldForEpoch // it has overtaken the commit that lets us in
	}
	if mid, ok := r.echo[hash]; ok {
		return e.onEcho(b, r, f, hash, mid)
	}
	g, err := e.groupOf(r)
	if err != nil {
		e.cancel(errors.Join(errStore, err))
		return ""
	}
	if g == nil || r.rec.removed {
		return dropNoGroup
	}
	if r.change != nil && r.change.hash == hash && r.change.change.kind == changeLeave {
		e.departed(b, r, f.Timestamp)
		return ""
	}
	if r.change != nil && r.change.hash == hash && g.HasPending() {
		return e.onOwnCommit(b, r, f)
	}
	return e.onForeign(b, r, f)
}

// onForeign handles a message of somebody else.
func (e *engine) onForeign(b *batch, r *room, f *wire.FanoutMessage) string {
	if r.rec.broken || r.join != nil {
		return dropFutureEpoch // we are about to rejoin; the archive will tell what was missed
	}
	rcv, err := r.group.Process(f.Message.Message)
	if err != nil {
		if e.rootsWanted() {
			return heldForRoots
		}
		known := errors.Is(err, mls.ErrOwnMessage) || errors.Is(err, mls.ErrReplayed) // kept before the bundle was held
		if known && f.Message.WireFormat == mls.WireFormatPublicMessage && f.Message.ContentType() == mls.ContentTypeProposal {
			return e.onProposals(b, r, f)
		}
		return e.onRefused(b, r, f, err)
	}
	switch {
	case rcv.Commit != nil:
		return e.onCommit(b, r, f, rcv)
	case rcv.Proposal != nil:
		return e.onProposals(b, r, f)
	}
	r.saveRatchets(b)
	return e.onApplication(b, r, f, rcv)
}

// onRefused handles what MLS did not accept. Events come in the hub's order, so a handshake that cannot be processed
// means that our state is not the room's: rejoin (D15). A message from a future epoch may have overtaken a commit.
// Anything else concerns one message only.
func (e *engine) onRefused(b *batch, r *room, f *wire.FanoutMessage, err error) string {
	commit := f.Message.WireFormat == mls.WireFormatPublicMessage && f.Message.ContentType() == mls.ContentTypeCommit
	switch {
	case errors.Is(err, mls.ErrPastEpoch):
		return dropPastEpoch
	case errors.Is(err, mls.ErrReplayed):
		return dropReplayed
	case errors.Is(err, mls.ErrFutureEpoch):
		return heldForEpoch
	case commit && f.Message.Epoch() == r.group.Epoch():
		e.breakRoom(b, r)
		return dropCrypto
	case errors.Is(err, mls.ErrOwnMessage):
		return dropOwn
	}
	return dropCrypto
}

// breakRoom notes that the room's group state is of no use any more.
func (e *engine) breakRoom(b *batch, r *room) {
	if r.rec.broken {
		return
	}
	r.rec.broken = true
	if r.change != nil {
		e.restage(b, r, false)
	}
	e.saveRecord(b, r)
	b.then = append(b.then, func() { e.startJoin(r) })
}

// onApplication handles application data of somebody else, or of another device of ours.
func (e *engine) onApplication(b *batch, r *room, f *wire.FanoutMessage, rcv *mls.Received) string {
	sender, err := identity.FromCredential(*rcv.Credential)
	if err != nil {
		return dropContext
	}
	v, err := viewOf(r.group)
	if err != nil {
		return dropContext
	}
	mediaType, raw, err := v.UnframeContent(rcv.Application)
	if err != nil {
		return dropContent
	}
	if mediaType != content.MediaType {
		return dropUnsupported
	}
	m, err := content.Parse(raw)
	if err != nil {
		return dropContent
	}
	// draft-ietf-mimi-content-08, Sections 4.6 and 9.1
	if m.Check(content.Context{Sender: sender.User, Room: r.id, Now: e.nowMS(), Accepted: f.Timestamp}) != nil {
		return dropContext
	}
	// draft-ietf-mimi-room-policy-03, Section 8.3
	if may, err := e.mayPost(r, v, m, sender.User); err != nil {
		e.cancel(errors.Join(errStore, err))
		return ""
	} else if !may {
		return dropPolicy
	}
	if m.Kind() != content.KindMessage || m.Text() == "" {
		return dropUnsupported
	}
	mid := content.ID(sender.User, r.id, raw).String()
	row := &message{
		id: mid, key: messageKey(f.Timestamp, mid), state: MessageReceived, sender: sender.User.String(), time: int64(f.Timestamp), content: raw,
	}
	if sender.User == e.user {
		row.state = MessageSent // another device of ours
	}
	known, err := e.store.Get(e.ctx, r.rowKey(keyMID, row.id))
	if err != nil {
		e.cancel(errors.Join(errStore, err))
		return ""
	}
	if known != nil {
		return dropDuplicate
	}
	row.vanish, row.afterRead = expire(v, m, f.Timestamp)
	if row.vanish != vanishNever && row.vanish <= e.nowMS() {
		return dropExpired // it comes too late to be shown
	}
	e.vanishes(b, r, row)
	e.keepFrank(r, v, row, f, rcv.Application, m)
	e.wantName(sender.User)
	e.addRow(b, r, row)
	return ""
}
