package wire

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
	"kith/mimi/mls"
)

// UpdateRequest is a HandshakeBundle: one commit with what belongs to it, or proposals.
//
// Only PublicMessages parse: our rooms use nothing else for handshakes, and the hub must read them.
//
// draft-ietf-mimi-protocol-06, Section 5.3
type UpdateRequest struct {
	ProposalOrCommit MLSMessage

	// With a commit:
	Welcome           *mls.Welcome // nil if nobody is added
	GroupInfoOption   GroupInfoOption
	RatchetTreeOption RatchetTreeOption

	// With a proposal:
	MoreProposals []MLSMessage
}

// IsCommit tells a commit bundle from a proposal bundle.
func (r *UpdateRequest) IsCommit() bool {
	return r.ProposalOrCommit.handshake(mls.ContentTypeCommit)
}

// UnmarshalUpdateRequest decodes a body that holds nothing else.
func UnmarshalUpdateRequest(data []byte) (*UpdateRequest, error) {
	r := new(UpdateRequest)
	if err := decode(data, "UpdateRequest", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *UpdateRequest) unmarshal(s *cryptobyte.String) (err error) {
	if err := r.ProposalOrCommit.unmarshal(s); err != nil {
		return err
	}
	switch {
	case r.ProposalOrCommit.handshake(mls.ContentTypeProposal):
		r.MoreProposals, err = readMessages(s, "UpdateRequest")
		return err
	case !r.IsCommit():
		return malformed("UpdateRequest: not a public proposal or commit")
	}
	var present bool
	if !syntax.ReadOptional(s, &present) {
		return malformed("UpdateRequest")
	}
	if present {
		r.Welcome = new(mls.Welcome)
		if err := r.Welcome.Unmarshal(s); err != nil {
			return err
		}
	}
	if err := r.GroupInfoOption.unmarshal(s); err != nil {
		return err
	}
	return r.RatchetTreeOption.unmarshal(s)
}

func (r *UpdateRequest) marshal(b *cryptobyte.Builder) {
	switch {
	case r.ProposalOrCommit.handshake(mls.ContentTypeProposal):
		r.ProposalOrCommit.marshal(b)
		addMessages(b, r.MoreProposals)
	case r.IsCommit():
		r.ProposalOrCommit.marshal(b)
		syntax.AddOptional(b, r.Welcome != nil)
		if r.Welcome != nil {
			b.AddValue(r.Welcome)
		}
		r.GroupInfoOption.marshal(b)
		r.RatchetTreeOption.marshal(b)
	default:
		b.SetError(errors.New("wire: update is not a public proposal or commit"))
	}
}

// Bytes encodes the request.
func (r *UpdateRequest) Bytes() ([]byte, error) { return encode(r.marshal) }

// NewCommitRequest bundles a commit of ours: full GroupInfo, the tree left to the hub.
func NewCommitRequest(c *mls.CommitBundle) (*UpdateRequest, error) {
	commit, err := NewMLSMessage(c.Commit)
	if err != nil {
		return nil, err
	}
	return &UpdateRequest{
		ProposalOrCommit:  commit,
		Welcome:           c.Welcome,
		GroupInfoOption:   GroupInfoOption{GroupInfo: c.GroupInfo},
		RatchetTreeOption: RatchetTreeOption{Representation: TreeDistributionService},
	}, nil
}

const (
	groupInfoFull    = 1
	groupInfoPartial = 2
)

// GroupInfoOption is a GroupInfo or the parts of it a hub cannot make itself: exactly one field is set.
//
// draft-ietf-mimi-protocol-06, Section 5.3
type GroupInfoOption struct {
	GroupInfo *mls.GroupInfo
	Partial   *PartialGroupInfo
}

func (o *GroupInfoOption) unmarshal(s *cryptobyte.String) error {
	var representation uint8
	if !s.ReadUint8(&representation) {
		return malformed("GroupInfoOption")
	}
	switch representation {
	case groupInfoFull:
		o.GroupInfo = new(mls.GroupInfo)
		return o.GroupInfo.Unmarshal(s)
	case groupInfoPartial:
		o.Partial = new(PartialGroupInfo)
		return o.Partial.unmarshal(s)
	}
	return malformed("GroupInfoOption")
}

func (o *GroupInfoOption) marshal(b *cryptobyte.Builder) {
	switch {
	case o.GroupInfo != nil && o.Partial == nil:
		b.AddUint8(groupInfoFull)
		b.AddValue(o.GroupInfo)
	case o.Partial != nil && o.GroupInfo == nil:
		b.AddUint8(groupInfoPartial)
		o.Partial.marshal(b)
	default:
		b.SetError(errors.New("wire: GroupInfoOption needs exactly one form"))
	}
}

// RatchetTreePresence says in which epochs the GroupInfo carried the ratchet_tree extension.
type RatchetTreePresence uint8

// The values of RatchetTreePresence.
const (
	TreeExtensionNone    RatchetTreePresence = 0
	TreeExtensionPresent RatchetTreePresence = 1
	TreeExtensionRemoved RatchetTreePresence = 2
	TreeExtensionAdded   RatchetTreePresence = 3
)

// PartialGroupInfo is what a hub that follows the handshakes cannot derive of a GroupInfo.
//
// draft-mahy-mls-ratchet-tree-options-03, Section 4
type PartialGroupInfo struct {
	RatchetTreePresence RatchetTreePresence
	GroupInfoExtensions mls.Extensions // without ratchet_tree
	Signature           []byte
}

func (p *PartialGroupInfo) unmarshal(s *cryptobyte.String) error {
	if !s.ReadUint8((*uint8)(&p.RatchetTreePresence)) || p.RatchetTreePresence > TreeExtensionAdded {
		return malformed("PartialGroupInfo")
	}
	if err := p.GroupInfoExtensions.Unmarshal(s); err != nil {
		return err
	}
	if !syntax.ReadVector(s, &p.Signature) {
		return malformed("PartialGroupInfo")
	}
	return nil
}

func (p *PartialGroupInfo) marshal(b *cryptobyte.Builder) {
	if p.RatchetTreePresence > TreeExtensionAdded {
		b.SetError(errors.New("wire: unknown ratchet tree presence"))
		return
	}
	b.AddUint8(uint8(p.RatchetTreePresence))
	b.AddValue(p.GroupInfoExtensions)
	syntax.AddVector(b, p.Signature)
}

// RatchetTreeRepresentation says how a tree is conveyed.
type RatchetTreeRepresentation uint8

// The values of RatchetTreeRepresentation. We send TreeFull and TreeDistributionService only.
const (
	TreeFull                RatchetTreeRepresentation = 1
	TreeHTTPSURI            RatchetTreeRepresentation = 2
	TreeOutOfBand           RatchetTreeRepresentation = 3
	TreeDistributionService RatchetTreeRepresentation = 4
)

// RatchetTreeOption conveys a ratchet tree or says where it is.
//
// draft-mahy-mls-ratchet-tree-options-03, Section 3
type RatchetTreeOption struct {
	Representation RatchetTreeRepresentation
	RatchetTree    mls.RatchetTree // full: the vector with its length
	RatchetTreeURL string          // httpsUri
	TreeSignature  []byte          // httpsUri, outOfBand
}

// FullTree is the option that carries the tree itself.
func FullTree(tree mls.RatchetTree) RatchetTreeOption {
	return RatchetTreeOption{Representation: TreeFull, RatchetTree: tree}
}

func (o *RatchetTreeOption) unmarshal(s *cryptobyte.String) error {
	ok := s.ReadUint8((*uint8)(&o.Representation))
	switch o.Representation {
	case TreeFull:
		start := *s
		var nodes []byte
		ok = ok && syntax.ReadVector(s, &nodes)
		n := len(start) - len(*s)
		o.RatchetTree = mls.RatchetTree(start[:n:n])
	case TreeHTTPSURI:
		ok = ok && readText(s, &o.RatchetTreeURL, maxDescription) && syntax.ReadVector(s, &o.TreeSignature)
	case TreeOutOfBand:
		ok = ok && syntax.ReadVector(s, &o.TreeSignature)
	case TreeDistributionService:
	default:
		ok = false
	}
	if !ok {
		return malformed("RatchetTreeOption")
	}
	return nil
}

func (o *RatchetTreeOption) marshal(b *cryptobyte.Builder) {
	b.AddUint8(uint8(o.Representation))
	switch o.Representation {
	case TreeFull:
		if len(o.RatchetTree) == 0 {
			b.SetError(errors.New("wire: full tree missing"))
			return
		}
		b.AddBytes(o.RatchetTree)
	case TreeHTTPSURI:
		addText(b, o.RatchetTreeURL, maxDescription)
		syntax.AddVector(b, o.TreeSignature)
	case TreeOutOfBand:
		syntax.AddVector(b, o.TreeSignature)
	case TreeDistributionService:
	default:
		b.SetError(errors.New("wire: unknown ratchet tree representation"))
	}
}

// UpdateResponseCode is the hub's decision on an UpdateRequest.
type UpdateResponseCode uint8

// The values of UpdateResponseCode.
const (
	UpdateSuccess         UpdateResponseCode = 0
	UpdateWrongEpoch      UpdateResponseCode = 1
	UpdateNotAllowed      UpdateResponseCode = 2
	UpdateInvalidProposal UpdateResponseCode = 3
)

// UpdateRoomResponse answers an UpdateRequest.
//
// draft-ietf-mimi-protocol-06, Section 5.3
type UpdateRoomResponse struct {
	ResponseCode      UpdateResponseCode
	ErrorDescription  string            // for people; never interpreted
	AcceptedTimestamp uint64            // success: milliseconds since 1970
	CurrentEpoch      uint64            // wrongEpoch
	InvalidProposals  []mls.ProposalRef // invalidProposal
}

// UnmarshalUpdateRoomResponse decodes a body that holds nothing else.
func UnmarshalUpdateRoomResponse(data []byte) (*UpdateRoomResponse, error) {
	r := new(UpdateRoomResponse)
	if err := decode(data, "UpdateRoomResponse", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *UpdateRoomResponse) unmarshal(s *cryptobyte.String) (err error) {
	ok := s.ReadUint8((*uint8)(&r.ResponseCode)) && readText(s, &r.ErrorDescription, maxDescription)
	switch r.ResponseCode {
	case UpdateSuccess:
		ok = ok && s.ReadUint64(&r.AcceptedTimestamp)
	case UpdateWrongEpoch:
		ok = ok && s.ReadUint64(&r.CurrentEpoch)
	case UpdateNotAllowed:
	case UpdateInvalidProposal:
		if ok {
			r.InvalidProposals, err = readList(s, "UpdateRoomResponse", readProposalRef)
		}
	default:
		ok = false
	}
	if !ok {
		return malformed("UpdateRoomResponse")
	}
	return err
}

func readProposalRef(s *cryptobyte.String, ref *mls.ProposalRef) error {
	if !syntax.ReadVector(s, (*[]byte)(ref)) {
		return malformed("ProposalRef")
	}
	return nil
}

func (r *UpdateRoomResponse) marshal(b *cryptobyte.Builder) {
	b.AddUint8(uint8(r.ResponseCode))
	addText(b, r.ErrorDescription, maxDescription)
	switch r.ResponseCode {
	case UpdateSuccess:
		b.AddUint64(r.AcceptedTimestamp)
	case UpdateWrongEpoch:
		b.AddUint64(r.CurrentEpoch)
	case UpdateNotAllowed:
	case UpdateInvalidProposal:
		addList(b, r.InvalidProposals, func(b *cryptobyte.Builder, ref *mls.ProposalRef) {
			syntax.AddVector(b, *ref)
		})
	default:
		b.SetError(errors.New("wire: unknown update response code"))
	}
}

// Bytes encodes the response.
func (r *UpdateRoomResponse) Bytes() ([]byte, error) { return encode(r.marshal) }
