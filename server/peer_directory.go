package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"kith/db"
	"kith/mimi"
	"kith/mimi/identity"
	"kith/web/api"
)

const (
	directoryPath    = "/.well-known/mimi-protocol-directory"
	directoryLife    = 24 * time.Hour   // DI-2
	directoryAgain   = 10 * time.Second // one that does not help is not fetched again sooner
	maxDirectory     = 256 << 10
	maxIdentityRoots = 8
)

// The members of a directory.
//
// draft-ietf-mimi-protocol-06, Section 5.1
const (
	endpointKeyMaterial     = "keyMaterial"
	endpointUpdate          = "update"
	endpointNotify          = "notify"
	endpointSubmitMessage   = "submitMessage"
	endpointGroupInfo       = "groupInfo"
	endpointRequestConsent  = "requestConsent"
	endpointUpdateConsent   = "updateConsent"
	endpointIdentifierQuery = "identifierQuery"
	endpointReportAbuse     = "reportAbuse"
	endpointProxyDownload   = "proxyDownload"
)

// directory says where the endpoints of a provider are, and which identity authorities it has.
type directory struct {
	templates map[string]string
	roots     []*identity.Root
}

// endpointVariable is the variable of each endpoint in our own directory.
var endpointVariable = map[string]string{
	endpointKeyMaterial: "targetUser", endpointUpdate: "roomId", endpointNotify: "roomId", endpointSubmitMessage: "roomId",
	endpointGroupInfo: "roomId", endpointRequestConsent: "targetDomain", endpointUpdateConsent: "requesterDomain",
	endpointIdentifierQuery: "domain", endpointReportAbuse: "roomId", endpointProxyDownload: "downloadUrl",
}

// ServeDirectory implements chat: it tells other providers, and browsers of their users, about us.
func (m *messenger) ServeDirectory(w http.ResponseWriter, _ *http.Request) {
	if m.peers.client == nil {
		plain(w, http.StatusNotFound, "This server does not know other providers.\n")
		return
	}
	members := map[string]any{"x-identityRoots": []string{base64.StdEncoding.EncodeToString(m.Identity.RootDER())}}
	for endpoint, variable := range endpointVariable {
		members[endpoint] = m.FederationBase() + federationPrefix + endpoint + "/{" + variable + "}"
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "max-age=3600")
	_ = json.NewEncoder(w).Encode(members) // a peer that is gone needs no answer
}

// directoryOf returns a peer's directory, from memory if it is young enough.
func (p *peers) directoryOf(ctx context.Context, q *peer) (*directory, error) {
	if p.client == nil || !p.admits(q) {
		return nil, opPeerRefused
	}
	d, before := q.known(p.now())
	if d != nil {
		return d, nil
	}
	select {
	case q.fetching <- struct{}{}:
		defer func() { <-q.fetching }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch d, attempts := q.known(p.now()); {
	case d != nil:
		return d, nil
	case attempts != before: // somebody has just tried: those who have waited for it do not try one after the other
		q.mu.Lock()
		defer q.mu.Unlock()
		return nil, q.failure
	}
	d, err := p.fetchDirectory(ctx, q)
	if err == nil {
		err = p.pin(ctx, q, d.roots)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.attempts++
	if q.failure = err; err != nil {
		return nil, err
	}
	q.directory, q.fetched, q.met = d, p.now(), true
	return d, nil
}

// known returns the directory if it is in memory, and how often it has been looked for.
func (q *peer) known(now time.Time) (*directory, int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.fetched).Abs() > directoryLife {
		return nil, q.attempts
	}
	return q.directory, q.attempts
}

// forgetDirectory lets the next request fetch the directory again, unless it has just been fetched.
func (q *peer) forgetDirectory(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.directory == nil || now.Sub(q.fetched).Abs() < directoryAgain {
		return false
	}
	q.directory = nil
	return true
}

// lookAgain fetches the directory of a provider whose people show what its identity roots do not vouch for: it may have
// other roots by now, which the administrator is to see at once and not when the directory is fetched the next time.
func (p *peers) lookAgain(ctx context.Context, domain mimi.ProviderID) {
	q, now := p.get(domain), p.now()
	q.mu.Lock()
	early := now.Sub(q.looked).Abs() < directoryAgain
	if !early {
		q.looked, q.directory = now, nil
	}
	q.mu.Unlock()
	if early || domain == p.self || p.client == nil || !p.admits(q) {
		return
	}
	if _, err := p.directoryOf(ctx, q); err != nil {
		p.failed(ctx, q, err)
	}
}

func (p *peers) fetchDirectory(ctx context.Context, q *peer) (*directory, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+q.domain.Host()+directoryPath, nil)
	if err != nil {
		return nil, errDirectory
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	q.saw(resp.TLS)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDirectory+1))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || len(body) > maxDirectory {
		return nil, errDirectory
	}
	return parseDirectory(body, q.domain)
}

// parseDirectory reads a directory. What it has beyond what we know is passed over (DI-5).
func parseDirectory(body []byte, domain mimi.ProviderID) (*directory, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return nil, errDirectory
	}
	d := &directory{templates: make(map[string]string)}
	for endpoint := range endpointVariable {
		var template string
		if raw, ok := members[endpoint]; !ok || json.Unmarshal(raw, &template) != nil {
			continue
		}
		u, err := url.Parse(strings.NewReplacer("{", "", "}", "").Replace(template))
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return nil, errDirectory
		}
		d.templates[endpoint] = template
	}
	var list []string
	if raw, ok := members["x-identityRoots"]; ok && json.Unmarshal(raw, &list) != nil {
		return nil, errDirectory
	}
	for _, text := range list[:min(len(list), maxIdentityRoots)] {
		// One that is not an authority of this very domain vouches for nobody.
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		if root, err := identity.ParseRoot(der); err == nil && root.Domain == domain {
			d.roots = append(d.roots, root)
		}
	}
	return d, nil
}

// hosts lists the hosts of the endpoints.
func (d *directory) hosts() []string {
	var list []string
	for _, template := range d.templates {
		u, err := url.Parse(strings.NewReplacer("{", "", "}", "").Replace(template))
		if err == nil && !slices.Contains(list, u.Hostname()) {
			list = append(list, u.Hostname())
		}
	}
	return list
}

// expand fills in the template of an endpoint, a simple string expansion: whole identifiers are percent-encoded into one
// segment (DI-3), and a variable that we do not know is empty. The variables of the consent endpoints have two names each,
// and callers give both (DI-4); without any that we know a template says nothing.
//
// RFC 6570, Section 3.2.2
func (d *directory) expand(endpoint string, vars map[string]string) (string, error) {
	rest, ok := d.templates[endpoint]
	if !ok {
		return "", errDirectory
	}
	var b strings.Builder
	used := false
	for {
		before, after, found := strings.Cut(rest, "{")
		b.WriteString(before)
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.ContainsAny(name, "+#./;?&=,!@|*:{") { // levels 2 to 4
			return "", errDirectory
		}
		value, known := vars[name]
		used = used || known
		b.WriteString(percentEncode(value))
		rest = tail
	}
	if !used {
		return "", errDirectory
	}
	return b.String(), nil
}

// percentEncode leaves nothing but unreserved characters as they are.
func percentEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// pin believes the identity roots of a peer that is met for the first time. Others later are not believed; the
// administrator is told and may accept them (CR-2).
func (p *peers) pin(ctx context.Context, q *peer, roots []*identity.Root) error {
	domain := q.domain.Host()
	if len(roots) == 0 {
		return p.db.Write(ctx, func(tx *db.Tx) error { return tx.MeetPeer(domain) })
	}
	q.mu.Lock()
	pinned := q.roots
	q.mu.Unlock()
	stored, err := encodeRoots(roots)
	if err != nil {
		return err
	}
	if len(pinned) == 0 {
		if err := p.db.Write(ctx, func(tx *db.Tx) error { return tx.PinPeerRoots(domain, stored) }); err != nil {
			return err
		}
		q.mu.Lock()
		q.roots = roots
		q.mu.Unlock()
		return nil
	}
	var offered []byte
	if !identity.SameRoots(pinned, roots) {
		offered = stored
		p.log.Warn("another provider has a new identity, which the administrator may accept", "peer", domain)
	}
	return p.db.Write(ctx, func(tx *db.Tx) error { return tx.OfferPeerRoots(domain, offered) })
}

// acceptRoots pins what a peer offers now, if that is still what somebody has seen, as fingerprints. also is carried out in
// the same transaction.
func (p *peers) acceptRoots(ctx context.Context, domain mimi.ProviderID, seen []string, also func(*db.Tx) error) error {
	var row db.Peer
	err := p.db.Write(ctx, func(tx *db.Tx) (err error) {
		if row, err = tx.Peer(domain.Host()); err != nil {
			return err
		}
		if !slices.Equal(offeredBy(row, domain), seen) {
			return db.ErrNotFound
		}
		if err := errors.Join(tx.AcceptPeerRoots(domain.Host()), also(tx)); err != nil {
			return err
		}
		row, err = tx.Peer(domain.Host())
		return err
	})
	if err != nil {
		return err
	}
	roots, err := parseRoots(row.Roots, domain)
	if err != nil {
		return err
	}
	q := p.get(domain)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.roots = roots
	return nil
}

func encodeRoots(roots []*identity.Root) ([]byte, error) {
	var b cryptobyte.Builder
	for _, r := range roots {
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(r.Raw) })
	}
	return b.Bytes()
}

func parseRoots(stored []byte, domain mimi.ProviderID) ([]*identity.Root, error) {
	var roots []*identity.Root
	for s := cryptobyte.String(stored); !s.Empty(); {
		var der cryptobyte.String
		if !s.ReadUint24LengthPrefixed(&der) {
			return nil, errors.New("server: malformed identity roots")
		}
		root, err := identity.ParseRoot(der)
		if err != nil {
			return nil, err
		}
		if root.Domain != domain {
			return nil, errors.New("server: identity root of another domain")
		}
		roots = append(roots, root)
	}
	return roots, nil
}

// identityRoots carries out OpIdentityRoots.
func (s *socket) identityRoots(r *api.Request) ([]byte, error) {
	domain, err := mimi.ParseProviderID(r.Target)
	if err != nil || len(r.Body) > 0 {
		return nil, opBadRequest
	}
	list, err := s.m.identityRoots(s.context, domain)
	if err != nil {
		return nil, err
	}
	return api.DERList(list).Bytes()
}

// identityRoots returns the roots by which a provider's users are known, as certificates.
func (m *messenger) identityRoots(ctx context.Context, domain mimi.ProviderID) ([][]byte, error) {
	roots, err := m.peers.rootsFor(ctx, domain)
	if err != nil {
		return nil, awayUnless(ctx, err)
	}
	list := make([][]byte, len(roots))
	for i, r := range roots {
		list[i] = r.Raw
	}
	return list, nil
}
