package client

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/web/api"
)

var (
	errOffline  = errors.New("client: offline")
	errLinkLost = errors.New("client: connection lost")
)

// Timing of a connection.
const (
	dialTimeout  = 20 * time.Second
	callTimeout  = 30 * time.Second
	awayTimeout  = 90 * time.Second // where our provider may ask another, and give that one a minute
	pingInterval = 30 * time.Second
	replacedWait = time.Minute // another engine of this device took over; do not fight it
)

// statusError is a refusal that is not a MIMI response.
type statusError struct {
	status uint16
	code   string
}

func (s *statusError) Error() string { return "client: refused: " + s.code }

// describe maps the refusal to the catalogue.
func (s *statusError) describe() *Error {
	codes := map[uint16]string{
		api.StatusUnauthorized: CodeSignedOut, api.StatusForbidden: CodeNotAllowed, api.StatusNotFound: CodeNotFound,
		api.StatusConflict: CodeConflict, api.StatusTooLarge: CodeTooLong, api.StatusRateLimited: CodeRateLimited,
		api.StatusUnavailable: CodeOffline, api.StatusDiskFull: CodeDiskFull,
	}
	switch s.code {
	case api.CodeHubUnreachable:
		return fail(CodeHubUnreachable, "another provider cannot be reached")
	case api.CodePeerRefused:
		return fail(CodePeerRefused, "the provider does not talk to that one")
	}
	if code, ok := codes[s.status]; ok {
		return fail(code, "refused by the provider: "+s.code)
	}
	return fail(CodeInternal, "refused by the provider: "+s.code)
}

// temporary reports whether the same request may succeed by itself a little later.
func (s *statusError) temporary() bool {
	return s.status == api.StatusRateLimited || s.status == api.StatusUnavailable || s.status == api.StatusInternal
}

// isFinal reports whether an operation was refused for good.
func isFinal(err error) bool {
	var status *statusError
	return errors.As(err, &status) && !status.temporary()
}

// link is one connection.
type link struct {
	conn Conn
	out  chan []byte
	gone chan struct{} // closed when the connection is of no more use

	mu    sync.Mutex
	err   error
	next  uint32
	calls map[uint32]chan *api.Response
}

func newLink(conn Conn) *link {
	return &link{conn: conn, out: make(chan []byte, 64), gone: make(chan struct{}), calls: map[uint32]chan *api.Response{}}
}

// close ends the connection; all calls fail.
func (l *link) close(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.gone)
		l.conn.Close()
	}
}

// write is the goroutine that writes.
func (l *link) write(ctx context.Context) {
	for {
		select {
		case data := <-l.out:
			if err := l.conn.Write(ctx, data); err != nil {
				l.close(errLinkLost)
				return
			}
		case <-l.gone:
			return
		case <-ctx.Done():
			l.close(errLinkLost)
			return
		}
	}
}

// ack acknowledges if there is room in the queue; otherwise a later one will do.
func (l *link) ack(cursor uint64) bool {
	data, err := api.Bytes(&api.Ack{Cursor: cursor})
	if err != nil {
		return false
	}
	select {
	case l.out <- data:
		return true
	default:
		return false
	}
}

// call sends a request and waits for the body of its answer.
func (l *link) call(ctx context.Context, op api.Op, target string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience(op))
	defer cancel()
	id, answer := l.register()
	defer l.forget(id)
	data, err := api.Bytes(&api.Request{ID: id, Op: op, Target: target, Body: body})
	if err != nil {
		return nil, fail(CodeTooLong, "request too large")
	}
	select {
	case l.out <- data:
	case <-l.gone:
		return nil, errLinkLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case r := <-answer:
		if r.Status != api.StatusOK {
			return nil, &statusError{r.Status, machineCode(r.Body)}
		}
		return r.Body, nil
	case <-l.gone:
		return nil, errLinkLost
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			l.close(errLinkLost) // whoever does not answer in time is gone
		}
		return nil, ctx.Err()
	}
}

// patience is how long an operation may take. A connection that is dead is found out by pings.
func patience(op api.Op) time.Duration {
	switch op {
	case api.OpPing, api.OpHello, api.OpRegisterDevice, api.OpPublishKeyPackages, api.OpRooms, api.OpCreateRoom, api.OpLeft:
		return callTimeout
	}
	return awayTimeout
}

// machineCode keeps what a server may put into our diagnostics short and plain.
func machineCode(body []byte) string {
	if len(body) > 32 {
		body = body[:32]
	}
	for _, c := range body {
		if c != '_' && (c < 'a' || c > 'z') {
			return "unknown"
		}
	}
	return string(body)
}

func (l *link) register() (uint32, chan *api.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	answer := make(chan *api.Response, 1)
	l.calls[l.next] = answer
	return l.next, answer
}

func (l *link) forget(id uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, id)
}

func (l *link) answer(r *api.Response) {
	l.mu.Lock()
	answer := l.calls[r.ID]
	delete(l.calls, r.ID)
	l.mu.Unlock()
	if answer != nil {
		answer <- r
	}
}

// call asks the provider on the current connection.
func (e *engine) call(ctx context.Context, op api.Op, target string, body []byte) ([]byte, error) {
	var l *link
	err := e.do(ctx, func() error {
		if l = e.link; l == nil {
			return errOffline
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l.call(ctx, op, target, body)
}

// stayConnected connects again and again until the engine ends.
func (e *engine) stayConnected(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		helloed, err := e.serve(ctx)
		if helloed {
			failures = 0
		}
		failures++
		pause := backoff(failures)
		var closed *CloseError
		if errors.As(err, &closed) && closed.Code == closeReplaced {
			pause = replacedWait
		}
		_ = e.do(ctx, func() error { e.offline(err); return nil })
		sleep(ctx, pause)
		_ = e.do(ctx, func() error { e.connecting = true; e.postState(); return nil })
	}
}

// offline notes that the connection is gone.
func (e *engine) offline(err error) {
	e.link, e.caughtUp, e.connecting = nil, false, false
	var closed *CloseError
	var known *Error
	switch {
	case errors.As(err, &closed) && closed.Code == closeSignedOut:
		e.problem = fail(CodeSignedOut, "the session ended")
	case errors.As(err, &known):
		e.problem = known
	default:
		e.problem = nil // being offline is no error
	}
	e.postState()
}

// serve lives through one connection and reports whether it came as far as Hello.
func (e *engine) serve(ctx context.Context) (helloed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialing, cancelDial := context.WithTimeout(ctx, dialTimeout)
	defer cancelDial()
	conn, err := e.cfg.Transport.Dial(dialing)
	if err != nil {
		return false, err
	}
	l := newLink(conn)
	defer l.close(errLinkLost)
	g, rest, err := readGreeting(dialing, conn)
	if err != nil {
		return false, err
	}
	e.spawn(func(context.Context) { l.write(ctx) })
	e.spawn(func(context.Context) { e.read(ctx, l, rest) })
	for _, step := range []func(context.Context, *link, *api.Greeting) error{e.greet, e.register, e.hello} {
		if err := step(ctx, l, g); err != nil {
			return false, err
		}
	}
	e.spawn(func(context.Context) { ping(ctx, l) })
	select {
	case <-l.gone:
		return true, l.err
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// readGreeting reads the first message and returns what came behind the greeting in it.
func readGreeting(ctx context.Context, conn Conn) (*api.Greeting, []byte, error) {
	data, err := conn.Read(ctx)
	if err != nil {
		return nil, nil, err
	}
	f, rest, err := api.Next(data)
	if err != nil {
		return nil, nil, err
	}
	g, ok := f.(*api.Greeting)
	if !ok {
		return nil, nil, errors.New("client: provider did not greet")
	}
	return g, rest, nil
}

// read is the goroutine that reads: answers go to their callers, the stream goes through the loop.
func (e *engine) read(ctx context.Context, l *link, data []byte) {
	for {
		for len(data) > 0 {
			f, rest, err := api.Next(data)
			if err == nil {
				err = e.frame(ctx, l, f)
			}
			if err != nil {
				l.close(err)
				return
			}
			data = rest
		}
		var err error
		if data, err = l.conn.Read(ctx); err != nil {
			l.close(err)
			return
		}
	}
}

func (e *engine) frame(ctx context.Context, l *link, f api.Frame) error {
	switch f := f.(type) {
	case *api.Response:
		l.answer(f)
	case *api.Event:
		return e.do(ctx, func() error { return e.onEvent(f) })
	case *api.CaughtUp:
		return e.do(ctx, func() error { e.onCaughtUp(l); return nil })
	case *api.Hint:
		return e.do(ctx, func() error { e.onHint(f.What); return nil })
	default:
		return errors.New("client: unexpected frame")
	}
	return nil
}

// onHint asks again for what is not in the stream.
func (e *engine) onHint(what api.HintKind) {
	switch {
	case what == api.HintConsents:
		e.askConsents()
	case what == api.HintRooms && e.ready():
		e.spawn(e.findRooms)
	case what == api.HintProfiles && e.ready():
		e.askNames()
		e.checkRoots()
	}
}

func ping(ctx context.Context, l *link) {
	for {
		sleep(ctx, pingInterval)
		if ctx.Err() != nil {
			return
		}
		if _, err := l.call(ctx, api.OpPing, "", nil); err != nil {
			return
		}
	}
}

// greet checks who greets: the same user, and the identity root that was pinned when the device was made.
func (e *engine) greet(ctx context.Context, _ *link, g *api.Greeting) error {
	return e.do(ctx, func() error {
		if g.User != e.user.String() {
			err := e.cfg.Store.Commit(context.WithoutCancel(ctx), []Op{{keyUser, []byte(g.User)}})
			if err == nil {
				err = errOtherUser
			}
			e.cancel(err)
			return err
		}
		root := e.root // and already checked, if it is the one that was pinned
		if root == nil || !bytes.Equal(root.Raw, g.Root) {
			var err error
			if root, err = identity.ParseRoot(g.Root); err != nil {
				return err
			}
		}
		if root.Domain != e.user.Provider() || e.root != nil && !bytes.Equal(e.root.Raw, root.Raw) {
			return fail(CodeIdentityChanged, "the provider's identity root is not the one this device knows")
		}
		e.root, e.hub, e.agent = root, g.Hub, g.Agent
		e.skew = time.UnixMilli(int64(g.Time)).Sub(e.cfg.Now())
		if e.dev == nil {
			return e.makeDevice(g)
		}
		if e.dev.displayName != g.DisplayName {
			e.dev.displayName = g.DisplayName
			return e.commit(&batch{ops: []Op{{keyDevice, e.dev.bytes()}}})
		}
		return nil
	})
}

// makeDevice makes and stores this device's key, which is thereby known before anybody else hears of it.
func (e *engine) makeDevice(g *api.Greeting) error {
	key, err := mls.GenerateSignatureKey(suite, e.cfg.Rand)
	if err != nil {
		return err
	}
	private := key.Private()
	e.dev = &device{user: e.user, displayName: g.DisplayName, key: lazyKey(private), private: private, root: e.root.Raw}
	return e.commit(&batch{ops: []Op{{keyDevice, e.dev.bytes()}}})
}

// register gets a certificate: the first one, or the next when two thirds of its life are over (CR-5). A renewal that
// fails is tried again on the next connection.
func (e *engine) register(ctx context.Context, l *link, g *api.Greeting) error {
	var target string
	var due bool
	err := e.do(ctx, func() error {
		target = e.dev.client.String()
		due = target == "" || e.renewalDue()
		return nil
	})
	if err != nil || !due {
		return err
	}
	key, err := e.dev.key()
	if err != nil {
		return err
	}
	sig, err := key.SignWithLabel(api.LabelRegisterDevice, g.Nonce[:])
	if err != nil {
		return err
	}
	req := &api.RegisterDeviceRequest{Name: e.cfg.DeviceName, SignatureKey: key.Public(), Signature: sig}
	body, err := req.Bytes()
	if err == nil {
		body, err = l.call(ctx, api.OpRegisterDevice, target, body)
	}
	if err == nil {
		err = e.do(ctx, func() error { return e.registered(body) })
	}
	if err != nil && target != "" && ctx.Err() == nil {
		return nil
	}
	return err
}

func (e *engine) renewalDue() bool {
	c, err := identity.Parse(e.dev.certificate)
	if err != nil {
		return true
	}
	return e.now().After(c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) * 2 / 3))
}

// registered keeps a certificate that says what it must.
func (e *engine) registered(body []byte) error {
	r, err := api.UnmarshalRegisterDeviceResponse(body)
	if err != nil {
		return err
	}
	client, err := mimi.ParseClientID(r.Client)
	if err != nil {
		return err
	}
	cert, err := identity.Parse(r.Certificate)
	if err != nil {
		return err
	}
	key, err := e.dev.key()
	if err != nil {
		return err
	}
	if err := e.root.Verify(cert, e.now()); err != nil {
		return err
	}
	if cert.Client != client || cert.User != e.user || !bytes.Equal(cert.PublicKey, key.Public()) ||
		!e.dev.client.IsZero() && e.dev.client != client {
		return errors.New("client: certificate for somebody else")
	}
	e.dev.client, e.dev.certificate = client, r.Certificate
	for _, r := range e.rooms {
		r.group, r.renewed = nil, false // restored when needed, then with the new credential
	}
	return e.commit(&batch{ops: []Op{{keyDevice, e.dev.bytes()}}})
}

// hello starts the stream behind the last event that is stored here.
func (e *engine) hello(ctx context.Context, l *link, g *api.Greeting) error {
	var cursor uint64
	var client string
	err := e.do(ctx, func() error { cursor, client = e.cursor, e.dev.client.String(); return nil })
	if err != nil {
		return err
	}
	key, err := e.dev.key()
	if err != nil {
		return err
	}
	sig, err := key.SignWithLabel(api.LabelHello, api.HelloContent(g.Nonce, client))
	if err != nil {
		return err
	}
	body, err := (&api.HelloRequest{Cursor: cursor, Signature: sig}).Bytes()
	if err != nil {
		return err
	}
	if body, err = l.call(ctx, api.OpHello, client, body); err != nil {
		if isLost(err) {
			err = e.do(ctx, e.disown)
		}
		return err
	}
	r, err := api.UnmarshalHelloResponse(body)
	if err != nil {
		return err
	}
	return e.do(ctx, func() error {
		e.link, e.connecting, e.problem = l, false, nil
		e.refillPackages(int(r.KeyPackages))
		e.postState()
		if e.early == l {
			e.onCaughtUp(l)
		}
		return nil
	})
}
