package mls

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"time"
)

// Bounds on what a group keeps of its past.
const (
	// maxPast is how many past epochs are kept for late messages.
	maxPast = 5
	// maxResumption is how many past resumption PSKs are kept.
	maxResumption = 16
)

// Group is a member's view: the public state and the secrets. Not safe for concurrent use.
type Group struct {
	view
	client *Client
	memberEpoch
	past       []*pastEpoch // oldest first
	resumption []resumptionPSK
	forgotten  []RatchetPiece // pieces of the ratchet state that are to be deleted
	outgoing   *StagedCommit  // our own commit, until it is merged or discarded
	joining    bool           // our own external commit has not been accepted yet
	welcomer   *LeafNode      // who signed the GroupInfo of our Welcome; not part of the stored state
	out        bool           // we were removed
}

// Welcomer is the leaf of the member whose Welcome brought us in (RFC 9420, Section 12.4.3.1: the GroupInfo's signer).
// It is nil if we joined otherwise, and after RestoreGroup.
func (g *Group) Welcomer() *LeafNode { return g.welcomer }

// memberEpoch is what a member has of one epoch beyond the public state.
type memberEpoch struct {
	leaf    LeafIndex
	keys    treeKeys
	secrets *epochSecrets
}

// pastEpoch is what is left of an epoch that is over: enough to read late messages.
type pastEpoch struct {
	context *GroupContext
	framing *framing
	leaves  []*LeafNode
	secrets *epochSecrets
}

// resumptionPSK is the resumption PSK of an epoch that is over.
type resumptionPSK struct {
	epoch  uint64
	secret []byte
}

// NewGroup makes a group of which c is the only member, at epoch 0.
//
// RFC 9420, Section 11
func NewGroup(cfg Config, c *Client, groupID []byte, ext Extensions) (*Group, error) {
	if cfg.Application == nil {
		return nil, errNoApplication
	}
	s, err := cfg.suiteOf(c.SignatureKey.suite.id)
	if err != nil {
		return nil, err
	}
	if err := checkContextExtensions(ext); err != nil {
		return nil, err
	}
	if err := validateExternalSenders(cfg.Application, nil, ext); err != nil {
		return nil, err
	}
	key, err := s.generateKeyPair(cfg.rand())
	if err != nil {
		return nil, err
	}
	leaf, err := cfg.leafNode(c, key.Public())
	if err != nil {
		return nil, err
	}
	leaf.Source, leaf.Lifetime = LeafNodeSourceKeyPackage, cfg.creatorLifetime()
	if err := leaf.sign(c.SignatureKey, groupID, 0); err != nil {
		return nil, err
	}
	rules, err := newGroupRules(&cfg, s, groupID, ext)
	if err != nil {
		return nil, err
	}
	t := newRatchetTree(s, leaf)
	if err := t.validate(rules, &cfg); err != nil {
		return nil, err
	}
	hash, err := t.rootHash()
	if err != nil {
		return nil, err
	}
	epochSecret, err := s.random(cfg.rand())
	if err != nil {
		return nil, err
	}
	secrets := s.epochSecretsOf(epochSecret, t.leafCount())
	context := &GroupContext{CipherSuite: s.id, GroupID: bytes.Clone(groupID), TreeHash: hash, Extensions: ext}
	state, err := newPublicState(s, context, t, secrets.confirmationTag(nil))
	if err != nil {
		return nil, err
	}
	return &Group{
		view:        view{cfg: cfg, state: state, member: true},
		client:      c,
		memberEpoch: memberEpoch{keys: treeKeys{0: key}, secrets: secrets},
	}, nil
}

// creatorLifetime is the lifetime of the leaf of a group's creator: the longest there may be, or unlimited without a
// clock.
func (c *Config) creatorLifetime() Lifetime {
	now := c.now()
	if now.IsZero() {
		return Lifetime{NotAfter: math.MaxUint64}
	}
	bound := c.maxLifetime()
	if bound <= 0 {
		bound = DefaultMaxLifetime
	}
	t, length := uint64(max(0, now.Unix())), uint64(bound/time.Second)
	begin := t - min(t, 3600, length/2)
	return Lifetime{NotBefore: begin, NotAfter: begin + length}
}

// OwnLeaf is our place in the tree.
func (g *Group) OwnLeaf() LeafIndex { return g.leaf }

// Active reports whether we are a member and the group has not been shut down.
func (g *Group) Active() bool { return !g.out && g.state.reInit == nil }

// HasPending reports whether a commit of ours, or our external join, waits for its acceptance.
func (g *Group) HasPending() bool { return g.outgoing != nil || g.joining }

// EpochAuthenticator returns the epoch authenticator.
//
// RFC 9420, Section 8.7
func (g *Group) EpochAuthenticator() []byte {
	if g.out {
		return nil
	}
	return bytes.Clone(g.secrets.authenticator)
}

// Export derives a secret for the application.
//
// RFC 9420, Section 8.5
func (g *Group) Export(label string, context []byte, length int) ([]byte, error) {
	if g.out {
		return nil, ErrInactive
	}
	return g.secrets.export(label, context, length)
}

// ready refuses use of a group that has ended or not begun.
func (g *Group) ready() error {
	switch {
	case !g.Active():
		return ErrInactive
	case g.joining:
		return ErrPendingCommit
	}
	return nil
}

// GroupInfo signs a GroupInfo of the current epoch, with external_pub and without the ratchet tree.
//
// RFC 9420, Section 12.4.3
func (g *Group) GroupInfo() (*GroupInfo, error) {
	if !g.Active() {
		return nil, ErrInactive
	}
	return g.cfg.signGroupInfo(g.client.SignatureKey, g.state, g.secrets, g.leaf)
}

func (c *Config) signGroupInfo(key *SignatureKey, s *publicState, secrets *epochSecrets, signer LeafIndex) (*GroupInfo, error) {
	external, err := secrets.externalKey()
	if err != nil {
		return nil, err
	}
	gi := &GroupInfo{GroupContext: *s.context, ConfirmationTag: s.confirmationTag, Signer: signer}
	gi.setExternalPub(external.Public())
	if c.GREASE {
		x := &greaser{rand: c.rand()}
		gi.Extensions = x.extensions(gi.Extensions, ExtensionType(x.value()))
		if x.err != nil {
			return nil, x.err
		}
	}
	if err := gi.sign(key); err != nil {
		return nil, err
	}
	return gi, nil
}

// Encrypt makes an application message. The caller saves RatchetState before it sends the message. See
// ProposalsToCommit for what goes first.
func (g *Group) Encrypt(aad, data []byte) (*Message, error) {
	if err := g.ready(); err != nil {
		return nil, err
	}
	if g.cfg.CommitFirst && len(g.ProposalsToCommit()) > 0 {
		return nil, ErrPendingProposals
	}
	if err := g.checkAAD(aad); err != nil {
		return nil, err
	}
	f := g.state.framing
	content := g.content(ContentTypeApplication, aad)
	content.application = data
	ac, err := f.signContent(g.client.SignatureKey, WireFormatPrivateMessage, content)
	if err != nil {
		return nil, err
	}
	return f.protect(g.secrets, g.cfg.rand(), ac)
}

// content is a content of ours in the current epoch, without its body.
func (g *Group) content(t ContentType, aad []byte) framedContent {
	c := g.state.context
	return framedContent{
		groupID:           c.GroupID,
		epoch:             c.Epoch,
		sender:            Sender{Type: SenderMember, Leaf: g.leaf},
		authenticatedData: aad,
		contentType:       t,
	}
}

// Propose makes a proposal by itself, in the form that Config.EncryptHandshakes says, and keeps it as pending. For an
// Update see ProposeUpdate.
func (g *Group) Propose(p Proposal, aad []byte) (*Message, error) {
	if p.Type == ProposalUpdate {
		return nil, errors.New("mls: use ProposeUpdate")
	}
	return g.propose(p, nil, aad)
}

// ProposeUpdate proposes a new leaf for us, with a fresh encryption key and what Client says now.
func (g *Group) ProposeUpdate(aad []byte) (*Message, error) {
	if err := g.ready(); err != nil {
		return nil, err
	}
	key, err := g.state.suite.generateKeyPair(g.cfg.rand())
	if err != nil {
		return nil, err
	}
	leaf, err := g.cfg.leafNode(g.client, key.Public())
	if err != nil {
		return nil, err
	}
	leaf.Source = LeafNodeSourceUpdate
	if err := leaf.sign(g.client.SignatureKey, g.state.context.GroupID, g.leaf); err != nil {
		return nil, err
	}
	return g.propose(Proposal{Type: ProposalUpdate, Update: leaf}, key, aad)
}

// SelfRemove proposes that somebody else removes us.
//
// draft-ietf-mls-extensions, Section 6.3
func (g *Group) SelfRemove(aad []byte) (*Message, error) {
	return g.propose(SelfRemoveProposal(), nil, aad)
}

func (g *Group) propose(p Proposal, leafKey *HPKEPrivateKey, aad []byte) (*Message, error) {
	if err := g.ready(); err != nil {
		return nil, err
	}
	if err := g.checkAAD(aad); err != nil {
		return nil, err
	}
	f := g.state.framing
	content := g.content(ContentTypeProposal, aad)
	content.proposal = &p
	ac, err := f.signContent(g.client.SignatureKey, g.cfg.handshakeFormat(content.sender, &p), content)
	if err != nil {
		return nil, err
	}
	before := g.pending
	if _, err := g.receiveProposal(ac, g.cfg.now()); err != nil {
		return nil, err
	}
	g.pending[len(g.pending)-1].leafKey = leafKey
	m, err := f.protect(g.secrets, g.cfg.rand(), ac)
	if err != nil {
		g.pending = before // nobody else will have it
		return nil, err
	}
	return m, nil
}

// ForgetProposal drops a pending proposal, for instance one of ours that was not accepted.
func (g *Group) ForgetProposal(ref ProposalRef) {
	g.pending = slices.DeleteFunc(slices.Clone(g.pending), func(p storedProposal) bool { return bytes.Equal(p.Ref, ref) })
}

// Process verifies one received message of this group. Errors that callers branch on: ErrOwnMessage, ErrPastEpoch,
// ErrFutureEpoch, ErrWrongGroup, ErrReplayed, ErrInactive. The group changes only by consuming ratchet keys and by
// keeping a proposal as pending; a commit changes nothing before Merge, not even the key that it is encrypted with.
func (g *Group) Process(m *Message) (*Received, error) {
	if err := g.ready(); err != nil {
		// what was sent before a ReInit may still be on its way
		if m.Private != nil && !g.out && g.state.reInit != nil && g.checkFrame(m.Private.groupID, m.Private.epoch) == ErrPastEpoch {
			return g.processLate(m.Private)
		}
		return nil, err
	}
	switch {
	case m.Public != nil:
		return g.processPublic(m.Public)
	case m.Private != nil:
		return g.processPrivate(m.Private)
	}
	return nil, errors.New("mls: not a message of a group")
}

func (g *Group) processPublic(m *PublicMessage) (*Received, error) {
	c := &m.content
	key, err := g.open(c)
	if err != nil {
		return nil, err
	}
	ac, err := g.state.framing.unprotectPublic(g.secrets.membership, key, m)
	if err != nil {
		return nil, err
	}
	if c.sender.Type == SenderMember && c.sender.Leaf == g.leaf {
		return nil, g.processOwn(ac)
	}
	return g.handshake(ac)
}

// processOwn handles a message of ours that comes back. A proposal that a crash made us forget is learnt again:
// others will refer to it.
func (g *Group) processOwn(ac *authenticatedContent) error {
	if ac.content.contentType == ContentTypeProposal {
		if _, err := g.receiveProposal(ac, g.receivedAt()); err != nil && err != ErrReplayed {
			return err
		}
	}
	return ErrOwnMessage
}

// handshake handles a verified proposal or commit of the current epoch.
func (g *Group) handshake(ac *authenticatedContent) (*Received, error) {
	r := g.received(&ac.content)
	if ac.content.contentType == ContentTypeProposal {
		if err := g.receive(r, ac); err != nil {
			return nil, err
		}
		return r, nil
	}
	var err error
	if r.Commit, err = g.stageCommit(ac); err != nil {
		return nil, err
	}
	return r, nil
}

func (g *Group) processPrivate(m *PrivateMessage) (*Received, error) {
	switch err := g.checkFrame(m.groupID, m.epoch); {
	case err == ErrPastEpoch:
		return g.processLate(m)
	case err != nil:
		return nil, err
	}
	if err := g.checkAAD(m.authenticatedData); err != nil {
		return nil, err
	}
	ac, use, err := g.state.framing.openPrivate(g.secrets, m, func(i LeafIndex) (SignaturePublicKey, error) {
		return leafKey(g.state.tree.leaf(i), i, g.leaf)
	})
	if err != nil {
		return nil, err
	}
	if m.contentType != ContentTypeApplication {
		return g.privateHandshake(ac, use)
	}
	use.spend()
	r := g.received(&ac.content)
	r.Application, r.Generation = application(ac), ac.content.generation
	return r, nil
}

// privateHandshake handles a proposal or commit that was encrypted. A key is consumed with its effect: a commit that
// comes before one of its proposals can be processed again, and so can one that was not merged before a restart.
func (g *Group) privateHandshake(ac *authenticatedContent, use *keyUse) (*Received, error) {
	r, err := g.handshake(ac)
	if err != nil {
		return nil, err
	}
	if r.Commit != nil {
		r.Commit.use = use
		return r, nil
	}
	use.spend()
	return r, nil
}

// processLate reads an application message of an epoch that is over but kept.
func (g *Group) processLate(m *PrivateMessage) (*Received, error) {
	i := slices.IndexFunc(g.past, func(p *pastEpoch) bool { return p.framing.epoch == m.epoch })
	if i < 0 || m.contentType != ContentTypeApplication {
		return nil, ErrPastEpoch
	}
	p := g.past[i]
	ac, err := p.framing.unprotectPrivate(p.secrets, m, func(i LeafIndex) (SignaturePublicKey, error) {
		return leafKey(p.leaf(i), i, g.leaf)
	})
	if err != nil {
		return nil, err
	}
	c := &ac.content
	return &Received{
		Sender:      c.sender,
		Epoch:       c.epoch,
		AAD:         c.authenticatedData,
		Credential:  &p.leaf(c.sender.Leaf).Credential,
		Application: application(ac),
		Generation:  c.generation,
	}, nil
}

// application is the data of an application message, never nil.
func application(ac *authenticatedContent) []byte {
	if ac.content.application == nil {
		return []byte{}
	}
	return ac.content.application
}

func (p *pastEpoch) leaf(i LeafIndex) *LeafNode {
	if uint64(i) >= uint64(len(p.leaves)) {
		return nil
	}
	return p.leaves[i]
}

// leafKey is the signature key of a sender's leaf, unless it is blank or our own.
func leafKey(l *LeafNode, i, own LeafIndex) (SignaturePublicKey, error) {
	switch {
	case i == own:
		return nil, ErrOwnMessage
	case l == nil:
		return nil, errNoLeaf
	}
	return l.SignatureKey, nil
}

// stageCommit verifies a commit of another member, or an external one, and derives the secrets of its epoch.
//
// RFC 9420, Section 12.4.2
func (g *Group) stageCommit(ac *authenticatedContent) (*StagedCommit, error) {
	p, err := g.verifyCommit(ac)
	if err != nil {
		return nil, err
	}
	staged, err := p.seal(ac)
	if err != nil {
		return nil, err
	}
	if slices.Contains(p.gone, g.leaf) {
		staged.out = true
		return staged, nil
	}
	keys, commitSecret, err := g.followPath(p, ac.content.commit.Path)
	if err != nil {
		return nil, err
	}
	initSecret := g.secrets.init
	if staged.joined {
		external, err := g.secrets.externalKey()
		if err != nil {
			return nil, err
		}
		if initSecret, err = external.externalInitReceive(p.list.externalInit[0].Proposal.ExternalInit); err != nil {
			return nil, err
		}
	}
	psks, err := g.findPSKs(p.list.pskIDs())
	if err != nil {
		return nil, err
	}
	pskSecret, err := p.old.suite.pskSecret(psks)
	if err != nil {
		return nil, err
	}
	secrets, _ := p.old.suite.nextEpochSecrets(initSecret, commitSecret, pskSecret, staged.next.framing.context, p.tree.leafCount())
	if err := secrets.checkConfirmationTag(staged.next.context.ConfirmedTranscriptHash, ac.auth.confirmationTag); err != nil {
		return nil, err
	}
	staged.member = &memberEpoch{leaf: g.leaf, keys: keys, secrets: secrets}
	return staged, nil
}

// followPath decrypts a commit's path, if it has one, and returns our keys after it and the commit secret.
func (g *Group) followPath(p *provisional, path *UpdatePath) (treeKeys, []byte, error) {
	keys := g.keys.without(p.tree)
	if slices.Contains(p.updated, g.leaf) {
		// an Update of ours was committed: our leaf has the key that we made for it
		for _, u := range p.list.updates {
			if u.Sender.Leaf != g.leaf {
				continue
			}
			stored := g.stored(u.Ref)
			if stored == nil || stored.leafKey == nil {
				return nil, nil, errors.New("mls: no key for our own update")
			}
			keys[g.leaf.node()] = stored.leafKey
		}
	}
	if path == nil {
		return keys, p.old.suite.zero(), nil
	}
	context, err := p.pathContext()
	if err != nil {
		return nil, nil, err
	}
	next, _, commitSecret, err := p.tree.decryptPath(keys, g.leaf, p.leaf, path.Nodes, p.added, context)
	return next, commitSecret, err
}

// Merge enters the epoch of a staged commit; a pending commit of ours is discarded. If the commit removes us the
// group is over.
func (g *Group) Merge(s *StagedCommit) error {
	if s.base != g.state {
		return ErrStaleCommit
	}
	if s.out {
		// RFC 9420, Section 12.4.2: a removed member deletes the group's secrets
		g.forget(g.ratchetEpochs())
		g.state, g.pending, g.outgoing, g.out = s.next, nil, nil, true
		g.memberEpoch = memberEpoch{leaf: g.leaf}
		g.past, g.resumption = nil, nil
		return nil
	}
	if s.member == nil {
		return ErrStaleCommit
	}
	if s.use != nil {
		s.use.consume()
	}
	g.enter(s)
	return nil
}

// enter makes the current epoch a past one and s the current one.
func (g *Group) enter(s *StagedCommit) {
	old := &pastEpoch{context: g.state.context, framing: g.state.framing, leaves: g.state.tree.leaves(), secrets: g.secrets.past()}
	g.past = append(slices.Clone(g.past), old)
	if n := len(g.past); n > maxPast {
		g.forget(g.ratchetEpochs()[:n-maxPast])
		g.past = slices.Clone(g.past[n-maxPast:])
	}
	g.resumption = append(slices.Clone(g.resumption), resumptionPSK{g.state.context.Epoch, g.secrets.resumption})
	if n := len(g.resumption); n > maxResumption {
		g.resumption = slices.Clone(g.resumption[n-maxResumption:])
	}
	g.state, g.memberEpoch = s.next, *s.member
	g.pending, g.outgoing = nil, nil
}

// findPSKs looks up the PSKs of a commit or a Welcome.
//
// RFC 9420, Section 8.4
func (g *Group) findPSKs(ids []PreSharedKeyID) ([]preSharedKey, error) {
	return findPSKs(&g.cfg, ids, g.ownResumptionPSK)
}

// findPSKs asks own for resumption PSKs and then the application for everything else.
func findPSKs(cfg *Config, ids []PreSharedKeyID, own func(*PreSharedKeyID) []byte) ([]preSharedKey, error) {
	psks := make([]preSharedKey, 0, len(ids))
	for _, id := range ids {
		var secret []byte
		if id.Type == PSKResumption && own != nil {
			secret = own(&id)
		}
		if secret == nil && cfg.PSK != nil {
			secret = cfg.PSK(&id)
		}
		if secret == nil {
			return nil, ErrUnknownPSK
		}
		psks = append(psks, preSharedKey{id: id, secret: secret})
	}
	return psks, nil
}

// pskIDs lists the PSKs of a list in their order.
func (l *proposalList) pskIDs() []PreSharedKeyID {
	ids := make([]PreSharedKeyID, len(l.psks))
	for i, p := range l.psks {
		ids[i] = *p.Proposal.PSK
	}
	return ids
}

// NewPSKProposal proposes to inject the external PSK with the given id; its secret comes from Config.PSK. For other
// kinds of PSK see the function NewPSKProposal.
func (g *Group) NewPSKProposal(id []byte) (Proposal, error) {
	return NewPSKProposal(g.cfg, g.state.suite.id, PreSharedKeyID{Type: PSKExternal, ID: id})
}
