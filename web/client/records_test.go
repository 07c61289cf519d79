package client

import (
	"bytes"
	"crypto/rand"
	"testing"

	"kith/mimi"
	"kith/mimi/mls"
)

// The key of a stored device is made when it is needed, so what is stored has to be a key when it is read.
func TestStoredDevice(t *testing.T) {
	key, err := mls.GenerateSignatureKey(suite, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	user, err := mimi.ParseUserID("mimi://a.example/u/alice")
	if err != nil {
		t.Fatal(err)
	}
	d := &device{user: user, displayName: "Alice", private: key.Private(), certificate: []byte{1}, root: []byte{2}}
	got, err := parseDevice(d.bytes())
	if err != nil {
		t.Fatal(err)
	}
	restored, err := got.key()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(restored.Public(), key.Public()) || !bytes.Equal(got.bytes(), d.bytes()) {
		t.Error("another key came back")
	}
	for _, private := range [][]byte{nil, key.Private()[:31], append(key.Private(), 0)} {
		d.private = private
		if _, err := parseDevice(d.bytes()); err == nil {
			t.Errorf("a key of %d octets is taken", len(private))
		}
	}
}
