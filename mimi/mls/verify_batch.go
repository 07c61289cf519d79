package mls

import (
	"bytes"
	"crypto/ed25519"
)

// Joining a group means to verify a signature of each of its members. A browser does that in parallel and several
// times as fast as WebAssembly, so that the application may offer to do it: Config.VerifyEd25519.
//
// What it confirms is not verified again, so everybody must decide alike, or a member could make a leaf that some
// accept and others refuse. Implementations of Ed25519 agree unless a signature is made to divide them, which takes
// a point of small order, a point or scalar that is not in its one canonical form, or the equation with the cofactor.
// The first two kinds are never shown to the application, the third it must not use; WebCrypto does not. Whatever the
// application does not confirm is verified here: it can spare work, but it cannot refuse anything.

// SignatureCheck is an Ed25519 signature to be verified. Message is what was signed, label included.
type SignatureCheck struct {
	PublicKey, Message, Signature []byte
}

// minBatch is how many signatures are worth a call of the application.
const minBatch = 2

// signatureBatch collects the signatures of leaves.
type signatureBatch struct {
	suite  *suite
	checks []SignatureCheck
	leaves []*LeafNode // whose signatures they are
}

// confirmed are leaves of which no signature must be verified again, in a KeyPackage neither the KeyPackage's.
type confirmed map[*LeafNode]bool

// confirmLeaves offers the signatures of all leaves of the tree to the application.
func (t *ratchetTree) confirmLeaves(cfg *Config, groupID []byte) confirmed {
	if cfg.VerifyEd25519 == nil {
		return nil
	}
	b := &signatureBatch{suite: t.suite}
	for i, l := range t.members {
		if check, ok := b.leafCheck(l, groupID, i); ok {
			b.add(l, check)
		}
	}
	return b.confirm(cfg)
}

// confirmAdds offers both signatures of each KeyPackage in a list of Adds to the application.
func confirmAdds(cfg *Config, s *suite, adds []StagedProposal) confirmed {
	if cfg.VerifyEd25519 == nil {
		return nil
	}
	b := &signatureBatch{suite: s}
	for _, a := range adds {
		k := a.Proposal.Add
		tbs, err := k.toBeSigned()
		if err != nil {
			continue
		}
		leaf, ok := b.leafCheck(&k.LeafNode, nil, 0)
		whole, okWhole := b.check(k.LeafNode.SignatureKey, "KeyPackageTBS", tbs, k.Signature)
		if ok && okWhole {
			b.add(&k.LeafNode, leaf, whole)
		}
	}
	return b.confirm(cfg)
}

func (b *signatureBatch) add(l *LeafNode, checks ...SignatureCheck) {
	b.leaves = append(b.leaves, l)
	b.checks = append(b.checks, checks...)
}

func (b *signatureBatch) leafCheck(l *LeafNode, groupID []byte, i LeafIndex) (SignatureCheck, bool) {
	tbs, err := l.toBeSigned(groupID, i)
	if err != nil {
		return SignatureCheck{}, false
	}
	return b.check(l.SignatureKey, "LeafNodeTBS", tbs, l.Signature)
}

// check is what verifyWithLabel would verify, unless it is not for the application to judge.
func (b *signatureBatch) check(key SignaturePublicKey, label string, content, signature []byte) (SignatureCheck, bool) {
	message, err := labelled(labelPrefix+label, content)
	return SignatureCheck{key, message, signature}, err == nil && b.suite.signature.ed25519 && plainEd25519(key, signature)
}

// confirm asks the application about all of them at once.
func (b *signatureBatch) confirm(cfg *Config) confirmed {
	if len(b.checks) < minBatch || cfg.VerifyEd25519(b.checks) != nil {
		return nil
	}
	c := make(confirmed, len(b.leaves))
	for _, l := range b.leaves {
		c[l] = true
	}
	return c
}

// plainEd25519 reports whether key and signature are of the form about which all implementations agree.
func plainEd25519(key, signature []byte) bool {
	return len(key) == ed25519.PublicKeySize && len(signature) == ed25519.SignatureSize && plainPoint(key) &&
		plainPoint(signature[:32]) && below(signature[32:], ed25519Order)
}

// Numbers of edwards25519 as they are encoded, least significant octet first.
const (
	// ed25519Order is the order of the base point.
	ed25519Order = "\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10"
	// ed25519MinusOne is the greatest coordinate, p-1, which is the y of the point of order two.
	ed25519MinusOne = "\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
	// ed25519Eight and ed25519MinusEight are the two y of the points of order eight.
	ed25519Eight = "\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0" +
		"\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05"
	ed25519MinusEight = "\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f" +
		"\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a"
)

// plainPoint reports whether 32 octets encode a y below p that is not of a point of small order. Those are the points
// with y 0, 1 and -1 and the points of order eight; with them goes the only x that could have a sign although it is 0.
func plainPoint(point []byte) bool {
	y := bytes.Clone(point)
	y[31] &= 0x7f // the sign of x
	if y[0] <= 1 && allZero(y[1:]) {
		return false
	}
	return below(y, ed25519MinusOne) && string(y) != ed25519Eight && string(y) != ed25519MinusEight
}

// below compares numbers of the same length, least significant octet first. They are public.
func below(a []byte, b string) bool {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}
