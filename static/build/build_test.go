package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kith/web"
)

func TestScriptPutsAddressesIn(t *testing.T) {
	b := newBundle()
	b.add("a.js", []byte("export const a = 1;"))
	b.add("kith.wasm", []byte("wasm"))
	if err := b.script("b.js", []byte(`import { a } from './a.js'; const u = 'asset:kith.wasm'; // from "./x" stays`)); err != nil {
		t.Fatal(err)
	}
	want := `import { a } from '/static/` + b.assets["a.js"].File + `'; const u = '/static/` + b.assets["kith.wasm"].File + `'; // from "./x" stays`
	if got := string(b.content["b.js"]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestScriptRefusesUnknownAssets(t *testing.T) {
	for _, source := range []string{`import x from './later.js';`, `new Worker('asset:later.js')`} {
		if err := newBundle().script("a.js", []byte(source)); err == nil || !strings.Contains(err.Error(), "later.js") {
			t.Errorf("%s: error %v does not name the asset", source, err)
		}
	}
}

func TestNamesFollowContent(t *testing.T) {
	a, b := newBundle(), newBundle()
	a.add("app.css", []byte("1"))
	b.add("app.css", []byte("2"))
	if a.url("app.css") == b.url("app.css") {
		t.Error("different bytes under one name")
	}
	if !regexp.MustCompile(`^/static/app\.[0-9a-f]{16}\.css$`).MatchString(a.url("app.css")) {
		t.Errorf("address %s", a.url("app.css"))
	}
}

func TestPackIsReproducible(t *testing.T) {
	data := bytes.Repeat([]byte("the same bytes every time "), 1000)
	br1, gz1, err1 := pack(data)
	br2, gz2, err2 := pack(data)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if !bytes.Equal(br1, br2) || !bytes.Equal(gz1, gz2) {
		t.Error("two runs differ")
	}
}

func TestDrawIcon(t *testing.T) {
	for _, maskable := range []bool{false, true} {
		data, err := drawIcon(48, maskable)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if img.Bounds().Dx() != 48 {
			t.Errorf("icon is %v", img.Bounds())
		}
		_, _, _, corner := img.At(0, 0).RGBA()
		if (corner != 0) != maskable {
			t.Errorf("maskable %v: alpha of the corner is %d", maskable, corner)
		}
	}
}

// sources returns our scripts by name.
func sources(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../*.js")
	if err != nil || len(names) < 10 {
		t.Fatalf("scripts: %v, %v", names, err)
	}
	out := map[string]string{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = string(data)
	}
	return out
}

// Text becomes part of the page as text only. Trusted Types would stop most of
// these in the browser; here they do not even get that far.
func TestScriptsNeverParseMarkup(t *testing.T) {
	banned := regexp.MustCompile(`\b(innerHTML|outerHTML|insertAdjacentHTML|DOMParser|createContextualFragment|setHTML\w*|srcdoc|document\.write|eval|Function|importScripts)\b\s*[(=.]|javascript:|setAttribute\(\s*['"](style|on\w+)`)
	for name, source := range sources(t) {
		if found := banned.FindString(source); found != "" {
			t.Errorf("%s uses %q", name, found)
		}
	}
}

func TestScriptsUseKnownWords(t *testing.T) {
	words := web.ClientCatalogue()[web.English]
	key := regexp.MustCompile(`['"]((?:chat|error|notice)\.[a-z_]+)['"]`)
	for name, source := range sources(t) {
		for _, match := range key.FindAllStringSubmatch(source, -1) {
			// One that ends so is the beginning of several; the rest comes from the engine.
			if strings.HasSuffix(match[1], "_") && anyWord(words, match[1]) {
				continue
			}
			if words[match[1]] == "" && words[match[1]+".other"] == "" {
				t.Errorf("%s says %q, which is not in the catalogue", name, match[1])
			}
		}
	}
}

func anyWord(words map[string]string, prefix string) bool {
	for key := range words {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// Every module is built, and after those that it imports.
func TestModulesAreInOrder(t *testing.T) {
	all := sources(t)
	at := map[string]int{}
	for i, name := range modules {
		at[name] = i
	}
	for name, source := range all {
		for _, ref := range importRef.FindAllString(source, -1) {
			imported := strings.Trim(ref[strings.Index(ref, "./")+2:], `'"`)
			if i, ok := at[imported]; !ok || i >= at[name] {
				t.Errorf("%s imports %s, which is not built before it", name, imported)
			}
		}
	}
	for _, name := range modules[1:] {
		if all[name] == "" {
			t.Errorf("module %s does not exist", name)
		}
	}
}
