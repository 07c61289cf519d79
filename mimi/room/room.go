// Package room decides about rooms: what a hub accepts, and what a client may take over from it.
//
// A room is an MLS group whose GroupContext carries the participant list, the roles and the other components of
// package policy. [View] is what one epoch says about its room. [CheckCommit] judges a commit; hub and clients run
// it alike, so a client does not depend on the hub's honesty for who is in the room. [Hub] is the room's order: it
// follows the group without secrets, accepts one commit per epoch, stamps everything with a time, and turns what
// it accepts into events. It is pure: it stores and sends nothing, and a changed room is a new Hub that the caller
// takes once everything is stored.
//
// The hub is also a party of its own: as external sender of the group it proposes removals ([Hub.Evict]), renews its
// certificate ([Hub.Rotate]), revokes join links that are used up, and makes anew what an external commit has voided.
// Such proposals travel with the commit; a client takes them over with [ReceiveExternal].
//
// Where a room names the hub's franking agent, the hub stamps the messages whose senders commit to them ([Franker]):
// receivers verify that ([View.VerifyFrank]), and the hub knows again what it distributed ([Franker.VerifyReported]).
// Stamping is apart from deciding ([Accepted]), because a signature costs more than all else and needs no turn.
//
// A refusal is a response or a [policy.Refusal]; an error is a fault or malformed local input. Limits: handshakes are
// PublicMessages, the cipher suite is 0x0001, and the hub does not propose ReInit, since nothing here makes the group
// that would follow.
package room

import (
	"bytes"
	"errors"
	"time"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/policy"
)

// Suite is the cipher suite of our rooms.
const Suite = mls.X25519AES128GCMSHA256Ed25519

// Roots knows the identity authority of each provider.
type Roots interface {
	// Root returns the pinned root of a provider, nil if there is none.
	Root(domain mimi.ProviderID) *identity.Root
}

// RootSet is implemented by Roots that may know more than one root of a provider, while it changes from one to another.
type RootSet interface {
	Roots(domain mimi.ProviderID) []*identity.Root
}

// RootsOf returns all the roots of a provider that are pinned.
func RootsOf(r Roots, domain mimi.ProviderID) []*identity.Root {
	if set, ok := r.(RootSet); ok {
		return set.Roots(domain)
	}
	if root := r.Root(domain); root != nil {
		return []*identity.Root{root}
	}
	return nil
}

// Application is what a group asks about credentials and components, the same for hub and client.
type Application struct {
	Roots Roots
}

var _ mls.Application = (*Application)(nil)

// UpdateComponent applies the updates of one component.
//
// draft-ietf-mls-extensions, Section 4.7
func (a *Application) UpdateComponent(id mls.ComponentID, old []byte, updates [][]byte) ([]byte, error) {
	return policy.UpdateComponent(uint16(id), old, updates)
}

// ValidateCredential accepts the certificate of a client, or of a hub, whose key is the leaf's key and which its
// provider's root has issued. A successor keeps both of its URIs.
//
// Time plays no part here, because MLS asks for every leaf of a tree that is joined and expiry does not evict
// leaves. CheckCommit wants those valid that are new.
//
// RFC 9420, Section 5.3.1
func (a *Application) ValidateCredential(c mls.Credential, key mls.SignaturePublicKey, old *mls.Credential) error {
	cert, err := identity.FromCredential(c)
	if err != nil {
		return err
	}
	if !bytes.Equal(cert.PublicKey, key) {
		return errors.New("room: certificate is for another key")
	}
	if old != nil {
		before, err := identity.FromCredential(*old)
		if err != nil {
			return err
		}
		if err := cert.Succeeds(before); err != nil {
			return err
		}
	}
	err = errors.New("room: no identity root for this provider")
	for _, root := range RootsOf(a.Roots, cert.Provider()) {
		if err = root.Issued(cert); err == nil {
			return nil
		}
	}
	return err
}

// who is what a credential says about its holder: a client with its user, or a hub.
type who struct {
	client mimi.ClientID
	user   mimi.UserID
	hub    mimi.ProviderID

	cert                []byte
	notBefore, notAfter time.Time // both zero: no limit
}

// validAt tells whether the credential is valid at a time in milliseconds since 1970.
func (w who) validAt(at uint64) bool {
	t := time.UnixMilli(int64(at))
	return w.notAfter.IsZero() || !t.Before(w.notBefore) && !t.After(w.notAfter)
}

// name is the URI that stands in the participant list.
func (w who) name() string {
	if !w.hub.IsZero() {
		return w.hub.String()
	}
	return w.user.String()
}

// claims are what a certificate claims: its client, its user and, since a root speaks for one provider alone, the
// provider. A basic credential claims nothing.
//
// draft-ietf-mimi-room-policy-03, Section 4
func (w who) claims() []policy.PreAuthClaim {
	if w.cert == nil || w.user.IsZero() {
		return nil
	}
	return []policy.PreAuthClaim{
		policy.URIClaim(w.client.String()), policy.URIClaim(w.user.String()), policy.URIClaim(w.user.Provider().String()),
	}
}

// identify reads a credential that an Application has accepted. A basic credential is the URI itself; Application
// accepts none.
func identify(c mls.Credential) (who, error) {
	switch c.Type {
	case mls.CredentialX509:
		cert, err := identity.FromCredential(c)
		if err != nil {
			return who{}, err
		}
		return who{client: cert.Client, user: cert.User, hub: cert.Hub,
			cert: cert.Raw, notBefore: cert.NotBefore, notAfter: cert.NotAfter}, nil
	case mls.CredentialBasic:
		if hub, err := mimi.ParseProviderID(string(c.Identity)); err == nil {
			return who{hub: hub}, nil
		}
		client, err := mimi.ParseClientID(string(c.Identity))
		if err != nil {
			return who{}, err
		}
		if user, ok := client.User(); ok {
			return who{client: client, user: user}, nil
		}
	}
	return who{}, errors.New("room: credential names no client")
}
