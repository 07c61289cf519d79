// Package foreign is a provider of another make: its users have client URIs of one segment, its endpoints have other
// paths, and it does whatever the drafts leave open otherwise than our own servers do. It hosts rooms and follows others'.
// [Manners] says how it behaves. It is honest; package hostile is the one that lies. It is used by tests only.
package foreign

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/server/servertest"
)

// Manners is how a provider behaves where the drafts leave it a choice.
type Manners struct {
	Protocols []string // of HTTP; empty: HTTP/2 and HTTP/1.1
	Status    int      // of answers without a body; 0: 201
	BodyCode  int      // of answers with one; 0: 200
	Consents  int      // status for consents; 0: as Status

	// As a hub:
	Silent  bool          // what a provider's own user has sent is not sent to that provider
	Repeat  int           // how often each request is sent again
	Batch   time.Duration // for how long events are collected into one request
	Rebatch bool          // an answer gets lost now and then, and what it was about is sent again in other portions
	Tree    wire.RatchetTreeRepresentation
	Strip   []mls.ComponentID // components that its rooms do not have
	Suite   mls.CipherSuite   // that answers to groupInfo name; 0: the room's
}

// Request is what another provider has asked.
type Request struct {
	Endpoint, Target string
	Header           http.Header
	Host, Protocol   string
	Body             []byte
}

// Provider is a provider of another make.
type Provider struct {
	*servertest.Foreign
	Manners Manners

	net    *servertest.Net
	key    ed25519.PrivateKey // of its identity authority
	root   *x509.Certificate
	roots  roots
	hubKey *mls.SignatureKey
	sender mls.ExternalSender
	peers  map[mimi.ProviderID]*servertest.Provider
	stop   context.CancelFunc
	ended  context.Context

	mu      sync.Mutex // never held while anything is asked of others
	names   map[mimi.UserID]string
	devices []*Device
	rooms   map[mimi.RoomID]*hosted
	handed  map[string]mimi.ProviderID // who has handed out which KeyPackage
	seen    []Request
	got     map[string][]*servertest.Answer
	faults  []error
}

// roots are the identity authorities that it believes.
type roots map[mimi.ProviderID]*identity.Root

// Root implements room.Roots.
func (r roots) Root(domain mimi.ProviderID) *identity.Root { return r[domain] }

// New starts a provider that knows the given ones.
func New(ctx context.Context, n *servertest.Net, domain string, m Manners, others ...*servertest.Provider) (*Provider, error) {
	p := &Provider{Manners: m, net: n, roots: roots{}, peers: map[mimi.ProviderID]*servertest.Provider{}, names: map[mimi.UserID]string{},
		rooms: map[mimi.RoomID]*hosted{}, handed: map[string]mimi.ProviderID{}, got: map[string][]*servertest.Answer{}}
	p.ended, p.stop = context.WithCancel(ctx)
	var err error
	if p.Foreign, err = n.Foreign(domain, http.HandlerFunc(p.serve), m.Protocols...); err != nil {
		return nil, err
	}
	for _, other := range others {
		der, err := other.Root(ctx)
		if err != nil {
			return nil, err
		}
		if p.roots[other.Domain], err = identity.ParseRoot(der); err != nil {
			return nil, err
		}
		p.peers[other.Domain] = other
	}
	return p, p.makeAuthority()
}

// Close ends it.
func (p *Provider) Close() error {
	p.stop()
	return p.Foreign.Close()
}

// makeAuthority makes the identity authority and the hub's key and certificate.
func (p *Provider) makeAuthority() (err error) {
	host := p.Domain.Host()
	if _, p.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return err
	}
	t := &x509.Certificate{Subject: pkix.Name{CommonName: "users of " + host}, NotBefore: p.net.Now().Add(-time.Hour),
		NotAfter: p.net.Now().Add(5 * 365 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{host}, PermittedURIDomains: []string{host}}
	der, err := p.sign(t, t, p.key.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	if p.root, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	if p.roots[p.Domain], err = identity.ParseRoot(der); err != nil {
		return err
	}
	if p.hubKey, err = mls.GenerateSignatureKey(room.Suite, rand.Reader); err != nil {
		return err
	}
	der, err = p.certify(p.hubKey.Public(), []string{host}, p.Domain.String())
	p.sender = mls.ExternalSender{SignatureKey: p.hubKey.Public(), Credential: mls.X509Credential(der)}
	return err
}

// certify vouches for a key.
func (p *Provider) certify(key mls.SignaturePublicKey, names []string, uris ...string) ([]byte, error) {
	now := p.net.Now()
	t := &x509.Certificate{Subject: pkix.Name{CommonName: "key"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(60 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, DNSNames: names}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			return nil, err
		}
		t.URIs = append(t.URIs, u)
	}
	return p.sign(t, p.root, ed25519.PublicKey(key))
}

func (p *Provider) sign(t, parent *x509.Certificate, key ed25519.PublicKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, t, parent, key, p.key)
}

// Name gives a user a display name.
func (p *Provider) Name(u mimi.UserID, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names[u] = name
}

// Seen are the requests that came to an endpoint.
func (p *Provider) Seen(endpoint string) (list []Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.seen {
		if r.Endpoint == endpoint {
			list = append(list, r)
		}
	}
	return list
}

// Got are the answers that it has got from an endpoint of others.
func (p *Provider) Got(endpoint string) []*servertest.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got[endpoint])
}

// Err is what went wrong in it so far.
func (p *Provider) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.faults...)
}

// fault notes an error; the caller holds the lock.
func (p *Provider) fault(err error) {
	if err != nil {
		p.faults = append(p.faults, err)
	}
}

// endpoints are its own paths, in RFC 6570 as in ours, but otherwise ordered; the consents have the users' names in them.
var endpoints = map[string]string{
	"keyMaterial": "/api/{targetUser}/keys", "update": "/api/rooms/{roomId}/update?v=1", "notify": "/api/rooms/{roomId}/notify",
	"submitMessage": "/api/rooms/{roomId}/submit", "groupInfo": "/api/rooms/{roomId}/info", "requestConsent": "/api/{targetUser}/ask",
	"updateConsent": "/api/{requesterUser}/answer", "identifierQuery": "/api/find/{domain}", "reportAbuse": "/api/rooms/{roomId}/report",
	"proxyDownload": "/api/fetch{downloadUrl}",
}

// serve answers everybody.
func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/.well-known/mimi-protocol-directory" {
		p.serveDirectory(w)
		return
	}
	endpoint, target := route(r.URL.EscapedPath())
	body, err := io.ReadAll(r.Body)
	if endpoint == "" || err != nil {
		http.Error(w, "no such endpoint", http.StatusNotFound)
		return
	}
	p.mu.Lock()
	p.seen = append(p.seen, Request{endpoint, target, r.Header.Clone(), r.Host, r.Proto, body})
	p.mu.Unlock()
	from, err := mimi.NewProviderID(strings.TrimPrefix(r.Header.Get("From"), "mimi@"))
	if err != nil {
		http.Error(w, "who are you?", http.StatusBadRequest)
		return
	}
	answer, err := p.answer(from, endpoint, target, body)
	switch {
	case err != nil:
		p.mu.Lock()
		p.fault(fmt.Errorf("foreign: %s: %w", endpoint, err))
		p.mu.Unlock()
		http.Error(w, "no", http.StatusBadRequest)
	case answer != nil:
		w.WriteHeader(statusOr(p.Manners.BodyCode, http.StatusOK))
		_, _ = w.Write(answer)
	case strings.HasSuffix(endpoint, "Consent") && p.Manners.Consents != 0:
		w.WriteHeader(p.Manners.Consents)
	default:
		w.WriteHeader(statusOr(p.Manners.Status, http.StatusCreated))
	}
}

func statusOr(have, usual int) int {
	if have == 0 {
		return usual
	}
	return have
}

// route finds the endpoint of a path, and what is in the place of its variable.
func route(path string) (endpoint, target string) {
	for name, template := range endpoints {
		template, _, _ = strings.Cut(template, "?")
		before, rest, _ := strings.Cut(template, "{")
		_, after, _ := strings.Cut(rest, "}")
		middle, ok := strings.CutPrefix(path, before)
		if middle, is := strings.CutSuffix(middle, after); ok && is && !strings.Contains(middle, "/") {
			if target, err := url.PathUnescape(middle); err == nil {
				return name, target
			}
		}
	}
	return "", ""
}

// serveDirectory tells more than anybody asks for.
func (p *Provider) serveDirectory(w http.ResponseWriter) {
	members := map[string]any{"x-identityRoots": []string{base64.StdEncoding.EncodeToString(p.root.Raw), "bm90IGEgY2VydGlmaWNhdGU="},
		"version": 7, "x-ohttpGateway": nil, "capabilities": map[string]any{"keyMaterial": []int{1, 2}}}
	for name, path := range endpoints {
		members[name] = "https://mimi." + p.Domain.Host() + path
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(members)
}

// answer carries a request out. No answer and no error is success.
func (p *Provider) answer(from mimi.ProviderID, endpoint, target string, body []byte) ([]byte, error) {
	switch endpoint {
	case "notify":
		return nil, p.notified(target, body)
	case "keyMaterial":
		return p.keyMaterial(body)
	case "identifierQuery":
		return p.find(body)
	case "requestConsent", "updateConsent":
		_, err := wire.UnmarshalConsentEntry(body)
		return nil, err
	case "update":
		return p.update(from, target, body)
	case "submitMessage":
		return p.submit(from, target, body)
	case "groupInfo":
		return p.groupInfo(target, body)
	}
	return nil, errors.New("not in this provider")
}

// find tells everybody's names to everybody.
func (p *Provider) find(body []byte) ([]byte, error) {
	req, err := wire.UnmarshalIdentifierRequest(body)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	resp := wire.IdentifierResponse{ResponseCode: wire.QueryNotFound,
		IDResponseExtensions: mls.AppDataDictionary{}.Set(0xF123, []byte("whatever"))}
	for u, name := range p.names {
		for _, q := range req.QueryElements {
			if string(q.SearchValue) == u.String() || string(q.SearchValue) == u.Name() {
				resp.ResponseCode, resp.URI = wire.QuerySuccess, []mimi.UserID{u}
				resp.FoundProfiles = []wire.UserProfile{{StableURI: u, Fields: []wire.ProfileField{
					{FieldSource: wire.FieldVCard, FieldName: "FN", FieldValue: []byte(name)},
					{FieldSource: wire.FieldOIDCStdClaim, FieldName: "zoneinfo", FieldValue: []byte("Europe/Berlin")}}}}
			}
		}
	}
	return resp.Bytes()
}

// keyMaterial hands out KeyPackages of its users, and as the hub of a room those of others.
func (p *Provider) keyMaterial(body []byte) ([]byte, error) {
	req, err := wire.UnmarshalKeyMaterialRequest(body)
	if err != nil {
		return nil, err
	}
	if err := req.Verify(); err != nil {
		return nil, err
	}
	if req.TargetUser.Provider() != p.Domain {
		return p.forward(req, body)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	resp := wire.KeyMaterialResponse{Protocol: wire.ProtocolMLS10, UserURI: req.TargetUser, UserStatus: wire.UserNoCompatibleMaterial}
	for _, d := range p.devices {
		if d.User != req.TargetUser || d.Groups[req.RoomID] != nil {
			continue
		}
		kp, err := d.fresh()
		if err != nil {
			return nil, err
		}
		ref, err := kp.Ref()
		if err != nil {
			return nil, err
		}
		p.handed[string(ref)] = p.Domain
		resp.UserStatus = wire.UserSuccess
		resp.Clients = append(resp.Clients, wire.ClientKeyMaterial{ClientURI: d.Client, KeyPackage: kp})
	}
	return resp.Bytes()
}

// forward asks the provider of a user, as the hub of the room that the user is to come into.
func (p *Provider) forward(req *wire.KeyMaterialRequest, body []byte) ([]byte, error) {
	target := req.TargetUser.Provider()
	answer, err := p.ask(target, "keyMaterial", req.TargetUser.String(), body)
	if err != nil {
		return nil, err
	}
	resp, err := wire.UnmarshalKeyMaterialResponse(answer)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range resp.Clients {
		if c.KeyPackage != nil {
			ref, err := c.KeyPackage.Ref()
			if err != nil {
				return nil, err
			}
			p.handed[string(ref)] = target
		}
	}
	return answer, nil
}

// ask asks another provider for something that has an answer.
func (p *Provider) ask(to mimi.ProviderID, endpoint, target string, body []byte) ([]byte, error) {
	peer := p.peers[to]
	if peer == nil {
		return nil, errors.New("foreign: unknown provider")
	}
	a, err := p.Post(p.ended, peer, endpoint, target, body, nil)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.got[endpoint] = append(p.got[endpoint], a)
	p.mu.Unlock()
	if a.Status/100 != 2 {
		return nil, fmt.Errorf("foreign: %s: status %d %s", endpoint, a.Status, bytes.TrimSpace(a.Body))
	}
	return a.Body, nil
}

// Grant lets somebody add a user of this provider to rooms.
func (p *Provider) Grant(to, target mimi.UserID) error {
	e := wire.ConsentEntry{ConsentOperation: wire.ConsentGrant, RequesterURI: to, TargetURI: target,
		ConsentExtensions: mls.AppDataDictionary{}.Set(0xF123, []byte("of a later version"))}
	body, err := e.Bytes()
	if err == nil {
		_, err = p.ask(to.Provider(), "updateConsent", to.Provider().String(), body)
	}
	return err
}

// notified takes the events of a room.
func (p *Provider) notified(target string, body []byte) error {
	id, err := mimi.ParseRoomID(target)
	if err != nil {
		return err
	}
	list, err := wire.SplitFanoutMessages(body, 1000)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, part := range list {
		p.take(id, part.Message)
	}
	return nil
}

// take gives an event to the devices that it is for; the caller holds the lock.
func (p *Provider) take(id mimi.RoomID, f *wire.FanoutMessage) {
	for _, d := range p.devices {
		p.fault(d.take(id, f))
	}
}
