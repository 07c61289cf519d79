package server

import (
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
func (s *Server) openChat() (chat, error) {
	c := messengerConfig{DB: s.db, Identity: s.identity, Now: s.now, Rand: s.cfg.Rand, Log: s.log, Metrics: s.metrics,
		FederationBase: s.cfg.federationBase}
	if !s.cfg.Dev || s.cfg.Federation != "" {
		dial := s.cfg.PeerDial
		if dial == nil {
			dial = s.cfg.dialPublic()
		}
		c.DialPeer = s.peerDialer(dial)
	}
	return newMessenger(c)
}
