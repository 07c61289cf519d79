package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/internal/syntax"
	"kith/mimi/mls"
)

// SaltSize is the size of the salt of a franked message. HMAC fills a shorter key with zeros, so that only a salt of one
// size commits to the content.
//
// draft-ietf-mimi-content-08, Section 4.1
const SaltSize = 16

// HubKeySize is the size of the secret with which a hub recognises its own franks.
const HubKeySize = 32

const labelFrankingIntegrity = "FrankingIntegrityTBS"

// FrankAAD is the item of the frank_aad component in a message's SafeAAD: the sender's commitment to the content.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1
type FrankAAD struct{ FrankingTag [sha256.Size]byte }

// UnmarshalFrankAAD decodes the data of an item that holds nothing else.
func UnmarshalFrankAAD(data []byte) (FrankAAD, error) {
	var a FrankAAD
	if len(data) != len(a.FrankingTag) {
		return a, malformed("FrankAAD")
	}
	copy(a.FrankingTag[:], data)
	return a, nil
}

// NewFrankAAD commits to application data, framing included, under the salt of the content in it.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.1
func NewFrankAAD(salt [SaltSize]byte, applicationData []byte) FrankAAD {
	h := hmac.New(sha256.New, salt[:])
	h.Write(applicationData)
	return FrankAAD{[sha256.Size]byte(h.Sum(nil))}
}

// FrankingAgentData is the data of the franking_agent component: with which key the hub signs franks.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1
type FrankingAgentData struct {
	FrankingSignatureKey mls.SignaturePublicKey
	Credential           mls.Credential
}

// UnmarshalFrankingAgentData decodes data that holds nothing else.
func UnmarshalFrankingAgentData(data []byte) (*FrankingAgentData, error) {
	a := new(FrankingAgentData)
	if err := decode(data, "FrankingAgentData", a.unmarshal); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *FrankingAgentData) unmarshal(s *cryptobyte.String) error {
	if !syntax.ReadVector(s, (*[]byte)(&a.FrankingSignatureKey)) {
		return malformed("FrankingAgentData")
	}
	return a.Credential.Unmarshal(s)
}

func (a *FrankingAgentData) marshal(b *cryptobyte.Builder) {
	syntax.AddVector(b, a.FrankingSignatureKey)
	b.AddValue(a.Credential)
}

// Bytes encodes the data.
func (a *FrankingAgentData) Bytes() ([]byte, error) { return encode(a.marshal) }

// ServerFrankingContext is what a hub vouches for: who sent a message, as the sender's provider says, where and when.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.2
type ServerFrankingContext struct {
	SenderURI         mimi.UserID
	RoomURI           mimi.RoomID
	AcceptedTimestamp uint64
}

// Bytes encodes the context.
func (c *ServerFrankingContext) Bytes() ([]byte, error) {
	if c.SenderURI.IsZero() || c.RoomURI.IsZero() {
		return nil, errors.New("wire: identifier missing")
	}
	return c.append(nil), nil
}

func (c *ServerFrankingContext) append(b []byte) []byte {
	for _, uri := range []string{c.SenderURI.String(), c.RoomURI.String()} {
		b = append(appendVarint(b, len(uri)), uri...)
	}
	return binary.BigEndian.AppendUint64(b, c.AcceptedTimestamp)
}

// appendVarint appends the length of an identifier, which has at most 512 octets.
//
// RFC 9420, Section 2.1.2
func appendVarint(b []byte, n int) []byte {
	if n < 1<<6 {
		return append(b, byte(n))
	}
	return append(b, 1<<6|byte(n>>8), byte(n))
}

// serverFrank is the hub's own stamp, which only the hub can check.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.2
func serverFrank(hubKey *[HubKeySize]byte, tag FrankAAD, context []byte) [sha256.Size]byte {
	h := hmac.New(sha256.New, hubKey[:])
	h.Write(tag.FrankingTag[:])
	h.Write(context)
	return [sha256.Size]byte(h.Sum(nil))
}

// integrityTBS is what the franking agent signs.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.2
func (f *Frank) integrityTBS(context []byte) []byte {
	out := make([]byte, 0, len(f.ServerFrank)+2+len(context))
	out = append(out, f.ServerFrank[:]...)
	out = binary.BigEndian.AppendUint16(out, uint16(f.FrankingSignatureSuite))
	return append(out, context...)
}

// NewFrank franks a message at its hub. Equal arguments give equal franks wherever the suite's signatures are
// deterministic, as Ed25519's are.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.2
func NewFrank(hubKey *[HubKeySize]byte, agent *mls.SignatureKey, tag FrankAAD, c ServerFrankingContext) (*Frank, error) {
	context, err := c.Bytes()
	if err != nil {
		return nil, err
	}
	f := &Frank{ServerFrank: serverFrank(hubKey, tag, context), FrankingSignatureSuite: agent.CipherSuite()}
	f.FrankingIntegritySignature, err = agent.SignWithLabel(labelFrankingIntegrity, f.integrityTBS(context))
	return f, err
}

// Stamped tells whether a hub with this key made the frank's stamp for the tag in the context.
//
// draft-ietf-mimi-protocol-06, Section 5.9
func (f *Frank) Stamped(hubKey *[HubKeySize]byte, tag FrankAAD, c ServerFrankingContext) bool {
	context, err := c.Bytes()
	if err != nil {
		return false
	}
	want := serverFrank(hubKey, tag, context)
	return hmac.Equal(want[:], f.ServerFrank[:])
}

// Verify checks the franking agent's signature, by the suite that the frank names.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.3
func (f *Frank) Verify(agent mls.SignaturePublicKey, c ServerFrankingContext) error {
	context, err := c.Bytes()
	if err != nil {
		return err
	}
	return mls.VerifyWithLabel(f.FrankingSignatureSuite, agent, labelFrankingIntegrity, f.integrityTBS(context), f.FrankingIntegritySignature)
}

// UnmarshalFrank decodes a frank that was stored by itself.
func UnmarshalFrank(data []byte) (*Frank, error) {
	f := new(Frank)
	if err := decode(data, "Frank", f.unmarshal); err != nil {
		return nil, err
	}
	return f, nil
}

// Bytes encodes the frank by itself.
func (f *Frank) Bytes() ([]byte, error) { return encode(f.marshal) }

// append is Bytes behind b, for the event of each message.
func (f *Frank) append(b []byte) []byte {
	b = append(b, f.ServerFrank[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(f.FrankingSignatureSuite))
	b = appendVarint(b, len(f.FrankingIntegritySignature))
	return append(b, f.FrankingIntegritySignature...)
}
