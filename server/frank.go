package server

import (
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kith/db"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// hubKeyLife is how long a hub key serves; hubKeyAhead how long before its time a new one is stored, so that no message
// is ever franked with a key that is not.
const (
	hubKeyLife  = 90 * 24 * time.Hour
	hubKeyAhead = time.Minute
)

// Keys of the franking agent's settings.
const (
	settingAgentKey         = "franking_agent_key"
	settingAgentCertificate = "franking_agent_certificate"
)

// frankingAgent is the authority's hand for franks: a signature key of its own, which is not that of the hub's proposals
// (CR-6), and the hub keys (FR-8). The signature key stays as long as there are rooms that name it.
type frankingAgent struct {
	key     *mls.SignatureKey
	franker atomic.Pointer[room.Franker]
	making  atomic.Bool // the next hub key

	mu   sync.Mutex
	cert *x509.Certificate
}

// loadAgent reads the franking agent, or returns db.ErrNotFound as in a database from before franks.
func (a *authority) loadAgent(tx *db.Tx) error {
	private, err := tx.Setting(settingAgentKey)
	if err != nil {
		return err
	}
	if a.agent.key, err = mls.ParseSignatureKey(suite, private); err != nil {
		return fmt.Errorf("server: franking agent key: %w", err)
	}
	certificate, err := tx.Setting(settingAgentCertificate)
	if err != nil {
		return err
	}
	if a.agent.cert, err = x509.ParseCertificate(certificate); err != nil {
		return fmt.Errorf("server: franking agent certificate: %w", err)
	}
	rows, err := tx.HubKeys()
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return db.ErrNotFound
	}
	f := &room.Franker{Agent: a.agent.key}
	for _, row := range rows {
		if len(row.Key) != wire.HubKeySize || row.From < 0 {
			return errors.New("server: hub key has a wrong length or time")
		}
		f.HubKeys = append(f.HubKeys, room.HubKey{From: uint64(row.From), Key: [wire.HubKeySize]byte(row.Key)})
	}
	a.agent.franker.Store(f)
	return nil
}

// createAgent makes the franking agent and the first hub key.
func (a *authority) createAgent(tx *db.Tx) (err error) {
	if a.agent.key, err = mls.GenerateSignatureKey(suite, a.rand); err != nil {
		return err
	}
	if a.agent.cert, err = a.certifyHub(a.agent.key, a.now()); err != nil {
		return err
	}
	first := room.HubKey{From: uint64(max(0, a.now().UnixMilli()))}
	if _, err := io.ReadFull(a.rand, first.Key[:]); err != nil {
		return err
	}
	a.agent.franker.Store(&room.Franker{Agent: a.agent.key, HubKeys: []room.HubKey{first}})
	if err := tx.SetSetting(settingAgentKey, a.agent.key.Private()); err != nil {
		return err
	}
	if err := tx.SetSetting(settingAgentCertificate, a.agent.cert.Raw); err != nil {
		return err
	}
	return tx.AddHubKey(db.HubKey{From: int64(first.From), Key: first.Key[:]})
}

// certifyHub vouches for a key of the hub (CR-6).
func (a *authority) certifyHub(key *mls.SignatureKey, now time.Time) (*x509.Certificate, error) {
	t, err := leaf(now, a.provider.String())
	if err != nil {
		return nil, err
	}
	t.DNSNames = []string{a.domain}
	return a.sign(t, a.root, ed25519.PublicKey(key.Public()))
}

// AgentKey returns the public key of the franking agent.
func (a *authority) AgentKey() mls.SignaturePublicKey { return a.agent.key.Public() }

// FrankingAgent returns what new rooms say about the franking agent. Its certificate is renewed as the hub's is.
func (a *authority) FrankingAgent() *wire.FrankingAgentData {
	a.agent.mu.Lock()
	defer a.agent.mu.Unlock()
	if now := a.now(); outlived(a.agent.cert, now) {
		if fresh, err := a.certifyHub(a.agent.key, now); err == nil {
			a.agent.cert = fresh
			a.db.Enqueue(func(tx *db.Tx) error { return tx.SetSetting(settingAgentCertificate, fresh.Raw) }, func(error) {})
		}
	}
	return &wire.FrankingAgentData{FrankingSignatureKey: a.agent.key.Public(), Credential: mls.X509Credential(a.agent.cert.Raw)}
}

// outlived tells whether a certificate is to be made anew: at two thirds of its life, or when the clock has left it.
func outlived(c *x509.Certificate, now time.Time) bool {
	return now.Before(c.NotBefore) || now.After(c.NotBefore.Add(certificateLife*2/3))
}

// Franker returns what franks messages now. It has the next hub key made when the present one has served its time.
func (a *authority) Franker() *room.Franker {
	f := a.agent.franker.Load()
	last := f.HubKeys[len(f.HubKeys)-1].From
	if now := a.now(); uint64(now.UnixMilli()) >= last+uint64(hubKeyLife.Milliseconds()) && a.agent.making.CompareAndSwap(false, true) {
		a.nextHubKey(now)
	}
	return f
}

// nextHubKey stores a new key for a time that is yet to come, and begins to use it only then.
func (a *authority) nextHubKey(now time.Time) {
	next := room.HubKey{From: uint64(now.Add(hubKeyAhead).UnixMilli())}
	if _, err := io.ReadFull(a.rand, next.Key[:]); err != nil {
		a.agent.making.Store(false)
		return // the present one goes on to serve
	}
	a.db.Enqueue(func(tx *db.Tx) error { return tx.AddHubKey(db.HubKey{From: int64(next.From), Key: next.Key[:]}) },
		func(err error) {
			if err == nil {
				f := *a.agent.franker.Load()
				f.HubKeys = append(slices.Clip(f.HubKeys), next)
				a.agent.franker.Store(&f)
			}
			a.agent.making.Store(false)
		})
}

// frankedEvent is an accepted message as it is stored and distributed.
type frankedEvent struct {
	frank *wire.Frank // nil: not franked
	event []byte
}

// frankFunc makes the event of an accepted message, once however often it is called.
type frankFunc func() (frankedEvent, error)

// frank puts the work on a message that needs no lock, a signature above all, into a function: whoever comes first does
// it, the goroutine of the sender or the one that writes to the database.
func (h *localHub) frank(a *room.Accepted) frankFunc {
	franker := h.authority.Franker()
	return sync.OnceValues(func() (frankedEvent, error) {
		frank, err := franker.Frank(a)
		if err != nil {
			return frankedEvent{}, err
		}
		return frankedEvent{frank, a.Event(frank)}, nil
	})
}

// frankOf returns the frank of a message that was stored before, for the same answer again (SM-4).
func frankOf(tx *db.Tx, event int64) (*wire.Frank, error) {
	body, err := tx.EventBody(event)
	if err != nil {
		return nil, err
	}
	m, err := wire.UnmarshalFanoutMessage(body)
	if err != nil {
		return nil, err
	}
	return m.Frank, nil
}
