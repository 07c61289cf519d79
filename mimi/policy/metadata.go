package policy

import (
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// RichDescription is a description of the room in one language and format.
//
// draft-ietf-mimi-protocol-06, Section 7.6: an empty media type is text/plain;charset=utf-8.
type RichDescription struct {
	MediaType          string
	LanguageTag        string
	DescriptionContent []byte
}

func readRichDescription(s *cryptobyte.String, d *RichDescription) bool {
	return readText(s, &d.MediaType) && readText(s, &d.LanguageTag) && syntax.ReadVector(s, &d.DescriptionContent)
}

func addRichDescription(b *cryptobyte.Builder, d RichDescription) {
	addText(b, d.MediaType)
	addText(b, d.LanguageTag)
	syntax.AddVector(b, d.DescriptionContent)
}

func (d RichDescription) equal(o RichDescription) bool {
	return d.MediaType == o.MediaType && d.LanguageTag == o.LanguageTag &&
		string(d.DescriptionContent) == string(o.DescriptionContent)
}

// Metadata is what a room says about itself. RoomURI binds the MLS group to its room and never changes.
//
// draft-ietf-mimi-protocol-06, Section 7.6
type Metadata struct {
	RoomURI          string
	RoomName         string
	RoomDescriptions []RichDescription
	RoomAvatar       string // an https URL, or empty
	RoomSubject      string
	RoomMood         string
}

func readMetadata(s *cryptobyte.String, m *Metadata) bool {
	return readText(s, &m.RoomURI) && readText(s, &m.RoomName) &&
		readList(s, &m.RoomDescriptions, readRichDescription) &&
		readText(s, &m.RoomAvatar) && readText(s, &m.RoomSubject) && readText(s, &m.RoomMood)
}

// UnmarshalMetadata decodes the data of RoomMetadata; an update has the same form.
func UnmarshalMetadata(data []byte) (m Metadata, err error) {
	err = decode(data, "room metadata", func(s *cryptobyte.String) bool { return readMetadata(s, &m) })
	return m, err
}

// Bytes encodes the metadata.
func (m Metadata) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addText(b, m.RoomURI)
		addText(b, m.RoomName)
		addList(b, m.RoomDescriptions, addRichDescription)
		addText(b, m.RoomAvatar)
		addText(b, m.RoomSubject)
		addText(b, m.RoomMood)
	})
}

// needed returns the capability each field that differs from m to next asks for. An update carries the whole
// struct while capabilities exist per field, so what changed is what counts.
//
// draft-ietf-mimi-room-policy-03, Section 8.2
func (m Metadata) needed(next Metadata) []Capability {
	var caps []Capability
	for _, f := range []struct {
		changed bool
		needs   Capability
	}{
		{m.RoomName != next.RoomName, CanChangeRoomName},
		{!slices.EqualFunc(m.RoomDescriptions, next.RoomDescriptions, RichDescription.equal), CanChangeRoomDescription},
		{m.RoomAvatar != next.RoomAvatar, CanChangeRoomAvatar},
		{m.RoomSubject != next.RoomSubject, CanChangeRoomSubject},
		{m.RoomMood != next.RoomMood, CanChangeRoomMood},
	} {
		if f.changed {
			caps = append(caps, f.needs)
		}
	}
	return caps
}
