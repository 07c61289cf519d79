package client

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
)

// authors tells who wanted what a commit does: the committer may only have put into effect what others proposed, as
// when somebody leaves. Everything that is not here is the committer's.
type authors struct {
	actor      string            // who committed
	users      map[string]string // participant whose entry changes → by whom
	removers   map[string]string // user whose devices somebody else removes → by whom
	components map[uint16]string
	external   bool // the commit is that of a joiner
}

// readAuthors reads the proposals of a commit upon the epoch of before.
func readAuthors(before *rooms.View, proposals []mls.StagedProposal, actor string) *authors {
	a := &authors{actor: actor, users: map[string]string{}, removers: map[string]string{}, components: map[uint16]string{}}
	for _, p := range proposals {
		by := a.proposer(before, p)
		switch {
		case p.Proposal.AppDataUpdate != nil:
			a.component(before, by, uint16(p.Proposal.AppDataUpdate.Component), p.Proposal.AppDataUpdate.Update)
		case p.Proposal.Type == mls.ProposalRemove:
			if m, ok := before.Member(p.Proposal.Remove); ok && m.User.String() != by {
				a.removers[m.User.String()] = by
			}
		}
	}
	return a
}

// proposer is the URI of the user, or of the hub's provider, that a proposal comes from.
func (a *authors) proposer(before *rooms.View, p mls.StagedProposal) string {
	switch p.Sender.Type {
	case mls.SenderMember:
		if m, ok := before.Member(p.Sender.Leaf); ok {
			return m.User.String()
		}
	case mls.SenderExternal:
		return before.Hub().String()
	}
	return a.actor
}

func (a *authors) component(before *rooms.View, by string, id uint16, update []byte) {
	a.components[id] = by
	if id != policy.ParticipantList {
		return
	}
	u, err := policy.UnmarshalParticipantsUpdate(update)
	if err != nil {
		return
	}
	list := before.Participants()
	set := func(index uint32) {
		if uint64(index) < uint64(len(list)) {
			a.users[list[index].User] = by
		}
	}
	for _, c := range u.ChangedRoleParticipants {
		set(c.UserIndex)
	}
	for _, i := range u.RemovedIndices {
		set(i)
	}
	for _, p := range u.AddedParticipants {
		a.users[p.User] = by
	}
}

// fate names what becomes of a user, "" where nothing does, and who wanted it.
func (a *authors) fate(before, after *rooms.View, user mimi.UserID) (code, by string) {
	uri := user.String()
	was, is := standing(before, uri), standing(after, uri)
	by = cmp.Or(a.users[uri], a.actor)
	switch {
	case was == is:
		// draft-ietf-mimi-room-policy-03, Section 8.1.2: a kick leaves the participant list as it is
		if remover := a.removers[uri]; remover != "" && len(before.Devices(user)) > 0 && len(after.Devices(user)) == 0 {
			return NoticeKicked, remover
		}
		return "", ""
	case is == policy.RoleBanned:
		return NoticeBanned, by
	case was == policy.RoleBanned:
		return NoticeUnbanned, by
	case was == policy.RoleNone && a.external && by == uri:
		return NoticeJoined, by
	case was == policy.RoleNone:
		return NoticeAdded, by
	case is == policy.RoleNone && by == uri:
		return NoticeLeft, by
	case is == policy.RoleNone:
		return NoticeRemoved, by
	}
	return NoticeRole, by
}

// standing is the index of a user's role, 0 for whoever is not listed.
func standing(v *rooms.View, user string) uint32 {
	if i := v.Participants().Find(user); i >= 0 {
		return v.Participants()[i].RoleIndex
	}
	return policy.RoleNone
}

// notices writes a row for each change a person should see.
func (e *engine) notices(b *batch, r *room, timestamp uint64, before, after *rooms.View, did *authors) {
	index := 0
	note := func(code, by, whom, name string) {
		if code != "" {
			e.notice(b, r, timestamp, index, &message{notice: code, sender: by, whom: whom, name: name})
			index++
		}
	}
	for _, u := range concerned(before, after) {
		code, by := did.fate(before, after, u.ID)
		name := ""
		if code == NoticeRole {
			name = u.RoleName
		}
		note(code, by, u.ID.String(), name)
	}
	for _, c := range did.roomChanges(before, after) {
		note(c.code, c.by, "", c.name)
	}
}

// concerned lists who is in a room or was, with the role of afterwards.
func concerned(before, after *rooms.View) []rooms.User {
	list := after.Users()
	for _, u := range before.Users() {
		if !slices.ContainsFunc(list, func(o rooms.User) bool { return o.ID == u.ID }) {
			list = append(list, u)
		}
	}
	return list
}

// roomChange is something different about the room itself.
type roomChange struct{ code, by, name string }

// rules are the components that say how the room works.
var rules = []uint16{policy.RolesList, policy.BaseRoomPolicy, policy.PreauthList, policy.StatusNotificationPolicy,
	policy.JoinLinkPolicy, policy.AssetPolicy, policy.MessageExpiration, policy.LinkPreviewPolicy, policy.LoggingPolicy,
	policy.ChatHistoryPolicy, policy.BotPolicy}

// roomChanges lists what is different about the room itself.
func (a *authors) roomChanges(before, after *rooms.View) (list []roomChange) {
	add := func(code string, component uint16, name string) {
		list = append(list, roomChange{code, cmp.Or(a.components[component], a.actor), name})
	}
	was, is := before.Metadata(), after.Metadata()
	if was.RoomName != is.RoomName {
		add(NoticeRenamed, policy.RoomMetadata, is.RoomName)
	}
	if description(was) != description(is) {
		add(NoticeDescribed, policy.RoomMetadata, "")
	}
	for _, id := range rules {
		if !bytes.Equal(before.Component(id), after.Component(id)) {
			add(NoticePolicy, id, "")
			break // one line is enough
		}
	}
	switch n := len(after.JoinLinks()) - len(before.JoinLinks()); {
	case n > 0:
		add(NoticeLinkMade, policy.JoinLinks, "")
	case n < 0:
		add(NoticeLinkRevoked, policy.JoinLinks, "")
	}
	return list
}

func (e *engine) notice(b *batch, r *room, timestamp uint64, index int, m *message) {
	m.key, m.time, m.state = timelineKey(timestamp, index), int64(timestamp), MessageReceived
	m.id = "n" + m.key
	e.addRow(b, r, m)
}

// onRemoved ends the room for this device: a commit has removed its leaf.
func (e *engine) onRemoved(b *batch, r *room, f *wire.FanoutMessage, before *rooms.View, s *mls.StagedCommit, did *authors) {
	why := &message{notice: NoticeRemoved, sender: did.actor, whom: e.user.String()}
	if after, err := rooms.NewView(s.Context(), s.Members()); err == nil {
		why.notice, why.sender = did.fate(before, after, e.user)
	}
	if why.notice == "" { // we are still in: another device of ours has taken this one out
		why.notice, why.sender = NoticeDetached, e.user.String()
	}
	e.depart(b, r, f.Timestamp, why)
}

// depart ends the room for this device. Its timeline stays; its secrets go.
func (e *engine) depart(b *batch, r *room, timestamp uint64, why *message) {
	r.rec.removed = true
	e.forgetGroup(b, r)
	e.noteLeft(b, r)
	if err := e.failAll(b, r); err != nil {
		e.cancel(errors.Join(errStore, err))
		return
	}
	if p := r.change; p != nil {
		err := error(fail(CodeNotAllowed, "no longer in the room"))
		if p.change.kind == changeLeave {
			err = nil // that is what was wanted
		}
		e.resolve(b, r, p, err)
	}
	e.notice(b, r, timestamp, 0, why)
	e.tellMembers(b, r)
}

// actorOf is the URI of the user who sent something.
func actorOf(c *mls.Credential) string {
	if c == nil {
		return ""
	}
	cert, err := identity.FromCredential(*c)
	if err != nil {
		return ""
	}
	return cert.User.String()
}

// nameOf is name for a stored URI, of a user or of the provider that hosts the room; it may be empty.
func (e *engine) nameOf(uri string) string {
	if u, err := mimi.ParseUserID(uri); err == nil {
		return e.name(u)
	}
	if p, err := mimi.ParseProviderID(uri); err == nil {
		return p.Host()
	}
	return ""
}
