package mls_test

import (
	"bytes"
	"errors"
	"fmt"

	"kith/mimi/mls"
)

// application believes every credential, and keeps of a component what it was last told.
type application struct{}

func (application) ValidateCredential(mls.Credential, mls.SignaturePublicKey, *mls.Credential) error {
	return nil
}

func (application) UpdateComponent(_ mls.ComponentID, _ []byte, updates [][]byte) ([]byte, error) {
	return updates[len(updates)-1], nil
}

var config = mls.Config{Application: application{}}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func newClient(name string) *mls.Client {
	const suite = mls.X25519AES128GCMSHA256Ed25519
	return &mls.Client{
		SignatureKey: must(mls.GenerateSignatureKey(suite, nil)),
		Credential:   mls.BasicCredential([]byte(name)),
		Capabilities: mls.Capabilities{
			Versions:     []uint16{mls.VersionMLS10},
			CipherSuites: []mls.CipherSuite{suite},
			Extensions:   []mls.ExtensionType{mls.ExtensionAppDataDictionary},
			Proposals:    []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalSelfRemove},
			Credentials:  []mls.CredentialType{mls.CredentialBasic},
		},
	}
}

// deliver is a delivery service of no sophistication: the others process a commit and merge it, its sender merges its own.
func deliver(b *mls.CommitBundle, from *mls.Group, others ...*mls.Group) {
	for _, g := range others {
		check(g.Merge(must(g.Process(b.Commit)).Commit))
	}
	check(from.MergePending())
}

// pair is a group of alice and bob.
func pair(id string) (alice, bob *mls.Group) {
	alice = must(mls.NewGroup(config, newClient("alice"), []byte(id), nil))
	c := newClient("bob")
	key := must(mls.NewKeyPackage(config, c, mls.Lifetime{NotAfter: 1 << 40}, nil))
	b := must(alice.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.AddProposal(key.KeyPackage)}}))
	deliver(b, alice)
	return alice, must(mls.JoinWelcome(config, c, b.Welcome, must(alice.RatchetTree()), key))
}

// Alice makes a group, adds Bob with a KeyPackage that he has published, and writes to him.
func Example() {
	alice := must(mls.NewGroup(config, newClient("alice"), []byte("a group"), nil))

	bobsClient := newClient("bob")
	key := must(mls.NewKeyPackage(config, bobsClient, mls.Lifetime{NotAfter: 1 << 40}, nil))
	published := must(key.KeyPackage.Bytes())

	kp := must(mls.UnmarshalKeyPackage(published))
	b := must(alice.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.AddProposal(kp)}}))
	check(alice.MergePending()) // the delivery service has accepted it

	bob := must(mls.JoinWelcome(config, bobsClient, b.Welcome, must(alice.RatchetTree()), key))
	message := must(must(alice.Encrypt(nil, []byte("Hello, Bob"))).Bytes())

	r := must(bob.Process(must(mls.UnmarshalMessage(message))))
	fmt.Printf("%s: %s\n", r.Credential.Identity, r.Application)
	// Output: alice: Hello, Bob
}

// Somebody whom nobody has added joins with the group's current GroupInfo and tree.
func ExampleJoinExternal() {
	alice, bob := pair("a group")
	info, tree := must(alice.GroupInfo()), must(alice.RatchetTree())

	carol, b, err := mls.JoinExternal(config, newClient("carol"), info, tree, nil, nil)
	check(err)
	deliver(b, carol, alice, bob)

	r := must(bob.Process(must(carol.Encrypt(nil, []byte("I let myself in")))))
	fmt.Printf("%s: %s\n", r.Credential.Identity, r.Application)
	// Output: carol: I let myself in
}

// A hub that the group knows as an external sender proposes to remove a member; a member commits it.
func ExampleProposeExternal() {
	hubKey := must(mls.GenerateSignatureKey(mls.X25519AES128GCMSHA256Ed25519, nil))
	senders := must(mls.MarshalExternalSenders([]mls.ExternalSender{
		{SignatureKey: hubKey.Public(), Credential: mls.BasicCredential([]byte("hub"))},
	}))
	alice, bob := pair("a group")
	ext := mls.Extensions{{Type: mls.ExtensionExternalSenders, Data: senders}}
	deliver(must(alice.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.GroupContextExtensionsProposal(ext)}})), alice, bob)

	p := must(mls.ProposeExternal(alice.Context(), 0, hubKey, mls.RemoveProposal(bob.OwnLeaf()), nil))
	must(bob.Process(p))
	r := must(alice.Process(p))
	fmt.Printf("%s proposes to remove leaf %d\n", r.Credential.Identity, r.Proposal.Remove)

	deliver(must(alice.Commit(mls.CommitOptions{})), alice, bob)
	fmt.Println("members:", len(alice.Members()), "bob is one:", bob.Active())
	// Output:
	// hub proposes to remove leaf 1
	// members: 1 bob is one: false
}

// A hub follows a group without its secrets, and refuses what the rules of MLS do not allow.
func ExamplePublicGroup() {
	alice, bob := pair("a group")
	hub := must(mls.NewPublicGroup(config, must(alice.GroupInfo()), must(alice.RatchetTree())))

	b := must(bob.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.AppDataUpdateProposal(0x8001, []byte("topic"))}}))
	staged := must(hub.Process(b.Commit)).Commit
	data, _ := staged.AppData().Get(0x8001)
	fmt.Printf("would set the component to %q\n", data)
	check(hub.Merge(staged, b.GroupInfo))
	deliver(b, bob, alice)
	fmt.Println("epoch", hub.Epoch(), "of", len(hub.Members()), "members")

	_, err := hub.Process(b.Commit)
	fmt.Println("again:", errors.Is(err, mls.ErrPastEpoch))
	// Output:
	// would set the component to "topic"
	// epoch 2 of 2 members
	// again: true
}

// Both have agreed on a secret elsewhere, and mix it into the group's.
func ExampleNewPSKProposal() {
	with := config
	with.PSK = func(id *mls.PreSharedKeyID) []byte {
		if id.Type == mls.PSKApplication && id.Component == 0x8001 && string(id.ID) == "pairing code" {
			return []byte("31415926")
		}
		return nil
	}
	client := newClient("alice")
	alice := must(mls.NewGroup(with, client, []byte("a group"), nil))
	c := newClient("bob")
	key := must(mls.NewKeyPackage(with, c, mls.Lifetime{NotAfter: 1 << 40}, nil))
	id := mls.PreSharedKeyID{Type: mls.PSKApplication, Component: 0x8001, ID: []byte("pairing code")}
	psk := must(mls.NewPSKProposal(with, client.SignatureKey.CipherSuite(), id))
	b := must(alice.Commit(mls.CommitOptions{Proposals: []mls.Proposal{psk, mls.AddProposal(key.KeyPackage)}}))
	deliver(b, alice)

	_, err := mls.JoinWelcome(config, c, b.Welcome, must(alice.RatchetTree()), key)
	fmt.Println("without it:", err)
	bob := must(mls.JoinWelcome(with, c, b.Welcome, must(alice.RatchetTree()), key))
	fmt.Println("with it:", bytes.Equal(alice.EpochAuthenticator(), bob.EpochAuthenticator()))
	// Output:
	// without it: mls: pre-shared key is not available
	// with it: true
}

// The group ends and goes on as another, here with the same suite.
func ExampleGroup_Reinitialize() {
	alice, bob := pair("a group")
	reInit := mls.Proposal{Type: mls.ProposalReInit, ReInit: &mls.ReInit{
		GroupID: []byte("its successor"), Version: mls.VersionMLS10, CipherSuite: mls.X25519AES128GCMSHA256Ed25519,
	}}
	deliver(must(bob.Commit(mls.CommitOptions{Proposals: []mls.Proposal{reInit}})), bob, alice)

	// Bob has published a new KeyPackage; either of the two may go on, here it is Alice
	c := newClient("bob")
	key := must(mls.NewKeyPackage(config, c, mls.Lifetime{NotAfter: 1 << 40}, nil))
	next, welcome, err := alice.Reinitialize(newClient("alice"), []*mls.KeyPackage{key.KeyPackage})
	check(err)
	alice.Retire() // the delivery service has accepted the new group

	bobs := must(bob.JoinReinitialized(c, welcome, must(next.RatchetTree()), key))
	r := must(bobs.Process(must(next.Encrypt(nil, []byte("here we are")))))
	fmt.Printf("%s, epoch %d: %s\n", bobs.GroupID(), bobs.Epoch(), r.Application)
	_, err = bob.Encrypt(nil, nil)
	fmt.Println("the old one:", err)
	// Output:
	// its successor, epoch 1: here we are
	// the old one: mls: group is no longer active
}

// Some members of a group get one of their own, in which nobody can be who was not in the first.
func ExampleGroup_Branch() {
	alice, bob := pair("a group")
	c := newClient("bob")
	key := must(mls.NewKeyPackage(config, c, mls.Lifetime{NotAfter: 1 << 40}, nil))
	sub, welcome, err := alice.Branch(newClient("alice"), []byte("a breakout"), nil, []*mls.KeyPackage{key.KeyPackage})
	check(err)

	// Bob sees from which group it comes before he joins
	from := must(welcome.PSKs(key))[0]
	fmt.Printf("a branch of %q at epoch %d\n", from.GroupID, from.Epoch)
	bobs := must(bob.JoinBranch(c, welcome, must(sub.RatchetTree()), key))
	r := must(bobs.Process(must(sub.Encrypt(nil, []byte("among ourselves")))))
	fmt.Printf("%s\n", r.Application)
	// Output:
	// a branch of "a group" at epoch 1
	// among ourselves
}

// A client saves before it sends, and goes on after a restart, a commit of its own still pending.
func ExampleRestoreGroup() {
	alice, bob := pair("a group")
	client := newClient("carol")
	carol, b, err := mls.JoinExternal(config, client, must(bob.GroupInfo()), must(bob.RatchetTree()), nil, nil)
	check(err)
	deliver(b, carol, alice, bob)

	b = must(carol.Commit(mls.CommitOptions{}))
	state, ratchets := must(carol.State()), must(carol.RatchetState())
	carol = nil // a crash, perhaps after the commit has gone out

	carol = must(mls.RestoreGroup(config, client, state, ratchets))
	fmt.Println("pending:", carol.HasPending())
	deliver(b, carol, alice, bob)
	r := must(alice.Process(must(carol.Encrypt(nil, []byte("where was I?")))))
	fmt.Printf("%s\n", r.Application)
	// Output:
	// pending: true
	// where was I?
}

// A member leaves: it proposes that, and somebody else commits it before saying anything more.
func ExampleGroup_SelfRemove() {
	alice, bob := pair("a group")
	leaving := must(bob.SelfRemove(nil))
	must(alice.Process(leaving))

	if waiting := alice.ProposalsToCommit(); len(waiting) > 0 {
		b := must(alice.Commit(mls.CommitOptions{}))
		staged := must(bob.Process(b.Commit)).Commit
		fmt.Println("bob is removed:", staged.Removed())
		check(bob.Merge(staged))
		check(alice.MergePending())
	}
	fmt.Println("members:", len(alice.Members()))
	// Output:
	// bob is removed: true
	// members: 1
}

// A component gets a secret that all members have, once in an epoch.
func ExampleGroup_SafeExportSecret() {
	alice, bob := pair("a group")
	const component = 0x8001
	fmt.Println("the same:", bytes.Equal(must(alice.SafeExportSecret(component)), must(bob.SafeExportSecret(component))))
	_, err := alice.SafeExportSecret(component)
	fmt.Println(err)
	// Output:
	// the same: true
	// mls: secret of the component was exported before
}
