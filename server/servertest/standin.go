package servertest

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
)

// tlsConfig is what the provider's listener needs: pages by one name, other providers by the other, and only those are
// asked for a certificate.
func (p *Provider) tlsConfig() *tls.Config {
	web := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.certificate, NextProtos: []string{"h2", "http/1.1"}, Time: p.now}
	peers := web.Clone()
	peers.MinVersion, peers.ClientAuth, peers.SessionTicketsDisabled = tls.VersionTLS13, tls.RequireAnyClientCert, true
	peers.VerifyConnection = func(cs tls.ConnectionState) error {
		intermediates := x509.NewCertPool()
		for _, c := range cs.PeerCertificates[1:] {
			intermediates.AddCert(c)
		}
		_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: p.net.CA.Roots(), Intermediates: intermediates,
			CurrentTime: p.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		return err
	}
	web.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if strings.EqualFold(h.ServerName, p.Names()[1]) {
			return peers, nil
		}
		return nil, nil
	}
	return web
}
