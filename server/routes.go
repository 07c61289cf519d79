package server

import (
	"net/http"
	"runtime/debug"
	"time"

	"kith/static"
)

// routes is every address of the server, and the one chain that every request goes through.
func (s *Server) routes() http.Handler {
	who := http.NewServeMux() // what knows who asks
	who.Handle("GET /setup/{token}", s.handle(s.setupPage))
	who.Handle("POST /setup/{token}", s.handle(s.setupPost))
	who.Handle("GET /reset/{token}", s.handle(s.resetPage))
	who.Handle("POST /reset/{token}", s.handle(s.resetPost))
	who.Handle("GET /invite/{code}", s.handle(s.invitePage))
	who.Handle("POST /invite/{code}", s.handle(s.invitePost))
	who.Handle("GET /signin", s.handle(s.signInPage))
	who.Handle("POST /signin", s.handle(s.signInPost))
	who.Handle("POST /signout", s.handle(s.signOutPost))
	who.Handle("GET /admin", s.handle(s.admin(s.adminPage)))
	who.Handle("POST /admin/invite", s.handle(s.admin(s.adminInvite)))
	who.Handle("POST /admin/report/handled", s.handle(s.admin(s.reportHandled)))
	who.Handle("GET /admin/peers", s.handle(s.admin(s.peersPage)))
	who.Handle("POST /admin/peers/mode", s.handle(s.admin(s.peersMode)))
	who.Handle("POST /admin/peers/add", s.handle(s.admin(s.peersAdd)))
	who.Handle("POST /admin/peers/change", s.handle(s.admin(s.peersChange)))
	who.Handle("GET /api/me", s.handle(s.me))
	who.Handle("GET /api/socket", s.handle(s.socket))
	who.Handle("/", s.handle(s.notFound))

	all := http.NewServeMux()
	all.Handle("GET /{$}", static.Index()) // the chat client, the same bytes for everybody
	all.Handle("GET "+static.Prefix, static.Handler())
	all.HandleFunc("GET /healthz", health)
	all.HandleFunc("GET /readyz", s.ready)
	all.Handle("GET /metrics", s.handle(s.metricsPage))
	all.HandleFunc("GET "+directoryPath, s.chat.ServeDirectory)
	all.Handle("/", s.session(who))

	// A form that another site sends with our cookie is refused by where it comes from.
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(s.handle(func(http.ResponseWriter, *http.Request) error { return errForbidden }))
	return s.recovered(s.logged(s.byServerName(s.headers(cross.Handler(all)), s.chat.Federation())))
}

// pagePolicy lets a document run our scripts and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; " +
	"worker-src 'self'; manifest-src 'self'; media-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types app"

// headers sets what every answer carries; the worker script's own policy is set where it is served.
func (s *Server) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Permissions-Policy", "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()")
		if !s.cfg.Dev {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// statusWriter remembers the status of an answer. It unwraps to the connection for those who take it over.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController and the websocket library.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// logged counts requests and, at debug level, logs them by route: a path may hold a secret and is never written down.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		sw := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(sw, r)
		took := time.Since(start)
		status, label := statusLabel(sw.status)
		route := routeOf(r)
		s.metrics.requests.WithLabelValues(route, label).Inc()
		if status != http.StatusSwitchingProtocols {
			s.metrics.seconds.Observe(took.Seconds())
		}
		s.log.Debug("request", "method", methodOf(r), "route", route, "status", status, "took", took)
	})
}

// recovered answers a panic, which is a bug of ours, and lets the server go on.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			// The value of the panic may hold what a person wrote; the stack says where it was.
			s.log.Error("panic while answering", "route", routeOf(r), "stack", string(debug.Stack()))
			s.writeRefusal(w, r, errInternal)
		}()
		next.ServeHTTP(w, r)
	})
}
