package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
)

// allowedImports is the import table of the house: which packages of ours a package may import. A package that is
// not listed may not exist; a new room in the house is a row here and a line in the README.
var allowedImports = map[string][]string{
	"kith":                            {"server", "db"},
	"kith/mimi":                       {},
	"kith/mimi/internal/hpke":         {},
	"kith/mimi/internal/syntax":       {},
	"kith/mimi/internal/vectors":      {},
	"kith/mimi/mls":                   {"mimi/internal/hpke", "mimi/internal/syntax"},
	"kith/mimi/mls/interop":           {},
	"kith/mimi/content":               {"mimi"},
	"kith/mimi/identity":              {"mimi", "mimi/mls"},
	"kith/mimi/policy":                {"mimi", "mimi/mls", "mimi/internal/syntax"},
	"kith/mimi/wire":                  {"mimi", "mimi/mls", "mimi/internal/syntax"},
	"kith/mimi/room":                  {"mimi", "mimi/mls", "mimi/policy", "mimi/wire", "mimi/identity", "mimi/internal/syntax"},
	"kith/db":                         {},
	"kith/web":                        {"mimi", "static"},
	"kith/web/api":                    {"mimi"},
	"kith/web/client":                 {"mimi", "mimi/mls", "mimi/content", "mimi/identity", "mimi/policy", "mimi/wire", "mimi/room", "web/api"},
	"kith/web/wasm":                   {"web/client", "web/api"},
	"kith/static":                     {},
	"kith/static/build":               {"web", "static"},
	"kith/server":                     {"mimi", "mimi/mls", "mimi/content", "mimi/identity", "mimi/policy", "mimi/wire", "mimi/room", "db", "web", "web/api", "static"},
	"kith/server/servertest":          {"server", "db", "web/client", "web/api", "mimi", "mimi/mls", "mimi/content", "mimi/identity", "mimi/policy", "mimi/wire", "mimi/room"},
	"kith/server/servertest/acmetest": {},
	"kith/server/servertest/foreign":  {"server/servertest", "web/client", "mimi", "mimi/mls", "mimi/content", "mimi/identity", "mimi/policy", "mimi/wire", "mimi/room"},
	"kith/server/servertest/hostile":  {"server/servertest", "db", "web/client", "web/api", "mimi", "mimi/mls", "mimi/identity", "mimi/policy", "mimi/wire", "mimi/room"},
	"kith/server/servertest/bench":    {"server", "server/servertest", "db", "web/client", "web/api", "mimi", "mimi/mls", "mimi/content", "mimi/identity", "mimi/policy", "mimi/wire", "mimi/room"},
	"kith/web/browsertest":            {"server/servertest/acmetest"},
}

// Pure packages run in the browser as they run in the server. Transitively they must stay clear of the network, the
// database and templates; directly also of the machine and of logging (style: mimi is pure).
var (
	bannedTransitively = []string{"net/http", "crypto/tls", "database/sql", "html/template"}
	bannedDirectly     = []string{"os", "log", "syscall/js"}
)

// topLevel is the frozen listing of the repository's root.
var topLevel = []string{".ci", ".git", ".gitattributes", ".gitignore", "LICENSE", "README.md", "db", "go.mod", "go.sum", "main.go", "mimi", "server", "static", "web"}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func listPackages(t *testing.T, env []string, patterns ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, patterns...)...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", patterns, err, &stderr)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func isPure(path string) bool {
	return path == "kith/web/client" || path == "kith/mimi" || strings.HasPrefix(path, "kith/mimi/") && path != "kith/mimi/internal/vectors"
}

func TestImportsGoDownTheTable(t *testing.T) {
	packages := listPackages(t, nil, "./...")
	packages = append(packages, listPackages(t, []string{"GOOS=js", "GOARCH=wasm"}, "./web/wasm")...)
	for _, p := range packages {
		allowed, known := allowedImports[p.ImportPath]
		if !known {
			t.Errorf("%s is not in the import table: a new package is a row in allowedImports", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if own, ok := strings.CutPrefix(imported, "kith/"); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s must not import %s", p.ImportPath, imported)
			}
			if imported == "syscall/js" && p.ImportPath != "kith/web/wasm" {
				t.Errorf("%s imports syscall/js: only web/wasm may", p.ImportPath)
			}
			database := imported == "database/sql" || strings.HasPrefix(imported, "modernc.org/")
			if database && p.ImportPath != "kith/db" {
				t.Errorf("%s imports %s: only db may", p.ImportPath, imported)
			}
		}
		if isPure(p.ImportPath) {
			checkPure(t, p)
		}
	}
}

func checkPure(t *testing.T, p goPackage) {
	t.Helper()
	for _, dep := range p.Deps {
		if slices.Contains(bannedTransitively, dep) {
			t.Errorf("%s depends on %s", p.ImportPath, dep)
		}
	}
	for _, imported := range p.Imports {
		if slices.Contains(bannedDirectly, imported) {
			t.Errorf("%s imports %s", p.ImportPath, imported)
		}
		if imported == "log/slog" && p.ImportPath != "kith/web/client" {
			t.Errorf("%s imports log/slog", p.ImportPath)
		}
	}
}

func TestTopLevelIsFrozen(t *testing.T) {
	cmd := exec.Command("git", "ls-files", "--full-name", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("not a git checkout, the listing cannot be checked: %v", err)
	}
	seen := map[string]bool{}
	for _, name := range strings.Fields(string(out)) {
		first, _, _ := strings.Cut(name, "/")
		if !seen[first] && !slices.Contains(topLevel, first) {
			t.Errorf("%s is not part of the agreed top level", first)
		}
		seen[first] = true
	}
}

// goFiles calls f for every hand-written Go file of the repository.
func goFiles(t *testing.T, f func(path string, source []byte)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "dist" || strings.HasPrefix(entry.Name(), ".") && path != ".."):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_templ.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f(path, source)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSizes(t *testing.T) {
	const maxFile, maxFunc = 1000, 100
	var lengths []int
	goFiles(t, func(path string, source []byte) {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, source, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		if lines := bytes.Count(source, []byte("\n")); lines > maxFile {
			t.Errorf("%s has %d lines, more than %d", path, lines, maxFile)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := files.Position(f.End()).Line - files.Position(f.Pos()).Line + 1
			lengths = append(lengths, n)
			if n > maxFunc {
				t.Errorf("%s: %s has %d lines, more than %d", path, f.Name.Name, n, maxFunc)
			}
		}
	})
	sort.Ints(lengths)
	t.Logf("%d functions: median %d lines, p95 %d", len(lengths), lengths[len(lengths)/2], lengths[len(lengths)*95/100])
}

func TestExportedNamesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	var folders []string
	goFiles(t, func(path string, source []byte) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		folder := filepath.Dir(path)
		folders = append(folders, folder)
		documented[folder] = documented[folder] || file.Doc != nil
		for _, d := range file.Decls {
			checkDocumented(t, path, d)
		}
	})
	slices.Sort(folders)
	for _, folder := range slices.Compact(folders) {
		if !documented[folder] {
			t.Errorf("%s: the package has no comment", folder)
		}
	}
}

func checkDocumented(t *testing.T, path string, d ast.Decl) {
	t.Helper()
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiverName(d))) {
			t.Errorf("%s: %s has no doc comment", path, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			spec, ok := s.(*ast.TypeSpec)
			if ok && spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
				t.Errorf("%s: %s has no doc comment", path, spec.Name.Name)
			}
		}
	}
}

func receiverName(f *ast.FuncDecl) string {
	expr := f.Recv.List[0].Type
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	if generic, ok := expr.(*ast.IndexExpr); ok {
		expr = generic.X
	}
	if name, ok := expr.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// TestPinnedSQLite: modernc.org/sqlite works only with exactly the libc version that its own go.mod names.
func TestPinnedSQLite(t *testing.T) {
	module := func(args ...string) string {
		out, err := exec.Command("go", append([]string{"list", "-m"}, args...)...).Output()
		if err != nil {
			t.Fatalf("go list -m %v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	goMod, err := os.ReadFile(module("-f", "{{.GoMod}}", "modernc.org/sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	want := "modernc.org/libc " + module("-f", "{{.Version}}", "modernc.org/libc")
	if !bytes.Contains(goMod, []byte(want)) {
		t.Errorf("modernc.org/sqlite's go.mod does not require %q: pin the version it names", want)
	}
}
