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
func UnmarshalStatusNotifications(data []byte) (p StatusNotifications, err error) {
	err = decode(data, "status notification policy", func(s *cryptobyte.String) bool {
		return readOptionality(s, &p.DeliveryNotifications) && readOptionality(s, &p.ReadReceipts)
	})
	return p, err
}

// Bytes encodes the policy.
func (p StatusNotifications) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addOptionality(b, p.DeliveryNotifications)
		addOptionality(b, p.ReadReceipts)
	})
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
func UnmarshalAssets(data []byte) (p Assets, err error) {
	err = decode(data, "asset policy", func(s *cryptobyte.String) bool {
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
	return p, err
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
func UnmarshalExpiration(data []byte) (p Expiration, err error) {
	err = decode(data, "message expiration", func(s *cryptobyte.String) bool {
		if !readOptionality(s, &p.ExpiringMessages) {
			return false
		}
		return p.ExpiringMessages == Forbidden ||
			s.ReadUint32(&p.MinDuration) && s.ReadUint32(&p.MaxDuration) && readOptionalUint32(s, &p.DefaultDuration)
	})
	return p, err
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
