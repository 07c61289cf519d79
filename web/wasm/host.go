//go:build js && wasm

package main

import (
	"context"
	"errors"
	"io"
	"syscall/js"

	"kith/web/client"
)

// host is what the worker provides:
//
//	storeGet(key) → Promise<Uint8Array|undefined>
//	storeRange(prefix, from, to, limit, reverse) → Promise<[[key, Uint8Array]…]>
//	storeCommit([[key, Uint8Array|null]…]) → Promise, one strict transaction
//	socketOpen(onMessage(Uint8Array), onClose(code, reason)) → handle
//	socketSend(handle, Uint8Array)    socketClose(handle)
//	post(object) to all pages; deviceName: what to call this browser
type host struct{ js.Value }

// await waits for a promise; the caller's goroutine sleeps, the event loop goes on.
func await(p js.Value) (v js.Value, err error) {
	done := make(chan struct{})
	settle := func(then func(js.Value)) js.Func {
		return js.FuncOf(func(_ js.Value, args []js.Value) any {
			if then(js.Undefined()); len(args) > 0 {
				then(args[0])
			}
			close(done)
			return nil
		})
	}
	resolved := settle(func(x js.Value) { v = x })
	defer resolved.Release()
	rejected := settle(func(x js.Value) { err = hostError(x) })
	defer rejected.Release()
	p.Call("then", resolved, rejected)
	<-done
	return v, err
}

// hostError keeps the name of a JavaScript error: that the disk is full is something to tell people.
func hostError(e js.Value) error {
	name := arguments{e}.str("name")
	if name == "QuotaExceededError" {
		return client.ErrNoSpace
	}
	return errors.New("wasm: host: " + name)
}

func toBytes(v js.Value) []byte {
	data := make([]byte, v.Get("length").Int())
	js.CopyBytesToGo(data, v)
	return data
}

func fromBytes(data []byte) js.Value {
	v := js.Global().Get("Uint8Array").New(len(data))
	js.CopyBytesToJS(v, data)
	return v
}

type (
	store     struct{ h host }
	transport struct{ h host }
)

func (s store) Get(_ context.Context, key string) ([]byte, error) {
	v, err := await(s.h.Call("storeGet", key))
	if err != nil || v.Type() != js.TypeObject {
		return nil, err
	}
	return toBytes(v), nil
}

func (s store) Range(_ context.Context, prefix, from, to string, limit int, reverse bool) ([]client.KV, error) {
	v, err := await(s.h.Call("storeRange", prefix, from, to, limit, reverse))
	if err != nil {
		return nil, err
	}
	list := make([]client.KV, v.Length())
	for i := range list {
		list[i] = client.KV{Key: v.Index(i).Index(0).String(), Value: toBytes(v.Index(i).Index(1))}
	}
	return list, nil
}

func (s store) Commit(_ context.Context, ops []client.Op) error {
	list := make([]any, len(ops))
	for i, op := range ops {
		pair := []any{op.Key, nil} // null deletes
		if op.Value != nil {
			pair[1] = fromBytes(op.Value)
		}
		list[i] = pair
	}
	_, err := await(s.h.Call("storeCommit", list))
	return err
}

// Dial opens a websocket; whether it works shows with the first Read.
func (t transport) Dial(context.Context) (client.Conn, error) {
	c := &conn{h: t.h, wake: make(chan struct{}, 1)}
	c.onMessage = js.FuncOf(func(_ js.Value, args []js.Value) any {
		c.arrived(toBytes(args[0]), nil)
		return nil
	})
	c.onClose = js.FuncOf(func(_ js.Value, args []js.Value) any {
		c.arrived(nil, &client.CloseError{Code: args[0].Int(), Reason: "connection lost"})
		return nil
	})
	c.handle = t.h.Call("socketOpen", c.onMessage, c.onClose)
	return c, nil
}

// conn queues what arrives: JavaScript cannot be made to wait. Go runs on one thread here, so no lock is needed.
type conn struct {
	h                  host
	handle             js.Value
	onMessage, onClose js.Func
	queue              [][]byte
	err                error
	wake               chan struct{}
}

func (c *conn) arrived(data []byte, err error) {
	switch {
	case c.err != nil:
		return
	case err != nil:
		c.err = err
	default:
		c.queue = append(c.queue, data)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) Read(ctx context.Context) ([]byte, error) {
	for len(c.queue) == 0 && c.err == nil {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if len(c.queue) == 0 {
		return nil, c.err
	}
	data := c.queue[0]
	c.queue = c.queue[1:]
	return data, nil
}

func (c *conn) Write(_ context.Context, data []byte) error {
	if c.err == nil {
		c.h.Call("socketSend", c.handle, fromBytes(data))
	}
	return c.err
}

func (c *conn) Close() error {
	c.arrived(nil, io.EOF)
	c.h.Call("socketClose", c.handle) // nothing is reported of it from now on
	c.onMessage.Release()
	c.onClose.Release()
	return nil
}
