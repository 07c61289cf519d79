package client

import (
	"context"
	"errors"
	"maps"
)

// State tells how the session is; it never waits for an engine.
func (s *Session) State(ctx context.Context) StateView {
	s.mu.Lock()
	e, problem := s.engine, s.problem
	s.mu.Unlock()
	v := StateView{State: StateLoading, Connecting: true, Error: problem}
	if problem != nil && problem.Code != CodeOffline {
		v.State = StateError
	}
	if e != nil {
		_ = e.do(ctx, func() error { v = e.stateView(); return nil })
	}
	return v
}

// Rooms is the room list, the latest first.
func (s *Session) Rooms(ctx context.Context) ([]RoomView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (list []RoomView, err error) {
		err = e.do(ctx, func() error { list = e.roomList(); return nil })
		return list, err
	})
}

// Timeline is a page of at most limit messages before a key ("" for the newest), oldest first.
func (s *Session) Timeline(ctx context.Context, room, before string, limit int) (TimelineView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (TimelineView, error) {
		return e.timeline(ctx, room, before, limit)
	})
}

// Send writes a text into a room. It returns as soon as the message is stored; views tell what becomes of it.
func (s *Session) Send(ctx context.Context, room, text string) (MessageView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (MessageView, error) { return e.send(ctx, room, text) })
}

// Retry sends a failed message again.
func (s *Session) Retry(ctx context.Context, room, id string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.retry(ctx, room, id) })
}

// Discard deletes a failed message.
func (s *Session) Discard(ctx context.Context, room, id string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.discard(ctx, room, id) })
}

// NewChat opens the direct room with the user at an address: name, name@domain or URI.
func (s *Session) NewChat(ctx context.Context, address string) (RoomView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (RoomView, error) { return e.newChat(ctx, address) })
}

// NewGroup makes a group as families have it.
func (s *Session) NewGroup(ctx context.Context, name string, members []string) (RoomView, error) {
	return s.NewGroupOf(ctx, "family", name, members)
}

// NewGroupOf makes a group of a kind: family, moderated, announcement, or firm for one between organisations.
func (s *Session) NewGroupOf(ctx context.Context, kind, name string, members []string) (RoomView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (RoomView, error) { return e.newGroup(ctx, kind, name, members) })
}

// Members lists who is in a room.
func (s *Session) Members(ctx context.Context, room string) ([]MemberView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) ([]MemberView, error) { return e.members(ctx, room) })
}

// AddMembers adds people to a group.
func (s *Session) AddMembers(ctx context.Context, room string, members []string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.addMembers(ctx, room, members) })
}

// RemoveMember removes a person from a group.
func (s *Session) RemoveMember(ctx context.Context, room, user string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.removeMember(ctx, room, user) })
}

// Details tells what only the page about a room shows.
func (s *Session) Details(ctx context.Context, room string) (DetailsView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (DetailsView, error) { return e.details(ctx, room) })
}

// Kick removes the devices of a person who stays a member.
func (s *Session) Kick(ctx context.Context, room, user string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.kick(ctx, room, user) })
}

// Ban removes a person, who cannot come back before Unban.
func (s *Session) Ban(ctx context.Context, room, user string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.ban(ctx, room, user) })
}

// Unban takes a ban back.
func (s *Session) Unban(ctx context.Context, room, user string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.unban(ctx, room, user) })
}

// SetRole gives a person another role, by its index.
func (s *Session) SetRole(ctx context.Context, room, user string, role int) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.setRole(ctx, room, user, role) })
}

// Leave takes this user out of a group. Its timeline stays until DeleteRoom.
func (s *Session) Leave(ctx context.Context, room string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.leave(ctx, room) })
}

// DeleteRoom deletes the timeline of a room that this user is no longer in.
func (s *Session) DeleteRoom(ctx context.Context, room string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.deleteRoom(ctx, room) })
}

// Describe says what a group is about.
func (s *Session) Describe(ctx context.Context, room, text string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.describe(ctx, room, text) })
}

// MakeLink makes a link by which people can join a group, and returns what it holds.
func (s *Session) MakeLink(ctx context.Context, room string) (string, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (string, error) { return e.makeLink(ctx, room) })
}

// RevokeLink takes a join link back.
func (s *Session) RevokeLink(ctx context.Context, room, link string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.revokeLink(ctx, room, link) })
}

// SetRule changes how a room works: "write", "invite" and "links" with 1 and 0 for on and off, "expire" with the seconds
// after which messages vanish, 0 for never.
func (s *Session) SetRule(ctx context.Context, room, rule string, value int) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.setRule(ctx, room, rule, value) })
}

// CloseRoom closes a room for everybody and for good.
func (s *Session) CloseRoom(ctx context.Context, room string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.closeRoom(ctx, room) })
}

// Join joins the group of a link.
func (s *Session) Join(ctx context.Context, offer string) (RoomView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (RoomView, error) { return e.joinByLink(ctx, offer) })
}

// Devices lists what the user has signed in with.
func (s *Session) Devices(ctx context.Context) ([]DeviceView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) ([]DeviceView, error) { return e.devices(ctx) })
}

// RemoveDevice forgets another device of this user, and takes it out of all rooms.
func (s *Session) RemoveDevice(ctx context.Context, client string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.removeDevice(ctx, client) })
}

// Rename gives a group another name.
func (s *Session) Rename(ctx context.Context, room, name string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.rename(ctx, room, name) })
}

// Report tells the hub of a room about messages of one person, by their ids. The hub gets their texts; see
// MessageView.Reportable.
func (s *Session) Report(ctx context.Context, room string, ids []string, note string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.report(ctx, room, ids, note) })
}

// MarkRead says that everything up to a key was read.
func (s *Session) MarkRead(ctx context.Context, room, key string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.markRead(ctx, room, key) })
}

// Search finds people.
func (s *Session) Search(ctx context.Context, text string) ([]PersonView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) ([]PersonView, error) { return e.search(ctx, text) })
}

// AcceptIdentity trusts the new identity of a provider that has changed it, named by its domain.
func (s *Session) AcceptIdentity(ctx context.Context, domain string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.acceptIdentity(ctx, domain) })
}

// SignOut deletes everything this device stores of the user, keys and messages, and ends the session.
func (s *Session) SignOut(ctx context.Context) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.signOut(ctx) })
}

// Dropped counts what the stream brought and this device could not use, by reason.
func (s *Session) Dropped(ctx context.Context) (map[string]int, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (counts map[string]int, err error) {
		err = e.do(ctx, func() error { counts = maps.Clone(e.dropped); return nil })
		return counts, err
	})
}

func (s *Session) try(ctx context.Context, op func(e *engine, ctx context.Context) error) error {
	_, err := with(ctx, s, func(e *engine, ctx context.Context) (struct{}, error) { return struct{}{}, op(e, ctx) })
	return err
}

// signOut wipes the user's part of the store, after a word to those who would go on to count on this device.
func (e *engine) signOut(ctx context.Context) error {
	e.goodbye(ctx)
	err := e.do(ctx, func() error {
		list, err := e.store.Range(ctx, "", "", "", 0, false)
		if err != nil {
			return err
		}
		ops := []Op{{Key: keyUser}}
		for _, kv := range list {
			ops = append(ops, Op{Key: e.store.prefix + kv.Key})
		}
		if err := e.cfg.Store.Commit(context.WithoutCancel(ctx), ops); err != nil {
			return err
		}
		e.cancel(errSignedOut)
		return nil
	})
	if errors.Is(err, errSignedOut) {
		return nil
	}
	return err
}
