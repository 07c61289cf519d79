//go:build js && wasm

// Program wasm is the engine in the browser's worker: it binds web/client to JavaScript and holds no logic.
//
// The worker provides globalThis.kithHost (see host) and finds globalThis.kithEngine: start, and call for the
// operations of ops.go. Every operation runs in a goroutine of its own, so the event loop is never blocked.
package main

import (
	"syscall/js"

	"kith/web/client"
)

// pageMessage is what all pages get when something is new.
type pageMessage struct {
	T, Kind string
	Value   any
}

func main() {
	h := host{js.Global().Get("kithHost")}
	s := client.New(client.Config{
		Store: store{h}, Transport: transport{h}, DeviceName: arguments{h.Value}.str("deviceName"),
		Post:          func(v client.View) { h.Call("post", toJS(pageMessage{"view", v.Kind, v.Value})) },
		VerifyEd25519: verifyEd25519, ExchangeX25519: new(exchanger).exchangeX25519,
	})
	engine := js.Global().Get("Object").New()
	// start() → Promise<undefined>: the session lives as long as the worker
	engine.Set("start", js.FuncOf(func(js.Value, []js.Value) any {
		go func() { _ = s.Run(background) }()
		return js.Global().Get("Promise").Call("resolve")
	}))
	// call(op string, args object) → Promise<value>; it rejects with {code, text}
	engine.Set("call", js.FuncOf(func(_ js.Value, args []js.Value) any {
		args = append(args, js.Undefined(), js.Undefined())
		return promise(func() (any, error) { return call(s, args[0], arguments{args[1]}) })
	}))
	js.Global().Set("kithEngine", engine)
	select {}
}

// promise runs fn in a goroutine and settles with its result. Every error crosses as {code, text}.
func promise(fn func() (any, error)) js.Value {
	var run js.Func
	run = js.FuncOf(func(_ js.Value, args []js.Value) any {
		resolve, reject := args[0], args[1]
		go func() {
			defer run.Release()
			v, err := fn()
			if err == nil {
				resolve.Invoke(toJS(v))
				return
			}
			known, ok := err.(*client.Error)
			if !ok {
				known = &client.Error{Code: client.CodeInternal, Text: err.Error()}
			}
			reject.Invoke(toJS(known))
		}()
		return nil
	})
	return js.Global().Get("Promise").New(run)
}
