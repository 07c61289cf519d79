package main

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The table of P-256 goes where only X25519 is used, and stays where P-256 is.
func TestMultiplesGoIfUnused(t *testing.T) {
	start, err := hex.DecodeString(multiplesStart)
	if err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]struct {
		kept   bool
		prints string
	}{
		"exchange": {false, "32 <nil>\n"},
		"p256": {true, "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
			"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5\n"},
	} {
		module := compiled(t, program)
		changed, err := joinSegments(module, dropMultiples)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(module, start) {
			t.Errorf("%s: there was no table", program)
		}
		if kept := bytes.Contains(changed, start); kept != want.kept {
			t.Errorf("%s: table kept: %v, want %v", program, kept, want.kept)
		}
		if got := runModule(t, changed); got != want.prints {
			t.Errorf("%s: printed %q, want %q", program, got, want.prints)
		}
	}
}

// A table that is not the one we know stays.
func TestMultiplesOfAnotherVersionStay(t *testing.T) {
	joined, err := joinSegments(compiled(t, "exchange"))
	if err != nil {
		t.Fatal(err)
	}
	start, err := hex.DecodeString(multiplesStart)
	if err != nil {
		t.Fatal(err)
	}
	joined[bytes.Index(joined, start)+multiplesSize-1] ^= 1
	changed, err := joinSegments(joined, dropMultiples)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(changed, joined) {
		t.Error("a changed table was dropped")
	}
}

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
