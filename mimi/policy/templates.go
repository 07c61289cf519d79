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

// Template is a ready choice of roles and base policy for a new room.
type Template uint8

// The templates.
const (
	// Family is for friends and families: members talk and bring in others, moderators also remove and ban, admins
	// also decide who is what and how the room works.
	Family Template = iota
	// Moderated is for meetings: attendees listen until a moderator gives them the word.
	Moderated
	// Announcement is for news: moderators and admins write, everybody else reads.
	Announcement
	// Firm is for work across organisations: each organisation has its users and its admins, who bring in their own
	// people only; guests of other organisations are brought in by the admins of the room.
	Firm
	// Direct is a conversation of fixed membership among equals.
	Direct
)

// RoleSpeaker is who has the word in a Moderated room.
const RoleSpeaker uint32 = 6

// firstOrganisation is the role index of the users of the first organisation in a Firm; that of its admins follows.
const firstOrganisation uint32 = 16

// OrganisationRoles returns the role indices of users and admins of the organisation with a position in the list that
// a Firm was made with.
func OrganisationRoles(position int) (user, admin uint32) {
	user = firstOrganisation + 2*uint32(position)
	return user, user + 1
}

// Roles makes the roles of the template. Organisations are the URIs of the providers that a Firm is made for.
func (t Template) Roles(organisations ...string) Roles {
	switch t {
	case Moderated:
		return moderatedRoles()
	case Announcement:
		return announcementRoles()
	case Firm:
		return firmRoles(organisations)
	case Direct:
		return DirectRoles()
	}
	return DefaultRoles()
}

// Base makes the base policy of the template.
func (t Template) Base() BasePolicy {
	switch t {
	case Direct:
		return DirectBase()
	case Firm:
		base := DefaultBase()
		base.PolicyComponentIDs = slices.Insert(base.PolicyComponentIDs, 1, PreauthList)
		return base
	}
	return DefaultBase()
}

// Preauth makes the preauthorizations of the template, nil if it has none. In a Firm an organisation's provider stands
// for its users: those of the first, which hosts the room, may join by themselves. For the others the entry tells
// which role is theirs, but their admins have to bring them in.
//
// draft-ietf-mimi-room-policy-03, Appendix A.4
func (t Template) Preauth(organisations ...string) PreAuth {
	if t != Firm {
		return nil
	}
	roles := firmRoles(organisations)
	list := make(PreAuth, len(organisations))
	for i, provider := range organisations {
		user, _ := OrganisationRoles(i)
		list[i] = PreAuthRoleEntry{Claimset: []PreAuthClaim{URIClaim(provider)}, TargetRole: *roles.Get(user)}
	}
	return list
}

// noRole is what holds for whoever is not listed: a join link lets them in with one of the given roles.
func noRole(entry ...uint32) Role {
	role := silent(RoleNone, "no_role", "", CanUseJoinCode)
	role.AuthorizedRoleChanges = []RoleChanges{changes(RoleNone, entry...)}
	return role
}

// moderation is what moderators may do to others, besides what they may do as participants.
func moderation() []Capability {
	return []Capability{CanAddParticipant, CanRemoveParticipant, CanBan, CanUnBan, CanKick, CanDeleteOtherMessage,
		CanDeleteOtherReaction, CanEditOtherTopic, CanChangeRoomSubject, CanChangeRoomDescription}
}

// administration is what admins may do to the room.
func administration() []Capability {
	return []Capability{CanChangeUserRole, CanChangeRoomName, CanChangeRoomAvatar, CanChangeRoomMood,
		CanChangeRoomMembershipStyle, CanChangeRoleDefinitions, CanChangePreauthorizedUserList,
		CanChangeOtherPolicyAttribute, CanDestroyRoom, CanCreateJoinCode, CanDeleteJoinCode}
}

// listening is what everybody may do who takes part without writing. Reactions are messages, too.
//
// draft-ietf-mimi-room-policy-03, Appendix A.3
func listening() []Capability {
	return []Capability{
		CanAddOwnClient, CanRemoveOwnClient, CanRemoveSelf, CanReceiveMessage, CanCopyMessage, CanReportAbuse,
		CanDownloadImage, CanDownloadAudio, CanDownloadVideo, CanDownloadAttachment, CanFollowLink, CanCopyLink,
	}
}

// enforced are the changes of role that the hub may make: it takes off the list and bans, from every role.
func enforced(roles ...uint32) []RoleChanges {
	list := []RoleChanges{changes(RoleNone, RoleBanned), changes(RoleBanned, RoleNone)}
	for _, role := range roles {
		list = append(list, changes(role, RoleNone, RoleBanned))
	}
	return list
}

// among are the changes of role that put everybody in one of the given roles, off the list or under a ban, from any
// of these.
func among(roles ...uint32) []RoleChanges {
	all := append([]uint32{RoleNone, RoleBanned}, roles...)
	var list []RoleChanges
	for _, from := range all {
		to := slices.DeleteFunc(slices.Clone(all), func(r uint32) bool { return r == from })
		list = append(list, changes(from, to...))
	}
	return list
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
	moderator := with(member, moderation()...)
	return Roles{
		noRole(RoleMember),
		silent(RoleBanned, bannedName, ""),
		{RoleIndex: RoleMember, RoleName: "member", RoleCapabilities: member,
			AuthorizedRoleChanges: []RoleChanges{changes(RoleNone, RoleMember), changes(RoleMember, RoleNone)}},
		{RoleIndex: RoleModerator, RoleName: "moderator", RoleCapabilities: moderator,
			AuthorizedRoleChanges: []RoleChanges{
				changes(RoleNone, RoleBanned, RoleMember), changes(RoleBanned, RoleNone, RoleMember),
				changes(RoleMember, RoleNone, RoleBanned), changes(RoleModerator, RoleNone),
			}},
		{RoleIndex: RoleAdmin, RoleName: "admin", RoleCapabilities: with(moderator, administration()...),
			AuthorizedRoleChanges: []RoleChanges{
				changes(RoleNone, RoleBanned, RoleMember, RoleModerator, RoleAdmin),
				changes(RoleBanned, RoleNone, RoleMember),
				changes(RoleMember, RoleNone, RoleBanned, RoleModerator, RoleAdmin),
				changes(RoleModerator, RoleNone, RoleBanned, RoleMember, RoleAdmin),
				changes(RoleAdmin, RoleNone, RoleBanned, RoleMember, RoleModerator),
			}},
		policyEnforcer(enforced(RoleMember, RoleModerator, RoleAdmin)...),
	}
}

// moderatedRoles: moderators bring in attendees, and give and take the word.
//
// draft-ietf-mimi-room-policy-03, Appendix A.3
func moderatedRoles() Roles {
	speaker := with(talking(), listening()...)
	moderator := with(speaker, append(moderation(), CanChangeUserRole)...)
	return Roles{
		noRole(RoleMember),
		silent(RoleBanned, bannedName, ""),
		{RoleIndex: RoleMember, RoleName: "attendee", RoleDescription: "listens", RoleCapabilities: with(listening()),
			AuthorizedRoleChanges: []RoleChanges{changes(RoleMember, RoleNone)}},
		{RoleIndex: RoleModerator, RoleName: "moderator", RoleCapabilities: moderator,
			AuthorizedRoleChanges: append(among(RoleMember, RoleSpeaker), changes(RoleModerator, RoleNone))},
		{RoleIndex: RoleAdmin, RoleName: "admin", RoleCapabilities: with(moderator, administration()...),
			AuthorizedRoleChanges: among(RoleMember, RoleSpeaker, RoleModerator, RoleAdmin)},
		policyEnforcer(enforced(RoleMember, RoleModerator, RoleAdmin, RoleSpeaker)...),
		{RoleIndex: RoleSpeaker, RoleName: "speaker", RoleDescription: "has the word", RoleCapabilities: speaker,
			AuthorizedRoleChanges: []RoleChanges{changes(RoleSpeaker, RoleNone)}},
	}
}

// announcementRoles: few write, many read.
func announcementRoles() Roles {
	moderator := with(with(talking(), listening()...), moderation()...)
	return Roles{
		noRole(RoleMember),
		silent(RoleBanned, bannedName, ""),
		{RoleIndex: RoleMember, RoleName: "reader", RoleCapabilities: with(listening()),
			AuthorizedRoleChanges: []RoleChanges{changes(RoleMember, RoleNone)}},
		{RoleIndex: RoleModerator, RoleName: "moderator", RoleCapabilities: moderator,
			AuthorizedRoleChanges: append(among(RoleMember), changes(RoleModerator, RoleNone))},
		{RoleIndex: RoleAdmin, RoleName: "admin", RoleCapabilities: with(moderator, administration()...),
			AuthorizedRoleChanges: among(RoleMember, RoleModerator, RoleAdmin)},
		policyEnforcer(enforced(RoleMember, RoleModerator, RoleAdmin)...),
	}
}

// firmRoles: a pair of roles for each organisation. An organisation's admin moves people between its own two roles and
// off the list, and bans its own users, but lifts no ban. The room's admins do everything.
//
// draft-ietf-mimi-room-policy-03, Appendix A.4
func firmRoles(organisations []string) Roles {
	worker := with(talking(), CanAddOwnClient, CanRemoveOwnClient, CanRemoveSelf)
	manager := with(worker, CanAddParticipant, CanRemoveParticipant, CanBan, CanKick, CanChangeUserRole)
	admin := with(with(worker, moderation()...), administration()...)
	everybody := []uint32{RoleMember, RoleAdmin}
	var pairs Roles
	for i, provider := range organisations {
		user, head := OrganisationRoles(i)
		everybody = append(everybody, user, head)
		caps := worker
		if i == 0 {
			caps = with(worker, CanJoinIfPreauthorized, CanChangeOwnRole)
		}
		pairs = append(pairs,
			Role{RoleIndex: user, RoleName: "user", RoleDescription: provider, RoleCapabilities: caps,
				AuthorizedRoleChanges: []RoleChanges{changes(user, RoleNone)}},
			Role{RoleIndex: head, RoleName: "organisation_admin", RoleDescription: provider, RoleCapabilities: manager,
				AuthorizedRoleChanges: []RoleChanges{changes(RoleNone, user, head), changes(user, RoleNone, RoleBanned, head),
					changes(head, RoleNone, RoleBanned, user)}})
	}
	return append(Roles{
		noRole(RoleMember),
		silent(RoleBanned, bannedName, ""),
		{RoleIndex: RoleMember, RoleName: "guest", RoleCapabilities: worker,
			AuthorizedRoleChanges: []RoleChanges{changes(RoleMember, RoleNone)}},
		{RoleIndex: RoleAdmin, RoleName: "admin", RoleCapabilities: admin, AuthorizedRoleChanges: among(everybody...)},
		policyEnforcer(enforced(everybody...)...),
	}, pairs...)
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

// policyEnforcer is the hub's role: it removes and bans on behalf of its operator, revokes join links that are used
// up, but brings in nobody.
//
// draft-ietf-mimi-room-policy-03, Appendix A
func policyEnforcer(allowed ...RoleChanges) Role {
	role := silent(RolePolicyEnforcer, "policy_enforcer", "", CanRemoveParticipant, CanBan, CanUnBan, CanKick,
		CanChangeUserRole, CanDestroyRoom, CanDeleteJoinCode, CanSendMLSReinitProposal, CanChangeMLSOperationalPolicies)
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
