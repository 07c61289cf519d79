package mls

import (
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// MediaType is a media type with its parameters (draft-ietf-mls-extensions, Section 6.2.2). An empty Type stands for
// the first type of the group's content_media_types.
type MediaType struct {
	Type       string
	Parameters []MediaTypeParameter
}

// MediaTypeParameter is one parameter, its value without quoting.
type MediaTypeParameter struct{ Name, Value string }

var errMediaType = errors.New("mls: malformed media type")

// Marshal writes m.
func (m MediaType) Marshal(b *cryptobyte.Builder) error {
	syntax.AddVector(b, []byte(m.Type))
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for _, p := range m.Parameters {
			syntax.AddVector(b, []byte(p.Name))
			syntax.AddVector(b, []byte(p.Value))
		}
	})
	return nil
}

// Unmarshal reads m from the front of s.
func (m *MediaType) Unmarshal(s *cryptobyte.String) error {
	*m = MediaType{}
	var name []byte
	var list cryptobyte.String
	if !syntax.ReadVector(s, &name) || !syntax.ReadList(s, &list) {
		return errMediaType
	}
	m.Type = string(name)
	for !list.Empty() {
		var name, value []byte
		if !syntax.ReadVector(&list, &name) || !syntax.ReadVector(&list, &value) {
			return errMediaType
		}
		m.Parameters = append(m.Parameters, MediaTypeParameter{string(name), string(value)})
	}
	return nil
}

// MediaTypeList is the data of the content_media_types component: at least one type.
//
// draft-ietf-mls-extensions, Section 6.2.2
type MediaTypeList []MediaType

// Bytes encodes l.
func (l MediaTypeList) Bytes() ([]byte, error) {
	if len(l) == 0 {
		return nil, errMediaType
	}
	b := cryptobyte.NewBuilder(nil)
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for i := range l {
			b.AddValue(l[i])
		}
	})
	return b.Bytes()
}

// UnmarshalMediaTypeList decodes the data of the content_media_types component.
func UnmarshalMediaTypeList(data []byte) (MediaTypeList, error) {
	var list cryptobyte.String
	s := cryptobyte.String(data)
	if !syntax.ReadList(&s, &list) || !s.Empty() || list.Empty() {
		return nil, errMediaType
	}
	var out MediaTypeList
	for !list.Empty() {
		var m MediaType
		if err := m.Unmarshal(&list); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// ApplicationFraming is the application data of a group whose context has the content_media_types component.
//
// draft-ietf-mls-extensions, Section 6.2.4
type ApplicationFraming struct {
	MediaType MediaType
	Content   []byte
}

// UnmarshalApplicationFraming decodes application data that is exactly one ApplicationFraming.
func UnmarshalApplicationFraming(data []byte) (*ApplicationFraming, error) {
	f := new(ApplicationFraming)
	if err := unmarshalAll(data, f); err != nil {
		return nil, err
	}
	return f, nil
}

// Bytes encodes f.
func (f *ApplicationFraming) Bytes() ([]byte, error) { return marshalSized(f, len(f.Content)+64) }

// Marshal writes f.
func (f *ApplicationFraming) Marshal(b *cryptobyte.Builder) error {
	b.AddValue(f.MediaType)
	syntax.AddVector(b, f.Content)
	return nil
}

// Unmarshal reads f from the front of s.
func (f *ApplicationFraming) Unmarshal(s *cryptobyte.String) error {
	*f = ApplicationFraming{}
	if err := f.MediaType.Unmarshal(s); err != nil {
		return err
	}
	if !syntax.ReadVector(s, &f.Content) {
		return errors.New("mls: malformed application framing")
	}
	return nil
}

// mediaTypes decodes the content_media_types component of an app_data_dictionary; without it the list is empty.
func (e Extensions) mediaTypes() (MediaTypeList, error) {
	dict, err := e.AppData()
	if err != nil {
		return nil, err
	}
	data, ok := dict.Get(ComponentContentMediaTypes)
	if !ok {
		return nil, nil
	}
	return UnmarshalMediaTypeList(data)
}

// MediaTypes lists the media types that every member must support; if there are any, application data is framed.
//
// draft-ietf-mls-extensions, Section 6.2.3
func (g *GroupContext) MediaTypes() (MediaTypeList, error) { return g.Extensions.mediaTypes() }

// MediaTypes lists the media types that a leaf can receive; empty if it says nothing.
//
// draft-ietf-mls-extensions, Section 6.2.3
func (l *LeafNode) MediaTypes() (MediaTypeList, error) { return l.Extensions.mediaTypes() }

// Equal reports whether both are the same type with the same parameters in the same order.
func (m MediaType) Equal(o MediaType) bool {
	return m.Type == o.Type && slices.Equal(m.Parameters, o.Parameters)
}

// Frame makes the application data of a group with this GroupContext: framed if it has content_media_types, as it is
// otherwise. An empty media type stands for the first of the group.
//
// draft-ietf-mls-extensions, Section 6.2.4
func (g *GroupContext) Frame(mediaType MediaType, content []byte) ([]byte, error) {
	list, err := g.MediaTypes()
	if err != nil {
		return nil, err
	}
	if list == nil {
		return content, nil
	}
	return (&ApplicationFraming{MediaType: mediaType, Content: content}).Bytes()
}

// Unframe undoes Frame, with the media type in full. Without content_media_types there is none.
//
// draft-ietf-mls-extensions, Section 6.2.4
func (g *GroupContext) Unframe(data []byte) (MediaType, []byte, error) {
	list, err := g.MediaTypes()
	if err != nil {
		return MediaType{}, nil, err
	}
	if list == nil {
		return MediaType{}, data, nil
	}
	f, err := UnmarshalApplicationFraming(data)
	if err != nil {
		return MediaType{}, nil, err
	}
	if f.MediaType.Type == "" {
		f.MediaType = list[0]
	}
	return f.MediaType, f.Content, nil
}

// checkMediaTypes verifies that all members after a commit list the media types that are required then.
//
// draft-ietf-mls-extensions, Section 6.2.3
func (s *StagedCommit) checkMediaTypes(ext Extensions) error {
	required, err := ext.mediaTypes()
	if err != nil {
		return err
	}
	for _, l := range s.next.tree.members {
		supported, err := l.MediaTypes()
		if err != nil {
			return err
		}
		for _, m := range required {
			if !slices.ContainsFunc(supported, m.Equal) {
				return errors.New("mls: a member does not support a required media type")
			}
		}
	}
	return nil
}
