package hostile_test

import (
	"crypto/rand"
	"net/http"
	"testing"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/server/servertest/hostile"
)

// encode returns the octets of a body.
func encode(t *testing.T, body interface{ Bytes() ([]byte, error) }) []byte {
	t.Helper()
	b, err := body.Bytes()
	must(t, err)
	return b
}

// keyMaterial is a request for KeyPackages of Dave for the mixed room, signed with Mallory's key.
func (s *siege) keyMaterial(by mimi.UserID, credential mls.Credential) *wire.KeyMaterialRequest {
	s.t.Helper()
	req := &wire.KeyMaterialRequest{Protocol: wire.ProtocolMLS10, RequestingUser: by, TargetUser: s.dave.Account.User, RoomID: s.room,
		AcceptableCipherSuites: []mls.CipherSuite{room.Suite}, RequiredCapabilities: room.RequiredCapabilities(), RequesterCredential: credential}
	must(s.t, req.Sign(s.mallory.Key))
	return req
}

// impostor is a credential in the name of somebody of another provider, for which evil.example vouches.
func (s *siege) impostor(user mimi.UserID) mls.Credential {
	s.t.Helper()
	client, err := mimi.NewClientID(user, "impostor")
	must(s.t, err)
	der, err := s.evil.Certify(client, user, s.mallory.Key.Public())
	must(s.t, err)
	return mls.X509Credential(der)
}

// TestTR6OtherDomainsUsers: a provider speaks for its own users only, whatever it has for a signature.
func TestTR6OtherDomainsUsers(t *testing.T) {
	besiege(t, func(s *siege) {
		bob, mallory, dave := s.bob.Account.User, s.mallory.User, s.dave.Account.User
		forbidden := func(what, endpoint, target string, body []byte, code string) {
			t.Helper()
			s.refused(what, hostile.Request{Endpoint: endpoint, Target: target}, body, http.StatusForbidden, code)
		}
		body, err := s.mallory.Encrypt(s.room, "in Bob's name")
		must(t, err)
		submit, err := wire.UnmarshalSubmitMessageRequest(body)
		must(t, err)
		submit.SendingURI = bob
		forbidden("a message in Bob's name", "submitMessage", s.room.String(), encode(t, submit), "not_allowed")

		forbidden("KeyPackages in Bob's name", "keyMaterial", dave.String(), encode(t, s.keyMaterial(bob, s.impostor(bob))), "not_allowed")
		forbidden("KeyPackages in Alice's name", "keyMaterial", dave.String(),
			encode(t, s.keyMaterial(s.alice.Account.User, s.impostor(s.alice.Account.User))), "not_allowed")
		forbidden("a credential of Bob's for Mallory", "keyMaterial", dave.String(), encode(t, s.keyMaterial(mallory, s.impostor(bob))), "not_allowed")
		unsigned := s.keyMaterial(mallory, s.mallory.MLS.Credential)
		unsigned.Signature[3]++
		forbidden("a wrong signature", "keyMaterial", dave.String(), encode(t, unsigned), "bad_signature")
		other := encode(t, s.keyMaterial(mallory, s.mallory.MLS.Credential))
		s.refused("a path for somebody else", hostile.Request{Endpoint: "keyMaterial", Target: bob.String()}, other, http.StatusBadRequest, "bad_request")

		for _, user := range []mimi.UserID{bob, s.alice.Account.User} {
			client, err := room.NewClient(s.mallory.Key, s.impostor(user))
			must(t, err)
			req, _, err := room.NewGroupInfoRequest(rand.Reader, client)
			must(t, err)
			forbidden("the group for "+user.Name(), "groupInfo", s.room.String(), encode(t, req), "bad_signature")
		}
		ask := wire.ConsentEntry{ConsentOperation: wire.ConsentRequest, RequesterURI: bob, TargetURI: dave}
		forbidden("a request in Bob's name", "requestConsent", s.a.Domain.String(), encode(t, &ask), "not_allowed")
		grant := wire.ConsentEntry{ConsentOperation: wire.ConsentGrant, RequesterURI: dave, TargetURI: bob}
		forbidden("consent in Bob's name", "updateConsent", s.a.Domain.String(), encode(t, &grant), "not_allowed")
		elsewhere := wire.ConsentEntry{ConsentOperation: wire.ConsentRequest, RequesterURI: mallory, TargetURI: bob}
		forbidden("a request for another provider's user", "requestConsent", s.a.Domain.String(), encode(t, &elsewhere), "not_allowed")
		report := wire.AbuseReport{ReportingUser: bob, AllegedAbuserURI: dave, Note: "lies"}
		forbidden("a report in Bob's name", "reportAbuse", s.room.String(), encode(t, &report), "not_allowed")

		// Nobody but a room's hub says what happens in it.
		event := hostile.Request{To: s.b.Domain, Endpoint: "notify", Target: s.room.String()}
		s.refused("events of a.example's room", event, s.lastEvent(), http.StatusForbidden, "not_allowed")
	})
}
