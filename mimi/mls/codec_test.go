package mls

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
	"kith/mimi/internal/vectors"
)

// codec is a structure that can be read and written.
type codec interface {
	cryptobyte.MarshalingValue
	unmarshaler
}

// decoders are the top-level structures by name.
var decoders = map[string]func() codec{
	"Message":              func() codec { return new(Message) },
	"KeyPackage":           func() codec { return new(KeyPackage) },
	"LeafNode":             func() codec { return new(LeafNode) },
	"Proposal":             func() codec { return new(Proposal) },
	"Commit":               func() codec { return new(Commit) },
	"Welcome":              func() codec { return new(Welcome) },
	"GroupInfo":            func() codec { return new(GroupInfo) },
	"GroupContext":         func() codec { return new(GroupContext) },
	"GroupSecrets":         func() codec { return new(groupSecrets) },
	"AuthenticatedContent": func() codec { return new(authenticatedContent) },
	"Credential":           func() codec { return new(Credential) },
	"Extensions":           func() codec { return new(Extensions) },
	"AppDataDictionary":    func() codec { return new(AppDataDictionary) },
	"RequiredCapabilities": func() codec { return new(RequiredCapabilities) },
	"ExternalSender":       func() codec { return new(ExternalSender) },
	"SafeAAD":              func() codec { return new(SafeAAD) },
	"ApplicationFraming":   func() codec { return new(ApplicationFraming) },
	"AppAck":               func() codec { return new(AppAck) },
	"WireFormats":          func() codec { return new(listCodec[WireFormats]) },
	"ComponentsList":       func() codec { return new(listCodec[ComponentsList]) },
	"MediaTypeList":        func() codec { return new(listCodec[MediaTypeList]) },
	"ExternalSenders":      func() codec { return new(listCodec[externalSenders]) },
	"SecretTree":           func() codec { return new(secretTreeCodec) },
	"EpochSecrets":         func() codec { return new(epochSecretsCodec) },
	"KeyPackageSecrets":    func() codec { return new(keyPackageSecretsCodec) },
	"KeyPackages":          func() codec { return new(listCodec[KeyPackages]) },
	"RatchetTree":          func() codec { return new(ratchetTreeCodec) },
	"PreSharedKeyID":       func() codec { return new(PreSharedKeyID) },
}

// decode reads data wholly with a decoder and re-encodes it.
func decode(name string, data []byte) ([]byte, error) {
	v := decoders[name]()
	if err := unmarshalAll(data, v); err != nil {
		return nil, err
	}
	return marshal(v)
}

// externalSenders and the adapters below give codecs without Marshal/Unmarshal the common form.
type externalSenders []ExternalSender

func (l externalSenders) Bytes() ([]byte, error) { return MarshalExternalSenders(l) }

type listCodec[T interface{ Bytes() ([]byte, error) }] struct{ v T }

func (l *listCodec[T]) Marshal(b *cryptobyte.Builder) error {
	data, err := l.v.Bytes()
	b.AddBytes(data)
	return err
}

func (l *listCodec[T]) Unmarshal(s *cryptobyte.String) (err error) {
	switch v := any(&l.v).(type) {
	case *ComponentsList:
		*v, err = UnmarshalComponentsList(*s)
	case *WireFormats:
		*v, err = UnmarshalWireFormats(*s)
	case *MediaTypeList:
		*v, err = UnmarshalMediaTypeList(*s)
	case *externalSenders:
		*v, err = UnmarshalExternalSenders(*s)
	case *KeyPackages:
		*v, err = UnmarshalKeyPackages(*s)
	}
	*s = nil
	return err
}

type secretTreeCodec struct{ t *secretTree }

func (c *secretTreeCodec) Marshal(b *cryptobyte.Builder) error { return c.t.Marshal(b) }
func (c *secretTreeCodec) Unmarshal(s *cryptobyte.String) (err error) {
	c.t, err = suite1.unmarshalSecretTree(s)
	return err
}

type ratchetTreeCodec struct{ t *ratchetTree }

func (c *ratchetTreeCodec) Marshal(b *cryptobyte.Builder) error {
	data, err := c.t.marshal()
	b.AddBytes(data)
	return err
}

func (c *ratchetTreeCodec) Unmarshal(s *cryptobyte.String) (err error) {
	c.t, err = unmarshalRatchetTree(suite1, RatchetTree(*s))
	*s = nil
	return err
}

type epochSecretsCodec struct{ e *epochSecrets }

func (c *epochSecretsCodec) Marshal(b *cryptobyte.Builder) error { return c.e.Marshal(b) }
func (c *epochSecretsCodec) Unmarshal(s *cryptobyte.String) (err error) {
	c.e, err = suite1.unmarshalEpochSecrets(s)
	return err
}

type keyPackageSecretsCodec struct{ k *KeyPackageSecrets }

func (c *keyPackageSecretsCodec) Marshal(b *cryptobyte.Builder) error {
	data, err := c.k.Bytes()
	b.AddBytes(data)
	return err
}

func (c *keyPackageSecretsCodec) Unmarshal(s *cryptobyte.String) (err error) {
	c.k, err = UnmarshalKeyPackageSecrets(*s)
	*s = nil
	return err
}

// random makes random values from a seed.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 7))} }

func (r random) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}

func (r random) octets(limit int) []byte {
	out := make([]byte, r.IntN(limit+1))
	_, _ = r.Read(out)
	return out
}

func (r random) uint16s(limit int) []uint16 {
	out := make([]uint16, r.IntN(limit+1))
	for i := range out {
		out[i] = uint16(r.Uint32())
	}
	return out
}

func convert[T, F ~uint16](in []F) []T {
	out := make([]T, len(in))
	for i := range in {
		out[i] = T(in[i])
	}
	return out
}

func (r random) credential() Credential {
	switch r.IntN(3) {
	case 0:
		return BasicCredential(r.octets(70))
	case 1:
		var list [][]byte
		for range r.IntN(4) {
			list = append(list, r.octets(300))
		}
		return X509Credential(list...)
	default:
		return Credential{Type: CredentialType(0x8000 | r.Uint32()), Opaque: r.octets(40)}
	}
}

func (r random) extensions() Extensions {
	var e Extensions
	for i := range r.IntN(12) {
		e = append(e, Extension{Type: ExtensionType(i*16 + r.IntN(16)), Data: r.octets(80)})
	}
	return e
}

func (r random) capabilities() Capabilities {
	return Capabilities{r.uint16s(2), convert[CipherSuite](r.uint16s(9)), convert[ExtensionType](r.uint16s(5)),
		convert[ProposalType](r.uint16s(5)), convert[CredentialType](r.uint16s(3))}
}

func (r random) leafNode() LeafNode {
	l := LeafNode{
		EncryptionKey: r.octets(40), SignatureKey: r.octets(40), Credential: r.credential(),
		Capabilities: r.capabilities(), Source: uint8(1 + r.IntN(3)), Extensions: r.extensions(), Signature: r.octets(70),
	}
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		l.Lifetime = Lifetime{r.Uint64(), r.Uint64()}
	case LeafNodeSourceCommit:
		l.ParentHash = r.octets(40)
	}
	return l
}

func (r random) keyPackage() *KeyPackage {
	return &KeyPackage{VersionMLS10, CipherSuite(r.Uint32()), r.octets(40), r.leafNode(), r.extensions(), r.octets(70)}
}

func (r random) psk() *PreSharedKeyID {
	p := &PreSharedKeyID{Type: PSKType(1 + r.IntN(3)), Nonce: r.octets(40)}
	switch p.Type {
	case PSKExternal:
		p.ID = r.octets(30)
	case PSKResumption:
		p.Usage, p.GroupID, p.Epoch = ResumptionPSKUsage(1+r.IntN(3)), r.octets(20), r.Uint64()
	case PSKApplication:
		p.Component, p.ID = ComponentID(r.Uint32()), r.octets(30)
	}
	return p
}

func (r random) proposal() *Proposal {
	p := &Proposal{Type: ProposalType(1 + r.IntN(10))}
	switch p.Type {
	case ProposalAdd:
		p.Add = r.keyPackage()
	case ProposalUpdate:
		leaf := r.leafNode()
		p.Update = &leaf
	case ProposalRemove:
		p.Remove = LeafIndex(r.Uint32())
	case ProposalPSK:
		p.PSK = r.psk()
	case ProposalReInit:
		p.ReInit = &ReInit{r.octets(30), uint16(r.Uint32()), CipherSuite(r.Uint32()), r.extensions()}
	case ProposalExternalInit:
		p.ExternalInit = r.octets(40)
	case ProposalGroupContextExtensions:
		p.GroupContextExtensions = r.extensions()
	case ProposalAppDataUpdate:
		p.AppDataUpdate = &AppDataUpdate{Component: ComponentID(r.Uint32()), Remove: r.IntN(2) == 0}
		if !p.AppDataUpdate.Remove {
			p.AppDataUpdate.Update = r.octets(100)
		}
	case ProposalAppEphemeral:
		p.AppEphemeral = &AppEphemeral{ComponentID(r.Uint32()), r.octets(100)}
	}
	return p
}

func (r random) commit() *Commit {
	c := new(Commit)
	for range r.IntN(5) {
		if r.IntN(2) == 0 {
			c.Proposals = append(c.Proposals, ProposalOrRef{Proposal: r.proposal()})
		} else {
			c.Proposals = append(c.Proposals, ProposalOrRef{Reference: r.octets(40)})
		}
	}
	if r.IntN(2) == 0 {
		return c
	}
	c.Path = &UpdatePath{LeafNode: r.leafNode()}
	for range r.IntN(5) {
		n := UpdatePathNode{EncryptionKey: r.octets(40)}
		for range r.IntN(5) {
			n.EncryptedPathSecret = append(n.EncryptedPathSecret, HPKECiphertext{r.octets(40), r.octets(70)})
		}
		c.Path.Nodes = append(c.Path.Nodes, n)
	}
	return c
}

func (r random) groupContext() GroupContext {
	return GroupContext{CipherSuite(r.Uint32()), r.octets(20), r.Uint64(), r.octets(40), r.octets(40), r.extensions()}
}

func (r random) groupInfo() *GroupInfo {
	return &GroupInfo{r.groupContext(), r.extensions(), r.octets(40), LeafIndex(r.Uint32()), r.octets(70)}
}

func (r random) welcome() *Welcome {
	w := &Welcome{CipherSuite: CipherSuite(r.Uint32()), EncryptedGroupInfo: r.octets(300)}
	for range r.IntN(5) {
		w.Secrets = append(w.Secrets, EncryptedGroupSecrets{r.octets(40), HPKECiphertext{r.octets(40), r.octets(100)}})
	}
	return w
}

func (r random) content() framedContent {
	c := framedContent{
		groupID: r.octets(20), epoch: r.Uint64(), sender: Sender{Type: SenderType(1 + r.IntN(4))},
		authenticatedData: r.octets(20), contentType: ContentType(1 + r.IntN(3)),
	}
	switch c.sender.Type {
	case SenderMember:
		c.sender.Leaf = LeafIndex(r.Uint32())
	case SenderExternal:
		c.sender.External = r.Uint32()
	}
	switch c.contentType {
	case ContentTypeApplication:
		c.application = r.octets(200)
	case ContentTypeProposal:
		c.proposal = r.proposal()
	case ContentTypeCommit:
		c.commit = r.commit()
	}
	return c
}

func (r random) auth(t ContentType) contentAuth {
	a := contentAuth{signature: r.octets(70)}
	if t == ContentTypeCommit {
		a.confirmationTag = r.octets(40)
	}
	return a
}

func (r random) message() *Message {
	m := &Message{WireFormat: WireFormat(1 + r.IntN(5))}
	switch m.WireFormat {
	case WireFormatPublicMessage:
		m.Public = &PublicMessage{content: r.content()}
		m.Public.auth = r.auth(m.Public.content.contentType)
		if m.Public.content.sender.Type == SenderMember {
			m.Public.membershipTag = r.octets(40)
		}
	case WireFormatPrivateMessage:
		m.Private = &PrivateMessage{r.octets(20), r.Uint64(), ContentType(1 + r.IntN(3)), r.octets(20), r.octets(40), r.octets(300)}
	case WireFormatWelcome:
		m.Welcome = r.welcome()
	case WireFormatGroupInfo:
		m.GroupInfo = r.groupInfo()
	case WireFormatKeyPackage:
		m.KeyPackage = r.keyPackage()
	}
	return m
}

func (r random) groupSecrets() *groupSecrets {
	g := &groupSecrets{joinerSecret: r.octets(40)}
	if r.IntN(2) == 0 {
		g.pathSecret = append([]byte{}, r.octets(40)...)
	}
	for range r.IntN(4) {
		g.psks = append(g.psks, *r.psk())
	}
	return g
}

func (r random) dictionary() AppDataDictionary {
	var d AppDataDictionary
	for range r.IntN(8) {
		d = d.Set(ComponentID(r.Uint32()), r.octets(90))
	}
	return d
}

func (r random) safeAAD() SafeAAD {
	var a SafeAAD
	for _, c := range r.dictionary() {
		a = append(a, SafeAADItem{c.ID, c.Data})
	}
	return a
}

func (r random) mediaType() MediaType {
	m := MediaType{Type: string(r.octets(30))}
	for range r.IntN(4) {
		m.Parameters = append(m.Parameters, MediaTypeParameter{string(r.octets(9)), string(r.octets(9))})
	}
	return m
}

func (r random) secretTree() *secretTree {
	secret, _ := suite1.random(r)
	t := newSecretTree(suite1, secret, uint32(1+r.IntN(40)))
	for range r.IntN(10) {
		use, err := t.find(LeafIndex(r.IntN(int(t.width))), ratchetKind(r.IntN(2)), uint32(r.IntN(30)))
		if err == nil {
			use.apply()
		}
	}
	return t
}

// ratchetTree is a tree of random leaves with blanks, and parents with unmerged leaves.
func (r random) ratchetTree() *ratchetTree {
	leaf := r.leafNode()
	t := newRatchetTree(suite1, &leaf)
	for range r.IntN(9) {
		leaf := r.leafNode()
		_, _ = t.addLeaf(&leaf)
		if i := LeafIndex(r.IntN(int(t.leafCount()))); i > 0 && t.leaf(i) != nil && r.IntN(2) == 0 {
			t.removeLeaf(i)
		}
		if x := nodeIndex(2*r.IntN(int(t.leafCount())) + 1); int(x) < len(t.slots) {
			t.setParent(x, &parentNode{EncryptionKey: append([]byte{1}, r.octets(40)...), ParentHash: r.octets(40)})
		}
	}
	t.truncate()
	// a tree on the wire ends with a leaf
	if last := LeafIndex(t.leafCount() - 1); t.leaf(last) == nil {
		t.setLeaf(last, &leaf)
	}
	return t
}

func (r random) epochSecrets() *epochSecrets {
	secret, _ := suite1.random(r)
	return suite1.epochSecretsOf(secret, 4)
}

// value makes a random value of a decoder's type.
func (r random) value(t testing.TB, name string) codec {
	switch name {
	case "Message":
		return r.message()
	case "KeyPackage":
		return r.keyPackage()
	case "LeafNode":
		l := r.leafNode()
		return &l
	case "Proposal":
		return r.proposal()
	case "Commit":
		return r.commit()
	case "Welcome":
		return r.welcome()
	case "GroupInfo":
		return r.groupInfo()
	case "GroupContext":
		g := r.groupContext()
		return &g
	case "GroupSecrets":
		return r.groupSecrets()
	case "AuthenticatedContent":
		a := &authenticatedContent{wireFormat: WireFormat(1 + r.IntN(2)), content: r.content()}
		a.auth = r.auth(a.content.contentType)
		return a
	case "Credential":
		c := r.credential()
		return &c
	case "Extensions":
		e := r.extensions()
		return &e
	default:
		return r.smallValue(t, name)
	}
}

func (r random) smallValue(t testing.TB, name string) codec {
	switch name {
	case "AppDataDictionary":
		d := r.dictionary()
		return &d
	case "RequiredCapabilities":
		c := r.capabilities()
		return &RequiredCapabilities{c.Extensions, c.Proposals, c.Credentials}
	case "ExternalSender":
		return &ExternalSender{r.octets(40), r.credential()}
	case "SafeAAD":
		a := r.safeAAD()
		return &a
	case "ApplicationFraming":
		return &ApplicationFraming{r.mediaType(), r.octets(200)}
	case "AppAck":
		var a AppAck
		for range r.IntN(5) {
			x, y := r.Uint32(), r.Uint32()
			a = append(a, MessageRange{LeafIndex(r.Uint32()), min(x, y), max(x, y)})
		}
		return &a
	case "WireFormats":
		return &listCodec[WireFormats]{convert[WireFormat](r.uint16s(20))}
	case "ComponentsList":
		return &listCodec[ComponentsList]{convert[ComponentID](r.uint16s(20))}
	case "MediaTypeList":
		return &listCodec[MediaTypeList]{MediaTypeList{r.mediaType(), r.mediaType()}}
	case "ExternalSenders":
		return &listCodec[externalSenders]{externalSenders{{r.octets(40), r.credential()}, {r.octets(40), r.credential()}}}
	case "KeyPackages":
		return &listCodec[KeyPackages]{KeyPackages{r.keyPackage(), r.keyPackage()}}
	case "RatchetTree":
		return &ratchetTreeCodec{r.ratchetTree()}
	case "PreSharedKeyID":
		return r.psk()
	case "SecretTree":
		return &secretTreeCodec{r.secretTree()}
	case "EpochSecrets":
		return &epochSecretsCodec{r.epochSecrets()}
	case "KeyPackageSecrets":
		return &keyPackageSecretsCodec{newTestKeyPackage(t, r)}
	}
	t.Fatalf("no random value of %s", name)
	return nil
}

// newTestClient makes a client of suite 1.
func newTestClient(t testing.TB, r random, name string) *Client {
	t.Helper()
	return newTestClientOf(t, r, suite1.id, name)
}

func newTestClientOf(t testing.TB, r random, cs CipherSuite, name string) *Client {
	t.Helper()
	key, err := GenerateSignatureKey(cs, r)
	if err != nil {
		t.Fatal(err)
	}
	return &Client{
		SignatureKey: key,
		Credential:   BasicCredential([]byte(name)),
		Capabilities: Capabilities{
			Versions:     []uint16{VersionMLS10},
			CipherSuites: []CipherSuite{cs},
			Extensions:   []ExtensionType{ExtensionAppDataDictionary},
			Proposals:    []ProposalType{ProposalAppDataUpdate, ProposalAppEphemeral, ProposalSelfRemove},
			Credentials:  []CredentialType{CredentialBasic, CredentialX509},
		},
	}
}

func newTestKeyPackage(t testing.TB, r random) *KeyPackageSecrets {
	t.Helper()
	k, err := NewKeyPackage(Config{Rand: r}, newTestClient(t, r, "alice"), Lifetime{1000, 2000}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Every decoder: random values survive a round trip, and every proper prefix is refused.
func TestRoundTrip(t *testing.T) {
	for name := range decoders {
		t.Run(name, func(t *testing.T) {
			r := newRandom(42)
			for range 60 {
				data, err := marshal(r.value(t, name))
				if err != nil {
					t.Fatal(err)
				}
				again, err := decode(name, data)
				if err != nil {
					t.Fatalf("%x: %v", data, err)
				}
				if !bytes.Equal(again, data) {
					t.Fatalf("%x re-encodes to %x", data, again)
				}
				if _, err := decode(name, append(data, 0)); err == nil {
					t.Fatal("trailing octet accepted")
				}
			}
		})
	}
}

func TestPrefixesRefused(t *testing.T) {
	for name := range decoders {
		t.Run(name, func(t *testing.T) {
			r := newRandom(43)
			for range 12 {
				data, err := marshal(r.value(t, name))
				if err != nil {
					t.Fatal(err)
				}
				for n := range data {
					if _, err := decode(name, data[:n]); err == nil {
						t.Fatalf("prefix of %d of %d octets accepted", n, len(data))
					}
				}
			}
		})
	}
}

// messageVectors maps the fields of messages.json to decoders; ratchet_tree is the tree's business.
var messageVectors = map[string]string{
	"mls_welcome": "Message", "mls_group_info": "Message", "mls_key_package": "Message", "group_secrets": "GroupSecrets",
	"add_proposal": "1", "update_proposal": "2", "remove_proposal": "3", "pre_shared_key_proposal": "4",
	"re_init_proposal": "5", "external_init_proposal": "6", "group_context_extensions_proposal": "7",
	"commit": "Commit", "public_message_application": "Message", "public_message_proposal": "Message",
	"public_message_commit": "Message", "private_message": "Message",
}

func TestVectorsMessages(t *testing.T) {
	var entries []map[string]string
	vectors.Load(t, "mls/messages.json", &entries)
	for i, entry := range entries {
		for field, name := range messageVectors {
			data, err := hex.DecodeString(entry[field])
			if err != nil || len(data) == 0 {
				t.Fatalf("entry %d: no %s", i, field)
			}
			// The vectors hold the bodies of proposals; the decoder wants the type in front.
			if len(name) == 1 {
				data, name = append([]byte{0, name[0] - '0'}, data...), "Proposal"
			}
			again, err := decode(name, data)
			if err != nil {
				t.Fatalf("entry %d, %s: %v", i, field, err)
			}
			if !bytes.Equal(again, data) {
				t.Fatalf("entry %d, %s: re-encodes differently", i, field)
			}
			if i%30 != 0 {
				continue
			}
			for n := 0; n < len(data); n++ {
				if _, err := decode(name, data[:n]); err == nil {
					t.Fatalf("entry %d, %s: prefix of %d octets accepted", i, field, n)
				}
			}
		}
	}
	t.Logf("%d entries", len(entries))
}

func TestVectorsDeserialization(t *testing.T) {
	var entries []struct {
		Header string `json:"vlbytes_header"`
		Length int    `json:"length"`
	}
	vectors.Load(t, "mls/deserialization.json", &entries)
	for _, e := range entries {
		header, _ := hex.DecodeString(e.Header)
		var list []byte
		if e.Length < 1<<20 {
			data := append(header, make([]byte, e.Length)...)
			s := cryptobyte.String(data)
			if !syntax.ReadVector(&s, &list) || len(list) != e.Length || !s.Empty() {
				t.Errorf("header %s: read %d octets, want %d", e.Header, len(list), e.Length)
			}
		}
		checkVarint(t, header, e.Length)
	}
}

func checkVarint(t *testing.T, header []byte, length int) {
	t.Helper()
	var n uint32
	s := cryptobyte.String(header)
	if !syntax.ReadVarint(&s, &n) || int(n) != length || !s.Empty() {
		t.Errorf("header %x: read %d, want %d", header, n, length)
	}
	b := cryptobyte.NewBuilder(nil)
	syntax.AddVarint(b, length)
	if out, err := b.Bytes(); err != nil || !bytes.Equal(out, header) {
		t.Errorf("length %d: wrote %x, want %x", length, out, header)
	}
}
