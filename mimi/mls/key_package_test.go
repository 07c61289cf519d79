package mls

import (
	"bytes"
	"testing"
)

func TestKeyPackages(t *testing.T) {
	r := newRandom(1)
	for n := range 3 {
		var list KeyPackages
		for range n {
			list = append(list, newTestKeyPackage(t, r).KeyPackage)
		}
		data, err := list.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := UnmarshalKeyPackages(data)
		if err != nil || len(again) != n {
			t.Fatalf("%d packages came back as %d: %v", n, len(again), err)
		}
		if out, err := again.Bytes(); err != nil || !bytes.Equal(out, data) {
			t.Errorf("%d packages encode to other bytes: %v", n, err)
		}
		for i := range data {
			if _, err := UnmarshalKeyPackages(data[:i]); err == nil {
				t.Errorf("the first %d of %d octets are accepted", i, len(data))
			}
		}
		if _, err := UnmarshalKeyPackages(append(data, 0)); err == nil {
			t.Error("a trailing octet is accepted")
		}
	}
}
