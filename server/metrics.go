package server

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the figures of one server, in a registry of its own. They hold counts, never names: a label is a route, a
// status or a fixed word.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec // by route and status
	seconds  prometheus.Histogram
	signIns  *prometheus.CounterVec // by outcome
}

func newMetrics() *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	add := promauto.With(registry)
	return &metrics{
		registry: registry,
		requests: add.NewCounterVec(prometheus.CounterOpts{Name: "kith_http_requests_total", Help: "HTTP requests by route and status."},
			[]string{"route", "status"}),
		seconds: add.NewHistogram(prometheus.HistogramOpts{Name: "kith_http_request_seconds",
			Help: "Time to answer HTTP requests, sockets excluded.", Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10}}),
		signIns: add.NewCounterVec(prometheus.CounterOpts{Name: "kith_sign_ins_total", Help: "Sign-in attempts by outcome."},
			[]string{"outcome"}),
	}
}

// gauge adds a figure that value reads when it is asked for.
func (m *metrics) gauge(name, help string, value func() float64) {
	promauto.With(m.registry).NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

// handler shows the figures. A collector that fails is logged and leaves the others standing.
func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelError),
		ErrorHandling: promhttp.ContinueOnError,
	})
}
