package content

import (
	"bytes"
	"errors"
	"slices"

	"kith/mimi"
)

// maxTextKey is the longest name of an extension, in octets.
const maxTextKey = 255

var errExtension = errors.New("content: invalid extension")

// A Key names an extension: a number if Text is empty, otherwise a text. Texts and negative numbers are for private
// use.
type Key struct {
	Int  int64
	Text string
}

// The extensions of draft-ietf-mimi-content-08, Section 8.2.1.
var (
	keySenderURI = Key{Int: 1}
	keyRoomURI   = Key{Int: 2}
)

func (k Key) append(b []byte) []byte {
	if k.Text != "" {
		return appendText(b, k.Text)
	}
	return appendInt(b, k.Int)
}

// A Value is the value of an extension: one CBOR item in its deterministic encoding.
type Value []byte

// TextValue returns a text as a value.
func TextValue(s string) Value { return appendText(nil, s) }

// BytesValue returns an octet string as a value.
func BytesValue(b []byte) Value { return appendBytes(nil, b) }

// UintValue returns a number as a value.
func UintValue(v uint64) Value { return appendUint(nil, v) }

// Text returns the text that v is, if it is one.
func (v Value) Text() (string, bool) {
	r := reader{v}
	s, err := r.text()
	return string(s), err == nil && len(r.rest) == 0
}

// Bytes returns the octet string that v is, if it is one.
func (v Value) Bytes() ([]byte, bool) {
	r := reader{v}
	b, err := r.bytes()
	return b, err == nil && len(r.rest) == 0
}

// Uint returns the unsigned number that v is, if it is one.
func (v Value) Uint() (uint64, bool) {
	r := reader{v}
	n, err := r.expect(majorUint)
	return n, err == nil && len(r.rest) == 0
}

// An Extension is a named value a message carries beside its parts.
type Extension struct {
	Key   Key
	Value Value
}

// Extensions are the extensions of a message, in the order of their encoded keys. Keys are unique.
type Extensions []Extension

// Get returns the value of a key.
func (x Extensions) Get(k Key) (Value, bool) {
	for i := range x {
		if x[i].Key == k {
			return x[i].Value, true
		}
	}
	return nil, false
}

// With returns a copy of x in which k has the value v.
func (x Extensions) With(k Key, v Value) Extensions {
	out := slices.Clone(x)
	for i := range out {
		if out[i].Key == k {
			out[i].Value = v
			return out
		}
	}
	out = append(out, Extension{k, v})
	slices.SortFunc(out, compareKeys)
	return out
}

// compareKeys orders extensions as RFC 8949, Section 4.2.1 does: by the octets of the encoded key.
func compareKeys(a, b Extension) int {
	return bytes.Compare(a.Key.append(nil), b.Key.append(nil))
}

// identify returns the extensions every message of ours carries, so that it can be franked.
func identify(sender mimi.UserID, room mimi.RoomID) Extensions {
	// draft-ietf-mimi-protocol-06, Section 5.4.1.1
	return Extensions{
		{keySenderURI, TextValue(sender.String())},
		{keyRoomURI, TextValue(room.String())},
	}
}

func (x Extensions) append(b []byte) []byte {
	b = appendHead(b, majorMap, uint64(len(x)))
	for _, e := range x {
		b = append(e.Key.append(b), e.Value...)
	}
	return b
}

func (r *reader) extensions() (Extensions, error) {
	n, err := r.expect(majorMap)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.rest))/2 {
		return nil, errTruncated
	}
	var (
		x    Extensions
		last []byte
	)
	for ; n > 0; n-- {
		major, encoded, err := r.key()
		if err != nil {
			return nil, err
		}
		if err := checkOrder(last, encoded); err != nil {
			return nil, err
		}
		last = encoded
		k, err := extensionKey(major, encoded)
		if err != nil {
			return nil, err
		}
		// The map is at level 1.
		v, err := r.value(2)
		if err != nil {
			return nil, err
		}
		if (k == keySenderURI || k == keyRoomURI) && v[0]>>5 != majorText {
			return nil, errExtension
		}
		x = append(x, Extension{k, v})
	}
	return x, nil
}

// extensionKey turns the key of an extension into a Key. Octet strings are keys only further down.
func extensionKey(major byte, encoded []byte) (Key, error) {
	r := reader{encoded}
	switch major {
	case majorText:
		s, err := r.text()
		if err == nil && (len(s) == 0 || len(s) > maxTextKey) {
			err = errMapKey
		}
		return Key{Text: string(s)}, err
	case majorUint, majorNegint:
		_, v, err := r.head()
		if major == majorNegint {
			return Key{Int: -1 - int64(v)}, err
		}
		return Key{Int: int64(v)}, err
	}
	return Key{}, errMapKey
}
