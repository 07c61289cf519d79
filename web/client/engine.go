package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
)

// engine is one life of a session: everything in memory, loaded from the store. One goroutine, the loop, owns the
// fields; everybody else hands it functions (do) and waits for conditions (wait). Memory may run ahead of the store
// only until the next commit: if that fails, the engine dies and the next one loads what is true.
type engine struct {
	cfg   Config
	store userStore
	user  mimi.UserID

	ctx     context.Context
	cancel  context.CancelCauseFunc
	tasks   chan func()
	flows   sync.WaitGroup
	waiters []*waiter

	dev    *device
	root   *identity.Root // of our provider
	roots  roots          // of the others
	hub    []byte         // our provider's ExternalSender, for rooms we make
	agent  []byte         // and its FrankingAgentData; empty: it does not frank
	cursor uint64
	acked  uint64
	skew   time.Duration // provider's clock minus ours
	seq    uint64        // of the newest outgoing message
	rooms  map[mimi.RoomID]*room
	names  map[mimi.UserID]string
	left   map[mimi.RoomID]bool // our provider is to be told that we are not in it

	consents consents

	link       *link // nil while offline
	early      *link // its backlog ended before Hello was answered
	caughtUp   bool
	available  int // KeyPackages of ours that nobody has claimed yet, as far as we know
	refilling  bool
	settled    bool // others can add this device: it was there in an earlier life, or its KeyPackages are published
	namesAsked bool
	connecting bool
	telling    bool
	problem    *Error

	roomsChanged bool
	asking       map[mimi.UserID]bool   // display names being looked up
	lost         map[mimi.ClientID]bool // devices of ours that rooms may still have
	sweeping     bool
	dropped      map[string]int
	vanishings   uint64 // grows when there is something new that is to vanish
}

// waiter waits for a condition, which the loop looks at after each task.
type waiter struct {
	ctx  context.Context
	cond func() bool
	met  chan struct{}
}

// loadEngine reads everything but MLS groups and timelines, which are read when they are needed.
func loadEngine(ctx context.Context, cfg Config, user mimi.UserID) (*engine, error) {
	e := &engine{
		cfg: cfg, store: newUserStore(cfg.Store, user), user: user, tasks: make(chan func()),
		rooms: map[mimi.RoomID]*room{}, names: map[mimi.UserID]string{}, asking: map[mimi.UserID]bool{},
		dropped: map[string]int{}, connecting: true, roots: newRoots(),
		left: map[mimi.RoomID]bool{}, lost: map[mimi.ClientID]bool{},
	}
	stored, err := e.store.ranges(ctx, keyDevice, keyCursor, keyName, keyRoom, keyChange, keyJoin, keyEcho, keyOutbox,
		keyRoot, keyNewRoot, keyHeld, keyPending, keyLeft, keyLost,
		keyConsents, keyIntent, keyStranger)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStore, err)
	}
	e.loadNames(stored[keyName])
	e.loadRoots(stored[keyRoot], stored[keyNewRoot])
	e.loadLeft(stored[keyLeft])
	e.loadConsents(stored[keyConsents], stored[keyIntent])
	e.loadLost(stored[keyLost])
	if err := e.loadDevice(stored[keyDevice], stored[keyCursor]); err != nil {
		return nil, fmt.Errorf("%w: %w", errStore, err)
	}
	e.loadRooms(stored)
	e.acked = e.cursor
	e.ctx, e.cancel = context.WithCancelCause(ctx)
	return e, nil
}

func (e *engine) loadDevice(device, cursor []KV) error {
	if len(device) == 0 {
		return nil
	}
	var err error
	if e.dev, err = parseDevice(device[0].Value); err != nil {
		return err
	}
	if e.root, err = identity.RestoreRoot(e.dev.root); err != nil {
		return err
	}
	e.settled = !e.dev.client.IsZero()
	if len(cursor) > 0 && len(cursor[0].Value) == 8 {
		e.cursor = binary.BigEndian.Uint64(cursor[0].Value)
	}
	return nil
}

func (e *engine) loadNames(list []KV) {
	for _, kv := range list {
		if u, err := mimi.ParseUserID(strings.TrimPrefix(kv.Key, keyName)); err == nil {
			e.names[u] = string(kv.Value)
		}
	}
}

// run is the loop. It returns when its context ends or the engine has failed, after all its goroutines have ended.
func (e *engine) run() error {
	defer e.flows.Wait()
	defer e.cancel(nil)
	e.spawn(e.stayConnected)
	e.spawn(e.runVanishing)
	e.postState()
	e.postRooms()
	e.releaseAll()
	for {
		select {
		case task := <-e.tasks:
			task()
		case <-e.ctx.Done():
			return context.Cause(e.ctx)
		}
		e.wake()
		e.drainThenSettle()
	}
}

// drainThenSettle does what can wait until no task is waiting: one acknowledgement and one room list for many events.
func (e *engine) drainThenSettle() {
	for e.ctx.Err() == nil {
		select {
		case task := <-e.tasks:
			task()
			e.wake()
			continue
		default:
		}
		break
	}
	if e.link != nil && e.cursor > e.acked && e.link.ack(e.cursor) {
		e.acked = e.cursor
	}
	if e.roomsChanged {
		e.postRooms()
	}
}

// wake tells the waiters whose condition holds now.
func (e *engine) wake() {
	kept := e.waiters[:0]
	for _, w := range e.waiters {
		switch {
		case w.cond():
			close(w.met)
		case w.ctx.Err() == nil:
			kept = append(kept, w)
		}
	}
	clear(e.waiters[len(kept):])
	e.waiters = kept
}

// do runs fn on the loop. Once the loop has taken fn it is waited for, whatever ends meanwhile: the caller's variables
// are fn's until then.
func (e *engine) do(ctx context.Context, fn func() error) error {
	done := make(chan error, 1)
	task := func() {
		err := error(errStopped) // should it panic
		defer func() { done <- err }()
		err = fn()
	}
	select {
	case e.tasks <- task:
		return <-done
	case <-ctx.Done():
		return ctx.Err()
	case <-e.ctx.Done():
		return e.stopped()
	}
}

// stopped is the error of operations that meet the end of the engine.
func (e *engine) stopped() error {
	if cause := context.Cause(e.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return errStopped
}

// wait blocks until cond, which runs on the loop, holds.
func (e *engine) wait(ctx context.Context, cond func() bool) error {
	w := &waiter{ctx: ctx, cond: cond, met: make(chan struct{})}
	err := e.do(ctx, func() error {
		e.waiters = append(e.waiters, w) // looked at right after this task
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-w.met:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.ctx.Done():
		return e.stopped()
	}
}

// spawn runs a flow: a goroutine that alternates between the network and the loop.
func (e *engine) spawn(flow func(ctx context.Context)) {
	e.flows.Add(1)
	go func() {
		defer e.flows.Done()
		flow(e.ctx)
	}()
}

// commit stores a batch, or ends the engine. It is not interrupted by the end of an operation.
func (e *engine) commit(b *batch) error {
	err := b.err
	if err == nil && len(b.ops) > 0 {
		err = e.store.Commit(context.WithoutCancel(e.ctx), b.ops)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errStore, err)
		e.cancel(err)
		return err
	}
	for _, tell := range b.then {
		tell()
	}
	return nil
}

// now is the time, by the provider's clock as far as it is known: a wrong clock in this computer must not make
// certificates expire or messages come from the future.
func (e *engine) now() time.Time { return e.cfg.Now().Add(e.skew) }

func (e *engine) nowMS() uint64 { return uint64(e.now().UnixMilli()) }

// drop counts something of no use.
func (e *engine) drop(reason string) { e.dropped[reason]++ }

func (e *engine) mlsConfig() mls.Config {
	return mls.Config{
		Now: e.now, Rand: e.cfg.Rand, Application: e.application(), GREASE: true,
		VerifyEd25519: e.cfg.VerifyEd25519, ExchangeX25519: e.cfg.ExchangeX25519, CommitFirst: true,
	}
}

func parseSeq(key string) (uint64, bool) {
	seq, err := strconv.ParseUint(key, 16, 64)
	return seq, err == nil
}
