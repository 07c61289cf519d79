package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/web/api"
)

// maxTroubled bounds how many domains are listed that were only ever looked for.
const maxTroubled = 50

// peerState is what the administrator is shown of a provider.
type peerState struct {
	db.Peer
	admitted  bool
	waiting   db.Waiting
	awaySince time.Time
	refused   uint64
	refusal   string
	offered   []string // fingerprints of the identity that it offers instead of the pinned one
}

// PeerStates implements chat.
func (m *messenger) PeerStates(ctx context.Context) (peerMode, []peerState, error) {
	var rows []db.Peer
	var waiting []db.Waiting
	err := m.DB.Read(ctx, func(tx *db.Tx) (err error) {
		if rows, err = tx.Peers(); err == nil {
			waiting, err = tx.Waiting()
		}
		return err
	})
	if err != nil {
		return "", nil, err
	}
	var list []peerState
	stored := make(map[string]bool)
	for _, row := range rows {
		stored[row.Domain] = true
		if s, ok := m.peerState(row, waiting); ok {
			list = append(list, s)
		}
	}
	troubled := 0
	for _, q := range m.peers.all() { // who was never met, but with whom something is wrong
		q.mu.Lock()
		row := db.Peer{Domain: q.domain.Host(), Error: q.problem}
		q.mu.Unlock()
		if !stored[row.Domain] && row.Error != "" && troubled < maxTroubled {
			troubled++
			if s, ok := m.peerState(row, waiting); ok {
				list = append(list, s)
			}
		}
	}
	slices.SortFunc(list, func(a, b peerState) int { return strings.Compare(a.Domain, b.Domain) })
	return m.peers.currentMode(), list, nil
}

func (m *messenger) peerState(row db.Peer, waiting []db.Waiting) (peerState, bool) {
	domain, err := mimi.NewProviderID(row.Domain)
	if err != nil || domain == m.domain {
		return peerState{}, false
	}
	q := m.peers.get(domain)
	s := peerState{Peer: row, admitted: m.peers.admits(q), awaySince: m.outbox.awaySince(domain)}
	if i := slices.IndexFunc(waiting, func(w db.Waiting) bool { return w.Provider == row.Domain }); i >= 0 {
		s.waiting = waiting[i]
	}
	s.offered = offeredBy(row, domain)
	q.mu.Lock()
	defer q.mu.Unlock()
	s.Error, s.refused, s.refusal = q.problem, q.refused, q.refusal // newer than what was written down
	if !q.expires.IsZero() {
		s.ExpiresAt = q.expires.UnixMilli()
	}
	return s, true
}

// offeredBy lists the fingerprints of the roots that a provider offers.
func offeredBy(row db.Peer, domain mimi.ProviderID) (list []string) {
	roots, err := parseRoots(row.Offered, domain)
	if err != nil {
		return nil
	}
	for _, root := range roots {
		list = append(list, fingerprint(root.Raw))
	}
	return list
}

// fingerprint is the SHA-256 of a certificate in groups that two people can read to each other.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	text := hex.EncodeToString(sum[:])
	var groups []string
	for i := 0; i < len(text); i += 4 {
		groups = append(groups, text[i:i+4])
	}
	return strings.Join(groups, " ")
}

// peerChange is what an administrator wants of a provider.
type peerChange string

const (
	peerSuspend peerChange = "suspend"
	peerResume  peerChange = "resume"
	peerAllow   peerChange = "allow"
	peerDeny    peerChange = "deny"
	peerForget  peerChange = "forget" // neither allowed nor denied
	peerAccept  peerChange = "accept" // its new identity
	peerTry     peerChange = "try"
)

var errPeerChange = errors.New("server: unknown change of a peer")

// ChangePeer implements chat. seen are the fingerprints of the identity that is accepted; also is carried out in the same
// transaction.
func (m *messenger) ChangePeer(ctx context.Context, domain mimi.ProviderID, change peerChange, seen []string, also func(*db.Tx) error) (err error) {
	switch change {
	case peerSuspend, peerResume:
		err = m.peers.suspend(ctx, domain, change == peerSuspend, also)
	case peerAllow:
		err = m.peers.setVerdict(ctx, domain, db.VerdictAllow, also)
	case peerDeny:
		err = m.peers.setVerdict(ctx, domain, db.VerdictDeny, also)
	case peerForget:
		err = m.peers.setVerdict(ctx, domain, db.VerdictNone, also)
	case peerAccept:
		err = m.peers.acceptRoots(ctx, domain, seen, also)
	case peerTry:
		err = m.DB.Write(ctx, also)
	default:
		return errPeerChange
	}
	if err != nil {
		return err
	}
	switch change {
	case peerAccept:
		// Browsers hold what the new identity has signed.
		m.hint(api.HintProfiles, func(*socket) bool { return true })
	case peerTry:
		m.tryPeer(domain)
	}
	m.outbox.resume(domain)
	return nil
}

// SetPeerMode implements chat.
func (m *messenger) SetPeerMode(ctx context.Context, mode peerMode, also func(*db.Tx) error) error {
	err := m.peers.setMode(ctx, mode, also)
	if err == nil {
		m.outbox.resumeAll()
	}
	return err
}

// tryPeer looks whether a provider is there, without anybody waiting for it.
func (m *messenger) tryPeer(domain mimi.ProviderID) {
	q := m.peers.get(domain)
	q.forgetDirectory(m.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.peers.client == nil {
		return
	}
	m.running.Go(func() {
		ctx, cancel := context.WithTimeout(m.context, peerWithin)
		defer cancel()
		if _, err := m.peers.directoryOf(ctx, q); err != nil {
			m.peers.failed(ctx, q, err)
			return
		}
		m.peers.note(q, "", false)
	})
}
