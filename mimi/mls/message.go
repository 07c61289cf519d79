package mls

import (
	"golang.org/x/crypto/cryptobyte"
)

// WireFormat is a code point of the "MLS Wire Formats" registry.
type WireFormat uint16

// The wire formats of RFC 9420.
const (
	WireFormatPublicMessage  WireFormat = 1
	WireFormatPrivateMessage WireFormat = 2
	WireFormatWelcome        WireFormat = 3
	WireFormatGroupInfo      WireFormat = 4
	WireFormatKeyPackage     WireFormat = 5
)

// Message is an MLSMessage (RFC 9420, Section 6); exactly the field of its wire format is set.
type Message struct {
	WireFormat WireFormat
	Public     *PublicMessage
	Private    *PrivateMessage
	Welcome    *Welcome
	GroupInfo  *GroupInfo
	KeyPackage *KeyPackage
}

// UnmarshalMessage decodes an MLSMessage that fills data. It verifies nothing.
func UnmarshalMessage(data []byte) (*Message, error) {
	m := new(Message)
	if err := unmarshalAll(data, m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes m.
func (m *Message) Bytes() ([]byte, error) {
	size := 512
	if m.Private != nil {
		size = len(m.Private.ciphertext) + len(m.Private.authenticatedData) + 128
	}
	return marshalSized(m, size)
}

// Marshal writes m.
func (m *Message) Marshal(b *cryptobyte.Builder) error {
	b.AddUint16(VersionMLS10)
	b.AddUint16(uint16(m.WireFormat))
	body := m.body()
	if body == nil {
		return errFraming
	}
	return body.Marshal(b)
}

// body returns the field of the wire format, or nil if it is not set.
func (m *Message) body() cryptobyte.MarshalingValue {
	switch {
	case m.WireFormat == WireFormatPublicMessage && m.Public != nil:
		return m.Public
	case m.WireFormat == WireFormatPrivateMessage && m.Private != nil:
		return m.Private
	case m.WireFormat == WireFormatWelcome && m.Welcome != nil:
		return m.Welcome
	case m.WireFormat == WireFormatGroupInfo && m.GroupInfo != nil:
		return m.GroupInfo
	case m.WireFormat == WireFormatKeyPackage && m.KeyPackage != nil:
		return m.KeyPackage
	}
	return nil
}

// Unmarshal reads m from the front of s.
func (m *Message) Unmarshal(s *cryptobyte.String) error {
	*m = Message{}
	var version uint16
	if !s.ReadUint16(&version) || version != VersionMLS10 || !s.ReadUint16((*uint16)(&m.WireFormat)) {
		return errFraming
	}
	switch m.WireFormat {
	case WireFormatPublicMessage:
		m.Public = new(PublicMessage)
		return m.Public.Unmarshal(s)
	case WireFormatPrivateMessage:
		m.Private = new(PrivateMessage)
		return m.Private.Unmarshal(s)
	case WireFormatWelcome:
		m.Welcome = new(Welcome)
		return m.Welcome.Unmarshal(s)
	case WireFormatGroupInfo:
		m.GroupInfo = new(GroupInfo)
		return m.GroupInfo.Unmarshal(s)
	case WireFormatKeyPackage:
		m.KeyPackage = new(KeyPackage)
		return m.unmarshalKeyPackage(s)
	default:
		return errFraming
	}
}

// unmarshalKeyPackage reads a KeyPackage.
//
// RFC 9420, Section 10: its version is that of the MLSMessage.
func (m *Message) unmarshalKeyPackage(s *cryptobyte.String) error {
	if err := m.KeyPackage.Unmarshal(s); err != nil {
		return err
	}
	if m.KeyPackage.Version != VersionMLS10 {
		return errKeyPackage
	}
	return nil
}

// GroupID returns the group of a public or private message or of a group info, else nil.
func (m *Message) GroupID() []byte {
	switch {
	case m.Public != nil:
		return m.Public.content.groupID
	case m.Private != nil:
		return m.Private.groupID
	case m.GroupInfo != nil:
		return m.GroupInfo.GroupContext.GroupID
	}
	return nil
}

// Epoch returns the epoch of a public or private message or of a group info, else 0.
func (m *Message) Epoch() uint64 {
	switch {
	case m.Public != nil:
		return m.Public.content.epoch
	case m.Private != nil:
		return m.Private.epoch
	case m.GroupInfo != nil:
		return m.GroupInfo.GroupContext.Epoch
	}
	return 0
}

// ContentType returns the content type of a public or private message, else 0.
func (m *Message) ContentType() ContentType {
	switch {
	case m.Public != nil:
		return m.Public.content.contentType
	case m.Private != nil:
		return m.Private.contentType
	}
	return 0
}

// AuthenticatedData returns the authenticated_data of a public or private message, else nil.
func (m *Message) AuthenticatedData() []byte {
	switch {
	case m.Public != nil:
		return m.Public.content.authenticatedData
	case m.Private != nil:
		return m.Private.authenticatedData
	}
	return nil
}
