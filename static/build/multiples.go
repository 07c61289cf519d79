package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// crypto/ecdh, which we need for X25519, comes with P-256, and that with a table of multiples of its generator
// (crypto/internal/fips140/nistec). It is linked even where nothing reads it, because its package sets a pointer to it
// when it starts, and it does not compress.
const (
	multiplesSize   = 43 * 32 * 64
	multiplesStart  = "3c14a918d430e77901b6ed5ffc95ba75" // of the first coordinate of the generator
	multiplesSHA256 = "a3a5d08c40939adb7c0e9e4f5b689721296130750ab4e38fe4543294c8dbbfe3"
)

// multiplesReaders are all functions of nistec that read the table.
var multiplesReaders = [][]byte{[]byte("crypto/internal/fips140/nistec.(*P256Point).ScalarBaseMult\x00")}

// dropMultiples writes zeros over the table if none of the functions that read it is linked: their names would be there. A
// table of another version of Go, which others might read, stays.
func dropMultiples(segments []segment) error {
	for _, s := range segments {
		for _, reader := range multiplesReaders {
			if bytes.Contains(s.data, reader) {
				return nil
			}
		}
	}
	start, err := hex.DecodeString(multiplesStart)
	if err != nil {
		return err
	}
	for _, s := range segments {
		at := bytes.Index(s.data, start)
		if at < 0 || len(s.data)-at < multiplesSize {
			continue
		}
		table := s.data[at : at+multiplesSize]
		if sum := sha256.Sum256(table); hex.EncodeToString(sum[:]) == multiplesSHA256 {
			clear(table)
		}
	}
	return nil
}
