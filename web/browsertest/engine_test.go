//go:build browser

package browsertest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The tests of web/wasm that are about the browser's cryptography run in a worker of the browser.

func TestEngineVerifies(t *testing.T) {
	runEngineTests(t, "Verify", "TestVerifyEd25519", "TestVerifyWithoutCofactor")
}

func TestEngineExchanges(t *testing.T) {
	runEngineTests(t, "Exchange", "TestExchangeX25519", "TestExchangeX25519Fails", "TestExchangeX25519Commits")
}

// runEngineTests runs the tests whose names match a pattern and demands that the named ones are among them and pass.
func runEngineTests(t *testing.T, pattern string, names ...string) {
	t.Helper()
	folder := t.TempDir()
	buildEngineTest(t, filepath.Join(folder, "engine.wasm"))
	server := serveFigures(t, folder)
	page := newProfile(t, startBrowser(t), "engine").open(server.URL + "/")
	ctx, cancel := context.WithTimeout(page.ctx, patience)
	defer cancel()
	output, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(`new Promise((resolve, reject) => {
		const worker = new Worker("/tests.js?run=%s", {type: "module"});
		worker.onmessage = ({data}) => resolve(data);
		worker.onerror = (e) => reject(new Error(e.message));
	})`, pattern), chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(output)
	for _, name := range names {
		if !strings.Contains(output, "--- PASS: "+name+" ") {
			t.Errorf("%s did not pass", name)
		}
	}
	if !strings.Contains(output, "exit code 0") {
		t.Error("a test failed")
	}
}
