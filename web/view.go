package web

import "time"

// Paths and names that the pages and the server share.
const (
	// LanguageCookie holds the chosen language ("en", "de"). The chat client
	// reads and writes it too, so it is not HttpOnly.
	LanguageCookie = "kith_lang"
	// ThemeCookie holds "light" or "dark"; absent means: as the system says.
	ThemeCookie = "kith_theme"
)

// Text is a message of the catalogue with the values for its placeholders.
// The zero Text is no message.
type Text struct {
	Key  string
	Args []string // name, value, name, value …
}

// T names a message: T("error.password_short", "min", "10").
func T(key string, args ...string) Text { return Text{Key: key, Args: args} }

// None reports whether there is nothing to say.
func (t Text) None() bool { return t.Key == "" }

// Page is what every page needs.
type Page struct {
	Lang  Lang   // see LanguageOf
	Theme string // "", "light" or "dark"; see ThemeOf
	Site  string // the domain of this server, shown as its name
	Path  string // path of this page, for the language links; "" for none
}

// Field is one input of a form: what was entered, and what is wrong with it.
// Passwords keep no value.
type Field struct {
	Value string
	Error Text
}

// SetupView is the page behind the one-time link that makes the first
// administrator.
type SetupView struct {
	Page
	Action      string // where the form is posted: the link itself
	Username    Field
	DisplayName Field
	Password    Field
	MinPassword int  // stated beside the field
	Error       Text // about the form as a whole
}

// InviteView is the page behind an invitation.
type InviteView struct {
	Page
	Action      string
	From        string // display name of the person who invites, or ""
	Username    Field
	DisplayName Field
	Password    Field
	MinPassword int
	Error       Text
}

// SignInView is the sign-in page.
type SignInView struct {
	Page
	Action   string
	Username Field
	Password Field
	Error    Text // wrong name or password, too many attempts …
	Notice   Text // signed out, account made …
}

// MessageView is a page that only says something: a link that is no longer
// valid, nothing here, a fault.
type MessageView struct {
	Page
	Title  Text
	Body   Text
	Link   string // where to go on, or ""
	Action Text   // text of that link
}

// UserRow is one account in the list of administrators.
type UserRow struct {
	Username    string
	DisplayName string
	Admin       bool
	Disabled    bool
	Me          bool
	Joined      time.Time
	LastSeen    time.Time // zero: never
	Devices     int
}

// InviteRow is an invitation that is still open. The link itself is shown once
// only, when it is made.
type InviteRow struct {
	By      string
	Created time.Time
	Expires time.Time
}

// AdminView is the page of the administrator.
type AdminView struct {
	Page
	Name          string // the administrator's display name
	InviteAction  string // where "create invitation" is posted
	SignOutAction string
	PeersLink     string    // the page of other providers
	InviteLink    string    // the link just made, or ""
	InviteExpires time.Time // of InviteLink
	Users         []UserRow
	Invites       []InviteRow
	Certificates  []CertificateRow
	Reports       ReportsView
	Error         Text
	Notice        Text
}

// CertificateRow is a name of this server and its certificate.
type CertificateRow struct {
	Name    string
	Expires time.Time // zero: there is none yet
	Problem Text      // none if all is well
	Next    time.Time // when the server tries again, if it does
}

// ChatView is the document of the chat client. Its values come from the build,
// never from a request.
type ChatView struct {
	Asset   func(name string) string // URL of a built asset
	Modules []string                 // names of the ES modules to load ahead
}
