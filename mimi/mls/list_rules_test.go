package mls

import (
	"testing"
)

// listRule is one sentence of RFC 9420 about the list of a commit, with a list that breaks it.
type listRule struct {
	rule, reason string
	list         func(w *world) []ProposalOrRef
	change       func(c *Commit) // besides the list; may be nil
}

// rulesWorld is a group of m0, a, b, c for which an application can tell clients apart, with an external sender, and d,
// who does not support AppEphemeral.
func rulesWorld(t testing.TB, seed uint64) *world {
	t.Helper()
	w, _ := outsideWorld(t, seed)
	w.cfg.Application = deviceApp{}
	w.hub.cfg = w.cfg
	for _, g := range w.members {
		g.cfg = w.cfg
	}
	return w
}

// ref has somebody propose, everybody hear of it, and returns the reference.
func (w *world) ref(from string, p Proposal) ProposalOrRef {
	w.t.Helper()
	var m *Message
	if p.Type == ProposalUpdate {
		m = must[*Message](w.t)(w.members[from].ProposeUpdate(nil))
	} else {
		m = must[*Message](w.t)(w.members[from].Propose(p, nil))
	}
	w.tell(from, m)
	pending := w.hub.PendingProposals()
	return ProposalOrRef{Reference: pending[len(pending)-1].Ref}
}

// keyPackageOf is a KeyPackage that was changed and signed again.
func (w *world) keyPackageOf(name string, change func(*KeyPackage)) *KeyPackage {
	w.t.Helper()
	c, k := w.keyPackage(name)
	kp := *k.KeyPackage
	change(&kp)
	if err := kp.LeafNode.sign(c.SignatureKey, nil, 0); err != nil {
		w.t.Fatal(err)
	}
	if err := kp.sign(c.SignatureKey); err != nil {
		w.t.Fatal(err)
	}
	return &kp
}

func values(list ...Proposal) func(*world) []ProposalOrRef {
	return func(*world) []ProposalOrRef {
		out := make([]ProposalOrRef, len(list))
		for i := range list {
			out[i] = value(list[i])
		}
		return out
	}
}

func psk(id string, change func(*PreSharedKeyID)) Proposal {
	p := &PreSharedKeyID{Type: PSKExternal, ID: []byte(id), Nonce: make([]byte, 32)}
	if change != nil {
		change(p)
	}
	return PSKProposal(p)
}

func reInit(version uint16) Proposal {
	return Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("new"), Version: version, CipherSuite: 1}}
}

// RFC 9420, Section 12.2, the list of a regular commit. The committer is a, at leaf 1.
var regularRules = []listRule{
	// It contains an individual proposal that is invalid as specified in Section 12.1.
	{"12.1.1 the KeyPackage is invalid: suite", "another cipher suite", func(w *world) []ProposalOrRef {
		return values(AddProposal(w.keyPackageOf("d", func(k *KeyPackage) { k.CipherSuite = 2 })))(w)
	}, nil},
	{"12.1.1 the KeyPackage is invalid: version", "protocol version", func(w *world) []ProposalOrRef {
		return values(AddProposal(w.keyPackageOf("d", func(k *KeyPackage) { k.Version = 2 })))(w)
	}, nil},
	{"12.1.1 the KeyPackage is invalid: init key", "are the same", func(w *world) []ProposalOrRef {
		return values(AddProposal(w.keyPackageOf("d", func(k *KeyPackage) { k.InitKey = k.LeafNode.EncryptionKey })))(w)
	}, nil},
	{"12.1.1 the KeyPackage is invalid: signature", "key package signature", func(w *world) []ProposalOrRef {
		kp := *w.keyPackageOf("d", func(*KeyPackage) {})
		kp.Signature = flip(kp.Signature)
		return values(AddProposal(&kp))(w)
	}, nil},
	{"12.1.1 the KeyPackage is invalid: leaf source", "another source", func(w *world) []ProposalOrRef {
		return values(AddProposal(w.keyPackageOf("d", func(k *KeyPackage) { k.LeafNode.Source = LeafNodeSourceUpdate })))(w)
	}, nil},
	{"12.1.1 the KeyPackage is invalid: extension not in capabilities", "its own extension", func(w *world) []ProposalOrRef {
		return values(AddProposal(w.keyPackageOf("d", func(k *KeyPackage) { k.LeafNode.Extensions = Extensions{{0x7777, nil}} })))(w)
	}, nil},
	{"12.1.1 the KeyPackage is invalid: credential not in capabilities", "its own credential", func(w *world) []ProposalOrRef {
		return values(AddProposal(w.keyPackageOf("d", func(k *KeyPackage) { k.LeafNode.Capabilities.Credentials = nil })))(w)
	}, nil},
	{"12.1.1 the KeyPackage is invalid: credential", "unknown credential", func(w *world) []ProposalOrRef {
		return values(AddProposal(w.keyPackageOf("mallory", func(*KeyPackage) {})))(w)
	}, nil},
	{"12.1.3 removed is a blank leaf", "blank", values(RemoveProposal(5)), nil},
	{"12.1.3 removed is no leaf", "blank", values(RemoveProposal(1 << 31)), nil},
	{"12.1.4 usage reinit outside of a reinitialization", "reinitialization", values(psk("", func(p *PreSharedKeyID) {
		p.Type, p.Usage = PSKResumption, ResumptionReInit
	})), nil},
	{"12.1.4 usage branch outside of a branch", "reinitialization", values(psk("", func(p *PreSharedKeyID) {
		p.Type, p.Usage = PSKResumption, ResumptionBranch
	})), nil},
	{"12.1.4 psk_nonce is not of length KDF.Nh", "nonce", values(psk("id", func(p *PreSharedKeyID) { p.Nonce = make([]byte, 33) })), nil},
	{"12.1.5 version is less than that of the group", "older", values(reInit(0)), nil},
	{"12.1.7 required capabilities that some members lack", "required capabilities", func(w *world) []ProposalOrRef {
		required := must[[]byte](w.t)(marshal(RequiredCapabilities{Proposals: []ProposalType{0x7777}}))
		return values(GroupContextExtensionsProposal(Extensions{{ExtensionRequiredCapabilities, required}}))(w)
	}, nil},
	{"12.1.7 required capabilities that a member lacks who is added in the same commit", "required capabilities", func(w *world) []ProposalOrRef {
		required := must[[]byte](w.t)(marshal(RequiredCapabilities{Proposals: []ProposalType{ProposalSelfRemove}}))
		kp := w.keyPackageOf("d", func(k *KeyPackage) { k.LeafNode.Capabilities.Proposals = nil })
		return values(AddProposal(kp), GroupContextExtensionsProposal(Extensions{{ExtensionRequiredCapabilities, required}}))(w)
	}, nil},
	{"13.4 an extension that some members do not support", "does not support an extension", values(GroupContextExtensionsProposal(Extensions{{0x7777, nil}})), nil},
	{"13.4 an extension that has no place in the GroupContext", "does not belong", values(GroupContextExtensionsProposal(Extensions{{ExtensionExternalPub, nil}})), nil},
	// It contains an Update proposal generated by the committer.
	{"12.2 Update of the committer by reference", "Update of the committer", func(w *world) []ProposalOrRef {
		return []ProposalOrRef{w.ref("a", Proposal{Type: ProposalUpdate})}
	}, nil},
	{"12.2 Update of the committer by value", "Update of the committer", func(w *world) []ProposalOrRef {
		m := must[*Message](w.t)(w.members["b"].ProposeUpdate(nil))
		w.members["b"].ForgetProposal(w.members["b"].PendingProposals()[0].Ref)
		return values(*m.Public.content.proposal)(w)
	}, nil},
	// It contains a Remove proposal that removes the committer.
	{"12.2 Remove of the committer", "Remove of the committer", values(RemoveProposal(1)), nil},
	{"12.2 Remove of the committer by reference", "Remove of the committer", func(w *world) []ProposalOrRef {
		return []ProposalOrRef{w.ref("b", RemoveProposal(1))}
	}, nil},
	// It contains multiple Update and/or Remove proposals that apply to the same leaf.
	{"12.2 two Removes of a leaf", "several proposals", values(RemoveProposal(2), RemoveProposal(2)), nil},
	{"12.2 two Updates of a leaf", "several proposals", func(w *world) []ProposalOrRef {
		return []ProposalOrRef{w.ref("b", Proposal{Type: ProposalUpdate}), w.ref("b", Proposal{Type: ProposalUpdate})}
	}, nil},
	{"12.2 Update and Remove of a leaf", "several proposals", func(w *world) []ProposalOrRef {
		return []ProposalOrRef{w.ref("b", Proposal{Type: ProposalUpdate}), value(RemoveProposal(2))}
	}, nil},
	{"mls-extensions 6.3 SelfRemove and Remove of a leaf", "several proposals", func(w *world) []ProposalOrRef {
		return []ProposalOrRef{w.ref("b", SelfRemoveProposal()), value(RemoveProposal(2))}
	}, nil},
	{"mls-extensions 6.3 SelfRemove and Update of a leaf", "several proposals", func(w *world) []ProposalOrRef {
		return []ProposalOrRef{w.ref("b", Proposal{Type: ProposalUpdate}), w.ref("b", SelfRemoveProposal())}
	}, nil},
	{"mls-extensions 6.3 SelfRemove by value", "SelfRemove", values(SelfRemoveProposal()), nil},
	{"mls-extensions 6.3 SelfRemove of the committer", "SelfRemove", func(w *world) []ProposalOrRef {
		return []ProposalOrRef{w.ref("a", SelfRemoveProposal())}
	}, nil},
	// It contains multiple Add proposals that contain KeyPackages that represent the same client.
	{"12.2 two Adds of a client: identical keys", "member already", func(w *world) []ProposalOrRef {
		_, k := w.keyPackage("d")
		return values(AddProposal(k.KeyPackage), AddProposal(k.KeyPackage))(w)
	}, nil},
	{"12.2 two Adds of a client: according to the application", "member already", func(w *world) []ProposalOrRef {
		_, k := w.keyPackage("d")
		_, l := w.keyPackage("d/2")
		return values(AddProposal(k.KeyPackage), AddProposal(l.KeyPackage))(w)
	}, nil},
	// It contains an Add proposal with a KeyPackage that represents a client already in the group.
	{"12.2 Add of a member: according to the application", "member already", func(w *world) []ProposalOrRef {
		_, k := w.keyPackage("b/2")
		return values(AddProposal(k.KeyPackage))(w)
	}, nil},
	{"12.2 Add of a member: the signature key of another", "twice", func(w *world) []ProposalOrRef {
		c := *w.members["b"].client
		c.Credential = BasicCredential([]byte("d"))
		k := must[*KeyPackageSecrets](w.t)(NewKeyPackage(w.cfg, &c, Lifetime{0, 1 << 40}, nil))
		return values(AddProposal(k.KeyPackage))(w)
	}, nil},
	// It contains multiple PreSharedKey proposals that reference the same PreSharedKeyID.
	{"12.2 two PreSharedKeys of an id", "PSK is referenced twice", values(psk("id", nil), psk("id", nil)), nil},
	// It contains multiple GroupContextExtensions proposals.
	{"12.2 two GroupContextExtensions", "several GroupContextExtensions", values(GroupContextExtensionsProposal(nil), GroupContextExtensionsProposal(nil)), nil},
	// It contains a ReInit proposal together with any other proposal.
	{"12.2 ReInit with another proposal", "ReInit with other", values(reInit(1), RemoveProposal(2)), nil},
	{"12.2 ReInit with another ReInit", "ReInit with other", values(reInit(1), reInit(1)), nil},
	// It contains an ExternalInit proposal.
	{"12.2 ExternalInit", "ExternalInit in a regular", values(Proposal{Type: ProposalExternalInit, ExternalInit: make([]byte, 32)}), nil},
	// It contains a Proposal with a non-default type that is not supported by some members that will process it.
	{"12.2 a type that a member does not support", "does not support a proposal type", func(w *world) []ProposalOrRef {
		kp := w.keyPackageOf("d", func(k *KeyPackage) { k.LeafNode.Capabilities.Proposals = nil })
		w.commit("a", CommitOptions{Proposals: []Proposal{AddProposal(kp)}})
		return values(AppDataUpdateProposal(1, nil))(w)
	}, nil},
	// After processing the Commit the ratchet tree is invalid, in particular, if it contains an invalid leaf.
	{"12.2 the tree is invalid: encryption key of another", "twice", func(w *world) []ProposalOrRef {
		key := w.hub.state.tree.leaf(0).EncryptionKey
		return values(AddProposal(w.keyPackageOf("d", func(k *KeyPackage) { k.LeafNode.EncryptionKey = key })))(w)
	}, nil},
	{"12.2 the tree is invalid: credential type that others do not support", "credential type in use", func(w *world) []ProposalOrRef {
		return values(AddProposal(w.keyPackageOf("d", func(k *KeyPackage) {
			k.LeafNode.Credential = Credential{Type: 9}
			k.LeafNode.Capabilities.Credentials = []CredentialType{CredentialBasic, 9}
		})))(w)
	}, nil},
	{"12.2 the tree is invalid: does not support the others' credential types", "credential type in use", func(w *world) []ProposalOrRef {
		return values(AddProposal(w.keyPackageOf("d", func(k *KeyPackage) {
			k.LeafNode.Credential = X509Credential([]byte("der"))
			k.LeafNode.Capabilities.Credentials = []CredentialType{CredentialX509}
		})))(w)
	}, nil},
	// Section 12.4, on the path and on references
	{"12.4 an empty list without path", "lacks a path", values(), func(c *Commit) { c.Path = nil }},
	{"12.4 Remove without path", "lacks a path", values(RemoveProposal(2)), func(c *Commit) { c.Path = nil }},
	{"12.4 GroupContextExtensions without path", "lacks a path", func(w *world) []ProposalOrRef {
		return values(GroupContextExtensionsProposal(w.hub.Context().Extensions))(w)
	}, func(c *Commit) { c.Path = nil }},
	{"12.4 Update without path", "lacks a path", func(w *world) []ProposalOrRef {
		return []ProposalOrRef{w.ref("b", Proposal{Type: ProposalUpdate})}
	}, func(c *Commit) { c.Path = nil }},
	{"12.4 reference to nothing", "unknown proposal", func(*world) []ProposalOrRef {
		return []ProposalOrRef{{Reference: make([]byte, 32)}}
	}, nil},
	{"12.4 the same reference twice", "twice", func(w *world) []ProposalOrRef {
		r := w.ref("b", RemoveProposal(3))
		return []ProposalOrRef{r, r}
	}, nil},
}

// Each rule is enforced by the hub and by every member, and by the committer's own Commit where the list is by value.
func TestRulesOfRegularCommits(t *testing.T) {
	for i, rule := range regularRules {
		t.Run(rule.rule, func(t *testing.T) {
			w := rulesWorld(t, 100+uint64(i))
			delete(w.members, "") // rules may add a member of whom there is no Group
			list := rule.list(w)
			w.refused("a", w.forge("a", CommitOptions{ForcePath: true}, func(c *Commit) {
				c.Proposals = list
				if rule.change != nil {
					rule.change(c)
				}
			}), rule.reason)
			var byValue []Proposal
			for _, x := range list {
				if x.Proposal == nil {
					return // what Commit makes of pending proposals is another test's matter
				}
				byValue = append(byValue, *x.Proposal)
			}
			if rule.change != nil {
				return
			}
			b, err := w.members["a"].Commit(CommitOptions{Proposals: byValue})
			if err == nil && len(b.Dropped) == 0 {
				t.Error("committed")
			}
		})
	}
}

// RFC 9420, Sections 12.2 and 12.4.3.2, the list of an external commit.
func TestRulesOfExternalCommits(t *testing.T) {
	init := value(Proposal{Type: ProposalExternalInit, ExternalInit: make([]byte, 32)})
	for i, rule := range []listRule{
		{"exactly one ExternalInit: none", "invalid proposals", values(), nil},
		{"exactly one ExternalInit: two", "invalid proposals", func(*world) []ProposalOrRef { return []ProposalOrRef{init, init} }, nil},
		{"at most one Remove", "invalid proposals", values(*init.Proposal, RemoveProposal(1), RemoveProposal(2)), nil},
		{"Remove of a blank leaf", "blank", values(*init.Proposal, RemoveProposal(9)), nil},
		{"PreSharedKey proposals are valid", "nonce", values(*init.Proposal, psk("id", func(p *PreSharedKeyID) { p.Nonce = nil })), nil},
		{"PreSharedKey proposals of one id", "twice", values(*init.Proposal, psk("id", nil), psk("id", nil)), nil},
		{"no other proposals: Add", "invalid proposals", func(w *world) []ProposalOrRef {
			_, k := w.keyPackage("d")
			return values(*init.Proposal, AddProposal(k.KeyPackage))(w)
		}, nil},
		{"no other proposals: Update", "invalid proposals", func(w *world) []ProposalOrRef {
			m := must[*Message](w.t)(w.members["b"].ProposeUpdate(nil))
			w.members["b"].ForgetProposal(w.members["b"].PendingProposals()[0].Ref)
			return values(*init.Proposal, *m.Public.content.proposal)(w)
		}, nil},
		{"no other proposals: ReInit", "invalid proposals", values(*init.Proposal, reInit(1)), nil},
		{"no other proposals: GroupContextExtensions", "invalid proposals", values(*init.Proposal, GroupContextExtensionsProposal(nil)), nil},
		{"a path", "invalid sender", values(*init.Proposal), func(c *Commit) { c.Path = nil }},
		{"nothing by reference: Remove", "invalid reference", func(w *world) []ProposalOrRef {
			return []ProposalOrRef{init, w.ref("b", RemoveProposal(3))}
		}, nil},
		{"nothing by reference: AppDataUpdate", "invalid reference", func(w *world) []ProposalOrRef {
			return []ProposalOrRef{init, w.ref("b", AppDataUpdateProposal(3, nil))}
		}, nil},
		{"signed with the key of the leaf in the path", "signature", values(*init.Proposal), func(c *Commit) {
			c.Path.LeafNode.SignatureKey = flip(c.Path.LeafNode.SignatureKey)
		}},
		{"mls-extensions 6.3: SelfRemove by reference only", "invalid reference", values(*init.Proposal, SelfRemoveProposal()), nil},
		{"mls-extensions 6.3: SelfRemove and Remove of a leaf", "several proposals", func(w *world) []ProposalOrRef {
			return []ProposalOrRef{init, w.ref("b", SelfRemoveProposal()), value(RemoveProposal(2))}
		}, nil},
		{"mls-extensions 4.7: AppDataUpdate is valid", "removal", values(*init.Proposal, AppDataRemoveProposal(99)), nil},
	} {
		t.Run(rule.rule, func(t *testing.T) {
			w := rulesWorld(t, 200+uint64(i))
			list := rule.list(w)
			w.refused("", w.external(func(c *Commit) {
				c.Proposals = list
				if rule.change != nil {
					rule.change(c)
				}
			}), rule.reason)
		})
	}
}

// laxApp accepts every successor.
type laxApp struct{ deviceApp }

func (laxApp) ValidateCredential(Credential, SignaturePublicKey, *Credential) error { return nil }

// RFC 9420, Section 12.2: "If a Remove proposal is present, then the LeafNode in the path field of the external Commit
// MUST meet the same criteria as would the LeafNode in an Update for the removed leaf."
func TestExternalCommitReplacesItsLeaf(t *testing.T) {
	w := rulesWorld(t, 250)
	old := w.hub.state.tree.leaf(1)
	lax := w.cfg
	lax.Application = laxApp{}
	join := func(name string, change func(*LeafNode)) *Message {
		t.Helper()
		c := w.client(name)
		_, b, err := JoinExternal(lax, c, w.hub.GroupInfo(), must[RatchetTree](t)(w.hub.RatchetTree()), []Proposal{RemoveProposal(1)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m := wire(t, b.Commit)
		content := m.Public.content
		change(&content.commit.Path.LeafNode)
		if err := content.commit.Path.LeafNode.sign(c.SignatureKey, []byte("group"), 1); err != nil {
			t.Fatal(err)
		}
		content.body = nil
		ac := must[*authenticatedContent](t)(w.hub.state.framing.signContent(c.SignatureKey, WireFormatPublicMessage, content))
		ac.auth.confirmationTag = m.Public.auth.confirmationTag
		m.Public = must[*PublicMessage](t)(w.hub.state.framing.protectPublic(nil, ac))
		return wire(t, m)
	}
	w.refused("", join("x", func(*LeafNode) {}), "another identity")
	w.refused("", join("a", func(l *LeafNode) { l.EncryptionKey = old.EncryptionKey }), "does not change the leaf's encryption key")
	w.refused("", join("a", func(l *LeafNode) { l.Source = LeafNodeSourceUpdate }), "wrong source")
	w.refused("", join("a", func(l *LeafNode) { l.Capabilities.Versions = nil }), "protocol version")
}

// What the rules allow, so that they are not merely strict: everything together that may be together.
func TestRulesAllow(t *testing.T) {
	w := rulesWorld(t, 300)
	w.cfg.PSK = func(*PreSharedKeyID) []byte { return []byte("secret") }
	for _, g := range w.members {
		g.cfg = w.cfg
	}
	// b comes back under a new key in the commit that removes its old one; c updates; two uses of one PSK
	w.ref("c", Proposal{Type: ProposalUpdate})
	c, k := w.keyPackage("b/2")
	b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{Proposals: []Proposal{
		RemoveProposal(w.members["b"].OwnLeaf()), AddProposal(k.KeyPackage), AppDataUpdateProposal(1, nil),
		GroupContextExtensionsProposal(w.hub.Context().Extensions),
		must[Proposal](t)(w.members["a"].NewPSKProposal([]byte("id"))), must[Proposal](t)(w.members["a"].NewPSKProposal([]byte("id"))),
	}}))
	if len(b.Dropped) != 0 {
		t.Fatalf("dropped %v", b.Dropped)
	}
	w.deliver("a", b)
	w.members["b"] = must[*Group](t)(JoinWelcome(w.cfg, c, b.Welcome, must[RatchetTree](t)(w.hub.RatchetTree()), k))
	w.check()
	w.say("b", "new key")
	// an external commit with all that it may hold: b loses its state and comes back in the place of its old leaf
	leaf := w.members["b"].OwnLeaf()
	delete(w.members, "b")
	leave := must[*Message](t)(w.members["c"].SelfRemove(nil))
	w.tell("c", leave)
	g, b, err := JoinExternalWith(w.cfg, c, w.hub.GroupInfo(), must[RatchetTree](t)(w.hub.RatchetTree()), []Proposal{
		RemoveProposal(leaf), AppDataUpdateProposal(1, nil), must[Proposal](t)(NewPSKProposal(w.cfg, 1, PreSharedKeyID{Type: PSKExternal, ID: []byte("id")})),
	}, []*Message{wire(t, leave)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.members["b"] = g
	w.deliver("b", b)
	w.check()
}
