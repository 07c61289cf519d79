package db

// Peer is another provider that we have met.
type Peer struct {
	Domain    string
	Roots     []byte // pinned identity roots, in the caller's encoding; nil: not known yet
	Offered   []byte // other roots that its directory names now; nil: none
	FirstSeen int64
	LastOK    int64  // when it last answered; 0: never
	Error     string // what was wrong last; empty since it answered
	ErrorAt   int64
}

const peerColumns = `domain, roots, offered, first_seen, ifnull(last_ok, 0), error, ifnull(error_at, 0) FROM peer`

func scanPeer(p *Peer, row func(...any) error) error {
	return row(&p.Domain, &p.Roots, &p.Offered, &p.FirstSeen, &p.LastOK, &p.Error, &p.ErrorAt)
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

// PinPeerRoots stores the identity roots of a peer unless it has some already.
func (tx *Tx) PinPeerRoots(domain string, roots []byte) error {
	_, err := tx.exec(`INSERT INTO peer (domain, roots, first_seen) VALUES (?1, ?2, ?3)
		ON CONFLICT (domain) DO UPDATE SET roots = ?2 WHERE roots IS NULL`, domain, roots, tx.Now())
	return err
}

// OfferPeerRoots notes that a peer names other roots than those that are pinned; nil takes it back.
func (tx *Tx) OfferPeerRoots(domain string, roots []byte) error {
	_, err := tx.exec(`UPDATE peer SET offered = ? WHERE domain = ?`, roots, domain)
	return err
}

// AcceptPeerRoots pins the roots that a peer names now in place of those before.
func (tx *Tx) AcceptPeerRoots(domain string) error {
	return tx.touchOne(`UPDATE peer SET roots = offered, offered = NULL WHERE domain = ? AND offered IS NOT NULL`, domain)
}

// PeerHealth notes how the last exchange with a peer went: at a time, with an error in words or none.
func (tx *Tx) PeerHealth(domain string, at int64, problem string) error {
	if problem == "" {
		_, err := tx.exec(`INSERT INTO peer (domain, first_seen, last_ok) VALUES (?1, ?2, ?2)
			ON CONFLICT (domain) DO UPDATE SET last_ok = ?2, error = '', error_at = NULL`, domain, at)
		return err
	}
	_, err := tx.exec(`INSERT INTO peer (domain, first_seen, error, error_at) VALUES (?1, ?2, ?3, ?2)
		ON CONFLICT (domain) DO UPDATE SET error = ?3, error_at = ?2`, domain, at, problem)
	return err
}
