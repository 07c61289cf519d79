package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

const style = "body { margin: 0 }"

// testSite holds a style sheet, a picture, a worker and the document.
func testSite(t *testing.T) site {
	t.Helper()
	files := fstest.MapFS{}
	m := Manifest{Assets: map[string]Asset{}}
	add := func(name, file, body string, packed bool) {
		sum := sha256.Sum256([]byte(body))
		a := Asset{File: file, SHA256: hex.EncodeToString(sum[:]), Size: len(body)}
		if packed {
			var gz bytes.Buffer
			w := gzip.NewWriter(&gz)
			if _, err := w.Write([]byte(body)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			files[file+".gz"] = &fstest.MapFile{Data: gz.Bytes()}
			files[file+".br"] = &fstest.MapFile{Data: []byte("brotli of " + name)}
			a.Gzip, a.Brotli = gz.Len(), 10+len(name)
		} else {
			files[file] = &fstest.MapFile{Data: []byte(body)}
		}
		m.Assets[name] = a
	}
	add("app.css", "app.0011.css", style, true)
	add("icon-192.png", "icon-192.2233.png", "png", false)
	add("worker.js", "worker.4455.js", "work()", true)
	add("kith.wasm", "kith.6677.wasm", "\x00asm", true)
	add(IndexName, IndexName, "<!doctype html>", true)
	list, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	files[ManifestName] = &fstest.MapFile{Data: list}
	return open(files)
}

func get(h http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHandlerNegotiates(t *testing.T) {
	h := testSite(t).handler()
	for _, tc := range []struct{ accept, encoding, body string }{
		{"gzip, deflate, br, zstd", "br", "brotli of app.css"},
		{"gzip", "gzip", ""},
		{"", "", style},
		{"identity", "", style},
		{"br;q=0, gzip;q=0.5", "gzip", ""},
		{"br;q=0, gzip;q=0", "", style},
		{"*", "br", "brotli of app.css"},
		{"*;q=0", "", style},
		{"BR", "br", "brotli of app.css"},
		{"br;q=nonsense", "", style},
	} {
		resp := get(h, "GET", "/static/app.0011.css", "Accept-Encoding", tc.accept)
		if got := resp.Header.Get("Content-Encoding"); got != tc.encoding {
			t.Errorf("Accept-Encoding %q: encoding %q, want %q", tc.accept, got, tc.encoding)
		}
		if got := body(t, resp); tc.body != "" && got != tc.body {
			t.Errorf("Accept-Encoding %q: body %q, want %q", tc.accept, got, tc.body)
		}
	}
}

func TestHandlerHeaders(t *testing.T) {
	h := testSite(t).handler()
	for path, want := range map[string]map[string]string{
		"/static/app.0011.css":      {"Content-Type": "text/css; charset=utf-8", "Vary": "Accept-Encoding"},
		"/static/icon-192.2233.png": {"Content-Type": "image/png", "Vary": "", "Content-Encoding": ""},
		"/static/kith.6677.wasm":    {"Content-Type": "application/wasm", "Content-Security-Policy": ""},
		"/static/worker.4455.js":    {"Content-Type": "text/javascript; charset=utf-8", "Content-Security-Policy": WorkerPolicy},
	} {
		resp := get(h, "GET", path, "Accept-Encoding", "br")
		want["X-Content-Type-Options"] = "nosniff"
		want["Cross-Origin-Resource-Policy"] = "same-origin"
		want["Cache-Control"] = "public, max-age=31536000, immutable"
		for name, value := range want {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got, value)
			}
		}
	}
}

func TestHandlerRefuses(t *testing.T) {
	h := testSite(t).handler()
	for _, tc := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/static/app.css", http.StatusNotFound},
		{"GET", "/static/app.0011.css.br", http.StatusNotFound},
		{"GET", "/static/manifest.json", http.StatusNotFound},
		{"GET", "/static/index.html", http.StatusNotFound},
		{"GET", "/static/../static.go", http.StatusNotFound},
		{"GET", "/static/", http.StatusNotFound},
		{"POST", "/static/app.0011.css", http.StatusMethodNotAllowed},
	} {
		if resp := get(h, tc.method, tc.path); resp.StatusCode != tc.status {
			t.Errorf("%s %s: %d, want %d", tc.method, tc.path, resp.StatusCode, tc.status)
		}
	}
}

func TestETagPerRepresentation(t *testing.T) {
	h := testSite(t).handler()
	br := get(h, "GET", "/static/app.0011.css", "Accept-Encoding", "br").Header.Get("ETag")
	plain := get(h, "GET", "/static/app.0011.css").Header.Get("ETag")
	if br == plain || !strings.HasSuffix(br, `-br"`) {
		t.Errorf("ETags %s and %s do not tell the representations apart", br, plain)
	}
	for header, status := range map[string]int{
		br: 304, "W/" + br: 304, `"other", ` + br: 304, "*": 304, plain: 200, `"other"`: 200,
	} {
		resp := get(h, "GET", "/static/app.0011.css", "Accept-Encoding", "br", "If-None-Match", header)
		if resp.StatusCode != status {
			t.Errorf("If-None-Match %s: %d, want %d", header, resp.StatusCode, status)
		}
	}
}

func TestHead(t *testing.T) {
	resp := get(testSite(t).handler(), "HEAD", "/static/app.0011.css")
	if resp.StatusCode != 200 || body(t, resp) != "" || resp.ContentLength != int64(len(style)) {
		t.Errorf("HEAD gave %d, length %d", resp.StatusCode, resp.ContentLength)
	}
}

func TestIndex(t *testing.T) {
	resp := get(testSite(t).index(), "GET", "/", "Accept-Encoding", "gzip;q=0")
	if got := body(t, resp); got != "<!doctype html>" || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("index is %q", got)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("Cache-Control %q: an old document would name old scripts", got)
	}
}

// A binary built without the client says so.
func TestIndexWithoutBuild(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"absent": {}, "broken": {ManifestName: {Data: []byte("{")}},
	} {
		resp := get(open(files).index(), "GET", "/")
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body(t, resp), "go generate") {
			t.Errorf("%s manifest: status %d", name, resp.StatusCode)
		}
	}
}

// What is embedded now, if the client was built, must be whole.
func TestEmbedded(t *testing.T) {
	if !Ready() {
		t.Skip("the chat client is not built: run go generate ./...")
	}
	s := load()
	for name, a := range s.manifest.Assets {
		plain, err := s.representation(a, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if sum := sha256.Sum256(plain); hex.EncodeToString(sum[:]) != a.SHA256 || len(plain) != a.Size {
			t.Errorf("%s does not have the bytes that the manifest tells", name)
		}
		if name != IndexName && URL(name) != Prefix+a.File {
			t.Errorf("URL(%q) = %q", name, URL(name))
		}
	}
}
