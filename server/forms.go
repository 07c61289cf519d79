package server

import (
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"kith/web"
)

const (
	minPassword    = 8
	maxPassword    = 1024 // octets: enough for any sentence, and no work for an attacker
	maxUsername    = 32
	maxDisplayName = 64
	maxForm        = 64 << 10
)

// joinForm is what a new person enters, with what is wrong with it.
type joinForm struct {
	username, displayName, password                string
	usernameFault, displayNameFault, passwordFault web.Text
}

// readForm parses a form of bounded size.
func readForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	return r.ParseForm()
}

func readJoinForm(r *http.Request) joinForm {
	f := joinForm{
		username:    strings.ToLower(strings.TrimSpace(r.PostForm.Get("username"))),
		displayName: strings.TrimSpace(r.PostForm.Get("display_name")),
		password:    r.PostForm.Get("password"),
	}
	f.usernameFault = checkUsername(f.username)
	f.displayNameFault = checkDisplayName(f.displayName)
	f.passwordFault = checkPassword(f.password)
	return f
}

func (f joinForm) ok() bool {
	return f.usernameFault.None() && f.displayNameFault.None() && f.passwordFault.None()
}

// view returns the fields as the pages show them again: without the password, and cut to what a page can bear.
func (f joinForm) view() (username, displayName, password web.Field) {
	return web.Field{Value: clip(f.username), Error: f.usernameFault}, web.Field{Value: clip(f.displayName), Error: f.displayNameFault},
		web.Field{Error: f.passwordFault}
}

// clip bounds what is echoed; a value that is not text is not echoed at all.
func clip(s string) string {
	if !utf8.ValidString(s) {
		return ""
	}
	runes := []rune(s)
	return string(runes[:min(len(runes), 2*maxDisplayName)])
}

// checkUsername says what is wrong with a username: it becomes part of a URI that people speak and type.
func checkUsername(name string) web.Text {
	switch {
	case name == "":
		return web.T("error.username_empty")
	case len(name) > maxUsername:
		return web.T("error.username_long", "max", strconv.Itoa(maxUsername))
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return web.T("error.username_invalid")
		}
	}
	return web.Text{}
}

// checkDisplayName says what is wrong with a name that others see: any script and emoji are welcome; what would change
// the text around it, or show nothing at all, is not.
func checkDisplayName(name string) web.Text {
	if !utf8.ValidString(name) {
		return web.T("error.name_invalid")
	}
	visible := false
	for _, c := range name {
		if unicode.IsControl(c) || unicode.Is(unicode.Co, c) || isBidiControl(c) || c == '\u2028' || c == '\u2029' || c == '\uFEFF' {
			return web.T("error.name_invalid")
		}
		visible = visible || unicode.IsGraphic(c) && !unicode.IsSpace(c) && !unicode.IsMark(c) && !isBlank(c)
	}
	switch {
	case !visible:
		return web.T("error.name_empty")
	case utf8.RuneCountInString(name) > maxDisplayName:
		return web.T("error.name_long", "max", strconv.Itoa(maxDisplayName))
	}
	return web.Text{}
}

// isBidiControl reports the characters that embed, override or isolate directions. The marks U+200E and U+200F, which
// people who write from right to left need, are none of them.
func isBidiControl(c rune) bool { return c >= 0x202A && c <= 0x202E || c >= 0x2066 && c <= 0x2069 }

// isBlank reports characters that count as letters or symbols and show nothing.
func isBlank(c rune) bool {
	return c == 0x2800 || c == 0x3164 || c == 0xFFA0 || c == 0x115F || c == 0x1160
}

func checkPassword(password string) web.Text {
	switch {
	case !utf8.ValidString(password) || len(password) > maxPassword:
		return web.T("error.password_long", "max", strconv.Itoa(maxPassword))
	case utf8.RuneCountInString(password) < minPassword:
		return web.T("error.password_short", "min", strconv.Itoa(minPassword))
	}
	return web.Text{}
}
