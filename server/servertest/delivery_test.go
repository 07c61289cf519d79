package servertest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kith/mimi/mls"
	"kith/mimi/wire"
	"kith/server/servertest"
)

// TestNT6NT7OneAtATimeInOrder: of one room a follower gets one request at a time, each continues where the last one ended,
// and nothing of an epoch comes before the commit that begins it.
func TestNT6NT7OneAtATimeInOrder(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, c *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		cathy := c.User("cathy")
		online(t, cathy)
		must(t, servertest.Acquaint(ctx, alice, cathy))
		time.Sleep(time.Minute)
		var busy atomic.Int32
		var stream []byte
		b.InFront(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.URL.Path, "/notify/") {
					next.ServeHTTP(w, r)
					return
				}
				if n := busy.Add(1); n != 1 {
					t.Errorf("%d requests at a time", n)
				}
				defer busy.Add(-1)
				body, err := io.ReadAll(r.Body)
				must(t, err)
				stream = append(stream, body...)
				r.Body = io.NopCloser(bytes.NewReader(body))
				next.ServeHTTP(w, r)
				time.Sleep(700 * time.Millisecond) // meanwhile more gathers
			})
		})
		var want []string
		for i := range 12 {
			text := fmt.Sprint("message ", i)
			send(t, alice, room, text)
			want = append(want, text)
			switch i {
			case 4:
				must(t, alice.Session.AddMembers(ctx, room, []string{cathy.Account.User.String()}))
			case 8:
				must(t, alice.Session.RemoveMember(ctx, room, cathy.Account.User.String()))
			}
			time.Sleep(200 * time.Millisecond)
		}
		sees(t, bob, room, want...)
		time.Sleep(time.Minute)
		b.InFront(nil)
		parts, err := wire.SplitFanoutMessages(stream, 4096)
		must(t, err)
		var last, epoch uint64
		for _, p := range parts {
			m := &p.Message.Message
			if p.Message.Timestamp < last {
				t.Errorf("%d after %d", p.Message.Timestamp, last)
			}
			last = p.Message.Timestamp
			if m.WireFormat == mls.WireFormatWelcome {
				t.Error("a Welcome for somebody of another provider") // NT-2
				continue
			}
			if epoch != 0 && m.Epoch() != epoch {
				t.Errorf("something of epoch %d in epoch %d", m.Epoch(), epoch)
			}
			if epoch = m.Epoch(); m.WireFormat == mls.WireFormatPublicMessage && m.ContentType() == mls.ContentTypeCommit {
				epoch++
			}
		}
		if len(parts) != 14 {
			t.Errorf("%d events", len(parts))
		}
	})
}

// TestKM10WhatOthersHandOutIsChecked: of the KeyPackages that a provider hands out those are dropped that are not what
// they are said to be, before anybody uses them.
func TestKM10WhatOthersHandOutIsChecked(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		tablet := b.User("bob")
		online(t, tablet)
		until(t, "the tablet is in", has(tablet, room))
		forged := 0
		forge := func(change func(*wire.KeyMaterialResponse)) {
			b.InFront(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.Contains(r.URL.Path, "/keyMaterial/") {
						next.ServeHTTP(w, r)
						return
					}
					answer := httptest.NewRecorder()
					next.ServeHTTP(answer, r)
					resp, err := wire.UnmarshalKeyMaterialResponse(answer.Body.Bytes())
					must(t, err)
					change(resp)
					forged++
					body, err := resp.Bytes()
					must(t, err)
					_, err = w.Write(body)
					must(t, err)
				})
			})
		}
		for what, change := range map[string]func(*wire.KeyMaterialResponse){
			"packages in each other's place": func(r *wire.KeyMaterialResponse) {
				if len(r.Clients) == 2 {
					r.Clients[0].KeyPackage, r.Clients[1].KeyPackage = r.Clients[1].KeyPackage, r.Clients[0].KeyPackage
				}
			},
			"another user": func(r *wire.KeyMaterialResponse) { r.UserURI = alice.Account.User },
			"a broken signature": func(r *wire.KeyMaterialResponse) {
				for i := range r.Clients {
					if kp := r.Clients[i].KeyPackage; kp != nil {
						kp.LeafNode.Signature[0] ^= 1
					}
				}
			},
		} {
			before := forged
			forge(change)
			_, err := alice.Session.NewGroup(ctx, what, []string{bob.Account.User.String()})
			if forged == before {
				t.Errorf("%s: nobody was asked", what)
			}
			time.Sleep(time.Minute)
			list, listErr := bob.Session.Rooms(ctx)
			must(t, listErr)
			if len(list) != 1 {
				t.Errorf("%s: bob is in %d rooms (%v)", what, len(list), err)
			}
		}
		// One of two is good: it is enough.
		forge(func(r *wire.KeyMaterialResponse) {
			if kp := r.Clients[0].KeyPackage; kp != nil {
				kp.LeafNode.Signature[0] ^= 1
			}
		})
		g, err := alice.Session.NewGroup(ctx, "half", []string{bob.Account.User.String()})
		must(t, err)
		until(t, "one of bob's devices is in", func() bool { return has(bob, g.ID)() || has(tablet, g.ID)() })
	})
}

// TestIQ1DirectlyToTheProvider: who looks for somebody elsewhere asks there, directly, and is told by the same rules.
func TestIQ1DirectlyToTheProvider(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		bob := b.User("bob")
		online(t, bob)
		r := record(a)
		for range 2 { // safe and idempotent
			found, err := bob.Session.Search(ctx, "dave@a.example")
			must(t, err)
			if len(found) != 1 || found[0].User != "mimi://a.example/u/dave" || found[0].DisplayName != "Display dave" {
				t.Errorf("found %+v", found)
			}
		}
		all := r.of("identifierQuery")
		if len(all) != 2 || all[0].path != "/mimi/v1/identifierQuery/mimi%3A%2F%2Fa.example" {
			t.Errorf("asked %d times, %q", len(all), all[0].path)
		}
		// Nobody here may search others through: after some time of it one has to wait.
		for i := range 100 {
			_, _ = bob.Session.Search(ctx, fmt.Sprintf("dave%d@a.example", i)) // some are refused
		}
		if n := len(r.of("identifierQuery")); n < 20 || n > 40 {
			t.Errorf("%d queries went out", n)
		}
	})
}

// slowBody begins and does not go on.
type slowBody struct {
	begun  bool
	closed chan struct{}
	once   sync.Once
}

// Read implements io.Reader.
func (b *slowBody) Read(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		return min(len(p), 1000), nil
	}
	select {
	case <-b.closed:
	case <-time.After(2 * time.Minute):
	}
	return 0, io.EOF
}

// Close implements io.Closer.
func (b *slowBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// TestSlowAndGreedyProviderHarmsNobody: one provider holds as many requests open as it can, each with a body that does not
// end; what others ask for is answered meanwhile, and it is let go after half a minute.
func TestSlowAndGreedyProviderHarmsNobody(t *testing.T) {
	providers(t, func(n *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob, room := club(t, a, b)
		greedy, err := n.Impostor("greedy.example")
		must(t, err)
		defer greedy.Close()
		var statuses []int
		done := make(chan int, 400)
		for range 400 {
			go func() {
				body := &slowBody{closed: make(chan struct{})}
				answer, err := greedy.Post(ctx, a, "notify", "mimi://greedy.example/r/x", nil, func(r *http.Request) { r.Body, r.ContentLength = body, -1 })
				if err != nil {
					done <- 0
					return
				}
				done <- answer.Status
			}()
		}
		time.Sleep(time.Second)
		start := time.Now()
		send(t, bob, room, "beside it")
		sees(t, alice, room, "beside it")
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("others waited %v", took)
		}
		for range 400 {
			statuses = append(statuses, <-done)
		}
		if took := time.Since(start); took > 70*time.Second {
			t.Errorf("it was let go after %v", took)
		}
		if !slices.Contains(statuses, http.StatusTooManyRequests) {
			t.Error("it may have 400 requests open")
		}
		if slices.Contains(statuses, http.StatusCreated) {
			t.Error("a body that did not end was taken")
		}
	})
}
