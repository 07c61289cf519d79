package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lang is a language of the catalogue, as a BCP 47 tag.
type Lang string

// The languages there are.
const (
	English Lang = "en"
	German  Lang = "de"
)

// Languages lists the languages in the order in which they are offered.
func Languages() []Lang { return []Lang{English, German} }

var catalogue = map[Lang]map[string]string{English: english, German: german}

// LanguageOf picks the language of a request: ?lang=, else the cookie, else
// what the browser prefers, else English.
func LanguageOf(r *http.Request) Lang {
	if l := Lang(r.URL.Query().Get("lang")); l.known() {
		return l
	}
	if c, err := r.Cookie(LanguageCookie); err == nil && Lang(c.Value).known() {
		return Lang(c.Value)
	}
	return accepted(r.Header.Get("Accept-Language"))
}

// RememberLanguage sets the cookie if the request chose a language by ?lang=.
// Call it before the page is written.
func RememberLanguage(w http.ResponseWriter, r *http.Request) {
	l := Lang(r.URL.Query().Get("lang"))
	if !l.known() {
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: LanguageCookie, Value: string(l), Path: "/", MaxAge: 365 * 24 * 3600,
		SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
	})
}

// ThemeOf returns the theme that the cookie asks for, "" for the system's.
func ThemeOf(r *http.Request) string {
	if c, err := r.Cookie(ThemeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

// accepted reads an Accept-Language header: the known language with the
// highest weight, the earlier one among equals.
func accepted(header string) Lang {
	best, bestQ := English, 0.0
	for part := range strings.SplitSeq(header, ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				continue
			}
			q = f
		}
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if l := Lang(primary); l.known() && q > bestQ {
			best, bestQ = l, q
		}
	}
	return best
}

func (l Lang) known() bool { return slices.Contains(Languages(), l) }

// Dir is the direction of the language, for <html dir>.
func (l Lang) Dir() string {
	switch l {
	case "ar", "fa", "he", "ur":
		return "rtl"
	}
	return "ltr"
}

// Text returns the sentence for t: in l, else in English. A key that is in no
// catalogue comes back as itself, so that a fault is visible and not a hole.
func (l Lang) Text(t Text) string {
	if t.None() {
		return ""
	}
	s, ok := catalogue[l][t.Key]
	if !ok {
		if s, ok = english[t.Key]; !ok {
			return t.Key
		}
	}
	if len(t.Args) == 0 {
		return s
	}
	pairs := make([]string, 0, len(t.Args))
	for i := 0; i+1 < len(t.Args); i += 2 {
		pairs = append(pairs, "{"+t.Args[i]+"}", t.Args[i+1])
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// T is Text(T(key, args...)).
func (l Lang) T(key string, args ...string) string { return l.Text(T(key, args...)) }

// Count picks key.one or key.other by n and fills in {n}.
func (l Lang) Count(key string, n int) string {
	form := ".other"
	if n == 1 {
		form = ".one"
	}
	return l.T(key+form, "n", strconv.Itoa(n))
}

// Date writes a day the way the language does.
func (l Lang) Date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if l == German {
		return t.Format("2.1.2006")
	}
	return t.Format("2 Jan 2006")
}

// DateTime writes a moment the way the language does, in UTC and saying so.
func (l Lang) DateTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return l.Date(t.UTC()) + t.UTC().Format(", 15:04") + " UTC"
}

// ClientCatalogue returns the messages of the chat client, every language: the
// keys under chat., error. and notice. The static build makes a module of it.
func ClientCatalogue() map[Lang]map[string]string {
	out := map[Lang]map[string]string{}
	for lang, all := range catalogue {
		out[lang] = map[string]string{}
		for key, text := range all {
			if clientKey(key) {
				out[lang][key] = text
			}
		}
	}
	return out
}

func clientKey(key string) bool {
	area, _, _ := strings.Cut(key, ".")
	return area == "chat" || area == "error" || area == "notice" || area == "lang"
}
