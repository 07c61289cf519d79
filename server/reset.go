package server

import (
	"net/http"

	"kith/db"
	"kith/web"
)

// resetLink returns the open token of a link that sets a new password, and whose.
func (s *Server) resetLink(r *http.Request) (t db.SetupToken, a db.Account, err error) {
	err = s.db.Read(r.Context(), func(tx *db.Tx) error {
		if t, err = tx.SetupToken(hashToken(r.PathValue("token"))); err != nil {
			return err
		}
		if t.Account == 0 || t.UsedAt != 0 || t.ExpiresAt <= s.now().UnixMilli() {
			return db.ErrNotFound
		}
		a, err = tx.Account(t.Account)
		return err
	})
	return t, a, gone(err, errLinkGone)
}

func (s *Server) resetPage(w http.ResponseWriter, r *http.Request) error {
	_, a, err := s.resetLink(r)
	if err != nil {
		return err
	}
	view := web.ResetView{Page: s.page(r), Action: r.URL.Path, Username: a.Username, MinPassword: minPassword}
	return s.render(w, r, http.StatusOK, web.ResetPage(view))
}

// resetPost sets the new password, ends all sessions of the account and starts one here.
func (s *Server) resetPost(w http.ResponseWriter, r *http.Request) error {
	link, a, err := s.resetLink(r)
	if err != nil {
		return err
	}
	if err := readForm(w, r); err != nil {
		return badForm(err)
	}
	password := r.PostForm.Get("password")
	if fault := checkPassword(password); !fault.None() {
		view := web.ResetView{Page: s.page(r), Action: r.URL.Path, Username: a.Username, MinPassword: minPassword,
			Password: web.Field{Error: fault}, Error: web.T("error.form")}
		return s.render(w, r, http.StatusUnprocessableEntity, web.ResetPage(view))
	}
	done, err := s.guard(r)
	if err != nil {
		return err
	}
	stored, err := s.passwords.hash(r.Context(), password)
	if err != nil {
		return err
	}
	token, hash, err := newToken(s.cfg.Rand, tokenBytes)
	if err != nil {
		return err
	}
	err = s.db.Write(r.Context(), func(tx *db.Tx) error {
		now := s.now().UnixMilli()
		if err := gone(tx.UseSetupToken(link, now), errLinkGone); err != nil {
			return err
		}
		if err := tx.SetPassword(a.ID, stored); err != nil {
			return err
		}
		if err := tx.DeleteSessionsOf(a.ID); err != nil {
			return err
		}
		if err := tx.Audit(db.AuditEntry{At: now, Actor: a.ID, Action: "reset password", Account: a.ID}); err != nil {
			return err
		}
		return s.addSession(tx, a.ID, hash)
	})
	if err != nil {
		return err
	}
	done()
	s.chat.SignOutUser(a.Username)
	return s.welcome(w, r, token)
}
