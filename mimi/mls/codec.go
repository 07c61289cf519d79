package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// Every structure has Marshal, which adds it to a builder, and Unmarshal, which reads one value from the front of a
// string. What is decoded shares the memory of its input, which must not be modified afterwards. Decoders are linear,
// accept a single encoding, and allocate in proportion to the octets present.

var errTrailing = errors.New("mls: trailing data")

type unmarshaler interface {
	Unmarshal(*cryptobyte.String) error
}

// unmarshalAll decodes one value that must consume all of data.
func unmarshalAll(data []byte, v unmarshaler) error {
	s := cryptobyte.String(data)
	if err := v.Unmarshal(&s); err != nil {
		return err
	}
	if !s.Empty() {
		return errTrailing
	}
	return nil
}

// marshal encodes one value.
func marshal(v cryptobyte.MarshalingValue) ([]byte, error) { return marshalSized(v, 256) }

// marshalSized encodes one value into a buffer of the expected size.
func marshalSized(v cryptobyte.MarshalingValue, size int) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, size))
	b.AddValue(v)
	return b.Bytes()
}

// consumed returns the octets that reading from before to after consumed.
func consumed(before, after cryptobyte.String) []byte {
	n := len(before) - len(after)
	return before[:n:n]
}

// allZero reports whether every octet is zero.
func allZero(data []byte) bool {
	var or byte
	for _, c := range data {
		or |= c
	}
	return or == 0
}
