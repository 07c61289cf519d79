package server

import (
	"context"
	"net/http"

	"kith/web"
)

// socket hands a signed-in browser over to the messaging side.
func (s *Server) socket(w http.ResponseWriter, r *http.Request) error {
	p, ok := principalOf(r)
	if !ok {
		return &refusal{status: http.StatusUnauthorized, code: "signed_out", title: web.T("signin.signed_out"), body: web.T("signin.signed_out")}
	}
	s.chat.ServeSocket(w, r, p)
	return nil
}

// openChat opens the messaging side.
func (s *Server) openChat() (chat, error) { return silence{}, nil }

// silence is a messaging side that does not answer.
type silence struct{}

func (silence) ServeSocket(w http.ResponseWriter, _ *http.Request, _ principal) {
	writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "internal"})
}
func (silence) SignOut(int64)               {}
func (silence) SignOutUser(string)          {}
func (silence) Close(context.Context) error { return nil }
