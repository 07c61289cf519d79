package room

import (
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

// contentType is the media type of application data without a stated one: the first of the room's list.
const contentType = "application/mimi-content"

// RequiredCapabilities is what rooms demand of every member, and what KeyPackages are asked for.
//
// draft-ietf-mls-extensions, Sections 4.7 and 6.3
func RequiredCapabilities() mls.RequiredCapabilities {
	return mls.RequiredCapabilities{
		Extensions: []mls.ExtensionType{mls.ExtensionAppDataDictionary},
		Proposals:  []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalSelfRemove},
	}
}

func unmarshalRequired(data []byte) (mls.RequiredCapabilities, error) {
	var r mls.RequiredCapabilities
	s := cryptobyte.String(data)
	if err := r.Unmarshal(&s); err != nil {
		return r, err
	}
	if !s.Empty() {
		return r, errors.New("room: malformed required capabilities")
	}
	return r, nil
}

// Capabilities is what our clients state in their leaves. The defaults of RFC 9420 are not listed.
//
// RFC 9420, Section 7.2
func Capabilities() mls.Capabilities {
	return mls.Capabilities{
		Versions:     []uint16{1},
		CipherSuites: []mls.CipherSuite{Suite},
		Extensions:   []mls.ExtensionType{mls.ExtensionAppDataDictionary},
		Proposals:    []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalAppEphemeral, mls.ProposalSelfRemove},
		Credentials:  []mls.CredentialType{mls.CredentialBasic, mls.CredentialX509},
	}
}

// supported lists the components our clients understand.
var supported = mls.ComponentsList{
	mls.ComponentAppComponents, mls.ComponentSafeAAD, mls.ComponentContentMediaTypes,
	policy.FrankAAD, policy.FrankingAgent, policy.ParticipantList, policy.RoomMetadata,
	policy.MLSOperationalPolicy, policy.RolesList, policy.PreauthList, policy.BaseRoomPolicy, policy.StatusNotificationPolicy, policy.JoinLinkPolicy,
	policy.JoinLinks, policy.LinkPreviewPolicy, policy.AssetPolicy, policy.LoggingPolicy, policy.ChatHistoryPolicy,
	policy.BotPolicy, policy.MessageExpiration,
}

// LeafExtensions is what our clients carry in their leaves: components, safe AAD items and media types they know.
//
// draft-ietf-mls-extensions, Sections 4.6 and 6.2
func LeafExtensions() (mls.Extensions, error) {
	components, err := supported.Bytes()
	if err != nil {
		return nil, err
	}
	aad, err := mls.ComponentsList{policy.FrankAAD}.Bytes()
	if err != nil {
		return nil, err
	}
	types, err := mls.MediaTypeList{
		{Type: contentType},
		{Type: "text/plain", Parameters: []mls.MediaTypeParameter{{Name: "charset", Value: "utf-8"}}},
		{Type: "text/markdown", Parameters: []mls.MediaTypeParameter{{Name: "variant", Value: "GFM-MIMI"}}},
	}.Bytes()
	if err != nil {
		return nil, err
	}
	var dict mls.AppDataDictionary
	dict = dict.Set(mls.ComponentAppComponents, components)
	dict = dict.Set(mls.ComponentSafeAAD, aad)
	dict = dict.Set(mls.ComponentContentMediaTypes, types)
	return mls.Extensions(nil).SetAppData(dict)
}

// NewClient makes the MLS client of a device whose key and credential are given.
func NewClient(key *mls.SignatureKey, credential mls.Credential) (*mls.Client, error) {
	ext, err := LeafExtensions()
	if err != nil {
		return nil, err
	}
	return &mls.Client{SignatureKey: key, Credential: credential, Capabilities: Capabilities(), LeafExtensions: ext}, nil
}

// Spec says what room to create.
type Spec struct {
	Room    mimi.RoomID
	Name    string
	Creator mimi.UserID
	Hub     mls.ExternalSender
	Agent   *wire.FrankingAgentData // the hub's; nil: the room has no franks
	// Template is what roles and base policy the room starts with. Peer settles it.
	Template policy.Template
	// Organisations are the providers that a room of template Firm is for, the host first.
	Organisations []mimi.ProviderID
	// Peer makes it the conversation of Creator and Peer, with fixed membership.
	Peer mimi.UserID
}

// template returns the template of the room and its organisations.
func (s *Spec) template() (policy.Template, []string, error) {
	t := s.Template
	if !s.Peer.IsZero() {
		t = policy.Direct
	}
	if t > policy.Direct || (t == policy.Direct) == s.Peer.IsZero() || (t == policy.Firm) != (len(s.Organisations) > 0) {
		return 0, nil, errors.New("room: template does not fit to the new room")
	}
	organisations := make([]string, len(s.Organisations))
	for i, o := range s.Organisations {
		organisations[i] = o.String()
		if o.IsZero() || slices.Contains(organisations[:i], organisations[i]) {
			return 0, nil, errors.New("room: organisation is missing or named twice")
		}
	}
	return t, organisations, nil
}

// participants lists who is in a new room. The hub is listed so that its proposals are authorised.
//
// draft-ietf-mimi-room-policy-03, Section 3
func (s *Spec) participants() policy.Participants {
	list := policy.Participants{{User: s.Creator.String(), RoleIndex: policy.RoleAdmin}}
	if !s.Peer.IsZero() {
		list = policy.Participants{
			{User: s.Creator.String(), RoleIndex: policy.RoleMember},
			{User: s.Peer.String(), RoleIndex: policy.RoleMember},
		}
	}
	return append(list, policy.Participant{User: s.Room.Provider().String(), RoleIndex: policy.RolePolicyEnforcer})
}

// NewRoomExtensions makes the GroupContext extensions of a new room.
func NewRoomExtensions(s Spec) (mls.Extensions, error) {
	if s.Room.IsZero() || s.Creator.IsZero() || s.Creator == s.Peer {
		return nil, errors.New("room: incomplete description of a new room")
	}
	template, organisations, err := s.template()
	if err != nil {
		return nil, err
	}
	type component struct {
		id   mls.ComponentID
		data Component
	}
	components := []component{
		{mls.ComponentSafeAAD, mls.ComponentsList{}},
		{mls.ComponentContentMediaTypes, mls.MediaTypeList{{Type: contentType}}},
		{policy.ParticipantList, s.participants()},
		{policy.RoomMetadata, policy.Metadata{RoomURI: s.Room.String(), RoomName: s.Name}},
		{policy.RolesList, template.Roles(organisations...)},
		{policy.BaseRoomPolicy, template.Base()},
		{policy.StatusNotificationPolicy, policy.StatusNotifications{}},
		{policy.AssetPolicy, policy.Assets{AssetUploadLocation: policy.UploadLocalProvider,
			AllowedDownloadTypes: []policy.DownloadPrivacyType{policy.DownloadHubProxy, policy.DownloadDirect},
			DefaultDownloadType:  policy.DownloadHubProxy}},
		{policy.MessageExpiration, policy.Expiration{ExpiringMessages: policy.Optional, MaxDuration: 1<<32 - 1}},
	}
	if list := template.Preauth(organisations...); list != nil {
		components = append(components, component{policy.PreauthList, list})
	}
	if s.Agent != nil {
		components = append(components, component{policy.FrankingAgent, s.Agent})
	}
	var dict mls.AppDataDictionary
	ids := mls.ComponentsList{mls.ComponentAppComponents}
	for _, c := range components {
		data, err := c.data.Bytes()
		if err != nil {
			return nil, err
		}
		dict = dict.Set(c.id, data)
		ids = append(ids, c.id)
	}
	slices.Sort(ids)
	list, err := ids.Bytes()
	if err != nil {
		return nil, err
	}
	return contextExtensions(dict.Set(mls.ComponentAppComponents, list), s.Hub)
}

// contextExtensions adds to the dictionary what MLS itself needs to know.
//
// draft-ietf-mimi-protocol-06, Section 7.4
func contextExtensions(dict mls.AppDataDictionary, hub mls.ExternalSender) (mls.Extensions, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddValue(RequiredCapabilities())
	required, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	senders, err := mls.MarshalExternalSenders([]mls.ExternalSender{hub})
	if err != nil {
		return nil, err
	}
	ext := mls.Extensions(nil).Set(mls.ExtensionRequiredCapabilities, required)
	return ext.Set(mls.ExtensionExternalSenders, senders).SetAppData(dict)
}

// EmptyAAD is the authenticated data of every message of our rooms that has no items to carry.
//
// draft-ietf-mls-extensions, Section 4.9
func EmptyAAD() []byte { return []byte{0} }

// HandshakeAAD is the authenticated data of a handshake in a group: other hubs' rooms need not have the safe_aad component,
// and then there is no list that could be empty.
//
// draft-ietf-mls-extensions, Section 4.9
func HandshakeAAD(c *mls.GroupContext) []byte {
	if dict, err := c.Extensions.AppData(); err == nil {
		if _, safe := dict.Get(mls.ComponentSafeAAD); safe {
			return EmptyAAD()
		}
	}
	return nil
}

// FrameContent makes application data of a MIMI content, for our rooms. Its media type is the room's first, so it goes
// unstated.
//
// draft-ietf-mls-extensions, Section 6.2
func FrameContent(content []byte) ([]byte, error) {
	f := mls.ApplicationFraming{Content: content}
	return f.Bytes()
}

// FrameContentIn is FrameContent for any group: other hubs' rooms may have no media types, and then no framing, or begin
// their list with another type than ours, and then ours is stated.
//
// draft-ietf-mls-extensions, Section 6.2.4
func FrameContentIn(c *mls.GroupContext, content []byte) ([]byte, error) {
	dict, err := c.Extensions.AppData()
	if err != nil {
		return nil, err
	}
	data, framed := dict.Get(mls.ComponentContentMediaTypes)
	if !framed {
		return content, nil
	}
	types, err := mls.UnmarshalMediaTypeList(data)
	if err != nil {
		return nil, err
	}
	if len(types) > 0 && types[0].Type == contentType && len(types[0].Parameters) == 0 {
		return FrameContent(content)
	}
	f := mls.ApplicationFraming{MediaType: mls.MediaType{Type: contentType}, Content: content}
	return f.Bytes()
}

// UnframeContent splits application data of a room into media type and content. The media type is that of the
// room's list if the data states none.
//
// draft-ietf-mls-extensions, Section 6.2: the GroupContext alone decides whether data is framed.
func (v *View) UnframeContent(data []byte) (mediaType string, content []byte, err error) {
	if v.framed == nil {
		return contentType, data, nil
	}
	f, err := mls.UnmarshalApplicationFraming(data)
	if err != nil {
		return "", nil, err
	}
	if f.MediaType.Type == "" {
		return v.framed[0].Type, f.Content, nil
	}
	return f.MediaType.Type, f.Content, nil
}
