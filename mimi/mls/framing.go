package mls

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// ContentType says what a framed message holds (RFC 9420, Section 6).
type ContentType uint8

// The content types of RFC 9420.
const (
	ContentTypeApplication ContentType = 1
	ContentTypeProposal    ContentType = 2
	ContentTypeCommit      ContentType = 3
)

func (t ContentType) valid() bool { return t >= ContentTypeApplication && t <= ContentTypeCommit }

// SenderType says who sent a framed message (RFC 9420, Section 6).
type SenderType uint8

// The sender types of RFC 9420.
const (
	SenderMember            SenderType = 1
	SenderExternal          SenderType = 2
	SenderNewMemberProposal SenderType = 3
	SenderNewMemberCommit   SenderType = 4
)

// Sender is the sender of a framed message.
type Sender struct {
	Type     SenderType
	Leaf     LeafIndex // member
	External uint32    // external: index into external_senders
}

// Marshal writes x.
func (x Sender) Marshal(b *cryptobyte.Builder) error {
	b.AddUint8(uint8(x.Type))
	switch x.Type {
	case SenderMember:
		b.AddUint32(uint32(x.Leaf))
	case SenderExternal:
		b.AddUint32(x.External)
	case SenderNewMemberProposal, SenderNewMemberCommit:
	default:
		return errFraming
	}
	return nil
}

// Unmarshal reads x from the front of s.
func (x *Sender) Unmarshal(s *cryptobyte.String) error {
	*x = Sender{}
	if !s.ReadUint8((*uint8)(&x.Type)) || !x.unmarshalIndex(s) {
		return errFraming
	}
	return nil
}

func (x *Sender) unmarshalIndex(s *cryptobyte.String) bool {
	switch x.Type {
	case SenderMember:
		return s.ReadUint32((*uint32)(&x.Leaf))
	case SenderExternal:
		return s.ReadUint32(&x.External)
	case SenderNewMemberProposal, SenderNewMemberCommit:
		return true
	default:
		return false
	}
}

// ErrWrongGroup refuses a message of another group.
var ErrWrongGroup = errors.New("mls: message of another group")

var (
	errFraming    = errors.New("mls: malformed message")
	errWrongEpoch = errors.New("mls: message of another epoch")
	errSender     = errors.New("mls: sender may not send this content")
)

// framedContent is FramedContent: what a message says and on whose behalf. Exactly the field of the content type is
// set; body is that field's encoding, kept so that it is neither encoded twice nor encoded differently.
type framedContent struct {
	groupID           []byte
	epoch             uint64
	sender            Sender
	authenticatedData []byte
	contentType       ContentType
	application       []byte
	proposal          *Proposal
	commit            *Commit
	body              []byte
	generation        uint32 // of the key that a private message was encrypted with; no part of the encoding
}

// encodeBody fills body from the content's field, unless it is there.
func (c *framedContent) encodeBody() error {
	if c.body != nil {
		return nil
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(c.application)+256))
	switch {
	case c.contentType == ContentTypeApplication:
		syntax.AddVector(b, c.application)
	case c.contentType == ContentTypeProposal && c.proposal != nil:
		b.AddValue(c.proposal)
	case c.contentType == ContentTypeCommit && c.commit != nil:
		b.AddValue(c.commit)
	default:
		return errFraming
	}
	var err error
	c.body, err = b.Bytes()
	return err
}

// decodeBody reads the content of contentType and keeps its octets in body.
func (c *framedContent) decodeBody(s *cryptobyte.String) error {
	start := *s
	switch c.contentType {
	case ContentTypeApplication:
		if !syntax.ReadVector(s, &c.application) {
			return errFraming
		}
	case ContentTypeProposal:
		c.proposal = new(Proposal)
		if err := c.proposal.Unmarshal(s); err != nil {
			return err
		}
	case ContentTypeCommit:
		c.commit = new(Commit)
		if err := c.commit.Unmarshal(s); err != nil {
			return err
		}
	default:
		return errFraming
	}
	c.body = consumed(start, *s)
	return nil
}

// Marshal writes c.
func (c *framedContent) Marshal(b *cryptobyte.Builder) error {
	if err := c.encodeBody(); err != nil {
		return err
	}
	syntax.AddVector(b, c.groupID)
	b.AddUint64(c.epoch)
	b.AddValue(c.sender)
	syntax.AddVector(b, c.authenticatedData)
	b.AddUint8(uint8(c.contentType))
	b.AddBytes(c.body)
	return nil
}

// Unmarshal reads c from the front of s.
func (c *framedContent) Unmarshal(s *cryptobyte.String) error {
	*c = framedContent{}
	if !syntax.ReadVector(s, &c.groupID) || !s.ReadUint64(&c.epoch) {
		return errFraming
	}
	if err := c.sender.Unmarshal(s); err != nil {
		return err
	}
	if !syntax.ReadVector(s, &c.authenticatedData) || !s.ReadUint8((*uint8)(&c.contentType)) {
		return errFraming
	}
	return c.decodeBody(s)
}

// checkSender verifies that this kind of sender may send this content.
//
// RFC 9420, Section 6.1
func (c *framedContent) checkSender() error {
	ok := false
	switch c.sender.Type {
	case SenderMember:
		ok = true
	case SenderExternal:
		ok = c.contentType == ContentTypeProposal && c.proposal.Type.allowedExternally()
	case SenderNewMemberProposal:
		ok = c.contentType == ContentTypeProposal && c.proposal.Type == ProposalAdd
	case SenderNewMemberCommit:
		ok = c.contentType == ContentTypeCommit && c.commit.Path != nil
	}
	if !ok {
		return errSender
	}
	return nil
}

// allowedExternally reports whether an external sender may send the proposal.
//
// RFC 9420, Section 12.1.8; draft-ietf-mls-extensions, Sections 4.7 and 4.8
func (t ProposalType) allowedExternally() bool {
	switch t {
	case ProposalAdd, ProposalRemove, ProposalPSK, ProposalReInit, ProposalGroupContextExtensions,
		ProposalAppDataUpdate, ProposalAppEphemeral:
		return true
	default:
		return false
	}
}

// contentAuth is FramedContentAuthData.
type contentAuth struct {
	signature       []byte
	confirmationTag []byte // commit only
}

func (a *contentAuth) marshal(b *cryptobyte.Builder, t ContentType) {
	syntax.AddVector(b, a.signature)
	if t == ContentTypeCommit {
		syntax.AddVector(b, a.confirmationTag)
	}
}

func (a *contentAuth) unmarshal(s *cryptobyte.String, t ContentType) error {
	*a = contentAuth{}
	if !syntax.ReadVector(s, &a.signature) ||
		t == ContentTypeCommit && !syntax.ReadVector(s, &a.confirmationTag) {
		return errFraming
	}
	return nil
}

// authenticatedContent is AuthenticatedContent: a content with its signature, before protection or after.
type authenticatedContent struct {
	wireFormat WireFormat
	content    framedContent
	auth       contentAuth
}

// Marshal writes a.
func (a *authenticatedContent) Marshal(b *cryptobyte.Builder) error {
	b.AddUint16(uint16(a.wireFormat))
	if err := a.content.Marshal(b); err != nil {
		return err
	}
	a.auth.marshal(b, a.content.contentType)
	return nil
}

// Unmarshal reads a from the front of s.
func (a *authenticatedContent) Unmarshal(s *cryptobyte.String) error {
	*a = authenticatedContent{}
	if !s.ReadUint16((*uint16)(&a.wireFormat)) ||
		a.wireFormat != WireFormatPublicMessage && a.wireFormat != WireFormatPrivateMessage {
		return errFraming
	}
	if err := a.content.Unmarshal(s); err != nil {
		return err
	}
	return a.auth.unmarshal(s, a.content.contentType)
}

// proposalRef is the reference by which a commit names a proposal.
//
// RFC 9420, Section 5.2
func (s *suite) proposalRef(a *authenticatedContent) (ProposalRef, error) {
	data, err := marshalSized(a, len(a.content.body)+256)
	if err != nil {
		return nil, err
	}
	return s.refHash("MLS 1.0 Proposal Reference", data)
}

// framing is the epoch in which messages are signed and verified.
type framing struct {
	suite   *suite
	groupID []byte
	epoch   uint64
	context []byte // the encoded GroupContext
}

// newFraming prepares a group context for framing.
func newFraming(g *GroupContext) (*framing, error) {
	s, err := suiteOf(g.CipherSuite)
	if err != nil {
		return nil, err
	}
	context, err := g.Bytes()
	if err != nil {
		return nil, err
	}
	return &framing{suite: s, groupID: g.GroupID, epoch: g.Epoch, context: context}, nil
}

// check verifies that a message belongs to the group and the epoch, whoever sent it.
func (f *framing) check(groupID []byte, epoch uint64) error {
	if !bytes.Equal(groupID, f.groupID) {
		return ErrWrongGroup
	}
	if epoch != f.epoch {
		return errWrongEpoch
	}
	return nil
}

// toBeSigned is FramedContentTBS.
//
// RFC 9420, Section 6.1
func (f *framing) toBeSigned(wf WireFormat, c *framedContent) ([]byte, error) {
	if err := c.encodeBody(); err != nil {
		return nil, err
	}
	size := len(c.body) + len(c.authenticatedData) + len(f.groupID) + len(f.context) + 192
	b := cryptobyte.NewBuilder(make([]byte, 0, size))
	b.AddUint16(VersionMLS10)
	b.AddUint16(uint16(wf))
	b.AddValue(c)
	if c.sender.Type == SenderMember || c.sender.Type == SenderNewMemberCommit {
		b.AddBytes(f.context)
	}
	return b.Bytes()
}

// signContent signs a content for a wire format. A commit's confirmation tag, which depends on the signature, is for
// the caller to add.
//
// RFC 9420, Section 6.1
func (f *framing) signContent(key *SignatureKey, wf WireFormat, c framedContent) (*authenticatedContent, error) {
	a := &authenticatedContent{wireFormat: wf, content: c}
	if wf == WireFormatPublicMessage && c.contentType == ContentTypeApplication {
		return nil, errSender // RFC 9420, Section 6: application data is always encrypted
	}
	if key.suite.id != f.suite.id {
		return nil, errOtherSuite
	}
	tbs, err := f.toBeSigned(wf, &a.content)
	if err != nil {
		return nil, err
	}
	a.auth.signature, err = key.SignWithLabel("FramedContentTBS", tbs)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// verifyContent checks the sender's right to the content and the signature; tbs is its FramedContentTBS.
//
// RFC 9420, Section 6.1
func (f *framing) verifyContent(key SignaturePublicKey, tbs []byte, a *authenticatedContent) error {
	if err := a.content.checkSender(); err != nil {
		return err
	}
	if f.suite.verifyWithLabel(key, "FramedContentTBS", tbs, a.auth.signature) != nil {
		return errors.New("mls: invalid message signature")
	}
	return nil
}

// protect frames signed content as its wire format says. e is nil for a sender that is no member.
//
// RFC 9420, Section 6
func (f *framing) protect(e *epochSecrets, rand io.Reader, a *authenticatedContent) (*Message, error) {
	m := &Message{WireFormat: a.wireFormat}
	var err error
	if a.wireFormat == WireFormatPrivateMessage {
		m.Private, err = f.protectPrivate(e, rand, a)
	} else {
		var membership []byte
		if e != nil {
			membership = e.membership
		}
		m.Public, err = f.protectPublic(membership, a)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}
