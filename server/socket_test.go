package server_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/server/servertest"
	"kith/web/api"
)

// refused checks that err is a refusal with this status and code.
func refused(t *testing.T, what string, err error, status uint16, code string) {
	t.Helper()
	var s *servertest.StatusError
	if !errors.As(err, &s) || s.Status != status || s.Code != code {
		t.Errorf("%s: %v, want %d %s", what, err, status, code)
	}
}

func TestSocketNeedsSessionAndOwnOrigin(t *testing.T) {
	inBubble(t, []string{"alice"}, func(t *testing.T, p *provider) {
		_, err := servertest.Dial(t.Context(), p.network.Client(), "http://"+testDomain, servertest.Account{Token: "nonsense"})
		if err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("without a session: %v", err)
		}
		for origin, want := range map[string]int{"http://evil.example": http.StatusForbidden, "http://" + testDomain: http.StatusSwitchingProtocols} {
			ws, resp, _ := websocket.Dial(t.Context(), "http://"+testDomain+api.Path, &websocket.DialOptions{HTTPClient: p.network.Client(),
				HTTPHeader: http.Header{"Origin": {origin}, "Cookie": {"kith_session=" + p.accounts["alice"].Token}}})
			if resp == nil || resp.StatusCode != want {
				t.Errorf("origin %s: %v", origin, resp)
			}
			if ws != nil {
				ws.CloseNow()
			}
		}
	})
}

// TestForgedFramesEndTheSocket sends what no client of ours sends.
func TestForgedFramesEndTheSocket(t *testing.T) {
	ping, err := api.Bytes(&api.Request{ID: 1, Op: api.OpPing})
	if err != nil {
		t.Fatal(err)
	}
	event, err := api.Bytes(&api.Event{Cursor: 1})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		kind websocket.MessageType
		data []byte
		want websocket.StatusCode
	}{
		{"truncated", websocket.MessageBinary, ping[:len(ping)-1], api.CloseProtocol},
		{"only a length", websocket.MessageBinary, ping[:4], api.CloseProtocol},
		{"trailing octet", websocket.MessageBinary, append(slices.Clone(ping), 0), api.CloseProtocol},
		{"empty frame", websocket.MessageBinary, []byte{0, 0, 0, 0}, api.CloseProtocol},
		{"unknown kind", websocket.MessageBinary, []byte{0, 0, 0, 1, 9}, api.CloseProtocol},
		{"a server's kind", websocket.MessageBinary, event, api.CloseProtocol},
		{"text", websocket.MessageText, ping, api.CloseProtocol},
		{"a length beyond everything", websocket.MessageBinary, []byte{255, 255, 255, 255, 1}, api.CloseTooLarge},
		{"long acknowledgement", websocket.MessageBinary, []byte{0, 0, 0, 10, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0}, api.CloseTooLarge},
		{"large before Hello", websocket.MessageBinary, make([]byte, api.MaxClientFrame+8192), api.CloseTooLarge},
	}
	inBubble(t, []string{"alice"}, func(t *testing.T, p *provider) {
		for _, tt := range tests {
			c := p.dial("alice")
			go c.WS.Write(t.Context(), tt.kind, tt.data)
			var err error
			for err == nil { // what stands before the rubbish may be answered
				_, err = c.Next(t.Context())
			}
			if websocket.CloseStatus(err) != tt.want {
				t.Errorf("%s: %v, want %d", tt.name, err, tt.want)
			}
			c.Close()
		}
	})
}

func TestRequestsBeforeHello(t *testing.T) {
	inBubble(t, []string{"alice"}, func(t *testing.T, p *provider) {
		c := p.dial("alice")
		for op := range api.Op(16) {
			_, err := c.Call(t.Context(), op, "", nil)
			switch {
			case !op.Valid():
				refused(t, op.String(), err, api.StatusBadRequest, api.CodeUnknownOp)
			case op.NeedsDevice():
				refused(t, op.String(), err, api.StatusUnauthorized, api.CodeNoDevice)
			case op == api.OpRooms || op == api.OpProfiles || op == api.OpPing || op == api.OpConsents:
				if err != nil {
					t.Errorf("%s: %v", op, err)
				}
			default:
				refused(t, op.String(), err, api.StatusBadRequest, api.CodeBadRequest)
			}
		}
	})
}

func TestHelloIsProved(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob := p.device("alice"), p.device("bob")
		hello := func(c *servertest.Conn, signer *servertest.Device, nonce [api.NonceSize]byte, client string) error {
			signature, err := signer.Key.SignWithLabel(api.LabelHello, api.HelloContent(nonce, client))
			if err != nil {
				t.Fatal(err)
			}
			body, err := (&api.HelloRequest{Signature: signature}).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Call(t.Context(), api.OpHello, client, body)
			return err
		}
		c := p.dial("bob")
		own := bob.Client.String()
		refused(t, "another user's device", hello(c, alice.Device, c.Greeting.Nonce, alice.Client.String()), api.StatusNotFound, api.CodeNotFound)
		refused(t, "no device", hello(c, bob.Device, c.Greeting.Nonce, own+"x"), api.StatusNotFound, api.CodeNotFound)
		refused(t, "another key", hello(c, alice.Device, c.Greeting.Nonce, own), api.StatusForbidden, api.CodeBadSignature)
		refused(t, "another nonce", hello(c, bob.Device, alice.c.Greeting.Nonce, own), api.StatusForbidden, api.CodeBadSignature)
		refused(t, "no URI", hello(c, bob.Device, c.Greeting.Nonce, "bob"), api.StatusBadRequest, api.CodeBadRequest)
		if err := hello(c, bob.Device, c.Greeting.Nonce, own); err != nil {
			t.Error(err)
		}
		refused(t, "twice", hello(c, bob.Device, c.Greeting.Nonce, own), api.StatusConflict, api.CodeConflict)
	})
}

func TestRegisterDevice(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice := p.device("alice")
		c := p.dial("alice")
		client := alice.Client
		for _, target := range []string{"", client.String()} {
			// the answer was lost, or the certificate is to be renewed: the same device
			if err := alice.Renew(t.Context(), c, target); err != nil || alice.Client != client {
				t.Errorf("again: %v %v", alice.Client, err)
			}
		}
		refused(t, "renewing as another", alice.Renew(t.Context(), c, client.String()+"x"), api.StatusConflict, api.CodeConflict)
		stolen := *alice.Device
		refused(t, "renewing on another account", stolen.Renew(t.Context(), p.dial("bob"), client.String()), api.StatusNotFound, api.CodeNotFound)
		req := api.RegisterDeviceRequest{Name: "x", SignatureKey: alice.Key.Public(), Signature: make([]byte, 64)}
		body, err := req.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Call(t.Context(), api.OpRegisterDevice, "", body)
		refused(t, "unsigned", err, api.StatusForbidden, api.CodeBadSignature)
		for i := range 40 {
			if _, err = servertest.Register(t.Context(), c, p.accounts["alice"], p.config.Now); err != nil {
				if i < 20 {
					t.Errorf("only %d more devices", i)
				}
				break
			}
		}
		refused(t, "very many devices", err, api.StatusTooLarge, api.CodeTooLarge)
	})
}

// TestGarbageIsRefused mutates valid requests of every kind: whatever comes back, the server lives, the socket lives and
// the room goes on.
func TestGarbageIsRefused(t *testing.T) {
	inBubble(t, []string{"alice", "bob", "carol"}, func(t *testing.T, p *provider) {
		alice, bob, carol, id := p.device("alice"), p.device("bob"), p.device("carol"), p.room("r1")
		p.group(id, alice, bob)
		attacker := carol
		valid := map[api.Op][]byte{}
		var err error
		if valid[api.OpSubmitMessage], err = alice.Encrypt(id, "mutated"); err != nil {
			t.Fatal(err)
		}
		if valid[api.OpUpdate], err = alice.Commit(id, func(v *room.View) ([]mls.Proposal, error) { return room.Rename(v, "Mutated") }); err != nil {
			t.Fatal(err)
		}
		alice.Rooms[id].DiscardPending()
		if valid[api.OpCreateRoom], err = attacker.NewRoom(p.room("r2"), "x", mimi.UserID{}); err != nil {
			t.Fatal(err)
		}
		packages, err := attacker.NewPackages(2)
		if err != nil {
			t.Fatal(err)
		}
		if valid[api.OpPublishKeyPackages], err = mls.KeyPackages(packages).Bytes(); err != nil {
			t.Fatal(err)
		}
		valid[api.OpKeyMaterial] = keyMaterialBody(t, bob.Device, id, alice.User)
		req, _, err := room.NewGroupInfoRequest(bob.Config.Rand, bob.MLS)
		if err != nil {
			t.Fatal(err)
		}
		if valid[api.OpGroupInfo], err = req.Bytes(); err != nil {
			t.Fatal(err)
		}
		valid[api.OpIdentifierQuery] = queryBody(t, wire.QueryElement{SearchType: wire.SearchNick, SearchValue: "bob"})
		rng := rand.New(rand.NewPCG(5, 6))
		for op, body := range valid {
			target := id.String()
			if op == api.OpKeyMaterial {
				target = alice.User.String()
			}
			for range 60 {
				bad := slices.Clone(body)
				switch rng.IntN(3) {
				case 0:
					bad = bad[:rng.IntN(len(bad))]
				case 1:
					bad = append(bad, byte(rng.Uint32()))
				default:
					bad[rng.IntN(len(bad))] ^= byte(1 + rng.IntN(255))
				}
				attacker.c.Call(t.Context(), op, target, bad)
			}
		}
		alice.send(id, "unharmed")
		for _, m := range []*member{alice, bob} {
			if got := m.texts(1); got[0] != "unharmed" {
				t.Error(got)
			}
		}
		attacker.quiet()
	})
}

func keyMaterialBody(t *testing.T, d *servertest.Device, id mimi.RoomID, target mimi.UserID) []byte {
	t.Helper()
	req := wire.KeyMaterialRequest{Protocol: wire.ProtocolMLS10, RequestingUser: d.User, TargetUser: target, RoomID: id,
		AcceptableCipherSuites: []mls.CipherSuite{room.Suite}, RequiredCapabilities: room.RequiredCapabilities(),
		RequesterCredential: d.MLS.Credential}
	if err := req.Sign(d.Key); err != nil {
		t.Fatal(err)
	}
	body, err := req.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func queryBody(t *testing.T, elements ...wire.QueryElement) []byte {
	t.Helper()
	body, err := (&wire.IdentifierRequest{QueryElements: elements}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestKM5ClaimedOnceOverSockets lets many members ask for the same user's packages at once.
func TestKM5ClaimedOnceOverSockets(t *testing.T) {
	names := []string{"target", "a1", "a2", "a3", "a4"}
	inBubble(t, names, func(t *testing.T, p *provider) {
		p.device("target") // has five packages
		var mu sync.Mutex
		refs := make(map[string]int)
		statuses := make(map[wire.KeyMaterialUserCode]int)
		var wg sync.WaitGroup
		for i, n := range names[1:] {
			m, id := p.device(n), p.room(fmt.Sprint("r", i))
			if err := m.CreateRoom(t.Context(), m.c, id, "", mimi.UserID{}); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				for range 3 {
					resp, err := m.Claim(t.Context(), m.c, id, p.user("target"))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					statuses[resp.UserStatus]++
					for _, c := range resp.Clients {
						if c.KeyPackage == nil {
							// KM-11: no last resort
							if c.ClientStatus != wire.ClientKeyMaterialExhausted {
								t.Errorf("status %d", c.ClientStatus)
							}
							continue
						}
						ref, err := c.KeyPackage.Ref()
						if err != nil {
							t.Error(err)
						}
						refs[string(ref)]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for ref, n := range refs {
			if n != 1 {
				t.Errorf("package %x handed out %d times", ref, n)
			}
		}
		if len(refs) != 5 || statuses[wire.UserSuccess] != 5 || statuses[wire.UserNoCompatibleMaterial] != 7 {
			t.Errorf("%d packages, statuses %v", len(refs), statuses)
		}
	})
}

func TestKM7SomeDevicesSupplied(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, id := p.device("alice"), p.room("r1")
		if err := alice.CreateRoom(t.Context(), alice.c, id, "", mimi.UserID{}); err != nil {
			t.Fatal(err)
		}
		full := p.device("bob")
		c := p.dial("bob")
		empty, err := servertest.Register(t.Context(), c, p.accounts["bob"], p.config.Now)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := alice.Claim(t.Context(), alice.c, id, full.User)
		if err != nil || resp.UserStatus != wire.UserPartialSuccess || len(resp.Clients) != 2 || resp.UserURI != full.User {
			t.Fatalf("%+v %v", resp, err)
		}
		for _, c := range resp.Clients {
			if (c.ClientURI == empty.Client) != (c.ClientStatus == wire.ClientKeyMaterialExhausted) {
				t.Errorf("%+v", c)
			}
		}
		// KM-9: what is asked for must be supported
		req := wire.KeyMaterialRequest{Protocol: wire.ProtocolMLS10, RequestingUser: alice.User, TargetUser: full.User, RoomID: id,
			AcceptableCipherSuites: []mls.CipherSuite{room.Suite}, RequesterCredential: alice.MLS.Credential,
			RequiredCapabilities: mls.RequiredCapabilities{Extensions: []mls.ExtensionType{0xf123}}}
		if err := req.Sign(alice.Key); err != nil {
			t.Fatal(err)
		}
		body, err := req.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if body, err = alice.c.Call(t.Context(), api.OpKeyMaterial, full.User.String(), body); err != nil {
			t.Fatal(err)
		}
		if resp, err = wire.UnmarshalKeyMaterialResponse(body); err != nil || resp.UserStatus != wire.UserNoCompatibleMaterial {
			t.Errorf("%+v %v", resp, err)
		}
	})
}

func TestKM12WhoMayAsk(t *testing.T) {
	inBubble(t, []string{"alice", "bob", "carol", "dora"}, func(t *testing.T, p *provider) {
		alice, bob, carol, id := p.device("alice"), p.device("bob"), p.device("carol"), p.room("r1")
		p.group(id, alice, bob)
		call := func(m *member, target mimi.UserID, body []byte) error {
			_, err := m.c.Call(t.Context(), api.OpKeyMaterial, target.String(), body)
			return err
		}
		refused(t, "no participant", call(carol, bob.User, keyMaterialBody(t, carol.Device, id, bob.User)), api.StatusForbidden, api.CodeNotAllowed)
		refused(t, "no such room", call(alice, bob.User, keyMaterialBody(t, alice.Device, p.room("none"), bob.User)), api.StatusNotFound, api.CodeNotFound)
		refused(t, "KM-1: other target", call(alice, carol.User, keyMaterialBody(t, alice.Device, id, bob.User)), api.StatusBadRequest, api.CodeBadRequest)
		refused(t, "KM-4: of another device", call(carol, bob.User, keyMaterialBody(t, alice.Device, id, bob.User)), api.StatusForbidden, api.CodeNotAllowed)
		forged := keyMaterialBody(t, alice.Device, id, bob.User)
		forged[len(forged)-1] ^= 1
		refused(t, "KM-4: signature", call(alice, bob.User, forged), api.StatusForbidden, api.CodeBadSignature)
		resp, err := alice.Claim(t.Context(), alice.c, id, mustUser(t, p, "nobody"))
		if err != nil || resp.UserStatus != wire.UserUnknown || len(resp.Clients) != 0 {
			t.Errorf("unknown user: %+v %v", resp, err)
		}
		if resp, err = alice.Claim(t.Context(), alice.c, id, p.user("dora")); err != nil || resp.UserStatus != wire.UserNoCompatibleMaterial {
			t.Errorf("user without devices: %+v %v", resp, err)
		}
		for range 60 {
			if _, err = alice.Claim(t.Context(), alice.c, id, carol.User); err != nil {
				break
			}
		}
		refused(t, "very often", err, api.StatusRateLimited, api.CodeRateLimited)
	})
}

func mustUser(t *testing.T, p *provider, name string) mimi.UserID {
	t.Helper()
	u, err := mimi.NewUserID(p.domain, name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUP14WelcomeOnlyForClaimedPackages(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id, other := p.device("alice"), p.device("bob"), p.room("r1"), p.room("r2")
		for _, r := range []mimi.RoomID{id, other} {
			if err := alice.CreateRoom(t.Context(), alice.c, r, "", mimi.UserID{}); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := alice.Claim(t.Context(), alice.c, other, bob.User)
		if err != nil {
			t.Fatal(err)
		}
		never, err := bob.NewPackages(1)
		if err != nil {
			t.Fatal(err)
		}
		for name, kp := range map[string]*mls.KeyPackage{"claimed for another room": resp.Clients[0].KeyPackage, "never claimed": never[0]} {
			err := alice.Change(t.Context(), alice.c, id, func(v *room.View) ([]mls.Proposal, error) {
				return room.AddUser(v, bob.User, []*mls.KeyPackage{kp})
			})
			if err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("%s: %v", name, err)
			}
		}
		bob.quiet()
		if err := alice.Add(t.Context(), alice.c, id, bob.User); err != nil {
			t.Errorf("the room does not go on: %v", err)
		}
	})
}

func TestPublishKeyPackages(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob := p.device("alice"), p.device("bob")
		publish := func(packages ...*mls.KeyPackage) (uint32, error) {
			body, err := mls.KeyPackages(packages).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if body, err = alice.c.Call(t.Context(), api.OpPublishKeyPackages, "", body); err != nil {
				return 0, err
			}
			resp, err := api.UnmarshalPublishResponse(body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.Available, nil
		}
		fresh, err := alice.NewPackages(2)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time changes nothing
			if n, err := publish(fresh...); n != 7 || err != nil {
				t.Errorf("%d available, %v", n, err)
			}
		}
		foreign, err := bob.NewPackages(1)
		if err != nil {
			t.Fatal(err)
		}
		_, err = publish(foreign...)
		refused(t, "another device's", err, api.StatusForbidden, api.CodeNotAllowed)
		_, err = publish()
		refused(t, "none", err, api.StatusBadRequest, api.CodeBadRequest)
		now := alice.Config.Now()
		for name, life := range map[string]mls.Lifetime{
			"expired":   {NotBefore: uint64(now.Add(-2 * time.Hour).Unix()), NotAfter: uint64(now.Add(-time.Hour).Unix())},
			"for years": {NotBefore: uint64(now.Add(-time.Hour).Unix()), NotAfter: uint64(now.AddDate(3, 0, 0).Unix())},
		} {
			secrets, err := mls.NewKeyPackage(alice.Config, alice.MLS, life, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = publish(secrets.KeyPackage)
			refused(t, name, err, api.StatusBadRequest, api.CodeBadRequest)
		}
		many, err := alice.NewPackages(195)
		if err != nil {
			t.Fatal(err)
		}
		_, err = publish(many...)
		refused(t, "too many", err, api.StatusTooLarge, api.CodeTooLarge)
	})
}

func TestIQ2IQ3FindPeople(t *testing.T) {
	inBubble(t, []string{"alice", "bob", "bobby"}, func(t *testing.T, p *provider) {
		c := p.dial("alice")
		query := func(elements ...wire.QueryElement) (*wire.IdentifierResponse, error) {
			body, err := c.Call(t.Context(), api.OpIdentifierQuery, "", queryBody(t, elements...))
			if err != nil {
				return nil, err
			}
			return wire.UnmarshalIdentifierResponse(body)
		}
		nick := wire.QueryElement{SearchType: wire.SearchNick, SearchValue: "bob"}
		partial := wire.QueryElement{SearchType: wire.SearchPartialName, SearchValue: "DISPLAY BOB"}
		tests := []struct {
			name     string
			elements []wire.QueryElement
			code     wire.IdentifierQueryCode
			want     string
		}{
			{"nick is exact", []wire.QueryElement{nick}, wire.QuerySuccess, "bob"},
			{"handle", []wire.QueryElement{{SearchType: wire.SearchHandle, SearchValue: "mimi://a.example/u/bobby"}}, wire.QuerySuccess, "bobby"},
			{"handle elsewhere", []wire.QueryElement{{SearchType: wire.SearchHandle, SearchValue: "mimi://b.example/u/bobby"}}, wire.QueryNotFound, ""},
			{"partial name", []wire.QueryElement{partial}, wire.QuerySuccess, "bob bobby"},
			{"all must match", []wire.QueryElement{partial, nick}, wire.QuerySuccess, "bob"},
			{"contradiction", []wire.QueryElement{nick, {SearchType: wire.SearchNick, SearchValue: "alice"}}, wire.QueryNotFound, ""},
			{"nobody", []wire.QueryElement{{SearchType: wire.SearchNick, SearchValue: "nobody"}}, wire.QueryNotFound, ""},
			{"not searchable", []wire.QueryElement{{SearchType: wire.SearchPhone, SearchValue: "+4912345"}}, wire.QueryUnsupportedField, ""},
		}
		for _, tt := range tests {
			resp, err := query(tt.elements...)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			var got []string
			for i, u := range resp.URI {
				got = append(got, u.Name())
				if f := resp.FoundProfiles[i]; f.StableURI != u || string(f.Fields[0].FieldValue) != "Display "+u.Name() {
					t.Errorf("%s: %+v", tt.name, f)
				}
			}
			if resp.ResponseCode != tt.code || strings.Join(got, " ") != tt.want {
				t.Errorf("%s: code %d, %v", tt.name, resp.ResponseCode, got)
			}
		}
		_, err := query(wire.QueryElement{SearchType: wire.SearchPartialName, SearchValue: " "})
		refused(t, "blank", err, api.StatusBadRequest, api.CodeBadRequest)
		_, err = query()
		refused(t, "empty", err, api.StatusBadRequest, api.CodeBadRequest)
	})
}

func TestProfiles(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		c := p.dial("alice")
		ask := func(users ...string) (api.ProfileList, error) {
			body, err := api.StringList(users).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if body, err = c.Call(t.Context(), api.OpProfiles, "", body); err != nil {
				return nil, err
			}
			return api.UnmarshalProfileList(body)
		}
		bob := p.user("bob").String()
		list, err := ask(bob, "mimi://a.example/u/nobody", "mimi://b.example/u/bob")
		if err != nil || len(list) != 1 || list[0] != (api.Profile{User: bob, DisplayName: "Display bob"}) {
			t.Errorf("%+v %v", list, err)
		}
		_, err = ask("bob")
		refused(t, "no URI", err, api.StatusBadRequest, api.CodeBadRequest)
		_, err = ask(slices.Repeat([]string{bob}, 1001)...)
		refused(t, "very many", err, api.StatusTooLarge, api.CodeTooLarge)
	})
}

func TestRoomsOfOthersAndElsewhere(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		if err := alice.CreateRoom(t.Context(), alice.c, id, "", mimi.UserID{}); err != nil {
			t.Fatal(err)
		}
		// GI-9: a room one may not join looks like one that does not exist
		var answers []string
		for _, r := range []mimi.RoomID{id, p.room("none")} {
			req, _, err := room.NewGroupInfoRequest(bob.Config.Rand, bob.MLS)
			if err != nil {
				t.Fatal(err)
			}
			body, err := req.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if body, err = bob.c.Call(t.Context(), api.OpGroupInfo, r.String(), body); err != nil {
				t.Fatal(err)
			}
			resp, err := wire.UnmarshalGroupInfoResponse(body)
			if err != nil || resp.RoomID != r {
				t.Fatalf("%+v %v", resp, err)
			}
			answers = append(answers, fmt.Sprint(resp.Status))
		}
		if answers[0] != answers[1] {
			t.Errorf("answers differ: %v", answers)
		}
		_, err := bob.c.Call(t.Context(), api.OpSubmitMessage, "mimi://b.example/r/x", nil)
		refused(t, "another provider's room", err, api.StatusNotFound, api.CodeNotFound)
		_, err = bob.c.Call(t.Context(), api.OpSubmitMessage, "r1", nil)
		refused(t, "no room URI", err, api.StatusBadRequest, api.CodeBadRequest)
		// the same room again: to the same request the same answer, to another a refusal
		body, err := bob.NewRoom(id, "taken", mimi.UserID{})
		if err != nil {
			t.Fatal(err)
		}
		if body, err = bob.c.Call(t.Context(), api.OpCreateRoom, id.String(), body); err != nil {
			t.Fatal(err)
		}
		if resp, err := wire.UnmarshalUpdateRoomResponse(body); err != nil || resp.ResponseCode != wire.UpdateNotAllowed {
			t.Errorf("%+v %v", resp, err)
		}
		second, err := bob.NewRoom(p.room("r2"), "mine", mimi.UserID{})
		if err != nil {
			t.Fatal(err)
		}
		var first string
		for range 2 {
			answer, err := bob.c.Call(t.Context(), api.OpCreateRoom, p.room("r2").String(), second)
			if err != nil || first != "" && first != string(answer) {
				t.Errorf("%x %v", answer, err)
			}
			first = string(answer)
			time.Sleep(time.Second)
		}
	})
}

func TestSilentSocketIsPinged(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob := p.device("alice"), p.device("bob")
		ended := make(chan error, 1)
		go func() { // alice's browser answers pings, bob's has gone without saying so
			var err error
			for err == nil {
				_, err = alice.c.Next(t.Context())
			}
			ended <- err
		}()
		time.Sleep(5 * time.Minute)
		select {
		case err := <-ended:
			t.Errorf("the socket that answers ended: %v", err)
		default:
		}
		if _, err := bob.c.Read(t.Context()); err == nil {
			t.Error("the socket that does not answer is still open")
		}
		alice.c.Close()
		<-ended
	})
}

func TestExpiredSessionEndsSockets(t *testing.T) {
	inBubble(t, []string{"alice", "bob", "carol"}, func(t *testing.T, p *provider) {
		p.stop()
		now := p.config.Now()
		const life = time.Minute
		seen := map[string]time.Duration{"alice": 0, "bob": -time.Hour + life/2} // bob's is extended by the next page but the first
		store, err := db.Open(t.Context(), p.dir, db.Options{Now: p.config.Now})
		if err != nil {
			t.Fatal(err)
		}
		err = store.Write(t.Context(), func(tx *db.Tx) error {
			for name, ago := range seen {
				hash := sha256.Sum256([]byte(p.accounts[name].Token))
				s, _, err := tx.SessionByHash(hash[:])
				if err != nil {
					return err
				}
				if err := tx.ExtendSession(s.ID, now.Add(ago).UnixMilli(), now.Add(life).UnixMilli()); err != nil {
					return err
				}
			}
			return nil
		})
		if err := errors.Join(err, store.Close()); err != nil {
			t.Fatal(err)
		}
		p.start()
		alice, bob, carol := p.device("alice"), p.device("bob"), p.device("carol")
		for range 5 {
			time.Sleep(10 * time.Second)
			for _, m := range []*member{alice, bob, carol} {
				m.quiet()
			}
		}
		request, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+testDomain+"/api/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.AddCookie(&http.Cookie{Name: "kith_session", Value: bob.Token})
		resp, err := p.network.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		alice.closed(api.CloseSignedOut, api.ReasonSignedOut)
		if open := p.config.Now().Sub(now); open < life || open > life+10*time.Second {
			t.Errorf("ended after %v, want %v", open, life)
		}
		bob.quiet()
		carol.quiet()
	})
}
