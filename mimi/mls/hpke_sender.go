package mls

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"slices"
)

// HPKE is that of crypto/hpke, or the small one of suite1 alone; both make ephemeral keys themselves. Only for exchanges
// that the application has computed (Config.ExchangeX25519) what follows is here: the sender's key schedule in base
// mode, for a single message.

// x25519Size is the length of public keys and shared secrets.
const x25519Size = 32

// baseSender encrypts one message to each of many recipients, with the same info for all.
type baseSender struct {
	suite     *suite
	kemID, id string // suite_id of the KEM and of HPKE
	context   []byte // key_schedule_context
}

// newBaseSender prepares what does not depend on the recipient.
func newBaseSender(s *suite, info []byte) *baseSender {
	kemID := binary.BigEndian.AppendUint16(nil, s.kem.ID())
	id := binary.BigEndian.AppendUint16(kemID, s.kdf.ID())
	id = binary.BigEndian.AppendUint16(id, s.aead.ID())
	// RFC 9180, Sections 4.1 and 5.1
	b := &baseSender{suite: s, kemID: "KEM" + string(kemID), id: "HPKE" + string(id)}
	// RFC 9180, Section 5.1: mode_base is 0, default_psk_id is empty
	psk := b.extract(b.id, nil, "psk_id_hash", nil)
	b.context = slices.Concat([]byte{0}, psk, b.extract(b.id, nil, "info_hash", info))
	return b
}

// extract is LabeledExtract.
//
// RFC 9180, Section 4
func (b *baseSender) extract(id string, salt []byte, label string, ikm []byte) []byte {
	labeled := slices.Concat([]byte("HPKE-v1"+id+label), ikm)
	defer clear(labeled)
	return b.suite.extract(salt, labeled)
}

// expand is LabeledExpand.
//
// RFC 9180, Section 4
func (b *baseSender) expand(id string, prk []byte, label string, info []byte, length int) []byte {
	labeled := binary.BigEndian.AppendUint16(nil, uint16(length))
	labeled = append(append(labeled, "HPKE-v1"+id+label...), info...)
	return b.suite.expand(prk, labeled, length)
}

// encap is what remains of Encap after the exchange: ExtractAndExpand.
//
// RFC 9180, Section 4.1
func (b *baseSender) encap(to HPKEPublicKey, x X25519Exchange) []byte {
	prk := b.extract(b.kemID, nil, "eae_prk", x.Shared)
	defer clear(prk)
	return b.expand(b.kemID, prk, "shared_secret", slices.Concat(x.Ephemeral, to), b.suite.hashSize) // Nsecret is Nh here
}

// schedule is KeySchedule without the exporter_secret: the AEAD with its key, and base_nonce.
//
// RFC 9180, Section 5.1
func (b *baseSender) schedule(sharedSecret []byte) (cipher.AEAD, []byte, error) {
	secret := b.extract(b.id, sharedSecret, "secret", nil)
	defer clear(secret)
	key := b.expand(b.id, secret, "key", b.context, b.suite.keySize)
	defer clear(key)
	aead, err := b.suite.newAEAD(key)
	if err != nil {
		return nil, nil, errors.New("mls: encryption failed")
	}
	return aead, b.expand(b.id, secret, "base_nonce", b.context, b.suite.nonceSize), nil
}

// seal is SealBase with an exchange that has been made with the recipient, and without aad.
//
// RFC 9180, Section 6.1
func (b *baseSender) seal(to HPKEPublicKey, x X25519Exchange, plaintext []byte) (HPKECiphertext, error) {
	sharedSecret := b.encap(to, x)
	defer clear(sharedSecret)
	aead, nonce, err := b.schedule(sharedSecret)
	if err != nil {
		return HPKECiphertext{}, err
	}
	// RFC 9180, Section 5.2: at sequence number 0 the nonce is base_nonce
	return HPKECiphertext{KEMOutput: bytes.Clone(x.Ephemeral), Ciphertext: aead.Seal(nil, nonce, plaintext, nil)}, nil
}
