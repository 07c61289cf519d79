package wire

import (
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/mls"
)

// FanoutMessage is one event of a room as the hub distributes it.
//
// draft-ietf-mimi-protocol-06, Section 5.5
type FanoutMessage struct {
	Timestamp uint64 // the hub's acceptance time in milliseconds since 1970
	Message   MLSMessage

	Frank             *Frank            // application message; may be nil
	RatchetTreeOption RatchetTreeOption // Welcome
	MoreProposals     []MLSMessage      // proposal: the rest of its bundle
	ExternalProposals []MLSMessage      // commit: the hub's proposals re-issued in the new epoch
}

// UnmarshalFanoutMessage decodes a single event.
func UnmarshalFanoutMessage(data []byte) (*FanoutMessage, error) {
	m := new(FanoutMessage)
	if err := decode(data, "FanoutMessage", m.unmarshal); err != nil {
		return nil, err
	}
	return m, nil
}

// UnmarshalFanoutMessages decodes the body of a notify request: one event or more, back to back.
func UnmarshalFanoutMessages(data []byte) ([]*FanoutMessage, error) {
	parts, err := SplitFanoutMessages(data, len(data))
	if err != nil {
		return nil, err
	}
	list := make([]*FanoutMessage, len(parts))
	for i, p := range parts {
		list[i] = p.Message
	}
	return list, nil
}

// FanoutPart is one event of a notify request with its own octets.
type FanoutPart struct {
	Message *FanoutMessage
	Raw     []byte
}

// ErrTooMany says that there are more events in a body than whoever reads it wants.
var ErrTooMany = errors.New("wire: too many events in one body")

// SplitFanoutMessages is UnmarshalFanoutMessages for those who pass the events on as they are. The parts share data's
// memory; those beyond limit are not even looked at, because an event takes many times its octets once it is decoded.
func SplitFanoutMessages(data []byte, limit int) ([]FanoutPart, error) {
	var list []FanoutPart
	for s := cryptobyte.String(data); !s.Empty() || len(list) == 0; {
		if len(list) >= max(limit, 1) {
			return nil, ErrTooMany
		}
		before := s
		m := new(FanoutMessage)
		if err := m.unmarshal(&s); err != nil {
			return nil, err
		}
		list = append(list, FanoutPart{m, before[:len(before)-len(s)]})
	}
	return list, nil
}

func (m *FanoutMessage) unmarshal(s *cryptobyte.String) (err error) {
	if !s.ReadUint64(&m.Timestamp) {
		return malformed("FanoutMessage")
	}
	if err := m.Message.unmarshal(s); err != nil {
		return err
	}
	switch {
	case isApplication(&m.Message):
		m.Frank, err = readOptionalFrank(s)
	case m.Message.WireFormat == mls.WireFormatWelcome:
		err = m.RatchetTreeOption.unmarshal(s)
	case m.Message.handshake(mls.ContentTypeProposal):
		m.MoreProposals, err = readMessages(s, "FanoutMessage")
	case m.Message.handshake(mls.ContentTypeCommit):
		m.ExternalProposals, err = readMessages(s, "FanoutMessage")
	default:
		err = malformed("FanoutMessage: message of this kind")
	}
	return err
}

func (m *FanoutMessage) marshal(b *cryptobyte.Builder) {
	b.AddUint64(m.Timestamp)
	m.Message.marshal(b)
	switch {
	case isApplication(&m.Message):
		addOptionalFrank(b, m.Frank)
	case m.Message.Message != nil && m.Message.WireFormat == mls.WireFormatWelcome:
		m.RatchetTreeOption.marshal(b)
	case m.Message.handshake(mls.ContentTypeProposal):
		addMessages(b, m.MoreProposals)
	case m.Message.handshake(mls.ContentTypeCommit):
		addMessages(b, m.ExternalProposals)
	default:
		b.SetError(errors.New("wire: a message of this kind is not distributed"))
	}
}

// Bytes encodes the event.
func (m *FanoutMessage) Bytes() ([]byte, error) { return encode(m.marshal) }

// FanoutApplication encodes the event of an application message in one allocation. frank is nil if it was not franked.
func FanoutApplication(timestamp uint64, m MLSMessage, frank *Frank) []byte {
	size := 8 + len(m.Raw) + 1
	if frank != nil {
		size += len(frank.ServerFrank) + 2 + 2 + len(frank.FrankingIntegritySignature)
	}
	out := make([]byte, 0, size)
	out = binary.BigEndian.AppendUint64(out, timestamp)
	out = append(out, m.Raw...)
	if frank == nil {
		return append(out, 0) // optional<Frank>: absent
	}
	return frank.append(append(out, 1))
}
