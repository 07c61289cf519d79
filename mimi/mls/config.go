package mls

import (
	"io"
	"time"
)

// Application is what MLS must ask of its user. Every Group and PublicGroup has one; calls are synchronous.
type Application interface {
	// ValidateCredential is called at every event of RFC 9420, Section 5.3.1, with old = nil or the leaf's
	// previous credential. An error refuses the operation.
	ValidateCredential(c Credential, key SignaturePublicKey, old *Credential) error
	// UpdateComponent applies AppDataUpdate proposals of one component, in order (mls-extensions, Section 4.7):
	// old is nil if the component has no data yet. An error makes the proposal list invalid.
	UpdateComponent(id ComponentID, old []byte, updates [][]byte) ([]byte, error)
}

// Config is what a member or verifier needs from outside: time, randomness, callbacks.
type Config struct {
	// Now is the time against which the lifetimes of KeyPackages are checked: by a committer and a hub, not by a
	// member that receives a commit, perhaps weeks later. nil: they are not checked at all.
	Now         func() time.Time
	Rand        io.Reader // nil: crypto/rand
	Application Application
	// PSK looks up external PSKs and resumption PSKs of other groups; nil is "not available". It may be nil itself.
	PSK func(id *PreSharedKeyID) []byte
	// ProvisionalSuites permits cipher suites whose number is not registered and may come to mean something else.
	// Without it a group or KeyPackage of such a suite is neither made nor joined, followed or restored.
	ProvisionalSuites bool
	// VerifyEd25519 verifies many signatures at once, in whatever way is faster than ours; nil: there is none. It
	// returns nil only if all are valid under RFC 8032, Section 5.1.7, by the equation without the cofactor. Any
	// error makes the package verify them itself, so that an error refuses nothing.
	VerifyEd25519 func(checks []SignatureCheck) error
	// ExchangeX25519 exchanges keys for many encryptions at once, in whatever way is faster than ours; nil: there is
	// none. For each public key, in order, it makes an ephemeral key pair from a cryptographic generator, never to be used
	// or shown again, and computes the secret that the two share by RFC 7748, Section 6.1. What it returns is believed
	// and its secrets are cleared after use. Any error makes the package encrypt without it.
	ExchangeX25519 func(publicKeys []HPKEPublicKey) ([]X25519Exchange, error)
	// MaxLifetime bounds the lifetime of a KeyPackage's leaf, from its beginning to its end: longer ones are refused
	// wherever they appear. 0 is DefaultMaxLifetime, or no bound if Now is nil; negative is no bound. All members should
	// have the same.
	MaxLifetime time.Duration
	// CommitFirst has Encrypt refuse with ErrPendingProposals while there are ProposalsToCommit, as RFC 9420, Section 12.4
	// demands of a member. Without it that is for the application to see.
	CommitFirst bool
	// GREASE adds random reserved values to our own leaves, KeyPackages and GroupInfos.
	GREASE bool
	// EncryptHandshakes makes our commits and proposals PrivateMessages: the delivery service does not see who changes
	// what, and no PublicGroup can follow. A SelfRemove and what comes from outside of the group stay PublicMessages.
	EncryptHandshakes bool
}

// handshakeFormat is the wire format of what a member of ours proposes or commits.
//
// RFC 9420, Section 6: the application decides; draft-ietf-mls-extensions, Section 6.3: a SelfRemove is public
func (c *Config) handshakeFormat(sender Sender, p *Proposal) WireFormat {
	if !c.EncryptHandshakes || sender.Type != SenderMember || p != nil && p.Type == ProposalSelfRemove {
		return WireFormatPublicMessage
	}
	return WireFormatPrivateMessage
}

// suiteOf returns the implementation of a suite that is permitted.
func (c *Config) suiteOf(cs CipherSuite) (*suite, error) {
	s, err := suiteOf(cs)
	if err != nil {
		return nil, err
	}
	if s.provisional && !c.ProvisionalSuites {
		return nil, errProvisionalSuite
	}
	return s, nil
}

// DefaultMaxLifetime is ninety days, and an hour for clocks that disagree.
//
// RFC 9420, Section 7.2: an application defines the longest lifetime
const DefaultMaxLifetime = 90*24*time.Hour + time.Hour

// maxLifetime is the bound in force, 0 if there is none.
func (c *Config) maxLifetime() time.Duration {
	if c.MaxLifetime == 0 && c.Now != nil {
		return DefaultMaxLifetime
	}
	return c.MaxLifetime
}

// now is the time for lifetimes, zero if they are not to be checked.
func (c *Config) now() time.Time {
	if c.Now == nil {
		return time.Time{}
	}
	return c.Now()
}

// rand returns the configured source of randomness.
func (c *Config) rand() io.Reader { return orSystem(c.Rand) }

// Client is one device's identity for groups of one suite.
type Client struct {
	SignatureKey   *SignatureKey
	Credential     Credential
	Capabilities   Capabilities
	LeafExtensions Extensions
}

// leafNode is an unsigned leaf of the client with the given encryption key; Source is for the caller to set.
func (c *Client) leafNode(key HPKEPublicKey) LeafNode {
	return LeafNode{
		EncryptionKey: key,
		SignatureKey:  c.SignatureKey.Public(),
		Credential:    c.Credential,
		Capabilities:  c.Capabilities.clone(),
		Extensions:    c.LeafExtensions,
	}
}
