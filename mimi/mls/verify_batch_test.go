package mls

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// batchVerifier is a fake of what a browser offers; it counts what it was asked.
type batchVerifier struct {
	calls, checks int
	answer        func(checks []SignatureCheck) error
}

func (v *batchVerifier) verify(checks []SignatureCheck) error {
	v.calls++
	v.checks += len(checks)
	return v.answer(checks)
}

var errNotVerified = errors.New("not verified")

func honestly(checks []SignatureCheck) error {
	for _, c := range checks {
		if !ed25519.Verify(c.PublicKey, c.Message, c.Signature) {
			return errNotVerified
		}
	}
	return nil
}

func refuse([]SignatureCheck) error { return errNotVerified }

func approve([]SignatureCheck) error { return nil }

// Wherever many signatures are verified they are offered together, all of them; what the application answers makes
// no difference to groups that are in order.
func TestVerifyTogether(t *testing.T) {
	for name, answer := range map[string]func([]SignatureCheck) error{"honest": honestly, "refuses": refuse} {
		t.Run(name, func(t *testing.T) {
			w := bigWorld(t, 20, 19)
			v := &batchVerifier{answer: answer}
			asked := func(what string, calls, checks int) {
				t.Helper()
				if v.calls != calls || v.checks != checks {
					t.Errorf("%s: %d calls with %d signatures, want %d with %d", what, v.calls, v.checks, calls, checks)
				}
				v.calls, v.checks = 0, 0
			}
			for _, g := range w.members {
				g.cfg.VerifyEd25519 = v.verify
			}
			cfg := w.cfg
			cfg.VerifyEd25519 = v.verify

			gi, tree := must[*GroupInfo](t)(w.members["m0"].GroupInfo()), must[RatchetTree](t)(w.members["m0"].RatchetTree())
			must[*PublicGroup](t)(NewPublicGroup(cfg, gi, tree))
			asked("verifier", 1, 20)
			if _, _, err := JoinExternal(cfg, w.client("external"), gi, tree, nil, nil); err != nil {
				t.Error(err)
			}
			asked("external join", 1, 20)

			var adds []Proposal
			for i := range 3 {
				_, key := w.keyPackage(fmt.Sprint("new", i))
				adds = append(adds, AddProposal(key.KeyPackage))
			}
			c, key := w.keyPackage("joiner")
			adds = append(adds, AddProposal(key.KeyPackage))
			bundle := must[*CommitBundle](t)(w.members["m0"].Commit(CommitOptions{Proposals: adds}))
			asked("commit", 1, 8)
			must[*Received](t)(w.members["m19"].Process(wire(t, bundle.Commit)))
			asked("receipt of a commit", 1, 8)
			must[*Group](t)(JoinWelcome(cfg, c, bundle.Welcome, must[RatchetTree](t)(bundle.Staged.RatchetTree()), key))
			asked("join", 1, 24)
			w.members["m0"].DiscardPending()

			proposal := must[*Message](t)(w.members["m0"].Propose(adds[0], nil))
			asked("proposal", 1, 2)
			must[*Received](t)(w.members["m19"].Process(wire(t, proposal)))
			asked("receipt of a proposal", 1, 2)
		})
	}
}

// What is wrong with a tree is found, and told in the same words, whatever the application says, as long as it does not
// confirm a signature that is not valid.
func TestVerifyTogetherDecidesTheSame(t *testing.T) {
	order := []byte(ed25519Order)
	for name, damage := range map[string]func(l *LeafNode){
		"nothing":         func(*LeafNode) {},
		"signature":       func(l *LeafNode) { l.Signature = flipped(l.Signature, 5) },
		"scalar":          func(l *LeafNode) { l.Signature = flipped(l.Signature, 40) },
		"scalar plus L":   func(l *LeafNode) { l.Signature = slices.Concat(l.Signature[:32], plus(l.Signature[32:], order)) },
		"short signature": func(l *LeafNode) { l.Signature = l.Signature[:63] },
		"no signature":    func(l *LeafNode) { l.Signature = nil },
		"key":             func(l *LeafNode) { l.SignatureKey = flipped(l.SignatureKey, 0) },
		"short key":       func(l *LeafNode) { l.SignatureKey = l.SignatureKey[:31] },
		"contents":        func(l *LeafNode) { l.Credential = BasicCredential([]byte("mallory")) },
		"capabilities":    func(l *LeafNode) { l.Capabilities.Credentials = nil },
		"source":          func(l *LeafNode) { l.Source = 9 },
	} {
		t.Run(name, func(t *testing.T) {
			w := bigWorld(t, 8)
			tree := w.members["m0"].state.tree.clone()
			leaf := *tree.leaf(3)
			damage(&leaf)
			tree.setLeaf(3, &leaf)
			rules := must[*groupRules](t)(newGroupRules(&Config{}, suite1, []byte("big group"), nil))
			alone := tree.validate(rules, &w.cfg)
			if (alone == nil) != (name == "nothing") {
				t.Fatalf("without help: %v", alone)
			}
			for _, answer := range []func([]SignatureCheck) error{honestly, refuse} {
				v := &batchVerifier{answer: answer}
				cfg := w.cfg
				cfg.VerifyEd25519 = v.verify
				if err := tree.validate(rules, &cfg); fmt.Sprint(err) != fmt.Sprint(alone) || v.calls != 1 {
					t.Errorf("with help: %v after %d calls; without: %v", err, v.calls, alone)
				}
			}
		})
	}
}

// An application that confirms everything is believed about ordinary signatures only.
func TestVerifyTogetherShowsNothingDivisive(t *testing.T) {
	w := bigWorld(t, 8)
	tree := w.members["m0"].state.tree.clone()
	leaf := *tree.leaf(3)
	leaf.Signature = slices.Concat(leaf.Signature[:32], plus(leaf.Signature[32:], []byte(ed25519Order)))
	tree.setLeaf(3, &leaf)
	v := &batchVerifier{answer: approve}
	cfg := w.cfg
	cfg.VerifyEd25519 = v.verify
	rules := must[*groupRules](t)(newGroupRules(&Config{}, suite1, []byte("big group"), nil))
	if err := tree.validate(rules, &cfg); err != errLeafSignature {
		t.Errorf("malleated signature: %v", err)
	}
	if v.checks != 7 {
		t.Errorf("%d signatures shown, want the 7 ordinary ones", v.checks)
	}
	// two signatures of one KeyPackage go together or not at all
	_, key := w.keyPackage("new")
	key.KeyPackage.Signature = leaf.Signature
	*v = batchVerifier{answer: approve}
	g := w.members["m0"]
	g.cfg.VerifyEd25519 = v.verify
	if _, err := g.Commit(CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}}); err == nil || v.calls != 0 {
		t.Errorf("malleated KeyPackage: %v after %d calls", err, v.calls)
	}
}

func flipped(data []byte, i int) []byte {
	data = bytes.Clone(data)
	data[i] ^= 1
	return data
}

// plus adds numbers of the same length, least significant octet first.
func plus(a, b []byte) []byte {
	sum, carry := bytes.Clone(a), 0
	for i := range sum {
		carry += int(a[i]) + int(b[i])
		sum[i], carry = byte(carry), carry>>8
	}
	return sum
}

// Each point that plainPoint calls one of small order is one: under it as a key the signature of which both parts are
// zero is valid for about every eighth message. And ordinary keys and signatures are plain.
func TestPlainEd25519(t *testing.T) {
	identity := append([]byte{1}, make([]byte, 31)...)
	zero := make([]byte, 32)
	for i, y := range []string{string(zero), string(identity), ed25519MinusOne, ed25519Eight, ed25519MinusEight} {
		for _, sign := range []byte{0, 0x80} {
			point := []byte(y)
			point[31] |= sign
			if plainPoint(point) {
				t.Errorf("point %d with sign %x is plain", i, sign)
			}
			accepted := false
			for n := range 500 {
				accepted = accepted || ed25519.Verify(point, fmt.Append(nil, n), slices.Concat(identity, zero))
			}
			if !accepted {
				t.Errorf("point %d with sign %x is not of small order", i, sign)
			}
		}
	}
	for d := range byte(19) { // p to 2^255-1: a second encoding of 0 to 18
		point := []byte(ed25519MinusOne)
		point[0] += 1 + d
		if point[0] < 0xed || plainPoint(point) {
			t.Errorf("p+%d is plain", d)
		}
	}
	r := newRandom(7)
	for range 100 {
		key := must[*SignatureKey](t)(GenerateSignatureKey(suite1.id, r))
		signature := must[[]byte](t)(key.SignWithLabel("test", r.octets(20)))
		if !plainEd25519(key.public, signature) {
			t.Fatalf("key %x and signature %x are not plain", key.public, signature)
		}
		if plainEd25519(key.public, slices.Concat(signature[:32], plus(signature[32:], []byte(ed25519Order)))) {
			t.Error("a scalar above the order is plain")
		}
	}
	if below([]byte(ed25519Order), ed25519Order) {
		t.Error("a number is below itself")
	}
}

// A committer does not verify the signature it has just made, so it must be made with the key of its leaf.
func TestCommitNeedsTheKeyOfTheLeaf(t *testing.T) {
	g := bigWorld(t, 4).members["m0"]
	other := newTestClient(t, newRandom(9), "m0")
	g.client = other
	if _, err := g.Commit(CommitOptions{}); err == nil || !strings.Contains(err.Error(), "another signature key") {
		t.Errorf("committed with another key: %v", err)
	}
	if _, err := g.Commit(CommitOptions{RenewLeaf: true}); err != nil {
		t.Errorf("a renewed leaf has the new key: %v", err)
	}
}
