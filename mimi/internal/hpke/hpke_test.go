package hpke

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"testing"

	library "crypto/hpke"
)

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s is %x, want %x", what, got, want)
	}
}

// RFC 9180, Appendix A.1.1
func TestPublishedVector(t *testing.T) {
	info := unhex(t, "4f6465206f6e2061204772656369616e2055726e")
	plaintext := unhex(t, "4265617574792069732074727574682c20747275746820626561757479")
	derive := func(ikm, public string) PrivateKey {
		key := must[PrivateKey](t)(KEM{}.DeriveKeyPair(unhex(t, ikm)))
		equal(t, "public key", key.PublicKey().Bytes(), unhex(t, public))
		return key
	}
	const enc = "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
	ephemeral := derive("7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234", enc)
	recipient := derive("6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037", "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d")
	sender := must[*Sender](t)(newSender(ephemeral.key, recipient.PublicKey(), info))
	r := must[*Recipient](t)(NewRecipient(unhex(t, enc), recipient, KDF{}, AEAD{}, info))
	for i, ciphertext := range []string{
		"f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
		"af2d7e9ac9ae7e270f46ba1f975be53c09f8d875bdc8535458c2494e8a6eab251c03d0c22a56b8ca42c2063b84",
	} {
		aad := fmt.Appendf(nil, "Count-%d", i)
		equal(t, "ciphertext", must[[]byte](t)(sender.Seal(aad, plaintext)), unhex(t, ciphertext))
		equal(t, "plaintext", must[[]byte](t)(r.Open(aad, unhex(t, ciphertext))), plaintext)
	}
	equal(t, "exported value", must[[]byte](t)(r.Export("", 32)), unhex(t, "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee"))
}

// Whatever one makes, crypto/hpke has it the same.
func TestAgreesWithTheLibrary(t *testing.T) {
	kem, kdf, aead := library.DHKEM(ecdh.X25519()), library.HKDFSHA256(), library.AES128GCM()
	for n := range 40 {
		seed, info, text := bytes.Repeat([]byte{byte(n)}, 32), make([]byte, 3*n), bytes.Repeat([]byte("text"), n)
		key, theirs := must[PrivateKey](t)(KEM{}.DeriveKeyPair(seed)), must[library.PrivateKey](t)(kem.DeriveKeyPair(seed))
		equal(t, "private key", must[[]byte](t)(key.Bytes()), must[[]byte](t)(theirs.Bytes()))
		key = must[PrivateKey](t)(KEM{}.NewPrivateKey(must[[]byte](t)(theirs.Bytes())))
		equal(t, "public key", key.PublicKey().Bytes(), theirs.PublicKey().Bytes())

		enc, sender, err := NewSender(must[PublicKey](t)(KEM{}.NewPublicKey(theirs.PublicKey().Bytes())), KDF{}, AEAD{}, info)
		if err != nil {
			t.Fatal(err)
		}
		reader := must[*library.Recipient](t)(library.NewRecipient(enc, theirs, kdf, aead, info))
		enc, writer, err := library.NewSender(must[library.PublicKey](t)(kem.NewPublicKey(key.PublicKey().Bytes())), kdf, aead, info)
		if err != nil {
			t.Fatal(err)
		}
		recipient := must[*Recipient](t)(NewRecipient(enc, key, KDF{}, AEAD{}, info))
		for range 3 {
			equal(t, "what the library opened", must[[]byte](t)(reader.Open(info, must[[]byte](t)(sender.Seal(info, text)))), text)
			equal(t, "what the library sealed", must[[]byte](t)(recipient.Open(info, must[[]byte](t)(writer.Seal(info, text)))), text)
		}
		equal(t, "exported", must[[]byte](t)(sender.Export("context", n)), must[[]byte](t)(reader.Export("context", n)))
	}
	if (KEM{}).ID() != kem.ID() || (KDF{}).ID() != kdf.ID() || (AEAD{}).ID() != aead.ID() {
		t.Error("another number")
	}
}

func TestRefuses(t *testing.T) {
	key := must[PrivateKey](t)(KEM{}.DeriveKeyPair(make([]byte, 32)))
	enc, sender, err := NewSender(key.PublicKey(), KDF{}, AEAD{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, enc[1:], append(slices.Clone(enc), 0), make([]byte, 32), append([]byte{1}, make([]byte, 31)...)} {
		if _, err := NewRecipient(bad, key, KDF{}, AEAD{}, nil); err == nil {
			t.Errorf("enc %x is taken", bad)
		}
		if public, err := (KEM{}).NewPublicKey(bad); err == nil {
			if _, _, err := NewSender(public, KDF{}, AEAD{}, nil); err == nil {
				t.Errorf("%x is encrypted to", bad)
			}
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, 31), make([]byte, 33)} {
		if _, err := (KEM{}).NewPrivateKey(bad); err == nil {
			t.Errorf("private key %x is taken", bad)
		}
	}
	r := must[*Recipient](t)(NewRecipient(enc, key, KDF{}, AEAD{}, nil))
	first, second := must[[]byte](t)(sender.Seal(nil, []byte("1"))), must[[]byte](t)(sender.Seal(nil, []byte("2")))
	for _, bad := range [][]byte{second, nil, first[1:], append(slices.Clone(first), 0)} {
		if _, err := r.Open(nil, bad); err == nil {
			t.Errorf("%x is opened", bad)
		}
	}
	if _, err := r.Open([]byte("aad"), first); err == nil {
		t.Error("opened with other aad")
	}
	// what was refused was not counted
	equal(t, "first", must[[]byte](t)(r.Open(nil, first)), []byte("1"))
	equal(t, "second", must[[]byte](t)(r.Open(nil, second)), []byte("2"))
	for _, length := range []int{-1, 255*32 + 1} {
		if _, err := r.Export("", length); err == nil {
			t.Errorf("%d octets exported", length)
		}
	}
	// RFC 9180, Section 5.2: a nonce is never used twice
	sender.sequence, r.sequence = math.MaxUint64, math.MaxUint64
	if _, err := sender.Seal(nil, nil); err == nil {
		t.Error("sealed after the last message")
	}
	if _, err := r.Open(nil, second); err == nil {
		t.Error("opened after the last message")
	}
}
