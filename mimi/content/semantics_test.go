package content_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"kith/mimi/content"
	"kith/mimi/internal/vectors"
)

func text(contentType, s string) content.Part {
	return content.Part{Disposition: content.Render, Body: content.SinglePart{ContentType: contentType, Content: []byte(s)}}
}

func multi(s content.Semantics, parts ...content.Part) content.Part {
	return content.Part{Disposition: content.Render, Body: content.MultiPart{Semantics: s, Parts: parts}}
}

func TestMC13PartIndex(t *testing.T) {
	m := parse(t, example(t, "multipart-3"))
	// The summary in draft-ietf-mimi-content-08, Appendix B.3.
	want := []string{
		"multi", "multi", "multi", "text/html;charset=utf-8 en", "text/html;charset=utf-8 fr", "image/gif ",
		"multi", "multi", "text/html;charset=utf-8 en", "text/html;charset=utf-8 fr", "image/png ",
	}
	levels := []int{1, 2, 3, 4, 4, 3, 2, 3, 4, 4, 3}
	var got []string
	m.Part.Walk(func(index, level int, p *content.Part) bool {
		if index != len(got) || level != levels[index] {
			t.Errorf("part %d at level %d comes as number %d", index, level, len(got))
		}
		switch body := p.Body.(type) {
		case content.SinglePart:
			got = append(got, body.ContentType+" "+p.Language)
		case content.MultiPart:
			got = append(got, "multi")
		}
		if at, ok := m.Part.At(index); !ok || at != p {
			t.Errorf("part %d is not found at its index", index)
		}
		return true
	})
	if !slices.Equal(got, want) {
		t.Errorf("parts are %q", got)
	}
	for uri, want := range map[string]bool{
		"cid:5@local.invalid": true, "cid:10@local.invalid": true, "cid:3@local.invalid": true,
		"cid:0@local.invalid": false, "cid:7@local.invalid": false, "cid:11@local.invalid": false,
		"cid:-1@local.invalid": false, "cid:05@local.invalid": false, "cid:+5@local.invalid": false,
		"cid:5@local.example": false, "5": false, "cid:@local.invalid": false,
		"cid:99999999999999999999@local.invalid": false,
	} {
		if _, ok := m.Resolve(uri); ok != want {
			t.Errorf("%s resolves: %v", uri, ok)
		}
	}
	if content.ContentID(5) != "cid:5@local.invalid" {
		t.Errorf("content ID is %s", content.ContentID(5))
	}
}

func TestMC12Select(t *testing.T) {
	plain, md, odd := text("text/plain", "p"), text("text/markdown", "m"), text("application/odd", "o")
	image := content.Part{Disposition: content.Inline, Body: content.SinglePart{ContentType: "image/png"}}
	null := content.Part{Body: content.NullPart{}}
	rank := func(p *content.Part) int {
		switch body := p.Body.(content.SinglePart); body.ContentType {
		case "text/plain":
			return 3
		case "text/markdown", "text/html":
			return 2
		case "image/png":
			return 1
		}
		return 0
	}
	for name, c := range map[string]struct {
		part content.Part
		want []int
	}{
		"one":                         {plain, []int{0}},
		"one that is not understood":  {odd, nil},
		"best":                        {multi(content.ChooseOne, odd, md, plain), []int{3}},
		"first of equals":             {multi(content.ChooseOne, odd, md, md), []int{2}},
		"none":                        {multi(content.ChooseOne, odd, odd), nil},
		"as many as possible":         {multi(content.ProcessAll, md, odd, null, plain), []int{1, 4}},
		"all of it":                   {multi(content.SingleUnit, md, null, plain), []int{1, 3}},
		"nothing of it":               {multi(content.SingleUnit, md, odd, plain), nil},
		"nothing of what is in it":    {multi(content.ProcessAll, multi(content.SingleUnit, plain, odd), md), []int{4}},
		"the unit that is understood": {multi(content.ChooseOne, multi(content.SingleUnit, plain, odd), multi(content.SingleUnit, md, md)), []int{5, 6}},
		"not twice":                   {multi(content.ProcessAll, text("text/html", `<img src="cid:3@local.invalid">`), md, image), []int{1, 2}},
		"not what is not chosen":      {multi(content.ProcessAll, multi(content.ChooseOne, text("text/html", "cid:4@local.invalid"), plain), image), []int{3, 4}},
	} {
		m := &content.Message{Part: c.part}
		var got []int
		for _, s := range m.Select(rank) {
			got = append(got, s.Index)
			if p, _ := m.Part.At(s.Index); p != s.Part {
				t.Errorf("%s: part %d has another index", name, s.Index)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestMC15Text(t *testing.T) {
	for _, c := range []struct{ contentType, content, want string }{
		{"text/plain;charset=utf-8", "a < b\n\nc", "a < b\n\nc"},
		{"text/plain", "x", "x"},
		{"Text/Plain; Charset=UTF-8", "x", "x"},
		{`text/plain;format=";charset=latin1";charset="utf\-8"`, "x", "x"},
		{"text/plain;charset=us-ascii", "x", "x"},
		{"text/plain;charset=iso-8859-1", "x", ""},
		{"text/plain;charset=utf-8", "a\xffb", "a\ufffdb"},
		{"text/markdown;variant=GFM-MIMI", "**x**", "**x**"},
		{"text/markdown;variant=CommonMark", "# x", "# x"},
		{"text/markdown", "*x*", "*x*"},
		{"text/html;charset=utf-8", "<p>a  &lt;b&gt;<br>c</p>", "a <b>\nc"},
		{"text/calendar", "x", ""},
		{"image/png", "x", ""},
		{"", "x", ""},
	} {
		m := &content.Message{Part: text(c.contentType, c.content)}
		if got := m.Text(); got != c.want {
			t.Errorf("%s %q is %q, want %q", c.contentType, c.content, got, c.want)
		}
	}
	alternatives := multi(content.ChooseOne, text("text/html", "h"), text("text/markdown", "m"), text(content.Markdown, "g"))
	if got := (&content.Message{Part: alternatives}).Text(); got != "g" {
		t.Errorf("the best alternative is %q", got)
	}
	preview := text(content.PlainText, "preview")
	preview.Disposition = content.Preview
	if got := content.Text(&content.Message{Part: multi(content.ProcessAll, text("text/plain", "a"), preview)}); got != "a" {
		t.Errorf("with a preview the text is %q", got)
	}
	unknown := text(content.PlainText, "x")
	unknown.Disposition = 77
	if got := (&content.Message{Part: unknown}).Text(); got != "x" || unknown.Disposition.Known() != content.Render {
		t.Errorf("a part of unknown disposition says %q", got)
	}
	file := content.ExternalPart{ContentType: "image/png", URL: "https://a.example/secret", EncAlg: 1, Filename: "cat.png"}
	if got := (&content.Message{Part: content.Part{Disposition: content.Attachment, Body: file}}).Text(); got != "cat.png" {
		t.Errorf("a file is described as %q", got)
	}
}

func TestMC15HTMLAsText(t *testing.T) {
	for html, want := range map[string]string{
		"":                           "",
		"plain":                      "plain",
		"a&amp;b &#65;&#x42; &nbsp;": "a&b AB \u00a0",
		"a &bogus; & &#0; &#xd800;":  "a &bogus; & &#0; \ufffd",
		"1 < 2 <3":                   "1 < 2 <3",
		"<b>bold</b>ly":              "boldly",
		"<h1>T</h1><p>a</p><p>b</p>": "T\n\na\n\nb",
		"<ul><li>a</li><li>b</li>":   "a\nb",
		"<table><tr><td>a</td><td>b": "a b",
		"a<br/><br>b":                "a\n\nb",
		"<script>evil()</script>x":   "x",
		"<STYLE>p{}</style >x":       "x",
		"<script>a</scr":             "",
		"x<!-- <b> -->y":             "xy",
		"x<!-- never ends":           "x",
		"x<a href='>'>y</a>":         "xy",
		"x<a href=\"":                "x",
		`<img src="x" alt="a cat">`:  "a cat",
		"<img src=x alt='c'>":        "c",
		"<!DOCTYPE html><?xml?>x":    "x",
		"&lt;script&gt;":             "<script>",
	} {
		if got := (&content.Message{Part: text("text/html", html)}).Text(); got != strings.TrimSpace(want) {
			t.Errorf("%q is %q, want %q", html, got, want)
		}
	}
}

func TestMC9Reactions(t *testing.T) {
	if got := parse(t, example(t, "multipart-2")).Reactions(); !slices.Equal(got, []string{"❤", "🥳", "🤞"}) {
		t.Errorf("reactions are %q", got)
	}
	for s, want := range map[string]bool{
		"❤": true, "❤️": true, "👩🏽‍⚕️": true, "🇩🇪": true, "🏴󠁧󠁢󠁥󠁮󠁧󠁿": true, "1️⃣": true, "a": true, "é": true, "+": true,
		"": false, "❤❤": false, "🇩🇪🇫🇷": false, "ok": false, " ": false, "\n": false, "❤ ": false, "\u200d": false,
		"❤\u200d": false, "\u0301": false, "👍\x00": false, "\xff": false, "❤\u200d\n": false,
		"a" + strings.Repeat("\u0301", 40): false,
	} {
		part := text(content.PlainText, s)
		part.Disposition = content.Reaction
		m := &content.Message{Part: part}
		if got := len(m.Reactions()) == 1; got != want {
			t.Errorf("%q is a reaction: %v", s, got)
		}
	}
	id := content.MessageID{1}
	part := text("image/png", "x")
	part.Disposition = content.Reaction
	if m := (&content.Message{InReplyTo: &id, Part: part}); m.Kind() != content.KindReaction || m.Reactions() != nil {
		t.Error("a picture is taken for a symbol")
	}
	part = text(content.PlainText, "❤")
	part.Disposition = content.Reaction
	if m := (&content.Message{Part: part}); m.Kind() != content.KindMessage {
		t.Error("a reaction to nothing is not shown")
	}
	alice, room := someone(t)
	if _, err := content.NewReaction(zeros{}, alice, room, id, "two words"); err == nil {
		t.Error("words are sent as a reaction")
	}
}

func TestMC10Expiration(t *testing.T) {
	const now = 1644387225019
	alice, room := someone(t)
	check := func(e content.Expiration) bool {
		m := &content.Message{Expires: &e}
		return m.Check(content.Context{Sender: alice, Room: room, Now: now, Accepted: now - 1000}) == nil
	}
	for _, c := range []struct {
		e    content.Expiration
		want bool
	}{
		{content.Expiration{Relative: true, Time: 0}, true},
		{content.Expiration{Relative: true, Time: 365 * 24 * 3600}, true},
		{content.Expiration{Relative: true, Time: 367 * 24 * 3600}, false},
		{content.Expiration{Time: now / 1000}, true},
		{content.Expiration{Time: now/1000 + 365*24*3600}, true},
		{content.Expiration{Time: now/1000 + 367*24*3600}, false},
		{content.Expiration{Time: now/1000 - 365*24*3600}, true},
		{content.Expiration{Time: now/1000 - 367*24*3600}, false},
		{content.Expiration{Time: 0}, false},
	} {
		if got := check(c.e); got != c.want {
			t.Errorf("%+v: %v", c.e, got)
		}
	}
	e := content.Expiration{Relative: true, Time: 10}
	if _, due := e.DeleteAt(0); due {
		t.Error("an unread message is due")
	}
	if at, due := e.DeleteAt(now); !due || at != now+10000 {
		t.Errorf("due at %d", at)
	}
	if at, due := e.DeleteAt(1<<64 - 1); !due || at != 1<<64-1 {
		t.Errorf("due at %d", at)
	}
	if at, due := (&content.Expiration{Time: 5}).DeleteAt(0); !due || at != 5000 {
		t.Errorf("due at %d", at)
	}
	if _, due := (*content.Expiration)(nil).DeleteAt(now); due {
		t.Error("a message that does not expire is due")
	}
}

func TestMC18Contradictions(t *testing.T) {
	const now = 1644387225019
	alice, room := someone(t)
	m, err := content.NewText(zeros{}, alice, room, "x")
	if err != nil {
		t.Fatal(err)
	}
	good := content.Context{Sender: alice, Room: room, Now: now, Accepted: now, RoomCreated: now - 1}
	if err := m.Check(good); err != nil {
		t.Error(err)
	}
	if err := (&content.Message{}).Check(good); err != nil {
		t.Errorf("without extensions: %v", err)
	}
	for name, change := range map[string]func(*content.Context, *content.Message){
		"another sender": func(c *content.Context, m *content.Message) {
			m.Extensions[0].Value = content.TextValue("mimi://b.example/u/bob")
		},
		"another room": func(c *content.Context, m *content.Message) {
			m.Extensions[1].Value = content.TextValue("mimi://b.example/r/x")
		},
		"no URI": func(c *content.Context, m *content.Message) { m.Extensions[0].Value = content.TextValue("") },
		"future": func(c *content.Context, m *content.Message) { c.Accepted = now + 10*60*1000 },
		"before the room": func(c *content.Context, m *content.Message) {
			c.RoomCreated = now + 1
		},
	} {
		c, changed := good, *m
		changed.Extensions = slices.Clone(m.Extensions)
		change(&c, &changed)
		if changed.Check(c) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	ahead := good
	ahead.Accepted = now + 60*1000
	if err := m.Check(ahead); err != nil {
		t.Errorf("a minute ahead: %v", err)
	}
	if err := m.Check(content.Context{Sender: alice, Room: room}); err != nil {
		t.Errorf("without times: %v", err)
	}
}

func TestMC11Order(t *testing.T) {
	a, b := content.MessageID{1, 1}, content.MessageID{1, 2}
	if !content.Before(1, b, 2, a) || content.Before(2, a, 1, b) || !content.Before(1, a, 1, b) || content.Before(1, b, 1, a) || content.Before(1, a, 1, a) {
		t.Error("messages sort wrongly")
	}
}

func TestMC5ReplyLoops(t *testing.T) {
	id := func(n byte) content.MessageID { return content.MessageID{1, n} }
	answers := map[content.MessageID]content.MessageID{id(2): id(1), id(3): id(2), id(5): id(6), id(6): id(7), id(7): id(5)}
	parent := func(m content.MessageID) (content.MessageID, bool) { p, ok := answers[m]; return p, ok }
	for _, c := range []struct {
		id, to byte
		want   bool
	}{{4, 3, false}, {1, 3, true}, {1, 1, true}, {8, 5, true}, {4, 9, false}} {
		if got := content.ReplyLoop(id(c.id), id(c.to), parent); got != c.want {
			t.Errorf("%d answering %d: %v", c.id, c.to, got)
		}
	}
}

func TestExtensions(t *testing.T) {
	var x content.Extensions
	for _, k := range []content.Key{{Text: "b"}, {Int: -1}, {Int: 256}, {Text: "aa"}, {Int: 24}, {Int: 3}, {Text: "a"}} {
		x = x.With(k, content.UintValue(7))
	}
	y := x.With(content.Key{Int: 24}, content.BytesValue([]byte("new")))
	// RFC 8949, Section 4.2.1
	want := []content.Key{{Int: 3}, {Int: 24}, {Int: 256}, {Int: -1}, {Text: "a"}, {Text: "b"}, {Text: "aa"}}
	for i, e := range y {
		if e.Key != want[i] {
			t.Errorf("key %d is %v, want %v", i, e.Key, want[i])
		}
	}
	if v, _ := x.Get(content.Key{Int: 24}); !bytes.Equal(v, content.UintValue(7)) {
		t.Error("With changed its receiver")
	}
	v, _ := y.Get(content.Key{Int: 24})
	if b, ok := v.Bytes(); !ok || string(b) != "new" {
		t.Errorf("value is %q", b)
	}
	if _, ok := v.Text(); ok {
		t.Error("octets are taken for text")
	}
	if n, ok := content.UintValue(300).Uint(); !ok || n != 300 {
		t.Errorf("number is %d", n)
	}
	if _, ok := y.Get(content.Key{Int: 9}); ok {
		t.Error("an absent key is found")
	}
}

func TestST1StatusReports(t *testing.T) {
	alice, room := someone(t)
	// The example of draft-mahy-mimi-message-status-01, Section 5.
	report := content.StatusReport{
		{idOf(t, "original"), content.StatusRead}, {idOf(t, "reply"), content.StatusRead},
		{idOf(t, "mention"), content.StatusUnread}, {idOf(t, "expiring"), content.StatusExpired},
	}
	m, err := content.NewStatus(zeros{}, alice, room, report)
	if err != nil {
		t.Fatal(err)
	}
	m = parse(t, encode(t, m))
	got, ok := m.StatusReport()
	if !ok || !slices.Equal(got, report) || m.Kind() != content.KindStatus || m.Part.Disposition != content.Unspecified {
		t.Errorf("report became %v", got)
	}
	if m.Text() != "" {
		t.Errorf("a report says %q", m.Text())
	}
	if _, ok := parse(t, vectors.Open(t, "mimi-content/original.cbor")).StatusReport(); ok {
		t.Error("a message is taken for a report")
	}
	if _, err := content.NewStatus(zeros{}, alice, room, nil); err == nil {
		t.Error("a report of nothing was made")
	}
	raw := report.Bytes()
	for n := range raw {
		if _, err := content.ParseStatusReport(raw[:n]); err == nil {
			t.Errorf("the first %d octets are taken for a report", n)
		}
	}
}

func TestST1MalformedReports(t *testing.T) {
	id := "5820" + "01" + strings.Repeat("aa", 31)
	for s, want := range map[string]bool{
		"80": true, "8182" + id + "02": true, "8182" + id + "18ff": true, "8182" + id + "190100": false,
		"8182" + id + "1802": false, "8183" + id + "0202": false, "8181" + id: false, "8182f602": false,
		"8182582002" + strings.Repeat("aa", 31) + "02": false, "8182" + id + "0200": false, "9bffffffffffffffff": false,
		"9a00ffffff8182" + id: false, "9f82" + id + "02ff": false, "": false, "a0": false,
	} {
		raw := pieces{s}.raw(t)[1:]
		report, err := content.ParseStatusReport(raw)
		if (err == nil) != want {
			t.Errorf("%s: %v", s, err)
		}
		if err == nil && !bytes.Equal(report.Bytes(), raw) {
			t.Errorf("%s: encodes differently", s)
		}
	}
}

func TestST2Transitions(t *testing.T) {
	// Rows are the old status, columns the new one: unread, delivered, read, expired, deleted, hidden, error, 7.
	for old, row := range []string{"ynyyyyny", "yyyyyyyy", "ynyyyyny", "nnnyynnn", "nnnnynnn", "ynyyyyny", "yyyyyyyy", "yyyyyyyy"} {
		for next := range content.Status(8) {
			if got := next.Follows(content.Status(old)); got != (row[next] == 'y') {
				t.Errorf("%d after %d: %v", next, old, got)
			}
		}
	}
}

func FuzzParseStatusReport(f *testing.F) {
	f.Add(content.StatusReport{{content.MessageID{1}, content.StatusRead}}.Bytes())
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if report, err := content.ParseStatusReport(raw); err == nil && !bytes.Equal(report.Bytes(), raw) {
			t.Errorf("%x encodes to %x", raw, report.Bytes())
		}
	})
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"<p>a &amp; b</p>", "<!-- x -->", "<img alt='a' src=\"b\">", "<script>x</script>y", "cid:1@local.invalid"} {
		f.Add("text/html", s)
	}
	f.Add(`text/plain;charset="utf-8"`, "x")
	f.Fuzz(func(t *testing.T, contentType, s string) {
		m := &content.Message{Part: multi(content.ProcessAll, text(contentType, s), text("text/html", s))}
		if got := m.Text(); !utf8.ValidString(got) || len(got) > 8*len(s)+1 {
			t.Errorf("%q becomes %q", s, got)
		}
		for _, r := range m.Reactions() {
			if r != s {
				t.Errorf("%q is a reaction in %q", r, s)
			}
		}
	})
}
