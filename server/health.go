package server

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"kith/db"
	"kith/web"
)

// settingMetricsToken holds the SHA-256 of the bearer token for /metrics, if there is one.
const settingMetricsToken = "metrics_token"

// health answers as long as the process serves requests at all.
func health(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") }

// ready answers whether the server can do its work, and if not, why.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if reason := s.state.Load().(string); reason != stateReady {
		plain(w, http.StatusServiceUnavailable, reason+"\n")
		return
	}
	if s.transport.acme != nil {
		if reason := s.transport.acme.missing(); !reason.None() {
			plain(w, http.StatusServiceUnavailable, web.English.Text(reason)+"\n")
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	err := s.db.Read(ctx, func(tx *db.Tx) error { _, err := tx.CountAccounts(); return err })
	if err != nil {
		s.log.Error("not ready", "error", err.Error())
		plain(w, http.StatusServiceUnavailable, "database\n")
		return
	}
	plain(w, http.StatusOK, stateReady+"\n")
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// metricsPage shows the figures to this machine and to who holds the token; for everybody else it does not exist.
func (s *Server) metricsPage(w http.ResponseWriter, r *http.Request) error {
	allowed := local(r)
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && !allowed {
		var want []byte
		err := s.db.Read(r.Context(), func(tx *db.Tx) (err error) { want, err = tx.Setting(settingMetricsToken); return err })
		if err != nil && !errors.Is(err, db.ErrNotFound) {
			return err
		}
		allowed = err == nil && subtle.ConstantTimeCompare(hashToken(token), want) == 1
	}
	if !allowed {
		return errNotHere
	}
	w.Header().Set("Cache-Control", "no-store")
	s.figures.ServeHTTP(w, r)
	return nil
}

// local reports whether a request was made on this machine. One that a proxy on this machine passes on was not.
func local(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
