//go:build browser

package browsertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// crashSender is one side of the chat that writes numbered texts and survives the death of its tab.
type crashSender struct {
	t    *testing.T
	p    *provider
	who  *profile
	room string

	mu   sync.Mutex
	tab  *tab
	next int
	sent map[string]bool // every text that the page has shown as sent
}

// typeOne writes the next text as the page's user would; a dead page is no fault here.
func (s *crashSender) typeOne() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tab == nil {
		return
	}
	text := fmt.Sprintf("%s-%04d", s.who.name, s.next)
	ctx, cancel := context.WithTimeout(s.tab.ctx, 2*time.Second)
	defer cancel()
	typed, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`(() => {
		const box = `+js("composer", "")+`, button = `+js("send", "")+`;
		if (!box?.checkVisibility()) return false;
		box.value = `+quote(text)+`;
		box.dispatchEvent(new Event("input", {bubbles: true}));
		button.click();
		return true;
	})()`))
	if err == nil && typed {
		s.next++
	}
	s.observe()
}

// observe notes what the page shows as sent. The caller holds mu.
func (s *crashSender) observe() {
	if s.tab == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.tab.ctx, 2*time.Second)
	defer cancel()
	texts, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](`[...document.querySelectorAll(
		'[data-testid="message"][data-mine="true"][data-state="sent"] [data-testid="message-text"]')].map(e => e.textContent)`))
	if err != nil {
		return
	}
	for _, text := range texts {
		s.sent[text] = true
	}
}

// crash kills the tab's process in whatever it does and opens the chat again.
func (s *crashSender) crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe()
	s.tab.crash()
	s.tab = s.who.open(s.p.url("/"))
	s.tab.ready()
	s.tab.openRoom(s.room)
}

// timeline scrolls to the beginning and returns every text of the chat.
func (s *crashSender) timeline() []message {
	s.t.Helper()
	last := -1
	for {
		list := s.tab.messages()
		if len(list) == last {
			return list
		}
		last = len(list)
		s.tab.do(chromedp.Evaluate[chromedp.Void](`(e => { e.scrollTop = 0; e.dispatchEvent(new Event("scroll")); })(` + js("timeline", "") + `)`))
		time.Sleep(400 * time.Millisecond)
	}
}

// TestCrash kills the server and the tabs at random moments while both sides write. Nothing shown as sent is lost,
// nothing is shown twice, both sides show the same order. CRASH_ROUNDS says how often (10 unless told).
func TestCrash(t *testing.T) {
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv("CRASH_ROUNDS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("CRASH_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("%d rounds, CRASH_SEED=%d", rounds, seed)
	random := rand.New(rand.NewPCG(seed, 1))

	p := startProvider(t)
	browser := startBrowser(t)
	alice, bob := newProfile(t, browser, "alice"), newProfile(t, browser, "bob")
	a := setUp(t, p, alice, "alice", "Alice Example")
	b := accept(p, invitation(p, alice), bob, "bob", "Bob Example")
	newChat(a, "bob")
	a.send("first")
	b.openRoom("Alice Example")
	b.seesText("first")
	sides := []*crashSender{
		{t: t, p: p, who: alice, room: "Bob Example", tab: a, sent: map[string]bool{}},
		{t: t, p: p, who: bob, room: "Alice Example", tab: b, sent: map[string]bool{}},
	}

	stop := make(chan struct{})
	var writers sync.WaitGroup
	for _, side := range sides {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(20+rand.IntN(80)) * time.Millisecond):
					side.typeOne()
				}
			}
		})
	}
	for round := range rounds {
		time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
		switch what := random.IntN(4); what {
		case 0, 1:
			p.kill()
			time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
			p.start()
		default:
			sides[what-2].crash()
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	close(stop)
	writers.Wait()
	settle(t, sides)
	compare(t, sides)
}

// settle waits until neither side has anything left to send.
func settle(t *testing.T, sides []*crashSender) {
	t.Helper()
	for _, side := range sides {
		side.tab.ready()
		side.tab.until("everything to be sent", `document.querySelectorAll('[data-testid="message"][data-state="sending"]').length === 0`)
		side.mu.Lock()
		side.observe()
		side.mu.Unlock()
	}
	time.Sleep(2 * time.Second)
}

func compare(t *testing.T, sides []*crashSender) {
	t.Helper()
	var texts [2][]string
	for i, side := range sides {
		count := map[string]int{}
		for _, m := range side.timeline() {
			texts[i] = append(texts[i], m.Text)
			count[m.Text]++
			if m.Mine && m.State != "sent" {
				t.Errorf("%s: %s is %s", side.who.name, m.Text, m.State)
			}
		}
		for text, n := range count {
			if n > 1 {
				t.Errorf("%s shows %s %d times", side.who.name, text, n)
			}
		}
		for text := range side.sent {
			if count[text] == 0 {
				t.Errorf("%s was shown as sent and is gone on %s's own page", text, side.who.name)
			}
		}
	}
	if !slices.Equal(texts[0], texts[1]) {
		t.Errorf("the two sides differ:\nalice %v\nbob   %v", texts[0], texts[1])
	}
	t.Logf("%d messages, %d and %d of them seen as sent while they were written", len(texts[0]), len(sides[0].sent), len(sides[1].sent))
}
