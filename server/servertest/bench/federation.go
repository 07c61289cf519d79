package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/mimi"
	"kith/server/servertest"
)

// So many devices send where many messages are wanted: one alone may send four thousand, and a thousand a second.
const (
	many  = 10
	crowd = 25
)

// federate runs the phases in which providers share rooms. This process plays all devices.
func federate(o options) error {
	fmt.Printf("providers: processes of their own, TLS 1.3 between them, %s, %d CPUs shared by all and the driver, database synchronous=FULL\n",
		runtime.Version(), runtime.NumCPU())
	fmt.Printf("%-44s %14s %14s\n", "", "measured", "wanted")
	phases := []struct {
		name                string
		providers, accounts int
		run                 func(context.Context, *driver, *internet) error
	}{{"join", 2, 51, joinPhase}, {"pair", 2, 1, pairPhase}, {"latency", 2, 1, latencyPhase}, {"spread", 2, 25, spreadPhase},
		{"fanout", 21, 50, fanoutPhase}, {"catchup", 2, crowd, catchUpPhase}}
	for _, p := range phases {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), p.name) {
			continue
		}
		if o.short && p.name == "fanout" {
			p.providers, p.accounts = 6, 5
		}
		if err := runPhase(o, p.providers, p.accounts, p.run); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func runPhase(o options, providers, accounts int, run func(context.Context, *driver, *internet) error) error {
	w, err := newInternet(providers, accounts, o.profile)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return err
	}
	d := &driver{options: o, text: strings.Repeat("A message of usual length. ", 4)}
	for _, p := range w.providers {
		d.servers = append(d.servers, p.process())
	}
	return run(context.Background(), d, w)
}

// connectTo connects devices of accounts of every provider: n of each, all of which trust all providers.
func connectTo(ctx context.Context, w *internet, n, packages int) (clients []*client, err error) {
	for _, p := range w.providers {
		list, err := connectAll(ctx, p.url, p.accounts[:n], packages)
		if err != nil {
			return nil, err
		}
		clients = append(clients, list...)
	}
	roots := map[mimi.ProviderID][]byte{}
	for _, c := range clients {
		roots[c.User.Provider()] = c.c.Greeting.Root
	}
	for _, c := range clients {
		for _, der := range roots {
			err = errors.Join(err, c.Trust(der))
		}
	}
	return clients, err
}

func wide(name, format string, value any, wanted string) {
	fmt.Printf("%-44s %14s %14s\n", name, fmt.Sprintf(format, value), wanted)
}

// pairPhase: a user on each of two providers, both write.
func pairPhase(ctx context.Context, d *driver, w *internet) error {
	clients, err := connectTo(ctx, w, 1, 1)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	id, err := d.newRoom(ctx, clients, 2)
	if err != nil {
		return err
	}
	each := d.scale(3000, 200)
	return d.measure(ctx, "2 providers, a user on each", clients, clients, func(int) mimi.RoomID { return id }, each, 32,
		func(int) int64 { return int64(2 * each) }, ">= 500/s")
}

// spreadPhase: fifty users on two providers, five of each write.
func spreadPhase(ctx context.Context, d *driver, w *internet) error {
	clients, err := connectTo(ctx, w, 25, 1)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	id, err := d.newRoom(ctx, clients, len(clients))
	if err != nil {
		return err
	}
	senders := slices.Concat(clients[:5], clients[25:30])
	each := d.scale(600, 40)
	return d.measure(ctx, "50 users on 2 providers", clients, senders, func(int) mimi.RoomID { return id }, each, 16,
		func(int) int64 { return int64(each * len(senders)) }, ">= 300/s")
}

// latencyPhase: ten messages each second, in turns from either provider, until the other's device has them.
func latencyPhase(ctx context.Context, d *driver, w *internet) error {
	clients, err := connectTo(ctx, w, 1, 1)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	id, err := d.newRoom(ctx, clients, 2)
	if err != nil {
		return err
	}
	n := d.scale(600, 60)
	var mu sync.Mutex
	var times []time.Duration
	sent := make([]time.Time, n) // both devices get the messages in the order in which they were sent
	for i, c := range clients {
		got := 0
		c.onEvent = func(uint64, []byte) {
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			if got%2 != i {
				times = append(times, now.Sub(sent[got]))
			}
			got++
		}
	}
	l, err := d.startLoad(ctx, clients)
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for k := range n {
		<-tick.C
		c := clients[k%2]
		frames, err := c.submits(id, 1, d.text)
		if err != nil {
			return err
		}
		c.answers = make(chan struct{}, 1)
		mu.Lock()
		sent[k] = time.Now()
		mu.Unlock()
		if _, err := c.send(ctx, frames, 1); err != nil {
			return err
		}
	}
	_, _, err = l.finish(func(int) int64 { return int64(n) })
	if err := errors.Join(err, l.stop()); err != nil {
		return err
	}
	if len(times) != n {
		return fmt.Errorf("%d of %d messages timed", len(times), n)
	}
	wide("latency across providers at 10/s, p50", "%.2f ms", quantile(times, 0.5), "")
	wide("latency across providers at 10/s, p99", "%.2f ms", quantile(times, 0.99), "<= 50 ms")
	return nil
}

// joinPhase: a new device joins a room of a hundred members and ten thousand messages at another provider.
func joinPhase(ctx context.Context, d *driver, w *internet) error {
	clients, err := connectTo(ctx, w, 50, 1)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	id, err := d.newRoom(ctx, clients, many)
	if err != nil {
		return err
	}
	n := d.scale(10_000, 500)
	if err := d.measure(ctx, "room of 100 on 2 providers", clients, clients[:many], func(int) mimi.RoomID { return id }, n/many, 16,
		func(int) int64 { return int64(n) }, ""); err != nil {
		return err
	}
	var times []time.Duration
	for range 5 {
		far := w.providers[1]
		c, err := connect(ctx, far.url, far.accounts[0], 0)
		if err != nil {
			return err
		}
		if err := c.Trust(clients[0].c.Greeting.Root); err != nil {
			return err
		}
		start := time.Now()
		if err := c.JoinExternal(ctx, c.c, id); err != nil {
			return err
		}
		times = append(times, time.Since(start))
		c.c.Close()
	}
	wide("join of a remote room of 100, 10,000 messages", "%.0f ms", quantile(times, 0.5), "<= 1000 ms")
	return nil
}

// fanoutPhase: a hub with many followers, everybody online.
func fanoutPhase(ctx context.Context, d *driver, w *internet) error {
	users := d.scale(50, 5)
	clients, err := connectTo(ctx, w, users, 1)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	begin := time.Now()
	id, err := d.newWideRoom(ctx, clients, users, 5)
	if err != nil {
		return err
	}
	followers := len(w.providers) - 1
	wide(fmt.Sprintf("room of %d on %d providers made in", len(clients), followers+1), "%.1f s", time.Since(begin).Seconds(), "")
	each := d.scale(400, 40)
	name := fmt.Sprintf("hub and %d followers of %d", followers, users)
	hub := w.providers[0].process()
	cpu, err := hub.cpu()
	if err != nil {
		return err
	}
	senders := clients[:5]
	if err := d.measure(ctx, name, clients, senders, func(int) mimi.RoomID { return id }, each, 16,
		func(int) int64 { return int64(each * len(senders)) }, ">= 200/s"); err != nil {
		return err
	}
	after, err := hub.cpu()
	if err != nil {
		return err
	}
	wide("  the hub alone, CPU per message", "%.0f us", float64((after-cpu).Microseconds())/float64(each*len(senders)), "")
	return d.steady(ctx, clients, w, id, hub)
}

// newWideRoom makes a room of the users of all providers, so many of each: one of each is added by the first of all and
// brings in the others there. All have read everything then, and the first senders are in the group.
func (d *driver) newWideRoom(ctx context.Context, clients []*client, users, senders int) (mimi.RoomID, error) {
	d.rooms++
	first := clients[0]
	id, err := mimi.NewRoomID(first.User.Provider(), fmt.Sprintf("wide%d", d.rooms))
	if err != nil {
		return id, err
	}
	if err := first.CreateRoom(ctx, first.c, id, "Bench", mimi.UserID{}); err != nil {
		return id, err
	}
	var leaders []*client
	for i := users; i < len(clients); i += users {
		leaders = append(leaders, clients[i])
	}
	if err := d.addAll(ctx, first, id, slices.Concat(clients[1:users], leaders)); err != nil {
		return id, err
	}
	for i, l := range leaders {
		if err := l.follow(ctx, 1+i, true); err != nil { // the Welcome and what the leaders before did
			return id, err
		}
		at := users * (i + 1)
		if err := d.addAll(ctx, l, id, clients[at+1:at+users]); err != nil {
			return id, err
		}
	}
	for i, c := range clients {
		come := 1 + len(leaders)
		switch p := i / users; {
		case i == 0:
			come = len(leaders) // its own commit has come already
		case p > 0 && i%users == 0:
			come = len(leaders) - p
		case p > 0:
			come = 1 + len(leaders) - p
		}
		if err := c.follow(ctx, come, i < senders); err != nil {
			return id, err
		}
	}
	return id, nil
}

// follow reads so many events, and takes them into its groups if it is to send.
func (c *client) follow(ctx context.Context, n int, handle bool) error {
	for range n {
		e, err := c.c.NextEvent(ctx)
		if err == nil && handle {
			_, err = c.Handle(e)
		}
		if err != nil {
			return err
		}
		c.cursor = e.Cursor
	}
	return nil
}

// steady sends on for some minutes, and looks at the hub's memory.
func (d *driver) steady(ctx context.Context, clients []*client, w *internet, id mimi.RoomID, hub process) error {
	minutes := d.scale(d.minutes, 0)
	urls := make(map[mimi.ProviderID]string)
	for _, p := range w.providers {
		urls[p.domain] = p.url
	}
	for k := range minutes + 1 {
		rss, err := hub.rss()
		if err != nil {
			return err
		}
		wide(fmt.Sprintf("  the hub's memory after %d min at 20/s", k), "%.1f MB", float64(rss)/1e6, "flat")
		if k == minutes {
			break
		}
		if err := reconnect(ctx, clients, func(c *client) string { return urls[c.User.Provider()] }); err != nil {
			return err
		}
		if err := d.pour(ctx, clients, id, 20, time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// pour sends so many messages a second for a while, and waits until everybody has them.
func (d *driver) pour(ctx context.Context, clients []*client, id mimi.RoomID, rate int, long time.Duration) error {
	n := int(long.Seconds()) * rate
	c := clients[0]
	frames, err := c.submits(id, n, d.text)
	if err != nil {
		return err
	}
	c.answers = make(chan struct{}, 1)
	l, err := d.startLoad(ctx, clients)
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for _, frame := range frames {
		<-tick.C
		if _, err := c.send(ctx, [][]byte{frame}, 1); err != nil {
			return err
		}
	}
	_, _, err = l.finish(func(int) int64 { return int64(n) })
	return errors.Join(err, l.stop())
}

// catchUpPhase: a follower was away for a long time and much has happened.
func catchUpPhase(ctx context.Context, d *driver, w *internet) error {
	clients, err := connectTo(ctx, w, crowd, 1)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	id, err := d.newRoom(ctx, clients, crowd)
	if err != nil {
		return err
	}
	w.providers[1].stop()
	n := d.scale(100_000, 2000)
	d.servers = d.servers[:1]
	if err := d.measure(ctx, "meanwhile at the hub", clients[:crowd], clients[:crowd], func(int) mimi.RoomID { return id }, n/crowd, 32,
		func(int) int64 { return int64(n) }, ""); err != nil {
		return err
	}
	if err := w.providers[1].start(); err != nil {
		return err
	}
	// The hub learns that the follower is back when it asks for something, as it does when one of its devices comes.
	back, err := connect(ctx, w.providers[1].url, w.providers[1].accounts[0], 0)
	if err != nil {
		return err
	}
	defer back.c.Close()
	first, start, err := time.Time{}, time.Now(), error(nil)
	if err := knock(ctx, back, id); err != nil {
		return err
	}
	for {
		got, err := w.providers[1].metric("kith_events_followed_total")
		if err != nil {
			return err
		}
		if got > 0 && first.IsZero() {
			first = time.Now()
		}
		if int(got) >= n {
			break
		}
		if time.Since(start) > 2*time.Minute {
			return fmt.Errorf("%.0f of %d events", got, n)
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(start)
	wide(fmt.Sprintf("catch-up of a follower after %d events", n), "%.0f /s", float64(n)/took.Seconds(), ">= 20000/s")
	wide("  of which until the first", "%.2f s", first.Sub(start).Seconds(), "")
	return nil
}

// knock asks the hub for something.
func knock(ctx context.Context, c *client, id mimi.RoomID) error {
	_, err := c.Claim(ctx, c.c, id, c.User)
	var status *servertest.StatusError
	if errors.As(err, &status) {
		return nil
	}
	return err
}
