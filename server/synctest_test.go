package server

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A whole provider runs on the fake clock of synctest: nothing in it waits for the outside.
func TestProviderInABubble(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		// Timers go off for ever here: what never comes would be waited for in an endless loop.
		defer time.AfterFunc(72*time.Hour, func() { panic("the test does not end") }).Stop()
		s, err := New(t.Context(), Config{Dev: true, Data: dir, PasswordMemory: 64})
		if err != nil {
			t.Fatal(err)
		}
		link, err := newSetupLink(t.Context(), s.cfg, s.db, "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(setupLife - time.Second)
		form := url.Values{"username": {"alice"}, "display_name": {"Alice"}, "password": {goodPassword}}
		r := httptest.NewRequest(http.MethodPost, link, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusSeeOther {
			t.Errorf("setup: %d", w.Code)
		}
		time.Sleep(24 * time.Hour) // checkpoints, checks and looks go on
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
