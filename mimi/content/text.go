package content

import (
	"strings"
)

// Media types of text.
const (
	PlainText = "text/plain;charset=utf-8"
	Markdown  = "text/markdown;variant=GFM-MIMI"
)

// A format is how a text is written, from the one least to the one most suitable for showing it as plain text.
type format int

const (
	formatNone format = iota
	formatExternal
	formatHTML
	formatMarkdown
	formatGFM
	formatPlain
)

// Text returns the message as plain text, as well as it can be told: the best alternative of each part, Markdown as
// it was written, HTML without its tags, and what a file says about itself. It is empty if there is nothing in the
// message that can be put into words.
func (m *Message) Text() string {
	var texts []string
	for _, s := range m.Select(textRank) {
		text := ""
		switch body := s.Part.Body.(type) {
		case SinglePart:
			text = body.text()
		case ExternalPart:
			text = body.text()
		}
		if text != "" {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "\n")
}

// Text returns the message as plain text, see [Message.Text].
func Text(m *Message) string { return m.Text() }

// textRank ranks parts by how well they can be shown as text.
func textRank(p *Part) int {
	switch p.Disposition {
	case Profile, Icon, Preview:
		return 0
	}
	switch body := p.Body.(type) {
	case SinglePart:
		return int(textFormat(body.ContentType))
	case ExternalPart:
		return int(formatExternal)
	}
	return 0
}

func (s *SinglePart) text() string {
	text := strings.ToValidUTF8(string(s.Content), "\ufffd")
	if textFormat(s.ContentType) == formatHTML {
		return htmlText(text)
	}
	return text
}

// text describes the file or the service. The address is told only where it is of use to a person: what it leads to
// is not encrypted.
func (e *ExternalPart) text() string {
	text := e.Description
	if text == "" {
		text = e.Filename
	}
	web := strings.HasPrefix(e.URL, "https://") || strings.HasPrefix(e.URL, "http://")
	switch {
	case e.EncAlg != 0 || !web || text == e.URL:
		return text
	case text == "":
		return e.URL
	}
	return text + "\n" + e.URL
}

// textFormat returns the format of a content type.
func textFormat(contentType string) format {
	name, parameter := parseMediaType(contentType)
	switch strings.ToLower(parameter("charset")) {
	case "", "utf-8", "us-ascii":
	default:
		return formatNone
	}
	// draft-ietf-mimi-content-08, Section 7.1
	switch name {
	case "text/plain":
		return formatPlain
	case "text/markdown":
		if strings.EqualFold(parameter("variant"), "GFM-MIMI") {
			return formatGFM
		}
		return formatMarkdown
	case "text/html":
		return formatHTML
	}
	return formatNone
}

// parseMediaType returns the media type in lower case, and a function that returns the value of a parameter.
func parseMediaType(s string) (name string, parameter func(string) string) {
	name, rest, _ := strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(name)), func(wanted string) string {
		for rest := rest; rest != ""; {
			var attribute, value string
			attribute, value, rest = cutParameter(rest)
			if strings.EqualFold(attribute, wanted) {
				return value
			}
		}
		return ""
	}
}

// cutParameter takes one parameter off a list that is separated by semicolons. The value may be quoted.
func cutParameter(s string) (attribute, value, rest string) {
	end := strings.IndexAny(s, ";=")
	if end < 0 || s[end] == ';' {
		_, rest, _ = strings.Cut(s, ";")
		return "", "", rest
	}
	attribute, s = strings.TrimSpace(s[:end]), strings.TrimLeft(s[end+1:], " \t")
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ";")
		return attribute, strings.TrimSpace(value), rest
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			_, rest, _ = strings.Cut(s[i:], ";")
			return attribute, b.String(), rest
		case '\\':
			if i++; i == len(s) {
				return attribute, "", ""
			}
		}
		b.WriteByte(s[i])
	}
	return attribute, "", ""
}
