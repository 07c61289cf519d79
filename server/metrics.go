package server

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// metrics are the figures of one server in the Prometheus text format. They hold counts, never names: a label is a route,
// a status or a fixed word.
type metrics struct {
	requests *counter
	seconds  *histogram
	signIns  *counter

	mu      sync.Mutex
	gauges  []gauge
	sources []func(io.Writer)
}

// gauge is a figure that is read when asked for.
type gauge struct {
	name, help string
	value      func() float64
}

func newMetrics(start time.Time) *metrics {
	m := &metrics{
		requests: newCounter("kith_http_requests_total", "HTTP requests by route and status.", "route", "status"),
		seconds:  newHistogram("kith_http_request_seconds", "Time to answer HTTP requests, sockets excluded.", .001, .005, .025, .1, .5, 2.5, 10),
		signIns:  newCounter("kith_sign_ins_total", "Sign-in attempts by outcome.", "outcome"),
	}
	m.gauge("process_start_time_seconds", "When the server started, in Unix seconds.", func() float64 { return float64(start.Unix()) })
	m.gauge("go_goroutines", "Number of goroutines.", func() float64 { return float64(runtime.NumGoroutine()) })
	m.gauge("go_memstats_heap_alloc_bytes", "Bytes of allocated heap objects.", func() float64 {
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return float64(s.HeapAlloc)
	})
	if residentMemory() > 0 {
		m.gauge("process_resident_memory_bytes", "Resident memory.", residentMemory)
	}
	return m
}

// gauge adds a figure that value reads.
func (m *metrics) gauge(name, help string, value func() float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gauges = append(m.gauges, gauge{name, help, value})
}

// collect adds what a part of the server writes about itself.
func (m *metrics) collect(source func(io.Writer)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sources = append(m.sources, source)
}

func (m *metrics) write(w io.Writer) {
	m.requests.write(w)
	m.seconds.write(w)
	m.signIns.write(w)
	m.mu.Lock()
	gauges, sources := slices.Clone(m.gauges), slices.Clone(m.sources)
	m.mu.Unlock()
	for _, source := range sources {
		source(w)
	}
	for _, g := range gauges {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s gauge\n%s %g\n", g.name, g.help, g.name, g.name, g.value())
	}
}

// counter counts by label values, which must come from a small fixed set.
type counter struct {
	name, help string
	labels     []string
	mu         sync.Mutex
	counts     map[string]uint64 // rendered labels → count
}

func newCounter(name, help string, labels ...string) *counter {
	return &counter{name: name, help: help, labels: labels, counts: make(map[string]uint64)}
}

func (c *counter) add(values ...string) {
	var b strings.Builder
	for i, l := range c.labels {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%q", l, values[i])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[b.String()]++
}

func (c *counter) write(w io.Writer) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s counter\n", c.name, c.help, c.name)
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := make([]string, 0, len(c.counts))
	for k := range c.counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(w, "%s{%s} %d\n", c.name, k, c.counts[k])
	}
}

// histogram counts durations in seconds by upper bounds.
type histogram struct {
	name, help string
	bounds     []float64
	mu         sync.Mutex
	counts     []uint64 // one more than bounds
	sum        float64
}

func newHistogram(name, help string, bounds ...float64) *histogram {
	return &histogram{name: name, help: help, bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

func (h *histogram) observe(d time.Duration) {
	s := d.Seconds()
	i, _ := slices.BinarySearch(h.bounds, s)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[i]++
	h.sum += s
}

func (h *histogram) write(w io.Writer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s histogram\n", h.name, h.help, h.name)
	total := uint64(0)
	for i, b := range h.bounds {
		total += h.counts[i]
		fmt.Fprintf(w, "%s_bucket{le=\"%g\"} %d\n", h.name, b, total)
	}
	total += h.counts[len(h.bounds)]
	fmt.Fprintf(w, "%s_bucket{le=\"+Inf\"} %d\n%s_sum %g\n%s_count %d\n", h.name, total, h.name, h.sum, h.name, total)
}

// residentMemory asks the kernel, where it is Linux; elsewhere it is 0.
func residentMemory() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	var size, resident float64
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return resident * float64(os.Getpagesize())
}
