package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// WireFormats is the body of the supported_wire_formats extension of leaves and of the required_wire_formats extension
// of the GroupContext: those besides the five of RFC 9420.
//
// draft-ietf-mls-extensions, Section 5
type WireFormats []WireFormat

// Bytes encodes the list.
func (l WireFormats) Bytes() ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	syntax.AddUint16s(b, l)
	return b.Bytes()
}

// UnmarshalWireFormats decodes a list. Unknown formats, GREASE among them, are kept.
func UnmarshalWireFormats(data []byte) (WireFormats, error) {
	var l []WireFormat
	s := cryptobyte.String(data)
	if !syntax.ReadUint16s(&s, &l) || !s.Empty() {
		return nil, errors.New("mls: malformed list of wire formats")
	}
	return l, nil
}

// wireFormats decodes one of the two extensions; without it the list is empty.
func (e Extensions) wireFormats(t ExtensionType) (WireFormats, error) {
	data, ok := e.Get(t)
	if !ok {
		return nil, nil
	}
	return UnmarshalWireFormats(data)
}

// checkWireFormats verifies that a leaf supports the wire formats that its group requires. What a leaf says is decoded
// only if something is required: to others it is an extension like any that they do not know.
//
// draft-ietf-mls-extensions, Section 5
func (r *groupRules) checkWireFormats(l *LeafNode) error {
	if len(r.wireFormats) == 0 {
		return nil
	}
	supported, err := l.Extensions.wireFormats(ExtensionSupportedWireFormats)
	if err != nil {
		return err
	}
	if !listed(supported, r.wireFormats, WireFormat.isDefault) {
		return errors.New("mls: leaf does not support a required wire format")
	}
	return nil
}

// isDefault reports whether every client supports the format without listing it.
func (f WireFormat) isDefault() bool {
	return f >= WireFormatPublicMessage && f <= WireFormatKeyPackage
}
