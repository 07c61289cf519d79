package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/wire"
)

func TestEN4RoundTripAndEveryPrefixRefused(t *testing.T) {
	w := newWorld(t)
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		for _, b := range w.bodies(r) {
			data := must[[]byte](t)(b.Bytes())
			again := must[body](t)(reparse(b, data))
			if got := must[[]byte](t)(again.Bytes()); !bytes.Equal(got, data) {
				t.Fatalf("%T: re-encoding differs", b)
			}
			if _, err := reparse(b, append(bytes.Clone(data), 0)); err == nil {
				t.Errorf("%T: trailing octet accepted", b)
			}
			step := max(1, len(data)/300)
			for n := 0; n < len(data); n += step {
				if _, err := reparse(b, data[:n:n]); err == nil {
					t.Fatalf("%T: prefix of %d of %d octets accepted", b, n, len(data))
				}
			}
		}
	}
}

func TestNT1SeveralEventsInOneBody(t *testing.T) {
	w := newWorld(t)
	var stream []byte
	for i := range uint64(3) {
		stream = append(stream, wire.FanoutApplication(i, w.application, nil)...)
	}
	list := must[[]*wire.FanoutMessage](t)(wire.UnmarshalFanoutMessages(stream))
	if len(list) != 3 || list[2].Timestamp != 2 || !bytes.Equal(list[1].Message.Raw, w.application.Raw) {
		t.Errorf("got %d events", len(list))
	}
	if _, err := wire.UnmarshalFanoutMessages(nil); err == nil {
		t.Error("empty body accepted")
	}
	if _, err := wire.UnmarshalFanoutMessages(stream[:len(stream)-1]); err == nil {
		t.Error("truncated body accepted")
	}
	if list, err := wire.SplitFanoutMessages(stream, 3); err != nil || len(list) != 3 {
		t.Errorf("as many events as are wanted: %d, %v", len(list), err)
	}
	if _, err := wire.SplitFanoutMessages(append(stream, "rubbish"...), 3); !errors.Is(err, wire.ErrTooMany) {
		t.Errorf("more than are wanted: %v", err)
	}
}

func TestNT1FanoutIsTimestampMessageAndNoFrank(t *testing.T) {
	w := newWorld(t)
	event := wire.FanoutMessage{Timestamp: 0x0102030405060708, Message: w.application}
	want := append([]byte{1, 2, 3, 4, 5, 6, 7, 8}, w.application.Raw...)
	want = append(want, 0)
	if got := must[[]byte](t)(event.Bytes()); !bytes.Equal(got, want) {
		t.Errorf("general encoding differs")
	}
	if got := wire.FanoutApplication(0x0102030405060708, w.application, nil); !bytes.Equal(got, want) {
		t.Errorf("fast encoding differs")
	}
}

// TestUP1LayoutsByHand compares with octets written down from the structs of the draft.
func TestUP1LayoutsByHand(t *testing.T) {
	for _, c := range []struct {
		b    body
		want string
	}{
		{&wire.UpdateRoomResponse{ResponseCode: wire.UpdateSuccess, AcceptedTimestamp: 1644387225019}, "00 00 0000017edd1dcdbb"},
		{&wire.UpdateRoomResponse{ResponseCode: wire.UpdateWrongEpoch, ErrorDescription: "no", CurrentEpoch: 7}, "01 02 6e6f 0000000000000007"},
		{&wire.UpdateRoomResponse{ResponseCode: wire.UpdateNotAllowed}, "02 00"},
		{&wire.UpdateRoomResponse{ResponseCode: wire.UpdateInvalidProposal, InvalidProposals: []mls.ProposalRef{{0xaa}, {0xbb, 0xcc}}}, "03 00 05 01aa 02bbcc"},
		{&wire.SubmitMessageResponse{Protocol: 1, StatusCode: wire.SubmitAccepted, AcceptedTimestamp: 1}, "01 00 0000000000000001 00"},
		{&wire.SubmitMessageResponse{Protocol: 1, StatusCode: wire.SubmitAccepted, AcceptedTimestamp: 1,
			Frank: &wire.Frank{FrankingSignatureSuite: 1, FrankingIntegritySignature: []byte{9}}},
			"01 00 0000000000000001 01 " + strings.Repeat("00", 32) + " 0001 01 09"},
		{&wire.SubmitMessageResponse{Protocol: 1, StatusCode: wire.SubmitNotAllowed}, "01 01"},
		{&wire.SubmitMessageResponse{Protocol: 1, StatusCode: wire.SubmitEpochTooOld, CurrentEpoch: 2}, "01 02 0000000000000002"},
		{&wire.GroupInfoResponse{Protocol: 1, RoomID: room, Status: wire.GroupInfoNotAuthorized},
			"01 1c " + hex.EncodeToString([]byte("mimi://a.example/r/clubhouse")) + " 02"},
		{&wire.KeyMaterialResponse{Protocol: 1, UserStatus: wire.UserNoConsent, UserURI: bob},
			"01 05 16 " + hex.EncodeToString([]byte("mimi://b.example/u/bob")) + " 00"},
		{&wire.IdentifierRequest{QueryElements: []wire.QueryElement{{SearchType: wire.SearchNick, SearchValue: "bob"}, {SearchType: wire.SearchVCardField, FieldName: "FN", SearchValue: "B"}}},
			"0b 02 03 626f62 08 02 464e 01 42 00"},
	} {
		want := strings.ReplaceAll(c.want, " ", "")
		if got := hex.EncodeToString(must[[]byte](t)(c.b.Bytes())); got != want {
			t.Errorf("%T: got %s, want %s", c.b, got, want)
		}
	}
}

func TestUP15OnlyPublicHandshakes(t *testing.T) {
	w := newWorld(t)
	if _, err := (&wire.UpdateRequest{ProposalOrCommit: w.application}).Bytes(); err == nil {
		t.Error("application message as update encoded")
	}
	if _, err := wire.UnmarshalUpdateRequest(append(bytes.Clone(w.application.Raw), 0)); err == nil {
		t.Error("application message as update parsed")
	}
	mixed := append(bytes.Clone(w.proposal.Raw), byte(0x40|len(w.commit.Raw)>>8), byte(len(w.commit.Raw)))
	if _, err := wire.UnmarshalUpdateRequest(append(mixed, w.commit.Raw...)); err == nil {
		t.Error("commit among further proposals parsed")
	}
}

func TestSM1OnlyPrivateApplicationMessages(t *testing.T) {
	w := newWorld(t)
	req := wire.SubmitMessageRequest{Protocol: 1, AppMessage: w.proposal, SendingURI: alice}
	if _, err := req.Bytes(); err == nil {
		t.Error("proposal as application message encoded")
	}
	raw := append([]byte{1}, w.proposal.Raw...)
	raw = append(raw, byte(len(alice.String())))
	if _, err := wire.UnmarshalSubmitMessageRequest(append(raw, alice.String()...)); err == nil {
		t.Error("proposal as application message parsed")
	}
}

func TestEN3UnknownValuesRefused(t *testing.T) {
	for name, c := range map[string]struct {
		like body
		data string
	}{
		"protocol 2":          {&wire.SubmitMessageResponse{}, "0201"},
		"status":              {&wire.SubmitMessageResponse{}, "0103"},
		"optional 2":          {&wire.SubmitMessageResponse{}, "0100000000000000000102"},
		"update code":         {&wire.UpdateRoomResponse{}, "0400"},
		"not UTF-8":           {&wire.UpdateRoomResponse{}, "0201ff"},
		"long varint":         {&wire.UpdateRoomResponse{}, "024000"},
		"group info status":   {&wire.GroupInfoResponse{}, "011c" + hex.EncodeToString([]byte(room.String())) + "00"},
		"clients with denial": {&wire.KeyMaterialResponse{}, "010516" + hex.EncodeToString([]byte(bob.String())) + "1901" + "17" + hex.EncodeToString([]byte("mimi://b.example/d/bob1"))},
		"search type 0":       {&wire.IdentifierRequest{}, "02000000"},
		"search type 9":       {&wire.IdentifierRequest{}, "02090000"},
		"query code":          {&wire.IdentifierResponse{}, "05000000"},
		"room as user":        {&wire.KeyMaterialResponse{}, "01001c" + hex.EncodeToString([]byte(room.String())) + "00"},
	} {
		data, err := hex.DecodeString(c.data)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := reparse(c.like, data); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

func TestKM3RequestSigned(t *testing.T) {
	w := newWorld(t)
	req := must[*wire.KeyMaterialRequest](t)(wire.UnmarshalKeyMaterialRequest(must[[]byte](t)(w.keyMaterial(rand.New(rand.NewPCG(1, 1)))[0].Bytes())))
	if err := req.Sign(w.key); err != nil {
		t.Fatal(err)
	}
	if err := req.Verify(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*wire.KeyMaterialRequest){
		"target":     func(r *wire.KeyMaterialRequest) { r.TargetUser = alice },
		"user":       func(r *wire.KeyMaterialRequest) { r.RequestingUser = bob },
		"suites":     func(r *wire.KeyMaterialRequest) { r.AcceptableCipherSuites = []mls.CipherSuite{1} },
		"no suite":   func(r *wire.KeyMaterialRequest) { r.AcceptableCipherSuites = []mls.CipherSuite{2} },
		"credential": func(r *wire.KeyMaterialRequest) { r.RequesterCredential = mls.BasicCredential([]byte("x")) },
		"key":        func(r *wire.KeyMaterialRequest) { r.RequesterSignatureKey = bytes.Repeat([]byte{1}, 32) },
		"signature":  func(r *wire.KeyMaterialRequest) { r.Signature = append(bytes.Clone(r.Signature[1:]), 1) },
	} {
		forged := *req
		change(&forged)
		if forged.Verify() == nil {
			t.Errorf("request with another %s verifies", name)
		}
	}
}

// The scheme of a request follows from the length of its key, in every suite that we have.
func TestKM3SchemeFollowsKeyLength(t *testing.T) {
	w := newWorld(t)
	fresh := must[[]byte](t)(w.keyMaterial(rand.New(rand.NewPCG(1, 1)))[0].Bytes())
	all := []mls.CipherSuite{mls.X25519AES128GCMSHA256Ed25519, mls.P256AES128GCMSHA256P256,
		mls.X25519ChaCha20Poly1305SHA256Ed25519, mls.P521AES256GCMSHA512P521, mls.P384AES256GCMSHA384P384}
	const unknown, ed448, provisional = 0x0A0A, 4, mls.XWingChaCha20Poly1305SHA256Ed25519
	for _, cs := range all {
		key := must[*mls.SignatureKey](t)(mls.GenerateSignatureKey(cs, rng))
		// what we do not have is passed over, wherever it stands
		acceptable := [][]mls.CipherSuite{{cs}, all, {unknown, ed448, provisional, cs}, {7, 5, 3, 2, 1}}
		for _, list := range acceptable {
			req := must[*wire.KeyMaterialRequest](t)(wire.UnmarshalKeyMaterialRequest(fresh))
			req.AcceptableCipherSuites = list
			if err := req.Sign(key); err != nil {
				t.Fatal(err)
			}
			if err := req.Verify(); err != nil {
				t.Errorf("%d among %d: %v", cs, list, err)
			}
			req.Signature[len(req.Signature)/2] ^= 1
			if req.Verify() == nil {
				t.Errorf("%d among %d: changed signature verifies", cs, list)
			}
		}
		for _, list := range [][]mls.CipherSuite{{unknown}, {ed448, 6}, {provisional}} {
			req := must[*wire.KeyMaterialRequest](t)(wire.UnmarshalKeyMaterialRequest(fresh))
			req.AcceptableCipherSuites = list
			if err := req.Sign(key); err != nil {
				t.Fatal(err)
			}
			if req.Verify() == nil {
				t.Errorf("%d verifies though only %d are acceptable", cs, list)
			}
		}
	}
}

func TestGI1AndGI3Signed(t *testing.T) {
	w := newWorld(t)
	private := must[*mls.HPKEPrivateKey](t)(mls.GenerateHPKEKey(1, rng))
	req := &wire.GroupInfoRequest{Protocol: 1, RequestingCredential: w.credential, GroupInfoPublicKey: private.Public()}
	if err := req.Sign(w.key); err != nil {
		t.Fatal(err)
	}
	if err := req.Verify(); err != nil {
		t.Fatal(err)
	}
	forged := *req
	forged.JoiningCode = []byte{}
	if forged.Verify() == nil {
		t.Error("request with an added code verifies")
	}

	tbe := wire.GroupInfoRatchetTree{GroupInfo: w.bundle.GroupInfo, RatchetTreeOption: wire.FullTree(w.tree),
		PendingProposals: []wire.PendingProposal{{Proposal: w.proposal, HubAcceptedTime: 5}}}
	ct := must[mls.HPKECiphertext](t)(tbe.Encrypt(1, rng, private.Public(), room))
	resp := &wire.GroupInfoResponse{Protocol: 1, RoomID: room, Status: wire.GroupInfoSuccess, CipherSuite: 1,
		HubSender: mls.ExternalSender{SignatureKey: w.key.Public(), Credential: w.credential}, EncryptedGroupInfoAndTree: ct}
	if err := resp.Sign(w.key); err != nil {
		t.Fatal(err)
	}
	resp = must[*wire.GroupInfoResponse](t)(wire.UnmarshalGroupInfoResponse(must[[]byte](t)(resp.Bytes())))
	if err := resp.Verify(); err != nil {
		t.Fatal(err)
	}
	opened := must[*wire.GroupInfoRatchetTree](t)(resp.Open(private))
	if len(opened.PendingProposals) != 1 || opened.PendingProposals[0].HubAcceptedTime != 5 || !bytes.Equal(opened.RatchetTreeOption.RatchetTree, w.tree) {
		t.Error("opened content differs")
	}
	other := *resp
	other.RoomID = must[mimi.RoomID](t)(mimi.ParseRoomID("mimi://a.example/r/other"))
	if other.Verify() == nil {
		t.Error("response for another room verifies")
	}
	if _, err := other.Open(private); err == nil {
		t.Error("response for another room opens")
	}
}

func TestUP10GroupInfoOptionNeedsOneForm(t *testing.T) {
	w := newWorld(t)
	for i, o := range []wire.GroupInfoOption{{}, {GroupInfo: w.bundle.GroupInfo, Partial: &wire.PartialGroupInfo{}}} {
		req := wire.UpdateRequest{ProposalOrCommit: w.commit, GroupInfoOption: o, RatchetTreeOption: wire.FullTree(w.tree)}
		if _, err := req.Bytes(); err == nil {
			t.Errorf("case %d encoded", i)
		}
	}
}

func FuzzBodies(f *testing.F) {
	w := newWorld(f)
	likes := w.bodies(rand.New(rand.NewPCG(1, 1)))
	for i, b := range likes {
		data, err := b.Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), data)
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		like := likes[int(kind)%len(likes)]
		b, err := reparse(like, data)
		if err != nil {
			return
		}
		again, err := b.Bytes()
		if err != nil {
			t.Fatalf("%T: parsed but does not encode: %v", like, err)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%T: re-encoding differs", like)
		}
	})
}

func BenchmarkSubmitToFanout(b *testing.B) {
	w := newWorld(b)
	req := wire.SubmitMessageRequest{Protocol: 1, AppMessage: w.application, SendingURI: alice}
	data, err := req.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r, err := wire.UnmarshalSubmitMessageRequest(data)
		if err != nil {
			b.Fatal(err)
		}
		if len(wire.FanoutApplication(1, r.AppMessage, nil)) == 0 {
			b.Fatal("empty")
		}
	}
}
