//go:build js && wasm

package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"syscall/js"
	"testing"

	"kith/web/client"
)

// Whoever holds the private keys must find the secrets that the browser has found. Run this in a browser:
// web/browsertest does.
func TestExchangeX25519(t *testing.T) {
	e := new(exchanger)
	seen := map[string]bool{}
	for _, n := range []int{1, 8, 200} {
		private, public := recipients(t, n)
		list, err := e.exchangeX25519(public)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != n {
			t.Fatalf("%d exchanges with %d recipients", len(list), n)
		}
		for i, x := range list {
			ephemeral, err := ecdh.X25519().NewPublicKey(x.Ephemeral)
			if err != nil {
				t.Fatal(err)
			}
			shared, err := private[i].ECDH(ephemeral)
			if err != nil || string(shared) != string(x.Shared) {
				t.Errorf("exchange %d of %d gave another secret than crypto/ecdh: %v", i, n, err)
			}
			if seen[string(x.Ephemeral)] {
				t.Errorf("exchange %d of %d has an ephemeral key again", i, n)
			}
			seen[string(x.Ephemeral)] = true
		}
	}
	if len(seen) != 209 {
		t.Errorf("%d ephemeral keys", len(seen))
	}
}

// After trouble the browser is not asked again; without the worker's function it is not asked at all.
func TestExchangeX25519Fails(t *testing.T) {
	_, public := recipients(t, 8)
	global, calls := js.Global(), 0
	browser := global.Get("kithExchangeX25519")
	defer global.Set("kithExchangeX25519", browser)
	for name, answer := range map[string]func() js.Value{
		"rejects":       func() js.Value { return global.Get("Promise").Call("reject", global.Get("Error").New("no X25519")) },
		"short":         func() js.Value { return global.Get("Promise").Call("resolve", fromBytes(make([]byte, 63*8))) },
		"long":          func() js.Value { return global.Get("Promise").Call("resolve", fromBytes(make([]byte, 64*9))) },
		"nothing there": nil,
	} {
		t.Run(name, func(t *testing.T) {
			calls = 0
			fake := js.FuncOf(func(js.Value, []js.Value) any { calls++; return answer() })
			defer fake.Release()
			want := 1
			if answer == nil {
				global.Set("kithExchangeX25519", js.Undefined())
				want = 0
			} else {
				global.Set("kithExchangeX25519", fake)
			}
			e := new(exchanger)
			for range 2 {
				if list, err := e.exchangeX25519(public); err == nil {
					t.Errorf("%d exchanges", len(list))
				}
			}
			if calls != want {
				t.Errorf("%d calls, want %d", calls, want)
			}
		})
	}
	global.Set("kithExchangeX25519", browser)
	// a point of small order gives a secret of zero, which WebCrypto refuses
	public[3] = make(client.HPKEPublicKey, 32)
	if _, err := new(exchanger).exchangeX25519(public); err == nil {
		t.Error("exchanged with a point of small order")
	}
}

// What the browser has exchanged crypto/hpke decrypts: the Welcome and the path of a commit for many.
func TestExchangeX25519Commits(t *testing.T) {
	f := newField(20, false)
	for i := range 2 {
		f.operation("commit")
		f.operation("process")
		if f.x.Epoch() != f.y.Epoch() {
			t.Fatal(fmt.Sprint("commit ", i, ": epochs differ"))
		}
	}
	if helpful.failed {
		t.Error("the browser was of no help")
	}
}

func recipients(t *testing.T, n int) ([]*ecdh.PrivateKey, []client.HPKEPublicKey) {
	t.Helper()
	private, public := make([]*ecdh.PrivateKey, n), make([]client.HPKEPublicKey, n)
	for i := range n {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private[i], public[i] = key, key.PublicKey().Bytes()
	}
	return private, public
}
