package server

import (
	"context"
	"strings"
	"sync"
	"time"

	"kith/mimi"
	"kith/mimi/wire"
	"kith/web/api"
)

// What users of other providers are called is asked of these, when a browser of ours wants to know, and remembered for a
// while. A browser is not kept waiting for a provider that does not answer: it asks again on its next connection.
const (
	nameLife      = time.Hour
	noNameLife    = 10 * time.Minute // who has no name, or whose provider is away
	namesWithin   = 10 * time.Second // for all that a browser asks for at once
	namesAtOnce   = 4                // requests for one browser under way
	maxNamesKnown = 20_000
)

// foreignNames are the display names of other providers' users. It is for the use of many goroutines.
type foreignNames struct {
	mu    sync.Mutex
	known map[mimi.UserID]foreignName
}

type foreignName struct {
	name  string // empty: none is known
	until time.Time
}

func (f *foreignNames) get(u mimi.UserID, now time.Time) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.known[u]
	return n.name, ok && now.Before(n.until)
}

func (f *foreignNames) put(u mimi.UserID, name string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil || len(f.known) >= maxNamesKnown {
		f.known = map[mimi.UserID]foreignName{} // they are asked for again
	}
	life := nameLife
	if name == "" {
		life = noNameLife
	}
	f.known[u] = foreignName{name, now.Add(life)}
}

// namesAbroad tells the names of users of other providers that we have met.
func (s *socket) namesAbroad(users []mimi.UserID) api.ProfileList {
	ctx, cancel := context.WithTimeout(s.context, namesWithin)
	defer cancel()
	s.m.askNames(ctx, s.account.User, users)
	var list api.ProfileList
	for _, u := range users {
		if name, ok := s.m.names.get(u, s.m.Now()); ok && name != "" {
			list = append(list, api.Profile{User: u.String(), DisplayName: name})
		}
	}
	return list
}

// askNames asks for the names that are not known, a few at a time, and is done when all have answered or ctx ends.
func (m *messenger) askNames(ctx context.Context, asker mimi.UserID, users []mimi.UserID) {
	slots := make(chan struct{}, namesAtOnce)
	var all sync.WaitGroup
	for _, u := range users {
		if _, ok := m.names.get(u, m.Now()); ok || !m.peers.met(u.Provider()) {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			all.Wait()
			return
		}
		// one that failed meanwhile speaks for its provider
		if _, ok := m.names.get(u, m.Now()); ok {
			<-slots
			continue
		}
		if _, ok := m.outsides.names.take(asker.String(), m.Now()); !ok {
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			if name, err := m.askName(ctx, u); err == nil {
				m.names.put(u, name, m.Now())
			} else {
				m.unnamed(users, u.Provider())
			}
		})
	}
	all.Wait()
}

// unnamed notes that a provider does not tell names now.
func (m *messenger) unnamed(users []mimi.UserID, provider mimi.ProviderID) {
	for _, u := range users {
		if _, ok := m.names.get(u, m.Now()); !ok && u.Provider() == provider {
			m.names.put(u, "", m.Now())
		}
	}
}

// askName asks a user's provider what the user is called.
//
// draft-ietf-mimi-protocol-06, Section 5.8
func (m *messenger) askName(ctx context.Context, u mimi.UserID) (string, error) {
	query := wire.QueryElement{SearchType: wire.SearchHandle, SearchValue: u.String()}
	body, err := (&wire.IdentifierRequest{QueryElements: []wire.QueryElement{query}}).Bytes()
	if err != nil {
		return "", err
	}
	provider := u.Provider()
	body, err = m.peers.ask(ctx, provider, endpointIdentifierQuery, map[string]string{"domain": provider.String()}, body)
	if err != nil {
		return "", err
	}
	resp, err := wire.UnmarshalIdentifierResponse(body)
	if err != nil {
		return "", err
	}
	for _, p := range resp.FoundProfiles {
		for _, f := range p.Fields {
			name := strings.TrimSpace(string(f.FieldValue))
			if p.StableURI == u && f.FieldSource == wire.FieldVCard && f.FieldName == "FN" && checkDisplayName(name).None() {
				return name, nil
			}
		}
	}
	return "", nil
}
