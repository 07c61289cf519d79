package client

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sort"
	"strconv"
	"strings"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
)

// maxDescription is the longest description of a room, in octets.
const maxDescription = 4096

// requestIf makes c the room's change if the room as it is now allows it. The hub decides in the end; asking here
// spares people a button that cannot work.
func (e *engine) requestIf(ctx context.Context, id string, c change, may func(v *rooms.View) bool) error {
	var r *room
	err := e.do(ctx, func() (err error) {
		var v *rooms.View
		if r, v, err = e.look(id); err == nil && !may(v) {
			err = fail(CodeNotAllowed, "not allowed in this room")
		}
		return err
	})
	if err != nil {
		return err
	}
	return e.request(ctx, r, c)
}

// look finds a room that this device is in.
func (e *engine) look(id string) (*room, *rooms.View, error) {
	r, err := e.find(id)
	if err != nil {
		return nil, nil, err
	}
	g, err := e.groupOf(r)
	if err != nil {
		return nil, nil, err
	}
	if g == nil || r.rec.removed {
		return nil, nil, fail(CodeNotAllowed, "not in the room")
	}
	v, err := viewOf(g)
	return r, v, err
}

// rights is what this user may do about another participant.
type rights struct {
	remove, kick, ban, unban bool
	roles                    []*policy.Role // to change to
}

// rightsOver reads the rights from the room's roles.
//
// draft-ietf-mimi-room-policy-03, Section 8.1
func (e *engine) rightsOver(v *rooms.View, u rooms.User) (r rights) {
	me, ok := v.Role(e.user)
	if !ok || u.ID == e.user || v.State().Base.FixedMembership {
		return r
	}
	if u.Role == policy.RoleBanned {
		r.unban = me.Can(policy.CanUnBan) && me.MayChange(policy.RoleBanned, policy.RoleNone)
		return r
	}
	r.remove = me.Can(policy.CanRemoveParticipant) && me.MayChange(u.Role, policy.RoleNone)
	r.ban = me.Can(policy.CanBan) && me.MayChange(u.Role, policy.RoleBanned)
	r.kick = me.Can(policy.CanKick) && u.Devices > 0
	for i := range v.State().Roles {
		to := &v.State().Roles[i]
		if to.RoleIndex > policy.RoleBanned && to.RoleIndex != u.Role && me.Can(policy.CanChangeUserRole) && me.MayChange(u.Role, to.RoleIndex) {
			r.roles = append(r.roles, to)
		}
	}
	return r
}

// participant finds a user in the list, banned or not.
func participant(v *rooms.View, id mimi.UserID) (rooms.User, bool) {
	users := v.Users()
	i := slices.IndexFunc(users, func(u rooms.User) bool { return u.ID == id })
	if i < 0 {
		return rooms.User{}, false
	}
	return users[i], true
}

// errAlready says that there is nothing to do.
var errAlready = errors.New("client: it is so already")

// requestAbout asks for a change that concerns one participant. Asking again for what has happened is no error.
func (e *engine) requestAbout(ctx context.Context, id, user string, c change, may func(r rights) bool) error {
	who, err := e.address(user)
	if err != nil {
		return err
	}
	c.users = []string{who.String()}
	var r *room
	err = e.do(ctx, func() (err error) {
		var v *rooms.View
		if r, v, err = e.look(id); err != nil {
			return err
		}
		u, ok := participant(v, who)
		switch {
		case already(c, u, ok):
			return errAlready
		case !ok || !may(e.rightsOver(v, u)):
			return fail(CodeNotAllowed, "not allowed in this room")
		}
		return nil
	})
	if errors.Is(err, errAlready) {
		return nil
	}
	if err != nil {
		return err
	}
	return e.request(ctx, r, c)
}

// already reports whether a change about a participant, or about somebody who is none, has nothing left to do.
func already(c change, u rooms.User, listed bool) bool {
	switch c.kind {
	case changeRemove, changeUnban:
		return !listed
	case changeKick:
		return !listed || u.Devices == 0
	case changeBan:
		return listed && u.Role == policy.RoleBanned
	}
	return listed && u.RoleName == c.name
}

// removeMember removes a person with all devices.
func (e *engine) removeMember(ctx context.Context, id, user string) error {
	return e.requestAbout(ctx, id, user, change{kind: changeRemove}, func(r rights) bool { return r.remove })
}

// kick removes the devices of a person who stays in the list, and so may come back.
func (e *engine) kick(ctx context.Context, id, user string) error {
	return e.requestAbout(ctx, id, user, change{kind: changeKick}, func(r rights) bool { return r.kick })
}

// ban removes a person who cannot come back until the ban is lifted.
func (e *engine) ban(ctx context.Context, id, user string) error {
	return e.requestAbout(ctx, id, user, change{kind: changeBan}, func(r rights) bool { return r.ban })
}

// unban takes a ban back. Who was banned is then a stranger to the room, to be added again by whoever wants that.
func (e *engine) unban(ctx context.Context, id, user string) error {
	return e.requestAbout(ctx, id, user, change{kind: changeUnban}, func(r rights) bool { return r.unban })
}

// setRole gives a person another role, by its index.
func (e *engine) setRole(ctx context.Context, id, user string, role int) error {
	return e.requestAbout(ctx, id, user, change{kind: changeRole, name: strconv.Itoa(role)}, func(r rights) bool {
		return slices.ContainsFunc(r.roles, func(to *policy.Role) bool { return int(to.RoleIndex) == role })
	})
}

// addMembers adds people with all their devices.
func (e *engine) addMembers(ctx context.Context, id string, addresses []string) error {
	users, err := e.people(ctx, addresses)
	if err != nil {
		return err
	}
	if len(users) == 0 {
		return fail(CodeEmpty, "nobody to add")
	}
	c := change{kind: changeInvite}
	for _, u := range users {
		c.users = append(c.users, u.String())
	}
	return e.requestIf(ctx, id, c, func(v *rooms.View) bool { return e.mayAdd(v) })
}

func (e *engine) mayAdd(v *rooms.View) bool {
	return !v.State().Base.FixedMembership && v.Can(e.user, policy.CanAddParticipant)
}

// rename gives a group another name.
func (e *engine) rename(ctx context.Context, id, name string) error {
	name, err := roomName(name)
	if err != nil {
		return err
	}
	return e.requestIf(ctx, id, change{kind: changeRename, name: name}, func(v *rooms.View) bool {
		return v.Can(e.user, policy.CanChangeRoomName)
	})
}

// describe says what a group is about; an empty text takes that away.
func (e *engine) describe(ctx context.Context, id, text string) error {
	text = strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD"))
	if len(text) > maxDescription {
		return fail(CodeTooLong, "description too long")
	}
	return e.requestIf(ctx, id, change{kind: changeDescribe, name: text}, func(v *rooms.View) bool {
		return v.Can(e.user, policy.CanChangeRoomDescription)
	})
}

// memberProposals are what is still missing for a change that concerns participants to be true.
func memberProposals(v *rooms.View, c change) (all []mls.Proposal, err error) {
	for _, id := range parseUsers(c.users) {
		u, ok := participant(v, id)
		if !ok {
			continue // gone meanwhile
		}
		var list []mls.Proposal
		switch c.kind {
		case changeRemove, changeUnban:
			if (u.Role == policy.RoleBanned) == (c.kind == changeUnban) {
				list, err = rooms.RemoveUser(v, id)
			}
		case changeKick:
			if u.Devices > 0 {
				list, err = rooms.Kick(v, id)
			}
		case changeBan:
			if u.Role != policy.RoleBanned {
				list, err = rooms.Ban(v, id)
			}
		case changeRole:
			list, err = toRole(v, u, c.name)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

func toRole(v *rooms.View, u rooms.User, index string) ([]mls.Proposal, error) {
	role, err := strconv.ParseUint(index, 10, 32)
	switch {
	case err != nil || role <= uint64(policy.RoleBanned) || v.State().Roles.Get(uint32(role)) == nil:
		return nil, fail(CodeNotAllowed, "no such role")
	case u.Role == uint32(role) || u.Role == policy.RoleBanned:
		return nil, nil // so it is already, or it is too late
	}
	return rooms.ChangeRole(v, u.ID, uint32(role))
}

// describeProposals replaces the plain text among the room's descriptions.
func describeProposals(v *rooms.View, text string) ([]mls.Proposal, error) {
	if description(v.Metadata()) == text {
		return nil, nil
	}
	var list []policy.RichDescription
	if text != "" {
		list = append(list, policy.RichDescription{DescriptionContent: []byte(text)})
	}
	for _, d := range v.Metadata().RoomDescriptions {
		if !isPlain(d) {
			list = append(list, d)
		}
	}
	return rooms.SetMetadata(v, func(m *policy.Metadata) { m.RoomDescriptions = list })
}

// isPlain: an empty media type is plain text.
//
// draft-ietf-mimi-protocol-06, Section 7.6
func isPlain(d policy.RichDescription) bool {
	return d.MediaType == "" || strings.HasPrefix(d.MediaType, "text/plain")
}

// description is what a room says about itself in plain text.
func description(m policy.Metadata) string {
	for _, d := range m.RoomDescriptions {
		if isPlain(d) {
			return string(d.DescriptionContent)
		}
	}
	return ""
}

// members lists who is in a room, and at the end who is banned from it.
func (e *engine) members(ctx context.Context, id string) (list []MemberView, err error) {
	err = e.do(ctx, func() error {
		_, v, err := e.look(id)
		var gone *Error
		if errors.As(err, &gone) && gone.Code == CodeNotAllowed {
			return nil // who is not in the room any more does not know who is
		}
		if err != nil {
			return err
		}
		for _, u := range v.Users() {
			list = append(list, e.memberView(v, u))
		}
		sort.SliceStable(list, func(i, j int) bool {
			a, b := list[i], list[j]
			return cmp.Or(compareFlags(a.Banned, b.Banned), compareFlags(b.Me, a.Me)) < 0
		})
		return nil
	})
	return list, err
}

func compareFlags(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func (e *engine) memberView(v *rooms.View, u rooms.User) MemberView {
	may := e.rightsOver(v, u)
	m := MemberView{
		User: u.ID.String(), Name: e.handle(u.ID), DisplayName: e.name(u.ID), Role: roleView(v.State().Roles.Get(u.Role)),
		Me: u.ID == e.user, Banned: u.Role == policy.RoleBanned, Devices: u.Devices,
		CanRemove: may.remove, CanKick: may.kick, CanBan: may.ban, CanUnban: may.unban,
	}
	for _, role := range may.roles {
		m.Roles = append(m.Roles, roleView(role))
	}
	return m
}

// roleView: what a role is called, and for whose people it is, if its description names a provider, as in our template
// for several organisations.
func roleView(role *policy.Role) (r RoleView) {
	if role == nil {
		return r
	}
	r.Index, r.Name = int(role.RoleIndex), role.RoleName
	if p, err := mimi.ParseProviderID(role.RoleDescription); err == nil {
		r.Organisation = p.Host()
	}
	return r
}

// details tells what only the page about a room shows.
func (e *engine) details(ctx context.Context, id string) (d DetailsView, err error) {
	err = e.do(ctx, func() error {
		r, v, err := e.look(id)
		if err != nil {
			return err
		}
		can := func(c policy.Capability) bool { return v.Can(e.user, c) }
		fixed := v.State().Base.FixedMembership
		d = DetailsView{
			Room: r.id.String(), Description: description(v.Metadata()), Host: v.Hub().Host(), HostOurs: v.Hub() == e.user.Provider(),
			CanRename: !fixed && can(policy.CanChangeRoomName), CanDescribe: !fixed && can(policy.CanChangeRoomDescription),
			CanAdd: e.mayAdd(v), CanLeave: !fixed && can(policy.CanRemoveSelf),
		}
		e.ruleDetails(v, &d)
		return e.linkDetails(r, v, &d)
	})
	return d, err
}
