// Package wire holds the request and response bodies of the MIMI protocol, one struct per body.
//
// Fields carry the names of draft-ietf-mimi-protocol-06. UnmarshalX consumes its whole input and accepts exactly
// one encoding per value, so whatever parses re-encodes to the same octets; Bytes encodes. Identifiers are parsed
// here, once, and only in their canonical form. Parsed values share memory with the input, which the caller must
// not change afterwards.
//
// franking.go computes what is sent of a frank: the tag, the hub's stamp, the agent's signature. When to make and whom to
// believe one is for package room to say.
//
// Decisions where the draft is silent: `string` is an opaque vector of UTF-8, `optional X` is one presence octet,
// and no octet is written for a selector that is not declared in the struct.
package wire

import (
	"errors"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/internal/syntax"
	"kith/mimi/mls"
)

// Protocol is the end-to-end protocol of a body.
//
// draft-ietf-mimi-protocol-06, Section 5.2
type Protocol uint8

// ProtocolMLS10 is MLS 1.0, the only protocol there is.
const ProtocolMLS10 Protocol = 1

// maxDescription limits texts a peer may send for people to read, in octets.
const maxDescription = 1024

// MLSMessage is a message together with the octets it came in: a hub passes those on and never encodes it again.
type MLSMessage struct {
	*mls.Message
	// Raw is the encoding of Message.
	Raw []byte
}

// NewMLSMessage encodes m once, for sending.
func NewMLSMessage(m *mls.Message) (MLSMessage, error) {
	raw, err := m.Bytes()
	if err != nil {
		return MLSMessage{}, err
	}
	return MLSMessage{Message: m, Raw: raw}, nil
}

// ParseMLSMessage decodes a message that fills raw.
func ParseMLSMessage(raw []byte) (MLSMessage, error) {
	m, err := mls.UnmarshalMessage(raw)
	if err != nil {
		return MLSMessage{}, err
	}
	return MLSMessage{Message: m, Raw: raw}, nil
}

func (m *MLSMessage) unmarshal(s *cryptobyte.String) error {
	start := *s
	m.Message = new(mls.Message)
	if err := m.Message.Unmarshal(s); err != nil {
		return err
	}
	n := len(start) - len(*s)
	m.Raw = start[:n:n]
	return nil
}

func (m *MLSMessage) marshal(b *cryptobyte.Builder) {
	if len(m.Raw) == 0 {
		b.SetError(errors.New("wire: message without its encoding"))
		return
	}
	b.AddBytes(m.Raw)
}

// handshake reports whether m is a PublicMessage of content type t.
func (m *MLSMessage) handshake(t mls.ContentType) bool {
	return m.Message != nil && m.WireFormat == mls.WireFormatPublicMessage && m.ContentType() == t
}

func malformed(what string) error {
	return errors.New("wire: malformed " + what)
}

// decode runs unmarshal over all of data.
func decode(data []byte, what string, unmarshal func(*cryptobyte.String) error) error {
	s := cryptobyte.String(data)
	if err := unmarshal(&s); err != nil {
		return err
	}
	if !s.Empty() {
		return malformed(what + ": trailing octets")
	}
	return nil
}

// encode returns what marshal adds to an empty builder.
func encode(marshal func(*cryptobyte.Builder)) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	marshal(b)
	return b.Bytes()
}

func readProtocol(s *cryptobyte.String, p *Protocol) bool {
	return s.ReadUint8((*uint8)(p)) && *p == ProtocolMLS10
}

func addProtocol(b *cryptobyte.Builder, p Protocol) {
	if p != ProtocolMLS10 {
		b.SetError(errors.New("wire: unknown protocol"))
	}
	b.AddUint8(uint8(p))
}

// readURI reads an IdentifierUri with the parser of its kind.
//
// draft-ietf-mimi-protocol-06, Section 5.2
func readURI[T any](s *cryptobyte.String, out *T, parse func(string) (T, error)) bool {
	var raw []byte
	if !syntax.ReadVector(s, &raw) {
		return false
	}
	id, err := parse(string(raw))
	if err != nil {
		return false
	}
	*out = id
	return true
}

// readOptionalURI is readURI for a field that may be the empty string.
func readOptionalURI[T any](s *cryptobyte.String, out *T, parse func(string) (T, error)) bool {
	rest := *s
	var raw []byte
	if syntax.ReadVector(&rest, &raw) && len(raw) == 0 {
		*s = rest
		return true
	}
	return readURI(s, out, parse)
}

type identifier interface {
	String() string
	IsZero() bool
}

// addURI refuses the zero value, which would encode as the empty string.
func addURI(b *cryptobyte.Builder, id identifier) {
	if id.IsZero() {
		b.SetError(errors.New("wire: identifier missing"))
		return
	}
	syntax.AddVector(b, []byte(id.String()))
}

func addOptionalURI(b *cryptobyte.Builder, id identifier) {
	if id.IsZero() {
		syntax.AddVector(b, nil)
		return
	}
	addURI(b, id)
}

// readText reads a `string` or UTF8String: at most max octets of valid UTF-8.
func readText(s *cryptobyte.String, out *string, max int) bool {
	var raw []byte
	if !syntax.ReadVector(s, &raw) || len(raw) > max || !utf8.Valid(raw) {
		return false
	}
	*out = string(raw)
	return true
}

func addText(b *cryptobyte.Builder, text string, max int) {
	if len(text) > max || !utf8.ValidString(text) {
		b.SetError(errors.New("wire: text too long or not UTF-8"))
		return
	}
	syntax.AddVector(b, []byte(text))
}

// readList reads a vector of structures.
func readList[T any](s *cryptobyte.String, what string, read func(*cryptobyte.String, *T) error) ([]T, error) {
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return nil, malformed(what)
	}
	var out []T
	for !list.Empty() {
		var v T
		if err := read(&list, &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func addList[T any](b *cryptobyte.Builder, list []T, add func(*cryptobyte.Builder, *T)) {
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for i := range list {
			add(b, &list[i])
		}
	})
}

func readMessages(s *cryptobyte.String, what string) ([]MLSMessage, error) {
	return readList(s, what, func(s *cryptobyte.String, m *MLSMessage) error {
		if err := m.unmarshal(s); err != nil {
			return err
		}
		if !m.handshake(mls.ContentTypeProposal) {
			return malformed(what + ": not a proposal")
		}
		return nil
	})
}

func addMessages(b *cryptobyte.Builder, list []MLSMessage) {
	addList(b, list, func(b *cryptobyte.Builder, m *MLSMessage) {
		if !m.handshake(mls.ContentTypeProposal) {
			b.SetError(errors.New("wire: not a proposal"))
			return
		}
		m.marshal(b)
	})
}

func parseUser(s string) (mimi.UserID, error)     { return mimi.ParseUserID(s) }
func parseClient(s string) (mimi.ClientID, error) { return mimi.ParseClientID(s) }
func parseRoom(s string) (mimi.RoomID, error)     { return mimi.ParseRoomID(s) }
