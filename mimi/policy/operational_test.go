package policy_test

import (
	"bytes"
	"testing"

	"kith/mimi/policy"
)

// operational makes data of mls_operational_policy by hand: we never emit any.
func operational(strategy []byte, tolerance uint8) []byte {
	var b bytes.Buffer
	for i := range 31 {
		// a vector of two octets in place of the third, so that a list is not taken for its length
		if i == 2 {
			b.Write([]byte{2, 0, 1})
			continue
		}
		b.WriteByte(0)
	}
	b.Write([]byte{1, 1})
	b.Write(strategy)
	b.Write(make([]byte, 24))
	b.WriteByte(tolerance)
	b.Write([]byte{0, 64, 0, 0, 3, 0xe8}) // pad_to_size, max_generations_skipahead
	b.Write(make([]byte, 8*3+24+4+24+4))
	return b.Bytes()
}

func TestSM3EpochToleranceIsReadLeniently(t *testing.T) {
	delay := append([]byte{2}, make([]byte, 16)...)
	for name, c := range map[string]struct {
		data []byte
		want uint8
	}{
		"unspecified":      {operational([]byte{0}, 3), 3},
		"immediate commit": {operational([]byte{1}, 255), 255},
		"random delay":     {operational(delay, 2), 2},
		"extension":        {operational([]byte{3, 0xf0, 1}, 4), 4},
		"nothing after it": {operational([]byte{0}, 3)[:33+2+1+24+1], 3},
		"junk after it":    {append(operational([]byte{0}, 3), 1, 2, 3), 3},
		"cut before it":    {operational([]byte{0}, 3)[:33+2+1+24], 0},
		"empty":            {nil, 0},
		"not the syntax":   {bytes.Repeat([]byte{0xff}, 200), 0},
	} {
		if got := policy.EpochTolerance(c.data); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
		if _, err := policy.UpdateComponent(policy.MLSOperationalPolicy, nil, [][]byte{c.data}); err != nil {
			t.Errorf("%s: update refused: %v", name, err)
		}
	}
}

func FuzzEpochTolerance(f *testing.F) {
	f.Add(operational([]byte{0}, 3))
	f.Add(operational([]byte{3, 0, 0}, 3))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := policy.EpochTolerance(data)
		// what follows does not matter
		if again := policy.EpochTolerance(append(bytes.Clone(data), 1, 2)); got != 0 && again != got {
			t.Errorf("%d becomes %d by what follows", got, again)
		}
	})
}
