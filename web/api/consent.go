package api

import "golang.org/x/crypto/cryptobyte"

// ComponentBlock is the component, of the private range, with which a browser makes its ConsentRevoke for every room
// more than that: BlockSet blocks the requester, BlockLift takes the block and the revocation back. It goes nowhere else.
const ComponentBlock = 0xF0C0

// The values of ComponentBlock.
var (
	BlockSet  = []byte{1}
	BlockLift = []byte{0}
)

// ConsentState is what is known of a request for consent, or of a consent without one.
type ConsentState uint8

// The states of a consent.
const (
	ConsentAsked   ConsentState = 1 // and not answered
	ConsentGranted ConsentState = 2
	ConsentDenied  ConsentState = 3
	ConsentBlocked ConsentState = 4 // the target wants to hear nothing of the requester
)

// Consent is one line of a ConsentList.
type Consent struct {
	State     ConsentState
	Mutual    bool   // the requester has asked, whatever the answer is: the target may fetch its KeyPackages in turn
	Requester string // user URI
	Target    string // user URI
	Room      string // room URI; empty: every room
	Changed   uint64 // ms since 1970
}

// ConsentList is the answer to OpConsents: what concerns the user as requester or target, to the end of the body.
type ConsentList []Consent

// UnmarshalConsentList decodes a whole body.
func UnmarshalConsentList(data []byte) (ConsentList, error) {
	var l ConsentList
	err := decode(data, &l)
	return l, err
}

// Bytes encodes the body.
func (l ConsentList) Bytes() ([]byte, error) { return encode(&l) }

const mutualFlag = 0x80 // beside the state

func (l *ConsentList) marshal(b *cryptobyte.Builder) {
	for _, c := range *l {
		state := uint8(c.State)
		if c.Mutual {
			state |= mutualFlag
		}
		b.AddUint8(state)
		addString(b, c.Requester)
		addString(b, c.Target)
		addString(b, c.Room)
		b.AddUint64(c.Changed)
	}
}

func (l *ConsentList) unmarshal(s *cryptobyte.String) bool {
	for !s.Empty() {
		var c Consent
		var state uint8
		if !s.ReadUint8(&state) || !readString(s, &c.Requester) || !readString(s, &c.Target) || !readString(s, &c.Room) ||
			!s.ReadUint64(&c.Changed) {
			return false
		}
		c.State, c.Mutual = ConsentState(state&^mutualFlag), state&mutualFlag != 0
		*l = append(*l, c)
	}
	return true
}
