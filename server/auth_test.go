package server

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPasswords(t *testing.T) {
	p, err := newPasswords(64, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	stored, err := p.hash(t.Context(), "pässword")
	if err != nil || !strings.HasPrefix(stored, "$argon2id$v=19$m=64,t=2,p=1$") {
		t.Fatalf("%q, %v", stored, err)
	}
	again, _ := p.hash(t.Context(), "pässword")
	if again == stored {
		t.Error("two hashes share a salt")
	}
	for password, want := range map[string]bool{"pässword": true, "password": false, "": false} {
		if ok, err := p.verify(t.Context(), stored, password); ok != want || err != nil {
			t.Errorf("%q: %v, %v", password, ok, err)
		}
	}
	if ok, err := p.verify(t.Context(), "", ""); ok || err != nil {
		t.Errorf("an account without a password: %v, %v", ok, err)
	}
	for _, bad := range []string{"x", "$argon2id$v=19$m=64,t=2,p=1$$", "$argon2i$v=19$m=64,t=2,p=1$YWFh$YWFh",
		"$argon2id$v=19$m=4000000,t=2,p=1$YWFh$YWFh", "$argon2id$v=19$m=64,t=0,p=1$YWFh$YWFh", "$argon2id$v=19$m=64,t=2,p=0$YWFh$YWFh",
		"$argon2id$v=19$m=64,t=2,p=1$!$YWFh", strings.Replace(stored, "v=19", "v=16", 1)} {
		if ok, err := p.verify(t.Context(), bad, "x"); ok || err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestPasswordsAreFewAtATime(t *testing.T) {
	p, err := newPasswords(1024, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	stop := make(chan struct{})
	var most int
	var wg, watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				most = max(most, len(p.slots))
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
	for i := range 20 {
		wg.Go(func() {
			if _, err := p.hash(t.Context(), fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(stop)
	watch.Wait()
	if most > passwordsAtOnce || most == 0 {
		t.Errorf("%d at once", most)
	}
}

func TestLimiter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := newLimiter(3, time.Second)
	take := func(key string) bool { _, ok := l.take(key, now); return ok }
	for range 3 {
		if !take("a") {
			t.Error("refused within the burst")
		}
	}
	if wait, ok := l.take("a", now); ok || wait <= 0 || wait > time.Second {
		t.Errorf("fourth: %v, %v", wait, ok)
	}
	if !take("b") && !take("c") {
		t.Error("another key is refused")
	}
	now = now.Add(time.Second)
	if !take("a") || take("a") {
		t.Error("not exactly one comes back in a second")
	}
	now = now.Add(-time.Hour)
	if take("a") {
		t.Error("setting the clock back gives attempts")
	}
	now = now.Add(time.Second)
	if !take("a") {
		t.Error("refilling does not go on after the clock was set back")
	}
	l.refund("a")
	if !take("a") {
		t.Error("a refund gives nothing")
	}
	now = now.Add(1000 * time.Hour)
	for i := range 5 {
		if got := take("a"); got != (i < 3) {
			t.Errorf("after a long time, attempt %d: %v", i, got)
		}
	}
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1": "fe80::/64", "pipe": "pipe",
	} {
		if got := network(remote); got != want {
			t.Errorf("%s: %s", remote, got)
		}
	}
}
