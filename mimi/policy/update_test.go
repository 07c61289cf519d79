package policy_test

import (
	"bytes"
	"slices"
	"testing"

	"kith/mimi/policy"
)

func abc() policy.Participants {
	return policy.Participants{{User: "a", RoleIndex: 4}, {User: "b", RoleIndex: 2}, {User: "c", RoleIndex: 2}}
}

func TestPL2ChangesThenRemovalsThenAdditions(t *testing.T) {
	u1 := policy.ParticipantsUpdate{RemovedIndices: []uint32{0}, AddedParticipants: []policy.Participant{{User: "d", RoleIndex: 2}}}
	u2 := policy.ParticipantsUpdate{
		ChangedRoleParticipants: []policy.UserIndexRole{{UserIndex: 2, RoleIndex: 3}},
		AddedParticipants:       []policy.Participant{{User: "e", RoleIndex: 2}},
	}
	data, err := policy.UpdateComponent(policy.ParticipantList, bytesOf(t, abc()), [][]byte{bytesOf(t, u1), bytesOf(t, u2)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := policy.UnmarshalParticipants(data)
	if err != nil {
		t.Fatal(err)
	}
	// index 2 of the second update is still c, although the first removed a
	want := policy.Participants{{User: "b", RoleIndex: 2}, {User: "c", RoleIndex: 3}, {User: "d", RoleIndex: 2}, {User: "e", RoleIndex: 2}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestPL3NobodyTouchedTwice(t *testing.T) {
	change := func(i uint32) policy.ParticipantsUpdate {
		return policy.ParticipantsUpdate{ChangedRoleParticipants: []policy.UserIndexRole{{UserIndex: i, RoleIndex: 3}}}
	}
	remove := func(i uint32) policy.ParticipantsUpdate {
		return policy.ParticipantsUpdate{RemovedIndices: []uint32{i}}
	}
	add := func(u string, role uint32) policy.ParticipantsUpdate {
		return policy.ParticipantsUpdate{AddedParticipants: []policy.Participant{{User: u, RoleIndex: role}}}
	}
	for name, updates := range map[string][]policy.ParticipantsUpdate{
		"changed twice":           {change(1), change(1)},
		"changed and removed":     {change(1), remove(1)},
		"removed twice":           {remove(1), remove(1)},
		"removed twice at once":   {{RemovedIndices: []uint32{1, 1}}},
		"removed and added again": {remove(1), add("b", 2)},
		"added twice":             {add("x", 2), add("x", 3)},
		"added though listed":     {add("a", 2)},
		"no such index":           {remove(3)},
		"no such index, changed":  {change(1 << 31)},
		"PL-1: role 0":            {add("x", 0)},
		"PL-1: changed to role 0": {{ChangedRoleParticipants: []policy.UserIndexRole{{UserIndex: 1, RoleIndex: 0}}}},
	} {
		var raw [][]byte
		for _, u := range updates {
			raw = append(raw, bytesOf(t, u))
		}
		if _, err := policy.UpdateComponent(policy.ParticipantList, bytesOf(t, abc()), raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRS2OtherComponentsAreReplaced(t *testing.T) {
	old, next := bytesOf(t, policy.Metadata{RoomURI: "r"}), bytesOf(t, policy.Metadata{RoomURI: "r", RoomName: "n"})
	got, err := policy.UpdateComponent(policy.RoomMetadata, old, [][]byte{next})
	if err != nil || !bytes.Equal(got, next) {
		t.Errorf("got %x, %v", got, err)
	}
	if _, err := policy.UpdateComponent(policy.RoomMetadata, old, [][]byte{next, next}); err == nil {
		t.Error("MD-1: two metadata updates accepted")
	}
	for _, id := range []uint16{policy.RoomMetadata, policy.RolesList, policy.PreauthList, policy.BaseRoomPolicy,
		policy.StatusNotificationPolicy, policy.JoinLinkPolicy, policy.AssetPolicy, policy.MessageExpiration, policy.AppComponents, policy.SafeAAD} {
		if _, err := policy.UpdateComponent(id, nil, [][]byte{{0xff}}); err == nil {
			t.Errorf("component %#x: malformed update accepted", id)
		}
		if _, err := policy.UpdateComponent(id, nil, nil); err == nil {
			t.Errorf("component %#x: no update accepted", id)
		}
	}
	if _, err := policy.UpdateComponent(0xf000, nil, [][]byte{{}}); err == nil {
		t.Error("ML-5: update of an unknown component accepted")
	}
}

func TestRS2JoinLinksTakeDeltas(t *testing.T) {
	old := bytesOf(t, policy.Links{{1}, {2}, {3}})
	u1 := bytesOf(t, policy.LinksUpdate{RemovedIndices: []uint32{0}, AddedLinks: policy.Links{{4}}})
	u2 := bytesOf(t, policy.LinksUpdate{RemovedIndices: []uint32{2}})
	got, err := policy.UpdateComponent(policy.JoinLinks, old, [][]byte{u1, u2})
	if err != nil || !bytes.Equal(got, bytesOf(t, policy.Links{{2}, {4}})) {
		t.Errorf("got %x, %v", got, err)
	}
	if _, err := policy.UpdateComponent(policy.JoinLinks, old, [][]byte{u1, u1}); err == nil {
		t.Error("link removed twice")
	}
}
