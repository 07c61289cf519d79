package servertest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/policy"
	"kith/server/servertest"
	"kith/web/client"
)

var (
	chaosSeeds = flag.Int("chaos.seeds", 10, "how many seeds TestChaos tries")
	chaosFirst = flag.Uint64("chaos.first", 1, "the first seed of TestChaos")
	chaosSteps = flag.Int("chaos.steps", 160, "how many things happen with each seed of TestChaos")
	chaosTrace = flag.Bool("chaos.trace", false, "tell what happens in TestChaos")
)

// TestChaos lets many things happen at once, good ones and bad ones, and looks afterwards whether everybody sees the
// same. What happens is a matter of the seed; who of two is faster is one of the scheduler too.
func TestChaos(t *testing.T) {
	seeds := *chaosSeeds
	if testing.Short() {
		seeds = min(seeds, 2)
	}
	for seed := *chaosFirst; seed < *chaosFirst+uint64(seeds); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			servertest.Bubble(t, func(t *testing.T) { runChaos(t, seed, dir) })
		})
	}
}

const (
	chaosProviders = 3
	chaosUsers     = 5 // of each provider, with two devices each
	chaosRooms     = 10
)

// chaos is a world in which much goes wrong. Everything but the operations of users runs on the test's goroutine.
type chaos struct {
	t         *testing.T
	seed      uint64
	random    *rand.Rand
	net       *servertest.Net
	providers []*servertest.Provider
	devices   []*servertest.User
	stopped   map[*servertest.User]bool
	due       []dueAct // what ends a fault
	start     time.Time
	trace     []string

	rejoins int // how often a device came back into a room that had gone on without it

	ops     sync.WaitGroup
	mu      sync.Mutex
	texts   int
	written map[string]*writing // by text
	rooms   []string
	banned  map[string][]string // by room: who was to be banned
	kicked  map[string][]string // and who was to be kicked: not all his devices come in before they connect anew
	answers map[string]int      // what became of the operations
	faults  []string            // what must not become of one
}

// writing is a text that a device has taken on.
type writing struct {
	device *servertest.User
	room   string
	id     string
}

type dueAct struct {
	at   time.Time
	what string
	do   func() error
}

func runChaos(t *testing.T, seed uint64, dir string) {
	n, err := servertest.NewNet(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	must(t, err)
	c := &chaos{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 4)), net: n, start: time.Now(), stopped: map[*servertest.User]bool{},
		written: map[string]*writing{}, answers: map[string]int{}, banned: map[string][]string{}, kicked: map[string][]string{}}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d: go test ./server/servertest -run 'TestChaos' -chaos.first=%d -chaos.seeds=1", seed, seed)
			for _, line := range c.trace {
				t.Log(line)
			}
		}
		must(t, n.Close())
		time.Sleep(time.Minute) // let what is left of connections end
	}()
	c.populate(dir)
	for range *chaosSteps {
		c.step()
		time.Sleep(time.Duration(c.random.ExpFloat64() * float64(1500*time.Millisecond)))
		c.carryOut(false)
	}
	c.carryOut(true)
	c.heal()
	c.agree("after the chaos")
	c.everyRoomLives()
	c.agree("after a last word in every room")
	t.Logf("seed %d: %d texts, %d rooms, %d devices, %d rejoins, %s, answers %v", seed, len(c.written), len(c.rooms), len(c.devices), c.rejoins,
		time.Since(c.start).Round(time.Second), c.answers)
}

// log notes what happens, with the time since the beginning.
func (c *chaos) log(format string, args ...any) {
	line := fmt.Sprintf("%8.3f ", time.Since(c.start).Seconds()) + fmt.Sprintf(format, args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trace = append(c.trace, line)
	if *chaosTrace {
		c.t.Log(line)
	}
}

// populate makes providers, users, most with two devices, and rooms.
func (c *chaos) populate(dir string) {
	for i := range chaosProviders {
		domain := string(rune('a'+i)) + ".example"
		var names []string
		for j := range chaosUsers {
			names = append(names, fmt.Sprintf("%c%d", 'a'+i, j))
		}
		p, err := c.net.Provider(ctx, domain, fmt.Sprintf("%s/%s", dir, domain), names...)
		must(c.t, err)
		c.providers = append(c.providers, p)
		for _, name := range names {
			c.devices = append(c.devices, p.User(name))
			if c.random.IntN(3) > 0 { // the others get their second one later
				c.devices = append(c.devices, p.User(name))
			}
		}
	}
	c.await("devices", func() bool {
		return !slices.ContainsFunc(c.devices, func(u *servertest.User) bool { return !u.Ready(ctx) })
	})
	must(c.t, servertest.Acquaint(ctx, c.devices...))
	for i := range chaosRooms {
		by := pick(c, c.devices)
		var others []string
		for range 1 + c.random.IntN(4) {
			others = append(others, pick(c, c.devices).Account.User.String())
		}
		room, err := by.Session.NewGroup(ctx, fmt.Sprintf("Room %d", i), others)
		must(c.t, err)
		c.log("%s: made %s with %v", by.Name, short(room.ID), others)
		c.rooms = append(c.rooms, room.ID)
	}
}

func pick[T any](c *chaos, list []T) T { return list[c.random.IntN(len(list))] }

// between draws a time.
func (c *chaos) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.random.Int64N(int64(most-least)))
}

// later carries something out after a while, on the test's goroutine.
func (c *chaos) later(d time.Duration, what string, do func() error) {
	c.due = append(c.due, dueAct{time.Now().Add(d), what, do})
}

func (c *chaos) carryOut(all bool) {
	now := time.Now()
	for i := 0; i < len(c.due); {
		act := c.due[i]
		if !all && act.at.After(now) {
			i++
			continue
		}
		c.due = slices.Delete(c.due, i, i+1)
		c.log("%s", act.what)
		must(c.t, act.do())
	}
}

// op lets a user do something. That it is refused is no fault, but that something breaks is.
func (c *chaos) op(u *servertest.User, what string, do func(context.Context, *client.Session) error) {
	session := u.Session
	c.log("%s: %s", u.Name, what)
	verb, _, _ := strings.Cut(what, " ")
	c.ops.Go(func() {
		limit, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		err := do(limit, session)
		outcome := verb
		var known *client.Error
		switch {
		case errors.As(err, &known):
			outcome += " " + known.Code
		case err != nil:
			outcome += " unanswered"
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answers[outcome]++
		if known != nil && known.Code == client.CodeInternal && !died(known) {
			c.faults = append(c.faults, fmt.Sprintf("%s: %s: %v", u.Name, what, err))
		}
	})
}

// died says that an operation met the death of its browser.
func died(err *client.Error) bool {
	return strings.Contains(err.Text, client.ErrMemStore.Error()) || strings.Contains(err.Text, "engine stopped")
}

// step is one thing that happens, or two at once.
func (c *chaos) step() {
	acts := []struct {
		weight int
		do     func()
	}{
		{45, c.send}, {14, c.add}, {9, c.remove}, {5, c.rename}, {6, c.race}, {3, c.newDevice},
		{4, c.leave}, {6, c.changeRole}, {3, c.kick}, {3, c.ban}, {3, c.unban}, {2, c.chat}, {4, c.link},
		{4, c.offline}, {4, c.badLine}, {3, c.restart}, {3, c.die}, {4, c.kill}, {2, c.stop}, {7, c.betweenProviders}, {1, c.skew},
	}
	total := 0
	for _, a := range acts {
		total += a.weight
	}
	n := c.random.IntN(total)
	for _, a := range acts {
		if n -= a.weight; n < 0 {
			a.do()
			return
		}
	}
}

// someone picks a device that runs and one of its rooms that fulfils a condition.
func (c *chaos) someone(ok func(client.RoomView) bool) (*servertest.User, client.RoomView, bool) {
	for range 20 {
		u := pick(c, c.devices)
		if c.stopped[u] || u.Store.Dead() {
			continue
		}
		list := slices.DeleteFunc(u.Rooms(ctx), func(r client.RoomView) bool { return r.Removed || !ok(r) })
		if len(list) > 0 {
			slices.SortFunc(list, func(a, b client.RoomView) int { return strings.Compare(a.ID, b.ID) })
			return u, pick(c, list), true
		}
	}
	return nil, client.RoomView{}, false
}

func canSend(r client.RoomView) bool   { return r.CanSend }
func canManage(r client.RoomView) bool { return r.CanManage }

// short is a room's URI as the trace has it: its hub and the beginning of its name.
func short(uri string) string { return strings.TrimPrefix(uri, "mimi://")[:16] }

// somebodyOnline is someone who is connected, most of the time.
func (c *chaos) somebodyOnline(ok func(client.RoomView) bool) (*servertest.User, client.RoomView, bool) {
	for range 5 {
		if u, room, found := c.someone(ok); found && u.Session.State(ctx).Online {
			return u, room, true
		}
	}
	return c.someone(ok)
}

func (c *chaos) send() {
	u, room, ok := c.someone(canSend)
	if !ok {
		return
	}
	for range 1 + c.random.IntN(3) {
		c.write(u, room)
	}
}

// write sends a text that nobody has sent before.
func (c *chaos) write(u *servertest.User, room client.RoomView) {
	c.mu.Lock()
	c.texts++
	text := fmt.Sprintf("text %d of %s", c.texts, u.Name)
	w := &writing{device: u, room: room.ID}
	c.written[text] = w
	c.mu.Unlock()
	c.op(u, "send in "+short(room.ID), func(ctx context.Context, s *client.Session) error {
		m, err := s.Send(ctx, room.ID, text)
		c.mu.Lock()
		defer c.mu.Unlock()
		w.id = m.ID
		if err != nil {
			delete(c.written, text)
		}
		return err
	})
}

func (c *chaos) add() {
	if u, room, ok := c.somebodyOnline(canManage); ok {
		whom := pick(c, c.devices).Account.User.String()
		c.op(u, fmt.Sprintf("add %s to %s", whom, short(room.ID)), func(ctx context.Context, s *client.Session) error { return s.AddMembers(ctx, room.ID, []string{whom}) })
	}
}

// toMember lets somebody do something to a member of a room.
func (c *chaos) toMember(what string, do func(ctx context.Context, s *client.Session, room, whom string) error) {
	u, room, ok := c.somebodyOnline(canManage)
	if !ok {
		return
	}
	limit, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	members, err := u.Members(limit, room.ID)
	if err != nil || len(members) < 2 {
		return
	}
	whom := pick(c, members)
	c.op(u, fmt.Sprintf("%s %s in %s", what, whom, short(room.ID)), func(ctx context.Context, s *client.Session) error {
		return do(ctx, s, room.ID, whom)
	})
}

func (c *chaos) remove() {
	c.toMember("remove", func(ctx context.Context, s *client.Session, room, whom string) error {
		return s.RemoveMember(ctx, room, whom)
	})
}

func (c *chaos) kick() {
	c.toMember("kick", func(ctx context.Context, s *client.Session, room, whom string) error {
		c.mu.Lock()
		c.kicked[room] = append(c.kicked[room], whom)
		c.mu.Unlock()
		return s.Kick(ctx, room, whom)
	})
}

func (c *chaos) ban() {
	c.toMember("ban", func(ctx context.Context, s *client.Session, room, whom string) error {
		c.mu.Lock()
		c.banned[room] = append(c.banned[room], whom)
		c.mu.Unlock()
		return s.Ban(ctx, room, whom)
	})
}

// unban takes back a ban that was tried, if it was one.
func (c *chaos) unban() {
	u, room, ok := c.somebodyOnline(func(r client.RoomView) bool { return r.CanManage && len(c.bannedIn(r.ID)) > 0 })
	if ok {
		whom := pick(c, c.bannedIn(room.ID))
		c.op(u, fmt.Sprintf("unban %s in %s", whom, short(room.ID)), func(ctx context.Context, s *client.Session) error { return s.Unban(ctx, room.ID, whom) })
	}
}

func (c *chaos) bannedIn(room string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.banned[room]
}

// changeRole gives somebody another role; that of an admin more often than not, so that there are some.
func (c *chaos) changeRole() {
	role := int(pick(c, []uint32{policy.RoleAdmin, policy.RoleAdmin, policy.RoleAdmin, policy.RoleModerator, policy.RoleMember}))
	c.toMember(fmt.Sprintf("role=%d for", role), func(ctx context.Context, s *client.Session, room, whom string) error {
		return s.SetRole(ctx, room, whom, role)
	})
}

// link makes a join link, with which somebody comes in.
func (c *chaos) link() {
	u, room, ok := c.somebodyOnline(canManage)
	other := pick(c, c.devices)
	if !ok || c.stopped[other] {
		return
	}
	joiner := other.Session
	c.op(u, fmt.Sprintf("link for %s into %s", other.Name, short(room.ID)), func(ctx context.Context, s *client.Session) error {
		offer, err := s.MakeLink(ctx, room.ID)
		if err == nil {
			_, err = joiner.Join(ctx, offer)
		}
		return err
	})
}

// leave takes somebody out of a room, but nobody who might be the only one who may change it.
func (c *chaos) leave() {
	u, room, ok := c.somebodyOnline(func(r client.RoomView) bool { return r.Kind == "group" && !r.CanManage })
	if ok {
		c.op(u, "leave "+short(room.ID), func(ctx context.Context, s *client.Session) error { return s.Leave(ctx, room.ID) })
	}
}

// chat opens the room of two people, who may be doing the same at this moment.
func (c *chaos) chat() {
	u, other := pick(c, c.devices), pick(c, c.devices)
	if u.Account.User == other.Account.User || c.stopped[u] || c.stopped[other] {
		return
	}
	for _, pair := range [][2]*servertest.User{{u, other}, {other, u}} {
		whom := pair[1].Account.User.String()
		c.op(pair[0], "chat with "+whom, func(ctx context.Context, s *client.Session) error {
			_, err := s.NewChat(ctx, whom)
			return err
		})
		if c.random.IntN(2) == 0 {
			return
		}
	}
}

func (c *chaos) rename() {
	if u, room, ok := c.somebodyOnline(canManage); ok {
		c.renameBy(u, room)
	}
}

func (c *chaos) renameBy(u *servertest.User, room client.RoomView) {
	name := fmt.Sprintf("%.7s, %s at %d", room.Name, u.Name, time.Since(c.start).Milliseconds())
	c.op(u, "rename "+short(room.ID), func(ctx context.Context, s *client.Session) error { return s.Rename(ctx, room.ID, name) })
}

// race lets all who may change a room do so at the same moment.
func (c *chaos) race() {
	_, room, ok := c.someone(canManage)
	if !ok {
		return
	}
	for _, u := range c.devices {
		if !c.stopped[u] && u.Room(ctx, room.ID).CanManage {
			c.renameBy(u, room)
			c.write(u, room)
		}
	}
}

// newDevice gives a user a second device, which has to find its way into the rooms.
func (c *chaos) newDevice() {
	devices := map[mimi.UserID]int{}
	for _, u := range c.devices {
		devices[u.Account.User]++
	}
	alone := slices.DeleteFunc(slices.Clone(c.devices), func(u *servertest.User) bool { return devices[u.Account.User] > 1 })
	if len(alone) == 0 {
		return
	}
	second := pick(c, alone).Another()
	c.devices = append(c.devices, second)
	c.log("%s: a new device", second.Name)
}

func (c *chaos) offline() {
	u := pick(c, c.devices)
	c.log("%s: offline", u.Name)
	u.SetOffline(true)
	c.later(c.between(0, 2*time.Minute), u.Name+": online", func() error { u.SetOffline(false); return nil })
}

// badLine spoils the link between a device and its provider.
func (c *chaos) badLine() {
	u := pick(c, c.devices)
	c.spoil(u.Name, u.Link())
}

// spoil gives a link one fault for a while.
func (c *chaos) spoil(name string, l *servertest.Link) {
	switch c.random.IntN(3) {
	case 0:
		c.log("%s: link cut", name)
		l.Cut()
	case 1:
		c.log("%s: link stalled", name)
		l.Stall()
	case 2:
		most := c.between(time.Millisecond, 5*time.Second)
		c.log("%s: link slow, %v", name, most)
		l.Slow(0, most, 20_000)
		l.Mishaps(0.3)
	}
	c.later(c.between(0, 90*time.Second), name+": link healed", func() error { l.Heal(); return nil })
}

func (c *chaos) betweenProviders() {
	links := c.net.Links()
	if len(links) == 0 {
		return
	}
	i := c.random.IntN(len(links))
	c.spoil(fmt.Sprintf("providers, link %d", i), links[i])
}

// restart closes a browser and opens it again.
func (c *chaos) restart() {
	u := pick(c, c.devices)
	if c.stopped[u] {
		return
	}
	c.log("%s: closed", u.Name)
	u.Stop()
	c.stopped[u] = true
	c.later(c.between(0, time.Minute), u.Name+": opened", func() error { c.reopen(u); return nil })
}

func (c *chaos) reopen(u *servertest.User) {
	if !c.stopped[u] {
		return
	}
	u.Store.Revive()
	u.Start()
	delete(c.stopped, u)
}

// die lets a browser be killed while it writes to its store.
func (c *chaos) die() {
	u := pick(c, c.devices)
	if c.stopped[u] {
		return
	}
	n := 1 + c.random.IntN(8)
	c.log("%s: dies at commit %d", u.Name, n)
	u.Store.FailAt(n, c.random.IntN(2) == 0)
	c.later(c.between(time.Second, time.Minute), u.Name+": opened after its death", func() error {
		if !c.stopped[u] {
			u.Stop()
			c.stopped[u] = true
		}
		c.reopen(u)
		return nil
	})
}

// kill ends a provider in the midst of what it is doing.
func (c *chaos) kill() {
	p := pick(c, c.providers)
	if !p.Running() {
		return
	}
	c.send()
	c.race()
	for range c.random.IntN(3000) {
		c.random.Uint64() // real time, a little of it: the kill comes somewhere in the midst
	}
	c.log("%s: killed", p.Domain.Host())
	must(c.t, p.Kill())
	head, err := p.Head(ctx)
	must(c.t, err)
	for _, u := range c.devices {
		if cursor := u.Cursor(ctx); u.Account.User.Provider() == p.Domain && cursor > head {
			c.t.Errorf("seed %d: %s has event %d, and its provider after its death only %d", c.seed, u.Name, cursor, head)
		}
	}
	c.startLater(p)
}

func (c *chaos) startLater(p *servertest.Provider) {
	c.later(c.between(0, time.Minute), p.Domain.Host()+": started", func() error {
		if p.Running() {
			return nil
		}
		return p.Start(ctx)
	})
}

func (c *chaos) stop() {
	p := pick(c, c.providers)
	if !p.Running() {
		return
	}
	c.log("%s: stopped", p.Domain.Host())
	must(c.t, p.Stop())
	c.startLater(p)
}

// skew sets a clock wrong by minutes, but not so wrong that two differ by five: what comes from so far in the future is
// discarded (MC-18).
func (c *chaos) skew() {
	p, u := pick(c, c.providers), pick(c, c.devices)
	d := c.between(-2*time.Minute, 2*time.Minute)
	c.log("clocks of %s and %s: %v", p.Domain.Host(), u.Name, d)
	p.SetSkew(d)
	u.SetSkew(-d)
}

// heal ends all faults.
func (c *chaos) heal() {
	c.log("all faults end")
	must(c.t, c.net.StartAll(ctx))
	for _, l := range c.net.Links() {
		l.Heal()
	}
	for _, u := range c.devices {
		u.SetOffline(false)
		u.Link().Heal()
		if u.Store.Dead() {
			if !c.stopped[u] {
				u.Stop()
			}
			c.stopped[u] = true
		}
		u.Store.FailAt(0, false)
		if c.stopped[u] {
			c.reopen(u)
		}
	}
	c.ops.Wait()
}

func (c *chaos) await(what string, cond func() bool) {
	c.t.Helper()
	if !servertest.Until(time.Hour, cond) {
		c.t.Fatalf("seed %d: never: %s", c.seed, what)
	}
}

// isAdmin says whether the device's user may change everything about a room.
func (c *chaos) isAdmin(u *servertest.User, room string) bool {
	members, err := u.Session.Members(ctx, room)
	must(c.t, err)
	return slices.ContainsFunc(members, func(m client.MemberView) bool { return m.Me && uint32(m.Role.Index) == policy.RoleAdmin })
}

// everyRoomLives lets every device write into every room it is in, and somebody who may change it.
func (c *chaos) everyRoomLives() {
	changed := map[string]bool{}
	for _, u := range c.devices {
		for _, room := range u.Rooms(ctx) {
			if room.Removed || !room.CanSend {
				continue
			}
			c.write(u, room)
			if room.CanManage && !changed[room.ID] && c.isAdmin(u, room.ID) {
				changed[room.ID] = true
				c.op(u, "final rename of "+room.ID, func(ctx context.Context, s *client.Session) error { return s.Rename(ctx, room.ID, "The end") })
			}
		}
	}
	c.ops.Wait()
	for outcome, n := range maps.All(c.answers) {
		if strings.HasPrefix(outcome, "final ") {
			c.t.Errorf("seed %d: %d times %s", c.seed, n, outcome)
		}
	}
}
