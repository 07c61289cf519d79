package client

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// errRoomExists: the hub has another direct room of the same two people.
var errRoomExists = errors.New("client: direct room exists")

// maxRoomName is the longest name of a room, in octets.
const maxRoomName = 256

// address turns what a person typed into a user: name, name@domain or a URI.
func (e *engine) address(s string) (mimi.UserID, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "mimi://") {
		u, err := mimi.ParseUserID(s)
		if err != nil {
			return u, fail(CodeNotFound, "no such address")
		}
		return u, nil
	}
	name, domain, found := strings.Cut(strings.ToLower(strings.TrimPrefix(s, "@")), "@")
	p := e.user.Provider()
	if found {
		var err error
		if p, err = mimi.NewProviderID(domain); err != nil {
			return mimi.UserID{}, fail(CodeNotFound, "no such domain")
		}
	}
	u, err := mimi.NewUserID(p, name)
	if err != nil {
		return u, fail(CodeNotFound, "no such name")
	}
	return u, nil
}

// people turns addresses into users other than this one. Those of our provider are known; whether others exist their
// provider says when their devices are asked for.
func (e *engine) people(ctx context.Context, addresses []string) ([]mimi.UserID, error) {
	var users []mimi.UserID
	for _, a := range addresses {
		u, err := e.address(a)
		if err != nil {
			return nil, err
		}
		if u != e.user && !slices.Contains(users, u) {
			users = append(users, u)
		}
	}
	profiles, err := e.fetchNames(ctx, users)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		if err := e.needRoots(ctx, u.Provider()); err != nil {
			return nil, err
		}
		if _, ok := profiles[u]; !ok && u.Provider() == e.user.Provider() {
			return nil, fail(CodeNotFound, "no such user")
		}
	}
	return users, e.mayApproach(ctx, users)
}

// newChat opens the direct room with somebody; there is at most one.
func (e *engine) newChat(ctx context.Context, address string) (RoomView, error) {
	users, err := e.people(ctx, []string{address})
	if err != nil {
		return RoomView{}, err
	}
	if len(users) == 0 {
		return RoomView{}, fail(CodeYourself, "a chat with oneself")
	}
	r, err := e.openDirect(ctx, users[0])
	if err != nil {
		return RoomView{}, err
	}
	v, err := e.viewRoom(ctx, r)
	if err == nil {
		err = e.do(ctx, func() error { v.Waiting = e.waitsFor(users[0]); return nil })
	}
	if err == nil && !v.Waiting {
		err = e.agreeTo(ctx, users[0])
	}
	return v, err
}

func (e *engine) viewRoom(ctx context.Context, r *room) (v RoomView, err error) {
	err = e.do(ctx, func() error { v = e.roomView(r); return nil })
	return v, err
}

// openDirect finds or makes the direct room. If the other makes one at the same moment, the hub keeps the first, and
// the second of us waits to be let in, or lets itself in.
func (e *engine) openDirect(ctx context.Context, peer mimi.UserID) (*room, error) {
	var r *room
	var p *pendingChange
	alone := false // the room is there, but the peer had no device when it was made
	err := e.do(ctx, func() (err error) {
		if r = e.direct(peer); r != nil {
			p, alone = r.change, r.rec.waiting
			return nil
		}
		r, p, err = e.create(rooms.Spec{Creator: e.user, Peer: peer}, []mimi.UserID{peer})
		return err
	})
	if err != nil {
		return nil, err
	}
	if p != nil {
		waiting, cancel := context.WithTimeout(ctx, opTimeout)
		defer cancel()
		err = e.await(waiting, p)
	}
	if errors.Is(err, errRoomExists) {
		return e.awaitDirect(ctx, peer)
	}
	if err == nil && p == nil && alone {
		err = e.request(ctx, r, change{kind: changeInvite, users: []string{peer.String()}})
	}
	return r, err
}

// direct is the direct room with somebody that is in use or being made; first of all one in which both are.
func (e *engine) direct(peer mimi.UserID) (found *room) {
	for _, r := range e.rooms {
		if r.rec.peer == peer && !r.rec.removed && (found == nil || found.rec.waiting) {
			found = r
		}
	}
	return found
}

// awaitDirect waits for the room that somebody else made.
func (e *engine) awaitDirect(ctx context.Context, peer mimi.UserID) (r *room, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	e.spawn(e.findRooms)
	err = e.wait(ctx, func() bool {
		r = e.direct(peer)
		return r != nil && r.change == nil && r.usable()
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fail(CodeConflict, "the room exists, but nobody lets us in")
	}
	return r, err
}

// kinds are the templates of groups by what the page calls them; anything else is a family.
var kinds = map[string]policy.Template{
	"moderated": policy.Moderated, "announcement": policy.Announcement, "firm": policy.Firm,
}

// organisations are the providers of a group's first members, our own first, which hosts it.
func (e *engine) organisations(users []mimi.UserID) []mimi.ProviderID {
	list := []mimi.ProviderID{e.user.Provider()}
	for _, u := range users {
		if !slices.Contains(list, u.Provider()) {
			list = append(list, u.Provider())
		}
	}
	return list
}

// newGroup makes a group of a kind, with a name and members.
func (e *engine) newGroup(ctx context.Context, kind, name string, addresses []string) (RoomView, error) {
	name, err := roomName(name)
	if err != nil {
		return RoomView{}, err
	}
	users, err := e.people(ctx, addresses)
	if err != nil {
		return RoomView{}, err
	}
	var r *room
	var p *pendingChange
	err = e.do(ctx, func() (err error) {
		spec := rooms.Spec{Creator: e.user, Name: name, Template: kinds[kind]}
		if spec.Template == policy.Firm {
			spec.Organisations = e.organisations(users)
		}
		r, p, err = e.create(spec, users)
		return err
	})
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		defer cancel()
		err = e.await(ctx, p)
	}
	if err != nil {
		return RoomView{}, err
	}
	return e.viewRoom(ctx, r)
}

func roomName(name string) (string, error) {
	name = strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(name, "\x00", ""), "\uFFFD"))
	switch {
	case name == "":
		return "", fail(CodeEmpty, "empty name")
	case len(name) > maxRoomName:
		return "", fail(CodeTooLong, "name too long")
	}
	return name, nil
}

// create makes the MLS group of a new room, stores it, and lets the change machinery upload it and invite users.
func (e *engine) create(spec rooms.Spec, users []mimi.UserID) (*room, *pendingChange, error) {
	if e.link == nil || len(e.hub) == 0 {
		return nil, nil, errOffline
	}
	g, err := e.newGroupFor(&spec)
	if err != nil {
		return nil, nil, err
	}
	request, err := createRequest(g)
	if err != nil {
		return nil, nil, err
	}
	r := e.roomFor(spec.Room)
	p := &pendingChange{change: change{kind: changeCreate}, request: request, hash: "create"}
	for _, u := range users {
		p.change.users = append(p.change.users, u.String())
	}
	r.group, r.change = g, p
	v, err := viewOf(g)
	if err != nil {
		return nil, nil, err
	}
	e.refresh(r, v)
	b := new(batch)
	r.saveGroup(b)
	b.put(r.key(keyChange), p.bytes())
	e.saveRecord(b, r)
	if err := e.commit(b); err != nil {
		return nil, nil, err
	}
	e.startChange(r)
	return r, p, nil
}

// newGroupFor names the room and its group and makes the group at epoch 0.
func (e *engine) newGroupFor(spec *rooms.Spec) (*mls.Group, error) {
	var random [16]byte
	if _, err := io.ReadFull(e.cfg.Rand, random[:]); err != nil {
		return nil, err
	}
	var err error
	p := e.user.Provider()
	if spec.Room, err = mimi.NewRoomID(p, base64.RawURLEncoding.EncodeToString(random[:])); err != nil {
		return nil, err
	}
	if _, err = io.ReadFull(e.cfg.Rand, random[:]); err != nil {
		return nil, err
	}
	id, err := mimi.NewGroupID(p, random)
	if err != nil {
		return nil, err
	}
	if spec.Hub, err = parseExternalSender(e.hub); err != nil {
		return nil, err
	}
	if spec.Agent, err = parseAgent(e.agent); err != nil {
		return nil, err
	}
	ext, err := rooms.NewRoomExtensions(*spec)
	if err != nil {
		return nil, err
	}
	c, err := e.mlsClient()
	if err != nil {
		return nil, err
	}
	return mls.NewGroup(e.mlsConfig(), c, []byte(id.String()), ext)
}

// onCreateAnswer goes on to the invitations, or gives the room up.
func (e *engine) onCreateAnswer(ctx context.Context, l *link, r *room, p *pendingChange, body []byte) error {
	resp, err := wire.UnmarshalUpdateRoomResponse(body)
	if err == nil && resp.ResponseCode != wire.UpdateSuccess && e.listed(ctx, l, r) {
		resp.ResponseCode, resp.AcceptedTimestamp = wire.UpdateSuccess, e.nowMS() // it was created before, the answer got lost
	}
	return e.do(ctx, func() error {
		b := new(batch)
		if err != nil || resp.ResponseCode != wire.UpdateSuccess {
			if err == nil {
				err = fail(CodeNotAllowed, "room refused by the hub")
				if !r.rec.peer.IsZero() {
					err = errRoomExists
				}
			}
			e.resolve(b, r, p, err)
			e.forget(b, r)
			return e.commit(b)
		}
		r.rec.order = resp.AcceptedTimestamp
		p.change.kind, p.request, p.hash = changeInvite, nil, ""
		p.change.users = append(p.change.users, e.user.String()) // our other devices
		b.put(r.key(keyChange), p.bytes())
		if r.rec.peer.IsZero() {
			e.notice(b, r, resp.AcceptedTimestamp, 0, &message{notice: NoticeCreated, sender: e.user.String(), name: r.rec.name})
		}
		e.saveRecord(b, r)
		return e.commit(b)
	})
}

// listed asks whether the hub has the room.
func (e *engine) listed(ctx context.Context, l *link, r *room) bool {
	body, err := l.call(ctx, api.OpRooms, "", nil)
	if err != nil {
		return false
	}
	list, err := api.UnmarshalStringList(body)
	return err == nil && slices.Contains(list, r.id.String())
}

// invite claims a KeyPackage of every device of the users, and goes on to add them.
func (e *engine) invite(ctx context.Context, r *room, s step) error {
	var packages [][]byte
	var strangers []mimi.UserID
	p := s.p
	for _, u := range parseUsers(s.users) {
		list, err := e.claim(ctx, s.link, r, u)
		var refused *Error
		var status *statusError
		switch {
		case errors.Is(err, errNoConsent):
			strangers = append(strangers, u)
			continue
		case errors.As(err, &refused), isAway(err), errors.As(err, &status) && !status.temporary():
			return e.do(ctx, func() error {
				b := new(batch)
				if r.change == p {
					e.resolve(b, r, p, err)
				}
				return e.commit(b)
			})
		case errors.As(err, &status):
			sleep(ctx, backoff(1))
			return ctx.Err()
		case errors.Is(err, errLinkLost), errors.Is(err, context.DeadlineExceeded):
			return nil // from the start, on the next connection
		case err != nil:
			return err
		}
		packages = append(packages, list...)
	}
	return e.do(ctx, func() error {
		b := new(batch)
		if r.change != p {
			return nil // we were removed meanwhile
		}
		if len(strangers) > 0 {
			e.intend(b, r, strangers)
			if withoutConsent(&p.change, strangers) {
				e.resolve(b, r, p, nil) // they were asked; the rest follows by itself
				return e.commit(b)
			}
		} else if r.rec.waiting && len(packages) == 0 {
			e.resolve(b, r, p, fail(CodeNoDevices, "the user has no device yet"))
			return e.commit(b)
		}
		p.change.kind, p.change.packages = changeAdd, packages
		b.put(r.key(keyChange), p.bytes())
		return e.commit(b)
	})
}

// claim asks the user's provider for a KeyPackage of each of the user's devices.
func (e *engine) claim(ctx context.Context, l *link, r *room, u mimi.UserID) ([][]byte, error) {
	if err := e.needRoots(ctx, u.Provider()); err != nil {
		return nil, err
	}
	body, err := e.claimRequest(ctx, r, u)
	if err == nil {
		body, err = l.call(ctx, api.OpKeyMaterial, u.String(), body)
	}
	if err != nil {
		return nil, err
	}
	resp, err := wire.UnmarshalKeyMaterialResponse(body)
	if err != nil {
		return nil, fail(CodeInternal, "malformed key material")
	}
	switch resp.UserStatus {
	case wire.UserUnknown, wire.UserDeleted:
		return nil, fail(CodeNotFound, "no such user")
	case wire.UserNoConsent, wire.UserNoConsentForThisRoom:
		return nil, errNoConsent
	}
	if resp.UserStatus == wire.UserIncompatibleProtocol || incompatible(resp) {
		return nil, fail(CodeIncompatible, "no compatible device")
	}
	return e.checkPackages(ctx, u, resp)
}

// incompatible reports whether none of a user's devices will ever do, whatever KeyPackages they have.
func incompatible(resp *wire.KeyMaterialResponse) bool {
	for _, c := range resp.Clients {
		if c.ClientStatus != wire.ClientNothingCompatible {
			return false
		}
	}
	return len(resp.Clients) > 0
}

// claimRequest is signed with this device's key, as the hub demands (KM-3).
func (e *engine) claimRequest(ctx context.Context, r *room, u mimi.UserID) (body []byte, err error) {
	err = e.do(ctx, func() error {
		key, err := e.dev.key()
		if err != nil {
			return err
		}
		req := &wire.KeyMaterialRequest{
			Protocol: wire.ProtocolMLS10, RequestingUser: e.user, TargetUser: u, RoomID: r.id,
			AcceptableCipherSuites: []mls.CipherSuite{suite}, RequiredCapabilities: rooms.RequiredCapabilities(),
			RequesterCredential: e.credential(),
		}
		if err := req.Sign(key); err != nil {
			return err
		}
		body, err = req.Bytes()
		return err
	})
	return body, err
}

// checkPackages keeps what is valid and belongs to whom it should (KM-10).
func (e *engine) checkPackages(ctx context.Context, u mimi.UserID, resp *wire.KeyMaterialResponse) (out [][]byte, err error) {
	err = e.do(ctx, func() error {
		for _, c := range resp.Clients {
			if c.ClientStatus != wire.ClientSuccess || c.KeyPackage == nil || c.ClientURI == e.dev.client {
				continue
			}
			leaf := &c.KeyPackage.LeafNode
			if c.KeyPackage.CipherSuite != suite || !leaf.Capabilities.Support(rooms.RequiredCapabilities()) {
				e.drop("key package of no use")
				continue
			}
			cert, err := identity.Validate(leaf.Credential, leaf.SignatureKey, nil, e.rootsFor(u.Provider()), e.now())
			if err != nil {
				e.wantRoots(u.Provider()) // has its authority changed?
				e.rootsWanted()
			}
			if err != nil || cert.Client != c.ClientURI || cert.User != u || resp.UserURI != u || c.KeyPackage.Verify(e.now()) != nil {
				e.drop("key package of no use")
				continue
			}
			data, err := c.KeyPackage.Bytes()
			if err != nil {
				return err
			}
			out = append(out, data)
		}
		return nil
	})
	return out, err
}

// createRequest uploads a group at epoch 0.
func createRequest(g *mls.Group) ([]byte, error) {
	gi, err := g.GroupInfo()
	if err != nil {
		return nil, err
	}
	info, err := (&mls.Message{WireFormat: mls.WireFormatGroupInfo, GroupInfo: gi}).Bytes()
	if err != nil {
		return nil, err
	}
	tree, err := g.RatchetTree()
	if err != nil {
		return nil, err
	}
	return (&api.CreateRoomRequest{GroupInfo: info, RatchetTree: tree}).Bytes()
}
