package server

import (
	"errors"
	"net/http"

	"kith/db"
	"kith/web"
)

// A link lets one person make one account. It survives every attempt that fails and is used up in the same transaction
// that makes the account, so two attempts at once make one account.

// guard spends an attempt of the address before a password is computed, which is the dear part; done gives it back after
// a good one.
func (s *Server) guard(r *http.Request) (done func(), err error) {
	from := network(r.RemoteAddr)
	if wait, ok := s.perAddress.take(from, s.now()); !ok {
		return nil, tooMany(wait)
	}
	return func() { s.perAddress.refund(from) }, nil
}

// join makes an account from a form that has been checked, using a link up, and starts a session. Taken names come back
// in the form. use is called inside the transaction with the new account.
func (s *Server) join(r *http.Request, f *joinForm, admin bool, use func(tx *db.Tx, account int64) error) (token string, err error) {
	ctx := r.Context()
	done, err := s.guard(r)
	if err != nil {
		return "", err
	}
	password, err := s.passwords.hash(ctx, f.password)
	if err != nil {
		return "", err
	}
	token, hash, err := newToken(s.cfg.Rand, tokenBytes)
	if err != nil {
		return "", err
	}
	now := s.now().UnixMilli()
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		id, err := tx.AddAccount(db.Account{Username: f.username, DisplayName: f.displayName, Password: password, Admin: admin, CreatedAt: now})
		if err != nil {
			return err
		}
		if err := use(tx, id); err != nil {
			return err
		}
		if err := tx.Audit(db.AuditEntry{At: now, Actor: id, Action: "join", Account: id}); err != nil {
			return err
		}
		return s.addSession(tx, id, hash)
	})
	if errors.Is(err, db.ErrExists) {
		f.usernameFault = web.T("error.username_taken")
		return "", nil
	}
	if err == nil {
		done()
	}
	return token, err
}

// setupLink returns the open token of a setup link for the first administrator.
func (s *Server) setupLink(r *http.Request) (t db.SetupToken, err error) {
	err = s.db.Read(r.Context(), func(tx *db.Tx) error {
		n, err := tx.CountAccounts()
		if err != nil {
			return err
		}
		t, err = tx.SetupToken(hashToken(r.PathValue("token")))
		if err == nil && (n > 0 || t.Account != 0 || t.UsedAt != 0 || t.ExpiresAt <= s.now().UnixMilli()) {
			err = db.ErrNotFound
		}
		return err
	})
	if errors.Is(err, db.ErrNotFound) {
		err = errSetupGone
	}
	return t, err
}

func (s *Server) setupPage(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.setupLink(r); err != nil {
		return err
	}
	view := web.SetupView{Page: s.page(r), Action: r.URL.Path, MinPassword: minPassword}
	return s.render(w, r, http.StatusOK, web.SetupPage(view))
}

func (s *Server) setupPost(w http.ResponseWriter, r *http.Request) error {
	link, err := s.setupLink(r)
	if err != nil {
		return err
	}
	if err := readForm(w, r); err != nil {
		return badForm(err)
	}
	f := readJoinForm(r)
	if f.ok() {
		token, err := s.join(r, &f, true, func(tx *db.Tx, _ int64) error {
			if n, err := tx.CountAccounts(); err != nil || n != 1 {
				return errors.Join(err, errSetupGone)
			}
			return gone(tx.UseSetupToken(link, s.now().UnixMilli()), errSetupGone)
		})
		if err != nil {
			return err
		}
		if token != "" {
			return s.welcome(w, r, token)
		}
	}
	view := web.SetupView{Page: s.page(r), Action: r.URL.Path, MinPassword: minPassword, Error: web.T("error.form")}
	view.Username, view.DisplayName, view.Password = f.view()
	return s.render(w, r, http.StatusUnprocessableEntity, web.SetupPage(view))
}

// gone gives a link that was used up meanwhile the words of its page.
func gone(err error, words *refusal) error {
	if errors.Is(err, db.ErrNotFound) {
		return words
	}
	return err
}

// invitation returns the open invitation of a link and the name of who made it.
func (s *Server) invitation(r *http.Request) (i db.Invitation, from string, err error) {
	err = s.db.Read(r.Context(), func(tx *db.Tx) error {
		if i, err = tx.InvitationByHash(hashToken(r.PathValue("code"))); err != nil {
			return err
		}
		if i.UsedAt != 0 || i.ExpiresAt <= s.now().UnixMilli() {
			return db.ErrNotFound
		}
		a, err := tx.Account(i.CreatedBy)
		from = a.DisplayName
		if err == nil && a.DisabledAt != 0 {
			err = db.ErrNotFound // what a disabled account gave out is worth nothing
		}
		return err
	})
	return i, from, gone(err, errLinkGone)
}

func (s *Server) invitePage(w http.ResponseWriter, r *http.Request) error {
	_, from, err := s.invitation(r)
	if err != nil {
		return err
	}
	view := web.InviteView{Page: s.page(r), Action: r.URL.Path, From: from, MinPassword: minPassword}
	return s.render(w, r, http.StatusOK, web.InvitePage(view))
}

func (s *Server) invitePost(w http.ResponseWriter, r *http.Request) error {
	link, from, err := s.invitation(r)
	if err != nil {
		return err
	}
	if err := readForm(w, r); err != nil {
		return badForm(err)
	}
	f := readJoinForm(r)
	if f.ok() {
		token, err := s.join(r, &f, false, func(tx *db.Tx, account int64) error {
			return gone(tx.UseInvitation(link.ID, account, s.now().UnixMilli()), errLinkGone)
		})
		if err != nil {
			return err
		}
		if token != "" {
			return s.welcome(w, r, token)
		}
	}
	view := web.InviteView{Page: s.page(r), Action: r.URL.Path, From: from, MinPassword: minPassword, Error: web.T("error.form")}
	view.Username, view.DisplayName, view.Password = f.view()
	return s.render(w, r, http.StatusUnprocessableEntity, web.InvitePage(view))
}
