package policy

import (
	"bytes"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// maxPreAuth limits the encoded list of preauthorizations, which is walked through at every join, in octets.
const maxPreAuth = 32 << 10

// CredentialX509 is the credential type of claims about a certificate.
//
// RFC 9420, Section 17.5
const CredentialX509 uint16 = 2

// ClaimSubjectAltName is the id of the claims that a certificate makes by the URIs it names: the object identifier
// 2.5.29.17 in DER, without tag and length. The draft leaves to a later version what the claims of a certificate are.
// We take it to claim its client, its user and, since its issuer speaks for that provider alone, the provider.
//
// draft-ietf-mimi-room-policy-03, Section 4: "the binary representation of an X.509 OID"
const ClaimSubjectAltName = "\x55\x1d\x11"

// PreAuthClaim is a condition on the credential of a user.
//
// draft-ietf-mimi-room-policy-03, Section 4: Claim.
type PreAuthClaim struct {
	CredentialType uint16
	ID             []byte
	ClaimValue     []byte
}

// URIClaim is the claim of a certificate to a URI.
func URIClaim(uri string) PreAuthClaim {
	return PreAuthClaim{CredentialType: CredentialX509, ID: []byte(ClaimSubjectAltName), ClaimValue: []byte(uri)}
}

func (c *PreAuthClaim) equal(o *PreAuthClaim) bool {
	return c.CredentialType == o.CredentialType && bytes.Equal(c.ID, o.ID) && bytes.Equal(c.ClaimValue, o.ClaimValue)
}

func readClaim(s *cryptobyte.String, c *PreAuthClaim) bool {
	return s.ReadUint16(&c.CredentialType) && syntax.ReadVector(s, &c.ID) && syntax.ReadVector(s, &c.ClaimValue)
}

func addClaim(b *cryptobyte.Builder, c PreAuthClaim) {
	b.AddUint16(c.CredentialType)
	syntax.AddVector(b, c.ID)
	syntax.AddVector(b, c.ClaimValue)
}

// PreAuthRoleEntry preauthorizes those who have all its claims for a role. The draft embeds the whole role; only
// its index is used.
//
// draft-ietf-mimi-room-policy-03, Section 4
type PreAuthRoleEntry struct {
	Claimset   []PreAuthClaim
	TargetRole Role
}

// matches: every claim is one that the credential makes. An entry without claims matches nobody: it would open the
// room to everybody, for which there is canOpenJoin.
func (e *PreAuthRoleEntry) matches(claims []PreAuthClaim) bool {
	for i := range e.Claimset {
		if !slices.ContainsFunc(claims, func(c PreAuthClaim) bool { return c.equal(&e.Claimset[i]) }) {
			return false
		}
	}
	return len(e.Claimset) > 0
}

// PreAuth is the list of preauthorizations.
//
// draft-ietf-mimi-room-policy-03, Section 4: PreAuthData.
type PreAuth []PreAuthRoleEntry

// UnmarshalPreAuth decodes the data of PreauthList; an update has the same form.
func UnmarshalPreAuth(data []byte) (p PreAuth, err error) {
	if len(data) > maxPreAuth {
		return nil, malformed("preauthorization list: too long")
	}
	err = decode(data, "preauthorization list", func(s *cryptobyte.String) bool {
		return readList(s, (*[]PreAuthRoleEntry)(&p), func(s *cryptobyte.String, e *PreAuthRoleEntry) bool {
			return readList(s, &e.Claimset, readClaim) && readRole(s, &e.TargetRole)
		})
	})
	return p, err
}

// Bytes encodes the list.
func (p PreAuth) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addList(b, p, func(b *cryptobyte.Builder, e PreAuthRoleEntry) {
			addList(b, e.Claimset, addClaim)
			addRole(b, e.TargetRole)
		})
	})
}

// Role returns the role that a credential with these claims is preauthorized for: that of the first entry that
// matches, RoleNone without one.
//
// draft-ietf-mimi-room-policy-03, Section 4
func (p PreAuth) Role(claims []PreAuthClaim) uint32 {
	for i := range p {
		if p[i].matches(claims) {
			return p[i].TargetRole.RoleIndex
		}
	}
	return RoleNone
}
