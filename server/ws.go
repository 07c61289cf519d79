package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"kith/db"
	"kith/mimi"
	"kith/mimi/room"
	"kith/web/api"
)

const (
	maxInFlight  = 256     // requests of one socket that wait for the database
	maxAsides    = 64      // requests of one socket that may wait for another provider
	maxReplies   = 4 << 20 // octets of answers a socket may leave unread before it is not listened to
	readLimit    = api.MaxClientFrame + 4096
	readLimitBig = api.MaxBulkFrame + 4096 // once the device is known
	keepBuffer   = 64 << 10                // larger buffers go back to the garbage collector
)

// opError is a request's refusal: a status and a machine code for the browser. Everything else that goes wrong is a
// fault, whose text stays in the log.
type opError struct {
	status uint16
	code   string
}

// Error returns the machine code.
func (e *opError) Error() string { return "server: " + e.code }

// The refusals of operations.
var (
	opBadRequest   = &opError{api.StatusBadRequest, api.CodeBadRequest}
	opUnknownOp    = &opError{api.StatusBadRequest, api.CodeUnknownOp}
	opNoDevice     = &opError{api.StatusUnauthorized, api.CodeNoDevice}
	opBadSignature = &opError{api.StatusForbidden, api.CodeBadSignature}
	opNotAllowed   = &opError{api.StatusForbidden, api.CodeNotAllowed}
	opUnknown      = &opError{api.StatusNotFound, api.CodeNotFound}
	opConflict     = &opError{api.StatusConflict, api.CodeConflict}
	opTooLarge     = &opError{api.StatusTooLarge, api.CodeTooLarge}
	opRateLimited  = &opError{api.StatusRateLimited, api.CodeRateLimited}
	opInternal     = &opError{api.StatusInternal, api.CodeInternal}
	opStopping     = &opError{api.StatusUnavailable, api.CodeStopping}
	opDiskFull     = &opError{api.StatusDiskFull, api.CodeDiskFull}
	opHubAway      = &opError{api.StatusUnavailable, api.CodeHubUnreachable}
	opBusy         = &opError{api.StatusUnavailable, "busy"} // to other providers only
	opSuspended    = &opError{api.StatusUnavailable, "suspended"}
	opPeerRefused  = &opError{api.StatusForbidden, api.CodePeerRefused}
)

// asOpError turns a fault of the database into what the browser may know of it.
func asOpError(err error) *opError {
	var e *opError
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, db.ErrDiskFull):
		return opDiskFull
	case errors.Is(err, db.ErrClosed), errors.Is(err, context.Canceled):
		return opStopping
	}
	return opInternal
}

// socket is one browser's connection. The goroutine of serve reads and answers, the one of write sends.
type socket struct {
	m       *messenger
	conn    *websocket.Conn
	account socketAccount
	nonce   [api.NonceSize]byte
	context context.Context // ends with the socket
	cancel  context.CancelFunc
	slots   chan struct{} // requests that wait for the database
	asides  chan struct{} // requests that may wait for another provider

	sessionEnds int64 // as far as keepAlive knows; 0: it has not looked

	// Set by Hello, for serve's goroutine alone.
	client mimi.ClientID
	device int64
	acked  int64 // what was acknowledged and not yet stored
	known  int64 // what was acknowledged at all
	stored time.Time

	lastRead atomic.Int64 // when the browser was last heard, for check
	writing  atomic.Int64 // since when a message is being sent; 0: none is
	ending   atomic.Bool

	outgoing
}

// ServeSocket implements chat: it turns a request of a signed-in browser into a socket. It returns at once: the socket's
// own goroutines keep less memory than those of the HTTP server, with the request and all handlers on their stack.
func (m *messenger) ServeSocket(w http.ResponseWriter, r *http.Request, who principal) {
	user, err := mimi.NewUserID(m.domain, who.Account.Username)
	if err != nil {
		m.Log.Error("an account's name is no identifier", "error", err.Error())
		http.Error(w, api.CodeInternal, http.StatusInternalServerError)
		return
	}
	account := socketAccount{Session: who.Session.ID, User: user, DisplayName: who.Account.DisplayName}
	// Accept refuses an Origin that is not this host: a foreign page cannot use the cookie.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	conn.SetReadLimit(readLimit)
	s := &socket{m: m, conn: conn, account: account, slots: make(chan struct{}, maxInFlight),
		asides: make(chan struct{}, maxAsides)}
	s.outgoing.init()
	s.lastRead.Store(time.Now().UnixNano())
	s.context, s.cancel = context.WithCancel(m.context)
	if !m.add(s) {
		conn.Close(websocket.StatusGoingAway, api.ReasonStopping)
		return
	}
	go func() {
		defer m.remove(s)
		defer s.recovered()
		s.serve()
	}()
}

// recovered ends only this socket when a bug of ours panics, as the HTTP server does it for a request.
func (s *socket) recovered() {
	if recover() != nil {
		// The value of the panic may hold what a person wrote; the stack says where it was.
		s.m.Log.Error("panic while serving a browser", "stack", string(debug.Stack()))
		s.cancel()
		s.conn.CloseNow()
	}
}

// apart runs fn on a goroutine of its own and waits for it. What needs a deep stack for a moment must not leave a large
// one to a goroutine that lives as long as its socket.
func (s *socket) apart(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.recovered()
		fn()
	}()
	<-done
}

// serve is the life of a socket.
func (s *socket) serve() {
	var writer sync.WaitGroup
	writer.Go(func() {
		defer s.recovered()
		s.write()
	})
	defer func() {
		s.m.fanout.unregister(s)
		s.storeAck(true)
		s.cancel()
		s.outgoing.close()
		s.conn.CloseNow()
		writer.Wait()
	}()
	var err error
	if s.apart(func() { err = s.greet() }); err != nil {
		s.m.Log.Error("greeting a browser", "error", err.Error())
		return
	}
	for s.outgoing.waitDrained() {
		if err := s.readMessage(); err != nil {
			s.endWith(err)
			return
		}
	}
}

// greet sends what a browser must know before it can ask for anything.
func (s *socket) greet() error {
	if _, err := rand.Read(s.nonce[:]); err != nil {
		return err
	}
	hub, err := marshalValue(s.m.Identity.HubSender())
	if err != nil {
		return err
	}
	agent, err := s.m.Identity.FrankingAgent().Bytes()
	if err != nil {
		return err
	}
	return s.send(&api.Greeting{Nonce: s.nonce, Time: uint64(s.m.Now().UnixMilli()), User: s.account.User.String(),
		DisplayName: s.account.DisplayName, Root: s.m.Identity.RootDER(), Hub: hub, Agent: agent})
}

var readBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// readMessage reads one websocket message and carries out the frames in it. An error ends the socket.
func (s *socket) readMessage() error {
	kind, r, err := s.conn.Reader(context.Background())
	if err != nil {
		return err
	}
	if kind != websocket.MessageBinary {
		return api.ErrKind
	}
	data, err := readAll(r)
	if err != nil {
		return err
	}
	s.lastRead.Store(time.Now().UnixNano())
	for len(data) > 0 {
		var frame api.Frame
		if frame, data, err = api.Next(data); err != nil {
			return err
		}
		switch f := frame.(type) {
		case *api.Request:
			s.request(f)
		case *api.Ack:
			s.ack(f.Cursor)
		default:
			return api.ErrKind
		}
	}
	return nil
}

// readAll reads one message into memory of exactly its size, which may be kept. The buffer it grows in is borrowed only
// while there is something to read: an idle socket has none.
func readAll(r io.Reader) ([]byte, error) {
	buffer := readBuffers.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= keepBuffer {
			buffer.Reset()
			readBuffers.Put(buffer)
		}
	}()
	if _, err := buffer.ReadFrom(r); err != nil {
		return nil, err
	}
	return bytes.Clone(buffer.Bytes()), nil
}

// endWith tells the browser why reading has ended, if that is its fault, and waits until it knows.
func (s *socket) endWith(err error) {
	switch {
	case errors.Is(err, api.ErrTooLarge):
		s.conn.Close(websocket.StatusMessageTooBig, api.CodeTooLarge)
	case errors.Is(err, api.ErrKind), errors.Is(err, api.ErrMalformed), errors.Is(err, api.ErrTruncated):
		s.m.metrics.refused("frame", api.ReasonProtocol)
		s.conn.Close(websocket.StatusProtocolError, api.ReasonProtocol)
	}
}

// end closes the socket with a code, without waiting for it.
func (s *socket) end(code websocket.StatusCode, reason string) {
	if s.ending.Swap(true) {
		return
	}
	s.m.running.Go(func() { s.conn.Close(code, reason) })
}

// check is keepAlive's look at one socket.
func (s *socket) check(now time.Time) {
	if since := s.writing.Load(); since != 0 && now.UnixNano()-since > int64(writeWithin) {
		s.conn.CloseNow() // its reader does not even take a close frame
		return
	}
	if now.UnixNano()-s.lastRead.Load() < int64(pingAfter) {
		return
	}
	s.lastRead.Store(now.UnixNano()) // not again before the answer is due
	s.m.running.Go(func() {
		ctx, cancel := context.WithTimeout(s.context, pongWithin)
		defer cancel()
		if s.conn.Ping(ctx) != nil && s.context.Err() == nil {
			s.conn.CloseNow()
		}
	})
}

// request carries out one request and answers it, in order. Only submitted messages are answered later, so that many
// can wait for one commit of the database, and so is what may wait for another provider.
func (s *socket) request(r *api.Request) {
	if !r.Op.Valid() {
		s.refuse(r, opUnknownOp)
		return
	}
	if r.Op.NeedsDevice() && s.device == 0 {
		s.refuse(r, opNoDevice)
		return
	}
	if !s.allowed(r.Op) {
		s.refuse(r, opRateLimited)
		return
	}
	if r.Op == api.OpSubmitMessage {
		s.submit(r)
		return
	}
	if s.elsewhere(r) {
		s.aside(r)
		return
	}
	err := error(opInternal) // should it panic
	var body []byte
	s.apart(func() { body, err = s.dispatch(r) })
	s.finish(r, body, err)
}

// elsewhere reports whether a request may have to wait for another provider, which may take a minute to be given up.
func (s *socket) elsewhere(r *api.Request) bool {
	switch r.Op {
	case api.OpKeyMaterial, api.OpProfiles:
		return s.device != 0 // whose packages or names they are is in the body
	case api.OpUpdate, api.OpGroupInfo, api.OpIdentityRoots, api.OpIdentifierQuery, api.OpReportAbuse:
		return r.Target != "" && !s.m.isOurs(r.Target)
	}
	return false
}

// isOurs reports whether a URI is of this provider.
func (m *messenger) isOurs(uri string) bool {
	own := m.domain.String()
	return uri == own || strings.HasPrefix(uri, own+"/")
}

// aside carries out a request beside the others, so that they do not wait for it. A browser has no use for more at once
// than are let in.
func (s *socket) aside(r *api.Request) {
	if !s.mayGoOut(r) || !s.slot(s.asides) {
		s.refuse(r, opRateLimited)
		return
	}
	s.m.running.Go(func() {
		defer func() { <-s.asides }()
		defer s.recovered()
		body, err := s.dispatch(r)
		s.finish(r, body, err)
	})
}

// finish answers a request that was carried out.
func (s *socket) finish(r *api.Request, body []byte, err error) {
	if err != nil {
		s.refuse(r, err)
		return
	}
	if r.Op != api.OpHello { // whose answer goes out before it begins the stream
		s.reply(r.ID, body)
	}
}

func (s *socket) allowed(op api.Op) (ok bool) {
	if op == api.OpSubmitMessage {
		_, ok = s.m.submits.take(s.client.String(), s.m.Now())
	} else {
		_, ok = s.m.asks.take(s.account.User.String(), s.m.Now())
	}
	return ok
}

// dispatch is the table of operations, but for OpSubmitMessage.
func (s *socket) dispatch(r *api.Request) ([]byte, error) {
	switch r.Op {
	case api.OpRegisterDevice:
		return s.registerDevice(r)
	case api.OpHello:
		return nil, s.hello(r)
	case api.OpPublishKeyPackages:
		return s.publishKeyPackages(r)
	case api.OpKeyMaterial:
		return s.keyMaterial(r)
	case api.OpUpdate, api.OpGroupInfo, api.OpCreateRoom:
		return s.atHub(r)
	case api.OpRooms:
		return s.rooms()
	case api.OpIdentifierQuery:
		return s.identifierQuery(r)
	case api.OpProfiles:
		return s.profiles(r)
	case api.OpLeft:
		return s.left(r)
	case api.OpIdentityRoots:
		return s.identityRoots(r)
	case api.OpReportAbuse:
		return nil, s.reportAbuse(r)
	case api.OpConsent:
		return s.consent(r)
	case api.OpConsents:
		return s.consentList(r)
	case api.OpDevices:
		return s.devices()
	case api.OpRemoveDevice:
		return nil, s.removeDevice(r)
	case api.OpDestroyRoom:
		return s.destroyRoom(r)
	case api.OpPing:
		if len(r.Body) > 0 {
			return nil, opBadRequest
		}
		return nil, nil
	}
	return nil, opUnknownOp
}

// atHub asks the hub of the request's room.
func (s *socket) atHub(r *api.Request) ([]byte, error) {
	id, h, err := s.m.hubFor(r.Target)
	if err != nil {
		return nil, err
	}
	switch r.Op {
	case api.OpUpdate:
		return h.Update(s.context, room.From(s.client), id, r.Body)
	case api.OpGroupInfo:
		return h.GroupInfo(s.context, room.From(s.client), id, r.Body)
	}
	return h.Create(s.context, s.client, id, r.Body)
}

// submit hands a message to the room's hub. The answer comes when it is stored.
func (s *socket) submit(r *api.Request) {
	id, h, err := s.m.hubFor(r.Target)
	if err != nil {
		s.refuse(r, err)
		return
	}
	slots := s.slots
	if id.Provider() != s.m.domain {
		slots = s.asides
	}
	if !s.slot(slots) {
		s.refuse(r, opHubAway)
		return
	}
	op, request := r.Op, r.ID
	h.Submit(s.context, room.From(s.client), id, r.Body, func(body []byte, err error) {
		<-slots
		if err != nil {
			s.refuse(&api.Request{ID: request, Op: op}, err)
			return
		}
		s.reply(request, body)
	})
}

// hubFor returns the hub of a room: us, or the provider that hosts it.
func (m *messenger) hubFor(target string) (mimi.RoomID, hub, error) {
	id, err := mimi.ParseRoomID(target)
	if err != nil {
		return mimi.RoomID{}, nil, opBadRequest
	}
	if id.Provider() != m.domain {
		if m.peers.client == nil {
			return mimi.RoomID{}, nil, opUnknown
		}
		return id, &remoteHub{m, id.Provider()}, nil
	}
	return id, m.hub, nil
}

// reply answers a request with success.
func (s *socket) reply(id uint32, body []byte) {
	err := s.send(&api.Response{ID: id, Status: api.StatusOK, Body: body})
	if err != nil {
		s.send(&api.Response{ID: id, Status: api.StatusTooLarge, Body: []byte(api.CodeTooLarge)})
	}
}

// refuse answers a request with why it was not carried out.
func (s *socket) refuse(r *api.Request, err error) {
	e := asOpError(err)
	if e == opInternal {
		s.m.Log.Error("request of a browser", "op", r.Op.String(), "error", err.Error())
	}
	s.m.metrics.refused(r.Op.String(), e.code)
	s.send(&api.Response{ID: r.ID, Status: e.status, Body: []byte(e.code)})
}

// send queues one frame for this socket alone.
func (s *socket) send(f api.Frame) error {
	data, err := api.Bytes(f)
	if err == nil {
		s.outgoing.addReply(data)
	}
	return err
}

const storeAckEvery = 10 * time.Second

// ack notes what the device has stored. It is written down now and then only: it is for the administrator's eyes.
func (s *socket) ack(cursor uint64) {
	if s.device == 0 || cursor > 1<<62 {
		return
	}
	s.acked, s.known = max(s.acked, int64(cursor)), max(s.known, int64(cursor))
	s.storeAck(false)
}

func (s *socket) storeAck(last bool) {
	now := time.Now()
	if s.acked == 0 || !last && now.Sub(s.stored) < storeAckEvery {
		return
	}
	device, cursor := s.device, s.acked
	s.acked, s.stored = 0, now
	s.m.DB.Enqueue(func(tx *db.Tx) error { return tx.SetDeviceCursor(device, cursor) }, func(err error) {
		if err != nil && !errors.Is(err, db.ErrClosed) {
			s.m.Log.Warn("acknowledgement not stored", "error", err.Error())
		}
	})
}
