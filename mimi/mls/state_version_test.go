package mls

import (
	"encoding/json"
	"os"
	"testing"
)

// A state that was stored before there were exporter trees: with past epochs, a skipped message, pending proposals and
// a pending commit. It goes on as if nothing had been.
func TestStateOfVersion1IsRead(t *testing.T) {
	data, err := os.ReadFile("testdata/state_v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Key, State, Ratchets, Public, Exported []byte
		Late, Message, Commit                  []byte
		GroupInfo                              []byte `json:"group_info"`
		NextExported                           []byte `json:"next_exported"`
		NextMessage                            []byte `json:"next_message"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if v.State[0] != 1 || v.Public[0] != 1 {
		t.Fatalf("states of version %d and %d", v.State[0], v.Public[0])
	}
	cfg := Config{Application: testApp{}}
	c := newTestClient(t, newRandom(1), "a")
	c.SignatureKey = must[*SignatureKey](t)(ParseSignatureKey(1, v.Key))
	g := must[*Group](t)(RestoreGroup(cfg, c, v.State, v.Ratchets))
	equal(t, "exported secret", must[[]byte](t)(g.Export("test", []byte("context"), 32)), v.Exported)
	for _, m := range []struct {
		message []byte
		text    string
	}{{v.Late, "late"}, {v.Message, "two"}} {
		r, err := g.Process(must[*Message](t)(UnmarshalMessage(m.message)))
		if err != nil || string(r.Application) != m.text {
			t.Errorf("%s: %v", m.text, err)
		}
	}
	if _, err := g.SafeExportSecret(1); err == nil || err == ErrExported {
		t.Errorf("secret of an epoch without exporter tree: %v", err)
	}
	if len(g.PendingProposals()) != 2 || g.PendingCommit() == nil {
		t.Error("something pending was lost")
	}
	// from here on it is stored in the new form
	g = saveRestore(t, cfg, g)
	if state := must[[]byte](t)(g.State()); state[0] != stateVersion {
		t.Errorf("stored as version %d", state[0])
	}
	hub := must[*PublicGroup](t)(RestorePublicGroup(cfg, v.Public))
	r := must[*Received](t)(hub.Process(must[*Message](t)(UnmarshalMessage(v.Commit))))
	if err := hub.Merge(r.Commit, must[*GroupInfo](t)(UnmarshalGroupInfo(v.GroupInfo))); err != nil {
		t.Error(err)
	}
	if err := g.MergePending(); err != nil {
		t.Fatal(err)
	}
	equal(t, "exported secret of the next epoch", must[[]byte](t)(g.Export("test", []byte("context"), 32)), v.NextExported)
	received, err := g.Process(must[*Message](t)(UnmarshalMessage(v.NextMessage)))
	if err != nil || string(received.Application) != "three" {
		t.Errorf("message of the next epoch: %v", err)
	}
	if _, err := g.Commit(CommitOptions{}); err != nil {
		t.Error(err)
	}
	for _, version := range []byte{0, stateVersion + 1} {
		bad := append([]byte{version}, v.State[1:]...)
		if _, err := RestoreGroup(cfg, c, bad, v.Ratchets); err == nil {
			t.Errorf("read as version %d", version)
		}
	}
}
