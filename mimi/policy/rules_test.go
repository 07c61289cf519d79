package policy_test

import (
	"bytes"
	"testing"

	"kith/mimi/policy"
)

// rolesBytes is how roles are compared.
func rolesBytes(t *testing.T, r policy.Roles) []byte {
	t.Helper()
	data, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What a rule turns on and off again is as it was, and it is about those only whom it should be about.
func TestRP9RulesOfTheTemplates(t *testing.T) {
	const plain, moderator, admin = policy.RoleMember, policy.RoleModerator, policy.RoleAdmin
	for _, tt := range []struct {
		name     string
		template policy.Template
		rule     policy.Rule
		holds    bool
		may      policy.Capability
	}{
		{"everybody writes in a family", policy.Family, policy.RuleWrite, true, policy.CanSendMessage},
		{"everybody invites in a family", policy.Family, policy.RuleInvite, true, policy.CanAddParticipant},
		{"links of a family", policy.Family, policy.RuleLinks, true, policy.CanUseJoinCode},
		{"readers of announcements", policy.Announcement, policy.RuleWrite, false, policy.CanSendMessage},
		{"readers of announcements invite", policy.Announcement, policy.RuleInvite, false, policy.CanAddParticipant},
		{"attendees", policy.Moderated, policy.RuleWrite, false, policy.CanSendMessage},
		{"guests of a firm", policy.Firm, policy.RuleWrite, true, policy.CanSendMessage},
		{"guests of a firm invite", policy.Firm, policy.RuleInvite, false, policy.CanAddParticipant},
	} {
		before := tt.template.Roles("mimi://a.example")
		kept := rolesBytes(t, before)
		if before.Holds(tt.rule) != tt.holds {
			t.Errorf("%s: holds is not %t at first", tt.name, tt.holds)
		}
		changed := before.With(tt.rule, !tt.holds)
		if changed.Holds(tt.rule) == tt.holds || bytes.Equal(rolesBytes(t, changed), kept) {
			t.Errorf("%s: nothing changed", tt.name)
		}
		index := plain
		if tt.rule == policy.RuleLinks {
			index = policy.RoleNone
		}
		if got := changed.Get(index).Can(tt.may); got == tt.holds {
			t.Errorf("%s: the plain role may it: %t", tt.name, got)
		}
		for _, above := range []uint32{moderator, admin, policy.RolePolicyEnforcer, policy.RoleBanned} {
			a, b := before.Get(above), changed.Get(above)
			if a == nil {
				continue
			}
			if a.Can(tt.may) != b.Can(tt.may) {
				t.Errorf("%s: role %d changed", tt.name, above)
			}
		}
		if !bytes.Equal(rolesBytes(t, before), kept) {
			t.Errorf("%s: the roles before are not what they were", tt.name)
		}
		if back := changed.With(tt.rule, tt.holds); !bytes.Equal(rolesBytes(t, back), kept) {
			t.Errorf("%s: back is not as before", tt.name)
		}
		if again := changed.With(tt.rule, !tt.holds); !bytes.Equal(rolesBytes(t, again), rolesBytes(t, changed)) {
			t.Errorf("%s: twice is not as once", tt.name)
		}
	}
	speaker := policy.Moderated.Roles().With(policy.RuleWrite, true).With(policy.RuleWrite, false)
	if !speaker.Get(policy.RoleSpeaker).Can(policy.CanSendMessage) {
		t.Error("who was given the word lost it with the rule")
	}
	direct := policy.DirectRoles()
	if direct.Holds(policy.RuleInvite) || direct.Holds(policy.RuleLinks) {
		t.Error("a conversation lets others in")
	}
}

// Whoever may bring in others may do so in his own role, and only where the rule says so.
func TestRP4RuleOfInviting(t *testing.T) {
	family := policy.Family.Roles()
	if !family.Get(policy.RoleMember).MayChange(policy.RoleNone, policy.RoleMember) {
		t.Fatal("members of a family do not invite at first")
	}
	closed := family.With(policy.RuleInvite, false)
	if closed.Get(policy.RoleMember).MayChange(policy.RoleNone, policy.RoleMember) {
		t.Error("members still list others")
	}
	if !closed.Get(policy.RoleMember).MayChange(policy.RoleMember, policy.RoleNone) {
		t.Error("members cannot leave any more")
	}
	news := policy.Announcement.Roles().With(policy.RuleInvite, true)
	if !news.Get(policy.RoleMember).MayChange(policy.RoleNone, policy.RoleMember) || news.Get(policy.RoleMember).MayChange(policy.RoleNone, policy.RoleAdmin) {
		t.Error("readers list others in another role than their own")
	}
}
