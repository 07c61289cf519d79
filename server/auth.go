package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"kith/db"
	"kith/web"
)

const (
	sessionCookie = "kith_session"
	sessionLife   = 90 * 24 * time.Hour
	sessionTouch  = time.Hour // how often a session's end is moved on at most
	sessionsKept  = 50        // of one account

	tokenBytes = 32
)

// principal is who a request comes from.
type principal struct {
	Session db.Session
	Account db.Account
}

type principalKey struct{}

// principalOf returns who is signed in, if anybody.
func principalOf(r *http.Request) (principal, bool) {
	p, ok := r.Context().Value(principalKey{}).(principal)
	return p, ok
}

// newToken returns a secret for a cookie or a link, and the hash that is stored of it.
func newToken(rand io.Reader, size int) (token string, hash []byte, err error) {
	b := make([]byte, size)
	if _, err := io.ReadFull(rand, b); err != nil {
		return "", nil, err
	}
	token = base64.RawURLEncoding.EncodeToString(b)
	return token, hashToken(token), nil
}

// hashToken is what is stored of a token: it has 128 bits or more at random, so a plain hash is enough.
func hashToken(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

// session is the middleware that finds out who a request comes from. Being signed in is a fact about the request; what
// needs it asks principalOf.
func (s *Server) session(next http.Handler) http.Handler {
	return s.handle(func(w http.ResponseWriter, r *http.Request) error {
		p, err := s.findSession(r)
		if errors.Is(err, db.ErrNotFound) {
			next.ServeHTTP(w, r)
			return nil
		}
		if err != nil {
			return err
		}
		s.extendSession(w, r, p)
		inner := r.WithContext(context.WithValue(r.Context(), principalKey{}, p))
		defer func() { r.Pattern = inner.Pattern }() // for the log: the copy has the route
		next.ServeHTTP(w, inner)
		return nil
	})
}

func (s *Server) findSession(r *http.Request) (p principal, err error) {
	c, err := r.Cookie(sessionCookie)
	if err != nil || len(c.Value) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return p, db.ErrNotFound
	}
	err = s.db.Read(r.Context(), func(tx *db.Tx) (err error) {
		p.Session, p.Account, err = tx.SessionByHash(hashToken(c.Value))
		return err
	})
	if err == nil && (p.Account.DisabledAt != 0 || p.Session.ExpiresAt <= s.now().UnixMilli()) {
		err = db.ErrNotFound
	}
	return p, err
}

// extendSession moves the end of a session on, at most once an hour. A clock that was set back extends nothing, and that
// the disk is full is no reason to turn anybody away.
func (s *Server) extendSession(w http.ResponseWriter, r *http.Request, p principal) {
	now := s.now()
	if now.Sub(time.UnixMilli(p.Session.SeenAt)) < sessionTouch {
		return
	}
	err := s.db.Write(r.Context(), func(tx *db.Tx) error {
		return tx.ExtendSession(p.Session.ID, now.UnixMilli(), now.Add(sessionLife).UnixMilli())
	})
	if err != nil {
		s.log.Warn("session not extended", "error", err.Error())
		return
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.setSession(w, c.Value)
	}
}

func (s *Server) setSession(w http.ResponseWriter, token string) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: token, Path: "/", MaxAge: int(sessionLife / time.Second),
		HttpOnly: true, Secure: !s.cfg.Dev, SameSite: http.SameSiteLaxMode})
}

func (s *Server) clearSession(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1,
		HttpOnly: true, Secure: !s.cfg.Dev, SameSite: http.SameSiteLaxMode})
}

// addSession starts a session of an account inside tx.
func (s *Server) addSession(tx *db.Tx, account int64, hash []byte) error {
	now := s.now()
	_, err := tx.AddSession(db.Session{Hash: hash, Account: account, CreatedAt: now.UnixMilli(), SeenAt: now.UnixMilli(),
		ExpiresAt: now.Add(sessionLife).UnixMilli()}, sessionsKept)
	return err
}

// signIn checks a name and a password and starts a session. A refusal comes back as a sentence for the form.
func (s *Server) signIn(r *http.Request, username, password string) (token string, fault web.Text, err error) {
	username = strings.ToLower(strings.TrimSpace(username))
	done, wait := s.attempt(r, username)
	if done == nil {
		return "", web.T("error.rate_limited"), tooMany(wait)
	}
	var a db.Account
	err = s.db.Read(r.Context(), func(tx *db.Tx) (err error) { a, err = tx.AccountByName(username); return err })
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return "", web.Text{}, err
	}
	ok := false
	if len(password) <= maxPassword {
		if ok, err = s.passwords.verify(r.Context(), a.Password, password); err != nil {
			return "", web.Text{}, err
		}
	}
	if !ok {
		s.metrics.signIns.WithLabelValues("refused").Inc()
		return "", web.T("error.signin_wrong"), nil
	}
	done()
	if a.DisabledAt != 0 {
		return "", web.T("error.signin_disabled"), nil
	}
	token, hash, err := newToken(s.cfg.Rand, tokenBytes)
	if err != nil {
		return "", web.Text{}, err
	}
	err = s.db.Write(r.Context(), func(tx *db.Tx) error { return s.addSession(tx, a.ID, hash) })
	s.metrics.signIns.WithLabelValues("accepted").Inc()
	return token, web.Text{}, err
}

// attempt spends a token of the address, of the account from this address, and of the account from anywhere, which holds
// more: one stranger who guesses does not lock the owner out. done gives them back after a good attempt. Without a token
// done is nil and wait says for how long.
func (s *Server) attempt(r *http.Request, username string) (done func(), wait time.Duration) {
	now, from := s.now(), network(r.RemoteAddr)
	spent := []struct {
		limit *limiter
		key   string
	}{{s.perAddress, from}, {s.perPair, username + "\x00" + from}, {s.perAccount, username}}
	for _, t := range spent {
		if wait, ok := t.limit.take(t.key, now); !ok {
			return nil, wait
		}
	}
	return func() {
		for _, t := range spent {
			t.limit.refund(t.key)
		}
	}, 0
}
