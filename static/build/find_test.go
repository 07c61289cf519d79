package main

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// As the runtime does it, each function is found, in few steps.
func TestCoarseTableFindsEachFunction(t *testing.T) {
	linked := compiled(t, "trace")
	joined, err := joinSegments(linked, coarsenFind)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := memory(t, linked)
	after, _ := memory(t, joined)
	module, funcs := moduleData(segment{0, after}), funcTableOf(t, joined)
	count := int(binary.LittleEndian.Uint64(funcs[headerCount:]))
	lookup := funcs[binary.LittleEndian.Uint64(funcs[headerLookup:]):]
	entry := func(i int) uint32 { return binary.LittleEndian.Uint32(lookup[8*i:]) }
	address := int(binary.LittleEndian.Uint64(module[moduleFind:]))
	size := ((count-1)*funcEntries + 1) * entrySize // the least: of the last function only what is there
	table := after[address : address+size]
	if count < 1000 {
		t.Fatalf("%d functions", count)
	}
	for want := range count {
		// an address is the number of the function times 65,536, from that of the first
		bucket := table[int(entry(want)-entry(0))<<16/4096*entrySize:]
		i, steps := int(binary.LittleEndian.Uint32(bucket))+int(bucket[4]), 0
		for ; entry(i+1) <= entry(want); i++ {
			steps++
		}
		if i != want || steps >= coarseness {
			t.Fatalf("function %d: found %d in %d steps", want, i, steps)
		}
	}
	if !bytes.Equal(before[:address], after[:address]) || !bytes.Equal(before[address+size:], after[address+size:]) {
		t.Error("something beside the table changed")
	}
}

func TestCoarsenFindRefuses(t *testing.T) {
	if err := coarsenFind(segment{0, make([]byte, 100)}); err != errFindTable {
		t.Errorf("no table of functions: %v", err)
	}
	joined, err := joinSegments(compiled(t, "trace"), coarsenFind)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := joinSegments(joined, coarsenFind); err != errFindTable {
		t.Errorf("a table that is coarse already: %v", err)
	}
}
