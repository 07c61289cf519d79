package room

import (
	"bytes"
	"errors"
	"io"
	"maps"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

// joinWindow is how long after its GroupInfo request a client may join, in milliseconds.
const joinWindow = 10 * 60 * 1000

// maxJoins bounds the requests remembered for a room, maxJoinsEach those from one provider, which can make up as many
// devices of its users as it likes.
const (
	maxJoins     = 1024
	maxJoinsEach = 128
)

// joins remembers who has asked for the GroupInfo. It is not part of the saved state: after a restart a client
// asks again.
type joins struct {
	byClient map[mimi.ClientID]join
}

type join struct {
	key   string // the signature key of the request
	code  []byte // its joining code, nil if there was none
	until uint64
}

func newJoins() *joins { return &joins{byClient: make(map[mimi.ClientID]join)} }

func (j *joins) add(client mimi.ClientID, req *wire.GroupInfoRequest, now uint64) {
	each := 0
	maps.DeleteFunc(j.byClient, func(c mimi.ClientID, j join) bool {
		if j.until < now || c == client {
			return true
		}
		if c.Provider() == client.Provider() {
			each++
		}
		return false
	})
	if each < maxJoinsEach && len(j.byClient) < maxJoins {
		j.byClient[client] = join{key: string(req.RequestingSignatureKey), code: req.JoiningCode, until: now + joinWindow}
	}
}

func (j *joins) matches(client mimi.ClientID, key mls.SignaturePublicKey, now uint64) bool {
	found, ok := j.byClient[client]
	return ok && found.key == string(key) && now <= found.until
}

// GroupInfo decides about a request for what an external join needs. Refusals do not tell more than that. The
// request is remembered, so the caller holds the room's lock.
//
// draft-ietf-mimi-protocol-06, Section 5.6
func (h *Hub) GroupInfo(now uint64, req *wire.GroupInfoRequest, key *mls.SignatureKey, rand io.Reader) (wire.GroupInfoResponse, error) {
	resp := wire.GroupInfoResponse{Protocol: wire.ProtocolMLS10, RoomID: h.Room(), Status: wire.GroupInfoNotAuthorized}
	client, ok := h.mayJoin(now, req)
	if !ok {
		return resp, nil
	}
	if h.closed {
		resp.Status = wire.GroupInfoNoSuchRoom
		return resp, nil
	}
	if !bytes.Equal(key.Public(), h.sender.SignatureKey) {
		return resp, errors.New("room: hub key is not the external sender's")
	}
	tree, err := h.group.RatchetTree()
	if err != nil {
		return resp, err
	}
	tbe := wire.GroupInfoRatchetTree{GroupInfo: h.group.GroupInfo(), RatchetTreeOption: wire.FullTree(tree)}
	for _, p := range h.pending {
		tbe.PendingProposals = append(tbe.PendingProposals, wire.PendingProposal{Proposal: p.message, HubAcceptedTime: p.time})
	}
	ct, err := tbe.Encrypt(req.CipherSuite, rand, req.GroupInfoPublicKey, h.Room())
	if err != nil {
		return resp, nil // the requester's key is no key
	}
	success := wire.GroupInfoResponse{
		Protocol: wire.ProtocolMLS10, RoomID: h.Room(), Status: wire.GroupInfoSuccess,
		CipherSuite: req.CipherSuite, HubSender: h.sender, EncryptedGroupInfoAndTree: ct,
	}
	if err := success.Sign(key); err != nil {
		return resp, err
	}
	h.joins.add(client, req, now)
	return success, nil
}

// mayJoin: the requester proves a credential of a listed user who may bring in devices, or of one who may become
// listed: by the code of the request, by the claims of the credential, or because the room is open.
//
// draft-ietf-mimi-protocol-06, Section 5.6; draft-ietf-mimi-room-policy-03, Section 8.1.1
func (h *Hub) mayJoin(now uint64, req *wire.GroupInfoRequest) (mimi.ClientID, bool) {
	none := mimi.ClientID{}
	if req.CipherSuite != h.view.context.CipherSuite || req.Verify() != nil || len(req.JoiningCode) > maxJoinCode {
		return none, false
	}
	err := h.cfg.Application.ValidateCredential(req.RequestingCredential, req.RequestingSignatureKey, nil)
	if err != nil {
		return none, false
	}
	id, err := identify(req.RequestingCredential)
	if err != nil || id.client.IsZero() || !id.validAt(now) {
		return none, false
	}
	user := id.user.String()
	if h.gone[user] {
		return none, false
	}
	if !h.now.IsListed(user) {
		_, ground := h.now.Entry(id.claims(), h.redeemable(req.JoiningCode, now), now)
		return id.client, ground != policy.NoGround
	}
	role := h.now.RoleOf(user)
	return id.client, role.MayBeActive() && role.Can(policy.CanAddOwnClient)
}

// redeemable returns a joining code if it counts: one that lets in a single user only if the hub can revoke it then.
func (h *Hub) redeemable(code []byte, now uint64) []byte {
	l, ok := h.now.Link(code, now)
	if code == nil || !ok || !l.Multiuser && !h.now.Can(h.view.Hub().String(), policy.CanDeleteJoinCode) {
		return nil
	}
	return code
}

// checkEntry: a user who was not listed has come in on a ground that holds now, and by code only with the code.
// CheckCommit has seen that there is a ground, as far as members can see it.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.1
func (h *Hub) checkEntry(now uint64, joiner Member, after *View) *policy.Refusal {
	if h.now.IsBanned(joiner.User.String()) {
		return refusal("GI-9", "banned users do not join") // although nobody has committed the ban yet
	}
	role := after.state.RoleOf(joiner.User.String()).RoleIndex
	switch h.now.JoinGround(role, after.id(joiner.Leaf).claims(), h.stamp(now)) {
	case policy.OpenRoom, policy.Preauthorized:
		return nil
	case policy.ByCode:
		code := h.redeemable(h.joins.byClient[joiner.Client].code, now)
		if l, ok := h.now.Link(code, now); ok && code != nil && l.RoleIndex == role {
			return nil
		}
	}
	return refusal("GI-2", "joiner has no valid joining code")
}
