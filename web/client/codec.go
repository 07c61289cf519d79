package client

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// Everything this package stores is written with the helpers below: big-endian integers and u32-prefixed octets, with
// a version octet in front. A record of an unknown version is refused, never guessed at.

const recordVersion = 1

var errRecord = errors.New("client: malformed record in the store")

// encoder writes a record.
type encoder struct{ b cryptobyte.Builder }

func newEncoder() *encoder {
	e := new(encoder)
	e.u8(recordVersion)
	return e
}

func (e *encoder) u8(v uint8)   { e.b.AddUint8(v) }
func (e *encoder) u64(v uint64) { e.b.AddUint64(v) }

func (e *encoder) flag(v bool) {
	if v {
		e.u8(1)
	} else {
		e.u8(0)
	}
}

func (e *encoder) bytes(v []byte) {
	e.b.AddUint32(uint32(len(v)))
	e.b.AddBytes(v)
}

func (e *encoder) str(v string) { e.bytes([]byte(v)) }

func (e *encoder) list(v []string) {
	e.u64(uint64(len(v)))
	for _, s := range v {
		e.str(s)
	}
}

func (e *encoder) done() []byte { return e.b.BytesOrPanic() } // cannot fail: nothing here has a length limit

// decoder reads a record; after the first error everything reads as zero.
type decoder struct {
	s   cryptobyte.String
	bad bool
}

func newDecoder(data []byte) *decoder {
	d := &decoder{s: data}
	d.bad = d.u8() != recordVersion
	return d
}

func (d *decoder) u8() (v uint8) {
	d.bad = !d.s.ReadUint8(&v) || d.bad
	return v
}

func (d *decoder) u64() (v uint64) {
	d.bad = !d.s.ReadUint64(&v) || d.bad
	return v
}

func (d *decoder) flag() bool { return d.u8() == 1 }

func (d *decoder) bytes() (v []byte) {
	var n uint32
	d.bad = !d.s.ReadUint32(&n) || uint64(n) > uint64(len(d.s)) || d.bad
	if !d.bad {
		d.bad = !d.s.ReadBytes(&v, int(n))
	}
	return v
}

func (d *decoder) str() string { return string(d.bytes()) }

func (d *decoder) list() []string {
	var v []string
	for n := d.u64(); n > 0 && !d.bad; n-- {
		v = append(v, d.str())
	}
	return v
}

// blobs reads a list that encoder.list wrote, as octets.
func (d *decoder) blobs() [][]byte {
	var v [][]byte
	for _, s := range d.list() {
		v = append(v, []byte(s))
	}
	return v
}

func (d *decoder) done() error {
	if d.bad || !d.s.Empty() {
		return errRecord
	}
	return nil
}
