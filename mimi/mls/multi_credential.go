package mls

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

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
	if b.Signature, err = key.SignWithLabel("CredentialBindingTBS", content); err != nil {
		return nil, err
	}
	return b, nil
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

// CheckMultiCredentials verifies all multi-credentials of a group: of Group.Members after a join, of
// StagedCommit.Members before a merge. own is what we support; validate is asked whether the credential of a binding is
// good and belongs to its key. A multi-credential of which we can verify nothing is refused, one without bindings among
// them. That all members support the type of every credential was verified before.
//
// draft-ietf-mls-extensions, Section 6.5.2
func CheckMultiCredentials(own Capabilities, members []Member, validate func(*CredentialBinding) error) error {
	needs, supported := map[string]bindingNeed{}, own.bindingSupport()
	for _, m := range members {
		c := m.Leaf.Credential
		if c.Type != CredentialMulti && c.Type != CredentialWeakMulti {
			continue
		}
		bindings, err := UnmarshalMultiCredential(c)
		if err != nil {
			return err
		}
		need := bindings.need(c.Type)
		needs[need.key()] = need
		if err := bindings.verify(supported, m.Leaf.SignatureKey, validate); err != nil {
			return err
		}
	}
	if len(needs) == 0 {
		return nil
	}
	for _, m := range members {
		supports := m.Leaf.Capabilities.bindingSupport()
		for _, need := range needs {
			if !need.met(supports) {
				return errors.New("mls: a member does not support a multi-credential in use")
			}
		}
	}
	return nil
}

// verify verifies the bindings that we support, at least one.
func (m MultiCredential) verify(supported func(bindingKind) bool, leafKey SignaturePublicKey, validate func(*CredentialBinding) error) error {
	verified := false
	for i := range m {
		b := &m[i]
		if !supported(b.kind()) {
			continue // of a weak one; all of another are supported by everybody
		}
		if err := b.Verify(leafKey); err != nil {
			return err
		}
		if err := validate(b); err != nil {
			return err
		}
		verified = true
	}
	if !verified {
		return errors.New("mls: no binding of a multi-credential can be verified")
	}
	return nil
}

// bindingKind is what it takes to support a binding.
type bindingKind struct {
	suite      CipherSuite
	credential CredentialType
}

func (b *CredentialBinding) kind() bindingKind { return bindingKind{b.CipherSuite, b.Credential.Type} }

// bindingSupport tells of kinds whether a client supports them. Peers choose the lengths of all lists, so that none is
// searched for each element of another.
//
// draft-ietf-mls-extensions, Section 6.5.2
func (c *Capabilities) bindingSupport() func(bindingKind) bool {
	suites, credentials := map[CipherSuite]bool{}, map[CredentialType]bool{}
	for _, s := range c.CipherSuites {
		suites[s] = true
	}
	for _, t := range c.Credentials {
		credentials[t] = true
	}
	return func(k bindingKind) bool { return suites[k.suite] && credentials[k.credential] }
}

// bindingNeed is what a multi-credential demands of every member: to support all its kinds of bindings, or any.
// Credentials that demand the same are looked at once.
type bindingNeed struct {
	any   bool
	kinds []bindingKind // ascending, each once
}

func (m MultiCredential) need(t CredentialType) bindingNeed {
	n := bindingNeed{any: t == CredentialWeakMulti}
	for i := range m {
		n.kinds = append(n.kinds, m[i].kind())
	}
	slices.SortFunc(n.kinds, func(a, b bindingKind) int {
		return cmp.Or(cmp.Compare(a.suite, b.suite), cmp.Compare(a.credential, b.credential))
	})
	n.kinds = slices.Compact(n.kinds)
	return n
}

// key tells needs apart.
func (n bindingNeed) key() string {
	out := make([]byte, 1, 1+4*len(n.kinds))
	if n.any {
		out[0] = 1
	}
	for _, k := range n.kinds {
		out = binary.BigEndian.AppendUint16(out, uint16(k.suite))
		out = binary.BigEndian.AppendUint16(out, uint16(k.credential))
	}
	return string(out)
}

// met: every binding of a multi-credential, at least one of a weak one.
//
// draft-ietf-mls-extensions, Section 6.5.2
func (n bindingNeed) met(supports func(bindingKind) bool) bool {
	if n.any {
		return slices.ContainsFunc(n.kinds, supports)
	}
	return !slices.ContainsFunc(n.kinds, func(k bindingKind) bool { return !supports(k) })
}
