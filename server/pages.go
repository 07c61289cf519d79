package server

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"

	"kith/db"
	"kith/mimi"
	"kith/web"
)

const (
	invitationLife = 7 * 24 * time.Hour
	setupLife      = 24 * time.Hour
	linkBytes      = 16 // 128 bits
	maxShown       = 100
)

// page is what every rendered page needs.
func (s *Server) page(r *http.Request) web.Page {
	return web.Page{Lang: web.LanguageOf(r), Theme: web.ThemeOf(r), Site: s.cfg.Domain, Path: r.URL.Path}
}

// render answers with a component. It is rendered whole first, so that a fault does not leave half a page.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, c templ.Component) error {
	var b bytes.Buffer
	if err := c.Render(r.Context(), &b); err != nil {
		return err
	}
	web.RememberLanguage(w, r)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a browser that is gone needs no answer
	return nil
}

// welcome starts the session of somebody who has just joined or signed in and opens the chat.
func (s *Server) welcome(w http.ResponseWriter, r *http.Request, token string) error {
	s.setSession(w, token)
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// notFound answers everything that is not on the page of routes.
func (s *Server) notFound(http.ResponseWriter, *http.Request) error { return errNotHere }

func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) error {
	if _, ok := principalOf(r); ok {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	view := web.SignInView{Page: s.page(r), Action: "/signin"}
	if r.URL.Query().Has("signed-out") {
		view.Notice = web.T("signin.signed_out")
	}
	return s.render(w, r, http.StatusOK, web.SignInPage(view))
}

func (s *Server) signInPost(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(w, r); err != nil {
		return badForm(err)
	}
	username := r.PostForm.Get("username")
	token, fault, err := s.signIn(r, username, r.PostForm.Get("password"))
	status := http.StatusUnprocessableEntity
	var limited *refusal
	if errors.As(err, &limited) && limited.status == http.StatusTooManyRequests {
		status, err = limited.status, nil
		w.Header().Set("Retry-After", retryAfter(limited.wait))
	}
	if err != nil {
		return err
	}
	if fault.None() {
		return s.welcome(w, r, token)
	}
	view := web.SignInView{Page: s.page(r), Action: "/signin", Username: web.Field{Value: clip(username)}, Error: fault}
	return s.render(w, r, status, web.SignInPage(view))
}

func (s *Server) signOutPost(w http.ResponseWriter, r *http.Request) error {
	if p, ok := principalOf(r); ok {
		if err := s.db.Write(r.Context(), func(tx *db.Tx) error { return tx.DeleteSession(p.Session.ID) }); err != nil {
			return err
		}
		s.chat.SignOut(p.Session.ID)
	}
	s.clearSession(w)
	http.Redirect(w, r, "/signin?signed-out", http.StatusSeeOther)
	return nil
}

// badForm is a form that cannot be read: too large, or not a form.
func badForm(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	return &refusal{status: http.StatusBadRequest, code: "bad_request", title: web.T("message.internal"), body: web.T("error.form")}
}

// admin returns who looks after the server, or a redirect's worth of refusal for everybody else.
func (s *Server) admin(next func(http.ResponseWriter, *http.Request, principal) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		p, ok := principalOf(r)
		switch {
		case !ok:
			http.Redirect(w, r, "/signin", http.StatusSeeOther)
			return nil
		case !p.Account.Admin:
			return errForbidden
		}
		return next(w, r, p)
	}
}

func (s *Server) adminPage(w http.ResponseWriter, r *http.Request, p principal) error {
	return s.renderAdmin(w, r, p, "", time.Time{})
}

// adminInvite makes an invitation. Its link is on this one page only: what is stored is a hash.
func (s *Server) adminInvite(w http.ResponseWriter, r *http.Request, p principal) error {
	code, hash, err := newToken(s.cfg.Rand, linkBytes)
	if err != nil {
		return err
	}
	now := s.now()
	expires := now.Add(invitationLife)
	err = s.db.Write(r.Context(), func(tx *db.Tx) error {
		_, err := tx.AddInvitation(db.Invitation{Hash: hash, CreatedBy: p.Account.ID, CreatedAt: now.UnixMilli(), ExpiresAt: expires.UnixMilli()})
		if err != nil {
			return err
		}
		return tx.Audit(db.AuditEntry{At: now.UnixMilli(), Actor: p.Account.ID, Action: "invite"})
	})
	if err != nil {
		return err
	}
	return s.renderAdmin(w, r, p, s.origin(r)+"/invite/"+code, expires)
}

func (s *Server) renderAdmin(w http.ResponseWriter, r *http.Request, p principal, link string, expires time.Time) error {
	view := web.AdminView{Page: s.page(r), Name: p.Account.DisplayName, InviteAction: "/admin/invite", SignOutAction: "/signout", PeersLink: peersPath,
		InviteLink: link, InviteExpires: expires, Certificates: s.transport.certificates()}
	view.Path = "/admin"
	err := s.db.Read(r.Context(), func(tx *db.Tx) (err error) {
		if view.Reports, err = reportsView(tx); err != nil {
			return err
		}
		accounts, err := tx.Accounts()
		if err != nil {
			return err
		}
		seen, err := tx.LastSeen()
		if err != nil {
			return err
		}
		names := make(map[int64]string)
		for _, a := range accounts {
			names[a.ID] = a.DisplayName
			devices, err := tx.CountDevices(s.userURI(a.Username))
			if err != nil {
				return err
			}
			row := web.UserRow{Username: a.Username, DisplayName: a.DisplayName, Admin: a.Admin, Disabled: a.DisabledAt != 0,
				Me: a.ID == p.Account.ID, Joined: time.UnixMilli(a.CreatedAt), Devices: devices}
			if at := seen[a.ID]; at != 0 {
				row.LastSeen = time.UnixMilli(at)
			}
			view.Users = append(view.Users, row)
		}
		open, err := tx.OpenInvitations(s.now().UnixMilli(), maxShown)
		for _, i := range open {
			view.Invites = append(view.Invites, web.InviteRow{By: names[i.CreatedBy], Created: time.UnixMilli(i.CreatedAt), Expires: time.UnixMilli(i.ExpiresAt)})
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, web.AdminPage(view))
}

// origin is how a link to this server begins: where the administrator reads the page is where others can open it.
func (s *Server) origin(r *http.Request) string {
	if s.cfg.Dev && r.Host != "" && !strings.ContainsAny(r.Host, "/\\@ ") {
		return "http://" + r.Host
	}
	return s.base()
}

// me tells the chat client, whose bytes are the same everywhere, where it is and who is signed in.
func (s *Server) me(w http.ResponseWriter, r *http.Request) error {
	type account struct {
		Username    string `json:"username"`
		DisplayName string `json:"displayName"`
		Admin       bool   `json:"admin"`
	}
	answer := struct {
		SignedIn  bool       `json:"signedIn"`
		Domain    string     `json:"domain"`
		Languages []web.Lang `json:"languages"`
		Account   *account   `json:"account,omitempty"`
	}{Domain: s.cfg.Domain, Languages: web.Languages()}
	if p, ok := principalOf(r); ok {
		answer.SignedIn = true
		answer.Account = &account{p.Account.Username, p.Account.DisplayName, p.Account.Admin}
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// userURI is the identifier of one of our users; usernames were checked when they were chosen.
func (s *Server) userURI(username string) string {
	u, err := mimi.NewUserID(s.identity.provider, username)
	if err != nil {
		return ""
	}
	return u.String()
}
