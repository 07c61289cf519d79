package servertest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

const packageLife = 30 * 24 * time.Hour

// Device is a device of an account: its keys, its KeyPackages and its groups.
type Device struct {
	Account
	Client   mimi.ClientID
	Key      *mls.SignatureKey
	MLS      *mls.Client
	Config   mls.Config
	Hub      mls.ExternalSender
	Agent    *wire.FrankingAgentData // nil: the hub does not frank
	Packages []*mls.KeyPackageSecrets
	Rooms    map[mimi.RoomID]*mls.Group
	Cursor   uint64              // of the last event handled
	Waiting  map[[32]byte]string // own messages on their way, by hash: the text

	roots knownRoots
}

// knownRoots are the identity authorities that a device believes: that of the provider that greeted it, and those it was
// told to trust.
type knownRoots map[mimi.ProviderID]*identity.Root

// Root implements room.Roots.
func (r knownRoots) Root(domain mimi.ProviderID) *identity.Root { return r[domain] }

// Trust makes the device believe another provider's identity authority.
func (d *Device) Trust(der []byte) error {
	root, err := identity.ParseRoot(der)
	if err == nil {
		d.roots[root.Domain] = root
	}
	return err
}

// Register makes a new device over a connection of its account.
func Register(ctx context.Context, c *Conn, a Account, now func() time.Time) (*Device, error) {
	key, err := mls.GenerateSignatureKey(room.Suite, rand.Reader)
	if err != nil {
		return nil, err
	}
	d := &Device{Account: a, Key: key, Rooms: make(map[mimi.RoomID]*mls.Group), Waiting: make(map[[32]byte]string)}
	if err := d.Renew(ctx, c, ""); err != nil {
		return nil, err
	}
	d.roots = make(knownRoots)
	if err := d.Trust(c.Greeting.Root); err != nil {
		return nil, err
	}
	hub := cryptobyte.String(c.Greeting.Hub)
	if err := d.Hub.Unmarshal(&hub); err != nil {
		return nil, err
	}
	if len(c.Greeting.Agent) > 0 {
		if d.Agent, err = wire.UnmarshalFrankingAgentData(c.Greeting.Agent); err != nil {
			return nil, err
		}
	}
	d.Config = mls.Config{Now: now, Rand: rand.Reader, Application: &room.Application{Roots: d.roots}}
	return d, nil
}

// Renew asks for a certificate for the device's key. target is empty or its client URI.
func (d *Device) Renew(ctx context.Context, c *Conn, target string) error {
	signature, err := d.Key.SignWithLabel(api.LabelRegisterDevice, c.Greeting.Nonce[:])
	if err != nil {
		return err
	}
	req := api.RegisterDeviceRequest{Name: "test", SignatureKey: d.Key.Public(), Signature: signature}
	body, err := req.Bytes()
	if err != nil {
		return err
	}
	if body, err = c.Call(ctx, api.OpRegisterDevice, target, body); err != nil {
		return err
	}
	resp, err := api.UnmarshalRegisterDeviceResponse(body)
	if err != nil {
		return err
	}
	if d.Client, err = mimi.ParseClientID(resp.Client); err != nil {
		return err
	}
	d.MLS, err = room.NewClient(d.Key, mls.X509Credential(resp.Certificate))
	return err
}

// Hello makes the connection that of the device, from its cursor on.
func (d *Device) Hello(ctx context.Context, c *Conn) (*api.HelloResponse, error) {
	signature, err := d.Key.SignWithLabel(api.LabelHello, api.HelloContent(c.Greeting.Nonce, d.Client.String()))
	if err != nil {
		return nil, err
	}
	body, err := (&api.HelloRequest{Cursor: d.Cursor, Signature: signature}).Bytes()
	if err != nil {
		return nil, err
	}
	if body, err = c.Call(ctx, api.OpHello, d.Client.String(), body); err != nil {
		return nil, err
	}
	return api.UnmarshalHelloResponse(body)
}

// NewPackages makes KeyPackages and remembers their secrets.
func (d *Device) NewPackages(n int) ([]*mls.KeyPackage, error) {
	now := d.Config.Now()
	life := mls.Lifetime{NotBefore: uint64(now.Add(-time.Hour).Unix()), NotAfter: uint64(now.Add(packageLife).Unix())}
	packages := make([]*mls.KeyPackage, n)
	for i := range packages {
		secrets, err := mls.NewKeyPackage(d.Config, d.MLS, life, nil)
		if err != nil {
			return nil, err
		}
		packages[i] = secrets.KeyPackage
		d.Packages = append(d.Packages, secrets)
	}
	return packages, nil
}

// Publish makes and publishes KeyPackages.
func (d *Device) Publish(ctx context.Context, c *Conn, n int) error {
	packages, err := d.NewPackages(n)
	if err != nil {
		return err
	}
	body, err := mls.KeyPackages(packages).Bytes()
	if err != nil {
		return err
	}
	_, err = c.Call(ctx, api.OpPublishKeyPackages, "", body)
	return err
}

// NewRoom makes a group for a new room and the body that creates it. peer may be zero.
func (d *Device) NewRoom(id mimi.RoomID, name string, peer mimi.UserID) ([]byte, error) {
	ext, err := room.NewRoomExtensions(room.Spec{Room: id, Name: name, Creator: d.User, Hub: d.Hub, Agent: d.Agent, Peer: peer})
	if err != nil {
		return nil, err
	}
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	groupID, err := mimi.NewGroupID(id.Provider(), random)
	if err != nil {
		return nil, err
	}
	g, err := mls.NewGroup(d.Config, d.MLS, []byte(groupID.String()), ext)
	if err != nil {
		return nil, err
	}
	info, err := g.GroupInfo()
	if err != nil {
		return nil, err
	}
	message, err := (&mls.Message{WireFormat: mls.WireFormatGroupInfo, GroupInfo: info}).Bytes()
	if err != nil {
		return nil, err
	}
	tree, err := g.RatchetTree()
	if err != nil {
		return nil, err
	}
	d.Rooms[id] = g
	return (&api.CreateRoomRequest{GroupInfo: message, RatchetTree: tree}).Bytes()
}

// CreateRoom makes a room at the server.
func (d *Device) CreateRoom(ctx context.Context, c *Conn, id mimi.RoomID, name string, peer mimi.UserID) error {
	body, err := d.NewRoom(id, name, peer)
	if err != nil {
		return err
	}
	if body, err = c.Call(ctx, api.OpCreateRoom, id.String(), body); err != nil {
		return err
	}
	return updateError(body)
}

// updateError turns a refused update into an error.
func updateError(body []byte) error {
	resp, err := wire.UnmarshalUpdateRoomResponse(body)
	if err != nil {
		return err
	}
	switch resp.ResponseCode {
	case wire.UpdateSuccess:
		return nil
	case wire.UpdateWrongEpoch:
		return ErrWrongEpoch
	}
	return errors.New("servertest: update refused: " + resp.ErrorDescription)
}

// ErrWrongEpoch is the answer to a commit that was too late.
var ErrWrongEpoch = errors.New("servertest: wrong epoch")

// Claim asks for KeyPackages of a user for a room.
func (d *Device) Claim(ctx context.Context, c *Conn, id mimi.RoomID, target mimi.UserID) (*wire.KeyMaterialResponse, error) {
	req := wire.KeyMaterialRequest{Protocol: wire.ProtocolMLS10, RequestingUser: d.User, TargetUser: target, RoomID: id,
		AcceptableCipherSuites: []mls.CipherSuite{room.Suite}, RequiredCapabilities: room.RequiredCapabilities(),
		RequesterCredential: d.MLS.Credential}
	if err := req.Sign(d.Key); err != nil {
		return nil, err
	}
	body, err := req.Bytes()
	if err != nil {
		return nil, err
	}
	if body, err = c.Call(ctx, api.OpKeyMaterial, target.String(), body); err != nil {
		return nil, err
	}
	return wire.UnmarshalKeyMaterialResponse(body)
}

// Grant lets somebody fetch the KeyPackages of the device's user.
func (d *Device) Grant(ctx context.Context, c *Conn, requester mimi.UserID) error {
	entry := wire.ConsentEntry{ConsentOperation: wire.ConsentGrant, RequesterURI: requester, TargetURI: d.User}
	body, err := entry.Bytes()
	if err == nil {
		_, err = c.Call(ctx, api.OpConsent, "", body)
	}
	return err
}

// View is what the device's epoch of a room says.
func (d *Device) View(id mimi.RoomID) (*room.View, error) {
	g := d.Rooms[id]
	return room.NewView(g.Context(), g.Members())
}

// Propose is a function of mimi/room that makes the proposals of a commit.
type Propose func(*room.View) ([]mls.Proposal, error)

// Commit makes the body of an update with the given changes; the commit stays pending until it comes back.
func (d *Device) Commit(id mimi.RoomID, changes ...Propose) ([]byte, error) {
	view, err := d.View(id)
	if err != nil {
		return nil, err
	}
	var proposals []mls.Proposal
	for _, change := range changes {
		list, err := change(view)
		if err != nil {
			return nil, err
		}
		proposals = append(proposals, list...)
	}
	return d.CommitProposals(id, proposals)
}

// CommitProposals is Commit with ready proposals.
func (d *Device) CommitProposals(id mimi.RoomID, proposals []mls.Proposal) ([]byte, error) {
	bundle, err := d.Rooms[id].Commit(mls.CommitOptions{Proposals: proposals, AAD: room.EmptyAAD()})
	if err != nil {
		return nil, err
	}
	req, err := wire.NewCommitRequest(bundle)
	if err != nil {
		return nil, err
	}
	return req.Bytes()
}

// Update sends the body of an update.
func (d *Device) Update(ctx context.Context, c *Conn, id mimi.RoomID, body []byte) error {
	body, err := c.Call(ctx, api.OpUpdate, id.String(), body)
	if err != nil {
		return err
	}
	return updateError(body)
}

// Add brings users into a room: claims their packages, commits and waits until the commit comes back.
func (d *Device) Add(ctx context.Context, c *Conn, id mimi.RoomID, users ...mimi.UserID) error {
	var changes []Propose
	for _, user := range users {
		resp, err := d.Claim(ctx, c, id, user)
		if err != nil {
			return err
		}
		var packages []*mls.KeyPackage
		for _, client := range resp.Clients {
			if client.KeyPackage != nil {
				packages = append(packages, client.KeyPackage)
			}
		}
		if len(packages) == 0 {
			return errors.New("servertest: no KeyPackages")
		}
		changes = append(changes, func(v *room.View) ([]mls.Proposal, error) { return room.AddUser(v, user, packages) })
	}
	return d.Change(ctx, c, id, changes...)
}

// Change commits and waits until the commit comes back.
func (d *Device) Change(ctx context.Context, c *Conn, id mimi.RoomID, changes ...Propose) error {
	body, err := d.Commit(id, changes...)
	if err != nil {
		return err
	}
	if err := d.Update(ctx, c, id, body); err != nil {
		d.Rooms[id].DiscardPending()
		return err
	}
	for d.Rooms[id].HasPending() {
		if _, err := d.Receive(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// Encrypt makes the body that submits a text, and remembers it until it comes back.
func (d *Device) Encrypt(id mimi.RoomID, text string) ([]byte, error) {
	data, err := room.FrameContent([]byte(text))
	if err != nil {
		return nil, err
	}
	aad, err := d.tag(data)
	if err != nil {
		return nil, err
	}
	m, err := d.Rooms[id].Encrypt(aad, data)
	if err != nil {
		return nil, err
	}
	message, err := wire.NewMLSMessage(m)
	if err != nil {
		return nil, err
	}
	d.Waiting[sha256.Sum256(message.Raw)] = text
	return (&wire.SubmitMessageRequest{Protocol: wire.ProtocolMLS10, AppMessage: message, SendingURI: d.User}).Bytes()
}

// tag makes the authenticated data of a message that is to be franked. The texts of these devices are no contents with a
// salt in them, so the hub franks them as it does all, and nobody can report them.
func (d *Device) tag(data []byte) ([]byte, error) {
	if d.Agent == nil {
		return room.EmptyAAD(), nil
	}
	var salt [wire.SaltSize]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, err
	}
	tag := wire.NewFrankAAD(salt, data)
	return mls.SafeAAD{{Component: policy.FrankAAD, Data: tag.FrankingTag[:]}}.Bytes()
}

// Send submits a text and returns its accepted timestamp.
func (d *Device) Send(ctx context.Context, c *Conn, id mimi.RoomID, text string) (uint64, error) {
	body, err := d.Encrypt(id, text)
	if err != nil {
		return 0, err
	}
	return d.Submit(ctx, c, id, body)
}

// Submit sends the body that Encrypt made.
func (d *Device) Submit(ctx context.Context, c *Conn, id mimi.RoomID, body []byte) (uint64, error) {
	body, err := c.Call(ctx, api.OpSubmitMessage, id.String(), body)
	if err != nil {
		return 0, err
	}
	resp, err := wire.UnmarshalSubmitMessageResponse(body)
	if err != nil {
		return 0, err
	}
	switch resp.StatusCode {
	case wire.SubmitAccepted:
		return resp.AcceptedTimestamp, nil
	case wire.SubmitEpochTooOld:
		return 0, ErrWrongEpoch
	}
	return 0, ErrNotAllowed
}

// ErrNotAllowed is the answer to a message the hub refuses.
var ErrNotAllowed = errors.New("servertest: message not allowed")
