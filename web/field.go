package web

import "strconv"

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
		label: l.T("field.username"), value: f.Value, fault: l.Text(f.Error), autofocus: true, plain: true,
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
