package foreign

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// Device is a device of one of the provider's users. What it sends it believes to be done when the hub says so: it does
// not wait to see it again.
type Device struct {
	Client  mimi.ClientID
	User    mimi.UserID
	Groups  map[mimi.RoomID]*mls.Group
	Partial bool // GroupInfo is sent in parts, the tree as a whole

	p        *Provider
	config   mls.Config
	client   *mls.Client
	packages []*mls.KeyPackageSecrets
	texts    map[mimi.RoomID][]string
	own      map[[32]byte]bool
	joining  map[mimi.RoomID]bool
	early    map[mimi.RoomID][]*wire.FanoutMessage // have overtaken the answer to what we have sent
}

// Device makes a device with a client URI of one segment. Its leaf says that it knows all kinds of things of which nobody
// here has heard.
func (p *Provider) Device(user, client string) (*Device, error) {
	return p.DeviceOf(room.Suite, user, client)
}

// DeviceOf makes a device that uses some cipher suite.
func (p *Provider) DeviceOf(suite mls.CipherSuite, user, client string) (*Device, error) {
	key, err := mls.GenerateSignatureKey(suite, rand.Reader)
	if err != nil {
		return nil, err
	}
	d := &Device{p: p, Groups: map[mimi.RoomID]*mls.Group{}, texts: map[mimi.RoomID][]string{}, own: map[[32]byte]bool{},
		joining: map[mimi.RoomID]bool{}, early: map[mimi.RoomID][]*wire.FanoutMessage{}}
	if d.User, err = mimi.ParseUserID(p.Domain.String() + "/u/" + user); err != nil {
		return nil, err
	}
	if d.Client, err = mimi.ParseClientID(p.Domain.String() + "/d/" + client); err != nil {
		return nil, err
	}
	der, err := p.certify(key.Public(), nil, d.User.String(), d.Client.String())
	if err != nil {
		return nil, err
	}
	if d.client, err = room.NewClient(key, mls.X509Credential(der)); err != nil {
		return nil, err
	}
	if err := d.boast(); err != nil {
		return nil, err
	}
	d.config = mls.Config{Now: p.net.Now, Rand: rand.Reader, Application: &room.Application{Roots: p.roots}, GREASE: true}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.devices = append(p.devices, d)
	return d, nil
}

// boast adds to the leaf what is unknown here: cipher suites, extensions, proposals, credentials and components.
func (d *Device) boast() error {
	c := &d.client.Capabilities
	c.Versions = append(c.Versions, 0xF001)
	c.CipherSuites = append(c.CipherSuites, 2, 3, 0x004D, 0xF0F0)
	c.Extensions = append(c.Extensions, 0x0007, 0xF0F1)
	c.Proposals = append(c.Proposals, 0x0A0A, 0xF0F2)
	c.Credentials = append(c.Credentials, 0x00FE, 0xF0F3)
	dict, err := d.client.LeafExtensions.AppData()
	if err != nil {
		return err
	}
	data, _ := dict.Get(mls.ComponentAppComponents)
	list, err := mls.UnmarshalComponentsList(data)
	if err != nil {
		return err
	}
	list = append(list, 0x8005, 0xF0F4)
	slices.Sort(list)
	if data, err = list.Bytes(); err != nil {
		return err
	}
	dict = dict.Set(mls.ComponentAppComponents, data).Set(0xF0F4, []byte("a component that nobody here knows"))
	d.client.LeafExtensions, err = d.client.LeafExtensions.Set(0xF0F1, []byte("an extension, too")).SetAppData(dict)
	return err
}

// Show lets the device show another credential from now on.
func (d *Device) Show(c mls.Credential) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.client.Credential = c
}

// fresh makes a KeyPackage; the caller holds the lock.
func (d *Device) fresh() (*mls.KeyPackage, error) {
	now := d.p.net.Now()
	life := mls.Lifetime{NotBefore: uint64(now.Add(-time.Hour).Unix()), NotAfter: uint64(now.Add(20 * 24 * time.Hour).Unix())}
	dict := mls.AppDataDictionary{}.Set(0xF0F4, []byte("in the KeyPackage"))
	ext, err := mls.Extensions(nil).SetAppData(dict)
	if err != nil {
		return nil, err
	}
	secrets, err := mls.NewKeyPackage(d.config, d.client, life, ext)
	if err != nil {
		return nil, err
	}
	d.packages = append(d.packages, secrets)
	return secrets.KeyPackage, nil
}

// Texts are the messages of a room, its own among them, in the order in which it has come to know them.
func (d *Device) Texts(id mimi.RoomID) []string {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	return slices.Clone(d.texts[id])
}

// Users are the participants of a room; nil if the device is not in it.
func (d *Device) Users(id mimi.RoomID) (users []string) {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	g := d.Groups[id]
	if g == nil {
		return nil
	}
	v, err := room.NewView(g.Context(), g.Members())
	if err != nil {
		return nil
	}
	for _, u := range v.Users() {
		users = append(users, u.ID.String())
	}
	slices.Sort(users)
	return users
}

// Epoch is that of a room's group.
func (d *Device) Epoch(id mimi.RoomID) uint64 {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	if g := d.Groups[id]; g != nil {
		return g.Epoch()
	}
	return 0
}

// take processes an event of a room; the caller holds the lock.
func (d *Device) take(id mimi.RoomID, f *wire.FanoutMessage) error {
	if f.Message.WireFormat == mls.WireFormatWelcome {
		return d.welcomed(id, f)
	}
	g := d.Groups[id]
	hash := sha256.Sum256(f.Message.Raw)
	if g == nil || d.own[hash] {
		return nil
	}
	if f.Message.Epoch() > g.Epoch() || d.joining[id] {
		d.early[id] = append(d.early[id], f)
		return nil
	}
	dict, err := g.Context().Extensions.AppData()
	if err != nil {
		return err
	}
	if _, safe := dict.Get(mls.ComponentSafeAAD); !safe && len(f.Message.AuthenticatedData()) > 0 {
		return errors.New("foreign: authenticated data in a room that has no use for any")
	}
	got, err := g.Process(f.Message.Message)
	for _, more := range f.MoreProposals {
		if _, err := g.Process(more.Message); err != nil && !errors.Is(err, mls.ErrReplayed) {
			return err
		}
	}
	switch {
	case errors.Is(err, mls.ErrPastEpoch), errors.Is(err, mls.ErrReplayed), errors.Is(err, mls.ErrOwnMessage):
		return nil // it has come before
	case err != nil:
		return fmt.Errorf("foreign: %s of epoch %d in epoch %d: %w", d.Client.Device(), f.Message.Epoch(), g.Epoch(), err)
	case got.Commit != nil:
		if err := g.Merge(got.Commit); err != nil {
			return err
		}
		if got.Commit.Removed() {
			delete(d.Groups, id)
		}
		return d.release(id)
	case got.Application != nil:
		return d.read(id, g, got.Application)
	}
	return nil
}

// release takes what was early.
func (d *Device) release(id mimi.RoomID) (err error) {
	list := d.early[id]
	delete(d.early, id)
	for _, f := range list {
		err = errors.Join(err, d.take(id, f))
	}
	return err
}

func (d *Device) read(id mimi.RoomID, g *mls.Group, data []byte) error {
	v, err := room.NewView(g.Context(), g.Members())
	if err != nil {
		return err
	}
	_, raw, err := v.UnframeContent(data)
	if err != nil {
		return err
	}
	m, err := content.Parse(raw)
	if err == nil {
		d.texts[id] = append(d.texts[id], m.Text())
	}
	return err
}

func (d *Device) welcomed(id mimi.RoomID, f *wire.FanoutMessage) error {
	for i, secrets := range d.packages {
		ref, err := secrets.KeyPackage.Ref()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(f.Message.Welcome.Secrets, func(s mls.EncryptedGroupSecrets) bool { return string(s.NewMember) == string(ref) }) {
			continue
		}
		d.packages = slices.Delete(d.packages, i, i+1)
		d.Groups[id], err = mls.JoinWelcome(d.config, d.client, f.Message.Welcome, f.RatchetTreeOption.RatchetTree, secrets)
		return err
	}
	return nil
}

// request sends a request about a room to its hub, which may be this very provider.
func (d *Device) request(id mimi.RoomID, endpoint string, body []byte) ([]byte, error) {
	if id.Provider() == d.p.Domain {
		return d.p.answer(d.p.Domain, endpoint, id.String(), body)
	}
	return d.p.ask(id.Provider(), endpoint, id.String(), body)
}

// Send sends a text.
func (d *Device) Send(id mimi.RoomID, text string) error {
	d.p.mu.Lock()
	req, hash, err := d.encrypt(id, text)
	d.p.mu.Unlock()
	if err != nil {
		return err
	}
	body, err := d.request(id, "submitMessage", req)
	if err != nil {
		return err
	}
	resp, err := wire.UnmarshalSubmitMessageResponse(body)
	if err != nil {
		return err
	}
	if resp.StatusCode != wire.SubmitAccepted {
		return fmt.Errorf("foreign: message refused: %d", resp.StatusCode)
	}
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.own[hash] = true
	d.texts[id] = append(d.texts[id], text)
	return nil
}

func (d *Device) encrypt(id mimi.RoomID, text string) (body []byte, hash [32]byte, err error) {
	g := d.Groups[id]
	if g == nil {
		return nil, hash, errors.New("foreign: not in the room")
	}
	m, err := content.NewText(rand.Reader, d.User, id, text)
	if err != nil {
		return nil, hash, err
	}
	raw, err := m.Bytes()
	if err != nil {
		return nil, hash, err
	}
	data, err := room.FrameContentIn(g.Context(), raw)
	if err != nil {
		return nil, hash, err
	}
	aad, err := room.MessageAAD(g.Context(), m.Salt, data)
	if err != nil {
		return nil, hash, err
	}
	encrypted, err := g.Encrypt(aad, data)
	if err != nil {
		return nil, hash, err
	}
	message, err := wire.NewMLSMessage(encrypted)
	if err != nil {
		return nil, hash, err
	}
	hash = sha256.Sum256(message.Raw)
	d.own[hash] = true
	body, err = (&wire.SubmitMessageRequest{Protocol: wire.ProtocolMLS10, AppMessage: message, SendingURI: d.User}).Bytes()
	return body, hash, err
}

// Propose makes the proposals of a change.
type Propose func(*room.View) ([]mls.Proposal, error)

// Change commits a change.
func (d *Device) Change(id mimi.RoomID, change Propose) error {
	d.p.mu.Lock()
	body, err := d.commit(id, change)
	d.p.mu.Unlock()
	if err != nil {
		return err
	}
	return d.update(id, body, func(g *mls.Group) error { return g.MergePending() })
}

func (d *Device) commit(id mimi.RoomID, change Propose) ([]byte, error) {
	g := d.Groups[id]
	if g == nil {
		return nil, errors.New("foreign: not in the room")
	}
	v, err := room.NewView(g.Context(), g.Members())
	if err != nil {
		return nil, err
	}
	var proposals []mls.Proposal
	if change != nil {
		if proposals, err = change(v); err != nil {
			return nil, err
		}
	}
	bundle, err := g.Commit(mls.CommitOptions{Proposals: proposals, AAD: room.HandshakeAAD(g.Context())})
	if err != nil {
		return nil, err
	}
	req, err := d.bundle(bundle)
	if err != nil {
		return nil, err
	}
	d.own[sha256.Sum256(req.ProposalOrCommit.Raw)] = true
	return req.Bytes()
}

// bundle is what goes with a commit, in one of the forms that there are.
func (d *Device) bundle(b *mls.CommitBundle) (*wire.UpdateRequest, error) {
	req, err := wire.NewCommitRequest(b)
	if err != nil || !d.Partial {
		return req, err
	}
	tree, err := b.Staged.RatchetTree()
	if err != nil {
		return nil, err
	}
	req.GroupInfoOption = wire.GroupInfoOption{Partial: &wire.PartialGroupInfo{RatchetTreePresence: wire.TreeExtensionNone,
		GroupInfoExtensions: b.GroupInfo.Extensions, Signature: b.GroupInfo.Signature}}
	req.RatchetTreeOption = wire.FullTree(tree)
	return req, nil
}

// update sends an update, and lets then do what has to be done once it is accepted.
func (d *Device) update(id mimi.RoomID, body []byte, then func(*mls.Group) error) error {
	answer, err := d.request(id, "update", body)
	if err != nil {
		return err
	}
	resp, err := wire.UnmarshalUpdateRoomResponse(answer)
	if err != nil {
		return err
	}
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	g := d.Groups[id]
	if resp.ResponseCode != wire.UpdateSuccess {
		if g != nil {
			g.DiscardPending()
		}
		return fmt.Errorf("foreign: update refused: %d %s", resp.ResponseCode, resp.ErrorDescription)
	}
	delete(d.joining, id)
	if g == nil {
		return nil
	}
	return errors.Join(then(g), d.release(id))
}

// Claim asks for KeyPackages of a user through the hub of a room.
func (d *Device) Claim(id mimi.RoomID, target mimi.UserID) (*wire.KeyMaterialResponse, error) {
	return d.ClaimFor(id, target, room.RequiredCapabilities(), 0xF0F0, room.Suite)
}

// ClaimFor asks for KeyPackages with capabilities, and of one of some cipher suites.
func (d *Device) ClaimFor(id mimi.RoomID, target mimi.UserID, required mls.RequiredCapabilities, suites ...mls.CipherSuite) (*wire.KeyMaterialResponse, error) {
	req := wire.KeyMaterialRequest{Protocol: wire.ProtocolMLS10, RequestingUser: d.User, TargetUser: target, RoomID: id,
		AcceptableCipherSuites: suites, RequiredCapabilities: required, RequesterCredential: d.client.Credential}
	if err := req.Sign(d.client.SignatureKey); err != nil {
		return nil, err
	}
	body, err := req.Bytes()
	if err != nil {
		return nil, err
	}
	if id.Provider() == d.p.Domain || id.IsZero() {
		body, err = d.p.keyMaterialOrAsk(&req, body)
	} else {
		body, err = d.p.ask(id.Provider(), "keyMaterial", target.String(), body)
	}
	if err != nil {
		return nil, err
	}
	return wire.UnmarshalKeyMaterialResponse(body)
}

func (p *Provider) keyMaterialOrAsk(req *wire.KeyMaterialRequest, body []byte) ([]byte, error) {
	if req.TargetUser.Provider() == p.Domain {
		return p.keyMaterial(body)
	}
	return p.forward(req, body)
}

// Add brings a user into a room, with all devices that can be had.
func (d *Device) Add(id mimi.RoomID, target mimi.UserID) error {
	resp, err := d.Claim(id, target)
	if err != nil {
		return err
	}
	var packages []*mls.KeyPackage
	for _, c := range resp.Clients {
		if c.KeyPackage != nil {
			packages = append(packages, c.KeyPackage)
		}
	}
	if len(packages) == 0 {
		return fmt.Errorf("foreign: no KeyPackages: %d", resp.UserStatus)
	}
	return d.Change(id, func(v *room.View) ([]mls.Proposal, error) {
		if v.IsParticipant(target) {
			return room.AddOwnClients(v, target, packages)
		}
		return room.AddUser(v, target, packages)
	})
}

// GroupInfo asks the hub of a room for what an external commit needs.
func (d *Device) GroupInfo(id mimi.RoomID, code []byte) (*wire.GroupInfoResponse, *mls.HPKEPrivateKey, error) {
	req, key, err := room.NewJoinRequest(rand.Reader, d.client, code)
	if err != nil {
		return nil, nil, err
	}
	body, err := req.Bytes()
	if err != nil {
		return nil, nil, err
	}
	if body, err = d.request(id, "groupInfo", body); err != nil {
		return nil, nil, err
	}
	resp, err := wire.UnmarshalGroupInfoResponse(body)
	return resp, key, err
}

// Join enters a room by an external commit.
func (d *Device) Join(id mimi.RoomID, code []byte) error {
	resp, key, err := d.GroupInfo(id, code)
	if err != nil {
		return err
	}
	if resp.Status != wire.GroupInfoSuccess {
		return fmt.Errorf("foreign: groupInfo: %d", resp.Status)
	}
	info, err := room.OpenGroupInfo(id, resp, key)
	if err != nil {
		return err
	}
	g, bundle, err := room.JoinRoomWith(d.config, d.client, id, info, code)
	if err != nil {
		return err
	}
	update, err := d.bundle(bundle)
	if err != nil {
		return err
	}
	body, err := update.Bytes()
	if err != nil {
		return err
	}
	d.p.mu.Lock()
	d.own[sha256.Sum256(update.ProposalOrCommit.Raw)] = true
	d.Groups[id], d.joining[id] = g, true
	d.p.mu.Unlock()
	return d.update(id, body, func(g *mls.Group) error { return g.MergePending() })
}

// Leave leaves a room with all the user's devices. Somebody else has to commit it.
func (d *Device) Leave(id mimi.RoomID) error {
	d.p.mu.Lock()
	body, err := d.leaving(id)
	d.p.mu.Unlock()
	if err != nil {
		return err
	}
	return d.update(id, body, func(*mls.Group) error { return nil })
}

func (d *Device) leaving(id mimi.RoomID) ([]byte, error) {
	g := d.Groups[id]
	v, err := room.NewView(g.Context(), g.Members())
	if err != nil {
		return nil, err
	}
	list, err := room.Leave(v, d.Client)
	if err != nil {
		return nil, err
	}
	req, _, err := room.NewProposalRequest(g, list)
	if err != nil {
		return nil, err
	}
	d.own[sha256.Sum256(req.ProposalOrCommit.Raw)] = true
	return req.Bytes()
}
