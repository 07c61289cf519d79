package content_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/internal/vectors"
)

// examples are the example messages of the draft.
var examples = []string{
	"original", "reply", "reaction", "mention", "mention-html", "edit", "delete", "unlike", "expiring", "attachment",
	"conferencing", "multipart-1", "multipart-2", "multipart-3",
}

func example(t testing.TB, name string) []byte {
	t.Helper()
	return vectors.Open(t, "mimi-content/"+name+".cbor")
}

func parse(t testing.TB, raw []byte) *content.Message {
	t.Helper()
	m, err := content.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encode(t testing.TB, m *content.Message) []byte {
	t.Helper()
	raw, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var messageIDComment = regexp.MustCompile(`(?s)message ID = h'([0-9a-f]+)\s*#\s*([0-9a-f]+)'`)

func TestMC3ExamplesOfTheDraft(t *testing.T) {
	for _, name := range examples {
		t.Run(name, func(t *testing.T) {
			raw := example(t, name)
			m := parse(t, raw)
			if again := encode(t, m); !bytes.Equal(again, raw) {
				t.Errorf("encodes to\n%x, was\n%x", again, raw)
			}
			sender, ok1 := m.SenderURI()
			room, ok2 := m.RoomURI()
			if !ok1 || !ok2 {
				t.Fatalf("sender %q, room %q", sender, room)
			}
			digits := messageIDComment.FindSubmatch(vectors.Open(t, "mimi-content/"+name+".edn"))
			if digits == nil {
				t.Fatal("the example states no message ID")
			}
			want := string(digits[1]) + string(digits[2])
			if got := content.ID(sender, room, raw); got.String() != want {
				t.Errorf("message ID is %s, want %s", got, want)
			}
		})
	}
}

func TestMC7KindsOfTheExamples(t *testing.T) {
	kinds := map[string]content.Kind{
		"original": content.KindMessage, "reply": content.KindMessage, "reaction": content.KindReaction,
		"mention": content.KindMessage, "edit": content.KindEdit, "delete": content.KindDelete,
		"unlike": content.KindUnlike, "expiring": content.KindMessage, "attachment": content.KindMessage,
		"conferencing": content.KindMessage, "multipart-1": content.KindMessage, "multipart-3": content.KindMessage,
	}
	texts := map[string]string{
		"original":     "Hi everyone, we just shipped release 2.0. __Good  work__!",
		"reply":        "Right on! _Congratulations_ 'all!",
		"reaction":     "❤",
		"mention":      "Kudos to [@Alice Smith](mimi://example.com/u/alice-smith) for making the release happen!",
		"mention-html": "Kudos to @Alice Smith for making the release happen!",
		"delete":       "",
		"unlike":       "",
		"attachment":   "2 hours of key signing video",
		"conferencing": "Join the Foo 118 conference\nhttps://example.com/join/12345",
		"multipart-1":  "# Welcome!",
		"multipart-2":  "❤\n🥳\n🤞",
		"multipart-3":  "Welcome!\n\nWelcome image",
	}
	for _, name := range examples {
		m := parse(t, example(t, name))
		if want, ok := kinds[name]; ok && m.Kind() != want {
			t.Errorf("%s is of kind %d, want %d", name, m.Kind(), want)
		}
		if want, ok := texts[name]; ok && m.Text() != want {
			t.Errorf("%s says %q, want %q", name, m.Text(), want)
		}
	}
	original, reply := parse(t, example(t, "original")), parse(t, example(t, "reply"))
	edit, unlike := parse(t, example(t, "edit")), parse(t, example(t, "unlike"))
	if *reply.InReplyTo != idOf(t, "original") || *edit.Replaces != idOf(t, "reply") || *unlike.Replaces != idOf(t, "reaction") {
		t.Error("the examples do not refer to each other")
	}
	if after := original.Edited(edit); after.Text() != edit.Text() || after.InReplyTo != nil || after.Replaces != nil {
		t.Errorf("an edit changed more than the part: %+v", after)
	}
}

func idOf(t testing.TB, name string) content.MessageID {
	t.Helper()
	raw := example(t, name)
	m := parse(t, raw)
	sender, _ := m.SenderURI()
	room, _ := m.RoomURI()
	return content.ID(sender, room, raw)
}

func TestMC1EveryPrefixIsRefused(t *testing.T) {
	for _, name := range examples {
		raw := example(t, name)
		for n := range raw {
			if _, err := content.Parse(raw[:n]); err == nil {
				t.Errorf("%s: the first %d of %d octets are taken for a message", name, n, len(raw))
			}
		}
		if _, err := content.Parse(append(slices.Clone(raw), 0)); err == nil {
			t.Errorf("%s: a trailing octet is accepted", name)
		}
	}
}

func TestMC1ParseKeepsNothingOfItsInput(t *testing.T) {
	for _, name := range examples {
		raw := example(t, name)
		m := parse(t, raw)
		want := slices.Clone(raw)
		clear(raw)
		if !bytes.Equal(encode(t, m), want) {
			t.Errorf("%s changes with the memory it was read from", name)
		}
	}
}

// pieces are the seven fields of a message, in hex.
type pieces [7]string

func plain() pieces {
	return pieces{"50" + strings.Repeat("07", 16), "f6", "40", "f6", "f6", "a0", "83016000"}
}

func (p pieces) raw(t testing.TB) []byte {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll("87"+strings.Join(p[:], ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestMC12Structure(t *testing.T) {
	id := "5820" + "01" + strings.Repeat("aa", 31)
	single := "850160016161" + "40"
	nested := func(levels int) string {
		return strings.Repeat("8501600302"+"82"+single, levels-1) + single
	}
	for _, c := range []struct {
		name  string
		field int
		hex   string
		ok    bool
	}{
		{"salt of 15", 0, "4f" + strings.Repeat("07", 15), false},
		{"salt of 17", 0, "51" + strings.Repeat("07", 17), false},
		{"salt as text", 0, "70" + strings.Repeat("61", 16), false},
		{"replaces", 1, id, true},
		{"replaces false", 1, "f4", false},
		{"replaces of 31", 1, "581f01" + strings.Repeat("aa", 30), false},
		{"replaces with an unknown hash", 1, "582002" + strings.Repeat("aa", 31), false},
		{"replaces undefined", 1, "f7", false},
		{"topic", 2, "43666f6f", true},
		{"topic of 4096", 2, "591000" + strings.Repeat("00", 4096), true},
		{"topic of 4097", 2, "591001" + strings.Repeat("00", 4097), false},
		{"topic null", 2, "f6", false},
		{"topic as text", 2, "63666f6f", false},
		{"expires absolutely", 3, "82f41a62036674", true},
		{"expires relatively", 3, "82f500", true},
		{"expires in 2^32", 3, "82f51b0000000100000000", false},
		{"expires before 1970", 3, "82f420", false},
		{"expires without a time", 3, "81f4", false},
		{"expires with 1 for true", 3, "820100", false},
		{"expires with more", 3, "83f40000", false},
		{"in reply to", 4, id, true},
		{"in reply to an unknown hash", 4, "582000" + strings.Repeat("aa", 31), false},
		{"extensions null", 5, "f6", false},
		{"extensions as array", 5, "80", false},
		{"sender and room", 5, "a2 01 6161 02 6162", true},
		{"sender as octets", 5, "a1 01 4161", false},
		{"room as number", 5, "a1 02 00", false},
		{"key 0", 5, "a1 00 f7", true},
		{"private keys", 5, "a3 3903e7 f6 6161 80 6162 f93c00", true},
		{"key of octets", 5, "a1 4101 00", false},
		{"key without a name", 5, "a1 60 00", false},
		{"key of 255", 5, "a1 78ff" + strings.Repeat("61", 255) + "00", true},
		{"key of 256", 5, "a1 790100" + strings.Repeat("61", 256) + "00", false},
		{"key twice", 5, "a2 01 6161 01 6161", false},
		{"keys out of order", 5, "a2 02 6161 01 6161", false},
		{"keys by length first", 5, "a2 20 00 1818 00", false},
		{"four levels", 5, "a2 01 6161 190100 82 82 421234 d820 6161 82 423456 19168b", true},
		{"five levels", 5, "a1 190100 81 81 81 80", false},
		{"disposition 255", 6, "8318ff6000", true},
		{"disposition 256", 6, "831901006000", false},
		{"language not UTF-8", 6, "830161ff00", false},
		{"null part with more", 6, "8401600000", false},
		{"single part", 6, single, true},
		{"single part with less", 6, "840160016161", false},
		{"single part with content as text", 6, "85016001616160", false},
		{"unknown cardinality", 6, "83016004", false},
		{"external part", 6, "8f016002606000000040404000406060", true},
		{"external part, hash 256", 6, "8f0160026060000000404040190100406060", false},
		{"external part, algorithm 65536", 6, "8f016002606000001a0001000040404000406060", false},
		{"external part, key without algorithm", 6, "8f0160026060000000410140" + "4000406060", false},
		{"external part, URL with tag", 6, "8f01600260d82060000000404040" + "00406060", false},
		{"two parts", 6, "850160030282" + single + single, true},
		{"one part", 6, "850160030281" + single, false},
		{"no parts", 6, "850160030280", false},
		{"unknown semantics", 6, "850160030382" + single + single, false},
		{"four levels of parts", 6, nested(4), true},
		{"five levels of parts", 6, nested(5), false},
		{"1024 parts", 6, "8501600302" + "9903ff" + strings.Repeat(single, 1023), true},
		{"1025 parts", 6, "8501600302" + "990400" + strings.Repeat(single, 1024), false},
	} {
		p := plain()
		p[c.field] = c.hex
		raw := p.raw(t)
		m, err := content.Parse(raw)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && !bytes.Equal(encode(t, m), raw) {
			t.Errorf("%s: encodes differently", c.name)
		}
	}
}

func TestMC12TooLarge(t *testing.T) {
	p := plain()
	p[6] = "850160016161" + "5a00100000" + strings.Repeat("00", 1<<20)
	if _, err := content.Parse(p.raw(t)); err == nil {
		t.Error("a message of more than 1 MiB is accepted")
	}
	m := &content.Message{Part: content.Part{Body: content.SinglePart{Content: make([]byte, content.MaxSize)}}}
	if _, err := m.Bytes(); err == nil {
		t.Error("a message of more than 1 MiB is encoded")
	}
}

func TestMC1BytesRefusesWhatParseWould(t *testing.T) {
	single := content.Part{Body: content.SinglePart{}}
	bad := content.MessageID{2}
	deep := single
	for range content.MaxDepth {
		deep = content.Part{Body: content.MultiPart{Parts: []content.Part{deep, single}}}
	}
	for name, m := range map[string]*content.Message{
		"no body":            {},
		"pointer to a body":  {Part: content.Part{Body: &content.SinglePart{}}},
		"one part":           {Part: content.Part{Body: content.MultiPart{Parts: []content.Part{single}}}},
		"too many parts":     {Part: content.Part{Body: content.MultiPart{Parts: slices.Repeat([]content.Part{single}, 1024)}}},
		"too deep":           {Part: deep},
		"semantics":          {Part: content.Part{Body: content.MultiPart{Semantics: 3, Parts: []content.Part{single, single}}}},
		"language":           {Part: content.Part{Language: "\xff", Body: content.NullPart{}}},
		"topic":              {TopicID: make([]byte, content.MaxTopic+1), Part: single},
		"hash":               {Replaces: &bad, Part: single},
		"empty value":        {Extensions: content.Extensions{{Key: content.Key{Int: 3}}}, Part: single},
		"value and more":     {Extensions: content.Extensions{{Key: content.Key{Int: 3}, Value: content.Value{0, 0}}}, Part: single},
		"key beyond doubles": {Extensions: content.Extensions{{Key: content.Key{Int: 1 << 53}, Value: content.Value{0}}}, Part: single},
		"unsorted keys": {Extensions: content.Extensions{
			{Key: content.Key{Int: -1}, Value: content.Value{0}}, {Key: content.Key{Int: 24}, Value: content.Value{0}},
		}, Part: single},
	} {
		if raw, err := m.Bytes(); err == nil {
			t.Errorf("%s: encoded as %x", name, raw)
		}
	}
}

func TestMC1RandomRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		m := randomMessage(rng)
		raw := encode(t, m)
		again := parse(t, raw)
		if !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v became %+v", m, again)
		}
	}
}

func randomMessage(rng *rand.Rand) *content.Message {
	m := &content.Message{Salt: [16]byte(octets(rng, 16)), Part: randomPart(rng, 1)}
	if rng.IntN(2) == 0 {
		m.Replaces = randomID(rng)
	}
	if rng.IntN(2) == 0 {
		m.TopicID = octets(rng, 1+rng.IntN(300))
	}
	if rng.IntN(2) == 0 {
		m.Expires = &content.Expiration{Relative: rng.IntN(2) == 0, Time: rng.Uint32() >> rng.IntN(32)}
	}
	if rng.IntN(2) == 0 {
		m.InReplyTo = randomID(rng)
	}
	for range rng.IntN(6) {
		k := content.Key{Int: int64(rng.Uint64()) >> (11 + rng.IntN(50))}
		if rng.IntN(2) == 0 {
			k = content.Key{Text: strings.Repeat("ä", 1+rng.IntN(127))}
		}
		v := content.TextValue("x")
		if k.Text != "" || k.Int != 1 && k.Int != 2 {
			v = []content.Value{
				content.BytesValue(octets(rng, 30)), content.UintValue(rng.Uint64()), content.TextValue("ü"),
				{0xa1, 0x40, 0x82, 0xf9, 0x7e, 0x00, 0xc9, 0x00},
			}[rng.IntN(4)]
		}
		m.Extensions = m.Extensions.With(k, v)
	}
	return m
}

func randomPart(rng *rand.Rand, level int) content.Part {
	p := content.Part{Disposition: content.Disposition(rng.IntN(256)), Language: []string{"", "en", "de,fr"}[rng.IntN(3)]}
	kinds := 4
	if level == content.MaxDepth {
		kinds = 3
	}
	switch rng.IntN(kinds) {
	case 0:
		p.Body = content.NullPart{}
	case 1:
		p.Body = content.SinglePart{ContentType: "text/plain", Content: octets(rng, rng.IntN(70000))}
	case 2:
		e := content.ExternalPart{
			ContentType: "video/mp4", URL: "https://a.example/x", Expires: rng.Uint32(), Size: rng.Uint64() >> rng.IntN(64),
			EncAlg: uint16(1 + rng.IntN(65535)), Key: octets(rng, 16), Nonce: octets(rng, 12), AAD: octets(rng, rng.IntN(3)),
			HashAlg: uint8(rng.IntN(256)), ContentHash: octets(rng, 32), Description: "ein Bild", Filename: "a.png",
		}
		p.Body = e
	case 3:
		multi := content.MultiPart{Semantics: content.Semantics(rng.IntN(3))}
		for range 2 + rng.IntN(3) {
			multi.Parts = append(multi.Parts, randomPart(rng, level+1))
		}
		p.Body = multi
	}
	return p
}

func randomID(rng *rand.Rand) *content.MessageID {
	id := content.MessageID(octets(rng, 32))
	id[0] = 1
	return &id
}

func octets(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestMC4NewMessages(t *testing.T) {
	alice, room := someone(t)
	m, err := content.NewText(zeros{}, alice, room, "Grüß <b>dich</b>")
	if err != nil {
		t.Fatal(err)
	}
	raw := encode(t, m)
	if got := parse(t, raw); got.Text() != "Grüß <b>dich</b>" || got.Kind() != content.KindMessage {
		t.Errorf("the message says %q", got.Text())
	}
	if s, _ := m.SenderURI(); s != alice {
		t.Errorf("sender is %q", s)
	}
	if r, _ := m.RoomURI(); r != room {
		t.Errorf("room is %q", r)
	}
	id := content.ID(alice, room, raw)
	reply, err1 := content.NewReply(zeros{}, alice, room, id, "ja")
	reaction, err2 := content.NewReaction(zeros{}, alice, room, id, "👍🏽")
	edit, err3 := content.NewEdit(zeros{}, alice, room, id, reply, "nein")
	del, err4 := content.NewDelete(zeros{}, alice, room, id, m)
	unlike, err5 := content.NewDelete(zeros{}, alice, room, id, reaction)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || err5 != nil {
		t.Fatal(err1, err2, err3, err4, err5)
	}
	for _, c := range []struct {
		m    *content.Message
		kind content.Kind
	}{
		{reply, content.KindMessage}, {reaction, content.KindReaction}, {edit, content.KindEdit},
		{del, content.KindDelete}, {unlike, content.KindUnlike},
	} {
		if got := parse(t, encode(t, c.m)); got.Kind() != c.kind {
			t.Errorf("kind %d, want %d", got.Kind(), c.kind)
		}
	}
	if *edit.InReplyTo != id || *edit.Replaces != id || *unlike.InReplyTo != id {
		t.Error("a new version changed more than the part")
	}
	for _, text := range []string{"", "\xff", "a\xc3"} {
		if _, err := content.NewText(zeros{}, alice, room, text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	if _, err := content.NewText(bytes.NewReader(nil), alice, room, "x"); err == nil {
		t.Error("a message without a random salt was made")
	}
	if _, err := content.NewText(zeros{}, mimi.UserID{}, room, "x"); err == nil {
		t.Error("a message without a sender was made")
	}
	if id := content.ID(alice, room, []byte{0x87, 0x41, 0}); !id.IsZero() {
		t.Error("what is no message has an ID")
	}
}

// zeros is a source of what is not random at all.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func someone(t testing.TB) (mimi.UserID, mimi.RoomID) {
	t.Helper()
	u, err := mimi.ParseUserID("mimi://example.com/u/alice-smith")
	if err != nil {
		t.Fatal(err)
	}
	r, err := mimi.ParseRoomID("mimi://example.com/r/engineering_team")
	if err != nil {
		t.Fatal(err)
	}
	return u, r
}

func FuzzParse(f *testing.F) {
	f.Add(plain().raw(f))
	for seed := range uint64(20) {
		m := randomMessage(rand.New(rand.NewPCG(7, seed)))
		if raw := encode(f, m); len(raw) < 1000 {
			f.Add(raw)
		}
	}
	// The published examples, where they can be found; the fuzzer gets by without.
	if dir := os.Getenv("VECTORS"); dir != "" {
		for _, name := range examples {
			if raw, err := os.ReadFile(filepath.Join(dir, "mimi-content", name+".cbor")); err == nil {
				f.Add(raw)
			}
		}
	}
	alice, room := someone(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := content.Parse(raw)
		if err != nil {
			return
		}
		if again, err := m.Bytes(); err != nil || !bytes.Equal(raw, again) {
			t.Fatalf("%x encodes to %x, %v", raw, again, err)
		}
		if content.ID(alice, room, raw).IsZero() {
			t.Errorf("%x has no message ID", raw)
		}
		m.Kind()
		m.Text()
		m.Reactions()
		m.StatusReport()
		_ = m.Check(content.Context{Sender: alice, Room: room, Now: 1e12, Accepted: 1e12, RoomCreated: 1})
	})
}
