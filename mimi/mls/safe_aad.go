package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// SafeAADItem is the authenticated data of one component.
type SafeAADItem struct {
	Component ComponentID
	Data      []byte
}

// SafeAAD is the whole authenticated_data of every message in a group whose context has the safe_aad component:
// ascending by component, at most one item each.
//
// draft-ietf-mls-extensions, Section 4.9
type SafeAAD []SafeAADItem

var errSafeAAD = errors.New("mls: malformed safe AAD")

// UnmarshalSafeAAD decodes an authenticated_data that is exactly one SafeAAD.
func UnmarshalSafeAAD(data []byte) (SafeAAD, error) {
	var a SafeAAD
	if err := unmarshalAll(data, &a); err != nil {
		return nil, err
	}
	return a, nil
}

// Bytes encodes a; without items that is the single octet 00.
func (a SafeAAD) Bytes() ([]byte, error) { return marshalSized(a, 64) }

// Get returns the data of a component.
func (a SafeAAD) Get(id ComponentID) ([]byte, bool) {
	for i := range a {
		if a[i].Component == id {
			return a[i].Data, true
		}
	}
	return nil, false
}

// Marshal writes a; items out of order are an error.
func (a SafeAAD) Marshal(b *cryptobyte.Builder) error {
	size := 0
	for i := range a {
		if i > 0 && a[i].Component <= a[i-1].Component {
			return errSafeAAD
		}
		size += 2 + syntax.VectorSize(len(a[i].Data))
	}
	syntax.AddVarint(b, size)
	for i := range a {
		b.AddUint16(uint16(a[i].Component))
		syntax.AddVector(b, a[i].Data)
	}
	return nil
}

// Unmarshal reads a from the front of s.
func (a *SafeAAD) Unmarshal(s *cryptobyte.String) error {
	*a = nil
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return errSafeAAD
	}
	for !list.Empty() {
		var x SafeAADItem
		if !list.ReadUint16((*uint16)(&x.Component)) || !syntax.ReadVector(&list, &x.Data) {
			return errSafeAAD
		}
		if n := len(*a); n > 0 && x.Component <= (*a)[n-1].Component {
			return errSafeAAD
		}
		*a = append(*a, x)
	}
	return nil
}
