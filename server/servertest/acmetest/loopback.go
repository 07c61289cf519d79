//go:build linux || darwin || freebsd

package acmetest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Hosts are providers' names on this machine: each is at a loopback address of its own, 127.0.0.2 and so on, with the
// usual ports, and its certificates come from the authority.
type Hosts struct {
	*CA
	Roots string // what SSL_CERT_FILE is to be

	address map[string]string
}

// Loopback starts an authority and makes names known to this machine until the test ends. The domains are of this process
// alone (see [Hosts.Domain]), and of all processes one at a time has the ports. Where this machine does not let a test do
// that, the test is skipped, or fails if E2E_REQUIRED=1.
func Loopback(t testing.TB, names ...string) *Hosts {
	t.Helper()
	alone(t)
	h := &Hosts{address: map[string]string{}}
	for i, name := range names {
		address := fmt.Sprintf("127.0.0.%d", i+2)
		for _, port := range []string{"443", "80"} {
			l, err := net.Listen("tcp", address+":"+port)
			if err != nil {
				mustHave(t, "the usual ports of loopback addresses: "+err.Error())
			}
			_ = l.Close()
		}
		h.address[h.Domain(name)] = address
	}
	h.CA = Start(t, Options{Hosts: h.address, TLSPort: 443, HTTPPort: 80})
	h.Roots = h.RootsFile(t)
	nameHosts(t, h.HostsFile())
	return h
}

// Domain is the domain of a name.
func (h *Hosts) Domain(name string) string { return fmt.Sprintf("%s-%d.test", name, os.Getpid()) }

// Address is where a domain is.
func (h *Hosts) Address(domain string) string { return h.address[domain] }

// Domains are all of them, with the address of each.
func (h *Hosts) Domains() map[string]string { return h.address }

// Program is how an operator starts a provider who has a name and nothing else.
func (h *Hosts) Program(t testing.TB, binary, name string) *Program {
	domain := h.Domain(name)
	at := h.address[domain]
	return &Program{Binary: binary, Data: t.TempDir(), Log: filepath.Join(t.TempDir(), "log"), Env: []string{"SSL_CERT_FILE=" + h.Roots},
		Args:  []string{"-domain", domain, "-listen", at + ":443", "-listen-http", at + ":80", "-acme-directory", h.DirectoryURL},
		Ready: "https://" + domain + "/readyz", Client: h.Client()}
}

// Client is an HTTP client that believes the authority.
func (h *Hosts) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.Pool()}, DisableKeepAlives: true}}
}

// alone waits until no other process tests with the ports and with the names of this machine.
func alone(t testing.TB) {
	t.Helper()
	name := filepath.Join(os.TempDir(), "kith-loopback.lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		mustHave(t, name+": "+err.Error())
	}
	t.Cleanup(func() { _ = f.Close() }) // which gives the lock back
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		mustHave(t, name+": "+err.Error())
	}
}

// mustHave skips a test of what this machine does not offer, unless CI insists.
func mustHave(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("E2E_REQUIRED") == "1" {
		t.Fatal("E2E_REQUIRED=1, but this machine does not let a test use " + what)
	}
	t.Skip("this machine does not let a test use " + what)
}

// nameHosts adds lines to /etc/hosts until the test ends.
func nameHosts(t testing.TB, lines string) {
	t.Helper()
	before, err := os.ReadFile("/etc/hosts")
	if err == nil {
		err = os.WriteFile("/etc/hosts", slices.Concat(before, []byte("\n"+lines)), 0o644)
	}
	if err != nil {
		mustHave(t, "/etc/hosts: "+err.Error())
	}
	t.Cleanup(func() {
		now, err := os.ReadFile("/etc/hosts")
		if err == nil {
			err = os.WriteFile("/etc/hosts", []byte(strings.Replace(string(now), "\n"+lines, "", 1)), 0o644)
		}
		if err != nil {
			t.Errorf("names left in /etc/hosts: %v", err)
		}
	})
}

// Program is a provider that runs as a process of its own.
type Program struct {
	Binary string   // see [Build]
	Data   string   // its data directory
	Log    string   // the file that it logs to
	Args   []string // of kith serve, but for the data directory
	Env    []string // besides the environment of the test
	Ready  string   // a URL that answers 200 when it is ready
	Client *http.Client

	mu  sync.Mutex
	cmd *exec.Cmd
}

// Build compiles the program into a directory.
func Build(dir string) (binary string, err error) {
	binary = filepath.Join(dir, "kith")
	if out, err := exec.Command("go", "build", "-o", binary, "kith").CombinedOutput(); err != nil {
		return "", fmt.Errorf("acmetest: building kith: %w\n%s", err, out)
	}
	return binary, nil
}

// Start starts it and waits until it is ready.
func (p *Program) Start(within time.Duration) error {
	log, err := os.OpenFile(p.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.Binary, append([]string{"serve", "-data", p.Data}, p.Args...)...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return err
	}
	p.mu.Lock()
	p.cmd = cmd
	p.mu.Unlock()
	var last error
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var resp *http.Response
		if resp, last = p.Client.Get(p.Ready); last != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		last = errors.New(resp.Status)
	}
	return fmt.Errorf("acmetest: the server did not start: %w\n%s", last, p.Logged(30))
}

// Kill ends it as a power cut does.
func (p *Program) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
	p.cmd = nil
}

// Logged are the last lines of its log.
func (p *Program) Logged(lines int) string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(string(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
