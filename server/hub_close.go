package server

import (
	"context"
	"slices"

	"kith/db"
	"kith/mimi"
	"kith/mimi/room"
	"kith/web/api"
)

// Destroy implements hub. A room that is closed already stays so.
//
// draft-ietf-mimi-room-policy-03, Section 8.6
func (h *localHub) Destroy(ctx context.Context, from room.Origin, id mimi.RoomID) ([]string, error) {
	by, ok := from.Client.User()
	if !ok {
		return nil, opNotAllowed
	}
	r, err := h.rooms.acquire(ctx, id)
	if err != nil {
		return nil, err
	}
	defer r.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	users := participants(r.hub.View())
	next, refused := r.hub.Destroy(by)
	if refused != nil {
		h.metrics.refused(api.OpDestroyRoom.String(), api.CodeNotAllowed)
		return nil, opNotAllowed
	}
	if r.hub.Closed() {
		return users, nil
	}
	state, err := next.State()
	if err != nil {
		return nil, err
	}
	stored := make(chan error, 1)
	// What was accepted before is in the queue before it, and is delivered still.
	h.db.Enqueue(func(tx *db.Tx) error {
		if err := tx.SetRoomState(r.id, state); err != nil {
			return err
		}
		return tx.SetRoomUsers(r.id, nil)
	}, func(err error) { stored <- err })
	if err := <-stored; err != nil {
		h.fault("closed room not stored", err)
		return nil, err
	}
	r.hub = next
	return users, nil
}

// Destroy implements hub: the draft has no request for it, so rooms are closed by people of their own provider.
func (h *remoteHub) Destroy(context.Context, room.Origin, mimi.RoomID) ([]string, error) {
	return nil, opNotAllowed
}

// destroyRoom closes a room, and has the browsers of those who were in it look after it.
func (s *socket) destroyRoom(r *api.Request) ([]byte, error) {
	if len(r.Body) > 0 {
		return nil, opBadRequest
	}
	id, h, err := s.m.hubFor(r.Target)
	if err != nil {
		return nil, err
	}
	users, err := h.Destroy(s.context, room.From(s.client), id)
	if err != nil {
		return nil, err
	}
	s.m.hint(api.HintRooms, func(o *socket) bool { return slices.Contains(users, o.account.User.String()) })
	return nil, nil
}
