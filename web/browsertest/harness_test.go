//go:build browser

package browsertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"kith/server/servertest/acmetest"
)

// patience is how long a test waits for something that a person would expect within a second or two. Two slow cores
// that also compile need more.
const patience = 60 * time.Second

// binary is the built program; TestMain makes it.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kith-browsertest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if binary, err = acmetest.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// provider is one running binary.
type provider struct {
	t       *testing.T
	dir     string
	addr    string
	base    string // how its URLs begin
	program *acmetest.Program
}

// freeAddress is one that nothing listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	return listener.Addr().String()
}

// startProvider starts kith -dev on a free port of 127.0.0.1, with further flags.
func startProvider(t *testing.T, more ...string) *provider {
	t.Helper()
	addr := freeAddress(t)
	p := &provider{t: t, dir: t.TempDir(), addr: addr, base: "http://" + addr}
	p.program = &acmetest.Program{Binary: binary, Data: p.dir, Log: filepath.Join(t.TempDir(), "log"), Args: append([]string{"-dev", "-listen", addr}, more...),
		Ready: p.base + "/readyz", Client: http.DefaultClient}
	p.run()
	return p
}

// run starts the provider and sees to its end.
func (p *provider) run() {
	t := p.t
	t.Helper()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the log of %s:\n%s", p.base, p.program.Logged(60))
		}
	})
	p.start()
}

func (p *provider) url(path string) string { return p.base + path }

func (p *provider) start() {
	p.t.Helper()
	if err := p.program.Start(patience); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends the server as a power cut does.
func (p *provider) kill() { p.program.Kill() }

// setupLink is what the operator reads: kith setup-link, one line, while the server runs.
func (p *provider) setupLink() string {
	p.t.Helper()
	out, err := exec.Command(binary, "setup-link", "-data", p.dir).Output()
	if err != nil {
		p.t.Fatalf("kith setup-link: %v", err)
	}
	link, _ := bufio.NewReader(strings.NewReader(string(out))).ReadString('\n')
	path := link[strings.Index(link, "/setup/"):]
	return p.url(strings.TrimSpace(path))
}

// startBrowser starts one Chromium for the test; its profiles are isolated from each other.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	return startBrowserWith(t, "MAP * 127.0.0.1")
}

// startBrowserWith starts a Chromium that finds hosts by rules, and has further flags.
func startBrowserWith(t *testing.T, rules string, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal("E2E_REQUIRED=1, but chromium is not installed")
		}
		t.Skip("chromium is not installed; .ci/run browser installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", rules), chromedp.Flag("disable-dev-shm-usage", true))
	options = append(options, more...)
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	browser, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() { cancel(); cancelAllocator() })
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	return browser
}

// profile is one person's browser: storage of its own, any number of tabs.
type profile struct {
	t    *testing.T
	name string
	ctx  context.Context
}

func newProfile(t *testing.T, browser context.Context, name string) *profile {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s: new profile: %v", name, err)
	}
	return &profile{t, name, ctx}
}

// tab is one open page.
type tab struct {
	t      *testing.T
	name   string
	ctx    context.Context
	cancel context.CancelFunc
}

func (p *profile) open(url string) *tab {
	p.t.Helper()
	ctx, cancel := chromedp.NewContext(p.ctx)
	tab := &tab{p.t, p.name, ctx, cancel}
	p.t.Cleanup(cancel)
	// The first call makes the page; it lives as long as the context it is made with, hence no deadline.
	if err := chromedp.Do(ctx); err != nil {
		p.t.Fatalf("%s: new tab: %v", p.name, err)
	}
	tab.do(chromedp.Navigate(url))
	if dir := os.Getenv("KITH_CONSOLE"); dir != "" {
		go tab.console()
	}
	return tab
}

// console prints what the page says, for a person who looks for a fault.
func (b *tab) console() {
	for message, err := range chromedp.Console(b.ctx) {
		if err != nil {
			return
		}
		fmt.Printf("[%s] %v\n", b.name, message)
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.fail("%v", err)
	}
}

// fail ends the test with a picture and the texts of the page.
func (b *tab) fail(format string, args ...any) {
	b.t.Helper()
	b.screenshot("failure")
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location.pathname + "\n" + document.body.innerText.slice(0, 2000)`))
	b.t.Fatalf("%s: %s\nthe page shows: %s", b.name, fmt.Sprintf(format, args...), text)
}

// eval runs an expression in the page and returns its JSON value.
func eval[T any](b *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression))
}

// until waits for a condition of the page.
func (b *tab) until(what, condition string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if ok, err := eval[bool](b, "!!("+condition+")"); err == nil && ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.fail("waited in vain for %s", what)
}

func sel(id string) string { return `[data-testid="` + id + `"]` }

func quote(s string) string {
	out, _ := json.Marshal(s)
	return string(out)
}

// js is the expression of the element of a test id, optionally narrowed by a further selector.
func js(id, more string) string { return "document.querySelector(" + quote(sel(id)+more) + ")" }

func (b *tab) click(id string) { b.t.Helper(); b.clickMore(id, "") }

func (b *tab) clickMore(id, more string) {
	b.t.Helper()
	b.until(id+more+" to be there", js(id, more)+"?.checkVisibility()")
	b.do(chromedp.Click(chromedp.CSS(sel(id) + more)))
}

// fill types a text as a person does, after clearing the field.
func (b *tab) fill(id, text string) {
	b.t.Helper()
	b.until(id+" to be there", js(id, "")+"?.checkVisibility()")
	b.do(chromedp.Clear(chromedp.CSS(sel(id))), chromedp.SendKeys(chromedp.CSS(sel(id)), text))
}

// paste puts a text into a field at once.
func (b *tab) paste(id, text string) {
	b.t.Helper()
	b.until(id+" to be there", js(id, "")+"?.checkVisibility()")
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
		`(() => { const e = %s; e.focus(); e.value = %s; e.dispatchEvent(new Event("input", {bubbles: true})); })()`, js(id, ""), quote(text))))
}

func (b *tab) text(id string) string {
	b.t.Helper()
	b.until(id, js(id, ""))
	text, err := eval[string](b, js(id, "")+".textContent")
	if err != nil {
		b.fail("%v", err)
	}
	return strings.TrimSpace(text)
}

func (b *tab) reload() { b.t.Helper(); b.do(chromedp.Reload()) }

// ready waits for the engine.
func (b *tab) ready() {
	b.t.Helper()
	b.until("the engine", js("engine-state", `[data-state="ready"]`))
}

// crash kills the tab's process and with it the engine that lives in it.
func (b *tab) crash() {
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Second)
	_, _ = chromedp.Call(ctx, page.Crash, struct{}{}) // it never answers
	cancel()
	b.cancel()
}

// message is one row of the timeline as the page shows it.
type message struct {
	ID    string `json:"id"`
	Mine  bool   `json:"mine"`
	State string `json:"state"`
	Text  string `json:"text"`
}

func (b *tab) messages() []message {
	b.t.Helper()
	list, err := eval[[]message](b, `[...document.querySelectorAll('[data-testid="timeline"] [data-testid="message"]')].map(m => ({
		id: m.dataset.id, mine: m.dataset.mine === "true", state: m.dataset.state,
		text: m.querySelector('[data-testid="message-text"]')?.textContent ?? ""}))`)
	if err != nil {
		b.fail("%v", err)
	}
	return list
}

func (b *tab) seesText(text string) {
	b.t.Helper()
	b.until("the text "+text, `[...document.querySelectorAll('[data-testid="message-text"]')].some(m => m.textContent === `+quote(text)+`)`)
}

func (b *tab) openRoom(name string) {
	b.t.Helper()
	b.clickMore("room-item", `[data-name=`+quote(name)+`]`)
	b.until("the composer", js("composer", "")+"?.checkVisibility()")
}

func (b *tab) send(text string) {
	b.t.Helper()
	b.paste("composer", text)
	b.click("send")
}

func (b *tab) sentText(text string) {
	b.t.Helper()
	b.until(text+" to be sent", `[...document.querySelectorAll('[data-testid="message"][data-state="sent"]')].some(m =>
		m.querySelector('[data-testid="message-text"]').textContent === `+quote(text)+`)`)
}

// screenshot keeps a picture when KITH_SCREENSHOTS names a folder.
func (b *tab) screenshot(name string) {
	dir := os.Getenv("KITH_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Logf("screenshot %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, b.name+"-"+name+".png"), png, 0o600); err != nil {
		b.t.Logf("screenshot %s: %v", name, err)
	}
}

// look sets window size and colour scheme.
func (b *tab) look(width, height int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		b.fail("colour scheme: %v", err)
	}
}
