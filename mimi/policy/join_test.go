package policy_test

import (
	"slices"
	"testing"

	"kith/mimi/policy"
)

const at = 1_800_000_000_000

// as gives the proposals of a step the claims of a credential.
func as(s step, uris ...string) step {
	return func(t testing.TB) policy.Proposal {
		p := s(t)
		for _, uri := range uris {
			p.Claims = append(p.Claims, policy.URIClaim(uri))
		}
		return p
	}
}

// preauthorized is a group where users of b.example may join as members, and dan as a moderator.
func preauthorized(t testing.TB) room {
	roles := policy.DefaultRoles()
	for i := range roles {
		switch roles[i].RoleIndex {
		case policy.RoleMember, policy.RoleModerator:
			roles[i].RoleCapabilities = append(roles[i].RoleCapabilities, policy.CanJoinIfPreauthorized)
		}
		if roles[i].RoleIndex == policy.RoleMember {
			roles[i].RoleCapabilities = append(roles[i].RoleCapabilities, policy.CanChangeOwnRole)
		}
	}
	return group(t).with(t, policy.RolesList, roles).with(t, policy.PreauthList, policy.PreAuth{
		{Claimset: []policy.PreAuthClaim{policy.URIClaim("mimi://b.example"), policy.URIClaim(dan)}, TargetRole: policy.Role{RoleIndex: 3}},
		{Claimset: []policy.PreAuthClaim{policy.URIClaim("mimi://b.example")}, TargetRole: policy.Role{RoleIndex: 2}},
		{Claimset: []policy.PreAuthClaim{policy.URIClaim("mimi://c.example")}, TargetRole: policy.Role{RoleIndex: 4}},
		{TargetRole: policy.Role{RoleIndex: 2}},
	})
}

func TestRP5PreauthorizedJoin(t *testing.T) {
	const cid = "mimi://c.example/u/cid"
	r := preauthorized(t)
	run(t, r, true, []checkCase{
		{"as what the first entry says", frank, "", []step{as(enlist(frank, frank, 2), "mimi://b.example", frank)}},
		{"as something else", frank, "RP-5", []step{as(enlist(frank, frank, 3), "mimi://b.example", frank)}},
		{"without the claims", frank, "RP-5", []step{as(enlist(frank, frank, 2), "mimi://a.example", frank)}},
		{"entry without claims opens nothing", frank, "RP-5", []step{as(enlist(frank, frank, 2))}},
		{"role without canJoinIfPreauthorized", cid, "RP-5", []step{as(enlist(cid, cid, 4), "mimi://c.example", cid)}},
		{"a ban holds", eve, "GI-9", []step{as(rerole(eve, eve, 2), "mimi://b.example", eve)}},
		{"and lists another", frank, "RP-4", []step{as(enlist(frank, frank, 2), "mimi://b.example", frank), enlist(frank, cid, 2)}},
		{"GI-7: an admin's new device lists another", alice, "GI-7", []step{enlist(alice, cid, 2)}},
		{"GI-7: an admin's new device removes another", alice, "GI-7", []step{delist(alice, dan)}},
	})
	// outside of an external commit nobody lists himself
	run(t, r, false, []checkCase{
		{"by a proposal", alice, "RP-5", []step{as(enlist(frank, frank, 2), "mimi://b.example", frank)}},
	})
	full := policy.DefaultBase()
	full.MaxUsers = number(4)
	run(t, r.with(t, policy.BaseRoomPolicy, full), true, []checkCase{
		{"RP-7: the room is full", frank, "RP-7", []step{as(enlist(frank, frank, 2), "mimi://b.example", frank)}},
	})
}

func TestRP5ChangeOfOnesOwnRole(t *testing.T) {
	run(t, preauthorized(t), false, []checkCase{
		{"to the first that matches", alice, "", []step{as(rerole(dan, dan, 3), "mimi://b.example", dan)}},
		{"to a later one", alice, "RP-4", []step{as(rerole(bob, bob, 2), "mimi://b.example", dan)}},
		{"without claims", alice, "RP-4", []step{rerole(dan, dan, 3)}},
		{"without canChangeOwnRole", alice, "RP-4", []step{as(rerole(carol, carol, 2), "mimi://b.example", carol)}},
		{"of another, by one's own claims", alice, "RP-4", []step{as(rerole(dan, bob, 3), "mimi://b.example", dan)}},
		{"banned", alice, "RP-4", []step{as(rerole(eve, eve, 2), "mimi://b.example", eve)}},
	})
}

func TestRP5PreauthorizedRolesExist(t *testing.T) {
	list := policy.PreAuth{{Claimset: []policy.PreAuthClaim{policy.URIClaim("mimi://b.example")}, TargetRole: policy.Role{RoleIndex: 77}}}
	run(t, group(t), false, []checkCase{
		{"unknown role", alice, "RP-5", []step{component1(alice, policy.PreauthList, list)}},
		{"by a moderator", carol, "RP-9", []step{component1(carol, policy.PreauthList, policy.PreAuth{})}},
	})
}

func link(code string, role uint32, multiuser bool, notAfter uint64) policy.JoinLink {
	return policy.JoinLink{CodeHash: policy.JoinCodeHash(metadata.RoomURI, []byte(code)), RoleIndex: role, Multiuser: multiuser, NotAfter: notAfter}
}

func links(t testing.TB, list ...component) policy.Links {
	var out policy.Links
	for _, l := range list {
		out = append(out, bytesOf(t, l))
	}
	return out
}

func TestGI2JoinCodes(t *testing.T) {
	r := group(t).with(t, policy.JoinLinks, links(t, link("open sesame", 2, true, 0), link("late", 2, false, at), link("no", 4, true, 0)))
	s := r.state(t)
	for name, c := range map[string]struct {
		code string
		at   uint64
		role uint32
	}{
		"code":              {"open sesame", at, 2},
		"in time":           {"late", at, 2},
		"too late":          {"late", at + 1, 0},
		"unknown code":      {"open", at, 0},
		"role not to enter": {"no", at, 0},
		"empty code":        {"", at, 0},
	} {
		role, ground := s.Entry(nil, []byte(c.code), c.at)
		if role != c.role || (ground == policy.ByCode) != (c.role != 0) {
			t.Errorf("%s: got role %d on ground %d, want %d", name, role, ground, c.role)
		}
	}
	if role, ground := s.Entry(nil, nil, at); role != 0 || ground != policy.NoGround {
		t.Errorf("without a code: %d, %d", role, ground)
	}
	run(t, r, true, []checkCase{
		{"role of a link", frank, "", []step{enlist(frank, frank, 2)}},
		{"role of a link that role 0 may not have", frank, "RP-5", []step{enlist(frank, frank, 4)}},
		{"role of no link", frank, "RP-5", []step{enlist(frank, frank, 3)}},
		{"GI-7: revokes the link", frank, "GI-7", []step{enlist(frank, frank, 2), component1(frank, policy.JoinLinks, policy.LinksUpdate{RemovedIndices: []uint32{1}})}},
	})
	// without canUseJoinCode the links are worth nothing
	roles := policy.DefaultRoles()
	roles[0].RoleCapabilities = nil
	run(t, r.with(t, policy.RolesList, roles), true, []checkCase{
		{"canUseJoinCode taken away", frank, "RP-5", []step{enlist(frank, frank, 2)}},
	})
}

func TestRP9JoinLinks(t *testing.T) {
	added := func(by string, l policy.JoinLink) step {
		return func(t testing.TB) policy.Proposal {
			return component1(by, policy.JoinLinks, policy.LinksUpdate{AddedLinks: links(t, l)})(t)
		}
	}
	revoked := func(by string) step {
		return component1(by, policy.JoinLinks, policy.LinksUpdate{RemovedIndices: []uint32{0}})
	}
	r := group(t).with(t, policy.JoinLinks, links(t, link("x", 2, true, 0)))
	run(t, r, false, []checkCase{
		{"admin", alice, "", []step{added(alice, link("y", 2, true, 0))}},
		{"moderator", carol, "RP-9", []step{added(carol, link("y", 2, true, 0))}},
		{"member revokes", bob, "RP-9", []step{revoked(bob)}},
		{"admin revokes", alice, "", []step{revoked(alice)}},
		{"hub revokes", alice, "", []step{revoked(hub)}},
		{"hub makes one", alice, "RP-9", []step{added(hub, link("y", 2, true, 0))}},
		{"for a role one may not give", alice, "RP-9", []step{added(alice, link("y", 5, true, 0))}},
		{"rules by a member", bob, "RP-9", []step{component1(bob, policy.JoinLinkPolicy, policy.JoinLinkRules{})}},
		{"rules by an admin", alice, "", []step{component1(alice, policy.JoinLinkPolicy, policy.JoinLinkRules{})}},
	})
	hour := uint64(3600 * 1000)
	run(t, r.with(t, policy.JoinLinkPolicy, policy.JoinLinkRules{Expiration: 3600}), false, []checkCase{
		{"for one user, an hour", alice, "", []step{added(alice, link("y", 2, false, at+hour))}},
		{"for many users", alice, "RP-9", []step{added(alice, link("y", 2, true, at+hour))}},
		{"for two hours", alice, "RP-9", []step{added(alice, link("y", 2, false, at+2*hour))}},
		{"for ever", alice, "RP-9", []step{added(alice, link("y", 2, false, 0))}},
	})
	run(t, r.with(t, policy.JoinLinkPolicy, policy.JoinLinkRules{OnRequest: true, Multiuser: true}), false, []checkCase{
		{"second link", alice, "RP-9", []step{added(alice, link("y", 2, true, 0))}},
		{"in place of the first", alice, "", []step{revoked(alice), added(alice, link("y", 2, true, 0))}},
	})
}

func TestRS1NewComponentsAreListed(t *testing.T) {
	ids := func(more ...uint16) []byte {
		list := append([]uint16{1, 2, 3, 0x22, 0x23, 0x25, 0x27}, more...)
		slices.Sort(list)
		out := []byte{byte(2 * len(list))}
		for _, id := range list {
			out = append(out, byte(id>>8), byte(id))
		}
		return out
	}
	set := func(by string, data []byte) step {
		return func(testing.TB) policy.Proposal {
			return policy.Proposal{Kind: policy.SetComponent, By: by, Component: policy.AppComponents, Update: data}
		}
	}
	r := group(t)
	r.components[policy.AppComponents] = ids()
	history := component1(alice, policy.ChatHistoryPolicy, policy.ChatHistory{})
	run(t, r, false, []checkCase{
		{"with its data", alice, "", []step{set(alice, ids(0x2e)), history}},
		{"with more than its data", alice, "RP-9", []step{set(alice, ids(0x2e, 0x2d)), history}},
		{"with the data of another", alice, "RP-9", []step{set(bob, ids(0x2e)), history}},
		{"by one who may not set it", bob, "RP-9", []step{set(bob, ids(0x2e)), component1(bob, policy.ChatHistoryPolicy, policy.ChatHistory{})}},
		{"fewer", alice, "RP-9", []step{set(alice, []byte{6, 0, 1, 0, 2, 0, 3})}},
		{"the hub does as it likes", alice, "", []step{set(hub, ids(0x2e))}},
	})
}

func TestRP8PoliciesMakeSense(t *testing.T) {
	one := func(id uint16, c component) []step { return []step{component1(alice, id, c)} }
	run(t, group(t), false, []checkCase{
		{"previews", alice, "", one(policy.LinkPreviewPolicy, policy.LinkPreviews{LinkPreviewProxy: []string{"https://p.example"}})},
		{"detection required", alice, "RP-8", one(policy.LinkPreviewPolicy, policy.LinkPreviews{AutodetectHyperlinksInText: policy.Required, LinkPreviewProxyUse: policy.Forbidden})},
		{"proxy unnamed", alice, "RP-8", one(policy.LinkPreviewPolicy, policy.LinkPreviews{LinkPreviewProxyUse: policy.Required})},
		{"logging", alice, "", one(policy.LoggingPolicy, policy.Logging{Logging: policy.Required, LoggingClients: []string{alice}})},
		{"logging by nobody", alice, "RP-8", one(policy.LoggingPolicy, policy.Logging{Logging: policy.Required})},
		{"history", alice, "", one(policy.ChatHistoryPolicy, policy.ChatHistory{RolesThatCanShare: []uint32{2, 4}})},
		{"history by strangers", alice, "RP-8", one(policy.ChatHistoryPolicy, policy.ChatHistory{RolesThatCanShare: []uint32{0}})},
		{"history by the banned", alice, "RP-8", one(policy.ChatHistoryPolicy, policy.ChatHistory{RolesThatCanShare: []uint32{1}})},
		{"history by the hub", alice, "RP-8", one(policy.ChatHistoryPolicy, policy.ChatHistory{RolesThatCanShare: []uint32{5}})},
		{"bots", alice, "", one(policy.BotPolicy, policy.Bots{{Name: "b", BotRoleIndex: 2}, {LocalClientBot: true}})},
		{"local bot with a role", alice, "RP-8", one(policy.BotPolicy, policy.Bots{{LocalClientBot: true, BotRoleIndex: 2}})},
		{"bot in no role", alice, "RP-8", one(policy.BotPolicy, policy.Bots{{BotRoleIndex: 9}})},
		{"expiration", alice, "", one(policy.MessageExpiration, policy.Expiration{MinDuration: 1, MaxDuration: 9, DefaultDuration: number(9)})},
		{"expiration upside down", alice, "RP-8", one(policy.MessageExpiration, policy.Expiration{MinDuration: 9, MaxDuration: 1})},
		{"default out of range", alice, "RP-8", one(policy.MessageExpiration, policy.Expiration{MinDuration: 2, MaxDuration: 9, DefaultDuration: number(1)})},
		{"assets at the hub", alice, "RP-8", one(policy.AssetPolicy, policy.Assets{AssetUploadLocation: policy.UploadHub})},
		{"default forbidden", alice, "RP-8", one(policy.AssetPolicy, policy.Assets{ForbiddenDownloadTypes: []policy.DownloadPrivacyType{0}})},
		{"by a member", bob, "RP-9", []step{component1(bob, policy.LoggingPolicy, policy.Logging{})}},
	})
}

func TestRP7DependentRoom(t *testing.T) {
	base := policy.DefaultBase()
	base.ParentDependant, base.ParentRoom = true, []string{"mimi://a.example/r/p"}
	other := base
	other.ParentRoom = []string{"mimi://a.example/r/q"}
	run(t, group(t).with(t, policy.BaseRoomPolicy, base), false, []checkCase{
		{"another parent", alice, "RP-7", []step{component1(alice, policy.BaseRoomPolicy, other)}},
		{"no parent", alice, "RP-7", []step{component1(alice, policy.BaseRoomPolicy, policy.DefaultBase())}},
		{"the same", alice, "", []step{component1(alice, policy.BaseRoomPolicy, base)}},
	})
	run(t, group(t), false, []checkCase{
		{"a parent all of a sudden", alice, "RP-7", []step{component1(alice, policy.BaseRoomPolicy, base)}},
	})
	base.FixedMembership = true
	roles := policy.DirectRoles()
	roles[2].AuthorizedRoleChanges = []policy.RoleChanges{{FromRoleIndex: 2, TargetRoleIndexes: []uint32{0}}}
	fixed := direct(t).with(t, policy.BaseRoomPolicy, base).with(t, policy.RolesList, roles)
	gone := policy.ParticipantsUpdate{RemovedIndices: []uint32{1}}
	run(t, fixed, false, []checkCase{
		{"hub follows the parent", alice, "", []step{list(hub, gone)}},
		{"nobody else does", alice, "RP-7", []step{list(alice, gone)}},
	})
}
