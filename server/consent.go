package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kith/db"
	"kith/mimi"
	"kith/mimi/wire"
)

// The limits of what is kept about consent. What a stranger can make us store is bounded by them; what people do stays
// far below.
const (
	maxRequestsTo   = 100  // open requests to one of our users
	maxRequestsPair = 25   // and those of one provider's users among them, so that it takes the room of no other
	maxRequestsFrom = 1000 // open requests of one provider's users
	maxRequestsBy   = 100  // open requests of one of our users
	maxUnasked      = 1000 // answers of one provider's users that nobody has asked for
	maxConsentQueue = 5000 // messages that wait for one provider

	peerConsentBurst, peerConsentEvery = 300, time.Second
	userConsentBurst, userConsentEvery = 60, 10 * time.Second
)

// consents keeps who may fetch whose KeyPackages: what our users grant and deny, what they ask of others and what others
// ask of them. What they say goes to the other's provider, directly and never by way of a hub (CO-1); what it says comes
// in through receive.
type consents struct {
	db     *db.DB
	domain mimi.ProviderID
	now    func() time.Time
	log    *slog.Logger
	hint   func(user string) // the user's browsers are to ask again
	post   consentPost

	perPeer, perUser *limiter
	received         *prometheus.CounterVec // by outcome
	wake             chan struct{}          // there is something to send
}

// consentPost sends a request to an endpoint of another provider.
type consentPost func(ctx context.Context, domain mimi.ProviderID, endpoint string, vars map[string]string, body []byte) (*peerAnswer, error)

func newConsents(c consents, registry prometheus.Registerer) *consents {
	c.perPeer, c.perUser = newLimiter(peerConsentBurst, peerConsentEvery), newLimiter(userConsentBurst, userConsentEvery)
	c.received = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kith_consent_messages_total",
		Help: "What other providers sent about consent."}, []string{"outcome"})
	registry.MustRegister(c.received)
	c.wake = make(chan struct{}, 1)
	return &c
}

// consentOutcome says what a message has led to.
type consentOutcome struct {
	changed bool // the user of ours should hear of it
	queued  bool // there is something to send
	dropped bool // it was over a limit
}

// peerConsent is the handler of an endpoint; answer says which.
func (m *messenger) peerConsent(answer bool) peerHandler {
	return func(ctx context.Context, from mimi.ProviderID, target string, body []byte) ([]byte, error) {
		// The path names us, or our user in whose name the body is.
		user, err := mimi.ParseUserID(target)
		if target != m.domain.String() && (err != nil || user.Provider() != m.domain) {
			return nil, opUnknown
		}
		return nil, m.receiveConsent(ctx, from, body, answer)
	}
}

// receiveConsent takes what another provider sends: answer is what came to updateConsent. nil means that it was received,
// and nothing else.
//
// draft-ietf-mimi-protocol-06, Section 5.7
func (m *messenger) receiveConsent(ctx context.Context, from mimi.ProviderID, body []byte, answer bool) error {
	return m.consents.receive(ctx, from, body, answer)
}

func (c *consents) receive(ctx context.Context, from mimi.ProviderID, body []byte, answer bool) error {
	e, err := wire.UnmarshalConsentEntry(body)
	// CO-1
	if err != nil || answer != (e.ConsentOperation == wire.ConsentGrant || e.ConsentOperation == wire.ConsentRevoke) {
		return opBadRequest
	}
	theirs, ours := e.RequesterURI, e.TargetURI
	if answer {
		theirs, ours = ours, theirs
	}
	// TR-6
	if theirs.Provider() != from || ours.Provider() != c.domain {
		return opNotAllowed
	}
	if _, ok := c.perPeer.take(from.String(), c.now()); !ok {
		c.received.WithLabelValues("rate_limited").Inc()
		return opRateLimited
	}
	var o consentOutcome
	err = c.db.Write(ctx, func(tx *db.Tx) error {
		o = consentOutcome{}
		known, err := c.known(tx, ours)
		if err == nil && known {
			o, err = c.take(tx, e)
		}
		if err != nil {
			return err
		}
		// CO-4: whoever the target is and whatever it thinks of the requester, something is written and the answer is
		// the same. What comes of it takes no time that could be told from that of the disk.
		return tx.CountConsentMessage(from.Host(), o.dropped)
	})
	if err != nil {
		return err
	}
	c.tell(o, ours)
	outcome := "received"
	if o.dropped {
		outcome = "dropped"
	}
	c.received.WithLabelValues(outcome).Inc()
	return nil
}

// tell does what follows a committed change.
func (c *consents) tell(o consentOutcome, user mimi.UserID) {
	if o.changed {
		c.hint(user.String())
	}
	if o.queued {
		poke(c.wake)
	}
}

// known reports whether there is such a user of ours.
func (c *consents) known(tx *db.Tx, user mimi.UserID) (bool, error) {
	a, err := tx.AccountByName(user.Name())
	if errors.Is(err, db.ErrNotFound) {
		return false, nil
	}
	return err == nil && a.DisabledAt == 0 && !user.IsPseudonym(), err
}

// take carries out what another provider has sent for a user of ours.
func (c *consents) take(tx *db.Tx, e *wire.ConsentEntry) (consentOutcome, error) {
	switch e.ConsentOperation {
	case wire.ConsentRequest:
		return c.takeRequest(tx, e)
	case wire.ConsentCancel:
		return c.takeCancel(tx, e)
	case wire.ConsentGrant:
		return c.takeGrant(tx, e)
	}
	return c.takeRevoke(tx, e)
}

// takeRequest keeps a request until the target answers it. One that is answered already leads to the same answer again,
// if it is a grant, and to nothing otherwise.
func (c *consents) takeRequest(tx *db.Tx, e *wire.ConsentEntry) (o consentOutcome, err error) {
	d, err := decideConsent(tx, e.RequesterURI, e.TargetURI, e.RoomID)
	if err != nil || d.denied {
		return o, err
	}
	if d.granted {
		o.queued, err = c.queue(tx, wire.ConsentGrant, e)
		o.dropped = !o.queued
		return o, err
	}
	row, err := consentRow(tx, e)
	if err != nil || row.Asked > 0 {
		return o, err
	}
	provider := e.RequesterURI.Provider().String()
	to, err1 := tx.CountRequestsTo(row.Target)
	from, err2 := tx.CountRequestsFrom(provider)
	pair, err3 := tx.CountRequestsBetween(provider, row.Target)
	if err := errors.Join(err1, err2, err3); err != nil {
		return o, err
	}
	if to >= maxRequestsTo || from >= maxRequestsFrom || pair >= maxRequestsPair {
		o.dropped = true
		return o, nil
	}
	row.Asked, o.changed = tx.Now(), true
	return o, tx.SetConsent(row)
}

// takeCancel forgets a request of the same scope; there may be none (CO-3).
func (c *consents) takeCancel(tx *db.Tx, e *wire.ConsentEntry) (o consentOutcome, err error) {
	row, err := consentRow(tx, e)
	if err != nil || row.Asked == 0 {
		return o, err
	}
	row.Asked, o.changed = 0, row.Answer == db.ConsentOpen
	return o, tx.SetConsent(row)
}

// takeGrant keeps a grant, whether it was asked for or not, and whether it says what it was asked (CO-5). KeyPackages in
// it are not used (CO-6): those for a room are claimed for it, so that one is handed out once.
func (c *consents) takeGrant(tx *db.Tx, e *wire.ConsentEntry) (o consentOutcome, err error) {
	blocked, err := tx.Blocked(e.RequesterURI.String(), e.TargetURI.String())
	if err != nil || blocked {
		return o, err
	}
	row, err := consentRow(tx, e)
	if err != nil {
		return o, err
	}
	if row.Asked == 0 && row.Answer == db.ConsentOpen {
		n, err := tx.CountUnasked(e.TargetURI.Provider().String())
		if err != nil {
			return o, err
		}
		if n >= maxUnasked {
			o.dropped = true
			return o, nil
		}
	}
	o.changed = true
	return o, grantConsent(tx, row)
}

// takeRevoke notes that a grant has ended or a request was denied; there may be neither.
func (c *consents) takeRevoke(tx *db.Tx, e *wire.ConsentEntry) (o consentOutcome, err error) {
	row, err := consentRow(tx, e)
	if err != nil || row.Asked == 0 && row.Answer == db.ConsentOpen {
		return o, err
	}
	o.changed = true
	row.Answer = db.ConsentDenied
	if row.Asked == 0 {
		row.Answer = db.ConsentOpen // what nobody asked for is forgotten
	}
	return o, tx.SetConsent(row)
}

// consentRow is what is known of the scope of an entry.
func consentRow(tx *db.Tx, e *wire.ConsentEntry) (db.Consent, error) {
	return tx.Consent(e.RequesterURI.String(), e.TargetURI.String(), e.RoomID.String())
}

// grantConsent stores a grant. One for every room answers the open requests for single rooms too.
func grantConsent(tx *db.Tx, row db.Consent) error {
	row.Answer = db.ConsentGranted
	if err := tx.SetConsent(row); err != nil || row.Room != "" {
		return err
	}
	list, err := tx.ConsentsBetween(row.Requester, row.Target)
	if err != nil {
		return err
	}
	for _, narrower := range list {
		if narrower.Answer != db.ConsentOpen {
			continue
		}
		narrower.Answer = db.ConsentGranted
		if err := tx.SetConsent(narrower); err != nil {
			return err
		}
	}
	return nil
}

// consentDecision is what is to be answered to a requester; neither granted nor denied means that nobody has decided.
type consentDecision struct {
	granted, denied bool
	elsewhere       bool // granted for another room only
}

// decideConsent finds what holds for a scope. The most specific scope that says anything decides; at equal scope a denial
// beats a grant, and both beat what follows from other things (CO-7): whoever asks somebody may be asked back, and who
// has a device in a room may be given another one there.
func decideConsent(tx *db.Tx, requester, target mimi.UserID, room mimi.RoomID) (d consentDecision, err error) {
	who, whom := requester.String(), target.String()
	blocked, err := tx.Blocked(whom, who)
	if err != nil {
		return d, err
	}
	said, err := tx.ConsentsBetween(who, whom)
	if err != nil {
		return d, err
	}
	asked, err := tx.ConsentsBetween(whom, who)
	if err != nil {
		return d, err
	}
	inside := false
	if !room.IsZero() {
		if inside, err = tx.HasDeviceIn(whom, room.String()); err != nil {
			return d, err
		}
	}
	if blocked {
		d.denied = true
		return d, nil
	}
	for _, s := range said {
		d.elsewhere = d.elsewhere || s.Room != "" && s.Room != room.String() && s.Answer == db.ConsentGranted
	}
	for _, scope := range []string{room.String(), ""} {
		answer := db.ConsentOpen
		for _, s := range said {
			if s.Room == scope {
				answer = s.Answer
			}
		}
		implied := inside && scope != ""
		for _, a := range asked {
			implied = implied || a.Room == scope && a.Asked > 0
		}
		if answer != db.ConsentOpen || implied {
			d.denied = answer == db.ConsentDenied
			d.granted = !d.denied
			return d, nil
		}
	}
	return d, nil
}

// mayFetch says whether a user may fetch the KeyPackages of one of ours, for a room or for none, and what to answer if
// not. The target need not exist: to a stranger that looks like a target that has not consented (KM-7).
//
// draft-ietf-mimi-protocol-06, Sections 3.2 and 8
func mayFetch(tx *db.Tx, requester, target mimi.UserID, room mimi.RoomID) (wire.KeyMaterialUserCode, bool, error) {
	d, err := decideConsent(tx, requester, target, room)
	if err != nil {
		return wire.UserNoConsent, false, err
	}
	switch {
	case d.denied && requester != target:
		return wire.UserNoConsent, false, nil
	case d.granted, requester.Provider() == target.Provider(): // within one provider, having an account is consent
		return wire.UserSuccess, true, nil
	case d.elsewhere:
		return wire.UserNoConsentForThisRoom, false, nil
	}
	return wire.UserNoConsent, false, nil
}
