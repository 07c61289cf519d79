package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/web/api"
)

// maxRoots bounds the identity roots of one provider: one, and another while it changes.
const maxRoots = 8

// trustAgain is how long the answer that a provider's roots are still those pinned is believed.
const trustAgain = time.Minute

var (
	errNoRoot = errors.New("client: identity root of this provider is not known")
	errRoots  = errors.New("client: malformed identity roots")
)

// roots is what the engine knows of the identity authorities of providers. That of its own provider comes with the
// greeting and is pinned with the device; the others are asked for when somebody of theirs is met, and pinned then.
type roots struct {
	pinned  map[mimi.ProviderID][]*identity.Root
	changed map[mimi.ProviderID][]*identity.Root // another set than the pinned one; the user has not accepted it
	wanted  map[mimi.ProviderID]bool             // was missing, or did not vouch, since it was last looked at
	asking  map[mimi.ProviderID]bool             // a flow asks for it
	trusted map[mimi.ProviderID]time.Time        // when the pinned set was last confirmed
}

func newRoots() roots {
	return roots{
		pinned: map[mimi.ProviderID][]*identity.Root{}, changed: map[mimi.ProviderID][]*identity.Root{},
		wanted: map[mimi.ProviderID]bool{}, asking: map[mimi.ProviderID]bool{}, trusted: map[mimi.ProviderID]time.Time{},
	}
}

// loadRoots reads the pinned sets. One that cannot be read is asked for again.
func (e *engine) loadRoots(pinned, changed []KV) {
	for _, list := range []struct {
		prefix string
		stored []KV
		into   map[mimi.ProviderID][]*identity.Root
	}{{keyRoot, pinned, e.roots.pinned}, {keyNewRoot, changed, e.roots.changed}} {
		for _, kv := range list.stored {
			domain, err := mimi.NewProviderID(strings.TrimPrefix(kv.Key, list.prefix))
			if err != nil {
				continue
			}
			d := newDecoder(kv.Value)
			blobs := d.blobs()
			set, err := parseRoots(domain, blobs, identity.RestoreRoot)
			if err != nil || d.done() != nil {
				e.drop("damaged identity roots")
				continue
			}
			list.into[domain] = set
		}
	}
}

// parseRoots reads a set of roots, all of which are the domain's.
func parseRoots(domain mimi.ProviderID, list [][]byte, parse func([]byte) (*identity.Root, error)) ([]*identity.Root, error) {
	if len(list) == 0 || len(list) > maxRoots {
		return nil, errRoots
	}
	set := make([]*identity.Root, len(list))
	for i, der := range list {
		root, err := parse(der)
		if err != nil {
			return nil, err
		}
		if root.Domain != domain {
			return nil, errRoots
		}
		set[i] = root
	}
	return set, nil
}

// rootBytes is a set as it is stored.
func rootBytes(set []*identity.Root) []byte {
	list := make([]string, len(set))
	for i, root := range set {
		list[i] = string(root.Raw)
	}
	out := newEncoder()
	out.list(list)
	return out.done()
}

// rootsFor are the pinned roots of a provider.
func (e *engine) rootsFor(domain mimi.ProviderID) []*identity.Root {
	if domain == e.user.Provider() {
		if e.root == nil {
			return nil
		}
		return []*identity.Root{e.root}
	}
	return e.roots.pinned[domain]
}

// application answers what MLS asks about credentials and components. It lives as long as the engine, and so learns of
// roots that are pinned after a group was loaded.
type application struct {
	rooms.Application
	e *engine
}

func (e *engine) application() mls.Application { return &application{e: e} }

// oneRoot is the set of a single root.
type oneRoot struct{ root *identity.Root }

func (r oneRoot) Root(domain mimi.ProviderID) *identity.Root {
	if r.root.Domain != domain {
		return nil
	}
	return r.root
}

// ValidateCredential implements mls.Application: one of the pinned roots of the credential's provider vouches for it.
// A provider whose roots are missing, or of which none does, is noted, for what was asked may wait until they are there.
//
// RFC 9420, Section 5.3.1
func (a *application) ValidateCredential(c mls.Credential, key mls.SignaturePublicKey, old *mls.Credential) error {
	cert, err := identity.FromCredential(c)
	if err != nil {
		return err
	}
	domain := cert.Provider()
	set, issued := a.e.rootsFor(domain), false
	err = errNoRoot
	for _, root := range set {
		inner := rooms.Application{Roots: oneRoot{root}}
		if err = inner.ValidateCredential(c, key, old); err == nil {
			return nil
		}
		issued = issued || root.Issued(cert) == nil
	}
	if !issued {
		a.e.wantRoots(domain)
	}
	return err
}

// wantRoots notes that what was asked may be right once we know more of a provider: its
// roots have not been asked for lately, or the user has yet to accept others.
func (e *engine) wantRoots(domain mimi.ProviderID) {
	if domain != e.user.Provider() && (e.roots.changed[domain] != nil || !e.confirmed(domain)) {
		e.roots.wanted[domain] = true
	}
}

// confirmed reports whether a provider's roots have been asked for a short while ago.
func (e *engine) confirmed(domain mimi.ProviderID) bool {
	at, ok := e.roots.trusted[domain]
	return ok && e.now().Before(at.Add(trustAgain))
}

// rootsWanted reports whether something just failed because roots are not known, and has them asked for.
func (e *engine) rootsWanted() bool {
	wanted := len(e.roots.wanted) > 0
	for domain := range e.roots.wanted {
		if !e.confirmed(domain) {
			e.startAsking(domain)
		}
	}
	clear(e.roots.wanted)
	return wanted
}

// startAsking asks for a provider's roots until they are there: soon at first, then every few minutes.
func (e *engine) startAsking(domain mimi.ProviderID) {
	if e.roots.asking[domain] {
		return
	}
	e.roots.asking[domain] = true
	e.spawn(func(ctx context.Context) {
		for failures := 1; ; failures++ {
			if e.wait(ctx, func() bool { return e.link != nil }) != nil {
				return
			}
			if e.askRoots(ctx, domain) == nil {
				break
			}
			sleep(ctx, longBackoff(failures))
		}
		_ = e.do(ctx, func() error { delete(e.roots.asking, domain); return nil })
	})
}

// askRoots asks our provider for the roots of another once, and pins them, or shows that they have changed.
func (e *engine) askRoots(ctx context.Context, domain mimi.ProviderID) error {
	body, err := e.call(ctx, api.OpIdentityRoots, domain.String(), nil)
	if err != nil {
		return err
	}
	list, err := api.UnmarshalDERList(body)
	if err != nil {
		return fail(CodeInternal, err.Error())
	}
	set, err := parseRoots(domain, list, identity.ParseRoot)
	if err != nil {
		return fail(CodeInternal, err.Error())
	}
	return e.do(ctx, func() error { return e.learnRoots(domain, set) })
}

// needRoots makes sure that a provider's roots are pinned, asking for them if they are not.
func (e *engine) needRoots(ctx context.Context, domain mimi.ProviderID) error {
	known := false
	err := e.do(ctx, func() error { known = len(e.rootsFor(domain)) > 0; return nil })
	if err == nil && !known {
		err = e.askRoots(ctx, domain)
	}
	return err
}

// learnRoots pins a set on first use. One that differs is not taken: the user is told (CR-2).
func (e *engine) learnRoots(domain mimi.ProviderID, set []*identity.Root) error {
	e.roots.trusted[domain] = e.now()
	pinned := e.roots.pinned[domain]
	b := new(batch)
	switch {
	case len(pinned) == 0:
		e.pin(b, domain, set)
	case identity.SameRoots(pinned, set):
		if e.roots.changed[domain] != nil { // it has changed back
			e.forgetNewRoots(b, domain)
		}
		b.then = append(b.then, e.releaseAll)
	case !identity.SameRoots(e.roots.changed[domain], set):
		e.roots.changed[domain] = set
		b.put(keyNewRoot+domain.Host(), rootBytes(set))
		b.then = append(b.then, e.postState)
	}
	return e.commit(b)
}

func (e *engine) pin(b *batch, domain mimi.ProviderID, set []*identity.Root) {
	e.roots.pinned[domain] = set
	b.put(keyRoot+domain.Host(), rootBytes(set))
	b.then = append(b.then, e.releaseAll, e.rejoinAll)
}

// rejoinAll enters the rooms that could not be entered without a root.
func (e *engine) rejoinAll() {
	for _, r := range e.rooms {
		if r.rec.broken {
			e.startJoin(r)
		}
	}
	if e.ready() {
		e.spawn(e.findRooms)
		e.askNames() // now our provider has met that one, too
	}
}

func (e *engine) forgetNewRoots(b *batch, domain mimi.ProviderID) {
	delete(e.roots.changed, domain)
	b.del(keyNewRoot + domain.Host())
	b.then = append(b.then, e.postState)
}

// acceptIdentity takes the changed roots of a provider, because the user says so.
func (e *engine) acceptIdentity(ctx context.Context, host string) error {
	return e.do(ctx, func() error {
		domain, err := mimi.NewProviderID(host)
		set := e.roots.changed[domain]
		if err != nil || len(set) == 0 {
			return fail(CodeNotFound, "the identity of this domain has not changed")
		}
		b := new(batch)
		e.pin(b, domain, set)
		e.forgetNewRoots(b, domain)
		return e.commit(b)
	})
}

// checkRoots asks anew for the roots of every other provider that is known: that a set has changed is to be seen before
// somebody with a certificate of the new one comes.
func (e *engine) checkRoots() {
	for domain := range e.roots.pinned {
		e.startAsking(domain)
	}
}

// changedIdentities are the domains whose roots have changed and were not accepted.
func (e *engine) changedIdentities() []string {
	var list []string
	for domain := range e.roots.changed {
		list = append(list, domain.Host())
	}
	slices.Sort(list)
	return list
}
