package mls

import (
	"bytes"
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// Past contexts are stored as differences from the current one: a room's application data is long and changes
// little from epoch to epoch. A difference is a list of { uint32 from; uint32 length; opaque literal<V>; }: a piece
// of the reference, then new octets.

// deltaBlock is the length of a piece that is worth looking for.
const deltaBlock = 32

var errDelta = errors.New("mls: malformed difference")

// addDelta writes target as a difference from ref.
func addDelta(b *cryptobyte.Builder, ref, target []byte) {
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		if bytes.Equal(ref, target) {
			addDeltaPiece(b, 0, len(ref), nil)
			return
		}
		blocks := make(map[string]int, len(ref)/deltaBlock)
		for i := 0; i+deltaBlock <= len(ref); i += deltaBlock {
			blocks[string(ref[i:i+deltaBlock])] = i
		}
		var from, length, start int // the piece before the literal that begins at start
		for i := 0; i+deltaBlock <= len(target); {
			at, ok := blocks[string(target[i:i+deltaBlock])]
			if !ok {
				i++
				continue
			}
			for at > 0 && i > start && ref[at-1] == target[i-1] {
				at, i = at-1, i-1
			}
			addDeltaPiece(b, from, length, target[start:i])
			from, length = at, 0
			for at+length < len(ref) && i+length < len(target) && ref[at+length] == target[i+length] {
				length++
			}
			i += length
			start = i
		}
		addDeltaPiece(b, from, length, target[start:])
	})
}

func addDeltaPiece(b *cryptobyte.Builder, from, length int, literal []byte) {
	b.AddUint32(uint32(from))
	b.AddUint32(uint32(length))
	syntax.AddVector(b, literal)
}

// readDelta reads what addDelta wrote.
func readDelta(s *cryptobyte.String, ref []byte) ([]byte, error) {
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return nil, errDelta
	}
	var out []byte
	for !list.Empty() {
		var from, length uint32
		var literal []byte
		if !list.ReadUint32(&from) || !list.ReadUint32(&length) || !syntax.ReadVector(&list, &literal) ||
			uint64(from)+uint64(length) > uint64(len(ref)) {
			return nil, errDelta
		}
		out = append(out, ref[from:from+length]...)
		out = append(out, literal...)
	}
	return out, nil
}
