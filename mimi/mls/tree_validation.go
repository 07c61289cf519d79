package mls

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// groupRules is what a group's parameters demand of each leaf.
type groupRules struct {
	suite      *suite
	groupID    []byte
	required   RequiredCapabilities
	extensions []ExtensionType // those of the GroupContext

	wireFormats WireFormats   // required
	maxLifetime time.Duration // of leaves made for a KeyPackage, 0 for any
}

func newGroupRules(cfg *Config, s *suite, groupID []byte, ext Extensions) (*groupRules, error) {
	required, err := ext.requiredCapabilities()
	if err != nil {
		return nil, err
	}
	formats, err := ext.wireFormats(ExtensionRequiredWireFormats)
	if err != nil {
		return nil, err
	}
	return &groupRules{
		suite:       s,
		groupID:     groupID,
		required:    required,
		extensions:  ext.types(),
		wireFormats: formats,
		maxLifetime: cfg.maxLifetime(),
	}, nil
}

// checkCapabilities verifies that a leaf fits the group.
//
// RFC 9420, Section 7.3
func (r *groupRules) checkCapabilities(l *LeafNode) error {
	c := &l.Capabilities
	if !c.Support(r.required) {
		return errors.New("mls: leaf lacks required capabilities")
	}
	// RFC 9420, Section 13.4: every extension of the GroupContext is supported by every member
	if !c.supportsExtensions(r.extensions) {
		return errors.New("mls: leaf does not support an extension of the group")
	}
	return r.checkWireFormats(l)
}

// checkLifetime refuses a leaf that was made to be valid for too long. Whether it is valid now is another question.
//
// RFC 9420, Section 7.2
func (r *groupRules) checkLifetime(l *LeafNode) error {
	if r.maxLifetime > 0 && l.Source == LeafNodeSourceKeyPackage && l.Lifetime.exceeds(r.maxLifetime) {
		return errors.New("mls: leaf has too long a lifetime")
	}
	return nil
}

// checkLeaf verifies one leaf by itself: source, keys, signature, capabilities. i matters for the sources update
// and commit only; signed says that the signature is known to be valid.
//
// RFC 9420, Section 7.3
func (r *groupRules) checkLeaf(l *LeafNode, source uint8, i LeafIndex, signed bool) error {
	if l.Source != source {
		return errors.New("mls: leaf has the wrong source")
	}
	// RFC 9420, Section 7.2 and 11.1: what the leaf says about itself
	if err := l.checkContents(r.suite); err != nil {
		return err
	}
	if !signed {
		if err := l.verifySignature(r.suite, r.groupID, i); err != nil {
			return err
		}
	}
	if err := r.checkLifetime(l); err != nil {
		return err
	}
	return r.checkCapabilities(l)
}

// checkKeyPackage verifies a KeyPackage for this group. A zero now leaves the lifetime out, signed the signatures.
//
// RFC 9420, Section 10.1
func (r *groupRules) checkKeyPackage(k *KeyPackage, now time.Time, signed bool) error {
	if k.CipherSuite != r.suite.id {
		return errors.New("mls: key package for another cipher suite")
	}
	if err := k.verify(now, signed); err != nil {
		return err
	}
	if err := r.checkLifetime(&k.LeafNode); err != nil {
		return err
	}
	return r.checkCapabilities(&k.LeafNode)
}

// newKeys collects the keys that a commit brings into the tree.
type newKeys struct {
	encryption map[string]nodeIndex
	signature  map[string]LeafIndex
	first      keyFilter
}

// keyFilter says of most keys that they are not among a few, by their first octet: a commit compares its own few keys
// with all of a large tree.
type keyFilter [256]bool

func (f *keyFilter) add(key []byte) {
	if len(key) > 0 {
		f[key[0]] = true
	}
}

func (f *keyFilter) may(key []byte) bool { return len(key) > 0 && f[key[0]] }

var errDuplicateKey = errors.New("mls: key is used twice in the tree")

func (k *newKeys) addEncryption(x nodeIndex, key HPKEPublicKey) error {
	if k.encryption == nil {
		k.encryption = make(map[string]nodeIndex)
	}
	if _, ok := k.encryption[string(key)]; ok {
		return errDuplicateKey
	}
	k.encryption[string(key)] = x
	k.first.add(key)
	return nil
}

func (k *newKeys) addSignature(i LeafIndex, key SignaturePublicKey) error {
	if k.signature == nil {
		k.signature = make(map[string]LeafIndex)
	}
	if _, ok := k.signature[string(key)]; ok {
		return errDuplicateKey
	}
	k.signature[string(key)] = i
	k.first.add(key)
	return nil
}

func (k *newKeys) addLeaf(i LeafIndex, l *LeafNode) error {
	if err := k.addEncryption(i.node(), l.EncryptionKey); err != nil {
		return err
	}
	return k.addSignature(i, l.SignatureKey)
}

// checkUnique verifies that none of the keys is at any other position of the tree.
//
// RFC 9420, Section 7.3
func (t *ratchetTree) checkUnique(k *newKeys) error {
	for x := range nodeIndex(len(t.slots)) {
		n := t.slots[x]
		if n == nil {
			continue
		}
		if key := t.publicKey(x); k.first.may(key) {
			if at, ok := k.encryption[string(key)]; ok && at != x {
				return errDuplicateKey
			}
		}
		if n.leaf == nil || !k.first.may(n.leaf.SignatureKey) {
			continue
		}
		if at, ok := k.signature[string(n.leaf.SignatureKey)]; ok && at != x.leaf() {
			return errDuplicateKey
		}
	}
	return nil
}

// checkPathKeys verifies that none of the keys of an UpdatePath is in the tree already, the sender's old ones
// included, nor twice in the path.
//
// RFC 9420, Section 12.4.2
func (t *ratchetTree) checkPathKeys(leaf HPKEPublicKey, nodes []HPKEPublicKey) error {
	fresh := make(map[string]bool, len(nodes)+1)
	var first keyFilter
	for _, key := range append([]HPKEPublicKey{leaf}, nodes...) {
		if err := t.suite.checkPublicKey(key); err != nil {
			return err
		}
		if fresh[string(key)] {
			return errDuplicateKey
		}
		fresh[string(key)] = true
		first.add(key)
	}
	for x := range nodeIndex(len(t.slots)) {
		if key := t.publicKey(x); first.may(key) && fresh[string(key)] {
			return errDuplicateKey
		}
	}
	return nil
}

// checkCredentialTypes verifies that every member supports the credential types of the changed leaves and that
// those support the types in use.
//
// RFC 9420, Section 7.3
func (t *ratchetTree) checkCredentialTypes(changed []LeafIndex) error {
	fresh, used := map[CredentialType]bool{}, map[CredentialType]bool{}
	for _, i := range changed {
		fresh[t.leaf(i).Credential.Type] = true
	}
	list := slices.Collect(maps.Keys(fresh))
	for _, l := range t.members {
		if !l.Capabilities.supportsCredentials(list) {
			return errors.New("mls: a member does not support a credential type in use")
		}
		used[l.Credential.Type] = true
	}
	list = slices.Collect(maps.Keys(used))
	for _, i := range changed {
		if !t.leaf(i).Capabilities.supportsCredentials(list) {
			return errors.New("mls: a member does not support a credential type in use")
		}
	}
	return nil
}

// checkProposalTypes verifies that every member that processes the commit supports its non-default proposals; the
// leaves that it adds are in ascending order.
//
// RFC 9420, Section 12.2
func (t *ratchetTree) checkProposalTypes(types []ProposalType, added []LeafIndex) error {
	if len(types) == 0 {
		return nil
	}
	for i, l := range t.members {
		if _, found := slices.BinarySearch(added, i); found {
			continue
		}
		for _, p := range types {
			if !l.Capabilities.supportsProposal(p) {
				return errors.New("mls: a member does not support a proposal type")
			}
		}
	}
	return nil
}

// validate is the whole check of a tree that a joiner or a new verifier was given. It comes with the tree hash of
// the GroupInfo, which the caller compares.
//
// RFC 9420, Section 12.4.3.1
func (t *ratchetTree) validate(r *groupRules, cfg *Config) error {
	// first the form: everything below relies on it
	if err := t.checkUnmergedLeaves(); err != nil {
		return err
	}
	var keys newKeys
	var members []LeafIndex
	signed := t.confirmLeaves(cfg, r.groupID)
	for x := range nodeIndex(len(t.slots)) {
		if key := t.publicKey(x); key != nil {
			if err := r.suite.checkPublicKey(key); err != nil {
				return err
			}
			if err := keys.addEncryption(x, key); err != nil {
				return err
			}
		}
		if !x.isLeaf() || t.blank(x) {
			continue
		}
		i, l := x.leaf(), t.slots[x].leaf
		members = append(members, i)
		if err := keys.addSignature(i, l.SignatureKey); err != nil {
			return err
		}
		// the lifetime is not checked: it may have passed since the member was added
		if err := r.checkLeaf(l, l.Source, i, signed[l]); err != nil {
			return err
		}
		// RFC 9420, Section 5.3.1
		if err := validateCredential(cfg.Application, l, nil); err != nil {
			return err
		}
	}
	if err := t.checkCredentialTypes(members); err != nil {
		return err
	}
	return t.verifyParentHashes()
}

// checkUnmergedLeaves verifies the unmerged leaves of each parent. That they are descendants was checked when
// the tree was decoded.
//
// RFC 9420, Section 12.4.3.1
func (t *ratchetTree) checkUnmergedLeaves() error {
	for x := nodeIndex(1); int(x) < len(t.slots); x += 2 {
		p := t.parentAt(x)
		if p == nil {
			continue
		}
		for _, l := range p.UnmergedLeaves {
			if t.leaf(l) == nil {
				return errors.New("mls: unmerged leaf is blank")
			}
			for y := l.node().parent(); y != x; y = y.parent() {
				q := t.parentAt(y)
				if q == nil {
					continue
				}
				if _, found := slices.BinarySearch(q.UnmergedLeaves, l); !found {
					return errors.New("mls: unmerged leaf is missing further down")
				}
			}
		}
	}
	return nil
}

// validateCredential asks the application about a leaf's credential; old is the one that it replaces.
//
// RFC 9420, Section 5.3.1
func validateCredential(app Application, l *LeafNode, old *Credential) error {
	if app == nil {
		return nil
	}
	return app.ValidateCredential(l.Credential, l.SignatureKey, old)
}
