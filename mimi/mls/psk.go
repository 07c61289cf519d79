package mls

import (
	"errors"

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

var errPSK = errors.New("mls: malformed pre-shared key id")

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
