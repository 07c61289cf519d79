package server

import (
	"context"
	"errors"

	"kith/db"
	"kith/mimi"
)

// peerMode says with which providers this one exchanges anything.
type peerMode string

const (
	modeOpen  peerMode = "open"  // all
	modeAllow peerMode = "allow" // those that the administrator allows
	modeDeny  peerMode = "deny"  // all but those that the administrator denies

	settingPeerMode = "peer_mode"
)

func (m peerMode) valid() bool { return m == modeOpen || m == modeAllow || m == modeDeny }

func readMode(tx *db.Tx) (peerMode, error) {
	text, err := tx.Setting(settingPeerMode)
	if errors.Is(err, db.ErrNotFound) {
		return modeOpen, nil
	}
	if m := peerMode(text); err == nil && !m.valid() {
		return modeAllow, nil // a mode of a newer version: the most careful that we have
	}
	return peerMode(text), err
}

func (p *peers) currentMode() peerMode { return p.mode.Load().(peerMode) }

// admits reports whether anything is exchanged with a provider, in either direction.
func (p *peers) admits(q *peer) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.suspended:
		return false
	case p.currentMode() == modeAllow:
		return q.verdict == db.VerdictAllow
	case p.currentMode() == modeDeny:
		return q.verdict != db.VerdictDeny
	}
	return true
}

// turnedAway is the refusal of a provider that is not admitted. Being suspended passes: what it has for us is to wait.
func (q *peer) turnedAway() *opError {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.suspended {
		return opSuspended
	}
	return opPeerRefused
}

// setMode decides with which providers anything is exchanged. also is carried out in the same transaction.
func (p *peers) setMode(ctx context.Context, mode peerMode, also func(*db.Tx) error) error {
	err := p.db.Write(ctx, func(tx *db.Tx) error {
		return errors.Join(tx.SetSetting(settingPeerMode, []byte(mode)), also(tx))
	})
	if err == nil {
		p.mode.Store(mode)
	}
	return err
}

// setVerdict allows or denies a provider, or does neither any more.
func (p *peers) setVerdict(ctx context.Context, domain mimi.ProviderID, verdict string, also func(*db.Tx) error) error {
	err := p.db.Write(ctx, func(tx *db.Tx) error {
		return errors.Join(tx.SetPeerVerdict(domain.Host(), verdict), also(tx))
	})
	if err == nil {
		q := p.get(domain)
		q.mu.Lock()
		q.verdict = verdict
		q.mu.Unlock()
	}
	return err
}

// suspend stops all exchange with a provider, or takes it up again. What waits for it stays, and so do the rooms.
func (p *peers) suspend(ctx context.Context, domain mimi.ProviderID, suspended bool, also func(*db.Tx) error) error {
	at := int64(0)
	if suspended {
		at = p.now().UnixMilli()
	}
	err := p.db.Write(ctx, func(tx *db.Tx) error {
		return errors.Join(tx.SuspendPeer(domain.Host(), at), also(tx))
	})
	if err == nil {
		q := p.get(domain)
		q.mu.Lock()
		q.suspended = suspended
		q.mu.Unlock()
	}
	return err
}
