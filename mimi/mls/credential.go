package mls

import (
	"bytes"
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// CredentialType is a code point of the "MLS Credential Types" registry.
type CredentialType uint16

// The credential types of RFC 9420 and of draft-ietf-mls-extensions, Section 6.5.
const (
	CredentialBasic     CredentialType = 1
	CredentialX509      CredentialType = 2
	CredentialMulti     CredentialType = 3 // see MultiCredential
	CredentialWeakMulti CredentialType = 4
)

// Credential names the holder of a signature key (RFC 9420, Section 5.3). Whether to believe it is the application's
// business.
type Credential struct {
	Type         CredentialType
	Identity     []byte   // basic
	Certificates [][]byte // x509: DER, end entity first
	// Opaque is the body of any other type. Every registered type is a single vector; a type that is not cannot be
	// parsed, as its length is unknown.
	Opaque []byte
}

// BasicCredential is a bare assertion of an identity.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialBasic, Identity: identity}
}

// X509Credential is a certificate chain, end entity first.
func X509Credential(certificates ...[]byte) Credential {
	return Credential{Type: CredentialX509, Certificates: certificates}
}

// Marshal writes c.
func (c Credential) Marshal(b *cryptobyte.Builder) error {
	b.AddUint16(uint16(c.Type))
	switch c.Type {
	case CredentialBasic:
		syntax.AddVector(b, c.Identity)
	case CredentialX509:
		syntax.AddList(b, func(b *cryptobyte.Builder) {
			for _, der := range c.Certificates {
				syntax.AddVector(b, der)
			}
		})
	default:
		syntax.AddVector(b, c.Opaque)
	}
	return nil
}

// Unmarshal reads c from the front of s.
func (c *Credential) Unmarshal(s *cryptobyte.String) error {
	*c = Credential{}
	if !s.ReadUint16((*uint16)(&c.Type)) || !c.unmarshalBody(s) {
		return errors.New("mls: malformed credential")
	}
	return nil
}

func (c *Credential) unmarshalBody(s *cryptobyte.String) bool {
	switch c.Type {
	case CredentialBasic:
		return syntax.ReadVector(s, &c.Identity)
	case CredentialX509:
		return readVectors(s, &c.Certificates)
	default:
		return syntax.ReadVector(s, &c.Opaque)
	}
}

// readVectors reads a vector of vectors.
func readVectors(s *cryptobyte.String, out *[][]byte) bool {
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return false
	}
	for !list.Empty() {
		var v []byte
		if !syntax.ReadVector(&list, &v) {
			return false
		}
		*out = append(*out, v)
	}
	return true
}

// Equal reports whether both are the same credential, octet by octet.
func (c Credential) Equal(o Credential) bool {
	if c.Type != o.Type || !bytes.Equal(c.Identity, o.Identity) || !bytes.Equal(c.Opaque, o.Opaque) ||
		len(c.Certificates) != len(o.Certificates) {
		return false
	}
	for i := range c.Certificates {
		if !bytes.Equal(c.Certificates[i], o.Certificates[i]) {
			return false
		}
	}
	return true
}
