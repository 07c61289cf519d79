package mls

import (
	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// confirmedTranscriptHash extends the transcript by a commit, without its confirmation tag. interimBefore is empty
// for the first epoch.
//
// RFC 9420, Section 8.2
func (s *suite) confirmedTranscriptHash(interimBefore []byte, commit *authenticatedContent) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(commit.content.body)+256))
	b.AddBytes(interimBefore)
	b.AddUint16(uint16(commit.wireFormat))
	b.AddValue(&commit.content)
	syntax.AddVector(b, commit.auth.signature)
	data, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return s.hash(data), nil
}

// interimTranscriptHash adds the confirmation tag.
//
// RFC 9420, Section 8.2
func (s *suite) interimTranscriptHash(confirmed, confirmationTag []byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 128))
	b.AddBytes(confirmed)
	syntax.AddVector(b, confirmationTag)
	data, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return s.hash(data), nil
}
