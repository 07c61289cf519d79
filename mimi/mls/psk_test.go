package mls

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// pskWorld is a group whose members have the PSKs of a table that the test may change.
func pskWorld(t testing.TB, seed uint64) (*world, map[string][]byte) {
	t.Helper()
	psks := map[string][]byte{}
	w := newWorld(t, seed, nil)
	w.cfg.PSK = func(id *PreSharedKeyID) []byte { return psks[pskName(id)] }
	w.members["m0"].cfg = w.cfg
	w.add("m0", "a", "b")
	return w, psks
}

// pskName is an id without its nonce.
func pskName(id *PreSharedKeyID) string {
	x := *id
	x.Nonce = nil
	data, err := marshal(&x)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// Every type of PSK in a commit and its Welcome, and in an external commit.
func TestPSKOfEveryType(t *testing.T) {
	w, psks := pskWorld(t, 1)
	other := newWorld(t, 2, nil).members["m0"]
	resumption, ok := other.ResumptionPSK(0)
	if !ok {
		t.Fatal("no resumption PSK")
	}
	for name, id := range map[string]PreSharedKeyID{
		"external":                    {Type: PSKExternal, ID: []byte("id")},
		"application":                 {Type: PSKApplication, Component: 0x8001, ID: []byte("id")},
		"resumption of another group": {Type: PSKResumption, Usage: ResumptionApplication, GroupID: []byte("other"), Epoch: 0},
		"resumption of this group":    {Type: PSKResumption, Usage: ResumptionApplication, GroupID: []byte("group"), Epoch: w.hub.Epoch()},
	} {
		psks[pskName(&id)] = resumption
		if name == "resumption of this group" {
			// members have it of themselves, a joiner must be given it
			delete(psks, pskName(&id))
			secret, _ := w.members["a"].ResumptionPSK(id.Epoch)
			defer func() { psks[pskName(&id)] = secret }()
		}
		proposal := must[Proposal](t)(NewPSKProposal(w.cfg, 1, id))
		if len(proposal.PSK.Nonce) != suite1.hashSize {
			t.Errorf("%s: nonce of %d octets", name, len(proposal.PSK.Nonce))
		}
		w.commit("a", CommitOptions{Proposals: []Proposal{proposal}})
		w.tell("b", must[*Message](t)(w.members["b"].Propose(must[Proposal](t)(NewPSKProposal(w.cfg, 1, id)), nil)))
		w.commit("a", CommitOptions{})
	}
	secret, _ := w.members["a"].ResumptionPSK(w.hub.Epoch())
	external := PreSharedKeyID{Type: PSKExternal, ID: []byte("id")}
	application := PreSharedKeyID{Type: PSKApplication, Component: 0x8001, ID: []byte("id")}
	past := PreSharedKeyID{Type: PSKResumption, Usage: ResumptionApplication, GroupID: []byte("group"), Epoch: w.hub.Epoch()}
	psks[pskName(&past)] = secret
	list := []Proposal{}
	for _, id := range []PreSharedKeyID{application, past, external, application} {
		list = append(list, must[Proposal](t)(NewPSKProposal(w.cfg, 1, id)))
	}
	c, key := w.keyPackage("c")
	b := must[*CommitBundle](t)(w.members["b"].Commit(CommitOptions{Proposals: append(list, AddProposal(key.KeyPackage))}))
	ids := must[[]PreSharedKeyID](t)(b.Welcome.PSKs(key))
	if len(ids) != 4 || ids[0].Type != PSKApplication || ids[1].Type != PSKResumption || !bytes.Equal(ids[3].Nonce, list[3].PSK.Nonce) {
		t.Errorf("PSKs of the welcome: %+v", ids)
	}
	w.deliver("b", b)
	w.members["c"] = must[*Group](t)(JoinWelcome(w.cfg, c, b.Welcome, must[RatchetTree](t)(w.hub.RatchetTree()), key))
	w.check()
	g, b, err := JoinExternal(w.cfg, w.client("x"), w.hub.GroupInfo(), must[RatchetTree](t)(w.hub.RatchetTree()),
		[]Proposal{must[Proposal](t)(NewPSKProposal(w.cfg, 1, external)), must[Proposal](t)(NewPSKProposal(w.cfg, 1, application))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.members["x"] = g
	w.deliver("x", b)
	w.check()
}

// A component's PSK is not another's, nor an external one of the same id.
func TestPSKsOfComponentsAreApart(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []PreSharedKeyID{
		{Type: PSKExternal, ID: []byte("id")},
		{Type: PSKApplication, Component: 1, ID: []byte("id")},
		{Type: PSKApplication, Component: 2, ID: []byte("id")},
	} {
		id.Nonce = make([]byte, 32)
		seen[string(must[[]byte](t)(suite1.pskSecret([]preSharedKey{{id, []byte("secret")}})))] = true
	}
	if len(seen) != 3 {
		t.Error("two types of PSK give the same secret")
	}
}

// An unknown PSK, or another than that of the committer, in a commit and in a Welcome.
func TestPSKIsMissingOrWrong(t *testing.T) {
	w, psks := pskWorld(t, 3)
	id := PreSharedKeyID{Type: PSKApplication, Component: 7, ID: []byte("id")}
	psks[pskName(&id)] = []byte("secret")
	c, key := w.keyPackage("c")
	add := AddProposal(key.KeyPackage)
	b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{Proposals: []Proposal{must[Proposal](t)(NewPSKProposal(w.cfg, 1, id)), add}}))
	tree := must[RatchetTree](t)(b.Staged.RatchetTree())
	g := w.members["b"]
	for _, test := range []struct {
		secret      []byte
		commit, add string
	}{{nil, ErrUnknownPSK.Error(), ErrUnknownPSK.Error()}, {[]byte("other"), "confirmation tag", "decryption failed"}} {
		psks[pskName(&id)] = test.secret
		before := must[[]byte](t)(g.State())
		if _, err := g.Process(wire(t, b.Commit)); err == nil || !strings.Contains(err.Error(), test.commit) {
			t.Errorf("commit with PSK %q: %v", test.secret, err)
		}
		equal(t, "state", must[[]byte](t)(g.State()), before)
		if _, err := JoinWelcome(w.cfg, c, b.Welcome, tree, key); err == nil || !strings.Contains(err.Error(), test.add) {
			t.Errorf("welcome with PSK %q: %v", test.secret, err)
		}
	}
	delete(psks, pskName(&id))
	if _, err := g.Commit(CommitOptions{Proposals: []Proposal{must[Proposal](t)(NewPSKProposal(w.cfg, 1, id))}}); !errors.Is(err, ErrUnknownPSK) {
		t.Errorf("our own commit: %v", err)
	}
	psks[pskName(&id)] = []byte("secret")
	w.deliver("a", b)
	w.members["c"] = must[*Group](t)(JoinWelcome(w.cfg, c, b.Welcome, tree, key))
	w.check()
	if _, ok := g.ResumptionPSK(w.hub.Epoch() + 1); ok {
		t.Error("resumption PSK of an epoch to come")
	}
}

// RFC 9420, Sections 8.4 and 12.4.3.1: what a Welcome says about PSKs is checked before any is looked up.
func TestPSKsOfAWelcomeAreChecked(t *testing.T) {
	w, psks := pskWorld(t, 4)
	id := PreSharedKeyID{Type: PSKExternal, ID: []byte("id")}
	psks[pskName(&id)] = []byte("secret")
	c, key := w.keyPackage("c")
	b := must[*CommitBundle](t)(w.members["a"].Commit(CommitOptions{Proposals: []Proposal{must[Proposal](t)(NewPSKProposal(w.cfg, 1, id)), AddProposal(key.KeyPackage)}}))
	tree := must[RatchetTree](t)(b.Staged.RatchetTree())
	for name, test := range map[string]struct {
		change func(*PreSharedKeyID)
		reason string
	}{
		"short nonce": {func(id *PreSharedKeyID) { id.Nonce = id.Nonce[1:] }, "nonce"},
		"reinit": {func(id *PreSharedKeyID) {
			*id = PreSharedKeyID{Type: PSKResumption, Usage: ResumptionReInit, Nonce: id.Nonce}
		}, "follows from another"},
		"branch": {func(id *PreSharedKeyID) {
			*id = PreSharedKeyID{Type: PSKResumption, Usage: ResumptionBranch, Nonce: id.Nonce}
		}, "follows from another"},
	} {
		gs := must[*groupSecrets](t)(b.Welcome.openSecrets(key))
		test.change(&gs.psks[0])
		forged := &Welcome{CipherSuite: 1, EncryptedGroupInfo: b.Welcome.EncryptedGroupInfo}
		if err := forged.addMember(suite1, key.KeyPackage, gs); err != nil {
			t.Fatal(err)
		}
		if _, err := JoinWelcome(w.cfg, c, forged, tree, key); err == nil || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
