package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"time"

	"kith/mimi/mls"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
)

// Join links: how long they let people in, and how long their codes are.
const (
	linkLife = 14 * 24 * time.Hour
	codeSize = 16
)

// linkDetails adds the join links, with what stands in those that this device has made.
func (e *engine) linkDetails(r *room, v *rooms.View, d *DetailsView) error {
	_, possible := e.linkRole(v)
	d.CanLink = possible && v.Can(e.user, policy.CanCreateJoinCode)
	d.CanUnlink = v.Can(e.user, policy.CanDeleteJoinCode)
	if !d.CanLink && !d.CanUnlink {
		return nil
	}
	for _, l := range v.JoinLinks() {
		if l.NotAfter != 0 && l.NotAfter < e.nowMS() {
			continue
		}
		id := linkID(l)
		offer, err := e.store.Get(e.ctx, r.rowKey(keyLink, id))
		if err != nil {
			return err
		}
		d.Links = append(d.Links, LinkView{ID: id, Offer: string(offer), Until: int64(l.NotAfter)})
	}
	return nil
}

func linkID(l policy.JoinLink) string { return hex.EncodeToString(l.CodeHash[:]) }

// linkRole is the role of those who come by a link: the first that the room gives to strangers and this user to others.
func (e *engine) linkRole(v *rooms.View) (uint32, bool) {
	me, ok := v.Role(e.user)
	none := v.State().Roles.Get(policy.RoleNone)
	if !ok || !none.Can(policy.CanUseJoinCode) {
		return 0, false
	}
	for _, role := range v.State().Roles {
		if none.MayChange(policy.RoleNone, role.RoleIndex) && me.MayChange(policy.RoleNone, role.RoleIndex) {
			return role.RoleIndex, true
		}
	}
	return 0, false
}

// makeLink makes a join link and returns what it holds, which is stored before anybody hears of the link: the room will
// know its code by the hash only.
//
// draft-ietf-mimi-room-policy-03, Section 6.2
func (e *engine) makeLink(ctx context.Context, id string) (string, error) {
	offer := rooms.JoinOffer{Code: make([]byte, codeSize)}
	if _, err := io.ReadFull(e.cfg.Rand, offer.Code); err != nil {
		return "", err
	}
	err := e.do(ctx, func() error {
		r, v, err := e.look(id)
		if err != nil {
			return err
		}
		if _, ok := e.linkRole(v); !ok || !v.Can(e.user, policy.CanCreateJoinCode) {
			return fail(CodeNotAllowed, "no join links here")
		}
		offer.Room = r.id
		b := new(batch)
		b.put(r.rowKey(keyLink, offerID(offer)), []byte(offer.String()))
		return e.commit(b)
	})
	if err != nil {
		return "", err
	}
	c := change{kind: changeLink, name: offer.String()}
	return offer.String(), e.requestIf(ctx, id, c, func(*rooms.View) bool { return true })
}

func offerID(o rooms.JoinOffer) string {
	hash := policy.JoinCodeHash(o.Room.String(), o.Code)
	return hex.EncodeToString(hash[:])
}

// linkProposals make the link of an offer, unless the room has it already.
func (e *engine) linkProposals(v *rooms.View, offer string) ([]mls.Proposal, error) {
	o, err := rooms.ParseJoinOffer(offer)
	if err != nil {
		return nil, err
	}
	if _, ok := linkOf(v, offerID(o)); ok {
		return nil, nil
	}
	role, ok := e.linkRole(v)
	if !ok {
		return nil, fail(CodeNotAllowed, "no join links here")
	}
	until := e.nowMS() + uint64(linkLife.Milliseconds())
	list, _, _, err := rooms.CreateJoinLink(v, bytes.NewReader(o.Code), role, true, until)
	return list, err
}

// revokeLink takes a join link back, whoever made it.
func (e *engine) revokeLink(ctx context.Context, id, link string) error {
	return e.requestIf(ctx, id, change{kind: changeUnlink, name: link}, func(v *rooms.View) bool {
		return v.Can(e.user, policy.CanDeleteJoinCode)
	})
}

func unlinkProposals(v *rooms.View, link string) ([]mls.Proposal, error) {
	l, ok := linkOf(v, link)
	if !ok {
		return nil, nil // used up or revoked
	}
	return rooms.RevokeJoinLink(v, l)
}

func linkOf(v *rooms.View, id string) (policy.JoinLink, bool) {
	for _, l := range v.JoinLinks() {
		if linkID(l) == id {
			return l, true
		}
	}
	return policy.JoinLink{}, false
}

// joinByLink joins the room of an offer, which may be hosted anywhere.
func (e *engine) joinByLink(ctx context.Context, offer string) (RoomView, error) {
	o, err := rooms.ParseJoinOffer(offer)
	if err != nil {
		return RoomView{}, fail(CodeLinkGone, "not a join link")
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	var r *room
	err = e.do(ctx, func() error {
		if e.link == nil {
			return errOffline
		}
		if r = e.roomFor(o.Room); r.rec.order == 0 || r.rec.removed {
			r.code, r.strange = o.Code, false
			e.startJoin(r)
		}
		return nil
	})
	if err == nil {
		err = e.wait(ctx, func() bool { return !r.joining || r.inside() || r.away })
	}
	if err != nil {
		return RoomView{}, e.late(ctx, r, err)
	}
	var view RoomView
	return view, e.do(ctx, func() error {
		switch {
		case r.inside():
			view = e.roomView(r)
			return nil
		case r.away:
			return fail(CodeHubUnreachable, "the room's server does not answer")
		case r.strange:
			return fail(CodeForeignRoom, "a room of another make")
		}
		return fail(CodeLinkGone, "the link lets nobody in any more")
	})
}

// inside reports whether this device is in the room.
func (r *room) inside() bool { return r.rec.order > 0 && r.usable() }

// inviteSiblings adds our other devices to a room that this one has joined by a link.
func (e *engine) inviteSiblings(r *room) {
	if r.change != nil || !r.usable() {
		return
	}
	p := &pendingChange{change: change{kind: changeInvite, users: []string{e.user.String()}}}
	r.change = p
	b := new(batch)
	b.put(r.key(keyChange), p.bytes())
	if e.commit(b) == nil {
		e.startChange(r)
	}
}
