package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// testModule has a section of another kind on both sides of its data.
func testModule(segments []segment) []byte {
	module := []byte("\x00asm\x01\x00\x00\x00\x00\x02\x01x")
	body := writeSegments(segments)
	module = append(module, dataSection)
	module = binary.AppendUvarint(module, uint64(len(body)))
	return append(append(module, body...), 0, 3, 2, 'y', 'z')
}

// memory is what a module starts with.
func memory(t *testing.T, module []byte) (data []byte, segments int) {
	t.Helper()
	list, err := readSegments(sectionOf(t, module))
	if err != nil {
		t.Fatal(err)
	}
	data = make([]byte, 1<<20)
	for _, s := range list {
		copy(data[s.offset:], s.data)
	}
	return data, len(list)
}

func sectionOf(t *testing.T, module []byte) []byte {
	t.Helper()
	in := wasmReader{rest: module[8:]}
	for len(in.rest) > 0 {
		id := in.octet()
		if body := in.take(in.number()); id == dataSection {
			return body
		}
	}
	t.Fatal("no data section")
	return nil
}

func TestJoinedSegmentsMakeTheSameMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var segments []segment
	for offset := 0; offset < 1<<20-2000; {
		offset += []int{0, 1, 18, maxZeros, maxZeros + 1, 1000}[random.IntN(6)]
		data := make([]byte, 1+random.IntN(200))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		segments = append(segments, segment{offset, data})
		offset += len(data)
	}
	random.Shuffle(len(segments), func(i, j int) { segments[i], segments[j] = segments[j], segments[i] })
	module := testModule(segments)
	joined, err := joinSegments(module)
	if err != nil {
		t.Fatal(err)
	}
	want, before := memory(t, module)
	got, after := memory(t, joined)
	if !bytes.Equal(got, want) {
		t.Error("the memory differs")
	}
	if after >= before/2 {
		t.Errorf("%d segments became %d", before, after)
	}
	if !bytes.HasPrefix(joined, module[:12]) || !bytes.HasSuffix(joined, module[len(module)-5:]) {
		t.Error("another section changed")
	}
	if again, err := joinSegments(joined); err != nil || !bytes.Equal(again, joined) {
		t.Errorf("joining again changes it: %v", err)
	}
}

func TestJoinSegmentsKeepsFarOnesApart(t *testing.T) {
	for zeros, want := range map[int]int{0: 1, 1: 1, maxZeros: 1, maxZeros + 1: 2} {
		if got := join([]segment{{70, []byte{1, 2}}, {72 + zeros, []byte{3}}}); len(got) != want {
			t.Errorf("%d zeros between: %d segments", zeros, len(got))
		}
	}
}

func TestJoinSegmentsRefuses(t *testing.T) {
	module := testModule([]segment{{5, []byte{1, 2}}, {64, []byte{3}}, {1 << 19, []byte{4}}})
	for n := range module {
		if n == 8 || n == 12 || n == len(module)-5 {
			continue // whole sections
		}
		if _, err := joinSegments(module[:n]); err == nil {
			t.Errorf("a module cut to %d octets is taken", n)
		}
	}
	if _, err := joinSegments(testModule([]segment{{5, []byte{1, 2}}, {6, []byte{3}}})); err == nil {
		t.Error("overlapping segments are taken")
	}
	passive := bytes.Replace(module, []byte{0, opI32Const, 5}, []byte{1, opI32Const, 5}, 1)
	if _, err := joinSegments(passive); err == nil {
		t.Error("a passive segment is taken")
	}
}
