package server

import (
	"bytes"
	"context"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/wire"
	"kith/web/api"
)

// maxConsentList bounds the answer to OpConsents.
const maxConsentList = 1000

// consent carries out what the account says about consent.
func (s *socket) consent(r *api.Request) ([]byte, error) {
	e, err := wire.UnmarshalConsentEntry(r.Body)
	if err != nil || r.Target != "" || len(e.ClientKeyPackages) > 0 {
		return nil, opBadRequest
	}
	return nil, s.m.consents.say(s.context, s.account.User, e)
}

// consentList answers OpConsents.
func (s *socket) consentList(r *api.Request) ([]byte, error) {
	if r.Target != "" || len(r.Body) > 0 {
		return nil, opBadRequest
	}
	list, err := s.m.consents.list(s.context, s.account.User)
	if err != nil {
		return nil, err
	}
	return list.Bytes()
}

// hintConsents tells the browsers of a user that OpConsents has news.
func (m *messenger) hintConsents(user string) {
	m.hint(api.HintConsents, func(s *socket) bool { return s.account.User.String() == user })
}

// hint lets browsers ask again for something.
func (m *messenger) hint(what api.HintKind, match func(*socket) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.sockets {
		if !match(s) {
			continue
		}
		if err := s.send(&api.Hint{What: what}); err != nil {
			m.Log.Error("hint not sent", "error", err.Error())
		}
	}
}

// say carries out what one of our users says, as requester or as target.
func (c *consents) say(ctx context.Context, user mimi.UserID, e *wire.ConsentEntry) error {
	self, other := e.RequesterURI, e.TargetURI
	if e.ConsentOperation == wire.ConsentGrant || e.ConsentOperation == wire.ConsentRevoke {
		self, other = other, self
	}
	if self != user || other == user {
		return opNotAllowed
	}
	if _, ok := c.perUser.take(user.String(), c.now()); !ok {
		return opRateLimited
	}
	var o consentOutcome
	err := c.db.Write(ctx, func(tx *db.Tx) (err error) {
		o = consentOutcome{}
		if other.Provider() == c.domain {
			if known, err := c.known(tx, other); err != nil || !known {
				return orUnknown(err)
			}
		}
		switch e.ConsentOperation {
		case wire.ConsentRequest:
			o, err = c.sayRequest(tx, e)
		case wire.ConsentCancel:
			o, err = c.sayCancel(tx, e)
		case wire.ConsentGrant:
			o, err = c.sayGrant(tx, e)
		default:
			o, err = c.sayRevoke(tx, e)
		}
		return err
	})
	if err != nil {
		return err
	}
	c.tell(o, user)
	if o.changed && other.Provider() == c.domain {
		c.hint(other.String())
	}
	return nil
}

func orUnknown(err error) error {
	if err == nil {
		err = opUnknown
	}
	return err
}

// sayRequest asks somebody for consent, and thereby gives one's own: an open request of the other is granted, a denial is
// taken back. A user of ours has consented unless the requester is blocked, who is to learn nothing of that.
func (c *consents) sayRequest(tx *db.Tx, e *wire.ConsentEntry) (o consentOutcome, err error) {
	row, err := consentRow(tx, e)
	if err != nil {
		return o, err
	}
	if blocks, err := tx.Blocked(row.Requester, row.Target); err != nil || blocks {
		return o, orConflict(err)
	}
	n, err := tx.CountRequestsBy(row.Requester)
	if err != nil {
		return o, err
	}
	if n >= maxRequestsBy && row.Asked == 0 {
		return o, opRateLimited
	}
	back, err := tx.Consent(row.Target, row.Requester, row.Room)
	if err != nil {
		return o, err
	}
	if back.Answer == db.ConsentDenied {
		back.Answer = db.ConsentOpen
		if err := tx.SetConsent(back); err != nil {
			return o, err
		}
	}
	if back.Asked > 0 && back.Answer == db.ConsentOpen {
		answer := &wire.ConsentEntry{RequesterURI: e.TargetURI, TargetURI: e.RequesterURI, RoomID: e.RoomID}
		if o, err = c.sayGrant(tx, answer); err != nil {
			return o, err
		}
	}
	row.Asked, row.Answer, o.changed = tx.Now(), db.ConsentOpen, true
	if e.TargetURI.Provider() == c.domain {
		blocked, err := tx.Blocked(row.Target, row.Requester)
		if err != nil {
			return o, err
		}
		if !blocked {
			row.Answer = db.ConsentGranted
		}
		return o, tx.SetConsent(row)
	}
	if err := tx.SetConsent(row); err != nil {
		return o, err
	}
	return c.queued(o, tx, wire.ConsentRequest, e)
}

func orConflict(err error) error {
	if err == nil {
		err = opConflict
	}
	return err
}

// sayCancel takes a request back.
func (c *consents) sayCancel(tx *db.Tx, e *wire.ConsentEntry) (o consentOutcome, err error) {
	row, err := consentRow(tx, e)
	if err != nil || row.Asked == 0 {
		return o, err
	}
	row.Asked, o.changed = 0, true
	if err := tx.SetConsent(row); err != nil || e.TargetURI.Provider() == c.domain {
		return o, err
	}
	return c.queued(o, tx, wire.ConsentCancel, e)
}

// sayGrant lets somebody fetch the user's KeyPackages.
func (c *consents) sayGrant(tx *db.Tx, e *wire.ConsentEntry) (o consentOutcome, err error) {
	row, err := consentRow(tx, e)
	if err != nil {
		return o, err
	}
	o.changed = true
	if err := grantConsent(tx, row); err != nil || e.RequesterURI.Provider() == c.domain {
		return o, err
	}
	return c.queued(o, tx, wire.ConsentGrant, e)
}

// sayRevoke keeps somebody from fetching the user's KeyPackages. It is stored, and nobody is told (CO-5).
func (c *consents) sayRevoke(tx *db.Tx, e *wire.ConsentEntry) (o consentOutcome, err error) {
	o.changed = true
	block, ok := e.ConsentExtensions.Get(mls.ComponentID(api.ComponentBlock))
	if ok && e.RoomID.IsZero() {
		switch {
		case bytes.Equal(block, api.BlockSet):
			return c.block(tx, e)
		case bytes.Equal(block, api.BlockLift):
			return o, c.unblock(tx, e)
		}
		return o, opBadRequest
	}
	row, err := consentRow(tx, e)
	if err != nil {
		return o, err
	}
	row.Answer = db.ConsentDenied
	return o, tx.SetConsent(row)
}

// block ends everything between two users: what the other has asked, and what was asked of the other.
func (c *consents) block(tx *db.Tx, e *wire.ConsentEntry) (o consentOutcome, err error) {
	user, other := e.TargetURI.String(), e.RequesterURI.String()
	o.changed = true
	if err := tx.Block(user, other); err != nil {
		return o, err
	}
	theirs, err := tx.ConsentsBetween(other, user)
	if err != nil {
		return o, err
	}
	for _, row := range theirs {
		row.Asked, row.Answer = 0, db.ConsentOpen
		if err := tx.SetConsent(row); err != nil {
			return o, err
		}
	}
	ours, err := tx.ConsentsBetween(user, other)
	if err != nil {
		return o, err
	}
	for _, row := range ours {
		if row.Asked == 0 {
			continue
		}
		cancel := &wire.ConsentEntry{RequesterURI: e.TargetURI, TargetURI: e.RequesterURI}
		if row.Room != "" {
			if cancel.RoomID, err = mimi.ParseRoomID(row.Room); err != nil {
				return o, err
			}
		}
		done, err := c.sayCancel(tx, cancel)
		if err != nil {
			return o, err
		}
		o.queued = o.queued || done.queued
	}
	return o, nil
}

// unblock takes a block and a denial back.
func (c *consents) unblock(tx *db.Tx, e *wire.ConsentEntry) error {
	row, err := consentRow(tx, e)
	if err != nil {
		return err
	}
	if row.Answer == db.ConsentDenied {
		row.Answer = db.ConsentOpen
		if err := tx.SetConsent(row); err != nil {
			return err
		}
	}
	return tx.Unblock(row.Target, row.Requester)
}

// list is what a user may know of everything that concerns it.
func (c *consents) list(ctx context.Context, user mimi.UserID) (list api.ConsentList, err error) {
	self := user.String()
	err = c.db.Read(ctx, func(tx *db.Tx) error {
		list = nil
		rows, err := tx.ConsentsOf(self, maxConsentList)
		if err != nil {
			return err
		}
		for _, r := range rows {
			list = append(list, api.Consent{State: consentState(r), Mutual: r.Asked > 0, Requester: r.Requester, Target: r.Target,
				Room: r.Room, Changed: uint64(r.Changed)})
		}
		blocked, err := tx.Blocks(self, maxConsentList)
		for _, other := range blocked {
			list = append(list, api.Consent{State: api.ConsentBlocked, Requester: other, Target: self})
		}
		return err
	})
	return list, err
}

func consentState(c db.Consent) api.ConsentState {
	switch c.Answer {
	case db.ConsentGranted:
		return api.ConsentGranted
	case db.ConsentDenied:
		return api.ConsentDenied
	}
	return api.ConsentAsked
}
