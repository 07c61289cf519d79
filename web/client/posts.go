package client

import (
	"strings"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
)

// The hub cannot see what a message does. So it is for clients to ask whether its sender may do that: before they send
// it, and again before they show it.

// postOf says what a message does, as far as roles are about that.
//
// draft-ietf-mimi-room-policy-03, Section 8.3
func (e *engine) postOf(r *room, v *rooms.View, m *content.Message, sender mimi.UserID) (p policy.Post, err error) {
	kind := m.Kind()
	p = policy.Post{
		Reaction: kind == content.KindReaction || kind == content.KindUnlike,
		Edit:     kind == content.KindEdit,
		Delete:   kind == content.KindDelete || kind == content.KindUnlike,
		Reply:    m.InReplyTo != nil,
		Topic:    len(m.TopicID) > 0,
		Link:     hasLink(v, m.Text()),
	}
	if m.Replaces == nil {
		return p, nil
	}
	row, err := e.row(r, m.Replaces.String())
	// What nobody here knows is nobody's own: it takes the right to change what others wrote.
	p.Own = row != nil && row.sender == sender.String()
	return p, err
}

// hasLink reports whether a text has a link: in a plain one those that receivers detect, where that is not forbidden.
//
// draft-ietf-mimi-room-policy-03, Section 6.3
func hasLink(v *rooms.View, text string) bool {
	return (strings.Contains(text, "http://") || strings.Contains(text, "https://")) && detectsLinks(v)
}

func detectsLinks(v *rooms.View) bool {
	p, ok := v.State().LinkPreviews()
	return !ok || p.AutodetectHyperlinksInText != policy.Forbidden
}

// mayPost asks the sender's role.
func (e *engine) mayPost(r *room, v *rooms.View, m *content.Message, sender mimi.UserID) (bool, error) {
	p, err := e.postOf(r, v, m, sender)
	role, ok := v.Role(sender)
	return ok && role.MayPost(p), err
}

// maySay asks our own role before something is written; while the room is entered anew the hub's word is enough.
func (e *engine) maySay(r *room, text string) error {
	g, err := e.groupOf(r)
	if err != nil || g == nil {
		return err
	}
	v, err := viewOf(g)
	if err != nil {
		return err
	}
	role, ok := v.Role(e.user)
	if !ok || !role.MayPost(policy.Post{Link: hasLink(v, text)}) {
		return fail(CodeNotAllowed, "not allowed to send this here")
	}
	return nil
}
