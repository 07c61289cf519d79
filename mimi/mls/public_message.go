package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// PublicMessage is a signed message that is not encrypted (RFC 9420, Section 6.2).
type PublicMessage struct {
	content       framedContent
	auth          contentAuth
	membershipTag []byte // sender member only
}

// Marshal writes m.
func (m *PublicMessage) Marshal(b *cryptobyte.Builder) error {
	if err := m.content.Marshal(b); err != nil {
		return err
	}
	m.auth.marshal(b, m.content.contentType)
	if m.content.sender.Type == SenderMember {
		syntax.AddVector(b, m.membershipTag)
	}
	return nil
}

// Unmarshal reads m from the front of s.
func (m *PublicMessage) Unmarshal(s *cryptobyte.String) error {
	*m = PublicMessage{}
	if err := m.content.Unmarshal(s); err != nil {
		return err
	}
	if err := m.auth.unmarshal(s, m.content.contentType); err != nil {
		return err
	}
	if m.content.sender.Type == SenderMember && !syntax.ReadVector(s, &m.membershipTag) {
		return errFraming
	}
	return nil
}

// Sender returns who the message says it is from.
func (m *PublicMessage) Sender() Sender { return m.content.sender }

// Proposal returns the proposal of a proposal message, unverified, else nil.
func (m *PublicMessage) Proposal() *Proposal { return m.content.proposal }

// Commit returns the commit of a commit message, unverified, else nil.
func (m *PublicMessage) Commit() *Commit { return m.content.commit }

// membershipTag is MAC(membership_key, AuthenticatedContentTBM).
//
// RFC 9420, Section 6.2
func (f *framing) membershipTag(key []byte, a *authenticatedContent) ([]byte, error) {
	tbs, err := f.toBeSigned(a.wireFormat, &a.content)
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(tbs)
	a.auth.marshal(b, a.content.contentType)
	tbm, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return f.suite.mac(key, tbm), nil
}

// protectPublic makes a PublicMessage of signed content. membershipKey counts for member senders only.
//
// RFC 9420, Section 6.2
func (f *framing) protectPublic(membershipKey []byte, a *authenticatedContent) (*PublicMessage, error) {
	if a.wireFormat != WireFormatPublicMessage || a.content.contentType == ContentTypeApplication {
		return nil, errSender
	}
	m := &PublicMessage{content: a.content, auth: a.auth}
	if a.content.sender.Type == SenderMember {
		var err error
		if m.membershipTag, err = f.membershipTag(membershipKey, a); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// unprotectPublic verifies a PublicMessage: group, epoch, membership tag and signature. key is the sender's.
//
// RFC 9420, Section 6.2
func (f *framing) unprotectPublic(membershipKey []byte, key SignaturePublicKey, m *PublicMessage) (*authenticatedContent, error) {
	if m.content.sender.Type == SenderMember {
		if err := f.check(m.content.groupID, m.content.epoch); err != nil {
			return nil, err
		}
		a := &authenticatedContent{wireFormat: WireFormatPublicMessage, content: m.content, auth: m.auth}
		tag, err := f.membershipTag(membershipKey, a)
		if err != nil {
			return nil, err
		}
		if !equalMAC(tag, m.membershipTag) {
			return nil, errors.New("mls: invalid membership tag")
		}
	}
	return f.verifyPublic(key, m)
}

// verifyPublic is unprotectPublic for a verifier without secrets, who cannot check the membership tag.
func (f *framing) verifyPublic(key SignaturePublicKey, m *PublicMessage) (*authenticatedContent, error) {
	if err := f.check(m.content.groupID, m.content.epoch); err != nil {
		return nil, err
	}
	// RFC 9420, Section 6: application data is always encrypted.
	if m.content.contentType == ContentTypeApplication {
		return nil, errSender
	}
	a := &authenticatedContent{wireFormat: WireFormatPublicMessage, content: m.content, auth: m.auth}
	if err := f.verifyContent(key, a); err != nil {
		return nil, err
	}
	return a, nil
}
