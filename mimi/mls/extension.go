package mls

import (
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// ExtensionType is a code point of the "MLS Extension Types" registry.
type ExtensionType uint16

// The extension types this package knows. Others are carried and judged by capabilities, not by a list.
const (
	ExtensionApplicationID        ExtensionType = 1
	ExtensionRatchetTree          ExtensionType = 2
	ExtensionRequiredCapabilities ExtensionType = 3
	ExtensionExternalPub          ExtensionType = 4
	ExtensionExternalSenders      ExtensionType = 5
	ExtensionAppDataDictionary    ExtensionType = 6
	ExtensionSupportedWireFormats ExtensionType = 7 // of leaves
	ExtensionRequiredWireFormats  ExtensionType = 8 // of the GroupContext
	// ExtensionLastResort is the marker of earlier drafts for last-resort KeyPackages.
	ExtensionLastResort ExtensionType = 0x000A
)

// isDefault reports whether every client supports the type without listing it.
//
// RFC 9420, Section 7.2
func (t ExtensionType) isDefault() bool {
	return t >= ExtensionApplicationID && t <= ExtensionExternalSenders
}

// Extension is one extension with its undecoded body.
type Extension struct {
	Type ExtensionType
	Data []byte
}

// Extensions is a list of extensions, at most one of a type, in the order of the wire.
type Extensions []Extension

var (
	errDuplicateExtension = errors.New("mls: duplicate extension")
	errExtensions         = errors.New("mls: malformed extensions")
)

// Get returns the body of an extension.
func (e Extensions) Get(t ExtensionType) ([]byte, bool) {
	for i := range e {
		if e[i].Type == t {
			return e[i].Data, true
		}
	}
	return nil, false
}

// Set returns a copy of the list in which t has the given body, in its old place or at the end.
func (e Extensions) Set(t ExtensionType, data []byte) Extensions {
	out := slices.Clone(e)
	for i := range out {
		if out[i].Type == t {
			out[i].Data = data
			return out
		}
	}
	return append(out, Extension{Type: t, Data: data})
}

// Remove returns a copy of the list without t.
func (e Extensions) Remove(t ExtensionType) Extensions {
	return slices.DeleteFunc(slices.Clone(e), func(x Extension) bool { return x.Type == t })
}

// Marshal writes the vector of extensions.
func (e Extensions) Marshal(b *cryptobyte.Builder) error {
	if e.hasDuplicate() {
		return errDuplicateExtension
	}
	size := 0
	for i := range e {
		size += 2 + syntax.VectorSize(len(e[i].Data))
	}
	syntax.AddVarint(b, size)
	for i := range e {
		b.AddUint16(uint16(e[i].Type))
		syntax.AddVector(b, e[i].Data)
	}
	return nil
}

// Unmarshal reads the vector of extensions from the front of s.
func (e *Extensions) Unmarshal(s *cryptobyte.String) error {
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return errExtensions
	}
	*e = nil
	for !list.Empty() {
		var x Extension
		if !list.ReadUint16((*uint16)(&x.Type)) || !syntax.ReadVector(&list, &x.Data) {
			return errExtensions
		}
		*e = append(*e, x)
	}
	// RFC 9420, Section 13.4: an extension list with two of one type is malformed.
	if e.hasDuplicate() {
		return errDuplicateExtension
	}
	return nil
}

// hasDuplicate is linear: peers choose the length of the list.
func (e Extensions) hasDuplicate() bool {
	if len(e) <= 8 {
		for i := range e {
			for j := range i {
				if e[i].Type == e[j].Type {
					return true
				}
			}
		}
		return false
	}
	seen := make(map[ExtensionType]struct{}, min(len(e), 1<<16))
	for i := range e {
		if _, ok := seen[e[i].Type]; ok {
			return true
		}
		seen[e[i].Type] = struct{}{}
	}
	return false
}

// types lists the types in the order of the wire.
func (e Extensions) types() []ExtensionType {
	out := make([]ExtensionType, len(e))
	for i := range e {
		out[i] = e[i].Type
	}
	return out
}

// ExternalSender is a party outside the group that may send proposals (RFC 9420, Section 12.1.8.1).
type ExternalSender struct {
	SignatureKey SignaturePublicKey
	Credential   Credential
}

// Marshal writes x.
func (x ExternalSender) Marshal(b *cryptobyte.Builder) error {
	syntax.AddVector(b, x.SignatureKey)
	return x.Credential.Marshal(b)
}

// Unmarshal reads x from the front of s.
func (x *ExternalSender) Unmarshal(s *cryptobyte.String) error {
	if !syntax.ReadVector(s, (*[]byte)(&x.SignatureKey)) {
		return errors.New("mls: malformed external sender")
	}
	return x.Credential.Unmarshal(s)
}

// MarshalExternalSenders encodes the body of the external_senders extension.
func MarshalExternalSenders(list []ExternalSender) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for i := range list {
			b.AddValue(list[i])
		}
	})
	return b.Bytes()
}

// UnmarshalExternalSenders decodes the body of the external_senders extension.
func UnmarshalExternalSenders(data []byte) ([]ExternalSender, error) {
	var list cryptobyte.String
	s := cryptobyte.String(data)
	if !syntax.ReadList(&s, &list) || !s.Empty() {
		return nil, errors.New("mls: malformed external senders")
	}
	var out []ExternalSender
	for !list.Empty() {
		var x ExternalSender
		if err := x.Unmarshal(&list); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}
