package server

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// listener is a messaging side that notes whom it was told to sign out.
type listener struct {
	chat
	signedOut []string
}

func (l *listener) SignOutUser(name string) { l.signedOut = append(l.signedOut, name) }

func TestDisabledFromTheCommandLine(t *testing.T) {
	s := newSite(t)
	alice := s.withAdmin()
	s.visitor().join(alice.invite(), "bob", "Bob")
	chat := &listener{chat: s.chat}
	s.chat = chat
	last, err := s.look(t.Context(), -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := disableUser(t.Context(), Config{Data: s.cfg.Data}, "bob"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second look finds nothing new
		if last, err = s.look(t.Context(), last); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(chat.signedOut, []string{"bob"}) {
		t.Errorf("signed out: %v", chat.signedOut)
	}
}

// A link in the hands of somebody who hammers it must not keep everybody else from signing in.
func TestAttemptsToJoinAreLimited(t *testing.T) {
	s := newSite(t)
	link := s.withAdmin().invite()
	limited := 0
	for range 35 {
		if p := s.visitor().join(link, "alice", "Alice"); p.StatusCode == http.StatusTooManyRequests {
			limited++
			if !strings.Contains(p.Text(), "wait a little") || p.Header.Get("Retry-After") == "" {
				t.Errorf("%s", p.Text())
			}
		}
	}
	if limited != 5 {
		t.Errorf("%d of 35 were refused", limited)
	}
}
