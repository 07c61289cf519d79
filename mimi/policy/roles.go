package policy

import (
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// Role indices of our rooms. 0 and 1 have their meaning from the draft, the rest is our template.
//
// draft-ietf-mimi-room-policy-03, Sections 3 and 8.1.3
const (
	RoleNone           uint32 = 0 // whoever is not listed
	RoleBanned         uint32 = 1 // means a ban only if it is named "banned"
	RoleMember         uint32 = 2
	RoleModerator      uint32 = 3
	RoleAdmin          uint32 = 4
	RolePolicyEnforcer uint32 = 5 // the hub
)

const bannedName = "banned"

// maxRoles limits the encoded list of roles, which every decision walks through, in octets.
const maxRoles = 32 << 10

// RoleChanges lists the roles reachable from one role.
//
// draft-ietf-mimi-room-policy-03, Section 3: SingleSourceRoleChangeTargets.
type RoleChanges struct {
	FromRoleIndex     uint32
	TargetRoleIndexes []uint32
}

func readRoleChanges(s *cryptobyte.String, c *RoleChanges) bool {
	return s.ReadUint32(&c.FromRoleIndex) && readList(s, &c.TargetRoleIndexes, readUint32)
}

func addRoleChanges(b *cryptobyte.Builder, c RoleChanges) {
	b.AddUint32(c.FromRoleIndex)
	addList(b, c.TargetRoleIndexes, addUint32)
}

// Role is a set of capabilities with limits on how many users hold it.
//
// draft-ietf-mimi-room-policy-03, Section 3. A nil maximum is no limit.
type Role struct {
	RoleIndex             uint32
	RoleName              string
	RoleDescription       string
	RoleCapabilities      []Capability
	MinimumParticipants   uint32
	MaximumParticipants   *uint32
	MinimumActive         uint32
	MaximumActive         *uint32
	AuthorizedRoleChanges []RoleChanges
}

func readRole(s *cryptobyte.String, r *Role) bool {
	return s.ReadUint32(&r.RoleIndex) && readText(s, &r.RoleName) && readText(s, &r.RoleDescription) &&
		syntax.ReadUint16s(s, &r.RoleCapabilities) &&
		s.ReadUint32(&r.MinimumParticipants) && readOptionalUint32(s, &r.MaximumParticipants) &&
		s.ReadUint32(&r.MinimumActive) && readOptionalUint32(s, &r.MaximumActive) &&
		readList(s, &r.AuthorizedRoleChanges, readRoleChanges)
}

func addRole(b *cryptobyte.Builder, r Role) {
	b.AddUint32(r.RoleIndex)
	addText(b, r.RoleName)
	addText(b, r.RoleDescription)
	syntax.AddUint16s(b, r.RoleCapabilities)
	b.AddUint32(r.MinimumParticipants)
	addOptionalUint32(b, r.MaximumParticipants)
	b.AddUint32(r.MinimumActive)
	addOptionalUint32(b, r.MaximumActive)
	addList(b, r.AuthorizedRoleChanges, addRoleChanges)
}

// Can tells whether the role holds a capability. No role holds none.
func (r *Role) Can(c Capability) bool {
	return r != nil && slices.Contains(r.RoleCapabilities, c)
}

// MayChange tells whether a holder of the role may bring others from one role to another.
func (r *Role) MayChange(from, to uint32) bool {
	if r == nil {
		return false
	}
	for _, c := range r.AuthorizedRoleChanges {
		if c.FromRoleIndex == from && slices.Contains(c.TargetRoleIndexes, to) {
			return true
		}
	}
	return false
}

// MayBeActive tells whether users in the role may have clients in the group.
//
// draft-ietf-mimi-room-policy-03, Section 3
func (r *Role) MayBeActive() bool {
	return r != nil && r.RoleIndex != RoleNone && (r.MaximumActive == nil || *r.MaximumActive > 0)
}

// Roles is the list of roles of a room.
//
// draft-ietf-mimi-room-policy-03, Section 3: RoleData.
type Roles []Role

// UnmarshalRoles decodes the data of RolesList; an update has the same form.
func UnmarshalRoles(data []byte) (r Roles, err error) {
	if len(data) > maxRoles {
		return nil, malformed("roles list: too long")
	}
	err = decode(data, "roles list", func(s *cryptobyte.String) bool {
		return readList(s, (*[]Role)(&r), readRole)
	})
	return r, err
}

// Bytes encodes the roles.
func (r Roles) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) { addList(b, r, addRole) })
}

// Get returns the role with an index, nil if there is none.
func (r Roles) Get(index uint32) *Role {
	for i := range r {
		if r[i].RoleIndex == index {
			return &r[i]
		}
	}
	return nil
}

// hasBan tells whether the room knows bans: role 1 exists and bears the prescribed name.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.3
func (r Roles) hasBan() bool {
	role := r.Get(RoleBanned)
	return role != nil && role.RoleName == bannedName
}

// validate applies the rules a list of roles has by itself.
//
// draft-ietf-mimi-room-policy-03, Sections 5 and 8.1.1
func (r Roles) validate(fixed bool) *Refusal {
	seen := make(map[uint32]bool, len(r))
	for i := range r {
		role := &r[i]
		if seen[role.RoleIndex] {
			return refuse("RP-1", "role index used twice")
		}
		seen[role.RoleIndex] = true
		if role.RoleIndex != RoleNone && role.Can(CanOpenJoin) {
			return refuse("RP-5", "canOpenJoin on a role other than 0")
		}
		if fixed && role.RoleIndex > RoleBanned && role.Can(CanAddParticipant) {
			return refuse("RP-7", "canAddParticipant in a room of fixed membership")
		}
	}
	return nil
}
