package client

import (
	"cmp"
	"context"
	"sort"

	"kith/mimi"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/web/api"
)

// devices lists what the user has signed in with, this one first.
func (e *engine) devices(ctx context.Context) ([]DeviceView, error) {
	body, err := e.call(ctx, api.OpDevices, "", nil)
	if err != nil {
		return nil, err
	}
	list, err := api.UnmarshalDeviceList(body)
	if err != nil {
		return nil, err
	}
	var views []DeviceView
	err = e.do(ctx, func() error {
		for _, d := range list {
			views = append(views, DeviceView{Client: d.Client, Name: d.Name, Me: d.Client == e.dev.client.String(),
				Created: int64(d.Created), Seen: int64(d.Seen)})
		}
		return nil
	})
	sort.SliceStable(views, func(i, j int) bool {
		a, b := views[i], views[j]
		return cmp.Or(compareFlags(b.Me, a.Me), cmp.Compare(b.Seen, a.Seen)) < 0
	})
	return views, err
}

// removeDevice forgets a device of this user that is lost: first at the provider, which at once gives it nothing more,
// then its leaves in all rooms. Those are this device's to remove, now or on the next connections.
func (e *engine) removeDevice(ctx context.Context, client string) error {
	id, err := mimi.ParseClientID(client)
	if err != nil {
		return fail(CodeNotFound, "no such device")
	}
	err = e.do(ctx, func() error {
		user, ok := id.User()
		if !ok || user != e.user || id == e.dev.client {
			return fail(CodeNotAllowed, "not another device of this user")
		}
		e.lost[id] = true
		b := new(batch)
		b.put(keyLost+id.String(), []byte{recordVersion})
		return e.commit(b)
	})
	if err == nil {
		_, err = e.call(ctx, api.OpRemoveDevice, id.String(), nil)
	}
	if err == nil {
		e.spawn(e.sweep)
	}
	return err
}

// sweep removes the leaves of lost devices, room by room. A device is done with when no room has it any more.
func (e *engine) sweep(ctx context.Context) {
	var lost []mimi.ClientID
	var ids []mimi.RoomID
	err := e.do(ctx, func() error {
		for id := range e.lost {
			lost = append(lost, id)
		}
		for id := range e.rooms {
			ids = append(ids, id)
		}
		if e.sweeping || len(lost) == 0 {
			return errStopped
		}
		e.sweeping = true
		return nil
	})
	if err != nil {
		return
	}
	for _, client := range lost {
		if e.detachEverywhere(ctx, client, ids) {
			_ = e.do(ctx, func() error {
				delete(e.lost, client)
				b := new(batch)
				b.del(keyLost + client.String())
				return e.commit(b)
			})
		}
	}
	_ = e.do(ctx, func() error { e.sweeping = false; return nil })
}

// detachEverywhere reports whether the device is in no room any more. It first tells the provider, who may not know yet.
func (e *engine) detachEverywhere(ctx context.Context, client mimi.ClientID, ids []mimi.RoomID) bool {
	if _, err := e.call(ctx, api.OpRemoveDevice, client.String(), nil); err != nil {
		return false
	}
	done := true
	for _, id := range ids {
		var r *room
		err := e.do(ctx, func() (err error) {
			var present bool
			if present, err = e.holds(id, client); present {
				r = e.rooms[id]
			}
			return err
		})
		if err == nil && r != nil {
			err = e.request(ctx, r, change{kind: changeDetach, name: client.String()})
		}
		done = done && err == nil
	}
	return done
}

// holds reports whether a device is in a room; an error says that this cannot be known now.
func (e *engine) holds(id mimi.RoomID, client mimi.ClientID) (bool, error) {
	r := e.rooms[id]
	if r == nil || r.rec.removed {
		return false, nil
	}
	g, err := e.groupOf(r)
	if err != nil {
		return false, err
	}
	if g == nil || !r.usable() {
		return false, errOffline // looked at again once we are back in the room
	}
	v, err := viewOf(g)
	if err != nil {
		return false, err
	}
	_, ok := v.Client(client)
	return ok, nil
}

// detachProposals removes one leaf and leaves its user listed.
func (e *engine) detachProposals(v *rooms.View, client string) ([]mls.Proposal, error) {
	id, err := mimi.ParseClientID(client)
	if err != nil {
		return nil, err
	}
	if _, ok := v.Client(id); !ok {
		return nil, nil // somebody has done it
	}
	return rooms.RemoveLostDevice(v, e.user, id)
}

// loadLost reads which devices are still to be removed from rooms.
func (e *engine) loadLost(list []KV) {
	for _, kv := range list {
		if id, err := mimi.ParseClientID(kv.Key[len(keyLost):]); err == nil {
			e.lost[id] = true
		}
	}
}
