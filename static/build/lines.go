package main

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// The runtime has a table of all functions (runtime.pclntab) by which it unwinds stacks and finds the pointers in them.
// Between that it holds what is for traces only: the file and the line of each call, where functions were inlined, what
// their arguments are. That is a twelfth of the compressed module and nobody reads it; a trace names the functions all
// the same. To the runtime each piece is optional: there is a way to say that a function has none.

// Where things stand in pcHeader and _func (symtab.go and runtime2.go of the runtime, Go 1.26); the latter is followed
// by its references to tables by address and to other data.
const (
	headerCount  = 8
	headerNames  = 32
	headerUnits  = 40 // names of files, by compilation unit
	headerTables = 56 // tables by address
	headerLookup = 64 // pairs of an entry and where its function is described; then the descriptions

	funcStack     = 16 // the one reference that is kept among the fields: depth of the stack by address
	funcFile      = 20
	funcLine      = 24
	funcTables    = 28 // how many tables by address follow
	funcUnit      = 32
	funcFirstLine = 36
	funcData      = 43 // how many references to data follow
	funcSize      = 44
)

// What follows a function, by the numbers of internal/abi. Of the tables, stack maps stay (PCDATA_StackMapIndex). Of
// the data, FUNCDATA_ArgsPointerMaps, LocalsPointerMaps, StackObjects and OpenCodedDeferInfo stay.
const (
	tableStackMap = 1
	tablesKept    = 2 // of the first, where signals may interrupt, there is none in WebAssembly
	dataUsual     = 3 // what most functions have; with as much, all are equally long and compress better
	dataDefers    = 4
	noData        = 1<<32 - 1
)

// funcTableMagic begins the table: version, two zeros, the length of an instruction and that of a pointer.
var funcTableMagic = []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}

var errFuncTable = errors.New("no table of functions as this version of Go writes it")

// dropLines takes out of the table of functions what only traces need. The table stays where it is and ends in zeros.
func dropLines(segments []segment) error {
	for _, s := range segments {
		if at := bytes.Index(s.data, funcTableMagic); at >= 0 {
			return rewriteFuncs(s.data[at:])
		}
	}
	return errFuncTable
}

// rewriteFuncs changes a table of functions in place.
func rewriteFuncs(data []byte) error {
	t := tableReader{data: data}
	count, units, tables, lookup := t.at(headerCount), t.at(headerUnits), t.at(headerTables), t.at(headerLookup)
	if t.failed || units > tables || tables > lookup || lookup > len(data) || count > (len(data)-lookup)/8 {
		return errFuncTable
	}
	stacks, maps := newTables(data[tables:lookup]), newTables(data[tables:lookup])
	funcs := make([]function, count)
	end := lookup
	for i := range funcs {
		funcs[i], end = t.function(lookup + t.at(lookup+8*i+4))
		funcs[i].stack, funcs[i].stackMap = stacks.keep(funcs[i].stack), maps.keep(funcs[i].stackMap)
	}
	kept := 1 + len(stacks.kept) // a reference of 0 is none
	out := writeFuncs(data[lookup:], funcs, kept)
	if t.failed || stacks.failed || maps.failed || len(out) > end-lookup || kept+len(maps.kept) > lookup-tables {
		return errFuncTable
	}
	clear(data[units:end])
	copy(data[tables+1:], stacks.kept)
	copy(data[tables+kept:], maps.kept)
	copy(data[lookup:], out)
	return nil
}

// function is what remains of the description of a function.
type function struct {
	fields          []byte
	stack, stackMap int // tables
	data            []byte
}

// function reads the description at an offset, and returns where it ends.
func (t *tableReader) function(at int) (f function, end int) {
	f.fields = t.take(at, funcSize)
	if t.failed {
		return f, at
	}
	f.stack = t.at(at + funcStack)
	tables, data := t.at(at+funcTables), int(f.fields[funcData])
	if tables > tableStackMap {
		f.stackMap = t.at(at + funcSize + 4*tableStackMap)
	}
	end = at + funcSize + 4*tables
	for i := range max(min(data, dataDefers+1), dataUsual) {
		if i >= data || i == dataUsual {
			f.data = binary.LittleEndian.AppendUint32(f.data, noData)
			continue
		}
		f.data = append(f.data, t.take(end+4*i, 4)...)
	}
	for n := len(f.data) - 4; n >= 4*dataUsual && binary.LittleEndian.Uint32(f.data[n:]) == noData; n -= 4 {
		f.data = f.data[:n]
	}
	return f, end + 4*data
}

// writeFuncs returns the table by entry, of which the old one has the entries, and the functions.
func writeFuncs(old []byte, funcs []function, stackMaps int) []byte {
	out := bytes.Clone(old[:min(8*len(funcs)+4, len(old))]) // it ends with the end of the last function
	for i, f := range funcs {
		binary.LittleEndian.PutUint32(out[8*i+4:], uint32(len(out)))
		fields := bytes.Clone(f.fields)
		for _, dropped := range []int{funcFile, funcLine, funcUnit, funcFirstLine} {
			clear(fields[dropped : dropped+4])
		}
		stackMap := 0
		if f.stackMap > 0 {
			stackMap = f.stackMap - 1 + stackMaps
		}
		binary.LittleEndian.PutUint32(fields[funcStack:], uint32(f.stack))
		binary.LittleEndian.PutUint32(fields[funcTables:], tablesKept)
		fields[funcData] = byte(len(f.data) / 4)
		out = append(append(out, fields...), 0, 0, 0, 0)
		out = append(binary.LittleEndian.AppendUint32(out, uint32(stackMap)), f.data...)
	}
	return out
}

// tables collects tables by address, each once.
type tables struct {
	all    []byte
	kept   []byte
	seen   map[int]int
	failed bool
}

func newTables(all []byte) *tables { return &tables{all: all, seen: map[int]int{0: 0}} }

// keep takes a table over and returns its new reference, from 1.
func (t *tables) keep(ref int) int {
	at, ok := t.seen[ref]
	if !ok {
		at = len(t.kept) + 1
		t.seen[ref] = at
		t.kept = append(t.kept, t.table(ref)...)
	}
	return at
}

// table returns a table: pairs of what is added to the value and to the address, until a value of which nothing changes.
func (t *tables) table(ref int) []byte {
	in := wasmReader{rest: t.all[min(ref, len(t.all)):]}
	for first := true; !in.failed; first = false {
		if in.number() == 0 && !first {
			return t.all[ref : len(t.all)-len(in.rest)]
		}
		in.number()
	}
	t.failed = true
	return nil
}

// tableReader reads numbers of four octets. After a failure it gives zeros.
type tableReader struct {
	data   []byte
	failed bool
}

func (t *tableReader) take(at, n int) []byte {
	if at < 0 || at > len(t.data)-n {
		t.failed = true
		return make([]byte, n)
	}
	return t.data[at : at+n]
}

func (t *tableReader) at(offset int) int { return int(binary.LittleEndian.Uint32(t.take(offset, 4))) }
