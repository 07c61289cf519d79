package policy

import (
	"crypto/sha256"
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// maxLinks limits the encoded list of join links, in octets.
const maxLinks = 64 << 10

// linkTolerance is by how much a new join link may outlive what the room allows, in milliseconds: the clock of its
// maker is not the hub's.
const linkTolerance = 10 * 60 * 1000

// JoinLinkRules describes new join links.
//
// draft-ietf-mimi-room-policy-03, Section 6.2: JoinLinkPolicy.
type JoinLinkRules struct {
	OnRequest  bool
	JoinLink   string
	Multiuser  bool
	Expiration uint32 // seconds, 0: no limit
}

// UnmarshalJoinLinkRules decodes the data of JoinLinkPolicy; an update has the same form.
func UnmarshalJoinLinkRules(data []byte) (p JoinLinkRules, err error) {
	err = decode(data, "join link policy", func(s *cryptobyte.String) bool {
		return readBool(s, &p.OnRequest) && readText(s, &p.JoinLink) && readBool(s, &p.Multiuser) &&
			s.ReadUint32(&p.Expiration)
	})
	return p, err
}

// Bytes encodes the rules.
func (p JoinLinkRules) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addBool(b, p.OnRequest)
		addText(b, p.JoinLink)
		addBool(b, p.Multiuser)
		b.AddUint32(p.Expiration)
	})
}

// Links are the active join links of a room, in octets that only its hub needs to understand; ours are JoinLinks.
//
// draft-ietf-mimi-room-policy-03, Section 6.2: JoinLinksData.
type Links [][]byte

// UnmarshalLinks decodes the data of JoinLinks.
func UnmarshalLinks(data []byte) (l Links, err error) {
	if len(data) > maxLinks {
		return nil, malformed("join links: too long")
	}
	err = decode(data, "join links", func(s *cryptobyte.String) bool {
		return readList(s, (*[][]byte)(&l), syntax.ReadVector)
	})
	return l, err
}

// Bytes encodes the links.
func (l Links) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) { addList(b, l, syntax.AddVector) })
}

// LinksUpdate is an update of JoinLinks. Indices refer to the list at the start of the epoch.
//
// draft-ietf-mimi-room-policy-03, Section 6.2: JoinLinksUpdate.
type LinksUpdate struct {
	RemovedIndices []uint32
	AddedLinks     Links
}

// UnmarshalLinksUpdate decodes an update of JoinLinks.
func UnmarshalLinksUpdate(data []byte) (u LinksUpdate, err error) {
	err = decode(data, "join links update", func(s *cryptobyte.String) bool {
		return readList(s, &u.RemovedIndices, readUint32) && readList(s, (*[][]byte)(&u.AddedLinks), syntax.ReadVector)
	})
	return u, err
}

// Bytes encodes the update.
func (u LinksUpdate) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addList(b, u.RemovedIndices, addUint32)
		addList(b, u.AddedLinks, syntax.AddVector)
	})
}

func updateLinks(old []byte, updates [][]byte) ([]byte, error) {
	var list Links
	if old != nil {
		var err error
		if list, err = UnmarshalLinks(old); err != nil {
			return nil, err
		}
	}
	removed := make([]bool, len(list))
	var added Links
	for _, raw := range updates {
		u, err := UnmarshalLinksUpdate(raw)
		if err != nil {
			return nil, err
		}
		for _, i := range u.RemovedIndices {
			if uint64(i) >= uint64(len(list)) || removed[i] {
				return nil, errors.New("policy: no join link at this index")
			}
			removed[i] = true
		}
		added = append(added, u.AddedLinks...)
	}
	var next Links
	for i := range list {
		if !removed[i] {
			next = append(next, list[i])
		}
	}
	data, err := append(next, added...).Bytes()
	if err == nil && len(data) > maxLinks {
		err = errors.New("policy: too many join links")
	}
	return data, err
}

// JoinLink is what a room of ours keeps of a join link. The code itself is only in the link that its maker hands
// out: whoever sees the room's state can neither join with it nor pass it on.
type JoinLink struct {
	CodeHash  [sha256.Size]byte
	RoleIndex uint32 // of those who join with it
	Multiuser bool   // it lets in more than one user
	NotAfter  uint64 // milliseconds since 1970, 0: until it is revoked
}

const joinLinkVersion = 1

// JoinCodeHash is how a code is recognised in its room.
func JoinCodeHash(roomURI string, code []byte) [sha256.Size]byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 128))
	syntax.AddVector(b, []byte("kith join code"))
	syntax.AddVector(b, []byte(roomURI))
	syntax.AddVector(b, code)
	return sha256.Sum256(b.BytesOrPanic())
}

// UnmarshalJoinLink decodes an entry of Links that one of our clients has made.
func UnmarshalJoinLink(data []byte) (l JoinLink, err error) {
	err = decode(data, "join link", func(s *cryptobyte.String) bool {
		var version uint8
		return s.ReadUint8(&version) && version == joinLinkVersion && s.CopyBytes(l.CodeHash[:]) &&
			s.ReadUint32(&l.RoleIndex) && readBool(s, &l.Multiuser) && s.ReadUint64(&l.NotAfter)
	})
	return l, err
}

// Bytes encodes the link.
func (l JoinLink) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		b.AddUint8(joinLinkVersion)
		b.AddBytes(l.CodeHash[:])
		b.AddUint32(l.RoleIndex)
		addBool(b, l.Multiuser)
		b.AddUint64(l.NotAfter)
	})
}

// Ground is what lets in a user who is not listed.
type Ground uint8

// The grounds to join.
const (
	NoGround      Ground = iota
	OpenRoom             // canOpenJoin
	Preauthorized        // canJoinIfPreauthorized
	ByCode               // canUseJoinCode
)

// Link returns the join link with a code at a time, if it still lets somebody in.
func (s *State) Link(code []byte, at uint64) (JoinLink, bool) {
	hash := JoinCodeHash(s.Metadata.RoomURI, code)
	for _, l := range s.links {
		if l.CodeHash == hash {
			return l, s.usable(l, at)
		}
	}
	return JoinLink{}, false
}

// JoinLinks lists the join links that are of our making. The list must not be modified.
func (s *State) JoinLinks() []JoinLink { return s.links }

// usable: the link has not expired, and grants a role that role 0 may have. One for a single user has to be revoked
// once it was used, which the hub sees to.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.1: the join code refers to a valid target role.
func (s *State) usable(l JoinLink, at uint64) bool {
	none := s.Roles.Get(RoleNone)
	return none.Can(CanUseJoinCode) && none.MayChange(RoleNone, l.RoleIndex) && (l.NotAfter == 0 || at <= l.NotAfter)
}

// Entry says in which role a user who is not listed may join, and on what ground: by its code (nil: none), by the
// claims of its credential, or because the room is open.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.1
func (s *State) Entry(claims []PreAuthClaim, code []byte, at uint64) (uint32, Ground) {
	if s.Base.FixedMembership {
		return RoleNone, NoGround
	}
	if code != nil {
		if l, ok := s.Link(code, at); ok {
			return l.RoleIndex, ByCode
		}
	}
	if role := s.Preauth.Role(claims); s.Roles.Get(role).Can(CanJoinIfPreauthorized) && role != RoleNone {
		return role, Preauthorized
	}
	none := s.Roles.Get(RoleNone)
	if none.Can(CanOpenJoin) {
		for _, role := range s.Roles {
			if none.MayChange(RoleNone, role.RoleIndex) && role.MayBeActive() {
				return role.RoleIndex, OpenRoom
			}
		}
	}
	return RoleNone, NoGround
}

// JoinGround says what lets a user who is not listed list itself in a role, as far as everybody can see it. That it
// knows the code of a link is seen by the hub alone.
//
// draft-ietf-mimi-room-policy-03, Section 8.1.1
func (s *State) JoinGround(role uint32, claims []PreAuthClaim, at uint64) Ground {
	none := s.Roles.Get(RoleNone)
	switch {
	case s.Base.FixedMembership || role == RoleNone:
		return NoGround
	case none.Can(CanOpenJoin) && none.MayChange(RoleNone, role):
		return OpenRoom
	case s.Roles.Get(role).Can(CanJoinIfPreauthorized) && s.Preauth.Role(claims) == role:
		return Preauthorized
	}
	for _, l := range s.links {
		if l.RoleIndex == role && s.usable(l, at) {
			return ByCode
		}
	}
	return NoGround
}

// setLinks authorises an update of the join links.
//
// draft-ietf-mimi-room-policy-03, Sections 6.2 and 8.7
func (k *check) setLinks(p *Proposal) *Refusal {
	u, err := UnmarshalLinksUpdate(p.Update)
	if err != nil {
		return refuse("RP-9", "malformed update of the join links")
	}
	if len(u.RemovedIndices) > 0 && !k.Before.Can(p.By, CanDeleteJoinCode) {
		return refuse("RP-9", "revoking join links needs canDeleteJoinCode")
	}
	if len(u.AddedLinks) > 0 && !k.Before.Can(p.By, CanCreateJoinCode) {
		return refuse("RP-9", "new join links need canCreateJoinCode")
	}
	rules, limited := k.Before.joinLinkRules()
	for _, raw := range u.AddedLinks {
		l, err := UnmarshalJoinLink(raw)
		if err != nil {
			continue // nobody ever joins with it
		}
		if !k.Before.role[p.By].MayChange(RoleNone, l.RoleIndex) {
			return refuse("RP-9", "proposer may not bring in users with the role of the link")
		}
		if limited && (l.Multiuser && !rules.Multiuser || rules.Expiration != 0 && !k.expiresIn(l, rules.Expiration)) {
			return refuse("RP-9", "room does not allow such join links")
		}
	}
	if limited && rules.OnRequest && len(u.AddedLinks) > 0 && k.After.linkCount > 1 {
		return refuse("RP-9", "room keeps one join link at a time")
	}
	return nil
}

// expiresIn tells whether a link made now expires within seconds.
func (k *check) expiresIn(l JoinLink, seconds uint32) bool {
	return l.NotAfter != 0 && l.NotAfter <= k.At+uint64(seconds)*1000+linkTolerance
}

// joinLinkRules returns the rules for new links, if the room has any.
func (s *State) joinLinkRules() (JoinLinkRules, bool) {
	return optional(s, JoinLinkPolicy, UnmarshalJoinLinkRules)
}
