package server

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// messengerMetrics counts what the messenger does. What is counted for every message is looked up once, here: counting
// is then one atomic addition. No label names a person, device or room.
type messengerMetrics struct {
	sockets    prometheus.Gauge
	accepted   [len(eventKinds)]prometheus.Counter // by kind of event, as db numbers them
	deliveries prometheus.Counter
	messages   prometheus.Counter // websocket messages sent
	frames     prometheus.Counter // and the frames in them
	catchUps   prometheus.Counter
	refusals   *prometheus.CounterVec // by operation and code
	reports    *prometheus.CounterVec // of abuse, by whether the hub knows a message in it

	followed     prometheus.Counter     // events of other providers' rooms
	peerRequests *prometheus.CounterVec // of other providers, by endpoint and code
	peerCalls    *prometheus.CounterVec // ours to other providers, by endpoint and outcome
	outbox       *prometheus.CounterVec // attempts to deliver events to other providers, by outcome
}

var eventKinds = [...]string{"create", "message", "proposal", "commit", "welcome"}

func newMessengerMetrics(registry prometheus.Registerer) *messengerMetrics {
	add := promauto.With(registry)
	counter := func(name, help string) prometheus.Counter {
		return add.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &messengerMetrics{
		sockets:    add.NewGauge(prometheus.GaugeOpts{Name: "kith_sockets", Help: "Open websockets."}),
		deliveries: counter("kith_deliveries_total", "Events sent to devices."),
		messages:   counter("kith_socket_messages_total", "Websocket messages sent."),
		frames:     counter("kith_socket_frames_total", "Frames in the websocket messages sent."),
		catchUps:   counter("kith_catch_ups_total", "Pages read from the database for devices behind the live events."),
		refusals: add.NewCounterVec(prometheus.CounterOpts{Name: "kith_refusals_total", Help: "Requests of browsers that were refused."},
			[]string{"op", "code"}),
		reports: add.NewCounterVec(prometheus.CounterOpts{Name: "kith_abuse_reports_total", Help: "Reports of abuse received."},
			[]string{"verified"}),
		followed: counter("kith_events_followed_total", "Events stored of rooms that other providers host."),
		peerRequests: add.NewCounterVec(prometheus.CounterOpts{Name: "kith_peer_requests_total", Help: "Requests of other providers."},
			[]string{"endpoint", "code"}),
		peerCalls: add.NewCounterVec(prometheus.CounterOpts{Name: "kith_peer_calls_total", Help: "Our requests to other providers."},
			[]string{"endpoint", "outcome"}),
		outbox: add.NewCounterVec(prometheus.CounterOpts{Name: "kith_outbox_total", Help: "Attempts to deliver events to other providers."},
			[]string{"outcome"}),
	}
	accepted := add.NewCounterVec(prometheus.CounterOpts{Name: "kith_events_accepted_total", Help: "Events accepted into rooms."}, []string{"kind"})
	for i, kind := range eventKinds {
		m.accepted[i] = accepted.WithLabelValues(kind)
	}
	return m
}

// reported counts a report of abuse.
func (m *messengerMetrics) reported(verified bool) {
	m.reports.WithLabelValues(strconv.FormatBool(verified)).Inc()
}

// refused counts a refusal. Both words come from small fixed sets.
func (m *messengerMetrics) refused(op, code string) { m.refusals.WithLabelValues(op, code).Inc() }
