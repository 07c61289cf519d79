package policy

import (
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// Participant is an entry of the participant list: a user, or the hub itself, and its role.
//
// draft-ietf-mimi-protocol-06, Section 7.5: UserRolePair.
type Participant struct {
	User      string // a user's URI; for the hub the URI of its provider
	RoleIndex uint32
}

func readParticipant(s *cryptobyte.String, p *Participant) bool {
	return readText(s, &p.User) && p.User != "" && s.ReadUint32(&p.RoleIndex)
}

func addParticipant(b *cryptobyte.Builder, p Participant) {
	if p.User == "" {
		b.SetError(errors.New("policy: participant without a user"))
		return
	}
	addText(b, p.User)
	b.AddUint32(p.RoleIndex)
}

// Participants is the participant list.
//
// draft-ietf-mimi-protocol-06, Section 7.5
type Participants []Participant

// UnmarshalParticipants decodes the data of ParticipantList.
func UnmarshalParticipants(data []byte) (p Participants, err error) {
	err = decode(data, "participant list", func(s *cryptobyte.String) bool {
		return readList(s, (*[]Participant)(&p), readParticipant)
	})
	return p, err
}

// Bytes encodes the list.
func (p Participants) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) { addList(b, p, addParticipant) })
}

// Find returns the index of a user's entry, -1 without one.
func (p Participants) Find(user string) int {
	return slices.IndexFunc(p, func(e Participant) bool { return e.User == user })
}

// UserIndexRole gives the user at an index another role.
//
// draft-ietf-mimi-protocol-06, Section 7.5: UserindexRolePair.
type UserIndexRole struct {
	UserIndex uint32
	RoleIndex uint32
}

// ParticipantsUpdate is an update of the participant list. Indices refer to the list at the start of the epoch.
//
// draft-ietf-mimi-protocol-06, Section 7.5
type ParticipantsUpdate struct {
	ChangedRoleParticipants []UserIndexRole
	RemovedIndices          []uint32
	AddedParticipants       []Participant
}

func readUserIndexRole(s *cryptobyte.String, c *UserIndexRole) bool {
	return s.ReadUint32(&c.UserIndex) && s.ReadUint32(&c.RoleIndex)
}

// UnmarshalParticipantsUpdate decodes an update of ParticipantList.
func UnmarshalParticipantsUpdate(data []byte) (u ParticipantsUpdate, err error) {
	err = decode(data, "participant list update", func(s *cryptobyte.String) bool {
		return readList(s, &u.ChangedRoleParticipants, readUserIndexRole) &&
			readList(s, &u.RemovedIndices, readUint32) &&
			readList(s, &u.AddedParticipants, readParticipant)
	})
	return u, err
}

// Bytes encodes the update.
func (u ParticipantsUpdate) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addList(b, u.ChangedRoleParticipants, func(b *cryptobyte.Builder, c UserIndexRole) {
			b.AddUint32(c.UserIndex)
			b.AddUint32(c.RoleIndex)
		})
		addList(b, u.RemovedIndices, addUint32)
		addList(b, u.AddedParticipants, addParticipant)
	})
}

// Apply applies the updates of one commit. It does not ask who may do what.
//
// draft-ietf-mimi-protocol-06, Section 7.5: role changes, then removals, then additions; nobody is touched twice.
// The draft leaves open what indices mean when several updates meet: here all refer to p.
func (p Participants) Apply(updates ...ParticipantsUpdate) (Participants, error) {
	roles := make([]uint32, len(p)) // new role of each entry
	touched := make([]bool, len(p))
	removed := make([]bool, len(p))
	for i := range p {
		roles[i] = p[i].RoleIndex
	}
	touch := func(i uint32) error {
		if uint64(i) >= uint64(len(p)) {
			return errors.New("policy: no participant at this index")
		}
		if touched[i] {
			return errors.New("policy: participant touched twice")
		}
		touched[i] = true
		return nil
	}
	var added []Participant
	for _, u := range updates {
		for _, c := range u.ChangedRoleParticipants {
			if err := touch(c.UserIndex); err != nil {
				return nil, err
			}
			roles[c.UserIndex] = c.RoleIndex
		}
		for _, i := range u.RemovedIndices {
			if err := touch(i); err != nil {
				return nil, err
			}
			removed[i] = true
		}
		added = append(added, u.AddedParticipants...)
	}
	out := make(Participants, 0, len(p)+len(added))
	for i := range p {
		if !removed[i] {
			out = append(out, Participant{User: p[i].User, RoleIndex: roles[i]})
		}
	}
	out = append(out, added...)
	if err := out.validate(); err != nil {
		return nil, err
	}
	// removed and added again in one commit is touched twice, too
	again := make(map[string]bool, len(added))
	for _, a := range added {
		again[a.User] = true
	}
	for _, e := range p {
		if again[e.User] {
			return nil, errors.New("policy: added participant is already listed")
		}
	}
	return out, nil
}

// validate applies the rules a list has by itself: one entry per user, nobody in the role of the unlisted.
//
// draft-ietf-mimi-protocol-06, Section 7.5
func (p Participants) validate() error {
	seen := make(map[string]bool, len(p))
	for _, e := range p {
		if e.RoleIndex == RoleNone {
			return errors.New("policy: participant listed with role 0")
		}
		if seen[e.User] {
			return errors.New("policy: participant listed twice")
		}
		seen[e.User] = true
	}
	return nil
}

// has tells whether there is somebody at every index of u.
func (p Participants) has(u ParticipantsUpdate) bool {
	for _, c := range u.ChangedRoleParticipants {
		if uint64(c.UserIndex) >= uint64(len(p)) {
			return false
		}
	}
	for _, i := range u.RemovedIndices {
		if uint64(i) >= uint64(len(p)) {
			return false
		}
	}
	return true
}

// changes lists what u does to p, in terms of users. All indices must exist.
func (p Participants) changes(u ParticipantsUpdate) []listChange {
	var out []listChange
	for _, c := range u.ChangedRoleParticipants {
		e := p[c.UserIndex]
		out = append(out, listChange{user: e.User, from: e.RoleIndex, to: c.RoleIndex})
	}
	for _, i := range u.RemovedIndices {
		out = append(out, listChange{user: p[i].User, from: p[i].RoleIndex, to: RoleNone})
	}
	for _, a := range u.AddedParticipants {
		out = append(out, listChange{user: a.User, from: RoleNone, to: a.RoleIndex})
	}
	return out
}

// listChange is one user's step from a role to another; role 0 is being unlisted.
type listChange struct {
	by, user string
	from, to uint32
}

func updateParticipants(old []byte, updates [][]byte) ([]byte, error) {
	var list Participants
	if old != nil {
		var err error
		if list, err = UnmarshalParticipants(old); err != nil {
			return nil, err
		}
	}
	decoded := make([]ParticipantsUpdate, len(updates))
	for i, raw := range updates {
		u, err := UnmarshalParticipantsUpdate(raw)
		if err != nil {
			return nil, err
		}
		decoded[i] = u
	}
	next, err := list.Apply(decoded...)
	if err != nil {
		return nil, err
	}
	return next.Bytes()
}
