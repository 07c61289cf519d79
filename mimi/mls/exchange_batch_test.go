package mls

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// addMember makes a Welcome for one more.
func (w *Welcome) addMember(s *suite, kp *KeyPackage, secrets *groupSecrets) error {
	return w.addMembers(&Config{}, s, []newMember{{kp, secrets}})
}

// batchExchanger is a fake of what a browser offers: honest exchanges, which damage may then change.
type batchExchanger struct {
	calls, keys int
	returned    []X25519Exchange
	err         error
	damage      func(list []X25519Exchange) []X25519Exchange
}

func (e *batchExchanger) exchange(publicKeys []HPKEPublicKey) ([]X25519Exchange, error) {
	e.calls++
	e.keys += len(publicKeys)
	list := make([]X25519Exchange, len(publicKeys))
	for i, public := range publicKeys {
		var err error
		if list[i], err = exchangeWith(public, nil); err != nil {
			return nil, err
		}
	}
	if e.damage != nil {
		list = e.damage(list)
	}
	e.returned = list
	return list, e.err
}

// exchangeWith makes an exchange with a given ephemeral key, or with a fresh one.
func exchangeWith(public HPKEPublicKey, ephemeral *ecdh.PrivateKey) (X25519Exchange, error) {
	recipient, err := ecdh.X25519().NewPublicKey(public)
	if err == nil && ephemeral == nil {
		ephemeral, err = ecdh.X25519().GenerateKey(orSystem(nil))
	}
	if err != nil {
		return X25519Exchange{}, err
	}
	shared, err := ephemeral.ECDH(recipient)
	return X25519Exchange{Ephemeral: ephemeral.PublicKey().Bytes(), Shared: shared}, err
}

func (e *batchExchanger) config() *Config { return &Config{ExchangeX25519: e.exchange} }

// The published vectors in base mode, up to the first message. They have aad, which we never have.
//
// RFC 9180, Appendices A.1.1 and A.2.1
func TestVectorsHPKESender(t *testing.T) {
	const (
		info      = "4f6465206f6e2061204772656369616e2055726e"
		plaintext = "4265617574792069732074727574682c20747275746820626561757479"
		aad       = "436f756e742d30"
	)
	for _, v := range []struct {
		suite                                              CipherSuite
		skE, pkE, pkR, sharedSecret, baseNonce, ciphertext string
	}{
		{
			suite:        X25519AES128GCMSHA256Ed25519,
			skE:          "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
			pkE:          "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
			pkR:          "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
			sharedSecret: "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc",
			baseNonce:    "56d890e5accaaf011cff4b7d",
			ciphertext:   "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
		}, {
			suite:        X25519ChaCha20Poly1305SHA256Ed25519,
			skE:          "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600",
			pkE:          "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
			pkR:          "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
			sharedSecret: "0bbe78490412b4bbea4812666f7916932b828bba79942424abb65244930d69a7",
			baseNonce:    "5c4d98150661b848853b547f",
			ciphertext:   "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
		},
	} {
		s, err := suiteOf(v.suite)
		if err != nil {
			t.Logf("0x%04x is not compiled in: mls_suite1", v.suite)
			continue
		}
		ephemeral := must[*ecdh.PrivateKey](t)(ecdh.X25519().NewPrivateKey(unhex(t, v.skE)))
		x := must[X25519Exchange](t)(exchangeWith(unhex(t, v.pkR), ephemeral))
		equal(t, "enc", x.Ephemeral, unhex(t, v.pkE))
		b := newBaseSender(s, unhex(t, info))
		sharedSecret := b.encap(unhex(t, v.pkR), x)
		equal(t, "shared_secret", sharedSecret, unhex(t, v.sharedSecret))
		aead, nonce, err := b.schedule(sharedSecret)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "base_nonce", nonce, unhex(t, v.baseNonce))
		equal(t, "ct", aead.Seal(nil, nonce, unhex(t, plaintext), unhex(t, aad)), unhex(t, v.ciphertext))
		equal(t, "ciphertext without aad", must[HPKECiphertext](t)(b.seal(unhex(t, v.pkR), x, unhex(t, plaintext))).Ciphertext,
			aead.Seal(nil, nonce, unhex(t, plaintext), nil))
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	return must[[]byte](t)(hex.DecodeString(text))
}

// exchangeSuites are those with DHKEM(X25519, HKDF-SHA256), for whose encryptions the application is asked.
func exchangeSuites() []*suite {
	return slices.DeleteFunc(append([]*suite{suite1}, otherSuites[:]...), func(s *suite) bool { return s.kem.ID() != 0x0020 })
}

// HPKE opens whatever is sealed with exchanges, of any length and with any info, each with its own key only.
func TestExchangesOpenWithTheLibrary(t *testing.T) {
	for _, s := range exchangeSuites() {
		t.Run(fmt.Sprintf("0x%04x", s.id), func(t *testing.T) {
			r := newRandom(uint64(s.id))
			for _, n := range []int{minExchanges, 9, 40} {
				label, context := fmt.Sprint("label ", n), r.octets(n*n)
				keys, to := recipientsOf(t, s, r, n)
				e := new(batchExchanger)
				list := must[[]HPKECiphertext](t)(s.encryptToAll(e.config(), to, label, context))
				if e.calls != 1 || e.keys != n || len(list) != n {
					t.Fatalf("%d calls with %d keys, %d ciphertexts, want 1, %d, %d", e.calls, e.keys, len(list), n, n)
				}
				info := must[[]byte](t)(labelled("MLS 1.0 "+label, context))
				for i, ct := range list {
					equal(t, "kem_output", ct.KEMOutput, e.returned[i].Ephemeral)
					r := must[*hpkeRecipient](t)(newHPKERecipient(ct.KEMOutput, keys[i].key, s.kdf, s.aead, info))
					opened, err := r.Open(nil, ct.Ciphertext)
					if err != nil || !bytes.Equal(opened, to[i].plaintext) {
						t.Errorf("ciphertext %d: %x, %v", i, opened, err)
					}
					if _, err := keys[(i+1)%n].DecryptWithLabel(label, context, ct); err == nil {
						t.Errorf("ciphertext %d opened by another recipient", i)
					}
				}
				if !forgotten(e.returned) {
					t.Error("shared secrets are left")
				}
			}
		})
	}
}

func recipientsOf(t *testing.T, s *suite, r random, n int) ([]*HPKEPrivateKey, []recipient) {
	t.Helper()
	keys, to := make([]*HPKEPrivateKey, n), make([]recipient, n)
	for i := range n {
		keys[i] = must[*HPKEPrivateKey](t)(s.generateKeyPair(r))
		to[i] = recipient{keys[i].Public(), r.octets(i)}
	}
	return keys, to
}

// forgotten reports whether no shared secret is left.
func forgotten(list []X25519Exchange) bool {
	return !slices.ContainsFunc(list, func(x X25519Exchange) bool { return !allZero(x.Shared) })
}

// What is wrong at first sight is not used at all: everything is encrypted as if there were no application.
func TestExchangesRefused(t *testing.T) {
	each := func(damage func(x *X25519Exchange)) func([]X25519Exchange) []X25519Exchange {
		return func(list []X25519Exchange) []X25519Exchange { damage(&list[3]); return list }
	}
	for name, e := range map[string]*batchExchanger{
		"error":           {err: errors.New("no")},
		"nothing":         {damage: func([]X25519Exchange) []X25519Exchange { return nil }},
		"short list":      {damage: func(l []X25519Exchange) []X25519Exchange { return l[1:] }},
		"long list":       {damage: func(l []X25519Exchange) []X25519Exchange { return append(l, l[0]) }},
		"zero":            {damage: each(func(x *X25519Exchange) { clear(x.Shared) })},
		"short secret":    {damage: each(func(x *X25519Exchange) { x.Shared = x.Shared[1:] })},
		"long secret":     {damage: each(func(x *X25519Exchange) { x.Shared = append(x.Shared, 1) })},
		"no secret":       {damage: each(func(x *X25519Exchange) { x.Shared = nil })},
		"short ephemeral": {damage: each(func(x *X25519Exchange) { x.Ephemeral = x.Ephemeral[1:] })},
		"long ephemeral":  {damage: each(func(x *X25519Exchange) { x.Ephemeral = append(x.Ephemeral, 1) })},
		"no ephemeral":    {damage: each(func(x *X25519Exchange) { x.Ephemeral = nil })},
		"small order":     {damage: each(func(x *X25519Exchange) { clear(x.Ephemeral) })},
		"repeats": {damage: func(l []X25519Exchange) []X25519Exchange {
			l[7].Ephemeral = bytes.Clone(l[2].Ephemeral)
			return l
		}},
	} {
		t.Run(name, func(t *testing.T) {
			keys, to := recipientsOf(t, suite1, newRandom(5), 10)
			list := must[[]HPKECiphertext](t)(suite1.encryptToAll(e.config(), to, "test", nil))
			if e.calls != 1 || !forgotten(e.returned) {
				t.Errorf("%d calls, secrets forgotten: %v", e.calls, forgotten(e.returned))
			}
			for i, ct := range list {
				if slices.ContainsFunc(e.returned, func(x X25519Exchange) bool { return bytes.Equal(x.Ephemeral, ct.KEMOutput) }) {
					t.Errorf("ciphertext %d is of an exchange that was refused", i)
				}
				equal(t, "plaintext", must[[]byte](t)(keys[i].DecryptWithLabel("test", nil, ct)), to[i].plaintext)
			}
		})
	}
}

// The application is not asked for few recipients, for other KEMs, or for keys that are none.
func TestExchangesNotAskedFor(t *testing.T) {
	e := new(batchExchanger)
	r := newRandom(6)
	for _, s := range append([]*suite{suite1}, otherSuites[:]...) {
		n := minExchanges
		if slices.Contains(exchangeSuites(), s) {
			n--
		}
		keys, to := recipientsOf(t, s, r, n)
		for i, ct := range must[[]HPKECiphertext](t)(s.encryptToAll(e.config(), to, "test", nil)) {
			equal(t, "plaintext", must[[]byte](t)(keys[i].DecryptWithLabel("test", nil, ct)), to[i].plaintext)
		}
	}
	_, to := recipientsOf(t, suite1, r, 10)
	to[4].key = to[4].key[1:]
	if _, err := suite1.encryptToAll(e.config(), to, "test", nil); err != errHPKEKey {
		t.Errorf("short key: %v", err)
	}
	if e.calls != 0 {
		t.Errorf("%d calls", e.calls)
	}
}

// exchangeWorld is a group that one commit, made with the hook, has filled with n members.
func exchangeWorld(t *testing.T, s *suite, e *batchExchanger, n int) []*Group {
	t.Helper()
	r := newRandom(uint64(n))
	cfg := Config{Application: testApp{}, Rand: r, ExchangeX25519: e.exchange}
	client := func(i int) *Client { return newTestClientOf(t, r, s.id, fmt.Sprint("m", i)) }
	founder := must[*Group](t)(NewGroup(cfg, client(0), []byte("exchanges"), nil))
	clients, keys, adds := make([]*Client, n), make([]*KeyPackageSecrets, n), []Proposal(nil)
	for i := 1; i < n; i++ {
		clients[i] = client(i)
		keys[i] = must[*KeyPackageSecrets](t)(NewKeyPackage(cfg, clients[i], Lifetime{0, 1 << 40}, nil))
		adds = append(adds, AddProposal(keys[i].KeyPackage))
	}
	bundle := must[*CommitBundle](t)(founder.Commit(CommitOptions{Proposals: adds, ForcePath: true}))
	if err := founder.MergePending(); err != nil {
		t.Fatal(err)
	}
	tree := must[RatchetTree](t)(founder.RatchetTree())
	groups := []*Group{founder}
	for i := 1; i < n; i++ {
		groups = append(groups, must[*Group](t)(JoinWelcome(cfg, clients[i], bundle.Welcome, tree, keys[i])))
	}
	return groups
}

// All members follow commits whose Welcome and path are made with exchanges, by whomever.
func TestCommitWithExchanges(t *testing.T) {
	for _, s := range exchangeSuites() {
		t.Run(fmt.Sprintf("0x%04x", s.id), func(t *testing.T) {
			const n = 21
			e := new(batchExchanger)
			groups := exchangeWorld(t, s, e, n)
			if e.calls != 1 || e.keys != n-1 {
				t.Errorf("Welcome: %d calls with %d keys, want one with %d", e.calls, e.keys, n-1)
			}
			asked := 0
			for sender := range n {
				*e = batchExchanger{}
				bundle := must[*CommitBundle](t)(groups[sender].Commit(CommitOptions{ForcePath: true}))
				asked += e.calls
				if sender == 0 && e.keys != n-1 {
					t.Errorf("path: %d calls with %d keys, want one with %d", e.calls, e.keys, n-1)
				}
				for i, g := range groups {
					if i == sender {
						if err := g.MergePending(); err != nil {
							t.Fatal(err)
						}
						continue
					}
					received := must[*Received](t)(g.Process(wire(t, bundle.Commit)))
					if err := g.Merge(received.Commit); err != nil {
						t.Fatal(err)
					}
				}
				for i, g := range groups {
					equal(t, fmt.Sprint("epoch authenticator of ", i), g.EpochAuthenticator(), groups[sender].EpochAuthenticator())
				}
			}
			if asked < 5 {
				t.Errorf("%d commits of %d made with exchanges", asked, n)
			}
		})
	}
}

// A computer that computes wrongly is believed, but by nobody else: those whose secret is wrong refuse the commit, and
// the sender can discard it and try again.
func TestCommitWithWrongExchange(t *testing.T) {
	e := new(batchExchanger)
	groups := exchangeWorld(t, suite1, e, 16)
	e.damage = func(list []X25519Exchange) []X25519Exchange {
		list[len(list)-1].Shared[0] ^= 1
		return list
	}
	bundle := must[*CommitBundle](t)(groups[0].Commit(CommitOptions{ForcePath: true}))
	refused := 0
	for _, g := range groups[1:] {
		epoch := g.Epoch()
		if _, err := g.Process(wire(t, bundle.Commit)); err != nil {
			refused++
			equal(t, "error", []byte(err.Error()), []byte(errDecrypt.Error()))
		}
		if g.Epoch() != epoch {
			t.Error("a commit changed the group before it was merged")
		}
	}
	if refused != 1 {
		t.Errorf("%d members refused, want the one with the wrong secret", refused)
	}
	groups[0].DiscardPending()
	e.damage = nil
	bundle = must[*CommitBundle](t)(groups[0].Commit(CommitOptions{ForcePath: true}))
	for _, g := range groups[1:] {
		must[*Received](t)(g.Process(wire(t, bundle.Commit)))
	}
}
