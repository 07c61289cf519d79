package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kith/db"
)

func TestMetricsAreGuarded(t *testing.T) {
	s := newSite(t)
	err := s.db.Write(t.Context(), func(tx *db.Tx) error { return tx.SetSetting(settingMetricsToken, hashToken("sesame")) })
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		remote, header, value string
		want                  int
	}{
		"this machine":  {"127.0.0.1:1", "", "", 200},
		"this machine6": {"[::1]:1", "", "", 200},
		"outside":       {"192.0.2.1:1", "", "", 404},
		"token":         {"192.0.2.1:1", "Authorization", "Bearer sesame", 200},
		"wrong token":   {"192.0.2.1:1", "Authorization", "Bearer sesam", 404},
		"empty token":   {"192.0.2.1:1", "Authorization", "Bearer ", 404},
		"through proxy": {"127.0.0.1:1", "X-Forwarded-For", "192.0.2.1", 404},
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.RemoteAddr = c.remote
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != c.want || (w.Code == 200) != strings.Contains(w.Body.String(), "kith_db_queue 0") {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

func TestReadinessSaysWhy(t *testing.T) {
	s := newSite(t)
	v := s.visitor()
	if p := v.get("/readyz"); p.StatusCode != 200 {
		t.Errorf("%s", p.Status)
	}
	s.state.Store(stateStopping)
	if p := v.get("/readyz"); p.StatusCode != 503 || p.body != "stopping\n" {
		t.Errorf("%s %q", p.Status, p.body)
	}
	w := httptest.NewRecorder()
	starting(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if w.Code != 503 || w.Body.String() != "migrating\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestHistogram(t *testing.T) {
	h := newHistogram("h", "help", .1, 1)
	for _, d := range []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second} {
		h.observe(d)
	}
	var b strings.Builder
	h.write(&b)
	for _, line := range []string{`h_bucket{le="0.1"} 2`, `h_bucket{le="1"} 3`, `h_bucket{le="+Inf"} 4`, `h_count 4`, `h_sum 2.65`} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("no %s in\n%s", line, &b)
		}
	}
}

func TestPanicIsAnsweredAndNotShown(t *testing.T) {
	s := newSite(t)
	w := httptest.NewRecorder()
	s.recovered(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a secret of the program") })).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
	if w.Code != 500 || strings.Contains(w.Body.String()+s.log.String(), "a secret of the program") {
		t.Errorf("%d\n%s\n%s", w.Code, w.Body, s.log)
	}
	if !strings.Contains(s.log.String(), "metrics_test.go") {
		t.Error("the log does not say where it was")
	}
}
