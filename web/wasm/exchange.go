//go:build js && wasm

package main

import (
	"errors"
	"slices"
	"syscall/js"

	"kith/web/client"
)

var errNoExchange = errors.New("wasm: no key exchanges")

// exchanger has the browser make key exchanges, by the worker's
//
//	kithExchangeX25519(Uint8Array) → Promise<Uint8Array>
//
// which takes 32 octets per public key and returns 64: the ephemeral public key and the shared secret. Once there was
// trouble it is not asked again, as a browser without X25519 will not learn it; mls then does it itself.
type exchanger struct{ failed bool }

func (e *exchanger) exchangeX25519(publicKeys []client.HPKEPublicKey) ([]client.X25519Exchange, error) {
	exchange := js.Global().Get("kithExchangeX25519")
	if e.failed || exchange.Type() != js.TypeFunction {
		return nil, errNoExchange
	}
	const size = 32
	v, err := await(exchange.Invoke(fromBytes(slices.Concat(publicKeys...))))
	if err != nil {
		e.failed = true
		return nil, err
	}
	results := toBytes(v)
	v.Call("fill", 0)
	if len(results) != 2*size*len(publicKeys) {
		e.failed = true
		return nil, errNoExchange
	}
	list := make([]client.X25519Exchange, len(publicKeys))
	for i := range list {
		ephemeral, shared := results[2*i*size:(2*i+1)*size], results[(2*i+1)*size:2*(i+1)*size]
		list[i] = client.X25519Exchange{Ephemeral: ephemeral, Shared: shared}
	}
	return list, nil
}
