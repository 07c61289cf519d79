package mls

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

var modelSeed = flag.Uint64("model.seed", 0, "seed of the model test; 0 takes the time")

// lateMessage is an application message that not everybody has read yet.
type lateMessage struct {
	m       *Message
	text    string
	epoch   uint64
	readers map[string]bool
}

// model drives a world through random steps.
type model struct {
	*world
	late  []*lateMessage
	next  int
	stats map[string]int
}

// TestModel plays random adds, removes, updates, commits, races, external joins, late messages and restarts, and
// compares everybody's view after each step.
func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-model.seed=%d", seed)
	ext := must[Extensions](t)(Extensions{}.SetAppData(AppDataDictionary{{ID: 9, Data: []byte("start")}}))
	m := &model{world: newWorld(t, seed, ext), stats: map[string]int{}}
	steps := 1000
	if testing.Short() {
		steps = 200
	}
	actions := []struct {
		name   string
		weight int
		do     func()
	}{
		{"commit", 4, m.stepCommit}, {"add", 3, m.stepAdd}, {"remove", 2, m.stepRemove}, {"race", 2, m.stepRace},
		{"propose", 4, m.stepPropose}, {"external join", 1, m.stepExternal}, {"send", 4, m.stepSend}, {"read", 4, m.stepRead},
		{"restart", 8, m.stepRestart}, {"refused commit", 2, m.stepDiscard},
	}
	var bag []int
	for i, a := range actions {
		bag = append(bag, slices.Repeat([]int{i}, a.weight)...)
	}
	for range steps {
		a := actions[bag[m.r.IntN(len(bag))]]
		m.stats[a.name]++
		a.do()
		m.check()
	}
	t.Logf("epoch %d, %d members, steps %v", m.hub.Epoch(), len(m.members), m.stats)
}

// pick is a random member's name.
func (m *model) pick() string {
	names := slices.Sorted(maps.Keys(m.members))
	return names[m.r.IntN(len(names))]
}

// other is a random member that is not the given one, or "".
func (m *model) other(name string) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(m.members)), func(n string) bool { return n == name })
	if len(names) == 0 {
		return ""
	}
	return names[m.r.IntN(len(names))]
}

func (m *model) name() string {
	m.next++
	return fmt.Sprint("n", m.next)
}

// options are random harmless contents of a commit.
func (m *model) options() CommitOptions {
	o := CommitOptions{ForcePath: m.r.IntN(2) == 0, AAD: m.r.octets(8)}
	switch m.r.IntN(4) {
	case 0:
		o.Proposals = []Proposal{AppDataUpdateProposal(ComponentID(9+m.r.IntN(2)), []byte{byte(m.next)})}
	case 1:
		ext := m.hub.Context().Extensions.Set(ExtensionApplicationID, m.r.octets(8))
		o.Proposals = []Proposal{GroupContextExtensionsProposal(ext)}
	}
	return o
}

// finish delivers a commit and has those whom it adds join.
func (m *model) finish(by string, b *CommitBundle, clients map[string]*Client, keys map[string]*KeyPackageSecrets) {
	m.t.Helper()
	m.deliver(by, b)
	tree := must[RatchetTree](m.t)(m.hub.RatchetTree())
	for name, c := range clients {
		m.members[name] = must[*Group](m.t)(JoinWelcome(m.cfg, c, b.Welcome, tree, keys[name]))
	}
}

func (m *model) stepCommit() {
	by := m.pick()
	m.finish(by, must[*CommitBundle](m.t)(m.members[by].Commit(m.options())), nil, nil)
}

func (m *model) stepAdd() {
	if len(m.members) > 9 {
		return
	}
	by, o := m.pick(), m.options()
	clients, keys := map[string]*Client{}, map[string]*KeyPackageSecrets{}
	for range 1 + m.r.IntN(3) {
		name := m.name()
		clients[name], keys[name] = m.keyPackage(name)
		o.Proposals = append(o.Proposals, AddProposal(keys[name].KeyPackage))
	}
	m.finish(by, must[*CommitBundle](m.t)(m.members[by].Commit(o)), clients, keys)
}

func (m *model) stepRemove() {
	by := m.pick()
	victim := m.other(by)
	if victim == "" {
		return
	}
	o := m.options()
	o.Proposals = append(o.Proposals, RemoveProposal(m.members[victim].OwnLeaf()))
	gone := m.members[victim]
	m.finish(by, must[*CommitBundle](m.t)(m.members[by].Commit(o)), nil, nil)
	if gone.Active() || m.members[victim] != nil {
		m.t.Fatalf("%s is still there", victim)
	}
}

// stepRace has two members commit at once: one wins, the other follows it and commits again.
func (m *model) stepRace() {
	winner := m.pick()
	loser := m.other(winner)
	if loser == "" {
		return
	}
	first := must[*CommitBundle](m.t)(m.members[winner].Commit(m.options()))
	lost := m.options()
	must[*CommitBundle](m.t)(m.members[loser].Commit(lost))
	m.maybeRestart(loser)
	m.maybeRestart(winner)
	m.finish(winner, first, nil, nil)
	if m.members[loser].HasPending() {
		m.t.Fatal("the losing commit is still pending")
	}
	m.finish(loser, must[*CommitBundle](m.t)(m.members[loser].Commit(m.options())), nil, nil)
}

// stepPropose has members send proposals by themselves, several for one leaf among them, and one commit them.
func (m *model) stepPropose() {
	by := m.pick()
	from := m.other(by)
	if from == "" {
		return
	}
	proposer := m.members[from]
	var msgs []*Message
	send := func(msg *Message, err error) { msgs = append(msgs, must[*Message](m.t)(msg, err)) }
	for range 1 + m.r.IntN(2) {
		switch m.r.IntN(5) {
		case 0:
			send(proposer.ProposeUpdate(nil))
		case 1:
			send(proposer.Propose(AppDataUpdateProposal(9, []byte("p")), []byte(m.name())))
		case 2:
			if victim := m.other(from); victim != "" && len(m.members) > 4 {
				send(proposer.Propose(RemoveProposal(m.members[victim].OwnLeaf()), []byte(m.name())))
			}
		case 3:
			if len(m.members) > 4 && len(msgs) == 0 {
				send(proposer.SelfRemove(nil))
			}
		case 4:
			_, key := m.keyPackage(m.name())
			if len(m.members) < 10 {
				send(proposer.Propose(AddProposal(key.KeyPackage), nil))
			}
		}
	}
	for _, msg := range msgs {
		must[*Received](m.t)(m.hub.Process(wire(m.t, msg)))
		for name, g := range m.members {
			if name != from {
				must[*Received](m.t)(g.Process(wire(m.t, msg)))
			}
		}
	}
	m.maybeRestart(from)
	m.maybeRestart(by)
	m.finish(by, must[*CommitBundle](m.t)(m.members[by].Commit(m.options())), nil, nil)
}

func (m *model) stepExternal() {
	if len(m.members) > 9 {
		return
	}
	name, lost := m.name(), ""
	var proposals []Proposal
	if m.r.IntN(2) == 0 && len(m.members) > 1 {
		lost = m.pick()
		proposals = append(proposals, RemoveProposal(m.members[lost].OwnLeaf()))
		name = lost
	}
	c := m.client(name)
	if lost != "" {
		c.Credential = m.members[lost].client.Credential
	}
	g, b, err := JoinExternal(m.cfg, c, m.hub.GroupInfo(), must[RatchetTree](m.t)(m.hub.RatchetTree()), proposals, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	delete(m.members, lost)
	m.forget(lost)
	m.members[name] = g
	m.maybeRestart(name)
	m.finish(name, b, nil, nil)
}

// forget takes a name out of the readers: who comes back under it has other secrets.
func (m *model) forget(name string) {
	for _, l := range m.late {
		delete(l.readers, name)
	}
}

func (m *model) stepSend() {
	from := m.pick()
	text := fmt.Sprint("text ", m.next, m.r.IntN(1000))
	l := &lateMessage{text: text, epoch: m.hub.Epoch(), readers: map[string]bool{}}
	l.m = wire(m.t, must[*Message](m.t)(m.members[from].Encrypt(nil, []byte(text))))
	for name := range m.members {
		if name != from {
			l.readers[name] = true
		}
	}
	m.late = append(m.late, l)
}

// stepRead has each reader of a random message read it, or be refused if it is too late.
func (m *model) stepRead() {
	if len(m.late) == 0 {
		return
	}
	i := m.r.IntN(len(m.late))
	l := m.late[i]
	m.late = slices.Delete(m.late, i, i+1)
	for name := range l.readers {
		g := m.members[name]
		if g == nil {
			continue
		}
		r, err := g.Process(l.m)
		if g.Epoch()-l.epoch > maxPast {
			if err != ErrPastEpoch {
				m.t.Fatalf("message of epoch %d in %d: %v", l.epoch, g.Epoch(), err)
			}
			continue
		}
		if err != nil || string(r.Application) != l.text || r.Epoch != l.epoch {
			m.t.Fatalf("%s in epoch %d reads %v of epoch %d: %v", name, g.Epoch(), r, l.epoch, err)
		}
		m.maybeRestart(name)
		if _, err := m.members[name].Process(l.m); err != ErrReplayed {
			m.t.Fatalf("replay: %v", err)
		}
	}
}

func (m *model) maybeRestart(name string) {
	if m.r.IntN(2) == 0 {
		m.members[name] = saveRestore(m.t, m.cfg, m.members[name])
	}
}

func (m *model) stepRestart() {
	if m.r.IntN(4) > 0 {
		name := m.pick()
		m.members[name] = saveRestore(m.t, m.cfg, m.members[name])
		return
	}
	state := must[[]byte](m.t)(m.hub.State())
	m.hub = must[*PublicGroup](m.t)(RestorePublicGroup(m.cfg, state))
	equal(m.t, "hub state", must[[]byte](m.t)(m.hub.State()), state)
}

// stepDiscard makes a commit that is refused.
func (m *model) stepDiscard() {
	by := m.pick()
	must[*CommitBundle](m.t)(m.members[by].Commit(m.options()))
	m.maybeRestart(by)
	m.members[by].DiscardPending()
}
