package client

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"sync"
)

// ErrMemStore is what a MemStore answers when it was told to fail.
var ErrMemStore = errors.New("client: memory store told to fail")

// MemStore is a Store in memory for tests and tools. It can be made to die at any Commit, before or after the
// commit took effect, as a browser does when it is killed; Revive is the next start of the browser.
type MemStore struct {
	mu      sync.Mutex
	data    map[string][]byte
	commits int
	failAt  int
	applied bool
	dead    bool
}

// NewMemStore returns an empty store.
func NewMemStore() *MemStore { return &MemStore{data: map[string][]byte{}} }

// FailAt makes the n-th Commit from now fail, and everything after it. If applied, that commit still takes effect:
// the process died after the disk had it. n = 0 never fails.
func (m *MemStore) FailAt(n int, applied bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failAt, m.applied = 0, applied
	if n > 0 {
		m.failAt = m.commits + n
	}
}

// Revive ends a failure.
func (m *MemStore) Revive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead, m.failAt = false, 0
}

// Dead reports whether the store has failed.
func (m *MemStore) Dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// Commits counts the commits that took effect.
func (m *MemStore) Commits() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commits
}

// Clone returns a copy of the content, as a copied browser profile.
func (m *MemStore) Clone() *MemStore {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemStore()
	for k, v := range m.data {
		c.data[k] = v
	}
	return c
}

// Get implements Store.
func (m *MemStore) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, ErrMemStore
	}
	return slices.Clone(m.data[key]), nil
}

// Range implements Store.
func (m *MemStore) Range(_ context.Context, prefix, from, to string, limit int, reverse bool) ([]KV, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, ErrMemStore
	}
	var list []KV
	for k, v := range m.data {
		rest, ok := strings.CutPrefix(k, prefix)
		if ok && rest >= from && (to == "" || rest < to) {
			list = append(list, KV{k, slices.Clone(v)})
		}
	}
	sort.Slice(list, func(i, j int) bool { return (list[i].Key < list[j].Key) != reverse })
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	return list, nil
}

// Commit implements Store.
func (m *MemStore) Commit(_ context.Context, ops []Op) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return ErrMemStore
	}
	m.commits++
	m.dead = m.commits == m.failAt
	if m.dead && !m.applied {
		return ErrMemStore
	}
	for _, op := range ops {
		if op.Value == nil {
			delete(m.data, op.Key)
		} else {
			m.data[op.Key] = slices.Clone(op.Value)
		}
	}
	if m.dead {
		return ErrMemStore
	}
	return nil
}
