package content

import (
	"strconv"
	"strings"
)

// htmlText returns the words of an HTML document, for a reader that shows plain text only. It is no HTML parser:
// whatever comes out is text, and is shown as text.
func htmlText(s string) string {
	var h htmlReader
	for s != "" {
		at := strings.IndexByte(s, '<')
		if at < 0 {
			h.words(s)
			break
		}
		h.words(s[:at])
		s = h.markup(s[at:])
	}
	return strings.TrimSpace(h.out.String())
}

type htmlReader struct {
	out   strings.Builder
	space bool // white space is due before the next word
	lines int  // as are so many line breaks
}

// words adds text, in which white space has no meaning but to separate.
func (h *htmlReader) words(s string) {
	s = unescape(s)
	for s != "" {
		end := strings.IndexAny(s, " \t\r\n\f")
		switch {
		case end == 0:
			h.space = true
			s = s[1:]
			continue
		case end < 0:
			end = len(s)
		}
		h.separate()
		h.out.WriteString(s[:end])
		s = s[end:]
	}
}

func (h *htmlReader) separate() {
	switch {
	case h.out.Len() == 0:
	case h.lines > 0:
		h.out.WriteString("\n\n"[:min(h.lines, 2)])
	case h.space:
		h.out.WriteByte(' ')
	}
	h.space, h.lines = false, 0
}

// markup reads what begins with '<' and returns what follows it.
func (h *htmlReader) markup(s string) (rest string) {
	if comment, ok := strings.CutPrefix(s, "<!--"); ok {
		_, rest, _ = strings.Cut(comment, "-->")
		return rest
	}
	if len(s) < 2 || !strings.ContainsRune("/!?", rune(s[1])) && !isLetter(s[1]) {
		h.words("<")
		return s[1:]
	}
	tag, rest := cutTag(s)
	name := tagName(tag)
	switch name {
	case "script", "style", "head", "title", "template":
		return skipElement(rest, name)
	case "br":
		h.lines++
	case "p", "/p", "h1", "/h1", "h2", "/h2", "h3", "/h3", "h4", "/h4", "h5", "/h5", "h6", "/h6", "blockquote",
		"/blockquote", "ul", "/ul", "ol", "/ol", "table", "/table", "pre", "/pre", "hr":
		h.lines = max(h.lines, 2)
	case "div", "/div", "li", "/li", "tr", "/tr":
		h.lines = max(h.lines, 1)
	case "td", "/td", "th", "/th":
		h.space = true
	case "img":
		h.words(attribute(tag, "alt"))
	}
	return rest
}

// cutTag splits s, which begins with '<', behind the tag. A '>' inside quotes does not end it.
func cutTag(s string) (tag, rest string) {
	var quote byte
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return s[1:i], s[i+1:]
		}
	}
	return s[1:], ""
}

// tagName returns the name of a tag in lower case, with the slash if it is an end tag.
func tagName(tag string) string {
	end := strings.IndexFunc(tag[1:], func(r rune) bool { return strings.ContainsRune(" \t\r\n\f/>", r) })
	if end < 0 {
		return strings.ToLower(tag)
	}
	return strings.ToLower(tag[:1+end])
}

// skipElement returns what follows the end tag of an element. Without one, the element reaches to the end.
func skipElement(s, name string) string {
	for {
		_, rest, found := strings.Cut(s, "</")
		if !found {
			return ""
		}
		s = rest
		if len(s) >= len(name) && strings.EqualFold(s[:len(name)], name) {
			_, rest, _ = strings.Cut(s, ">")
			return rest
		}
	}
}

// attribute returns the value of a quoted attribute of a tag.
func attribute(tag, name string) string {
	for {
		before, after, found := strings.Cut(tag, "=")
		if !found {
			return ""
		}
		words := strings.Fields(before)
		after = strings.TrimLeft(after, " \t\r\n\f")
		if after == "" || after[0] != '"' && after[0] != '\'' {
			tag = after
			continue
		}
		value, rest, _ := strings.Cut(after[1:], after[:1])
		if len(words) > 0 && strings.EqualFold(words[len(words)-1], name) {
			return value
		}
		tag = rest
	}
}

// unescape replaces the character references a text is likely to contain.
func unescape(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "&")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		const longest = 8
		end := strings.IndexByte(after[:min(len(after), longest)], ';')
		if end > 0 {
			if text, ok := reference(after[:end]); ok {
				b.WriteString(text)
				s = after[end+1:]
				continue
			}
		}
		b.WriteByte('&')
		s = after
	}
}

func reference(name string) (string, bool) {
	switch name {
	case "amp":
		return "&", true
	case "lt":
		return "<", true
	case "gt":
		return ">", true
	case "quot":
		return `"`, true
	case "apos":
		return "'", true
	case "nbsp":
		return "\u00a0", true
	}
	digits, numeric := strings.CutPrefix(name, "#")
	base := 10
	if hex, ok := strings.CutPrefix(strings.ToLower(digits), "x"); ok {
		digits, base = hex, 16
	}
	r, err := strconv.ParseUint(digits, base, 32)
	if !numeric || err != nil || r < ' ' || r > 0x10ffff {
		return "", false
	}
	return string(rune(r)), true
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
