package db

import "math"

// The verdicts of an administrator about a peer.
const (
	VerdictNone  = ""
	VerdictAllow = "allow"
	VerdictDeny  = "deny"
)

// Peer is another provider that we have met, or that the administrator has an opinion on.
type Peer struct {
	Domain    string
	Roots     []byte // pinned identity roots, in the caller's encoding; nil: not known yet
	Offered   []byte // other roots that its directory names now; nil: none
	FirstSeen int64
	LastOK    int64  // when it last answered; 0: never
	Error     string // what was wrong last; empty since it answered
	ErrorAt   int64
	Verdict   string // one of the Verdict constants
	Suspended int64  // since when nothing is exchanged with it; 0: it is not suspended
	ExpiresAt int64  // when the certificate ends that it has shown last; 0: it has shown none
}

const peerColumns = `domain, roots, offered, first_seen, ifnull(last_ok, 0), error, ifnull(error_at, 0), verdict,
	ifnull(suspended_at, 0), ifnull(expires_at, 0) FROM peer`

func scanPeer(p *Peer, row func(...any) error) error {
	return row(&p.Domain, &p.Roots, &p.Offered, &p.FirstSeen, &p.LastOK, &p.Error, &p.ErrorAt, &p.Verdict, &p.Suspended, &p.ExpiresAt)
}

// Peers returns all of them by name.
func (tx *Tx) Peers() ([]Peer, error) {
	return collect(tx, `SELECT `+peerColumns+` ORDER BY domain`, nil, scanPeer)
}

// Peer returns one, or [ErrNotFound].
func (tx *Tx) Peer(domain string) (Peer, error) {
	var p Peer
	err := scanPeer(&p, func(dest ...any) error {
		return tx.one(`SELECT `+peerColumns+` WHERE domain = ?`, []any{domain}, dest...)
	})
	return p, err
}

// MeetPeer notes that a peer exists: it has shown a directory.
func (tx *Tx) MeetPeer(domain string) error {
	_, err := tx.exec(`INSERT INTO peer (domain, first_seen) VALUES (?, ?) ON CONFLICT DO NOTHING`, domain, tx.Now())
	return err
}

// PinPeerRoots stores the identity roots of a peer unless it has some already.
func (tx *Tx) PinPeerRoots(domain string, roots []byte) error {
	_, err := tx.exec(`INSERT INTO peer (domain, roots, first_seen) VALUES (?1, ?2, ?3)
		ON CONFLICT (domain) DO UPDATE SET roots = ?2 WHERE roots IS NULL`, domain, roots, tx.Now())
	return err
}

// OfferPeerRoots notes that a peer names other roots than those that are pinned; nil takes it back.
func (tx *Tx) OfferPeerRoots(domain string, roots []byte) error {
	_, err := tx.exec(`UPDATE peer SET offered = ?1 WHERE domain = ?2 AND offered IS NOT ?1`, roots, domain)
	return err
}

// AcceptPeerRoots pins the roots that a peer names now in place of those before.
func (tx *Tx) AcceptPeerRoots(domain string) error {
	return tx.touchOne(`UPDATE peer SET roots = offered, offered = NULL WHERE domain = ? AND offered IS NOT NULL`, domain)
}

// PeerHealth notes how the last exchange with a peer went: at a time, with a word for what was wrong or none, and the end
// of the certificate that it has shown, 0 if it is not known. Of one that was never met nothing is noted: whoever asks for
// a domain that does not exist would fill the table.
func (tx *Tx) PeerHealth(domain string, at int64, problem string, expiresAt int64) error {
	if problem == "" {
		_, err := tx.exec(`UPDATE peer SET last_ok = ?2, error = '', error_at = NULL, expires_at = coalesce(nullif(?3, 0), expires_at)
			WHERE domain = ?1`, domain, at, expiresAt)
		return err
	}
	_, err := tx.exec(`UPDATE peer SET error = ?3, error_at = ?2, expires_at = coalesce(nullif(?4, 0), expires_at) WHERE domain = ?1`,
		domain, at, problem, expiresAt)
	return err
}

// SetPeerVerdict notes what the administrator thinks of a provider. One that was never met and about which there is
// nothing to say any more is forgotten.
func (tx *Tx) SetPeerVerdict(domain, verdict string) error {
	_, err := tx.exec(`INSERT INTO peer (domain, first_seen, verdict) VALUES (?1, ?2, ?3)
		ON CONFLICT (domain) DO UPDATE SET verdict = ?3`, domain, tx.Now(), verdict)
	if err == nil && verdict == VerdictNone {
		_, err = tx.exec(`DELETE FROM peer WHERE domain = ? AND roots IS NULL AND last_ok IS NULL AND suspended_at IS NULL`, domain)
	}
	return err
}

// SuspendPeer stops all exchange with a provider that we have met, or takes it up again with at 0. Without such a provider
// it returns [ErrNotFound].
func (tx *Tx) SuspendPeer(domain string, at int64) error {
	return tx.touchOne(`UPDATE peer SET suspended_at = nullif(?, 0) WHERE domain = ?`, at, domain)
}

// Waiting is what a provider has not taken yet.
type Waiting struct {
	Provider string
	Rooms    int   // in which there is something
	Events   int   // at most maxWaiting for each room
	Since    int64 // the time of the oldest
	Parked   int   // rooms of which it has refused the events
}

const maxWaiting = 1000

// Waiting lists what providers have not taken yet of our rooms, by domain.
func (tx *Tx) Waiting() ([]Waiting, error) {
	type open struct {
		provider       string
		room           int64
		cursor, parked int64
	}
	rooms, err := collect(tx, `SELECT o.provider, o.room, o.cursor, o.parked FROM outbox o
		WHERE o.cursor < (SELECT max(e.id) FROM event e INDEXED BY event_room WHERE e.room = o.room) ORDER BY o.provider`, nil,
		func(o *open, row func(...any) error) error { return row(&o.provider, &o.room, &o.cursor, &o.parked) })
	if err != nil {
		return nil, err
	}
	var all []Waiting
	for _, o := range rooms {
		page, err := tx.forFollower(o.room, o.provider, o.cursor, math.MaxInt64, maxWaiting)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			continue // what is new there is not for this provider
		}
		if len(all) == 0 || all[len(all)-1].Provider != o.provider {
			all = append(all, Waiting{Provider: o.provider, Since: page[0].Time})
		}
		w := &all[len(all)-1]
		w.Rooms, w.Events, w.Since = w.Rooms+1, w.Events+len(page), min(w.Since, page[0].Time)
		if o.parked != 0 {
			w.Parked++
		}
	}
	return all, nil
}
