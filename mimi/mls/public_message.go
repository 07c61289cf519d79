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

// membershipTag is MAC(membership_key, AuthenticatedContentTBM); tbs is the content's FramedContentTBS.
//
// RFC 9420, Section 6.2
func (f *framing) membershipTag(key, tbs []byte, a *authenticatedContent) ([]byte, error) {
	b := cryptobyte.NewBuilder(tbs[:len(tbs):len(tbs)])
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
	if a.content.sender.Type != SenderMember {
		return m, nil
	}
	tbs, err := f.toBeSigned(a.wireFormat, &a.content)
	if err != nil {
		return nil, err
	}
	m.membershipTag, err = f.membershipTag(membershipKey, tbs, a)
	return m, err
}

// unprotectPublic verifies a PublicMessage: group, epoch, membership tag and signature. key is the sender's.
//
// RFC 9420, Section 6.2
func (f *framing) unprotectPublic(membershipKey []byte, key SignaturePublicKey, m *PublicMessage) (*authenticatedContent, error) {
	a, tbs, err := f.openPublic(m)
	if err != nil {
		return nil, err
	}
	if a.content.sender.Type == SenderMember {
		tag, err := f.membershipTag(membershipKey, tbs, a)
		if err != nil {
			return nil, err
		}
		if !equalMAC(tag, m.membershipTag) {
			return nil, errors.New("mls: invalid membership tag")
		}
	}
	if err := f.verifyContent(key, tbs, a); err != nil {
		return nil, err
	}
	return a, nil
}

// verifyPublic is unprotectPublic for a verifier without secrets, who cannot check the membership tag.
func (f *framing) verifyPublic(key SignaturePublicKey, m *PublicMessage) (*authenticatedContent, error) {
	a, tbs, err := f.openPublic(m)
	if err != nil {
		return nil, err
	}
	if err := f.verifyContent(key, tbs, a); err != nil {
		return nil, err
	}
	return a, nil
}

// openPublic checks what needs no key, and returns the content with its FramedContentTBS.
func (f *framing) openPublic(m *PublicMessage) (*authenticatedContent, []byte, error) {
	if err := f.check(m.content.groupID, m.content.epoch); err != nil {
		return nil, nil, err
	}
	// RFC 9420, Section 6: application data is always encrypted.
	if m.content.contentType == ContentTypeApplication {
		return nil, nil, errSender
	}
	a := &authenticatedContent{wireFormat: WireFormatPublicMessage, content: m.content, auth: m.auth}
	tbs, err := f.toBeSigned(a.wireFormat, &a.content)
	return a, tbs, err
}
