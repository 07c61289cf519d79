package room_test

import (
	"bytes"
	"crypto/rand"
	"slices"
	"testing"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// frankingWorld is a room whose hub franks.
type frankingWorld struct {
	*world
	alice, bob *device
	franker    *room.Franker
	agent      *wire.FrankingAgentData
}

func (w *world) newAgent(t testing.TB) (*mls.SignatureKey, *wire.FrankingAgentData) {
	key := must[*mls.SignatureKey](t)(mls.GenerateSignatureKey(room.Suite, rand.Reader))
	return key, &wire.FrankingAgentData{FrankingSignatureKey: key.Public(),
		Credential: w.authorities["a.example"].issue(t, key.Public(), w.now, "a.example", "mimi://a.example")}
}

func newFrankingWorld(t testing.TB) *frankingWorld {
	w := &frankingWorld{world: newWorld(t)}
	key, agent := w.newAgent(t)
	w.agent, w.franker = agent, &room.Franker{Agent: key, HubKeys: []room.HubKey{{Key: [32]byte{1}}}}
	w.alice, w.bob = w.device("mimi://a.example/u/alice", "1"), w.device("mimi://b.example/u/bob", "1")
	spec := w.spec(w.alice)
	spec.Agent = agent
	w.create(w.alice, spec)
	if resp := w.hub.CheckAgent(key.Public()); resp != nil {
		t.Fatal(resp)
	}
	w.add(w.alice, w.bob)
	return w
}

// write makes a content of d's and its application data.
func (w *frankingWorld) write(d *device, text string) (*content.Message, []byte) {
	m := must[*content.Message](w.t)(content.NewText(rand.Reader, d.user, w.room, text))
	return m, must[[]byte](w.t)(room.FrameContent(must[[]byte](w.t)(m.Bytes())))
}

func (w *frankingWorld) request(d *device, data, aad []byte) *wire.SubmitMessageRequest {
	m := must[*mls.Message](w.t)(d.group.Encrypt(aad, data))
	return &wire.SubmitMessageRequest{Protocol: wire.ProtocolMLS10, AppMessage: must[wire.MLSMessage](w.t)(wire.NewMLSMessage(m)), SendingURI: d.user}
}

// submitFranked has the hub accept and frank a message, and returns the event.
func (w *frankingWorld) submitFranked(d *device, req *wire.SubmitMessageRequest) *wire.FanoutMessage {
	w.t.Helper()
	resp, accepted, err := w.hub.Submit(w.ms(), room.From(d.id), req)
	if err != nil || accepted == nil {
		w.t.Fatal(resp, err)
	}
	frank := must[*wire.Frank](w.t)(w.franker.Frank(accepted))
	event := must[*wire.FanoutMessage](w.t)(wire.UnmarshalFanoutMessage(accepted.Event(frank)))
	if event.Timestamp != resp.AcceptedTimestamp {
		w.t.Fatal("event and response have different times")
	}
	return event
}

// receiveFranked is what bob makes of an event: the message, its sender and its authenticated data.
func (w *frankingWorld) receiveFranked(event *wire.FanoutMessage) (*room.Franked, mimi.UserID, []byte) {
	w.t.Helper()
	got := must[*mls.Received](w.t)(w.bob.group.Process(event.Message.Message))
	_, raw, err := w.bob.view.UnframeContent(got.Application)
	if err != nil {
		w.t.Fatal(err)
	}
	m := must[*content.Message](w.t)(content.Parse(raw))
	sender, _ := m.SenderURI()
	in, _ := m.RoomURI()
	f := &room.Franked{ApplicationData: got.Application, Salt: m.Salt, SenderURI: sender, RoomURI: in, AcceptedTimestamp: event.Timestamp}
	if event.Frank != nil {
		f.Frank = *event.Frank
	}
	return f, w.alice.user, event.Message.AuthenticatedData()
}

// sent is a franked message of alice's as bob has it.
func (w *frankingWorld) sent() (*room.Franked, mimi.UserID, []byte) {
	w.t.Helper()
	m, data := w.write(w.alice, "hello")
	aad := must[[]byte](w.t)(room.MessageAAD(w.alice.group.Context(), m.Salt, data))
	return w.receiveFranked(w.submitFranked(w.alice, w.request(w.alice, data, aad)))
}

func TestFR3FranksWhatHasATag(t *testing.T) {
	w := newFrankingWorld(t)
	m, data := w.write(w.alice, "hello")
	aad := must[[]byte](t)(room.MessageAAD(w.alice.group.Context(), m.Salt, data))
	if len(aad) != 36 {
		t.Fatalf("authenticated data %x", aad)
	}
	if event := w.submitFranked(w.alice, w.request(w.alice, data, aad)); event.Frank == nil || event.Frank.FrankingSignatureSuite != room.Suite {
		t.Errorf("frank %v", event.Frank)
	}
	for name, aad := range map[string][]byte{
		"nothing": room.EmptyAAD(),
		"another": must[[]byte](t)(mls.SafeAAD{{Component: 0xF000, Data: []byte{1}}}.Bytes()),
		"short":   must[[]byte](t)(mls.SafeAAD{{Component: policy.FrankAAD, Data: make([]byte, 31)}}.Bytes()),
		"long":    must[[]byte](t)(mls.SafeAAD{{Component: policy.FrankAAD, Data: make([]byte, 33)}}.Bytes()),
	} {
		if event := w.submitFranked(w.alice, w.request(w.alice, data, aad)); event.Frank != nil {
			t.Errorf("%s in the authenticated data: franked", name)
		}
	}
}

func TestFR3NoAgentNoFranks(t *testing.T) {
	w := newFrankingWorld(t)
	w.world = newWorld(t)
	w.alice = w.device("mimi://a.example/u/alice", "1")
	w.create(w.alice, w.spec(w.alice))
	m, data := w.write(w.alice, "hello")
	if aad := must[[]byte](t)(room.MessageAAD(w.alice.group.Context(), m.Salt, data)); !bytes.Equal(aad, room.EmptyAAD()) {
		t.Errorf("tag %x in a room without an agent", aad)
	}
	tag := wire.NewFrankAAD(m.Salt, data)
	aad := must[[]byte](t)(mls.SafeAAD{{Component: policy.FrankAAD, Data: tag.FrankingTag[:]}}.Bytes())
	if event := w.submitFranked(w.alice, w.request(w.alice, data, aad)); event.Frank != nil {
		t.Error("franked without an agent")
	}
	if w.hub.CheckAgent(w.franker.Agent.Public()) != nil {
		t.Error("a room without an agent is refused")
	}
}

// TestFR3AgentIsTheHub: nobody else's key gets into a new room as that of its hub.
func TestFR3AgentIsTheHub(t *testing.T) {
	base := newWorld(t)
	own, agent := base.newAgent(t)
	otherKey, other := base.newAgent(t)
	elsewhere := base.authorities["b.example"].issue(t, own.Public(), base.now, "b.example", "mimi://b.example")
	alice := base.device("mimi://a.example/u/alice", "1")
	for name, agent := range map[string]*wire.FrankingAgentData{
		"another key":            other,
		"certificate of another": {FrankingSignatureKey: own.Public(), Credential: other.Credential},
		"another provider":       {FrankingSignatureKey: own.Public(), Credential: elsewhere},
		"a device":               {FrankingSignatureKey: alice.client.SignatureKey.Public(), Credential: alice.client.Credential},
		"basic credential":       {FrankingSignatureKey: own.Public(), Credential: mls.BasicCredential([]byte("mimi://a.example"))},
	} {
		spec := base.spec(alice)
		spec.Agent = agent
		base.create(alice, spec)
		if base.hub.CheckAgent(own.Public()) == nil {
			t.Errorf("%s: accepted", name)
		}
		alice.group, alice.view = nil, nil
	}
	spec := base.spec(alice)
	spec.Agent = agent
	base.create(alice, spec)
	if base.hub.CheckAgent(own.Public()) != nil || base.hub.CheckAgent(otherKey.Public()) == nil {
		t.Error("the hub does not know its own key")
	}
}

func TestFR3MalformedAgentIsNone(t *testing.T) {
	w := newFrankingWorld(t)
	ext := must[mls.Extensions](t)(room.NewRoomExtensions(room.Spec{Room: w.room, Name: "x", Creator: w.alice.user, Hub: w.hubSender, Agent: w.agent}))
	dict := must[mls.AppDataDictionary](t)(ext.AppData())
	ext = must[mls.Extensions](t)(ext.SetAppData(dict.Set(policy.FrankingAgent, []byte{9, 9})))
	info, tree := w.alice.found(ext)
	h, resp, err := room.Create(w.config(), w.ms(), w.alice.id, w.room, w.hubSender, info, tree)
	if err != nil || h == nil {
		t.Fatal(resp, err)
	}
	if h.View().FrankingAgent() != nil || h.CheckAgent(w.franker.Agent.Public()) == nil {
		t.Error("a malformed agent is taken for one, or lets the room through")
	}
}

func TestFR4SenderIsThatOfTheRequest(t *testing.T) {
	w := newFrankingWorld(t)
	m, data := w.write(w.alice, "hello")
	aad := must[[]byte](t)(room.MessageAAD(w.alice.group.Context(), m.Salt, data))
	event := w.submitFranked(w.alice, w.request(w.alice, data, aad))
	context := wire.ServerFrankingContext{SenderURI: w.alice.user, RoomURI: w.room, AcceptedTimestamp: event.Timestamp}
	if err := event.Frank.Verify(w.franker.Agent.Public(), context); err != nil {
		t.Error(err)
	}
}

func TestFR5ReceiverVerifies(t *testing.T) {
	w := newFrankingWorld(t)
	app := &room.Application{Roots: w}
	if err := room.CheckAgent(app, w.bob.view); err != nil {
		t.Fatal(err)
	}
	m, sender, aad := w.sent()
	if r := w.bob.view.VerifyFrank(m, sender, aad); r != nil {
		t.Fatal(r)
	}
	carol := user(t, "mimi://a.example/u/carol")
	elsewhere := must[mimi.RoomID](t)(mimi.ParseRoomID("mimi://a.example/r/other"))
	for name, change := range map[string]func(*room.Franked, *mimi.UserID, *[]byte){
		"no frank":         func(m *room.Franked, _ *mimi.UserID, _ *[]byte) { m.Frank = wire.Frank{} },
		"time":             func(m *room.Franked, _ *mimi.UserID, _ *[]byte) { m.AcceptedTimestamp++ },
		"server_frank":     func(m *room.Franked, _ *mimi.UserID, _ *[]byte) { m.Frank.ServerFrank[0] ^= 1 },
		"suite":            func(m *room.Franked, _ *mimi.UserID, _ *[]byte) { m.Frank.FrankingSignatureSuite = 3 },
		"data":             func(m *room.Franked, _ *mimi.UserID, _ *[]byte) { m.ApplicationData = append(m.ApplicationData, 0) },
		"salt":             func(m *room.Franked, _ *mimi.UserID, _ *[]byte) { m.Salt[0] ^= 1 },
		"sender's leaf":    func(_ *room.Franked, s *mimi.UserID, _ *[]byte) { *s = carol },
		"sender's content": func(m *room.Franked, _ *mimi.UserID, _ *[]byte) { m.SenderURI = carol },
		"both senders":     func(m *room.Franked, s *mimi.UserID, _ *[]byte) { m.SenderURI, *s = carol, carol },
		"room":             func(m *room.Franked, _ *mimi.UserID, _ *[]byte) { m.RoomURI = elsewhere },
		"no tag":           func(_ *room.Franked, _ *mimi.UserID, aad *[]byte) { *aad = room.EmptyAAD() },
		"another tag":      func(_ *room.Franked, _ *mimi.UserID, aad *[]byte) { *aad = bytes.Clone(*aad); (*aad)[35] ^= 1 },
		"no safe AAD":      func(_ *room.Franked, _ *mimi.UserID, aad *[]byte) { *aad = nil },
	} {
		changed, sender, aad := *m, sender, aad
		changed.ApplicationData = slices.Clip(m.ApplicationData)
		change(&changed, &sender, &aad)
		if w.bob.view.VerifyFrank(&changed, sender, aad) == nil {
			t.Errorf("%s: changed and still verified", name)
		}
	}
}

// TestFR5AgentMustBeTheHubs: a frank verifies under the key that the room names, so that key must be the hub's.
func TestFR5AgentMustBeTheHubs(t *testing.T) {
	w := newFrankingWorld(t)
	app := &room.Application{Roots: w}
	foreign := w.authorities["b.example"].issue(t, w.franker.Agent.Public(), w.now, "b.example", "mimi://b.example")
	elsewhere := w.device("mimi://a.example/u/eve", "1")
	for name, agent := range map[string]*wire.FrankingAgentData{
		"none":             nil,
		"another provider": {FrankingSignatureKey: w.franker.Agent.Public(), Credential: foreign},
		"another key":      {FrankingSignatureKey: elsewhere.client.SignatureKey.Public(), Credential: w.agent.Credential},
		"a device":         {FrankingSignatureKey: elsewhere.client.SignatureKey.Public(), Credential: elsewhere.client.Credential},
	} {
		spec := w.spec(elsewhere)
		spec.Agent = agent
		w.create(elsewhere, spec)
		if room.CheckAgent(app, elsewhere.view) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// replacing lets a committer replace the franking agent, as no client of ours does.
type replacing struct{ *room.Application }

// UpdateComponent implements mls.Application.
func (l replacing) UpdateComponent(id mls.ComponentID, old []byte, updates [][]byte) ([]byte, error) {
	if id == policy.FrankingAgent {
		return updates[0], nil
	}
	return l.Application.UpdateComponent(id, old, updates)
}

func TestFR7AgentStaysForAGroup(t *testing.T) {
	w := newFrankingWorld(t)
	_, other := w.newAgent(t)
	proposal := mls.AppDataUpdateProposal(policy.FrankingAgent, must[[]byte](t)(other.Bytes()))
	options := mls.CommitOptions{Proposals: []mls.Proposal{proposal}, AAD: room.EmptyAAD()}
	if _, err := w.alice.group.Commit(options); err == nil {
		t.Error("a client of ours commits another agent")
	}
	cfg := w.config()
	cfg.Application = replacing{&room.Application{Roots: w}}
	g := must[*mls.Group](t)(mls.RestoreGroup(cfg, w.alice.client, must[[]byte](t)(w.alice.group.State()), must[[]byte](t)(w.alice.group.RatchetState())))
	bundle := must[*mls.CommitBundle](t)(g.Commit(options))
	if out := w.update(w.alice, must[*wire.UpdateRequest](t)(wire.NewCommitRequest(bundle))); out.Next != nil {
		t.Error("the hub lets another agent in")
	}
	if _, err := w.bob.group.Process(bundle.Commit); err == nil {
		t.Error("a member follows to another agent")
	}
}

func TestFR8HubKeyOfTheTime(t *testing.T) {
	w := newFrankingWorld(t)
	start := w.ms()
	w.franker.HubKeys = []room.HubKey{{From: start - 1000, Key: [32]byte{1}}, {From: start + 1000, Key: [32]byte{2}}, {From: start + 2000, Key: [32]byte{3}}}
	used := func(m *room.Franked) (key int) {
		for _, k := range w.franker.HubKeys {
			if (&room.Franker{Agent: w.franker.Agent, HubKeys: []room.HubKey{k}}).VerifyReported(m, w.alice.user, w.room) == nil {
				key = int(k.Key[0])
			}
		}
		return key
	}
	for _, tt := range []struct{ after, key int }{{-5000, 1}, {0, 1}, {999, 1}, {1000, 2}, {1999, 2}, {2000, 3}, {900000, 3}} {
		m := w.frankAt(uint64(int(start) + tt.after))
		if got := used(m); got != tt.key {
			t.Errorf("%d ms: key %d, want %d", tt.after, got, tt.key)
		}
		if r := w.franker.VerifyReported(m, w.alice.user, w.room); r != nil {
			t.Errorf("%d ms: %v", tt.after, r)
		}
	}
	// A frank of another time's key, as of a hub whose clock was wrong, is found by trial.
	m := w.frankAt(start + 1500)
	w.franker.HubKeys[1], w.franker.HubKeys[2] = room.HubKey{From: start + 1000, Key: [32]byte{3}}, room.HubKey{From: start + 2000, Key: [32]byte{2}}
	if r := w.franker.VerifyReported(m, w.alice.user, w.room); r != nil {
		t.Error("not found by trial: ", r)
	}
}

// frankAt is a message of alice's that was accepted at a time, also one that is past.
func (w *frankingWorld) frankAt(at uint64) *room.Franked {
	w.t.Helper()
	w.hub = must[*room.Hub](w.t)(room.Restore(w.config(), must[[]byte](w.t)(w.hub.State()), 0))
	m, data := w.write(w.alice, "hello")
	aad := must[[]byte](w.t)(room.MessageAAD(w.alice.group.Context(), m.Salt, data))
	_, accepted, err := w.hub.Submit(at, room.From(w.alice.id), w.request(w.alice, data, aad))
	if err != nil || accepted == nil || accepted.Timestamp != at {
		w.t.Fatalf("accepted %v, want it at %d", accepted, at)
	}
	frank := must[*wire.Frank](w.t)(w.franker.Frank(accepted))
	return &room.Franked{ApplicationData: data, Salt: m.Salt, SenderURI: w.alice.user, RoomURI: w.room, Frank: *frank, AcceptedTimestamp: at}
}

func TestSM4FrankIsTheSameAgain(t *testing.T) {
	w := newFrankingWorld(t)
	m, data := w.write(w.alice, "hello")
	req := w.request(w.alice, data, must[[]byte](t)(room.MessageAAD(w.alice.group.Context(), m.Salt, data)))
	_, accepted, err := w.hub.Submit(w.ms(), room.From(w.alice.id), req)
	if err != nil {
		t.Fatal(err)
	}
	first, second := must[*wire.Frank](t)(w.franker.Frank(accepted)), must[*wire.Frank](t)(w.franker.Frank(accepted))
	if !bytes.Equal(accepted.Event(first), accepted.Event(second)) {
		t.Error("two franks for one message")
	}
}

func TestRA2HubVerifiesAReport(t *testing.T) {
	w := newFrankingWorld(t)
	m, _, _ := w.sent()
	if r := w.franker.VerifyReported(m, w.alice.user, w.room); r != nil {
		t.Fatal(r)
	}
	for name, change := range map[string]func(*room.Franked){
		"content":        func(m *room.Franked) { m.ApplicationData[len(m.ApplicationData)-1] ^= 1 },
		"salt":           func(m *room.Franked) { m.Salt[3] ^= 1 },
		"time":           func(m *room.Franked) { m.AcceptedTimestamp-- },
		"server_frank":   func(m *room.Franked) { m.Frank.ServerFrank[9] ^= 1 },
		"signature":      func(m *room.Franked) { m.Frank.FrankingIntegritySignature[9] ^= 1 },
		"no signature":   func(m *room.Franked) { m.Frank.FrankingIntegritySignature = nil },
		"suite":          func(m *room.Franked) { m.Frank.FrankingSignatureSuite = 0x0003 },
		"unknown suite":  func(m *room.Franked) { m.Frank.FrankingSignatureSuite = 0xF123 },
		"another scheme": func(m *room.Franked) { m.Frank.FrankingSignatureSuite = 0x0002 },
	} {
		changed := *m
		changed.ApplicationData = bytes.Clone(m.ApplicationData)
		changed.Frank.FrankingIntegritySignature = bytes.Clone(m.Frank.FrankingIntegritySignature)
		change(&changed)
		if w.franker.VerifyReported(&changed, w.alice.user, w.room) == nil {
			t.Errorf("%s: changed and still verified", name)
		}
	}
	foreign := &room.Franker{Agent: w.franker.Agent, HubKeys: []room.HubKey{{Key: [32]byte{9}}}}
	if foreign.VerifyReported(m, w.alice.user, w.room) == nil {
		t.Error("verified with another hub's key")
	}
}

func TestRA4ReportNamesAbuserAndRoom(t *testing.T) {
	w := newFrankingWorld(t)
	m, _, _ := w.sent()
	other := must[mimi.RoomID](t)(mimi.ParseRoomID("mimi://a.example/r/other"))
	for _, r := range []*policy.Refusal{w.franker.VerifyReported(m, w.bob.user, w.room), w.franker.VerifyReported(m, w.alice.user, other)} {
		if r == nil || r.Rule != "RA-4" {
			t.Errorf("got %v", r)
		}
	}
}

func BenchmarkVerifyFrank(b *testing.B) {
	w := newFrankingWorld(b)
	m, sender, aad := w.sent()
	b.ReportAllocs()
	for b.Loop() {
		if r := w.bob.view.VerifyFrank(m, sender, aad); r != nil {
			b.Fatal(r)
		}
	}
}
