// Package static holds the chat client as it is served: the files that
// static/build makes, under names that carry their hash, compressed once at
// build time.
//
// The binary embeds what lies in dist when it is compiled. Without a build
// there is nothing to serve, and Index says so instead of showing a page that
// cannot work. Nothing in here depends on a request, a user or an installation:
// two servers of one build answer with the same bytes.
package static

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:generate go run ./build

//go:embed all:dist
var dist embed.FS

// Prefix is the path under which Handler serves.
const Prefix = "/static/"

// IndexName is the document of the chat client among the assets.
const IndexName = "index.html"

// ManifestName is the file in dist that lists the assets.
const ManifestName = "manifest.json"

// WorkerPolicy is the content security policy of the worker: a worker does not
// inherit the policy of its page, and only here WebAssembly runs.
const WorkerPolicy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"

// Asset is one built file, as manifest.json lists it.
type Asset struct {
	File   string `json:"file"`   // name in dist, without .br and .gz
	SHA256 string `json:"sha256"` // of the uncompressed bytes
	Size   int    `json:"size"`
	Brotli int    `json:"brotli,omitempty"` // 0: stored as it is
	Gzip   int    `json:"gzip,omitempty"`
}

// Manifest lists the assets by their name in the source.
type Manifest struct {
	Toolchain string           `json:"toolchain"`
	Assets    map[string]Asset `json:"assets"`
}

// site is a folder of built files with its manifest.
type site struct {
	files    fs.FS
	manifest Manifest
}

// open reads the manifest. An absent or broken one is an empty one: the binary
// was made without a build of the client.
func open(files fs.FS) site {
	s := site{files: files}
	data, err := fs.ReadFile(files, ManifestName)
	if err != nil || json.Unmarshal(data, &s.manifest) != nil {
		s.manifest = Manifest{}
	}
	return s
}

// load opens what is embedded, once.
var load = sync.OnceValue(func() site {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		return site{}
	}
	return open(files)
})

// Ready reports whether this binary contains the chat client.
func Ready() bool {
	_, ok := load().manifest.Assets[IndexName]
	return ok
}

// Assets returns the manifest, for those who compare what is served with what
// was published.
func Assets() Manifest { return load().manifest }

// URL returns the address of an asset: URL("app.css") is
// "/static/app.0123456789abcdef.css". Without a build it is the plain name,
// which leads nowhere.
func URL(name string) string {
	if a, ok := load().manifest.Assets[name]; ok {
		return Prefix + a.File
	}
	return Prefix + name
}

// Handler serves the assets under Prefix. Their names change with their
// content, so they may be kept for ever.
func Handler() http.Handler { return load().handler() }

func (s site) handler() http.Handler {
	byFile := make(map[string]Asset, len(s.manifest.Assets))
	for name, a := range s.manifest.Assets {
		if name != IndexName {
			byFile[a.File] = a
		}
	}
	worker := s.manifest.Assets["worker.js"].File
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file := strings.TrimPrefix(r.URL.Path, Prefix)
		a, ok := byFile[file]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		if file == worker {
			h.Set("Content-Security-Policy", WorkerPolicy)
		}
		s.serve(w, r, a)
	})
}

// Index serves the document of the chat client. Its name is the same for ever,
// so a browser asks each time whether it has changed.
func Index() http.Handler { return load().index() }

func (s site) index() http.Handler {
	a, ok := s.manifest.Assets[IndexName]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		if !ok {
			http.Error(w, "This kith was built without its chat client. Build it with: go generate ./... && go build", http.StatusServiceUnavailable)
			return
		}
		s.serve(w, r, a)
	})
}

// serve answers with the representation that the client takes.
func (s site) serve(w http.ResponseWriter, r *http.Request, a Asset) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType(a.File))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	encoding := ""
	if a.Brotli > 0 {
		h.Set("Vary", "Accept-Encoding")
		encoding = negotiate(r.Header.Values("Accept-Encoding"))
	}
	etag := `"` + a.SHA256[:16] + suffix(encoding) + `"`
	h.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body, err := s.representation(a, encoding)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body)
	}
}

// representation returns the bytes of an asset in an encoding. Text is embedded
// compressed only; the odd client that takes neither form gets it unpacked.
func (s site) representation(a Asset, encoding string) ([]byte, error) {
	switch {
	case a.Brotli == 0:
		return fs.ReadFile(s.files, a.File)
	case encoding == "br":
		return fs.ReadFile(s.files, a.File+".br")
	}
	packed, err := fs.ReadFile(s.files, a.File+".gz")
	if err != nil || encoding == "gzip" {
		return packed, err
	}
	unpack, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unpack)
}

func suffix(encoding string) string {
	if encoding == "" {
		return ""
	}
	return "-" + encoding
}

// negotiate picks brotli, gzip or "" for the plain bytes.
// RFC 9110, Section 12.5.3: a weight of 0 forbids a coding.
func negotiate(headers []string) string {
	allowed := map[string]bool{}
	for _, header := range headers {
		for part := range strings.SplitSeq(header, ",") {
			coding, params, _ := strings.Cut(part, ";")
			weight, weighted := strings.CutPrefix(strings.TrimSpace(params), "q=")
			q, err := strconv.ParseFloat(weight, 64)
			allowed[strings.ToLower(strings.TrimSpace(coding))] = !weighted || err == nil && q > 0
		}
	}
	for _, coding := range []string{"br", "gzip"} {
		if yes, named := allowed[coding]; yes || !named && allowed["*"] {
			return coding
		}
	}
	return ""
}

// matches compares weakly, as If-None-Match wants it.
// RFC 9110, Section 13.1.2
func matches(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == etag || part == "*" {
			return true
		}
	}
	return false
}

// contentType knows every type that we serve; the host's own tables are not
// asked, because WebAssembly is compiled while it streams only under its exact
// type.
func contentType(file string) string {
	switch path.Ext(file) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".wasm":
		return "application/wasm"
	case ".webmanifest":
		return "application/manifest+json"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	}
	return "application/octet-stream"
}
