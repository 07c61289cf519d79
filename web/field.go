package web

import (
	"slices"
	"strconv"
)

// fieldView is a Field with the words and attributes around it.
type fieldView struct {
	id, name, kind, autocomplete string
	label, hint, value, fault    string
	min                          string
	autofocus, user, plain       bool
}

func (f fieldView) describedBy() string {
	by := ""
	if f.hint != "" {
		by = f.id + "-hint"
	}
	if f.fault != "" {
		by += " " + f.id + "-fault"
	}
	return by
}

func usernameField(l Lang, page string, f Field, signIn bool) fieldView {
	v := fieldView{
		id: page + "-username", name: "username", kind: "text", autocomplete: "username",
		label: l.T("field.username"), value: f.Value, fault: l.Text(f.Error), plain: true,
	}
	if !signIn {
		v.hint = l.T("field.username_how")
	}
	return v
}

func displayNameField(l Lang, page string, f Field) fieldView {
	return fieldView{
		id: page + "-display-name", name: "display_name", kind: "text", autocomplete: "name",
		label: l.T("field.name"), hint: l.T("field.name_how"), value: f.Value, fault: l.Text(f.Error), user: true,
	}
}

// passwordField never gives a value back.
func passwordField(l Lang, page string, f Field, minimum int) fieldView {
	v := fieldView{
		id: page + "-password", name: "password", kind: "password", autocomplete: "current-password",
		label: l.T("field.password"), fault: l.Text(f.Error),
	}
	if minimum > 0 {
		v.autocomplete, v.min = "new-password", strconv.Itoa(minimum)
		v.hint = l.T("field.password_how", "min", v.min)
	}
	return v
}

func (v SetupView) fields() []fieldView {
	return focusFirst(usernameField(v.Lang, "setup", v.Username, false), displayNameField(v.Lang, "setup", v.DisplayName),
		passwordField(v.Lang, "setup", v.Password, v.MinPassword))
}

func (v InviteView) fields() []fieldView {
	return focusFirst(displayNameField(v.Lang, "invite", v.DisplayName), usernameField(v.Lang, "invite", v.Username, false),
		passwordField(v.Lang, "invite", v.Password, v.MinPassword))
}

func (v SignInView) fields() []fieldView {
	return focusFirst(usernameField(v.Lang, "signin", v.Username, true), passwordField(v.Lang, "signin", v.Password, 0))
}

// focusFirst puts the cursor where the person has to go on: into the first
// field with a fault, else the first that is empty.
func focusFirst(fields ...fieldView) []fieldView {
	at := slices.IndexFunc(fields, func(f fieldView) bool { return f.fault != "" })
	if at < 0 {
		at = slices.IndexFunc(fields, func(f fieldView) bool { return f.value == "" })
	}
	if at >= 0 {
		fields[at].autofocus = true
	}
	return fields
}
