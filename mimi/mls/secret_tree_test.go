package mls

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/vectors"
)

type secretTreeVectors struct {
	CipherSuite CipherSuite `json:"cipher_suite"`
	SenderData  struct {
		Secret     hexBytes `json:"sender_data_secret"`
		Ciphertext hexBytes
		Key        hexBytes
		Nonce      hexBytes
	} `json:"sender_data"`
	EncryptionSecret hexBytes `json:"encryption_secret"`
	Leaves           [][]struct {
		Generation       uint32
		HandshakeKey     hexBytes `json:"handshake_key"`
		HandshakeNonce   hexBytes `json:"handshake_nonce"`
		ApplicationKey   hexBytes `json:"application_key"`
		ApplicationNonce hexBytes `json:"application_nonce"`
	}
}

func TestVectorsSecretTree(t *testing.T) {
	var entries []secretTreeVectors
	vectors.Load(t, "mls/secret-tree.json", &entries)
	var count vectors.Suites
	for i := range entries {
		if v := &entries[i]; counted(&count, v.CipherSuite) {
			v.check(t)
		}
	}
	count.Report(t)
}

func (v *secretTreeVectors) check(t *testing.T) {
	s := must[*suite](t)(suiteOf(v.CipherSuite))
	key, nonce := s.senderDataKey(v.SenderData.Secret, v.SenderData.Ciphertext)
	equal(t, "sender data key", key, v.SenderData.Key)
	equal(t, "sender data nonce", nonce, v.SenderData.Nonce)
	tree := newSecretTree(s, bytes.Clone(v.EncryptionSecret), uint32(len(v.Leaves)))
	for leaf := range v.Leaves {
		for _, g := range v.Leaves[leaf] {
			h := must[*keyUse](t)(tree.find(LeafIndex(leaf), handshakeRatchet, g.Generation))
			equal(t, "handshake key", h.key, g.HandshakeKey)
			equal(t, "handshake nonce", h.nonce, g.HandshakeNonce)
			h.apply()
			a := must[*keyUse](t)(tree.find(LeafIndex(leaf), applicationRatchet, g.Generation))
			equal(t, "application key", a.key, g.ApplicationKey)
			equal(t, "application nonce", a.nonce, g.ApplicationNonce)
			a.apply()
		}
	}
	if len(tree.nodes) != 0 {
		t.Errorf("%d node secrets left after every leaf was used", len(tree.nodes))
	}
}

func newTestTree(leaves uint32) *secretTree {
	return newSecretTree(suite1, suite1.hash([]byte("encryption")), leaves)
}

// take finds and consumes a key.
func take(t *testing.T, tree *secretTree, leaf LeafIndex, generation uint32) []byte {
	t.Helper()
	use := must[*keyUse](t)(tree.find(leaf, applicationRatchet, generation))
	use.apply()
	return bytes.Clone(use.key)
}

func TestSecretTreeOutOfOrder(t *testing.T) {
	want := map[uint32][]byte{}
	ref := newTestTree(8)
	for g := range uint32(60) {
		want[g] = take(t, ref, 3, g)
	}
	tree := newTestTree(8)
	for _, g := range []uint32{5, 0, 4, 30, 29, 25, 59} {
		equal(t, "key", take(t, tree, 3, g), want[g])
	}
	for _, g := range []uint32{0, 5, 1, 30, 59, 38} {
		if _, err := tree.find(3, applicationRatchet, g); !errors.Is(err, ErrReplayed) {
			t.Errorf("generation %d: %v", g, err)
		}
	}
	// The 20 youngest skipped keys are kept, no more.
	if n := len(tree.leafs[3][applicationRatchet].skipped); n != maxStored {
		t.Errorf("%d skipped keys stored", n)
	}
	equal(t, "oldest kept", take(t, tree, 3, 39), want[39])
}

func TestSecretTreeSendMatchesFind(t *testing.T) {
	a, b := newTestTree(5), newTestTree(5)
	for g := range uint32(5) {
		sent := must[messageKey](t)(a.next(4, applicationRatchet))
		if sent.generation != g {
			t.Fatalf("generation %d, want %d", sent.generation, g)
		}
		equal(t, "key", take(t, b, 4, g), sent.key)
	}
	if _, err := a.find(4, applicationRatchet, 2); !errors.Is(err, ErrReplayed) {
		t.Error("a key that was sent with is still there")
	}
}

func TestSecretTreeState(t *testing.T) {
	tree := newTestTree(100)
	for leaf := range LeafIndex(100) {
		if leaf%7 == 0 {
			take(t, tree, leaf, uint32(leaf)%11)
		}
	}
	data := must[[]byte](t)(marshal(tree))
	s := cryptobyte.String(data)
	again := must[*secretTree](t)(suite1.unmarshalSecretTree(&s))
	for leaf := range LeafIndex(100) {
		for _, g := range []uint32{0, 3, 12} {
			a, errA := tree.find(leaf, applicationRatchet, g)
			b, errB := again.find(leaf, applicationRatchet, g)
			if (errA == nil) != (errB == nil) {
				t.Fatalf("leaf %d, generation %d: %v and %v", leaf, g, errA, errB)
			}
			if errA == nil {
				equal(t, "key", b.key, a.key)
			}
		}
	}
	// Restoring shares no memory with its input.
	clear(data)
	equal(t, "state", must[[]byte](t)(marshal(again)), must[[]byte](t)(marshal(tree)))
}

// The state grows with what was used, not with the group.
func TestSecretTreeStateIsSmall(t *testing.T) {
	tree := newTestTree(1 << 16)
	for leaf := range LeafIndex(10) {
		take(t, tree, leaf*5000, 0)
	}
	if n := len(must[[]byte](t)(marshal(tree))); n > 10*(16*36+2*37+8)+16 {
		t.Errorf("%d octets for ten senders", n)
	}
}
