package mls

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// PSKType says where a pre-shared key comes from (RFC 9420, Section 8.4).
type PSKType uint8

// The PSK types of RFC 9420 and of draft-ietf-mls-extensions, Section 4.5.
const (
	PSKExternal    PSKType = 1
	PSKResumption  PSKType = 2
	PSKApplication PSKType = 3
)

// ResumptionPSKUsage says what a resumption PSK is used for (RFC 9420, Section 8.4).
type ResumptionPSKUsage uint8

// The usages of RFC 9420.
const (
	ResumptionApplication ResumptionPSKUsage = 1
	ResumptionReInit      ResumptionPSKUsage = 2
	ResumptionBranch      ResumptionPSKUsage = 3
)

// PreSharedKeyID names one PSK and, with its nonce, one use of it.
type PreSharedKeyID struct {
	Type      PSKType
	ID        []byte             // external, application
	Usage     ResumptionPSKUsage // resumption
	GroupID   []byte             // resumption
	Epoch     uint64             // resumption
	Component ComponentID        // application
	Nonce     []byte
}

// ErrUnknownPSK refuses a commit or a Welcome with a pre-shared key that neither the group nor Config.PSK knows.
var ErrUnknownPSK = errors.New("mls: pre-shared key is not available")

var (
	errPSK   = errors.New("mls: malformed pre-shared key id")
	errNonce = errors.New("mls: PSK nonce has the wrong length")
)

// linking reports whether the PSK ties a group to the one from which it follows.
//
// RFC 9420, Sections 11.2 and 11.3
func (p *PreSharedKeyID) linking() bool {
	return p.Type == PSKResumption && p.Usage != ResumptionApplication
}

// Marshal writes p.
func (p *PreSharedKeyID) Marshal(b *cryptobyte.Builder) error {
	b.AddUint8(uint8(p.Type))
	switch p.Type {
	case PSKExternal:
		syntax.AddVector(b, p.ID)
	case PSKResumption:
		b.AddUint8(uint8(p.Usage))
		syntax.AddVector(b, p.GroupID)
		b.AddUint64(p.Epoch)
	case PSKApplication:
		b.AddUint16(uint16(p.Component))
		syntax.AddVector(b, p.ID)
	default:
		return errPSK
	}
	syntax.AddVector(b, p.Nonce)
	return nil
}

// Unmarshal reads p from the front of s.
func (p *PreSharedKeyID) Unmarshal(s *cryptobyte.String) error {
	*p = PreSharedKeyID{}
	if !s.ReadUint8((*uint8)(&p.Type)) || !p.unmarshalBody(s) || !syntax.ReadVector(s, &p.Nonce) {
		return errPSK
	}
	return nil
}

func (p *PreSharedKeyID) unmarshalBody(s *cryptobyte.String) bool {
	switch p.Type {
	case PSKExternal:
		return syntax.ReadVector(s, &p.ID)
	case PSKResumption:
		return s.ReadUint8((*uint8)(&p.Usage)) && p.Usage >= ResumptionApplication && p.Usage <= ResumptionBranch &&
			syntax.ReadVector(s, &p.GroupID) && s.ReadUint64(&p.Epoch)
	case PSKApplication:
		return s.ReadUint16((*uint16)(&p.Component)) && syntax.ReadVector(s, &p.ID)
	default:
		return false
	}
}

// preSharedKey is a PSK with its identity.
type preSharedKey struct {
	id     PreSharedKeyID
	secret []byte
}

// pskSecret chains the PSKs of a commit in their order; none gives the all-zero vector.
//
// RFC 9420, Section 8.4
func (s *suite) pskSecret(psks []preSharedKey) ([]byte, error) {
	if len(psks) > 0xffff {
		return nil, errors.New("mls: too many pre-shared keys")
	}
	secret := s.zero()
	for i := range psks {
		b := cryptobyte.NewBuilder(make([]byte, 0, 128))
		b.AddValue(&psks[i].id)
		b.AddUint16(uint16(i))
		b.AddUint16(uint16(len(psks)))
		label, err := b.Bytes()
		if err != nil {
			return nil, err
		}
		extracted := s.extract(s.zero(), psks[i].secret)
		secret = s.extract(s.expandWithLabel(extracted, "derived psk", label, s.hashSize), secret)
	}
	return secret, nil
}

// NewPSKProposal proposes to inject the PSK of that id into a group of a suite, with a fresh nonce. The secret of an
// external PSK or of one of a component comes from Config.PSK, as does a resumption PSK of another group; those of
// the group itself are known to it. It serves commits of members and external ones alike.
//
// RFC 9420, Section 8.4; draft-ietf-mls-extensions, Section 4.5
func NewPSKProposal(cfg Config, cs CipherSuite, id PreSharedKeyID) (Proposal, error) {
	s, err := suiteOf(cs)
	if err != nil {
		return Proposal{}, err
	}
	id.ID, id.GroupID, id.Nonce = bytes.Clone(id.ID), bytes.Clone(id.GroupID), make([]byte, s.hashSize)
	if _, err := io.ReadFull(cfg.rand(), id.Nonce); err != nil {
		return Proposal{}, errors.New("mls: no randomness")
	}
	return PSKProposal(&id), nil
}

// PSKs lists the PSKs that one needs to join with a KeyPackage, so that the application can fetch them first, or find
// the group from which the new one follows.
//
// RFC 9420, Section 12.4.3.1
func (w *Welcome) PSKs(key *KeyPackageSecrets) ([]PreSharedKeyID, error) {
	gs, err := w.openSecrets(key)
	if err != nil {
		return nil, err
	}
	return gs.psks, nil
}

// ResumptionPSK is the resumption PSK of the current epoch or of one of the sixteen before it, to inject into another
// group, for instance; false if the epoch is none of them.
//
// RFC 9420, Section 8.6
func (g *Group) ResumptionPSK(epoch uint64) ([]byte, bool) {
	secret := g.ownResumptionPSK(&PreSharedKeyID{GroupID: g.state.context.GroupID, Epoch: epoch})
	return bytes.Clone(secret), secret != nil
}

// ownResumptionPSK is a resumption PSK of this group, nil if it is another's or no longer kept.
func (g *Group) ownResumptionPSK(id *PreSharedKeyID) []byte {
	if !bytes.Equal(id.GroupID, g.state.context.GroupID) || g.secrets == nil {
		return nil
	}
	if id.Epoch == g.state.context.Epoch {
		return g.secrets.resumption
	}
	for _, r := range g.resumption {
		if r.epoch == id.Epoch {
			return r.secret
		}
	}
	return nil
}
