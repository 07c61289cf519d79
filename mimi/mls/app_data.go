package mls

import (
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// ComponentID names a component of the application (draft-ietf-mls-extensions, Section 4.1).
type ComponentID uint16

// The components of draft-ietf-mls-extensions.
const (
	ComponentAppComponents        ComponentID = 0x0001
	ComponentSafeAAD              ComponentID = 0x0002
	ComponentContentMediaTypes    ComponentID = 0x0003
	ComponentLastResortKeyPackage ComponentID = 0x0004
	ComponentAppAck               ComponentID = 0x0005
)

// ComponentData is the data of one component.
type ComponentData struct {
	ID   ComponentID
	Data []byte
}

// AppDataDictionary is the body of the app_data_dictionary extension: sorted by component, at most one entry each.
//
// draft-ietf-mls-extensions, Section 4.6
type AppDataDictionary []ComponentData

var errDictionary = errors.New("mls: malformed app_data_dictionary")

// Get returns the data of a component.
func (d AppDataDictionary) Get(id ComponentID) ([]byte, bool) {
	i, ok := d.find(id)
	if !ok {
		return nil, false
	}
	return d[i].Data, true
}

// Set returns a copy of the dictionary in which id has the given data.
func (d AppDataDictionary) Set(id ComponentID, data []byte) AppDataDictionary {
	out := slices.Clone(d)
	i, ok := out.find(id)
	if ok {
		out[i].Data = data
		return out
	}
	return slices.Insert(out, i, ComponentData{ID: id, Data: data})
}

// Remove returns a copy of the dictionary without id.
func (d AppDataDictionary) Remove(id ComponentID) AppDataDictionary {
	return slices.DeleteFunc(slices.Clone(d), func(c ComponentData) bool { return c.ID == id })
}

// merge returns a copy of the dictionary with the given components changed, or removed where nil.
func (d AppDataDictionary) merge(changes map[ComponentID]*ComponentData) AppDataDictionary {
	out := make(AppDataDictionary, 0, len(d)+len(changes))
	for _, c := range d {
		if _, changed := changes[c.ID]; !changed {
			out = append(out, c)
		}
	}
	for _, c := range changes {
		if c != nil {
			out = append(out, *c)
		}
	}
	slices.SortStableFunc(out, func(a, b ComponentData) int { return int(a.ID) - int(b.ID) })
	return out
}

func (d AppDataDictionary) find(id ComponentID) (int, bool) {
	return slices.BinarySearchFunc(d, id, func(c ComponentData, id ComponentID) int { return int(c.ID) - int(id) })
}

// Marshal writes d; entries out of order are an error.
func (d AppDataDictionary) Marshal(b *cryptobyte.Builder) error {
	size := 0
	for i := range d {
		if i > 0 && d[i].ID <= d[i-1].ID {
			return errDictionary
		}
		size += 2 + syntax.VectorSize(len(d[i].Data))
	}
	syntax.AddVarint(b, size)
	for i := range d {
		b.AddUint16(uint16(d[i].ID))
		syntax.AddVector(b, d[i].Data)
	}
	return nil
}

// Unmarshal reads d from the front of s.
func (d *AppDataDictionary) Unmarshal(s *cryptobyte.String) error {
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return errDictionary
	}
	*d = nil
	for !list.Empty() {
		var c ComponentData
		if !list.ReadUint16((*uint16)(&c.ID)) || !syntax.ReadVector(&list, &c.Data) {
			return errDictionary
		}
		if n := len(*d); n > 0 && c.ID <= (*d)[n-1].ID {
			return errDictionary
		}
		*d = append(*d, c)
	}
	return nil
}

// AppData decodes the app_data_dictionary extension; without one the dictionary is empty.
func (e Extensions) AppData() (AppDataDictionary, error) {
	data, ok := e.Get(ExtensionAppDataDictionary)
	if !ok {
		return nil, nil
	}
	var d AppDataDictionary
	s := cryptobyte.String(data)
	if err := d.Unmarshal(&s); err != nil {
		return nil, err
	}
	if !s.Empty() {
		return nil, errDictionary
	}
	return d, nil
}

// SetAppData returns a copy of the list with d as its app_data_dictionary extension.
func (e Extensions) SetAppData(d AppDataDictionary) (Extensions, error) {
	data, err := marshal(d)
	if err != nil {
		return nil, err
	}
	return e.Set(ExtensionAppDataDictionary, data), nil
}

// ComponentsList is the data of the app_components and safe_aad components (draft-ietf-mls-extensions, Section 5).
type ComponentsList []ComponentID

// Bytes encodes the list.
func (l ComponentsList) Bytes() ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	syntax.AddUint16s(b, l)
	return b.Bytes()
}

// UnmarshalComponentsList decodes a list. Unknown identifiers, GREASE among them, are kept.
func UnmarshalComponentsList(data []byte) (ComponentsList, error) {
	var l []ComponentID
	s := cryptobyte.String(data)
	if !syntax.ReadUint16s(&s, &l) || !s.Empty() {
		return nil, errors.New("mls: malformed list of components")
	}
	return l, nil
}
