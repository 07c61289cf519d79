package client_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"testing"

	"kith/web/client"
)

// exchangeX25519 is what a browser offers the session.
func (a *agent) exchangeX25519(publicKeys []client.HPKEPublicKey) ([]client.X25519Exchange, error) {
	a.mu.Lock()
	a.exchanged += len(publicKeys)
	a.mu.Unlock()
	list := make([]client.X25519Exchange, len(publicKeys))
	for i, k := range publicKeys {
		recipient, err := ecdh.X25519().NewPublicKey(k)
		if err != nil {
			return nil, err
		}
		ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		shared, err := ephemeral.ECDH(recipient)
		if err != nil {
			return nil, err
		}
		list[i] = client.X25519Exchange{Ephemeral: ephemeral.PublicKey().Bytes(), Shared: shared}
	}
	return list, nil
}

// What goes to many is encrypted with the browser's exchanges, and all can read on.
func TestManyAreAddedWithExchanges(t *testing.T) {
	world(t, func(h *hub) {
		alice, names := h.join("alice"), []string{"bob", "carol", "dave", "erin", "frank"}
		var others []*agent
		for _, name := range names {
			others = append(others, h.join(name))
		}
		r, err := alice.session.NewGroup(context.Background(), "Club", names)
		must(t, err)
		for _, a := range others {
			a.awaitRoom("Club")
		}
		if alice.exchanged < len(others) {
			t.Errorf("%d exchanges for a Welcome to %d", alice.exchanged, len(others))
		}
		before := alice.exchanged
		must(t, alice.session.RemoveMember(context.Background(), r.ID, others[4].user.String()))
		if alice.exchanged == before {
			t.Error("no exchanges for a path")
		}
		alice.send(r.ID, "one")
		for _, a := range others[:4] {
			a.sees(r.ID, "Alice: one")
		}
	})
}
