package policy

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// BasePolicy holds the top-level constraints of a room.
//
// draft-ietf-mimi-room-policy-03, Section 5: BaseRoomPolicy.
type BasePolicy struct {
	FixedMembership    bool
	ParentDependant    bool
	ParentRoom         []string // none, or one room URI if ParentDependant
	MultiDevice        bool
	MaxClients         *uint32
	MaxUsers           *uint32
	PseudonymsAllowed  bool
	PersistentRoom     bool
	Discoverable       bool
	PolicyComponentIDs []uint16
}

func readBasePolicy(s *cryptobyte.String, p *BasePolicy) bool {
	ok := readBool(s, &p.FixedMembership) && readBool(s, &p.ParentDependant) &&
		readList(s, &p.ParentRoom, readText) && readBool(s, &p.MultiDevice) &&
		readOptionalUint32(s, &p.MaxClients) && readOptionalUint32(s, &p.MaxUsers) &&
		readBool(s, &p.PseudonymsAllowed) && readBool(s, &p.PersistentRoom) && readBool(s, &p.Discoverable) &&
		syntax.ReadUint16s(s, &p.PolicyComponentIDs)
	return ok && p.parentValid()
}

// parentValid: the parent is named exactly if there is one.
//
// draft-ietf-mimi-room-policy-03, Section 5
func (p *BasePolicy) parentValid() bool {
	if p.ParentDependant {
		return len(p.ParentRoom) == 1
	}
	return len(p.ParentRoom) == 0
}

// UnmarshalBasePolicy decodes the data of BaseRoomPolicy; an update has the same form.
func UnmarshalBasePolicy(data []byte) (p BasePolicy, err error) {
	err = decode(data, "base room policy", func(s *cryptobyte.String) bool { return readBasePolicy(s, &p) })
	return p, err
}

// Bytes encodes the policy.
func (p BasePolicy) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		if !p.parentValid() {
			b.SetError(errors.New("policy: parent room does not fit"))
		}
		addBool(b, p.FixedMembership)
		addBool(b, p.ParentDependant)
		addList(b, p.ParentRoom, addText)
		addBool(b, p.MultiDevice)
		addOptionalUint32(b, p.MaxClients)
		addOptionalUint32(b, p.MaxUsers)
		addBool(b, p.PseudonymsAllowed)
		addBool(b, p.PersistentRoom)
		addBool(b, p.Discoverable)
		syntax.AddUint16s(b, p.PolicyComponentIDs)
	})
}
