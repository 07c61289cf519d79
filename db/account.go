package db

// Account is one person with an account here.
type Account struct {
	ID          int64
	Username    string
	DisplayName string
	Password    string // argon2id in PHC form; empty: no password yet
	Admin       bool
	CreatedAt   int64
	DisabledAt  int64 // 0: not disabled
}

const accountColumns = `a.id, a.username, a.display_name, a.password, a.admin, a.created_at, coalesce(a.disabled_at, 0)`

func scanAccount(a *Account, scan func(...any) error) error {
	return scan(&a.ID, &a.Username, &a.DisplayName, &a.Password, &a.Admin, &a.CreatedAt, &a.DisabledAt)
}

func (tx *Tx) account(where string, arg any) (a Account, err error) {
	err = scanAccount(&a, func(dest ...any) error {
		return tx.one(`SELECT `+accountColumns+` FROM account a WHERE `+where, []any{arg}, dest...)
	})
	return a, err
}

// AddAccount stores a new account and returns its id, or [ErrExists] if the username is taken.
func (tx *Tx) AddAccount(a Account) (int64, error) {
	return tx.insert(`INSERT INTO account (username, display_name, password, admin, created_at) VALUES (?, ?, ?, ?, ?)`,
		a.Username, a.DisplayName, a.Password, a.Admin, a.CreatedAt)
}

// Account returns the account with this id, or [ErrNotFound].
func (tx *Tx) Account(id int64) (Account, error) { return tx.account(`a.id = ?`, id) }

// AccountByName returns the account with this username, or [ErrNotFound].
func (tx *Tx) AccountByName(username string) (Account, error) {
	return tx.account(`a.username = ?`, username)
}

// Accounts returns all accounts by username.
func (tx *Tx) Accounts() ([]Account, error) {
	return collect(tx, `SELECT `+accountColumns+` FROM account a ORDER BY a.username`, nil, scanAccount)
}

// CountAccounts returns how many accounts there are.
func (tx *Tx) CountAccounts() (n int, err error) {
	err = tx.one(`SELECT count(*) FROM account`, nil, &n)
	return n, err
}

// CountAdmins returns how many administrators can sign in.
func (tx *Tx) CountAdmins() (n int, err error) {
	err = tx.one(`SELECT count(*) FROM account WHERE admin = 1 AND disabled_at IS NULL`, nil, &n)
	return n, err
}

// SearchAccounts returns at most limit accounts that are not disabled and whose display name or username contains text,
// without regard to the case of ASCII letters, by username.
func (tx *Tx) SearchAccounts(text string, limit int) ([]Account, error) {
	return collect(tx, `SELECT `+accountColumns+` FROM account a WHERE disabled_at IS NULL
		AND (instr(lower(display_name), lower(?1)) > 0 OR instr(username, lower(?1)) > 0) ORDER BY username LIMIT ?2`,
		[]any{text, limit}, scanAccount)
}

// SetPassword replaces the password of an account and enables it.
func (tx *Tx) SetPassword(id int64, password string) error {
	return tx.touchOne(`UPDATE account SET password = ?, disabled_at = NULL WHERE id = ?`, password, id)
}

// DisableAccount keeps the account from signing in and ends its sessions and its links to a new password. A link made
// later, on purpose, enables it again.
func (tx *Tx) DisableAccount(id, now int64) error {
	if err := tx.touchOne(`UPDATE account SET disabled_at = ? WHERE id = ?`, now, id); err != nil {
		return err
	}
	if _, err := tx.exec(`UPDATE setup_token SET used_at = ? WHERE account = ? AND used_at IS NULL`, now, id); err != nil {
		return err
	}
	return tx.DeleteSessionsOf(id)
}

// touchOne runs a statement that must change exactly one row, otherwise there was no such row.
func (tx *Tx) touchOne(query string, args ...any) error {
	n, err := tx.exec(query, args...)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}
