package mls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// epochSecrets is what a member keeps of an epoch's key schedule. The secrets it came from (init_secret of the epoch
// before, commit_secret, joiner_secret, epoch_secret, encryption_secret) are never part of it: encryption_secret
// lives as the root of the secret tree until its first use.
type epochSecrets struct {
	suite         *suite
	senderData    []byte
	exporter      []byte
	authenticator []byte
	external      []byte
	confirmation  []byte
	membership    []byte
	resumption    []byte
	init          []byte
	tree          *secretTree
	exports       *secretTree // the exporter tree; nil in past epochs and in states from before it was there
}

// joinerSecret is the first half of the key schedule. context is the encoded GroupContext of the new epoch.
//
// RFC 9420, Section 8
func (s *suite) joinerSecret(initSecret, commitSecret, context []byte) []byte {
	return s.expandWithLabel(s.extract(initSecret, commitSecret), "joiner", context, s.hashSize)
}

// newEpochSecrets is the second half of the key schedule: from joiner_secret, which also a new member knows, to the
// secrets of the epoch of a tree with the given number of leaves.
//
// RFC 9420, Section 8
func (s *suite) newEpochSecrets(joinerSecret, pskSecret, context []byte, leaves uint32) *epochSecrets {
	epochSecret := s.expandWithLabel(s.extract(joinerSecret, pskSecret), "epoch", context, s.hashSize)
	defer clear(epochSecret)
	return s.epochSecretsOf(epochSecret, leaves)
}

// nextEpochSecrets runs the whole key schedule; the joiner secret is returned for the Welcome only.
//
// RFC 9420, Section 8
func (s *suite) nextEpochSecrets(initSecret, commitSecret, pskSecret, context []byte, leaves uint32) (*epochSecrets, []byte) {
	joiner := s.joinerSecret(initSecret, commitSecret, context)
	return s.newEpochSecrets(joiner, pskSecret, context, leaves), joiner
}

// epochSecretsOf derives the secrets of an epoch from its epoch_secret, which for a new group is random.
//
// RFC 9420, Section 8, Table 4
func (s *suite) epochSecretsOf(epochSecret []byte, leaves uint32) *epochSecrets {
	return &epochSecrets{
		suite:         s,
		senderData:    s.deriveSecret(epochSecret, "sender data"),
		exporter:      s.deriveSecret(epochSecret, "exporter"),
		authenticator: s.deriveSecret(epochSecret, "authentication"),
		external:      s.deriveSecret(epochSecret, "external"),
		confirmation:  s.deriveSecret(epochSecret, "confirm"),
		membership:    s.deriveSecret(epochSecret, "membership"),
		resumption:    s.deriveSecret(epochSecret, "resumption"),
		init:          s.deriveSecret(epochSecret, "init"),
		tree:          newSecretTree(s, s.deriveSecret(epochSecret, "encryption"), leaves),
		exports:       newExporterTree(s, s.deriveSecret(epochSecret, "application_export")),
	}
}

// confirmationTag is MAC(confirmation_key, confirmed_transcript_hash).
//
// RFC 9420, Section 6.1
func (e *epochSecrets) confirmationTag(confirmedTranscriptHash []byte) []byte {
	return e.suite.mac(e.confirmation, confirmedTranscriptHash)
}

// checkConfirmationTag verifies a confirmation tag in constant time.
func (e *epochSecrets) checkConfirmationTag(confirmedTranscriptHash, tag []byte) error {
	if !e.suite.checkMAC(e.confirmation, confirmedTranscriptHash, tag) {
		return errors.New("mls: invalid confirmation tag")
	}
	return nil
}

// externalKey is the key pair whose public half is external_pub.
//
// RFC 9420, Section 8
func (e *epochSecrets) externalKey() (*HPKEPrivateKey, error) {
	return e.suite.deriveKeyPair(e.external)
}

// export is MLS-Exporter.
//
// RFC 9420, Section 8.5
func (e *epochSecrets) export(label string, context []byte, length int) ([]byte, error) {
	if length < 0 || length > 255*e.suite.hashSize {
		return nil, errors.New("mls: exporter length out of range")
	}
	secret := e.suite.deriveSecret(e.exporter, label)
	return e.suite.expandWithLabel(secret, "exported", e.suite.hash(context), length), nil
}

// past returns what may be kept of the epoch once the next one has begun: enough to read late messages. The tree is
// shared, as it goes on being consumed.
//
// RFC 9420, Section 9.2
func (e *epochSecrets) past() *epochSecrets {
	return &epochSecrets{suite: e.suite, senderData: e.senderData, membership: e.membership, tree: e.tree}
}

// fields lists the secrets in the order of their encoding.
func (e *epochSecrets) fields() []*[]byte {
	return []*[]byte{&e.senderData, &e.exporter, &e.authenticator, &e.external, &e.confirmation, &e.membership,
		&e.resumption, &e.init}
}

// Marshal writes everything but the secret tree, which changes with each message and is saved apart, and the exporter
// tree.
func (e *epochSecrets) Marshal(b *cryptobyte.Builder) error {
	for _, f := range e.fields() {
		syntax.AddVector(b, *f)
	}
	return nil
}

// unmarshalEpochSecrets reads what Marshal wrote; the secret tree is for the caller to attach. Nothing is shared with
// the input.
func (s *suite) unmarshalEpochSecrets(in *cryptobyte.String) (*epochSecrets, error) {
	e := &epochSecrets{suite: s}
	for _, f := range e.fields() {
		var v []byte
		if !syntax.ReadVector(in, &v) || len(v) != 0 && len(v) != s.hashSize {
			return nil, errors.New("mls: malformed epoch secrets")
		}
		*f = append([]byte(nil), v...)
	}
	return e, nil
}
