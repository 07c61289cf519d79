package content

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// oracle is a CBOR library by somebody else, set to RFC 8949, Section 4.2.1. It decodes without judging the form, so
// an input is deterministic for it if encoding what was decoded gives the input again.
type oracle struct {
	dec cbor.DecMode
	enc cbor.EncMode
}

func newOracle(t testing.TB) oracle {
	t.Helper()
	dec, err := cbor.DecOptions{
		DupMapKey:             cbor.DupMapKeyEnforcedAPF,
		IndefLength:           cbor.IndefLengthForbidden,
		DefaultByteStringType: reflect.TypeFor[cbor.ByteString](),
		MaxNestedLevels:       16,
	}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	return oracle{dec, enc}
}

func (o oracle) accepts(raw []byte) bool {
	var v any
	if err := o.dec.Unmarshal(raw, &v); err != nil {
		return false
	}
	again, err := o.enc.Marshal(v)
	return err == nil && bytes.Equal(raw, again)
}

func value(raw []byte) error {
	r := reader{raw}
	if _, err := r.value(1); err != nil {
		return err
	}
	return r.end()
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMC1DeterministicEncoding(t *testing.T) {
	for s, want := range map[string]error{
		// integers
		"00": nil, "17": nil, "1818": nil, "18ff": nil, "190100": nil, "19ffff": nil, "1a00010000": nil,
		"1b0000000100000000": nil, "1bffffffffffffffff": nil, "20": nil, "3903e7": nil, "3bffffffffffffffff": nil,
		"1800": errNotShort, "1817": errNotShort, "190000": errNotShort, "1900ff": errNotShort,
		"1a0000ffff": errNotShort, "1b00000000ffffffff": errNotShort, "3817": errNotShort,
		// lengths
		"40": nil, "4101": nil, "60": nil, "6161": nil, "80": nil, "8101": nil, "a0": nil,
		"580101": errNotShort, "780161": errNotShort, "980101": errNotShort, "b8010101": errNotShort,
		"41": errTruncated, "61": errTruncated, "81": errTruncated, "a101": errTruncated, "": errTruncated,
		"5bffffffffffffffff": errTruncated, "9bffffffffffffffff": errTruncated, "bbffffffffffffffff": errTruncated,
		"7bffffffffffffffff": errTruncated, "19ff": errTruncated,
		// indefinite lengths and what is reserved
		"5f4101ff": errHead, "7f6161ff": errHead, "9f01ff": errHead, "bf0101ff": errHead, "ff": errHead,
		"1c": errHead, "1d": errHead, "1e": errHead, "1f": errHead, "fc": errHead, "dc01": errHead,
		// simple values
		"f4": nil, "f5": nil, "f6": nil, "f820": nil, "f8ff": nil, "f800": errNotShort, "f814": errNotShort,
		"f81f": errNotShort, "f8": errTruncated,
		// maps: 1, 24, 256, -1, h'', "", "a", "b", "aa"
		"a9 0100 181800 19010000 2000 4000 6000 616100 616200 62616100": nil,
		"a2 0100 0100": errMapOrder, "a2 0200 0100": errMapOrder, "a2 2000 0100": errMapOrder,
		"a2 2000 181800":     errMapOrder, // length first, as RFC 7049 had it
		"a2 62616100 616200": errMapOrder,
		// text
		"62c3a9": nil, "61ff": errUTF8, "62c328": errUTF8, "63eda080": errUTF8, "62c080": errUTF8,
		// bignums
		"c2 49010000000000000000": nil, "c3 49010000000000000000": nil, "c2 48ffffffffffffffff": errBignum,
		"c2 4900ffffffffffffffff": errBignum, "c240": errBignum, "c201": errType, "c3 4101": errBignum,
		// trailing octets
		"0000": errTrailing, "f6f6": errTrailing,
	} {
		raw := unhex(t, s)
		err := value(raw)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", s, err, want)
		}
		if o := newOracle(t); o.accepts(raw) != (err == nil) {
			t.Errorf("%s: %v, but the oracle says %v", s, err, o.accepts(raw))
		}
	}
}

func TestMC2DataModel(t *testing.T) {
	for s, want := range map[string]error{
		// floats: the shortest form, one NaN
		"f90000": nil, "f98000": nil, "f93c00": nil, "f97bff": nil, "f90001": nil, "f97c00": nil, "f9fc00": nil,
		"f97e00": nil, "f97e01": errNaN, "f97c01": errNaN, "f9fe00": errNaN, "f97d00": errNaN,
		"fa47c35000": nil, "fa7f7fffff": nil, "fa33000000": nil, "fa33800000": errNotShort, "fa38800000": errNotShort,
		"fa3f800000": errNotShort, "fa7f800000": errNotShort, "fa00000000": errNotShort, "fa7fc00000": errNaN,
		"fb3ff199999999999a": nil, "fb7ff0000000000000": errNotShort, "fb3ff0000000000000": errNotShort,
		"fb7ff8000000000000": errNaN, "fb47efffffe0000000": errNotShort, "fb47efffffe0000001": nil,
		"fa477fe000": errNotShort, "fa477ff000": nil,
		// keys: integers that a double holds, text, octets
		"a1 1b001fffffffffffff 00": nil, "a1 1b0020000000000000 00": errMapKey,
		"a1 3b001ffffffffffffe 00": nil, "a1 3b001fffffffffffff 00": errMapKey,
		"a1 f5 00": errMapKey, "a1 80 00": errMapKey, "a1 a0 00": errMapKey, "a1 f93c00 00": errMapKey,
		"a1 c001 00": errMapKey, "a1 61ff 00": errUTF8,
		// at most four levels of arrays, maps and tags
		"81818180": nil, "8181818100": nil, "8181818180": errDeep, "a101a101a101a10100": nil,
		"a101a101a101a101a0": errDeep, "c9c9c9c900": nil, "c9c9c9c9c900": errDeep, "81a101c981c900": errDeep,
	} {
		if err := value(unhex(t, s)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", s, err, want)
		}
	}
}

func TestMC2HalfFloats(t *testing.T) {
	o := newOracle(t)
	for bits := range 1 << 16 {
		raw := []byte{0xf9, byte(bits >> 8), byte(bits)}
		if got, want := value(raw) == nil, o.accepts(raw); got != want {
			t.Fatalf("%x: %v, the oracle says %v", raw, got, want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200000 {
		b := rng.Uint32()
		if rng.IntN(2) == 0 {
			b &= 0xffffe000 >> rng.IntN(3) // near the border to half precision
		}
		if rng.IntN(2) == 0 {
			b = b&0x807fffff | uint32(100+rng.IntN(45))<<23
		}
		raw := []byte{0xfa, byte(b >> 24), byte(b >> 16), byte(b >> 8), byte(b)}
		if got, want := value(raw) == nil, o.accepts(raw); got != want {
			t.Fatalf("%x: %v, the oracle says %v", raw, got, want)
		}
	}
}

// TestMC1AgainstOracle encodes random values with the oracle, which must be accepted, and damages them, which must
// be accepted exactly if the oracle does, too.
func TestMC1AgainstOracle(t *testing.T) {
	o := newOracle(t)
	rng := rand.New(rand.NewPCG(3, 4))
	accepted := 0
	for range 20000 {
		raw, err := o.enc.Marshal(randomValue(rng, 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := value(raw); err != nil {
			t.Fatalf("%x: %v", raw, err)
		}
		damaged := slices.Clone(raw)
		for range 1 + rng.IntN(3) {
			damaged[rng.IntN(len(damaged))] ^= byte(1 << rng.IntN(8))
		}
		if err := value(damaged); err == nil {
			accepted++
			if !o.accepts(damaged) && !beyondOracle(damaged) {
				t.Fatalf("%x is accepted, but not by the oracle", damaged)
			}
		}
	}
	if accepted == 0 {
		t.Error("no damaged value was ever accepted, so nothing was compared")
	}
}

// TestMC2AllocatesByOctetsPresent has inputs that announce much more than they hold, or hold as many values as their
// length permits.
func TestMC2AllocatesByOctetsPresent(t *testing.T) {
	start := "87" + "50" + strings.Repeat("00", 16) + "f6"
	for name, raw := range map[string][]byte{
		"large octets":     unhex(t, start+"5bffffffffffffffff"),
		"large array":      unhex(t, "9bffffffffffffffff"),
		"large map":        unhex(t, start+"40f6f6"+"bb7fffffffffffffff"),
		"large value":      unhex(t, start+"40f6f6"+"a103"+"9b7fffffffffffffff"),
		"large parts":      unhex(t, start+"40f6f6a0"+"8501600302"+"9b7fffffffffffffff"),
		"map as announced": append(unhex(t, start+"40f6f6"+"ba00040000"), make([]byte, 1<<19)...),
		"array of nothing": append(unhex(t, start+"40f6f6"+"a1039a000fff00"), make([]byte, 0xfff00)...),
		"parts of nothing": append(unhex(t, start+"40f6f6a0"+"85016003029a000fff00"), make([]byte, 0xfff00)...),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(raw)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(2*len(raw)+1<<16) {
			t.Errorf("%s: %d octets made it allocate %d", name, len(raw), n)
		}
	}
}

// beyondOracle reports whether raw may hold what the oracle does not carry through unchanged: undefined becomes
// null, and tags for times are turned into times.
func beyondOracle(raw []byte) bool {
	return bytes.ContainsAny(raw, "\xf7\xc0\xc1\xc2\xc3")
}

func randomValue(rng *rand.Rand, level int) any {
	kinds := 9
	if level > maxValueDepth {
		kinds = 6
	}
	switch rng.IntN(kinds) {
	case 0:
		return rng.Uint64() >> rng.IntN(64)
	case 1:
		return -1 - int64(rng.Uint64()>>(1+rng.IntN(63)))
	case 2:
		return cbor.ByteString(randomOctets(rng, 40))
	case 3:
		return strings.Repeat("é☃", rng.IntN(20))
	case 4:
		return []any{nil, true, false, cbor.SimpleValue(rng.IntN(20)), cbor.SimpleValue(32 + rng.IntN(224))}[rng.IntN(5)]
	case 5:
		return []any{math.NaN(), math.Inf(-1), rng.Float64(), rng.Float32(), float64(rng.IntN(5000))}[rng.IntN(5)]
	case 6:
		list := make([]any, rng.IntN(4))
		for i := range list {
			list[i] = randomValue(rng, level+1)
		}
		return list
	case 7:
		m := map[any]any{}
		for range rng.IntN(4) {
			m[randomKey(rng)] = randomValue(rng, level+1)
		}
		return m
	}
	return cbor.Tag{Number: 4 + rng.Uint64()>>rng.IntN(60), Content: randomValue(rng, level+1)}
}

func randomKey(rng *rand.Rand) any {
	switch rng.IntN(4) {
	case 0:
		return rng.Uint64() >> (11 + rng.IntN(53))
	case 1:
		return -1 - int64(rng.Uint64()>>(12+rng.IntN(52)))
	case 2:
		return cbor.ByteString(randomOctets(rng, 5))
	}
	return hex.EncodeToString(randomOctets(rng, 5))
}

func randomOctets(rng *rand.Rand, limit int) []byte {
	b := make([]byte, rng.IntN(limit))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
