package mls

import (
	"bytes"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// Past contexts are stored as differences from the current one: a room's application data is long and changes
// little from epoch to epoch. A difference is a list of { uint32 from; uint32 length; opaque literal<V>; }: a piece
// of the reference, then new octets. Pieces are in the order of the reference and do not overlap, so that a difference
// is never much longer than its result, nor its result than both.

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
		blocks := make(map[string][]int, len(ref)/deltaBlock) // where each is, ascending
		for i := 0; i+deltaBlock <= len(ref); i += deltaBlock {
			blocks[string(ref[i:i+deltaBlock])] = append(blocks[string(ref[i:i+deltaBlock])], i)
		}
		var from, length, start int // the piece before the literal that begins at start
		for i := 0; i+deltaBlock <= len(target); {
			places := blocks[string(target[i:i+deltaBlock])]
			if len(places) > 0 && places[0] < from+length {
				at, _ := slices.BinarySearch(places, from+length)
				places = places[at:]
			}
			if len(places) == 0 {
				i++
				continue
			}
			at := places[0]
			for at > from+length && i > start && ref[at-1] == target[i-1] {
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
	limit := 2 * (len(ref) + len(list))
	var out []byte
	for !list.Empty() {
		var from, length uint32
		var literal []byte
		if !list.ReadUint32(&from) || !list.ReadUint32(&length) || !syntax.ReadVector(&list, &literal) ||
			uint64(from)+uint64(length) > uint64(len(ref)) || int(length)+len(literal) > limit-len(out) {
			return nil, errDelta
		}
		out = append(out, ref[from:from+length]...)
		out = append(out, literal...)
	}
	return out, nil
}
