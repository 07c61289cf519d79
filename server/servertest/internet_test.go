package servertest_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/servertest"
)

// pair connects two places.
func pair(t *testing.T, n *servertest.Internet) (here, there net.Conn) {
	t.Helper()
	port, err := n.Listen("there", "there.example")
	must(t, err)
	defer port.Close()
	here, err = n.Dial(ctx, "here", "there.example:443")
	must(t, err)
	there, err = port.Accept()
	must(t, err)
	return here, there
}

func TestInternetFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := servertest.NewInternet()
		link := n.Link("here", "there")
		here, there := pair(t, n)
		buffer := make([]byte, 10)
		start := time.Now()
		link.Slow(time.Second, time.Second, 10)
		_, err := here.Write([]byte("0123456789"))
		must(t, err)
		if _, err := io.ReadFull(there, buffer); err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("slow link: %v after %v", err, time.Since(start))
		}
		link.Heal()
		link.Stall()
		_, err = here.Write([]byte("held"))
		must(t, err)
		must(t, there.SetReadDeadline(time.Now().Add(time.Hour)))
		if _, err := there.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("stalled link: %v", err)
		}
		must(t, there.SetReadDeadline(time.Time{}))
		time.AfterFunc(time.Minute, link.Heal)
		if got, err := there.Read(buffer); err != nil || string(buffer[:got]) != "held" {
			t.Errorf("healed link: %q %v", buffer[:got], err)
		}
		must(t, here.Close())
		if _, err := there.Read(buffer); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
		if _, err := there.Write(buffer); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("to nobody: %v", err)
		}

		here, there = pair(t, n)
		link.Cut()
		for _, c := range []net.Conn{here, there} {
			if _, err := c.Read(buffer); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("cut link: %v", err)
			}
		}
		port, err := n.Listen("there", "there.example")
		must(t, err)
		if _, err := n.Dial(ctx, "here", "there.example:443"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial over a cut link: %v", err)
		}
		link.Heal()
		must(t, port.Close())
		if _, err := n.Dial(ctx, "here", "there.example:443"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial where nobody listens: %v", err)
		}
	})
}

// TestTLSCloses: the farewell of TLS is written when nobody reads any more.
func TestTLSCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, err := servertest.NewCA(time.Now)
		must(t, err)
		cert, err := ca.Certificate("there.example")
		must(t, err)
		here, there := pair(t, servertest.NewInternet())
		server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{*cert}})
		client := tls.Client(here, &tls.Config{RootCAs: ca.Roots(), ServerName: "there.example"})
		done := make(chan error, 1)
		go func() { done <- server.Handshake() }()
		must(t, client.Handshake())
		must(t, <-done)
		start := time.Now()
		must(t, server.Close())
		must(t, client.Close())
		if d := time.Since(start); d != 0 {
			t.Errorf("closing took %v", d)
		}
	})
}
