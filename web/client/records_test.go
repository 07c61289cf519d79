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

// TestFR6StoredWithTheMessage: a row keeps its frank; one from before franks is read as one without.
func TestFR6StoredWithTheMessage(t *testing.T) {
	m := &message{id: "01", key: "k", state: MessageReceived, sender: "mimi://a.example/u/alice", time: 7, content: []byte("content"),
		frank: []byte("frank"), framing: []byte{0, 0, 7}}
	got, err := parseMessage("k", m.bytes())
	if err != nil || string(got.frank) != "frank" || !bytes.Equal(got.framing, m.framing) || !bytes.Equal(got.bytes(), m.bytes()) {
		t.Errorf("%+v %v", got, err)
	}
	for n := range m.bytes() {
		cut, err := parseMessage("k", m.bytes()[:n])
		if err == nil && len(cut.frank) > 0 {
			t.Errorf("a row of %d octets is read with a frank", n)
		}
	}
	old := *m
	old.frank, old.framing = nil, nil
	if got, err := parseMessage("k", old.bytes()); err != nil || got.frank != nil || string(got.content) != "content" {
		t.Errorf("without a frank: %+v %v", got, err)
	}
	if !bytes.HasPrefix(m.bytes(), old.bytes()) {
		t.Error("rows without franks are written in another way than before there were franks")
	}
}
