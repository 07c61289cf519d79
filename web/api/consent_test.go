package api

import (
	"reflect"
	"testing"
)

func TestConsentListRoundTripAndPrefixes(t *testing.T) {
	want := ConsentList{
		{State: ConsentAsked, Mutual: true, Requester: "mimi://a.example/u/alice", Target: "mimi://b.example/u/bob", Changed: 1 << 40},
		{State: ConsentBlocked, Requester: "mimi://b.example/u/eve", Target: "mimi://a.example/u/alice", Room: "mimi://a.example/r/x"},
	}
	data, err := want.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := UnmarshalConsentList(data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v", got, err)
	}
	first, err := want[:1].Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(data); n++ {
		if _, err := UnmarshalConsentList(data[:n]); err == nil && n != len(first) {
			t.Errorf("prefix of %d octets accepted", n)
		}
	}
	if got, err := UnmarshalConsentList(nil); err != nil || len(got) != 0 {
		t.Errorf("empty: %v %v", got, err)
	}
}
