package client

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// welcomePatience is how long a device waits for a Welcome to a room it is not in before it lets itself in.
const welcomePatience = 2 * time.Second

// maxJoins bounds the attempts to join until the next connection.
const maxJoins = 10

// onCaughtUp is the moment when this device knows what the hub knew: from here on it may act.
func (e *engine) onCaughtUp(l *link) {
	if e.link != l {
		e.early = l // the answer to Hello is still on its way to the loop
		return
	}
	e.caughtUp = true
	for _, r := range e.rooms {
		e.startRelease(r)
		e.startChange(r)
		e.startOutbox(r)
		if r.proposals {
			e.startCommitting(r)
		}
		if r.rec.broken || r.join != nil {
			e.startJoin(r)
		}
	}
	e.spawn(e.findRooms)
	e.spawn(e.sweep)
	e.askNames()
	e.startTelling()
	e.checkRoots()
	e.askConsents()
}

// findRooms looks for rooms of the user in which this device is not, and joins them: a new device, or one whose
// Welcome was of no use.
func (e *engine) findRooms(ctx context.Context) {
	body, err := e.call(ctx, api.OpRooms, "", nil)
	if err != nil {
		return
	}
	list, err := api.UnmarshalStringList(body)
	if err != nil {
		return
	}
	var missing []mimi.RoomID
	if e.do(ctx, func() error { e.missed(list); return nil }) != nil {
		return
	}
	find := func() error {
		missing = missing[:0]
		for _, s := range list {
			if id, err := mimi.ParseRoomID(s); err == nil && e.lacks(id) {
				missing = append(missing, id)
			}
		}
		return nil
	}
	if e.do(ctx, find) != nil || len(missing) == 0 {
		return
	}
	sleep(ctx, welcomePatience)
	_ = e.do(ctx, func() error {
		_ = find()
		for _, id := range missing {
			e.startJoin(e.roomFor(id))
		}
		return nil
	})
}

// lacks reports whether this device has nothing of a room that it should be in.
func (e *engine) lacks(id mimi.RoomID) bool {
	r := e.rooms[id]
	if r == nil {
		return true
	}
	if r.blocked {
		return false // what lets us in may be among that
	}
	if r.rec.removed {
		return !r.declined()
	}
	return r.change == nil && r.join == nil && r.rec.order == 0
}

// startJoin joins the room by an external commit.
func (e *engine) startJoin(r *room) {
	if r.joining {
		return
	}
	r.joining = true
	e.spawn(func(ctx context.Context) {
		e.runJoin(ctx, r)
		_ = e.do(ctx, func() error {
			r.joining, r.code = false, nil
			return e.dropEmpty(r)
		})
	})
}

// runJoin makes the external commit and sends it until the stream brings it, or the hub says no.
func (e *engine) runJoin(ctx context.Context, r *room) {
	for tries := 0; tries < maxJoins; tries++ {
		var l *link
		var p *pendingJoin
		byLink := false // somebody waits for it
		err := e.wait(ctx, e.ready)
		if err == nil {
			err = e.do(ctx, func() error { l, p, byLink = e.link, r.join, r.code != nil; return nil })
		}
		if err != nil {
			return
		}
		if l == nil {
			continue
		}
		done := false
		if p == nil {
			p, err = e.prepareJoin(ctx, l, r)
		}
		if p != nil {
			done, err = e.deliverJoin(ctx, l, r, p)
		}
		switch {
		case isAway(err): // however long that takes
			tries = 0
			e.awaitHub(ctx, r)
		case errors.Is(err, errLinkLost):
		case byLink && errors.Is(err, rooms.ErrStrange):
			_ = e.do(ctx, func() error { r.strange = true; return nil })
			return
		case done, ctx.Err() != nil, errors.Is(err, errStopped), err == nil && p == nil, byLink && isFinal(err):
			return
		case err != nil: // the next commit may heal what is wrong with this one
			sleep(ctx, longBackoff(tries+1))
		}
	}
}

// prepareJoin asks the hub for the group and makes the commit; nil if we may not, or are in already.
func (e *engine) prepareJoin(ctx context.Context, l *link, r *room) (p *pendingJoin, err error) {
	var req *wire.GroupInfoRequest
	var key *mls.HPKEPrivateKey
	err = e.do(ctx, func() error {
		if !e.lacks(r.id) && !r.rec.broken {
			return errStopped
		}
		c, err := e.mlsClient()
		if err != nil {
			return err
		}
		req, key, err = rooms.NewJoinRequest(e.cfg.Rand, c, r.code)
		return err
	})
	if err != nil {
		return nil, err
	}
	body, err := req.Bytes()
	if err == nil {
		body, err = e.callHub(ctx, l, api.OpGroupInfo, r, body)
	}
	if err != nil {
		return nil, err
	}
	resp, err := wire.UnmarshalGroupInfoResponse(body)
	if err != nil {
		return nil, err
	}
	return e.stageWithRoots(ctx, r, resp, key)
}

// stageWithRoots is stageJoin, after having asked for the identity roots that it turns out to need.
func (e *engine) stageWithRoots(ctx context.Context, r *room, resp *wire.GroupInfoResponse, key *mls.HPKEPrivateKey) (p *pendingJoin, err error) {
	for range maxJoins {
		var wanted []mimi.ProviderID
		err = e.do(ctx, func() (err error) {
			clear(e.roots.wanted)
			p, err = e.stageJoin(r, resp, key)
			for domain := range e.roots.wanted {
				wanted = append(wanted, domain)
			}
			clear(e.roots.wanted)
			return err
		})
		if err == nil || len(wanted) == 0 {
			return p, err
		}
		for _, domain := range wanted {
			changed := false
			ask := e.askRoots(ctx, domain)
			if ask == nil {
				ask = e.do(ctx, func() error { changed = e.roots.changed[domain] != nil; return nil })
			}
			if ask != nil || changed {
				return nil, errors.Join(ask, err) // pinning what is missing starts the join again
			}
		}
	}
	return nil, err
}

// stageJoin stores the external commit and the group it leads to.
func (e *engine) stageJoin(r *room, resp *wire.GroupInfoResponse, key *mls.HPKEPrivateKey) (*pendingJoin, error) {
	if resp.Status == wire.GroupInfoNoSuchRoom {
		return nil, errors.Join(errStopped, e.closed(r.id.String(), ""))
	}
	if resp.Status != wire.GroupInfoSuccess {
		return nil, e.refusedJoin(r)
	}
	info, err := rooms.OpenGroupInfo(r.id, resp, key)
	if err != nil {
		e.drop("group info of no use")
		return nil, err
	}
	c, err := e.mlsClient()
	if err != nil {
		return nil, err
	}
	g, bundle, err := rooms.JoinRoomWith(e.mlsConfig(), c, r.id, info, r.code)
	if err != nil {
		e.drop("external join failed")
		return nil, err
	}
	update, err := wire.NewCommitRequest(bundle)
	if err != nil {
		return nil, err
	}
	p := &pendingJoin{hash: hashOf(update.ProposalOrCommit.Raw), byLink: r.code != nil}
	if p.request, err = update.Bytes(); err != nil {
		return nil, err
	}
	if p.state, err = g.State(); err != nil {
		return nil, err
	}
	if p.ratchets, err = g.RatchetState(); err != nil {
		return nil, err
	}
	r.join = p
	b := new(batch)
	b.put(r.key(keyJoin), p.bytes())
	return p, e.commit(b)
}

// refusedJoin ends a room that we thought to be in, when the hub says that we are not.
func (e *engine) refusedJoin(r *room) error {
	if !r.rec.broken {
		return errStopped
	}
	b := new(batch)
	r.rec.removed, r.rec.broken = true, false
	e.forgetGroup(b, r)
	e.noteLeft(b, r)
	if err := e.failAll(b, r); err != nil {
		return err
	}
	if r.change != nil {
		e.resolve(b, r, r.change, fail(CodeNotAllowed, "not in the room"))
	}
	e.saveRecord(b, r)
	if err := e.commit(b); err != nil {
		return err
	}
	return errStopped
}

// deliverJoin sends the external commit; it reports whether the join is over.
func (e *engine) deliverJoin(ctx context.Context, l *link, r *room, p *pendingJoin) (done bool, _ error) {
	body, err := e.callHub(ctx, l, api.OpUpdate, r, p.request)
	var resp *wire.UpdateRoomResponse
	var status *statusError
	if err == nil {
		resp, err = wire.UnmarshalUpdateRoomResponse(body)
	} else if !errors.As(err, &status) || isAway(err) {
		return false, err // no answer: again with the same octets
	}
	if err == nil && resp.ResponseCode == wire.UpdateSuccess {
		err = e.wait(ctx, func() bool { return r.join != p || e.link != l })
		if err == nil {
			err = e.do(ctx, func() error { e.answered(r, nil); done = r.join != p; return nil })
		}
		return done, err
	}
	_ = e.do(ctx, func() error {
		e.answered(r, err)
		if done = r.join != p; done {
			return nil
		}
		r.join = nil
		b := new(batch)
		b.del(r.key(keyJoin))
		return e.commit(b)
	})
	sleep(ctx, jitter(retryPause))
	return done, nil
}

// joined enters the group when the stream brings our external commit.
func (e *engine) joined(b *batch, r *room, f *wire.FanoutMessage) string {
	p := r.join
	r.join = nil
	b.del(r.key(keyJoin))
	c, err := e.mlsClient()
	if err != nil {
		return dropCrypto
	}
	g, err := mls.RestoreGroup(e.mlsConfig(), c, p.state, p.ratchets)
	if err == nil {
		err = g.MergePending()
	}
	if err != nil {
		e.breakRoom(b, r)
		return dropCrypto
	}
	e.processStapled(g, f)
	rejoined := r.rec.order > 0
	if reason := e.enter(b, r, g, f); reason != "" {
		return reason
	}
	switch {
	case p.byLink:
		e.notice(b, r, f.Timestamp, 0, &message{notice: NoticeJoined, sender: e.user.String(), whom: e.user.String()})
		b.then = append(b.then, func() { e.inviteSiblings(r) })
	case rejoined:
		e.notice(b, r, f.Timestamp, 0, &message{notice: NoticeRejoined, sender: e.user.String()})
	}
	return ""
}

// enter makes g the room's group.
func (e *engine) enter(b *batch, r *room, g *mls.Group, f *wire.FanoutMessage) string {
	v, err := viewOf(g)
	if err != nil || v.Room() != r.id || !v.IsParticipant(e.user) {
		return dropPolicy
	}
	r.group = g
	r.rec.removed, r.rec.broken = false, false
	if r.rec.order == 0 {
		r.rec.order = f.Timestamp
	}
	if r.join != nil {
		r.join = nil
		b.del(r.key(keyJoin))
	}
	e.refresh(r, v)
	if r.rec.peer.Provider() == e.user.Provider() {
		r.rec.waiting = false // who is asked for consent is not there before it is given
	}
	e.forgetRatchets(b, r) // of the group that was here before
	r.saveGroup(b)
	e.notePending(b, r)
	e.returned(b, r)
	e.saveRecord(b, r)
	e.tellMembers(b, r)
	b.then = append(b.then, func() { e.startRelease(r); e.startOutbox(r); e.startChange(r) })
	return ""
}

// onWelcome joins a room into which somebody has put this device.
func (e *engine) onWelcome(b *batch, id mimi.RoomID, f *wire.FanoutMessage) string {
	w := f.Message.Welcome
	key, ref, err := e.packageFor(w)
	if err != nil {
		e.cancel(errors.Join(errStore, err))
		return ""
	}
	if key == nil {
		return dropWelcome
	}
	c, err := e.mlsClient()
	if err != nil {
		return dropWelcome
	}
	g, err := mls.JoinWelcome(e.mlsConfig(), c, w, f.RatchetTreeOption.RatchetTree, key)
	if err != nil && e.rootsWanted() {
		return heldForRoots
	}
	b.del(keyPackage + ref) // used up, whatever comes of it
	e.packageUsed()
	if err != nil {
		b.then = append(b.then, func() { e.spawn(e.findRooms) })
		return dropWelcome
	}
	known := e.rooms[id]
	if known != nil && !known.rec.removed && !known.rec.broken {
		if old, _ := e.groupOf(known); old != nil && known.rec.order > 0 && old.Epoch() >= g.Epoch() {
			return dropWelcome // we were faster by an external commit
		}
	}
	r := e.roomFor(id)
	if reason := e.enter(b, r, g, f); reason != "" {
		if known == nil {
			delete(e.rooms, id)
		}
		return reason
	}
	e.meet(b, r, welcomer(g))
	if r.rec.peer.IsZero() {
		e.notice(b, r, f.Timestamp, 0, &message{notice: NoticeAdded, sender: welcomer(g), whom: e.user.String()})
	}
	return ""
}

// welcomer is the user URI of who added us.
func welcomer(g *mls.Group) string {
	leaf := g.Welcomer()
	if leaf == nil {
		return ""
	}
	c, err := identity.FromCredential(leaf.Credential)
	if err != nil {
		return ""
	}
	return c.User.String()
}

// packageFor finds the private part of a KeyPackage the Welcome was made for; nil if it is not ours or was used.
func (e *engine) packageFor(w *mls.Welcome) (*mls.KeyPackageSecrets, string, error) {
	for _, s := range w.Secrets {
		ref := hex.EncodeToString(s.NewMember)
		data, err := e.store.Get(e.ctx, keyPackage+ref)
		if err != nil {
			return nil, "", err
		}
		if data != nil {
			key, err := parsePackage(data)
			return key, ref, err
		}
	}
	return nil, "", nil
}

func parseExternalSender(data []byte) (x mls.ExternalSender, err error) {
	s := cryptobyte.String(data)
	if err = x.Unmarshal(&s); err == nil && !s.Empty() {
		err = errors.New("client: malformed external sender")
	}
	return x, err
}
