//go:build !mls_suite1

package mls

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/sha512"
)

// The rows of the NIST curves, never modified.
//
// RFC 9420, Section 17.1
var (
	suite2 = &suite{
		id:        P256AES128GCMSHA256P256,
		kem:       hpke.DHKEM(ecdh.P256()),
		kdf:       hpke.HKDFSHA256(),
		aead:      hpke.AES128GCM(),
		newHash:   sha256.New,
		hashSize:  sha256.Size,
		keySize:   16,
		nonceSize: 12,
		newAEAD:   newAESGCM,
		signature: schemeECDSA(elliptic.P256(), crypto.SHA256),
	}
	suite5 = &suite{
		id:        P521AES256GCMSHA512P521,
		kem:       hpke.DHKEM(ecdh.P521()),
		kdf:       hpke.HKDFSHA512(),
		aead:      hpke.AES256GCM(),
		newHash:   sha512.New,
		hashSize:  sha512.Size,
		keySize:   32,
		nonceSize: 12,
		newAEAD:   newAESGCM,
		signature: schemeECDSA(elliptic.P521(), crypto.SHA512),
	}
	suite7 = &suite{
		id:        P384AES256GCMSHA384P384,
		kem:       hpke.DHKEM(ecdh.P384()),
		kdf:       hpke.HKDFSHA384(),
		aead:      hpke.AES256GCM(),
		newHash:   sha512.New384,
		hashSize:  sha512.Size384,
		keySize:   32,
		nonceSize: 12,
		newAEAD:   newAESGCM,
		signature: schemeECDSA(elliptic.P384(), crypto.SHA384),
	}
)

// schemeECDSA is ECDSA with a curve and a hash. Signatures are deterministic (RFC 6979), as Ed25519's are, so that
// signing needs no randomness that could be bad.
//
// RFC 9420, Section 5.1.2: public keys are uncompressed points, signatures DER, both as in TLS 1.3
func schemeECDSA(curve elliptic.Curve, hash crypto.Hash) signatureScheme {
	bits := curve.Params().N.BitLen()
	size := (bits + 7) / 8
	digest := func(message []byte) []byte {
		h := hash.New()
		h.Write(message)
		return h.Sum(nil)
	}
	return signatureScheme{
		keySize: size,
		topMask: 0xff >> (8*size - bits),
		parse: func(private []byte) (signFunc, []byte, error) {
			if len(private) != size {
				return nil, nil, errSignatureKey
			}
			key, err := ecdsa.ParseRawPrivateKey(curve, private)
			if err != nil {
				return nil, nil, errSignatureKey
			}
			public, err := key.PublicKey.Bytes()
			if err != nil {
				return nil, nil, errSignatureKey
			}
			sign := func(message []byte) ([]byte, error) { return key.Sign(nil, digest(message), hash) }
			return sign, public, nil
		},
		verify: func(public, message, signature []byte) bool {
			key, err := ecdsa.ParseUncompressedPublicKey(curve, public)
			return err == nil && ecdsa.VerifyASN1(key, digest(message), signature)
		},
		check: func(public []byte) bool {
			_, err := ecdsa.ParseUncompressedPublicKey(curve, public)
			return err == nil
		},
	}
}
