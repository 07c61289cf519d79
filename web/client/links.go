package client

import (
	"kith/mimi/policy"
	rooms "kith/mimi/room"
)

// links are the join links of a room.
func links(v *rooms.View) policy.Links {
	list, err := policy.UnmarshalLinks(v.Component(policy.JoinLinks))
	if err != nil {
		return nil
	}
	return list
}

func (e *engine) linkDetails(r *room, v *rooms.View, d *DetailsView) error { return nil }
