package syntax

import (
	"bytes"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// sizes are the lengths around which the encoding changes.
var sizes = []int{0, 1, 63, 64, 65, 16383, 16384, 16385, MaxLength - 1, MaxLength}

func TestVarintRoundTrip(t *testing.T) {
	for _, n := range sizes {
		b := cryptobyte.NewBuilder(nil)
		AddVarint(b, n)
		data, err := b.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		var got uint32
		s := cryptobyte.String(data)
		if !ReadVarint(&s, &got) || int(got) != n || !s.Empty() {
			t.Errorf("%d read as %d", n, got)
		}
		for i := range data {
			s := cryptobyte.String(data[:i])
			if ReadVarint(&s, &got) {
				t.Errorf("%d: prefix of %d octets accepted", n, i)
			}
		}
	}
}

func TestVarintOutOfRange(t *testing.T) {
	for _, n := range []int{-1, MaxLength + 1} {
		b := cryptobyte.NewBuilder(nil)
		AddVarint(b, n)
		if _, err := b.Bytes(); err == nil {
			t.Errorf("%d written", n)
		}
	}
}

// RFC 9420, Section 2.1.2
func TestLesson25VarintIsMinimal(t *testing.T) {
	for _, data := range [][]byte{
		{}, {0x40}, {0x40, 0}, {0x40, 0x3f}, {0x80, 0, 0}, {0x80, 0, 0, 0}, {0x80, 0, 0x3f, 0xff},
		{0xc0}, {0xc0, 0, 0, 0, 0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff},
	} {
		var n uint32
		s := cryptobyte.String(data)
		if ReadVarint(&s, &n) {
			t.Errorf("%x read as %d", data, n)
		}
		if len(s) != len(data) {
			t.Errorf("%x: consumed by a failed read", data)
		}
	}
}

func TestLesson01VectorAllocatesNothing(t *testing.T) {
	data := []byte{0xbf, 0xff, 0xff, 0xff, 1, 2, 3}
	if n := testing.AllocsPerRun(10, func() {
		var out []byte
		s := cryptobyte.String(data)
		if ReadVector(&s, &out) {
			t.Fatal("accepted")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestVectorSharesNoCapacity(t *testing.T) {
	s := cryptobyte.String([]byte{2, 1, 2, 3})
	var out []byte
	if !ReadVector(&s, &out) || cap(out) != 2 {
		t.Fatalf("capacity %d", cap(out))
	}
	_ = append(out, 9)
	if s[0] != 3 {
		t.Error("appending to a vector changed what follows")
	}
}

func TestOptional(t *testing.T) {
	for v := range 256 {
		var present bool
		s := cryptobyte.String([]byte{byte(v)})
		if ok := ReadOptional(&s, &present); ok != (v < 2) || ok && present != (v == 1) {
			t.Errorf("octet %d: %v, %v", v, ok, present)
		}
	}
}

func TestListAndNumbers(t *testing.T) {
	b := cryptobyte.NewBuilder(nil)
	AddList(b, func(b *cryptobyte.Builder) { AddUint16s(b, []uint16{1, 0xfffe}) })
	data := b.BytesOrPanic()
	if !bytes.Equal(data, []byte{5, 4, 0, 1, 0xff, 0xfe}) {
		t.Fatalf("%x", data)
	}
	var list cryptobyte.String
	var numbers []uint16
	s := cryptobyte.String(data)
	if !ReadList(&s, &list) || !ReadUint16s(&list, &numbers) || len(numbers) != 2 || numbers[1] != 0xfffe {
		t.Fatalf("%v", numbers)
	}
	s = cryptobyte.String{3, 0, 1, 0}
	if ReadUint16s(&s, &numbers) {
		t.Error("odd list accepted")
	}
}

func FuzzVector(f *testing.F) {
	for _, n := range []int{0, 1, 63, 64, 20000} {
		b := cryptobyte.NewBuilder(nil)
		AddVector(b, make([]byte, n))
		f.Add(b.BytesOrPanic())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var out []byte
		s := cryptobyte.String(data)
		if !ReadVector(&s, &out) {
			return
		}
		b := cryptobyte.NewBuilder(nil)
		AddVector(b, out)
		if !bytes.Equal(b.BytesOrPanic(), data[:len(data)-len(s)]) {
			t.Fatalf("%x re-encodes differently", data)
		}
		if VectorSize(len(out)) != len(data)-len(s) {
			t.Fatalf("%x: VectorSize", data)
		}
	})
}
