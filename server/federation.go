package server

import (
	"context"
	"net/http"
	"strings"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/room"
	"kith/mimi/wire"
)

const (
	federationPrefix = "/mimi/v1/"

	// EN-6
	maxSubmitBody = 1 << 20
	maxBulkBody   = 16 << 20
)

// peerHandler answers a request of another provider: with 200 and a body, with 201 where body is nil, or with an opError.
type peerHandler func(ctx context.Context, from mimi.ProviderID, target string, body []byte) ([]byte, error)

// Federation implements chat. Paths hold whole identifiers, percent-encoded into one segment; those
// who write them without scheme, over several segments, are understood too (DI-3, DI-4).
//
// draft-ietf-mimi-protocol-06, Section 5
func (m *messenger) Federation() http.Handler {
	mux := http.NewServeMux()
	handle := func(endpoint string, limit int64, h peerHandler) {
		mux.Handle("POST "+federationPrefix+endpoint+"/{target...}", m.forPeers(endpoint, limit, h))
	}
	handle(endpointKeyMaterial, maxSubmitBody, m.peerKeyMaterial)
	handle(endpointUpdate, maxBulkBody, m.peerUpdate)
	handle(endpointNotify, maxBulkBody, m.peerNotify)
	handle(endpointSubmitMessage, maxSubmitBody, m.peerSubmit)
	handle(endpointGroupInfo, maxSubmitBody, m.peerGroupInfo)
	handle(endpointIdentifierQuery, maxSubmitBody, m.peerIdentifierQuery)
	handle(endpointRequestConsent, maxSubmitBody, m.peerConsent(false))
	handle(endpointUpdateConsent, maxSubmitBody, m.peerConsent(true))
	handle(endpointReportAbuse, maxSubmitBody, m.peerReportAbuse)
	return mux
}

// forPeers is the chain in front of every endpoint: who asks, may it, and does it ask for too much?
func (m *messenger) forPeers(endpoint string, limit int64, h peerHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := m.peerOf(r)
		if err != nil {
			m.strangerRefused(r, endpoint, err)
			m.answerPeer(w, endpoint, nil, err)
			return
		}
		answer, err := m.fromPeer(w, r, from, limit, h)
		if err != nil {
			m.peerRefused(from, endpoint, asOpError(err))
		}
		m.answerPeer(w, endpoint, answer, err)
	})
}

func (m *messenger) fromPeer(w http.ResponseWriter, r *http.Request, from mimi.ProviderID, limit int64, h peerHandler) ([]byte, error) {
	a, err := m.admitPeer(from)
	if err != nil {
		return nil, err
	}
	defer a.done()
	body, err := a.read(w, r, limit)
	if err != nil {
		return nil, err
	}
	return h(r.Context(), from, uriOf(r.PathValue("target")), body)
}

// peerOf tells which provider asks: the one that From names, if the connection's certificate is for it, or for a host to
// which that provider's own directory sends us.
//
// draft-ietf-mimi-protocol-06, Section 4.1
func (m *messenger) peerOf(r *http.Request) (mimi.ProviderID, error) {
	host, ok := strings.CutPrefix(r.Header.Get("From"), "mimi@")
	from, err := mimi.NewProviderID(strings.ToLower(host))
	if !ok || err != nil || len(r.Header.Values("From")) != 1 {
		return mimi.ProviderID{}, opBadRequest
	}
	cert, err := peerCertificate(r.TLS)
	if err != nil || from == m.domain {
		return mimi.ProviderID{}, opNotAllowed
	}
	if !m.peers.met(from) && !m.mayMeet(cert, r.RemoteAddr) {
		return mimi.ProviderID{}, opRateLimited
	}
	q := m.peers.get(from)
	if verifyPeerName(cert, from.Host()) == nil {
		q.meet()
		return from, nil
	}
	if d, _ := q.known(m.Now()); d == nil && !m.mayMeet(cert, r.RemoteAddr) {
		return mimi.ProviderID{}, opRateLimited
	}
	d, err := m.peers.directoryOf(r.Context(), q)
	if err != nil {
		return mimi.ProviderID{}, opNotAllowed
	}
	for _, host := range d.hosts() {
		if verifyPeerName(cert, host) == nil {
			return from, nil
		}
	}
	return mimi.ProviderID{}, opNotAllowed
}

// uriOf reads the identifier of a path.
func uriOf(target string) string {
	if strings.Contains(target, "://") {
		return target
	}
	return "mimi://" + target
}

// answerPeer writes the answer (TR-7).
//
// draft-ietf-mimi-protocol-06, Section 5
func (m *messenger) answerPeer(w http.ResponseWriter, endpoint string, answer []byte, err error) {
	if err == nil {
		m.metrics.peerRequests.WithLabelValues(endpoint, "ok").Inc()
		w.Header().Set("Content-Type", "application/octet-stream")
		status := http.StatusOK
		if answer == nil {
			status = http.StatusCreated
		}
		w.WriteHeader(status)
		_, _ = w.Write(answer) // a peer that is gone needs no answer
		return
	}
	e := asOpError(err)
	if e == opInternal {
		m.Log.Error("request of another provider", "endpoint", endpoint, "error", err.Error())
	}
	m.metrics.peerRequests.WithLabelValues(endpoint, e.code).Inc()
	switch {
	case e.status == http.StatusTooManyRequests, e == opBusy:
		w.Header().Set("Retry-After", "1")
	case e == opSuspended:
		w.Header().Set("Retry-After", "120")
	case e.status == http.StatusServiceUnavailable, e.status == http.StatusInsufficientStorage:
		w.Header().Set("Retry-After", "30")
	}
	plain(w, int(e.status), e.code+"\n")
}

// peerRefused lets the operator see what a provider was refused. Only the first lines of many are written.
func (m *messenger) peerRefused(from mimi.ProviderID, endpoint string, e *opError) {
	if e.status == http.StatusNotFound {
		return
	}
	m.peers.refusing(m.peers.get(from), e.code)
	if _, ok := m.refusals.take(from.Host(), m.Now()); ok {
		m.Log.Warn("another provider was refused", "peer", from.Host(), "endpoint", endpoint, "code", e.code)
	}
}

// strangerRefused does the same for who has not shown that it is the provider it says it is.
func (m *messenger) strangerRefused(r *http.Request, endpoint string, err error) {
	if _, ok := m.refusals.take("at "+network(r.RemoteAddr), m.Now()); !ok {
		return
	}
	claims := "nobody"
	if host, ok := strings.CutPrefix(r.Header.Get("From"), "mimi@"); ok {
		if id, err := mimi.NewProviderID(host); err == nil {
			claims = id.Host()
		}
	}
	m.Log.Warn("somebody was refused who is not the provider it says", "says", claims, "endpoint", endpoint, "code", asOpError(err).code,
		"network", network(r.RemoteAddr))
}

// roomOf reads the room of a request; hosted says that we must be its hub.
func (m *messenger) roomOf(target string, hosted bool) (mimi.RoomID, error) {
	id, err := mimi.ParseRoomID(target)
	if err != nil {
		return mimi.RoomID{}, opBadRequest
	}
	if hosted && id.Provider() != m.domain {
		return mimi.RoomID{}, opUnknown
	}
	return id, nil
}

func (m *messenger) peerUpdate(ctx context.Context, from mimi.ProviderID, target string, body []byte) ([]byte, error) {
	id, err := m.roomOf(target, true)
	if err != nil {
		return nil, err
	}
	return m.hub.Update(ctx, room.Origin{Provider: from}, id, body)
}

func (m *messenger) peerSubmit(ctx context.Context, from mimi.ProviderID, target string, body []byte) ([]byte, error) {
	id, err := m.roomOf(target, true)
	if err != nil {
		return nil, err
	}
	req, err := wire.UnmarshalSubmitMessageRequest(body)
	if err != nil {
		return nil, opBadRequest
	}
	if req.SendingURI.Provider() != from { // TR-6
		return nil, opNotAllowed
	}
	type result struct {
		body []byte
		err  error
	}
	answered := make(chan result, 1)
	m.hub.Submit(ctx, room.Origin{Provider: from}, id, body, func(body []byte, err error) { answered <- result{body, err} })
	select {
	case r := <-answered:
		return r.body, r.err
	case <-m.context.Done(): // the answer might never come
		return nil, opStopping
	}
}

func (m *messenger) peerGroupInfo(ctx context.Context, from mimi.ProviderID, target string, body []byte) ([]byte, error) {
	id, err := m.roomOf(target, true)
	if err != nil {
		return nil, err
	}
	if _, err := m.peers.rootsFor(ctx, from); err != nil {
		return nil, err
	}
	return m.hub.GroupInfo(ctx, room.Origin{Provider: from}, id, body)
}

func (m *messenger) peerNotify(ctx context.Context, from mimi.ProviderID, target string, body []byte) ([]byte, error) {
	id, err := m.roomOf(target, false)
	if err != nil {
		return nil, err
	}
	if id.Provider() != from { // TR-6
		return nil, opNotAllowed
	}
	return nil, m.follower.Notify(ctx, id, body)
}

// peerKeyMaterial answers in both roles: as the hub of the room that somebody is to be added to, and as the provider of
// that somebody.
//
// draft-ietf-mimi-protocol-06, Section 5.2
func (m *messenger) peerKeyMaterial(ctx context.Context, from mimi.ProviderID, target string, body []byte) ([]byte, error) {
	req, err := wire.UnmarshalKeyMaterialRequest(body)
	if err != nil || req.TargetUser.String() != target { // KM-1
		return nil, opBadRequest
	}
	asHub := req.RoomID.Provider() == m.domain && !req.RoomID.IsZero()
	asks := req.RequestingUser.Provider()
	sender := asks // TR-6: the requester's provider asks the hub, the hub asks us
	if !asHub && !req.RoomID.IsZero() {
		sender = req.RoomID.Provider()
	}
	if sender != from || asks == m.domain && asHub {
		return nil, opNotAllowed
	}
	if !asHub && req.TargetUser.Provider() != m.domain {
		return nil, opUnknown
	}
	if err := m.checkForeignRequester(ctx, req); err != nil {
		return nil, err
	}
	if asHub {
		return m.hub.KeyMaterial(ctx, room.Origin{Provider: from}, req, body)
	}
	return m.material(ctx, req, body, nil)
}

// checkForeignRequester verifies that a request is from the user it names (KM-4).
func (m *messenger) checkForeignRequester(ctx context.Context, req *wire.KeyMaterialRequest) error {
	if req.Verify() != nil {
		return opBadSignature
	}
	roots, err := m.peers.rootsFor(ctx, req.RequestingUser.Provider())
	if err != nil {
		return err
	}
	c, err := identity.Validate(req.RequesterCredential, req.RequesterSignatureKey, nil, roots, m.Now())
	if err != nil || c.User != req.RequestingUser {
		m.peers.lookAgain(ctx, req.RequestingUser.Provider())
		return opNotAllowed
	}
	return nil
}

func (m *messenger) peerIdentifierQuery(ctx context.Context, from mimi.ProviderID, target string, body []byte) ([]byte, error) {
	if target != m.domain.String() {
		return nil, opUnknown
	}
	if _, ok := m.peerQueries.take(from.Host(), m.Now()); !ok { // IQ-3: nobody guesses at the names of all users here
		return nil, opRateLimited
	}
	return m.queryHere(ctx, body)
}
