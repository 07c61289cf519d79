package room

import (
	"errors"
	"slices"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

// maxComponents limits the components of a room; some forty are defined.
const maxComponents = 64

// Member is one client in the room's group.
type Member struct {
	Leaf   mls.LeafIndex
	Client mimi.ClientID
	User   mimi.UserID
}

// User is a participant who is a user, in whatever role.
type User struct {
	ID       mimi.UserID
	Role     uint32
	RoleName string
	Devices  int // clients in the group
}

// View is what one epoch says about its room. It is immutable.
type View struct {
	room     mimi.RoomID
	context  *mls.GroupContext
	state    *policy.State
	members  []Member
	byLeaf   map[mls.LeafIndex]int
	byClient map[mimi.ClientID]int
	senders  []string // what external_senders are called in the participant list
	safeAAD  bool
	agent    *wire.FrankingAgentData // nil: the hub does not frank
	// tolerance is by how many epochs an application message may be late.
	tolerance uint8
	framed    []mls.MediaType // content_media_types
	ids       map[*mls.LeafNode]who
	leaves    map[mls.LeafIndex]*mls.LeafNode
}

// NewView reads the view of a group, from its context and members.
func NewView(ctx *mls.GroupContext, members []mls.Member) (*View, error) {
	return newView(ctx, members, nil)
}

// newView reuses the identities that known has already read from unchanged leaves.
func newView(ctx *mls.GroupContext, members []mls.Member, known map[*mls.LeafNode]who) (*View, error) {
	v := &View{
		context:  ctx,
		members:  make([]Member, 0, len(members)),
		byLeaf:   make(map[mls.LeafIndex]int, len(members)),
		byClient: make(map[mimi.ClientID]int, len(members)),
		ids:      make(map[*mls.LeafNode]who, len(members)),
		leaves:   make(map[mls.LeafIndex]*mls.LeafNode, len(members)),
	}
	users := make([]string, 0, len(members))
	for _, m := range members {
		id, ok := known[m.Leaf]
		if !ok {
			var err error
			if id, err = identify(m.Leaf.Credential); err != nil {
				return nil, err
			}
		}
		if id.client.IsZero() {
			return nil, errors.New("room: member is not a client")
		}
		if _, ok := v.byClient[id.client]; ok {
			return nil, errors.New("room: client has two leaves")
		}
		v.ids[m.Leaf], v.leaves[m.Index] = id, m.Leaf
		v.byLeaf[m.Index] = len(v.members)
		v.byClient[id.client] = len(v.members)
		v.members = append(v.members, Member{Leaf: m.Index, Client: id.client, User: id.user})
		users = append(users, id.user.String())
	}
	if err := v.readContext(users); err != nil {
		return nil, err
	}
	return v, nil
}

// id is what the credential at a leaf says.
func (v *View) id(leaf mls.LeafIndex) who { return v.ids[v.leaves[leaf]] }

// readContext decodes what the GroupContext says.
func (v *View) readContext(users []string) error {
	dict, err := v.context.Extensions.AppData()
	if err != nil {
		return err
	}
	v.state, err = policy.NewState(func(id uint16) ([]byte, bool) { return dict.Get(mls.ComponentID(id)) }, users)
	if err != nil {
		return err
	}
	if v.room, err = mimi.ParseRoomID(v.state.Metadata.RoomURI); err != nil {
		return err
	}
	if err := v.checkExtensions(dict); err != nil {
		return err
	}
	_, v.safeAAD = dict.Get(mls.ComponentSafeAAD)
	v.agent = readAgent(dict)
	if data, ok := dict.Get(policy.MLSOperationalPolicy); ok {
		v.tolerance = policy.EpochTolerance(data)
	}
	if data, ok := dict.Get(mls.ComponentContentMediaTypes); ok {
		if v.framed, err = mls.UnmarshalMediaTypeList(data); err != nil {
			return err
		}
	}
	return nil
}

// checkExtensions applies the rules for the context of a room: the hub can propose, members can follow, and every
// component is one that members must support.
//
// draft-ietf-mimi-protocol-06, Section 7.4; draft-ietf-mls-extensions, Sections 4.6 and 4.7
func (v *View) checkExtensions(dict mls.AppDataDictionary) error {
	data, ok := v.context.Extensions.Get(mls.ExtensionExternalSenders)
	if !ok {
		return errors.New("room: hub is no external sender")
	}
	senders, err := mls.UnmarshalExternalSenders(data)
	if err != nil {
		return err
	}
	for _, s := range senders {
		id, err := identify(s.Credential)
		if err != nil || id.hub.IsZero() {
			return errors.New("room: external sender is no hub")
		}
		v.senders = append(v.senders, id.name())
	}
	if !slices.Contains(v.senders, v.Hub().String()) {
		return errors.New("room: hub is no external sender")
	}
	if err := checkRequired(v.context.Extensions); err != nil {
		return err
	}
	list, ok := dict.Get(mls.ComponentAppComponents)
	if !ok {
		return errors.New("room: required components are not listed")
	}
	required, err := mls.UnmarshalComponentsList(list)
	if err != nil {
		return err
	}
	if len(dict) > maxComponents {
		return errors.New("room: too many components")
	}
	for _, c := range dict {
		if !slices.Contains(required, c.ID) {
			return errors.New("room: component is not listed as required")
		}
	}
	return nil
}

// checkRequired: every member understands what the room's state is made of.
func checkRequired(ext mls.Extensions) error {
	data, ok := ext.Get(mls.ExtensionRequiredCapabilities)
	if !ok {
		return errors.New("room: no required capabilities")
	}
	have, err := unmarshalRequired(data)
	if err != nil {
		return err
	}
	want := RequiredCapabilities()
	for _, e := range want.Extensions {
		if !slices.Contains(have.Extensions, e) {
			return errors.New("room: required extension missing")
		}
	}
	for _, p := range want.Proposals {
		if !slices.Contains(have.Proposals, p) {
			return errors.New("room: required proposal type missing")
		}
	}
	return nil
}

// Room returns the room's identifier.
func (v *View) Room() mimi.RoomID { return v.room }

// Hub returns the provider that orders the room.
func (v *View) Hub() mimi.ProviderID { return v.room.Provider() }

// Epoch returns the epoch this is the view of.
func (v *View) Epoch() uint64 { return v.context.Epoch }

// Name returns the room's name, empty if it has none.
func (v *View) Name() string { return v.state.Metadata.RoomName }

// Metadata returns what the room says about itself.
func (v *View) Metadata() policy.Metadata { return v.state.Metadata }

// State returns the decoded components. They must not be modified.
func (v *View) State() *policy.State { return v.state }

// Participants returns the participant list, the hub's entry included. It must not be modified.
func (v *View) Participants() policy.Participants { return v.state.Participants }

// Members lists the clients in the group by leaf. The list must not be modified.
func (v *View) Members() []Member { return v.members }

// Member returns the member at a leaf.
func (v *View) Member(leaf mls.LeafIndex) (Member, bool) {
	i, ok := v.byLeaf[leaf]
	if !ok {
		return Member{}, false
	}
	return v.members[i], true
}

// Client returns the member that is a given client.
func (v *View) Client(client mimi.ClientID) (Member, bool) {
	i, ok := v.byClient[client]
	if !ok {
		return Member{}, false
	}
	return v.members[i], true
}

// Devices lists the clients of a user.
func (v *View) Devices(user mimi.UserID) []Member {
	var out []Member
	for _, m := range v.members {
		if m.User == user {
			out = append(out, m)
		}
	}
	return out
}

// Users lists the participants who are users, banned ones included, in the order of the list.
func (v *View) Users() []User {
	var out []User
	for _, p := range v.state.Participants {
		id, err := mimi.ParseUserID(p.User)
		if err != nil {
			continue // the hub
		}
		u := User{ID: id, Role: p.RoleIndex, Devices: v.state.Clients[p.User]}
		if role := v.state.Roles.Get(p.RoleIndex); role != nil {
			u.RoleName = role.RoleName
		}
		out = append(out, u)
	}
	return out
}

// Role returns the role of a listed user.
func (v *View) Role(user mimi.UserID) (*policy.Role, bool) {
	if !v.state.IsListed(user.String()) {
		return nil, false
	}
	role := v.state.RoleOf(user.String())
	return role, role != nil
}

// Can tells whether a user holds a capability.
func (v *View) Can(user mimi.UserID, c policy.Capability) bool {
	return v.state.Can(user.String(), c)
}

// IsParticipant tells whether a user is listed and not banned.
func (v *View) IsParticipant(user mimi.UserID) bool {
	return v.state.IsListed(user.String()) && !v.state.IsBanned(user.String())
}

// Direct returns the two users of a room of fixed membership with exactly two.
func (v *View) Direct() (a, b mimi.UserID, ok bool) {
	if !v.state.Base.FixedMembership {
		return a, b, false
	}
	users := v.Users()
	if len(users) != 2 {
		return a, b, false
	}
	return users[0].ID, users[1].ID, true
}

// Check judges a room that one is about to enter, by Welcome or external commit: it is the one it is said to be,
// and in a state that it can have come to.
//
// draft-ietf-mimi-protocol-06, Section 7.6
func (v *View) Check(room mimi.RoomID) *policy.Refusal {
	if v.room != room {
		return &policy.Refusal{Rule: "ID-6", Reason: "metadata names another room"}
	}
	if v.listsHub() {
		if r := v.checkHub(); r != nil {
			return r
		}
	}
	return v.state.Validate()
}

// listsHub reports whether the hub is in the participant list. That it has to be there is our decision; what an unlisted
// hub of another make proposes is judged as that of anybody who is not listed.
func (v *View) listsHub() bool { return v.state.IsListed(v.Hub().String()) }

// checkHub: the hub is listed, with a role that has no clients, so that its proposals are authorised.
//
// draft-ietf-mimi-room-policy-03, Section 3
func (v *View) checkHub() *policy.Refusal {
	hub := v.Hub().String()
	if !v.state.IsListed(hub) || v.state.RoleOf(hub).MayBeActive() || v.state.IsBanned(hub) {
		return &policy.Refusal{Rule: "PL-5", Reason: "hub is not listed as policy enforcer"}
	}
	return nil
}

// CheckAAD judges the authenticated data of a message of this epoch, application message or handshake.
//
// draft-ietf-mls-extensions, Section 4.9
func (v *View) CheckAAD(aad []byte) *policy.Refusal {
	if !v.safeAAD || len(aad) == 1 && aad[0] == 0 {
		return nil
	}
	if _, err := mls.UnmarshalSafeAAD(aad); err != nil {
		return &policy.Refusal{Rule: "ML-8", Reason: "authenticated data is not a SafeAAD"}
	}
	return nil
}
