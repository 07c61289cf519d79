package mimi_test

import (
	"strings"
	"testing"

	"kith/mimi"
)

// accepts tells which of the five parsers take s.
func accepts(s string) (kinds string) {
	if _, err := mimi.ParseProviderID(s); err == nil {
		kinds += "P"
	}
	if _, err := mimi.ParseUserID(s); err == nil {
		kinds += "U"
	}
	if _, err := mimi.ParseClientID(s); err == nil {
		kinds += "C"
	}
	if _, err := mimi.ParseRoomID(s); err == nil {
		kinds += "R"
	}
	if _, err := mimi.ParseGroupID(s); err == nil {
		kinds += "G"
	}
	return kinds
}

func TestID1FirstSegmentFixesTheKind(t *testing.T) {
	for s, want := range map[string]string{
		"mimi://a.example":                                      "P",
		"mimi://localhost":                                      "P",
		"mimi://xn--bcher-kva.example":                          "P",
		"mimi://10.in-addr.example1":                            "P",
		"mimi://a.example/u/alice":                              "U",
		"mimi://irc.example.com/u/jcapulet1583@example.com":     "U",
		"mimi://a.example/p/crazykoala75":                       "U",
		"mimi://a.example/d/ClientA1":                           "C",
		"mimi://a.example/d/alice/ClientA1":                     "C",
		"mimi://example.com/d/SvPfLlwBQi-6oddVRrkqpw/04c7":      "C",
		"mimi://a.example/d/juliet/balcony%20left":              "C",
		"mimi://a.example/r/clubhouse":                          "R",
		"mimi://a.example/r/caf%C3%A9":                          "R",
		"mimi://a.example/g/TII9t5viBrXiXc":                     "G",
		"mimi://a.example/t/engineering":                        "",
		"mimi://a.example/x/alice":                              "",
		"mimi://a.example/u/alice/phone":                        "",
		"mimi://a.example/r/a/b":                                "",
		"mimi://a.example/d/a/b/c":                              "",
		"mimi://a.example/u":                                    "",
		"mimi://a.example/uu/alice":                             "",
		"mimi://a.example/U/alice":                              "",
		"mimi://" + strings.Repeat("a.", 126) + "x/u/y":         "U",
		"mimi://a.example/u/" + strings.Repeat("x", 512-19):     "U",
		"mimi://a.example/u/" + strings.Repeat("x", 512-19+1):   "",
		"mimi://" + strings.Repeat("a", 63) + ".example":        "P",
		"mimi://" + strings.Repeat("a", 64) + ".example":        "",
		"mimi://" + strings.Repeat("a.", 126) + "xy":            "",
		"mimi://a.example/u/sub-delims!$&'()*+,;=:@unreserved~": "U",
	} {
		if got := accepts(s); got != want {
			t.Errorf("%q is taken as %q, want %q", s, got, want)
		}
	}
}

func TestID3OnlyTheCanonicalForm(t *testing.T) {
	for _, s := range []string{
		"", "mimi", "mimi:", "mimi:/", "mimi://", "mimi:///u/alice", "//a.example/u/alice", "a.example/u/alice",
		"MIMI://a.example/u/alice", "https://a.example/u/alice", "mimi:a.example/u/alice", " mimi://a.example",
		"mimi://A.example/u/alice", "mimi://a.example./u/alice", "mimi://.a.example/u/alice",
		"mimi://a..example/u/alice", "mimi://-a.example", "mimi://a-.example", "mimi://a_b.example",
		"mimi://bücher.example/u/alice", "mimi://a.example:443/u/alice", "mimi://a.example:/u/alice",
		"mimi://alice@a.example/u/alice", "mimi://@a.example", "mimi://127.0.0.1/u/alice", "mimi://1/u/alice",
		"mimi://[::1]/u/alice", "mimi://a%2Eexample/u/alice",
		"mimi://a.example/", "mimi://a.example//u/alice", "mimi://a.example/u/", "mimi://a.example/u//alice",
		"mimi://a.example/u/alice/", "mimi://a.example/d/alice/", "mimi://a.example/d//phone",
		"mimi://a.example/u/.", "mimi://a.example/u/..", "mimi://a.example/d/../phone", "mimi://a.example/d/x/..",
		"mimi://a.example/u/%2e%2e", "mimi://a.example/u/%2E%2E", "mimi://a.example/u/a%2E", "mimi://a.example/u/%2E",
		"mimi://a.example/u/alice?x", "mimi://a.example/u/alice#x", "mimi://a.example?x", "mimi://a.example#x",
		"mimi://a.example/u/al ice", "mimi://a.example/u/alice\n", "mimi://a.example/u/alice\x00",
		"mimi://a.example/u/ä", "mimi://a.example/u/caf%c3%a9", "mimi://a.example/u/%41", "mimi://a.example/u/%7E",
		"mimi://a.example/u/%", "mimi://a.example/u/%C", "mimi://a.example/u/%GG", "mimi://a.example/u/100%",
		"mimi://a.example/u/a\\b", "mimi://a.example/u/a|b", "mimi://a.example/u/a\"b", "mimi://a.example/u/<b>",
	} {
		if got := accepts(s); got != "" {
			t.Errorf("%q is taken as %q", s, got)
		}
	}
}

func TestID4ClientTellsItsUser(t *testing.T) {
	p := must(mimi.NewProviderID("a.example"))(t)
	alice := must(mimi.NewUserID(p, "alice"))(t)
	phone := must(mimi.NewClientID(alice, "Phone-1"))(t)
	if phone.String() != "mimi://a.example/d/alice/Phone-1" || phone.Device() != "Phone-1" {
		t.Errorf("client is %q, its device %q", phone, phone.Device())
	}
	if u, ok := phone.User(); !ok || u != alice {
		t.Errorf("user of the client is %q, %v", u, ok)
	}
	one := must(mimi.ParseClientID("mimi://a.example/d/ClientA1"))(t)
	if u, ok := one.User(); ok || !u.IsZero() || one.Device() != "ClientA1" {
		t.Errorf("a one-segment client tells user %q and device %q", u, one.Device())
	}
	if phone.Provider() != p || alice.Provider() != p || p.Host() != "a.example" || alice.Name() != "alice" {
		t.Errorf("provider %q, host %q, name %q", phone.Provider(), p.Host(), alice.Name())
	}
	if koala := must(mimi.ParseUserID("mimi://a.example/p/koala"))(t); !koala.IsPseudonym() || alice.IsPseudonym() {
		t.Error("pseudonyms are confused with users")
	}
	for _, device := range []string{"", ".", "..", "a/b", "a b", "?", "é"} {
		if id, err := mimi.NewClientID(alice, device); err == nil {
			t.Errorf("device %q gives %q", device, id)
		}
	}
}

func TestID4OurUserNames(t *testing.T) {
	p := must(mimi.NewProviderID("localhost"))(t)
	for _, name := range []string{"a", "alice", "a.b-c_9", strings.Repeat("x", 32)} {
		if u := must(mimi.NewUserID(p, name))(t); u.Name() != name {
			t.Errorf("%q became %q", name, u.Name())
		}
	}
	for _, name := range []string{"", ".", "..", "Alice", "ä", "a b", "a/b", "a%41", "a+b", strings.Repeat("x", 33)} {
		if u, err := mimi.NewUserID(p, name); err == nil {
			t.Errorf("%q became %q", name, u)
		}
	}
}

func TestID5GroupIDs(t *testing.T) {
	p := must(mimi.NewProviderID("a.example"))(t)
	g := must(mimi.NewGroupID(p, [16]byte{0xfb, 0xff}))(t)
	if want := "mimi://a.example/g/-_8AAAAAAAAAAAAAAAAAAA"; g.String() != want {
		t.Errorf("group is %q, want %q", g, want)
	}
	if g.Provider() != p {
		t.Errorf("the hub of the group is %q", g.Provider())
	}
	r := must(mimi.NewRoomID(p, "clubhouse"))(t)
	if r.Provider() != p || r.Name() != "clubhouse" {
		t.Errorf("room %q has hub %q and name %q", r, r.Provider(), r.Name())
	}
}

func TestZeroIdentifiers(t *testing.T) {
	var (
		p mimi.ProviderID
		u mimi.UserID
		c mimi.ClientID
		r mimi.RoomID
		g mimi.GroupID
	)
	if !p.IsZero() || !u.IsZero() || !c.IsZero() || !r.IsZero() || !g.IsZero() {
		t.Error("a zero identifier is not zero")
	}
	if _, ok := c.User(); ok || !u.Provider().IsZero() || c.Device() != "" || p.Host() != "" {
		t.Error("a zero identifier tells something")
	}
	for _, err := range []error{
		second(mimi.NewUserID(p, "a")), second(mimi.NewClientID(u, "a")), second(mimi.NewRoomID(p, "a")),
		second(mimi.NewGroupID(p, [16]byte{})),
	} {
		if err == nil {
			t.Error("an identifier was made without a provider")
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"mimi://a.example", "mimi://a.example/u/alice", "mimi://a.example/d/alice/phone", "mimi://a.example/d/x",
		"mimi://a.example/r/caf%C3%A9", "mimi://a.example/g/TII9t5viBrXiXc", "mimi://a.example/p/k", "mimi://1.2.3.4",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(accepts(s)) > 1 {
			t.Fatalf("%q is of two kinds", s)
		}
		if p, err := mimi.ParseProviderID(s); err == nil && (p.String() != s || p.IsZero() || "mimi://"+p.Host() != s) {
			t.Errorf("%q became %q", s, p)
		}
		if u, err := mimi.ParseUserID(s); err == nil {
			prefix := u.Provider().String() + "/u/"
			if u.IsPseudonym() {
				prefix = u.Provider().String() + "/p/"
			}
			if u.String() != s || prefix+u.Name() != s {
				t.Errorf("%q became %q", s, u)
			}
		}
		if c, err := mimi.ParseClientID(s); err == nil {
			again := c.Provider().String() + "/d/" + c.Device()
			if u, ok := c.User(); ok {
				again = c.Provider().String() + "/d/" + u.Name() + "/" + c.Device()
			}
			if c.String() != s || again != s {
				t.Errorf("%q became %q", s, c)
			}
		}
		if r, err := mimi.ParseRoomID(s); err == nil && (r.String() != s || r.Provider().String()+"/r/"+r.Name() != s) {
			t.Errorf("%q became %q", s, r)
		}
		if g, err := mimi.ParseGroupID(s); err == nil && g.String() != s {
			t.Errorf("%q became %q", s, g)
		}
	})
}

// must is for values that have to be valid.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func second[T any](_ T, err error) error { return err }
