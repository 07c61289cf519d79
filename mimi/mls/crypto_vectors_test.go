package mls

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
	"kith/mimi/internal/vectors"
)

// hexBytes is a hexadecimal string of a vector file.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	var err error
	*h, err = hex.DecodeString(s)
	return err
}

func equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %x, want %x", what, got, want)
	}
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// counted reports whether an entry of a vector file is to be run. The large curves are slow where there is no assembly.
func counted(count *vectors.Suites, cs CipherSuite) bool {
	slow := cs == P521AES256GCMSHA512P521 || cs == P384AES256GCMSHA384P384
	return count.Add(uint16(cs), cs.Supported(), slow)
}

// privateKey is a private key of the vectors in the length that its suite demands: those of P-521 lack leading zeros
// there. Our own stored form is never shortened.
func privateKey(cs CipherSuite, key hexBytes) []byte {
	if cs == P521AES256GCMSHA512P521 && len(key) < 66 {
		return append(make([]byte, 66-len(key)), key...)
	}
	return key
}

type cryptoBasics struct {
	CipherSuite CipherSuite `json:"cipher_suite"`
	RefHash     struct {
		Label string
		Value hexBytes
		Out   hexBytes
	} `json:"ref_hash"`
	ExpandWithLabel struct {
		Secret  hexBytes
		Label   string
		Context hexBytes
		Length  int
		Out     hexBytes
	} `json:"expand_with_label"`
	DeriveSecret struct {
		Secret hexBytes
		Label  string
		Out    hexBytes
	} `json:"derive_secret"`
	DeriveTreeSecret struct {
		Secret     hexBytes
		Label      string
		Generation uint32
		Length     int
		Out        hexBytes
	} `json:"derive_tree_secret"`
	SignWithLabel struct {
		Priv, Pub, Content hexBytes
		Label              string
		Signature          hexBytes
	} `json:"sign_with_label"`
	EncryptWithLabel struct {
		Priv, Pub, Context, Plaintext, Ciphertext hexBytes
		Label                                     string
		KEMOutput                                 hexBytes `json:"kem_output"`
	} `json:"encrypt_with_label"`
}

func TestVectorsCryptoBasics(t *testing.T) {
	var entries []cryptoBasics
	vectors.Load(t, "mls/crypto-basics.json", &entries)
	var count vectors.Suites
	for i := range entries {
		if e := &entries[i]; counted(&count, e.CipherSuite) {
			e.checkHashes(t)
			e.checkSignature(t)
			e.checkEncryption(t)
		}
	}
	count.Report(t)
}

func (e *cryptoBasics) checkHashes(t *testing.T) {
	s := must[*suite](t)(suiteOf(e.CipherSuite))
	equal(t, "RefHash", must[[]byte](t)(s.refHash(e.RefHash.Label, e.RefHash.Value)), e.RefHash.Out)
	x := &e.ExpandWithLabel
	equal(t, "ExpandWithLabel", s.expandWithLabel(x.Secret, x.Label, x.Context, x.Length), x.Out)
	equal(t, "DeriveSecret", s.deriveSecret(e.DeriveSecret.Secret, e.DeriveSecret.Label), e.DeriveSecret.Out)
	d := &e.DeriveTreeSecret
	equal(t, "DeriveTreeSecret", s.deriveTreeSecret(d.Secret, d.Label, d.Generation, d.Length), d.Out)
}

func (e *cryptoBasics) checkSignature(t *testing.T) {
	x := &e.SignWithLabel
	key := must[*SignatureKey](t)(ParseSignatureKey(e.CipherSuite, privateKey(e.CipherSuite, x.Priv)))
	equal(t, "public key", key.Public(), x.Pub)
	if err := VerifyWithLabel(e.CipherSuite, SignaturePublicKey(x.Pub), x.Label, x.Content, x.Signature); err != nil {
		t.Error(err)
	}
	signature := must[[]byte](t)(key.SignWithLabel(x.Label, x.Content))
	if err := VerifyWithLabel(e.CipherSuite, SignaturePublicKey(x.Pub), x.Label, x.Content, signature); err != nil {
		t.Error(err)
	}
	if VerifyWithLabel(e.CipherSuite, SignaturePublicKey(x.Pub), x.Label+"x", x.Content, signature) == nil {
		t.Error("signature verifies under another label")
	}
}

func (e *cryptoBasics) checkEncryption(t *testing.T) {
	x := &e.EncryptWithLabel
	s := must[*suite](t)(suiteOf(e.CipherSuite))
	key := must[*HPKEPrivateKey](t)(s.parseHPKEKey(privateKey(e.CipherSuite, x.Priv)))
	equal(t, "HPKE public key", key.Public(), x.Pub)
	ct := HPKECiphertext{x.KEMOutput, x.Ciphertext}
	equal(t, "DecryptWithLabel", must[[]byte](t)(key.DecryptWithLabel(x.Label, x.Context, ct)), x.Plaintext)
	ct = must[HPKECiphertext](t)(EncryptWithLabel(e.CipherSuite, nil, HPKEPublicKey(x.Pub), x.Label, x.Context, x.Plaintext))
	equal(t, "own ciphertext", must[[]byte](t)(key.DecryptWithLabel(x.Label, x.Context, ct)), x.Plaintext)
	ct.Ciphertext[0] ^= 1
	if _, err := key.DecryptWithLabel(x.Label, x.Context, ct); err == nil {
		t.Error("changed ciphertext decrypts")
	}
}

func TestVectorsKeySchedule(t *testing.T) {
	var entries []struct {
		CipherSuite CipherSuite       `json:"cipher_suite"`
		GroupID     hexBytes          `json:"group_id"`
		InitSecret  hexBytes          `json:"initial_init_secret"`
		Epochs      []scheduleVectors `json:"epochs"`
	}
	vectors.Load(t, "mls/key-schedule.json", &entries)
	var count vectors.Suites
	for _, e := range entries {
		if !counted(&count, e.CipherSuite) {
			continue
		}
		initSecret := []byte(e.InitSecret)
		for i := range e.Epochs {
			initSecret = e.Epochs[i].check(t, e.CipherSuite, e.GroupID, uint64(i), initSecret)
		}
	}
	count.Report(t)
}

type scheduleVectors struct {
	TreeHash                hexBytes `json:"tree_hash"`
	CommitSecret            hexBytes `json:"commit_secret"`
	PSKSecret               hexBytes `json:"psk_secret"`
	ConfirmedTranscriptHash hexBytes `json:"confirmed_transcript_hash"`
	GroupContext            hexBytes `json:"group_context"`
	JoinerSecret            hexBytes `json:"joiner_secret"`
	WelcomeSecret           hexBytes `json:"welcome_secret"`
	InitSecret              hexBytes `json:"init_secret"`
	SenderDataSecret        hexBytes `json:"sender_data_secret"`
	EncryptionSecret        hexBytes `json:"encryption_secret"`
	ExporterSecret          hexBytes `json:"exporter_secret"`
	EpochAuthenticator      hexBytes `json:"epoch_authenticator"`
	ExternalSecret          hexBytes `json:"external_secret"`
	ConfirmationKey         hexBytes `json:"confirmation_key"`
	MembershipKey           hexBytes `json:"membership_key"`
	ResumptionPSK           hexBytes `json:"resumption_psk"`
	ExternalPub             hexBytes `json:"external_pub"`
	Exporter                struct {
		Label   string
		Context hexBytes
		Length  int
		Secret  hexBytes
	}
}

func (v *scheduleVectors) check(t *testing.T, cs CipherSuite, groupID []byte, epoch uint64, initSecret []byte) []byte {
	s := must[*suite](t)(suiteOf(cs))
	gc := GroupContext{CipherSuite: cs, GroupID: groupID, Epoch: epoch, TreeHash: v.TreeHash, ConfirmedTranscriptHash: v.ConfirmedTranscriptHash}
	context := must[[]byte](t)(gc.Bytes())
	equal(t, "group_context", context, v.GroupContext)
	psk := []byte(v.PSKSecret)
	if len(psk) == 0 {
		psk = s.zero()
	}
	e, joiner := s.nextEpochSecrets(initSecret, v.CommitSecret, psk, context, 1)
	equal(t, "joiner_secret", joiner, v.JoinerSecret)
	key, _ := s.welcomeKey(joiner, psk)
	equal(t, "welcome key", key, s.expandWithLabel(v.WelcomeSecret, "key", nil, s.keySize))
	equal(t, "init_secret", e.init, v.InitSecret)
	equal(t, "sender_data_secret", e.senderData, v.SenderDataSecret)
	equal(t, "encryption_secret", e.tree.nodes[0], v.EncryptionSecret)
	equal(t, "exporter_secret", e.exporter, v.ExporterSecret)
	equal(t, "epoch_authenticator", e.authenticator, v.EpochAuthenticator)
	equal(t, "external_secret", e.external, v.ExternalSecret)
	equal(t, "confirmation_key", e.confirmation, v.ConfirmationKey)
	equal(t, "membership_key", e.membership, v.MembershipKey)
	equal(t, "resumption_psk", e.resumption, v.ResumptionPSK)
	equal(t, "external_pub", must[*HPKEPrivateKey](t)(e.externalKey()).Public(), v.ExternalPub)
	x := &v.Exporter
	equal(t, "exporter", must[[]byte](t)(e.export(x.Label, x.Context, x.Length)), x.Secret)
	return e.init
}

func TestVectorsPSKSecret(t *testing.T) {
	var entries []struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		PSKs        []struct {
			ID    hexBytes `json:"psk_id"`
			PSK   hexBytes `json:"psk"`
			Nonce hexBytes `json:"psk_nonce"`
		}
		Secret hexBytes `json:"psk_secret"`
	}
	vectors.Load(t, "mls/psk_secret.json", &entries)
	var count vectors.Suites
	for _, e := range entries {
		if !counted(&count, e.CipherSuite) {
			continue
		}
		s := must[*suite](t)(suiteOf(e.CipherSuite))
		var psks []preSharedKey
		for _, p := range e.PSKs {
			psks = append(psks, preSharedKey{PreSharedKeyID{Type: PSKExternal, ID: p.ID, Nonce: p.Nonce}, p.PSK})
		}
		equal(t, "psk_secret", must[[]byte](t)(s.pskSecret(psks)), e.Secret)
	}
	count.Report(t)
}

func TestVectorsTranscriptHashes(t *testing.T) {
	var entries []struct {
		CipherSuite     CipherSuite `json:"cipher_suite"`
		ConfirmationKey hexBytes    `json:"confirmation_key"`
		Content         hexBytes    `json:"authenticated_content"`
		Before          hexBytes    `json:"interim_transcript_hash_before"`
		Confirmed       hexBytes    `json:"confirmed_transcript_hash_after"`
		Interim         hexBytes    `json:"interim_transcript_hash_after"`
	}
	vectors.Load(t, "mls/transcript-hashes.json", &entries)
	var count vectors.Suites
	for _, v := range entries {
		if !counted(&count, v.CipherSuite) {
			continue
		}
		s := must[*suite](t)(suiteOf(v.CipherSuite))
		a := new(authenticatedContent)
		if err := unmarshalAll(v.Content, a); err != nil {
			t.Fatal(err)
		}
		confirmed := must[[]byte](t)(s.confirmedTranscriptHash(v.Before, a))
		equal(t, "confirmed", confirmed, v.Confirmed)
		equal(t, "interim", must[[]byte](t)(s.interimTranscriptHash(confirmed, a.auth.confirmationTag)), v.Interim)
		e := &epochSecrets{suite: s, confirmation: v.ConfirmationKey}
		if err := e.checkConfirmationTag(confirmed, a.auth.confirmationTag); err != nil {
			t.Error(err)
		}
		a.auth.confirmationTag[0] ^= 1
		if e.checkConfirmationTag(confirmed, a.auth.confirmationTag) == nil {
			t.Error("changed confirmation tag accepted")
		}
	}
	count.Report(t)
}

func TestVectorsWelcome(t *testing.T) {
	var entries []struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		InitPriv    hexBytes    `json:"init_priv"`
		KeyPackage  hexBytes    `json:"key_package"`
		SignerPub   hexBytes    `json:"signer_pub"`
		Welcome     hexBytes
	}
	vectors.Load(t, "mls/welcome.json", &entries)
	var count vectors.Suites
	for _, v := range entries {
		if !counted(&count, v.CipherSuite) {
			continue
		}
		s := must[*suite](t)(suiteOf(v.CipherSuite))
		kp := must[*Message](t)(UnmarshalMessage(v.KeyPackage)).KeyPackage
		w := must[*Message](t)(UnmarshalMessage(v.Welcome)).Welcome
		k := &KeyPackageSecrets{KeyPackage: kp, initKey: must[*HPKEPrivateKey](t)(s.parseHPKEKey(privateKey(v.CipherSuite, v.InitPriv)))}
		secrets := must[*groupSecrets](t)(w.openSecrets(k))
		gi := must[*GroupInfo](t)(w.openGroupInfo(s, secrets.joinerSecret, s.zero()))
		if err := gi.verifySignature(s, SignaturePublicKey(v.SignerPub)); err != nil {
			t.Error(err)
		}
		context := must[[]byte](t)(gi.GroupContext.Bytes())
		e := s.newEpochSecrets(secrets.joinerSecret, s.zero(), context, 2)
		if err := e.checkConfirmationTag(gi.GroupContext.ConfirmedTranscriptHash, gi.ConfirmationTag); err != nil {
			t.Error(err)
		}
	}
	count.Report(t)
}

func TestExternalInit(t *testing.T) {
	key := must[*HPKEPrivateKey](t)(suite1.generateKeyPair(newRandom(1)))
	kemOutput, sent, err := suite1.externalInitSend(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "init secret", must[[]byte](t)(key.externalInitReceive(kemOutput)), sent)
	if _, err := key.externalInitReceive(kemOutput[1:]); err == nil {
		t.Error("short kem_output accepted")
	}
	if _, _, err := suite1.externalInitSend(key.Public()[1:]); err == nil {
		t.Error("short public key accepted")
	}
}

func TestWelcomeRoundTrip(t *testing.T) {
	r := newRandom(5)
	alice, bob := newTestKeyPackage(t, r), newTestKeyPackage(t, r)
	joiner, psk := r.octets(0), suite1.zero()
	joiner = append(joiner, suite1.hash([]byte("joiner"))...)
	gi := r.groupInfo()
	w := &Welcome{CipherSuite: suite1.id}
	w.EncryptedGroupInfo = must[[]byte](t)(suite1.sealGroupInfo(joiner, psk, gi))
	if err := w.addMember(suite1, alice.KeyPackage, &groupSecrets{joinerSecret: joiner, pathSecret: []byte("path")}); err != nil {
		t.Fatal(err)
	}
	g := must[*groupSecrets](t)(w.openSecrets(alice))
	equal(t, "joiner", g.joinerSecret, joiner)
	equal(t, "path", g.pathSecret, []byte("path"))
	got := must[*GroupInfo](t)(w.openGroupInfo(suite1, g.joinerSecret, psk))
	equal(t, "group info", must[[]byte](t)(got.Bytes()), must[[]byte](t)(gi.Bytes()))
	if _, err := w.openSecrets(bob); err == nil {
		t.Error("welcome opened by another")
	}
	w.EncryptedGroupInfo[0] ^= 1
	if _, err := w.openSecrets(alice); err == nil {
		t.Error("group secrets are not bound to the group info")
	}
}

// Keys that parse but cannot be encrypted to are refused, and only those: a leaf with one would wedge the group.
func TestLowOrderKeysRefused(t *testing.T) {
	refused := 0
	try := func(key []byte) {
		t.Helper()
		_, err := suite1.encryptWithLabel(key, "label", nil, nil)
		if low := suite1.checkPublicKey(key) != nil; low != (err != nil) {
			t.Errorf("%x: checked %v, encrypted %v", key, low, err)
		} else if low {
			refused++
		}
	}
	e0, _ := hex.DecodeString("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
	five, _ := hex.DecodeString("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")
	points := [][]byte{e0, five}
	for i := range 256 {
		small := make([]byte, 32)
		small[0] = byte(i)
		large := bytes.Repeat([]byte{0xff}, 32)
		large[0], large[31] = byte(i), 0x7f
		points = append(points, small, large)
	}
	for _, p := range points {
		try(p)
		p[31] |= 0x80
		try(p)
	}
	if refused != 14 {
		t.Errorf("%d keys refused, want 7 with and without the top bit", refused)
	}
	r := newRandom(12)
	for range 20 {
		try(must[*HPKEPrivateKey](t)(suite1.generateKeyPair(r)).Public())
	}
}

func TestVarint(t *testing.T) {
	for _, bad := range [][]byte{{}, {0x40}, {0x40, 0x3f}, {0x80, 0, 0x3f, 0xff}, {0x80, 0, 0}, {0xc0, 0, 0, 0, 0, 0, 0, 0}} {
		var n uint32
		s := cryptobyte.String(bad)
		if syntax.ReadVarint(&s, &n) {
			t.Errorf("%x accepted as %d", bad, n)
		}
	}
}
