package room

import (
	"bytes"
	"errors"
	"maps"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/internal/syntax"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

// Hub is a room at its hub: one epoch, the proposals accepted in it, and the time of the last event. Not safe for
// concurrent use; the caller has one lock per room.
type Hub struct {
	cfg     mls.Config
	sender  mls.ExternalSender // ourselves
	group   *mls.PublicGroup
	groupID []byte
	view    *View
	pending []pendingProposal
	last    uint64 // the time of the last accepted event
	closed  bool   // destroyed by one who may: nothing is accepted any more

	key    *mls.SignatureKey // of sender, see SetKey
	parent *View             // of a dependent room, see SetParent

	// What the pending proposals will make of the room: it counts already, for everything but commits.
	// draft-ietf-mimi-protocol-06, Section 7.1
	now         *policy.State
	gone        map[string]bool        // users whose removal or ban is pending
	goneClients map[mimi.ClientID]bool // clients whose removal is pending

	joins *joins
}

// pendingProposal is a proposal that waits for a commit, as it was received.
type pendingProposal struct {
	message wire.MLSMessage
	ref     mls.ProposalRef
	time    uint64
}

// EventKind says what an Event carries.
type EventKind uint8

// The kinds of events.
const (
	EventMessage EventKind = iota + 1
	EventProposal
	EventCommit
	EventWelcome
)

// Event is something to be distributed: Body is an encoded FanoutMessage.
type Event struct {
	Kind      EventKind
	Timestamp uint64
	Body      []byte
}

// newHub completes the derived parts of h.
func newHub(h *Hub) (*Hub, error) {
	v, err := NewView(h.group.Context(), h.group.Members())
	if err != nil {
		return nil, err
	}
	h.adopt(v)
	h.joins = newJoins()
	return h, nil
}

// adopt makes v the view of the current epoch, without pending proposals.
func (h *Hub) adopt(v *View) {
	h.view, h.groupID = v, h.group.GroupID()
	h.pending, h.now, h.gone, h.goneClients = nil, v.state, nil, nil
}

// next is a copy of h that can be changed without changing h.
func (h *Hub) next(time uint64) *Hub {
	n := *h
	n.group = h.group.Clone()
	n.pending = h.pending[:len(h.pending):len(h.pending)]
	n.gone, n.goneClients = maps.Clone(h.gone), maps.Clone(h.goneClients)
	n.last = time
	return &n
}

// View returns the view of the current epoch.
func (h *Hub) View() *View { return h.view }

// Room returns the room's identifier.
func (h *Hub) Room() mimi.RoomID { return h.view.room }

// Epoch returns the current epoch.
func (h *Hub) Epoch() uint64 { return h.view.Epoch() }

// LastTimestamp returns the time of the last accepted event in milliseconds since 1970.
func (h *Hub) LastTimestamp() uint64 { return h.last }

// Participants returns the participant list of the current epoch. It must not be modified.
func (h *Hub) Participants() policy.Participants { return h.view.state.Participants }

// Members lists the clients in the group. The list must not be modified.
func (h *Hub) Members() []Member { return h.view.members }

// IsParticipant tells whether a user is listed and not banned.
func (h *Hub) IsParticipant(user mimi.UserID) bool { return h.view.IsParticipant(user) }

// Direct returns the two users of a conversation of two.
func (h *Hub) Direct() (a, b mimi.UserID, ok bool) { return h.view.Direct() }

// MayReceive tells whether application messages may be distributed to a user's clients: not once the user's
// removal has been accepted, committed or not, nor without the capability.
//
// draft-ietf-mimi-protocol-06, Section 5.3; draft-ietf-mimi-room-policy-03, Section 8.3
func (h *Hub) MayReceive(user mimi.UserID) bool {
	name := user.String()
	return !h.gone[name] && h.now.Can(name, policy.CanReceiveMessage)
}

// stamp is the time of the next event.
//
// draft-ietf-mimi-content-08, Section 3.4: times increase strictly within a room.
func (h *Hub) stamp(now uint64) uint64 { return max(now, h.last+1) }

// Submit decides about an application message. It returns the response and, if the message is
// accepted, what becomes the event to distribute. The time of the last event is all that changes.
//
// draft-ietf-mimi-protocol-06, Section 5.4
func (h *Hub) Submit(now uint64, from Origin, req *wire.SubmitMessageRequest) (wire.SubmitMessageResponse, *Accepted, error) {
	resp := wire.SubmitMessageResponse{Protocol: wire.ProtocolMLS10, StatusCode: wire.SubmitNotAllowed}
	if !h.maySend(from, req) {
		return resp, nil, nil
	}
	epoch := h.view.Epoch()
	switch e := req.AppMessage.Epoch(); {
	case e > epoch:
		return resp, nil, nil
	case e < epoch && epoch-e > uint64(h.view.tolerance):
		resp.StatusCode, resp.CurrentEpoch = wire.SubmitEpochTooOld, epoch
		return resp, nil, nil
	}
	h.last = h.stamp(now)
	resp.StatusCode, resp.AcceptedTimestamp = wire.SubmitAccepted, h.last
	return resp, h.accept(req), nil
}

// maySend checks everything about a message but its epoch.
func (h *Hub) maySend(from Origin, req *wire.SubmitMessageRequest) bool {
	m := &req.AppMessage
	if h.closed || m.Message == nil || m.WireFormat != mls.WireFormatPrivateMessage || m.ContentType() != mls.ContentTypeApplication ||
		!bytes.Equal(m.GroupID(), h.groupID) || h.view.CheckAAD(m.AuthenticatedData()) != nil {
		return false
	}
	// draft-ietf-mimi-protocol-06, Section 5.4: the sender is an active participant, and who it says it is
	name := req.SendingURI.String()
	if !h.isActive(from, req.SendingURI) {
		return false
	}
	return !h.gone[name] && h.now.Can(name, policy.CanSendMessage)
}

// isActive: the client is one of the user's in the group; where only its provider is known, the user is one of that
// provider's and has some client there.
func (h *Hub) isActive(from Origin, user mimi.UserID) bool {
	if from.Client.IsZero() {
		return user.Provider() == from.Provider && !from.Provider.IsZero() && h.view.state.Clients[user.String()] > 0
	}
	m, ok := h.view.Client(from.Client)
	return ok && m.User == user && !h.goneClients[from.Client]
}

// stateVersion 2 tells whether the room is closed; 1 did not.
const stateVersion = 2

// State encodes h, all but the time of the last event, recent GroupInfo requests, the hub's key and the parent room.
func (h *Hub) State() ([]byte, error) {
	group, err := h.group.State()
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(group)+1024))
	b.AddUint8(stateVersion)
	syntax.AddOptional(b, h.closed)
	b.AddValue(h.sender)
	syntax.AddVector(b, group)
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for _, p := range h.pending {
			syntax.AddVector(b, p.message.Raw)
			syntax.AddVector(b, p.ref)
			b.AddUint64(p.time)
		}
	})
	return b.Bytes()
}

var errState = errors.New("room: malformed state")

// Restore decodes what State encoded. lastTimestamp is the time of the last event that was stored.
func Restore(cfg mls.Config, state []byte, lastTimestamp uint64) (*Hub, error) {
	h := &Hub{cfg: cfg, last: lastTimestamp}
	s := cryptobyte.String(state)
	var version uint8
	if !s.ReadUint8(&version) || version == 0 || version > stateVersion ||
		version > 1 && !syntax.ReadOptional(&s, &h.closed) {
		return nil, errState
	}
	if err := h.sender.Unmarshal(&s); err != nil {
		return nil, err
	}
	var group []byte
	var pending cryptobyte.String
	if !syntax.ReadVector(&s, &group) || !syntax.ReadList(&s, &pending) || !s.Empty() {
		return nil, errState
	}
	var err error
	if h.group, err = mls.RestorePublicGroup(cfg, group); err != nil {
		return nil, err
	}
	if h, err = newHub(h); err != nil {
		return nil, err
	}
	for !pending.Empty() {
		var raw, ref []byte
		p := pendingProposal{}
		if !syntax.ReadVector(&pending, &raw) || !syntax.ReadVector(&pending, &ref) || !pending.ReadUint64(&p.time) {
			return nil, errState
		}
		if p.message, err = wire.ParseMLSMessage(raw); err != nil {
			return nil, err
		}
		p.ref = ref
		h.pending = append(h.pending, p)
	}
	if r := h.anticipate(); r != nil {
		return nil, errState
	}
	return h, nil
}
