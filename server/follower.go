package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// maxNotified bounds the events of one request; our own outbox sends fewer.
const maxNotified = 4096

// follower takes what other providers' hubs distribute to our users. It relays: it knows no group, only which of our
// devices are in a room, from the KeyPackages that Welcomes name, from external commits of theirs that come back, and
// from what they say themselves (NT-12).
type follower struct {
	db      *db.DB
	rooms   *roomCache
	fanout  *fanout
	metrics *messengerMetrics
	log     *slog.Logger
	lines   *limiter // in the log, by provider
	now     func() time.Time
	echoes  *echoes
}

// Notify stores the events of a room's hub and hands them to the devices they are for. When it returns they are on disk.
// What comes again is stored once (NT-5).
//
// draft-ietf-mimi-protocol-06, Section 5.5
func (f *follower) Notify(ctx context.Context, id mimi.RoomID, body []byte) error {
	list, err := wire.SplitFanoutMessages(body, maxNotified)
	if errors.Is(err, wire.ErrTooMany) {
		return opTooLarge // one transaction, for which everybody here would wait
	}
	if err != nil {
		return opBadRequest
	}
	f.echoes.came(id, list)
	r, err := f.acquire(ctx, id, list)
	if r == nil || err != nil {
		return err
	}
	defer r.release()
	for range list {
		r.retain()
	}
	n := &notification{room: r, list: list}
	stored := make(chan error, 1)
	f.db.Enqueue(n.apply, func(err error) {
		f.publish(n, err)
		stored <- err
	})
	return <-stored
}

// acquire returns the room of a notification; nil if none of it is for anybody here.
func (f *follower) acquire(ctx context.Context, id mimi.RoomID, list []wire.FanoutPart) (*liveRoom, error) {
	r, err := f.rooms.acquire(ctx, id)
	if !errors.Is(err, opUnknown) {
		return r, err
	}
	wanted := false
	err = f.db.Read(ctx, func(tx *db.Tx) (err error) {
		wanted, err = concerns(tx, id.String(), list)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !wanted {
		// Not an error: the hub shall not learn whom we know (NT-12).
		if _, ok := f.lines.take(id.Provider().Host(), f.now()); ok {
			f.log.Info("events of a room that nobody here is in", "peer", id.Provider().Host(), "events", len(list))
		}
		return nil, nil
	}
	err = f.db.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.FollowRoom(id.String(), id.Provider().Host())
		return err
	})
	if err != nil {
		return nil, err
	}
	return f.rooms.acquire(ctx, id)
}

// concerns reports whether events make some device of ours a member.
func concerns(tx *db.Tx, uri string, list []wire.FanoutPart) (bool, error) {
	for _, part := range list {
		devices, err := joiners(tx, uri, part.Message)
		if len(devices) > 0 || err != nil {
			return len(devices) > 0, err
		}
	}
	return false, nil
}

// joiners lists the devices that an event makes members.
func joiners(tx *db.Tx, uri string, m *wire.FanoutMessage) (devices []int64, err error) {
	switch {
	case m.Message.WireFormat == mls.WireFormatWelcome:
		for _, s := range m.Message.Welcome.Secrets {
			claim, err := tx.KeyClaim(s.NewMember)
			if errors.Is(err, db.ErrNotFound) || err == nil && claim.Room != uri {
				continue
			}
			if err != nil {
				return nil, err
			}
			devices = append(devices, claim.Device)
		}
	case isExternalCommit(&m.Message):
		devices, err = tx.JoinIntents(uri, commitHash(&m.Message))
	}
	return devices, err
}

func isExternalCommit(m *wire.MLSMessage) bool {
	return m.WireFormat == mls.WireFormatPublicMessage && m.ContentType() == mls.ContentTypeCommit &&
		m.Public.Sender().Type == mls.SenderNewMemberCommit
}

func commitHash(m *wire.MLSMessage) []byte {
	sum := sha256.Sum256(m.Raw)
	return sum[:]
}

// notification is a request of a hub on its way into the database. apply may run twice: it sets all that is below it anew.
type notification struct {
	room *liveRoom
	list []wire.FanoutPart

	fresh []freshEvent
}

// freshEvent is an event that was not here before.
type freshEvent struct {
	db.Event
	join    []int64
	welcome bool
}

func (n *notification) apply(tx *db.Tx) error {
	n.fresh = nil
	members, err := tx.Members(n.room.id)
	if err != nil {
		return err
	}
	present := len(members) > 0
	for _, part := range n.list {
		join, err := joiners(tx, n.room.uri, part.Message)
		if err != nil {
			return err
		}
		if !present && len(join) == 0 {
			continue // nobody is here who could read it
		}
		kind := eventKind(part.Message)
		e, fresh, err := tx.AppendEvent(db.Event{Room: n.room.id, Time: int64(part.Message.Timestamp), Kind: kind,
			Hash: requestHash(part.Raw), Body: part.Raw})
		if err != nil {
			return err
		}
		if !fresh {
			continue
		}
		if err := n.admit(tx, part.Message, e, join); err != nil {
			return err
		}
		present = present || len(join) > 0
		n.fresh = append(n.fresh, freshEvent{e, join, kind == db.EventWelcome})
	}
	return nil
}

// admit makes devices members from an event on.
func (n *notification) admit(tx *db.Tx, m *wire.FanoutMessage, e db.Event, join []int64) error {
	for _, device := range join {
		if e.Kind != db.EventWelcome {
			if err := tx.AddMemberOnce(n.room.id, device, e.ID); err != nil {
				return err
			}
			continue
		}
		// It is delivered to those whose membership begins with it. One who was removed and has not said so is still there.
		if err := errors.Join(tx.EndMember(n.room.id, device, e.ID-1), tx.AddMember(n.room.id, device, e.ID)); err != nil {
			return err
		}
	}
	switch {
	case e.Kind == db.EventWelcome:
		for _, s := range m.Message.Welcome.Secrets {
			if err := tx.UseKeyClaim(s.NewMember); err != nil && !errors.Is(err, db.ErrNotFound) {
				return err
			}
		}
	case len(join) > 0:
		return tx.DropJoinIntent(n.room.uri, commitHash(&m.Message))
	}
	return nil
}

func eventKind(m *wire.FanoutMessage) int {
	switch {
	case m.Message.WireFormat == mls.WireFormatWelcome:
		return db.EventWelcome
	case m.Message.WireFormat == mls.WireFormatPrivateMessage:
		return db.EventMessage
	case m.Message.ContentType() == mls.ContentTypeCommit:
		return db.EventCommit
	}
	return db.EventProposal
}

// publish hands what was stored to the fanout, and gives the room back.
func (f *follower) publish(n *notification, err error) {
	list := make([]publication, len(n.list))
	for i := range list {
		p := &list[i]
		p.room = n.room
		if err != nil || i >= len(n.fresh) {
			continue
		}
		e := n.fresh[i]
		f.metrics.followed.Inc()
		p.cursor, p.frame = e.ID, eventFrame(f.log, e.ID, n.room.uri, e.Body)
		p.join, p.only, p.message = e.join, e.welcome, e.Kind == db.EventMessage
		p.changes = len(e.join) > 0
	}
	f.fanout.publish(list...)
}

// Left takes a device out of a room of another provider: it says so itself, having stored all events up to acked.
func (f *follower) Left(ctx context.Context, id mimi.RoomID, device, acked int64) error {
	r, err := f.rooms.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer r.release()
	if !r.foreign {
		return nil
	}
	r.retain()
	stored := make(chan error, 1)
	ended := false
	f.db.Enqueue(func(tx *db.Tx) error {
		head, err := tx.Head()
		if err != nil {
			return err
		}
		// somebody may have let it in again while it said that
		ended, err = tx.EndMemberKnown(r.id, device, head, acked)
		return err
	}, func(err error) {
		p := publication{room: r}
		if err == nil && ended {
			p.changes, p.leave = true, []int64{device}
		}
		f.fanout.publish(p)
		stored <- err
	})
	return <-stored
}

// remoteHub is the hub of rooms that another provider hosts. What our devices ask for goes there; we see to it that they
// ask in their own name, because the hub believes us (TR-6).
type remoteHub struct {
	m      *messenger
	domain mimi.ProviderID
}

// Submit implements hub.
func (h *remoteHub) Submit(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte, answer func([]byte, error)) {
	req, err := wire.UnmarshalSubmitMessageRequest(body)
	if err != nil {
		answer(nil, opBadRequest)
		return
	}
	if user, ok := from.Client.User(); !ok || user != req.SendingURI {
		answer(nil, opNotAllowed)
		return
	}
	h.m.running.Go(func() { answer(h.submit(ctx, id, req, body)) })
}

func (h *remoteHub) submit(ctx context.Context, id mimi.RoomID, req *wire.SubmitMessageRequest, body []byte) ([]byte, error) {
	key := h.m.follower.echoes.sending(id, &req.AppMessage)
	answer, err := h.ask(ctx, endpointSubmitMessage, id, body)
	if err != nil {
		h.m.follower.echoes.refused(key)
		return nil, err
	}
	resp, err := wire.UnmarshalSubmitMessageResponse(answer)
	if err != nil || resp.StatusCode != wire.SubmitAccepted {
		h.m.follower.echoes.refused(key)
		return answer, nil
	}
	h.m.follower.accepted(ctx, key, id, wire.FanoutApplication(resp.AcceptedTimestamp, req.AppMessage, resp.Frank), echoPatience)
	return answer, nil
}

// ask sends a request about a room to its hub and returns the body of the answer.
func (h *remoteHub) ask(ctx context.Context, endpoint string, id mimi.RoomID, body []byte) ([]byte, error) {
	return h.m.peers.ask(ctx, h.domain, endpoint, map[string]string{"roomId": id.String()}, body)
}

// ask is post for a browser of ours: what a provider answers becomes what the browser is answered (TR-7).
func (p *peers) ask(ctx context.Context, domain mimi.ProviderID, endpoint string, vars map[string]string, body []byte) ([]byte, error) {
	a, err := p.post(ctx, domain, endpoint, vars, body)
	if err != nil {
		return nil, err
	}
	switch {
	case a.status >= 200 && a.status < 300: // A38
		return a.body, nil
	case a.status == http.StatusBadRequest:
		return nil, opBadRequest
	case a.refusesUs():
		return nil, opPeerRefused
	case a.status == http.StatusForbidden, a.status == http.StatusUnauthorized:
		return nil, opNotAllowed
	case a.status == http.StatusNotFound, a.status == http.StatusGone:
		return nil, opUnknown
	case a.status == http.StatusRequestEntityTooLarge:
		return nil, opTooLarge
	case a.status == http.StatusTooManyRequests:
		return nil, opRateLimited
	}
	return nil, opHubAway
}

// Update implements hub. An external commit is noted before it is sent: when it comes back its device is a member.
func (h *remoteHub) Update(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte) ([]byte, error) {
	req, err := wire.UnmarshalUpdateRequest(body)
	if err != nil {
		return nil, opBadRequest
	}
	if !isExternalCommit(&req.ProposalOrCommit) {
		answer, _, err := h.update(ctx, id, req, body, echoPatience)
		return answer, err
	}
	hash := commitHash(&req.ProposalOrCommit)
	err = h.m.DB.Write(ctx, func(tx *db.Tx) error {
		d, err := tx.DeviceByClient(from.Client.String())
		if err != nil {
			return err
		}
		return tx.AddJoinIntent(id.String(), hash, d.ID)
	})
	if err != nil {
		return nil, err
	}
	answer, refused, err := h.update(ctx, id, req, body, joinPatience)
	if err != nil {
		return nil, err // perhaps accepted all the same
	}
	if refused {
		err = h.m.DB.Write(ctx, func(tx *db.Tx) error { return tx.DropJoinIntent(id.String(), hash) })
	}
	return answer, err
}

// update sends an update to the hub and returns the answer, and whether the hub has refused it.
func (h *remoteHub) update(ctx context.Context, id mimi.RoomID, req *wire.UpdateRequest, body []byte, patience time.Duration) (answer []byte, refused bool, err error) {
	key := h.m.follower.echoes.sending(id, &req.ProposalOrCommit)
	answer, err = h.ask(ctx, endpointUpdate, id, body)
	if err != nil {
		h.m.follower.echoes.refused(key)
		return nil, false, err
	}
	var event []byte
	resp, bad := wire.UnmarshalUpdateRoomResponse(answer)
	if bad == nil && resp.ResponseCode == wire.UpdateSuccess {
		f := wire.FanoutMessage{Timestamp: resp.AcceptedTimestamp, Message: req.ProposalOrCommit, MoreProposals: req.MoreProposals}
		event, bad = f.Bytes()
	}
	if bad != nil || event == nil {
		h.m.follower.echoes.refused(key)
		return answer, bad == nil, nil
	}
	h.m.follower.accepted(ctx, key, id, event, patience)
	return answer, false, nil
}

// GroupInfo implements hub.
func (h *remoteHub) GroupInfo(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte) ([]byte, error) {
	req, err := wire.UnmarshalGroupInfoRequest(body)
	if err != nil {
		return nil, opBadRequest
	}
	c, err := identity.Validate(req.RequestingCredential, req.RequestingSignatureKey, nil, []*identity.Root{h.m.root}, h.m.Now())
	if err != nil || !from.Is(c.Client) || req.Verify() != nil {
		return nil, opBadSignature
	}
	return h.ask(ctx, endpointGroupInfo, id, body)
}

// Create implements hub: rooms are made at their own hub only (UP-16).
func (h *remoteHub) Create(context.Context, mimi.ClientID, mimi.RoomID, []byte) ([]byte, error) {
	return nil, opNotAllowed
}

// KeyMaterial implements hub (KM-2).
func (h *remoteHub) KeyMaterial(ctx context.Context, _ room.Origin, req *wire.KeyMaterialRequest, body []byte) ([]byte, error) {
	return h.m.peers.ask(ctx, h.domain, endpointKeyMaterial, map[string]string{"targetUser": req.TargetUser.String()}, body)
}

// left carries out OpLeft.
func (s *socket) left(r *api.Request) ([]byte, error) {
	id, err := mimi.ParseRoomID(r.Target)
	if err != nil || len(r.Body) > 0 || id.Provider() == s.m.domain {
		return nil, opBadRequest
	}
	if err := s.m.follower.Left(s.context, id, s.device, s.known); err != nil && !errors.Is(err, opUnknown) {
		return nil, err
	}
	return nil, nil
}
