// Command build makes what static serves: it compiles the engine to
// WebAssembly, renders the document of the chat client, draws the icons,
// gives every file a name with its hash, and compresses it once.
//
// The same sources and toolchain give the same bytes. Run it by
// "go generate ./...", or in folder static by "go run ./build".
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"kith/static"
	"kith/web"
)

// wasmBudget is the most that the engine may weigh on the wire, as brotli.
const wasmBudget = 1_300_000

// modules are the ES modules of the page, leaves first: a module imports only
// what stands before it.
var modules = []string{"catalogue.js", "i18n.js", "dom.js", "channel.js", "link.js", "people.js", "requests.js", "rooms.js", "composer.js",
	"dialogs.js", "report.js", "timeline.js", "rules.js", "info.js", "settings.js", "app.js"}

func main() {
	engine := flag.String("wasm", "../web/wasm", "package of the engine")
	out := flag.String("o", "dist", "folder to fill")
	flag.Parse()
	if err := run(*engine, *out); err != nil {
		fmt.Fprintln(os.Stderr, "static/build:", err)
		os.Exit(1)
	}
}

func run(engine, out string) error {
	b := newBundle()
	if err := b.icons(); err != nil {
		return err
	}
	if err := b.engine(engine); err != nil {
		return err
	}
	if err := b.worker(); err != nil {
		return err
	}
	if err := b.page(); err != nil {
		return err
	}
	if err := b.write(out); err != nil {
		return err
	}
	b.report(os.Stdout)
	if n := b.assets["kith.wasm"].Brotli; n > wasmBudget {
		return fmt.Errorf("kith.wasm is %d bytes as brotli, over the budget of %d", n, wasmBudget)
	}
	return nil
}

// icons adds the mark in every form in which a system wants it, and the web
// app manifest that names them.
func (b *bundle) icons() error {
	svg, err := os.ReadFile("icons/icon.svg")
	if err != nil {
		return err
	}
	b.add("icon.svg", svg)
	for _, icon := range []struct {
		name     string
		size     int
		maskable bool
	}{{"icon-180.png", 180, true}, {"icon-192.png", 192, false}, {"icon-512.png", 512, false}, {"icon-maskable.png", 512, true}} {
		data, err := drawIcon(icon.size, icon.maskable)
		if err != nil {
			return err
		}
		b.add(icon.name, data)
	}
	return b.file("manifest.webmanifest")
}

// engineFlags keep the compiler from inlining, except in the loops of the cryptography. Measured on the whole module:
// 1.27 MB instead of 1.43 MB as brotli. A later pattern wins over an earlier one. math/bits is there because the field
// arithmetic calls it in its innermost loop: without it a signature takes 0.95 ms to verify instead of 0.35.
var engineFlags = []string{
	"-gcflags=all=-l",
	"-gcflags=crypto/internal/fips140/edwards25519/...=",
	"-gcflags=crypto/internal/fips140/aes/...=",
	"-gcflags=crypto/internal/fips140/sha256=",
	"-gcflags=crypto/internal/fips140/sha512=",
	"-gcflags=math/bits=",
}

// engineTags leave out what the chat client never uses: all cipher suites but 0x0001.
const engineTags = "-tags=mls_suite1"

// engine compiles the WebAssembly module.
func (b *bundle) engine(pkg string) error {
	dir, err := os.MkdirTemp("", "kith-wasm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "kith.wasm")
	args := append([]string{"build", "-trimpath", "-buildvcs=false", engineTags, "-ldflags=-s -w", "-o", file}, engineFlags...)
	cmd := exec.CommandContext(context.Background(), "go", append(args, ".")...)
	cmd.Dir = pkg
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compiling the engine: %w", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if data, err = joinSegments(data, dropMultiples); err != nil {
		return fmt.Errorf("kith.wasm: %w", err)
	}
	b.add("kith.wasm", data)
	return nil
}

// worker joins Go's own loader, the cryptography that it has the browser do and
// our host to one classic script, so that the worker loads nothing else.
func (b *bundle) worker() error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	loader, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return err
	}
	exchange, err := os.ReadFile("x25519.js")
	if err != nil {
		return err
	}
	host, err := os.ReadFile("worker.js")
	if err != nil {
		return err
	}
	return b.script("worker.js", slices.Concat(loader, []byte("\n"), exchange, []byte("\n"), host))
}

// page adds styles, modules and the document that names them.
func (b *bundle) page() error {
	words, err := json.Marshal(web.ClientCatalogue())
	if err != nil {
		return err
	}
	b.add("catalogue.js", slices.Concat([]byte("export default "), words, []byte(";\n")))
	for _, name := range slices.Concat([]string{"app.css", "boot.js", "pages.js"}, modules[1:]) {
		if err := b.file(name); err != nil {
			return err
		}
	}
	var html bytes.Buffer
	view := web.ChatView{Asset: b.url, Modules: modules[:len(modules)-1]}
	if err := web.ChatDocument(view).Render(context.Background(), &html); err != nil {
		return err
	}
	if len(b.missing) > 0 {
		return fmt.Errorf("no such assets: %s", strings.Join(b.missing, ", "))
	}
	b.add(static.IndexName, html.Bytes())
	return nil
}

// file adds a source file, with the names of other assets put in.
func (b *bundle) file(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return b.script(name, data)
}

// script adds text in which 'asset:NAME' stands for the address of an asset
// and './NAME.js' for a module beside it.
func (b *bundle) script(name string, data []byte) error {
	text := assetRef.ReplaceAllStringFunc(string(data), func(ref string) string {
		return ref[:1] + b.url(strings.TrimPrefix(ref[1:len(ref)-1], "asset:")) + ref[len(ref)-1:]
	})
	text = importRef.ReplaceAllStringFunc(text, func(ref string) string {
		quote := strings.IndexAny(ref, `'"`)
		return ref[:quote+1] + b.url(strings.TrimPrefix(ref[quote+1:len(ref)-1], "./")) + ref[len(ref)-1:]
	})
	if len(b.missing) > 0 {
		return fmt.Errorf("%s names assets that are not built before it: %s", name, strings.Join(b.missing, ", "))
	}
	b.add(name, []byte(text))
	return nil
}

// write fills the folder, and empties it first of what an earlier build left.
func (b *bundle) write(out string) error {
	if err := b.compress(); err != nil {
		return err
	}
	old, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, entry := range old {
		if entry.Name() != ".keep" && b.files[entry.Name()] == nil {
			if err := os.Remove(filepath.Join(out, entry.Name())); err != nil {
				return err
			}
		}
	}
	for name, data := range b.files {
		if err := os.WriteFile(filepath.Join(out, name), data, 0o644); err != nil {
			return err
		}
	}
	list, err := json.MarshalIndent(static.Manifest{Toolchain: runtime.Version(), Assets: b.assets}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, static.ManifestName), append(list, '\n'), 0o644)
}
