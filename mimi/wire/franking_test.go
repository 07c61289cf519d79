package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/internal/vectors"
	"kith/mimi/mls"
	"kith/mimi/wire"
)

// franked is the published example "original" with everything that franking adds to it.
type franked struct {
	content, framed []byte
	salt            [wire.SaltSize]byte
	context         wire.ServerFrankingContext
	hubKey          [wire.HubKeySize]byte
	agent           *mls.SignatureKey
}

func newFranked(t testing.TB) *franked {
	f := &franked{content: vectors.Open(t, "mimi-content/original.cbor")}
	m := must[*content.Message](t)(content.Parse(f.content))
	sender, okSender := m.SenderURI()
	room, okRoom := m.RoomURI()
	if !okSender || !okRoom {
		t.Fatal("the example names no sender and room")
	}
	f.salt, f.context = m.Salt, wire.ServerFrankingContext{SenderURI: sender, RoomURI: room, AcceptedTimestamp: 1644387225019}
	f.framed = must[[]byte](t)((&mls.ApplicationFraming{Content: f.content}).Bytes())
	f.agent = must[*mls.SignatureKey](t)(mls.ParseSignatureKey(1, bytes.Repeat([]byte{1}, 32)))
	return f
}

func (f *franked) frank(t testing.TB) (wire.FrankAAD, *wire.Frank) {
	tag := wire.NewFrankAAD(f.salt, f.framed)
	return tag, must[*wire.Frank](t)(wire.NewFrank(&f.hubKey, f.agent, tag, f.context))
}

// startsWith compares with a value of which only the beginning is published.
func startsWith(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if !strings.HasPrefix(hex.EncodeToString(got), want) {
		t.Errorf("%s: got %x, want %s...", what, got, want)
	}
}

func TestFR2TagIsOverTheFramedData(t *testing.T) {
	f := newFranked(t)
	bare, framed := wire.NewFrankAAD(f.salt, f.content), wire.NewFrankAAD(f.salt, f.framed)
	startsWith(t, "tag of bare content", bare.FrankingTag[:], "a9a69f1d2fe6f379")
	startsWith(t, "framing", f.framed, "000040c1")
	startsWith(t, "tag of framed content", framed.FrankingTag[:], "728037c40a60ea96")
	aad := must[[]byte](t)(mls.SafeAAD{{Component: 0x0020, Data: framed.FrankingTag[:]}}.Bytes())
	if want := append([]byte{0x23, 0x00, 0x20, 0x20}, framed.FrankingTag[:]...); !bytes.Equal(aad, want) || len(aad) != 36 {
		t.Errorf("authenticated data %x, want %x", aad, want)
	}
	got := must[wire.FrankAAD](t)(wire.UnmarshalFrankAAD(aad[4:]))
	if got != framed {
		t.Error("another tag was read than written")
	}
	for _, bad := range [][]byte{nil, aad[4:35], append(bytes.Clone(aad[4:]), 0)} {
		if _, err := wire.UnmarshalFrankAAD(bad); err == nil {
			t.Errorf("item of %d octets accepted", len(bad))
		}
	}
}

// TestFR4ContextIsWhatTheHubSigns writes the context and the signed structure down by hand.
func TestFR4ContextIsWhatTheHubSigns(t *testing.T) {
	f := newFranked(t)
	context := must[[]byte](t)(f.context.Bytes())
	var want []byte
	for _, uri := range []string{"mimi://example.com/u/alice-smith", "mimi://example.com/r/engineering_team"} {
		want = append(append(want, byte(len(uri))), uri...)
	}
	want = binary.BigEndian.AppendUint64(want, 1644387225019)
	if !bytes.Equal(context, want) || len(context) != 79 {
		t.Fatalf("context of %d octets: %x", len(context), context)
	}
	_, frank := f.frank(t)
	startsWith(t, "server_frank", frank.ServerFrank[:], "83704b1562257287")
	tbs := append(append(bytes.Clone(frank.ServerFrank[:]), 0, 1), context...)
	if len(tbs) != 113 {
		t.Errorf("FrankingIntegrityTBS of %d octets", len(tbs))
	}
	const label = "MLS 1.0 FrankingIntegrityTBS"
	signed := append([]byte{byte(len(label))}, label...)
	signed = append(append(signed, 0x40, byte(len(tbs))), tbs...)
	sum := sha256.Sum256(signed)
	startsWith(t, "SHA-256 of what is signed", sum[:], "daaab5de138866d6")
	if !ed25519.Verify(ed25519.PublicKey(f.agent.Public()), signed, frank.FrankingIntegritySignature) {
		t.Error("the signature is over something else")
	}
}

func TestFR4LongIdentifiers(t *testing.T) {
	f := newFranked(t)
	f.context.SenderURI = must[mimi.UserID](t)(mimi.ParseUserID("mimi://a.example/u/" + strings.Repeat("x", 64)))
	context := must[[]byte](t)(f.context.Bytes())
	if want := []byte{0x40, 83, 'm', 'i', 'm', 'i'}; !bytes.HasPrefix(context, want) {
		t.Errorf("length of a long identifier: %x", context[:6])
	}
	if _, err := (&wire.ServerFrankingContext{SenderURI: f.context.SenderURI}).Bytes(); err == nil {
		t.Error("context without a room encoded")
	}
}

// TestFR5EveryPartIsSigned changes one thing after the other.
func TestFR5EveryPartIsSigned(t *testing.T) {
	f := newFranked(t)
	tag, frank := f.frank(t)
	if err := frank.Verify(f.agent.Public(), f.context); err != nil || !frank.Stamped(&f.hubKey, tag, f.context) {
		t.Fatal("the frank does not verify", err)
	}
	bob := must[mimi.UserID](t)(mimi.ParseUserID("mimi://example.com/u/bob"))
	for name, change := range map[string]func(*wire.Frank, *wire.ServerFrankingContext){
		"sender":       func(_ *wire.Frank, c *wire.ServerFrankingContext) { c.SenderURI = bob },
		"room":         func(_ *wire.Frank, c *wire.ServerFrankingContext) { c.RoomURI = room },
		"timestamp":    func(_ *wire.Frank, c *wire.ServerFrankingContext) { c.AcceptedTimestamp++ },
		"no sender":    func(_ *wire.Frank, c *wire.ServerFrankingContext) { c.SenderURI = mimi.UserID{} },
		"server_frank": func(f *wire.Frank, _ *wire.ServerFrankingContext) { f.ServerFrank[31] ^= 1 },
		"suite":        func(f *wire.Frank, _ *wire.ServerFrankingContext) { f.FrankingSignatureSuite = 3 },
		"other suite":  func(f *wire.Frank, _ *wire.ServerFrankingContext) { f.FrankingSignatureSuite = 0x7777 },
		"signature":    func(f *wire.Frank, _ *wire.ServerFrankingContext) { f.FrankingIntegritySignature[0] ^= 1 },
		"no signature": func(f *wire.Frank, _ *wire.ServerFrankingContext) { f.FrankingIntegritySignature = nil },
	} {
		changed, context := *frank, f.context
		changed.FrankingIntegritySignature = bytes.Clone(frank.FrankingIntegritySignature)
		change(&changed, &context)
		if changed.Verify(f.agent.Public(), context) == nil {
			t.Errorf("%s: changed and still verified", name)
		}
	}
	other := must[*mls.SignatureKey](t)(mls.GenerateSignatureKey(1, rng))
	if frank.Verify(other.Public(), f.context) == nil || frank.Verify(nil, f.context) == nil {
		t.Error("verified with another key")
	}
}

func TestFR8OnlyTheHubsKeyStamps(t *testing.T) {
	f := newFranked(t)
	tag, frank := f.frank(t)
	key, context, altered := f.hubKey, f.context, tag
	key[0] ^= 1
	altered.FrankingTag[0] ^= 1
	context.AcceptedTimestamp++
	if frank.Stamped(&key, tag, f.context) || frank.Stamped(&f.hubKey, altered, f.context) || frank.Stamped(&f.hubKey, tag, context) ||
		frank.Stamped(&f.hubKey, tag, wire.ServerFrankingContext{}) {
		t.Error("a stamp of another key, tag or context was accepted")
	}
	again := must[*wire.Frank](t)(wire.NewFrank(&f.hubKey, f.agent, tag, f.context))
	if !bytes.Equal(must[[]byte](t)(again.Bytes()), must[[]byte](t)(frank.Bytes())) {
		t.Error("the same message got two franks")
	}
}

// TestFR9ShorterSaltsWouldNotCommit shows why the salt has one size: HMAC takes a key and the same with a zero behind it
// for one. The type of the salt leaves no other.
func TestFR9ShorterSaltsWouldNotCommit(t *testing.T) {
	mac := func(key []byte) string {
		h := hmac.New(sha256.New, key)
		h.Write([]byte("data"))
		return string(h.Sum(nil))
	}
	if mac([]byte{1}) != mac([]byte{1, 0}) {
		t.Fatal("HMAC no longer fills keys with zeros")
	}
	f := newFranked(t)
	short := bytes.Clone(f.content)
	// array(7), then the salt: bytes(16) becomes bytes(15), and the rest of it would be the next field.
	if short[1] != 0x50 {
		t.Fatalf("salt begins with %x", short[1])
	}
	short = append([]byte{short[0], 0x4f}, append(short[2:17:17], short[18:]...)...)
	if _, err := content.Parse(short); err == nil {
		t.Error("content with a salt of 15 octets accepted")
	}
}

func TestFR4FanoutCarriesTheFrank(t *testing.T) {
	w, f := newWorld(t), newFranked(t)
	_, frank := f.frank(t)
	event := wire.FanoutMessage{Timestamp: 7, Message: w.application, Frank: frank}
	want := must[[]byte](t)(event.Bytes())
	if got := wire.FanoutApplication(7, w.application, frank); !bytes.Equal(got, want) || cap(got) != len(want) {
		t.Errorf("fast encoding differs, or took %d octets for %d", cap(got), len(want))
	}
}

func BenchmarkNewFrank(b *testing.B) {
	f := newFranked(b)
	tag := wire.NewFrankAAD(f.salt, f.framed)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.NewFrank(&f.hubKey, f.agent, tag, f.context); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFrankVerify(b *testing.B) {
	f := newFranked(b)
	_, frank := f.frank(b)
	public := f.agent.Public()
	b.ReportAllocs()
	for b.Loop() {
		if err := frank.Verify(public, f.context); err != nil {
			b.Fatal(err)
		}
	}
}
