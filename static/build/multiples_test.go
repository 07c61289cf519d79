package main

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The table of P-256 goes where only X25519 is used, and stays where P-256 is.
func TestMultiplesGoIfUnused(t *testing.T) {
	start, err := hex.DecodeString(multiplesStart)
	if err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]struct {
		kept   bool
		prints string
	}{
		"exchange": {false, "32 <nil>\n"},
		"p256": {true, "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
			"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5\n"},
	} {
		module := compiled(t, program)
		changed, err := joinSegments(module, dropMultiples, dropLines)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(module, start) {
			t.Errorf("%s: there was no table", program)
		}
		if kept := bytes.Contains(changed, start); kept != want.kept {
			t.Errorf("%s: table kept: %v, want %v", program, kept, want.kept)
		}
		if got := runModule(t, changed); got != want.prints {
			t.Errorf("%s: printed %q, want %q", program, got, want.prints)
		}
	}
	if err := dropMultiples([]segment{{0, make([]byte, 100)}}); err != errFuncTable {
		t.Errorf("no table of functions: %v", err)
	}
}

// A table that is not the one we know stays.
func TestMultiplesOfAnotherVersionStay(t *testing.T) {
	joined, err := joinSegments(compiled(t, "exchange"))
	if err != nil {
		t.Fatal(err)
	}
	start, err := hex.DecodeString(multiplesStart)
	if err != nil {
		t.Fatal(err)
	}
	joined[bytes.Index(joined, start)+multiplesSize-1] ^= 1
	changed, err := joinSegments(joined, dropMultiples)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(changed, joined) {
		t.Error("a changed table was dropped")
	}
}
