package server

import (
	"context"
	"slices"

	"kith/db"
	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// followers lists the other providers with members in a room, and whether some member of theirs may get messages.
//
// draft-ietf-mimi-protocol-06, Section 5.5
func (h *localHub) followers(r *room.Hub) map[mimi.ProviderID]bool {
	list := make(map[mimi.ProviderID]bool)
	for _, m := range r.Members() {
		if p := m.User.Provider(); p != h.domain {
			list[p] = list[p] || r.MayReceive(m.User)
		}
	}
	return list
}

// mayUpdate reports whether an update may be from whom it comes, as far as that can be told when the room has moved on: by
// then its senders are not known any more. A provider without anybody in a room learns nothing of it in this way, and who
// joins does so in its own name.
//
// draft-ietf-mimi-protocol-06, Section 5.3
func (h *localHub) mayUpdate(ctx context.Context, r *liveRoom, from room.Origin, req *wire.UpdateRequest) (bool, error) {
	if !from.Client.IsZero() {
		return true, nil
	}
	if isExternalCommit(&req.ProposalOrCommit) {
		path := req.ProposalOrCommit.Public.Commit().Path
		if path == nil {
			return false, nil
		}
		c, err := identity.FromCredential(path.LeafNode.Credential)
		return err == nil && c.Provider() == from.Provider, nil
	}
	if _, there := h.followers(r.hub)[from.Provider]; there {
		return true, nil
	}
	var was bool
	err := h.db.Read(ctx, func(tx *db.Tx) (err error) {
		was, err = tx.HasFollowed(r.id, from.Provider.Host())
		return err
	})
	return was, err
}

func domainsOf(followers map[mimi.ProviderID]bool) []string {
	list := make([]string, 0, len(followers))
	for p := range followers {
		list = append(list, p.Host())
	}
	slices.Sort(list)
	return list
}

// moveFollowers lets providers begin and end to follow the room. One that is new to it gets the Welcome for its users and
// what comes after it; one that has left gets the commit by which it did.
//
// draft-ietf-mimi-protocol-06, Section 5.5
func (c *roomChange) moveFollowers(tx *db.Tx, commitID, welcomeID int64) error {
	for _, domain := range c.targets {
		if err := tx.AddWelcomeTarget(welcomeID, domain); err != nil {
			return err
		}
	}
	for _, domain := range domainsOf(c.followers) {
		from := commitID
		if slices.Contains(c.targets, domain) {
			from = welcomeID
		}
		if err := tx.AddFollower(c.room.id, domain, from); err != nil {
			return err
		}
	}
	for p := range c.followed {
		if _, stays := c.followers[p]; !stays {
			if err := tx.EndFollower(c.room.id, p.Host(), commitID); err != nil {
				return err
			}
		}
	}
	return nil
}

// silenceFollowers notes from which event on a provider gets messages no more, or again.
func (c *roomChange) silenceFollowers(tx *db.Tx, event int64) error {
	for p, messages := range c.followers {
		if before, was := c.followed[p]; was && before == messages {
			continue
		}
		if err := tx.SetFollowerMessages(c.room.id, p.Host(), event, messages); err != nil {
			return err
		}
	}
	return nil
}
