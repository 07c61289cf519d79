//go:build browser

package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestMLSFigures prints what MLS costs in a browser, in a group of a hundred:
//
//	KITH_FIGURES=1 go test -tags browser -run MLSFigures -v ./web/browsertest
//
// With KITH_PEERS=1 it fetches other libraries by npm into a temporary folder and measures them beside ours. Operations
// take turns between the libraries; what counts is the CPU time of the whole browser, as other work on the machine
// hardly changes it. It checks nothing but that everything works.
func TestMLSFigures(t *testing.T) {
	if os.Getenv("KITH_FIGURES") == "" {
		t.Skip("figures are measured on request: KITH_FIGURES=1")
	}
	const members = 100
	libraries := []string{"kith", "kith, populated tree"}
	folder := t.TempDir()
	if os.Getenv("KITH_PEERS") != "" {
		fetchPeers(t, folder)
		libraries = append(libraries, "core-crypto", "ts-mls", "OpenMLS")
	}
	buildEngineTest(t, filepath.Join(folder, "engine.wasm"))
	server := serveFigures(t, folder)
	f := newFigures(t, newProfile(t, startBrowser(t), "figures").open(server.URL+"/"))
	for _, library := range libraries {
		f.start(library, members)
	}
	for range 7 {
		f.round(libraries)
	}
	f.print(libraries)
}

// figureOps are the operations in an order in which each finds what it needs, with how often one measurement does it.
var figureOps = []struct {
	name  string
	count int
}{{"commit", 2}, {"process", 2}, {"encrypt", 20}, {"decrypt", 20}, {"join", 1}, {"join alone", 1}}

type figureKey struct{ library, op string }

// figures collects measurements in milliseconds: CPU time and wall time.
type figures struct {
	t         *testing.T
	tab       *tab
	cpu, wall map[figureKey][]float64
}

func newFigures(t *testing.T, b *tab) *figures {
	b.do(chromedp.Evaluate[chromedp.Void](`globalThis.workers = {}; globalThis.ask = (library, question) => new Promise((resolve, reject) => {
		const w = workers[library];
		w.onmessage = ({data}) => data.error ? reject(new Error(library + ": " + data.error)) : resolve(data.took);
		w.onerror = (e) => reject(new Error(library + ": " + e.message));
		w.postMessage(question);
	})`))
	return &figures{t, b, map[figureKey][]float64{}, map[figureKey][]float64{}}
}

// start makes the worker of a library and waits until its group is there.
func (f *figures) start(library string, members int) {
	address := fmt.Sprintf("/worker.js?library=%s&members=%d", strings.ReplaceAll(library, " ", "%20"), members)
	f.eval(fmt.Sprintf(`(workers[%[1]q] = new Worker(%[2]q, {type: "module"}), ask(%[1]q, {}))`, library, address))
}

// eval waits for a promise of milliseconds.
func (f *figures) eval(expression string) float64 {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.tab.ctx, 5*time.Minute)
	defer cancel()
	ms, err := chromedp.Run(ctx, chromedp.Evaluate[float64](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		f.t.Fatalf("%s: %v", expression, err)
	}
	return ms
}

func (f *figures) round(libraries []string) {
	for _, op := range figureOps {
		for _, library := range libraries {
			before := f.used()
			took := f.eval(fmt.Sprintf(`ask(%q, {op: %q, count: %d})`, library, op.name, op.count))
			if took < 0 {
				continue // the library has no such operation
			}
			key, n := figureKey{library, op.name}, float64(op.count)
			f.cpu[key] = append(f.cpu[key], (f.used()-before)/n)
			f.wall[key] = append(f.wall[key], took/n)
		}
	}
}

func (f *figures) print(libraries []string) {
	for _, op := range figureOps {
		for _, library := range libraries {
			key := figureKey{library, op.name}
			if cpu, wall := f.cpu[key], f.wall[key]; len(cpu) > 0 {
				slices.Sort(cpu)
				slices.Sort(wall)
				f.t.Logf("%-12s %-22s CPU %7.2f ms, by the clock %7.2f ms, best %7.2f ms", op.name, library, cpu[len(cpu)/2], wall[len(wall)/2], wall[0])
			}
		}
	}
}

// used is the CPU time in milliseconds of all threads of our browser that are alive.
func (f *figures) used() float64 {
	f.t.Helper()
	total := 0.0
	for _, pid := range descendants(f.t, os.Getpid()) {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, task := range tasks {
			data, err := os.ReadFile(task)
			if err != nil {
				continue // the thread has just ended
			}
			ns, _, _ := strings.Cut(string(data), " ")
			n, err := strconv.ParseFloat(ns, 64)
			if err != nil {
				f.t.Fatal(err)
			}
			total += n / 1e6
		}
	}
	return total
}

// descendants lists the processes below one.
func descendants(t *testing.T, root int) []int {
	t.Helper()
	children := map[int][]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatal("figures need /proc: ", err)
	}
	for _, stat := range stats {
		data, err := os.ReadFile(stat)
		if err != nil {
			continue // the process has just ended
		}
		pid, _ := strconv.Atoi(path.Base(path.Dir(stat)))
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	var list []int
	for queue := children[root]; len(queue) > 0; queue = queue[1:] {
		list = append(list, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return list
}

// engineTestFlags are those with which static/build compiles the engine.
var engineTestFlags = []string{
	"-trimpath", "-tags=mls_suite1", "-ldflags=-s -w", "-gcflags=all=-l", "-gcflags=crypto/internal/fips140/edwards25519/...=",
	"-gcflags=crypto/internal/fips140/aes/...=", "-gcflags=crypto/internal/fips140/sha256=",
	"-gcflags=crypto/internal/fips140/sha512=", "-gcflags=math/bits=",
}

// buildEngineTest compiles the tests of web/wasm for the browser.
func buildEngineTest(t *testing.T, file string) {
	t.Helper()
	build := exec.Command("go", append(append([]string{"test", "-c", "-o", file}, engineTestFlags...), "kith/web/wasm")...)
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("compiling the engine's tests: %v\n%s", err, out)
	}
}

// fetchPeers installs the other libraries.
func fetchPeers(t *testing.T, folder string) {
	t.Helper()
	install := exec.Command("npm", "install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund",
		"@wireapp/core-crypto@10.3.0", "ts-mls@1.6.4", "openmls-wasm@0.1.0",
		"@noble/hashes@2.0.1", "@noble/ciphers@2.1.1", "@noble/curves@2.0.1") // which ts-mls imports without naming them
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm: %v\n%s", err, out)
	}
}

// serveFigures serves the worker, the engine and what npm installed. The page is isolated, so that its clock is exact.
func serveFigures(t *testing.T, folder string) *httptest.Server {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"/engine.wasm":  filepath.Join(folder, "engine.wasm"),
		"/worker.js":    filepath.Join("testdata", "mls_worker.js"),
		"/tests.js":     filepath.Join("testdata", "test_worker.js"),
		"/x25519.js":    filepath.Join("..", "..", "static", "x25519.js"),
		"/wasm_exec.js": filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"),
	}
	modules := filepath.Join(folder, "node_modules")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
		w.Header().Set("Cross-Origin-Embedder-Policy", "require-corp")
		file, ok := files[r.URL.Path]
		name, npm := strings.CutPrefix(r.URL.Path, "/npm/")
		switch {
		case r.URL.Path == "/":
			fmt.Fprint(w, "<!doctype html><title>figures</title>")
		case ok:
			http.ServeFile(w, r, file)
		case npm && strings.HasSuffix(name, ".js"):
			serveModule(w, modules, name)
		case npm:
			http.ServeFile(w, r, filepath.Join(modules, filepath.FromSlash(path.Clean(name))))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// bareImport is an import by package name, which browsers do not resolve in workers.
var bareImport = regexp.MustCompile(`(from\s*|import\s*\(?\s*)["']((?:@[\w.-]+/)?[a-z][\w.-]*(?:/[\w./-]+)?)["']`)

func serveModule(w http.ResponseWriter, modules, name string) {
	source, err := os.ReadFile(filepath.Join(modules, filepath.FromSlash(path.Clean(name))))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/javascript")
	_, _ = w.Write(bareImport.ReplaceAllFunc(source, func(match []byte) []byte {
		parts := bareImport.FindSubmatch(match)
		if file := resolveModule(modules, string(parts[2])); file != "" {
			return fmt.Appendf(nil, "%s%q", parts[1], "/npm/"+file)
		}
		return match // something optional that is not installed
	}))
}

// resolveModule finds the file behind an import by package name.
func resolveModule(modules, name string) string {
	parts := strings.SplitN(name, "/", 3)
	if !strings.HasPrefix(name, "@") {
		parts = append([]string{"."}, strings.SplitN(name, "/", 2)...)
	}
	pkg := path.Join(parts[0], parts[1])
	data, err := os.ReadFile(filepath.Join(modules, filepath.FromSlash(pkg), "package.json"))
	if err != nil {
		return ""
	}
	var manifest struct {
		Module, Main string
		Exports      map[string]any
	}
	if json.Unmarshal(data, &manifest) != nil {
		return ""
	}
	entry := "."
	if len(parts) == 3 {
		entry = "./" + parts[2]
	}
	if file := exported(manifest.Exports[entry]); file != "" {
		return path.Join(pkg, file)
	}
	if entry == "." {
		return path.Join(pkg, manifest.Module)
	}
	return ""
}

// exported is what an entry of a manifest's exports means for an import.
func exported(entry any) string {
	switch entry := entry.(type) {
	case string:
		return entry
	case map[string]any:
		for _, condition := range []string{"browser", "import", "default"} {
			if file := exported(entry[condition]); file != "" {
				return file
			}
		}
	}
	return ""
}
