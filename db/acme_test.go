package db

import (
	"errors"
	"testing"
)

func TestACME(t *testing.T) {
	d := open(t, t.TempDir(), Options{})
	get := func() (value []byte, err error) {
		err = d.Read(t.Context(), func(tx *Tx) (err error) { value, err = tx.ACME("a.example"); return err })
		return value, err
	}
	if _, err := get(); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing kept: %v", err)
	}
	for _, value := range []string{"first", "second"} {
		if err := d.Write(t.Context(), func(tx *Tx) error { return tx.SetACME("a.example", []byte(value)) }); err != nil {
			t.Fatal(err)
		}
		if got, err := get(); err != nil || string(got) != value {
			t.Errorf("got %q, %v; want %q", got, err, value)
		}
	}
	for range 2 { // the second finds nothing to forget
		if err := d.Write(t.Context(), func(tx *Tx) error { return tx.DeleteACME("a.example") }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := get(); !errors.Is(err, ErrNotFound) {
		t.Errorf("after forgetting: %v", err)
	}
}
