package hostile_test

import (
	"net/http"
	"testing"

	"kith/server/servertest"
	"kith/server/servertest/hostile"
)

// TestTR2From: only a From in its one form, and of the domain whose certificate is shown.
func TestTR2From(t *testing.T) {
	besiege(t, func(s *siege) {
		r := hostile.Request{Endpoint: "groupInfo", Target: s.room.String()}
		for _, tt := range []struct {
			what   string
			from   []string
			status int
			code   string
		}{
			{"none", []string{}, http.StatusBadRequest, "bad_request"},
			{"two", []string{"mimi@evil.example", "mimi@evil.example"}, http.StatusBadRequest, "bad_request"},
			{"another local part", []string{"postmaster@evil.example"}, http.StatusBadRequest, "bad_request"},
			{"a display name", []string{"Evil <mimi@evil.example>"}, http.StatusBadRequest, "bad_request"},
			{"no domain", []string{"mimi@"}, http.StatusBadRequest, "bad_request"},
			{"an address", []string{"mimi@127.0.0.1"}, http.StatusBadRequest, "bad_request"},
			{"the other provider", []string{"mimi@b.example"}, http.StatusForbidden, "not_allowed"},
			{"the asked one itself", []string{"mimi@a.example"}, http.StatusForbidden, "not_allowed"},
			{"a name below the own one", []string{"mimi@sub.evil.example"}, http.StatusForbidden, "not_allowed"},
		} {
			r.From = tt.from
			s.refused("From with "+tt.what, r, nil, tt.status, tt.code)
		}
	})
}

// TestTR3ForeignCertificates: who shows none, or one of which nobody vouches, or one of another time, has no connection;
// who shows somebody else's speaks for that somebody only.
func TestTR3ForeignCertificates(t *testing.T) {
	besiege(t, func(s *siege) {
		own, err := servertest.NewCA(s.net.Now)
		must(t, err)
		forged, err := own.Issue("b.example")
		must(t, err)
		s.cannotConnect("no certificate", hostile.Request{Anonymous: true})
		s.cannotConnect("a certificate of an unknown authority", hostile.Request{Certificate: forged, From: []string{"mimi@b.example"}})
		s.a.SetSkew(100 * 24 * 3600e9)
		s.cannotConnect("a certificate that is over", hostile.Request{})
		s.a.SetSkew(0)
		wildcard, err := s.net.CA.Issue("*.example")
		must(t, err)
		api, err := s.net.CA.Certificate("mimi.evil.example")
		must(t, err)
		r := hostile.Request{Endpoint: "notify", Target: "mimi://evil.example/r/nowhere", Certificate: wildcard, From: []string{"mimi@sub.b.example"}}
		s.refused("a certificate for other names", r, nil, http.StatusForbidden, "not_allowed")
		// The host to which the provider's own directory sends us is as good.
		r.Certificate, r.From = api, nil
		s.refused("a good certificate", r, nil, http.StatusBadRequest, "bad_request")
	})
}

// TestTR5HostAndName: the endpoints are there under the name only at which certificates are asked for.
func TestTR5HostAndName(t *testing.T) {
	besiege(t, func(s *siege) {
		r := hostile.Request{Endpoint: "notify", Target: s.room.String(), Server: "a.example", Host: "mimi.a.example"}
		if a := s.ask(r, nil); a.Status != http.StatusMisdirectedRequest {
			t.Errorf("name of the pages, host of the endpoints: %d", a.Status)
		}
		r.Host = "a.example"
		if a := s.ask(r, nil); a.Status != http.StatusNotFound && a.Status != http.StatusMisdirectedRequest && a.Status != http.StatusMethodNotAllowed {
			t.Errorf("the endpoints at the name of the pages: %d", a.Status)
		}
		r.Server, r.Host = "", "b.example"
		if a := s.ask(r, nil); a.Status != http.StatusMisdirectedRequest {
			t.Errorf("host of another provider: %d", a.Status)
		}
	})
}
