package server

import (
	"context"
	"errors"

	"kith/db"
	"kith/mimi"
)

// renew lets a room know the hub by its present certificate: that of the room may be about to expire. The caller holds the
// room's lock. Where it cannot be proposed now, because of something else that is pending, it is after a later commit.
//
// draft-ietf-mimi-protocol-06, Section 7.4
func (h *localHub) renew(r *liveRoom) {
	sender := h.authority.HubSender()
	if r.hub.Sender().Credential.Equal(sender.Credential) {
		return
	}
	outcome, err := r.hub.Rotate(h.millis(), sender)
	if err == nil && outcome != nil && outcome.Next != nil {
		_, err = h.commit(r, requestHash(outcome.Events[0].Body), outcome)
	}
	if err != nil {
		h.fault("certificate of the hub not renewed in a room", err)
	}
}

// evict takes clients out of one of our rooms: the hub proposes it, the next member that is online commits it. From now on
// they get no messages.
//
// draft-ietf-mimi-protocol-06, Sections 5.3 and 7.4
func (h *localHub) evict(ctx context.Context, id mimi.RoomID, clients []mimi.ClientID) error {
	r, err := h.rooms.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer r.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hub.SetKey(h.authority.HubKey())
	outcome, err := r.hub.Evict(h.millis(), nil, clients)
	if err != nil || outcome == nil {
		return err
	}
	if outcome.Next == nil {
		h.log.Warn("a device cannot be taken out of a room", "rule", outcome.Refusal.Rule)
		return nil
	}
	_, err = h.commit(r, requestHash(outcome.Events[0].Body), outcome)
	return err
}

// evictDevice takes a device out of all rooms of ours. In rooms elsewhere it is for the user's other devices to do that.
func (m *messenger) evictDevice(ctx context.Context, d db.Device) error {
	client, err := mimi.ParseClientID(d.Client)
	if err != nil {
		return err
	}
	var rooms []string
	err = m.DB.Read(ctx, func(tx *db.Tx) (err error) {
		rooms, err = tx.HostedRoomsOf(d.ID)
		return err
	})
	for _, uri := range rooms {
		id, bad := mimi.ParseRoomID(uri)
		if bad != nil {
			return bad
		}
		err = errors.Join(err, m.hub.evict(ctx, id, []mimi.ClientID{client}))
	}
	return err
}

// EvictDisabled implements chat: it takes the devices of disabled accounts out of our rooms. It finds nothing to do where it has been done.
func (m *messenger) EvictDisabled(ctx context.Context) error {
	var devices []db.Device
	err := m.DB.Read(ctx, func(tx *db.Tx) error {
		accounts, err := tx.Accounts()
		if err != nil {
			return err
		}
		for _, a := range accounts {
			if a.DisabledAt == 0 {
				continue
			}
			user, err := mimi.NewUserID(m.domain, a.Username)
			if err != nil {
				return err
			}
			of, err := tx.DevicesOf(user.String())
			if err != nil {
				return err
			}
			devices = append(devices, of...)
		}
		return nil
	})
	for _, d := range devices {
		err = errors.Join(err, m.evictDevice(ctx, d))
	}
	return err
}
