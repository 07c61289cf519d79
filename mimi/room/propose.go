package room

import (
	"errors"
	"slices"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
)

// AddUser proposes to list a user as member and to add the given clients of his. A user who is listed already (in a
// room of fixed membership everybody is) only gets the clients.
//
// draft-ietf-mimi-protocol-06, Section 5.3: the list entry is committed before or with the clients.
func AddUser(v *View, user mimi.UserID, packages []*mls.KeyPackage) ([]mls.Proposal, error) {
	return AddUserAs(v, user, policy.RoleMember, packages)
}

// AddUserAs is AddUser with a role of choice; see EntryRole for what suits.
func AddUserAs(v *View, user mimi.UserID, role uint32, packages []*mls.KeyPackage) ([]mls.Proposal, error) {
	var out []mls.Proposal
	if !v.state.IsListed(user.String()) {
		u := policy.ParticipantsUpdate{AddedParticipants: []policy.Participant{{User: user.String(), RoleIndex: role}}}
		p, err := participantsProposal(u)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	adds, err := addClients(v, user, packages)
	return append(out, adds...), err
}

// EntryRole is the role in which a user is best listed by another: that which the room foresees for users of his
// provider, else the plain member's, else the first that the other may give. It is false if there is none.
//
// draft-ietf-mimi-room-policy-03, Sections 4 and 8.1.1
func EntryRole(v *View, by, user mimi.UserID) (uint32, bool) {
	role, ok := v.Role(by)
	if !ok {
		return 0, false
	}
	foreseen := v.state.Preauth.Role([]policy.PreAuthClaim{
		policy.URIClaim(user.String()), policy.URIClaim(user.Provider().String()),
	})
	for _, index := range []uint32{foreseen, policy.RoleMember} {
		if index != policy.RoleNone && role.MayChange(policy.RoleNone, index) {
			return index, true
		}
	}
	for i := range v.state.Roles {
		r := &v.state.Roles[i]
		if r.MayBeActive() && role.MayChange(policy.RoleNone, r.RoleIndex) {
			return r.RoleIndex, true
		}
	}
	return 0, false
}

// AddOwnClients proposes to add further clients of a user who is a member.
func AddOwnClients(v *View, user mimi.UserID, packages []*mls.KeyPackage) ([]mls.Proposal, error) {
	return addClients(v, user, packages)
}

func addClients(v *View, user mimi.UserID, packages []*mls.KeyPackage) ([]mls.Proposal, error) {
	var out []mls.Proposal
	for _, kp := range packages {
		id, err := identify(kp.LeafNode.Credential)
		if err != nil {
			return nil, err
		}
		if id.user != user || user.IsZero() {
			return nil, errors.New("room: KeyPackage of another user")
		}
		if _, ok := v.Client(id.client); ok {
			continue
		}
		out = append(out, mls.AddProposal(kp))
	}
	return out, nil
}

// RemoveUser proposes to take a user off the list with all clients.
//
// draft-ietf-mimi-protocol-06, Section 5.3
func RemoveUser(v *View, user mimi.UserID) ([]mls.Proposal, error) {
	i := v.state.Participants.Find(user.String())
	if i < 0 {
		return nil, errors.New("room: user is not listed")
	}
	p, err := participantsProposal(policy.ParticipantsUpdate{RemovedIndices: []uint32{uint32(i)}})
	if err != nil {
		return nil, err
	}
	out := []mls.Proposal{p}
	for _, m := range v.Devices(user) {
		out = append(out, mls.RemoveProposal(m.Leaf))
	}
	return out, nil
}

// ChangeRole proposes another role for a user. With the banned role, all of the user's clients are removed.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.3
func ChangeRole(v *View, user mimi.UserID, role uint32) ([]mls.Proposal, error) {
	i := v.state.Participants.Find(user.String())
	if i < 0 {
		return nil, errors.New("room: user is not listed")
	}
	u := policy.ParticipantsUpdate{ChangedRoleParticipants: []policy.UserIndexRole{{UserIndex: uint32(i), RoleIndex: role}}}
	p, err := participantsProposal(u)
	if err != nil {
		return nil, err
	}
	out := []mls.Proposal{p}
	if !v.state.Roles.Get(role).MayBeActive() {
		for _, m := range v.Devices(user) {
			out = append(out, mls.RemoveProposal(m.Leaf))
		}
	}
	return out, nil
}

// RemoveClient proposes to remove one client and leave its user listed.
func RemoveClient(v *View, client mimi.ClientID) ([]mls.Proposal, error) {
	m, ok := v.Client(client)
	if !ok {
		return nil, errors.New("room: client is not a member")
	}
	return []mls.Proposal{mls.RemoveProposal(m.Leaf)}, nil
}

// RemoveLostDevice proposes to remove a device of one's own user that is not at hand any more.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.2: canRemoveOwnClient
func RemoveLostDevice(v *View, user mimi.UserID, client mimi.ClientID) ([]mls.Proposal, error) {
	if m, ok := v.Client(client); ok && m.User != user {
		return nil, errors.New("room: device of another user")
	}
	return RemoveClient(v, client)
}

// Leave proposes that a user leaves by the hand of one of its clients: this client by SelfRemove, its siblings and the
// list entry along with it. Where the list does not change the user only takes out its clients. It is for others to
// commit that, so the proposals go out as one bundle; see NewProposalRequest.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.2; draft-ietf-mls-extensions, Section 6.3
func Leave(v *View, client mimi.ClientID) ([]mls.Proposal, error) {
	self, ok := v.Client(client)
	if !ok {
		return nil, errors.New("room: client is not a member")
	}
	list, err := RemoveUser(v, self.User)
	if err != nil {
		return nil, err
	}
	if v.state.Base.FixedMembership {
		list = list[1:]
	}
	out := []mls.Proposal{mls.SelfRemoveProposal()}
	for _, p := range list {
		if p.Type != mls.ProposalRemove || p.Remove != self.Leaf {
			out = append(out, p)
		}
	}
	return out, nil
}

// Kick proposes to take out all clients of a user, who stays listed and may come back.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.2: canKick
func Kick(v *View, user mimi.UserID) ([]mls.Proposal, error) {
	devices := v.Devices(user)
	if len(devices) == 0 {
		return nil, errors.New("room: user has no clients here")
	}
	var out []mls.Proposal
	for _, m := range devices {
		out = append(out, mls.RemoveProposal(m.Leaf))
	}
	return out, nil
}

// Ban proposes that a user is out and stays out, whether listed so far or not.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.3: canBan
func Ban(v *View, user mimi.UserID) ([]mls.Proposal, error) {
	if v.state.IsListed(user.String()) {
		return ChangeRole(v, user, policy.RoleBanned)
	}
	return AddUserAs(v, user, policy.RoleBanned, nil)
}

// Unban proposes to lift a ban. With role 0 the user is taken off the list, with another it is a participant again
// whose clients come by themselves.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.3: canUnban
func Unban(v *View, user mimi.UserID, role uint32) ([]mls.Proposal, error) {
	switch {
	case !v.state.IsBanned(user.String()):
		return nil, errors.New("room: user is not banned")
	case role == policy.RoleNone:
		return RemoveUser(v, user)
	}
	return ChangeRole(v, user, role)
}

// SetMetadata proposes what change makes of the room's metadata.
//
// draft-ietf-mimi-protocol-06, Section 7.6: an update carries the whole metadata.
func SetMetadata(v *View, change func(*policy.Metadata)) ([]mls.Proposal, error) {
	m := v.state.Metadata
	change(&m)
	data, err := m.Bytes()
	if err != nil {
		return nil, err
	}
	return []mls.Proposal{mls.AppDataUpdateProposal(policy.RoomMetadata, data)}, nil
}

// Rename proposes another name for the room.
func Rename(v *View, name string) ([]mls.Proposal, error) {
	return SetMetadata(v, func(m *policy.Metadata) { m.RoomName = name })
}

// Component is the data of a component of package policy.
type Component interface{ Bytes() ([]byte, error) }

// SetPolicy proposes data for a component that an update replaces, such as policy.Expiration for
// policy.MessageExpiration. If the room does not have the component yet, it becomes one that members must support.
//
// draft-ietf-mls-extensions, Section 4.6
func SetPolicy(v *View, id uint16, c Component) ([]mls.Proposal, error) {
	data, err := c.Bytes()
	if err != nil {
		return nil, err
	}
	return setComponent(v, mls.ComponentID(id), data)
}

// setComponent proposes an update of a component, and requires that component where nothing has so far.
func setComponent(v *View, id mls.ComponentID, update []byte) ([]mls.Proposal, error) {
	out := []mls.Proposal{mls.AppDataUpdateProposal(id, update)}
	dict, err := v.context.Extensions.AppData()
	if err != nil {
		return nil, err
	}
	data, _ := dict.Get(mls.ComponentAppComponents)
	list, err := mls.UnmarshalComponentsList(data)
	if err != nil || slices.Contains(list, id) {
		return out, err
	}
	list = append(slices.Clone(list), id)
	slices.Sort(list)
	if data, err = list.Bytes(); err != nil {
		return nil, err
	}
	return append(out, mls.AppDataUpdateProposal(mls.ComponentAppComponents, data)), nil
}

func participantsProposal(u policy.ParticipantsUpdate) (mls.Proposal, error) {
	data, err := u.Bytes()
	if err != nil {
		return mls.Proposal{}, err
	}
	return mls.AppDataUpdateProposal(policy.ParticipantList, data), nil
}
