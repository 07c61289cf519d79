package policy

import "slices"

var (
	zero = uint32(0)
	one  = uint32(1)
)

// group is a set of capabilities that templates give together.
type group uint16

const (
	listen     group = 1 << iota // takes part without writing; reactions are messages, too
	talk                         // writes
	invite                       // brings in others
	moderate                     // what moderators may do to others
	administer                   // what admins may do to the room
	voice                        // gives and takes the word
	manage                       // brings in and removes the people of one organisation
	claim                        // takes the role that a credential claims
)

// groups are the capabilities of each group. The first two are what everybody has in a conversation.
//
// draft-ietf-mimi-room-policy-03, Appendix A
var groups = [...][]Capability{
	{CanAddOwnClient, CanRemoveOwnClient, CanRemoveSelf, CanReceiveMessage, CanCopyMessage, CanReportAbuse,
		CanDownloadImage, CanDownloadAudio, CanDownloadVideo, CanDownloadAttachment, CanFollowLink, CanCopyLink},
	{CanSendMessage, CanReplyToMessage, CanReactToMessage, CanEditReaction, CanDeleteOwnReaction, CanEditOwnMessage,
		CanDeleteOwnMessage, CanStartTopic, CanReplyInTopic, CanEditOwnTopic, CanUploadImage, CanUploadAudio,
		CanUploadVideo, CanUploadAttachment, CanSendLink, CanSendLinkPreview},
	{CanAddParticipant},
	{CanAddParticipant, CanRemoveParticipant, CanBan, CanUnBan, CanKick, CanDeleteOtherMessage,
		CanDeleteOtherReaction, CanEditOtherTopic, CanChangeRoomSubject, CanChangeRoomDescription},
	{CanChangeUserRole, CanChangeRoomName, CanChangeRoomAvatar, CanChangeRoomMood, CanChangeRoomMembershipStyle,
		CanChangeRoleDefinitions, CanChangePreauthorizedUserList, CanChangeOtherPolicyAttribute, CanDestroyRoom,
		CanCreateJoinCode, CanDeleteJoinCode},
	{CanChangeUserRole},
	{CanAddParticipant, CanRemoveParticipant, CanBan, CanKick, CanChangeUserRole},
	{CanJoinIfPreauthorized, CanChangeOwnRole},
}

// capabilities lists what groups allow, in order.
func (g group) capabilities() []Capability {
	var out []Capability
	for i, list := range groups {
		if g&(1<<i) != 0 {
			out = append(out, list...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// row describes a role of a template. Templates are tables, not code, since every browser loads them.
type row struct {
	index             uint32
	name, description string
	may               group
	// moves are pairs of roles, from and to: a digit is an index, u and h are the user and the head of the
	// organisation that the row belongs to. A star stands for every change among the roles that have clients, the
	// ban and no role.
	moves string
}

// tables has the rows of each template but Direct, in order of their index.
//
// draft-ietf-mimi-protocol-06, Figure 9 has the six roles; draft-ietf-mimi-room-policy-03, Appendix A, the others.
var tables = [...][]row{
	Family: {
		{RoleMember, "member", "", listen | talk | invite, "0220"},
		{RoleModerator, "moderator", "", listen | talk | moderate, "01021012202130"},
		{RoleAdmin, "admin", "", listen | talk | moderate | administer, "010203041012202123243031323440414243"},
	},
	Moderated: {
		{RoleMember, "attendee", "listens", listen, "20"},
		{RoleModerator, "moderator", "", listen | talk | moderate | voice, "01020610121620212630606162"},
		{RoleAdmin, "admin", "", listen | talk | moderate | administer, "*"},
		{RoleSpeaker, "speaker", "has the word", listen | talk, "60"},
	},
	Announcement: {
		{RoleMember, "reader", "", listen, "20"},
		{RoleModerator, "moderator", "", listen | talk | moderate, "01021012202130"},
		{RoleAdmin, "admin", "", listen | talk | moderate | administer, "*"},
	},
	Firm: {
		{RoleMember, "guest", "", listen | talk, "20"},
		{RoleAdmin, "admin", "", listen | talk | moderate | administer, "*"},
	},
}

// organisationRows are the roles of each organisation in a Firm. Its admins move people between its two roles and off
// the list, and ban its users, but lift no ban.
//
// draft-ietf-mimi-room-policy-03, Appendix A.4
var organisationRows = [...]row{
	{0, "user", "", listen | talk, "u0"},
	{0, "organisation_admin", "", listen | talk | manage, "0u0hu0u1uhh0h1hu"},
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

// Roles makes the roles of the template. Organisations are the URIs of the providers that a Firm is made for. No role
// but the hub's has a minimum of participants, so that nobody is ever kept from leaving; a room without an admin goes
// on with the rights it has given.
func (t Template) Roles(organisations ...string) Roles {
	if int(t) >= len(tables) {
		return DirectRoles()
	}
	rows := slices.Clone(tables[t])
	if t != Firm {
		organisations = nil
	}
	for i, provider := range organisations {
		for n, r := range organisationRows {
			r.index, r.description = firstOrganisation+2*uint32(i)+uint32(n), provider
			if i == 0 && n == 0 {
				r.may |= claim // the host's own come in by themselves
			}
			rows = append(rows, r)
		}
	}
	all := []uint32{RoleNone, RoleBanned}
	for _, r := range rows {
		all = append(all, r.index)
	}
	out := Roles{
		{RoleIndex: RoleNone, RoleName: "no_role", RoleCapabilities: []Capability{CanUseJoinCode}, MaximumActive: &zero,
			AuthorizedRoleChanges: []RoleChanges{{RoleNone, []uint32{RoleMember}}}},
		{RoleIndex: RoleBanned, RoleName: bannedName, MaximumActive: &zero},
	}
	hub := policyEnforcer(all)
	for _, r := range rows {
		if r.index > RolePolicyEnforcer && hub.RoleIndex != RoleNone {
			out, hub = append(out, hub), Role{}
		}
		out = append(out, Role{RoleIndex: r.index, RoleName: r.name, RoleDescription: r.description,
			RoleCapabilities: r.may.capabilities(), AuthorizedRoleChanges: r.changes(all)})
	}
	if hub.RoleIndex != RoleNone {
		out = append(out, hub)
	}
	return out
}

// changes reads the moves of a row.
func (r *row) changes(all []uint32) []RoleChanges {
	var list []RoleChanges
	add := func(from, to uint32) {
		if n := len(list); n == 0 || list[n-1].FromRoleIndex != from {
			list = append(list, RoleChanges{FromRoleIndex: from})
		}
		last := &list[len(list)-1]
		last.TargetRoleIndexes = append(last.TargetRoleIndexes, to)
	}
	if r.moves == "*" {
		for _, from := range all {
			for _, to := range all {
				if to != from {
					add(from, to)
				}
			}
		}
		return list
	}
	for i := 0; i+1 < len(r.moves); i += 2 {
		add(r.role(r.moves[i]), r.role(r.moves[i+1]))
	}
	return list
}

// role reads a letter of moves.
func (r *row) role(c byte) uint32 {
	user := firstOrganisation + (r.index-firstOrganisation)&^1
	switch c {
	case 'u':
		return user
	case 'h':
		return user + 1
	}
	return uint32(c - '0')
}

// Base makes the base policy of the template.
func (t Template) Base() BasePolicy {
	base := BasePolicy{FixedMembership: t == Direct, MultiDevice: true,
		PolicyComponentIDs: []uint16{RolesList, StatusNotificationPolicy, AssetPolicy, MessageExpiration}}
	if t == Firm {
		base.PolicyComponentIDs = append(base.PolicyComponentIDs, PreauthList)
		slices.Sort(base.PolicyComponentIDs)
	}
	return base
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
	roles := t.Roles(organisations...)
	var list PreAuth
	for i, provider := range organisations {
		user, _ := OrganisationRoles(i)
		list = append(list, PreAuthRoleEntry{Claimset: []PreAuthClaim{URIClaim(provider)}, TargetRole: *roles.Get(user)})
	}
	return list
}

// DefaultRoles are the roles of the template Family.
func DefaultRoles() Roles { return Family.Roles() }

// DirectRoles are the roles of a room of fixed membership: equal members who may add and detach their own devices and
// nothing else.
//
// draft-ietf-mimi-room-policy-03, Section 5
func DirectRoles() Roles {
	caps := (listen | talk).capabilities()
	return Roles{
		{RoleIndex: RoleNone, RoleName: "no_role", MaximumActive: &zero},
		{RoleIndex: RoleMember, RoleName: "member", RoleCapabilities: slices.DeleteFunc(caps, func(c Capability) bool { return c == CanRemoveSelf })},
		policyEnforcer(nil),
	}
}

// policyEnforcer is the hub's role: it removes and bans on behalf of its operator, from every role, and revokes join
// links that are used up, but brings in nobody.
//
// draft-ietf-mimi-room-policy-03, Appendix A
func policyEnforcer(all []uint32) Role {
	role := Role{RoleIndex: RolePolicyEnforcer, RoleName: "policy_enforcer", MinimumParticipants: 1, MaximumParticipants: &one,
		MaximumActive: &zero,
		RoleCapabilities: []Capability{CanRemoveParticipant, CanDeleteJoinCode, CanBan, CanUnBan, CanKick, CanChangeUserRole,
			CanDestroyRoom, CanChangeMLSOperationalPolicies, CanSendMLSReinitProposal}}
	for _, from := range all {
		to := []uint32{RoleNone, RoleBanned}
		if from <= RoleBanned {
			to = []uint32{RoleBanned - from}
		}
		role.AuthorizedRoleChanges = append(role.AuthorizedRoleChanges, RoleChanges{from, to})
	}
	return role
}

// DefaultBase is the base policy of the template Family.
func DefaultBase() BasePolicy { return Family.Base() }

// DirectBase is the base policy of a room of fixed membership.
func DirectBase() BasePolicy { return Direct.Base() }
