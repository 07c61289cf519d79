package policy

import "slices"

// Rule is one thing about how a room works that people turn on and off. It is not of the draft: there it is a change of
// the roles, and a rule says which.
//
// draft-ietf-mimi-room-policy-03, Section 3
type Rule uint8

// The rules.
const (
	RuleWrite  Rule = iota // everybody writes, not only those who look after the room
	RuleInvite             // everybody brings in others
	RuleLinks              // whoever has a join link comes in
)

// gift is what a rule gives.
func (r Rule) gift() []Capability {
	switch r {
	case RuleWrite:
		return groups[1]
	case RuleInvite:
		return groups[2]
	}
	return []Capability{CanUseJoinCode}
}

// gives tells whether a rule is about a role: the links' about that of strangers, the others' about those of people who
// look after nobody else. Who has the word in a Moderated room keeps it.
func (r Rule) gives(role *Role) bool {
	if r == RuleLinks {
		return role.RoleIndex == RoleNone
	}
	speaker := r == RuleWrite && role.RoleIndex == RoleSpeaker
	return role.RoleIndex > RoleBanned && role.MayBeActive() && !speaker &&
		!role.Can(CanRemoveParticipant) && !role.Can(CanChangeRoleDefinitions)
}

// Holds tells whether a rule is in force: every role that it is about has what it gives. Other rooms than ours may give
// more or less of that; what counts is the first, by which the rest is of use.
func (r Roles) Holds(rule Rule) bool {
	found := false
	for i := range r {
		if rule.gives(&r[i]) {
			if !r[i].Can(rule.gift()[0]) {
				return false
			}
			found = true
		}
	}
	return found
}

// With are the roles with a rule in force, or without it. r itself stays as it is.
func (r Roles) With(rule Rule, on bool) Roles {
	out := slices.Clone(r)
	for i := range out {
		role := &out[i]
		if !rule.gives(role) {
			continue
		}
		role.RoleCapabilities = slices.DeleteFunc(slices.Clone(role.RoleCapabilities), func(c Capability) bool {
			return slices.Contains(rule.gift(), c)
		})
		if on {
			role.RoleCapabilities = append(role.RoleCapabilities, rule.gift()...)
			slices.Sort(role.RoleCapabilities)
		}
		switch {
		case rule == RuleInvite:
			role.admit(role.RoleIndex, on)
		case rule == RuleLinks && on:
			role.admit(RoleMember, r.Get(RoleMember) != nil)
		}
	}
	return out
}

// admit gives or takes the right to list newcomers in a role. Where it is taken no other is left.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.1
func (role *Role) admit(to uint32, on bool) {
	if on && role.MayChange(RoleNone, to) {
		return
	}
	list := slices.Clone(role.AuthorizedRoleChanges)
	i := slices.IndexFunc(list, func(c RoleChanges) bool { return c.FromRoleIndex == RoleNone })
	switch {
	case on && i < 0:
		list = append([]RoleChanges{{RoleNone, []uint32{to}}}, list...)
	case on:
		list[i].TargetRoleIndexes = append(slices.Clone(list[i].TargetRoleIndexes), to)
	case i >= 0 && role.RoleIndex != RoleNone:
		list = slices.Delete(list, i, i+1)
	}
	role.AuthorizedRoleChanges = list
}
