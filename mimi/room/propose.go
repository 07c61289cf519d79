package room

import (
	"errors"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
)

// AddUser proposes to list a user as member and to add the given clients of his. A user who is listed already (in a
// room of fixed membership everybody is) only gets the clients.
//
// draft-ietf-mimi-protocol-06, Section 5.3: the list entry is committed before or with the clients.
func AddUser(v *View, user mimi.UserID, packages []*mls.KeyPackage) ([]mls.Proposal, error) {
	var out []mls.Proposal
	if !v.state.IsListed(user.String()) {
		u := policy.ParticipantsUpdate{AddedParticipants: []policy.Participant{{User: user.String(), RoleIndex: policy.RoleMember}}}
		p, err := participantsProposal(u)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	adds, err := addClients(v, user, packages)
	return append(out, adds...), err
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

// Rename proposes another name for the room.
//
// draft-ietf-mimi-protocol-06, Section 7.6: an update carries the whole metadata.
func Rename(v *View, name string) ([]mls.Proposal, error) {
	m := v.state.Metadata
	m.RoomName = name
	data, err := m.Bytes()
	if err != nil {
		return nil, err
	}
	return []mls.Proposal{mls.AppDataUpdateProposal(policy.RoomMetadata, data)}, nil
}

func participantsProposal(u policy.ParticipantsUpdate) (mls.Proposal, error) {
	data, err := u.Bytes()
	if err != nil {
		return mls.Proposal{}, err
	}
	return mls.AppDataUpdateProposal(policy.ParticipantList, data), nil
}
