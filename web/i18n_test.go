package web

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kith/mimi/policy"
)

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

func placeholders(s string) []string {
	found := placeholder.FindAllString(s, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

func TestCatalogueIsComplete(t *testing.T) {
	for _, lang := range Languages() {
		for key, text := range english {
			other, ok := catalogue[lang][key]
			switch {
			case !ok:
				t.Errorf("%s: no %q", lang, key)
			case strings.TrimSpace(other) == "":
				t.Errorf("%s: %q is empty", lang, key)
			case !slices.Equal(placeholders(text), placeholders(other)):
				t.Errorf("%s: %q has placeholders %v, English %v", lang, key, placeholders(other), placeholders(text))
			}
		}
		for key := range catalogue[lang] {
			if _, ok := english[key]; !ok {
				t.Errorf("%s: %q is not in the reference catalogue", lang, key)
			}
			if one, ok := strings.CutSuffix(key, ".one"); ok && catalogue[lang][one+".other"] == "" {
				t.Errorf("%s: %q has no .other", lang, key)
			}
		}
	}
}

// The codes that the engine reports must be sentences.
func TestCatalogueHasEngineCodes(t *testing.T) {
	for _, code := range []string{"offline", "not_found", "no_devices", "not_allowed", "too_long", "empty",
		"rate_limited", "disk_full", "internal", "signed_out", "conflict", "unsupported", "insecure", "storage",
		"engine_load", "engine_stopped", "interrupted", "link_gone", "yourself", "foreign_room", "incompatible"} {
		if english["error."+code] == "" {
			t.Errorf("no sentence for error code %q", code)
		}
	}
	for _, code := range []string{"created", "added", "removed", "left", "renamed", "rejoined",
		"joined", "kicked", "detached", "banned", "unbanned", "role", "described", "policy", "link_made", "link_revoked"} {
		if english["notice."+code] == "" || english["notice."+code+"_you"] == "" {
			t.Errorf("no sentence for notice code %q", code)
		}
	}
}

// The roles of our templates have words, and so has every template.
func TestCatalogueHasRoles(t *testing.T) {
	for _, kind := range []policy.Template{policy.Family, policy.Moderated, policy.Announcement, policy.Firm} {
		for _, role := range kind.Roles("mimi://a.example", "mimi://b.example") {
			hidden := role.RoleIndex == policy.RoleNone || role.RoleIndex == policy.RolePolicyEnforcer
			if english["chat.role_"+role.RoleName] == "" && !hidden {
				t.Errorf("no word for the role %q", role.RoleName)
			}
		}
	}
	for _, key := range []string{"remove", "kick", "ban", "unban"} { // what may be done to members, and is asked before
		for _, form := range []string{"", "_name", "_ask", "_body"} {
			if english["chat."+key+form] == "" && (key != "unban" || form == "" || form == "_name") {
				t.Errorf("no words for %q", key+form)
			}
		}
	}
	for _, kind := range roomKinds {
		if english["chat.kind_"+kind] == "" || english["chat.kind_"+kind+"_how"] == "" {
			t.Errorf("no words for the kind %q", kind)
		}
	}
	for _, rule := range roomSwitches {
		if english["chat.rule_"+rule] == "" || english["chat.rule_"+rule+"_how"] == "" {
			t.Errorf("no words for the rule %q", rule)
		}
	}
	for _, time := range expiryTimes {
		if english["chat.rule_expire_"+time.name] == "" {
			t.Errorf("no words for the time %q", time.name)
		}
	}
}

func TestLanguageOf(t *testing.T) {
	for _, tc := range []struct{ url, cookie, accept, want string }{
		{"/", "", "", "en"},
		{"/?lang=de", "en", "en", "de"},
		{"/?lang=xx", "de", "", "de"},
		{"/", "de", "en-US,en;q=0.9", "de"},
		{"/", "xx", "de-AT,de;q=0.9,en;q=0.8", "de"},
		{"/", "", "fr,de;q=0.5,en;q=0.7", "en"},
		{"/", "", "fr;q=1, de;q=x, *", "en"},
		{"/", "", "en;q=0,de;q=0.1", "de"},
		{"/", "", strings.Repeat("de;q=,", 4000), "en"},
	} {
		r := httptest.NewRequest(http.MethodGet, tc.url, nil)
		r.Header.Set("Accept-Language", tc.accept)
		if tc.cookie != "" {
			r.AddCookie(&http.Cookie{Name: LanguageCookie, Value: tc.cookie})
		}
		if got := LanguageOf(r); string(got) != tc.want {
			t.Errorf("LanguageOf(%q, cookie %q, %.40q) = %q, want %q", tc.url, tc.cookie, tc.accept, got, tc.want)
		}
	}
}

func TestRememberLanguageOnlyWhenAsked(t *testing.T) {
	for url, want := range map[string]int{"/": 0, "/?lang=xx": 0, "/?lang=de": 1} {
		w := httptest.NewRecorder()
		RememberLanguage(w, httptest.NewRequest(http.MethodGet, url, nil))
		if got := len(w.Result().Cookies()); got != want {
			t.Errorf("%s: %d cookies, want %d", url, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{English.Text(Text{}), ""},
		{English.T("error.password_short", "min", "10"), "At least 10 characters, please."},
		{German.T("error.password_short", "min", "10"), "Bitte mindestens 10 Zeichen."},
		{German.T("no.such.key"), "no.such.key"},
		{Lang("xx").T("signin.submit"), "Sign in"},
		{English.Count("admin.people", 1), "1 person has an account here."},
		{English.Count("admin.people", 0), "0 people have an account here."},
		{English.T("invite.from", "name", "{name}"), "{name} invites you to chat here."},
		{English.T("invite.from", "name"), "{name} invites you to chat here."},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

func TestClientCatalogueLeavesPagesOut(t *testing.T) {
	c := ClientCatalogue()
	if c[German]["chat.send"] != "Senden" || c[English]["error.offline"] == "" {
		t.Error("client messages are missing")
	}
	if _, ok := c[English]["setup.title"]; ok {
		t.Error("page messages are in the client catalogue")
	}
}
