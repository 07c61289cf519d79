//go:build browser

package browsertest

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestEngineVerifies runs the tests of web/wasm that are about the browser's cryptography in a worker of the browser.
func TestEngineVerifies(t *testing.T) {
	folder := t.TempDir()
	buildEngineTest(t, filepath.Join(folder, "engine.wasm"))
	server := serveFigures(t, folder)
	page := newProfile(t, startBrowser(t), "engine").open(server.URL + "/")
	ctx, cancel := context.WithTimeout(page.ctx, patience)
	defer cancel()
	output, err := chromedp.Run(ctx, chromedp.Evaluate[string](`new Promise((resolve, reject) => {
		const worker = new Worker("/tests.js?run=Verify", {type: "module"});
		worker.onmessage = ({data}) => resolve(data);
		worker.onerror = (e) => reject(new Error(e.message));
	})`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(output)
	for _, want := range []string{"--- PASS: TestVerifyEd25519", "--- PASS: TestVerifyWithoutCofactor", "exit code 0"} {
		if !strings.Contains(output, want) {
			t.Errorf("%q is missing", want)
		}
	}
}
