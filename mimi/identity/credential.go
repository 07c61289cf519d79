package identity

import (
	"bytes"
	"errors"
	"time"

	"kith/mimi/mls"
)

var (
	errCredential = errors.New("identity: credential is not a single certificate")
	errKey        = errors.New("identity: certificate for another signature key")
	errNoRoot     = errors.New("identity: no root of the certificate's provider")
)

// FromCredential reads the certificate in an MLS credential. There has to be exactly one: the root is known from
// elsewhere, and nothing stands between.
func FromCredential(c mls.Credential) (*Certificate, error) {
	if c.Type != mls.CredentialX509 || len(c.Certificates) != 1 {
		return nil, errCredential
	}
	return Parse(c.Certificates[0])
}

// Validate decides whether a credential may be used with a signature key in a group, at every event of RFC 9420,
// Section 5.3.1: the certificate has the profile, is for that key, was issued by one of the roots, which are those
// of its provider, is valid now, and names the same client as the credential before it, if there was one.
func Validate(c mls.Credential, key mls.SignaturePublicKey, old *mls.Credential, roots []*Root, now time.Time) (*Certificate, error) {
	cert, err := FromCredential(c)
	if err != nil {
		return nil, err
	}
	// RFC 9420, Section 5.3
	if !bytes.Equal(cert.PublicKey, key) {
		return nil, errKey
	}
	if old != nil {
		before, err := FromCredential(*old)
		if err != nil {
			return nil, err
		}
		if err := cert.Succeeds(before); err != nil {
			return nil, err
		}
	}
	err = errNoRoot
	for _, root := range roots {
		if root.Domain != cert.Provider() {
			continue
		}
		if err = root.Verify(cert, now); err == nil {
			return cert, nil
		}
	}
	return nil, err
}
