package db

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

func write(t *testing.T, db *DB, fn func(*Tx) error) {
	t.Helper()
	if err := db.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestAccounts(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	alice := Account{Username: "alice", DisplayName: "Älice ❤ שלום", Password: "$argon2id$…", Admin: true, CreatedAt: 7}
	write(t, db, func(tx *Tx) (err error) { alice.ID, err = tx.AddAccount(alice); return err })
	err := db.Write(t.Context(), func(tx *Tx) error { _, err := tx.AddAccount(Account{Username: "alice"}); return err })
	if !errors.Is(err, ErrExists) {
		t.Errorf("second alice: %v", err)
	}
	write(t, db, func(tx *Tx) error {
		got, err := tx.AccountByName("alice")
		if err != nil || got != alice {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := tx.AccountByName("bob"); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
		for text, want := range map[string]int{"ALI": 1, "lice": 1, "שלום": 1, "%": 0, "x": 0} {
			if found, err := tx.SearchAccounts(text, 5); err != nil || len(found) != want {
				t.Errorf("search %q: %d, %v", text, len(found), err)
			}
		}
		if n, err := tx.CountAdmins(); n != 1 || err != nil {
			t.Errorf("admins: %d, %v", n, err)
		}
		return tx.DisableAccount(got.ID, 9)
	})
	write(t, db, func(tx *Tx) error {
		if n, err := tx.CountAdmins(); n != 0 || err != nil {
			t.Errorf("admins after disabling: %d, %v", n, err)
		}
		if err := tx.SetPassword(999, "x"); !errors.Is(err, ErrNotFound) {
			t.Errorf("password of nobody: %v", err)
		}
		if err := tx.SetPassword(alice.ID, "new"); err != nil {
			return err
		}
		a, err := tx.Account(alice.ID)
		if a.Password != "new" || a.DisabledAt != 0 {
			t.Errorf("after reset: %+v", a)
		}
		return err
	})
}

func TestSessionsAreBounded(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	write(t, db, func(tx *Tx) error {
		id, err := tx.AddAccount(Account{Username: "alice"})
		if err != nil {
			return err
		}
		for i := range 10 {
			// The clock runs backwards; the session just made stays all the same.
			s := Session{Hash: []byte{byte(i)}, Account: id, SeenAt: int64(100 - i), ExpiresAt: 1000}
			if _, err := tx.AddSession(s, 3); err != nil {
				return err
			}
			if _, a, err := tx.SessionByHash(s.Hash); err != nil || a.Username != "alice" {
				t.Errorf("session %d: %v", i, err)
			}
		}
		var n int
		if err := tx.one(`SELECT count(*) FROM session`, nil, &n); err != nil || n > 4 {
			t.Errorf("%d sessions, %v", n, err)
		}
		return tx.DisableAccount(id, 1)
	})
	err := db.Read(t.Context(), func(tx *Tx) error { _, _, err := tx.SessionByHash([]byte{9}); return err })
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("session of a disabled account: %v", err)
	}
}

func TestInvitationIsUsedOnce(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	var inv Invitation
	write(t, db, func(tx *Tx) error {
		id, err := tx.AddAccount(Account{Username: "alice"})
		if err != nil {
			return err
		}
		inv = Invitation{Hash: bytes.Repeat([]byte{1}, 32), CreatedBy: id, CreatedAt: 10, ExpiresAt: 20}
		inv.ID, err = tx.AddInvitation(inv)
		return err
	})
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := db.Write(t.Context(), func(tx *Tx) error {
				id, err := tx.AddAccount(Account{Username: fmt.Sprint("user", i)})
				if err != nil {
					return err
				}
				return tx.UseInvitation(inv.ID, id, 15)
			})
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	err := db.Read(t.Context(), func(tx *Tx) error {
		n, err := tx.CountAccounts()
		if won.Load() != 1 || n != 2 {
			t.Errorf("%d winners, %d accounts", won.Load(), n)
		}
		open, err2 := tx.OpenInvitations(15, 10)
		if len(open) != 0 {
			t.Error("a used invitation is listed as open")
		}
		return errors.Join(err, err2)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSetupTokens(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	write(t, db, func(tx *Tx) error {
		alice, err := tx.AddAccount(Account{Username: "alice"})
		if err != nil {
			return err
		}
		tokens := []SetupToken{{Hash: []byte{1}, ExpiresAt: 20}, {Hash: []byte{2}, ExpiresAt: 20},
			{Hash: []byte{3}, Account: alice, ExpiresAt: 20}, {Hash: []byte{4}, ExpiresAt: 5}}
		for _, tok := range tokens {
			if err := tx.AddSetupToken(tok); err != nil {
				return err
			}
		}
		if err := tx.UseSetupToken(tokens[3], 10); !errors.Is(err, ErrNotFound) {
			t.Errorf("expired: %v", err)
		}
		if err := tx.UseSetupToken(tokens[0], 10); err != nil {
			t.Error(err)
		}
		if err := tx.UseSetupToken(tokens[0], 10); !errors.Is(err, ErrNotFound) {
			t.Errorf("reused: %v", err)
		}
		if err := tx.UseSetupToken(tokens[1], 10); !errors.Is(err, ErrNotFound) {
			t.Errorf("another link for the first administrator: %v", err)
		}
		return tx.UseSetupToken(tokens[2], 10) // of another purpose: still open
	})
}
