package mls

import (
	"bytes"
	"errors"
)

var errNoApplication = errors.New("mls: no application to validate credentials")

// ErrLinkedWelcome is returned by JoinWelcome for a Welcome into a group that follows from another, of which the
// application has that other Group: Welcome.PSKs says which it is, JoinReinitialized or JoinBranch joins.
var ErrLinkedWelcome = errors.New("mls: welcome into a group that follows from another")

// JoinWelcome joins a group with the KeyPackage that a member added us with. tree may be nil only if the GroupInfo
// carries ratchet_tree. That we are in no other group of the same id is for the caller to see, before it stores this
// one. The KeyPackage's secrets are deleted then, unless it is one of last resort.
//
// RFC 9420, Section 12.4.3.1
func JoinWelcome(cfg Config, c *Client, w *Welcome, tree RatchetTree, key *KeyPackageSecrets) (*Group, error) {
	return joinWelcome(cfg, c, w, tree, key, nil)
}

// origin is the group from which another follows, as far as a joiner of that other must know it.
type origin struct {
	usage  ResumptionPSKUsage
	secret func(*PreSharedKeyID) ([]byte, error)
	check  func(*publicState, *PreSharedKeyID) error
}

// joinWelcome is JoinWelcome for an ordinary group, with from = nil, or for one that follows from another.
func joinWelcome(cfg Config, c *Client, w *Welcome, tree RatchetTree, key *KeyPackageSecrets, from *origin) (*Group, error) {
	s, err := cfg.suiteOf(w.CipherSuite)
	if err != nil {
		return nil, err
	}
	if c.SignatureKey.suite.id != s.id {
		return nil, errOtherSuite
	}
	gs, err := w.openSecrets(key)
	if err != nil {
		return nil, err
	}
	psks, link, err := joinPSKs(&cfg, s, gs.psks, from)
	if err != nil {
		return nil, err
	}
	pskSecret, err := s.pskSecret(psks)
	if err != nil {
		return nil, err
	}
	gi, err := w.openGroupInfo(s, gs.joinerSecret, pskSecret)
	if err != nil {
		return nil, err
	}
	if gi.GroupContext.CipherSuite != w.CipherSuite {
		return nil, errors.New("mls: group info of another cipher suite")
	}
	if link != nil && gi.GroupContext.Epoch != 1 {
		return nil, errNotFirst
	}
	state, err := publicStateFromInfo(&cfg, gi, tree)
	if err != nil {
		return nil, err
	}
	if link != nil {
		if err := from.check(state, link); err != nil {
			return nil, err
		}
	}
	own, err := findOwnLeaf(c, state.tree, &key.KeyPackage.LeafNode)
	if err != nil {
		return nil, err
	}
	if own == gi.Signer {
		return nil, errors.New("mls: group info signed with our own key")
	}
	keys, err := state.tree.joinerKeys(own, gi.Signer, key.leafKey, gs.pathSecret)
	if err != nil {
		return nil, err
	}
	secrets := s.newEpochSecrets(gs.joinerSecret, pskSecret, state.framing.context, state.tree.leafCount())
	if err := secrets.checkConfirmationTag(state.context.ConfirmedTranscriptHash, gi.ConfirmationTag); err != nil {
		return nil, err
	}
	return &Group{
		view:        view{cfg: cfg, state: state, member: true},
		client:      c,
		memberEpoch: memberEpoch{leaf: own, keys: keys, secrets: secrets},
		welcomer:    state.tree.leaf(gi.Signer),
	}, nil
}

// findOwnLeaf finds the leaf of our KeyPackage, which must be the client's.
func findOwnLeaf(c *Client, t *ratchetTree, leaf *LeafNode) (LeafIndex, error) {
	if !bytes.Equal(c.SignatureKey.public, leaf.SignatureKey) {
		return 0, errors.New("mls: key package of another client")
	}
	for i, l := range t.members {
		if bytes.Equal(l.EncryptionKey, leaf.EncryptionKey) {
			if !l.Equal(leaf) {
				break
			}
			return i, nil
		}
	}
	return 0, errors.New("mls: our leaf is not in the tree")
}

// joinPSKs checks and finds the PSKs of a Welcome. link is the one that ties the group to another, nil if there is none.
//
// RFC 9420, Section 12.4.3.1
func joinPSKs(cfg *Config, s *suite, ids []PreSharedKeyID, from *origin) (psks []preSharedKey, link *PreSharedKeyID, err error) {
	for i := range ids {
		id := &ids[i]
		if len(id.Nonce) != s.hashSize {
			return nil, nil, errNonce
		}
		if !id.linking() {
			continue
		}
		if from == nil {
			return nil, nil, ErrLinkedWelcome
		}
		if link != nil || id.Usage != from.usage {
			return nil, nil, errors.New("mls: invalid resumption PSK in the welcome")
		}
		link = id
	}
	if from == nil {
		psks, err = findPSKs(cfg, ids, nil)
		return psks, nil, err
	}
	if link == nil {
		return nil, nil, errors.New("mls: welcome lacks the resumption PSK")
	}
	secret, err := from.secret(link)
	if err != nil {
		return nil, nil, err
	}
	psks, err = findPSKs(cfg, ids, func(id *PreSharedKeyID) []byte {
		if id.linking() {
			return secret
		}
		return nil
	})
	return psks, link, err
}
