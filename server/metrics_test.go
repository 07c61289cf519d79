package server

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

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

// The names are an interface: dashboards and alarms of operators hold them.
func TestMetricNames(t *testing.T) {
	s := newSite(t)
	s.visitor().get("/healthz")
	s.metrics.signIns.WithLabelValues("accepted").Inc()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.RemoteAddr = "127.0.0.1:1"
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("content type %q", got)
	}
	lines := []string{`kith_http_requests_total{route="GET /healthz",status="200"} 1`, `kith_http_request_seconds_bucket{le="0.001"}`,
		`kith_http_request_seconds_count 1`, `kith_sign_ins_total{outcome="accepted"} 1`, `kith_db_queue 0`, `kith_sockets 0`,
		`kith_deliveries_total 0`, `kith_socket_messages_total 0`, `kith_socket_frames_total 0`, `kith_catch_ups_total 0`,
		`go_goroutines `, `go_memstats_heap_alloc_bytes `}
	for _, kind := range eventKinds {
		lines = append(lines, `kith_events_accepted_total{kind="`+kind+`"} 0`)
	}
	if runtime.GOOS == "linux" {
		lines = append(lines, `process_start_time_seconds `, `process_resident_memory_bytes `, `process_open_fds `)
	}
	for _, line := range lines {
		if !strings.Contains(w.Body.String(), "\n"+line) {
			t.Errorf("no %s in\n%s", line, w.Body)
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
