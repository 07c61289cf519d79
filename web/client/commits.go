package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// maxTries bounds how often a change is staged anew after lost races.
const maxTries = 40

// deniedPause is after what time a commit that the hub has refused is tried once more.
const deniedPause = time.Second

// opTimeout is how long an operation waits for its change. The change itself goes on.
const opTimeout = 30 * time.Second

// request makes c the room's change, as soon as no other is on its way, and waits until it is over.
func (e *engine) request(ctx context.Context, r *room, c change) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	var p *pendingChange
	for p == nil {
		if err := e.wait(ctx, func() bool { return r.change == nil }); err != nil {
			return e.late(ctx, r, err)
		}
		err := e.do(ctx, func() error {
			switch {
			case e.link == nil:
				return errOffline
			case r.rec.removed:
				return fail(CodeNotAllowed, "not in the room")
			case r.change != nil:
				return nil // somebody else was faster
			}
			p = &pendingChange{change: c}
			r.change = p
			b := new(batch)
			b.put(r.key(keyChange), p.bytes())
			e.startChange(r)
			return e.commit(b)
		})
		if err != nil {
			return err
		}
	}
	return e.late(ctx, r, e.await(ctx, p))
}

// await waits for the end of a change.
func (e *engine) await(ctx context.Context, p *pendingChange) error {
	if err := e.wait(ctx, func() bool { return p.over }); err != nil {
		return err
	}
	return p.err
}

// startChange drives the room's change to its end.
func (e *engine) startChange(r *room) {
	if r.changing || r.change == nil {
		return
	}
	r.changing = true
	e.spawn(func(ctx context.Context) { e.runChange(ctx, r) })
}

// step is what a flow may know of a change: a copy made on the loop.
type step struct {
	p       *pendingChange // to be compared only
	link    *link
	kind    string
	users   []string
	request []byte
	hash    string
}

// runChange goes through the steps of a change, and through them again after a lost race or connection.
func (e *engine) runChange(ctx context.Context, r *room) {
	for {
		s, err := e.takeStep(ctx, r)
		if err != nil || s.p == nil {
			return
		}
		switch {
		case s.link == nil: // lost again meanwhile
		case s.kind == changeInvite:
			err = e.invite(ctx, r, s)
		case len(s.request) > 0:
			err = e.deliver(ctx, r, s)
		}
		if err != nil {
			return
		}
	}
}

// takeStep waits until the change can make a step, and stages it if it is not staged. At the end there is no p.
func (e *engine) takeStep(ctx context.Context, r *room) (s step, err error) {
	err = e.wait(ctx, func() bool { return r.change == nil || e.ready() && r.usable() })
	if err != nil {
		return s, err
	}
	err = e.do(ctx, func() error {
		if p := r.change; p != nil && len(p.request) == 0 && p.change.kind != changeInvite && r.usable() {
			if err := e.stage(r, p); err != nil {
				return err
			}
		}
		p := r.change
		if p == nil {
			r.changing = false
			return nil
		}
		s = step{p, e.link, p.change.kind, slices.Clone(p.change.users), p.request, p.hash}
		return nil
	})
	return s, err
}

// stage makes the commit of a change upon the present epoch, and stores it before anybody hears of it.
func (e *engine) stage(r *room, p *pendingChange) error {
	b := new(batch)
	if err := e.stageInto(b, r, p); err != nil {
		e.resolve(b, r, p, err)
	}
	return e.commit(b)
}

func (e *engine) stageInto(b *batch, r *room, p *pendingChange) error {
	g, err := e.groupOf(r)
	if err != nil {
		return err
	}
	if g == nil && !r.usable() {
		return nil // its state turned out to be damaged: staged after the rejoin
	}
	if g == nil {
		return fail(CodeNotAllowed, "not in the room")
	}
	if p.tries++; p.tries > maxTries {
		return fail(CodeConflict, "the room changes too fast")
	}
	v, err := viewOf(g)
	if err != nil {
		return err
	}
	if p.change.kind == changeLeave {
		return e.stageLeave(b, r, p, v)
	}
	proposals, err := e.proposals(r, v, p.change)
	if err != nil {
		return err
	}
	renew := p.change.kind == changeRenew && e.outdated(g)
	pending := len(g.ProposalsToCommit()) > 0
	if len(proposals) == 0 && !renew && !(pending && p.change.kind == changeCommit) {
		e.resolve(b, r, p, nil) // somebody has done it
		return nil
	}
	if pending {
		proposals = nil // what others have proposed goes first, alone: ours may contradict it (SM-6)
	}
	if g.HasPending() {
		g.DiscardPending()
	}
	bundle, err := g.Commit(mls.CommitOptions{Proposals: proposals, RenewLeaf: renew, AAD: rooms.HandshakeAAD(g.Context())})
	if err != nil {
		return err
	}
	req, err := wire.NewCommitRequest(bundle)
	if err != nil {
		return err
	}
	if p.request, err = req.Bytes(); err != nil {
		return err
	}
	p.hash = hashOf(req.ProposalOrCommit.Raw)
	b.put(r.key(keyChange), p.bytes())
	r.saveGroup(b)
	return nil
}

// outdated reports whether our leaf does not have our present certificate.
func (e *engine) outdated(g *mls.Group) bool {
	for _, m := range g.Members() {
		if m.Index == g.OwnLeaf() {
			return !m.Leaf.Credential.Equal(e.credential())
		}
	}
	return false
}

// proposals are what is still missing for a change to be true.
func (e *engine) proposals(r *room, v *rooms.View, c change) ([]mls.Proposal, error) {
	var all []mls.Proposal
	switch c.kind {
	case changeRename:
		if v.Name() == c.name {
			return nil, nil
		}
		return rooms.Rename(v, c.name)
	case changeDescribe:
		return describeProposals(v, c.name)
	case changeRemove, changeKick, changeBan, changeUnban, changeRole:
		return memberProposals(v, c)
	case changeDetach:
		return e.detachProposals(v, c.name)
	case changeLink:
		return e.linkProposals(v, c.name)
	case changeUnlink:
		return unlinkProposals(v, c.name)
	case changeRule:
		return ruleProposals(v, c.name)
	case changeAdd:
		packages := e.usefulPackages(v, c.packages)
		for _, u := range parseUsers(c.users) {
			if v.IsParticipant(u) && len(packages[u]) == 0 {
				continue
			}
			// of a user who is listed already only the devices are added, in whatever role he has
			role, ok := rooms.EntryRole(v, e.user, u)
			if !ok && !v.State().IsListed(u.String()) {
				return nil, fail(CodeNotAllowed, "not allowed to add this user")
			}
			list, err := rooms.AddUserAs(v, u, role, packages[u])
			if err != nil {
				return nil, err
			}
			all = append(all, list...)
		}
	}
	return all, nil
}

// usefulPackages sorts KeyPackages by user and leaves out devices that are in the room already.
func (e *engine) usefulPackages(v *rooms.View, list [][]byte) map[mimi.UserID][]*mls.KeyPackage {
	member := map[mimi.ClientID]bool{}
	for _, m := range v.Members() {
		member[m.Client] = true
	}
	out := map[mimi.UserID][]*mls.KeyPackage{}
	for _, data := range list {
		kp, err := mls.UnmarshalKeyPackage(data)
		if err != nil || kp.Verify(e.now()) != nil {
			continue
		}
		cert, err := identity.FromCredential(kp.LeafNode.Credential)
		if err != nil || member[cert.Client] {
			continue
		}
		member[cert.Client] = true
		out[cert.User] = append(out[cert.User], kp)
	}
	return out
}

func parseUsers(list []string) []mimi.UserID {
	var out []mimi.UserID
	for _, s := range list {
		if u, err := mimi.ParseUserID(s); err == nil {
			out = append(out, u)
		}
	}
	return out
}

// deliver sends the request, and acts on the answer. A commit is merged only when it comes back in the stream.
func (e *engine) deliver(ctx context.Context, r *room, s step) error {
	op, l := api.OpUpdate, s.link
	if s.kind == changeCreate {
		op = api.OpCreateRoom
	}
	body, err := e.callHub(ctx, l, op, r, s.request)
	if isAway(err) {
		e.awaitHub(ctx, r)
		return ctx.Err()
	}
	var status *statusError
	if errors.As(err, &status) && status.temporary() {
		sleep(ctx, backoff(1))
		return ctx.Err()
	}
	if op == api.OpCreateRoom && err == nil {
		return e.onCreateAnswer(ctx, l, r, s.p, body)
	}
	var epoch uint64
	denied := false
	err = e.do(ctx, func() (err2 error) {
		before := s.p.denied
		epoch, err2 = e.onAnswer(r, s.p, s.hash, body, err)
		denied = s.p.denied != before
		return err2
	})
	if err != nil {
		return err
	}
	if epoch > 0 {
		e.drained(ctx, l, r, epoch)
		sleep(ctx, jitter(retryPause))
		return nil
	}
	if denied {
		sleep(ctx, deniedPause)
		return nil
	}
	return e.wait(ctx, func() bool { return r.change != s.p || s.p.hash != s.hash || e.link != l || !r.usable() })
}

// onAnswer handles the hub's answer to a commit; it returns the epoch to wait for after a lost race.
func (e *engine) onAnswer(r *room, p *pendingChange, hash string, body []byte, err error) (uint64, error) {
	e.answered(r, err)
	if r.change != p || p.hash != hash {
		return 0, nil // the stream was faster
	}
	b := new(batch)
	if err != nil {
		var refusal *statusError
		var own *Error
		if errors.As(err, &refusal) || errors.As(err, &own) {
			e.abandon(b, r, p, err)
		}
		return 0, e.commit(b) // without an answer the same octets go out again
	}
	resp, err := wire.UnmarshalUpdateRoomResponse(body)
	if err != nil {
		e.abandon(b, r, p, err)
		return 0, e.commit(b)
	}
	switch resp.ResponseCode {
	case wire.UpdateSuccess:
		if p.change.kind == changeLeave {
			e.departSoon(r, p, resp.AcceptedTimestamp)
		}
		return 0, e.commit(b)
	case wire.UpdateWrongEpoch:
		e.restage(b, r, true)
		return resp.CurrentEpoch, e.commit(b)
	}
	if !p.denied && p.change.kind != changeCreate && p.change.kind != changeLeave {
		// Perhaps the hub has accepted proposals that our commit should have contained, and they are on their way (UP-7).
		p.denied = true
		e.restage(b, r, true)
		return 0, e.commit(b)
	}
	e.abandon(b, r, p, fail(CodeNotAllowed, "refused by the hub"))
	e.suspectClosed(r)
	return 0, e.commit(b)
}

// abandon gives a change up.
func (e *engine) abandon(b *batch, r *room, p *pendingChange, err error) {
	if p.change.kind == changeCommit {
		r.refused = r.epoch()
	}
	if g, _ := e.groupOf(r); g != nil && g.HasPending() {
		g.DiscardPending()
		r.saveGroup(b)
	}
	e.resolve(b, r, p, err)
}

// restage forgets the staged commit, but not what it was for. save is false where the group is of no use anyway.
func (e *engine) restage(b *batch, r *room, save bool) {
	p := r.change
	if p.change.kind == changeCreate || len(p.request) == 0 {
		return
	}
	if save && r.group != nil && r.group.HasPending() {
		r.group.DiscardPending()
		r.saveGroup(b)
	}
	p.request, p.hash = nil, ""
	b.put(r.key(keyChange), p.bytes())
}

// resolve ends a change.
func (e *engine) resolve(b *batch, r *room, p *pendingChange, err error) {
	r.change = nil
	b.del(r.key(keyChange))
	b.then = append(b.then, func() {
		p.over, p.err = true, err
		e.startOutbox(r)
	})
}

// onOwnCommit merges our commit, which the hub has put into its order.
func (e *engine) onOwnCommit(b *batch, r *room, f *wire.FanoutMessage) string {
	before, err := viewOf(r.group)
	swept := sweeps(r.group, r.change.change)
	var did *authors
	if err == nil {
		// What is not among the pending proposals of others, which it covers, is our own.
		did = readAuthors(before, r.group.PendingProposals(), e.user.String())
		err = r.group.MergePending()
	}
	if err != nil {
		e.breakRoom(b, r)
		return dropCrypto
	}
	e.processStapled(r.group, f)
	if swept {
		e.restage(b, r, false)
	} else {
		e.resolve(b, r, r.change, nil)
	}
	e.entered(b, r, f, before, did)
	return ""
}

// onCommit looks at a commit of somebody else, by the same rules as the hub, and merges it.
func (e *engine) onCommit(b *batch, r *room, f *wire.FanoutMessage, rcv *mls.Received) string {
	before, err := viewOf(r.group)
	if err != nil {
		e.breakRoom(b, r)
		return dropPolicy
	}
	did := readAuthors(before, rcv.Commit.Proposals(), actorOf(rcv.Credential))
	did.external = rcv.Commit.Sender().Type == mls.SenderNewMemberCommit
	if rcv.Commit.Removed() {
		e.onRemoved(b, r, f, before, rcv.Commit, did)
		return ""
	}
	if _, refusal := rooms.CheckCommit(before, rcv.Commit, f.Timestamp); refusal != nil {
		e.breakRoom(b, r)
		return dropPolicy
	}
	if err := r.group.Merge(rcv.Commit); err != nil {
		e.breakRoom(b, r)
		return dropCrypto
	}
	if r.change != nil {
		e.restage(b, r, false) // Merge has dropped our own
	}
	e.processStapled(r.group, f)
	e.entered(b, r, f, before, did)
	return ""
}

// entered stores a new epoch and tells people what is different in it.
func (e *engine) entered(b *batch, r *room, f *wire.FanoutMessage, before *rooms.View, did *authors) {
	r.saveGroup(b)
	e.notePending(b, r)
	after, err := viewOf(r.group)
	if err != nil {
		e.drop(dropPolicy)
		return
	}
	e.refresh(r, after)
	e.saveRecord(b, r)
	e.notices(b, r, f.Timestamp, before, after, did)
	e.tellMembers(b, r)
	b.then = append(b.then, func() { e.startRelease(r); e.startOutbox(r); e.renewIn(r) })
}

func (e *engine) tellMembers(b *batch, r *room) {
	b.then = append(b.then, func() { e.cfg.Post(View{ViewMembers, RoomRef{r.id.String()}}) })
}

// renewIn gives our leaf in a room that is active the certificate we have now (CR-5).
func (e *engine) renewIn(r *room) {
	g, err := e.groupOf(r)
	if err != nil || g == nil || r.renewed || r.change != nil || !r.usable() || !e.outdated(g) {
		return
	}
	r.renewed = true
	p := &pendingChange{change: change{kind: changeRenew}}
	r.change = p
	b := new(batch)
	b.put(r.key(keyChange), p.bytes())
	if e.commit(b) == nil {
		e.startChange(r)
	}
}

// credential is our present credential.
func (e *engine) credential() mls.Credential { return mls.X509Credential(e.dev.certificate) }

// mlsClient is this device as MLS sees it.
func (e *engine) mlsClient() (*mls.Client, error) {
	key, err := e.dev.key()
	if err != nil {
		return nil, err
	}
	return rooms.NewClient(key, e.credential())
}
