// Package identity ties MLS signature keys to MIMI identifiers by X.509 certificates.
//
// Each provider has an identity authority of its own: a self-signed root that is constrained by name to the
// provider's domain, so that it can vouch for nobody else's users. It issues short-lived certificates to clients,
// each for one signature key, one client URI and one user URI, and one to the provider itself in its role as a hub.
// [Parse] and [ParseRoot] decide whether a certificate has this profile; [Root.Verify] whether it was issued by that
// root and is valid; [Validate] does all that is to be done for a credential in an MLS group.
//
// There is no way to accept a certificate that is not exactly like that: Ed25519 only, DER only, a chain of length
// one, and no extension that is critical and unknown. Roots are found and pinned elsewhere; here they are a parameter,
// and so is the time.
//
// The standard library's crypto/x509 would do the parsing, but it brings most of crypto/tls and net with it and
// added 0.33 MB to the compressed WebAssembly program when measured, of a budget of 1.3 MB. The profile needs a
// small part of it. In the tests crypto/x509 makes the certificates and has to agree: what is accepted here, it
// accepts, too.
package identity

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"time"

	"kith/mimi"
)

const (
	// MaxCertificate is the longest certificate, in octets.
	MaxCertificate = 16 << 10
	// MaxLifetime is the longest time a client's certificate may be valid.
	MaxLifetime = 90 * 24 * time.Hour
)

var (
	errNames     = errors.New("identity: certificate does not name one client of one user")
	errHubNames  = errors.New("identity: certificate does not name one hub")
	errLifetime  = errors.New("identity: certificate is valid for too long")
	errUsage     = errors.New("identity: certificate is not for signing messages")
	errRoot      = errors.New("identity: root certificate is not an identity authority of one domain")
	errRootSig   = errors.New("identity: root certificate is not signed by itself")
	errIssuer    = errors.New("identity: certificate of another issuer")
	errSignature = errors.New("identity: invalid signature of certificate")
	errDomain    = errors.New("identity: certificate is for another domain than its issuer's")
	errNotYet    = errors.New("identity: certificate is not valid yet")
	errExpired   = errors.New("identity: certificate has expired")
	errSuccessor = errors.New("identity: credential of another client than the one before")
)

// A Certificate tells whose signature key PublicKey is. It is either a client's, with Client and User, or a hub's,
// with Hub; the other fields are zero. Nothing of it can be believed before a [Root] verified it.
type Certificate struct {
	Raw       []byte
	Client    mimi.ClientID
	User      mimi.UserID
	Hub       mimi.ProviderID
	PublicKey []byte // Ed25519
	NotBefore time.Time
	NotAfter  time.Time

	x *certificate
}

// Parse reads the certificate of a client or a hub and checks that it has the profile of one.
func Parse(der []byte) (*Certificate, error) {
	x, err := parseCertificate(der)
	if err != nil {
		return nil, err
	}
	c := &Certificate{Raw: x.raw, PublicKey: x.publicKey, NotBefore: x.notBefore, NotAfter: x.notAfter, x: x}
	// RFC 5280, Sections 4.2.1.3 and 4.2.1.9
	if x.usage&usageDigitalSignature == 0 || x.usage&(usageCertSign|usageCRLSign) != 0 || x.ca || x.constraints != nil {
		return nil, errUsage
	}
	if len(x.names.dns) > 0 {
		err = c.readHub(x.names)
	} else {
		err = c.readClient(x.names)
	}
	if err != nil {
		return nil, err
	}
	// A hub's certificate is part of the state of its rooms and may live as long as its issuer.
	if c.Hub.IsZero() && x.notAfter.Sub(x.notBefore) > MaxLifetime {
		return nil, errLifetime
	}
	return c, nil
}

// readClient sets the identifiers of a client: one of it, one of its user.
func (c *Certificate) readClient(names generalNames) error {
	if len(names.uris) != 2 {
		return errNames
	}
	for _, uri := range names.uris {
		if u, err := mimi.ParseUserID(uri); err == nil {
			c.User = u
		} else if id, err := mimi.ParseClientID(uri); err == nil {
			c.Client = id
		}
	}
	if c.User.IsZero() || c.Client.IsZero() || c.User.Provider() != c.Client.Provider() {
		return errNames
	}
	// A client's URI that tells a user tells this one.
	if u, ok := c.Client.User(); ok && u.Name() != c.User.Name() {
		return errNames
	}
	return nil
}

// readHub sets the identifier of a hub: its URI, and the same domain as a name.
func (c *Certificate) readHub(names generalNames) error {
	if len(names.dns) != 1 || len(names.uris) != 1 {
		return errHubNames
	}
	hub, err := mimi.ParseProviderID(names.uris[0])
	if err != nil || hub.Host() != names.dns[0] {
		return errHubNames
	}
	c.Hub = hub
	return nil
}

// Provider returns the provider the certificate is about, whose root is to verify it.
func (c *Certificate) Provider() mimi.ProviderID {
	if !c.Hub.IsZero() {
		return c.Hub
	}
	return c.User.Provider()
}

// Succeeds checks that c may take the place of old in a group: it is for the same client and user, or the same hub.
func (c *Certificate) Succeeds(old *Certificate) error {
	// RFC 9420, Section 5.3.1
	if c.Client != old.Client || c.User != old.User || c.Hub != old.Hub {
		return errSuccessor
	}
	return nil
}

// A Root is the identity authority of one domain.
type Root struct {
	Raw       []byte
	Domain    mimi.ProviderID
	PublicKey []byte // Ed25519
	NotBefore time.Time
	NotAfter  time.Time

	x *certificate
}

// ParseRoot reads the certificate of an identity authority and checks that it has the profile of one. That does not
// make it the right one: it has to come from the domain.
func ParseRoot(der []byte) (*Root, error) {
	r, err := RestoreRoot(der)
	if err != nil {
		return nil, err
	}
	if !ed25519.Verify(r.PublicKey, r.x.tbs, r.x.signature) {
		return nil, errRootSig
	}
	return r, nil
}

// RestoreRoot reads a certificate that ParseRoot has accepted before and that was kept as a secret is kept. It checks
// all but the certificate's signature by itself, which says nothing about a trust anchor.
// RFC 5280, Section 6.1
func RestoreRoot(der []byte) (*Root, error) {
	x, err := parseCertificate(der)
	if err != nil {
		return nil, err
	}
	// RFC 5280, Sections 4.2.1.3, 4.2.1.9 and 4.2.1.10
	if !x.ca || !x.caCritical || x.pathLen != 0 || x.usage&usageCertSign == 0 || !x.usageCritical ||
		x.usage&^(usageDigitalSignature|usageCertSign|usageCRLSign) != 0 ||
		x.constraints == nil || len(x.constraints.dns) != 1 || len(x.constraints.uris) != 1 ||
		x.constraints.dns[0] != x.constraints.uris[0] || len(x.names.dns)+len(x.names.uris) != 0 {
		return nil, errRoot
	}
	domain, err := mimi.NewProviderID(x.constraints.dns[0])
	if err != nil {
		return nil, errRoot
	}
	if !bytes.Equal(x.issuer, x.subject) {
		return nil, errRootSig
	}
	return &Root{Raw: x.raw, Domain: domain, PublicKey: x.publicKey, NotBefore: x.notBefore, NotAfter: x.notAfter, x: x}, nil
}

// SameRoots reports whether two lists hold the same certificates, in whatever order.
func SameRoots(a, b []*Root) bool {
	within := func(a, b []*Root) bool {
		return !slices.ContainsFunc(a, func(x *Root) bool {
			return !slices.ContainsFunc(b, func(y *Root) bool { return bytes.Equal(x.Raw, y.Raw) })
		})
	}
	return within(a, b) && within(b, a)
}

// Verify checks that r issued c, was allowed to, and that both are valid now.
func (r *Root) Verify(c *Certificate, now time.Time) error {
	if err := r.Issued(c); err != nil {
		return err
	}
	// RFC 5280, Section 4.1.2.5: both ends are included.
	if now.Before(r.NotBefore) || now.Before(c.NotBefore) {
		return errNotYet
	}
	if now.After(r.NotAfter) || now.After(c.NotAfter) {
		return errExpired
	}
	return nil
}

// Issued checks that r issued c and was allowed to, whatever the time. It is for leaves that are in a group already:
// expiry does not evict them.
func (r *Root) Issued(c *Certificate) error {
	// RFC 5280, Section 4.2.1.1
	if !bytes.Equal(c.x.issuer, r.x.subject) ||
		len(c.x.authority) > 0 && len(r.x.subjectKey) > 0 && !bytes.Equal(c.x.authority, r.x.subjectKey) {
		return errIssuer
	}
	// RFC 5280, Section 4.2.1.10. That of a DNS name would admit names below the domain; our profile does not.
	if c.Provider() != r.Domain {
		return errDomain
	}
	if !ed25519.Verify(r.PublicKey, c.x.tbs, c.x.signature) {
		return errSignature
	}
	return nil
}
