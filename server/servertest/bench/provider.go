package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"kith/mimi"
	"kith/server"
	"kith/server/servertest"
)

// providerState is what a provider's process is told, in a file.
type providerState struct {
	Domain    string
	Data      string
	Web       string // address for devices, without TLS
	Peers     string // address for other providers
	Addresses map[string]string
	Cert, Key string // files
	Roots     string // file
	Profile   string
}

// provider is a provider in a process of its own.
type provider struct {
	domain   mimi.ProviderID
	url      string
	state    string
	cmd      *exec.Cmd
	accounts []servertest.Account
}

// internet is some providers, with names and certificates, on loopback addresses.
type internet struct {
	dir       string
	ca        *servertest.CA
	addresses map[string]string
	providers []*provider
}

func newInternet(n, accounts int, profile string) (*internet, error) {
	dir, err := os.MkdirTemp("", "kith-bench")
	if err != nil {
		return nil, err
	}
	ca, err := servertest.NewCA(time.Now)
	if err != nil {
		return nil, err
	}
	w := &internet{dir: dir, ca: ca, addresses: map[string]string{}}
	var states []*providerState
	for i := range n {
		s, err := w.prepare(i, accounts)
		if err != nil {
			return w, err
		}
		if i == 0 {
			s.Profile = profile
		}
		states = append(states, s)
	}
	for i, s := range states {
		s.Addresses = w.addresses
		if err := w.providers[i].save(s); err != nil {
			return w, err
		}
		if err := w.providers[i].start(); err != nil {
			return w, err
		}
	}
	return w, nil
}

// prepare makes everything a provider needs before it starts.
func (w *internet) prepare(i, accounts int) (*providerState, error) {
	domain := fmt.Sprintf("p%d.example", i)
	id, err := mimi.NewProviderID(domain)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(w.dir, domain)
	s := &providerState{Domain: domain, Data: filepath.Join(dir, "data"), Cert: filepath.Join(dir, "cert.pem"),
		Key: filepath.Join(dir, "key.pem"), Roots: filepath.Join(w.dir, "roots.pem")}
	var names []string
	for k := range accounts {
		names = append(names, "u"+strconv.Itoa(k))
	}
	p := &provider{domain: id, state: filepath.Join(dir, "state.json")}
	if p.accounts, err = servertest.Accounts(context.Background(), s.Data, id, time.Now(), names...); err != nil {
		return nil, err
	}
	cert, err := w.ca.Issue(domain, "mimi."+domain)
	if err == nil {
		err = writePair(cert, s)
	}
	if err == nil {
		err = os.WriteFile(s.Roots, w.ca.PEM(), 0o600)
	}
	for _, address := range []*string{&s.Web, &s.Peers} {
		if err == nil {
			*address, err = freeAddress()
		}
	}
	p.url = "http://" + s.Web
	w.addresses[domain+":443"], w.addresses["mimi."+domain+":443"] = s.Peers, s.Peers
	w.providers = append(w.providers, p)
	return s, err
}

func writePair(cert *tls.Certificate, s *providerState) error {
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(s.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600),
		os.WriteFile(s.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
}

func (p *provider) save(s *providerState) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(p.state, data, 0o600)
}

func (p *provider) start() error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.Command(path, "-role", "provider", "-state", p.state)
	p.cmd.Stdout, p.cmd.Stderr = os.Stdout, os.Stderr
	if err := p.cmd.Start(); err != nil {
		return err
	}
	return waitReady(p.url)
}

func (p *provider) stop() {
	if p.cmd != nil {
		p.cmd.Process.Signal(os.Interrupt)
		p.cmd.Wait()
		p.cmd = nil
	}
}

func (p *provider) process() process { return process(p.cmd.Process.Pid) }

// metric reads one of the provider's figures.
func (p *provider) metric(name string) (float64, error) {
	resp, err := http.Get(p.url + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, errors.New("no metric " + name)
}

func (w *internet) close() {
	for _, p := range w.providers {
		p.stop()
	}
	os.RemoveAll(w.dir)
}

// provide is the process of a provider. Devices reach it without TLS, so that it is the federation that is measured.
func provide(o options) error {
	data, err := os.ReadFile(o.state)
	if err != nil {
		return err
	}
	var st providerState
	if err := json.Unmarshal(data, &st); err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if data, err = os.ReadFile(st.Roots); err != nil || !pool.AppendCertsFromPEM(data) {
		return errors.Join(err, errors.New("no roots"))
	}
	s, err := server.New(context.Background(), server.Config{Domain: st.Domain, Data: st.Data, Listen: "127.0.0.1:443", TLSCert: st.Cert, TLSKey: st.Key,
		PeerRoots: pool, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		PeerDial: func(ctx context.Context, network, address string) (net.Conn, error) {
			to, ok := st.Addresses[address]
			if !ok {
				return nil, errors.New("no such host")
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		}})
	if err != nil {
		return err
	}
	stop, err := listen(s, st)
	if err != nil {
		return err
	}
	if st.Profile != "" {
		f, err := os.Create(st.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	interrupted := make(chan os.Signal, 1)
	notifyInterrupt(interrupted)
	<-interrupted
	return errors.Join(stop.Close(), s.Close(context.Background()))
}

// listen serves devices at one address and providers at the other.
func listen(s *server.Server, st providerState) (io.Closer, error) {
	h := &http.Server{Handler: s.Handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	web, err := net.Listen("tcp", st.Web)
	if err != nil {
		return nil, err
	}
	peers, err := net.Listen("tcp", st.Peers)
	if err != nil {
		return nil, err
	}
	go h.Serve(web)
	go h.Serve(tls.NewListener(peers, s.TLSConfig()))
	return h, nil
}
