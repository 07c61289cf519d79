package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// ProposalType is a code point of the "MLS Proposal Types" registry.
type ProposalType uint16

// The proposal types of RFC 9420 and of draft-ietf-mls-extensions.
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPSK                    ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
	ProposalAppDataUpdate          ProposalType = 8
	ProposalAppEphemeral           ProposalType = 9
	ProposalSelfRemove             ProposalType = 10
)

// isDefault reports whether every client supports the type without listing it.
//
// RFC 9420, Section 7.2
func (t ProposalType) isDefault() bool {
	return t >= ProposalAdd && t <= ProposalGroupContextExtensions
}

// Proposal is one proposal; exactly the field of its type is set.
type Proposal struct {
	Type                   ProposalType
	Add                    *KeyPackage
	Update                 *LeafNode
	Remove                 LeafIndex
	PSK                    *PreSharedKeyID
	ReInit                 *ReInit
	ExternalInit           []byte // kem_output
	GroupContextExtensions Extensions
	AppDataUpdate          *AppDataUpdate
	AppEphemeral           *AppEphemeral
}

// ReInit asks for a new group with other parameters (RFC 9420, Section 12.1.5).
type ReInit struct {
	GroupID     []byte
	Version     uint16
	CipherSuite CipherSuite
	Extensions  Extensions
}

// AppDataUpdate changes or removes one component's data (draft-ietf-mls-extensions, Section 4.7).
type AppDataUpdate struct {
	Component ComponentID
	Remove    bool   // op remove
	Update    []byte // op update
}

// The operations of AppDataUpdate.
const (
	appDataOpUpdate uint8 = 1
	appDataOpRemove uint8 = 2
)

// AppEphemeral attaches data to a commit (draft-ietf-mls-extensions, Section 4.8).
type AppEphemeral struct {
	Component ComponentID
	Data      []byte
}

var (
	errProposal        = errors.New("mls: malformed proposal")
	errUnknownProposal = errors.New("mls: unknown proposal type")
)

// AddProposal proposes to add the client of kp.
func AddProposal(kp *KeyPackage) Proposal { return Proposal{Type: ProposalAdd, Add: kp} }

// RemoveProposal proposes to remove a member.
func RemoveProposal(leaf LeafIndex) Proposal { return Proposal{Type: ProposalRemove, Remove: leaf} }

// AppDataUpdateProposal proposes to update a component.
func AppDataUpdateProposal(id ComponentID, update []byte) Proposal {
	return Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: id, Update: update}}
}

// AppDataRemoveProposal proposes to remove a component's data.
func AppDataRemoveProposal(id ComponentID) Proposal {
	return Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: id, Remove: true}}
}

// GroupContextExtensionsProposal proposes to replace the extensions of the group context.
func GroupContextExtensionsProposal(ext Extensions) Proposal {
	return Proposal{Type: ProposalGroupContextExtensions, GroupContextExtensions: ext}
}

// PSKProposal proposes to inject a pre-shared key.
func PSKProposal(id *PreSharedKeyID) Proposal { return Proposal{Type: ProposalPSK, PSK: id} }

// SelfRemoveProposal proposes to remove its sender.
func SelfRemoveProposal() Proposal { return Proposal{Type: ProposalSelfRemove} }

// Marshal writes p.
func (p *Proposal) Marshal(b *cryptobyte.Builder) error {
	b.AddUint16(uint16(p.Type))
	switch p.Type {
	case ProposalAdd:
		if p.Add == nil {
			return errProposal
		}
		return p.Add.Marshal(b)
	case ProposalUpdate:
		if p.Update == nil {
			return errProposal
		}
		return p.Update.Marshal(b)
	case ProposalRemove:
		b.AddUint32(uint32(p.Remove))
	case ProposalPSK:
		if p.PSK == nil {
			return errProposal
		}
		return p.PSK.Marshal(b)
	case ProposalReInit:
		return p.ReInit.marshal(b)
	case ProposalExternalInit:
		syntax.AddVector(b, p.ExternalInit)
	case ProposalGroupContextExtensions:
		return p.GroupContextExtensions.Marshal(b)
	default:
		return p.marshalExtended(b)
	}
	return nil
}

// marshalExtended writes the body of a proposal of draft-ietf-mls-extensions.
func (p *Proposal) marshalExtended(b *cryptobyte.Builder) error {
	switch p.Type {
	case ProposalAppDataUpdate:
		return p.AppDataUpdate.marshal(b)
	case ProposalAppEphemeral:
		if p.AppEphemeral == nil {
			return errProposal
		}
		b.AddUint16(uint16(p.AppEphemeral.Component))
		syntax.AddVector(b, p.AppEphemeral.Data)
	case ProposalSelfRemove:
	default:
		return errUnknownProposal
	}
	return nil
}

func (r *ReInit) marshal(b *cryptobyte.Builder) error {
	if r == nil {
		return errProposal
	}
	syntax.AddVector(b, r.GroupID)
	b.AddUint16(r.Version)
	b.AddUint16(uint16(r.CipherSuite))
	return r.Extensions.Marshal(b)
}

func (u *AppDataUpdate) marshal(b *cryptobyte.Builder) error {
	if u == nil {
		return errProposal
	}
	b.AddUint16(uint16(u.Component))
	if u.Remove {
		b.AddUint8(appDataOpRemove)
		return nil
	}
	b.AddUint8(appDataOpUpdate)
	syntax.AddVector(b, u.Update)
	return nil
}

// Unmarshal reads p from the front of s. A type this package does not know is refused: where its body ends cannot be
// told, and guessing is how parsers become quadratic.
func (p *Proposal) Unmarshal(s *cryptobyte.String) error {
	*p = Proposal{}
	if !s.ReadUint16((*uint16)(&p.Type)) {
		return errProposal
	}
	switch p.Type {
	case ProposalAdd:
		p.Add = new(KeyPackage)
		return p.Add.Unmarshal(s)
	case ProposalUpdate:
		p.Update = new(LeafNode)
		return p.Update.Unmarshal(s)
	case ProposalPSK:
		p.PSK = new(PreSharedKeyID)
		return p.PSK.Unmarshal(s)
	case ProposalReInit:
		p.ReInit = new(ReInit)
		return p.ReInit.unmarshal(s)
	case ProposalGroupContextExtensions:
		return p.GroupContextExtensions.Unmarshal(s)
	case ProposalRemove, ProposalExternalInit, ProposalAppDataUpdate, ProposalAppEphemeral, ProposalSelfRemove:
		if !p.unmarshalShort(s) {
			return errProposal
		}
		return nil
	default:
		return errUnknownProposal
	}
}

// unmarshalShort reads the body of a proposal that holds no structure of its own file.
func (p *Proposal) unmarshalShort(s *cryptobyte.String) bool {
	switch p.Type {
	case ProposalRemove:
		return s.ReadUint32((*uint32)(&p.Remove))
	case ProposalExternalInit:
		return syntax.ReadVector(s, &p.ExternalInit)
	case ProposalAppDataUpdate:
		p.AppDataUpdate = new(AppDataUpdate)
		return p.AppDataUpdate.unmarshal(s)
	case ProposalAppEphemeral:
		p.AppEphemeral = new(AppEphemeral)
		return s.ReadUint16((*uint16)(&p.AppEphemeral.Component)) && syntax.ReadVector(s, &p.AppEphemeral.Data)
	default: // SelfRemove has no body
		return true
	}
}

func (r *ReInit) unmarshal(s *cryptobyte.String) error {
	if !syntax.ReadVector(s, &r.GroupID) || !s.ReadUint16(&r.Version) || !s.ReadUint16((*uint16)(&r.CipherSuite)) {
		return errProposal
	}
	return r.Extensions.Unmarshal(s)
}

func (u *AppDataUpdate) unmarshal(s *cryptobyte.String) bool {
	var op uint8
	if !s.ReadUint16((*uint16)(&u.Component)) || !s.ReadUint8(&op) {
		return false
	}
	switch op {
	case appDataOpUpdate:
		return syntax.ReadVector(s, &u.Update)
	case appDataOpRemove:
		u.Remove = true
		return true
	default:
		return false
	}
}
