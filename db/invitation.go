package db

// Invitation is a link for one person to join.
type Invitation struct {
	ID        int64
	Hash      []byte // SHA-256 of the code
	CreatedBy int64
	CreatedAt int64
	ExpiresAt int64
	UsedAt    int64 // 0: open
}

const invitationColumns = `id, hash, created_by, created_at, expires_at, coalesce(used_at, 0)`

func scanInvitation(i *Invitation, scan func(...any) error) error {
	return scan(&i.ID, &i.Hash, &i.CreatedBy, &i.CreatedAt, &i.ExpiresAt, &i.UsedAt)
}

// AddInvitation stores an open invitation and returns its id.
func (tx *Tx) AddInvitation(i Invitation) (int64, error) {
	return tx.insert(`INSERT INTO invitation (hash, created_by, created_at, expires_at) VALUES (?, ?, ?, ?)`,
		i.Hash, i.CreatedBy, i.CreatedAt, i.ExpiresAt)
}

// InvitationByHash returns the invitation whose code has this hash, or [ErrNotFound].
func (tx *Tx) InvitationByHash(hash []byte) (i Invitation, err error) {
	err = scanInvitation(&i, func(dest ...any) error {
		return tx.one(`SELECT `+invitationColumns+` FROM invitation WHERE hash = ?`, []any{hash}, dest...)
	})
	return i, err
}

// OpenInvitations returns the invitations that can still be used at now, the newest first, at most limit.
func (tx *Tx) OpenInvitations(now int64, limit int) ([]Invitation, error) {
	return collect(tx, `SELECT `+invitationColumns+` FROM invitation WHERE used_at IS NULL AND expires_at > ?
		ORDER BY id DESC LIMIT ?`, []any{now, limit}, scanInvitation)
}

// UseInvitation marks an open invitation as used by account, or returns [ErrNotFound] if it is not open.
func (tx *Tx) UseInvitation(id, account, now int64) error {
	return tx.touchOne(`UPDATE invitation SET used_at = ?1, used_by = ?2 WHERE id = ?3 AND used_at IS NULL AND expires_at > ?1`,
		now, account, id)
}
