package main

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// The table by which the runtime finds a function (runtime.findfunctab) has an entry for every 4,096 addresses, and in
// WebAssembly a function has 65,536 of them. The runtime reads only the first entry of each: it names a function at or
// before the right one, from which the runtime goes on. The linker names the right one, so that no two entries are the
// same; naming one a little before costs a few steps when a stack is unwound, and the table all but vanishes.

// coarseness is how many functions in a row are found from the first of them.
const coarseness = 8

// An entry is the number of a function in four octets and what is added to it for each sixteenth of the addresses.
const (
	entrySize   = 20
	funcEntries = 16
)

// Where the number of functions and one, the address of the table, and the addresses of code stand in moduledata
// (symtab.go of the runtime); it begins with the addresses of the table of functions and of their names.
const (
	moduleFuncs = 17 * 8
	moduleFind  = 19 * 8
	moduleLow   = 20 * 8
	moduleHigh  = 21 * 8
	moduleSize  = 22 * 8
)

var errFindTable = errors.New("no table to find functions by as this version of Go writes it")

// coarsenFind makes functions that stand together share the entry of the first of them.
func coarsenFind(memory segment) error {
	module := moduleData(memory)
	if module == nil {
		return errFindTable
	}
	number := func(at int) int { return int(binary.LittleEndian.Uint64(module[at:])) }
	// the last function has as many entries as it has addresses
	at, entries := number(moduleFind)-memory.offset, (number(moduleHigh)-number(moduleLow)+4095)/4096
	if at < 0 || entries < 0 || entries > (len(memory.data)-at)/entrySize || (entries+funcEntries-1)/funcEntries != number(moduleFuncs)-1 {
		return errFindTable
	}
	for i := range entries {
		entry, named := memory.data[at+i*entrySize:], i/funcEntries
		if i%funcEntries == 0 && (int(binary.LittleEndian.Uint32(entry)) != named || entry[4] != 0) {
			return errFindTable
		}
		binary.LittleEndian.PutUint32(entry, uint32(named-named%coarseness))
	}
	return nil
}

// moduleData returns what the linker tells the runtime about the module.
func moduleData(memory segment) []byte {
	table := bytes.Index(memory.data, funcTableMagic)
	if table < 0 {
		return nil
	}
	t := tableReader{data: memory.data[table:]}
	start := binary.LittleEndian.AppendUint64(nil, uint64(memory.offset+table))
	start = binary.LittleEndian.AppendUint64(start, uint64(memory.offset+table+t.at(headerNames)))
	at := bytes.Index(memory.data, start)
	if at < 0 || len(memory.data)-at < moduleSize {
		return nil
	}
	return memory.data[at : at+moduleSize]
}
