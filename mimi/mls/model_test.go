package mls

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

var (
	modelSeed  = flag.Uint64("model.seed", 0, "seed of the model test; 0 takes the time")
	modelSteps = flag.Int("model.steps", 0, "steps of the model test in all; 0 is the usual number")
)

// The model test plays a group with a hub: devices that act at random on what they know, and messages that are lost,
// doubled, late and out of order. For each message that a device opens the model knows what must come of it, and for
// each epoch what everybody in it must agree on. A seed makes the same steps again; only HPKE's encapsulations differ,
// on which no step depends.
//
// The long form: go test ./mimi/mls -run TestModel -model.steps=N -model.seed=S -timeout 0

// modelApp accepts every credential that keeps its identity. A component's data is its last 48 octets.
type modelApp struct{ testApp }

func (a modelApp) UpdateComponent(id ComponentID, old []byte, updates [][]byte) ([]byte, error) {
	data, err := a.testApp.UpdateComponent(id, old, updates)
	return data[max(0, len(data)-48):], err
}

func (modelApp) CheckEphemeral(id ComponentID, data []byte) error {
	if id >= 0x8000 || len(data) > 48 {
		return errors.New("test: invalid ephemeral data")
	}
	return nil
}

// model is the whole world of one run.
type model struct {
	t          testing.TB
	r          random
	seed       uint64
	step       int
	doing      string
	cfg        Config
	suite      CipherSuite
	hub        *modelHub
	devices    []*device // members, and those on their way in
	former     []*device // removed
	waiting    map[string]*device
	ghosts     []*Group          // removed members that kept everything
	truth      map[uint64]*truth // by epoch
	lastCommit *Commit           // the content of a private commit
	limit      int               // members wanted at most
	next       int               // number of names and letters
	stats      map[string]int
}

// truth is what all members of an epoch agree on.
type truth struct {
	context, tag, authenticator, exported, resumption []byte
	dictionary                                        AppDataDictionary
	members                                           []LeafIndex
	exports                                           map[ComponentID][]byte
}

func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for _, mode := range []struct {
		name         string
		suite        CipherSuite
		private      bool
		steps, short int
	}{
		{"public", suite1.id, false, 2400, 200},
		{"private", suite1.id, true, 600, 60},
		{"P-256", P256AES128GCMSHA256P256, false, 60, 20},
		{"P-521", P521AES256GCMSHA512P521, true, 30, 6},
		{"X-Wing", XWingChaCha20Poly1305SHA256Ed25519, false, 60, 20},
	} {
		t.Run(mode.name, func(t *testing.T) {
			if _, err := suiteOf(mode.suite); err != nil {
				t.Skip("not compiled in: mls_suite1")
			}
			steps := mode.steps
			if testing.Short() {
				steps = mode.short
			}
			if *modelSteps > 0 {
				steps = max(1, *modelSteps*mode.steps/3000)
			}
			m := newModel(t, seed, mode.suite, mode.private)
			t.Logf("-model.seed=%d, %d steps", seed, steps)
			m.run(steps)
			t.Logf("epoch %d, %d devices, %v", m.hub.epoch(), len(m.devices), m.stats)
		})
	}
}

// newModel is a world with one member. In a private one all handshakes but those of outsiders and SelfRemove are
// PrivateMessages, and the hub only keeps the order.
func newModel(t testing.TB, seed uint64, cs CipherSuite, private bool) *model {
	t.Helper()
	m := &model{
		t: t, r: newRandom(seed), seed: seed, suite: cs, limit: 12,
		waiting: map[string]*device{}, truth: map[uint64]*truth{}, stats: map[string]int{},
	}
	m.cfg = Config{Application: modelApp{}, Rand: m.r, PSK: m.psk, ProvisionalSuites: true, EncryptHandshakes: private}
	m.hub = &modelHub{m: m, known: map[string]bool{}}
	m.hub.key = must[*SignatureKey](t)(GenerateSignatureKey(cs, m.r))
	senders := must[[]byte](t)(MarshalExternalSenders([]ExternalSender{{m.hub.key.Public(), BasicCredential([]byte("hub"))}}))
	ext := must[Extensions](t)(Extensions{{ExtensionExternalSenders, senders}}.SetAppData(AppDataDictionary{{ID: 9, Data: []byte("start")}}))
	d := m.newDevice()
	d.g = must[*Group](t)(NewGroup(m.cfg, d.client, []byte("group"), ext))
	m.devices = append(m.devices, d)
	m.hub.info, m.hub.tree = must[*GroupInfo](t)(d.g.GroupInfo()), must[RatchetTree](t)(d.g.RatchetTree())
	if !private {
		m.hub.public = must[*PublicGroup](t)(NewPublicGroup(m.cfg, m.hub.info, m.hub.tree))
	}
	m.learn(d.g.state, d.g.secrets)
	return m
}

// psk is the secret of any external PSK and, for those who were not there, of a past epoch of the group.
func (m *model) psk(id *PreSharedKeyID) []byte {
	switch id.Type {
	case PSKExternal:
		return append([]byte("psk "), id.ID...)
	case PSKResumption:
		if e := m.truth[id.Epoch]; e != nil && string(id.GroupID) == "group" {
			return e.resumption
		}
	}
	return nil
}

// learn notes what the members of a new epoch must agree on.
func (m *model) learn(s *publicState, secrets *epochSecrets) {
	e := &truth{
		context: s.framing.context, tag: s.confirmationTag, authenticator: bytes.Clone(secrets.authenticator),
		exported: must[[]byte](m.t)(secrets.export("model", []byte("context"), 40)), resumption: bytes.Clone(secrets.resumption),
		dictionary: appData(s.context), exports: map[ComponentID][]byte{},
	}
	for i := range s.tree.members {
		e.members = append(e.members, i)
	}
	m.truth[s.context.Epoch] = e
}

// action is one kind of step.
type action struct {
	name   string
	weight int
	do     func()
}

func (m *model) actions() []action {
	return []action{
		{"commit", 14, m.stepCommit}, {"add", 4, m.stepAdd}, {"remove", 3, m.stepRemove}, {"propose", 10, m.stepPropose},
		{"outside proposal", 3, m.stepOutside}, {"external join", 2, m.stepExternal}, {"race", 3, m.stepRace},
		{"send", 12, m.stepSend}, {"export", 3, m.stepExport}, {"burst", 1, m.stepBurst}, {"hub", 10, m.stepHub}, {"open", 30, m.stepOpen},
		{"catch up", 6, m.stepCatchUp}, {"all catch up", 2, m.stepAll}, {"restart", 8, m.stepRestart}, {"limit", 1, m.stepLimit},
	}
}

func (m *model) run(steps int) {
	m.t.Helper()
	actions := m.actions()
	var bag []int
	for i, a := range actions {
		bag = append(bag, slices.Repeat([]int{i}, a.weight)...)
	}
	m.doing = "start"
	for len(m.devices) < 4 {
		d := m.devices[0]
		m.hub.take(m.commit(d, []Proposal{m.invite(d.g.state.tree), m.invite(d.g.state.tree), m.invite(d.g.state.tree)}))
		m.stepAll()
	}
	for m.step = range steps {
		a := actions[bag[m.r.IntN(len(bag))]]
		m.doing = a.name
		m.stats[a.name]++
		a.do()
		m.check()
	}
	m.doing = "end"
	m.stepAll()
	m.check()
}

// fatalf ends the run and says how to repeat it.
func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("-model.seed=%d, step %d (%s): %s", m.seed, m.step, m.doing, fmt.Sprintf(format, args...))
}

// chance is true in percent of the cases.
func (m *model) chance(percent int) bool { return m.r.IntN(100) < percent }

// pick is a random device that fits, nil if there is none.
func (m *model) pick(fits func(*device) bool) *device {
	var list []*device
	for _, d := range m.devices {
		if fits(d) {
			list = append(list, d)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[m.r.IntN(len(list))]
}

// stepLimit lets the group grow to 40 members for a while, or brings it back to a dozen.
func (m *model) stepLimit() {
	m.limit = 12
	if m.chance(30) {
		m.limit = 40
	}
}

// stepRestart saves and restores a device or the hub.
func (m *model) stepRestart() {
	if m.chance(20) {
		m.hub.restart()
		return
	}
	if d := m.pick(func(d *device) bool { return d.g != nil }); d != nil {
		m.restart(d)
	}
}
