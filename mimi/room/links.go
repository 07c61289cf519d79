package room

import (
	"encoding/base64"
	"errors"
	"io"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
)

// joinCodeSize is the size of the codes of our join links in octets.
const joinCodeSize = 16

// JoinOffer is what a join link says to those who get it: where to, and the code that lets them in. It is a secret of
// its maker and of whom it was given to; the room keeps a hash.
type JoinOffer struct {
	Room mimi.RoomID
	Code []byte
}

// String is the offer in letters: the room's URI and the code, with a fragment's sign between them, so that in an
// address the code never reaches a server.
func (o JoinOffer) String() string {
	return o.Room.String() + "#" + base64.RawURLEncoding.EncodeToString(o.Code)
}

// ParseJoinOffer reads what String wrote.
func ParseJoinOffer(s string) (JoinOffer, error) {
	for i := range len(s) {
		if s[i] != '#' {
			continue
		}
		room, err := mimi.ParseRoomID(s[:i])
		if err != nil {
			return JoinOffer{}, err
		}
		code, err := base64.RawURLEncoding.Strict().DecodeString(s[i+1:])
		if err != nil || len(code) == 0 || len(code) > maxJoinCode {
			return JoinOffer{}, errors.New("room: malformed code in join link")
		}
		o := JoinOffer{Room: room, Code: code}
		if o.String() != s { // the decoder passes over line breaks
			return JoinOffer{}, errors.New("room: malformed code in join link")
		}
		return o, nil
	}
	return JoinOffer{}, errors.New("room: join link without a code")
}

// CreateJoinLink makes a code from rand and proposes to keep a link for it: whoever has the code may join with a role,
// once or as often as there are users, until a time in milliseconds since 1970 (0: until it is revoked). The link it
// returns is what RevokeJoinLink takes.
//
// draft-ietf-mimi-room-policy-03, Section 6.2
func CreateJoinLink(v *View, rand io.Reader, role uint32, multiuser bool, notAfter uint64) ([]mls.Proposal, JoinOffer, policy.JoinLink, error) {
	offer := JoinOffer{Room: v.room, Code: make([]byte, joinCodeSize)}
	if _, err := io.ReadFull(rand, offer.Code); err != nil {
		return nil, JoinOffer{}, policy.JoinLink{}, err
	}
	link := policy.JoinLink{
		CodeHash: policy.JoinCodeHash(v.room.String(), offer.Code), RoleIndex: role, Multiuser: multiuser, NotAfter: notAfter,
	}
	data, err := link.Bytes()
	if err != nil {
		return nil, JoinOffer{}, policy.JoinLink{}, err
	}
	list, err := setLinks(v, policy.LinksUpdate{AddedLinks: policy.Links{data}})
	return list, offer, link, err
}

// JoinLinks lists the join links of the room that are of our making.
func (v *View) JoinLinks() []policy.JoinLink { return v.state.JoinLinks() }

// RevokeJoinLink proposes that a join link lets in nobody more.
//
// draft-ietf-mimi-room-policy-03, Section 6.2
func RevokeJoinLink(v *View, link policy.JoinLink) ([]mls.Proposal, error) {
	dict, err := v.context.Extensions.AppData()
	if err != nil {
		return nil, err
	}
	data, _ := dict.Get(policy.JoinLinks)
	list, err := policy.UnmarshalLinks(data)
	if err != nil {
		return nil, err
	}
	for i, raw := range list {
		if l, err := policy.UnmarshalJoinLink(raw); err == nil && l == link {
			return setLinks(v, policy.LinksUpdate{RemovedIndices: []uint32{uint32(i)}})
		}
	}
	return nil, errors.New("room: no such join link")
}

func setLinks(v *View, u policy.LinksUpdate) ([]mls.Proposal, error) {
	data, err := u.Bytes()
	if err != nil {
		return nil, err
	}
	return setComponent(v, policy.JoinLinks, data)
}
