//go:build browser

package browsertest

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestFigures prints what a person waits for. It checks nothing, because the time a shared machine takes says little:
// KITH_FIGURES=1 go test -tags browser -run TestFigures -v ./web/browsertest
func TestFigures(t *testing.T) {
	if os.Getenv("KITH_FIGURES") == "" {
		t.Skip("figures are measured on request: KITH_FIGURES=1")
	}
	p := startProvider(t)
	browser := startBrowser(t)
	// Alice's browser keeps its caches on disk, as people's do; the other profiles of a test have them in memory.
	alice, bob := &profile{t, "alice", browser}, newProfile(t, browser, "bob")
	a := setUp(t, p, alice, "alice", "Alice Example")
	b := accept(p, invitation(p, alice), bob, "bob", "Bob Example")
	newChat(a, "bob")
	a.send("hello")
	b.openRoom("Alice Example")
	b.seesText("hello")
	var engine, page, delivered []float64
	for i := range 11 {
		a.reload()
		a.ready()
		// The worker marks, in its own time, when the wasm was asked for and when the engine answered.
		took, err := eval[float64](a, `Number(`+js("engine-state", "")+`.dataset.startMs)`)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := eval[float64](a, `performance.getEntriesByName("kith-ready")[0].startTime`)
		if err != nil {
			t.Fatal(err)
		}
		a.until("the rooms", js("room-item", ""))
		if i == 0 {
			continue // fills the caches
		}
		engine, page = append(engine, took), append(page, whole)
	}
	alone := engineAlone(t, a, p)
	a.do(chromedp.Navigate(p.url("/")))
	a.ready()
	a.openRoom("Bob Example")
	for i := range 10 {
		text := "timed " + time.Now().Format(time.RFC3339Nano)
		start := time.Now()
		a.send(text)
		b.seesText(text)
		if i > 0 {
			delivered = append(delivered, float64(time.Since(start).Milliseconds()))
		}
	}
	for _, row := range []struct {
		name   string
		values []float64
	}{{"engine ready in its worker, warm, in a page at rest", alone}, {"engine ready in its worker, warm, while the page loads", engine}, {"chat usable after navigation, warm", page}, {"click on send to the other page, test driver included", delivered}} {
		slices.Sort(row.values)
		t.Logf("%-55s median %4.0f ms, best %4.0f, worst %4.0f", row.name, row.values[len(row.values)/2], row.values[0], row.values[len(row.values)-1])
	}
}

// engineAlone starts the worker again and again in a page that does nothing else, and returns how long each took from
// its creation until the engine was ready.
func engineAlone(t *testing.T, b *tab, p *provider) (took []float64) {
	t.Helper()
	worker, err := eval[string](b, `performance.getEntriesByType("resource").find(e => e.name.includes("/worker."))?.name ?? ""`)
	if err != nil || worker == "" {
		t.Fatalf("the worker's address: %q, %v", worker, err)
	}
	b.do(chromedp.Navigate(p.url("/admin")))
	for i := range 11 {
		b.do(chromedp.Evaluate[chromedp.Void](`(() => {
			globalThis.policy ??= trustedTypes.createPolicy("app", {createScriptURL: u => u});
			globalThis.channel ??= new BroadcastChannel("kith");
			delete document.body.dataset.took;
			channel.onmessage = ({data}) => { if (data.value?.startMs) document.body.dataset.took = data.value.startMs; };
			globalThis.engineWorker = new Worker(policy.createScriptURL(` + quote(worker) + `));
		})()`))
		b.until("the engine alone", `document.body.dataset.took`)
		ms, err := eval[float64](b, `(engineWorker.terminate(), Number(document.body.dataset.took))`)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 { // the first one fills the caches
			took = append(took, ms)
		}
		time.Sleep(700 * time.Millisecond)
	}
	return took
}
