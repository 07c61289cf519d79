package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kith/db"
	"kith/web"
)

// refusal is an answer that is no fault of ours: its words are for the person, its code for programs.
type refusal struct {
	status int
	code   string
	title  web.Text
	body   web.Text
	wait   time.Duration // Retry-After, if any
}

// Error returns the machine code; a refusal that is not shown is still an error.
func (e *refusal) Error() string { return "server: refused: " + e.code }

func refuse(status int, code, title string) *refusal {
	return &refusal{status: status, code: code, title: web.T(title), body: web.T(title + "_body")}
}

var (
	errNotHere   = refuse(http.StatusNotFound, "not_found", "message.not_found")
	errForbidden = refuse(http.StatusForbidden, "not_allowed", "message.forbidden")
	errInternal  = refuse(http.StatusInternalServerError, "internal", "message.internal")
	errDiskFull  = refuse(http.StatusInsufficientStorage, "disk_full", "message.disk_full")
	errLinkGone  = refuse(http.StatusGone, "link_gone", "message.link_gone")
	errSetupGone = &refusal{status: http.StatusGone, code: "link_gone", title: web.T("message.link_gone"), body: web.T("message.setup_gone_body")}
	errTooLarge  = refuse(http.StatusRequestEntityTooLarge, "too_long", "message.internal")
)

func tooMany(wait time.Duration) *refusal {
	e := refuse(http.StatusTooManyRequests, "rate_limited", "message.rate_limited")
	e.wait = wait
	return e
}

// refusalOf decides what the outside learns of an error. What is no refusal is internal: its text stays in the log.
func refusalOf(err error) (e *refusal, internal bool) {
	if errors.As(err, &e) {
		return e, false
	}
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, db.ErrDiskFull):
		return errDiskFull, true
	case errors.As(err, &large):
		return errTooLarge, false
	}
	return errInternal, true
}

// handler answers a request or says why not.
type handler func(http.ResponseWriter, *http.Request) error

// handle makes an http.Handler of h. This is the only place that turns errors into answers.
func (s *Server) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil || errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			return
		}
		e, internal := refusalOf(err)
		if internal {
			s.log.Error("request failed", "route", r.Pattern, "error", err.Error())
		}
		s.writeRefusal(w, r, e)
	})
}

func (s *Server) writeRefusal(w http.ResponseWriter, r *http.Request, e *refusal) {
	if e.wait > 0 {
		w.Header().Set("Retry-After", retryAfter(e.wait))
	}
	if strings.HasPrefix(r.URL.Path, "/api/") {
		writeJSON(w, e.status, map[string]string{"error": e.code})
		return
	}
	view := web.MessageView{Page: s.page(r), Title: e.title, Body: e.body, Link: "/", Action: web.T("message.go_home")}
	view.Path = "" // a page that says no offers no other language of itself
	if err := s.render(w, r, e.status, web.MessagePage(view)); err != nil {
		s.log.Error("message page failed", "error", err.Error())
		http.Error(w, e.code, e.status)
	}
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a peer that is gone needs no answer
}

func retryAfter(wait time.Duration) string { return strconv.Itoa(int(wait/time.Second) + 1) }
