package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compiled is a program of testdata, compiled as the engine is.
func compiled(t *testing.T, program string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-gcflags=all=-l", "-o", file, "./testdata/"+program)
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	module, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// A program without lines does what it did: stacks grow, garbage is collected, deferred calls run, panics are recovered.
func TestProgramRunsWithoutLines(t *testing.T) {
	module := compiled(t, "trace")
	changed, err := joinSegments(module, dropLines)
	if err != nil {
		t.Fatal(err)
	}
	if len(changed) < len(module)/2 {
		t.Errorf("%d octets became %d", len(module), len(changed))
	}
	want := "3000 runtime error: index out of range [1] with length 0 runtime error: invalid memory address or nil pointer dereference true\n" +
		"main.named\n500\n1\ndeferred 2\ndeferred 1\ndeferred 0\n"
	for name, module := range map[string][]byte{"as linked": module, "without lines": changed} {
		if got := runModule(t, module); got != want {
			t.Errorf("%s: printed\n%swant\n%s", name, got, want)
		}
	}
}

func runModule(t *testing.T, module []byte) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("there is no node to run WebAssembly")
	}
	file := filepath.Join(t.TempDir(), "program.wasm")
	if err := os.WriteFile(file, module, 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "go_js_wasm_exec")
	out, err := exec.Command(run, file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// funcTableOf returns the table of functions of a module.
func funcTableOf(t *testing.T, module []byte) []byte {
	t.Helper()
	joined, err := joinSegments(module)
	if err != nil {
		t.Fatal(err)
	}
	segments, err := readSegments(sectionOf(t, joined))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segments {
		if at := bytes.Index(s.data, funcTableMagic); at >= 0 {
			return s.data[at:]
		}
	}
	t.Fatal("no table of functions")
	return nil
}

// described is what the runtime finds about a function, and for each table the values with the addresses up to which
// they hold.
type described struct {
	entry, nameOff, args, deferReturn, kind uint32
	tables                                  [8]string
	data                                    [8]uint32
	file, line                              uint32
}

func describe(data []byte) (list []described) {
	u32 := func(at uint64) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
	u64 := func(at uint64) uint64 { return binary.LittleEndian.Uint64(data[at:]) }
	values := func(ref uint32) string {
		at := u64(headerTables) + uint64(ref)
		end := at
		for pairs := 0; ref != 0; pairs++ {
			v, n := binary.Uvarint(data[end:])
			end += uint64(n)
			if v == 0 && pairs > 0 {
				break
			}
			_, n = binary.Uvarint(data[end:])
			end += uint64(n)
		}
		return string(data[at:end])
	}
	for i := range u64(headerCount) {
		f := u64(headerLookup) + uint64(u32(u64(headerLookup)+8*i+4))
		d := described{u32(f), u32(f + 4), u32(f + 8), u32(f + 12), u32(f+40) & 0xffff, [8]string{}, [8]uint32{}, u32(f + funcFile), u32(f + funcLine)}
		if u32(u64(headerLookup)+8*i) != d.entry {
			return nil
		}
		d.tables[7] = values(u32(f + funcStack))
		tables := uint64(u32(f + funcTables))
		for j := range tables {
			d.tables[j] = values(u32(f + funcSize + 4*j))
		}
		for j := range d.data {
			d.data[j] = noData
			if j < int(data[f+funcData]) {
				d.data[j] = u32(f + funcSize + 4*tables + 4*uint64(j))
			}
		}
		list = append(list, d)
	}
	return list
}

// For each function the runtime finds what it found, but for what only traces need.
func TestDropLinesKeepsTheRest(t *testing.T) {
	data := funcTableOf(t, compiled(t, "trace"))
	before := describe(data)
	size := len(data)
	lines, defers := 0, 0
	if err := dropLines([]segment{{0, make([]byte, 100)}, {1000, data}}); err != nil {
		t.Fatal(err)
	}
	after := describe(data)
	if len(before) < 1000 || len(after) != len(before) || len(data) != size {
		t.Fatalf("%d functions became %d", len(before), len(after))
	}
	for i, want := range before {
		if want.line != 0 {
			lines++
		}
		if want.data[dataDefers] != noData {
			defers++
		}
		want.file, want.line = 0, 0
		for _, dropped := range []int{0, 2, 3} {
			want.tables[dropped] = ""
		}
		for _, dropped := range []int{3, 5, 6, 7} {
			want.data[dropped] = noData
		}
		if after[i] != want {
			t.Fatalf("function %d: %+v, want %+v", i, after[i], want)
		}
	}
	if lines < len(before)/2 || defers == 0 {
		t.Errorf("of %d functions %d had lines, %d deferred calls", len(before), lines, defers)
	}
}

func TestDropLinesRefuses(t *testing.T) {
	data := funcTableOf(t, compiled(t, "trace"))
	if err := dropLines([]segment{{0, data[1:]}}); err != errFuncTable {
		t.Errorf("no table: %v", err)
	}
	for _, at := range []int{headerCount, headerUnits, headerTables, headerLookup} {
		bad := bytes.Clone(data)
		binary.LittleEndian.PutUint64(bad[at:], uint64(len(data)+1))
		if err := dropLines([]segment{{0, bad}}); err != errFuncTable {
			t.Errorf("offset %d: %v", at, err)
		}
	}
	for _, n := range []int{8, headerLookup, int(binary.LittleEndian.Uint64(data[headerTables:])) + 10, int(binary.LittleEndian.Uint64(data[headerLookup:])) + 1000} {
		if err := dropLines([]segment{{0, bytes.Clone(data[:n])}}); err != errFuncTable {
			t.Errorf("cut to %d octets: %v", n, err)
		}
	}
}
