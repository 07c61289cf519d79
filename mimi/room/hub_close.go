package room

import (
	"slices"

	"kith/mimi"
	"kith/mimi/policy"
)

// maxJoinCode bounds the joining codes that are looked at, in octets.
const maxJoinCode = 256

// Destroy closes the room for good: the Hub it returns accepts nothing more, and says to members that there is no such
// room. There is no MLS action for it: the group ends because nobody distributes its messages.
//
// draft-ietf-mimi-room-policy-03, Section 8.6: canDestroyRoom. A zero user stands for the hub itself.
func (h *Hub) Destroy(by mimi.UserID) (*Hub, *policy.Refusal) {
	name := by.String()
	if by.IsZero() {
		name = h.view.Hub().String()
	}
	if h.gone[name] || !h.now.Can(name, policy.CanDestroyRoom) {
		return nil, refusal("RP-10", "closing the room needs canDestroyRoom")
	}
	n := h.next(h.last)
	n.closed = true
	return n, nil
}

// Closed tells whether the room was destroyed.
func (h *Hub) Closed() bool { return h.closed }

// MayForward tells whether the hub forwards a request for somebody's KeyPackages: the requester could add that
// user's clients now.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.1
func (h *Hub) MayForward(requester, target mimi.UserID) bool {
	by, name := requester.String(), target.String()
	if h.closed || h.gone[by] || h.gone[name] || !h.view.IsParticipant(requester) {
		return false
	}
	switch {
	case requester == target:
		return h.now.Can(by, policy.CanAddOwnClient)
	case h.now.IsListed(name):
		// in a room of fixed membership somebody has to bring in the others' first clients
		return h.now.Base.FixedMembership && h.now.Clients[name] == 0 && h.now.Can(by, policy.CanAddOwnClient)
	}
	return !h.now.Base.FixedMembership && h.now.Can(by, policy.CanAddParticipant)
}

// SetParent tells a dependent room about the present state of its parent, which the same hub keeps. It is not part of
// the saved state: whoever changes either of the two rooms sets it first, and removes Orphans when the parent has
// changed. Without it a dependent room accepts no change.
//
// draft-ietf-mimi-room-policy-03, Section 5
func (h *Hub) SetParent(parent *View) { h.parent = parent }

// Parent returns the room that this one depends on.
func (h *Hub) Parent() (mimi.RoomID, bool) {
	base := &h.view.state.Base
	if !base.ParentDependant || len(base.ParentRoom) != 1 {
		return mimi.RoomID{}, false
	}
	id, err := mimi.ParseRoomID(base.ParentRoom[0])
	return id, err == nil
}

// Orphans lists the users who are no longer in the parent room, for Evict.
//
// draft-ietf-mimi-room-policy-03, Section 5: who leaves the parent room leaves its dependent rooms.
func (h *Hub) Orphans() []mimi.UserID {
	if _, ok := h.Parent(); !ok || h.parent == nil {
		return nil
	}
	var out []mimi.UserID
	for _, u := range h.view.Users() {
		if h.view.IsParticipant(u.ID) && !h.parent.IsParticipant(u.ID) {
			out = append(out, u.ID)
		}
	}
	return out
}

// checkParent: nobody comes into a dependent room who is not in its parent, and not everybody who is.
//
// draft-ietf-mimi-room-policy-03, Section 5: a strict subset of the participants of the parent room, on the same hub.
func (h *Hub) checkParent(after *policy.State) *policy.Refusal {
	return h.checkWithin(after, h.Orphans())
}

// checkWithin is checkParent where those are tolerated who have left the parent and are on their way out here.
func (h *Hub) checkWithin(after *policy.State, orphans []mimi.UserID) *policy.Refusal {
	if !after.Base.ParentDependant {
		return nil
	}
	id, ok := h.Parent()
	if !ok || h.parent == nil || h.parent.room != id || id.Provider() != h.view.Hub() {
		return refusal("RP-7", "parent room is not known here")
	}
	inside := 0
	for _, p := range after.Participants {
		user, err := mimi.ParseUserID(p.User)
		if err != nil || after.IsBanned(p.User) {
			continue
		}
		inside++
		if !h.parent.IsParticipant(user) && !slices.Contains(orphans, user) {
			return refusal("RP-7", "user is not in the parent room")
		}
	}
	total := 0
	for _, u := range h.parent.Users() {
		if h.parent.IsParticipant(u.ID) {
			total++
		}
	}
	if inside >= total && len(orphans) == 0 {
		return refusal("RP-7", "dependent room has all users of its parent")
	}
	return nil
}
