package mls

import (
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// VersionMLS10 is the protocol version of RFC 9420.
const VersionMLS10 uint16 = 1

// Capabilities is what a client says it supports (RFC 9420, Section 7.2). Unknown values are kept and ignored.
type Capabilities struct {
	Versions     []uint16
	CipherSuites []CipherSuite
	Extensions   []ExtensionType
	Proposals    []ProposalType
	Credentials  []CredentialType
}

// Marshal writes c.
func (c Capabilities) Marshal(b *cryptobyte.Builder) error {
	syntax.AddUint16s(b, c.Versions)
	syntax.AddUint16s(b, c.CipherSuites)
	syntax.AddUint16s(b, c.Extensions)
	syntax.AddUint16s(b, c.Proposals)
	syntax.AddUint16s(b, c.Credentials)
	return nil
}

// Unmarshal reads c from the front of s.
func (c *Capabilities) Unmarshal(s *cryptobyte.String) error {
	if !syntax.ReadUint16s(s, &c.Versions) || !syntax.ReadUint16s(s, &c.CipherSuites) ||
		!syntax.ReadUint16s(s, &c.Extensions) || !syntax.ReadUint16s(s, &c.Proposals) ||
		!syntax.ReadUint16s(s, &c.Credentials) {
		return errors.New("mls: malformed capabilities")
	}
	return nil
}

// Support reports whether everything required is listed or a default.
//
// RFC 9420, Section 11.1
func (c Capabilities) Support(r RequiredCapabilities) bool {
	return c.supportsExtensions(r.Extensions) && listed(c.Proposals, r.Proposals, ProposalType.isDefault) &&
		c.supportsCredentials(r.Credentials)
}

func (c *Capabilities) supportsExtensions(list []ExtensionType) bool {
	return listed(c.Extensions, list, ExtensionType.isDefault)
}

func (c *Capabilities) supportsExtension(t ExtensionType) bool {
	return t.isDefault() || slices.Contains(c.Extensions, t)
}

func (c *Capabilities) supportsProposal(t ProposalType) bool {
	return t.isDefault() || slices.Contains(c.Proposals, t)
}

func (c *Capabilities) supportsCredentials(list []CredentialType) bool {
	return listed(c.Credentials, list, func(CredentialType) bool { return false })
}

func (c *Capabilities) supportsCredential(t CredentialType) bool {
	return slices.Contains(c.Credentials, t)
}

// listed reports whether everything wanted is in have or a default. It is linear: peers choose the lengths of both.
func listed[T ~uint16](have, want []T, isDefault func(T) bool) bool {
	if len(have) <= 16 || len(want) <= 4 {
		return !slices.ContainsFunc(want, func(t T) bool { return !isDefault(t) && !slices.Contains(have, t) })
	}
	var set [1 << 10]uint64
	for _, t := range have {
		set[t>>6] |= 1 << (t & 63)
	}
	return !slices.ContainsFunc(want, func(t T) bool { return !isDefault(t) && set[t>>6]&(1<<(t&63)) == 0 })
}

// clone copies the lists, so that the result shares nothing with c.
func (c *Capabilities) clone() Capabilities {
	return Capabilities{
		Versions:     slices.Clone(c.Versions),
		CipherSuites: slices.Clone(c.CipherSuites),
		Extensions:   slices.Clone(c.Extensions),
		Proposals:    slices.Clone(c.Proposals),
		Credentials:  slices.Clone(c.Credentials),
	}
}

// RequiredCapabilities is what every member of a group must support (RFC 9420, Section 11.1).
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// Marshal writes r.
func (r RequiredCapabilities) Marshal(b *cryptobyte.Builder) error {
	syntax.AddUint16s(b, r.Extensions)
	syntax.AddUint16s(b, r.Proposals)
	syntax.AddUint16s(b, r.Credentials)
	return nil
}

// Unmarshal reads r from the front of s.
func (r *RequiredCapabilities) Unmarshal(s *cryptobyte.String) error {
	if !syntax.ReadUint16s(s, &r.Extensions) || !syntax.ReadUint16s(s, &r.Proposals) ||
		!syntax.ReadUint16s(s, &r.Credentials) {
		return errors.New("mls: malformed required capabilities")
	}
	return nil
}

// requiredCapabilities decodes the required_capabilities extension; without one nothing is required.
func (e Extensions) requiredCapabilities() (RequiredCapabilities, error) {
	var r RequiredCapabilities
	data, ok := e.Get(ExtensionRequiredCapabilities)
	if !ok {
		return r, nil
	}
	return r, unmarshalAll(data, &r)
}

// ChooseSuite is the first of the preferred suites that every client of a new group supports, its creator among them.
// The creator takes no other: whoever hands out KeyPackages could talk a group into a weaker suite by choosing them.
//
// RFC 9420, Section 11
func ChooseSuite(preferred []CipherSuite, clients ...Capabilities) (CipherSuite, bool) {
	for _, cs := range preferred {
		all := cs.Supported()
		for i := range clients {
			all = all && containsVersion(clients[i].Versions) && containsSuite(clients[i].CipherSuites, cs)
		}
		if all {
			return cs, true
		}
	}
	return 0, false
}
