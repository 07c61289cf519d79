//go:build !js

package interop

import (
	"errors"
	"slices"
	"time"

	"kith/mimi/mls"
)

// ours is a client of kith/mimi/mls behind the interface of the peers.
type ours struct {
	cfg    mls.Config
	client *mls.Client
	psks   map[string][]byte
	keys   *mls.KeyPackageSecrets
	group  *mls.Group
}

// yearAndDay is the longest lifetime that these tests accept: mls-rs makes KeyPackages for a year unless told
// otherwise, longer than the library accepts unless told otherwise.
const yearAndDay = 366 * 24 * time.Hour

// anyCredential is an Application that believes every credential: these tests are about MLS, not about identity.
type anyCredential struct{}

func (anyCredential) ValidateCredential(mls.Credential, mls.SignaturePublicKey, *mls.Credential) error {
	return nil
}

func (anyCredential) UpdateComponent(mls.ComponentID, []byte, [][]byte) ([]byte, error) {
	return nil, errors.New("interop: no components")
}

func (o *ours) close() error { return nil }

func (o *ours) do(r request) (reply, error) {
	switch r.Op {
	case "hello":
		return o.hello(), nil
	case "client":
		return reply{}, o.newClient(r)
	case "keyPackage":
		return o.keyPackage()
	case "psk":
		o.psks[string(r.ID)] = r.Secret
		return reply{}, nil
	case "create":
		g, err := mls.NewGroup(o.cfg, o.client, r.GroupID, nil)
		o.group = g
		return reply{}, err
	case "join":
		return reply{}, o.join(r)
	case "joinExternal":
		return o.joinExternal(r)
	}
	if o.group == nil {
		return reply{}, errors.New("no group")
	}
	return o.doInGroup(r)
}

func (o *ours) doInGroup(r request) (reply, error) {
	switch r.Op {
	case "groupInfo":
		return o.groupInfo()
	case "commit":
		return o.commit(r)
	case "merge":
		return reply{}, o.group.MergePending()
	case "discard":
		o.group.DiscardPending()
		return reply{}, nil
	case "propose":
		return o.propose(r)
	case "encrypt":
		return encoded(o.group.Encrypt(r.AAD, r.Data))
	case "process":
		return o.process(r)
	case "state":
		return o.state()
	}
	return reply{}, unsupportedError{r.Op}
}

func (o *ours) hello() reply {
	out := reply{Peer: "ours", Version: "this tree", Ops: []string{"join.tree"}}
	for s := uint16(1); s != 0; s++ {
		if _, err := mls.GenerateSignatureKey(mls.CipherSuite(s), nil); err == nil {
			out.Suites = append(out.Suites, s)
		}
	}
	return out
}

func (o *ours) newClient(r request) error {
	cs := mls.CipherSuite(r.Suite)
	key, err := mls.GenerateSignatureKey(cs, nil)
	if err != nil {
		return err
	}
	*o = ours{psks: map[string][]byte{}, client: &mls.Client{
		SignatureKey: key,
		Credential:   mls.BasicCredential([]byte(r.Name)),
		Capabilities: mls.Capabilities{
			Versions:     []uint16{mls.VersionMLS10},
			CipherSuites: []mls.CipherSuite{cs},
			Proposals:    []mls.ProposalType{mls.ProposalSelfRemove},
			Credentials:  []mls.CredentialType{mls.CredentialBasic},
		},
	}}
	o.cfg = mls.Config{
		Now:               time.Now,
		Application:       anyCredential{},
		PSK:               o.findPSK,
		ProvisionalSuites: true,
		MaxLifetime:       yearAndDay,
		EncryptHandshakes: r.EncryptHandshake,
	}
	return nil
}

func (o *ours) findPSK(id *mls.PreSharedKeyID) []byte {
	if id.Type != mls.PSKExternal {
		return nil
	}
	return o.psks[string(id.ID)]
}

func (o *ours) keyPackage() (reply, error) {
	now := uint64(time.Now().Unix())
	keys, err := mls.NewKeyPackage(o.cfg, o.client, mls.Lifetime{NotBefore: now - 3600, NotAfter: now + 86400}, nil)
	if err != nil {
		return reply{}, err
	}
	o.keys = keys
	r, err := encoded(&mls.Message{WireFormat: mls.WireFormatKeyPackage, KeyPackage: keys.KeyPackage}, nil)
	return reply{KeyPackage: r.Message}, err
}

// encoded is the reply with a message.
func encoded(m *mls.Message, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	out, err := m.Bytes()
	return reply{Message: out}, err
}

func (o *ours) join(r request) error {
	m, err := mls.UnmarshalMessage(r.Welcome)
	if err != nil {
		return err
	}
	if m.Welcome == nil {
		return errors.New("not a welcome")
	}
	o.group, err = mls.JoinWelcome(o.cfg, o.client, m.Welcome, r.Tree, o.keys)
	return err
}

func (o *ours) joinExternal(r request) (reply, error) {
	m, err := mls.UnmarshalMessage(r.GroupInfo)
	if err != nil {
		return reply{}, err
	}
	if m.GroupInfo == nil {
		return reply{}, errors.New("not a group info")
	}
	var proposals []mls.Proposal
	if r.RemoveLeaf != nil {
		proposals = append(proposals, mls.RemoveProposal(mls.LeafIndex(*r.RemoveLeaf)))
	}
	g, bundle, err := mls.JoinExternal(o.cfg, o.client, m.GroupInfo, r.Tree, proposals, nil)
	if err != nil {
		return reply{}, err
	}
	o.group = g
	out, err := encoded(bundle.Commit, g.MergePending())
	return reply{Commit: out.Message}, err
}

func (o *ours) groupInfo() (reply, error) {
	gi, err := o.group.GroupInfo()
	if err != nil {
		return reply{}, err
	}
	tree, err := o.group.RatchetTree()
	if err != nil {
		return reply{}, err
	}
	out, err := encoded(&mls.Message{WireFormat: mls.WireFormatGroupInfo, GroupInfo: gi}, nil)
	return reply{GroupInfo: out.Message, Tree: tree}, err
}

func (o *ours) commit(r request) (reply, error) {
	if r.TreeInWelcome {
		return reply{}, unsupportedError{"the tree travels beside the GroupInfo"}
	}
	options := mls.CommitOptions{ForcePath: r.Path, AAD: r.AAD}
	for _, add := range r.Adds {
		m, err := mls.UnmarshalMessage(add)
		if err != nil {
			return reply{}, err
		}
		if m.KeyPackage == nil {
			return reply{}, errors.New("not a key package")
		}
		options.Proposals = append(options.Proposals, mls.AddProposal(m.KeyPackage))
	}
	for _, leaf := range r.Removes {
		options.Proposals = append(options.Proposals, mls.RemoveProposal(mls.LeafIndex(leaf)))
	}
	for _, id := range r.PSKs {
		p, err := o.group.NewPSKProposal(id)
		if err != nil {
			return reply{}, err
		}
		options.Proposals = append(options.Proposals, p)
	}
	bundle, err := o.group.Commit(options)
	if err != nil {
		return reply{}, err
	}
	if len(bundle.Dropped) != 0 {
		return reply{}, errors.New("the commit leaves out a proposal that is valid")
	}
	return committed(bundle)
}

func committed(bundle *mls.CommitBundle) (reply, error) {
	out, err := encoded(bundle.Commit, nil)
	if err != nil {
		return reply{}, err
	}
	r := reply{Commit: out.Message}
	if bundle.Welcome != nil {
		out, err = encoded(&mls.Message{WireFormat: mls.WireFormatWelcome, Welcome: bundle.Welcome}, nil)
		if err != nil {
			return reply{}, err
		}
		r.Welcome = out.Message
	}
	r.Tree, err = bundle.Staged.RatchetTree()
	return r, err
}

func (o *ours) propose(r request) (reply, error) {
	switch r.Kind {
	case "add":
		m, err := mls.UnmarshalMessage(r.KeyPackage)
		if err != nil {
			return reply{}, err
		}
		if m.KeyPackage == nil {
			return reply{}, errors.New("not a key package")
		}
		return encoded(o.group.Propose(mls.AddProposal(m.KeyPackage), r.AAD))
	case "remove":
		return encoded(o.group.Propose(mls.RemoveProposal(mls.LeafIndex(r.Leaf)), r.AAD))
	case "update":
		return encoded(o.group.ProposeUpdate(r.AAD))
	case "psk":
		p, err := o.group.NewPSKProposal(r.ID)
		if err != nil {
			return reply{}, err
		}
		return encoded(o.group.Propose(p, r.AAD))
	case "selfRemove":
		return encoded(o.group.SelfRemove(r.AAD))
	}
	return reply{}, unsupportedError{"proposal " + r.Kind}
}

func (o *ours) process(r request) (reply, error) {
	m, err := mls.UnmarshalMessage(r.Message)
	if err != nil {
		return reply{}, err
	}
	in, err := o.group.Process(m)
	if err != nil {
		return reply{}, err
	}
	out := reply{AAD: in.AAD}
	if in.Sender.Type == mls.SenderMember {
		leaf := uint32(in.Sender.Leaf)
		out.Sender = &leaf
	}
	switch {
	case in.Commit != nil:
		out.Kind, out.Removed = "commit", in.Commit.Removed()
		return out, o.group.Merge(in.Commit)
	case in.Proposal != nil:
		out.Kind = "proposal"
	default:
		out.Kind, out.Data = "application", in.Application
	}
	return out, nil
}

func (o *ours) state() (reply, error) {
	exporter, err := o.group.Export("interop", []byte("context"), 32)
	if err != nil {
		return reply{}, err
	}
	out := reply{
		Epoch:         o.group.Epoch(),
		TreeHash:      o.group.Context().TreeHash,
		Authenticator: o.group.EpochAuthenticator(),
		Exporter:      exporter,
		Leaf:          uint32(o.group.OwnLeaf()),
	}
	for _, m := range o.group.Members() {
		out.Members = append(out.Members, uint32(m.Index))
	}
	slices.Sort(out.Members)
	return out, nil
}
