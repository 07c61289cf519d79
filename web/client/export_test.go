package client

import (
	"context"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// Propose sends proposals without a commit, as members with other software do.
func (s *Session) Propose(ctx context.Context, room string, build func(v *rooms.View) ([]mls.Proposal, error)) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error {
		var body []byte
		err := e.do(ctx, func() (err error) { body, err = e.proposed(room, build); return err })
		if err == nil {
			body, err = e.call(ctx, api.OpUpdate, room, body)
		}
		if err != nil {
			return err
		}
		resp, err := wire.UnmarshalUpdateRoomResponse(body)
		if err == nil && resp.ResponseCode != wire.UpdateSuccess {
			err = fail(CodeNotAllowed, "proposals refused")
		}
		return err
	})
}

func (e *engine) proposed(room string, build func(v *rooms.View) ([]mls.Proposal, error)) ([]byte, error) {
	r, err := e.find(room)
	if err != nil {
		return nil, err
	}
	g, err := e.groupOf(r)
	if err != nil {
		return nil, err
	}
	v, err := viewOf(g)
	if err != nil {
		return nil, err
	}
	list, err := build(v)
	if err != nil {
		return nil, err
	}
	var messages []wire.MLSMessage
	for _, p := range list {
		m, err := g.Propose(p, rooms.EmptyAAD())
		if err != nil {
			return nil, err
		}
		raw, err := wire.NewMLSMessage(m)
		if err != nil {
			return nil, err
		}
		messages = append(messages, raw)
	}
	b := new(batch)
	r.saveGroup(b)
	if err := e.commit(b); err != nil {
		return nil, err
	}
	return (&wire.UpdateRequest{ProposalOrCommit: messages[0], MoreProposals: messages[1:]}).Bytes()
}

// Post sends whatever a client with other software would, without asking whether it may. It returns the message's id.
func (s *Session) Post(ctx context.Context, room string, build func(user mimi.UserID, room mimi.RoomID) (*content.Message, error)) (id string, err error) {
	return id, s.try(ctx, func(e *engine, ctx context.Context) error {
		return e.do(ctx, func() error {
			r, err := e.find(room)
			if err != nil {
				return err
			}
			c, err := build(e.user, r.id)
			if err != nil {
				return err
			}
			m, err := e.put(r, c)
			if err == nil {
				id = m.id
				e.startOutbox(r)
			}
			return err
		})
	})
}
