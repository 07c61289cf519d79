package policy_test

import (
	"slices"
	"testing"

	"kith/mimi/policy"
)

var organisations = []string{"mimi://a.example", "mimi://b.example"}

// of makes a room of a template with somebody in every role that has clients.
func of(t testing.TB, template policy.Template, participants policy.Participants) room {
	roles := template.Roles(organisations...)
	r := group(t).with(t, policy.RolesList, roles).with(t, policy.BaseRoomPolicy, template.Base())
	r = r.with(t, policy.ParticipantList, participants)
	if list := template.Preauth(organisations...); list != nil {
		r = r.with(t, policy.PreauthList, list)
	}
	r.clients = nil
	for _, p := range participants {
		if roles.Get(p.RoleIndex).MayBeActive() {
			r.clients = append(r.clients, p.User)
		}
	}
	if got := r.state(t).Validate(); got != nil {
		t.Fatalf("template does not stand: %s", got)
	}
	return r
}

// sends checks which roles, by name, may send messages.
func sends(t *testing.T, template policy.Template, want ...string) {
	t.Helper()
	var got []string
	for _, r := range template.Roles(organisations...) {
		if r.Can(policy.CanSendMessage) {
			got = append(got, r.RoleName)
		}
		if r.MayBeActive() != r.Can(policy.CanReceiveMessage) || r.MayBeActive() != r.Can(policy.CanAddOwnClient) {
			t.Errorf("%s: clients %v, but receives %v", r.RoleName, r.MayBeActive(), r.Can(policy.CanReceiveMessage))
		}
		if !slices.IsSorted(r.RoleCapabilities) {
			t.Errorf("%s: capabilities out of order", r.RoleName)
		}
		for _, c := range r.AuthorizedRoleChanges {
			for _, to := range c.TargetRoleIndexes {
				if to == c.FromRoleIndex || to == policy.RolePolicyEnforcer || to != 0 && template.Roles(organisations...).Get(to) == nil {
					t.Errorf("%s: change from %d to %d", r.RoleName, c.FromRoleIndex, to)
				}
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v may send, want %v", got, want)
	}
}

func participants(roles ...uint32) policy.Participants {
	var list policy.Participants
	for i, user := range []string{alice, bob, carol, dan, eve} {
		if i < len(roles) {
			list = append(list, policy.Participant{User: user, RoleIndex: roles[i]})
		}
	}
	return append(list, policy.Participant{User: hub, RoleIndex: policy.RolePolicyEnforcer})
}

// goes is a removal from the list with the one client that everybody here has.
func goes(by, user string, i uint32) []step {
	return []step{list(by, policy.ParticipantsUpdate{RemovedIndices: []uint32{i}}), remove(by, user)}
}

func becomes(by string, i, role uint32) step {
	return list(by, policy.ParticipantsUpdate{ChangedRoleParticipants: []policy.UserIndexRole{{UserIndex: i, RoleIndex: role}}})
}

func TestRP11Family(t *testing.T) {
	sends(t, policy.Family, "member", "moderator", "admin")
	// alice admin, bob member, carol moderator, dan member
	run(t, of(t, policy.Family, participants(4, 2, 3, 2)), false, []checkCase{
		{"member adds", bob, "", []step{enlist(bob, frank, 2), add(bob, frank)}},
		{"member removes", bob, "RP-4", goes(bob, dan, 3)},
		{"member leaves", alice, "", goes(bob, bob, 1)},
		{"moderator removes", carol, "", goes(carol, dan, 3)},
		{"moderator promotes", carol, "RP-4", []step{becomes(carol, 1, 3)}},
		{"admin promotes", alice, "", []step{becomes(alice, 1, 3)}},
		{"admin demotes a moderator", alice, "", []step{becomes(alice, 2, 2)}},
		{"admin makes an admin", alice, "", []step{becomes(alice, 1, 4)}},
		{"everybody leaves", bob, "", goes(alice, alice, 0)},
		{"hub removes", bob, "", goes(hub, alice, 0)},
	})
}

func TestRP11Moderated(t *testing.T) {
	sends(t, policy.Moderated, "moderator", "admin", "speaker")
	// alice admin, bob attendee, carol moderator, dan speaker
	run(t, of(t, policy.Moderated, participants(4, 2, 3, 6)), false, []checkCase{
		{"attendee adds", bob, "RP-4", []step{enlist(bob, frank, 2)}},
		{"speaker adds", dan, "RP-4", []step{enlist(dan, frank, 2)}},
		{"moderator adds an attendee", carol, "", []step{enlist(carol, frank, 2), add(carol, frank)}},
		{"moderator adds a speaker", carol, "", []step{enlist(carol, frank, 6)}},
		{"moderator adds a moderator", carol, "RP-4", []step{enlist(carol, frank, 3)}},
		{"moderator gives the word", carol, "", []step{becomes(carol, 1, 6)}},
		{"moderator takes the word", carol, "", []step{becomes(carol, 3, 2)}},
		{"moderator makes a moderator", carol, "RP-4", []step{becomes(carol, 1, 3)}},
		{"attendee takes the word", bob, "RP-4", []step{becomes(bob, 1, 6)}},
		{"speaker passes the word on", dan, "RP-4", []step{becomes(dan, 1, 6)}},
		{"admin makes a moderator", alice, "", []step{becomes(alice, 1, 3)}},
		{"attendee leaves", alice, "", goes(bob, bob, 1)},
		{"speaker leaves", alice, "", goes(dan, dan, 3)},
		{"moderator removes a speaker", carol, "", goes(carol, dan, 3)},
		{"moderator removes an admin", carol, "RP-4", goes(carol, alice, 0)},
		{"hub removes a speaker", alice, "", goes(hub, dan, 3)},
	})
}

func TestRP11Announcement(t *testing.T) {
	sends(t, policy.Announcement, "moderator", "admin")
	// alice admin, bob reader, carol moderator, dan reader
	run(t, of(t, policy.Announcement, participants(4, 2, 3, 2)), false, []checkCase{
		{"reader adds", bob, "RP-4", []step{enlist(bob, frank, 2)}},
		{"reader brings a device", bob, "", []step{add(bob, bob)}},
		{"reader leaves", alice, "", goes(bob, bob, 1)},
		{"moderator adds a reader", carol, "", []step{enlist(carol, frank, 2), add(carol, frank)}},
		{"moderator makes a moderator", carol, "RP-4", []step{becomes(carol, 1, 3)}},
		{"moderator bans", carol, "", []step{becomes(carol, 1, 1), remove(carol, bob)}},
		{"admin makes a moderator", alice, "", []step{becomes(alice, 1, 3)}},
		{"admin makes a link", alice, "", []step{func(t testing.TB) policy.Proposal {
			return component1(alice, policy.JoinLinks, policy.LinksUpdate{AddedLinks: links(t, link("x", 2, true, 0))})(t)
		}}},
		{"reader renames", bob, "MD-1", []step{setMetadata(bob, func(m *policy.Metadata) { m.RoomName = "Y" })}},
	})
}

func TestRP11Firm(t *testing.T) {
	sends(t, policy.Firm, "guest", "admin", "user", "organisation_admin", "user", "organisation_admin")
	userA, headA := policy.OrganisationRoles(0)
	userB, headB := policy.OrganisationRoles(1)
	// alice admin, bob user of a, carol admin of a, dan user of b, eve admin of b
	r := of(t, policy.Firm, participants(4, userA, headA, userB, headB))
	run(t, r, false, []checkCase{
		{"user adds", bob, "RP-4", []step{enlist(bob, frank, userA)}},
		{"user adds a guest", dan, "RP-4", []step{enlist(dan, frank, 2)}},
		{"organisation adds its own", eve, "", []step{enlist(eve, frank, userB), add(eve, frank)}},
		{"organisation makes an admin", eve, "", []step{becomes(eve, 3, headB)}},
		{"organisation adds to another", eve, "RP-4", []step{enlist(eve, frank, userA)}},
		{"organisation adds a guest", eve, "RP-4", []step{enlist(eve, frank, 2)}},
		{"organisation removes its own", eve, "", goes(eve, dan, 3)},
		{"organisation bans its own", eve, "", []step{becomes(eve, 3, 1), remove(eve, dan)}},
		{"organisation removes another's", eve, "RP-4", goes(eve, bob, 1)},
		{"organisation makes a room admin", eve, "RP-4", []step{becomes(eve, 3, 4)}},
		{"room admin adds a guest", alice, "", []step{enlist(alice, frank, 2), add(alice, frank)}},
		{"room admin removes anybody", alice, "", goes(alice, eve, 4)},
		{"user leaves", alice, "", goes(dan, dan, 3)},
		{"hub removes", alice, "", goes(hub, eve, 4)},
	})
	const ann = "mimi://a.example/u/ann"
	run(t, r, true, []checkCase{
		{"RP-5: one of the host's joins", ann, "", []step{as(enlist(ann, ann, userA), "mimi://a.example", ann)}},
		{"RP-5: as an admin", ann, "RP-5", []step{as(enlist(ann, ann, headA), "mimi://a.example", ann)}},
		{"RP-5: one of another organisation's", frank, "RP-5", []step{as(enlist(frank, frank, userB), "mimi://b.example", frank)}},
		{"RP-5: an outsider", frank, "RP-5", []step{as(enlist(frank, frank, userA), "mimi://c.example", frank)}},
	})
	for i, provider := range organisations {
		want, _ := policy.OrganisationRoles(i)
		if got := r.state(t).Preauth.Role([]policy.PreAuthClaim{policy.URIClaim(provider)}); got != want {
			t.Errorf("users of organisation %d are role %d, want %d", i, got, want)
		}
	}
}

func TestRP11Direct(t *testing.T) {
	sends(t, policy.Direct, "member")
	run(t, of(t, policy.Direct, participants(2, 2)), false, []checkCase{
		{"adds", alice, "RP-7", []step{enlist(alice, frank, 2)}},
		{"leaves", bob, "RP-7", goes(alice, alice, 0)},
		{"own device", alice, "", []step{add(alice, alice)}},
		{"detaches", bob, "", []step{remove(alice, alice)}},
		{"hub detaches a device", bob, "", []step{remove(hub, alice)}},
		{"hub removes", bob, "RP-7", goes(hub, alice, 0)},
	})
}

// TestRP1SparseIndices: Firm leaves indices out, and nothing minds.
func TestRP1SparseIndices(t *testing.T) {
	roles := policy.Firm.Roles(organisations...)
	if roles.Get(3) != nil || roles.Get(16) == nil {
		t.Fatal("indices are not sparse")
	}
	if role := roles.Get(policy.RoleBanned); role == nil || role.RoleName != "banned" {
		t.Error("no role to ban to")
	}
}
