package mls

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// MessageRange is a span of generations of one sender's application messages, both ends included.
type MessageRange struct {
	Sender                          LeafIndex
	FirstGeneration, LastGeneration uint32
}

// AppAck says which application messages of the epoch somebody has received. It is the data of an AppEphemeral proposal
// of the component app_ack, so that a delivery service that drops messages must stop the group to hide it.
//
// draft-ietf-mls-extensions, Section 6.1
type AppAck []MessageRange

var errAppAck = errors.New("mls: malformed AppAck")

// Bytes encodes a.
func (a AppAck) Bytes() ([]byte, error) { return marshalSized(a, 2+12*len(a)) }

// UnmarshalAppAck decodes the data of a proposal.
func UnmarshalAppAck(data []byte) (AppAck, error) {
	var a AppAck
	if err := unmarshalAll(data, &a); err != nil {
		return nil, err
	}
	return a, nil
}

// Marshal writes a.
func (a AppAck) Marshal(b *cryptobyte.Builder) error {
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for _, r := range a {
			b.AddUint32(uint32(r.Sender))
			b.AddUint32(r.FirstGeneration)
			b.AddUint32(r.LastGeneration)
		}
	})
	return nil
}

// Unmarshal reads a from the front of s. A range that ends before it begins is no range.
func (a *AppAck) Unmarshal(s *cryptobyte.String) error {
	*a = nil
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return errAppAck
	}
	for !list.Empty() {
		var r MessageRange
		if !list.ReadUint32((*uint32)(&r.Sender)) || !list.ReadUint32(&r.FirstGeneration) ||
			!list.ReadUint32(&r.LastGeneration) || r.FirstGeneration > r.LastGeneration {
			return errAppAck
		}
		*a = append(*a, r)
	}
	return nil
}

// Add is a with one more message, ascending by sender and generation and with as few ranges as possible.
func (a AppAck) Add(sender LeafIndex, generation uint32) AppAck {
	if a.Has(sender, generation) {
		return a
	}
	added := append(slices.Clone(a), MessageRange{sender, generation, generation})
	slices.SortFunc(added, func(x, y MessageRange) int {
		if x.Sender != y.Sender {
			return cmp.Compare(x.Sender, y.Sender)
		}
		return cmp.Compare(x.FirstGeneration, y.FirstGeneration)
	})
	out := added[:1]
	for _, r := range added[1:] {
		last := &out[len(out)-1]
		if last.Sender == r.Sender && (last.LastGeneration == math.MaxUint32 || last.LastGeneration+1 >= r.FirstGeneration) {
			last.LastGeneration = max(last.LastGeneration, r.LastGeneration)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Has reports whether a message is acknowledged.
func (a AppAck) Has(sender LeafIndex, generation uint32) bool {
	return slices.ContainsFunc(a, func(r MessageRange) bool {
		return r.Sender == sender && r.FirstGeneration <= generation && generation <= r.LastGeneration
	})
}
