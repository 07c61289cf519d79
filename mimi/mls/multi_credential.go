package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// CredentialBinding is the statement of the holder of a credential that a leaf's signature key is his.
//
// draft-ietf-mls-extensions, Section 6.5.1
type CredentialBinding struct {
	CipherSuite   CipherSuite // of CredentialKey, not of the group
	Credential    Credential
	CredentialKey SignaturePublicKey
	Signature     []byte
}

// MultiCredential is the body of a credential of type multi or weak-multi: several credentials for one leaf. Who uses
// them lists the type in its capabilities and calls CheckMultiCredentials wherever a leaf comes into a group.
//
// draft-ietf-mls-extensions, Section 6.5
type MultiCredential []CredentialBinding

var errBinding = errors.New("mls: malformed multi-credential")

// NewCredentialBinding binds a leaf's signature key to a credential with the key that the credential is about.
//
// draft-ietf-mls-extensions, Section 6.5.1
func NewCredentialBinding(credential Credential, key *SignatureKey, leafKey SignaturePublicKey) (*CredentialBinding, error) {
	b := &CredentialBinding{CipherSuite: key.suite.id, Credential: credential, CredentialKey: key.Public()}
	content, err := b.toBeSigned(leafKey)
	if err != nil {
		return nil, err
	}
	b.Signature, err = key.SignWithLabel("CredentialBindingTBS", content)
	return b, err
}

// toBeSigned is CredentialBindingTBS.
func (b *CredentialBinding) toBeSigned(leafKey SignaturePublicKey) ([]byte, error) {
	builder := cryptobyte.NewBuilder(make([]byte, 0, 256))
	b.marshalUnsigned(builder)
	syntax.AddVector(builder, leafKey)
	return builder.Bytes()
}

func (b *CredentialBinding) marshalUnsigned(builder *cryptobyte.Builder) {
	builder.AddUint16(uint16(b.CipherSuite))
	builder.AddValue(b.Credential)
	syntax.AddVector(builder, b.CredentialKey)
}

// Verify checks the signature for a leaf with the given key. Whether the credential is good, and CredentialKey its
// key, is the application's to say.
//
// draft-ietf-mls-extensions, Section 6.5.2
func (b *CredentialBinding) Verify(leafKey SignaturePublicKey) error {
	content, err := b.toBeSigned(leafKey)
	if err != nil {
		return err
	}
	return VerifyWithLabel(b.CipherSuite, b.CredentialKey, "CredentialBindingTBS", content, b.Signature)
}

// Credential is the credential of the bindings: weak-multi, of which others need not support every one, or multi.
func (m MultiCredential) Credential(weak bool) (Credential, error) {
	c := Credential{Type: CredentialMulti}
	if weak {
		c.Type = CredentialWeakMulti
	}
	builder := cryptobyte.NewBuilder(nil)
	for i := range m {
		m[i].marshalUnsigned(builder)
		syntax.AddVector(builder, m[i].Signature)
	}
	var err error
	c.Opaque, err = builder.Bytes()
	return c, err
}

// UnmarshalMultiCredential decodes the bindings of a credential of type multi or weak-multi. It verifies nothing.
func UnmarshalMultiCredential(c Credential) (MultiCredential, error) {
	if c.Type != CredentialMulti && c.Type != CredentialWeakMulti {
		return nil, errBinding
	}
	var m MultiCredential
	for s := cryptobyte.String(c.Opaque); !s.Empty(); {
		var b CredentialBinding
		if !s.ReadUint16((*uint16)(&b.CipherSuite)) {
			return nil, errBinding
		}
		if err := b.Credential.Unmarshal(&s); err != nil {
			return nil, err
		}
		if !syntax.ReadVector(&s, (*[]byte)(&b.CredentialKey)) || !syntax.ReadVector(&s, &b.Signature) {
			return nil, errBinding
		}
		m = append(m, b)
	}
	return m, nil
}

// supportsBinding reports whether a client supports the suite and the credential type of a binding.
//
// draft-ietf-mls-extensions, Section 6.5.2
func (c *Capabilities) supportsBinding(b *CredentialBinding) bool {
	return containsSuite(c.CipherSuites, b.CipherSuite) && c.supportsCredential(b.Credential.Type)
}

// CheckMultiCredentials verifies all multi-credentials of a group: of Group.Members after a join, of
// StagedCommit.Members before a merge. own is what we support; validate is asked whether the credential of a binding is
// good and belongs to its key. That all members support the type of every credential was verified before.
//
// draft-ietf-mls-extensions, Section 6.5.2
func CheckMultiCredentials(own Capabilities, members []Member, validate func(*CredentialBinding) error) error {
	for _, m := range members {
		c := m.Leaf.Credential
		if c.Type != CredentialMulti && c.Type != CredentialWeakMulti {
			continue
		}
		bindings, err := UnmarshalMultiCredential(c)
		if err != nil {
			return err
		}
		for _, other := range members {
			if !bindings.supportedBy(&other.Leaf.Capabilities, c.Type) {
				return errors.New("mls: a member does not support a multi-credential in use")
			}
		}
		for i := range bindings {
			b := &bindings[i]
			if !own.supportsBinding(b) {
				continue // of a weak one; all of another are supported by everybody
			}
			if err := b.Verify(m.Leaf.SignatureKey); err != nil {
				return err
			}
			if err := validate(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// supportedBy: every binding of a multi-credential, at least one of a weak one.
//
// draft-ietf-mls-extensions, Section 6.5.2
func (m MultiCredential) supportedBy(c *Capabilities, t CredentialType) bool {
	n := 0
	for i := range m {
		if c.supportsBinding(&m[i]) {
			n++
		}
	}
	if t == CredentialWeakMulti {
		return n > 0
	}
	return n == len(m)
}
