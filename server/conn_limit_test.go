package server

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestConnectionsThatSayNothingAreBounded: who opens connections and says nothing gets a bounded number of them, before
// any handshake, and those who have something to say are served all the same once there is room.
func TestConnectionsThatSayNothingAreBounded(t *testing.T) {
	cert, err := selfSigned(Config{Domain: "localhost", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }), slog.New(slog.DiscardHandler))
	go func() {
		_ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{"h2", "http/1.1"}}))
	}()
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	get := func() error {
		resp, err := client.Get("https://" + l.Addr().String())
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return err
	}
	var silent []net.Conn
	cut := 0
	for range maxGreeting + 20 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	for _, c := range silent[maxGreeting:] {
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == io.EOF || err != nil && !isTimeout(err) {
			cut++
		}
	}
	if cut != 20 {
		t.Errorf("%d connections beyond the limit were closed", cut)
	}
	if get() == nil {
		t.Error("the limit counts none of them")
	}
	for _, c := range silent {
		c.Close()
	}
	end := time.Now().Add(10 * time.Second)
	for get() != nil {
		if time.Now().After(end) {
			t.Fatal("nobody is served any more")
		}
	}
	// Those that were served and stay are not counted among the silent, with HTTP/2 either.
	var open []*http.Transport
	defer func() {
		for _, transport := range open {
			transport.CloseIdleConnections()
		}
	}()
	for i := range 2 * maxGreeting {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: i%2 == 0}
		open, client = append(open, transport), &http.Client{Transport: transport}
		if err := get(); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
