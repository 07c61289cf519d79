package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// hub is whoever decides about a room: this provider, or the provider that hosts it. Bodies are those of
// mimi/wire, as received; errors are opErrors or faults. A refusal by the protocol is a body.
type hub interface {
	// Submit hands over an application message. answer is called once, when the message is stored or refused; Submit
	// itself waits for nothing but its turn.
	Submit(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte, answer func([]byte, error))
	// Update hands over a commit or proposals and returns when they are stored or refused.
	Update(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte) ([]byte, error)
	// GroupInfo returns what is needed to join by an external commit.
	GroupInfo(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte) ([]byte, error)
	// Create makes a room of a new MLS group.
	Create(ctx context.Context, from mimi.ClientID, id mimi.RoomID, body []byte) ([]byte, error)
	// Destroy closes a room for everybody and returns who took part in it.
	Destroy(ctx context.Context, from room.Origin, id mimi.RoomID) ([]string, error)
	// KeyMaterial returns KeyPackages of a user whom another wants to add to a room.
	KeyMaterial(ctx context.Context, from room.Origin, req *wire.KeyMaterialRequest, body []byte) ([]byte, error)
	// ReportAbuse takes a report. nil says that it was received, and nothing else.
	ReportAbuse(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte) error
}

// localHub is the hub of our own rooms. mimi/room decides, db stores, and what is stored is published: always in this
// order. Deciding holds the room's lock; storing is queued in the order of deciding. A message gives the lock back once
// it is queued, so that the database can commit many at once; an update keeps it until it is committed, because
// everything decided later stands on it.
type localHub struct {
	db        *db.DB
	authority *authority
	domain    mimi.ProviderID
	now       func() time.Time
	rand      io.Reader
	log       *slog.Logger
	fanout    *fanout
	metrics   *messengerMetrics
	mls       mls.Config
	rooms     *roomCache
	reports   reportLimits
	// material hands out KeyPackages of a user, but for the clients in skip: our own, or those its provider gives.
	material func(ctx context.Context, req *wire.KeyMaterialRequest, body []byte, skip []mimi.ClientID) ([]byte, error)
}

func newLocalHub(h *localHub) *localHub {
	if h.rand == nil {
		h.rand = rand.Reader
	}
	h.reports = newReportLimits()
	return h
}

// requestHash is how a repeated request is recognised in its room.
func requestHash(body []byte) []byte {
	sum := sha256.Sum256(body)
	return sum[:db.HashSize]
}

func (h *localHub) millis() uint64 { return uint64(h.now().UnixMilli()) }

// Submit implements hub.
//
// draft-ietf-mimi-protocol-06, Section 5.4
func (h *localHub) Submit(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte, answer func([]byte, error)) {
	req, err := wire.UnmarshalSubmitMessageRequest(body)
	if err != nil {
		answer(nil, opBadRequest)
		return
	}
	r, err := h.rooms.acquire(ctx, id)
	if err != nil {
		answer(nil, err)
		return
	}
	defer r.release()
	franked := h.decide(ctx, r, from, req, requestHash(body), answer)
	// Here the room is free again for the next message. If the database is faster, it has the frank made itself.
	if franked != nil {
		_, _ = franked()
	}
}

// decide is the part of Submit that holds the room's lock. It returns the rest of the work on an accepted message.
func (h *localHub) decide(ctx context.Context, r *liveRoom, from room.Origin, req *wire.SubmitMessageRequest, hash []byte, answer func([]byte, error)) frankFunc {
	r.mu.Lock()
	defer r.mu.Unlock()
	resp, accepted, err := r.hub.Submit(h.millis(), from, req)
	if err != nil {
		answer(nil, opBadRequest)
		return nil
	}
	if accepted == nil {
		answer(h.submitRefused(ctx, r, hash, resp))
		return nil
	}
	franked := h.frank(accepted)
	h.store(r, db.Event{Room: r.id, Time: int64(accepted.Timestamp), Kind: db.EventMessage, Hash: hash}, resp, franked, answer)
	return franked
}

// submitRefused answers a refused message, unless it was accepted before: then the answer is the same again, although
// the room has moved on (SM-4).
func (h *localHub) submitRefused(ctx context.Context, r *liveRoom, hash []byte, resp wire.SubmitMessageResponse) ([]byte, error) {
	var before db.Event
	var frank *wire.Frank
	err := h.db.Read(ctx, func(tx *db.Tx) (err error) {
		if before, err = tx.EventByHash(r.id, hash); err == nil && before.Kind == db.EventMessage {
			frank, err = frankOf(tx, before.ID)
		}
		return err
	})
	switch {
	case err == nil && before.Kind == db.EventMessage:
		resp = wire.SubmitMessageResponse{Protocol: wire.ProtocolMLS10, StatusCode: wire.SubmitAccepted, AcceptedTimestamp: uint64(before.Time), Frank: frank}
	case err == nil || errors.Is(err, db.ErrNotFound):
		h.metrics.refused(api.OpSubmitMessage.String(), submitCode(resp))
	default:
		return nil, err
	}
	return resp.Bytes()
}

func submitCode(resp wire.SubmitMessageResponse) string {
	if resp.StatusCode == wire.SubmitEpochTooOld {
		return "epoch_too_old"
	}
	return api.CodeNotAllowed
}

// store queues an accepted message. The answer goes out only when the database has it (SM-4, draft-ietf-mimi-protocol-06,
// Section 5.5: accepted is a commitment to distribute).
func (h *localHub) store(r *liveRoom, e db.Event, resp wire.SubmitMessageResponse, franked frankFunc, answer func([]byte, error)) {
	r.retain()
	var stored db.Event
	var fresh bool
	h.db.Enqueue(func(tx *db.Tx) (err error) {
		f, err := franked()
		if err != nil {
			return err
		}
		e.Body, resp.Frank = f.event, f.frank
		if stored, fresh, err = tx.AppendEvent(e); err == nil && !fresh {
			resp.Frank, err = frankOf(tx, stored.ID)
		}
		return err
	}, func(err error) {
		p := publication{room: r, message: true}
		if err != nil {
			h.fault("message not stored", err)
			p.answer = func() { answer(nil, err) }
			h.fanout.publish(p)
			return
		}
		if fresh {
			p.cursor, p.frame = stored.ID, eventFrame(h.log, stored.ID, r.uri, e.Body)
			h.metrics.accepted[db.EventMessage].Inc()
		}
		p.answer = func() {
			resp.AcceptedTimestamp = uint64(stored.Time)
			answer(resp.Bytes())
		}
		h.fanout.publish(p)
	})
}

// eventFrame encodes an event once for all who get it; nil if it is too large for that.
func eventFrame(log *slog.Logger, cursor int64, room string, body []byte) []byte {
	frame, err := api.Bytes(&api.Event{Cursor: uint64(cursor), Room: room, Message: body})
	if err != nil {
		log.Error("an event is too large to deliver", "cursor", cursor, "octets", len(body))
		return nil
	}
	return frame
}

func (h *localHub) fault(what string, err error) {
	if !errors.Is(err, db.ErrClosed) {
		h.log.Error(what, "error", err.Error())
	}
}

// Update implements hub.
//
// draft-ietf-mimi-protocol-06, Section 5.3
func (h *localHub) Update(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte) ([]byte, error) {
	req, err := wire.UnmarshalUpdateRequest(body)
	if err != nil {
		return nil, opBadRequest
	}
	r, err := h.rooms.acquire(ctx, id)
	if err != nil {
		return nil, err
	}
	defer r.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hub.SetKey(h.authority.HubKey())
	if may, err := h.mayUpdate(ctx, r, from, req); err != nil {
		return nil, err
	} else if !may {
		return nil, opNotAllowed
	}
	outcome, err := r.hub.Update(h.millis(), from, req)
	if err != nil {
		return nil, opBadRequest
	}
	if outcome.Refusal != nil && outcome.Refusal.Rule == room.RuleOrigin {
		return nil, opNotAllowed
	}
	if outcome.Next == nil {
		return h.updateRefused(ctx, r, requestHash(body), &outcome.Response)
	}
	answer, err := h.commit(r, requestHash(body), outcome)
	if err == nil && req.IsCommit() {
		h.renew(r)
	}
	return answer, err
}

// updateRefused answers a refused update, unless it was accepted before (UP-13).
func (h *localHub) updateRefused(ctx context.Context, r *liveRoom, hash []byte, resp *wire.UpdateRoomResponse) ([]byte, error) {
	var before db.Event
	err := h.db.Read(ctx, func(tx *db.Tx) (err error) {
		before, err = tx.EventByHash(r.id, hash)
		return err
	})
	switch {
	case err == nil:
		resp = &wire.UpdateRoomResponse{ResponseCode: wire.UpdateSuccess, AcceptedTimestamp: uint64(before.Time)}
	case errors.Is(err, db.ErrNotFound):
		h.metrics.refused(api.OpUpdate.String(), updateCode(resp))
	default:
		return nil, err
	}
	return resp.Bytes()
}

func updateCode(resp *wire.UpdateRoomResponse) string {
	switch resp.ResponseCode {
	case wire.UpdateWrongEpoch:
		return "wrong_epoch"
	case wire.UpdateInvalidProposal:
		return "invalid_proposal"
	}
	return api.CodeNotAllowed
}

// commit stores an accepted update and waits for it, then lets the room go on from its outcome. The caller holds the
// room's lock.
//
// draft-ietf-mimi-protocol-06, Section 5.5
func (h *localHub) commit(r *liveRoom, hash []byte, outcome *room.UpdateOutcome) ([]byte, error) {
	state, err := outcome.Next.State()
	if err != nil {
		return nil, err
	}
	change := &roomChange{room: r, hash: hash, outcome: outcome, state: state, domain: h.domain,
		silentBefore: silentClients(r.hub), silentAfter: silentClients(outcome.Next),
		followers: h.followers(outcome.Next), followed: h.followers(r.hub)}
	for range outcome.Events {
		r.retain()
	}
	committed := make(chan error, 1)
	h.db.Enqueue(change.apply, func(err error) {
		h.publishChange(change, err)
		committed <- err
	})
	if err := <-committed; err != nil {
		h.fault("update not stored", err)
		return nil, err
	}
	resp := outcome.Response
	switch {
	case change.refused != "":
		h.metrics.refused(api.OpUpdate.String(), api.CodeNotAllowed)
		resp = wire.UpdateRoomResponse{ResponseCode: wire.UpdateNotAllowed, ErrorDescription: change.refused}
	case change.repeated:
		resp.AcceptedTimestamp = uint64(change.stored[0].Time)
	default:
		r.hub = outcome.Next
	}
	return resp.Bytes()
}

// publishChange hands the events of a stored update to the fanout, or gives the room back if nothing was stored.
func (h *localHub) publishChange(c *roomChange, err error) {
	list := make([]publication, len(c.outcome.Events))
	for i, e := range c.outcome.Events {
		p := &list[i]
		p.room = c.room
		if err != nil || c.refused != "" || c.repeated {
			continue
		}
		h.metrics.accepted[kindOf(e.Kind)].Inc()
		p.cursor, p.frame = c.stored[i].ID, eventFrame(h.log, c.stored[i].ID, c.room.uri, e.Body)
		p.changes, p.silent, p.followers = true, c.silent, domainsOf(c.followers)
		switch e.Kind {
		case room.EventCommit:
			p.join, p.leave = c.joined, c.removed
		case room.EventWelcome:
			p.join, p.only = c.added, true
		}
	}
	h.fanout.publish(list...)
}

func kindOf(k room.EventKind) int {
	switch k {
	case room.EventMessage:
		return db.EventMessage
	case room.EventProposal:
		return db.EventProposal
	case room.EventCommit:
		return db.EventCommit
	}
	return db.EventWelcome
}

// roomChange is an accepted update on its way into the database. apply may run twice: it sets all that is below it anew.
type roomChange struct {
	room    *liveRoom
	hash    []byte
	outcome *room.UpdateOutcome
	state   []byte
	domain  mimi.ProviderID

	silentBefore, silentAfter []mimi.ClientID
	followers, followed       map[mimi.ProviderID]bool // afterwards and before: other providers with members; whether any gets messages

	stored                 []db.Event
	added, joined, removed []int64  // devices: by Welcome, by external commit, no longer members
	targets                []string // other providers whose KeyPackages the Welcome names
	silent                 []int64  // members that get no messages from now on
	refused                string   // why nothing was stored after all
	repeated               bool     // nothing was stored because it was before
}

func (c *roomChange) apply(tx *db.Tx) error {
	c.stored, c.added, c.joined, c.removed, c.targets, c.silent, c.refused, c.repeated = nil, nil, nil, nil, nil, nil, "", false
	if err := errors.Join(c.resolve(tx), c.checkConsent(tx)); err != nil || c.refused != "" {
		return err
	}
	var commitID, welcomeID int64
	for i, e := range c.outcome.Events {
		row := db.Event{Room: c.room.id, Time: int64(e.Timestamp), Kind: kindOf(e.Kind), Body: e.Body}
		if i == 0 {
			row.Hash = c.hash
		}
		stored, fresh, err := tx.AppendEvent(row)
		if err != nil {
			return err
		}
		c.stored = append(c.stored, stored)
		if !fresh {
			c.repeated = true
			return nil
		}
		switch e.Kind {
		case room.EventCommit:
			commitID = stored.ID
		case room.EventWelcome:
			welcomeID = stored.ID
		}
	}
	if err := tx.SetRoomState(c.room.id, c.state); err != nil {
		return err
	}
	if commitID == 0 {
		return errors.Join(c.silence(tx, c.stored[0].ID), c.silenceFollowers(tx, c.stored[0].ID))
	}
	if err := tx.SetRoomUsers(c.room.id, participants(c.outcome.Next.View())); err != nil {
		return err
	}
	for _, ref := range c.outcome.Added { // KM-8: what a Welcome has named is spent
		err := tx.UseKeyClaim(ref)
		if errors.Is(err, db.ErrNotFound) {
			err = tx.UseKeyForward(ref)
		}
		if err != nil {
			return err
		}
	}
	if err := c.moveMembers(tx, commitID, welcomeID); err != nil {
		return err
	}
	if err := c.moveFollowers(tx, commitID, welcomeID); err != nil {
		return err
	}
	return errors.Join(c.silence(tx, commitID), c.silenceFollowers(tx, commitID))
}

// silence notes from which event on members get messages no more, or again.
//
// draft-ietf-mimi-protocol-06, Section 5.3: once a removal is accepted no application message goes to that user.
func (c *roomChange) silence(tx *db.Tx, event int64) error {
	for _, client := range slices.Concat(c.silentAfter, c.silentBefore) {
		d, err := tx.DeviceByClient(client.String())
		if errors.Is(err, db.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		silent := slices.Contains(c.silentAfter, client)
		if silent && !slices.Contains(c.silent, d.ID) {
			c.silent = append(c.silent, d.ID)
		}
		if err := tx.SetMemberMessages(c.room.id, d.ID, event, !silent); err != nil {
			return err
		}
	}
	return nil
}

// silentClients lists the members that must not get application messages.
func silentClients(h *room.Hub) []mimi.ClientID {
	var silent []mimi.ClientID
	for _, m := range h.Members() {
		if !h.MayReceive(m.User) {
			silent = append(silent, m.Client)
		}
	}
	return silent
}

// resolve finds the devices behind the KeyPackages and client URIs of the outcome. A Welcome for a package that was not
// handed out for this room is refused (UP-14).
func (c *roomChange) resolve(tx *db.Tx) error {
	for _, ref := range c.outcome.Added {
		if err := c.resolveAdded(tx, ref); err != nil || c.refused != "" {
			return err
		}
	}
	for _, list := range []struct {
		clients []mimi.ClientID
		devices *[]int64
	}{{c.outcome.Joined, &c.joined}, {c.outcome.Removed, &c.removed}} {
		for _, client := range list.clients {
			d, err := tx.DeviceByClient(client.String())
			if errors.Is(err, db.ErrNotFound) {
				continue // another provider's, or gone: it has no stream here
			}
			if err != nil {
				return err
			}
			*list.devices = append(*list.devices, d.ID)
		}
	}
	// A device that comes back by an external commit in place of its old leaf stays a member all the time.
	c.removed = without(c.removed, c.joined)
	return nil
}

// checkConsent refuses to list a user of ours whom the one who does it could give no devices: the user's browsers join
// rooms by themselves in which the user is a participant (CO-7).
func (c *roomChange) checkConsent(tx *db.Tx) error {
	for _, l := range c.outcome.Listed {
		if l.User.Provider() != c.domain {
			continue // its provider has no part in the room before it gives KeyPackages
		}
		_, may, err := mayFetch(tx, l.By, l.User, c.outcome.Next.Room())
		if err != nil {
			return err
		}
		if !may {
			c.refused = "a user has not consented to be in the room"
		}
	}
	return nil
}

func (c *roomChange) resolveAdded(tx *db.Tx, ref mls.KeyPackageRef) error {
	claim, err := tx.KeyClaim(ref)
	handedOut := claim.Room
	if err == nil {
		c.added = append(c.added, claim.Device)
	} else if errors.Is(err, db.ErrNotFound) {
		var provider string
		if provider, handedOut, err = tx.KeyForward(ref); err == nil && !slices.Contains(c.targets, provider) {
			c.targets = append(c.targets, provider)
		}
	}
	if errors.Is(err, db.ErrNotFound) || err == nil && handedOut != c.room.uri {
		c.refused = "a KeyPackage was not handed out for this room"
		return nil
	}
	return err
}

func (c *roomChange) moveMembers(tx *db.Tx, commitID, welcomeID int64) error {
	for _, d := range c.removed {
		if err := tx.EndMember(c.room.id, d, commitID); err != nil {
			return err
		}
	}
	for _, d := range c.added {
		if err := tx.AddMember(c.room.id, d, welcomeID); err != nil {
			return err
		}
	}
	for _, d := range c.joined {
		if err := tx.AddMemberOnce(c.room.id, d, commitID); err != nil {
			return err
		}
	}
	return nil
}

// participants lists the users of a room as the database keeps them.
func participants(v *room.View) []string {
	var users []string
	for _, u := range v.Users() {
		if v.IsParticipant(u.ID) {
			users = append(users, u.ID.String())
		}
	}
	return users
}

// GroupInfo implements hub. A device asks for itself only.
//
// draft-ietf-mimi-protocol-06, Section 5.6
func (h *localHub) GroupInfo(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte) ([]byte, error) {
	req, err := wire.UnmarshalGroupInfoRequest(body)
	if err != nil {
		return nil, opBadRequest
	}
	c, err := identity.Validate(req.RequestingCredential, req.RequestingSignatureKey, nil, h.rootsOf(from.Provider), h.now())
	if err != nil || !from.Is(c.Client) || req.Verify() != nil {
		return nil, opBadSignature
	}
	r, err := h.rooms.acquire(ctx, id)
	if errors.Is(err, opUnknown) {
		// GI-9: a room one may not join looks like one that does not exist.
		return (&wire.GroupInfoResponse{Protocol: wire.ProtocolMLS10, RoomID: id, Status: wire.GroupInfoNotAuthorized}).Bytes()
	}
	if err != nil {
		return nil, err
	}
	defer r.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	resp, err := r.hub.GroupInfo(h.millis(), req, h.authority.HubKey(), h.rand)
	if err != nil {
		return nil, opBadRequest
	}
	return resp.Bytes()
}

// Create implements hub (UP-16: creation is local to the hub).
func (h *localHub) Create(ctx context.Context, from mimi.ClientID, id mimi.RoomID, body []byte) ([]byte, error) {
	req, err := api.UnmarshalCreateRoomRequest(body)
	if err != nil {
		return nil, opBadRequest
	}
	message, err := mls.UnmarshalMessage(req.GroupInfo)
	if err != nil || message.GroupInfo == nil {
		return nil, opBadRequest
	}
	created, resp, err := room.Create(h.mls, h.millis(), from, id, h.authority.HubSender(), message.GroupInfo, mls.RatchetTree(req.RatchetTree))
	if err != nil {
		return nil, opBadRequest
	}
	if created != nil { // FR-3: nobody names another key as ours
		if refused := created.CheckAgent(h.authority.AgentKey()); refused != nil {
			created, resp = nil, refused
		}
	}
	if created == nil {
		h.metrics.refused(api.OpCreateRoom.String(), api.CodeNotAllowed)
		return resp.Bytes()
	}
	stored, err := h.storeRoom(ctx, created, from, requestHash(body), resp.AcceptedTimestamp, message.GroupInfo.GroupContext.GroupID)
	if errors.Is(err, db.ErrExists) {
		resp = &wire.UpdateRoomResponse{ResponseCode: wire.UpdateNotAllowed, ErrorDescription: "there is such a room already"}
	} else if err != nil {
		return nil, err
	}
	if stored != 0 {
		resp.AcceptedTimestamp = stored
		h.metrics.accepted[db.EventCreate].Inc()
	}
	return resp.Bytes()
}

// storeRoom makes the rows of a new room. Its return is when the room was accepted: now, or when the same request came
// for the first time.
func (h *localHub) storeRoom(ctx context.Context, created *room.Hub, by mimi.ClientID, hash []byte, now uint64, groupID []byte) (accepted uint64, err error) {
	state, err := created.State()
	if err != nil {
		return 0, err
	}
	row := db.Room{URI: created.Room().String(), GroupID: string(groupID), State: state}
	if a, b, ok := created.Direct(); ok {
		pair := []string{a.String(), b.String()}
		if pair[0] > pair[1] {
			pair[0], pair[1] = pair[1], pair[0]
		}
		row.Direct = strings.Join(pair, " ")
	}
	err = h.db.Write(ctx, func(tx *db.Tx) error {
		accepted = now
		if old, err := tx.RoomByURI(row.URI); err == nil {
			e, err := tx.EventByHash(old.ID, hash)
			if errors.Is(err, db.ErrNotFound) {
				return db.ErrExists
			}
			accepted = uint64(e.Time)
			return err
		} else if !errors.Is(err, db.ErrNotFound) {
			return err
		}
		return createRoom(tx, row, by, hash, now, participants(created.View()))
	})
	if err != nil {
		return 0, err
	}
	return accepted, nil
}

func createRoom(tx *db.Tx, row db.Room, by mimi.ClientID, hash []byte, now uint64, users []string) error {
	d, err := tx.DeviceByClient(by.String())
	if err != nil {
		return err
	}
	id, err := tx.CreateRoom(row)
	if err != nil {
		return err
	}
	e, _, err := tx.AppendEvent(db.Event{Room: id, Time: int64(now), Kind: db.EventCreate, Hash: hash, Body: []byte{}})
	if err != nil {
		return err
	}
	if err := tx.SetRoomUsers(id, users); err != nil {
		return err
	}
	return tx.AddMember(id, d.ID, e.ID)
}

// KeyMaterial implements hub.
//
// draft-ietf-mimi-protocol-06, Section 5.2
func (h *localHub) KeyMaterial(ctx context.Context, from room.Origin, req *wire.KeyMaterialRequest, body []byte) ([]byte, error) {
	present, err := h.mayAdd(ctx, req.RequestingUser, req.RoomID, req.TargetUser)
	if err != nil {
		return nil, err
	}
	return h.material(ctx, req, body, append(present, from.Client))
}

// mayAdd tells whether a user may add devices of another, or of itself, to a room, and which it has there (KM-12).
func (h *localHub) mayAdd(ctx context.Context, user mimi.UserID, id mimi.RoomID, target mimi.UserID) ([]mimi.ClientID, error) {
	r, err := h.rooms.acquire(ctx, id)
	if err != nil {
		return nil, err
	}
	defer r.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.hub.MayForward(user, target) {
		return nil, opNotAllowed
	}
	var present []mimi.ClientID
	for _, m := range r.hub.View().Devices(target) {
		present = append(present, m.Client)
	}
	return present, nil
}

// rootsOf are the roots that vouch for the users of a provider.
func (h *localHub) rootsOf(provider mimi.ProviderID) []*identity.Root {
	return room.RootsOf(h.mls.Application.(*room.Application).Roots, provider)
}
