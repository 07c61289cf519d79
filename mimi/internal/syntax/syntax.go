// Package syntax holds what the TLS presentation language of MLS adds to cryptobyte: vectors whose length is a
// variable-size integer, optional values and lists.
//
// Readers return sub-slices of their input, never copies, and allocate nothing: a length is compared with the
// octets present before anything else happens. They accept one encoding per value, so that whatever parses
// re-encodes to the same octets. Like cryptobyte's own methods they report success and leave the error's wording
// to the caller.
package syntax

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// MaxLength is the largest length a vector can have: the largest variable-size integer MLS uses.
const MaxLength = 1<<30 - 1

var errTooLong = errors.New("syntax: vector longer than 2^30-1 octets")

// ReadVarint reads a variable-size integer into out.
//
// RFC 9420, Section 2.1.2: the prefix 11 is invalid and so is an encoding longer than needed.
func ReadVarint(s *cryptobyte.String, out *uint32) bool {
	in := *s
	if len(in) == 0 {
		return false
	}
	size := 1 << (in[0] >> 6)
	if size > 4 || len(in) < size {
		return false
	}
	v := uint32(in[0] & 0x3f)
	for _, c := range in[1:size] {
		v = v<<8 | uint32(c)
	}
	if size != varintSize(v) {
		return false
	}
	*out, *s = v, in[size:]
	return true
}

// AddVarint writes n in the shortest form; a number above MaxLength sets the builder's error.
func AddVarint(b *cryptobyte.Builder, n int) {
	if n < 0 || n > MaxLength {
		b.SetError(errTooLong)
		return
	}
	switch v := uint32(n); varintSize(v) {
	case 1:
		b.AddUint8(uint8(v))
	case 2:
		b.AddUint16(uint16(v) | 0x4000)
	default:
		b.AddUint32(v | 0x8000_0000)
	}
}

// varintSize is the size of the shortest encoding of v, which is at most MaxLength.
func varintSize(v uint32) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	default:
		return 4
	}
}

// VectorSize is the encoded size of an opaque vector of n octets, for reserving buffers.
func VectorSize(n int) int {
	if n < 0 || n > MaxLength {
		return 0
	}
	return varintSize(uint32(n)) + n
}

// ReadVector reads an opaque<V>; out shares the input's memory and has no spare capacity.
func ReadVector(s *cryptobyte.String, out *[]byte) bool {
	var n uint32
	rest := *s
	if !ReadVarint(&rest, &n) || uint64(n) > uint64(len(rest)) {
		return false
	}
	*out, *s = rest[:n:n], rest[n:]
	return true
}

// AddVector writes data as an opaque<V>.
func AddVector(b *cryptobyte.Builder, data []byte) {
	AddVarint(b, len(data))
	b.AddBytes(data)
}

// ReadList reads the octets of a vector of structures; the caller decodes them from list until it is empty.
func ReadList(s *cryptobyte.String, list *cryptobyte.String) bool {
	return ReadVector(s, (*[]byte)(list))
}

// AddList writes a vector of structures: what f adds, preceded by its length in octets.
func AddList(b *cryptobyte.Builder, f func(*cryptobyte.Builder)) {
	inner := cryptobyte.NewBuilder(nil)
	f(inner)
	data, err := inner.Bytes()
	if err != nil {
		b.SetError(err)
		return
	}
	AddVector(b, data)
}

// ReadOptional reads the presence octet of an optional<T>.
//
// RFC 9420, Section 2.1.1: any octet but 0 and 1 is malformed.
func ReadOptional(s *cryptobyte.String, present *bool) bool {
	var v uint8
	if !s.ReadUint8(&v) || v > 1 {
		return false
	}
	*present = v == 1
	return true
}

// AddOptional writes the presence octet of an optional<T>.
func AddOptional(b *cryptobyte.Builder, present bool) {
	if present {
		b.AddUint8(1)
	} else {
		b.AddUint8(0)
	}
}

// ReadUint16s reads a vector of two-octet numbers such as ComponentID or CipherSuite.
func ReadUint16s[T ~uint16](s *cryptobyte.String, out *[]T) bool {
	var list cryptobyte.String
	if !ReadList(s, &list) || len(list)%2 != 0 {
		return false
	}
	values := make([]T, len(list)/2)
	for i := range values {
		values[i] = T(list[2*i])<<8 | T(list[2*i+1])
	}
	*out = values
	return true
}

// AddUint16s writes a vector of two-octet numbers.
func AddUint16s[T ~uint16](b *cryptobyte.Builder, values []T) {
	AddVarint(b, 2*len(values))
	for _, v := range values {
		b.AddUint16(uint16(v))
	}
}
