package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/server/servertest"
	"kith/web/api"
)

// driver is the process that plays all devices.
type driver struct {
	options
	url      string
	servers  []process
	accounts []servertest.Account
	shared   shared
	rooms    int
	text     string
}

// withDriver reads what the parent has prepared and runs fn.
func withDriver(o options, fn func(*driver) error) error {
	var s shared
	if err := s.load(o.state); err != nil {
		return err
	}
	d := &driver{options: o, url: s.URL, servers: []process{process(s.Server)}, shared: s, text: strings.Repeat("A message of usual length. ", 4)}
	for i := range len(s.Tokens) {
		name := fmt.Sprintf("u%d", i)
		user, err := mimi.ParseUserID(s.Users[name])
		if err != nil {
			return err
		}
		d.accounts = append(d.accounts, servertest.Account{User: user, Token: s.Tokens[name]})
	}
	return fn(d)
}

// drive runs the phases and prints their figures.
func (d *driver) drive() error {
	fmt.Printf("server: %s, %d CPUs shared with the driver, database synchronous=FULL; text of %d octets; throughput messages encrypted beforehand\n",
		runtime.Version(), runtime.NumCPU(), len(d.text))
	fmt.Printf("%-34s %14s %14s\n", "", "measured", "wanted")
	phases := []struct {
		name string
		run  func(context.Context) error
	}{{"idle", d.idle}, {"pairs", d.pairs}, {"latency", d.latency}, {"group50", d.group50}, {"group500", d.group500}}
	for _, p := range phases {
		if d.only != "" && !slices.Contains(strings.Split(d.only, ","), p.name) {
			continue
		}
		if err := p.run(context.Background()); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func row(name, format string, value any, wanted string) {
	fmt.Printf("%-34s %14s %14s\n", name, fmt.Sprintf(format, value), wanted)
}

// scale picks the full or the short form of a figure.
func (d *driver) scale(full, short int) int {
	if d.short {
		return short
	}
	return full
}

// register makes the devices of the idle phase and leaves them to the next driver.
func (d *driver) register() error {
	if d.only != "" && !strings.Contains(d.only, "idle") {
		return nil
	}
	n := d.scale(1000, 200)
	var accounts []servertest.Account
	for i := range n {
		accounts = append(accounts, d.accounts[i%50]) // twenty devices of each
	}
	clients, err := connectAll(context.Background(), d.url, accounts, 0)
	if err != nil {
		return err
	}
	closeAll(clients)
	for i, c := range clients {
		d.shared.Idle = append(d.shared.Idle, idleDevice{i % 50, c.Client.String(), c.Key.Private()})
	}
	return d.shared.save(d.state)
}

// idle measures the server with nobody, and with many silent sockets.
func (d *driver) idle(ctx context.Context) error {
	time.Sleep(time.Second)
	before, err := d.servers[0].rss()
	if err != nil {
		return err
	}
	row("idle server, RSS", "%.1f MB", float64(before)/1e6, "<= 30 MB")
	var open []*servertest.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for _, device := range d.shared.Idle {
		c, err := d.greet(ctx, device)
		if err != nil {
			return err
		}
		open = append(open, c)
	}
	time.Sleep(2 * time.Second)
	after, err := d.servers[0].rss()
	if err != nil {
		return err
	}
	n := len(open)
	row(fmt.Sprintf("with %d sockets, RSS", n), "%.1f MB", float64(after)/1e6, "")
	row("per idle socket", "%.1f KiB", float64(after-before)/1024/float64(n), "<= 48 KiB")
	return nil
}

// greet connects a device that exists.
func (d *driver) greet(ctx context.Context, device idleDevice) (*servertest.Conn, error) {
	key, err := mls.ParseSignatureKey(room.Suite, device.Key)
	if err != nil {
		return nil, err
	}
	client, err := mimi.ParseClientID(device.Client)
	if err != nil {
		return nil, err
	}
	account := d.accounts[device.Account]
	c, err := servertest.Dial(ctx, httpClient, d.url, account)
	if err != nil {
		return nil, err
	}
	_, err = (&servertest.Device{Account: account, Client: client, Key: key}).Hello(ctx, c)
	return c, err
}

// newRoom makes a room of the clients; the first one adds all others with one commit. Only the first joiners enter the
// group themselves: those that will send.
func (d *driver) newRoom(ctx context.Context, clients []*client, senders int) (mimi.RoomID, error) {
	d.rooms++
	id, err := mimi.NewRoomID(clients[0].User.Provider(), fmt.Sprintf("bench%d", d.rooms))
	if err != nil {
		return id, err
	}
	first := clients[0]
	if err := first.CreateRoom(ctx, first.c, id, "Bench", mimi.UserID{}); err != nil {
		return id, err
	}
	if err := d.addAll(ctx, first, id, clients[1:]); err != nil {
		return id, err
	}
	for i, c := range clients {
		if i == 0 {
			c.cursor = c.Cursor
			continue
		}
		e, err := c.c.NextEvent(ctx)
		if err != nil {
			return id, err
		}
		c.cursor = e.Cursor
		if i < senders {
			if r, err := c.Handle(e); err != nil || !r.Joined {
				return id, fmt.Errorf("joining: %w", err)
			}
		}
	}
	return id, nil
}

// addAll adds one device of each user in one commit.
func (d *driver) addAll(ctx context.Context, first *client, id mimi.RoomID, others []*client) error {
	var changes []servertest.Propose
	for _, c := range others {
		if c.User.Provider() != first.User.Provider() {
			if err := c.Grant(ctx, c.c, first.User); err != nil {
				return err
			}
		}
		resp, err := first.Claim(ctx, first.c, id, c.User)
		if err != nil {
			return err
		}
		var packages []*mls.KeyPackage
		for _, m := range resp.Clients {
			if m.ClientURI == c.Client && m.KeyPackage != nil {
				packages = append(packages, m.KeyPackage)
			}
		}
		if len(packages) == 0 {
			return errors.New("no KeyPackage")
		}
		changes = append(changes, func(v *room.View) ([]mls.Proposal, error) { return room.AddUser(v, c.User, packages) })
	}
	return first.Change(ctx, first.c, id, changes...)
}

// load is a running phase: clients that listen, some of which send.
type load struct {
	d       *driver
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	err     error
	clients []*client
	base    []int64
	start   time.Time
	cpu     time.Duration
}

// cpu is what all servers have used.
func (d *driver) cpu() (all time.Duration, err error) {
	for _, p := range d.servers {
		one, e := p.cpu()
		all, err = all+one, errors.Join(err, e)
	}
	return all, err
}

func (d *driver) startLoad(ctx context.Context, clients []*client) (*load, error) {
	l := &load{d: d, clients: clients}
	ctx, l.cancel = context.WithCancel(ctx)
	for _, c := range clients {
		l.base = append(l.base, c.events.Load())
		l.wg.Go(func() {
			if err := c.listen(ctx); ctx.Err() == nil {
				l.mu.Lock()
				l.err = errors.Join(l.err, err)
				l.mu.Unlock()
			}
		})
	}
	var err error
	l.cpu, err = d.cpu()
	l.start = time.Now()
	return l, err
}

// finish waits until every client has got as many events as wanted of it.
func (l *load) finish(want func(i int) int64) (took, cpu time.Duration, err error) {
	deadline := time.Now().Add(120 * time.Second)
	for i, c := range l.clients {
		for c.events.Load()-l.base[i] < want(i) {
			if time.Now().After(deadline) {
				return 0, 0, fmt.Errorf("device %d got %d of %d events", i, c.events.Load()-l.base[i], want(i))
			}
			time.Sleep(time.Millisecond)
		}
	}
	took = time.Since(l.start)
	cpu, err = l.d.cpu()
	for i, c := range l.clients {
		if got := c.events.Load() - l.base[i]; got != want(i) || c.failed.Load() != 0 {
			err = errors.Join(err, fmt.Errorf("device %d got %d events of %d, %d refusals", i, got, want(i), c.failed.Load()))
		}
	}
	return took, cpu - l.cpu, err
}

func (l *load) stop() error {
	l.cancel()
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

const pairCount = 20

// makePairs connects forty devices and makes a room of every two.
func (d *driver) makePairs(ctx context.Context) (clients []*client, ids []mimi.RoomID, err error) {
	if clients, err = connectAll(ctx, d.url, d.accounts[50:50+2*pairCount], 3); err != nil {
		return nil, nil, err
	}
	for i := range pairCount {
		id, err := d.newRoom(ctx, clients[2*i:2*i+2], 2)
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, id)
	}
	return clients, ids, nil
}

// pairs measures the throughput of twenty conversations of two, in each of which one writes.
func (d *driver) pairs(ctx context.Context) error {
	clients, ids, err := d.makePairs(ctx)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	each := d.scale(3000, 200)
	var senders []*client
	for i := range pairCount {
		senders = append(senders, clients[2*i])
	}
	return d.measure(ctx, "20 pairs", clients, senders, func(i int) mimi.RoomID { return ids[i] }, each, 32,
		func(int) int64 { return int64(each) }, ">= 5000/s")
}

func (d *driver) group50(ctx context.Context) error {
	return d.group(ctx, 50, 10, d.scale(1500, 100), ">= 1500/s")
}

func (d *driver) group500(ctx context.Context) error {
	return d.group(ctx, 500, 5, d.scale(600, 40), ">= 150/s")
}

// group measures one room: size devices online, of which some write.
func (d *driver) group(ctx context.Context, size, senders, each int, wanted string) error {
	clients, err := connectAll(ctx, d.url, d.accounts[:size], 1)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	begin := time.Now()
	id, err := d.newRoom(ctx, clients, senders)
	if err != nil {
		return err
	}
	row(fmt.Sprintf("group of %d made in", size), "%.1f s", time.Since(begin).Seconds(), "")
	err = d.measure(ctx, fmt.Sprintf("group of %d", size), clients, clients[:senders], func(int) mimi.RoomID { return id },
		each, 16, func(int) int64 { return int64(each * senders) }, wanted)
	if err != nil {
		return err
	}
	for i, c := range clients {
		if c.order != clients[0].order {
			return fmt.Errorf("device %d saw another order", i)
		}
	}
	return nil
}

// measure lets the senders write each messages and prints what came of it.
func (d *driver) measure(ctx context.Context, name string, clients, senders []*client, roomOf func(i int) mimi.RoomID,
	each, window int, want func(i int) int64, wanted string) error {
	frames := make([][][]byte, len(senders))
	for i, c := range senders {
		var err error
		if frames[i], err = c.submits(roomOf(i), each, d.text); err != nil {
			return err
		}
		c.answers = make(chan struct{}, window)
	}
	runtime.GC()
	for _, c := range clients {
		c.order = 0
	}
	l, err := d.startLoad(ctx, clients)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(senders))
	for i, c := range senders {
		wg.Go(func() { _, errs[i] = c.send(ctx, frames[i], window) })
	}
	wg.Wait()
	took, cpu, err := l.finish(want)
	if err := errors.Join(append(errs, err, l.stop())...); err != nil {
		return err
	}
	total := each * len(senders)
	deliveries := 0
	for i := range clients {
		deliveries += int(want(i))
	}
	row(name+", messages", "%.0f /s", float64(total)/took.Seconds(), wanted)
	row(name+", deliveries", "%.0f /s", float64(deliveries)/took.Seconds(), "")
	row(name+", server CPU per message", "%.0f us", float64(cpu.Microseconds())/float64(total), "")
	return nil
}

// latency measures how long a message takes from one device to another while fifty are sent each second.
func (d *driver) latency(ctx context.Context) error {
	clients, ids, err := d.makePairs(ctx)
	if err != nil {
		return err
	}
	defer closeAll(clients)
	var mu sync.Mutex
	var times []time.Duration
	sent := make(map[string]time.Time) // by the end of the ciphertext, which no two messages share
	for i := range pairCount {
		clients[2*i+1].onEvent = func(_ uint64, message []byte) {
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			for key, start := range sent {
				if strings.Contains(string(message[max(0, len(message)-40):]), key) {
					times = append(times, now.Sub(start))
					delete(sent, key)
				}
			}
		}
	}
	l, err := d.startLoad(ctx, clients)
	if err != nil {
		return err
	}
	n := d.scale(1500, 150)
	control := make(chan []time.Duration, 1)
	go func() { control <- syncTimes(filepath.Dir(d.state), n) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	counts := make([]int64, len(clients))
	for k := range n {
		<-tick.C
		i := k % pairCount
		c := clients[2*i]
		counts[2*i]++
		counts[2*i+1]++
		start := time.Now()
		body, err := c.Encrypt(ids[i], d.text)
		if err != nil {
			return err
		}
		user := len(c.User.String()) + 1 // SendingURI follows the ciphertext
		mu.Lock()
		sent[string(body[len(body)-user-16:len(body)-user])] = start
		mu.Unlock()
		if err := c.c.Send(ctx, &api.Request{ID: uint32(k), Op: api.OpSubmitMessage, Target: ids[i].String(), Body: body}); err != nil {
			return err
		}
	}
	_, _, err = l.finish(func(i int) int64 { return counts[i] })
	if err := errors.Join(err, l.stop()); err != nil {
		return err
	}
	if len(times) != n {
		return fmt.Errorf("%d of %d messages timed", len(times), n)
	}
	row("latency at 50/s, p50", "%.2f ms", quantile(times, 0.5), "")
	row("latency at 50/s, p99", "%.2f ms", quantile(times, 0.99), "<= 10 ms")
	row("latency at 50/s, max", "%.2f ms", quantile(times, 1), "")
	syncs := <-control
	row("  one fsync meanwhile, p50", "%.2f ms", quantile(syncs, 0.5), "")
	row("  one fsync meanwhile, p99", "%.2f ms", quantile(syncs, 0.99), "")
	return nil
}

// quantile returns a quantile of times in milliseconds.
func quantile(times []time.Duration, q float64) float64 {
	slices.Sort(times)
	if len(times) == 0 {
		return 0
	}
	return times[int(q*float64(len(times)-1))].Seconds() * 1000
}

// syncTimes measures what the disk and the scheduler cost everybody at the moment: a page written and synced n times.
func syncTimes(dir string, n int) (times []time.Duration) {
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		return nil
	}
	defer f.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	page := make([]byte, 4096)
	for range n {
		<-tick.C
		start := time.Now()
		if _, err := f.Write(page); err != nil || f.Sync() != nil {
			return times
		}
		times = append(times, time.Since(start))
	}
	return times
}
