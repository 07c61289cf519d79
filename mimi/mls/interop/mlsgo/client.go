package main

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/thomas-vilte/mls-go/ciphersuite"
	"github.com/thomas-vilte/mls-go/credentials"
	"github.com/thomas-vilte/mls-go/framing"
	"github.com/thomas-vilte/mls-go/group"
	"github.com/thomas-vilte/mls-go/keypackages"
	"github.com/thomas-vilte/mls-go/treesync"
)

// client is one client of the library, in at most one group.
type client struct {
	suite       ciphersuite.CipherSuite
	private     bool // handshake messages as PrivateMessage
	credential  *credentials.CredentialWithKey
	key         *ciphersuite.SignaturePrivateKey
	keyPack     *keypackages.KeyPackage
	keyPackKeys *keypackages.KeyPackagePrivateKeys
	psks        map[string][]byte
	group       *group.Group
	staged      *group.StagedCommit
	inside      bool // the Welcome of staged carries the tree
}

func (c *client) begin(r request) (fields, error) {
	suite := ciphersuite.CipherSuite(r.Suite)
	if !suite.IsSupported() {
		return nil, errors.New("unsupported: cipher suite")
	}
	credential, key, err := credentials.GenerateCredentialWithKeyForCS([]byte(r.Name), suite)
	if err != nil {
		return nil, err
	}
	*c = client{suite: suite, private: r.EncryptHandshake, credential: credential, key: key, psks: map[string][]byte{}}
	return nil, nil
}

func (c *client) keyPackage(request) (fields, error) {
	var err error
	c.keyPack, c.keyPackKeys, err = keypackages.Generate(c.credential, c.suite)
	if err != nil {
		return nil, err
	}
	m := framing.MLSMessage{KeyPackage: c.keyPack.Marshal()}
	return fields{"keyPackage": m.Marshal()}, nil
}

func (c *client) psk(r request) (fields, error) {
	c.psks[string(r.ID)] = r.Secret
	if c.group != nil {
		c.group.LoadPsk(r.ID, r.Secret)
	}
	return nil, nil
}

// enter makes g the client's group.
func (c *client) enter(g *group.Group) {
	c.group, c.staged = g, nil
	for id, secret := range c.psks {
		g.LoadPsk([]byte(id), secret)
	}
}

func (c *client) create(r request) (fields, error) {
	if _, err := c.keyPackage(r); err != nil {
		return nil, err
	}
	g, err := group.NewGroup(group.NewGroupID(r.GroupID), c.suite, c.keyPack, c.keyPackKeys)
	if err != nil {
		return nil, err
	}
	c.enter(g)
	return nil, nil
}

func (c *client) join(r request) (fields, error) {
	// Without ratchet_tree in the GroupInfo the library would join without verifying anything.
	if r.Tree != nil {
		return nil, errors.New("unsupported: JoinFromWelcome takes no ratchet tree from outside")
	}
	m, err := framing.UnmarshalMLSMessage(r.Welcome)
	if err != nil {
		return nil, err
	}
	welcome, err := group.UnmarshalWelcome(m.Welcome)
	if err != nil {
		return nil, err
	}
	g, err := group.JoinFromWelcome(welcome, c.keyPack, c.keyPackKeys, c.psks)
	if err != nil {
		return nil, err
	}
	c.enter(g)
	return nil, nil
}

func (c *client) joinExternal(r request) (fields, error) {
	m, err := framing.UnmarshalMLSMessage(r.GroupInfo)
	if err != nil {
		return nil, err
	}
	info, err := group.UnmarshalGroupInfo(m.GroupInfo)
	if err != nil {
		return nil, err
	}
	if r.Tree != nil {
		tree, err := treesync.UnmarshalTreeFromExtension(r.Tree, info.GroupContext.CipherSuite)
		if err != nil {
			return nil, err
		}
		info.RatchetTree = tree.ExpandToPowerOf2()
	}
	g, staged, err := group.ExternalCommit(info, c.suite, c.key, c.key.PublicKey(), (*group.LeafNodeIndex)(r.RemoveLeaf), c.credential.Credential)
	if err != nil {
		return nil, err
	}
	c.enter(g)
	content := staged.AuthenticatedContent()
	out := framing.NewMLSMessagePublic(&framing.PublicMessage{Content: content.Content, Auth: content.Auth})
	return fields{"commit": out.Marshal()}, nil
}

func (c *client) groupInfo(request) (fields, error) {
	info, err := c.group.GetGroupInfoWithOptions(c.key, group.WithRatchetTree(false), group.WithExternalPub(true))
	if err != nil {
		return nil, err
	}
	m := framing.MLSMessage{GroupInfo: info.Marshal()}
	return fields{"groupInfo": m.Marshal(), "tree": c.group.MarshalRatchetTreeRFC()}, nil
}

// commit stages a commit. The library makes Welcome and tree after the merge only.
func (c *client) commit(r request) (fields, error) {
	if r.AAD != nil {
		return nil, errors.New("unsupported: authenticated data of a commit")
	}
	for _, add := range r.Adds {
		if err := c.add(add); err != nil {
			return nil, err
		}
	}
	for _, leaf := range r.Removes {
		if _, err := c.group.RemoveMember(group.LeafNodeIndex(leaf)); err != nil {
			return nil, err
		}
	}
	for _, id := range r.PSKs {
		if _, err := c.addPSK(id); err != nil {
			return nil, err
		}
	}
	format := framing.WireFormatPublicMessage
	if c.private {
		format = framing.WireFormatPrivateMessage
	}
	staged, err := c.group.CommitWithFormat(c.key, c.key.PublicKey(), nil, format)
	if err != nil {
		return nil, err
	}
	if r.Path && staged.Commit().Path == nil {
		return nil, errors.New("the library made no path")
	}
	c.staged, c.inside = staged, r.TreeInWelcome
	wire, err := c.wrap(staged.AuthenticatedContent(), staged.MembershipTag())
	return fields{"commit": wire}, err
}

// wrap makes an MLSMessage of content in its wire format.
func (c *client) wrap(content *framing.AuthenticatedContent, membershipTag []byte) ([]byte, error) {
	if !c.private {
		m := &framing.PublicMessage{Content: content.Content, Auth: content.Auth, MembershipTag: membershipTag}
		return framing.NewMLSMessagePublic(m).Marshal(), nil
	}
	m, err := framing.Encrypt(framing.EncryptParams{
		AuthContent:      content,
		SenderLeafIndex:  uint32(c.group.OwnLeafIndex()),
		CipherSuite:      c.suite,
		SenderDataSecret: c.group.EpochSecrets().SenderDataSecret,
		SecretTree:       c.group.SecretTree(),
	})
	if err != nil {
		return nil, err
	}
	return framing.NewMLSMessagePrivate(m).Marshal(), nil
}

func (c *client) merge(request) (fields, error) {
	staged := c.staged
	if staged == nil {
		return nil, errors.New("no commit is pending")
	}
	c.staged = nil
	secret := staged.JoinerSecret()
	if err := c.group.MergeCommit(staged); err != nil {
		return nil, err
	}
	var added []*keypackages.KeyPackage
	for _, p := range staged.Proposals() {
		if p.Type == group.ProposalTypeAdd {
			added = append(added, p.Add.KeyPackage)
		}
	}
	if len(added) == 0 {
		return nil, nil
	}
	welcome, err := c.group.CreateWelcomeWithOpts(added, c.key,
		group.WithJoinerSecret(secret), group.WithPSKIDs(staged.PskIDs()), group.WithPSKSecret(staged.RawPskSecret()),
		group.WithStagedCommit(staged), group.WithGroupInfoOptions(group.WithRatchetTree(c.inside)))
	if err != nil {
		return nil, err
	}
	m := framing.MLSMessage{Welcome: welcome.Marshal()}
	return fields{"welcome": m.Marshal(), "tree": c.group.MarshalRatchetTreeRFC()}, nil
}

func (c *client) discard(request) (fields, error) {
	c.staged = nil
	return nil, c.group.DiscardPendingCommit()
}

func (c *client) add(keyPackage []byte) error {
	m, err := framing.UnmarshalMLSMessage(keyPackage)
	if err != nil {
		return err
	}
	kp, err := keypackages.UnmarshalKeyPackage(m.KeyPackage)
	if err != nil {
		return err
	}
	_, err = c.group.AddMember(kp)
	return err
}

// addPSK makes a PreSharedKey proposal; the library leaves the nonce to its caller.
func (c *client) addPSK(id []byte) (*group.Proposal, error) {
	p := group.NewPreSharedKeyProposal(1, id)
	p.PreSharedKey.PskID.Nonce = make([]byte, c.suite.HashLength())
	if _, err := rand.Read(p.PreSharedKey.PskID.Nonce); err != nil {
		return nil, err
	}
	c.group.Proposals().AddProposal(p, c.group.OwnLeafIndex())
	return p, nil
}

func (c *client) propose(r request) (fields, error) {
	p, err := c.newProposal(r)
	if err != nil {
		return nil, err
	}
	if !c.private {
		wire, err := c.group.SignProposalAsPublicMessage(p, c.key)
		return fields{"message": wire}, err
	}
	content := &framing.AuthenticatedContent{
		WireFormat: framing.WireFormatPrivateMessage,
		Content: framing.FramedContent{
			GroupID: c.group.ID().AsSlice(),
			Epoch:   c.group.Epoch().AsUint64(),
			Sender:  framing.Sender{Type: framing.SenderTypeMember, LeafIndex: uint32(c.group.OwnLeafIndex())},
			Body:    framing.ProposalBody{Data: group.ProposalMarshal(p)},
		},
		GroupContext: c.group.GroupContext().Marshal(),
	}
	if content.Auth.Signature, err = ciphersuite.SignWithLabel(c.key, "FramedContentTBS", content.MarshalTBS()); err != nil {
		return nil, err
	}
	c.group.RegisterProposalRef(p, group.ComputeProposalRef(content.Marshal(), c.suite))
	wire, err := c.wrap(content, nil)
	return fields{"message": wire}, err
}

func (c *client) newProposal(r request) (*group.Proposal, error) {
	switch r.Kind {
	case "add":
		m, err := framing.UnmarshalMLSMessage(r.KeyPackage)
		if err != nil {
			return nil, err
		}
		kp, err := keypackages.UnmarshalKeyPackage(m.KeyPackage)
		if err != nil {
			return nil, err
		}
		return c.group.AddMember(kp)
	case "remove":
		return c.group.RemoveMember(group.LeafNodeIndex(r.Leaf))
	case "update":
		return c.group.SelfUpdate(c.key)
	case "psk":
		return c.addPSK(r.ID)
	}
	return nil, fmt.Errorf("unsupported: proposal %s", r.Kind)
}

func (c *client) encrypt(r request) (fields, error) {
	m, err := c.group.SendApplicationMessage(r.Data, r.AAD, c.key)
	if err != nil {
		return nil, err
	}
	return fields{"message": framing.NewMLSMessagePrivate(m).Marshal()}, nil
}

func (c *client) process(r request) (fields, error) {
	m, err := framing.UnmarshalMLSMessage(r.Message)
	if err != nil {
		return nil, err
	}
	if private, ok := m.AsPrivate(); ok {
		return c.processPrivate(private)
	}
	public, ok := m.AsPublic()
	if !ok {
		return nil, errNotExpected
	}
	if public.Content.ContentType() == framing.ContentTypeProposal {
		return fields{"kind": "proposal"}, c.group.ProcessPublicMessage(public)
	}
	removed, err := c.removedBy(public)
	if err != nil || removed {
		return fields{"kind": "commit", "removed": true}, err
	}
	return fields{"kind": "commit"}, c.group.ProcessPublicMessage(public)
}

func (c *client) processPrivate(m *framing.PrivateMessage) (fields, error) {
	switch m.ContentType {
	case framing.ContentTypeProposal:
		return fields{"kind": "proposal"}, c.group.ProcessPrivateMessage(m)
	case framing.ContentTypeCommit:
		return fields{"kind": "commit"}, c.group.ProcessPrivateMessage(m)
	}
	data, aad, sender, err := c.group.ReceiveApplicationMessage(m)
	return fields{"kind": "application", "data": data, "aad": aad, "sender": sender}, err
}

// removedBy reports whether a commit removes us. The library has no notion of it: it would try to open the path.
func (c *client) removedBy(m *framing.PublicMessage) (bool, error) {
	data, ok := m.Content.CommitData()
	if !ok {
		return false, errNotExpected
	}
	commit, err := group.UnmarshalCommit(data)
	if err != nil {
		return false, err
	}
	for _, p := range commit.Proposals {
		if c.removes(p) {
			return true, c.group.VerifyPublicMessage(m)
		}
	}
	return false, nil
}

func (c *client) removes(p group.ProposalOrRef) bool {
	proposal := p.Proposal
	for _, stored := range c.group.StoredProposals() {
		if len(p.ProposalRef) > 0 && string(stored.Ref) == string(p.ProposalRef) {
			proposal = stored.Proposal
		}
	}
	return proposal != nil && proposal.Remove != nil && proposal.Remove.Removed == c.group.OwnLeafIndex()
}

func (c *client) state(request) (fields, error) {
	exporter, err := c.group.Export("interop", []byte("context"), 32)
	if err != nil {
		return nil, err
	}
	members := []uint32{}
	for _, m := range c.group.GetMembers() {
		members = append(members, uint32(m.LeafIndex))
	}
	return fields{
		"epoch":         c.group.Epoch().AsUint64(),
		"treeHash":      c.group.GroupContext().TreeHash,
		"authenticator": c.group.EpochAuthenticator(),
		"exporter":      exporter,
		"members":       members,
		"leaf":          c.group.OwnLeafIndex(),
	}, nil
}
