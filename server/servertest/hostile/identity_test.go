package hostile_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/db"
	"kith/server/servertest/hostile"
)

// certificate is that of somebody else, as if it had been stolen.
func (s *siege) certificate(name string) *tls.Certificate {
	s.t.Helper()
	c, err := s.net.CA.Certificate(name)
	must(s.t, err)
	return c
}

// peer is what a.example has noted of evil.example.
func (s *siege) peer() db.Peer {
	s.t.Helper()
	var p db.Peer
	must(s.t, s.a.Read(ctx, func(tx *db.Tx) (err error) {
		p, err = tx.Peer(s.evil.Domain.Host())
		return err
	}))
	return p
}

// visit lets a.example fetch evil.example's directory: it starts anew, and Alice wants to add somebody from there.
func (s *siege) visit() {
	s.t.Helper()
	must(s.t, s.a.Stop())
	must(s.t, s.a.Start(ctx))
	s.until("Alice is back", func() bool { return s.alice.Ready(ctx) })
	limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	_ = s.alice.Session.AddMembers(limit, s.room.String(), []string{"mimi://evil.example/u/nobody"}) // whatever comes of it
	s.until("what was noted is written down", func() bool { return s.peer().Error != "" || s.peer().LastOK > 0 })
}

// TestDI5RedirectedDirectory: a directory that sends elsewhere, to the machine itself above all, is not followed.
func TestDI5RedirectedDirectory(t *testing.T) {
	besiege(t, func(s *siege) {
		for _, to := range []string{"https://127.0.0.1/", "http://127.0.0.1:80/x", "https://localhost/", "https://[::1]/", "https://10.0.0.1/", "//169.254.169.254/"} {
			s.evil.ShowDirectory(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
			s.visit()
			if got := s.peer().Error; got != "directory" {
				t.Errorf("redirect to %s: the operator reads %q", to, got)
			}
		}
		for what, body := range map[string]string{"plain HTTP": `{"keyMaterial":"http://evil.example/{targetUser}"}`,
			"credentials": `{"keyMaterial":"https://a@evil.example/{targetUser}"}`, "rubbish": "{", "too much": strings.Repeat(" ", 1<<20)} {
			s.evil.ShowDirectory(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) })
			s.visit()
			if got := s.peer().Error; got != "directory" {
				t.Errorf("%s: the operator reads %q", what, got)
			}
		}
		for _, address := range s.net.Internet.Dialed() {
			if !strings.HasSuffix(address, ".example:443") {
				t.Errorf("somebody dialled %s", address)
			}
		}
		s.evil.ShowDirectory(nil)
	})
}

// TestCR2ChangedIdentity: an authority that is not the one known from before is not believed, nor who it vouches for, and
// the operator is told. The old one goes on to be believed.
func TestCR2ChangedIdentity(t *testing.T) {
	besiege(t, func(s *siege) {
		pinned := s.peer().Roots
		public, key, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "evil.example identity"},
			NotBefore: s.net.Now().Add(-time.Hour), NotAfter: s.net.Now().AddDate(20, 0, 0), IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, MaxPathLenZero: true,
			PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"evil.example"}, PermittedURIDomains: []string{"evil.example"}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
		must(t, err)
		s.evil.ShowDirectory(func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"x-identityRoots": []string{base64.StdEncoding.EncodeToString(der)},
				"identifierQuery": "https://mimi.evil.example/mimi/v1/identifierQuery/{domain}"})
		})
		s.visit()
		p := s.peer()
		if string(p.Roots) != string(pinned) || len(p.Offered) == 0 {
			t.Errorf("pinned before and after: %v; offered: %d octets", slices.Equal(p.Roots, pinned), len(p.Offered))
		}
		if log := s.a.Log.String(); !strings.Contains(log, "new_identity") && !strings.Contains(log, "identity") {
			t.Error("the operator is not told")
		}
		// Whom the old authority vouches for may go on; the new one vouches for nobody.
		good := encode(t, s.keyMaterial(s.mallory.User, s.mallory.MLS.Credential))
		r := hostile.Request{Endpoint: "keyMaterial", Target: s.dave.Account.User.String()}
		if a := s.ask(r, good); a.Status != http.StatusOK {
			t.Errorf("with the known authority: %d %s", a.Status, a.Body)
		}
		s.evil.Usurp(template, key)
		forged := encode(t, s.keyMaterial(s.mallory.User, s.impostor(s.mallory.User)))
		s.refused("with the new authority", r, forged, http.StatusForbidden, "not_allowed")
		s.evil.ShowDirectory(nil)
	})
}

// TestTR3ChangedCertificate: another certificate for the same name is as good, if it is in order; one of an authority
// that nobody believes is a provider that cannot be reached, and the operator reads why.
func TestTR3ChangedCertificate(t *testing.T) {
	besiege(t, func(s *siege) {
		fresh, err := s.net.CA.Issue("evil.example")
		must(t, err)
		r := hostile.Request{Endpoint: "notify", Target: "mimi://evil.example/r/x", Certificate: fresh}
		s.refused("a new certificate", r, []byte("x"), http.StatusBadRequest, "bad_request")

		must(t, s.evil.Lie())
		s.visit()
		if got := s.peer().Error; got != "certificate" {
			t.Errorf("the operator reads %q", got)
		}
	})
}
