// Command bench measures a real server from outside: it builds the kith binary, starts it on an empty data directory, and
// drives it from a process of its own over loopback websockets with real MLS groups. It prints a table of figures beside
// what the house wants of them; nothing in it is a test.
//
//	go run ./server/servertest/bench [-short] [-federation] [-only pairs,latency,…] [-cpuprofile FILE]
//
// What is counted. A message counts when it has reached the last device of its room; every device checks that cursors
// increase and that it got every message. Throughput messages are encrypted before the clock starts, because one driver
// would otherwise spend more time in MLS than the server on everything; those of the latency run are encrypted live.
// CPU is the server process' user and system time from /proc, which other work on the machine disturbs least.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
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

const domain = "bench.example"

// options are the command line, shared by the three processes.
type options struct {
	short   bool
	only    string
	profile string
	role    string
	state   string

	federation bool
	minutes    int
}

// shared is what the parent tells the driver, in a file.
type shared struct {
	URL    string
	Server int // process id
	Tokens map[string]string
	Users  map[string]string
	Idle   []idleDevice // registered before the server was started anew
}

// idleDevice is a device that will do nothing but be there.
type idleDevice struct {
	Account int
	Client  string
	Key     []byte
}

func main() {
	var o options
	flag.BoolVar(&o.short, "short", false, "small and quick, for CI")
	flag.StringVar(&o.only, "only", "", "comma-separated phases: idle, pairs, latency, group50, group500")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of the server to `file` (runs the server inside this binary)")
	flag.BoolVar(&o.federation, "federation", false, "measure providers that share rooms; the phases are then join, pair, latency, spread, fanout, catchup")
	flag.IntVar(&o.minutes, "minutes", 10, "how long the fanout phase looks at the memory of the hub")
	flag.StringVar(&o.role, "role", "", "internal")
	flag.StringVar(&o.state, "state", "", "internal")
	flag.Parse()
	var err error
	switch o.role {
	case "":
		if o.federation {
			err = federate(o)
		} else {
			err = parent(o)
		}
	case "provider":
		err = provide(o)
	case "server":
		err = serve(o)
	case "register":
		err = withDriver(o, (*driver).register)
	case "driver":
		err = withDriver(o, (*driver).drive)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parent prepares everything, starts server and driver, and waits for the driver.
func parent(o options) error {
	dir, err := os.MkdirTemp("", "kith-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := prepare(filepath.Join(dir, "data"), names())
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	s.URL = "http://" + address
	o.state = filepath.Join(dir, "state.json")
	// Registering devices leaves garbage behind, so the server that is measured is another one than that which did it.
	for _, role := range []string{"register", "driver"} {
		if err := s.run(o, role, dir, address); err != nil {
			return err
		}
	}
	return nil
}

// run starts a server, lets a driver do its part, and stops the server.
func (s *shared) run(o options, role, dir, address string) error {
	server, err := startServer(o, dir, address)
	if err != nil {
		return err
	}
	defer func() {
		server.Process.Signal(os.Interrupt)
		server.Wait()
	}()
	s.Server = server.Process.Pid
	if err := waitReady(s.URL); err != nil {
		return err
	}
	if err := s.save(o.state); err != nil {
		return err
	}
	driver, err := self(role, o)
	if err != nil {
		return err
	}
	if err := driver.Run(); err != nil {
		return err
	}
	return s.load(o.state)
}

func (s *shared) save(path string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

func (s *shared) load(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, s)
}

// names are the accounts that the phases need.
func names() []string {
	var list []string
	for i := range 550 {
		list = append(list, "u"+strconv.Itoa(i))
	}
	return list
}

func prepare(data string, names []string) (*shared, error) {
	provider, err := mimi.NewProviderID(domain)
	if err != nil {
		return nil, err
	}
	accounts, err := servertest.Accounts(context.Background(), data, provider, time.Now(), names...)
	if err != nil {
		return nil, err
	}
	s := &shared{Tokens: make(map[string]string), Users: make(map[string]string)}
	for i, name := range names {
		s.Tokens[name], s.Users[name] = accounts[i].Token, accounts[i].User.String()
	}
	return s, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// startServer builds and starts the kith binary; for a profile the server runs inside this one instead.
func startServer(o options, dir, address string) (cmd *exec.Cmd, err error) {
	data := filepath.Join(dir, "data")
	if o.profile != "" {
		if cmd, err = self("server", o); err != nil {
			return nil, err
		}
		cmd.Args = append(cmd.Args, "-state", data+"="+address)
	} else {
		binary := filepath.Join(dir, "kith")
		if err := build(binary); err != nil {
			return nil, err
		}
		cmd = exec.Command(binary, "-dev", "-domain", domain, "-data", data, "-listen", address, "-log-level", "warn")
	}
	cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
	return cmd, cmd.Start()
}

// build makes the binary as it is shipped, unless it is there.
func build(binary string) error {
	if _, err := os.Stat(binary); err == nil {
		return nil
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "kith")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building kith: %w", err)
	}
	return nil
}

// self is this program again, in another role.
func self(role string, o options) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"-role", role, "-only", o.only, "-cpuprofile", o.profile, "-short=" + strconv.FormatBool(o.short)}
	if role != "server" {
		args = append(args, "-state", o.state)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd, nil
}

// serve is the server with a CPU profile.
func serve(o options) error {
	data, address, _ := strings.Cut(o.state, "=")
	f, err := os.Create(o.profile)
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := server.New(context.Background(), server.Config{Domain: domain, Data: data, Listen: address, Dev: true})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go http.Serve(l, s.Handler())
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	interrupted := make(chan os.Signal, 1)
	notifyInterrupt(interrupted)
	<-interrupted
	pprof.StopCPUProfile()
	return s.Close(context.Background())
}

func waitReady(url string) error {
	var last error
	for range 100 {
		resp, err := http.Get(url + "/readyz")
		if err == nil {
			line, _ := bufio.NewReader(resp.Body).ReadString('\n')
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			last = errors.New("the server is not ready: " + line)
		} else {
			last = err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return last
}
