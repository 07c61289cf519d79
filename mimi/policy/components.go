package policy

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// StatusNotifications says whether delivery and read notifications are sent.
//
// draft-ietf-mimi-room-policy-03, Section 6.1: StatusNotificationPolicy.
type StatusNotifications struct {
	DeliveryNotifications Optionality
	ReadReceipts          Optionality
}

// UnmarshalStatusNotifications decodes the data of StatusNotificationPolicy; an update has the same form.
func UnmarshalStatusNotifications(data []byte) (StatusNotifications, error) {
	return decode(data, "status notification policy", func(s *cryptobyte.String, p *StatusNotifications) bool {
		return readOptionality(s, &p.DeliveryNotifications) && readOptionality(s, &p.ReadReceipts)
	})
}

// Bytes encodes the policy.
func (p StatusNotifications) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addOptionality(b, p.DeliveryNotifications)
		addOptionality(b, p.ReadReceipts)
	})
}

// JoinLinkRules describes new join links.
//
// draft-ietf-mimi-room-policy-03, Section 6.2: JoinLinkPolicy.
type JoinLinkRules struct {
	OnRequest  bool
	JoinLink   string
	Multiuser  bool
	Expiration uint32 // seconds
}

// UnmarshalJoinLinkRules decodes the data of JoinLinkPolicy; an update has the same form.
func UnmarshalJoinLinkRules(data []byte) (JoinLinkRules, error) {
	return decode(data, "join link policy", func(s *cryptobyte.String, p *JoinLinkRules) bool {
		return readBool(s, &p.OnRequest) && readText(s, &p.JoinLink) && readBool(s, &p.Multiuser) &&
			s.ReadUint32(&p.Expiration)
	})
}

// Bytes encodes the rules.
func (p JoinLinkRules) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addBool(b, p.OnRequest)
		addText(b, p.JoinLink)
		addBool(b, p.Multiuser)
		b.AddUint32(p.Expiration)
	})
}

// Links are the active join links of a room, opaque to everybody but their maker.
//
// draft-ietf-mimi-room-policy-03, Section 6.2: JoinLinksData.
type Links [][]byte

// UnmarshalLinks decodes the data of JoinLinks.
func UnmarshalLinks(data []byte) (Links, error) {
	return decode(data, "join links", func(s *cryptobyte.String, l *Links) bool {
		return readList(s, (*[][]byte)(l), syntax.ReadVector)
	})
}

// Bytes encodes the links.
func (l Links) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) { addList(b, l, syntax.AddVector) })
}

// LinksUpdate is an update of JoinLinks. Indices refer to the list at the start of the epoch.
//
// draft-ietf-mimi-room-policy-03, Section 6.2: JoinLinksUpdate.
type LinksUpdate struct {
	RemovedIndices []uint32
	AddedLinks     Links
}

// UnmarshalLinksUpdate decodes an update of JoinLinks.
func UnmarshalLinksUpdate(data []byte) (LinksUpdate, error) {
	return decode(data, "join links update", func(s *cryptobyte.String, u *LinksUpdate) bool {
		return readList(s, &u.RemovedIndices, readUint32) && readList(s, (*[][]byte)(&u.AddedLinks), syntax.ReadVector)
	})
}

// Bytes encodes the update.
func (u LinksUpdate) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addList(b, u.RemovedIndices, addUint32)
		addList(b, u.AddedLinks, syntax.AddVector)
	})
}

func updateLinks(old []byte, updates [][]byte) ([]byte, error) {
	var list Links
	if old != nil {
		var err error
		if list, err = UnmarshalLinks(old); err != nil {
			return nil, err
		}
	}
	removed := make([]bool, len(list))
	var added Links
	for _, raw := range updates {
		u, err := UnmarshalLinksUpdate(raw)
		if err != nil {
			return nil, err
		}
		for _, i := range u.RemovedIndices {
			if uint64(i) >= uint64(len(list)) || removed[i] {
				return nil, errors.New("policy: no join link at this index")
			}
			removed[i] = true
		}
		added = append(added, u.AddedLinks...)
	}
	var next Links
	for i := range list {
		if !removed[i] {
			next = append(next, list[i])
		}
	}
	return append(next, added...).Bytes()
}

// AssetUploadLocation says where assets are uploaded to.
type AssetUploadLocation uint8

// The values of AssetUploadLocation.
const (
	UploadUnspecified   AssetUploadLocation = 0
	UploadLocalProvider AssetUploadLocation = 1
	UploadHub           AssetUploadLocation = 2
)

// DownloadPrivacyType is a way of downloading assets.
type DownloadPrivacyType uint8

// The values of DownloadPrivacyType.
const (
	DownloadDirect   DownloadPrivacyType = 0
	DownloadHubProxy DownloadPrivacyType = 1
	DownloadOHTTP    DownloadPrivacyType = 2
)

// UploadDomains are the hosts a provider's users upload to.
type UploadDomains struct {
	Provider     string
	Destinations []string
}

// MediaType is a media type with parameters.
//
// draft-ietf-mls-extensions, Section 6.2
type MediaType struct {
	Type       string
	Parameters []MediaTypeParameter
}

// MediaTypeParameter is one parameter of a media type.
type MediaTypeParameter struct{ Name, Value string }

func readMediaType(s *cryptobyte.String, m *MediaType) bool {
	return readText(s, &m.Type) && readList(s, &m.Parameters, func(s *cryptobyte.String, p *MediaTypeParameter) bool {
		return readText(s, &p.Name) && readText(s, &p.Value)
	})
}

func addMediaType(b *cryptobyte.Builder, m MediaType) {
	addText(b, m.Type)
	addList(b, m.Parameters, func(b *cryptobyte.Builder, p MediaTypeParameter) {
		addText(b, p.Name)
		addText(b, p.Value)
	})
}

// Assets says where assets may lie, how they are fetched and how large they may be.
//
// draft-ietf-mimi-room-policy-03, Section 6.4: AssetPolicy.
type Assets struct {
	AssetUploadLocation    AssetUploadLocation
	UploadDomains          []UploadDomains
	AllowedDownloadTypes   []DownloadPrivacyType
	ForbiddenDownloadTypes []DownloadPrivacyType
	DefaultDownloadType    DownloadPrivacyType
	MaxImage               uint64 // octets, like the following
	MaxAudio               uint64
	MaxVideo               uint64
	MaxAttachment          uint64
	ForbiddenMediaTypes    []MediaType
	PermittedMediaTypes    []MediaType // nil: absent, every type is permitted
}

func readDownloadType(s *cryptobyte.String, t *DownloadPrivacyType) bool {
	return s.ReadUint8((*uint8)(t)) && *t <= DownloadOHTTP
}

func addDownloadType(b *cryptobyte.Builder, t DownloadPrivacyType) { b.AddUint8(uint8(t)) }

func readUploadDomains(s *cryptobyte.String, d *UploadDomains) bool {
	return readText(s, &d.Provider) && readList(s, &d.Destinations, readText)
}

func addUploadDomains(b *cryptobyte.Builder, d UploadDomains) {
	addText(b, d.Provider)
	addList(b, d.Destinations, addText)
}

// UnmarshalAssets decodes the data of AssetPolicy; an update has the same form.
//
// The draft writes `optional<MediaType> permitted_media_types<V>` and means a list that may be absent.
func UnmarshalAssets(data []byte) (Assets, error) {
	return decode(data, "asset policy", func(s *cryptobyte.String, p *Assets) bool {
		ok := s.ReadUint8((*uint8)(&p.AssetUploadLocation)) && p.AssetUploadLocation <= UploadHub &&
			readList(s, &p.UploadDomains, readUploadDomains) &&
			readList(s, &p.AllowedDownloadTypes, readDownloadType) &&
			readList(s, &p.ForbiddenDownloadTypes, readDownloadType) &&
			readDownloadType(s, &p.DefaultDownloadType) &&
			s.ReadUint64(&p.MaxImage) && s.ReadUint64(&p.MaxAudio) &&
			s.ReadUint64(&p.MaxVideo) && s.ReadUint64(&p.MaxAttachment) &&
			readList(s, &p.ForbiddenMediaTypes, readMediaType)
		var permitted bool
		if !ok || !syntax.ReadOptional(s, &permitted) {
			return false
		}
		if !permitted {
			return true
		}
		if !readList(s, &p.PermittedMediaTypes, readMediaType) {
			return false
		}
		if p.PermittedMediaTypes == nil {
			p.PermittedMediaTypes = []MediaType{}
		}
		return true
	})
}

// Bytes encodes the policy.
func (p Assets) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		if p.AssetUploadLocation > UploadHub || p.DefaultDownloadType > DownloadOHTTP {
			b.SetError(errors.New("policy: unknown value in asset policy"))
		}
		b.AddUint8(uint8(p.AssetUploadLocation))
		addList(b, p.UploadDomains, addUploadDomains)
		addList(b, p.AllowedDownloadTypes, addDownloadType)
		addList(b, p.ForbiddenDownloadTypes, addDownloadType)
		addDownloadType(b, p.DefaultDownloadType)
		b.AddUint64(p.MaxImage)
		b.AddUint64(p.MaxAudio)
		b.AddUint64(p.MaxVideo)
		b.AddUint64(p.MaxAttachment)
		addList(b, p.ForbiddenMediaTypes, addMediaType)
		syntax.AddOptional(b, p.PermittedMediaTypes != nil)
		if p.PermittedMediaTypes != nil {
			addList(b, p.PermittedMediaTypes, addMediaType)
		}
	})
}

// Expiration says whether messages vanish, and when.
//
// draft-ietf-mimi-room-policy-03, Section 6.8: MessageExpiration. Durations are in seconds and exist unless
// expiring messages are forbidden.
type Expiration struct {
	ExpiringMessages Optionality
	MinDuration      uint32
	MaxDuration      uint32
	DefaultDuration  *uint32
}

// UnmarshalExpiration decodes the data of MessageExpiration; an update has the same form.
func UnmarshalExpiration(data []byte) (Expiration, error) {
	return decode(data, "message expiration", func(s *cryptobyte.String, p *Expiration) bool {
		if !readOptionality(s, &p.ExpiringMessages) {
			return false
		}
		return p.ExpiringMessages == Forbidden ||
			s.ReadUint32(&p.MinDuration) && s.ReadUint32(&p.MaxDuration) && readOptionalUint32(s, &p.DefaultDuration)
	})
}

// Bytes encodes the policy.
func (p Expiration) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addOptionality(b, p.ExpiringMessages)
		if p.ExpiringMessages == Forbidden {
			return
		}
		b.AddUint32(p.MinDuration)
		b.AddUint32(p.MaxDuration)
		addOptionalUint32(b, p.DefaultDuration)
	})
}
