//go:build linux || darwin || freebsd

package servertest_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/mimi"
	"kith/server/servertest"
	"kith/server/servertest/acmetest"
	"kith/web/client"
)

// patience is how long something may take on a machine that has much else to do.
const patience = 90 * time.Second

// eventually waits for something in real time.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// site is a provider that runs as a program, and its people.
type site struct {
	*acmetest.Program
	domain mimi.ProviderID
	person servertest.Account
	users  []*servertest.User
	base   string
}

// startSites starts programs at once, each with one account, and sees to their end.
func startSites(t *testing.T, program func(hosts *acmetest.Hosts, binary, name string) *acmetest.Program, accounts map[string]string) map[string]*site {
	t.Helper()
	var names []string
	for name := range accounts {
		names = append(names, name)
	}
	hosts := acmetest.Loopback(t, names...)
	binary, err := acmetest.Build(t.TempDir())
	must(t, err)
	sites := map[string]*site{}
	for name, account := range accounts {
		domain, err := mimi.NewProviderID(hosts.Domain(name))
		must(t, err)
		s := &site{Program: program(hosts, binary, name), domain: domain}
		s.base = s.Ready[:strings.LastIndexByte(s.Ready, '/')]
		people, err := servertest.Accounts(ctx, s.Data, domain, time.Now(), account)
		must(t, err)
		s.person, sites[name] = people[0], s
		t.Cleanup(func() {
			for _, u := range s.users {
				u.Stop()
			}
			s.Kill()
			if t.Failed() {
				t.Logf("%s:\n%s", s.domain, s.Logged(40))
			}
		})
	}
	var starting sync.WaitGroup
	for _, s := range sites {
		starting.Go(func() {
			if err := s.Start(patience); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return sites
}

// device opens a browser of the site's person.
func (s *site) device(t *testing.T) *servertest.User {
	u := servertest.UserAt(s.person, fmt.Sprintf("%s/%d", s.person.User.Name(), len(s.users)+1), s.base, s.Client)
	s.users = append(s.users, u)
	eventually(t, u.Name+" is ready", func() bool { return u.Ready(ctx) })
	return u
}

// TestTryOutOfPrograms is what the README says about trying out several servers on one machine: plain HTTP for browsers,
// names in /etc/hosts, no authority.
func TestTryOutOfPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("programs take their time; not with -short")
	}
	sites := startSites(t, tryOut(t), map[string]string{"a": "alice", "b": "bob"})
	a1, b1 := sites["a"].device(t), sites["b"].device(t)
	v, err := a1.Session.NewChat(ctx, "bob@"+sites["b"].domain.Host())
	must(t, err)
	if !v.Waiting {
		t.Errorf("nobody has to consent: %+v", v)
	}
	alice := a1.Account.User.String()
	eventually(t, "the request", func() bool { return slices.Equal(requests(b1), []string{"<alice@" + sites["a"].domain.Host()}) })
	must(t, b1.Session.AcceptRequest(ctx, alice, ""))
	eventually(t, "the chat", func() bool { return len(rooms(a1)) == 1 && len(rooms(b1)) == 1 })
	room := rooms(a1)[0].ID
	both := []*servertest.User{a1, b1}
	everybodySees(t, room, both, write(t, room, both, "tries it out")...)
	alike(t, room, both...)
}

// secure starts programs as an operator does who has names and nothing else.
func secure(t *testing.T) func(hosts *acmetest.Hosts, binary, name string) *acmetest.Program {
	return func(hosts *acmetest.Hosts, binary, name string) *acmetest.Program {
		return hosts.Program(t, binary, name)
	}
}

// tryOut starts programs with -dev.
func tryOut(t *testing.T) func(hosts *acmetest.Hosts, binary, name string) *acmetest.Program {
	return func(hosts *acmetest.Hosts, binary, name string) *acmetest.Program {
		p, domain := hosts.Program(t, binary, name), hosts.Domain(name)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		must(t, l.Close())
		p.Args = []string{"-dev", "-domain", domain, "-listen", l.Addr().String(), "-federation", hosts.Address(domain) + ":443"}
		p.Ready, p.Client, p.Env = "http://"+l.Addr().String()+"/readyz", http.DefaultClient, nil
		return p
	}
}

// TestDraftExampleOfPrograms is the draft's example again, with what an operator has: three programs at loopback addresses
// with the usual ports, names, certificates that they fetch themselves, and processes that are killed.
//
// draft-ietf-mimi-protocol-06, Section 3
func TestDraftExampleOfPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("three programs take their time; not with -short")
	}
	sites := startSites(t, secure(t), map[string]string{"a": "alice", "b": "bob", "c": "cathy"})
	a, b, c := sites["a"], sites["b"], sites["c"]
	a1, b1, c1 := a.device(t), b.device(t), c.device(t)
	must(t, servertest.Acquaint(ctx, a1, b1, c1))

	// 3.1 to 3.3: Alice creates a room and adds Bob, Bob adds Cathy
	club, err := a1.Session.NewGroup(ctx, "clubhouse", nil)
	must(t, err)
	add(t, a1, club.ID, b1)
	add(t, b1, club.ID, c1)

	// 3.4 Everybody sends messages, and the hub and a follower are killed in the middle of it
	all := []*servertest.User{a1, b1, c1}
	everybodySees(t, club.ID, all, write(t, club.ID, all, "before")...)
	everybodySees(t, club.ID, all, writeAround(t, club.ID, all, a)...)
	everybodySees(t, club.ID, all, writeAround(t, club.ID, all, b)...)
	alike(t, club.ID, all...)

	// 3.5 Bob leaves
	must(t, b1.Session.Leave(ctx, club.ID))
	eventually(t, "Bob is out", removed(b1, club.ID))
	rest := []*servertest.User{a1, c1}
	without := write(t, club.ID, rest, "without Bob")
	everybodySees(t, club.ID, rest, without...)
	alike(t, club.ID, rest...)
	for _, text := range without {
		if slices.Contains(lines(b1, club.ID), text) {
			t.Error("Bob reads on after he has left")
		}
	}

	// 3.6 Cathy's new device
	c2 := c.device(t)
	eventually(t, "Cathy's new device is in", has(c2, club.ID))
	rest = append(rest, c2)
	everybodySees(t, club.ID, rest, write(t, club.ID, []*servertest.User{c2, a1}, "from the new one")...)
	alike(t, club.ID, rest...)
}

// add lets one add the other to a room; where the provider has not heard of the consent yet, it is tried again.
func add(t *testing.T, from *servertest.User, room string, to *servertest.User) {
	t.Helper()
	var err error
	eventually(t, to.Name+" is in", func() bool {
		if !has(to, room)() {
			err = from.Session.AddMembers(ctx, room, []string{to.Account.User.String()})
		}
		return has(to, room)()
	})
	if err != nil {
		t.Logf("adding %s: %v", to.Name, err)
	}
}

// write lets everybody write a message, and returns them.
func write(t *testing.T, room string, users []*servertest.User, what string) (texts []string) {
	t.Helper()
	for _, u := range users {
		text := u.Name + " " + what
		_, err := u.Session.Send(ctx, room, text)
		must(t, err)
		texts = append(texts, text)
	}
	return texts
}

// writeAround lets everybody write while a site is killed and comes back.
func writeAround(t *testing.T, room string, users []*servertest.User, s *site) (texts []string) {
	t.Helper()
	for i := range 10 {
		texts = append(texts, write(t, room, users, fmt.Sprintf("%d around %s", i, s.person.User.Name()))...)
		switch i {
		case 3:
			s.Kill()
		case 6:
			must(t, s.Start(patience))
		}
	}
	return texts
}

// everybodySees waits until texts have reached all devices, and demands that nothing is there twice.
func everybodySees(t *testing.T, room string, users []*servertest.User, texts ...string) {
	t.Helper()
	for _, u := range users {
		eventually(t, fmt.Sprintf("%s sees all of %q, has %q", u.Name, texts, lines(u, room)), func() bool {
			have := lines(u, room)
			return !slices.ContainsFunc(texts, func(text string) bool { return !slices.Contains(have, text) })
		})
		have := lines(u, room)
		if once := slices.Compact(slices.Sorted(slices.Values(have))); len(once) != len(have) {
			t.Errorf("%s sees messages twice: %q", u.Name, have)
		}
	}
}

// alike waits until devices are in the same state, and demands that they show what all of them have seen in one order.
func alike(t *testing.T, room string, users ...*servertest.User) {
	t.Helper()
	var states []client.Inspection
	eventually(t, "all agree", func() bool {
		states = states[:0]
		for _, u := range users {
			i, err := u.Session.Inspect(ctx, room)
			if err != nil || i.Pending > 0 || i.Broken || len(i.Authenticator) == 0 || !slices.Equal(i.Authenticator, append(states, i)[0].Authenticator) {
				return false
			}
			states = append(states, i)
		}
		return true
	})
	first := lines(users[0], room)
	for _, u := range users[1:] {
		have := lines(u, room)
		// Who came later has seen less.
		if tail := first[max(0, len(first)-len(have)):]; !slices.Equal(tail, have) {
			t.Errorf("%s and %s differ:\n%s\n\n%s", users[0].Name, u.Name, strings.Join(tail, "\n"), strings.Join(have, "\n"))
		}
	}
}
