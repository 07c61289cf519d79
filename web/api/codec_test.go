package api

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// sampleFrames has one frame of every kind.
func sampleFrames() []Frame {
	g := &Greeting{Time: 1644387225019, User: "mimi://a.example/u/alice", DisplayName: "Alice 🐚 أليس", Root: []byte{0x30, 0}, Hub: []byte{1, 2, 3}, Agent: []byte{4}}
	copy(g.Nonce[:], bytes.Repeat([]byte{7}, NonceSize))
	return []Frame{
		&Request{ID: 1, Op: OpSubmitMessage, Target: "mimi://a.example/r/x", Body: []byte("body")},
		&Response{ID: 0xffffffff, Status: StatusDiskFull, Body: []byte(CodeDiskFull)},
		&Event{Cursor: 1 << 40, Room: "mimi://a.example/r/x", Message: []byte("m")},
		g,
		&Ack{Cursor: 9},
		&CaughtUp{Cursor: 10},
		&Hint{What: HintConsents},
	}
}

type sampleBody struct {
	value body
	fresh func() body
}

func sampleBodies() []sampleBody {
	return []sampleBody{
		{&RegisterDeviceRequest{"laptop", []byte{1}, []byte{2, 3}}, func() body { return new(RegisterDeviceRequest) }},
		{&RegisterDeviceResponse{"mimi://a/d/u/1", []byte{4}}, func() body { return new(RegisterDeviceResponse) }},
		{&HelloRequest{5, []byte{6}}, func() body { return new(HelloRequest) }},
		{&HelloResponse{7, 8}, func() body { return new(HelloResponse) }},
		{&PublishResponse{9}, func() body { return new(PublishResponse) }},
		{&CreateRoomRequest{[]byte{1, 2}, []byte{3}}, func() body { return new(CreateRoomRequest) }},
	}
}

func TestFrameRoundTrip(t *testing.T) {
	var all []byte
	frames := sampleFrames()
	for _, f := range frames {
		var err error
		if all, err = Append(all, f); err != nil {
			t.Fatal(err)
		}
	}
	rest := all
	for _, want := range frames {
		var got Frame
		var err error
		if got, rest, err = Next(rest); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if len(rest) != 0 {
		t.Errorf("%d octets left over", len(rest))
	}
}

func TestFrameRandomRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		out := make([]byte, rng.IntN(n))
		for i := range out {
			out[i] = byte(rng.Uint32())
		}
		return out
	}
	for range 500 {
		in := &Request{ID: rng.Uint32(), Op: Op(rng.Uint32()), Target: string(random(300)), Body: random(2000)}
		data, err := Bytes(in)
		if err != nil {
			t.Fatal(err)
		}
		f, rest, err := Next(data)
		if err != nil || len(rest) != 0 {
			t.Fatal(err, len(rest))
		}
		out := f.(*Request)
		if out.ID != in.ID || out.Op != in.Op || out.Target != in.Target || !bytes.Equal(out.Body, in.Body) {
			t.Fatalf("got %+v, want %+v", out, in)
		}
	}
}

func TestFrameEveryPrefixRejected(t *testing.T) {
	for _, f := range sampleFrames() {
		data, err := Bytes(f)
		if err != nil {
			t.Fatal(err)
		}
		for n := range data {
			if _, _, err := Next(data[:n]); err == nil {
				t.Errorf("kind %d: prefix of %d octets accepted", f.Kind(), n)
			}
		}
	}
}

// TestFrameShortPayloadRejected shortens the payload with a length that agrees: the fields must notice.
func TestFrameShortPayloadRejected(t *testing.T) {
	fixed := map[Kind]int{KindRequest: 1 + 4 + 1 + 2, KindResponse: 1 + 4 + 2, KindEvent: 1 + 8 + 2, KindAck: 9, KindCaughtUp: 9, KindGreeting: 1 + 32 + 8 + 2 + 2 + 4 + 4 + 4, KindHint: 2}
	for kind, size := range fixed {
		for n := 1; n < size; n++ {
			data := append(binary.BigEndian.AppendUint32(nil, uint32(n)), byte(kind))
			data = append(data, make([]byte, n-1)...)
			if _, _, err := Next(data); err == nil {
				t.Errorf("kind %d of %d octets accepted", kind, n)
			}
		}
	}
}

func TestFrameLimits(t *testing.T) {
	big := func(n int) []byte { return make([]byte, n) }
	tests := []struct {
		name string
		f    Frame
		ok   bool
	}{
		{"submit at the limit", &Request{Op: OpSubmitMessage, Body: big(MaxClientFrame - 8)}, true},
		{"submit over the limit", &Request{Op: OpSubmitMessage, Body: big(MaxClientFrame - 7)}, false},
		{"unknown op over the limit", &Request{Op: 200, Body: big(MaxClientFrame)}, false},
		{"update over the small limit", &Request{Op: OpUpdate, Body: big(MaxClientFrame)}, true},
		{"update at the bulk limit", &Request{Op: OpUpdate, Body: big(MaxBulkFrame - 8)}, true},
		{"update over the bulk limit", &Request{Op: OpUpdate, Body: big(MaxBulkFrame)}, false},
		{"event at the limit", &Event{Message: big(MaxServerFrame - 11)}, true},
		{"event over the limit", &Event{Message: big(MaxServerFrame)}, false},
		{"long target", &Request{Op: OpPing, Target: strings.Repeat("x", 1<<16)}, false},
	}
	for _, tt := range tests {
		data, err := Bytes(tt.f)
		if (err == nil) != tt.ok {
			t.Errorf("%s: encoding gives %v", tt.name, err)
		}
		if err != nil {
			if !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if _, _, err := Next(data); err != nil {
			t.Errorf("%s: decoding gives %v", tt.name, err)
		}
	}
}

// TestFrameHugeLength gives lengths without the octets they promise: refused at once, nothing allocated.
func TestFrameHugeLength(t *testing.T) {
	tests := []struct {
		data []byte
		want error
	}{
		{[]byte{0xff, 0xff, 0xff, 0xff, 1}, ErrTooLarge},
		{[]byte{1, 0, 0, 1, 1}, ErrTooLarge},
		{[]byte{1, 0, 0, 0, 1}, ErrTruncated},
		{[]byte{0, 0, 0, 0}, ErrMalformed},
		{[]byte{0, 0, 0, 1, 0}, ErrKind},
		{[]byte{0, 0, 0, 1, 8}, ErrKind},
		{[]byte{0, 0, 0, 10, 5, 0, 0, 0, 0, 0, 0, 0, 0, 1}, ErrTooLarge},
		{nil, ErrTruncated},
	}
	for _, tt := range tests {
		var err error
		allocs := testing.AllocsPerRun(10, func() { _, _, err = Next(tt.data) })
		if !errors.Is(err, tt.want) || allocs > 1 {
			t.Errorf("%x: %v (%v allocations), want %v", tt.data, err, allocs, tt.want)
		}
	}
}

func TestBodyRoundTripAndPrefixes(t *testing.T) {
	for _, tt := range sampleBodies() {
		data, err := encode(tt.value)
		if err != nil {
			t.Fatal(err)
		}
		got := tt.fresh()
		if err := decode(data, got); err != nil || !reflect.DeepEqual(got, tt.value) {
			t.Errorf("%T: got %+v %v", tt.value, got, err)
		}
		for n := range data {
			if decode(data[:n], tt.fresh()) == nil {
				t.Errorf("%T: prefix of %d octets accepted", tt.value, n)
			}
		}
		if decode(append(data, 0), tt.fresh()) == nil {
			t.Errorf("%T: trailing octet accepted", tt.value)
		}
	}
}

func TestListRoundTrip(t *testing.T) {
	for _, want := range []StringList{nil, {"a"}, {"", "mimi://a.example/r/x", "ü"}} {
		data, err := want.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		got, err := UnmarshalStringList(data)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %q %v, want %q", got, err, want)
		}
		if len(data) > 0 {
			if _, err := UnmarshalStringList(data[:len(data)-1]); err == nil {
				t.Errorf("%q: truncated list accepted", want)
			}
		}
	}
	profiles := ProfileList{{"mimi://a.example/u/alice", "Alice"}, {"mimi://a.example/u/bob", ""}}
	data, err := profiles.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	got, err := UnmarshalProfileList(data)
	if err != nil || !reflect.DeepEqual(got, profiles) {
		t.Errorf("got %v %v", got, err)
	}
	if _, err := UnmarshalProfileList(data[:len(data)-2]); err == nil {
		t.Error("half a profile accepted")
	}
}

func TestUnmarshalWholeBodies(t *testing.T) {
	bad := []byte{0xff}
	_, e1 := UnmarshalRegisterDeviceRequest(bad)
	_, e2 := UnmarshalRegisterDeviceResponse(bad)
	_, e3 := UnmarshalHelloRequest(bad)
	_, e4 := UnmarshalHelloResponse(bad)
	_, e5 := UnmarshalPublishResponse(bad)
	_, e6 := UnmarshalCreateRoomRequest(bad)
	for i, err := range []error{e1, e2, e3, e4, e5, e6} {
		if err == nil {
			t.Errorf("body %d: garbage accepted", i)
		}
	}
}

func TestOps(t *testing.T) {
	free := map[Op]bool{OpRegisterDevice: true, OpHello: true, OpRooms: true, OpIdentifierQuery: true, OpProfiles: true, OpPing: true,
		OpConsent: true, OpConsents: true, OpIdentityRoots: true, OpDevices: true, OpRemoveDevice: true}
	unused := map[Op]bool{18: true, 19: true}
	seen := map[string]bool{}
	for op := OpRegisterDevice; op <= OpDestroyRoom; op++ {
		if unused[op] {
			if op.Valid() || op.String() != "unknown" {
				t.Errorf("op %d is valid", op)
			}
			continue
		}
		if !op.Valid() || op.NeedsDevice() == free[op] || seen[op.String()] {
			t.Errorf("op %d: valid %t, needs device %t, name %s", op, op.Valid(), op.NeedsDevice(), op)
		}
		seen[op.String()] = true
	}
	if Op(0).Valid() || (OpDestroyRoom + 1).Valid() || (OpDestroyRoom+1).String() != "unknown" {
		t.Error("op outside the table is valid")
	}
}

func TestHelloContentDoesNotAlias(t *testing.T) {
	var nonce [NonceSize]byte
	a, b := HelloContent(nonce, "a"), HelloContent(nonce, "b")
	if a[NonceSize] != 'a' || b[NonceSize] != 'b' || len(a) != NonceSize+1 {
		t.Errorf("%x %x", a, b)
	}
}
