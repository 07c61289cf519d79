package server

import (
	"time"

	"kith/mimi"
	"kith/mimi/wire"
	"kith/web/api"
)

// The limits of what one of our users may make us ask other providers: nobody here may use us to search them through, to
// drain the KeyPackages of their users, or to make us look for domains without end.
const (
	outsideBurst, outsideEvery   = 600, 100 * time.Millisecond // requests of any kind
	queryBurst, queryEvery       = 30, 10 * time.Second        // searches for people
	materialBurst, materialEvery = 120, 5 * time.Second        // KeyPackages
	domainBurst, domainEvery     = 20, time.Minute             // providers that we do not know yet
	nameBurst, nameEvery         = 500, time.Second            // names of people
)

// outsideLimits are those limits, by user.
type outsideLimits struct{ all, queries, material, domains, names *limiter }

func newOutsideLimits() outsideLimits {
	return outsideLimits{newLimiter(outsideBurst, outsideEvery), newLimiter(queryBurst, queryEvery),
		newLimiter(materialBurst, materialEvery), newLimiter(domainBurst, domainEvery),
		newLimiter(nameBurst, nameEvery)}
}

// outsideProvider returns the provider that a request is about.
func outsideProvider(r *api.Request) (mimi.ProviderID, bool) {
	switch r.Op {
	case api.OpUpdate, api.OpGroupInfo, api.OpReportAbuse:
		id, err := mimi.ParseRoomID(r.Target)
		return id.Provider(), err == nil
	case api.OpKeyMaterial:
		req, err := wire.UnmarshalKeyMaterialRequest(r.Body)
		if err != nil {
			return mimi.ProviderID{}, false
		}
		if !req.RoomID.IsZero() && req.RoomID.Provider() != req.RequestingUser.Provider() {
			return req.RoomID.Provider(), true
		}
		return req.TargetUser.Provider(), true
	case api.OpIdentifierQuery, api.OpIdentityRoots:
		id, err := mimi.ParseProviderID(r.Target)
		return id, err == nil
	}
	return mimi.ProviderID{}, false
}

// mayGoOut spends what the user has of requests for which another provider is asked.
func (s *socket) mayGoOut(r *api.Request) bool {
	provider, ok := outsideProvider(r)
	if !ok || provider == s.m.domain {
		return true
	}
	user, now, l := s.account.User.String(), s.m.Now(), &s.m.outsides
	_, ok = l.all.take(user, now)
	if ok && r.Op == api.OpIdentifierQuery {
		_, ok = l.queries.take(user, now)
	}
	if ok && r.Op == api.OpKeyMaterial {
		_, ok = l.material.take(user, now)
	}
	if ok && !s.m.peers.met(provider) {
		_, ok = l.domains.take(user, now)
	}
	return ok
}

// slot takes a place for a request. It waits for one where the database is what is waited for; where it is another
// provider it does not, because what waits for others must not keep what is ours from being read.
func (s *socket) slot(slots chan struct{}) bool {
	if slots == s.asides {
		select {
		case slots <- struct{}{}:
			return true
		default:
			return false
		}
	}
	select {
	case slots <- struct{}{}:
		return true
	case <-s.context.Done():
		return false
	}
}
