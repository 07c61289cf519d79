package mls

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

//go:embed testdata/xwing.json
var testdata embed.FS

// allocated returns how many octets f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A length header says nothing about memory: a decoder allocates in proportion to the octets present.
func TestLesson01HeaderAllocatesNothing(t *testing.T) {
	for name := range decoders {
		valid, err := marshal(newRandom(3).value(t, name))
		if err != nil {
			t.Fatal(err)
		}
		checkAllocation(t, len(valid), func() { _, _ = decode(name, valid) })
		for i := range valid {
			data := append(bytes.Clone(valid[:i]), 0xbf, 0xff, 0xff, 0xff)
			data = append(data, valid[i:]...)
			if n := allocated(func() { _, _ = decode(name, data) }); n > 64*uint64(len(data))+64<<10 {
				t.Fatalf("%s: %d octets of input allocate %d", name, len(data), n)
			}
		}
	}
}

// Unknown proposals are refused at once, and a long input costs linear time.
func TestLesson02UnknownProposalRefused(t *testing.T) {
	for _, kind := range []uint16{0, 11, 0x0a0a, 0xf000, 0xffff} {
		data := append([]byte{byte(kind >> 8), byte(kind)}, make([]byte, 64<<10)...)
		if err := unmarshalAll(data, new(Proposal)); !errors.Is(err, errUnknownProposal) {
			t.Errorf("type %#x: %v", kind, err)
		}
	}
	for _, fill := range []byte{0x00, 0x01, 0x40, 0x80} {
		junk := bytes.Repeat([]byte{fill}, 4<<20)
		for name := range decoders {
			start := time.Now()
			_, _ = decode(name, junk)
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("%s: %v for 4 MiB of %#x", name, d, fill)
			}
		}
	}
}

// Many extensions, all different but the last: duplicates are found in linear time.
func TestLesson02DuplicateSearchIsLinear(t *testing.T) {
	var e Extensions
	for i := range 1 << 16 {
		e = append(e, Extension{Type: ExtensionType(i)})
	}
	start := time.Now()
	data, err := marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var again Extensions
	if err := unmarshalAll(data, &again); err != nil || len(again) != len(e) {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("%v", d)
	}
}

// No error and no formatting verb of a key shows key material.
func TestLesson04ErrorsHoldNoSecrets(t *testing.T) {
	p := newPair(t, 2)
	m := p.seal(t, 0, []byte("very secret text"))
	m.ciphertext[50] ^= 1
	_, err := p.open(m)
	if err == nil {
		t.Fatal("accepted")
	}
	if _, ok := any(p.key).(fmt.Stringer); ok {
		t.Error("a signature key has a String")
	}
	if _, ok := any(new(HPKEPrivateKey)).(fmt.Stringer); ok {
		t.Error("an HPKE key has a String")
	}
	var errs []string
	errs = append(errs, err.Error())
	secret := bytes.Repeat([]byte("s3cr3t"), 9)
	_, err = ParseSignatureKey(suite1.id, secret)
	errs = append(errs, err.Error())
	_, err = suite1.parseHPKEKey(secret)
	errs = append(errs, err.Error())
	_, err = UnmarshalKeyPackageSecrets(secret)
	errs = append(errs, err.Error())
	in := cryptobyte.String(secret)
	_, err = suite1.unmarshalSecretTree(&in)
	errs = append(errs, err.Error())
	for _, text := range errs {
		if strings.Contains(text, "s3cr3t") || strings.Contains(text, "secret text") || len(text) > 60 {
			t.Errorf("error says too much: %q", text)
		}
	}
}

// contains reports whether a saved state holds a secret.
func contains(t *testing.T, tree *secretTree, secret []byte) bool {
	t.Helper()
	return bytes.Contains(must[[]byte](t)(marshal(tree)), secret)
}

// RFC 9420, Section 9.2: what a message consumed is gone from memory and from the saved state.
func TestLesson06ConsumedSecretsAreDeleted(t *testing.T) {
	tree := newTestTree(4)
	root := bytes.Clone(tree.nodes[3])
	left := suite1.expandWithLabel(root, "tree", []byte("left"), 32)
	right := suite1.expandWithLabel(root, "tree", []byte("right"), 32)
	leafC := suite1.expandWithLabel(right, "tree", []byte("left"), 32)
	leafD := suite1.expandWithLabel(right, "tree", []byte("right"), 32)
	ar0 := suite1.deriveSecret(leafD, "application")
	ar1 := suite1.deriveTreeSecret(ar0, "secret", 0, 32)
	ar2 := suite1.deriveTreeSecret(ar1, "secret", 1, 32)
	hr0 := suite1.deriveSecret(leafD, "handshake")
	k0 := suite1.deriveTreeSecret(ar0, "key", 0, 16)
	k1 := suite1.deriveTreeSecret(ar1, "key", 1, 16)
	memory := [][]byte{tree.nodes[3]}
	take(t, tree, 3, 1) // the example of Section 9.2: D's generation 1
	for name, secret := range map[string][]byte{"G": root, "F": right, "D": leafD, "AR0": ar0, "AR1": ar1, "K1": k1} {
		if contains(t, tree, secret) {
			t.Errorf("%s is still in the state", name)
		}
	}
	for name, secret := range map[string][]byte{"E": left, "C": leafC, "AR2": ar2, "HR0": hr0, "K0": k0} {
		if !contains(t, tree, secret) {
			t.Errorf("%s is missing", name)
		}
	}
	for _, m := range memory {
		if !allZero(m) {
			t.Error("a consumed secret is still in memory")
		}
	}
	take(t, tree, 3, 0)
	if contains(t, tree, k0) {
		t.Error("K0 is still in the state after its use")
	}
}

// A state saved after reading a message cannot read it again.
func TestLesson06SavedStateCannotReadAgain(t *testing.T) {
	p := newPair(t, 8)
	m := p.seal(t, 5, []byte("once"))
	if _, err := p.open(m); err != nil {
		t.Fatal(err)
	}
	data := must[[]byte](t)(marshal(p.to.tree))
	in := cryptobyte.String(data)
	p.to.tree = must[*secretTree](t)(suite1.unmarshalSecretTree(&in))
	if _, err := p.open(m); !errors.Is(err, ErrReplayed) {
		t.Errorf("%v", err)
	}
	// Nor can a sender's saved state make the key of a message it sent.
	in = cryptobyte.String(must[[]byte](t)(marshal(p.from.tree)))
	own := must[*secretTree](t)(suite1.unmarshalSecretTree(&in))
	if _, err := own.find(5, applicationRatchet, 0); !errors.Is(err, ErrReplayed) {
		t.Errorf("sender: %v", err)
	}
}

// Epoch secrets carry neither joiner_secret nor epoch_secret nor encryption_secret, and past ones cannot make keys.
func TestLesson06EpochStateHoldsNoConsumedSecret(t *testing.T) {
	initSecret, commit, psk := suite1.hash([]byte("i")), suite1.hash([]byte("c")), suite1.zero()
	e, joiner := suite1.nextEpochSecrets(initSecret, commit, psk, []byte("context"), 4)
	epoch := suite1.expandWithLabel(suite1.extract(joiner, psk), "epoch", []byte("context"), 32)
	state := must[[]byte](t)(marshal(e))
	for name, secret := range map[string][]byte{"joiner": joiner, "epoch": epoch, "commit": commit, "old init": initSecret,
		"encryption": suite1.deriveSecret(epoch, "encryption"), "welcome": suite1.deriveSecret(epoch, "welcome")} {
		if bytes.Contains(state, secret) {
			t.Errorf("%s secret in the state", name)
		}
	}
	past := must[[]byte](t)(marshal(e.past()))
	for name, secret := range map[string][]byte{"init": e.init, "external": e.external, "exporter": e.exporter,
		"confirmation": e.confirmation, "resumption": e.resumption} {
		if bytes.Contains(past, secret) {
			t.Errorf("%s secret kept of a past epoch", name)
		}
	}
}

// The skip is bounded, the stored keys are bounded, and nothing moves before the message is verified.
func TestLesson07GenerationIsBounded(t *testing.T) {
	p := newPair(t, 4)
	for _, g := range []uint32{maxSkip + 1, 1 << 20, math.MaxInt32, math.MaxUint32 - 1, math.MaxUint32} {
		start := time.Now()
		if _, err := p.to.tree.find(1, applicationRatchet, g); !errors.Is(err, errGeneration) {
			t.Errorf("generation %d: %v", g, err)
		}
		if time.Since(start) > time.Second {
			t.Errorf("generation %d took %v", g, time.Since(start))
		}
	}
	for range maxSkip {
		must[messageKey](t)(p.from.tree.next(1, applicationRatchet))
	}
	far := p.seal(t, 1, []byte("far"))
	before := must[[]byte](t)(marshal(p.to.tree))
	bad := *far
	bad.ciphertext = bytes.Clone(far.ciphertext)
	bad.ciphertext[len(bad.ciphertext)-1] ^= 1
	if _, err := p.open(&bad); err == nil {
		t.Fatal("changed message accepted")
	}
	equal(t, "state after a refused message", must[[]byte](t)(marshal(p.to.tree)), before)
	if text, err := p.open(far); err != nil || string(text) != "far" {
		t.Fatalf("%q, %v", text, err)
	}
	if n := len(p.to.tree.leafs[1][applicationRatchet].skipped); n != maxStored {
		t.Errorf("%d keys stored", n)
	}
}

// sealPlain encrypts a hand-made PrivateMessageContent.
func (p *pair) sealPlain(t *testing.T, kind ContentType, leaf LeafIndex, plaintext []byte) *PrivateMessage {
	t.Helper()
	m := &PrivateMessage{groupID: p.f.groupID, epoch: p.f.epoch, contentType: kind}
	key := must[messageKey](t)(p.from.tree.next(leaf, ratchetOf(kind)))
	aead, err := suite1.newAEAD(key.key)
	if err != nil {
		t.Fatal(err)
	}
	m.ciphertext = aead.Seal(nil, key.nonce, plaintext, must[[]byte](t)(m.contentAAD()))
	if err := p.from.sealSenderData(m, &senderData{leaf: leaf, generation: key.generation}); err != nil {
		t.Fatal(err)
	}
	return m
}

// Padded handshake messages are read; padding that is not zero is refused.
func TestLesson18Padding(t *testing.T) {
	p := newPair(t, 4)
	proposal := RemoveProposal(1)
	contents := []framedContent{
		{contentType: ContentTypeProposal, proposal: &proposal},
		{contentType: ContentTypeCommit, commit: &Commit{Proposals: []ProposalOrRef{{Proposal: &proposal}}}},
		{contentType: ContentTypeApplication, application: []byte("text")},
	}
	for i := range contents {
		for _, padding := range [][]byte{{}, {0}, make([]byte, 5000), {1}, {0, 0, 0x80}} {
			c := contents[i]
			c.groupID, c.epoch, c.sender = p.f.groupID, p.f.epoch, Sender{Type: SenderMember, Leaf: 2}
			a := must[*authenticatedContent](t)(p.f.signContent(p.key, WireFormatPrivateMessage, c))
			a.auth.confirmationTag = []byte("tag")
			b := cryptobyte.NewBuilder(nil)
			b.AddBytes(a.content.body)
			a.auth.marshal(b, c.contentType)
			b.AddBytes(padding)
			m := p.sealPlain(t, c.contentType, 2, b.BytesOrPanic())
			if _, err := p.open(m); (err == nil) != allZero(padding) {
				t.Errorf("content %d, padding of %d: %v", c.contentType, len(padding), err)
			}
		}
	}
}

// Everything a key package says about itself is checked.
func TestLesson23KeyPackageVerify(t *testing.T) {
	now := time.Unix(1500, 0)
	r := newRandom(11)
	c := newTestClient(t, r, "alice")
	resign := func(k *KeyPackage) {
		if k.LeafNode.sign(c.SignatureKey, nil, 0) != nil || k.sign(c.SignatureKey) != nil {
			t.Fatal("cannot sign")
		}
	}
	fresh := func() *KeyPackage {
		return must[*KeyPackageSecrets](t)(NewKeyPackage(Config{Rand: r}, c, Lifetime{1000, 2000}, nil)).KeyPackage
	}
	if err := fresh().Verify(now); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(k *KeyPackage){
		"suite":                func(k *KeyPackage) { k.CipherSuite = 2; resign(k) },
		"version":              func(k *KeyPackage) { k.Version = 2; resign(k) },
		"init key":             func(k *KeyPackage) { k.InitKey = k.InitKey[1:]; resign(k) },
		"low-order init key":   func(k *KeyPackage) { k.InitKey = make([]byte, 32); resign(k) },
		"low-order leaf key":   func(k *KeyPackage) { k.LeafNode.EncryptionKey = make([]byte, 32); resign(k) },
		"same keys":            func(k *KeyPackage) { k.InitKey = k.LeafNode.EncryptionKey; resign(k) },
		"encryption key":       func(k *KeyPackage) { k.LeafNode.EncryptionKey = nil; resign(k) },
		"source":               func(k *KeyPackage) { k.LeafNode.Source = LeafNodeSourceUpdate; resign(k) },
		"package signature":    func(k *KeyPackage) { k.Signature[0] ^= 1 },
		"leaf signature":       func(k *KeyPackage) { k.LeafNode.Signature[0] ^= 1; _ = k.sign(c.SignatureKey) },
		"other signature key":  func(k *KeyPackage) { k.LeafNode.SignatureKey = newTestClient(t, r, "b").SignatureKey.Public() },
		"short signature key":  func(k *KeyPackage) { k.LeafNode.SignatureKey = k.LeafNode.SignatureKey[1:] },
		"expired":              func(k *KeyPackage) { k.LeafNode.Lifetime.NotAfter = 1499; resign(k) },
		"not yet":              func(k *KeyPackage) { k.LeafNode.Lifetime.NotBefore = 1501; resign(k) },
		"credential unlisted":  func(k *KeyPackage) { k.LeafNode.Capabilities.Credentials = nil; resign(k) },
		"suite unlisted":       func(k *KeyPackage) { k.LeafNode.Capabilities.CipherSuites = nil; resign(k) },
		"version unlisted":     func(k *KeyPackage) { k.LeafNode.Capabilities.Versions = nil; resign(k) },
		"extension unlisted":   func(k *KeyPackage) { k.LeafNode.Extensions = Extensions{{Type: 0x0a0a}}; resign(k) },
		"duplicate extensions": func(k *KeyPackage) { k.Extensions = Extensions{{Type: 9}, {Type: 9}} },
		"changed extension":    func(k *KeyPackage) { k.Extensions = Extensions{{Type: 9}} },
	} {
		k := fresh()
		change(k)
		if err := k.Verify(now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// One encoding per value.
func TestLesson25OneEncoding(t *testing.T) {
	for name, c := range map[string]struct {
		decoder string
		data    []byte
	}{
		"two-octet length of 1":     {"Extensions", []byte{0x40, 0x00}},
		"four-octet length of 0":    {"Extensions", []byte{0x80, 0, 0, 0}},
		"length prefix 11":          {"Extensions", []byte{0xc0, 0, 0, 0, 0, 0, 0, 0}},
		"trailing octet":            {"Extensions", []byte{0x00, 0x00}},
		"duplicate extension":       {"Extensions", []byte{0x06, 0, 9, 0, 0, 9, 0}},
		"odd list":                  {"ComponentsList", []byte{0x01, 0}},
		"unsorted dictionary":       {"AppDataDictionary", []byte{0x06, 0, 2, 0, 0, 1, 0}},
		"duplicate component":       {"AppDataDictionary", []byte{0x06, 0, 2, 0, 0, 2, 0}},
		"unsorted safe AAD":         {"SafeAAD", []byte{0x06, 0, 2, 0, 0, 1, 0}},
		"duplicate safe AAD":        {"SafeAAD", []byte{0x06, 0, 2, 0, 0, 2, 0}},
		"tail after safe AAD":       {"SafeAAD", []byte{0x00, 0x01}},
		"empty safe AAD":            {"SafeAAD", []byte{}},
		"empty media type list":     {"MediaTypeList", []byte{0x00}},
		"tree without a leaf":       {"RatchetTree", []byte{0x01, 0}},
		"tree that ends with blank": {"RatchetTree", append([]byte{0x40, byte(1 + len(plainLeafBytes(t)))}, append(plainLeafBytes(t), 0)...)},
		"presence octet 2":          {"Commit", []byte{0x00, 0x02}},
		"app data operation 0":      {"Proposal", []byte{0, 8, 0, 1, 0}},
		"app data operation 3":      {"Proposal", []byte{0, 8, 0, 1, 3, 0}},
		"proposal or reference 3":   {"Commit", []byte{0x02, 3, 0, 0}},
		"protocol version 2":        {"Message", []byte{0, 2, 0, 3, 0, 1, 0, 0}},
		"wire format 0":             {"Message", []byte{0, 1, 0, 0}},
		"wire format 6":             {"Message", []byte{0, 1, 0, 6}},
		"sender type 0":             {"Message", []byte{0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}},
		"content type 4 in private": {"Message", []byte{0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0}},
	} {
		if err := unmarshalAll(c.data, decoders[c.decoder]()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A leaf index is compared with the tree's size before it is doubled.
func TestLesson26LeafIndexDoesNotWrap(t *testing.T) {
	for _, leaves := range []uint32{1, 2, 5, 8} {
		tree := newTestTree(leaves)
		for _, leaf := range []LeafIndex{LeafIndex(tree.width), 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff} {
			if _, err := tree.find(leaf, applicationRatchet, 0); !errors.Is(err, errNoLeaf) {
				t.Errorf("leaf %#x of %d: %v", leaf, leaves, err)
			}
			if _, err := tree.next(leaf, applicationRatchet); !errors.Is(err, errNoLeaf) {
				t.Errorf("sending leaf %#x of %d: %v", leaf, leaves, err)
			}
		}
	}
}

// A post-quantum KEM is one more row of the suite table. The octets are those of another implementation, npm's
// @hpke/hybridkem-x-wing 0.7.0: what it derived and encrypted is derived and decrypted here.
func TestLesson30PostQuantumSuite(t *testing.T) {
	pq, err := suiteOf(XWingChaCha20Poly1305SHA256Ed25519)
	if err != nil {
		t.Skip("compiled with mls_suite1: there is no post-quantum suite")
	}
	data, err := testdata.ReadFile("testdata/xwing.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		IKM, Private, Public, Context, Plaintext, Ciphertext hexBytes
		Label                                                string
		KEMOutput                                            hexBytes `json:"kem_output"`
		ExternalKEMOutput                                    hexBytes `json:"external_kem_output"`
		ExternalInitSecret                                   hexBytes `json:"external_init_secret"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	key := must[*HPKEPrivateKey](t)(pq.deriveKeyPair(v.IKM))
	equal(t, "derived public key", key.Public(), v.Public)
	equal(t, "derived private key", must[[]byte](t)(key.bytes()), v.Private)
	text := must[[]byte](t)(key.DecryptWithLabel(v.Label, v.Context, HPKECiphertext{v.KEMOutput, v.Ciphertext}))
	equal(t, "plaintext", text, v.Plaintext)
	equal(t, "init secret", must[[]byte](t)(key.externalInitReceive(v.ExternalKEMOutput)), v.ExternalInitSecret)
	again := must[*HPKEPrivateKey](t)(pq.parseHPKEKey(v.Private))
	equal(t, "restored key", again.Public(), v.Public)
	if pq.checkPublicKey(key.Public()[1:]) == nil {
		t.Error("short key accepted")
	}
}

// A whole group with the post-quantum suite is as any other, only that its keys are large.
func TestLesson30PostQuantumGroup(t *testing.T) {
	if _, err := suiteOf(XWingChaCha20Poly1305SHA256Ed25519); err != nil {
		t.Skip("compiled with mls_suite1: there is no post-quantum suite")
	}
	w := newWorldOf(t, 30, XWingChaCha20Poly1305SHA256Ed25519, nil)
	w.add("m0", "a", "b", "c")
	w.commit("b", CommitOptions{})
	w.say("c", "hello")
	if n := len(w.members["a"].state.tree.leaf(1).EncryptionKey); n != 1216 {
		t.Errorf("encryption key of %d octets", n)
	}
}
