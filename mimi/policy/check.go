package policy

import (
	"bytes"
	"slices"
)

// Kind is the kind of a proposal, as far as policy cares.
type Kind uint8

// The kinds of proposals.
const (
	AddClient       Kind = iota + 1 // a leaf is added to the group
	RemoveClient                    // a leaf is removed, by Remove or SelfRemove
	UpdateClient                    // a leaf replaces its keys
	SetComponent                    // AppDataUpdate, op update
	RemoveComponent                 // AppDataUpdate, op remove
	SetContext                      // GroupContextExtensions
	ReInit                          // the group is to be replaced
	Other                           // anything else
)

// Proposal is one proposal of a commit.
type Proposal struct {
	Kind Kind
	// By is the URI of whoever proposed it: a user, or the hub's provider.
	By string
	// User is the user of the leaf that is added or removed.
	User string
	// Rejoin marks the removal, in an external commit, of the leaf its client had before.
	Rejoin bool
	// Component and Update are those of an AppDataUpdate.
	Component uint16
	Update    []byte
	// Claims are those of the proposer's credential, for a change of its own entry in the participant list.
	Claims []PreAuthClaim
}

// Change is a commit, or what the commit would be if pending proposals were committed.
type Change struct {
	Before, After *State
	// Committer is the user who commits, empty for proposals that nobody commits yet.
	Committer string
	// External marks the commit of a client that joins by it.
	External bool
	// At is the time of the commit in milliseconds since 1970.
	At        uint64
	Proposals []Proposal
}

// check is a Change with what its proposals amount to.
type check struct {
	*Change
	listChanges []listChange // all, in order of the proposals
	leaving     map[string]bool
	admitted    map[string]string // user → who listed it in this commit
}

// Check says whether everybody who proposed something in c may do so, and whether the outcome is a valid state.
// It returns nil if so. Before is taken to be valid.
//
// draft-ietf-mimi-room-policy-03, Section 8: capabilities apply to proposals whoever commits them.
func Check(c *Change) *Refusal {
	k := &check{Change: c, leaving: make(map[string]bool), admitted: make(map[string]string)}
	steps := []func() *Refusal{
		k.committer, k.collect, k.combinations, k.proposals, k.joinerOnly, k.removalsComplete, c.After.Validate,
		k.unproposed,
	}
	for _, step := range steps {
		if r := step(); r != nil {
			return r
		}
	}
	return nil
}

// committer: only listed users whose role has clients commit. A joiner must be listed, too: this room opens to
// nobody who is not, since joining by one's own act is limited to new devices.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.1
func (k *check) committer() *Refusal {
	if k.Committer == "" {
		return nil
	}
	if k.External {
		if !k.Before.IsListed(k.Committer) {
			return k.openJoin()
		}
		if k.Before.IsBanned(k.Committer) {
			return refuse("GI-9", "banned users do not join")
		}
		if !k.Before.Can(k.Committer, CanAddOwnClient) {
			return refuse("RP-4", "joining with a device needs canAddOwnClient")
		}
		return nil
	}
	if !k.Before.IsListed(k.Committer) || !k.Before.RoleOf(k.Committer).MayBeActive() {
		return refuse("UP-3", "committer is not an active participant")
	}
	return nil
}

// openJoin: an unlisted user joins if there is any ground for it, and lists itself in the same commit.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.1
func (k *check) openJoin() *Refusal {
	if k.Before.Base.FixedMembership {
		return refuse("RP-7", "membership is fixed")
	}
	none := k.Before.Roles.Get(RoleNone)
	if !none.Can(CanOpenJoin) && len(k.Before.Preauth) == 0 && len(k.Before.links) == 0 {
		return refuse("GI-9", "joiner is not listed")
	}
	return nil
}

// joinerOnly: a joiner lists itself if it was not listed, and touches nobody else's entry.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.1
func (k *check) joinerOnly() *Refusal {
	if !k.External {
		return nil
	}
	for _, c := range k.listChanges {
		if c.by == k.Committer && (c.user != k.Committer || c.from != RoleNone) {
			return refuse("GI-7", "joiner changes more than its own entry")
		}
	}
	return nil
}

// collect reads the changes of the participant list.
func (k *check) collect() *Refusal {
	var all []ParticipantsUpdate
	for i := range k.Proposals {
		p := &k.Proposals[i]
		if p.Kind != SetComponent || p.Component != ParticipantList {
			continue
		}
		u, err := UnmarshalParticipantsUpdate(p.Update)
		if err != nil {
			return refuse("PL-2", "malformed participant list update")
		}
		if !k.Before.Participants.has(u) {
			return refuse("PL-2", "no participant at this index")
		}
		all = append(all, u)
		for _, c := range k.Before.Participants.changes(u) {
			c.by = p.By
			k.listChanges = append(k.listChanges, c)
			if c.to == RoleNone || c.to == RoleBanned {
				k.leaving[c.user] = true
			}
			if c.from == RoleNone {
				k.admitted[c.user] = p.By
			}
		}
	}
	if _, err := k.Before.Participants.Apply(all...); err != nil {
		return refuse("PL-3", "participant list updates do not apply")
	}
	return nil
}

// combinations: what must not stand in one commit.
//
// draft-ietf-mimi-room-policy-03, Sections 3 and 4; draft-ietf-mimi-protocol-06, Section 7.6
func (k *check) combinations() *Refusal {
	count := make(map[uint16]int)
	for _, p := range k.Proposals {
		if p.Kind == SetComponent || p.Kind == RemoveComponent {
			count[p.Component]++
		}
		// draft-ietf-mimi-room-policy-03, Section 8.1.1: a joiner changes nothing but its own entry
		if k.External && p.By == k.Committer && p.Kind == SetComponent && p.Component != ParticipantList {
			return refuse("GI-7", "joiner changes more than the participant list")
		}
	}
	if count[RoomMetadata] > 1 {
		return refuse("MD-1", "metadata changed twice in one commit")
	}
	if count[ParticipantList] > 0 && count[RolesList] > 0 {
		return refuse("RP-3", "roles and participants changed in one commit")
	}
	if count[PreauthList] > 0 {
		for _, c := range k.listChanges {
			if c.to != RoleNone {
				return refuse("RP-3", "preauthorizations and participants changed in one commit")
			}
		}
	}
	return nil
}

func (k *check) proposals() *Refusal {
	for i := range k.Proposals {
		if r := k.proposal(&k.Proposals[i]); r != nil {
			return r
		}
	}
	return nil
}

func (k *check) proposal(p *Proposal) *Refusal {
	switch p.Kind {
	case AddClient:
		return k.addClient(p)
	case RemoveClient:
		return k.removeClient(p)
	case UpdateClient:
		return nil // one's own keys; MLS has verified that they are one's own
	case SetComponent:
		return k.setComponent(p)
	case RemoveComponent:
		return refuse("RP-9", "components of a room are not removed")
	case SetContext:
		return k.need(p, CanChangeMLSOperationalPolicies)
	case ReInit:
		return k.need(p, CanSendMLSReinitProposal)
	}
	return refuse("RP-9", "proposals of this type are not used in rooms")
}

func (k *check) need(p *Proposal, c Capability) *Refusal {
	if k.Before.Can(p.By, c) {
		return nil
	}
	return refuse("RP-9", "proposer lacks the capability for this change")
}

// addClient: one's own devices; those of a user one lists in the same commit; in a room of fixed membership those
// of any listed user who has none, since there nobody is ever listed anew.
//
// draft-ietf-mimi-room-policy-03, Sections 5 and 8.1.1
func (k *check) addClient(p *Proposal) *Refusal {
	if !k.After.IsListed(p.User) {
		return refuse("UP-4", "client added of a user who is not listed")
	}
	if p.User == p.By {
		if k.Before.Can(p.By, CanAddOwnClient) || k.External && k.admitted[p.User] == p.By {
			return nil
		}
		return refuse("RP-4", "adding a device needs canAddOwnClient")
	}
	if k.admitted[p.User] == p.By {
		return nil // that listing was allowed is checked where it stands
	}
	if k.Before.Base.FixedMembership && k.Before.Clients[p.User] == 0 && k.Before.Can(p.By, CanAddOwnClient) {
		return nil
	}
	return refuse("RP-4", "users who are listed bring in their devices themselves")
}

// removeClient: as part of a removal or ban, one's own, the former self of a rejoining client, or a kick.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.2
func (k *check) removeClient(p *Proposal) *Refusal {
	switch {
	case k.leaving[p.User]:
		return nil // that leaving was allowed is checked where it stands
	case p.Rejoin && p.User == p.By:
		return nil
	case p.User == p.By && k.Before.Can(p.By, CanRemoveOwnClient):
		return nil
	case p.User != p.By && k.Before.Can(p.By, CanKick):
		return nil
	}
	return refuse("RP-4", "removing this client needs canRemoveOwnClient or canKick")
}

// setComponent finds the rule for each component.
func (k *check) setComponent(p *Proposal) *Refusal {
	switch p.Component {
	case ParticipantList:
		return k.setParticipants(p)
	case RoomMetadata:
		return k.setMetadata(p)
	case RolesList:
		return k.need(p, CanChangeRoleDefinitions)
	case PreauthList:
		return k.need(p, CanChangePreauthorizedUserList)
	case BaseRoomPolicy:
		return k.setBase(p)
	case StatusNotificationPolicy, LinkPreviewPolicy, AssetPolicy, LoggingPolicy, ChatHistoryPolicy, BotPolicy,
		MessageExpiration:
		return k.setOther(p)
	case JoinLinks:
		return k.setLinks(p)
	case JoinLinkPolicy:
		if k.Before.Can(p.By, CanCreateJoinCode) || k.Before.Can(p.By, CanDeleteJoinCode) {
			return nil
		}
		return refuse("RP-9", "join links need canCreateJoinCode or canDeleteJoinCode")
	case AppComponents:
		if k.growth(p) {
			return nil // that the new components may be set is checked where they stand
		}
		return k.need(p, CanChangeMLSOperationalPolicies)
	case MLSOperationalPolicy, SafeAAD, ContentMediaTypes:
		return k.need(p, CanChangeMLSOperationalPolicies)
	}
	return refuse("RP-9", "component cannot be changed in this room")
}

// setOther: the policies of Section 6 say something that can be followed.
//
// draft-ietf-mimi-room-policy-03, Sections 6 and 8.7
func (k *check) setOther(p *Proposal) *Refusal {
	if r := k.need(p, CanChangeOtherPolicyAttribute); r != nil {
		return r
	}
	if sensible(p.Component, p.Update, k.After.Roles) != nil {
		return refuse("RP-8", "policy contradicts itself or the roles")
	}
	return nil
}

// growth: the list of required components gains those that the same user sets in the same commit, and loses none.
// Without it a room could never take up a policy that it did not have when it was made.
func (k *check) growth(p *Proposal) bool {
	data, _ := k.Before.get(AppComponents)
	before, errBefore := unmarshalIDs(data)
	after, errAfter := unmarshalIDs(p.Update)
	if errBefore != nil || errAfter != nil {
		return false
	}
	for _, id := range before {
		if !slices.Contains(after, id) {
			return false
		}
	}
	for _, id := range after {
		if !slices.Contains(before, id) && !k.sets(p.By, id) {
			return false
		}
	}
	return true
}

func (k *check) sets(by string, id uint16) bool {
	for i := range k.Proposals {
		p := &k.Proposals[i]
		if p.Kind == SetComponent && p.By == by && p.Component == id {
			return true
		}
	}
	return false
}

// setBase: the style of membership is chosen at creation; turning a conversation of two into an open room would
// take from its users what they agreed to.
//
// draft-ietf-mimi-room-policy-03, Section 8.6
func (k *check) setBase(p *Proposal) *Refusal {
	if r := k.need(p, CanChangeRoomMembershipStyle); r != nil {
		return r
	}
	next, err := UnmarshalBasePolicy(p.Update)
	if err != nil {
		return refuse("RP-7", "malformed base policy")
	}
	before := &k.Before.Base
	if next.FixedMembership != before.FixedMembership || next.ParentDependant != before.ParentDependant ||
		!slices.Equal(next.ParentRoom, before.ParentRoom) {
		return refuse("RP-7", "fixed and dependent membership are chosen at creation")
	}
	return nil
}

func (k *check) setMetadata(p *Proposal) *Refusal {
	next, err := UnmarshalMetadata(p.Update)
	if err != nil {
		return refuse("MD-2", "malformed metadata")
	}
	if next.RoomURI != k.Before.Metadata.RoomURI {
		return refuse("MD-1", "room URI changed")
	}
	if next.RoomAvatar != "" && !isHTTPS(next.RoomAvatar) {
		return refuse("MD-2", "avatar is not an https URL")
	}
	for _, c := range k.Before.Metadata.needed(next) {
		if !k.Before.Can(p.By, c) {
			return refuse("MD-1", "proposer may not change this field of the metadata")
		}
	}
	return nil
}

func isHTTPS(url string) bool {
	return len(url) > len("https://") && url[:len("https://")] == "https://"
}

func (k *check) setParticipants(p *Proposal) *Refusal {
	u, err := UnmarshalParticipantsUpdate(p.Update)
	if err != nil {
		return refuse("PL-2", "malformed participant list update")
	}
	for _, c := range k.Before.Participants.changes(u) {
		if r := k.listChange(p, c); r != nil {
			return r
		}
	}
	return nil
}

// listChange authorises one step of one user by the role of who proposes it.
//
// draft-ietf-mimi-room-policy-03, Section 8.1
func (k *check) listChange(p *Proposal, c listChange) *Refusal {
	if k.Before.Base.FixedMembership && (c.from == RoleNone || c.to == RoleNone || c.to == RoleBanned) && !k.cascades(p.By, c) {
		return refuse("RP-7", "membership is fixed")
	}
	if c.user == p.By {
		return k.ownChange(p, c)
	}
	role := k.Before.role[p.By]
	var allowed bool
	switch {
	case c.to == RoleBanned:
		// whoever is not listed can be banned, too
		allowed = k.Before.Roles.hasBan() && role.Can(CanBan)
	case c.from == RoleNone:
		allowed = role.Can(CanAddParticipant)
	case c.to == RoleNone:
		allowed = role.Can(CanRemoveParticipant)
	case c.from == RoleBanned:
		allowed = k.Before.Roles.hasBan() && role.Can(CanUnBan)
	default:
		allowed = role.Can(CanChangeUserRole)
	}
	if !allowed {
		return refuse("RP-4", "proposer lacks the capability to list, remove or change this participant")
	}
	if !role.MayChange(c.from, c.to) {
		return refuse("RP-4", "proposer's role is not authorised for this change of role")
	}
	return nil
}

// cascades: whoever has left the parent room leaves a dependent one, too, fixed or not. The hub sees to that.
//
// draft-ietf-mimi-room-policy-03, Section 5
func (k *check) cascades(by string, c listChange) bool {
	return k.Before.Base.ParentDependant && c.to == RoleNone && k.Before.IsListed(by) && !k.Before.role[by].MayBeActive()
}

// ownChange: one leaves, joins by an external commit, or takes the role one is preauthorized for.
//
// draft-ietf-mimi-room-policy-03, Sections 4 and 8.1.1 to 8.1.3
func (k *check) ownChange(p *Proposal, c listChange) *Refusal {
	role := k.Before.role[p.By]
	switch {
	case c.from == RoleNone:
		if k.External && k.Before.JoinGround(c.to, p.Claims, k.At) != NoGround {
			return nil
		}
		return refuse("RP-5", "nobody lists himself with this role in this room")
	case c.to == RoleNone:
		if role.Can(CanRemoveSelf) && role.MayChange(c.from, RoleNone) {
			return nil
		}
		return refuse("RP-4", "leaving needs canRemoveSelf")
	case c.from != RoleBanned && role.Can(CanChangeOwnRole) && k.Before.Preauth.Role(p.Claims) == c.to:
		return nil
	}
	return refuse("RP-4", "nobody changes his own role without being preauthorized for the new one")
}

// removalsComplete: who is removed or banned keeps no client.
//
// draft-ietf-mimi-protocol-06, Section 5.3
func (k *check) removalsComplete() *Refusal {
	if k.Committer == "" {
		return nil
	}
	for user := range k.leaving {
		if k.After.Clients[user] > 0 {
			return refuse("UP-5", "removed user keeps a client")
		}
	}
	return nil
}

// unproposed guards against a state that the proposals do not explain: the room's own URI never changes, and
// neither does what names the hub's franking key.
func (k *check) unproposed() *Refusal {
	if k.After.Metadata.RoomURI != k.Before.Metadata.RoomURI {
		return refuse("MD-1", "room URI changed")
	}
	before, _ := k.Before.get(FrankingAgent)
	after, _ := k.After.get(FrankingAgent)
	if !bytes.Equal(before, after) {
		return refuse("FR-7", "franking agent changed within a group")
	}
	return nil
}
