//go:build !js

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"kith/mimi/mls"
)

// world is one group with members of several implementations. Every change goes to all members, and after every
// change all of them must agree on what an epoch is.
type world struct {
	suite   uint16
	private bool // handshake messages as PrivateMessage
	genKey  bool // signature keys as the library itself makes them
	idle    *pool
	used    []*member
	in      []*member // the members of the group
	started int
	last    []byte // the last commit
}

// member is one client of the world.
type member struct {
	impl *implementation
	peer peer
	name string
}

// do sends one request and names the member and operation in the error.
func (m *member) do(r request) (reply, error) {
	out, err := m.peer.do(r)
	if err != nil {
		return reply{}, fmt.Errorf("%s (%s): %s: %w", m.name, m.impl.name, r.Op, err)
	}
	return out, nil
}

// fail is an error about what a member did.
func (m *member) fail(format string, args ...any) error {
	return fmt.Errorf("%s (%s): %s", m.name, m.impl.name, fmt.Sprintf(format, args...))
}

// client starts a client that is in no group yet.
func (w *world) client(impl *implementation) (*member, error) {
	p, err := w.idle.take(impl)
	if err != nil {
		return nil, err
	}
	m := &member{impl: impl, peer: p, name: fmt.Sprintf("member %d", w.started)}
	w.started++
	w.used = append(w.used, m)
	r := request{Op: "client", Suite: w.suite, Name: m.name, EncryptHandshake: w.private, GeneratedKey: w.genKey}
	_, err = m.do(r)
	return m, err
}

// close gives the peers back for the next world.
func (w *world) close() {
	for _, m := range w.used {
		w.idle.put(m.impl, m.peer)
	}
}

// create makes the group with its first member.
func (w *world) create(impl *implementation) (*member, error) {
	m, err := w.client(impl)
	if err != nil {
		return nil, err
	}
	if _, err := m.do(request{Op: "create", GroupID: []byte("interop group")}); err != nil {
		return nil, err
	}
	w.in = []*member{m}
	return m, w.agree()
}

// pair makes a group of two, the second brought in by the first in whichever way both can.
func (w *world) pair(x, y *implementation) (a, b *member, err error) {
	if a, err = w.create(x); err != nil {
		return nil, nil, err
	}
	b, err = w.enter(a, y)
	return a, b, err
}

// enter brings a new client into the group: by a Welcome if the two can agree on how the tree travels, else by an
// external commit.
func (w *world) enter(by *member, impl *implementation) (*member, error) {
	m, err := w.client(impl)
	if err != nil {
		return nil, err
	}
	inside := !impl.has("join.tree")
	if inside && !by.impl.has("commit.treeInWelcome") {
		return m, w.joinExternal(by, m, nil)
	}
	return m, w.add(by, request{Op: "commit", TreeInWelcome: inside}, m)
}

// newcomer starts a client that by can add: of impl, or of its own kind if it makes no Welcome that impl can read.
func (w *world) newcomer(by *member, impl *implementation) (m *member, inside bool, err error) {
	if !impl.has("join.tree") && !by.impl.has("commit.treeInWelcome") {
		impl = by.impl
	}
	m, err = w.client(impl)
	return m, !impl.has("join.tree"), err
}

// add commits r of a member with the addition of newcomers and lets them join by the Welcome.
func (w *world) add(by *member, r request, newcomers ...*member) error {
	for _, m := range newcomers {
		kp, err := m.do(request{Op: "keyPackage"})
		if err != nil {
			return err
		}
		r.Adds = append(r.Adds, kp.KeyPackage)
	}
	return w.commit(by, r, newcomers...)
}

// addByProposal has one member propose a newcomer of impl and another commit that.
func (w *world) addByProposal(proposer, committer *member, impl *implementation) error {
	m, inside, err := w.newcomer(committer, impl)
	if err != nil {
		return err
	}
	kp, err := m.do(request{Op: "keyPackage"})
	if err != nil {
		return err
	}
	if err := w.propose(proposer, request{Kind: "add", KeyPackage: kp.KeyPackage}); err != nil {
		return err
	}
	return w.commit(committer, request{Op: "commit", TreeInWelcome: inside}, m)
}

// commit has a member commit, everybody else process the commit, the newcomers join, and compares the states.
func (w *world) commit(by *member, r request, newcomers ...*member) error {
	out, err := by.do(r)
	if err != nil {
		return err
	}
	if err := w.checkFormat(by, out.Commit); err != nil {
		return err
	}
	if r.Path && !w.private {
		if err := checkPath(by, out.Commit, true); err != nil {
			return err
		}
	}
	w.last = out.Commit
	if err := w.deliverCommit(by, out.Commit); err != nil {
		return err
	}
	merged, err := by.do(request{Op: "merge"})
	if err != nil {
		return err
	}
	if out.Welcome == nil { // some libraries make it only now
		out.Welcome, out.Tree = merged.Welcome, merged.Tree
	}
	if len(newcomers) > 0 && out.Welcome == nil {
		return by.fail("commit with an Add made no Welcome")
	}
	for _, m := range newcomers {
		join := request{Op: "join", Welcome: out.Welcome, Tree: out.Tree}
		if r.TreeInWelcome {
			join.Tree = nil
		} else if err := m.needsTree(join); err != nil {
			return err
		}
		if _, err := m.do(join); err != nil {
			return err
		}
		w.in = append(w.in, m)
	}
	return w.agree()
}

// needsTree makes sure that a tree that should travel beside the Welcome is not inside as well. Only ours is asked: for
// it a failed join changes nothing.
func (m *member) needsTree(join request) error {
	join.Tree = nil
	if !m.impl.inProcess {
		return nil
	}
	if _, err := m.do(join); err == nil {
		return m.fail("found in the Welcome the tree that was to travel beside it")
	}
	return nil
}

// deliverCommit has all members but one process a commit; those that it removes leave the world.
func (w *world) deliverCommit(by *member, commit []byte) error {
	var stay []*member
	for _, m := range w.in {
		if m == by {
			stay = append(stay, m)
			continue
		}
		got, err := m.do(request{Op: "process", Message: commit})
		if err != nil {
			return err
		}
		if got.Kind != "commit" {
			return m.fail("took a commit for %q", got.Kind)
		}
		if !got.Removed {
			stay = append(stay, m)
		}
	}
	w.in = stay
	return nil
}

// joinExternal lets m join by an external commit with the GroupInfo of a member; with old it is a resync.
func (w *world) joinExternal(by, m *member, old *uint32) error {
	info, err := by.do(request{Op: "groupInfo"})
	if err != nil {
		return err
	}
	r := request{Op: "joinExternal", GroupInfo: info.GroupInfo, Tree: info.Tree, RemoveLeaf: old}
	out, err := m.do(r)
	if err != nil {
		return err
	}
	if err := w.deliverCommit(m, out.Commit); err != nil {
		return err
	}
	if !slices.Contains(w.in, m) {
		w.in = append(w.in, m)
	}
	return w.agree()
}

// propose has a member propose and everybody else process the proposal.
func (w *world) propose(by *member, r request) error {
	r.Op = "propose"
	out, err := by.do(r)
	if err != nil {
		return err
	}
	if err := w.checkFormat(by, out.Message); err != nil {
		return err
	}
	for _, m := range w.in {
		if m == by {
			continue
		}
		got, err := m.do(request{Op: "process", Message: out.Message})
		if err != nil {
			return err
		}
		if got.Kind != "proposal" {
			return m.fail("took a proposal for %q", got.Kind)
		}
	}
	return nil
}

// checkFormat looks whether a handshake message has the wire format that its sender was asked for.
func (w *world) checkFormat(by *member, wire []byte) error {
	m, err := mls.UnmarshalMessage(wire)
	if err != nil {
		return by.fail("made a message that ours cannot decode: %v", err)
	}
	switch {
	case w.private && m.Private == nil:
		return unsupportedError{"handshake messages as PrivateMessage"}
	case !w.private && m.Public == nil:
		return by.fail("made no PublicMessage")
	}
	return nil
}

// checkPath looks whether a public commit has the path that was asked for or, if none was, no path.
func checkPath(by *member, commit []byte, want bool) error {
	m, err := mls.UnmarshalMessage(commit)
	if err != nil {
		return by.fail("made a message that ours cannot decode: %v", err)
	}
	if m.Public == nil || m.Public.Commit() == nil {
		return by.fail("made no public commit")
	}
	got := m.Public.Commit().Path != nil
	if want && !got {
		return by.fail("left out the path")
	}
	if got && !want {
		return unsupportedError{"a commit without path"}
	}
	return nil
}

// agree compares what all members say about the epoch.
func (w *world) agree() error {
	if len(w.in) == 0 {
		return errors.New("nobody is left in the group")
	}
	first, err := w.in[0].do(request{Op: "state"})
	if err != nil {
		return err
	}
	if len(first.Authenticator) == 0 || len(first.Exporter) != 32 || len(first.Members) != len(w.in) {
		return w.in[0].fail("state has %d members instead of %d, or lacks authenticator or exporter", len(first.Members), len(w.in))
	}
	leaves := []uint32{first.Leaf}
	for _, m := range w.in[1:] {
		s, err := m.do(request{Op: "state"})
		if err != nil {
			return err
		}
		if err := m.agrees(w.in[0], first, s); err != nil {
			return err
		}
		leaves = append(leaves, s.Leaf)
	}
	slices.Sort(leaves)
	if !slices.Equal(leaves, first.Members) {
		return w.in[0].fail("lists the leaves %v, the members say %v", first.Members, leaves)
	}
	return nil
}

// agrees compares the state of m with that of another member.
func (m *member) agrees(other *member, want, got reply) error {
	slices.Sort(got.Members)
	slices.Sort(want.Members)
	switch {
	case got.Epoch != want.Epoch:
		return m.fail("is at epoch %d, %s at %d", got.Epoch, other.name, want.Epoch)
	case !bytes.Equal(got.Authenticator, want.Authenticator):
		return m.fail("has another epoch authenticator than %s", other.name)
	case !bytes.Equal(got.Exporter, want.Exporter):
		return m.fail("exports another secret than %s", other.name)
	case got.TreeHash != nil && want.TreeHash != nil && !bytes.Equal(got.TreeHash, want.TreeHash):
		return m.fail("has another tree hash than %s", other.name)
	case !slices.Equal(got.Members, want.Members):
		return m.fail("lists the leaves %v, %s %v", got.Members, other.name, want.Members)
	}
	return nil
}

// leaf is the place of a member in the tree.
func (w *world) leaf(m *member) (uint32, error) {
	s, err := m.do(request{Op: "state"})
	return s.Leaf, err
}

// letter is an application message on its way.
type letter struct {
	from      *member
	leaf      uint32
	data, aad []byte
	wire      []byte
}

// write encrypts an application message.
func (w *world) write(from *member, text, aad string) (*letter, error) {
	leaf, err := w.leaf(from)
	if err != nil {
		return nil, err
	}
	l := &letter{from: from, leaf: leaf, data: []byte(text), aad: []byte(aad)}
	out, err := from.do(request{Op: "encrypt", Data: l.data, AAD: l.aad})
	l.wire = out.Message
	return l, err
}

// read decrypts a letter and compares it with what was written.
func (m *member) read(l *letter) error {
	got, err := m.do(request{Op: "process", Message: l.wire})
	switch {
	case err != nil:
		return err
	case got.Kind != "application":
		return m.fail("took an application message for %q", got.Kind)
	case !bytes.Equal(got.Data, l.data):
		return m.fail("read %q instead of %q", got.Data, l.data)
	case !bytes.Equal(got.AAD, l.aad):
		return m.fail("read the authenticated data %q instead of %q", got.AAD, l.aad)
	case got.Sender != nil && *got.Sender != l.leaf:
		return m.fail("took leaf %d for the sender instead of %d", *got.Sender, l.leaf)
	}
	return nil
}

// talk has every member send a message to all others.
func (w *world) talk() error {
	for _, from := range w.in {
		l, err := w.write(from, "hello from "+from.name, "about "+from.name)
		if err != nil {
			return err
		}
		for _, m := range w.in {
			if m == from {
				continue
			}
			if err := m.read(l); err != nil {
				return err
			}
		}
	}
	return nil
}
