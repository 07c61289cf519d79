package client_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
	"kith/web/client"
)

const suite = mls.X25519AES128GCMSHA256Ed25519

// hub is a provider in memory: it decides with mimi/room, as the real server does, and speaks web/api frames. What
// it remembers survives its connections. Tests make it lose answers, cut connections and send what it should not.
type hub struct {
	t      testing.TB
	ca     *authority
	key    *mls.SignatureKey
	sender mls.ExternalSender
	cfg    mls.Config

	franker *rooms.Franker
	franks  *wire.FrankingAgentData // nil: it does not frank

	mu      sync.Mutex
	users   map[mimi.UserID]string // display names
	devices map[mimi.ClientID]*hubDevice
	claims  map[string]mimi.ClientID
	rooms   map[mimi.RoomID]*rooms.Hub
	answers map[string][]byte // request hash → answer
	events  []hubEvent        // cursor = index + 1
	spans   []span
	conns   map[*hubConn]bool
	frames  [][]byte // everything that crossed the wire
	agents  []*agent
	reports []*wire.AbuseReport

	delay      func() time.Duration                                            // before a request is looked at; nil: none
	tamper     func(e *hubEvent, cursor uint64, device mimi.ClientID) [][]byte // what to send instead; nil: the event
	loseAnswer func(op api.Op) bool                                            // nil: never
	refuse     func(op api.Op) uint16

	book     *consentBook // nil: everybody has consented
	hideFrom mimi.UserID  // who is told nothing of it

	others   map[mimi.ProviderID]*provider       // the providers beside a.example
	away     func(op api.Op, target string) bool // whether another provider cannot be reached for that; nil: never
	left     []string                            // who said to have left what, "client room"
	allowed  bool                                // whatever away says
	stopped  uint64                              // the clock of the hub stands still at this time
	nameless bool                                // nobody tells names of people of other providers
	lies     []byte                              // what others are told to be the identity root of a.example
}

// cursorShift leaves room between cursors for events that a test slips in.
const cursorShift = 4

type hubDevice struct {
	user     mimi.UserID
	key      []byte
	packages []*mls.KeyPackage
}

type hubEvent struct {
	room mimi.RoomID
	kind rooms.EventKind
	body []byte
}

// span says which events of a room a device may see.
type span struct {
	room     mimi.RoomID
	client   mimi.ClientID
	from, to uint64 // to 0: open
}

func newHub(t testing.TB) *hub {
	h := &hub{
		t: t, ca: newAuthority(t, "a.example", time.Now()), users: map[mimi.UserID]string{},
		devices: map[mimi.ClientID]*hubDevice{}, claims: map[string]mimi.ClientID{}, rooms: map[mimi.RoomID]*rooms.Hub{},
		answers: map[string][]byte{}, conns: map[*hubConn]bool{}, others: map[mimi.ProviderID]*provider{},
	}
	h.key, h.sender = h.ca.hub(time.Now())
	key, agent := h.ca.hub(time.Now())
	h.franks = &wire.FrankingAgentData{FrankingSignatureKey: agent.SignatureKey, Credential: agent.Credential}
	h.franker = &rooms.Franker{Agent: key, HubKeys: []rooms.HubKey{{Key: [wire.HubKeySize]byte{7}}}}
	h.cfg = mls.Config{Now: time.Now, Application: &rooms.Application{Roots: h}}
	return h
}

// user is that of a name, or of name@domain.
func (h *hub) user(name string) mimi.UserID {
	name, domain, found := strings.Cut(name, "@")
	if !found {
		domain = "a.example"
	}
	u, err := mimi.ParseUserID("mimi://" + domain + "/u/" + name)
	must(h.t, err)
	return u
}

// hubConn is one connection; it implements client.Conn for the browser's end.
type hubConn struct {
	h         *hub
	transport *transport
	user      mimi.UserID
	client    mimi.ClientID
	nonce     [api.NonceSize]byte
	toHub     chan []byte
	toClient  chan []byte
	closed    chan struct{}
	once      sync.Once
	bell      chan struct{}
	cursor    uint64
	hello     bool
	caughtUp  bool
}

// transport dials the hub as one user.
type transport struct {
	h    *hub
	user mimi.UserID
	mu   sync.Mutex
	down bool
}

func (tr *transport) setDown(down bool) {
	tr.mu.Lock()
	tr.down = down
	tr.mu.Unlock()
	if down {
		tr.h.cut(func(c *hubConn) bool { return c.user == tr.user })
	}
}

func (tr *transport) Dial(context.Context) (client.Conn, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.down {
		return nil, errors.New("no network")
	}
	c := &hubConn{h: tr.h, transport: tr, user: tr.user, toHub: make(chan []byte, 16), toClient: make(chan []byte, 16),
		closed: make(chan struct{}), bell: make(chan struct{}, 1)}
	_, _ = rand.Read(c.nonce[:])
	tr.h.mu.Lock()
	tr.h.conns[c] = true
	tr.h.mu.Unlock()
	go c.serve()
	return c, nil
}

func (c *hubConn) Read(ctx context.Context) ([]byte, error) {
	select {
	case data := <-c.toClient:
		return data, nil
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *hubConn) Write(ctx context.Context, data []byte) error {
	select {
	case c.toHub <- bytes.Clone(data):
		return nil
	case <-c.closed:
		return io.EOF
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *hubConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.h.mu.Lock()
		delete(c.h.conns, c)
		c.h.mu.Unlock()
	})
	return nil
}

// cut closes connections.
func (h *hub) cut(which func(*hubConn) bool) {
	h.mu.Lock()
	var list []*hubConn
	for c := range h.conns {
		if which(c) {
			list = append(list, c)
		}
	}
	h.mu.Unlock()
	for _, c := range list {
		c.Close()
	}
}

func (c *hubConn) send(f api.Frame) {
	data, err := api.Bytes(f)
	must(c.h.t, err)
	c.h.record(data)
	select {
	case c.toClient <- data:
	case <-c.closed:
	}
}

func (h *hub) record(data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.frames = append(h.frames, data)
}

// serve greets, answers requests and sends events, one thing at a time.
func (c *hubConn) serve() {
	c.h.mu.Lock()
	home := c.h.provider(c.user.Provider())
	c.h.mu.Unlock()
	var b cryptobyte.Builder
	b.AddValue(&home.sender)
	sender, err := b.Bytes()
	must(c.h.t, err)
	var agent []byte
	if c.h.franks != nil && home.ca == c.h.ca {
		agent, err = c.h.franks.Bytes()
		must(c.h.t, err)
	}
	c.h.mu.Lock()
	name := c.h.users[c.user]
	c.h.mu.Unlock()
	c.send(&api.Greeting{Nonce: c.nonce, Time: uint64(time.Now().UnixMilli()), User: c.user.String(), DisplayName: name,
		Root: home.ca.cert.Raw, Hub: sender, Agent: agent})
	for {
		select {
		case data := <-c.toHub:
			c.h.record(data)
			c.requests(data)
		case <-c.bell:
			c.pump()
		case <-c.closed:
			return
		}
	}
}

func (c *hubConn) requests(data []byte) {
	for len(data) > 0 {
		f, rest, err := api.Next(data)
		if err != nil {
			c.h.t.Errorf("client sent a bad frame: %v", err)
			return
		}
		data = rest
		if c.h.delay != nil {
			time.Sleep(c.h.delay())
		}
		req, ok := f.(*api.Request)
		if !ok {
			continue // an acknowledgement
		}
		status, body := c.h.handle(c, req)
		c.h.ring()
		if c.h.loseAnswer != nil && c.h.loseAnswer(req.Op) {
			c.Close()
			return
		}
		c.send(&api.Response{ID: req.ID, Status: status, Body: body})
		if req.Op == api.OpHello {
			c.pump()
		}
	}
}

// ring wakes all connections.
func (h *hub) ring() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		select {
		case c.bell <- struct{}{}:
		default:
		}
	}
}

// pump sends the events this device has not had.
func (c *hubConn) pump() {
	if !c.hello {
		return
	}
	for {
		c.h.mu.Lock()
		e, cursor := c.h.next(c.client, c.cursor)
		c.h.mu.Unlock()
		if e == nil {
			break
		}
		c.cursor = cursor
		bodies := [][]byte{e.body}
		c.h.mu.Lock()
		tamper := c.h.tamper
		c.h.mu.Unlock()
		if tamper != nil {
			bodies = tamper(e, cursor, c.client)
		}
		for i, body := range bodies {
			c.send(&api.Event{Cursor: cursor<<cursorShift + uint64(i), Room: e.room.String(), Message: body})
		}
	}
	if !c.caughtUp {
		c.caughtUp = true
		c.send(&api.CaughtUp{Cursor: c.cursor})
	}
}

func (h *hub) next(device mimi.ClientID, cursor uint64) (*hubEvent, uint64) {
	for n := cursor + 1; n <= uint64(len(h.events)); n++ {
		e := &h.events[n-1]
		for _, s := range h.spans {
			if s.room != e.room || s.client != device || n < s.from || s.to > 0 && n > s.to {
				continue
			}
			if e.kind == rooms.EventWelcome && n != s.from || e.body == nil {
				continue
			}
			return e, n
		}
	}
	return nil, 0
}

// handle is the table of operations.
func (h *hub) handle(c *hubConn, req *api.Request) (uint16, []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		if status := h.refuse(req.Op); status != 0 {
			return status, []byte("told_to")
		}
	}
	if h.away != nil && h.away(req.Op, req.Target) {
		return api.StatusUnavailable, []byte(api.CodeHubUnreachable)
	}
	body, err := h.dispatch(c, req)
	if errors.Is(err, errNoProvider) || errors.Is(err, errNoDevice) {
		return api.StatusNotFound, []byte(api.CodeNotFound)
	}
	if err != nil {
		return api.StatusBadRequest, []byte(api.CodeBadRequest)
	}
	return api.StatusOK, body
}

func (h *hub) dispatch(c *hubConn, req *api.Request) ([]byte, error) {
	switch req.Op {
	case api.OpRegisterDevice:
		return h.register(c, req)
	case api.OpHello:
		return h.hello(c, req)
	case api.OpPublishKeyPackages:
		return h.publish(c, req)
	case api.OpKeyMaterial:
		return h.keyMaterial(c, req)
	case api.OpUpdate:
		return h.once(req, func(id mimi.RoomID) ([]byte, bool, error) { return h.update(c, id, req) })
	case api.OpSubmitMessage:
		return h.once(req, func(id mimi.RoomID) ([]byte, bool, error) { return h.submit(c, id, req) })
	case api.OpCreateRoom:
		return h.once(req, func(id mimi.RoomID) ([]byte, bool, error) { return h.create(c, id, req) })
	case api.OpGroupInfo:
		return h.groupInfo(req)
	case api.OpRooms:
		var list api.StringList
		for id, r := range h.rooms {
			if r.IsParticipant(c.user) && !r.Closed() {
				list = append(list, id.String())
			}
		}
		return list.Bytes()
	case api.OpIdentifierQuery:
		return h.query(req)
	case api.OpProfiles:
		return h.profiles(req)
	case api.OpIdentityRoots:
		return h.identityRoots(req)
	case api.OpConsent:
		return h.consent(c, req)
	case api.OpConsents:
		if h.book != nil && c.user == h.hideFrom {
			return nil, nil
		}
		return h.consents(c.user)
	case api.OpLeft:
		h.left = append(h.left, c.client.String()+" "+req.Target)
	case api.OpReportAbuse:
		return h.report(req)
	case api.OpDevices:
		return h.listDevices(c)
	case api.OpRemoveDevice:
		return nil, h.removeDevice(c, req)
	case api.OpDestroyRoom:
		return nil, h.destroy(c, req)
	}
	return nil, nil // ping
}

// once answers a request that was accepted before as it was then.
func (h *hub) once(req *api.Request, do func(mimi.RoomID) ([]byte, bool, error)) ([]byte, error) {
	id, err := mimi.ParseRoomID(req.Target)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(req.Body)
	key := req.Target + hex.EncodeToString(sum[:])
	if body, ok := h.answers[key]; ok {
		return body, nil
	}
	body, accepted, err := do(id)
	if accepted {
		h.answers[key] = body
	}
	return body, err
}

func (h *hub) register(c *hubConn, req *api.Request) ([]byte, error) {
	r, err := api.UnmarshalRegisterDeviceRequest(req.Body)
	if err != nil {
		return nil, err
	}
	if err := mls.VerifyWithLabel(suite, r.SignatureKey, api.LabelRegisterDevice, c.nonce[:], r.Signature); err != nil {
		return nil, err
	}
	id := mimi.ClientID{}
	for known, d := range h.devices {
		if bytes.Equal(d.key, r.SignatureKey) {
			id = known
		}
	}
	if id.IsZero() {
		if id, err = mimi.NewClientID(c.user, fmt.Sprintf("d%d", len(h.devices)+1)); err != nil {
			return nil, err
		}
		h.devices[id] = &hubDevice{user: c.user, key: r.SignatureKey}
	}
	der := h.provider(c.user.Provider()).ca.issue(r.SignatureKey, time.Now(), nil, id.String(), c.user.String())
	return (&api.RegisterDeviceResponse{Client: id.String(), Certificate: der}).Bytes()
}

func (h *hub) hello(c *hubConn, req *api.Request) ([]byte, error) {
	r, err := api.UnmarshalHelloRequest(req.Body)
	if err != nil {
		return nil, err
	}
	id, err := mimi.ParseClientID(req.Target)
	if err != nil {
		return nil, err
	}
	d := h.devices[id]
	if d == nil || d.user != c.user {
		return nil, errNoDevice
	}
	if err := mls.VerifyWithLabel(suite, d.key, api.LabelHello, api.HelloContent(c.nonce, id.String()), r.Signature); err != nil {
		return nil, err
	}
	c.client, c.cursor, c.hello = id, r.Cursor>>cursorShift, true
	return (&api.HelloResponse{KeyPackages: uint32(len(d.packages)), Head: uint64(len(h.events))}).Bytes()
}

func (h *hub) publish(c *hubConn, req *api.Request) ([]byte, error) {
	d := h.devices[c.client]
	if d == nil || len(req.Body) < 4 {
		return nil, errors.New("no device")
	}
	skip := []int{1, 2, 4, 0}[req.Body[0]>>6]
	s := cryptobyte.String(req.Body[skip:])
	for !s.Empty() {
		kp := new(mls.KeyPackage)
		if err := kp.Unmarshal(&s); err != nil {
			return nil, err
		}
		if err := kp.Verify(time.Now()); err != nil {
			return nil, err
		}
		d.packages = append(d.packages, kp)
	}
	return (&api.PublishResponse{Available: uint32(len(d.packages))}).Bytes()
}

// published are the KeyPackages of a user's devices that nobody has claimed.
func (h *hub) published(a *agent) (list []*mls.KeyPackage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.devices {
		if d.user == a.user {
			list = append(list, d.packages...)
		}
	}
	return list
}

func (h *hub) keyMaterial(c *hubConn, req *api.Request) ([]byte, error) {
	r, err := wire.UnmarshalKeyMaterialRequest(req.Body)
	if err != nil {
		return nil, err
	}
	if err := r.Verify(); err != nil || r.RequestingUser != c.user {
		return nil, errors.New("bad request")
	}
	resp := &wire.KeyMaterialResponse{Protocol: wire.ProtocolMLS10, UserURI: r.TargetUser, UserStatus: wire.UserUnknown}
	if _, ok := h.users[r.TargetUser]; ok {
		resp.UserStatus = wire.UserNoCompatibleMaterial
	}
	if h.book != nil && !h.book.grants(r) {
		resp.UserStatus = wire.UserNoConsent
		return resp.Bytes()
	}
	for id, d := range h.devices {
		if d.user != r.TargetUser {
			continue
		}
		m := wire.ClientKeyMaterial{ClientURI: id, ClientStatus: wire.ClientKeyMaterialExhausted}
		if len(d.packages) > 0 {
			m.ClientStatus, m.KeyPackage = wire.ClientSuccess, d.packages[0]
			d.packages = d.packages[1:]
			ref, err := m.KeyPackage.Ref()
			if err != nil {
				return nil, err
			}
			h.claims[hex.EncodeToString(ref)] = id
			resp.UserStatus = wire.UserSuccess
		}
		resp.Clients = append(resp.Clients, m)
	}
	return resp.Bytes()
}

// append adds events to the log.
func (h *hub) append(room mimi.RoomID, list []rooms.Event) (first uint64) {
	first = uint64(len(h.events)) + 1
	for _, e := range list {
		h.events = append(h.events, hubEvent{room, e.Kind, e.Body})
	}
	return first
}

func (h *hub) create(c *hubConn, id mimi.RoomID, req *api.Request) ([]byte, bool, error) {
	r, err := api.UnmarshalCreateRoomRequest(req.Body)
	if err != nil {
		return nil, false, err
	}
	m, err := mls.UnmarshalMessage(r.GroupInfo)
	if err != nil || m.GroupInfo == nil {
		return nil, false, errors.New("no group info")
	}
	sender := h.provider(id.Provider()).sender
	room, resp, err := rooms.Create(h.cfg, uint64(time.Now().UnixMilli()), c.client, id, sender, m.GroupInfo, r.RatchetTree)
	if err != nil {
		return nil, false, err
	}
	if room != nil && h.directExists(room) || h.rooms[id] != nil {
		room, resp = nil, &wire.UpdateRoomResponse{ResponseCode: wire.UpdateNotAllowed}
	}
	if room != nil {
		room.SetKey(h.provider(id.Provider()).key)
		h.rooms[id] = room
		h.events = append(h.events, hubEvent{room: id})
		h.spans = append(h.spans, span{room: id, client: c.client, from: uint64(len(h.events))})
	}
	body, err := resp.Bytes()
	return body, room != nil, err
}

func (h *hub) directExists(room *rooms.Hub) bool {
	a, b, ok := room.Direct()
	if !ok {
		return false
	}
	for _, r := range h.rooms {
		if x, y, ok := r.Direct(); ok && (x == a && y == b || x == b && y == a) {
			return true
		}
	}
	return false
}

func (h *hub) update(c *hubConn, id mimi.RoomID, req *api.Request) ([]byte, bool, error) {
	r, err := wire.UnmarshalUpdateRequest(req.Body)
	if err != nil {
		return nil, false, err
	}
	room := h.rooms[id]
	if room == nil {
		return nil, false, errors.New("no room")
	}
	room.SetKey(h.provider(id.Provider()).key)
	out, err := room.Update(uint64(time.Now().UnixMilli()), rooms.From(c.client), r)
	if err != nil {
		return nil, false, err
	}
	if out.Next != nil {
		h.rooms[id] = out.Next
		h.distribute(id, out)
	}
	body, err := out.Response.Bytes()
	return body, out.Next != nil, err
}

// distribute gives the events of an update to those who may see them.
func (h *hub) distribute(id mimi.RoomID, out *rooms.UpdateOutcome) {
	first := h.append(id, out.Events)
	for i := range h.spans {
		if s := &h.spans[i]; s.room == id && s.to == 0 && slices.Contains(out.Removed, s.client) {
			s.to = first
		}
	}
	for i, e := range out.Events {
		if e.Kind != rooms.EventWelcome {
			continue
		}
		for _, ref := range out.Added {
			if client, ok := h.claims[hex.EncodeToString(ref)]; ok {
				h.spans = append(h.spans, span{room: id, client: client, from: first + uint64(i)})
			}
		}
	}
	for _, client := range out.Joined {
		h.spans = append(h.spans, span{room: id, client: client, from: first})
	}
}

func (h *hub) submit(c *hubConn, id mimi.RoomID, req *api.Request) ([]byte, bool, error) {
	r, err := wire.UnmarshalSubmitMessageRequest(req.Body)
	if err != nil {
		return nil, false, err
	}
	room := h.rooms[id]
	if room == nil {
		return nil, false, errors.New("no room")
	}
	resp, accepted, err := room.Submit(uint64(time.Now().UnixMilli()), rooms.From(c.client), r)
	if err != nil {
		return nil, false, err
	}
	if accepted != nil {
		if h.stopped > 0 {
			accepted.Timestamp, resp.AcceptedTimestamp = h.stopped, h.stopped
		}
		if resp.Frank, err = h.franker.Frank(accepted); err != nil {
			return nil, false, err
		}
		h.events = append(h.events, hubEvent{id, rooms.EventMessage, accepted.Event(resp.Frank)})
	}
	body, err := resp.Bytes()
	return body, accepted != nil, err
}

func (h *hub) report(req *api.Request) ([]byte, error) {
	r, err := wire.UnmarshalAbuseReport(req.Body)
	if err == nil {
		h.reports = append(h.reports, r)
	}
	return nil, err
}

func (h *hub) groupInfo(req *api.Request) ([]byte, error) {
	r, err := wire.UnmarshalGroupInfoRequest(req.Body)
	if err != nil {
		return nil, err
	}
	id, err := mimi.ParseRoomID(req.Target)
	if err != nil {
		return nil, err
	}
	room := h.rooms[id]
	if room == nil {
		return nil, errors.New("no room")
	}
	resp, err := room.GroupInfo(uint64(time.Now().UnixMilli()), r, h.provider(id.Provider()).key, rand.Reader)
	if err != nil {
		return nil, err
	}
	return resp.Bytes()
}

func (h *hub) query(req *api.Request) ([]byte, error) {
	r, err := wire.UnmarshalIdentifierRequest(req.Body)
	if err != nil {
		return nil, err
	}
	resp := &wire.IdentifierResponse{ResponseCode: wire.QueryNotFound}
	for u, name := range h.users {
		if u.Provider().String() != cmp.Or(req.Target, "mimi://a.example") {
			continue
		}
		q := r.QueryElements[0]
		if q.SearchType == wire.SearchHandle && q.SearchValue == u.String() ||
			q.SearchType == wire.SearchPartialName && bytes.Contains(bytes.ToLower([]byte(name)), bytes.ToLower([]byte(q.SearchValue))) {
			resp.ResponseCode = wire.QuerySuccess
			resp.URI = append(resp.URI, u)
			resp.FoundProfiles = append(resp.FoundProfiles, wire.UserProfile{StableURI: u, Fields: []wire.ProfileField{
				{FieldSource: wire.FieldVCard, FieldName: "FN", FieldValue: []byte(name)}}})
		}
	}
	return resp.Bytes()
}

func (h *hub) profiles(req *api.Request) ([]byte, error) {
	list, err := api.UnmarshalStringList(req.Body)
	if err != nil {
		return nil, err
	}
	var out api.ProfileList
	for _, s := range list {
		if u, err := mimi.ParseUserID(s); err == nil {
			if name, ok := h.users[u]; ok && (u.Provider().Host() == "a.example" || !h.nameless) {
				out = append(out, api.Profile{User: s, DisplayName: name})
			}
		}
	}
	return out.Bytes()
}
