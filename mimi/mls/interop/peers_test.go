//go:build !js

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// implementation is a library whose clients take part.
type implementation struct {
	name      string
	version   string
	inProcess bool
	command   []string // of a peer in a process of its own
	suites    []uint16
	ops       []string
}

// has reports whether the peer's hello lists an option.
func (i *implementation) has(op string) bool { return slices.Contains(i.ops, op) }

func (i *implementation) start() (peer, error) {
	if i.inProcess {
		return new(ours), nil
	}
	return startProcess(i.command)
}

// introduce asks an implementation what it is.
func (i *implementation) introduce() error {
	p, err := i.start()
	if err != nil {
		return err
	}
	hello, err := p.do(request{Op: "hello"})
	if err != nil {
		return err
	}
	if hello.Peer != i.name {
		return fmt.Errorf("the peer of %s calls itself %q", i.name, hello.Peer)
	}
	i.version, i.suites, i.ops = hello.Version, hello.Suites, hello.Ops
	return p.close()
}

// pool keeps started peers, since a new client costs nothing and a new process of some of them much.
type pool struct{ idle map[*implementation][]peer }

func (p *pool) take(i *implementation) (peer, error) {
	if list := p.idle[i]; len(list) > 0 {
		p.idle[i] = list[:len(list)-1]
		return list[len(list)-1], nil
	}
	return i.start()
}

// put takes back a peer, unless it has died.
func (p *pool) put(i *implementation, one peer) {
	if _, err := one.do(request{Op: "hello"}); err == nil {
		p.idle[i] = append(p.idle[i], one)
	}
}

func (p *pool) close(t *testing.T) {
	for i, list := range p.idle {
		for _, one := range list {
			if err := one.close(); err != nil {
				t.Errorf("%s does not end well: %v", i.name, err)
			}
		}
	}
}

// absentError says why a peer cannot be had on this machine.
type absentError struct{ why string }

func (e absentError) Error() string { return e.why }

// builders make the peers' programs in a folder and return the command that starts one.
var builders = []struct {
	name  string
	build func(dir string) ([]string, error)
}{
	{"mls-go", buildMLSGo},
	{"ts-mls", buildTSMLS},
	{"openmls", func(dir string) ([]string, error) { return buildRust(dir, "openmls") }},
	{"mls-rs", func(dir string) ([]string, error) { return buildRust(dir, "mls-rs") }},
}

// run runs a tool and puts what it said into the error.
func run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// need reports that a tool is missing.
func need(tools ...string) error {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return absentError{tool + " is not installed"}
		}
	}
	return nil
}

// fetched turns a failed download into absence: a machine without network still runs the rest.
func fetched(err error) error {
	if err != nil {
		return absentError{err.Error()}
	}
	return nil
}

func buildMLSGo(dir string) ([]string, error) {
	if err := fetched(run("mlsgo", "go", "mod", "download")); err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "mlsgo")
	return []string{program}, run("mlsgo", "go", "build", "-o", program, ".")
}

// buildTSMLS installs what package-lock.json pins beside a copy of the peer, once for every state of the lock.
func buildTSMLS(dir string) ([]string, error) {
	if err := need("node", "npm"); err != nil {
		return nil, err
	}
	if run(".", "node", "--eval", "process.exit(globalThis.crypto?.subtle ? 0 : 1)") != nil {
		return nil, absentError{"this node has no WebCrypto: version 20 or later is needed"}
	}
	installed := filepath.Join(dir, "installed-lock.json")
	for _, name := range []string{"package.json", "package-lock.json", "peer.js"} {
		if err := copyFile(filepath.Join("ts", name), filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	lock, err := os.ReadFile(filepath.Join("ts", "package-lock.json"))
	if err != nil {
		return nil, err
	}
	if old, err := os.ReadFile(installed); err != nil || !bytes.Equal(old, lock) {
		if err := fetched(run(dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")); err != nil {
			return nil, err
		}
		if err := os.WriteFile(installed, lock, 0o600); err != nil {
			return nil, err
		}
	}
	return []string{"node", filepath.Join(dir, "peer.js")}, nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func buildRust(dir, library string) ([]string, error) {
	if err := need("cargo"); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join("rust", "Cargo.toml")); err != nil {
		return nil, absentError{"this tree has no Rust peer"}
	}
	if err := fetched(run("rust", "cargo", "fetch", "--locked")); err != nil {
		return nil, err
	}
	target := filepath.Join(filepath.Dir(dir), "rust") // one for both libraries
	if err := run("rust", "cargo", "build", "--locked", "--release", "--offline", "--target-dir", target); err != nil {
		return nil, err
	}
	return []string{filepath.Join(target, "release", "peer"), library}, nil
}

// buildFolder is where peers are built: a folder that stays, as some take minutes to compile.
func buildFolder(name string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	if given := os.Getenv("INTEROP_CACHE"); given != "" {
		cache = given
	}
	dir := filepath.Join(cache, "kith-interop", name)
	return dir, os.MkdirAll(dir, 0o700)
}

// wanted reports whether a peer is to take part and whether it must: INTEROP_PEERS lists those that are tried ("all"
// is a list; without it mls-go alone, which needs nothing but Go), INTEROP_REQUIRED those whose absence is a failure.
func wanted(name string) (try, must bool) {
	must = slices.Contains(strings.Fields(os.Getenv("INTEROP_REQUIRED")), name)
	list := []string{"mls-go"}
	if peers := os.Getenv("INTEROP_PEERS"); peers != "" {
		list = strings.Fields(peers)
	}
	return must || slices.Contains(list, name) || slices.Contains(list, "all"), must
}

// quick reports whether only one suite is to be run: on demand, and where nobody asked for peers at all.
func quick() bool {
	return os.Getenv("INTEROP_QUICK") != "" || os.Getenv("INTEROP_PEERS") == ""
}

// prepare builds and asks a peer, or skips the test with the reason.
func prepare(t *testing.T, name string, build func(dir string) ([]string, error)) *implementation {
	t.Helper()
	try, must := wanted(name)
	if !try {
		t.Skipf("%s was not asked for: INTEROP_PEERS=%s asks for it", name, name)
	}
	dir, err := buildFolder(name)
	if err != nil {
		t.Fatal(err)
	}
	command, err := build(dir)
	var absent absentError
	if errors.As(err, &absent) && !must {
		t.Skipf("%s is left out: %v", name, absent)
	}
	if err != nil {
		t.Fatal(err)
	}
	i := &implementation{name: name, command: command}
	if err := i.introduce(); err != nil {
		t.Fatal(err)
	}
	return i
}
