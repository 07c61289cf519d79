package room

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

// Create decides about a new room, whose creator uploads the GroupInfo and tree of epoch 0. The Hub is nil if it is
// refused. That a conversation of two exists only once is for the caller to see to; see Direct.
//
// draft-ietf-mimi-protocol-06, Section 3.1: creation is local to the hub.
func Create(cfg mls.Config, now uint64, by mimi.ClientID, room mimi.RoomID, hub mls.ExternalSender, gi *mls.GroupInfo, tree mls.RatchetTree) (*Hub, *wire.UpdateRoomResponse, error) {
	return CreateWithin(nil, cfg, now, by, room, hub, gi, tree)
}

// CreateWithin is Create for a room that may depend on another, of which parent is the present state.
//
// draft-ietf-mimi-room-policy-03, Section 5
func CreateWithin(parent *View, cfg mls.Config, now uint64, by mimi.ClientID, room mimi.RoomID, hub mls.ExternalSender, gi *mls.GroupInfo, tree mls.RatchetTree) (*Hub, *wire.UpdateRoomResponse, error) {
	// the tree has to come by itself, so that GroupInfo stays small
	if _, ok := gi.Extensions.Get(mls.ExtensionRatchetTree); ok || len(tree) == 0 {
		return nil, notAllowed(refusal("UP-9", "GroupInfo carries the tree")), nil
	}
	if _, ok := gi.Extensions.Get(mls.ExtensionExternalPub); !ok {
		return nil, notAllowed(refusal("UP-9", "GroupInfo lacks external_pub")), nil
	}
	if gi.GroupContext.CipherSuite != Suite || gi.GroupContext.Epoch != 0 {
		return nil, notAllowed(refusal("UP-16", "group is not a new one of our cipher suite")), nil
	}
	group, err := mls.NewPublicGroup(cfg, gi, tree)
	if err != nil {
		return nil, notAllowed(refusal("UP-16", "GroupInfo does not verify")), nil
	}
	h, err := newHub(&Hub{cfg: cfg, sender: hub, group: group, last: now, parent: parent})
	if err != nil {
		return nil, notAllowed(refusal("UP-16", err.Error())), nil
	}
	for _, check := range []func() *policy.Refusal{
		func() *policy.Refusal { return h.checkNames(by, room) },
		h.checkSender,
		func() *policy.Refusal { return h.checkFounders(by) },
		h.view.state.Validate,
	} {
		if r := check(); r != nil {
			return nil, notAllowed(r), nil
		}
	}
	return h, &wire.UpdateRoomResponse{ResponseCode: wire.UpdateSuccess, AcceptedTimestamp: now}, nil
}

// checkNames: the group is the hub's, bound to the room asked for, with its creator alone in it.
//
// draft-ietf-mimi-protocol-06, Sections 3 and 7.6
func (h *Hub) checkNames(by mimi.ClientID, room mimi.RoomID) *policy.Refusal {
	id, err := mimi.ParseGroupID(string(h.groupID))
	if err != nil || id.Provider() != room.Provider() {
		return refusal("ID-5", "group id is not one of this hub")
	}
	if h.view.room != room {
		return refusal("ID-6", "metadata names another room")
	}
	if len(h.view.members) != 1 || h.view.members[0].Client != by {
		return refusal("UP-16", "creator is not alone in the group")
	}
	if !h.view.id(h.view.members[0].Leaf).validAt(h.last) {
		return refusal("CR-5", "credential is not valid at this time")
	}
	return nil
}

// checkSender: the external sender of the room is this hub with its present key, and nobody else.
//
// draft-ietf-mimi-protocol-06, Section 7.4
func (h *Hub) checkSender() *policy.Refusal {
	data, _ := h.group.Context().Extensions.Get(mls.ExtensionExternalSenders)
	list, err := mls.UnmarshalExternalSenders(data)
	if err != nil || len(list) != 1 {
		return refusal("ML-2", "external senders are not this hub alone")
	}
	have, errHave := encodeValue(list[0])
	want, errWant := encodeValue(h.sender)
	if errHave != nil || errWant != nil || !bytes.Equal(have, want) {
		return refusal("ML-2", "external sender is not this hub")
	}
	return nil
}

func encodeValue(v cryptobyte.MarshalingValue) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddValue(v)
	return b.Bytes()
}

// checkFounders: nobody is listed without being asked. A group starts with its creator as admin; everybody else is
// added by a commit. A conversation of fixed membership starts with its users, whose KeyPackages are fetched under
// their consent. The hub is listed with a role that has no clients.
//
// draft-ietf-mimi-room-policy-03, Sections 3 and 5
func (h *Hub) checkFounders(by mimi.ClientID) *policy.Refusal {
	state := h.view.state
	creator := h.view.members[0].User
	if r := h.view.checkHub(); r != nil {
		return r
	}
	users := h.view.Users()
	if len(users)+1 != len(state.Participants) {
		return refusal("PL-1", "participant is not a user")
	}
	if r := h.checkWithin(state, nil); r != nil {
		return r
	}
	if state.Base.FixedMembership {
		if len(users) < 2 {
			return refusal("RP-7", "room of fixed membership needs two users")
		}
		return nil
	}
	if len(users) != 1 || users[0].ID != creator {
		return refusal("UP-16", "room starts with others than its creator")
	}
	for _, c := range []policy.Capability{policy.CanAddParticipant, policy.CanRemoveParticipant, policy.CanChangeUserRole} {
		if !h.view.Can(creator, c) {
			return refusal("UP-16", "creator is not an admin")
		}
	}
	return nil
}

// notAllowed is the response to a refused update.
func notAllowed(r *policy.Refusal) *wire.UpdateRoomResponse {
	return &wire.UpdateRoomResponse{ResponseCode: wire.UpdateNotAllowed, ErrorDescription: r.String()}
}
