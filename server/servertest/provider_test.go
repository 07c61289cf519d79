package servertest_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/servertest"
	"kith/web/client"
)

var ctx = context.Background()

// world runs a test on fake time with one provider and accounts for all names.
func world(t *testing.T, names []string, test func(p *servertest.Provider)) {
	t.Helper()
	dir := t.TempDir()
	servertest.Bubble(t, func(t *testing.T) {
		n, err := servertest.NewNet(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
		must(t, err)
		defer func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute) // let what is left of connections end
		}()
		p, err := n.Provider(ctx, "a.example", dir, names...)
		if err != nil {
			t.Fatal(err)
		}
		test(p)
	})
}

// until waits, in fake time, for something to become true.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 3000 {
		synctest.Wait()
		if cond() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func online(t *testing.T, users ...*servertest.User) {
	t.Helper()
	for _, u := range users {
		until(t, "online", func() bool { return u.Session.State(ctx).Online })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lines(u *servertest.User, room string) []string {
	var out []string
	page, _ := u.Session.Timeline(ctx, room, "", 200)
	for _, m := range page.Messages {
		if m.Kind == "message" {
			out = append(out, m.Text)
		}
	}
	return out
}

func sees(t *testing.T, u *servertest.User, room string, want ...string) {
	t.Helper()
	until(t, fmt.Sprintf("%.200q (has %.200q)", want, lines(u, room)), func() bool { return slices.Equal(lines(u, room), want) })
}

func has(u *servertest.User, room string) func() bool {
	return func() bool {
		list, _ := u.Session.Rooms(ctx)
		return slices.ContainsFunc(list, func(r client.RoomView) bool { return r.ID == room })
	}
}

func removed(u *servertest.User, room string) func() bool {
	return func() bool {
		list, _ := u.Session.Rooms(ctx)
		return slices.ContainsFunc(list, func(r client.RoomView) bool { return r.ID == room && r.Removed })
	}
}

// TestStory is the main job: two people find each other and chat, a third comes, somebody is removed and cannot read
// on. Nothing of what they say is in the provider's files, in its log or on the wire.
func TestStory(t *testing.T) {
	const secret = "the treasure is under the third oak"
	var dir string
	var logged, frames string
	world(t, []string{"alice", "bob", "carol"}, func(p *servertest.Provider) {
		alice, bob, carol := p.User("alice"), p.User("bob"), p.User("carol")
		online(t, alice, bob, carol)
		found, err := alice.Session.Search(ctx, "bob")
		must(t, err)
		if len(found) != 1 || found[0].Name != "bob" {
			t.Fatalf("search: %+v", found)
		}
		ab, err := alice.Session.NewChat(ctx, found[0].User)
		must(t, err)
		until(t, "chat at Bob's", has(bob, ab.ID))
		_, err = alice.Session.Send(ctx, ab.ID, secret)
		must(t, err)
		sees(t, bob, ab.ID, secret)
		_, err = bob.Session.Send(ctx, ab.ID, "hi")
		must(t, err)
		sees(t, alice, ab.ID, secret, "hi")

		club, err := alice.Session.NewGroup(ctx, "Club", []string{"bob", "carol"})
		must(t, err)
		until(t, "club at Carol's", has(carol, club.ID))
		_, err = carol.Session.Send(ctx, club.ID, "one")
		must(t, err)
		sees(t, bob, club.ID, "one")
		must(t, alice.Session.RemoveMember(ctx, club.ID, carol.Account.User.String()))
		until(t, "removal at Carol's", removed(carol, club.ID))
		_, err = bob.Session.Send(ctx, club.ID, "two")
		must(t, err)
		sees(t, alice, club.ID, "one", "two")
		if got := lines(carol, club.ID); !slices.Equal(got, []string{"one"}) {
			t.Errorf("carol reads on: %q", got)
		}
		// An hour away: everything comes, in order.
		bob.SetOffline(true)
		var want []string
		for i := range 20 {
			text := fmt.Sprintf("m%d", i)
			_, err := alice.Session.Send(ctx, club.ID, text)
			must(t, err)
			want = append(want, text)
			time.Sleep(3 * time.Minute)
		}
		bob.SetOffline(false)
		sees(t, bob, club.ID, append([]string{"one", "two"}, want...)...)
		dir, logged, frames = p.Dir, p.Log.String(), alice.Wire.String()+bob.Wire.String()
	})
	unreadable(t, dir, logged, frames, secret)
}

// unreadable searches files, log and frames for a text, plain and in the usual disguises.
func unreadable(t *testing.T, dir, logged, frames, secret string) {
	t.Helper()
	haystacks := map[string]string{"the log": logged, "the wire": frames}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err == nil {
			haystacks[filepath.Base(name)] = string(data)
		}
	}
	if len(haystacks) < 3 || len(frames) < 1000 {
		t.Fatal("nothing to search in")
	}
	part := secret[4:20] // a word or two is enough
	for where, text := range haystacks {
		for _, s := range []string{part, strings.ToUpper(part), hex.EncodeToString([]byte(part)), base64.StdEncoding.EncodeToString([]byte(secret))[:20]} {
			if strings.Contains(text, s) {
				t.Errorf("what Alice wrote is in %s", where)
			}
		}
	}
	if strings.Contains(logged, "mimi://") {
		t.Error("a URI in the log")
	}
}

// TestServerRestarts stops and starts the provider at random moments while all write and the group changes: nothing
// is lost, nothing is there twice, all see the same order.
func TestServerRestarts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	world(t, []string{"alice", "bob", "carol"}, func(p *servertest.Provider) {
		users := []*servertest.User{p.User("alice"), p.User("bob"), p.User("carol")}
		online(t, users...)
		club, err := users[0].Session.NewGroup(ctx, "Club", []string{"bob", "carol"})
		must(t, err)
		for _, u := range users {
			until(t, "club", has(u, club.ID))
		}
		var want []string
		for i := range 12 {
			for j, u := range users {
				text := fmt.Sprintf("%d.%d", i, j)
				_, err := u.Session.Send(ctx, club.ID, text)
				must(t, err)
				want = append(want, text)
			}
			time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
			must(t, p.Stop())
			if i%3 == 0 {
				u := users[random.IntN(3)]
				u.Stop()
				u.Start()
			}
			time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond)
			must(t, p.Start(ctx))
			if i%4 == 1 {
				_ = users[0].Session.Rename(ctx, club.ID, fmt.Sprint("Club ", i)) // offline, perhaps
			}
			time.Sleep(time.Duration(random.IntN(9000)) * time.Millisecond)
		}
		slices.Sort(want)
		for _, u := range users {
			until(t, "all messages", func() bool { return slices.Equal(slices.Sorted(slices.Values(lines(u, club.ID))), want) })
			if !slices.Equal(lines(u, club.ID), lines(users[0], club.ID)) {
				t.Errorf("orders differ:\n%q\n%q", lines(u, club.ID), lines(users[0], club.ID))
			}
		}
	})
}

// TestCommitsAtOnce lets two devices of the admin rename a room at the same moment, over and over.
func TestCommitsAtOnce(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 25
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	world(t, []string{"alice", "bob"}, func(p *servertest.Provider) {
		one, two, bob := p.User("alice"), p.User("alice"), p.User("bob")
		online(t, one, two, bob)
		time.Sleep(10 * time.Second) // their key packages are out
		club, err := one.Session.NewGroup(ctx, "Club", []string{"bob"})
		must(t, err)
		for _, u := range []*servertest.User{one, two, bob} {
			until(t, "club", has(u, club.ID))
		}
		done := make(chan error, 2)
		for i := range rounds {
			for j, u := range []*servertest.User{one, two} {
				pause := time.Duration(random.IntN(3)) * time.Millisecond
				go func() {
					time.Sleep(pause)
					done <- u.Session.Rename(ctx, club.ID, fmt.Sprintf("Club %d.%d", i, j))
				}()
			}
			must(t, <-done)
			must(t, <-done)
		}
		until(t, "all renamings at Bob's", func() bool { return renamings(t, bob, club.ID) >= 2*rounds })
		time.Sleep(10 * time.Second) // for one that should not come
		if n := renamings(t, bob, club.ID); n != 2*rounds {
			t.Errorf("Bob saw %d renamings, want %d", n, 2*rounds)
		}
	})
}

// renamings counts the notices of a new name in all of a timeline.
func renamings(t *testing.T, u *servertest.User, room string) (n int) {
	t.Helper()
	for before, more := "", true; more; {
		page, err := u.Session.Timeline(ctx, room, before, 200)
		must(t, err)
		for _, m := range page.Messages {
			if m.Notice != nil && m.Notice.Code == client.NoticeRenamed {
				n++
			}
		}
		if more = page.More; more {
			before = page.Messages[0].Key
		}
	}
	return n
}
