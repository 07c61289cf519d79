package api

import (
	"bytes"
	"testing"
)

// FuzzNext: whatever parses encodes to the same octets again.
func FuzzNext(f *testing.F) {
	var all []byte
	for _, frame := range sampleFrames() {
		data, _ := Bytes(frame)
		f.Add(data)
		all = append(all, data...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, data []byte) {
		for len(data) > 0 {
			frame, rest, err := Next(data)
			if err != nil {
				return
			}
			again, err := Bytes(frame)
			if err != nil || !bytes.Equal(again, data[:len(data)-len(rest)]) {
				t.Fatalf("%+v encodes to %x, %v", frame, again, err)
			}
			data = rest
		}
	})
}

// FuzzBodies: the same for the bodies.
func FuzzBodies(f *testing.F) {
	for i, b := range sampleBodies() {
		data, _ := encode(b.value)
		f.Add(byte(i), data)
	}
	f.Add(byte(6), []byte{0, 1, 'a', 0, 0})
	f.Add(byte(7), []byte{0, 1, 'a', 0, 0})
	f.Add(byte(8), []byte{0, 0, 0, 1, 'a'})
	f.Add(byte(9), []byte{0x81, 0, 1, 'a', 0, 1, 'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 5})
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		samples := sampleBodies()
		var v body
		switch n := int(which) % (len(samples) + 4); n {
		case len(samples):
			v = new(StringList)
		case len(samples) + 1:
			v = new(ProfileList)
		case len(samples) + 2:
			v = new(DERList)
		case len(samples) + 3:
			v = new(ConsentList)
		default:
			v = samples[n].fresh()
		}
		if decode(data, v) != nil {
			return
		}
		again, err := encode(v)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%+v encodes to %x, %v", v, again, err)
		}
	})
}
