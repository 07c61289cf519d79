package room

import (
	"bytes"
	"errors"
	"io"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

// NewGroupInfoRequest makes the request of a client that wants to join, with a fresh key for the answer.
//
// draft-ietf-mimi-protocol-06, Section 5.6
func NewGroupInfoRequest(rand io.Reader, c *mls.Client) (*wire.GroupInfoRequest, *mls.HPKEPrivateKey, error) {
	return NewJoinRequest(rand, c, nil)
}

// NewJoinRequest is NewGroupInfoRequest with the code of a join link.
func NewJoinRequest(rand io.Reader, c *mls.Client, code []byte) (*wire.GroupInfoRequest, *mls.HPKEPrivateKey, error) {
	key, err := mls.GenerateHPKEKey(c.SignatureKey.CipherSuite(), rand)
	if err != nil {
		return nil, nil, err
	}
	req := &wire.GroupInfoRequest{
		Protocol:             wire.ProtocolMLS10,
		RequestingCredential: c.Credential,
		GroupInfoPublicKey:   key.Public(),
		JoiningCode:          code,
	}
	return req, key, req.Sign(c.SignatureKey)
}

// ErrStrange is why a room cannot be joined that is of another cipher suite than ours, or whose state says what we do not
// understand.
var ErrStrange = errors.New("room: a room of another make")

// OpenGroupInfo decrypts and checks the answer: it is signed by the external sender of the room that was asked for,
// who is that room's hub. The GroupInfo itself is verified by joining.
func OpenGroupInfo(room mimi.RoomID, resp *wire.GroupInfoResponse, key *mls.HPKEPrivateKey) (*wire.GroupInfoRatchetTree, error) {
	if resp.RoomID != room {
		return nil, errors.New("room: answer for another room")
	}
	if resp.CipherSuite != Suite {
		return nil, ErrStrange
	}
	if err := resp.Verify(); err != nil {
		return nil, err
	}
	info, err := resp.Open(key)
	if err != nil {
		return nil, err
	}
	if info.GroupInfo.GroupContext.CipherSuite != Suite {
		return nil, ErrStrange
	}
	id, err := identify(resp.HubSender.Credential)
	if err != nil || id.hub != room.Provider() {
		return nil, errors.New("room: answer is not signed by the room's hub")
	}
	data, _ := info.GroupInfo.GroupContext.Extensions.Get(mls.ExtensionExternalSenders)
	senders, err := mls.UnmarshalExternalSenders(data)
	if err != nil {
		return nil, err
	}
	for _, s := range senders {
		if bytes.Equal(s.SignatureKey, resp.HubSender.SignatureKey) && s.Credential.Equal(resp.HubSender.Credential) {
			return info, nil
		}
	}
	return nil, errors.New("room: answer is not signed by an external sender of the group")
}

// JoinRoom makes the external commit by which client joins: a new device of a listed user, one that comes back
// and takes the place of its old leaf, or the first of a user whom the room lets in. The group is at the new epoch with
// the commit pending.
//
// RFC 9420, Section 12.4.3.2
func JoinRoom(cfg mls.Config, c *mls.Client, room mimi.RoomID, info *wire.GroupInfoRatchetTree) (*mls.Group, *mls.CommitBundle, error) {
	return JoinRoomWith(cfg, c, room, info, nil)
}

// JoinRoomWith is JoinRoom with the code of a join link, which the GroupInfo was requested with.
func JoinRoomWith(cfg mls.Config, c *mls.Client, room mimi.RoomID, info *wire.GroupInfoRatchetTree, code []byte) (*mls.Group, *mls.CommitBundle, error) {
	if info.RatchetTreeOption.Representation != wire.TreeFull {
		return nil, nil, errors.New("room: no ratchet tree to join with")
	}
	tree := info.RatchetTreeOption.RatchetTree
	public, err := mls.NewPublicGroup(cfg, info.GroupInfo, tree)
	if err != nil {
		return nil, nil, err
	}
	v, err := NewView(public.Context(), public.Members())
	if err != nil {
		return nil, nil, errors.Join(ErrStrange, err)
	}
	if r := v.Check(room); r != nil {
		return nil, nil, errors.Join(ErrStrange, errors.New("room: "+r.String()))
	}
	id, err := identify(c.Credential)
	if err != nil {
		return nil, nil, err
	}
	proposals, err := v.entry(id, code)
	if err != nil {
		return nil, nil, err
	}
	// draft-ietf-mls-extensions, Section 6.3: pending SelfRemoves survive, and are for the joiner to commit
	var leaving []*mls.Message
	for _, p := range info.PendingProposals {
		if p.Proposal.Public != nil && p.Proposal.Public.Proposal().Type == mls.ProposalSelfRemove {
			leaving = append(leaving, p.Proposal.Message)
		}
	}
	return mls.JoinExternalWith(cfg, c, info.GroupInfo, tree, proposals, leaving, HandshakeAAD(public.Context()))
}

// entry are the proposals of an external commit: the removal of the client's old leaf, or the list entry of a user who
// had none.
//
// RFC 9420, Section 12.2; draft-ietf-mimi-room-policy-03, Section 8.1.1
func (v *View) entry(id who, code []byte) ([]mls.Proposal, error) {
	if old, ok := v.Client(id.client); ok {
		return []mls.Proposal{mls.RemoveProposal(old.Leaf)}, nil
	}
	if v.state.IsListed(id.user.String()) {
		return nil, nil
	}
	// whether the code is still good is for the hub to say, by its clock
	role, ground := v.state.Entry(id.claims(), code, 0)
	if ground == policy.NoGround {
		return nil, errors.New("room: room lets in nobody who is not listed")
	}
	p, err := participantsProposal(policy.ParticipantsUpdate{
		AddedParticipants: []policy.Participant{{User: id.user.String(), RoleIndex: role}},
	})
	return []mls.Proposal{p}, err
}
