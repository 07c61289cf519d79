package room_test

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// TestPL2ProposalVector is the example of the draft: Bob joins as role 2.
func TestPL2ProposalVector(t *testing.T) {
	u := policy.ParticipantsUpdate{AddedParticipants: []policy.Participant{{User: "mimi://b.example/u/bob", RoleIndex: 2}}}
	p := list(t, u)
	b := cryptobyte.NewBuilder(nil)
	b.AddValue(&p)
	want := "00080022011e00001b16" + hex.EncodeToString([]byte("mimi://b.example/u/bob")) + "00000002"
	if got := hex.EncodeToString(must[[]byte](t)(b.Bytes())); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRS3ML2NewRoomExtensions(t *testing.T) {
	w := newWorld(t)
	alice := w.device("mimi://a.example/u/alice", "1")
	spec := w.spec(alice)
	_, spec.Agent = w.newAgent(t)
	ext := must[mls.Extensions](t)(room.NewRoomExtensions(spec))
	required, _ := ext.Get(mls.ExtensionRequiredCapabilities)
	// ext [0006], prop [0008, 000a], cred []
	if want := "020006040008000a00"; hex.EncodeToString(required) != want {
		t.Errorf("required capabilities %x, want %s", required, want)
	}
	dict := must[mls.AppDataDictionary](t)(ext.AppData())
	want := mls.ComponentsList{1, 2, 3, 0x21, 0x22, 0x23, 0x25, 0x27, 0x28, 0x2c, 0x30}
	var got mls.ComponentsList
	for _, c := range dict {
		got = append(got, c.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("components %x, want %x", got, want)
	}
	listed, _ := dict.Get(mls.ComponentAppComponents)
	if l := must[mls.ComponentsList](t)(mls.UnmarshalComponentsList(listed)); !slices.Equal(l, want) {
		t.Errorf("app_components %x", l)
	}
	// an empty list: authenticated data is a SafeAAD, and may hold nothing
	if aad, ok := dict.Get(mls.ComponentSafeAAD); !ok || !bytes.Equal(aad, []byte{0}) {
		t.Errorf("safe_aad %x", aad)
	}
	for name, spec := range map[string]room.Spec{
		"nobody":       {Room: w.room, Hub: w.hubSender},
		"no room":      {Creator: alice.user, Hub: w.hubSender},
		"with oneself": {Room: w.room, Creator: alice.user, Peer: alice.user, Hub: w.hubSender},
	} {
		if _, err := room.NewRoomExtensions(spec); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}

func TestML3ML4OurLeaves(t *testing.T) {
	w := newWorld(t)
	leaf := w.device("mimi://a.example/u/alice", "1").kp.KeyPackage.LeafNode
	if !leaf.Capabilities.Support(room.RequiredCapabilities()) {
		t.Error("our own rooms are closed to us")
	}
	for _, e := range leaf.Capabilities.Extensions {
		if e < 6 {
			t.Errorf("default extension %d listed", e)
		}
	}
	for _, p := range leaf.Capabilities.Proposals {
		if p < 8 {
			t.Errorf("default proposal type %d listed", p)
		}
	}
	dict := must[mls.AppDataDictionary](t)(leaf.Extensions.AppData())
	aad, _ := dict.Get(mls.ComponentSafeAAD)
	if !bytes.Equal(aad, []byte{2, 0, 0x20}) {
		t.Errorf("safe_aad %x", aad)
	}
	types, _ := dict.Get(mls.ComponentContentMediaTypes)
	if l := must[mls.MediaTypeList](t)(mls.UnmarshalMediaTypeList(types)); l[0].Type != "application/mimi-content" {
		t.Errorf("media types %v", l)
	}
	listed, _ := dict.Get(mls.ComponentAppComponents)
	supported := must[mls.ComponentsList](t)(mls.UnmarshalComponentsList(listed))
	ext := must[mls.Extensions](t)(room.NewRoomExtensions(w.spec(w.devices[0])))
	for _, c := range must[mls.AppDataDictionary](t)(ext.AppData()) {
		if !slices.Contains(supported, c.ID) {
			t.Errorf("component %x of our rooms is not in our leaves", c.ID)
		}
	}
}

func TestML9Framing(t *testing.T) {
	_, alice, _, _, _ := trio(t)
	data := must[[]byte](t)(room.FrameContent([]byte("cbor")))
	if want := "000004" + hex.EncodeToString([]byte("cbor")); hex.EncodeToString(data) != want {
		t.Errorf("got %x, want %s", data, want)
	}
	mediaType, content, err := alice.view.UnframeContent(data)
	if err != nil || mediaType != "application/mimi-content" || string(content) != "cbor" {
		t.Errorf("got %q %q %v", mediaType, content, err)
	}
	other := mls.ApplicationFraming{MediaType: mls.MediaType{Type: "text/plain"}, Content: []byte("x")}
	if mediaType, _, err := alice.view.UnframeContent(must[[]byte](t)(other.Bytes())); err != nil || mediaType != "text/plain" {
		t.Errorf("got %q %v", mediaType, err)
	}
	for _, bad := range [][]byte{nil, {0}, {0, 0}, {0, 0, 1}, {0, 0, 0, 0}} {
		if _, _, err := alice.view.UnframeContent(bad); err == nil {
			t.Errorf("%x accepted", bad)
		}
	}
}

// TestRP6ClientsDoNotTrustTheHub has a hub distribute a commit that it should have refused.
func TestRP6ClientsDoNotTrustTheHub(t *testing.T) {
	w, alice, bob, _, carol := trio(t)
	for rule, list := range map[string][]mls.Proposal{
		"RP-4": proposals(t)(room.RemoveUser(carol.view, bob.user)),
		"MD-1": proposals(t)(room.Rename(carol.view, "Mine")),
		"UP-4": {mls.AddProposal(w.device("mimi://b.example/u/zoe", "1").kp.KeyPackage)},
	} {
		req := carol.commit(list...)
		message := must[wire.MLSMessage](t)(wire.ParseMLSMessage(req.ProposalOrCommit.Raw))
		r, err := alice.group.Process(message.Message)
		if err != nil {
			t.Fatal(err)
		}
		if _, refusal := room.CheckCommit(alice.view, r.Commit, w.ms()); refusal == nil || refusal.Rule != rule {
			t.Errorf("got %v, want %s", refusal, rule)
		}
	}
}

func TestID6CheckBeforeEntering(t *testing.T) {
	w, alice, _, _, _ := trio(t)
	if r := alice.view.Check(w.room); r != nil {
		t.Error(r)
	}
	other := must[mimi.RoomID](t)(mimi.ParseRoomID("mimi://a.example/r/other"))
	if r := alice.view.Check(other); r == nil || r.Rule != "ID-6" {
		t.Errorf("got %v", r)
	}
}
