package policy_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"kith/mimi/policy"
)

type component interface{ Bytes() ([]byte, error) }

func bytesOf(t testing.TB, c component) []byte {
	t.Helper()
	data, err := c.Bytes()
	if err != nil {
		t.Fatalf("%T: %v", c, err)
	}
	return data
}

func number(v uint32) *uint32 { return &v }

// samples makes a random value of each component; variants appear side by side.
func samples(r *rand.Rand) []component {
	text := func() string { return []string{"", "a", "Größe", "חדר", "🎉 party"}[r.IntN(5)] }
	list := policy.Participants{}
	for i := range r.IntN(5) {
		list = append(list, policy.Participant{User: "mimi://a.example/u/" + string(rune('a'+i)), RoleIndex: r.Uint32()})
	}
	return []component{
		list,
		policy.ParticipantsUpdate{
			ChangedRoleParticipants: []policy.UserIndexRole{{UserIndex: r.Uint32(), RoleIndex: r.Uint32()}},
			RemovedIndices:          []uint32{r.Uint32(), r.Uint32()}, AddedParticipants: list,
		},
		policy.Metadata{RoomURI: "mimi://a.example/r/x", RoomName: text(), RoomSubject: text(), RoomMood: text(),
			RoomDescriptions: []policy.RichDescription{{MediaType: "text/plain", LanguageTag: "de", DescriptionContent: []byte(text())}}},
		policy.DefaultRoles(), policy.DirectRoles(), policy.Roles{},
		policy.PreAuth{{Claimset: []policy.PreAuthClaim{{CredentialType: 2, ID: []byte{1}, ClaimValue: []byte(text())}}, TargetRole: policy.DefaultRoles()[2]}},
		policy.DefaultBase(), policy.DirectBase(),
		policy.BasePolicy{ParentDependant: true, ParentRoom: []string{"mimi://a.example/r/p"}, MaxClients: number(r.Uint32()), MaxUsers: number(7)},
		policy.StatusNotifications{DeliveryNotifications: policy.Required, ReadReceipts: policy.Forbidden},
		policy.JoinLinkRules{OnRequest: true, JoinLink: text(), Expiration: r.Uint32()},
		policy.Links{[]byte(text()), {1, 2}},
		policy.LinksUpdate{RemovedIndices: []uint32{1}, AddedLinks: policy.Links{[]byte(text())}},
		policy.Assets{AssetUploadLocation: policy.UploadHub, MaxImage: r.Uint64(), UploadDomains: []policy.UploadDomains{{Provider: "a.example", Destinations: []string{"cdn.example"}}},
			AllowedDownloadTypes: []policy.DownloadPrivacyType{policy.DownloadOHTTP}, PermittedMediaTypes: []policy.MediaType{{Type: "image/png"}}},
		policy.Assets{PermittedMediaTypes: []policy.MediaType{}}, policy.Assets{},
		policy.Expiration{MinDuration: r.Uint32(), MaxDuration: r.Uint32(), DefaultDuration: number(r.Uint32())},
		policy.Expiration{ExpiringMessages: policy.Forbidden},
		policy.LinkPreviews{SendLinkPreviews: policy.Required, LinkPreviewProxyUse: policy.Required, LinkPreviewProxy: []string{"https://p.example", text()}},
		policy.LinkPreviews{LinkPreviewProxyUse: policy.Forbidden},
		policy.Logging{Logging: policy.Required, LoggingClients: []string{"mimi://a.example/d/log/1"}, HumanReadablePolicy: text()},
		policy.Logging{Logging: policy.Forbidden},
		policy.ChatHistory{RolesThatCanShare: []uint32{2, r.Uint32()}, AutomaticallyShare: r.IntN(2) == 0, MaxTimePeriod: r.Uint32()},
		policy.ChatHistory{HistorySharing: policy.Forbidden},
		policy.Bots{{Name: "Poker", Description: text(), Homepage: "https://p.example", BotRoleIndex: r.Uint32(), PerUserContent: true}, {LocalClientBot: true}},
		policy.JoinLink{CodeHash: policy.JoinCodeHash("mimi://a.example/r/x", []byte(text())), RoleIndex: r.Uint32(), Multiuser: r.IntN(2) == 0, NotAfter: r.Uint64()},
		policy.Firm.Preauth("mimi://a.example", "mimi://b.example"), policy.Firm.Roles("mimi://a.example", "mimi://b.example"),
	}
}

func reparse(like component, data []byte) (component, error) {
	switch like.(type) {
	case policy.Participants:
		return policy.UnmarshalParticipants(data)
	case policy.ParticipantsUpdate:
		return policy.UnmarshalParticipantsUpdate(data)
	case policy.Metadata:
		return policy.UnmarshalMetadata(data)
	case policy.Roles:
		return policy.UnmarshalRoles(data)
	case policy.PreAuth:
		return policy.UnmarshalPreAuth(data)
	case policy.BasePolicy:
		return policy.UnmarshalBasePolicy(data)
	case policy.StatusNotifications:
		return policy.UnmarshalStatusNotifications(data)
	case policy.JoinLinkRules:
		return policy.UnmarshalJoinLinkRules(data)
	case policy.Links:
		return policy.UnmarshalLinks(data)
	case policy.LinksUpdate:
		return policy.UnmarshalLinksUpdate(data)
	case policy.Assets:
		return policy.UnmarshalAssets(data)
	case policy.Expiration:
		return policy.UnmarshalExpiration(data)
	case policy.LinkPreviews:
		return policy.UnmarshalLinkPreviews(data)
	case policy.Logging:
		return policy.UnmarshalLogging(data)
	case policy.ChatHistory:
		return policy.UnmarshalChatHistory(data)
	case policy.Bots:
		return policy.UnmarshalBots(data)
	case policy.JoinLink:
		return policy.UnmarshalJoinLink(data)
	}
	panic("no such component")
}

func TestEN4ComponentsRoundTripAndEveryPrefixRefused(t *testing.T) {
	for seed := range uint64(30) {
		for _, c := range samples(rand.New(rand.NewPCG(seed, 2))) {
			data := bytesOf(t, c)
			again, err := reparse(c, data)
			if err != nil {
				t.Fatalf("%T: %v", c, err)
			}
			if !bytes.Equal(bytesOf(t, again), data) {
				t.Errorf("%T: re-encoding differs", c)
			}
			for n := range data {
				if _, err := reparse(c, data[:n:n]); err == nil {
					t.Fatalf("%T: prefix of %d of %d octets accepted", c, n, len(data))
				}
			}
			if _, err := reparse(c, append(bytes.Clone(data), 0)); err == nil {
				t.Errorf("%T: trailing octet accepted", c)
			}
		}
	}
}

// TestPL2UpdateVector is the example of the draft: Bob joins as role 2.
func TestPL2UpdateVector(t *testing.T) {
	u := policy.ParticipantsUpdate{AddedParticipants: []policy.Participant{{User: "mimi://b.example/u/bob", RoleIndex: 2}}}
	want := "00001b16" + hex.EncodeToString([]byte("mimi://b.example/u/bob")) + "00000002"
	if got := hex.EncodeToString(bytesOf(t, u)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEN3LayoutsByHand(t *testing.T) {
	for _, c := range []struct {
		c    component
		want string
	}{
		{policy.Participants{{User: "u", RoleIndex: 4}}, "06 0175 00000004"},
		{policy.Metadata{RoomURI: "r", RoomName: "n"}, "0172 016e 00 00 00 00"},
		{policy.StatusNotifications{ReadReceipts: policy.Required}, "00 01"},
		{policy.Expiration{ExpiringMessages: policy.Forbidden}, "02"},
		{policy.Expiration{ExpiringMessages: policy.Required, MinDuration: 1, MaxDuration: 2}, "01 00000001 00000002 00"},
		{policy.BasePolicy{FixedMembership: true, MultiDevice: true, MaxUsers: number(2)}, "01 00 00 01 00 01 00000002 00 00 00 00"},
		{policy.Roles{{RoleIndex: 1, RoleName: "b", RoleCapabilities: []policy.Capability{0x0100}, MaximumActive: number(0),
			AuthorizedRoleChanges: []policy.RoleChanges{{FromRoleIndex: 2, TargetRoleIndexes: []uint32{0}}}}},
			"22 00000001 0162 00 02 0100 00000000 00 00000000 01 00000000 09 00000002 04 00000000"},
		{policy.Assets{}, "00 00 00 00 00 0000000000000000 0000000000000000 0000000000000000 0000000000000000 00 00"},
		{policy.LinkPreviews{AutodetectHyperlinksInText: policy.Forbidden, LinkPreviewProxy: []string{"p"}}, "02 00 00 00 02 0170"},
		{policy.LinkPreviews{LinkPreviewProxyUse: policy.Forbidden}, "00 00 00 02"},
		{policy.Logging{Logging: policy.Required, LoggingClients: []string{"c"}, HumanReadablePolicy: "h"}, "01 02 0163 00 0168"},
		{policy.Logging{Logging: policy.Forbidden}, "02"},
		{policy.ChatHistory{RolesThatCanShare: []uint32{2}, MaxTimePeriod: 60}, "00 04 00000002 00 0000003c"},
		{policy.ChatHistory{HistorySharing: policy.Forbidden}, "02"},
		{policy.Bots{{Name: "b", BotRoleIndex: 2, CanTargetMessageInGroup: true}}, "0b 0162 00 00 00 00000002 01 00"},
		{policy.JoinLinkRules{OnRequest: true, JoinLink: "j", Expiration: 5}, "01 016a 00 00000005"},
		{policy.PreAuth{{Claimset: []policy.PreAuthClaim{{CredentialType: 2, ID: []byte{0x55}, ClaimValue: []byte{7}}}}},
			"19 06 0002 0155 0107 00000000 00 00 00 00000000 00 00000000 00 00"},
		{policy.LinksUpdate{RemovedIndices: []uint32{3}, AddedLinks: policy.Links{{9}}}, "04 00000003 02 0109"},
	} {
		if got, want := hex.EncodeToString(bytesOf(t, c.c)), strings.ReplaceAll(c.want, " ", ""); got != want {
			t.Errorf("%T: got %s, want %s", c.c, got, want)
		}
	}
}

func TestEN3MalformedComponentsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		like component
		data string
	}{
		"bool 2":                     {policy.BasePolicy{}, "02000001000000000000"},
		"parent without flag":        {policy.BasePolicy{}, "000002017801000000000000"},
		"flag without parent":        {policy.BasePolicy{}, "00010001000000000000"},
		"optionality 3":              {policy.Expiration{}, "03"},
		"forbidden with values":      {policy.Expiration{}, "02000000000000000000"},
		"NUL in name":                {policy.Metadata{}, "0172010000000000"},
		"invalid UTF-8":              {policy.Metadata{}, "017201ff00000000"},
		"unnamed participant":        {policy.Participants{}, "050000000004"},
		"odd capabilities":           {policy.Roles{}, "13000000010000010100000000000000000000000000"},
		"preview optionality 3":      {policy.LinkPreviews{}, "00000003"},
		"proxies though forbidden":   {policy.LinkPreviews{}, "0000000200"},
		"clients though forbidden":   {policy.Logging{}, "02000000"},
		"no proxies though optional": {policy.LinkPreviews{}, "00000000"},
		"odd list of roles":          {policy.ChatHistory{}, "0003000002000000003c"},
		"bool 2 of a bot":            {policy.Bots{}, "0a00000002000000000000"},
		"join link of version 2":     {policy.JoinLink{}, "02" + strings.Repeat("00", 45)},
		"upload location 3":          {policy.Assets{}, "03000000000000000000000000000000000000000000000000000000000000000000000000"},
	} {
		data, err := hex.DecodeString(c.data)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := reparse(c.like, data); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	if _, err := (policy.Metadata{RoomName: "a\x00b"}).Bytes(); err == nil {
		t.Error("NUL encoded")
	}
}

func FuzzComponents(f *testing.F) {
	likes := samples(rand.New(rand.NewPCG(1, 2)))
	for i, c := range likes {
		f.Add(uint8(i), bytesOf(f, c))
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		c, err := reparse(likes[int(kind)%len(likes)], data)
		if err != nil {
			return
		}
		if again, err := c.Bytes(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%T: parsed but re-encodes differently: %v", c, err)
		}
	})
}
