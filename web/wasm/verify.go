//go:build js && wasm

package main

import (
	"errors"
	"syscall/js"

	"kith/web/client"
)

var errNotVerified = errors.New("wasm: signatures not verified")

// verifyEd25519 has the browser verify signatures, which does it in parallel and several times as fast as we could.
// Any trouble, a browser without Ed25519 included, is an error, after which mls verifies them itself.
func verifyEd25519(checks []client.SignatureCheck) error {
	subtle := js.Global().Get("crypto").Get("subtle")
	if subtle.IsUndefined() {
		return errNotVerified
	}
	usages := []any{"verify"}
	keys, err := all(len(checks), func(i int) js.Value {
		return subtle.Call("importKey", "raw", fromBytes(checks[i].PublicKey), "Ed25519", false, usages)
	})
	if err != nil {
		return err
	}
	valid, err := all(len(checks), func(i int) js.Value {
		return subtle.Call("verify", "Ed25519", keys.Index(i), fromBytes(checks[i].Signature), fromBytes(checks[i].Message))
	})
	if err != nil {
		return err
	}
	for i := range checks {
		if v := valid.Index(i); v.Type() != js.TypeBoolean || !v.Bool() {
			return errNotVerified
		}
	}
	return nil
}

// all waits for n promises, which run at the same time.
func all(n int, start func(i int) js.Value) (js.Value, error) {
	promises := make([]any, n)
	for i := range promises {
		promises[i] = start(i)
	}
	return await(js.Global().Get("Promise").Call("all", promises))
}
