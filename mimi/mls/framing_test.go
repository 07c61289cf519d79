package mls

import (
	"bytes"
	"errors"
	"testing"

	"kith/mimi/internal/vectors"
)

type protectionVectors struct {
	CipherSuite             CipherSuite `json:"cipher_suite"`
	GroupID                 hexBytes    `json:"group_id"`
	Epoch                   uint64      `json:"epoch"`
	TreeHash                hexBytes    `json:"tree_hash"`
	ConfirmedTranscriptHash hexBytes    `json:"confirmed_transcript_hash"`
	SignaturePriv           hexBytes    `json:"signature_priv"`
	SignaturePub            hexBytes    `json:"signature_pub"`
	EncryptionSecret        hexBytes    `json:"encryption_secret"`
	SenderDataSecret        hexBytes    `json:"sender_data_secret"`
	MembershipKey           hexBytes    `json:"membership_key"`
	Proposal                hexBytes    `json:"proposal"`
	ProposalPub             hexBytes    `json:"proposal_pub"`
	ProposalPriv            hexBytes    `json:"proposal_priv"`
	Commit                  hexBytes    `json:"commit"`
	CommitPub               hexBytes    `json:"commit_pub"`
	CommitPriv              hexBytes    `json:"commit_priv"`
	Application             hexBytes    `json:"application"`
	ApplicationPriv         hexBytes    `json:"application_priv"`
}

func (v *protectionVectors) framing(t *testing.T) *framing {
	gc := &GroupContext{CipherSuite: v.CipherSuite, GroupID: v.GroupID, Epoch: v.Epoch, TreeHash: v.TreeHash,
		ConfirmedTranscriptHash: v.ConfirmedTranscriptHash}
	return must[*framing](t)(newFraming(gc))
}

func (v *protectionVectors) secrets(t *testing.T) *epochSecrets {
	s := must[*suite](t)(suiteOf(v.CipherSuite))
	return &epochSecrets{suite: s, senderData: v.SenderDataSecret, membership: v.MembershipKey,
		tree: newSecretTree(s, bytes.Clone(v.EncryptionSecret), 2)}
}

func (v *protectionVectors) content(t *testing.T, kind ContentType, raw []byte) framedContent {
	c := framedContent{groupID: v.GroupID, epoch: v.Epoch, sender: Sender{Type: SenderMember, Leaf: 1},
		authenticatedData: []byte("aad"), contentType: kind}
	switch kind {
	case ContentTypeApplication:
		c.application = raw
	case ContentTypeProposal:
		c.proposal = new(Proposal)
		if err := unmarshalAll(raw, c.proposal); err != nil {
			t.Fatal(err)
		}
	case ContentTypeCommit:
		c.commit = new(Commit)
		if err := unmarshalAll(raw, c.commit); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// raw is what the vectors give for a content.
func raw(t *testing.T, a *authenticatedContent) []byte {
	t.Helper()
	if a.content.contentType == ContentTypeApplication {
		return a.content.application
	}
	return a.content.body
}

func (v *protectionVectors) keyOf(LeafIndex) (SignaturePublicKey, error) {
	return SignaturePublicKey(v.SignaturePub), nil
}

func (v *protectionVectors) checkPublic(t *testing.T, kind ContentType, want, message []byte) {
	f := v.framing(t)
	m := must[*Message](t)(UnmarshalMessage(message)).Public
	a := must[*authenticatedContent](t)(f.unprotectPublic(v.MembershipKey, SignaturePublicKey(v.SignaturePub), m))
	equal(t, "public content", raw(t, a), want)
	key := must[*SignatureKey](t)(ParseSignatureKey(v.CipherSuite, privateKey(v.CipherSuite, v.SignaturePriv)))
	a = must[*authenticatedContent](t)(f.signContent(key, WireFormatPublicMessage, v.content(t, kind, want)))
	if kind == ContentTypeCommit {
		a.auth.confirmationTag = []byte("tag")
	}
	m = must[*PublicMessage](t)(f.protectPublic(v.MembershipKey, a))
	again := &Message{WireFormat: WireFormatPublicMessage, Public: m}
	m = must[*Message](t)(UnmarshalMessage(must[[]byte](t)(again.Bytes()))).Public
	a = must[*authenticatedContent](t)(f.unprotectPublic(v.MembershipKey, SignaturePublicKey(v.SignaturePub), m))
	equal(t, "own public content", raw(t, a), want)
	m.membershipTag[0] ^= 1
	if _, err := f.unprotectPublic(v.MembershipKey, SignaturePublicKey(v.SignaturePub), m); err == nil {
		t.Error("changed membership tag accepted")
	}
	if _, err := f.verifyPublic(SignaturePublicKey(v.SignaturePub), m); err != nil {
		t.Error("hub refuses:", err)
	}
	m.content.authenticatedData = []byte("other")
	if _, err := f.verifyPublic(SignaturePublicKey(v.SignaturePub), m); err == nil {
		t.Error("changed authenticated data accepted")
	}
}

func (v *protectionVectors) checkPrivate(t *testing.T, kind ContentType, want, message []byte) {
	f := v.framing(t)
	m := must[*Message](t)(UnmarshalMessage(message)).Private
	a := must[*authenticatedContent](t)(f.unprotectPrivate(v.secrets(t), m, v.keyOf))
	equal(t, "private content", raw(t, a), want)
	key := must[*SignatureKey](t)(ParseSignatureKey(v.CipherSuite, privateKey(v.CipherSuite, v.SignaturePriv)))
	a = must[*authenticatedContent](t)(f.signContent(key, WireFormatPrivateMessage, v.content(t, kind, want)))
	if kind == ContentTypeCommit {
		a.auth.confirmationTag = []byte("tag")
	}
	m = must[*PrivateMessage](t)(f.protectPrivate(v.secrets(t), newRandom(3), a))
	again := &Message{WireFormat: WireFormatPrivateMessage, Private: m}
	m = must[*Message](t)(UnmarshalMessage(must[[]byte](t)(again.Bytes()))).Private
	a = must[*authenticatedContent](t)(f.unprotectPrivate(v.secrets(t), m, v.keyOf))
	equal(t, "own private content", raw(t, a), want)
	equal(t, "own authenticated data", a.content.authenticatedData, []byte("aad"))
}

func TestVectorsMessageProtection(t *testing.T) {
	var entries []protectionVectors
	vectors.Load(t, "mls/message-protection.json", &entries)
	var count vectors.Suites
	for i := range entries {
		v := &entries[i]
		if !counted(&count, v.CipherSuite) {
			continue
		}
		v.checkPublic(t, ContentTypeProposal, v.Proposal, v.ProposalPub)
		v.checkPublic(t, ContentTypeCommit, v.Commit, v.CommitPub)
		v.checkPrivate(t, ContentTypeProposal, v.Proposal, v.ProposalPriv)
		v.checkPrivate(t, ContentTypeCommit, v.Commit, v.CommitPriv)
		v.checkPrivate(t, ContentTypeApplication, v.Application, v.ApplicationPriv)
		key := must[*SignatureKey](t)(ParseSignatureKey(v.CipherSuite, privateKey(v.CipherSuite, v.SignaturePriv)))
		c := v.content(t, ContentTypeApplication, v.Application)
		if _, err := v.framing(t).signContent(key, WireFormatPublicMessage, c); err == nil {
			t.Error("application data as PublicMessage")
		}
	}
	count.Report(t)
}

// pair is a sender and a receiver in one epoch of a group of n.
type pair struct {
	f        *framing
	key      *SignatureKey
	from, to *epochSecrets
	r        random
}

func newPair(t testing.TB, n uint32) *pair {
	r := newRandom(9)
	client := newTestClient(t, r, "sender")
	f, err := newFraming(&GroupContext{CipherSuite: suite1.id, GroupID: []byte("group"), Epoch: 7})
	if err != nil {
		t.Fatal(err)
	}
	secret := suite1.hash([]byte("epoch"))
	return &pair{f, client.SignatureKey, suite1.epochSecretsOf(bytes.Clone(secret), n), suite1.epochSecretsOf(secret, n), r}
}

func (p *pair) seal(t testing.TB, leaf LeafIndex, text []byte) *PrivateMessage {
	t.Helper()
	a, err := p.f.signContent(p.key, WireFormatPrivateMessage, framedContent{groupID: p.f.groupID, epoch: p.f.epoch,
		sender: Sender{Type: SenderMember, Leaf: leaf}, contentType: ContentTypeApplication, application: text})
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.f.protectPrivate(p.from, p.r, a)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (p *pair) open(m *PrivateMessage) ([]byte, error) {
	a, err := p.f.unprotectPrivate(p.to, m, func(LeafIndex) (SignaturePublicKey, error) { return p.key.Public(), nil })
	if err != nil {
		return nil, err
	}
	return a.content.application, nil
}

func TestPrivateMessageRefusals(t *testing.T) {
	p := newPair(t, 4)
	m := p.seal(t, 2, []byte("hello"))
	for name, change := range map[string]func(m *PrivateMessage){
		"group":         func(m *PrivateMessage) { m.groupID = []byte("other") },
		"epoch":         func(m *PrivateMessage) { m.epoch++ },
		"content type":  func(m *PrivateMessage) { m.contentType = ContentTypeProposal },
		"aad":           func(m *PrivateMessage) { m.authenticatedData = []byte("x") },
		"sender data":   func(m *PrivateMessage) { m.encryptedSenderData[3] ^= 1 },
		"ciphertext":    func(m *PrivateMessage) { m.ciphertext[40] ^= 1 },
		"short":         func(m *PrivateMessage) { m.ciphertext = m.ciphertext[:10] },
		"empty":         func(m *PrivateMessage) { m.ciphertext = nil },
		"no sender":     func(m *PrivateMessage) { m.encryptedSenderData = nil },
		"other sampled": func(m *PrivateMessage) { m.ciphertext[0] ^= 1 },
	} {
		bad := *m
		bad.encryptedSenderData, bad.ciphertext = bytes.Clone(m.encryptedSenderData), bytes.Clone(m.ciphertext)
		change(&bad)
		if _, err := p.open(&bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// None of the refusals cost the receiver the key.
	text, err := p.open(m)
	if err != nil || string(text) != "hello" {
		t.Fatalf("%q, %v", text, err)
	}
	if _, err := p.open(m); !errors.Is(err, ErrReplayed) {
		t.Errorf("second reading: %v", err)
	}
}

// A member who knows the ratchet of another can encrypt under its keys, but not sign: the victim's key stays.
func TestForgedSenderCostsNoKey(t *testing.T) {
	p := newPair(t, 4)
	forger := *p
	forger.key = newTestClient(t, newRandom(77), "forger").SignatureKey
	forger.from = suite1.epochSecretsOf(suite1.hash([]byte("epoch")), 4)
	if _, err := p.open(forger.seal(t, 1, []byte("forged"))); err == nil {
		t.Fatal("forged message accepted")
	}
	if text, err := p.open(p.seal(t, 1, []byte("real"))); err != nil || string(text) != "real" {
		t.Fatalf("%q, %v", text, err)
	}
}

func TestSenderRules(t *testing.T) {
	add, update := &Proposal{Type: ProposalAdd}, &Proposal{Type: ProposalUpdate}
	for _, c := range []struct {
		content framedContent
		ok      bool
	}{
		{framedContent{sender: Sender{Type: SenderExternal}, contentType: ContentTypeProposal, proposal: add}, true},
		{framedContent{sender: Sender{Type: SenderExternal}, contentType: ContentTypeProposal, proposal: update}, false},
		{framedContent{sender: Sender{Type: SenderExternal}, contentType: ContentTypeProposal, proposal: &Proposal{Type: ProposalSelfRemove}}, false},
		{framedContent{sender: Sender{Type: SenderExternal}, contentType: ContentTypeProposal, proposal: &Proposal{Type: ProposalAppDataUpdate}}, true},
		{framedContent{sender: Sender{Type: SenderExternal}, contentType: ContentTypeProposal, proposal: &Proposal{Type: ProposalExternalInit}}, false},
		{framedContent{sender: Sender{Type: SenderExternal}, contentType: ContentTypeCommit, commit: &Commit{}}, false},
		{framedContent{sender: Sender{Type: SenderExternal}, contentType: ContentTypeApplication}, false},
		{framedContent{sender: Sender{Type: SenderNewMemberProposal}, contentType: ContentTypeProposal, proposal: add}, true},
		{framedContent{sender: Sender{Type: SenderNewMemberProposal}, contentType: ContentTypeProposal, proposal: update}, false},
		{framedContent{sender: Sender{Type: SenderNewMemberCommit}, contentType: ContentTypeCommit, commit: &Commit{Path: &UpdatePath{}}}, true},
		{framedContent{sender: Sender{Type: SenderNewMemberCommit}, contentType: ContentTypeCommit, commit: &Commit{}}, false},
		{framedContent{sender: Sender{Type: SenderNewMemberCommit}, contentType: ContentTypeProposal, proposal: add}, false},
	} {
		if err := c.content.checkSender(); (err == nil) != c.ok {
			t.Errorf("sender %d, content %d: %v", c.content.sender.Type, c.content.contentType, err)
		}
	}
}

func TestPaddedSize(t *testing.T) {
	last := 0
	for n := range 70000 {
		p := paddedSize(n)
		if p < n || p < last || p > n+max(32, n/8) {
			t.Fatalf("%d padded to %d after %d", n, p, last)
		}
		last = p
	}
}

// Whoever the sender is, a message is bound to its group and epoch: in plain sight, and by its signature.
func TestLesson08FramingBindsGroupAndEpoch(t *testing.T) {
	p := newPair(t, 2)
	remove := RemoveProposal(1)
	add := AddProposal(newTestKeyPackage(t, p.r).KeyPackage)
	for _, c := range []framedContent{
		{sender: Sender{Type: SenderMember}, contentType: ContentTypeProposal, proposal: &remove},
		{sender: Sender{Type: SenderExternal}, contentType: ContentTypeProposal, proposal: &remove},
		{sender: Sender{Type: SenderNewMemberProposal}, contentType: ContentTypeProposal, proposal: &add},
		{sender: Sender{Type: SenderNewMemberCommit}, contentType: ContentTypeCommit, commit: &Commit{Path: &UpdatePath{
			LeafNode: newTestKeyPackage(t, p.r).KeyPackage.LeafNode}}},
	} {
		c.groupID, c.epoch = p.f.groupID, p.f.epoch
		a := must[*authenticatedContent](t)(p.f.signContent(p.key, WireFormatPublicMessage, c))
		m := must[*PublicMessage](t)(p.f.protectPublic(p.to.membership, a))
		if _, err := p.f.unprotectPublic(p.to.membership, p.key.Public(), m); err != nil {
			t.Errorf("sender %d: %v", c.sender.Type, err)
		}
		later, other := *p.f, *p.f
		later.epoch++
		other.groupID = []byte("other")
		for _, f := range []*framing{&later, &other} {
			moved := *m
			if _, err := f.unprotectPublic(p.to.membership, p.key.Public(), &moved); err == nil {
				t.Errorf("sender %d: replayed as it was", c.sender.Type)
			}
			moved.content.groupID, moved.content.epoch = f.groupID, f.epoch
			if _, err := f.verifyPublic(p.key.Public(), &moved); err == nil {
				t.Errorf("sender %d: replayed with a changed header", c.sender.Type)
			}
		}
	}
}
