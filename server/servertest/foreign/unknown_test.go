package foreign_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/server/servertest/foreign"
	"kith/web/client"
)

// TestRS1UnknownComponents: a room whose state has components that we do not know is one like others, and so are roles
// with capabilities that we do not know. What we do not know stays as it is.
func TestRS1UnknownComponents(t *testing.T) {
	visit(t, foreign.Manners{}, func(l *land) {
		strange := []byte("a policy of a later draft")
		id, err := l.oscar.Found("club", func(dict mls.AppDataDictionary) (mls.AppDataDictionary, error) {
			data, _ := dict.Get(policy.RolesList)
			roles, err := policy.UnmarshalRoles(data)
			if err != nil {
				return nil, err
			}
			for i := range roles {
				roles[i].RoleCapabilities = append(roles[i].RoleCapabilities, 0x0777, 0xF00D)
			}
			data, err = roles.Bytes()
			return dict.Set(policy.RolesList, data).Set(0x8005, strange).Set(0xF0F4, nil), err
		})
		must(t, err)
		must(t, l.oscar.Add(id, l.alice.Account.User))
		guest(l, id)
		dict, err := l.oscar.Groups[id].Context().Extensions.AppData()
		must(t, err)
		if have, ok := dict.Get(0x8005); !ok || string(have) != string(strange) {
			t.Errorf("the unknown component is %q", have)
		}
	})
}

// TestKM9WhatWeDoNotHave: who asks for KeyPackages of a cipher suite, or with capabilities, that our devices do not have
// is told so, and what they have. None is used up by that.
func TestKM9WhatWeDoNotHave(t *testing.T) {
	visit(t, foreign.Manners{}, func(l *land) {
		id, err := l.oscar.Found("club", nil)
		must(t, err)
		required := room.RequiredCapabilities()
		for what, ask := range map[string]func() (*wire.KeyMaterialResponse, error){
			"another suite": func() (*wire.KeyMaterialResponse, error) {
				return l.oscar.ClaimFor(id, l.alice.Account.User, required, mls.X25519ChaCha20Poly1305SHA256Ed25519)
			},
			"and suites of which nobody has heard": func() (*wire.KeyMaterialResponse, error) {
				return l.oscar.ClaimFor(id, l.alice.Account.User, required, 0xF0F0, mls.X25519ChaCha20Poly1305SHA256Ed25519, 0xF0F1)
			},
			"an unknown extension": func() (*wire.KeyMaterialResponse, error) {
				return l.oscar.ClaimFor(id, l.alice.Account.User, mls.RequiredCapabilities{Extensions: []mls.ExtensionType{0xF0F1}}, room.Suite)
			},
			"an unknown credential": func() (*wire.KeyMaterialResponse, error) {
				return l.oscar.ClaimFor(id, l.alice.Account.User, mls.RequiredCapabilities{Credentials: []mls.CredentialType{0x00FE}}, room.Suite)
			},
		} {
			resp, err := ask()
			must(t, err)
			if resp.UserStatus != wire.UserNoCompatibleMaterial || len(resp.Clients) != 1 {
				t.Errorf("%s: %d with %d clients", what, resp.UserStatus, len(resp.Clients))
				continue
			}
			c := resp.Clients[0]
			if c.ClientStatus != wire.ClientNothingCompatible || c.ClientCapabilities == nil ||
				!slices.Contains(c.ClientCapabilities.CipherSuites, room.Suite) || !slices.Contains(c.ClientCapabilities.Credentials, mls.CredentialX509) {
				t.Errorf("%s: client %d, %+v", what, c.ClientStatus, c.ClientCapabilities)
			}
		}
		resp, err := l.oscar.Claim(id, l.alice.Account.User)
		must(t, err)
		if resp.UserStatus != wire.UserSuccess {
			t.Errorf("what we have: %d", resp.UserStatus)
		}
	})
}

// TestKM10PackagesOfAnotherSuite: KeyPackages of a suite that was not asked for are not used; who wanted to add somebody by
// them reads why not, and nothing else suffers from it.
func TestKM10PackagesOfAnotherSuite(t *testing.T) {
	visit(t, foreign.Manners{}, func(l *land) {
		ulla, err := l.other.DeviceOf(mls.X25519ChaCha20Poly1305SHA256Ed25519, "Ulla", "ClientU1")
		must(t, err)
		must(t, l.other.Grant(l.alice.Account.User, ulla.User))
		id := l.club(l.oscar.User)
		l.until("Oscar is in", func() bool { return l.oscar.Users(id) != nil })
		err = l.alice.Session.AddMembers(ctx, id.String(), []string{ulla.User.String()})
		var refusal *client.Error
		if !errors.As(err, &refusal) || refusal.Code != client.CodeIncompatible {
			t.Errorf("adding her: %v", err)
		}
		l.send(l.alice, id, "goes on")
		l.reads(l.oscar, id, "goes on")
		if ulla.Users(id) != nil {
			t.Error("a device of another suite is in the room")
		}
		l.people(l.alice, id, l.alice.Account.User, l.oscar.User)
	})
}

// TestGI10AnotherSuite: a GroupInfo is there for requests of the room's suite only.
func TestGI10AnotherSuite(t *testing.T) {
	visit(t, foreign.Manners{}, func(l *land) {
		id := l.club(l.oscar.User)
		l.until("Oscar is in", func() bool { return l.oscar.Users(id) != nil })
		for _, suite := range []mls.CipherSuite{mls.X25519ChaCha20Poly1305SHA256Ed25519, room.Suite} {
			d, err := l.other.DeviceOf(suite, "Oscar", "Client3")
			must(t, err)
			resp, _, err := d.GroupInfo(id, nil)
			must(t, err)
			want := wire.GroupInfoNotAuthorized
			if suite == room.Suite {
				want = wire.GroupInfoSuccess
			}
			if resp.Status != want {
				t.Errorf("suite %d: status %d", suite, resp.Status)
			}
		}
	})
}

// TestML1RoomOfAnotherSuite: who follows a link to a room of another cipher suite reads that it cannot be joined, at once,
// and everything else goes on.
func TestML1RoomOfAnotherSuite(t *testing.T) {
	visit(t, foreign.Manners{Suite: mls.P256AES128GCMSHA256P256}, func(l *land) {
		offer := l.invitation()
		ours := l.club()
		_, err := l.alice.Session.Join(ctx, offer)
		var refusal *client.Error
		if !errors.As(err, &refusal) || refusal.Code != client.CodeForeignRoom {
			t.Errorf("joining: %v", err)
		}
		if list := l.alice.Rooms(ctx); len(list) != 1 {
			t.Errorf("%d rooms", len(list))
		}
		l.send(l.alice, ours, "goes on")
		l.sees(l.alice, ours, "goes on")
		// Once the hub offers what we know, the same link is good.
		l.other.Manners.Suite = 0
		joined, err := l.alice.Session.Join(ctx, offer)
		must(t, err)
		if joined.Name != "club" {
			t.Errorf("joined %q", joined.Name)
		}
	})
}

// invitation is what a link to a room of Oscar's holds.
func (l *land) invitation() string {
	l.t.Helper()
	id, err := l.oscar.Found("club", nil)
	must(l.t, err)
	var offer room.JoinOffer
	must(l.t, l.oscar.Change(id, func(v *room.View) ([]mls.Proposal, error) {
		until := uint64(l.net.Now().UnixMilli()) + 3600_000
		list, made, _, err := room.CreateJoinLink(v, rand.Reader, policy.RoleMember, true, until)
		offer = made
		return list, err
	}))
	return offer.String()
}

// TestUP10FormsOfBundles: the hub takes GroupInfo as a whole and in parts, and the tree with it or not.
func TestUP10FormsOfBundles(t *testing.T) {
	for _, partial := range []bool{false, true} {
		visit(t, foreign.Manners{}, func(l *land) {
			id := l.club(l.oscar.User)
			l.until("Oscar is in", func() bool { return l.oscar.Users(id) != nil })
			l.oscar.Partial = partial
			second, err := l.other.Device("Oscar", "ClientA2")
			must(t, err)
			second.Partial = partial
			must(t, second.Join(id, nil))
			l.until("one epoch", func() bool { return l.oscar.Epoch(id) == second.Epoch(id) })
			must(t, l.oscar.Change(id, nil))
			l.until("one epoch", func() bool { return l.oscar.Epoch(id) == second.Epoch(id) })
			// The hub has gone along: who comes now finds the tree right.
			tablet := l.alice.Another()
			l.until("the tablet is in", func() bool { return tablet.Ready(ctx) && tablet.Room(ctx, id.String()).ID != "" })
			must(t, second.Send(id, "in whatever form"))
			l.sees(tablet, id, "in whatever form")
			l.sees(l.alice, id, "in whatever form")
		})
	}
}

// TestCR3BasicCredentials: nobody vouches for a basic credential, so it is refused wherever it is shown, and in words.
func TestCR3BasicCredentials(t *testing.T) {
	visit(t, foreign.Manners{}, func(l *land) {
		id := l.club(l.oscar.User)
		l.until("Oscar is in", func() bool { return l.oscar.Users(id) != nil })
		for what, credential := range map[string]mls.Credential{
			"basic":   mls.BasicCredential([]byte("mimi://other.example/d/ClientX1")),
			"unknown": {Type: 0x00FE, Opaque: []byte("of a later draft")},
		} {
			d, err := l.other.Device("Oscar", "ClientX1")
			must(t, err)
			d.Show(credential)
			if _, _, err := d.GroupInfo(id, nil); err == nil {
				t.Errorf("%s credential: its GroupInfo request was answered", what)
			}
			if _, err := d.Claim(id, l.alice.Account.User); err == nil {
				t.Errorf("%s credential: its keyMaterial request was answered", what)
			}
			// Ours do not take a KeyPackage with it either.
			u, err := l.other.Device("User-"+what, "Client-"+what)
			must(t, err)
			u.Show(credential)
			must(t, l.alice.Session.AddMembers(ctx, id.String(), []string{u.User.String()}))
			if u.Users(id) != nil {
				t.Errorf("%s credential: in the room", what)
			}
			l.level(l.oscar, id)
			must(t, l.oscar.Send(id, "we go on, "+what))
		}
		l.until("Alice reads on", func() bool { return len(l.texts(l.alice, id.String())) == 2 })
	})
}
