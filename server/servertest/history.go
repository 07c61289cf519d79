package servertest

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/client"
)

// Rooms is what the device shows of its rooms: nothing while its browser is dead.
func (u *User) Rooms(ctx context.Context) []client.RoomView {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	list, _ := u.Session.Rooms(ctx)
	return list
}

// Room is what the device shows of a room; the view is empty if it does not show it.
func (u *User) Room(ctx context.Context, id string) client.RoomView {
	list := u.Rooms(ctx)
	if i := slices.IndexFunc(list, func(r client.RoomView) bool { return r.ID == id }); i >= 0 {
		return list[i]
	}
	return client.RoomView{}
}

// History is the whole timeline of a room, notices included, in the order in which it is shown.
func (u *User) History(ctx context.Context, room string) ([]client.MessageView, error) {
	var all []client.MessageView
	for before := ""; ; {
		page, err := u.Session.Timeline(ctx, room, before, 200)
		if err != nil {
			return nil, err
		}
		all = append(slices.Clone(page.Messages), all...)
		if !page.More {
			return all, nil
		}
		before = page.Messages[0].Key
	}
}

// Members are the user URIs of a room's participants, sorted.
func (u *User) Members(ctx context.Context, room string) ([]string, error) {
	list, err := u.Session.Members(ctx, room)
	var users []string
	for _, m := range list {
		users = append(users, m.User)
	}
	slices.Sort(users)
	return users, err
}

// Client is the device's URI; zero before it was registered.
func (u *User) Client(ctx context.Context) mimi.ClientID {
	id, _ := mimi.ParseClientID(u.Session.State(ctx).Me.Client)
	return id
}

// Cursor is the last event that the device has stored.
func (u *User) Cursor(ctx context.Context) int64 {
	value, err := u.Store.Get(ctx, "u|"+u.Account.User.String()+"|cursor")
	if err != nil || len(value) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(value))
}

// Head is the last event that the provider has.
func (p *Provider) Head(ctx context.Context) (head int64, err error) {
	err = p.Read(ctx, func(tx *db.Tx) (err error) {
		head, err = tx.Head()
		return err
	})
	return head, err
}

// Ready says whether the device is connected and can be added to rooms.
func (u *User) Ready(ctx context.Context) bool {
	s := u.Session.State(ctx)
	return s.Online && s.State == client.StateReady
}

// Delivered is an event that a provider has for a device.
type Delivered struct {
	Room    string
	Time    uint64 // accepted_timestamp
	Message bool   // application data
	Welcome bool
	Joins   bool // the commit of somebody who comes in from outside
}

// Streams is all that the provider has for each of its devices, from the beginning, according to its database.
func (p *Provider) Streams(ctx context.Context) (map[mimi.ClientID][]Delivered, error) {
	streams := map[mimi.ClientID][]Delivered{}
	err := p.Read(ctx, func(tx *db.Tx) error {
		for _, a := range p.accounts {
			devices, err := tx.DevicesOf(a.User.String())
			if err != nil {
				return err
			}
			for _, d := range devices {
				client, err := mimi.ParseClientID(d.Client)
				if err == nil {
					streams[client], err = streamOf(tx, d.ID)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	return streams, err
}

func streamOf(tx *db.Tx, device int64) (stream []Delivered, err error) {
	for cursor := int64(0); ; {
		page, next, err := tx.Backlog(device, cursor, db.Page{Rows: 1000, Bytes: 1 << 30, Window: 1 << 20})
		if err != nil || len(page) == 0 {
			return stream, err
		}
		for _, e := range page {
			f, err := wire.UnmarshalFanoutMessage(e.Body)
			if err != nil {
				return nil, err
			}
			stream = append(stream, delivered(e.Room, f))
		}
		cursor = next
	}
}

func delivered(room string, f *wire.FanoutMessage) Delivered {
	d := Delivered{Room: room, Time: f.Timestamp, Welcome: f.Message.WireFormat == mls.WireFormatWelcome}
	if d.Welcome {
		return d
	}
	d.Message = f.Message.ContentType() == mls.ContentTypeApplication
	d.Joins = f.Message.Public != nil && f.Message.Public.Sender().Type == mls.SenderNewMemberCommit
	return d
}

// Hub is what the provider says of a room of its own.
func (p *Provider) Hub(ctx context.Context, id string) (*room.Hub, error) {
	var hub *room.Hub
	err := p.Read(ctx, func(tx *db.Tx) error {
		row, err := tx.RoomByURI(id)
		if err != nil {
			return err
		}
		last, err := tx.LastTime(row.ID)
		if err != nil {
			return err
		}
		hub, err = room.Restore(mls.Config{Now: p.now, Application: &room.Application{}}, row.State, uint64(last))
		return err
	})
	return hub, err
}
