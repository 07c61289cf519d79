package wire

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/internal/syntax"
	"kith/mimi/mls"
)

// ConsentOperation is what a ConsentEntry does.
type ConsentOperation uint8

// The values of ConsentOperation: the first two go in requestConsent, the others in updateConsent.
const (
	ConsentCancel  ConsentOperation = 0
	ConsentRequest ConsentOperation = 1
	ConsentGrant   ConsentOperation = 2
	ConsentRevoke  ConsentOperation = 3
)

// ConsentEntry asks for, grants or withdraws the consent that the requester may fetch the target's KeyPackages.
//
// draft-ietf-mimi-protocol-06, Section 5.7. RoomId is an IdentifierUri.
type ConsentEntry struct {
	ConsentOperation  ConsentOperation
	RequesterURI      mimi.UserID
	TargetURI         mimi.UserID
	RoomID            mimi.RoomID       // zero: for every room
	ClientKeyPackages []*mls.KeyPackage // grant
	ConsentExtensions mls.AppDataDictionary
}

// UnmarshalConsentEntry decodes a body that holds nothing else.
func UnmarshalConsentEntry(data []byte) (*ConsentEntry, error) {
	e := new(ConsentEntry)
	if err := decode(data, "ConsentEntry", e.unmarshal); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *ConsentEntry) unmarshal(s *cryptobyte.String) (err error) {
	var room bool
	if !s.ReadUint8((*uint8)(&e.ConsentOperation)) || e.ConsentOperation > ConsentRevoke ||
		!readURI(s, &e.RequesterURI, parseUser) || !readURI(s, &e.TargetURI, parseUser) ||
		!syntax.ReadOptional(s, &room) || room && !readURI(s, &e.RoomID, parseRoom) {
		return malformed("ConsentEntry")
	}
	if e.ConsentOperation == ConsentGrant {
		e.ClientKeyPackages, err = readList(s, "ConsentEntry", func(s *cryptobyte.String, kp **mls.KeyPackage) error {
			*kp = new(mls.KeyPackage)
			return (*kp).Unmarshal(s)
		})
		if err != nil {
			return err
		}
	}
	return e.ConsentExtensions.Unmarshal(s)
}

func (e *ConsentEntry) marshal(b *cryptobyte.Builder) {
	if e.ConsentOperation > ConsentRevoke {
		b.SetError(errors.New("wire: unknown consent operation"))
		return
	}
	b.AddUint8(uint8(e.ConsentOperation))
	addURI(b, e.RequesterURI)
	addURI(b, e.TargetURI)
	syntax.AddOptional(b, !e.RoomID.IsZero())
	if !e.RoomID.IsZero() {
		addURI(b, e.RoomID)
	}
	if e.ConsentOperation == ConsentGrant {
		addList(b, e.ClientKeyPackages, func(b *cryptobyte.Builder, kp **mls.KeyPackage) { b.AddValue(*kp) })
	}
	b.AddValue(e.ConsentExtensions)
}

// Bytes encodes the entry.
func (e *ConsentEntry) Bytes() ([]byte, error) { return encode(e.marshal) }
