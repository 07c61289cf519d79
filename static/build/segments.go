package main

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Go's linker leaves out zeros of the initial memory wherever that makes the module shorter, and so cuts the table
// that finds a function by its address into 100,000 segments of a few octets, each with an address of its own that
// does not compress. Joined again the module is longer, and a tenth shorter once it is compressed.

// maxZeros is the longest run of zeros that is written out to join two segments.
const maxZeros = 64

// Of WebAssembly Core 2.0, Sections 5.4.9 and 5.5.14.
const (
	dataSection = 11
	opI32Const  = 0x41
	opEnd       = 0x0b
)

var errModule = errors.New("not a module as Go's linker writes it")

// segment is one active data segment of the memory.
type segment struct {
	offset int
	data   []byte
}

func (s segment) end() int { return s.offset + len(s.data) }

// joinSegments returns the module with fewer data segments; the memory that it starts with is the same but for what the
// changes do to the joined segments.
func joinSegments(module []byte, changes ...func([]segment) error) ([]byte, error) {
	const header = 8
	if len(module) < header {
		return nil, errModule
	}
	out, in := slices.Clone(module[:header]), wasmReader{rest: module[header:]}
	for len(in.rest) > 0 {
		id := in.octet()
		body := in.take(in.number())
		if in.failed {
			return nil, errModule
		}
		if id == dataSection {
			segments, err := readSegments(body)
			if err != nil {
				return nil, err
			}
			segments = join(segments)
			for _, change := range changes {
				if err := change(segments); err != nil {
					return nil, err
				}
			}
			body = writeSegments(segments)
		}
		out = append(out, id)
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	return out, nil
}

// join expects what readSegments returns.
func join(segments []segment) (joined []segment) {
	for _, s := range segments {
		if n := len(joined); n > 0 && s.offset-joined[n-1].end() <= maxZeros {
			last := &joined[n-1]
			last.data = append(last.data, make([]byte, s.offset-last.end())...)
			last.data = append(last.data, s.data...)
			continue
		}
		joined = append(joined, segment{s.offset, slices.Clone(s.data)})
	}
	return joined
}

// readSegments returns the segments in the order of their addresses; they do not overlap.
func readSegments(body []byte) ([]segment, error) {
	in := wasmReader{rest: body}
	count := in.number()
	segments := make([]segment, 0, min(count, len(body)))
	for len(in.rest) > 0 && !in.failed {
		if in.octet() != 0 || in.octet() != opI32Const {
			return nil, errModule
		}
		// The address is a signed number, but a positive one: Go's memory begins below 2 GiB.
		s := segment{offset: in.number()}
		if in.octet() != opEnd {
			return nil, errModule
		}
		s.data = in.take(in.number())
		segments = append(segments, s)
	}
	slices.SortStableFunc(segments, func(a, b segment) int { return a.offset - b.offset })
	for i := 1; i < len(segments); i++ {
		in.failed = in.failed || segments[i].offset < segments[i-1].end()
	}
	if in.failed || len(segments) != count {
		return nil, errModule
	}
	return segments, nil
}

func writeSegments(segments []segment) []byte {
	body := binary.AppendUvarint(nil, uint64(len(segments)))
	for _, s := range segments {
		body = append(body, 0, opI32Const)
		body = appendSigned(body, s.offset)
		body = append(body, opEnd)
		body = binary.AppendUvarint(body, uint64(len(s.data)))
		body = append(body, s.data...)
	}
	return body
}

// appendSigned appends a number that is not negative as LEB128 with a sign.
func appendSigned(b []byte, n int) []byte {
	for ; n > 0x3f; n >>= 7 {
		b = append(b, byte(n&0x7f)|0x80)
	}
	return append(b, byte(n))
}

// wasmReader reads a module. After a failure it reads nothing more.
type wasmReader struct {
	rest   []byte
	failed bool
}

func (r *wasmReader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.failed, r.rest = true, nil
		return nil
	}
	data := r.rest[:n]
	r.rest = r.rest[n:]
	return data
}

func (r *wasmReader) octet() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

// number reads LEB128 without a sign.
func (r *wasmReader) number() int {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > 1<<31-1 {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return int(n)
}
