package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/web"
)

// Commands work on the database of a server that may be running: they take no lock, and the server sees what they did.

// withDB opens the database of cfg for one command.
func withDB(ctx context.Context, cfg Config, fn func(Config, *db.DB) error) error {
	if cfg.Data == "" {
		cfg.Data = "data"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	store, err := db.Open(ctx, cfg.Data, db.Options{Now: cfg.Now})
	if err != nil {
		return err
	}
	return errors.Join(fn(cfg, store), store.Close())
}

// existing refuses a directory in which no server has ever run, so that a mistyped path makes no new database.
func existing(cfg Config) error {
	dir := cfg.Data
	if dir == "" {
		dir = "data"
	}
	if _, err := os.Stat(filepath.Join(dir, "kith.db")); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no kith in %s; start the server there first, or name its directory with -data", dir)
	}
	return nil
}

// PrintSetupLink prints a one-time link that creates the first administrator.
func PrintSetupLink(ctx context.Context, cfg Config, out io.Writer) error {
	var link string
	err := withDB(ctx, cfg, func(cfg Config, store *db.DB) error {
		base, err := linkBase(ctx, cfg, store)
		if err != nil {
			return err
		}
		link, err = newSetupLink(ctx, cfg, store, base)
		return err
	})
	if err == nil {
		_, err = fmt.Fprintln(out, link)
	}
	return err
}

// invite tells the operator of a new server how to go on: here on this machine the link itself, elsewhere the command.
func (s *Server) invite(ctx context.Context, out io.Writer) error {
	link, err := newSetupLink(ctx, s.cfg, s.db, s.base())
	switch {
	case errors.Is(err, errHasAccounts):
		return nil
	case err != nil:
		return err
	case s.cfg.Dev:
		_, err = fmt.Fprintln(out, "Open this link to set up Kith:", link)
	default:
		_, err = fmt.Fprintln(out, "Nobody has an account yet. This prints a link for the first administrator: kith setup-link -data", s.cfg.Data)
	}
	return err
}

var errHasAccounts = errors.New("this server is set up already; for a forgotten password use: kith user reset-link NAME")

func newSetupLink(ctx context.Context, cfg Config, store *db.DB, base string) (string, error) {
	return newLink(ctx, cfg, store, base+"/setup/", "setup link", func(tx *db.Tx) (int64, error) {
		n, err := tx.CountAccounts()
		if err == nil && n > 0 {
			err = errHasAccounts
		}
		return 0, err
	})
}

// newLink stores a token and returns the link for it; account is called in the same transaction and says for whom.
func newLink(ctx context.Context, cfg Config, store *db.DB, prefix, action string, account func(*db.Tx) (int64, error)) (string, error) {
	token, hash, err := newToken(randOf(cfg), linkBytes)
	if err != nil {
		return "", err
	}
	now := cfg.Now()
	err = store.Write(ctx, func(tx *db.Tx) error {
		id, err := account(tx)
		if err != nil {
			return err
		}
		t := db.SetupToken{Hash: hash, Account: id, CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(setupLife).UnixMilli()}
		if err := tx.AddSetupToken(t); err != nil {
			return err
		}
		return tx.Audit(db.AuditEntry{At: now.UnixMilli(), Action: action, Account: id})
	})
	return prefix + token, err
}

// linkBase is how links begin: as the server of this directory last said, or as -domain says.
func linkBase(ctx context.Context, cfg Config, store *db.DB) (base string, err error) {
	err = store.Read(ctx, func(tx *db.Tx) error {
		b, err := tx.Setting(settingBaseURL)
		base = string(b)
		return err
	})
	if !errors.Is(err, db.ErrNotFound) {
		return base, err
	}
	if cfg, err = cfg.complete(); err != nil {
		return "", Usage("no server has run in %s yet, so its name is not known: give -domain NAME, or start the server once", cfg.Data)
	}
	return cfg.baseURL(cfg.Listen), nil
}

// UserCommand carries out kith user WORD.
func UserCommand(ctx context.Context, cfg Config, out io.Writer, word string, args []string, displayName string, admin bool) error {
	want := 1
	if word == "list" {
		want = 0
	}
	if len(args) != want {
		return Usage("kith user %s takes %d username; see kith -help", word, want)
	}
	var lines []string
	var err error
	switch word {
	case "list":
		lines, err = listUsers(ctx, cfg)
	case "add":
		lines, err = addUser(ctx, cfg, args[0], displayName, admin)
	case "reset-link":
		lines, err = resetLink(ctx, cfg, args[0])
	case "disable":
		err = disableUser(ctx, cfg, args[0])
	default:
		err = Usage("there is no command user %q; see kith -help", word)
	}
	for _, l := range lines {
		fmt.Fprintln(out, l)
	}
	return err
}

// PrintVersion prints which build this is.
func PrintVersion(out io.Writer, asJSON bool) error {
	version := "(unknown)"
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		version = b.Main.Version
	}
	if asJSON {
		return json.NewEncoder(out).Encode(map[string]string{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
	}
	_, err := fmt.Fprintf(out, "kith %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// listUsers describes every account in one line: username, role and state, and display name.
func listUsers(ctx context.Context, cfg Config) (lines []string, err error) {
	if err := existing(cfg); err != nil {
		return nil, err
	}
	err = withDB(ctx, cfg, func(_ Config, store *db.DB) error {
		return store.Read(ctx, func(tx *db.Tx) error {
			accounts, err := tx.Accounts()
			for _, a := range accounts {
				state := "member"
				if a.Admin {
					state = "admin"
				}
				if a.DisabledAt != 0 {
					state += ",disabled"
				}
				lines = append(lines, a.Username+"\t"+state+"\t"+a.DisplayName)
			}
			return err
		})
	})
	return lines, err
}

// addUser makes an account without a password and returns the link with which its owner chooses one.
func addUser(ctx context.Context, cfg Config, username, displayName string, admin bool) ([]string, error) {
	if err := existing(cfg); err != nil {
		return nil, err
	}
	username = strings.ToLower(username)
	if displayName = strings.TrimSpace(displayName); displayName == "" {
		displayName = username
	}
	if t := checkUsername(username); !t.None() {
		return nil, Usage("username: %s", web.English.Text(t))
	}
	if t := checkDisplayName(displayName); !t.None() {
		return nil, Usage("display name: %s", web.English.Text(t))
	}
	return userLink(ctx, cfg, "add user", func(cfg Config, tx *db.Tx) (int64, error) {
		id, err := tx.AddAccount(db.Account{Username: username, DisplayName: displayName, Admin: admin, CreatedAt: cfg.Now().UnixMilli()})
		if errors.Is(err, db.ErrExists) {
			err = fmt.Errorf("there is an account %s already", username)
		}
		return id, err
	})
}

// resetLink makes a link with which the owner of an account chooses a new password.
func resetLink(ctx context.Context, cfg Config, username string) ([]string, error) {
	if err := existing(cfg); err != nil {
		return nil, err
	}
	return userLink(ctx, cfg, "reset link", func(_ Config, tx *db.Tx) (int64, error) {
		a, err := accountNamed(tx, username)
		return a.ID, err
	})
}

func userLink(ctx context.Context, cfg Config, action string, account func(Config, *db.Tx) (int64, error)) (links []string, err error) {
	err = withDB(ctx, cfg, func(cfg Config, store *db.DB) error {
		base, err := linkBase(ctx, cfg, store)
		if err != nil {
			return err
		}
		link, err := newLink(ctx, cfg, store, base+"/reset/", action, func(tx *db.Tx) (int64, error) { return account(cfg, tx) })
		links = []string{link}
		return err
	})
	if err != nil {
		return nil, err
	}
	return links, nil
}

// disableUser keeps an account from signing in and ends its sessions. The last administrator cannot be disabled.
func disableUser(ctx context.Context, cfg Config, username string) error {
	if err := existing(cfg); err != nil {
		return err
	}
	return withDB(ctx, cfg, func(cfg Config, store *db.DB) error {
		return store.Write(ctx, func(tx *db.Tx) error {
			a, err := accountNamed(tx, username)
			if err != nil {
				return err
			}
			if a.Admin && a.DisabledAt == 0 {
				if n, err := tx.CountAdmins(); err != nil || n < 2 {
					return errors.Join(err, fmt.Errorf("%s is the last administrator and cannot be disabled", a.Username))
				}
			}
			now := cfg.Now().UnixMilli()
			if err := tx.DisableAccount(a.ID, now); err != nil {
				return err
			}
			return tx.Audit(db.AuditEntry{At: now, Action: actionDisable, Account: a.ID})
		})
	})
}

// accountNamed finds an account by its name or by its full URI.
func accountNamed(tx *db.Tx, name string) (db.Account, error) {
	if u, err := mimi.ParseUserID(name); err == nil {
		name = u.Name()
	}
	a, err := tx.AccountByName(strings.ToLower(name))
	if errors.Is(err, db.ErrNotFound) {
		err = fmt.Errorf("there is no account %q", name)
	}
	return a, err
}
