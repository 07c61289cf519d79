package mls

import (
	"bytes"
	"errors"
)

var errNoApplication = errors.New("mls: no application to validate credentials")

// JoinWelcome joins a group with the KeyPackage that a member added us with. tree may be nil only if the GroupInfo
// carries ratchet_tree.
//
// RFC 9420, Section 12.4.3.1
func JoinWelcome(cfg Config, c *Client, w *Welcome, tree RatchetTree, key *KeyPackageSecrets) (*Group, error) {
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
	psks, err := findPSKs(&cfg, gs.psks, nil)
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
	if err := checkJoinPSKs(gs.psks, gi.GroupContext.Epoch); err != nil {
		return nil, err
	}
	state, err := publicStateFromInfo(&cfg, gi, tree)
	if err != nil {
		return nil, err
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

// checkJoinPSKs are the rules for resumption PSKs in a Welcome.
//
// RFC 9420, Section 12.4.3.1
func checkJoinPSKs(ids []PreSharedKeyID, epoch uint64) error {
	special := 0
	for i := range ids {
		if ids[i].Type == PSKResumption && ids[i].Usage != ResumptionApplication {
			special++
		}
	}
	if special > 1 || special == 1 && epoch != 1 {
		return errors.New("mls: invalid resumption PSK in the welcome")
	}
	return nil
}
