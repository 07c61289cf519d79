package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// consentSide is what a provider knows of consent, with a network that tests can cut.
type consentSide struct {
	*consents
	ctx    context.Context
	t      *testing.T
	others map[mimi.ProviderID]*consentSide

	mu    sync.Mutex
	down  bool
	sent  []string // endpoint and operation of what went out
	hints []string // users
}

// consentWorld runs a test with providers a (alice, carol), b (bob, eve) and c (nobody but zoe).
func consentWorld(t *testing.T, test func(a, b, c *consentSide)) {
	t.Helper()
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		defer time.AfterFunc(1000*time.Hour, func() { panic("the test does not end") }).Stop()
		ctx, stop := context.WithCancel(context.Background()) // the test's own belongs to no bubble
		all := make(map[mimi.ProviderID]*consentSide)
		var sides []*consentSide
		var running sync.WaitGroup
		for i, names := range [][]string{{"alice", "carol"}, {"bob", "eve"}, {"zoe"}} {
			s := newConsentSide(ctx, t, dirs[i], string(rune('a'+i))+".example", names)
			s.others = all
			all[s.domain] = s
			sides = append(sides, s)
			running.Go(func() { s.run(ctx) })
		}
		test(sides[0], sides[1], sides[2])
		stop()
		running.Wait()
		for _, s := range sides {
			if err := s.db.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func newConsentSide(ctx context.Context, t *testing.T, dir, host string, names []string) *consentSide {
	t.Helper()
	store, err := db.Open(ctx, dir, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	domain, err := mimi.NewProviderID(host)
	if err != nil {
		t.Fatal(err)
	}
	s := &consentSide{ctx: ctx, t: t}
	s.consents = newConsents(consents{db: store, domain: domain, now: time.Now, log: slog.New(slog.DiscardHandler), hint: s.hinted, post: s.deliver}, prometheus.NewRegistry())
	err = store.Write(ctx, func(tx *db.Tx) error {
		for _, n := range names {
			if _, err := tx.AddAccount(db.Account{Username: n, DisplayName: n, CreatedAt: 1}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *consentSide) hinted(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hints = append(s.hints, user)
}

// deliver is the network and the front of the provider at its other end.
func (s *consentSide) deliver(ctx context.Context, to mimi.ProviderID, endpoint string, vars map[string]string, body []byte) (*peerAnswer, error) {
	e, err := wire.UnmarshalConsentEntry(body)
	if err != nil {
		s.t.Errorf("sent what does not parse: %v", err)
	}
	if len(vars) != 2 || vars["targetDomain"]+vars["requesterDomain"] != to.String() {
		s.t.Errorf("variables %v", vars)
	}
	other := s.others[to]
	s.mu.Lock()
	s.sent = append(s.sent, fmt.Sprint(endpoint, " ", e.ConsentOperation))
	down := s.down || other == nil
	s.mu.Unlock()
	if down {
		return nil, opHubAway
	}
	err = other.receive(ctx, s.domain, body, endpoint == "updateConsent")
	var refused *opError
	switch {
	case errors.As(err, &refused):
		return &peerAnswer{status: int(refused.status)}, nil
	case err != nil:
		return &peerAnswer{status: http.StatusInternalServerError}, nil
	}
	return &peerAnswer{status: http.StatusCreated}, nil
}

func (s *consentSide) cut(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *consentSide) outgoing() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// hinted reports whether a user was told to ask again, and forgets it.
func (s *consentSide) wasHinted(user mimi.UserID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	yes := slices.Contains(s.hints, user.String())
	s.hints = nil
	return yes
}

func (s *consentSide) user(name string) mimi.UserID {
	u, err := mimi.NewUserID(s.domain, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

func (s *consentSide) room(name string) mimi.RoomID {
	id, err := mimi.NewRoomID(s.domain, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// says lets a user of this side say something, and waits until it has arrived.
func (s *consentSide) says(op wire.ConsentOperation, requester, target mimi.UserID, room mimi.RoomID) {
	s.t.Helper()
	e := &wire.ConsentEntry{ConsentOperation: op, RequesterURI: requester, TargetURI: target, RoomID: room}
	by := requester
	if op == wire.ConsentGrant || op == wire.ConsentRevoke {
		by = target
	}
	if err := s.say(s.ctx, by, e); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
}

func (s *consentSide) blocks(user, other mimi.UserID, value []byte) {
	s.t.Helper()
	e := &wire.ConsentEntry{ConsentOperation: wire.ConsentRevoke, RequesterURI: other, TargetURI: user}
	e.ConsentExtensions = e.ConsentExtensions.Set(mls.ComponentID(api.ComponentBlock), value)
	if err := s.say(s.ctx, user, e); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
}

// lines is the list of a user in words: state, who, whom, room.
func (s *consentSide) lines(user mimi.UserID) []string {
	s.t.Helper()
	list, err := s.list(s.ctx, user)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, c := range list {
		state := map[api.ConsentState]string{api.ConsentAsked: "asked", api.ConsentGranted: "granted", api.ConsentDenied: "denied", api.ConsentBlocked: "blocked"}[c.State]
		requester, _ := mimi.ParseUserID(c.Requester)
		target, _ := mimi.ParseUserID(c.Target)
		line := strings.Join([]string{state, requester.Name(), target.Name()}, " ")
		if c.Room != "" {
			id, _ := mimi.ParseRoomID(c.Room)
			line += " " + id.Name()
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func (s *consentSide) shows(user mimi.UserID, want ...string) {
	s.t.Helper()
	if got := s.lines(user); !slices.Equal(got, want) {
		s.t.Errorf("%s sees %q, want %q", user.Name(), got, want)
	}
}

// fetch asks as the hub or the other provider does before it is given KeyPackages.
func (s *consentSide) fetch(requester, target mimi.UserID, room mimi.RoomID) (code wire.KeyMaterialUserCode) {
	s.t.Helper()
	err := s.db.Read(s.ctx, func(tx *db.Tx) (err error) {
		var may bool
		code, may, err = mayFetch(tx, requester, target, room)
		if may != (code == wire.UserSuccess) {
			s.t.Errorf("may %t with code %d", may, code)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return code
}

var anyRoom mimi.RoomID

// TestCO1TheEndpointFitsTheOperation also shows who may speak for whom (TR-6).
func TestCO1TheEndpointFitsTheOperation(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob, zoe := a.user("alice"), b.user("bob"), c.user("zoe")
		tests := []struct {
			op                wire.ConsentOperation
			requester, target mimi.UserID
			answer            bool
			want              error
		}{
			{wire.ConsentRequest, alice, bob, false, nil},
			{wire.ConsentCancel, alice, bob, false, nil},
			{wire.ConsentGrant, bob, alice, true, nil},
			{wire.ConsentRevoke, bob, alice, true, nil},
			{wire.ConsentRequest, alice, bob, true, opBadRequest},
			{wire.ConsentCancel, alice, bob, true, opBadRequest},
			{wire.ConsentGrant, bob, alice, false, opBadRequest},
			{wire.ConsentRevoke, bob, alice, false, opBadRequest},
			{wire.ConsentRequest, zoe, bob, false, opNotAllowed},
			{wire.ConsentRequest, alice, zoe, false, opNotAllowed},
			{wire.ConsentRequest, bob, alice, false, opNotAllowed},
			{wire.ConsentRequest, bob, bob, false, opNotAllowed},
			{wire.ConsentGrant, bob, zoe, true, opNotAllowed},
			{wire.ConsentGrant, zoe, alice, true, opNotAllowed},
			{wire.ConsentGrant, alice, bob, true, opNotAllowed},
		}
		for _, tt := range tests {
			e := &wire.ConsentEntry{ConsentOperation: tt.op, RequesterURI: tt.requester, TargetURI: tt.target}
			body, err := e.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if err := b.receive(b.ctx, a.domain, body, tt.answer); err != tt.want {
				t.Errorf("%d from a, %s to %s, answer %t: %v, want %v", tt.op, tt.requester, tt.target, tt.answer, err, tt.want)
			}
			if err := b.receive(b.ctx, a.domain, append(body, 0), tt.answer); err != opBadRequest {
				t.Errorf("trailing octet: %v", err)
			}
		}
		if err := b.receive(b.ctx, a.domain, nil, false); err != opBadRequest {
			t.Errorf("empty: %v", err)
		}
	})
}

// TestCO2TheRequesterIsWhoFetches: what bob grants alice lets her fetch his KeyPackages, and not him hers.
func TestCO2TheRequesterIsWhoFetches(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob := a.user("alice"), b.user("bob")
		b.says(wire.ConsentGrant, alice, bob, anyRoom)
		if got := b.fetch(alice, bob, anyRoom); got != wire.UserSuccess {
			t.Errorf("alice fetches: %d", got)
		}
		if got := a.fetch(bob, alice, anyRoom); got != wire.UserNoConsent {
			t.Errorf("bob fetches: %d", got)
		}
		// Nobody speaks for others.
		for _, e := range []*wire.ConsentEntry{
			{ConsentOperation: wire.ConsentGrant, RequesterURI: alice, TargetURI: bob},
			{ConsentOperation: wire.ConsentRevoke, RequesterURI: alice, TargetURI: bob},
			{ConsentOperation: wire.ConsentRequest, RequesterURI: bob, TargetURI: alice},
			{ConsentOperation: wire.ConsentRequest, RequesterURI: alice, TargetURI: alice},
		} {
			if err := a.say(a.ctx, alice, e); err != opNotAllowed {
				t.Errorf("alice says %d of %s and %s: %v", e.ConsentOperation, e.RequesterURI, e.TargetURI, err)
			}
		}
	})
}

func TestKM9RequestAcceptFetch(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob := a.user("alice"), b.user("bob")
		if got := b.fetch(alice, bob, anyRoom); got != wire.UserNoConsent {
			t.Errorf("before: %d", got)
		}
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		a.shows(alice, "asked alice bob")
		b.shows(bob, "asked alice bob")
		if !b.wasHinted(bob) || !a.wasHinted(alice) {
			t.Error("nobody is told")
		}
		if got := b.fetch(alice, bob, anyRoom); got != wire.UserNoConsent {
			t.Errorf("while it is open: %d", got)
		}
		// Who asks somebody may be asked back.
		if got := a.fetch(bob, alice, anyRoom); got != wire.UserSuccess {
			t.Errorf("bob fetches from who asked him: %d", got)
		}
		b.says(wire.ConsentGrant, alice, bob, anyRoom)
		if got := b.fetch(alice, bob, a.room("r")); got != wire.UserSuccess {
			t.Errorf("after: %d", got)
		}
		a.shows(alice, "granted alice bob")
		if !a.wasHinted(alice) {
			t.Error("alice is not told of the grant")
		}
		// Withdrawn: the next fetch is refused.
		b.says(wire.ConsentRevoke, alice, bob, anyRoom)
		if got := b.fetch(alice, bob, a.room("r")); got != wire.UserNoConsent {
			t.Errorf("after revoking: %d", got)
		}
	})
}

func TestKM9OneProviderNeedsNoConsent(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, carol := a.user("alice"), a.user("carol")
		if got := a.fetch(carol, alice, anyRoom); got != wire.UserSuccess {
			t.Errorf("colleagues: %d", got)
		}
		if got := a.fetch(alice, alice, anyRoom); got != wire.UserSuccess {
			t.Errorf("own devices: %d", got)
		}
		a.blocks(alice, carol, api.BlockSet)
		if got := a.fetch(carol, alice, anyRoom); got != wire.UserNoConsent {
			t.Errorf("blocked: %d", got)
		}
		// The blocked one asks and sees a request like any other; the blocker sees nothing.
		a.says(wire.ConsentRequest, carol, alice, anyRoom)
		a.shows(carol, "asked carol alice")
		a.shows(alice, "blocked carol alice")
		a.blocks(alice, carol, api.BlockLift)
		if got := a.fetch(carol, alice, anyRoom); got != wire.UserSuccess {
			t.Errorf("no longer blocked: %d", got)
		}
		if err := a.say(a.ctx, alice, &wire.ConsentEntry{ConsentOperation: wire.ConsentRequest, RequesterURI: alice, TargetURI: a.user("nobody")}); err != opUnknown {
			t.Errorf("request to nobody of ours: %v", err)
		}
	})
}

// TestKM9ADeviceInTheRoomIsConsentForIt, being listed as a participant is not: anybody who may add people could list one.
func TestKM9ADeviceInTheRoomIsConsentForIt(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob, club := a.user("alice"), b.user("bob"), b.room("club")
		var id, device int64
		write := func(fn func(tx *db.Tx) error) {
			t.Helper()
			if err := a.db.Write(a.ctx, fn); err != nil {
				t.Fatal(err)
			}
		}
		write(func(tx *db.Tx) (err error) {
			if id, err = tx.CreateRoom(db.Room{URI: club.String(), GroupID: "g", State: []byte{}}); err != nil {
				return err
			}
			device, err = tx.CreateDevice(db.Device{Client: "mimi://a.example/d/alice/1", User: alice.String(), Name: "x", SignatureKey: []byte{1}, Certificate: []byte{1}})
			if err != nil {
				return err
			}
			return tx.SetRoomUsers(id, []string{alice.String()})
		})
		if got := a.fetch(bob, alice, club); got != wire.UserNoConsent {
			t.Errorf("listed: %d", got)
		}
		write(func(tx *db.Tx) error { return tx.AddMember(id, device, 1) })
		if got := a.fetch(bob, alice, club); got != wire.UserSuccess {
			t.Errorf("in the room: %d", got)
		}
		if got := a.fetch(bob, alice, b.room("other")); got != wire.UserNoConsent {
			t.Errorf("for another room: %d", got)
		}
		a.blocks(alice, bob, api.BlockSet)
		if got := a.fetch(bob, alice, club); got != wire.UserNoConsent {
			t.Errorf("blocked: %d", got)
		}
	})
}

func TestCO3CancelOfTheSameScope(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob, club := a.user("alice"), b.user("bob"), a.room("club")
		a.says(wire.ConsentCancel, alice, bob, anyRoom) // there is none
		if len(a.outgoing()) != 0 {
			t.Errorf("sent %q", a.outgoing())
		}
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		a.says(wire.ConsentRequest, alice, bob, club)
		b.shows(bob, "asked alice bob", "asked alice bob club")
		a.says(wire.ConsentCancel, alice, bob, club)
		b.shows(bob, "asked alice bob")
		a.shows(alice, "asked alice bob")
		cancel, err := (&wire.ConsentEntry{ConsentOperation: wire.ConsentCancel, RequesterURI: alice, TargetURI: bob, RoomID: club}).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		b.wasHinted(bob)
		for range 2 { // unmatched, or repeated: received, no effect
			if err := b.receive(b.ctx, a.domain, cancel, false); err != nil {
				t.Errorf("unmatched: %v", err)
			}
		}
		b.shows(bob, "asked alice bob")
		if b.wasHinted(bob) {
			t.Error("told of nothing")
		}
		// A cancel takes back a request, not what was granted upon it.
		b.says(wire.ConsentGrant, alice, bob, anyRoom)
		a.says(wire.ConsentCancel, alice, bob, anyRoom)
		b.shows(bob, "granted alice bob")
		if got := a.fetch(bob, alice, anyRoom); got != wire.UserNoConsent {
			t.Errorf("bob fetches from who took the request back: %d", got)
		}
	})
}

// TestCO4NothingIsRevealed: the requester's provider cannot tell an unknown target, one that has blocked the requester, one
// that has declined and one that has not looked yet from each other.
func TestCO4NothingIsRevealed(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob, eve, nobody := a.user("alice"), b.user("bob"), b.user("eve"), b.user("nobody")
		b.blocks(bob, alice, api.BlockSet)
		b.says(wire.ConsentRevoke, alice, eve, anyRoom)
		b.wasHinted(bob)
		for _, target := range []mimi.UserID{bob, eve, nobody} {
			a.says(wire.ConsentRequest, alice, target, anyRoom)
			if got := b.fetch(alice, target, anyRoom); got != wire.UserNoConsent {
				t.Errorf("%s: %d", target.Name(), got)
			}
		}
		a.shows(alice, "asked alice bob", "asked alice eve", "asked alice nobody")
		b.shows(bob, "blocked alice bob")
		b.shows(eve, "denied alice eve")
		if b.wasHinted(bob) || len(b.outgoing()) != 0 {
			t.Errorf("bob is told, or something went out: %q", b.outgoing())
		}
		// Each of them is written down in the same way, so that the disk takes its time over each.
		err := b.db.Read(b.ctx, func(tx *db.Tx) error {
			peers, err := tx.ConsentPeers()
			if err == nil && (len(peers) != 1 || peers[0].Received != 3 || peers[0].Dropped != 0) {
				t.Errorf("counts: %+v", peers)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestCO5AnswersOfOtherScopes also shows that what one of us revokes stays here.
func TestCO5AnswersOfOtherScopes(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob, eve, club, other := a.user("alice"), b.user("bob"), b.user("eve"), a.room("club"), a.room("other")
		// narrower than the request
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		b.says(wire.ConsentGrant, alice, bob, club)
		a.shows(alice, "asked alice bob", "granted alice bob club")
		if in, out := b.fetch(alice, bob, club), b.fetch(alice, bob, other); in != wire.UserSuccess || out != wire.UserNoConsentForThisRoom {
			t.Errorf("narrower: %d in the room, %d outside", in, out)
		}
		// broader than the request: it answers that too
		a.says(wire.ConsentRequest, alice, eve, club)
		b.says(wire.ConsentGrant, alice, eve, anyRoom)
		a.shows(alice, "asked alice bob", "granted alice bob club", "granted alice eve", "granted alice eve club")
		// unsolicited
		b.says(wire.ConsentGrant, a.user("carol"), bob, anyRoom)
		a.shows(a.user("carol"), "granted carol bob")
		sent := len(b.outgoing())
		b.says(wire.ConsentRevoke, a.user("carol"), bob, anyRoom)
		if len(b.outgoing()) != sent || b.fetch(a.user("carol"), bob, anyRoom) != wire.UserNoConsent {
			t.Errorf("revoked: sent %q", b.outgoing())
		}
		// What other providers revoke is believed.
		for _, target := range []mimi.UserID{bob, eve} {
			revoke, err := (&wire.ConsentEntry{ConsentOperation: wire.ConsentRevoke, RequesterURI: alice, TargetURI: target}).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if err := a.receive(a.ctx, b.domain, revoke, true); err != nil {
				t.Error(err)
			}
		}
		a.shows(alice, "denied alice bob", "granted alice bob club", "granted alice eve club")
	})
}

// TestCO6GrantedKeyPackagesAreDiscarded: a grant with KeyPackages is a grant. They are not kept, so none can end up in a
// room of another provider, nor be handed out a second time when its owner's provider is asked.
func TestCO6GrantedKeyPackagesAreDiscarded(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob := a.user("alice"), b.user("bob")
		authority, err := openAuthority(b.ctx, b.db, "b.example", rand.Reader, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		key, err := mls.GenerateSignatureKey(suite, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		device, _ := testClient(t, "b.example", "bob", "phone")
		certificate, err := authority.IssueDevice(device, bob, key.Public(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		client, err := room.NewClient(key, mls.X509Credential(certificate))
		if err != nil {
			t.Fatal(err)
		}
		life := mls.Lifetime{NotBefore: uint64(time.Now().Add(-time.Hour).Unix()), NotAfter: uint64(time.Now().Add(time.Hour).Unix())}
		secrets, err := mls.NewKeyPackage(mls.Config{Now: time.Now, Rand: rand.Reader}, client, life, nil)
		if err != nil {
			t.Fatal(err)
		}
		grant, err := (&wire.ConsentEntry{ConsentOperation: wire.ConsentGrant, RequesterURI: alice, TargetURI: bob,
			ClientKeyPackages: []*mls.KeyPackage{secrets.KeyPackage, secrets.KeyPackage}}).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if err := a.receive(a.ctx, b.domain, grant, true); err != nil {
			t.Fatal(err)
		}
		a.shows(alice, "granted alice bob")
		ref, err := secrets.KeyPackage.Ref()
		if err != nil {
			t.Fatal(err)
		}
		err = a.db.Read(a.ctx, func(tx *db.Tx) error {
			if _, err := tx.KeyClaim(ref); !errors.Is(err, db.ErrNotFound) {
				t.Errorf("kept: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// A browser of ours cannot send any.
		e, err := wire.UnmarshalConsentEntry(grant)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (&socket{}).consent(&api.Request{Body: grant}); err != opBadRequest || len(e.ClientKeyPackages) != 2 {
			t.Errorf("from a browser: %v", err)
		}
	})
}

// TestCO7MostSpecificScopeWins: and a denial beats what would follow from other things at the same scope.
func TestCO7MostSpecificScopeWins(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob, club, other := a.user("alice"), b.user("bob"), a.room("club"), a.room("other")
		type answer struct {
			op   wire.ConsentOperation
			room mimi.RoomID
		}
		grant, revoke := wire.ConsentGrant, wire.ConsentRevoke
		tests := []struct {
			name              string
			said              []answer
			club, other, none wire.KeyMaterialUserCode
		}{
			{"nothing", nil, 5, 5, 5},
			{"granted", []answer{{grant, anyRoom}}, 0, 0, 0},
			{"granted but for one", []answer{{grant, anyRoom}, {revoke, club}}, 5, 0, 0},
			{"but for one, granted", []answer{{revoke, club}, {grant, anyRoom}}, 5, 0, 0},
			{"denied but for one", []answer{{revoke, anyRoom}, {grant, club}}, 0, 5, 5},
			{"for one", []answer{{grant, club}}, 0, 6, 6},
			{"denied later", []answer{{grant, anyRoom}, {revoke, anyRoom}}, 5, 5, 5},
			{"granted later", []answer{{revoke, club}, {grant, club}}, 0, 6, 6},
		}
		for i, tt := range tests {
			requester := a.user(fmt.Sprint("u", i))
			for _, s := range tt.said {
				b.says(s.op, requester, bob, s.room)
			}
			got := []wire.KeyMaterialUserCode{b.fetch(requester, bob, club), b.fetch(requester, bob, other), b.fetch(requester, bob, anyRoom)}
			if want := []wire.KeyMaterialUserCode{tt.club, tt.other, tt.none}; !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", tt.name, got, want)
			}
		}
		// bob asks alice, which would let her ask back, but for the room for which he has denied her
		b.says(revoke, alice, bob, club)
		b.says(wire.ConsentRequest, bob, alice, other)
		if got := b.fetch(alice, bob, other); got != wire.UserSuccess {
			t.Errorf("asked back: %d", got)
		}
		if got := b.fetch(alice, bob, club); got != wire.UserNoConsent {
			t.Errorf("denied: %d", got)
		}
	})
}

func TestBothAskEachOther(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob := a.user("alice"), b.user("bob")
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		b.says(wire.ConsentRequest, bob, alice, anyRoom)
		a.shows(alice, "granted alice bob")
		b.shows(bob, "granted alice bob", "granted bob alice")
		// Whoever asks again is told again.
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		a.shows(alice, "granted alice bob")
	})
}

// TestDeclinedOnceIsDeclined: a stranger who asks again is not shown again. Who then asks that stranger has thought better.
func TestDeclinedOnceIsDeclined(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob := a.user("alice"), b.user("bob")
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		b.says(wire.ConsentRevoke, alice, bob, anyRoom)
		a.says(wire.ConsentCancel, alice, bob, anyRoom)
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		b.shows(bob, "denied alice bob")
		a.shows(alice, "asked alice bob")
		b.says(wire.ConsentRequest, bob, alice, anyRoom)
		b.shows(bob, "granted bob alice")
		if got := b.fetch(alice, bob, anyRoom); got != wire.UserSuccess {
			t.Errorf("asked back: %d", got)
		}
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		a.shows(alice, "granted alice bob")
	})
}

func TestBlockingEndsEverything(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob, club := a.user("alice"), b.user("bob"), a.room("club")
		a.says(wire.ConsentRequest, alice, bob, club)
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		b.says(wire.ConsentGrant, alice, bob, club)
		b.says(wire.ConsentRequest, bob, a.user("carol"), anyRoom)
		b.blocks(bob, alice, api.BlockSet)
		b.blocks(bob, a.user("carol"), api.BlockSet)
		b.shows(bob, "blocked alice bob", "blocked carol bob")
		a.shows(a.user("carol")) // bob's request was taken back
		for _, room := range []mimi.RoomID{club, anyRoom} {
			if got := b.fetch(alice, bob, room); got != wire.UserNoConsent {
				t.Errorf("%v: %d", room, got)
			}
		}
		if err := b.say(b.ctx, bob, &wire.ConsentEntry{ConsentOperation: wire.ConsentRequest, RequesterURI: bob, TargetURI: alice}); err != opConflict {
			t.Errorf("request to who is blocked: %v", err)
		}
		e := &wire.ConsentEntry{ConsentOperation: wire.ConsentRevoke, RequesterURI: alice, TargetURI: bob}
		e.ConsentExtensions = e.ConsentExtensions.Set(mls.ComponentID(api.ComponentBlock), []byte{7})
		if err := b.say(b.ctx, bob, e); err != opBadRequest {
			t.Errorf("unknown value: %v", err)
		}
		b.blocks(bob, alice, api.BlockLift)
		b.shows(bob, "blocked carol bob")
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		b.shows(bob, "asked alice bob", "blocked carol bob")
	})
}

// TestOfflineProviderIsToldLater: in the order in which things were said, each only in its last form.
func TestOfflineProviderIsToldLater(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice, bob, eve := a.user("alice"), b.user("bob"), b.user("eve")
		a.cut(true)
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		a.says(wire.ConsentRequest, a.user("carol"), eve, anyRoom)
		a.says(wire.ConsentCancel, alice, bob, anyRoom)
		a.says(wire.ConsentRequest, alice, bob, anyRoom)
		a.says(wire.ConsentRequest, alice, c.user("zoe"), anyRoom)
		time.Sleep(3 * 24 * time.Hour)
		if n := len(a.outgoing()); n > 200 {
			t.Errorf("%d attempts in three days", n)
		}
		b.shows(bob)
		a.cut(false)
		time.Sleep(consentPauseMax + time.Minute)
		b.shows(bob, "asked alice bob")
		b.shows(eve, "asked carol eve")
		c.shows(c.user("zoe"), "asked alice zoe")
		// After a week nobody tries any more.
		b.cut(true)
		b.says(wire.ConsentGrant, alice, bob, anyRoom)
		time.Sleep(consentLife + 2*consentPauseMax)
		heads, err := b.heads(b.ctx)
		if err != nil || len(heads) != 0 {
			t.Errorf("%d still queued, %v", len(heads), err)
		}
	})
}

func TestNoSuchTargetAtAnotherProvider(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice := a.user("alice")
		a.post = func(context.Context, mimi.ProviderID, string, map[string]string, []byte) (*peerAnswer, error) {
			return &peerAnswer{status: http.StatusNotFound}, nil
		}
		a.says(wire.ConsentRequest, alice, b.user("nobody"), anyRoom)
		a.shows(alice, "denied alice nobody")
		if !a.wasHinted(alice) {
			t.Error("alice is not told")
		}
	})
}

// TestTenThousandRequests of one provider leave bounded rows, one person's list stays usable, others get through.
func TestTenThousandRequests(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		bob, eve := b.user("bob"), b.user("eve")
		body := func(op wire.ConsentOperation, requester, target mimi.UserID) []byte {
			data, err := (&wire.ConsentEntry{ConsentOperation: op, RequesterURI: requester, TargetURI: target}).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		limited := 0
		for i := range 10_000 {
			requester := a.user(fmt.Sprint("bot", i))
			target := []mimi.UserID{bob, b.user(fmt.Sprint("guess", i))}[i%2]
			err := b.receive(b.ctx, a.domain, body(wire.ConsentRequest, requester, target), false)
			switch {
			case err == opRateLimited:
				limited++
			case err != nil:
				t.Fatal(err)
			}
		}
		if limited < 9000 {
			t.Errorf("only %d refused for their rate", limited)
		}
		// Slowly, over days, they are taken and forgotten.
		for i := range 1200 {
			time.Sleep(peerConsentEvery)
			if err := b.receive(b.ctx, a.domain, body(wire.ConsentRequest, a.user(fmt.Sprint("slow", i)), bob), false); err != nil {
				t.Fatal(err)
			}
			if err := a.receive(a.ctx, b.domain, body(wire.ConsentGrant, a.user("alice"), b.user(fmt.Sprint("gift", i))), true); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(b.lines(bob)); n != maxRequestsPair {
			t.Errorf("bob has %d requests", n)
		}
		if n := len(a.lines(a.user("alice"))); n != maxUnasked {
			t.Errorf("alice was given %d", n)
		}
		var peers []db.ConsentPeer
		err := b.db.Read(b.ctx, func(tx *db.Tx) (err error) { peers, err = tx.ConsentPeers(); return err })
		if err != nil || len(peers) != 1 || peers[0].Dropped < 1100 {
			t.Errorf("what the operator sees: %+v %v", peers, err)
		}
		// Another provider, and another person, are not concerned.
		for _, target := range []mimi.UserID{eve, bob} {
			if err := b.receive(b.ctx, c.domain, body(wire.ConsentRequest, c.user("zoe"), target), false); err != nil {
				t.Fatal(err)
			}
		}
		b.shows(eve, "asked zoe eve")
		if !slices.Contains(b.lines(bob), "asked zoe bob") {
			t.Error("bob does not hear of zoe")
		}
	})
}

// TestOwnUsersAreBoundedToo: a browser gone wild neither fills the database nor floods another provider.
func TestOwnUsersAreBoundedToo(t *testing.T) {
	consentWorld(t, func(a, b, c *consentSide) {
		alice := a.user("alice")
		refused := 0
		for i := range 400 {
			time.Sleep(userConsentEvery)
			e := &wire.ConsentEntry{ConsentOperation: wire.ConsentRequest, RequesterURI: alice, TargetURI: b.user(fmt.Sprint("u", i))}
			if err := a.say(a.ctx, alice, e); err == opRateLimited {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if n := len(a.lines(alice)); n != maxRequestsBy || refused != 400-maxRequestsBy {
			t.Errorf("%d open, %d refused", n, refused)
		}
	})
}
