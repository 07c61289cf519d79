package mls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash"
	"io"

	"golang.org/x/crypto/cryptobyte"
)

// CipherSuite names the algorithms of a group (RFC 9420, Section 5.1).
type CipherSuite uint16

// The suites of this package, named by KEM, AEAD, hash and signature. Those with X448 and Ed448, 0x0004 and 0x0006,
// are not among them: the standard library has neither.
//
// RFC 9420, Section 17.1
const (
	// X25519AES128GCMSHA256Ed25519 is MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, the mandatory suite.
	X25519AES128GCMSHA256Ed25519 CipherSuite = 0x0001
	// P256AES128GCMSHA256P256 is MLS_128_DHKEMP256_AES128GCM_SHA256_P256.
	P256AES128GCMSHA256P256 CipherSuite = 0x0002
	// X25519ChaCha20Poly1305SHA256Ed25519 is MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519.
	X25519ChaCha20Poly1305SHA256Ed25519 CipherSuite = 0x0003
	// P521AES256GCMSHA512P521 is MLS_256_DHKEMP521_AES256GCM_SHA512_P521.
	P521AES256GCMSHA512P521 CipherSuite = 0x0005
	// P384AES256GCMSHA384P384 is MLS_256_DHKEMP384_AES256GCM_SHA384_P384.
	P384AES256GCMSHA384P384 CipherSuite = 0x0007
	// XWingChaCha20Poly1305SHA256Ed25519 is MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519, a post-quantum hybrid. The
	// number is not registered but OpenMLS's own, so the suite is provisional: see Config.ProvisionalSuites.
	XWingChaCha20Poly1305SHA256Ed25519 CipherSuite = 0x004D
)

// Supported reports whether this package implements the suite for everybody. It does not do so for a provisional
// suite, which a Config must permit.
func (cs CipherSuite) Supported() bool {
	s, err := suiteOf(cs)
	return err == nil && !s.provisional
}

var (
	errUnsupportedSuite = errors.New("mls: unsupported cipher suite")
	errProvisionalSuite = errors.New("mls: provisional cipher suite is not permitted")
	errOtherSuite       = errors.New("mls: signature key of another cipher suite")
	errDecrypt          = errors.New("mls: decryption failed")
	errHPKEKey          = errors.New("mls: invalid HPKE key")
	errSignatureKey     = errors.New("mls: invalid signature key")
	errSignature        = errors.New("mls: invalid signature")
)

// suite is one row of the table of cipher suites. The KEM is whatever crypto/hpke offers, so a suite with a
// post-quantum KEM is another row: nothing outside the rows assumes a curve or a key length.
type suite struct {
	id          CipherSuite
	provisional bool // its number is not registered
	kem         hpkeKEM
	kdf         hpkeKDF
	aead        hpkeAEAD
	newHash     func() hash.Hash
	hashSize    int // KDF.Nh
	keySize     int // AEAD.Nk
	nonceSize   int // AEAD.Nn
	newAEAD     func(key []byte) (cipher.AEAD, error)
	derive      func(secret []byte) (hpkePrivateKey, error) // KEM.DeriveKeyPair if it is not that of kem; may be nil
	weakKey     func(public []byte) bool                    // public HPKE keys that parse but cannot be encrypted to; may be nil
	x25519      bool                                        // the application may be asked for exchanges: Config.ExchangeX25519
	signature   signatureScheme
}

// signatureScheme is the signature algorithm of a suite; private keys are in their storage form.
type signatureScheme struct {
	keySize int  // octets of a private key
	topMask byte // the bits that a private key may have in its first octet
	ed25519 bool // the application may be asked to verify: Config.VerifyEd25519
	parse   func(private []byte) (sign signFunc, public []byte, err error)
	verify  func(public, message, signature []byte) bool
	check   func(public []byte) bool
}

// signFunc signs with one private key.
type signFunc func(message []byte) ([]byte, error)

// suite1 is never modified.
var suite1 = &suite{
	id:        X25519AES128GCMSHA256Ed25519,
	kem:       kemOfSuite1,
	kdf:       kdfOfSuite1,
	aead:      aeadOfSuite1,
	newHash:   sha256.New,
	hashSize:  sha256.Size,
	keySize:   16,
	nonceSize: 12,
	newAEAD:   newAESGCM,
	weakKey:   lowOrderX25519,
	x25519:    true,
	signature: schemeEd25519,
}

// schemeEd25519 is never modified.
var schemeEd25519 = signatureScheme{
	keySize: ed25519.SeedSize,
	topMask: 0xff,
	ed25519: true,
	parse:   parseEd25519,
	verify:  verifyEd25519,
	check:   func(public []byte) bool { return len(public) == ed25519.PublicKeySize },
}

// suiteOf returns the implementation of a suite.
func suiteOf(cs CipherSuite) (*suite, error) {
	if cs == suite1.id {
		return suite1, nil
	}
	for _, s := range otherSuites {
		if cs == s.id {
			return s, nil
		}
	}
	return nil, errUnsupportedSuite
}

func newAESGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func parseEd25519(private []byte) (signFunc, []byte, error) {
	if len(private) != ed25519.SeedSize {
		return nil, nil, errSignatureKey
	}
	key := ed25519.NewKeyFromSeed(private)
	sign := func(message []byte) ([]byte, error) { return ed25519.Sign(key, message), nil }
	return sign, key[ed25519.SeedSize:], nil
}

func verifyEd25519(public, message, signature []byte) bool {
	return len(public) == ed25519.PublicKeySize && ed25519.Verify(public, message, signature)
}

// hash is Hash of the suite.
func (s *suite) hash(data []byte) []byte {
	h := s.newHash()
	h.Write(data)
	return h.Sum(nil)
}

// extract is KDF.Extract.
func (s *suite) extract(salt, ikm []byte) []byte {
	prk, err := hkdf.Extract(s.newHash, ikm, salt)
	if err != nil {
		panic("mls: KDF.Extract: " + err.Error()) // a suite with a hash that HKDF refuses
	}
	return prk
}

// expand is KDF.Expand; length is one of ours and small.
func (s *suite) expand(secret, info []byte, length int) []byte {
	if length > s.hashSize {
		out, err := hkdf.Expand(s.newHash, secret, string(info), length)
		if err != nil {
			panic("mls: KDF.Expand: " + err.Error())
		}
		return out
	}
	// RFC 5869, Section 2.3: up to one block is T(1).
	h := hmac.New(s.newHash, secret)
	h.Write(info)
	h.Write([]byte{1})
	return h.Sum(nil)[:length:length]
}

// mac is MAC of the suite: HMAC with its hash.
func (s *suite) mac(key, data []byte) []byte {
	h := hmac.New(s.newHash, key)
	h.Write(data)
	return h.Sum(nil)
}

// checkMAC compares tag with the right one in constant time.
func (s *suite) checkMAC(key, data, tag []byte) bool {
	return subtle.ConstantTimeCompare(s.mac(key, data), tag) == 1
}

// zero is the all-zero vector of length KDF.Nh.
func (s *suite) zero() []byte { return make([]byte, s.hashSize) }

// random returns Nh random octets.
func (s *suite) random(rand io.Reader) ([]byte, error) {
	out := make([]byte, s.hashSize)
	if _, err := io.ReadFull(orSystem(rand), out); err != nil {
		return nil, errors.New("mls: no randomness")
	}
	return out, nil
}

// orSystem returns r, or the system's generator for nil.
func orSystem(r io.Reader) io.Reader {
	if r == nil {
		return rand.Reader
	}
	return r
}

// SignatureKey is a private signature key of one suite. It has no String.
type SignatureKey struct {
	suite   *suite
	private []byte
	public  []byte
	sign    signFunc
}

// SignaturePublicKey is a public signature key in the encoding of its suite (RFC 9420, Section 5.1.1).
type SignaturePublicKey []byte

// GenerateSignatureKey makes a new key from rand, or from the system's generator if rand is nil.
func GenerateSignatureKey(cs CipherSuite, rand io.Reader) (*SignatureKey, error) {
	s, err := suiteOf(cs)
	if err != nil {
		return nil, err
	}
	// FIPS 186-5, Appendix A.2.2: a scalar outside the range is not reduced but drawn again, which is rare
	for range 16 {
		private := make([]byte, s.signature.keySize)
		if _, err := io.ReadFull(orSystem(rand), private); err != nil {
			return nil, errors.New("mls: no randomness")
		}
		private[0] &= s.signature.topMask
		if k, err := newSignatureKey(s, private); err == nil {
			return k, nil
		}
	}
	return nil, errors.New("mls: no randomness")
}

// ParseSignatureKey restores a key from what Private returned: for Ed25519 the 32-octet seed, for ECDSA the scalar,
// big-endian and as long as the order of the curve.
func ParseSignatureKey(cs CipherSuite, private []byte) (*SignatureKey, error) {
	s, err := suiteOf(cs)
	if err != nil {
		return nil, err
	}
	return newSignatureKey(s, append([]byte(nil), private...))
}

func newSignatureKey(s *suite, private []byte) (*SignatureKey, error) {
	sign, public, err := s.signature.parse(private)
	if err != nil {
		return nil, err
	}
	return &SignatureKey{suite: s, private: private, public: public, sign: sign}, nil
}

// Private returns the key for storage, and for nothing else.
func (k *SignatureKey) Private() []byte { return append([]byte(nil), k.private...) }

// Public returns the public key.
func (k *SignatureKey) Public() SignaturePublicKey {
	return append(SignaturePublicKey(nil), k.public...)
}

// CipherSuite returns the suite the key belongs to.
func (k *SignatureKey) CipherSuite() CipherSuite { return k.suite.id }

// HPKEPublicKey is a public HPKE key in the encoding of its suite (RFC 9420, Section 5.1.1).
type HPKEPublicKey []byte

// HPKEPrivateKey is a private HPKE key with its public key (RFC 9420, Section 5.1.3). It has no String.
type HPKEPrivateKey struct {
	suite  *suite
	key    hpkePrivateKey
	public HPKEPublicKey
}

// GenerateHPKEKey makes a new key pair from Nh octets of rand, or of the system's generator if rand is nil.
func GenerateHPKEKey(cs CipherSuite, rand io.Reader) (*HPKEPrivateKey, error) {
	s, err := suiteOf(cs)
	if err != nil {
		return nil, err
	}
	return s.generateKeyPair(rand)
}

func (s *suite) generateKeyPair(rand io.Reader) (*HPKEPrivateKey, error) {
	seed, err := s.random(rand)
	if err != nil {
		return nil, err
	}
	return s.deriveKeyPair(seed)
}

// deriveKeyPair is KEM.DeriveKeyPair: the key pair of a node or of external_secret.
func (s *suite) deriveKeyPair(secret []byte) (*HPKEPrivateKey, error) {
	derive := s.derive
	if derive == nil {
		derive = s.kem.DeriveKeyPair
	}
	key, err := derive(secret)
	if err != nil {
		return nil, errHPKEKey
	}
	return s.newHPKEKey(key), nil
}

// parseHPKEKey restores a key from what bytes returned.
func (s *suite) parseHPKEKey(private []byte) (*HPKEPrivateKey, error) {
	key, err := s.kem.NewPrivateKey(private)
	if err != nil {
		return nil, errHPKEKey
	}
	return s.newHPKEKey(key), nil
}

func (s *suite) newHPKEKey(key hpkePrivateKey) *HPKEPrivateKey {
	return &HPKEPrivateKey{suite: s, key: key, public: key.PublicKey().Bytes()}
}

// checkPublicKey verifies that public is a key of the suite's KEM and can be encrypted to. A leaf that cannot would
// make every later commit of the others fail.
func (s *suite) checkPublicKey(public HPKEPublicKey) error {
	if _, err := s.kem.NewPublicKey(public); err != nil {
		return errHPKEKey
	}
	if s.weakKey != nil && s.weakKey(public) {
		return errHPKEKey
	}
	return nil
}

// lowOrderX25519 reports whether public is one of the points with which every X25519 exchange gives zero, which
// RFC 9180, Section 7.1.4 has both sides refuse: 0, 1, the two points of order eight, and p-1, p, p+1.
func lowOrderX25519(public []byte) bool {
	if len(public) != 32 {
		return false
	}
	point := [32]byte(public)
	point[31] &= 0x7f // RFC 7748, Section 5: the top bit is ignored
	switch point[0] {
	case 0x00, 0x01:
		return allZero(point[1:])
	case 0xe0:
		return string(point[:]) == "\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a"+
			"\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00"
	case 0x5f:
		return string(point[:]) == "\x5f\x9c\x95\xbc\xa3\x50\x8c\x24\xb1\xd0\xb1\x55\x9c\x83\xef\x5b"+
			"\x04\x44\x5c\xc4\x58\x1c\x8e\x86\xd8\x22\x4e\xdd\xd0\x9f\x11\x57"
	case 0xec, 0xed, 0xee:
		for _, c := range point[1:31] {
			if c != 0xff {
				return false
			}
		}
		return point[31] == 0x7f
	}
	return false
}

// Public returns the public key.
func (k *HPKEPrivateKey) Public() HPKEPublicKey {
	return append(HPKEPublicKey(nil), k.public...)
}

// bytes is the private key for storage.
func (k *HPKEPrivateKey) bytes() ([]byte, error) {
	out, err := k.key.Bytes()
	if err != nil {
		return nil, errHPKEKey
	}
	return append([]byte(nil), out...), nil // a hybrid key returns its own memory
}

// externalInitSend makes the kem_output of an ExternalInit proposal and the init secret it stands for.
//
// RFC 9420, Section 8.3
func (s *suite) externalInitSend(externalPub HPKEPublicKey) (kemOutput, initSecret []byte, err error) {
	public, err := s.kem.NewPublicKey(externalPub)
	if err != nil {
		return nil, nil, errHPKEKey
	}
	kemOutput, sender, err := newHPKESender(public, s.kdf, s.aead, nil)
	if err != nil {
		return nil, nil, errHPKEKey
	}
	initSecret, err = sender.Export(externalInitLabel, s.hashSize)
	return kemOutput, initSecret, err
}

// externalInitReceive recovers the init secret from a kem_output.
//
// RFC 9420, Section 8.3
func (k *HPKEPrivateKey) externalInitReceive(kemOutput []byte) ([]byte, error) {
	r, err := newHPKERecipient(kemOutput, k.key, k.suite.kdf, k.suite.aead, nil)
	if err != nil {
		return nil, errDecrypt
	}
	return r.Export(externalInitLabel, k.suite.hashSize)
}

const externalInitLabel = "MLS 1.0 external init secret"

// mustBytes is for builders that cannot fail: fixed fields and vectors of small size.
func mustBytes(b *cryptobyte.Builder) []byte { return b.BytesOrPanic() }

// equalMAC compares two tags in constant time.
func equalMAC(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
