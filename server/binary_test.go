package server

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kith/server/servertest/acmetest"
)

// TestBinaryAutomaticTLS starts the program as an operator does who has a name and nothing else. The authority is one
// that only SSL_CERT_FILE makes known, and the address one of several of this machine.
func TestBinaryAutomaticTLS(t *testing.T) {
	const address = "127.0.0.2"
	s := newACMESite(t, acmetest.Options{Hosts: map[string]string{acmeDomain: address}})
	s.cfg.Listen = strings.Replace(s.cfg.Listen, "127.0.0.1", address, 1)
	probe, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		t.Skipf("this machine has no %s: %v", address, err)
	}
	probe.Close()
	binary := filepath.Join(t.TempDir(), "kith")
	if out, err := exec.Command("go", "build", "-o", binary, "kith").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := exec.Command(binary, "-domain", acmeDomain, "-data", s.cfg.Data, "-listen", s.cfg.Listen,
		"-acme-directory", s.ca.DirectoryURL, "-acme-email", "admin@"+acmeDomain)
	server.Env = append(os.Environ(), "SSL_CERT_FILE="+s.ca.RootsFile(t))
	var stderr bytes.Buffer
	server.Stderr = &stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	s.secured()
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if strings.Contains(stderr.String(), "WARN") {
		t.Errorf("log: %s", &stderr)
	}
}

// TestBinary runs the program as its operator does: exit status, one line on stderr, SIGTERM.
func TestBinary(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "kith")
	if out, err := exec.Command("go", "build", "-o", binary, "kith").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := filepath.Join(t.TempDir(), "data")
	run := func(env string, args ...string) (code int, stdout, stderr string) {
		t.Helper()
		cmd := exec.Command(binary, args...)
		var o, e bytes.Buffer
		cmd.Stdout, cmd.Stderr = &o, &e
		if env != "" {
			cmd.Env = append(os.Environ(), env)
		}
		var exit *exec.ExitError
		if err := cmd.Run(); errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		return code, o.String(), e.String()
	}
	for _, c := range []struct {
		env  string
		args string
		code int
		says string
	}{
		{"", "version", 0, "kith "},
		{"", "version -json", 0, `"version":`},
		{"", "-help", 0, "kith setup-link"},
		{"", "frobnicate", 2, "no command"},
		{"", "-frobnicate", 2, "not defined"},
		{"", "serve -domain localhost", 2, "automatic TLS"},
		{"KITH_DOMAIN=localhost", "", 2, "automatic TLS"},
		{"KITH_DEV=perhaps", "", 2, "KITH_DEV"},
		{"", "-log-level loud -dev", 2, "-log-level"},
		{"", "user", 2, "no command"},
		{"", "user list -data " + dir, 1, "there is no kith in"},
		{"", "-domain a.example -tls-cert no -tls-key no", 1, "no such file"},
		{"", "setup-link -data /dev/null/x", 1, "data directory"},
	} {
		code, stdout, stderr := run(c.env, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stdout+stderr, c.says) || c.code != 0 && (stdout != "" || strings.Count(stderr, "\n") != 1) {
			t.Errorf("%s kith %s: %d\n%s%s", c.env, c.args, code, stdout, stderr)
		}
	}

	server := exec.Command(binary, "-dev", "-data", dir, "-listen", "127.0.0.1:0")
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	link := strings.TrimSpace(line[strings.Index(line, "http://"):])
	if resp, err := http.Get(link); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("setup link: %v", err)
	}
	code, stdout, stderr := run("KITH_DATA="+dir, "setup-link")
	if code != 0 || stderr != "" || strings.Count(stdout, "\n") != 1 || !strings.HasPrefix(stdout, link[:strings.Index(link, "/setup/")]) {
		t.Errorf("setup-link: %d %q %q", code, stdout, stderr)
	}
	if code, _, stderr := run("", "-dev", "-data", dir, "-listen", "127.0.0.1:0"); code != 1 || !strings.Contains(stderr, "in use by another process") {
		t.Errorf("second server: %d %q", code, stderr)
	}
	begin := time.Now()
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil || time.Since(begin) > 10*time.Second {
		t.Errorf("SIGTERM: %v after %v", err, time.Since(begin))
	}
}
