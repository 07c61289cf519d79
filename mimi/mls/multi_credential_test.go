package mls

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// multiClient is a client whose credential binds its key to others, one per name, each with a key of its own and of
// the suite given for it.
func multiClient(t testing.TB, r random, weak bool, suites map[string]CipherSuite, names ...string) *Client {
	t.Helper()
	c := newTestClient(t, r, names[0])
	var m MultiCredential
	for _, name := range names {
		key := must[*SignatureKey](t)(GenerateSignatureKey(suites[name], r))
		m = append(m, *must[*CredentialBinding](t)(NewCredentialBinding(BasicCredential([]byte(name)), key, c.SignatureKey.Public())))
	}
	c.Credential = must[Credential](t)(m.Credential(weak))
	c.Capabilities.Credentials = append(c.Capabilities.Credentials, CredentialMulti, CredentialWeakMulti)
	c.Capabilities.CipherSuites = append(c.Capabilities.CipherSuites, 2)
	return c
}

func believe(b *CredentialBinding) error {
	if string(b.Credential.Identity) == "mallory" {
		return errors.New("test: unknown credential")
	}
	return nil
}

// A group with members of either kind: its credentials pass through tree, Welcome and commits, and are checked.
func TestMultiCredentials(t *testing.T) {
	r := newRandom(1)
	suites := map[string]CipherSuite{"alice": 1, "alice@work": 2, "bob": 1, "bob@work": 2}
	cfg := Config{Application: testApp{}, Rand: r}
	alice := multiClient(t, r, false, suites, "alice", "alice@work")
	g := must[*Group](t)(NewGroup(cfg, alice, []byte("g"), nil))
	bob := multiClient(t, r, true, suites, "bob", "bob@work")
	key := must[*KeyPackageSecrets](t)(NewKeyPackage(cfg, bob, Lifetime{0, 1 << 40}, nil))
	b := must[*CommitBundle](t)(g.Commit(CommitOptions{Proposals: []Proposal{AddProposal(key.KeyPackage)}}))
	if err := CheckMultiCredentials(alice.Capabilities, b.Staged.Members(), believe); err != nil {
		t.Error(err)
	}
	joined := must[*Group](t)(JoinWelcome(cfg, bob, b.Welcome, must[RatchetTree](t)(b.Staged.RatchetTree()), key))
	seen := 0
	if err := CheckMultiCredentials(bob.Capabilities, joined.Members(), func(*CredentialBinding) error { seen++; return nil }); err != nil || seen != 4 {
		t.Errorf("%d bindings, %v", seen, err)
	}
	// a client that does not know the type cannot be in such a group
	c := newTestClient(t, r, "carol")
	plain := must[*KeyPackageSecrets](t)(NewKeyPackage(cfg, c, Lifetime{0, 1 << 40}, nil))
	g.DiscardPending()
	if _, err := g.Commit(CommitOptions{Proposals: []Proposal{AddProposal(plain.KeyPackage)}}); err == nil {
		t.Error("added a member that does not support multi-credentials")
	}
}

// draft-ietf-mls-extensions, Section 6.5.2, sentence by sentence.
func TestMultiCredentialRules(t *testing.T) {
	r := newRandom(2)
	suites := map[string]CipherSuite{"a": 1, "a@work": 2, "mallory": 1}
	member := func(c *Client) Member {
		l := c.leafNode(nil)
		return Member{Leaf: &l}
	}
	change := func(c *Client, f func(MultiCredential)) *Client {
		m := must[MultiCredential](t)(UnmarshalMultiCredential(c.Credential))
		f(m)
		out := *c
		out.Credential = must[Credential](t)(m.Credential(c.Credential.Type == CredentialWeakMulti))
		return &out
	}
	full := multiClient(t, r, false, suites, "a").Capabilities
	onlyOne := full.clone()
	onlyOne.CipherSuites = []CipherSuite{1}
	none := full.clone()
	none.CipherSuites = []CipherSuite{3}
	noBasic := full.clone()
	noBasic.Credentials = []CredentialType{CredentialMulti, CredentialWeakMulti}
	for _, weak := range []bool{false, true} {
		c := multiClient(t, r, weak, suites, "a", "a@work")
		for name, test := range map[string]struct {
			client *Client
			own    Capabilities
			other  Capabilities
			strong string // why it is refused as multi
			weak   string // and as weak-multi
		}{
			"all is well":                     {c, full, full, "", ""},
			"we support one suite":            {c, onlyOne, onlyOne, "does not support a multi", ""},
			"a member supports no suite":      {c, full, none, "does not support a multi", "does not support a multi"},
			"a member lacks credential types": {c, full, noBasic, "does not support a multi", "does not support a multi"},
			"signature": {change(c, func(m MultiCredential) { m[0].Signature = flip(m[0].Signature) }), full, full,
				"invalid signature", "invalid signature"},
			"signature of a binding that we do not support": {change(c, func(m MultiCredential) { m[1].Signature = nil }), onlyOne, full,
				"", ""},
			"credential of another": {change(c, func(m MultiCredential) { m[0].Credential = BasicCredential([]byte("b")) }), full, full,
				"invalid signature", "invalid signature"},
			"key of another leaf": {func() *Client {
				o := *c
				o.SignatureKey = newTestClient(t, r, "x").SignatureKey
				return &o
			}(), full, full, "invalid signature", "invalid signature"},
			"credential that the application refuses": {multiClient(t, r, weak, suites, "a", "mallory"), full, full,
				"unknown credential", "unknown credential"},
			"no binding": {func() *Client {
				o := *c
				o.Credential.Opaque = nil
				return &o
			}(), full, full, "no binding", "no binding"},
			"no binding that we support": {c, none, full, "no binding", "no binding"},
			"no list of bindings": {func() *Client {
				o := *c
				o.Credential.Opaque = o.Credential.Opaque[:len(o.Credential.Opaque)-1]
				return &o
			}(), full, full, "malformed", "malformed"},
		} {
			want := test.strong
			if weak {
				want = test.weak
			}
			other := newTestClient(t, r, "other")
			other.Capabilities = test.other
			err := CheckMultiCredentials(test.own, []Member{member(test.client), member(other)}, believe)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s, weak %t: %v", name, weak, err)
			}
		}
	}
}

// Many members with many bindings and long capabilities cost no more than they are long.
func TestMultiCredentialGrowth(t *testing.T) {
	checkGrowth(t, 40, func(t testing.TB, n int) (int, func()) {
		r := newRandom(4)
		c := multiClient(t, r, true, map[string]CipherSuite{"a": 1}, "a")
		m := must[MultiCredential](t)(UnmarshalMultiCredential(c.Credential))
		for i := range 100 {
			c.Capabilities.CipherSuites = append(c.Capabilities.CipherSuites, CipherSuite(2000+i))
			m = append(m, CredentialBinding{CipherSuite: CipherSuite(1000 + i), Credential: BasicCredential(nil)})
		}
		c.Credential = must[Credential](t)(m.Credential(true))
		l := c.leafNode(nil)
		members := slices.Repeat([]Member{{Leaf: &l}}, n)
		return n * len(c.Credential.Opaque), func() {
			if err := CheckMultiCredentials(c.Capabilities, members, believe); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Whatever is decoded re-encodes to the same octets, and every prefix that ends within a binding is refused.
func TestMultiCredentialCodec(t *testing.T) {
	r := newRandom(3)
	c := multiClient(t, r, true, map[string]CipherSuite{"a": 1, "b": 2}, "a", "b")
	one := len(must[Credential](t)(must[MultiCredential](t)(UnmarshalMultiCredential(c.Credential))[:1].Credential(true)).Opaque)
	for n := range c.Credential.Opaque {
		cut := Credential{Type: CredentialWeakMulti, Opaque: c.Credential.Opaque[:n]}
		m, err := UnmarshalMultiCredential(cut)
		if (err == nil) != (n == 0 || n == one) {
			t.Fatalf("prefix of %d octets: %v", n, err)
		}
		if err == nil {
			equal(t, "again", must[Credential](t)(m.Credential(true)).Opaque, cut.Opaque)
		}
	}
	if _, err := UnmarshalMultiCredential(BasicCredential([]byte("a"))); err == nil {
		t.Error("a basic credential has bindings")
	}
}
