package wire_test

import (
	"bytes"
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/wire"
)

// acceptAll takes every credential; what the credentials say is not the subject here.
type acceptAll struct{}

func (acceptAll) ValidateCredential(mls.Credential, mls.SignaturePublicKey, *mls.Credential) error {
	return nil
}

func (acceptAll) UpdateComponent(mls.ComponentID, []byte, [][]byte) ([]byte, error) {
	return nil, errors.New("no components here")
}

var rng = crand.Reader

var config = mls.Config{Now: time.Now, Application: acceptAll{}}

// must fails the test on an error and returns the value.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// world is a group with a message of each kind.
type world struct {
	key         *mls.SignatureKey
	credential  mls.Credential
	keyPackage  *mls.KeyPackage
	bundle      *mls.CommitBundle
	commit      wire.MLSMessage
	proposal    wire.MLSMessage
	application wire.MLSMessage
	tree        mls.RatchetTree
}

func newClient(t testing.TB, uri string) *mls.Client {
	key := must[*mls.SignatureKey](t)(mls.GenerateSignatureKey(1, rng))
	return &mls.Client{
		SignatureKey: key,
		Credential:   mls.BasicCredential([]byte(uri)),
		Capabilities: mls.Capabilities{
			Versions: []uint16{1}, CipherSuites: []mls.CipherSuite{1}, Credentials: []mls.CredentialType{1},
		},
	}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	a, b := newClient(t, "mimi://a.example/d/alice/1"), newClient(t, "mimi://b.example/d/bob/1")
	now := uint64(time.Now().Unix())
	lifetime := mls.Lifetime{NotBefore: now - 3600, NotAfter: now + 86400}
	secrets := must[*mls.KeyPackageSecrets](t)(mls.NewKeyPackage(config, b, lifetime, nil))
	g := must[*mls.Group](t)(mls.NewGroup(config, a, []byte("mimi://a.example/g/x"), nil))
	w := &world{key: a.SignatureKey, credential: a.Credential, keyPackage: secrets.KeyPackage}
	message := must[wire.MLSMessage](t)
	w.application = message(wire.NewMLSMessage(must[*mls.Message](t)(g.Encrypt([]byte{0}, []byte("hello")))))
	w.proposal = message(wire.NewMLSMessage(must[*mls.Message](t)(g.Propose(mls.AddProposal(w.keyPackage), []byte{0}))))
	w.bundle = must[*mls.CommitBundle](t)(g.Commit(mls.CommitOptions{AAD: []byte{0}}))
	w.commit = message(wire.NewMLSMessage(w.bundle.Commit))
	w.tree = must[mls.RatchetTree](t)(g.RatchetTree())
	return w
}

var (
	alice, _  = mimi.ParseUserID("mimi://a.example/u/alice")
	bob, _    = mimi.ParseUserID("mimi://b.example/u/bob")
	client, _ = mimi.ParseClientID("mimi://b.example/d/bob/1")
	room, _   = mimi.ParseRoomID("mimi://a.example/r/clubhouse")
)

// random bytes, at most n of them.
func random(r *rand.Rand, n int) []byte {
	out := make([]byte, r.IntN(n))
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	return out
}

func text(r *rand.Rand) string {
	const letters = "abc äöü 日本 😀"
	runes := []rune(letters)
	out := make([]rune, r.IntN(20))
	for i := range out {
		out[i] = runes[r.IntN(len(runes))]
	}
	return string(out)
}

type body interface{ Bytes() ([]byte, error) }

// bodies makes a random value of each body; every variant of a selector appears.
func (w *world) bodies(r *rand.Rand) []body {
	return append(append(w.keyMaterial(r), w.updates(r)...), append(w.messages(r), w.queries(r)...)...)
}

func (w *world) keyMaterial(r *rand.Rand) []body {
	req := &wire.KeyMaterialRequest{
		Protocol: 1, RequestingUser: alice, TargetUser: bob, AcceptableCipherSuites: []mls.CipherSuite{1, 3},
		RequiredCapabilities:  mls.RequiredCapabilities{Extensions: []mls.ExtensionType{6}, Proposals: []mls.ProposalType{8, 10}},
		RequesterSignatureKey: w.key.Public(), RequesterCredential: w.credential, Signature: random(r, 80),
	}
	if r.IntN(2) == 0 {
		req.RoomID = room
	}
	caps := mls.Capabilities{Versions: []uint16{1}, CipherSuites: []mls.CipherSuite{1}}
	full := &wire.KeyMaterialResponse{Protocol: 1, UserStatus: wire.UserPartialSuccess, UserURI: bob, Clients: []wire.ClientKeyMaterial{
		{ClientStatus: wire.ClientSuccess, ClientURI: client, KeyPackage: w.keyPackage},
		{ClientStatus: wire.ClientKeyMaterialExhausted, ClientURI: client},
		{ClientStatus: wire.ClientNothingCompatible, ClientURI: client},
		{ClientStatus: wire.ClientNothingCompatible, ClientURI: client, ClientCapabilities: &caps},
	}}
	none := &wire.KeyMaterialResponse{Protocol: 1, UserStatus: wire.UserNoConsent, UserURI: bob}
	return []body{req, full, none}
}

func (w *world) updates(r *rand.Rand) []body {
	partial := &wire.PartialGroupInfo{
		GroupInfoExtensions: mls.Extensions{{Type: 4, Data: append([]byte{32}, bytes.Repeat([]byte{7}, 32)...)}}, Signature: random(r, 80),
	}
	commit := func(o wire.GroupInfoOption, tree wire.RatchetTreeOption, w2 *mls.Welcome) body {
		return &wire.UpdateRequest{ProposalOrCommit: w.commit, Welcome: w2, GroupInfoOption: o, RatchetTreeOption: tree}
	}
	full := wire.GroupInfoOption{GroupInfo: w.bundle.GroupInfo}
	return []body{
		commit(full, wire.FullTree(w.tree), w.bundle.Welcome),
		commit(full, wire.RatchetTreeOption{Representation: wire.TreeHTTPSURI, RatchetTreeURL: "https://a.example/t", TreeSignature: random(r, 80)}, nil),
		commit(wire.GroupInfoOption{Partial: partial}, wire.RatchetTreeOption{Representation: wire.TreeOutOfBand, TreeSignature: random(r, 80)}, nil),
		commit(wire.GroupInfoOption{Partial: partial}, wire.RatchetTreeOption{Representation: wire.TreeDistributionService}, w.bundle.Welcome),
		&wire.UpdateRequest{ProposalOrCommit: w.proposal, MoreProposals: []wire.MLSMessage{w.proposal, w.proposal}[:r.IntN(3)]},
		&wire.UpdateRoomResponse{ResponseCode: wire.UpdateSuccess, AcceptedTimestamp: r.Uint64()},
		&wire.UpdateRoomResponse{ResponseCode: wire.UpdateWrongEpoch, ErrorDescription: text(r), CurrentEpoch: r.Uint64()},
		&wire.UpdateRoomResponse{ResponseCode: wire.UpdateNotAllowed, ErrorDescription: text(r)},
		&wire.UpdateRoomResponse{ResponseCode: wire.UpdateInvalidProposal, InvalidProposals: []mls.ProposalRef{random(r, 40), random(r, 40)}},
	}
}

func (w *world) messages(r *rand.Rand) []body {
	frank := &wire.Frank{FrankingSignatureSuite: 1, FrankingIntegritySignature: random(r, 80)}
	copy(frank.ServerFrank[:], bytes.Repeat([]byte{byte(r.Uint32())}, 32))
	welcome := wire.MLSMessage{Message: &mls.Message{WireFormat: mls.WireFormatWelcome, Welcome: w.bundle.Welcome}}
	welcome.Raw, _ = welcome.Message.Bytes()
	ct := mls.HPKECiphertext{KEMOutput: random(r, 40), Ciphertext: random(r, 200)}
	sender := mls.ExternalSender{SignatureKey: w.key.Public(), Credential: mls.BasicCredential([]byte("mimi://a.example"))}
	return []body{
		&wire.SubmitMessageRequest{Protocol: 1, AppMessage: w.application, SendingURI: alice},
		&wire.SubmitMessageResponse{Protocol: 1, StatusCode: wire.SubmitAccepted, AcceptedTimestamp: r.Uint64()},
		&wire.SubmitMessageResponse{Protocol: 1, StatusCode: wire.SubmitAccepted, AcceptedTimestamp: r.Uint64(), Frank: frank},
		&wire.SubmitMessageResponse{Protocol: 1, StatusCode: wire.SubmitNotAllowed},
		&wire.SubmitMessageResponse{Protocol: 1, StatusCode: wire.SubmitEpochTooOld, CurrentEpoch: r.Uint64()},
		&wire.FanoutMessage{Timestamp: r.Uint64(), Message: w.application},
		&wire.FanoutMessage{Timestamp: r.Uint64(), Message: w.application, Frank: frank},
		&wire.FanoutMessage{Timestamp: r.Uint64(), Message: welcome, RatchetTreeOption: wire.FullTree(w.tree)},
		&wire.FanoutMessage{Timestamp: r.Uint64(), Message: w.proposal, MoreProposals: []wire.MLSMessage{w.proposal}},
		&wire.FanoutMessage{Timestamp: r.Uint64(), Message: w.commit, ExternalProposals: []wire.MLSMessage{w.proposal}},
		&wire.GroupInfoRequest{Protocol: 1, CipherSuite: 1, RequestingSignatureKey: w.key.Public(), RequestingCredential: w.credential,
			GroupInfoPublicKey: random(r, 40), Signature: random(r, 80)},
		&wire.GroupInfoRequest{Protocol: 1, CipherSuite: 1, RequestingSignatureKey: w.key.Public(), RequestingCredential: w.credential,
			GroupInfoPublicKey: random(r, 40), JoiningCode: random(r, 40), Signature: random(r, 80)},
		&wire.GroupInfoResponse{Protocol: 1, RoomID: room, Status: wire.GroupInfoSuccess, CipherSuite: 1, HubSender: sender,
			EncryptedGroupInfoAndTree: ct, Signature: random(r, 80)},
		&wire.GroupInfoResponse{Protocol: 1, RoomID: room, Status: wire.GroupInfoNotAuthorized},
		&wire.GroupInfoRatchetTree{GroupInfo: w.bundle.GroupInfo, RatchetTreeOption: wire.FullTree(w.tree),
			PendingProposals: []wire.PendingProposal{{Proposal: w.proposal, HubAcceptedTime: r.Uint64()}}},
	}
}

func (w *world) queries(r *rand.Rand) []body {
	ext := mls.AppDataDictionary{{ID: 5, Data: random(r, 20)}}
	return []body{
		&wire.IdentifierRequest{QueryElements: []wire.QueryElement{
			{SearchType: wire.SearchNick, SearchValue: text(r)},
			{SearchType: wire.SearchOIDCStdClaim, FieldName: "given_name", SearchValue: text(r)},
			{SearchType: wire.SearchVCardField, FieldName: "FN", SearchValue: text(r)},
		}, IDRequestExtensions: ext},
		&wire.IdentifierResponse{ResponseCode: wire.QuerySuccess, URI: []mimi.UserID{alice, bob}, FoundProfiles: []wire.UserProfile{
			{StableURI: alice, Fields: []wire.ProfileField{{FieldSource: wire.FieldVCard, FieldName: "FN", FieldValue: random(r, 30)}}},
			{StableURI: bob},
		}},
		&wire.IdentifierResponse{ResponseCode: wire.QueryNotFound, IDResponseExtensions: ext},
		&wire.ConsentEntry{ConsentOperation: wire.ConsentRequest, RequesterURI: alice, TargetURI: bob, RoomID: room},
		&wire.ConsentEntry{ConsentOperation: wire.ConsentGrant, RequesterURI: alice, TargetURI: bob,
			ClientKeyPackages: []*mls.KeyPackage{w.keyPackage, w.keyPackage}, ConsentExtensions: ext},
		&wire.AbuseReport{AllegedAbuserURI: bob, Note: text(r)},
		&wire.AbuseReport{ReportingUser: alice, AllegedAbuserURI: bob, AbuseExtensions: ext, Messages: []wire.AbusiveMessage{
			{MessageContent: random(r, 40), Frank: wire.Frank{FrankingSignatureSuite: 1}, AcceptedTimestamp: r.Uint64()}}},
		&wire.FrankingAgentData{FrankingSignatureKey: w.key.Public(), Credential: w.credential},
		&wire.Frank{FrankingSignatureSuite: 1, FrankingIntegritySignature: random(r, 80)},
	}
}

// reparse decodes data as the kind of body that like is.
func reparse(like any, data []byte) (body, error) {
	switch like.(type) {
	case *wire.KeyMaterialRequest:
		return wire.UnmarshalKeyMaterialRequest(data)
	case *wire.KeyMaterialResponse:
		return wire.UnmarshalKeyMaterialResponse(data)
	case *wire.UpdateRequest:
		return wire.UnmarshalUpdateRequest(data)
	case *wire.UpdateRoomResponse:
		return wire.UnmarshalUpdateRoomResponse(data)
	case *wire.SubmitMessageRequest:
		return wire.UnmarshalSubmitMessageRequest(data)
	case *wire.SubmitMessageResponse:
		return wire.UnmarshalSubmitMessageResponse(data)
	case *wire.FanoutMessage:
		return wire.UnmarshalFanoutMessage(data)
	case *wire.GroupInfoRequest:
		return wire.UnmarshalGroupInfoRequest(data)
	case *wire.GroupInfoResponse:
		return wire.UnmarshalGroupInfoResponse(data)
	case *wire.GroupInfoRatchetTree:
		return wire.UnmarshalGroupInfoRatchetTree(data)
	case *wire.ConsentEntry:
		return wire.UnmarshalConsentEntry(data)
	case *wire.AbuseReport:
		return wire.UnmarshalAbuseReport(data)
	case *wire.FrankingAgentData:
		return wire.UnmarshalFrankingAgentData(data)
	case *wire.Frank:
		return wire.UnmarshalFrank(data)
	case *wire.IdentifierRequest:
		return wire.UnmarshalIdentifierRequest(data)
	case *wire.IdentifierResponse:
		return wire.UnmarshalIdentifierResponse(data)
	}
	return nil, errors.New("no such body")
}
