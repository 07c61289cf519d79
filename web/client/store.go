package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"kith/mimi"
)

// Store keeps everything a Session must not forget: in the browser an IndexedDB object store, in tests a MemStore.
type Store interface {
	// Get returns nil, nil if the key is absent.
	Get(ctx context.Context, key string) ([]byte, error)
	// Range returns the pairs whose key starts with prefix and whose rest r satisfies from <= r < to (an empty
	// bound is open), in key order or backwards, at most limit of them (0: all).
	Range(ctx context.Context, prefix, from, to string, limit int, reverse bool) ([]KV, error)
	// Commit applies all operations or none, and returns once they are durable.
	Commit(ctx context.Context, ops []Op) error
}

// KV is one stored pair.
type KV struct {
	Key   string
	Value []byte
}

// Op is one change of a Commit: a nil Value deletes the key.
type Op struct {
	Key   string
	Value []byte
}

// Transport opens connections to the user's provider.
type Transport interface {
	Dial(ctx context.Context) (Conn, error)
}

// Conn carries binary websocket messages. Read and Write may be called concurrently with each other.
type Conn interface {
	Read(ctx context.Context) ([]byte, error)
	Write(ctx context.Context, data []byte) error
	Close() error
}

// CloseError is the error of Conn.Read when the provider closed the connection for a reason.
type CloseError struct {
	Code   int
	Reason string
}

// Error implements error.
func (e *CloseError) Error() string { return "client: connection closed: " + e.Reason }

// Close codes of the provider that the session acts upon.
const (
	closeSignedOut = 4001
	closeReplaced  = 4002
)

// ErrNoSpace is what a Store answers when the browser gives it no more room.
var ErrNoSpace = errors.New("client: no space left")

// errStore marks a failed Commit or read: what is in memory may be ahead of what is stored, so the engine stops
// and the session starts a new one from the store.
var errStore = errors.New("client: store")

// storeError marks an error of the store; nil stays nil.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errStore, err)
}

// Keys. Those of one user stand behind "u|<user URI>|", so that two people can use one browser profile; "user" says
// whose engine to start before the provider has been asked.
//
//	device                       identity of this device
//	cursor                       last event processed
//	kp|<ref>                     private part of a published KeyPackage
//	room|<room>                  room record
//	group|<room>                 MLS state of an epoch
//	ratchet|<room>|<piece>       MLS state that messages change
//	change|<room>                a commit of ours that is on its way, byte for byte
//	join|<room>                  an external commit of ours that is on its way
//	msg|<room>|<key>             timeline row
//	mid|<room>|<message id>      key of the row of a message
//	out|<room>|<seq>             message to send
//	echo|<room>|<hash>           message id behind a ciphertext of ours
//	name|<user>                  display name last seen
//	root|<domain>                identity roots of another provider, pinned on first use
//	newroot|<domain>             others that it has now, which the user has not accepted
//	held|<room>|<cursor>         an event that cannot be processed yet
//	pending|<room>               proposals wait for a commit
//	left|<room>                  our provider is to be told that this device is not in the room
//	consents                     the provider's list of consents, as last told
//	intent|<user>|<room>         what to do when the user agrees; no room: begin a chat
//	stranger|<room>              who has put us into a room without consent; behind "-": declined
//	link|<room>|<hash>           code of a join link that this device has made
//	vanish|<time>|<room>|<id>    a message that is to be deleted then
//	lost|<client>                a device of ours that is still to be removed from rooms
const (
	keyUser    = "user"
	keyDevice  = "device"
	keyCursor  = "cursor"
	keyPackage = "kp|"
	keyRoom    = "room|"
	keyGroup   = "group|"
	keyRatchet = "ratchet|"
	keyChange  = "change|"
	keyJoin    = "join|"
	keyMessage = "msg|"
	keyMID     = "mid|"
	keyOutbox  = "out|"
	keyEcho    = "echo|"
	keyName    = "name|"
	keyRoot    = "root|"
	keyNewRoot = "newroot|"
	keyHeld    = "held|"
	keyPending = "pending|"
	keyLeft    = "left|"

	keyConsents = "consents"
	keyIntent   = "intent|"
	keyStranger = "stranger|"
	keyLink     = "link|"
	keyLost     = "lost|"
	keyVanish   = "vanish|"
)

// userStore is the part of a Store that belongs to one user.
type userStore struct {
	Store
	prefix string
}

func newUserStore(s Store, user mimi.UserID) userStore {
	return userStore{s, "u|" + user.String() + "|"}
}

func (u userStore) Get(ctx context.Context, key string) ([]byte, error) {
	return u.Store.Get(ctx, u.prefix+key)
}

func (u userStore) Range(ctx context.Context, prefix, from, to string, limit int, reverse bool) ([]KV, error) {
	list, err := u.Store.Range(ctx, u.prefix+prefix, from, to, limit, reverse)
	for i := range list {
		list[i].Key = strings.TrimPrefix(list[i].Key, u.prefix)
	}
	return list, err
}

// ranges reads all keys with each of the prefixes. It asks for all of them at once, because in the browser each is a
// round trip to the database and the engine starts with this.
func (u userStore) ranges(ctx context.Context, prefixes ...string) (map[string][]KV, error) {
	lists := make([][]KV, len(prefixes))
	errs := make([]error, len(prefixes))
	var all sync.WaitGroup
	for i, prefix := range prefixes {
		all.Go(func() { lists[i], errs[i] = u.Range(ctx, prefix, "", "", 0, false) })
	}
	all.Wait()
	found := make(map[string][]KV, len(prefixes))
	for i, prefix := range prefixes {
		found[prefix] = lists[i]
	}
	return found, errors.Join(errs...)
}

func (u userStore) Commit(ctx context.Context, ops []Op) error {
	prefixed := make([]Op, len(ops))
	for i, op := range ops {
		prefixed[i] = Op{u.prefix + op.Key, op.Value}
	}
	return u.Store.Commit(ctx, prefixed)
}

// batch collects the operations of one Commit, and what is to be told once they are durable.
type batch struct {
	ops  []Op
	err  error
	then []func()
}

func (b *batch) put(key string, value []byte) {
	if value == nil {
		value = []byte{}
	}
	b.ops = append(b.ops, Op{key, value})
}

func (b *batch) del(key string) { b.ops = append(b.ops, Op{Key: key}) }

// state puts the result of an MLS state method.
func (b *batch) state(key string, get func() ([]byte, error)) {
	data, err := get()
	if err != nil {
		b.err = errors.Join(b.err, err)
		return
	}
	b.put(key, data)
}
