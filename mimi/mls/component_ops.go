package mls

import (
	"errors"
	"io"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// Operations of components with the keys of MLS. A label of one component is never one of another or of MLS itself.

// componentLabel is ComponentOperationLabel.
//
// draft-ietf-mls-extensions, Section 4.1
func componentLabel(id ComponentID, label string) string {
	b := cryptobyte.NewBuilder(make([]byte, 0, 32+len(label)))
	syntax.AddVector(b, []byte("MLS Component"))
	b.AddUint16(uint16(id))
	syntax.AddVector(b, []byte(label))
	return string(mustBytes(b))
}

// SafeSignWithLabel signs content on behalf of a component.
//
// draft-ietf-mls-extensions, Section 4.3
func (k *SignatureKey) SafeSignWithLabel(id ComponentID, label string, content []byte) ([]byte, error) {
	return k.SignWithLabel(componentLabel(id, label), content)
}

// SafeVerifyWithLabel verifies what SafeSignWithLabel made for the same component.
//
// draft-ietf-mls-extensions, Section 4.3
func SafeVerifyWithLabel(cs CipherSuite, pub SignaturePublicKey, id ComponentID, label string, content, signature []byte) error {
	return VerifyWithLabel(cs, pub, componentLabel(id, label), content, signature)
}

// SafeEncryptWithLabel encrypts plaintext for a component of whoever has the private key: the holder of a leaf or of a
// KeyPackage, or by external_pub, which is better than any key of the tree, all members of the current epoch.
//
// draft-ietf-mls-extensions, Section 4.2
func SafeEncryptWithLabel(cs CipherSuite, rand io.Reader, pub HPKEPublicKey, id ComponentID, label string, context, plaintext []byte) (HPKECiphertext, error) {
	return EncryptWithLabel(cs, rand, pub, componentLabel(id, label), context, plaintext)
}

// SafeDecryptWithLabel decrypts what SafeEncryptWithLabel made for the same component and k.
//
// draft-ietf-mls-extensions, Section 4.2
func (k *HPKEPrivateKey) SafeDecryptWithLabel(id ComponentID, label string, context []byte, ct HPKECiphertext) ([]byte, error) {
	return k.DecryptWithLabel(componentLabel(id, label), context, ct)
}

// SafeDecryptWithLabel decrypts what was made for the init key of a KeyPackage of ours.
//
// draft-ietf-mls-extensions, Section 4.2
func (k *KeyPackageSecrets) SafeDecryptWithLabel(id ComponentID, label string, context []byte, ct HPKECiphertext) ([]byte, error) {
	return k.initKey.SafeDecryptWithLabel(id, label, context, ct)
}

// SafeDecryptWithLabel decrypts what was made for the key of our leaf, or with external for the external_pub of the
// current epoch.
//
// draft-ietf-mls-extensions, Section 4.2
func (g *Group) SafeDecryptWithLabel(external bool, id ComponentID, label string, context []byte, ct HPKECiphertext) ([]byte, error) {
	if g.out {
		return nil, ErrInactive
	}
	key := g.keys[g.leaf.node()]
	if external {
		var err error
		if key, err = g.secrets.externalKey(); err != nil {
			return nil, err
		}
	}
	if key == nil {
		return nil, errDecrypt
	}
	return key.SafeDecryptWithLabel(id, label, context, ct)
}

// ExternalPub is the public key whose private half all members of the current epoch have.
//
// RFC 9420, Section 8
func (g *Group) ExternalPub() (HPKEPublicKey, error) {
	if g.out {
		return nil, ErrInactive
	}
	key, err := g.secrets.externalKey()
	if err != nil {
		return nil, err
	}
	return key.Public(), nil
}

// Components lists the components that a leaf supports; empty if it says nothing.
//
// draft-ietf-mls-extensions, Section 5
func (l *LeafNode) Components() (ComponentsList, error) {
	return l.Extensions.components(ComponentAppComponents)
}

// RequiredComponents lists the components that every member of the group must support.
//
// draft-ietf-mls-extensions, Section 5
func (g *GroupContext) RequiredComponents() (ComponentsList, error) {
	return g.Extensions.components(ComponentAppComponents)
}

// components decodes one of the lists of an app_data_dictionary.
func (e Extensions) components(id ComponentID) (ComponentsList, error) {
	dict, err := e.AppData()
	if err != nil {
		return nil, err
	}
	data, ok := dict.Get(id)
	if !ok {
		return nil, nil
	}
	return UnmarshalComponentsList(data)
}

// Covers reports whether the list has all components of another.
func (l ComponentsList) Covers(required ComponentsList) bool {
	have := make(map[ComponentID]bool, len(l))
	for _, id := range l {
		have[id] = true
	}
	for _, id := range required {
		if !have[id] {
			return false
		}
	}
	return true
}

// CheckComponents verifies that the members after a commit support the components, SafeAAD components and media types
// that the GroupContext after it requires. MLS leaves it to the application to demand that, and from whom.
//
// draft-ietf-mls-extensions, Sections 5 and 6.2.3
func (s *StagedCommit) CheckComponents() error {
	ext := s.next.context.Extensions
	for _, id := range []ComponentID{ComponentAppComponents, ComponentSafeAAD} {
		required, err := ext.components(id)
		if err != nil {
			return err
		}
		for _, l := range s.next.tree.members {
			supported, err := l.Extensions.components(id)
			if err != nil {
				return err
			}
			if !supported.Covers(required) {
				return errors.New("mls: a member does not support a required component")
			}
		}
	}
	return s.checkMediaTypes(ext)
}
