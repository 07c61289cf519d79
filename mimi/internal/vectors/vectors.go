// Package vectors finds published test vectors for the tests of mimi/... It is imported by tests only.
//
// The files are not part of the repository. They are looked for in $VECTORS, then in a directory shared/vectors
// beside any directory above the package under test, then in the module cache (one published module carries most of
// the MLS files). A file that is nowhere skips the test with the reason printed; with VECTORS_REQUIRED=1 its absence is
// a failure, with VECTORS_REQUIRED=module that of a file which the module carries.
package vectors

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Open returns the content of a vector file such as "mls/key-schedule.json".
func Open(t testing.TB, name string) []byte {
	t.Helper()
	for _, dir := range directories() {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err == nil {
			return data
		}
	}
	if dir := moduleDir(); dir != "" {
		data, err := os.ReadFile(filepath.Join(dir, moduleFolder, path.Base(name)))
		if err == nil {
			return data
		}
	}
	if required := os.Getenv("VECTORS_REQUIRED"); required == "1" || required == "module" && inModule(name) {
		t.Fatalf("vectors: %s not found and VECTORS_REQUIRED=%s", name, required)
	}
	t.Skipf("vectors: %s not found in $VECTORS, a shared/vectors directory or the module cache", name)
	return nil
}

// inModule reports whether the published module carries the file.
func inModule(name string) bool {
	return path.Dir(name) == "mls" && name != "mls/messages.json" && name != "mls/passive-client-random.json"
}

// Load decodes a JSON vector file into v.
func Load(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(Open(t, name), v); err != nil {
		t.Fatalf("vectors: %s: %v", name, err)
	}
}

// Suites counts the entries of a vector file by their cipher suite and by whether they are run, and reports all of it
// at the end, so that what was left out is seen.
type Suites struct{ run, unsupported, omitted map[uint16]int }

// Add counts one entry and returns whether it is to be run: if its suite is supported and, where entries of that suite
// are slow, the tests are not to be short or it is the first one.
func (s *Suites) Add(suite uint16, supported, slow bool) bool {
	if s.run == nil {
		s.run, s.unsupported, s.omitted = map[uint16]int{}, map[uint16]int{}, map[uint16]int{}
	}
	switch {
	case !supported:
		s.unsupported[suite]++
		return false
	case slow && testing.Short() && s.run[suite] > 0:
		s.omitted[suite]++
		return false
	}
	s.run[suite]++
	return true
}

// Report prints the counts and fails if nothing was run.
func (s *Suites) Report(t testing.TB) {
	t.Helper()
	t.Logf("vectors: entries run: %s; suite not implemented: %s; left out by -short: %s",
		list(s.run), list(s.unsupported), list(s.omitted))
	if len(s.run) == 0 {
		t.Error("vectors: no entry was run")
	}
}

// list prints counts in the order of the suites.
func list(counts map[uint16]int) string {
	var all []string
	for _, suite := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%d of suite 0x%04x", counts[suite], suite))
	}
	if all == nil {
		return "none"
	}
	return strings.Join(all, ", ")
}

// directories lists where vector files may lie, most explicit first.
func directories() []string {
	var dirs []string
	if dir := os.Getenv("VECTORS"); dir != "" {
		dirs = append(dirs, dir)
	}
	dir, err := os.Getwd()
	if err != nil {
		return dirs
	}
	for {
		dirs = append(dirs, filepath.Join(dir, "shared", "vectors"))
		parent := filepath.Dir(dir)
		if parent == dir {
			return dirs
		}
		dir = parent
	}
}
