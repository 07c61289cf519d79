package room_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// must fails the test on an error and returns the value.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func user(t testing.TB, s string) mimi.UserID {
	t.Helper()
	return must[mimi.UserID](t)(mimi.ParseUserID(s))
}

// authority is the identity authority of a provider.
type authority struct {
	domain string
	key    ed25519.PrivateKey
	cert   *x509.Certificate
	root   *identity.Root
}

func newAuthority(t testing.TB, domain string, now time.Time) *authority {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(10 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{domain}, PermittedURIDomains: []string{domain},
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return &authority{domain: domain, key: key, cert: must[*x509.Certificate](t)(x509.ParseCertificate(der)),
		root: must[*identity.Root](t)(identity.ParseRoot(der))}
}

// issue certifies a key for some URIs; a DNS name makes it a hub's certificate.
func (a *authority) issue(t testing.TB, key mls.SignaturePublicKey, from time.Time, dns string, uris ...string) mls.Credential {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: from.Add(-time.Hour), NotAfter: from.Add(60 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if dns != "" {
		template.DNSNames = []string{dns}
	}
	for _, s := range uris {
		template.URIs = append(template.URIs, must[*url.URL](t)(url.Parse(s)))
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, a.cert, ed25519.PublicKey(key), a.key))
	return mls.X509Credential(der)
}

// world is a hub with one room and the devices of its users, on a.example and b.example.
type world struct {
	t           testing.TB
	now         time.Time
	authorities map[string]*authority
	room        mimi.RoomID
	hubKey      *mls.SignatureKey
	hubSender   mls.ExternalSender
	hub         *room.Hub
	devices     []*device
	remote      bool // requests of other providers' devices come from these providers
}

// origin is where a device's request comes from.
func (w *world) origin(d *device) room.Origin {
	if w.remote && d.user.Provider() != w.room.Provider() {
		return room.Origin{Provider: d.user.Provider()}
	}
	return room.From(d.id)
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: time.UnixMilli(1_800_000_000_000), authorities: make(map[string]*authority)}
	for _, domain := range []string{"a.example", "b.example"} {
		w.authorities[domain] = newAuthority(t, domain, w.now)
	}
	w.room = must[mimi.RoomID](t)(mimi.ParseRoomID("mimi://a.example/r/clubhouse"))
	w.hubKey = must[*mls.SignatureKey](t)(mls.GenerateSignatureKey(room.Suite, rand.Reader))
	w.hubSender = mls.ExternalSender{SignatureKey: w.hubKey.Public(),
		Credential: w.authorities["a.example"].issue(t, w.hubKey.Public(), w.now, "a.example", "mimi://a.example")}
	return w
}

// Root makes world the Roots of everybody.
func (w *world) Root(domain mimi.ProviderID) *identity.Root {
	if a := w.authorities[domain.Host()]; a != nil {
		return a.root
	}
	return nil
}

func (w *world) config() mls.Config {
	return mls.Config{Now: func() time.Time { return w.now }, Application: &room.Application{Roots: w}}
}

func (w *world) ms() uint64 { return uint64(w.now.UnixMilli()) }

// device is a client of a user.
type device struct {
	w      *world
	id     mimi.ClientID
	user   mimi.UserID
	client *mls.Client
	kp     *mls.KeyPackageSecrets
	group  *mls.Group
	view   *room.View
	own    []byte   // the commit of ours that waits for the hub
	texts  []string // what was received
	out    bool     // we were removed
}

// device makes a device of a user named like mimi://a.example/u/alice.
func (w *world) device(name, label string) *device {
	w.t.Helper()
	u := user(w.t, name)
	d := &device{w: w, user: u, id: must[mimi.ClientID](w.t)(mimi.NewClientID(u, label))}
	key := must[*mls.SignatureKey](w.t)(mls.GenerateSignatureKey(room.Suite, rand.Reader))
	credential := w.authorities[u.Provider().Host()].issue(w.t, key.Public(), w.now, "", d.id.String(), u.String())
	d.client = must[*mls.Client](w.t)(room.NewClient(key, credential))
	d.newKeyPackage()
	w.devices = append(w.devices, d)
	return d
}

func (d *device) newKeyPackage() {
	at := uint64(d.w.now.Unix())
	lifetime := mls.Lifetime{NotBefore: at - 3600, NotAfter: at + 30*86400}
	d.kp = must[*mls.KeyPackageSecrets](d.w.t)(mls.NewKeyPackage(d.w.config(), d.client, lifetime, nil))
}

func (d *device) refresh() {
	d.view = must[*room.View](d.w.t)(room.NewView(d.group.Context(), d.group.Members()))
}

// found makes a group of epoch 0 in which d is alone.
func (d *device) found(ext mls.Extensions) (*mls.GroupInfo, mls.RatchetTree) {
	d.w.t.Helper()
	id := must[mimi.GroupID](d.w.t)(mimi.NewGroupID(d.w.room.Provider(), [16]byte{1, 2, 3}))
	d.group = must[*mls.Group](d.w.t)(mls.NewGroup(d.w.config(), d.client, []byte(id.String()), ext))
	info := must[*mls.GroupInfo](d.w.t)(d.group.GroupInfo())
	return info, must[mls.RatchetTree](d.w.t)(d.group.RatchetTree())
}

func (w *world) spec(creator *device) room.Spec {
	return room.Spec{Room: w.room, Name: "Club", Creator: creator.user, Hub: w.hubSender}
}

// create makes the room at the hub.
func (w *world) create(d *device, spec room.Spec) {
	w.t.Helper()
	info, tree := d.found(must[mls.Extensions](w.t)(room.NewRoomExtensions(spec)))
	h, resp, err := room.Create(w.config(), w.ms(), d.id, w.room, w.hubSender, info, tree)
	if err != nil || h == nil {
		w.t.Fatalf("room refused: %v %v", resp, err)
	}
	w.hub = h
	w.hub.SetKey(w.hubKey)
	d.refresh()
}

// restart takes the hub from its saved state.
func (w *world) restart() {
	w.t.Helper()
	w.hub = must[*room.Hub](w.t)(room.Restore(w.config(), must[[]byte](w.t)(w.hub.State()), w.hub.LastTimestamp()))
	w.hub.SetKey(w.hubKey)
}

// commit makes a request of a commit with proposals by value.
func (d *device) commit(list ...mls.Proposal) *wire.UpdateRequest {
	d.w.t.Helper()
	return must[*wire.UpdateRequest](d.w.t)(wire.NewCommitRequest(d.bundle(list...)))
}

func (d *device) bundle(list ...mls.Proposal) *mls.CommitBundle {
	d.w.t.Helper()
	d.group.DiscardPending()
	b := must[*mls.CommitBundle](d.w.t)(d.group.Commit(mls.CommitOptions{Proposals: list, AAD: room.EmptyAAD()}))
	d.own = must[[]byte](d.w.t)(b.Commit.Bytes())
	return b
}

// update brings a request to the hub, as octets, and distributes what comes of it.
func (w *world) update(d *device, req *wire.UpdateRequest) *room.UpdateOutcome {
	w.t.Helper()
	req = must[*wire.UpdateRequest](w.t)(wire.UnmarshalUpdateRequest(must[[]byte](w.t)(req.Bytes())))
	before := must[[]byte](w.t)(w.hub.State())
	out := must[*room.UpdateOutcome](w.t)(w.hub.Update(w.ms(), w.origin(d), req))
	if !bytes.Equal(before, must[[]byte](w.t)(w.hub.State())) {
		w.t.Fatal("Update changed the hub")
	}
	must[[]byte](w.t)(out.Response.Bytes())
	if out.Next == nil {
		if out.Response.ResponseCode == wire.UpdateSuccess || len(out.Events) > 0 {
			w.t.Fatal("refusal with events or success")
		}
		return out
	}
	w.take(out)
	return out
}

// take goes on from an outcome and distributes its events.
func (w *world) take(out *room.UpdateOutcome) {
	w.t.Helper()
	w.hub = out.Next
	for _, e := range out.Events {
		for _, d := range w.devices {
			d.receive(e.Body)
		}
	}
}

// refuseAll is refuse for a commit that no member takes over either, should the hub distribute it.
func (w *world) refuseAll(rule string, d *device, req *wire.UpdateRequest) {
	w.t.Helper()
	w.refuse(rule, d, req)
	for _, other := range w.devices {
		if other == d || other.group == nil || other.out || other.group.HasPending() && other.group.PendingCommit() == nil {
			continue
		}
		r, err := other.group.Process(must[wire.MLSMessage](w.t)(wire.ParseMLSMessage(req.ProposalOrCommit.Raw)).Message)
		if err != nil {
			w.t.Fatalf("%s: %v", other.id.Device(), err)
		}
		if _, refusal := room.CheckCommit(other.view, r.Commit, w.ms()); refusal == nil || refusal.Rule != rule {
			w.t.Errorf("%s: got %v, want a refusal by %s", other.id.Device(), refusal, rule)
		}
	}
}

// accept is update that has to succeed, refuse one that has to be refused by a rule.
func (w *world) accept(d *device, req *wire.UpdateRequest) *room.UpdateOutcome {
	w.t.Helper()
	out := w.update(d, req)
	if out.Next == nil {
		w.t.Fatalf("refused: %v", out.Response)
	}
	w.agree()
	return out
}

func (w *world) refuse(rule string, d *device, req *wire.UpdateRequest) {
	w.t.Helper()
	out := w.update(d, req)
	switch {
	case out.Next != nil:
		w.t.Fatalf("accepted, want a refusal by %s", rule)
	case rule == "UP-2":
		if out.Response.ResponseCode != wire.UpdateWrongEpoch || out.Response.CurrentEpoch != w.hub.Epoch() {
			w.t.Errorf("got %v, want wrongEpoch", out.Response)
		}
	case out.Refusal == nil || out.Refusal.Rule != rule:
		w.t.Errorf("got %v, want a refusal by %s", out.Response, rule)
	}
}

// agree checks that all devices in the room and the hub see the same room.
func (w *world) agree() {
	w.t.Helper()
	for _, d := range w.devices {
		if d.group == nil || d.out || d.group.HasPending() && d.group.Epoch() > w.hub.Epoch() {
			continue
		}
		if _, ok := w.hub.View().Client(d.id); !ok {
			continue
		}
		if d.group.Epoch() != w.hub.Epoch() || len(d.view.Members()) != len(w.hub.Members()) || d.view.Name() != w.hub.View().Name() {
			w.t.Errorf("device and hub disagree: epoch %d and %d", d.group.Epoch(), w.hub.Epoch())
		}
	}
}

// receive processes one event as a client does.
func (d *device) receive(event []byte) {
	d.w.t.Helper()
	m := must[*wire.FanoutMessage](d.w.t)(wire.UnmarshalFanoutMessage(event))
	switch {
	case m.Message.WireFormat == mls.WireFormatWelcome:
		d.welcome(m)
	case d.group == nil || d.out:
	case m.Message.Epoch() != d.group.Epoch() && !bytes.Equal(m.Message.Raw, d.own):
	case m.Message.ContentType() == mls.ContentTypeCommit:
		d.commitArrives(m)
	default:
		for _, x := range append([]wire.MLSMessage{m.Message}, m.MoreProposals...) {
			r, err := d.group.Process(x.Message)
			if err == mls.ErrOwnMessage {
				continue
			}
			if err != nil {
				d.w.t.Fatalf("%s: %v", d.id.Device(), err)
			}
			if r.Application != nil {
				_, content, err := d.view.UnframeContent(r.Application)
				if err != nil {
					d.w.t.Fatal(err)
				}
				d.texts = append(d.texts, string(content))
			}
		}
	}
}

func (d *device) welcome(m *wire.FanoutMessage) {
	ref := must[mls.KeyPackageRef](d.w.t)(d.kp.KeyPackage.Ref())
	for _, s := range m.Message.Welcome.Secrets {
		if bytes.Equal(s.NewMember, ref) {
			d.group = must[*mls.Group](d.w.t)(mls.JoinWelcome(d.w.config(), d.client, m.Message.Welcome, m.RatchetTreeOption.RatchetTree, d.kp))
			d.out = false
			d.refresh()
			d.newKeyPackage()
			return
		}
	}
}

func (d *device) commitArrives(m *wire.FanoutMessage) {
	d.w.t.Helper()
	if bytes.Equal(m.Message.Raw, d.own) {
		if err := d.group.MergePending(); err != nil {
			d.w.t.Fatal(err)
		}
		d.refresh()
		d.stapled(m)
		return
	}
	r, err := d.group.Process(m.Message.Message)
	if err != nil {
		d.w.t.Fatalf("%s: %v", d.id.Device(), err)
	}
	after, refusal := room.CheckCommit(d.view, r.Commit, m.Timestamp)
	if refusal != nil {
		d.w.t.Fatalf("%s refuses what the hub accepted: %s", d.id.Device(), refusal)
	}
	d.out = r.Commit.Removed()
	if err := d.group.Merge(r.Commit); err != nil {
		d.w.t.Fatal(err)
	}
	d.view = after
	d.stapled(m)
}

// stapled takes over what the hub has stapled to an external commit.
func (d *device) stapled(m *wire.FanoutMessage) {
	d.w.t.Helper()
	if d.out {
		return
	}
	if err := room.ReceiveExternal(d.group, d.view, m); err != nil {
		d.w.t.Fatalf("%s: %v", d.id.Device(), err)
	}
}

// say makes a request with a text.
func (d *device) say(text string) *wire.SubmitMessageRequest {
	d.w.t.Helper()
	data := must[[]byte](d.w.t)(room.FrameContent([]byte(text)))
	m := must[*mls.Message](d.w.t)(d.group.Encrypt(room.EmptyAAD(), data))
	return &wire.SubmitMessageRequest{Protocol: wire.ProtocolMLS10, AppMessage: must[wire.MLSMessage](d.w.t)(wire.NewMLSMessage(m)), SendingURI: d.user}
}

// submit brings a message to the hub, as octets, and distributes it.
func (w *world) submit(d *device, req *wire.SubmitMessageRequest) wire.SubmitMessageResponse {
	w.t.Helper()
	req = must[*wire.SubmitMessageRequest](w.t)(wire.UnmarshalSubmitMessageRequest(must[[]byte](w.t)(req.Bytes())))
	resp, accepted, err := w.hub.Submit(w.ms(), w.origin(d), req)
	if err != nil {
		w.t.Fatal(err)
	}
	if (accepted != nil) != (resp.StatusCode == wire.SubmitAccepted) {
		w.t.Fatal("event and response do not match")
	}
	if accepted != nil {
		for _, d := range w.devices {
			d.receive(accepted.Event(nil))
		}
	}
	return resp
}

func packages(list ...*device) []*mls.KeyPackage {
	var out []*mls.KeyPackage
	for _, d := range list {
		out = append(out, d.kp.KeyPackage)
	}
	return out
}

// add has d add a user with some devices.
func (w *world) add(d *device, others ...*device) *room.UpdateOutcome {
	w.t.Helper()
	list := must[[]mls.Proposal](w.t)(room.AddUser(d.view, others[0].user, packages(others...)))
	return w.accept(d, d.commit(list...))
}

// trio is a room with alice (admin), bob with two devices, and carol, members.
func trio(t testing.TB) (w *world, alice, bob, bob2, carol *device) {
	t.Helper()
	w = newWorld(t)
	alice, bob, bob2 = w.device("mimi://a.example/u/alice", "1"), w.device("mimi://b.example/u/bob", "1"), w.device("mimi://b.example/u/bob", "2")
	carol = w.device("mimi://a.example/u/carol", "1")
	w.create(alice, w.spec(alice))
	w.add(alice, bob, bob2)
	w.add(bob, carol)
	return w, alice, bob, bob2, carol
}

// join has a device ask for the GroupInfo and make its external commit, without bringing it to the hub.
func (w *world) join(d *device) *wire.UpdateRequest {
	w.t.Helper()
	info := w.groupInfo(d)
	g, bundle, err := room.JoinRoom(w.config(), d.client, w.room, info)
	if err != nil {
		w.t.Fatal(err)
	}
	d.group, d.out = g, false
	d.own = must[[]byte](w.t)(bundle.Commit.Bytes())
	return must[*wire.UpdateRequest](w.t)(wire.NewCommitRequest(bundle))
}

func (w *world) groupInfo(d *device) *wire.GroupInfoRatchetTree {
	w.t.Helper()
	req, key, err := room.NewGroupInfoRequest(rand.Reader, d.client)
	if err != nil {
		w.t.Fatal(err)
	}
	resp := w.ask(req)
	return must[*wire.GroupInfoRatchetTree](w.t)(room.OpenGroupInfo(w.room, &resp, key))
}

func (w *world) ask(req *wire.GroupInfoRequest) wire.GroupInfoResponse {
	w.t.Helper()
	req = must[*wire.GroupInfoRequest](w.t)(wire.UnmarshalGroupInfoRequest(must[[]byte](w.t)(req.Bytes())))
	resp, err := w.hub.GroupInfo(w.ms(), req, w.hubKey, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return *must[*wire.GroupInfoResponse](w.t)(wire.UnmarshalGroupInfoResponse(must[[]byte](w.t)(resp.Bytes())))
}
