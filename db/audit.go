package db

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	ID      int64 // given by the database, increasing
	At      int64
	Actor   int64 // account; 0: the command line
	Action  string
	Account int64 // the account it was done to; 0: none
}

// Audit appends a line to the audit log.
func (tx *Tx) Audit(e AuditEntry) error {
	_, err := tx.exec(`INSERT INTO audit (at, actor, action, account) VALUES (?, nullif(?, 0), ?, nullif(?, 0))`,
		e.At, e.Actor, e.Action, e.Account)
	return err
}

const auditColumns = `id, at, coalesce(actor, 0), action, coalesce(account, 0)`

func scanAudit(e *AuditEntry, scan func(...any) error) error {
	return scan(&e.ID, &e.At, &e.Actor, &e.Action, &e.Account)
}

// AuditLog returns the most recent lines, the newest first.
func (tx *Tx) AuditLog(limit int) ([]AuditEntry, error) {
	return collect(tx, `SELECT `+auditColumns+` FROM audit ORDER BY id DESC LIMIT ?`, []any{limit}, scanAudit)
}

// AuditAfter returns the lines after the one with this id, the oldest first.
func (tx *Tx) AuditAfter(id int64, limit int) ([]AuditEntry, error) {
	return collect(tx, `SELECT `+auditColumns+` FROM audit WHERE id > ? ORDER BY id LIMIT ?`, []any{id, limit}, scanAudit)
}
