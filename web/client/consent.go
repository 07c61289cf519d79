package client

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/wire"
	"kith/web/api"
)

// Consent. Who may add whom to a room is kept by the providers: a browser asks its own for the list and shows it. What
// stays here is why somebody was asked: the intent, to begin a chat or to add a person to a group, which is carried out
// as soon as the list says that the other agrees. Until then nothing of a stranger is shown but the address.

// errNoConsent: the KeyPackages of a user are given out to those only who were granted them.
var errNoConsent = errors.New("client: no consent")

const (
	maxAsked    = 3                // times an intent leads to a request by itself
	mutualPause = 10 * time.Second // for the chat that the other may be making at this moment
	maxNameSeen = 64               // octets of a stranger's name that are shown
)

// intentKey says what an intent is for: the direct chat with a user, or adding the user to a room.
type intentKey struct {
	user mimi.UserID
	room mimi.RoomID // zero: the direct chat
}

func (k intentKey) key() string { return keyIntent + k.user.String() + "|" + k.room.String() }

// intent is what this device does when a user agrees.
type intent struct {
	since     uint64
	asked     bool // our provider has taken the request
	cancelled bool // and is to take it back
	tries     int  // requests sent by themselves, without a person asking again
	running   bool // a flow is carrying it out
	failures  int  // of that flow in a row
}

func (i *intent) bytes() []byte {
	e := newEncoder()
	e.u64(i.since)
	e.flag(i.asked)
	e.flag(i.cancelled)
	e.u64(uint64(i.tries))
	return e.done()
}

func parseIntent(data []byte) (*intent, error) {
	d, i := newDecoder(data), new(intent)
	i.since, i.asked, i.cancelled, i.tries = d.u64(), d.flag(), d.flag(), int(d.u64())
	return i, d.done()
}

// consents is what the engine knows of consent.
type consents struct {
	raw     []byte // the list as stored
	list    api.ConsentList
	intents map[intentKey]*intent
	want    int // times somebody wanted the list anew
	asking  bool
}

// loadConsents reads the list and the intents. What is damaged is lost and counted: the provider has the list.
func (e *engine) loadConsents(list, intents []KV) {
	e.consents.intents = map[intentKey]*intent{}
	if len(list) > 0 {
		var err error
		if e.consents.list, err = api.UnmarshalConsentList(list[0].Value); err != nil {
			e.consents.list = nil
			e.drop(dropDamaged)
		} else {
			e.consents.raw = list[0].Value
		}
	}
	for _, kv := range intents {
		k, err := parseIntentKey(strings.TrimPrefix(kv.Key, keyIntent))
		var i *intent
		if err == nil {
			i, err = parseIntent(kv.Value)
		}
		if err != nil {
			e.drop(dropDamaged)
			continue
		}
		e.consents.intents[k] = i
	}
}

func parseIntentKey(key string) (k intentKey, err error) {
	user, room, _ := strings.Cut(key, "|")
	if k.user, err = mimi.ParseUserID(user); err == nil && room != "" {
		k.room, err = mimi.ParseRoomID(room)
	}
	return k, err
}

// --- What the list says ------------------------------------------------------

// entry is the line of the list about exactly one scope, or nil.
func (e *engine) entry(requester, target mimi.UserID, room string) *api.Consent {
	for i := range e.consents.list {
		c := &e.consents.list[i]
		if c.State != api.ConsentBlocked && c.Requester == requester.String() && c.Target == target.String() && c.Room == room {
			return c
		}
	}
	return nil
}

// blocks reports whether this user has blocked somebody.
func (e *engine) blocks(u mimi.UserID) bool {
	return !u.IsZero() && slices.ContainsFunc(e.consents.list, func(c api.Consent) bool {
		return c.State == api.ConsentBlocked && c.Requester == u.String() && c.Target == e.user.String()
	})
}

// welcome reports whether somebody may add this user to a room: the same rules by which our provider gives out
// KeyPackages.
func (e *engine) welcome(u mimi.UserID, room mimi.RoomID) bool {
	if u == e.user {
		return true
	}
	if e.blocks(u) {
		return false
	}
	for _, scope := range []string{room.String(), ""} {
		if c := e.entry(u, e.user, scope); c != nil && c.State != api.ConsentAsked {
			return c.State == api.ConsentGranted
		}
		if c := e.entry(e.user, u, scope); c != nil && c.Mutual {
			return true // whom we ask may ask us back
		}
	}
	return u.Provider() == e.user.Provider()
}

// outgoing is what became of the request of an intent; 0 if there is none any more.
func (e *engine) outgoing(k intentKey) api.ConsentState {
	for _, scope := range []string{k.room.String(), ""} {
		if c := e.entry(e.user, k.user, scope); c != nil && c.State == api.ConsentGranted {
			return c.State
		}
	}
	if c := e.entry(e.user, k.user, k.room.String()); c != nil && c.State == api.ConsentAsked {
		return c.State
	}
	return 0
}

// --- Asking and following up -----------------------------------------------------

// askConsents fetches the list, and again if somebody wanted it meanwhile.
func (e *engine) askConsents() {
	e.consents.want++
	if e.consents.asking || !e.ready() {
		return
	}
	e.consents.asking = true
	e.spawn(func(ctx context.Context) {
		for e.syncConsents(ctx) {
		}
	})
}

// statement is something to be said to our provider.
type statement struct {
	key intentKey
	op  wire.ConsentOperation
}

// syncConsents fetches the list once, acts on it, and says what is still to be said. It is the only flow that does, so
// that a list is never older than what was said before it. It reports whether there is more to do.
func (e *engine) syncConsents(ctx context.Context) (again bool) {
	want := 0
	err := e.do(ctx, func() error { want = e.consents.want; return nil })
	var body []byte
	if err == nil {
		body, err = e.call(ctx, api.OpConsents, "", nil)
	}
	var said []statement
	if err == nil {
		err = e.do(ctx, func() (err error) { said, err = e.onConsents(body); return err })
	}
	for _, s := range said {
		if err == nil {
			err = e.state(ctx, s)
		}
	}
	_ = e.do(ctx, func() error {
		// After a fault the next connection or hint begins anew, if it has not done so already.
		again = e.consents.want != want || err == nil && len(said) > 0
		e.consents.asking = again
		return nil
	})
	return again
}

// onConsents takes a list over.
func (e *engine) onConsents(body []byte) ([]statement, error) {
	list, err := api.UnmarshalConsentList(body)
	if err != nil {
		e.drop("consent list of no use")
		return nil, err
	}
	b := new(batch)
	e.consents.list = list
	if !bytes.Equal(body, e.consents.raw) {
		e.consents.raw = body
		b.put(keyConsents, body)
	}
	for _, r := range e.rooms {
		e.meetAgain(b, r)
	}
	said := e.followUp(b)
	b.then = append(b.then, func() {
		e.roomsChanged = true
		e.postRequests()
	})
	return said, e.commit(b)
}

// followUp looks at every intent: it is carried out, given up, or something is to be said for it.
func (e *engine) followUp(b *batch) (said []statement) {
	for k, i := range e.consents.intents {
		if !i.cancelled && !i.running && k.room.IsZero() && e.talks(k.user) {
			// Both have asked, and the other has begun: there is nothing to wait for any more.
			i.cancelled = true
			b.put(k.key(), i.bytes())
		}
		switch {
		case i.cancelled:
			said = append(said, statement{k, wire.ConsentCancel})
		case !i.asked:
			said = append(said, statement{k, wire.ConsentRequest})
		case i.running:
		case e.outgoing(k) == api.ConsentGranted:
			i.running = true
			e.spawn(func(ctx context.Context) { e.carryOut(ctx, k, i) })
		case e.outgoing(k) != api.ConsentAsked:
			e.dropIntent(b, k) // taken back on another device, or refused
		}
	}
	return said
}

func (e *engine) dropIntent(b *batch, k intentKey) {
	delete(e.consents.intents, k)
	b.del(k.key())
}

// state says something to our provider and notes that it has taken it.
func (e *engine) state(ctx context.Context, s statement) error {
	err := e.sayConsent(ctx, &wire.ConsentEntry{ConsentOperation: s.op, RequesterURI: e.user, TargetURI: s.key.user, RoomID: s.key.room})
	var status *statusError
	refused := errors.As(err, &status) && !status.temporary()
	if err != nil && !refused {
		return err
	}
	return e.do(ctx, func() error {
		b := new(batch)
		i := e.consents.intents[s.key]
		switch {
		case i == nil:
		case refused, s.op == wire.ConsentCancel && i.cancelled:
			e.dropIntent(b, s.key)
		case s.op == wire.ConsentRequest:
			i.asked = true
			b.put(s.key.key(), i.bytes())
		}
		return e.commit(b)
	})
}

// sayConsent sends one entry to our provider.
func (e *engine) sayConsent(ctx context.Context, entry *wire.ConsentEntry) error {
	body, err := entry.Bytes()
	if err == nil {
		_, err = e.call(ctx, api.OpConsent, "", body)
	}
	return err
}

// carryOut does what an intent is for. Another device of the user may be at the same: each waits a moment by chance and
// then looks whether it is still to be done, and the rooms' own machinery settles the rest.
func (e *engine) carryOut(ctx context.Context, k intentKey, i *intent) {
	sleep(ctx, jitter(retryPause))
	err := e.wait(ctx, e.ready)
	if err == nil {
		if k.room.IsZero() {
			e.letPeerBegin(ctx, k.user)
			_, err = e.openDirect(ctx, k.user)
		} else {
			err = e.addAgreed(ctx, k)
		}
	}
	var known *Error
	final := errors.As(err, &known) && known.Code != CodeOffline && known.Code != api.CodeHubUnreachable
	if err != nil && !final {
		i.failures++ // this flow's alone while it runs
		sleep(ctx, backoff(i.failures))
	}
	_ = e.do(ctx, func() error {
		i.running = false
		b := new(batch)
		// Not asked: there was no consent after all, and the person is asked again.
		if e.consents.intents[k] == i && i.asked && !i.cancelled && (err == nil || final) {
			e.dropIntent(b, k)
			b.then = append(b.then, e.postRequests)
		}
		e.askConsents()
		return e.commit(b)
	})
}

// talks reports whether the room for the two is in use.
func (e *engine) talks(peer mimi.UserID) bool {
	r := e.direct(peer)
	return r != nil && r.rec.order > 0 && !r.rec.waiting && r.change == nil && r.usable()
}

// letPeerBegin avoids two chats of the same two people: whoever has been asked may be beginning one, and where both have
// asked each other, one of them waits longer.
func (e *engine) letPeerBegin(ctx context.Context, peer mimi.UserID) {
	pause := welcomePatience
	err := e.do(ctx, func() error {
		if c := e.entry(peer, e.user, ""); c != nil && c.Mutual && e.user.String() > peer.String() {
			pause = mutualPause
		}
		return nil
	})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	_ = e.wait(ctx, func() bool {
		r := e.direct(peer)
		return r != nil && !r.rec.waiting
	})
}

// agreeTo answers an open request of somebody with whom the user has begun a chat.
func (e *engine) agreeTo(ctx context.Context, peer mimi.UserID) error {
	open := false
	err := e.do(ctx, func() error {
		c := e.entry(peer, e.user, "")
		open = c != nil && c.State == api.ConsentAsked
		return nil
	})
	if err != nil || !open {
		return err
	}
	return e.answer(ctx, wire.ConsentGrant, peer.String(), "", nil)
}

// addAgreed adds a person who has agreed to a group.
func (e *engine) addAgreed(ctx context.Context, k intentKey) error {
	var r *room
	done := false
	err := e.do(ctx, func() (err error) {
		if r, err = e.find(k.room.String()); err != nil {
			return err
		}
		if r.rec.removed {
			return fail(CodeNotAllowed, "not in the room")
		}
		g, err := e.groupOf(r)
		if err != nil || g == nil {
			return err // on its way back into the room: the change waits for that
		}
		v, err := viewOf(g)
		done = err == nil && len(v.Devices(k.user)) > 0
		return err
	})
	if err != nil || done {
		return err
	}
	return e.request(ctx, r, change{kind: changeInvite, users: []string{k.user.String()}})
}

// intend remembers what to do when users agree whose KeyPackages are not given to us, and asks them.
func (e *engine) intend(b *batch, r *room, users []mimi.UserID) {
	for _, u := range users {
		k := intentKey{user: u}
		if r.rec.peer.IsZero() {
			k.room = r.id
		}
		i := e.consents.intents[k]
		if i == nil || i.cancelled {
			i = &intent{since: e.nowMS()}
			e.consents.intents[k] = i
		} else if i.tries++; !i.running || i.tries < maxAsked {
			i.asked = false
		}
		b.put(k.key(), i.bytes())
	}
	b.then = append(b.then, func() {
		e.postRequests()
		e.askConsents()
	})
}

// waitsFor reports whether somebody was asked for the direct chat and has not agreed yet.
func (e *engine) waitsFor(peer mimi.UserID) bool {
	i := e.consents.intents[intentKey{user: peer}]
	return i != nil && !i.cancelled
}

// withoutConsent leaves those out of a change who have not agreed. It reports whether nobody is left.
func withoutConsent(c *change, refused []mimi.UserID) (nobody bool) {
	c.users = slices.DeleteFunc(c.users, func(s string) bool {
		return slices.ContainsFunc(refused, func(u mimi.UserID) bool { return u.String() == s })
	})
	return len(c.users) == 0
}

// --- Rooms into which strangers have put us -----------------------------------------

// Values of a room's stranger that were declined begin with this.
const declinedMark = "-"

// meet hides a room into which somebody has put us who may not: it is a request like any other. A list that is out of
// date hides it for a moment only.
func (e *engine) meet(b *batch, r *room, by string) {
	u, err := mimi.ParseUserID(by)
	if err != nil || e.welcome(u, r.id) {
		e.setStranger(b, r, "")
		return
	}
	e.setStranger(b, r, by)
	b.then = append(b.then, func() { e.postRequests(); e.askConsents() })
}

// meetAgain looks at a hidden room after the list has changed.
func (e *engine) meetAgain(b *batch, r *room) {
	if r.declined() {
		b.then = append(b.then, func() { e.quitDeclined(r) })
		return
	}
	u, err := mimi.ParseUserID(r.stranger)
	if err != nil {
		return // nobody
	}
	switch c := e.entry(u, e.user, r.id.String()); {
	case e.welcome(u, r.id):
		e.setStranger(b, r, "")
		e.tellMembers(b, r)
	case c != nil && c.State == api.ConsentDenied, e.blocks(u):
		e.declineRoom(b, r)
	}
}

func (e *engine) setStranger(b *batch, r *room, value string) {
	if r.stranger == value {
		return
	}
	if r.stranger = value; value == "" {
		b.del(r.key(keyStranger))
	} else {
		b.put(r.key(keyStranger), []byte(value))
	}
	b.then = append(b.then, func() { e.roomsChanged = true })
}

// declineRoom hides a room for good and takes us out of it: it is not joined again although its hub lists us.
func (e *engine) declineRoom(b *batch, r *room) {
	e.setStranger(b, r, declinedMark+r.stranger)
	b.then = append(b.then, func() { e.quitDeclined(r) })
}

// quitDeclined leaves a room that was declined. Where one cannot leave, as a room for two, it is only forgotten.
func (e *engine) quitDeclined(r *room) {
	if r.quitting || r.rec.removed {
		return
	}
	r.quitting = true
	e.spawn(func(ctx context.Context) {
		err := e.leave(ctx, r.id.String())
		_ = e.do(ctx, func() error {
			r.quitting = false
			var known *Error
			if !errors.As(err, &known) || known.Code == CodeOffline || r.rec.removed {
				return nil // it is done, or is tried again with the next list
			}
			b := new(batch)
			r.rec.removed = true
			e.forgetGroup(b, r)
			e.noteLeft(b, r)
			e.saveRecord(b, r)
			return e.commit(b)
		})
	})
}

// declined reports whether the user wants nothing of the room.
func (r *room) declined() bool { return strings.HasPrefix(r.stranger, declinedMark) }

// hides reports whether a room is not to be seen: a stranger's, or the chat with somebody who is blocked.
func (e *engine) hides(r *room) bool { return r.stranger != "" || e.blocks(r.rec.peer) }

// --- What people do and see -----------------------------------------------------------

// requests is what the page shows, in no order.
func (e *engine) requests() (v RequestsView) {
	for _, c := range e.consents.list {
		switch {
		case c.State == api.ConsentBlocked:
			v.Blocked = addRequest(v.Blocked, e.requestView(c.Requester, "", 0))
		case c.State != api.ConsentAsked:
		case c.Target == e.user.String():
			v.Incoming = addRequest(v.Incoming, e.requestView(c.Requester, c.Room, c.Changed))
		case c.Requester == e.user.String() && !e.takenBack(c):
			v.Outgoing = addRequest(v.Outgoing, e.requestView(c.Target, c.Room, c.Changed))
		}
	}
	for _, r := range e.rooms {
		if r.stranger != "" && !r.declined() {
			v.Incoming = addRequest(v.Incoming, e.requestView(r.stranger, r.id.String(), r.rec.order))
		}
	}
	for k, i := range e.consents.intents {
		if !i.cancelled {
			v.Outgoing = addRequest(v.Outgoing, e.requestView(k.user.String(), k.room.String(), i.since))
		}
	}
	return v
}

// takenBack reports whether a request of ours is about to be cancelled.
func (e *engine) takenBack(c api.Consent) bool {
	for k, i := range e.consents.intents {
		if i.cancelled && k.user.String() == c.Target && k.room.String() == c.Room {
			return true
		}
	}
	return false
}

func addRequest(list []RequestView, v RequestView) []RequestView {
	if slices.ContainsFunc(list, func(o RequestView) bool { return o.User == v.User && o.Room == v.Room }) {
		return list
	}
	return append(list, v)
}

// requestView shows of a stranger nothing but the address. The name of a room is told where it is our own.
func (e *engine) requestView(user, room string, at uint64) RequestView {
	v := RequestView{User: user, Room: room, Time: int64(at)}
	if u, err := mimi.ParseUserID(user); err == nil {
		v.Address = shortAddress(u)
	}
	if r, err := e.find(room); err == nil && r.shown() && !e.hides(r) {
		v.RoomName = r.rec.name
	}
	return v
}

// shortAddress is name@domain. Everything in it comes out of a parsed URI: ASCII, escaped where it was.
func shortAddress(u mimi.UserID) string {
	name := u.Name()
	if len(name) > maxNameSeen {
		name = name[:maxNameSeen] + "…"
	}
	if u.IsPseudonym() {
		name = "/p/" + name // not to be mistaken for the user of that name
	}
	return name + "@" + u.Provider().Host()
}

func (e *engine) postRequests() { e.cfg.Post(View{ViewRequests, e.requests()}) }

// scopeOf reads what a page names: a user and, for a request for one room, that room.
func (e *engine) scopeOf(user, room string) (k intentKey, err error) {
	if k.user, err = mimi.ParseUserID(user); err == nil && room != "" {
		k.room, err = mimi.ParseRoomID(room)
	}
	if err != nil || k.user == e.user {
		return k, fail(CodeNotFound, "no such request")
	}
	return k, nil
}

// answer says something as target, and looks at the list after that.
func (e *engine) answer(ctx context.Context, op wire.ConsentOperation, user, room string, block []byte) error {
	k, err := e.scopeOf(user, room)
	if err != nil {
		return err
	}
	entry := &wire.ConsentEntry{ConsentOperation: op, RequesterURI: k.user, TargetURI: e.user, RoomID: k.room}
	if block != nil {
		entry.ConsentExtensions = entry.ConsentExtensions.Set(mls.ComponentID(api.ComponentBlock), block)
	}
	if err := e.sayConsent(ctx, entry); err != nil {
		return err
	}
	return e.do(ctx, func() error { e.askConsents(); return nil })
}

// cancelRequest takes a request of ours back. The intent is kept until our provider knows.
func (e *engine) cancelRequest(ctx context.Context, user, room string) error {
	k, err := e.scopeOf(user, room)
	if err != nil {
		return err
	}
	return e.do(ctx, func() error {
		i := e.consents.intents[k]
		if i == nil {
			i = &intent{since: e.nowMS(), asked: true}
			e.consents.intents[k] = i
		}
		i.cancelled = true
		b := new(batch)
		b.put(k.key(), i.bytes())
		b.then = append(b.then, func() {
			e.postRequests()
			e.askConsents()
		})
		return e.commit(b)
	})
}

// mayApproach refuses to ask somebody whom the user has blocked.
func (e *engine) mayApproach(ctx context.Context, users []mimi.UserID) error {
	return e.do(ctx, func() error {
		if slices.ContainsFunc(users, e.blocks) {
			return fail(CodeBlocked, "blocked by the user")
		}
		return nil
	})
}

// Requests is who asks and who was asked, and whom the user has blocked.
func (s *Session) Requests(ctx context.Context) (RequestsView, error) {
	return with(ctx, s, func(e *engine, ctx context.Context) (v RequestsView, err error) {
		err = e.do(ctx, func() error { v = e.requests(); return nil })
		return v, err
	})
}

// AcceptRequest lets somebody write to the user, or add it to the one room the request is for.
func (s *Session) AcceptRequest(ctx context.Context, user, room string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error {
		return e.answer(ctx, wire.ConsentGrant, user, room, nil)
	})
}

// DeclineRequest refuses a request. Who asked learns nothing of it.
func (s *Session) DeclineRequest(ctx context.Context, user, room string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error {
		return e.answer(ctx, wire.ConsentRevoke, user, room, nil)
	})
}

// CancelRequest takes a request of the user back.
func (s *Session) CancelRequest(ctx context.Context, user, room string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error { return e.cancelRequest(ctx, user, room) })
}

// BlockUser makes sure that nothing of somebody is seen any more. Who is blocked learns nothing of it.
func (s *Session) BlockUser(ctx context.Context, user string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error {
		return e.answer(ctx, wire.ConsentRevoke, user, "", api.BlockSet)
	})
}

// UnblockUser takes a block back.
func (s *Session) UnblockUser(ctx context.Context, user string) error {
	return s.try(ctx, func(e *engine, ctx context.Context) error {
		return e.answer(ctx, wire.ConsentRevoke, user, "", api.BlockLift)
	})
}
