package mls

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// allSuites are the rows of the table with what RFC 9420, Section 17.1 says of them, and their curve if it is NIST's.
var allSuites = []struct {
	id                                  CipherSuite
	hash, key                           int
	signaturePublic, signaturePrivate   int
	encryptionPublic, encryptionPrivate int
	curve                               elliptic.Curve
}{
	{X25519AES128GCMSHA256Ed25519, 32, 16, 32, 32, 32, 32, nil},
	{P256AES128GCMSHA256P256, 32, 16, 65, 32, 65, 32, elliptic.P256()},
	{X25519ChaCha20Poly1305SHA256Ed25519, 32, 32, 32, 32, 32, 32, nil},
	{P521AES256GCMSHA512P521, 64, 32, 133, 66, 133, 66, elliptic.P521()},
	{P384AES256GCMSHA384P384, 48, 32, 97, 48, 97, 48, elliptic.P384()},
	{XWingChaCha20Poly1305SHA256Ed25519, 32, 32, 32, 32, 1216, 32, nil},
}

// eachSuite runs a test in every suite that is compiled in.
func eachSuite(t *testing.T, f func(t *testing.T, s *suite, curve elliptic.Curve)) {
	for _, c := range allSuites {
		t.Run(fmt.Sprintf("0x%04x", c.id), func(t *testing.T) {
			s, err := suiteOf(c.id)
			if err != nil {
				t.Skip("not compiled in: mls_suite1")
			}
			f(t, s, c.curve)
		})
	}
}

func TestSuiteSizes(t *testing.T) {
	for _, c := range allSuites {
		s, err := suiteOf(c.id)
		if err != nil {
			t.Logf("0x%04x is not compiled in: mls_suite1", c.id)
			continue
		}
		key := must[*SignatureKey](t)(GenerateSignatureKey(c.id, newRandom(1)))
		node := must[*HPKEPrivateKey](t)(GenerateHPKEKey(c.id, newRandom(2)))
		aead, err := s.newAEAD(make([]byte, s.keySize))
		if err != nil {
			t.Fatal(err)
		}
		got := []int{s.hashSize, s.newHash().Size(), s.keySize, s.nonceSize, aead.NonceSize(), len(key.Public()),
			len(key.Private()), len(node.Public()), len(must[[]byte](t)(node.bytes()))}
		want := []int{c.hash, c.hash, c.key, 12, 12, c.signaturePublic, c.signaturePrivate, c.encryptionPublic, c.encryptionPrivate}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("0x%04x: sizes %v, want %v", c.id, got, want)
				break
			}
		}
		if c.id.Supported() == s.provisional {
			t.Errorf("0x%04x: supported %v", c.id, c.id.Supported())
		}
	}
	for _, cs := range []CipherSuite{0, 4, 6, 8, 0x004C, 0x004E, 0x0A0A, 0xffff} {
		if _, err := suiteOf(cs); err == nil || cs.Supported() {
			t.Errorf("0x%04x is supported", cs)
		}
	}
}

// The life of a group in every suite: everything that one suite's group does, all of them do.
func TestSuiteGroupLife(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite, _ elliptic.Curve) {
		if testing.Short() && s.id == P521AES256GCMSHA512P521 {
			t.Skip("left out by -short: half a minute where P-521 has no assembly")
		}
		w := newWorldOf(t, uint64(s.id), s.id, nil)
		w.cfg.PSK = func(*PreSharedKeyID) []byte { return []byte("shared") }
		w.members["m0"].cfg.PSK = w.cfg.PSK
		w.add("m0", "a", "b", "c")
		w.say("b", "hello")
		w.commit("c", CommitOptions{Proposals: []Proposal{AppDataUpdateProposal(7, []byte("x"))}})
		w.commit("a", CommitOptions{Proposals: []Proposal{must[Proposal](t)(w.members["a"].NewPSKProposal([]byte("id")))}})
		w.joinExternal("x")
		w.commit("a", CommitOptions{Proposals: []Proposal{RemoveProposal(w.members["b"].OwnLeaf())}})
		w.update("a")
		w.restoreAll()
		w.commit("x", CommitOptions{})
		w.say("m0", "again")
		w.say("x", "here I am")
		w.add("x", "d")
		w.say("d", "new")
	})
}

// A group of suite 0x0001 is followed by one of any other, a provisional one only if that is permitted.
func TestSuiteReinitialize(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite, _ elliptic.Curve) {
		w := newWorld(t, uint64(s.id), nil)
		w.cfg.Application, w.hub.cfg.Application = deviceApp{}, deviceApp{}
		w.members["m0"].cfg = w.cfg
		w.add("m0", "a")
		reInit := &ReInit{GroupID: []byte("new"), Version: VersionMLS10, CipherSuite: s.id}
		w.commit("a", CommitOptions{Proposals: []Proposal{{Type: ProposalReInit, ReInit: reInit}}})
		w.suite, w.cfg.ProvisionalSuites = s.id, true
		clients, keys, list := w.successors("a")
		m0, a, founder := w.members["m0"], w.members["a"], w.client("m0/2")
		if s.provisional {
			if _, _, err := m0.Reinitialize(founder, list); !errors.Is(err, errProvisionalSuite) {
				t.Errorf("without permission: %v", err)
			}
			m0.cfg.ProvisionalSuites = true
		}
		next, welcome, err := m0.Reinitialize(founder, list)
		if err != nil {
			t.Fatal(err)
		}
		tree := must[RatchetTree](t)(next.RatchetTree())
		if s.provisional {
			if _, err := a.JoinReinitialized(clients["a"], welcome, tree, keys["a"]); !errors.Is(err, errProvisionalSuite) {
				t.Errorf("joined without permission: %v", err)
			}
			a.cfg.ProvisionalSuites = true
		}
		joined := must[*Group](t)(a.JoinReinitialized(clients["a"], welcome, tree, keys["a"]))
		equal(t, "authenticator", joined.EpochAuthenticator(), next.EpochAuthenticator())
		if joined.Context().CipherSuite != s.id {
			t.Errorf("suite 0x%04x", joined.Context().CipherSuite)
		}
	})
}

// joinExternal has a new member join by an external commit, and be stored before that is accepted.
func (w *world) joinExternal(name string) {
	w.t.Helper()
	tree := must[RatchetTree](w.t)(w.hub.RatchetTree())
	g, bundle, err := JoinExternal(w.cfg, w.client(name), w.hub.GroupInfo(), tree, nil, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.members[name] = saveRestore(w.t, w.cfg, g)
	w.deliver(name, bundle)
	w.check()
}

// update has a member propose an Update, whose private key is stored until another commits it.
func (w *world) update(name string) {
	w.t.Helper()
	m := wire(w.t, must[*Message](w.t)(w.members[name].ProposeUpdate(nil)))
	w.members[name] = saveRestore(w.t, w.cfg, w.members[name])
	must[*Received](w.t)(w.hub.Process(m))
	for other, g := range w.members {
		if other != name {
			must[*Received](w.t)(g.Process(m))
		}
	}
	w.commit("m0", CommitOptions{})
}

// restoreAll replaces everybody by what is stored of them, m0 in the middle of a commit.
func (w *world) restoreAll() {
	w.t.Helper()
	hub := must[[]byte](w.t)(w.hub.State())
	w.hub = must[*PublicGroup](w.t)(RestorePublicGroup(w.cfg, hub))
	equal(w.t, "state of the hub", must[[]byte](w.t)(w.hub.State()), hub)
	b := must[*CommitBundle](w.t)(w.members["m0"].Commit(CommitOptions{}))
	for name, g := range w.members {
		w.members[name] = saveRestore(w.t, w.cfg, g)
	}
	w.deliver("m0", b)
	w.check()
}

// The stored forms, whose layout depends on the sizes of the suite: every proper prefix is refused.
func TestSuiteStoredFormsPrefixes(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite, _ elliptic.Curve) {
		r := newRandom(5)
		cfg := Config{Rand: r, ProvisionalSuites: true}
		k := must[*KeyPackageSecrets](t)(NewKeyPackage(cfg, newTestClientOf(t, r, s.id, "alice"), Lifetime{1, 2}, nil))
		tree := newSecretTree(s, s.hash(nil), 4)
		must[*keyUse](t)(tree.find(2, applicationRatchet, 3)).apply()
		forms := map[string]struct {
			data []byte
			read func(data []byte) error
		}{
			"key package": {must[[]byte](t)(k.Bytes()), func(data []byte) error {
				_, err := UnmarshalKeyPackageSecrets(data)
				return err
			}},
			"secret tree": {must[[]byte](t)(marshal(tree)), func(data []byte) error {
				in := cryptobyte.String(data)
				if _, err := s.unmarshalSecretTree(&in); err != nil {
					return err
				}
				return trailing(in)
			}},
			"epoch secrets": {must[[]byte](t)(marshal(s.epochSecretsOf(s.hash(nil), 4))), func(data []byte) error {
				in := cryptobyte.String(data)
				if _, err := s.unmarshalEpochSecrets(&in); err != nil {
					return err
				}
				return trailing(in)
			}},
		}
		for name, form := range forms {
			if err := form.read(form.data); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for n := range form.data {
				if form.read(form.data[:n:n]) == nil {
					t.Fatalf("%s: prefix of %d of %d octets accepted", name, n, len(form.data))
				}
			}
		}
	})
}

func trailing(in cryptobyte.String) error {
	if !in.Empty() {
		return errors.New("test: octets left")
	}
	return nil
}

// notPoints are encodings that are no uncompressed point of a curve, or not the only one of theirs.
func notPoints(curve elliptic.Curve, valid []byte) map[string][]byte {
	size := len(valid) / 2
	x, y := valid[1:1+size], valid[1+size:]
	form := func(first byte, parts ...[]byte) []byte { return append([]byte{first}, bytes.Join(parts, nil)...) }
	off := bytes.Clone(valid)
	off[len(off)-1] ^= 1
	p := curve.Params().P
	large := new(big.Int).Add(new(big.Int).SetBytes(y), p) // y+p, where that fits
	out := map[string][]byte{
		"empty":                  {},
		"infinity":               {0},
		"infinity in full":       make([]byte, len(valid)),
		"zero point":             form(4, make([]byte, 2*size)),
		"compressed":             form(2|y[size-1]&1, x),
		"hybrid":                 form(6|y[size-1]&1, x, y),
		"other first octet":      form(5, x, y),
		"off the curve":          off,
		"short":                  valid[:len(valid)-1],
		"long":                   append(bytes.Clone(valid), 0),
		"without first octet":    valid[1:],
		"coordinate not reduced": form(4, p.FillBytes(make([]byte, size)), y),
	}
	if large.BitLen() <= 8*size {
		out["y not reduced"] = form(4, x, large.FillBytes(make([]byte, size)))
	}
	return out
}

// RFC 9420, Sections 5.1.1 and 5.1.2: one form per key.
func TestSuiteSignatureKeysRefused(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite, curve elliptic.Curve) {
		key := must[*SignatureKey](t)(GenerateSignatureKey(s.id, newRandom(3)))
		again := must[*SignatureKey](t)(ParseSignatureKey(s.id, key.Private()))
		equal(t, "restored key", again.Public(), key.Public())
		signature := must[[]byte](t)(key.SignWithLabel("label", nil))
		public := map[string][]byte{"short": key.public[1:], "long": append(key.Public(), 0), "empty": nil}
		private := map[string][]byte{"short": key.private[1:], "long": append([]byte{0}, key.private...), "empty": nil}
		if curve != nil {
			public = notPoints(curve, key.public)
			n := curve.Params().N
			private["zero"] = make([]byte, len(key.private))
			private["order"] = n.FillBytes(make([]byte, len(key.private)))
			private["all ones"] = bytes.Repeat([]byte{0xff}, len(key.private))
		}
		for name, k := range public {
			if s.signature.check(k) || VerifyWithLabel(s.id, k, "label", nil, signature) == nil {
				t.Errorf("public key: %s accepted", name)
			}
		}
		for name, k := range private {
			if _, err := ParseSignatureKey(s.id, k); err == nil {
				t.Errorf("private key: %s accepted", name)
			}
		}
	})
}

// A scalar that is out of range is drawn again; a source that gives nothing else is an error.
func TestSuiteSignatureKeyGeneration(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite, curve elliptic.Curve) {
		n := s.signature.keySize
		valid := bytes.Repeat([]byte{0x01}, n)
		tooLarge := bytes.Repeat([]byte{0xff}, n)
		key := must[*SignatureKey](t)(GenerateSignatureKey(s.id, bytes.NewReader(append(bytes.Clone(tooLarge), valid...))))
		want := valid
		if curve == nil { // any 32 octets are a seed
			want = tooLarge
		}
		equal(t, "private key", key.Private(), want)
		if _, err := GenerateSignatureKey(s.id, bytes.NewReader(valid[1:])); err == nil {
			t.Error("key from too little randomness")
		}
		if curve != nil {
			if _, err := GenerateSignatureKey(s.id, bytes.NewReader(make([]byte, 100*n))); err == nil {
				t.Error("key from zeros")
			}
		}
	})
}

// derInteger encodes content as an INTEGER, whatever it is.
func derInteger(b *cryptobyte.Builder, content []byte) {
	b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(content) })
}

func derSequence(t *testing.T, contents ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, c := range contents {
			derInteger(b, c)
		}
	})
	return must[[]byte](t)(b.Bytes())
}

// otherForms are changed encodings of a DER signature, all of which a lax parser might take for the same numbers.
func otherForms(t *testing.T, curve elliptic.Curve, signature []byte) map[string][]byte {
	var inner cryptobyte.String
	var r, s []byte
	in := cryptobyte.String(signature)
	if !in.ReadASN1(&inner, asn1.SEQUENCE) || !in.Empty() || !inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || !inner.Empty() {
		t.Fatalf("not DER: %x", signature)
	}
	positive := func(x []byte) []byte { return append(make([]byte, x[0]>>7), x...) }
	r, s = positive(r), positive(s)
	equal(t, "our own form of the signature", derSequence(t, r, s), signature)
	size := (curve.Params().BitSize + 7) / 8
	n := curve.Params().N
	raw := append(new(big.Int).SetBytes(r).FillBytes(make([]byte, size)), new(big.Int).SetBytes(s).FillBytes(make([]byte, size))...)
	out := map[string][]byte{
		"empty":             {},
		"r and s bare":      raw,
		"trailing octet":    append(bytes.Clone(signature), 0),
		"third integer":     derSequence(t, r, s, []byte{1}),
		"one integer":       derSequence(t, r),
		"zero before r":     derSequence(t, append([]byte{0}, r...), s),
		"zero before s":     derSequence(t, r, append([]byte{0}, s...)),
		"negative r":        derSequence(t, append([]byte{0xff}, r...), s),
		"r is zero":         derSequence(t, []byte{0}, s),
		"s is zero":         derSequence(t, r, []byte{0}),
		"r plus the order":  derSequence(t, positive(new(big.Int).Add(new(big.Int).SetBytes(r), n).Bytes()), s),
		"s plus the order":  derSequence(t, r, positive(new(big.Int).Add(new(big.Int).SetBytes(s), n).Bytes())),
		"indefinite length": append(append([]byte{0x30, 0x80}, inside(t, signature)...), 0, 0),
		"long length":       longLength(signature),
		"a set":             append([]byte{0x31}, signature[1:]...),
	}
	for i := range signature {
		out[fmt.Sprintf("without its last %d octets", len(signature)-i)] = signature[:i:i]
	}
	return out
}

// inside is the content of a DER value.
func inside(t *testing.T, der []byte) []byte {
	in := cryptobyte.String(der)
	var inner cryptobyte.String
	if !in.ReadASN1(&inner, asn1.SEQUENCE) {
		t.Fatal("not DER")
	}
	return inner
}

// longLength writes the outer length with an octet more than it needs.
func longLength(der []byte) []byte {
	if der[1] < 0x80 {
		return append([]byte{der[0], 0x81}, der[1:]...)
	}
	return append([]byte{der[0], 0x82, 0}, der[2:]...)
}

// RFC 9420, Section 5.1.2: an ECDSA signature has one encoding, and no signature verifies for anything else.
func TestSuiteSignaturesRefused(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite, curve elliptic.Curve) {
		key := must[*SignatureKey](t)(GenerateSignatureKey(s.id, newRandom(4)))
		other := must[*SignatureKey](t)(GenerateSignatureKey(s.id, newRandom(5)))
		content := []byte("content")
		signature := must[[]byte](t)(key.SignWithLabel("label", content))
		equal(t, "signature made again", must[[]byte](t)(key.SignWithLabel("label", content)), signature)
		if err := VerifyWithLabel(s.id, key.Public(), "label", content, signature); err != nil {
			t.Fatal(err)
		}
		forms := map[string][]byte{"trailing octet": append(bytes.Clone(signature), 0), "empty": nil, "zero": make([]byte, len(signature))}
		if curve != nil {
			forms = otherForms(t, curve, signature)
		}
		for i := 0; i < len(signature); i += 11 {
			changed := bytes.Clone(signature)
			changed[i] ^= 1
			forms[fmt.Sprint("changed octet ", i)] = changed
		}
		for name, form := range forms {
			if VerifyWithLabel(s.id, key.Public(), "label", content, form) == nil {
				t.Errorf("%s accepted", name)
			}
		}
		if VerifyWithLabel(s.id, key.Public(), "other", content, signature) == nil ||
			VerifyWithLabel(s.id, key.Public(), "label", []byte("other"), signature) == nil ||
			VerifyWithLabel(s.id, other.Public(), "label", content, signature) == nil {
			t.Error("signature verifies for another label, content or key")
		}
	})
}

// RFC 9180, Section 7.1.4; RFC 9420, Section 7.3: a key that cannot be encrypted to never gets into a tree.
func TestSuiteEncryptionKeysRefused(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite, curve elliptic.Curve) {
		key := must[*HPKEPrivateKey](t)(s.generateKeyPair(newRandom(6)))
		valid := key.Public()
		if err := s.checkPublicKey(valid); err != nil {
			t.Fatal(err)
		}
		keys := map[string][]byte{"short": valid[1:], "long": append(bytes.Clone(valid), 0), "empty": nil}
		switch {
		case curve != nil:
			keys = notPoints(curve, valid)
		default: // the X25519 key is at the end
			low := bytes.Clone(valid)
			clear(low[len(low)-32:])
			keys["low order"] = low
		}
		if len(valid) > 1000 {
			keys["coefficient not reduced"] = append(bytes.Repeat([]byte{0xff}, 3), valid[3:]...)
		}
		for name, k := range keys {
			if s.checkPublicKey(k) == nil {
				t.Errorf("%s accepted", name)
			}
			if _, err := s.encryptWithLabel(k, "label", nil, nil); err == nil {
				t.Errorf("%s encrypted to", name)
			}
			if _, _, err := s.externalInitSend(k); err == nil {
				t.Errorf("%s used for an external join", name)
			}
		}
		private := must[[]byte](t)(key.bytes())
		for name, k := range map[string][]byte{"short": private[1:], "long": append([]byte{0}, private...), "empty": {}} {
			if _, err := s.parseHPKEKey(k); err == nil {
				t.Errorf("private key: %s accepted", name)
			}
		}
	})
}

// A changed or truncated ciphertext is refused in every suite, as are kem_outputs that are no keys.
func TestSuiteCiphertextsRefused(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite, _ elliptic.Curve) {
		key := must[*HPKEPrivateKey](t)(s.generateKeyPair(newRandom(7)))
		ct := must[HPKECiphertext](t)(s.encryptWithLabel(key.Public(), "label", []byte("context"), []byte("text")))
		equal(t, "plaintext", must[[]byte](t)(key.DecryptWithLabel("label", []byte("context"), ct)), []byte("text"))
		flip := func(data []byte, i int) []byte {
			out := bytes.Clone(data)
			out[i] ^= 1
			return out
		}
		n := len(ct.KEMOutput)
		for name, bad := range map[string]HPKECiphertext{
			"kem_output, first octet": {flip(ct.KEMOutput, 0), ct.Ciphertext},
			"kem_output, last octet":  {flip(ct.KEMOutput, n-1), ct.Ciphertext},
			"kem_output, short":       {ct.KEMOutput[:n-1], ct.Ciphertext},
			"kem_output, empty":       {nil, ct.Ciphertext},
			"kem_output, zero":        {make([]byte, n), ct.Ciphertext},
			"ciphertext":              {ct.KEMOutput, flip(ct.Ciphertext, 0)},
			"tag":                     {ct.KEMOutput, flip(ct.Ciphertext, len(ct.Ciphertext)-1)},
			"ciphertext, short":       {ct.KEMOutput, ct.Ciphertext[:5]},
			"ciphertext, empty":       {ct.KEMOutput, nil},
		} {
			if _, err := key.DecryptWithLabel("label", []byte("context"), bad); !errors.Is(err, errDecrypt) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := key.DecryptWithLabel("other", []byte("context"), ct); !errors.Is(err, errDecrypt) {
			t.Errorf("other label: %v", err)
		}
	})
}

// Without Config.ProvisionalSuites there is no way into a group of a suite that is not registered.
func TestProvisionalSuiteNeedsPermission(t *testing.T) {
	const cs = XWingChaCha20Poly1305SHA256Ed25519
	if _, err := suiteOf(cs); err != nil {
		t.Skip("compiled with mls_suite1: there is no provisional suite")
	}
	w := newWorldOf(t, 8, cs, nil)
	w.add("m0", "a")
	key := must[*SignatureKey](t)(GenerateSignatureKey(cs, w.r))
	c, k := w.keyPackage("b")
	b := must[*CommitBundle](t)(w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{AddProposal(k.KeyPackage)}}))
	w.deliver("m0", b)
	outsider, tree := w.client("c"), must[RatchetTree](t)(w.hub.RatchetTree())
	g := w.members["a"]
	state, ratchets := must[[]byte](t)(g.State()), must[[]byte](t)(g.RatchetState())
	hub := must[[]byte](t)(w.hub.State())
	ways := map[string]func(cfg Config) error{
		"NewGroup":      func(cfg Config) error { _, err := NewGroup(cfg, c, []byte("g"), nil); return err },
		"NewKeyPackage": func(cfg Config) error { _, err := NewKeyPackage(cfg, c, Lifetime{0, 1 << 40}, nil); return err },
		"JoinWelcome":   func(cfg Config) error { _, err := JoinWelcome(cfg, c, b.Welcome, tree, k); return err },
		"JoinExternal": func(cfg Config) error {
			_, _, err := JoinExternal(cfg, outsider, w.hub.GroupInfo(), tree, nil, nil)
			return err
		},
		"NewPublicGroup": func(cfg Config) error { _, err := NewPublicGroup(cfg, w.hub.GroupInfo(), tree); return err },
		"RestoreGroup":   func(cfg Config) error { _, err := RestoreGroup(cfg, g.client, state, ratchets); return err },
		"RestorePublicGroup": func(cfg Config) error {
			_, err := RestorePublicGroup(cfg, hub)
			return err
		},
	}
	for name, way := range ways {
		if err := way(Config{Application: testApp{}, Rand: w.r}); !errors.Is(err, errProvisionalSuite) {
			t.Errorf("%s without permission: %v", name, err)
		}
		if err := way(Config{Application: testApp{}, Rand: w.r, ProvisionalSuites: true}); err != nil {
			t.Errorf("%s with permission: %v", name, err)
		}
	}
	if cs.Supported() || key.CipherSuite() != cs {
		t.Error("the suite says that it needs no permission")
	}
}

// A signature key belongs to one suite, even where another has the same scheme.
func TestKeyOfAnotherSuite(t *testing.T) {
	if !X25519ChaCha20Poly1305SHA256Ed25519.Supported() {
		t.Skip("compiled with mls_suite1: there is no other suite")
	}
	w := newWorld(t, 9, nil)
	w.add("m0", "a")
	c, k := w.keyPackage("b")
	b := must[*CommitBundle](t)(w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{AddProposal(k.KeyPackage)}}))
	w.deliver("m0", b)
	tree := must[RatchetTree](t)(w.hub.RatchetTree())
	other := *c
	other.SignatureKey = must[*SignatureKey](t)(ParseSignatureKey(X25519ChaCha20Poly1305SHA256Ed25519, c.SignatureKey.Private()))
	g := w.members["a"]
	state, ratchets := must[[]byte](t)(g.State()), must[[]byte](t)(g.RatchetState())
	context := w.hub.Context()
	for name, way := range map[string]func() error{
		"JoinWelcome":  func() error { _, err := JoinWelcome(w.cfg, &other, b.Welcome, tree, k); return err },
		"JoinExternal": func() error { _, _, err := JoinExternal(w.cfg, &other, w.hub.GroupInfo(), tree, nil, nil); return err },
		"RestoreGroup": func() error { _, err := RestoreGroup(w.cfg, &other, state, ratchets); return err },
		"ProposeJoin":  func() error { _, err := ProposeJoin(context, other.SignatureKey, k.KeyPackage, nil); return err },
	} {
		if err := way(); !errors.Is(err, errOtherSuite) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// and a KeyPackage of another suite is not added
	w.suite = X25519ChaCha20Poly1305SHA256Ed25519
	_, foreign := w.keyPackage("c")
	_, err := w.members["m0"].Commit(CommitOptions{Proposals: []Proposal{AddProposal(foreign.KeyPackage)}})
	if err == nil || !strings.Contains(err.Error(), "suite") {
		t.Errorf("KeyPackage of another suite: %v", err)
	}
}
