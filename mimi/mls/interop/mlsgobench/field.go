package main

import (
	"fmt"
	"math"
	"time"

	"github.com/thomas-vilte/mls-go/ciphersuite"
	"github.com/thomas-vilte/mls-go/credentials"
	"github.com/thomas-vilte/mls-go/framing"
	"github.com/thomas-vilte/mls-go/group"
	"github.com/thomas-vilte/mls-go/keypackages"

	"kith/mimi/mls"
)

const (
	suite      = mls.X25519AES128GCMSHA256Ed25519
	theirSuite = ciphersuite.MLS128DHKEMX25519
)

// field is a group with two members of each library that are there; the others are leaves only. A group of two has
// room for one of each: there are two such groups then, in one of which our member sends, in the other one theirs.
type field struct {
	sender   *ours
	of       []member // who receives from sender
	theirs   *peer
	ofTheirs []member // who receives from theirs
}

// member is a member of either library.
type member interface {
	// commit makes a commit with a path and enters its epoch.
	commit() []byte
	// receive processes a commit and enters its epoch.
	receive(commit []byte)
	encrypt(text []byte) []byte
	decrypt(message []byte) []byte
	// samples is where the library's measurements belong.
	samples(r *row) *[]time.Duration
}

// populated is a group of n in which everybody has sent a path: all but the founder joined by an external commit.
func populated(n int) *field {
	if n == 2 {
		x, y := externalGroup(1)[0], externalGroup(1)[0]
		return pair(x, x.admit("b"), y, y.admit("a"))
	}
	g := externalGroup(n - 2)
	x, y := g[0], g[1]
	a := x.admit("a", y)
	return four(x, y, a, x.admit("b", y, a))
}

func pair(x *ours, b *peer, y *ours, a *peer) *field {
	return &field{sender: x, of: []member{b}, theirs: a, ofTheirs: []member{y}}
}

func four(x, y *ours, a, b *peer) *field {
	return &field{sender: x, of: []member{y, a, b}, theirs: a, ofTheirs: []member{x, y, b}}
}

// externalGroup is a group of n of our members; the last two, or the only one, follow it.
func externalGroup(n int) []*ours {
	c := newClient("founder")
	list := []*ours{{must(mls.NewGroup(config, c, []byte("populated"), nil)), c}}
	for i := 1; i < n; i++ {
		last := list[len(list)-1]
		c := newClient(fmt.Sprint("member ", i))
		g, bundle, err := mls.JoinExternal(config, c, must(last.GroupInfo()), must(last.RatchetTree()), nil, nil)
		check(err)
		check(g.MergePending())
		last.receive(must(bundle.Commit.Bytes()))
		list = []*ours{last, {g, c}}
	}
	return list
}

// admit has a member of the other library join by an external commit; others follow it.
func (m *ours) admit(name string, others ...member) *peer {
	c := newTheirs(name)
	info := must(group.UnmarshalGroupInfo(m.infoWithTree()))
	g, staged, err := group.ExternalCommit(info, theirSuite, c.key, c.key.PublicKey(), nil, c.credential.Credential)
	check(err)
	for _, o := range append(others, m) {
		o.receive(octets(staged))
	}
	return &peer{g, c.key}
}

// fresh is a group of n that one member of the other library has just made: no parent outside of its own path is
// there.
func fresh(n int) *field {
	if n == 2 {
		return freshPair()
	}
	x, y, b := newInvited("x"), newInvited("y"), newTheirs("b")
	kps := []*keypackages.KeyPackage{theirs(x.key.KeyPackage)}
	for i := 4; i < n; i++ {
		kps = append(kps, theirs(newInvited(fmt.Sprint("member ", i)).key.KeyPackage))
	}
	a := newPeerGroup()
	welcome := a.add(append(kps, theirs(y.key.KeyPackage), b.kp))
	return four(x.join(welcome), y.join(welcome), a, b.join(welcome))
}

func freshPair() *field {
	x, y, a, b := newInvited("x"), newInvited("y"), newPeerGroup(), newPeerGroup()
	toX := b.add([]*keypackages.KeyPackage{theirs(x.key.KeyPackage)})
	toY := a.add([]*keypackages.KeyPackage{theirs(y.key.KeyPackage)})
	return pair(x.join(toX), b, y.join(toY), a)
}

// newPeerGroup is a new group of the other library.
func newPeerGroup() *peer {
	c := newTheirs("founder")
	return &peer{must(group.NewGroup(group.NewGroupID([]byte("fresh")), theirSuite, c.kp, c.private)), c.key}
}

// add commits Adds and returns the Welcome, which carries the tree.
func (p *peer) add(kps []*keypackages.KeyPackage) []byte {
	for _, kp := range kps {
		must(p.AddMember(kp))
	}
	staged := must(p.Commit(p.key, p.key.PublicKey(), nil))
	check(p.MergeCommit(staged))
	w := must(p.CreateWelcomeWithOpts(kps, p.key, group.WithJoinerSecret(staged.JoinerSecret()),
		group.WithPSKIDs(staged.PskIDs()), group.WithPSKSecret(staged.RawPskSecret()), group.WithStagedCommit(staged)))
	return w.Marshal()
}

// octets is a commit of the other library as it is sent.
func octets(s *group.StagedCommit) []byte {
	return framing.NewMLSMessagePublic(&framing.PublicMessage{
		Content:       s.AuthenticatedContent().Content,
		Auth:          s.AuthenticatedContent().Auth,
		MembershipTag: s.MembershipTag(),
	}).Marshal()
}

type app struct{}

func (app) ValidateCredential(mls.Credential, mls.SignaturePublicKey, *mls.Credential) error {
	return nil
}

func (app) UpdateComponent(mls.ComponentID, []byte, [][]byte) ([]byte, error) { return nil, nil }

var (
	config   = mls.Config{Application: app{}}
	lifetime = mls.Lifetime{NotAfter: math.MaxUint64}
)

func newClient(name string) *mls.Client {
	return &mls.Client{
		SignatureKey: must(mls.GenerateSignatureKey(suite, nil)),
		Credential:   mls.BasicCredential([]byte(name)),
		Capabilities: mls.Capabilities{
			Versions:     []uint16{mls.VersionMLS10},
			CipherSuites: []mls.CipherSuite{suite},
			Credentials:  []mls.CredentialType{mls.CredentialBasic},
		},
	}
}

// invited is a client of ours with a KeyPackage.
type invited struct {
	client *mls.Client
	key    *mls.KeyPackageSecrets
}

func newInvited(name string) *invited {
	c := newClient(name)
	return &invited{c, must(mls.NewKeyPackage(config, c, lifetime, nil))}
}

func (i *invited) join(welcome []byte) *ours {
	return &ours{must(mls.JoinWelcome(config, i.client, must(mls.UnmarshalWelcome(welcome)), nil, i.key)), i.client}
}

// theirClient is an identity with a KeyPackage of the other library.
type theirClient struct {
	credential *credentials.CredentialWithKey
	key        *ciphersuite.SignaturePrivateKey
	kp         *keypackages.KeyPackage
	private    *keypackages.KeyPackagePrivateKeys
}

func newTheirs(name string) *theirClient {
	c := new(theirClient)
	var err error
	c.credential, c.key, err = credentials.GenerateCredentialWithKeyForCS([]byte(name), theirSuite)
	check(err)
	c.kp, c.private, err = keypackages.Generate(c.credential, theirSuite, keypackages.InfiniteLifetime())
	check(err)
	return c
}

func (c *theirClient) join(welcome []byte) *peer {
	return &peer{must(group.JoinFromWelcome(must(group.UnmarshalWelcome(welcome)), c.kp, c.private, nil)), c.key}
}

func theirs(kp *mls.KeyPackage) *keypackages.KeyPackage {
	return must(keypackages.UnmarshalKeyPackage(must(kp.Bytes())))
}
