package server

import (
	"bytes"
	"crypto/x509"
	"database/sql"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// TestCR6FrankingAgent: the agent has a key and a certificate of its own, which stay over a restart and are renewed.
func TestCR6FrankingAgent(t *testing.T) {
	clock := &fakeClock{t: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	a, store, err := testAuthority(t, dir, "a.example", clock.now)
	if err != nil {
		t.Fatal(err)
	}
	first := a.FrankingAgent()
	if bytes.Equal(first.FrankingSignatureKey, a.HubKey().Public()) || !bytes.Equal(first.FrankingSignatureKey, a.AgentKey()) {
		t.Error("the franking agent has the key of the external sender")
	}
	parse := func(c mls.Credential) *x509.Certificate {
		t.Helper()
		x, err := x509.ParseCertificate(c.Certificates[0])
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	x := parse(first.Credential)
	if len(x.DNSNames) != 1 || x.DNSNames[0] != "a.example" || len(x.URIs) != 1 || x.URIs[0].String() != "mimi://a.example" {
		t.Errorf("names %v %v", x.DNSNames, x.URIs)
	}
	if err := x.CheckSignatureFrom(a.root); err != nil {
		t.Error(err)
	}
	if !a.FrankingAgent().Credential.Equal(first.Credential) {
		t.Error("another certificate without a reason")
	}
	clock.add(60 * 24 * time.Hour)
	renewed := a.FrankingAgent()
	if renewed.Credential.Equal(first.Credential) || parse(renewed.Credential).NotAfter.Before(clock.now().Add(70*24*time.Hour)) ||
		!bytes.Equal(renewed.FrankingSignatureKey, first.FrankingSignatureKey) {
		t.Error("not renewed, or with another key")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	b, _, err := testAuthority(t, dir, "a.example", clock.now)
	if err != nil {
		t.Fatal(err)
	}
	if again := b.FrankingAgent(); !again.Credential.Equal(renewed.Credential) || !bytes.Equal(b.AgentKey(), a.AgentKey()) {
		t.Error("after a restart it is another agent")
	}
}

// TestCR6AgentOfAnOlderDatabase: a provider from before franks gets an agent, and stays who it is.
func TestCR6AgentOfAnOlderDatabase(t *testing.T) {
	dir := t.TempDir()
	a, store, err := testAuthority(t, dir, "a.example", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", filepath.Join(dir, "kith.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Exec(`DELETE FROM setting WHERE key LIKE 'franking_%'; DELETE FROM hub_key`); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	b, _, err := testAuthority(t, dir, "a.example", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if b.agent.key == nil || len(b.Franker().HubKeys) == 0 || !bytes.Equal(b.RootDER(), a.RootDER()) || !b.HubSender().Credential.Equal(a.HubSender().Credential) {
		t.Error("no agent, or another provider")
	}
}

// TestFR8HubKeysByTime lets years pass: each key is stored before its time, serves for a quarter of a year, and what it
// has franked is recognised for ever after.
func TestFR8HubKeysByTime(t *testing.T) {
	clock := &fakeClock{t: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	a, store, err := testAuthority(t, dir, "a.example", clock.now)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := mimi.ParseUserID("mimi://a.example/u/alice")
	if err != nil {
		t.Fatal(err)
	}
	in, err := mimi.ParseRoomID("mimi://a.example/r/x")
	if err != nil {
		t.Fatal(err)
	}
	franked := func(at time.Time) *room.Franked {
		t.Helper()
		m := &room.Franked{ApplicationData: []byte("data"), SenderURI: sender, RoomURI: in, AcceptedTimestamp: uint64(at.UnixMilli())}
		f := a.Franker()
		key := f.HubKeys[0]
		for _, k := range f.HubKeys {
			if k.From <= m.AcceptedTimestamp {
				key = k
			}
		}
		frank, err := wire.NewFrank(&key.Key, f.Agent, wire.NewFrankAAD(m.Salt, m.ApplicationData),
			wire.ServerFrankingContext{SenderURI: sender, RoomURI: in, AcceptedTimestamp: m.AcceptedTimestamp})
		if err != nil {
			t.Fatal(err)
		}
		m.Frank = *frank
		return m
	}
	var list []*room.Franked
	for range 8 {
		list = append(list, franked(clock.now()))
		drain(t, store)
		clock.add(50 * 24 * time.Hour)
	}
	keys := a.Franker().HubKeys
	if len(keys) != 4 {
		t.Fatalf("%d keys in 350 days", len(keys))
	}
	seen := map[[wire.HubKeySize]byte]bool{}
	for i, k := range keys {
		if i > 0 && k.From < keys[i-1].From+uint64(hubKeyLife.Milliseconds()) || seen[k.Key] {
			t.Errorf("key %d is from %d, or the same again", i, k.From)
		}
		seen[k.Key] = true
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	b, _, err := testAuthority(t, dir, "a.example", clock.now)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range list {
		if r := b.Franker().VerifyReported(m, sender, in); r != nil {
			t.Errorf("message %d: %v", i, r)
		}
	}
}

// drain waits until everything that was queued before is written.
func drain(t *testing.T, store *db.DB) {
	t.Helper()
	if err := store.Write(t.Context(), func(*db.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestTR6ReporterIsOfTheSender: a report names the user whose device sends it, a user of the provider that passes it on, or
// nobody.
func TestTR6ReporterIsOfTheSender(t *testing.T) {
	alice, aliceUser := testClient(t, "a.example", "alice", "1")
	_, bobUser := testClient(t, "a.example", "bob", "1")
	_, carolUser := testClient(t, "b.example", "carol", "1")
	peer := room.Origin{Provider: carolUser.Provider()}
	for _, tt := range []struct {
		from room.Origin
		user mimi.UserID
		want bool
	}{
		{room.From(alice), aliceUser, true}, {room.From(alice), bobUser, false}, {room.From(alice), carolUser, false},
		{room.From(alice), mimi.UserID{}, true}, {peer, carolUser, true}, {peer, aliceUser, false}, {peer, mimi.UserID{}, true},
		{room.Origin{}, aliceUser, false},
	} {
		if got := isReporter(tt.from, tt.user); got != tt.want {
			t.Errorf("%v reports as %s: %t", tt.from, tt.user, got)
		}
	}
}

// TestRA1PeersAreLimited: a provider that makes up users runs into the limit of its own.
func TestRA1PeersAreLimited(t *testing.T) {
	limits := newReportLimits()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	user := func(name string) mimi.UserID {
		_, u := testClient(t, "b.example", name, "1")
		return u
	}
	from := room.Origin{Provider: user("x").Provider()}
	n := 0
	for i := range 200 {
		if limits.take(from, user("u"+strconv.Itoa(i)), now) {
			n++
		}
	}
	if n != peerReportBurst {
		t.Errorf("%d reports of made-up users", n)
	}
	if alice, _ := testClient(t, "a.example", "alice", "1"); !limits.take(room.From(alice), mimi.UserID{}, now) {
		t.Error("a user of ours pays for it")
	}
}
