package servertest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// Received is what an event was to a device.
type Received struct {
	Cursor  uint64
	Room    mimi.RoomID
	Time    uint64
	Text    string // of a message, our own included
	Mine    bool
	Commit  bool
	Joined  bool // by a Welcome
	Removed bool // we are no longer a member
}

// Receive waits for the next event and handles it.
func (d *Device) Receive(ctx context.Context, c *Conn) (*Received, error) {
	e, err := c.NextEvent(ctx)
	if err != nil {
		return nil, err
	}
	return d.Handle(e)
}

// Handle takes an event into the device's groups. Cursors must increase.
func (d *Device) Handle(e *api.Event) (*Received, error) {
	if e.Cursor <= d.Cursor {
		return nil, fmt.Errorf("servertest: event %d after %d", e.Cursor, d.Cursor)
	}
	d.Cursor = e.Cursor
	id, err := mimi.ParseRoomID(e.Room)
	if err != nil {
		return nil, err
	}
	f, err := wire.UnmarshalFanoutMessage(e.Message)
	if err != nil {
		return nil, err
	}
	r := &Received{Cursor: e.Cursor, Room: id, Time: f.Timestamp}
	if f.Message.Welcome != nil {
		r.Joined = true
		return r, d.join(id, f)
	}
	g := d.Rooms[id]
	if g == nil {
		return nil, errors.New("servertest: event of a room we are not in")
	}
	if g.HasPending() && f.Message.ContentType() == mls.ContentTypeCommit {
		if own := g.PendingCommit(); own == nil {
			r.Commit = true
			if err := g.MergePending(); err != nil { // our external commit
				return r, err
			}
			return r, stapled(g, f)
		}
	}
	got, err := g.Process(f.Message.Message)
	for _, more := range f.MoreProposals {
		if _, err := g.Process(more.Message); err != nil && !errors.Is(err, mls.ErrOwnMessage) {
			return nil, err
		}
	}
	if errors.Is(err, mls.ErrOwnMessage) {
		return r, d.own(g, f, r)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case got.Commit != nil:
		r.Commit, r.Removed = true, got.Commit.Removed()
		if err := g.Merge(got.Commit); err != nil || r.Removed {
			return r, err
		}
		return r, stapled(g, f)
	case got.Application != nil:
		return r, d.text(id, got.Application, r)
	}
	return r, nil
}

// stapled takes over the hub's proposals that come with an external commit.
func stapled(g *mls.Group, f *wire.FanoutMessage) error {
	view, err := room.NewView(g.Context(), g.Members())
	if err != nil {
		return err
	}
	return room.ReceiveExternal(g, view, f)
}

// own handles what we sent ourselves: the commit that is pending, or a message of which we know the text.
func (d *Device) own(g *mls.Group, f *wire.FanoutMessage, r *Received) error {
	r.Mine = true
	if f.Message.ContentType() == mls.ContentTypeCommit {
		r.Commit = true
		return g.MergePending()
	}
	hash := sha256.Sum256(f.Message.Raw)
	text, ok := d.Waiting[hash]
	if !ok && f.Message.ContentType() == mls.ContentTypeApplication {
		return errors.New("servertest: a message of ours that we did not send, or twice")
	}
	delete(d.Waiting, hash)
	r.Text = text
	return nil
}

func (d *Device) text(id mimi.RoomID, data []byte, r *Received) error {
	view, err := d.View(id)
	if err != nil {
		return err
	}
	_, content, err := view.UnframeContent(data)
	r.Text = string(content)
	return err
}

// join enters a room by the first of our packages that fits.
func (d *Device) join(id mimi.RoomID, f *wire.FanoutMessage) error {
	for i, secrets := range d.Packages {
		ref, err := secrets.KeyPackage.Ref()
		if err != nil {
			return err
		}
		for _, s := range f.Message.Welcome.Secrets {
			if string(s.NewMember) != string(ref) {
				continue
			}
			g, err := mls.JoinWelcome(d.Config, d.MLS, f.Message.Welcome, f.RatchetTreeOption.RatchetTree, secrets)
			if err != nil {
				return err
			}
			d.Packages = append(d.Packages[:i:i], d.Packages[i+1:]...)
			d.Rooms[id] = g
			return nil
		}
	}
	return errors.New("servertest: a Welcome for somebody else")
}

// JoinExternal enters a room by an external commit, in case again.
func (d *Device) JoinExternal(ctx context.Context, c *Conn, id mimi.RoomID) error {
	req, key, err := room.NewGroupInfoRequest(d.Config.Rand, d.MLS)
	if err != nil {
		return err
	}
	body, err := req.Bytes()
	if err != nil {
		return err
	}
	if body, err = c.Call(ctx, api.OpGroupInfo, id.String(), body); err != nil {
		return err
	}
	resp, err := wire.UnmarshalGroupInfoResponse(body)
	if err != nil {
		return err
	}
	info, err := room.OpenGroupInfo(id, resp, key)
	if err != nil {
		return err
	}
	g, bundle, err := room.JoinRoom(d.Config, d.MLS, id, info)
	if err != nil {
		return err
	}
	update, err := wire.NewCommitRequest(bundle)
	if err != nil {
		return err
	}
	if body, err = update.Bytes(); err != nil {
		return err
	}
	if err := d.Update(ctx, c, id, body); err != nil {
		return err
	}
	d.Rooms[id] = g
	for g.HasPending() {
		if _, err := d.Receive(ctx, c); err != nil {
			return err
		}
	}
	return nil
}
