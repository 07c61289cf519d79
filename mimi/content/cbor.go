package content

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"
)

// The major types of RFC 8949, Section 3.1.
const (
	majorUint   = 0
	majorNegint = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	majorTag    = 6
	majorSimple = 7
)

const (
	cborFalse = 0xf4
	cborTrue  = 0xf5
	cborNull  = 0xf6
	cborNaN   = 0x7e00 // the payload of F97E00

	// draft-ietf-mimi-content-08, Section 6.2: integer keys survive a conversion to double.
	maxIntKey = 1<<53 - 1
	// draft-ietf-mimi-content-08, Section 6.3
	maxValueDepth = 4
)

var (
	errTruncated = errors.New("content: CBOR ends too early")
	errTrailing  = errors.New("content: octets after the CBOR item")
	errNotShort  = errors.New("content: CBOR is not in its shortest form")
	errHead      = errors.New("content: CBOR item is reserved or indefinite")
	errType      = errors.New("content: CBOR item has another type")
	errUTF8      = errors.New("content: text is not UTF-8")
	errMapOrder  = errors.New("content: map keys are not in ascending order")
	errMapKey    = errors.New("content: map key is not permitted")
	errNaN       = errors.New("content: NaN is not the one permitted")
	errBignum    = errors.New("content: bignum is not in its shortest form")
	errDeep      = errors.New("content: nested too deeply")
)

// A reader reads CBOR in the one encoding RFC 8949, Section 4.2.1 leaves to each item. It never allocates; what it
// returns are parts of its input. It looks at every octet a bounded number of times.
type reader struct{ rest []byte }

// head reads the initial octet and the argument of the next item.
func (r *reader) head() (major byte, arg uint64, err error) {
	if len(r.rest) == 0 {
		return 0, 0, errTruncated
	}
	major, info := r.rest[0]>>5, r.rest[0]&0x1f
	if info < 24 {
		r.rest = r.rest[1:]
		return major, uint64(info), nil
	}
	// RFC 8949, Section 3: 28 to 30 are reserved, 31 is indefinite length.
	if info > 27 {
		return 0, 0, errHead
	}
	n := 1 << (info - 24)
	if len(r.rest) < 1+n {
		return 0, 0, errTruncated
	}
	for _, c := range r.rest[1 : 1+n] {
		arg = arg<<8 | uint64(c)
	}
	r.rest = r.rest[1+n:]
	// RFC 8949, Section 4.2.1. The argument of a float is no number; checkSimple judges it.
	if major == majorSimple {
		return major, arg, checkSimple(n, arg)
	}
	if n == 1 && arg < 24 || n > 1 && arg>>(4*n) == 0 {
		return 0, 0, errNotShort
	}
	return major, arg, nil
}

// checkSimple checks the argument of major type 7: a simple value in one octet, otherwise a float.
func checkSimple(n int, arg uint64) error {
	switch n {
	case 1:
		// RFC 8949, Section 3.3
		if arg < 32 {
			return errNotShort
		}
	case 2:
		// draft-ietf-mimi-content-08, Section 6.2
		if arg&0x7c00 == 0x7c00 && arg&0x03ff != 0 && arg != cborNaN {
			return errNaN
		}
	case 4:
		return checkFloat(float64(math.Float32frombits(uint32(arg))), isFloat16)
	case 8:
		return checkFloat(math.Float64frombits(arg), isFloat32)
	}
	return nil
}

func checkFloat(v float64, shorter func(float64) bool) error {
	if v != v {
		return errNaN
	}
	if shorter(v) {
		return errNotShort
	}
	return nil
}

func isFloat32(v float64) bool { return float64(float32(v)) == v }

// isFloat16 reports whether half precision holds v, which is a single: eleven significant bits, the last of them
// worth at least 2^-24, and nothing above 65504 but infinity.
func isFloat16(v float64) bool {
	if v == 0 || math.IsInf(v, 0) {
		return true
	}
	fraction, exponent := math.Frexp(v) // |fraction| is in [1/2, 1)
	digits := min(11, exponent+24)
	if digits < 1 || exponent > 16 {
		return false
	}
	scaled := math.Ldexp(fraction, digits)
	return scaled == math.Trunc(scaled)
}

// expect reads the head of an item of the given major type.
func (r *reader) expect(major byte) (uint64, error) {
	got, arg, err := r.head()
	if err != nil {
		return 0, err
	}
	if got != major {
		return 0, errType
	}
	return arg, nil
}

// uint reads an unsigned integer of at most limit.
func (r *reader) uint(limit uint64) (uint64, error) {
	v, err := r.expect(majorUint)
	if err == nil && v > limit {
		err = errType
	}
	return v, err
}

// take removes n octets.
func (r *reader) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.rest)) {
		return nil, errTruncated
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b, nil
}

// bytes reads a byte string.
func (r *reader) bytes() ([]byte, error) {
	n, err := r.expect(majorBytes)
	if err != nil {
		return nil, err
	}
	return r.take(n)
}

// text reads a text string.
func (r *reader) text() ([]byte, error) {
	n, err := r.expect(majorText)
	if err != nil {
		return nil, err
	}
	return r.utf8(n)
}

func (r *reader) utf8(n uint64) ([]byte, error) {
	b, err := r.take(n)
	if err == nil && !utf8.Valid(b) {
		err = errUTF8
	}
	return b, err
}

// array reads the head of an array and returns the number of items. There are at least as many octets left.
func (r *reader) array() (int, error) {
	n, err := r.expect(majorArray)
	if err == nil && n > uint64(len(r.rest)) {
		err = errTruncated
	}
	return int(n), err
}

// fixedArray reads the head of an array of exactly n items.
func (r *reader) fixedArray(n int) error {
	got, err := r.array()
	if err == nil && got != n {
		err = errType
	}
	return err
}

// null reports whether the next item is null, and removes it if so.
func (r *reader) null() bool {
	if len(r.rest) == 0 || r.rest[0] != cborNull {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// bool reads true or false.
func (r *reader) bool() (bool, error) {
	b, err := r.take(1)
	if err != nil {
		return false, err
	}
	if b[0] != cborTrue && b[0] != cborFalse {
		return false, errType
	}
	return b[0] == cborTrue, nil
}

// value reads an item of any kind, whose containers may reach down to level maxValueDepth if the item itself is at
// the given one, and returns its encoding.
func (r *reader) value(level int) ([]byte, error) {
	start := r.rest
	if err := r.skip(level); err != nil {
		return nil, err
	}
	n := len(start) - len(r.rest)
	return start[:n:n], nil
}

func (r *reader) skip(level int) error {
	major, arg, err := r.head()
	if err != nil {
		return err
	}
	if (major == majorArray || major == majorMap || major == majorTag) && level > maxValueDepth {
		return errDeep
	}
	switch major {
	case majorBytes:
		_, err = r.take(arg)
	case majorText:
		_, err = r.utf8(arg)
	case majorArray:
		for ; arg > 0 && err == nil; arg-- {
			err = r.skip(level + 1)
		}
	case majorMap:
		err = r.skipMap(arg, level)
	case majorTag:
		err = r.skipTag(arg, level)
	}
	return err
}

func (r *reader) skipMap(n uint64, level int) error {
	var last []byte
	for ; n > 0; n-- {
		_, encoded, err := r.key()
		if err != nil {
			return err
		}
		if err := checkOrder(last, encoded); err != nil {
			return err
		}
		last = encoded
		if err := r.skip(level + 1); err != nil {
			return err
		}
	}
	return nil
}

// checkOrder checks that a map key may follow the last one, which is empty before the first.
func checkOrder(last, next []byte) error {
	// RFC 8949, Section 4.2.1: bytewise lexicographic order of the encodings; equal ones are duplicates.
	if last != nil && bytes.Compare(last, next) >= 0 {
		return errMapOrder
	}
	return nil
}

func (r *reader) skipTag(tag uint64, level int) error {
	if tag != 2 && tag != 3 {
		return r.skip(level + 1)
	}
	// draft-ietf-mimi-content-08, Section 6.1: a bignum that fits is a regular integer.
	n, err := r.bytes()
	if err == nil && (len(n) <= 8 || n[0] == 0) {
		err = errBignum
	}
	return err
}

// key reads a map key and returns its major type and its encoding.
func (r *reader) key() (major byte, encoded []byte, err error) {
	start := r.rest
	major, arg, err := r.head()
	if err != nil {
		return 0, nil, err
	}
	// draft-ietf-mimi-content-08, Section 6.2
	switch {
	case major == majorText:
		_, err = r.utf8(arg)
	case major == majorBytes:
		_, err = r.take(arg)
	case major == majorUint && arg <= maxIntKey, major == majorNegint && arg < maxIntKey:
	default:
		err = errMapKey
	}
	n := len(start) - len(r.rest)
	return major, start[:n:n], err
}

// end checks that nothing is left.
func (r *reader) end() error {
	if len(r.rest) != 0 {
		return errTrailing
	}
	return nil
}

// appendHead appends the shortest head of an item.
func appendHead(b []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(b, major|byte(arg))
	case arg <= math.MaxUint8:
		return append(b, major|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), arg)
}

func appendUint(b []byte, v uint64) []byte { return appendHead(b, majorUint, v) }

func appendInt(b []byte, v int64) []byte {
	if v < 0 {
		return appendHead(b, majorNegint, uint64(-1-v))
	}
	return appendUint(b, uint64(v))
}

func appendBytes(b, v []byte) []byte {
	return append(appendHead(b, majorBytes, uint64(len(v))), v...)
}

func appendText(b []byte, v string) []byte {
	return append(appendHead(b, majorText, uint64(len(v))), v...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, cborTrue)
	}
	return append(b, cborFalse)
}
