package mls

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"slices"
	"time"
)

// Errors of Process that callers branch on.
var (
	// ErrOwnMessage is returned for a message that we sent ourselves.
	ErrOwnMessage = errors.New("mls: our own message")
	// ErrPastEpoch is returned for a message of an epoch that is over and no longer kept.
	ErrPastEpoch = errors.New("mls: message of a past epoch")
	// ErrFutureEpoch is returned for a message of an epoch that we have not reached.
	ErrFutureEpoch = errors.New("mls: message of a future epoch")
	// ErrInactive is returned by a group that we have left or that was shut down by a ReInit.
	ErrInactive = errors.New("mls: group is no longer active")
	// ErrPendingCommit is returned by Commit while a commit of ours is pending.
	ErrPendingCommit = errors.New("mls: a commit is pending")
	// ErrPendingProposals is returned by Encrypt with Config.CommitFirst while valid proposals wait for a commit.
	ErrPendingProposals = errors.New("mls: pending proposals have to be committed first")
	// ErrStaleCommit is returned by Merge for a commit that was staged in another epoch.
	ErrStaleCommit = errors.New("mls: staged commit does not follow the current epoch")
)

// publicState is one epoch as everybody sees it. It is immutable: a commit makes a new one.
type publicState struct {
	suite           *suite
	context         *GroupContext
	framing         *framing
	tree            *ratchetTree
	interim         []byte // interim transcript hash
	confirmationTag []byte
	reInit          *ReInit // the group was shut down by the commit that led here
}

// newPublicState completes the state of an epoch from its context, tree and confirmation tag.
func newPublicState(s *suite, context *GroupContext, t *ratchetTree, tag []byte) (*publicState, error) {
	f, err := newFraming(context)
	if err != nil {
		return nil, err
	}
	interim, err := s.interimTranscriptHash(context.ConfirmedTranscriptHash, tag)
	if err != nil {
		return nil, err
	}
	return &publicState{
		suite:           s,
		context:         context,
		framing:         f,
		tree:            t,
		interim:         interim,
		confirmationTag: tag,
	}, nil
}

// publicStateFromInfo verifies a GroupInfo with its tree and makes the epoch's state of them.
//
// RFC 9420, Section 12.4.3.1
func publicStateFromInfo(cfg *Config, gi *GroupInfo, tree RatchetTree) (*publicState, error) {
	if cfg.Application == nil {
		return nil, errNoApplication
	}
	s, err := cfg.suiteOf(gi.GroupContext.CipherSuite)
	if err != nil {
		return nil, err
	}
	if inside, ok := gi.Extensions.Get(ExtensionRatchetTree); ok && tree == nil {
		tree = inside
	}
	// a tree is mandatory, wherever it comes from
	if tree == nil {
		return nil, errors.New("mls: no ratchet tree")
	}
	t, err := unmarshalRatchetTree(s, tree)
	if err != nil {
		return nil, err
	}
	hash, err := t.rootHash()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(hash, gi.GroupContext.TreeHash) {
		return nil, errors.New("mls: tree hash does not match the group info")
	}
	signer := t.leaf(gi.Signer)
	if signer == nil {
		return nil, errors.New("mls: group info signed by a blank leaf")
	}
	if err := gi.verifySignature(s, signer.SignatureKey); err != nil {
		return nil, err
	}
	ext := gi.GroupContext.Extensions
	if err := checkContextExtensions(ext); err != nil {
		return nil, err
	}
	if err := validateExternalSenders(cfg.Application, nil, ext); err != nil {
		return nil, err
	}
	rules, err := newGroupRules(cfg, s, gi.GroupContext.GroupID, ext)
	if err != nil {
		return nil, err
	}
	if err := t.validate(rules, cfg); err != nil {
		return nil, err
	}
	context := gi.GroupContext
	return newPublicState(s, &context, t, gi.ConfirmationTag)
}

// storedProposal is a proposal that waits for a commit.
type storedProposal struct {
	StagedProposal
	// leafKey is the private key of an Update of our own
	leafKey *HPKEPrivateKey
}

// maxPending bounds the proposals of one epoch, so that a member cannot fill everybody's memory.
const maxPending = 1024

// view is what Group and PublicGroup have in common: the current epoch and its pending proposals.
type view struct {
	cfg     Config
	state   *publicState
	pending []storedProposal
	// member is set in a Group: a member reads what was sent a while ago, a hub what is sent now
	member bool
}

// receivedAt is the time for the lifetimes in what is received. A member may have been away for weeks, and would
// never catch up if it refused an Add because the KeyPackage has expired since; the hub and the committer looked at
// the lifetime when the Add was made.
//
// RFC 9420, Section 7.3: the check is not mandatory for what is received
func (v *view) receivedAt() time.Time {
	if v.member {
		return time.Time{}
	}
	return v.cfg.now()
}

// GroupID returns the group's identifier.
func (v *view) GroupID() []byte { return bytes.Clone(v.state.context.GroupID) }

// Epoch returns the current epoch.
func (v *view) Epoch() uint64 { return v.state.context.Epoch }

// Members lists the members of the current epoch by leaf. The leaves must not be modified.
func (v *view) Members() []Member { return v.state.tree.memberList() }

// Leaf returns the leaf of a member.
func (v *view) Leaf(i LeafIndex) (*LeafNode, bool) {
	l := v.state.tree.leaf(i)
	return l, l != nil
}

// Context returns the GroupContext of the current epoch. It must not be modified.
func (v *view) Context() *GroupContext { return v.state.context }

// AppData returns the application data dictionary of the GroupContext.
func (v *view) AppData() AppDataDictionary { return appData(v.state.context) }

// RatchetTree returns the public tree as it is exchanged.
func (v *view) RatchetTree() (RatchetTree, error) { return v.state.tree.marshal() }

// ConfirmationTag returns the confirmation tag of the commit that led to the current epoch.
func (v *view) ConfirmationTag() []byte { return bytes.Clone(v.state.confirmationTag) }

// PendingProposals lists the proposals that wait for a commit.
func (v *view) PendingProposals() []StagedProposal {
	list := make([]StagedProposal, len(v.pending))
	for i := range v.pending {
		list[i] = v.pending[i].StagedProposal
	}
	return list
}

// ReInit returns the ReInit proposal that shut the group down, nil if it is running.
func (v *view) ReInit() *ReInit { return v.state.reInit }

// appData decodes the dictionary of a context whose form was checked before.
func appData(c *GroupContext) AppDataDictionary {
	dict, err := c.Extensions.AppData()
	if err != nil {
		return nil
	}
	return dict
}

func (v *view) stored(ref ProposalRef) *storedProposal {
	for i := range v.pending {
		if bytes.Equal(v.pending[i].Ref, ref) {
			return &v.pending[i]
		}
	}
	return nil
}

// senderKey is the key that must have signed a content.
//
// RFC 9420, Section 6.1
func (s *publicState) senderKey(c *framedContent) (SignaturePublicKey, error) {
	switch c.sender.Type {
	case SenderMember:
		if l := s.tree.leaf(c.sender.Leaf); l != nil {
			return l.SignatureKey, nil
		}
	case SenderExternal:
		x, err := s.externalSender(c.sender.External)
		if err != nil || c.contentType != ContentTypeProposal {
			return nil, errors.New("mls: invalid external sender")
		}
		return x.SignatureKey, nil
	case SenderNewMemberProposal:
		if c.contentType == ContentTypeProposal && c.proposal.Type == ProposalAdd {
			return c.proposal.Add.LeafNode.SignatureKey, nil
		}
	case SenderNewMemberCommit:
		if c.contentType == ContentTypeCommit && c.commit.Path != nil {
			return c.commit.Path.LeafNode.SignatureKey, nil
		}
	}
	return nil, errors.New("mls: invalid sender")
}

// externalSender is an entry of the external_senders extension.
//
// RFC 9420, Section 12.1.8.1
func (s *publicState) externalSender(i uint32) (*ExternalSender, error) {
	data, ok := s.context.Extensions.Get(ExtensionExternalSenders)
	if !ok {
		return nil, errors.New("mls: no external senders")
	}
	list, err := UnmarshalExternalSenders(data)
	if err != nil {
		return nil, err
	}
	if uint64(i) >= uint64(len(list)) {
		return nil, errors.New("mls: no such external sender")
	}
	return &list[i], nil
}

// senderCredential is the credential of a sender, nil if it has none.
func (s *publicState) senderCredential(c *framedContent) *Credential {
	switch c.sender.Type {
	case SenderMember:
		if l := s.tree.leaf(c.sender.Leaf); l != nil {
			return &l.Credential
		}
	case SenderExternal:
		if x, err := s.externalSender(c.sender.External); err == nil {
			return &x.Credential
		}
	case SenderNewMemberProposal:
		return &c.proposal.Add.LeafNode.Credential
	case SenderNewMemberCommit:
		return &c.commit.Path.LeafNode.Credential
	}
	return nil
}

// checkFrame compares group and epoch of a content with the current ones, whoever the sender.
func (v *view) checkFrame(groupID []byte, epoch uint64) error {
	c := v.state.context
	switch {
	case !bytes.Equal(groupID, c.GroupID):
		return ErrWrongGroup
	case epoch < c.Epoch:
		return ErrPastEpoch
	case epoch > c.Epoch:
		return ErrFutureEpoch
	}
	return nil
}

// receiveProposal checks a proposal that was sent by itself and keeps it for a commit.
func (v *view) receiveProposal(ac *authenticatedContent, now time.Time) (*StagedProposal, error) {
	c := &ac.content
	p := c.proposal
	ref, err := v.state.suite.proposalRef(ac)
	if err != nil {
		return nil, err
	}
	if v.stored(ref) != nil {
		return nil, ErrReplayed
	}
	if len(v.pending) >= maxPending {
		return nil, errors.New("mls: too many pending proposals")
	}
	if err := v.checkProposal(p, ac.wireFormat, c.sender, now); err != nil {
		return nil, err
	}
	staged := StagedProposal{Proposal: *p, Sender: c.sender, Ref: ref, verified: true}
	v.pending = append(slices.Clip(v.pending), storedProposal{StagedProposal: staged})
	return &staged, nil
}

// checkProposal judges a proposal by itself, as far as that can be done before it is part of a list.
//
// RFC 9420, Section 12.1
func (v *view) checkProposal(p *Proposal, wire WireFormat, sender Sender, now time.Time) error {
	s, cfg := v.state, &v.cfg
	if !p.complete() {
		return errors.New("mls: incomplete proposal")
	}
	rules, err := newGroupRules(cfg, s.suite, s.context.GroupID, s.context.Extensions)
	if err != nil {
		return err
	}
	if !p.Type.isDefault() {
		if err := s.tree.checkProposalTypes([]ProposalType{p.Type}, nil); err != nil {
			return err
		}
	}
	switch p.Type {
	case ProposalAdd:
		signed := confirmAdds(cfg, s.suite, []StagedProposal{{Proposal: *p}})
		if err := rules.checkKeyPackage(p.Add, now, signed[&p.Add.LeafNode]); err != nil {
			return err
		}
		return validateCredential(cfg.Application, &p.Add.LeafNode, nil)
	case ProposalUpdate:
		if sender.Type != SenderMember {
			return errors.New("mls: Update of a sender that is no member")
		}
		return s.checkUpdate(cfg, rules, sender.Leaf, p.Update)
	case ProposalRemove:
		if s.tree.leaf(p.Remove) == nil {
			return errors.New("mls: Remove of a leaf that is blank")
		}
	case ProposalPSK:
		return checkPSKProposal(s.suite, p.PSK, 0)
	case ProposalReInit:
		return checkReInit(p.ReInit)
	case ProposalGroupContextExtensions:
		return s.checkExtensions(cfg, p.GroupContextExtensions)
	case ProposalAppEphemeral:
		return checkEphemeral(cfg.Application, p.AppEphemeral)
	case ProposalSelfRemove:
		return v.checkSelfRemove(wire, sender)
	case ProposalAppDataUpdate:
		_, has := v.AppData().Get(p.AppDataUpdate.Component)
		if p.AppDataUpdate.Remove && !has {
			return errors.New("mls: invalid removal of application data")
		}
	default:
		return errors.New("mls: proposal type cannot be sent by itself")
	}
	return nil
}

// checkSelfRemove judges a SelfRemove.
//
// draft-ietf-mls-extensions, Section 6.3
func (v *view) checkSelfRemove(wire WireFormat, sender Sender) error {
	if wire != WireFormatPublicMessage || sender.Type != SenderMember {
		return errors.New("mls: SelfRemove in a private message or of a sender that is no member")
	}
	for i := range v.pending {
		p := &v.pending[i]
		if p.Proposal.Type == ProposalSelfRemove && p.Sender.Leaf == sender.Leaf {
			return errors.New("mls: second SelfRemove of a member")
		}
	}
	return nil
}

// resolve turns the list of a commit into proposals with senders.
//
// RFC 9420, Section 12.4
func (v *view) resolve(sender Sender, list []ProposalOrRef) ([]StagedProposal, error) {
	out := make([]StagedProposal, 0, len(list))
	seen := make(map[string]bool)
	for _, x := range list {
		if x.Proposal != nil {
			out = append(out, StagedProposal{Proposal: *x.Proposal, Sender: sender})
			continue
		}
		p := v.stored(x.Reference)
		if p == nil {
			return nil, errors.New("mls: commit refers to an unknown proposal")
		}
		if seen[string(x.Reference)] {
			return nil, errors.New("mls: commit refers to a proposal twice")
		}
		seen[string(x.Reference)] = true
		out = append(out, p.StagedProposal)
	}
	return out, nil
}

// verifyCommit checks everything about a commit that can be seen from outside, applies it to a copy of the state
// and returns that. What remains for a member are the secrets and the confirmation tag.
//
// RFC 9420, Section 12.4.2
func (v *view) verifyCommit(ac *authenticatedContent) (*provisional, error) {
	c := ac.content.commit
	sender := ac.content.sender
	if v.state.reInit != nil {
		return nil, ErrInactive
	}
	if sender.Type == SenderNewMemberCommit && ac.wireFormat != WireFormatPublicMessage {
		return nil, errors.New("mls: external commit in a private message")
	}
	list, err := v.resolve(sender, c.Proposals)
	if err != nil {
		return nil, err
	}
	p, err := v.state.applyProposals(&v.cfg, list, sender, v.receivedAt())
	if err != nil {
		return nil, err
	}
	if c.Path == nil {
		if p.list.pathRequired() {
			return nil, errors.New("mls: commit lacks a path")
		}
		return p, nil
	}
	if err := p.mergePath(&v.cfg, c.Path, false); err != nil {
		return nil, err
	}
	return p, p.tree.checkCiphertexts(p.leaf, c.Path.Nodes, p.added)
}

// mergePath validates an UpdatePath and merges it into the provisional tree. The committer does it to its own
// path before it encrypts anything, so that nobody refuses what it sends; only its signature it need not verify.
//
// RFC 9420, Section 12.4.2
func (p *provisional) mergePath(cfg *Config, path *UpdatePath, signed bool) error {
	l := &path.LeafNode
	if err := p.rules.checkLeaf(l, LeafNodeSourceCommit, p.leaf, signed); err != nil {
		return err
	}
	if p.predecessor != nil && bytes.Equal(p.predecessor.EncryptionKey, l.EncryptionKey) {
		return errors.New("mls: path does not change the leaf's encryption key")
	}
	nodes := make([]HPKEPublicKey, len(path.Nodes))
	for k := range path.Nodes {
		nodes[k] = path.Nodes[k].EncryptionKey
	}
	if err := p.tree.checkPathKeys(l.EncryptionKey, nodes); err != nil {
		return err
	}
	hash, err := p.tree.mergeKeys(p.leaf, nodes)
	if err != nil {
		return err
	}
	// RFC 9420, Section 7.9.2: the expected parent hash is in the leaf
	if !bytes.Equal(hash, l.ParentHash) {
		return errors.New("mls: invalid parent hash")
	}
	p.tree.setLeaf(p.leaf, l)
	p.hasPath = true
	var keys newKeys
	if err := keys.addSignature(p.leaf, l.SignatureKey); err != nil {
		return err
	}
	if err := p.tree.checkUnique(&keys); err != nil {
		return err
	}
	if err := p.tree.checkCredentialTypes([]LeafIndex{p.leaf}); err != nil {
		return err
	}
	if err := p.tree.checkProposalTypes(p.list.nonDefault, p.added); err != nil {
		return err
	}
	return validateSuccessor(cfg.Application, l, p.predecessor)
}

// validateSuccessor asks the application about a leaf that replaces another, if there is anything new about it.
//
// RFC 9420, Section 5.3.1
func validateSuccessor(app Application, l, old *LeafNode) error {
	if old == nil {
		return validateCredential(app, l, nil)
	}
	if old.Credential.Equal(l.Credential) && bytes.Equal(old.SignatureKey, l.SignatureKey) {
		return nil
	}
	return validateCredential(app, l, &old.Credential)
}

// context is the GroupContext of the new epoch with the given confirmed transcript hash; the provisional one has
// the old.
//
// RFC 9420, Section 12.4.1
func (p *provisional) context(confirmed []byte) (*GroupContext, error) {
	hash, err := p.tree.rootHash()
	if err != nil {
		return nil, err
	}
	old := p.old.context
	return &GroupContext{
		CipherSuite:             old.CipherSuite,
		GroupID:                 old.GroupID,
		Epoch:                   old.Epoch + 1,
		TreeHash:                hash,
		ConfirmedTranscriptHash: confirmed,
		Extensions:              p.ext,
	}, nil
}

// pathContext is the encoded provisional GroupContext, the context of the path's encryption.
func (p *provisional) pathContext() ([]byte, error) {
	c, err := p.context(p.old.context.ConfirmedTranscriptHash)
	if err != nil {
		return nil, err
	}
	return c.Bytes()
}

// next is the state of the new epoch, as a signed commit and its confirmation tag make it.
func (p *provisional) next(context *GroupContext, tag []byte) (*publicState, error) {
	s, err := newPublicState(p.old.suite, context, p.tree, tag)
	if err != nil {
		return nil, err
	}
	if len(p.list.reInit) > 0 {
		s.reInit = p.list.reInit[0].Proposal.ReInit
	}
	return s, nil
}

// StagedCommit is a verified commit that has not been applied.
type StagedCommit struct {
	base   *publicState
	next   *publicState
	list   []StagedProposal
	sender Sender
	leaf   LeafIndex // of the committer, in the new tree
	joined bool
	gone   []LeafIndex
	added  []LeafIndex
	member *memberEpoch // a member's secrets of the new epoch
	out    bool         // the member is removed
	use    *keyUse      // of the message key of an encrypted commit
}

func (p *provisional) staged(next *publicState) *StagedCommit {
	return &StagedCommit{
		base:   p.old,
		next:   next,
		list:   p.list.all,
		sender: p.sender,
		leaf:   p.leaf,
		joined: p.sender.Type == SenderNewMemberCommit,
		gone:   p.gone,
		added:  p.added,
	}
}

// Proposals lists the committed proposals in their order.
func (s *StagedCommit) Proposals() []StagedProposal { return slices.Clone(s.list) }

// Sender is the committer.
func (s *StagedCommit) Sender() Sender { return s.sender }

// Context is the GroupContext of the new epoch. It must not be modified.
func (s *StagedCommit) Context() *GroupContext { return s.next.context }

// Members lists the members after the commit.
func (s *StagedCommit) Members() []Member { return s.next.tree.memberList() }

// Leaf returns the leaf of a member after the commit.
func (s *StagedCommit) Leaf(i LeafIndex) (*LeafNode, bool) {
	l := s.next.tree.leaf(i)
	return l, l != nil
}

// AppData is the application data dictionary after the commit.
func (s *StagedCommit) AppData() AppDataDictionary { return appData(s.next.context) }

// RatchetTree is the public tree after the commit.
func (s *StagedCommit) RatchetTree() (RatchetTree, error) { return s.next.tree.marshal() }

// Removed reports whether the commit removes us.
func (s *StagedCommit) Removed() bool { return s.out }

// RemovedLeaves lists the leaves that the commit removes, by whichever kind of proposal.
func (s *StagedCommit) RemovedLeaves() []LeafIndex { return slices.Clone(s.gone) }

// AddedLeaves lists the leaves of the Add proposals, in their order.
func (s *StagedCommit) AddedLeaves() []LeafIndex { return slices.Clone(s.added) }

// AddedLeaf is the leaf of the joiner if the commit is external.
func (s *StagedCommit) AddedLeaf() (LeafIndex, bool) { return s.leaf, s.joined }

// ConfirmationTag is the confirmation tag of the commit.
func (s *StagedCommit) ConfirmationTag() []byte { return bytes.Clone(s.next.confirmationTag) }

// checkInfo verifies the GroupInfo of an epoch that we know.
//
// RFC 9420, Section 12.4.3
func (s *publicState) checkInfo(gi *GroupInfo, signer LeafIndex) error {
	data, err := gi.GroupContext.Bytes()
	if err != nil {
		return err
	}
	if !bytes.Equal(data, s.framing.context) {
		return errors.New("mls: group info of another epoch")
	}
	if subtle.ConstantTimeCompare(gi.ConfirmationTag, s.confirmationTag) != 1 {
		return errors.New("mls: group info has another confirmation tag")
	}
	if _, ok := gi.Extensions.Get(ExtensionRatchetTree); ok {
		return errors.New("mls: group info carries the ratchet tree")
	}
	pub, ok := gi.ExternalPub()
	if !ok {
		return errors.New("mls: group info lacks external_pub")
	}
	if err := s.suite.checkPublicKey(pub); err != nil {
		return err
	}
	l := s.tree.leaf(gi.Signer)
	if l == nil || gi.Signer != signer {
		return errors.New("mls: group info signed by another member")
	}
	return gi.verifySignature(s.suite, l.SignatureKey)
}
