package wire

import (
	"errors"
	"io"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/internal/syntax"
	"kith/mimi/mls"
)

const (
	groupInfoRequestLabel  = "GroupInfoRequestTBS"
	groupInfoResponseLabel = "GroupInfoResponseTBS"
	groupInfoEncryptLabel  = "GroupInfo and ratchet_tree encryption"
)

// GroupInfoRequest asks the hub for what an external join needs.
//
// draft-ietf-mimi-protocol-06, Section 5.6
type GroupInfoRequest struct {
	Protocol               Protocol
	CipherSuite            mls.CipherSuite
	RequestingSignatureKey mls.SignaturePublicKey
	RequestingCredential   mls.Credential
	GroupInfoPublicKey     mls.HPKEPublicKey
	JoiningCode            []byte // nil if there is none
	Signature              []byte
}

// UnmarshalGroupInfoRequest decodes a body that holds nothing else.
func UnmarshalGroupInfoRequest(data []byte) (*GroupInfoRequest, error) {
	r := new(GroupInfoRequest)
	if err := decode(data, "GroupInfoRequest", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *GroupInfoRequest) unmarshal(s *cryptobyte.String) error {
	if !readProtocol(s, &r.Protocol) || !s.ReadUint16((*uint16)(&r.CipherSuite)) ||
		!syntax.ReadVector(s, (*[]byte)(&r.RequestingSignatureKey)) {
		return malformed("GroupInfoRequest")
	}
	if err := r.RequestingCredential.Unmarshal(s); err != nil {
		return err
	}
	var code bool
	if !syntax.ReadVector(s, (*[]byte)(&r.GroupInfoPublicKey)) || !syntax.ReadOptional(s, &code) {
		return malformed("GroupInfoRequest")
	}
	if code {
		if !syntax.ReadVector(s, &r.JoiningCode) {
			return malformed("GroupInfoRequest")
		}
		if r.JoiningCode == nil {
			r.JoiningCode = []byte{}
		}
	}
	if !syntax.ReadVector(s, &r.Signature) {
		return malformed("GroupInfoRequest")
	}
	return nil
}

// marshalTBS writes GroupInfoRequestTBS: everything but the signature.
func (r *GroupInfoRequest) marshalTBS(b *cryptobyte.Builder) {
	addProtocol(b, r.Protocol)
	b.AddUint16(uint16(r.CipherSuite))
	syntax.AddVector(b, r.RequestingSignatureKey)
	b.AddValue(r.RequestingCredential)
	syntax.AddVector(b, r.GroupInfoPublicKey)
	syntax.AddOptional(b, r.JoiningCode != nil)
	if r.JoiningCode != nil {
		syntax.AddVector(b, r.JoiningCode)
	}
}

func (r *GroupInfoRequest) marshal(b *cryptobyte.Builder) {
	r.marshalTBS(b)
	syntax.AddVector(b, r.Signature)
}

// Bytes encodes the request.
func (r *GroupInfoRequest) Bytes() ([]byte, error) { return encode(r.marshal) }

// Sign sets the requester's suite, key and signature.
func (r *GroupInfoRequest) Sign(key *mls.SignatureKey) error {
	r.CipherSuite, r.RequestingSignatureKey = key.CipherSuite(), key.Public()
	tbs, err := encode(r.marshalTBS)
	if err != nil {
		return err
	}
	r.Signature, err = key.SignWithLabel(groupInfoRequestLabel, tbs)
	return err
}

// Verify checks the signature under the requester's own key.
func (r *GroupInfoRequest) Verify() error {
	tbs, err := encode(r.marshalTBS)
	if err != nil {
		return err
	}
	return mls.VerifyWithLabel(r.CipherSuite, r.RequestingSignatureKey, groupInfoRequestLabel, tbs, r.Signature)
}

// GroupInfoCode is the hub's decision on a GroupInfoRequest.
type GroupInfoCode uint8

// The values of GroupInfoCode.
const (
	GroupInfoSuccess       GroupInfoCode = 1
	GroupInfoNotAuthorized GroupInfoCode = 2
	GroupInfoNoSuchRoom    GroupInfoCode = 3
)

// GroupInfoResponse answers a GroupInfoRequest. The fields after Status exist on success only.
//
// draft-ietf-mimi-protocol-06, Section 5.6
type GroupInfoResponse struct {
	Protocol                  Protocol
	RoomID                    mimi.RoomID
	Status                    GroupInfoCode
	CipherSuite               mls.CipherSuite
	HubSender                 mls.ExternalSender
	EncryptedGroupInfoAndTree mls.HPKECiphertext
	Signature                 []byte
}

// UnmarshalGroupInfoResponse decodes a body that holds nothing else.
func UnmarshalGroupInfoResponse(data []byte) (*GroupInfoResponse, error) {
	r := new(GroupInfoResponse)
	if err := decode(data, "GroupInfoResponse", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *GroupInfoResponse) unmarshal(s *cryptobyte.String) error {
	if !readProtocol(s, &r.Protocol) || !readURI(s, &r.RoomID, parseRoom) || !s.ReadUint8((*uint8)(&r.Status)) {
		return malformed("GroupInfoResponse")
	}
	switch r.Status {
	case GroupInfoSuccess:
	case GroupInfoNotAuthorized, GroupInfoNoSuchRoom:
		return nil
	default:
		return malformed("GroupInfoResponse: status")
	}
	if !s.ReadUint16((*uint16)(&r.CipherSuite)) {
		return malformed("GroupInfoResponse")
	}
	if err := r.HubSender.Unmarshal(s); err != nil {
		return err
	}
	if err := r.EncryptedGroupInfoAndTree.Unmarshal(s); err != nil {
		return err
	}
	if !syntax.ReadVector(s, &r.Signature) {
		return malformed("GroupInfoResponse")
	}
	return nil
}

// marshalTBS writes GroupInfoResponseTBS: everything but the signature.
func (r *GroupInfoResponse) marshalTBS(b *cryptobyte.Builder) {
	addProtocol(b, r.Protocol)
	addURI(b, r.RoomID)
	b.AddUint8(uint8(r.Status))
	switch r.Status {
	case GroupInfoSuccess:
		b.AddUint16(uint16(r.CipherSuite))
		b.AddValue(r.HubSender)
		b.AddValue(r.EncryptedGroupInfoAndTree)
	case GroupInfoNotAuthorized, GroupInfoNoSuchRoom:
	default:
		b.SetError(errors.New("wire: unknown GroupInfo status"))
	}
}

func (r *GroupInfoResponse) marshal(b *cryptobyte.Builder) {
	r.marshalTBS(b)
	if r.Status == GroupInfoSuccess {
		syntax.AddVector(b, r.Signature)
	}
}

// Bytes encodes the response.
func (r *GroupInfoResponse) Bytes() ([]byte, error) { return encode(r.marshal) }

// Sign signs a successful response with the key of its HubSender.
func (r *GroupInfoResponse) Sign(key *mls.SignatureKey) error {
	tbs, err := encode(r.marshalTBS)
	if err != nil {
		return err
	}
	r.Signature, err = key.SignWithLabel(groupInfoResponseLabel, tbs)
	return err
}

// Verify checks the signature of a successful response under the key of its HubSender. That this sender is the
// hub of the room is for the caller to check, against external_senders of the decrypted GroupInfo.
func (r *GroupInfoResponse) Verify() error {
	if r.Status != GroupInfoSuccess {
		return errors.New("wire: refusals are not signed")
	}
	tbs, err := encode(r.marshalTBS)
	if err != nil {
		return err
	}
	return mls.VerifyWithLabel(r.CipherSuite, r.HubSender.SignatureKey, groupInfoResponseLabel, tbs, r.Signature)
}

// PendingProposal is a proposal the hub accepted in the current epoch.
type PendingProposal struct {
	Proposal        MLSMessage
	HubAcceptedTime uint64
}

// GroupInfoRatchetTree is what GroupInfoResponse carries encrypted.
//
// draft-ietf-mimi-protocol-06, Section 5.6
type GroupInfoRatchetTree struct {
	GroupInfo         *mls.GroupInfo // without ratchet_tree
	RatchetTreeOption RatchetTreeOption
	PendingProposals  []PendingProposal
}

// UnmarshalGroupInfoRatchetTree decodes a plaintext that holds nothing else.
func UnmarshalGroupInfoRatchetTree(data []byte) (*GroupInfoRatchetTree, error) {
	t := new(GroupInfoRatchetTree)
	if err := decode(data, "GroupInfoRatchetTreeTBE", t.unmarshal); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *GroupInfoRatchetTree) unmarshal(s *cryptobyte.String) (err error) {
	t.GroupInfo = new(mls.GroupInfo)
	if err := t.GroupInfo.Unmarshal(s); err != nil {
		return err
	}
	if err := t.RatchetTreeOption.unmarshal(s); err != nil {
		return err
	}
	t.PendingProposals, err = readList(s, "PendingProposal", readPendingProposal)
	return err
}

func readPendingProposal(s *cryptobyte.String, p *PendingProposal) error {
	if err := p.Proposal.unmarshal(s); err != nil {
		return err
	}
	if !p.Proposal.handshake(mls.ContentTypeProposal) || !s.ReadUint64(&p.HubAcceptedTime) {
		return malformed("PendingProposal")
	}
	return nil
}

func (t *GroupInfoRatchetTree) marshal(b *cryptobyte.Builder) {
	if t.GroupInfo == nil {
		b.SetError(errors.New("wire: GroupInfo missing"))
		return
	}
	b.AddValue(t.GroupInfo)
	t.RatchetTreeOption.marshal(b)
	addList(b, t.PendingProposals, func(b *cryptobyte.Builder, p *PendingProposal) {
		if !p.Proposal.handshake(mls.ContentTypeProposal) {
			b.SetError(errors.New("wire: not a proposal"))
			return
		}
		p.Proposal.marshal(b)
		b.AddUint64(p.HubAcceptedTime)
	})
}

// Bytes encodes the plaintext.
func (t *GroupInfoRatchetTree) Bytes() ([]byte, error) { return encode(t.marshal) }

// Encrypt seals t to the key a GroupInfoRequest for room named.
//
// draft-ietf-mimi-protocol-06, Section 5.6: the context is the room's URI.
func (t *GroupInfoRatchetTree) Encrypt(cs mls.CipherSuite, rand io.Reader, to mls.HPKEPublicKey, room mimi.RoomID) (mls.HPKECiphertext, error) {
	plain, err := t.Bytes()
	if err != nil {
		return mls.HPKECiphertext{}, err
	}
	return mls.EncryptWithLabel(cs, rand, to, groupInfoEncryptLabel, []byte(room.String()), plain)
}

// Open decrypts a successful response with the private key of the request's GroupInfoPublicKey.
func (r *GroupInfoResponse) Open(key *mls.HPKEPrivateKey) (*GroupInfoRatchetTree, error) {
	if r.Status != GroupInfoSuccess {
		return nil, errors.New("wire: refusals carry no GroupInfo")
	}
	plain, err := key.DecryptWithLabel(groupInfoEncryptLabel, []byte(r.RoomID.String()), r.EncryptedGroupInfoAndTree)
	if err != nil {
		return nil, err
	}
	return UnmarshalGroupInfoRatchetTree(plain)
}
