package policy

import "slices"

var (
	zero = uint32(0)
	one  = uint32(1)
)

// talking is what everybody who takes part in a conversation may do with messages.
//
// draft-ietf-mimi-room-policy-03, Appendix A
func talking() []Capability {
	return []Capability{
		CanSendMessage, CanReceiveMessage, CanCopyMessage, CanReportAbuse, CanReplyToMessage, CanReactToMessage,
		CanEditReaction, CanDeleteOwnReaction, CanEditOwnMessage, CanDeleteOwnMessage, CanStartTopic,
		CanReplyInTopic, CanEditOwnTopic,
		CanUploadImage, CanUploadAudio, CanUploadVideo, CanUploadAttachment,
		CanDownloadImage, CanDownloadAudio, CanDownloadVideo, CanDownloadAttachment,
		CanSendLink, CanSendLinkPreview, CanFollowLink, CanCopyLink,
	}
}

// with returns the sorted union of capabilities.
func with(base []Capability, more ...Capability) []Capability {
	out := slices.Concat(base, more)
	slices.Sort(out)
	return slices.Compact(out)
}

// silent makes a role whose holders have no clients in the group.
func silent(index uint32, name, description string, caps ...Capability) Role {
	return Role{RoleIndex: index, RoleName: name, RoleDescription: description, RoleCapabilities: with(caps), MaximumActive: &zero}
}

func changes(from uint32, to ...uint32) RoleChanges {
	return RoleChanges{FromRoleIndex: from, TargetRoleIndexes: to}
}

// DefaultRoles is the template of a group room: members talk and bring in others, moderators also remove and ban,
// admins also decide who is what and how the room works. The hub enforces; it has no clients.
//
// No role has a minimum of participants, so that nobody is ever kept from leaving; a room without an admin goes on
// with the rights it has given.
//
// draft-ietf-mimi-protocol-06, Figure 9 has the six roles.
func DefaultRoles() Roles {
	member := with(talking(), CanAddParticipant, CanAddOwnClient, CanRemoveOwnClient, CanRemoveSelf)
	moderator := with(member, CanRemoveParticipant, CanBan, CanUnBan, CanKick, CanDeleteOtherMessage,
		CanDeleteOtherReaction, CanEditOtherTopic, CanChangeRoomSubject, CanChangeRoomDescription)
	admin := with(moderator, CanChangeUserRole, CanChangeRoomName, CanChangeRoomAvatar, CanChangeRoomMood,
		CanChangeRoomMembershipStyle, CanChangeRoleDefinitions, CanChangePreauthorizedUserList,
		CanChangeOtherPolicyAttribute, CanDestroyRoom, CanCreateJoinCode, CanDeleteJoinCode)
	return Roles{
		silent(RoleNone, "no_role", ""),
		silent(RoleBanned, bannedName, ""),
		{RoleIndex: RoleMember, RoleName: "member", RoleCapabilities: member,
			AuthorizedRoleChanges: []RoleChanges{changes(RoleNone, RoleMember), changes(RoleMember, RoleNone)}},
		{RoleIndex: RoleModerator, RoleName: "moderator", RoleCapabilities: moderator,
			AuthorizedRoleChanges: []RoleChanges{
				changes(RoleNone, RoleBanned, RoleMember), changes(RoleBanned, RoleNone, RoleMember),
				changes(RoleMember, RoleNone, RoleBanned), changes(RoleModerator, RoleNone),
			}},
		{RoleIndex: RoleAdmin, RoleName: "admin", RoleCapabilities: admin,
			AuthorizedRoleChanges: []RoleChanges{
				changes(RoleNone, RoleBanned, RoleMember, RoleModerator, RoleAdmin),
				changes(RoleBanned, RoleNone, RoleMember),
				changes(RoleMember, RoleNone, RoleBanned, RoleModerator, RoleAdmin),
				changes(RoleModerator, RoleNone, RoleBanned, RoleMember, RoleAdmin),
				changes(RoleAdmin, RoleNone, RoleBanned, RoleMember, RoleModerator),
			}},
		policyEnforcer(
			changes(RoleNone, RoleBanned), changes(RoleBanned, RoleNone), changes(RoleMember, RoleNone, RoleBanned),
			changes(RoleModerator, RoleNone, RoleBanned), changes(RoleAdmin, RoleNone, RoleBanned)),
	}
}

// DirectRoles is the template of a room of fixed membership: equal members who may add and detach their own
// devices and nothing else.
//
// draft-ietf-mimi-room-policy-03, Section 5
func DirectRoles() Roles {
	return Roles{
		silent(RoleNone, "no_role", ""),
		{RoleIndex: RoleMember, RoleName: "member", RoleCapabilities: with(talking(), CanAddOwnClient, CanRemoveOwnClient)},
		policyEnforcer(),
	}
}

// policyEnforcer is the hub's role: it removes and bans on behalf of its operator but brings in nobody.
//
// draft-ietf-mimi-room-policy-03, Appendix A
func policyEnforcer(allowed ...RoleChanges) Role {
	role := silent(RolePolicyEnforcer, "policy_enforcer", "", CanRemoveParticipant, CanBan, CanUnBan, CanKick,
		CanChangeUserRole, CanDestroyRoom, CanSendMLSReinitProposal, CanChangeMLSOperationalPolicies)
	role.MinimumParticipants, role.MaximumParticipants = 1, &one
	role.AuthorizedRoleChanges = allowed
	return role
}

// DefaultBase is the base policy that goes with DefaultRoles.
func DefaultBase() BasePolicy {
	return BasePolicy{MultiDevice: true, PolicyComponentIDs: ourPolicies()}
}

// DirectBase is the base policy that goes with DirectRoles.
func DirectBase() BasePolicy {
	return BasePolicy{FixedMembership: true, MultiDevice: true, PolicyComponentIDs: ourPolicies()}
}

func ourPolicies() []uint16 {
	return []uint16{RolesList, StatusNotificationPolicy, AssetPolicy, MessageExpiration}
}
