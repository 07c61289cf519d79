package client_test

import (
	"errors"
	"time"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/web/api"
)

var errNoProvider = errors.New("no such provider")

// provider is what makes one: its identity authority, and its key as a hub. The test's hub plays all of them.
type provider struct {
	ca     *authority
	key    *mls.SignatureKey
	sender mls.ExternalSender
	roots  [][]byte // what its directory has, nil: that of ca
}

// provider is the one of a domain, new if it is not known. The caller holds the lock, or nobody else is there yet.
func (h *hub) provider(domain mimi.ProviderID) *provider {
	if domain.Host() == "a.example" {
		return &provider{ca: h.ca, key: h.key, sender: h.sender}
	}
	p := h.others[domain]
	if p == nil {
		p = &provider{ca: newAuthority(h.t, domain.Host(), time.Now())}
		p.key, p.sender = p.ca.hub(time.Now())
		h.others[domain] = p
	}
	return p
}

// Root implements room.Roots: the hub trusts what is true.
func (h *hub) Root(domain mimi.ProviderID) *identity.Root {
	root, err := identity.ParseRoot(h.provider(domain).ca.cert.Raw)
	must(h.t, err)
	return root
}

func (h *hub) identityRoots(req *api.Request) ([]byte, error) {
	domain, err := mimi.ParseProviderID(req.Target)
	if err != nil || domain.Host() != "a.example" && h.others[domain] == nil {
		return nil, errNoProvider
	}
	if h.lies != nil && domain.Host() == "a.example" {
		return api.DERList{h.lies}.Bytes()
	}
	p := h.provider(domain)
	if p.roots != nil {
		return api.DERList(p.roots).Bytes()
	}
	return api.DERList{p.ca.cert.Raw}.Bytes()
}
