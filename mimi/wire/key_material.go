package wire

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/internal/syntax"
	"kith/mimi/mls"
)

// KeyMaterialRequest asks for one KeyPackage of each client of a user.
//
// draft-ietf-mimi-protocol-06, Section 5.2
type KeyMaterialRequest struct {
	Protocol               Protocol
	RequestingUser         mimi.UserID
	TargetUser             mimi.UserID
	RoomID                 mimi.RoomID // zero if the request is for no room
	AcceptableCipherSuites []mls.CipherSuite
	RequiredCapabilities   mls.RequiredCapabilities
	RequesterSignatureKey  mls.SignaturePublicKey
	RequesterCredential    mls.Credential
	Signature              []byte // key_material_request_signature
}

const keyMaterialLabel = "KeyMaterialRequestTBS"

// UnmarshalKeyMaterialRequest decodes a body that holds nothing else.
func UnmarshalKeyMaterialRequest(data []byte) (*KeyMaterialRequest, error) {
	r := new(KeyMaterialRequest)
	if err := decode(data, "KeyMaterialRequest", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *KeyMaterialRequest) unmarshal(s *cryptobyte.String) error {
	if !readProtocol(s, &r.Protocol) ||
		!readURI(s, &r.RequestingUser, parseUser) ||
		!readURI(s, &r.TargetUser, parseUser) ||
		!readOptionalURI(s, &r.RoomID, parseRoom) ||
		!syntax.ReadUint16s(s, &r.AcceptableCipherSuites) || len(r.AcceptableCipherSuites) == 0 {
		return malformed("KeyMaterialRequest")
	}
	if err := r.RequiredCapabilities.Unmarshal(s); err != nil {
		return err
	}
	if !syntax.ReadVector(s, (*[]byte)(&r.RequesterSignatureKey)) {
		return malformed("KeyMaterialRequest")
	}
	if err := r.RequesterCredential.Unmarshal(s); err != nil {
		return err
	}
	if !syntax.ReadVector(s, &r.Signature) {
		return malformed("KeyMaterialRequest")
	}
	return nil
}

// marshalTBS writes KeyMaterialRequestTBS: everything but the signature.
func (r *KeyMaterialRequest) marshalTBS(b *cryptobyte.Builder) {
	addProtocol(b, r.Protocol)
	addURI(b, r.RequestingUser)
	addURI(b, r.TargetUser)
	addOptionalURI(b, r.RoomID)
	if len(r.AcceptableCipherSuites) == 0 {
		b.SetError(errors.New("wire: no acceptable cipher suite"))
	}
	syntax.AddUint16s(b, r.AcceptableCipherSuites)
	b.AddValue(r.RequiredCapabilities)
	syntax.AddVector(b, r.RequesterSignatureKey)
	b.AddValue(r.RequesterCredential)
}

func (r *KeyMaterialRequest) marshal(b *cryptobyte.Builder) {
	r.marshalTBS(b)
	syntax.AddVector(b, r.Signature)
}

// Bytes encodes the request.
func (r *KeyMaterialRequest) Bytes() ([]byte, error) { return encode(r.marshal) }

// Sign sets the requester's key and signature.
func (r *KeyMaterialRequest) Sign(key *mls.SignatureKey) error {
	r.RequesterSignatureKey = key.Public()
	tbs, err := encode(r.marshalTBS)
	if err != nil {
		return err
	}
	r.Signature, err = key.SignWithLabel(keyMaterialLabel, tbs)
	return err
}

// Verify checks the signature under the requester's own key. That the credential names the requesting user is
// for the caller to check.
//
// The request does not state its signature scheme: key lengths differ between the schemes of MLS, so the key's
// length selects it among the acceptable suites. Suites that we do not have are passed over, as another one with the
// same scheme may follow; so are provisional ones, whose scheme may change with their number.
func (r *KeyMaterialRequest) Verify() error {
	tbs, err := encode(r.marshalTBS)
	if err != nil {
		return err
	}
	for _, cs := range r.AcceptableCipherSuites {
		if cs.Supported() && signatureKeySize(cs) == len(r.RequesterSignatureKey) {
			return mls.VerifyWithLabel(cs, r.RequesterSignatureKey, keyMaterialLabel, tbs, r.Signature)
		}
	}
	return errors.New("wire: no acceptable suite fits the requester's key")
}

// signatureKeySize is the size of a public signature key of a suite, 0 for suites we do not know.
//
// RFC 9420, Section 17.1
func signatureKeySize(cs mls.CipherSuite) int {
	switch cs {
	case 1, 3: // Ed25519
		return 32
	case 2: // P-256
		return 65
	case 4, 6: // Ed448
		return 57
	case 5: // P-521
		return 133
	case 7: // P-384
		return 97
	}
	return 0
}

// KeyMaterialUserCode says whether key material of a user was supplied.
type KeyMaterialUserCode uint8

// The values of KeyMaterialUserCode.
const (
	UserSuccess              KeyMaterialUserCode = 0
	UserPartialSuccess       KeyMaterialUserCode = 1
	UserIncompatibleProtocol KeyMaterialUserCode = 2
	UserNoCompatibleMaterial KeyMaterialUserCode = 3
	UserUnknown              KeyMaterialUserCode = 4
	UserNoConsent            KeyMaterialUserCode = 5
	UserNoConsentForThisRoom KeyMaterialUserCode = 6
	UserDeleted              KeyMaterialUserCode = 7
)

// KeyMaterialClientCode says whether key material of one client was supplied.
type KeyMaterialClientCode uint8

// The values of KeyMaterialClientCode.
const (
	ClientSuccess              KeyMaterialClientCode = 0
	ClientKeyMaterialExhausted KeyMaterialClientCode = 1
	ClientNothingCompatible    KeyMaterialClientCode = 2
)

// ClientKeyMaterial is the part of a response about one client.
type ClientKeyMaterial struct {
	ClientStatus       KeyMaterialClientCode
	ClientURI          mimi.ClientID
	KeyPackage         *mls.KeyPackage   // success
	ClientCapabilities *mls.Capabilities // nothingCompatible, may be nil
}

func (c *ClientKeyMaterial) unmarshal(s *cryptobyte.String) error {
	if !s.ReadUint8((*uint8)(&c.ClientStatus)) || !readURI(s, &c.ClientURI, parseClient) {
		return malformed("ClientKeyMaterial")
	}
	switch c.ClientStatus {
	case ClientSuccess:
		c.KeyPackage = new(mls.KeyPackage)
		return c.KeyPackage.Unmarshal(s)
	case ClientKeyMaterialExhausted:
		return nil
	case ClientNothingCompatible:
		var present bool
		if !syntax.ReadOptional(s, &present) {
			return malformed("ClientKeyMaterial")
		}
		if present {
			c.ClientCapabilities = new(mls.Capabilities)
			return c.ClientCapabilities.Unmarshal(s)
		}
		return nil
	}
	return malformed("ClientKeyMaterial: status")
}

func (c *ClientKeyMaterial) marshal(b *cryptobyte.Builder) {
	b.AddUint8(uint8(c.ClientStatus))
	addURI(b, c.ClientURI)
	switch c.ClientStatus {
	case ClientSuccess:
		if c.KeyPackage == nil {
			b.SetError(errors.New("wire: success without a KeyPackage"))
			return
		}
		b.AddValue(c.KeyPackage)
	case ClientKeyMaterialExhausted:
	case ClientNothingCompatible:
		syntax.AddOptional(b, c.ClientCapabilities != nil)
		if c.ClientCapabilities != nil {
			b.AddValue(*c.ClientCapabilities)
		}
	default:
		b.SetError(errors.New("wire: unknown client status"))
	}
}

// KeyMaterialResponse answers a KeyMaterialRequest.
//
// draft-ietf-mimi-protocol-06, Section 5.2
type KeyMaterialResponse struct {
	Protocol   Protocol
	UserStatus KeyMaterialUserCode
	UserURI    mimi.UserID
	Clients    []ClientKeyMaterial
}

// UnmarshalKeyMaterialResponse decodes a body that holds nothing else.
func UnmarshalKeyMaterialResponse(data []byte) (*KeyMaterialResponse, error) {
	r := new(KeyMaterialResponse)
	if err := decode(data, "KeyMaterialResponse", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *KeyMaterialResponse) unmarshal(s *cryptobyte.String) (err error) {
	if !readProtocol(s, &r.Protocol) || !s.ReadUint8((*uint8)(&r.UserStatus)) ||
		!readURI(s, &r.UserURI, parseUser) {
		return malformed("KeyMaterialResponse")
	}
	r.Clients, err = readList(s, "KeyMaterialResponse", func(s *cryptobyte.String, c *ClientKeyMaterial) error {
		return c.unmarshal(s)
	})
	if err != nil {
		return err
	}
	return r.check()
}

// check applies the rule that only three codes may come with clients.
//
// draft-ietf-mimi-protocol-06, Section 5.2
func (r *KeyMaterialResponse) check() error {
	switch r.UserStatus {
	case UserSuccess, UserPartialSuccess, UserNoCompatibleMaterial:
		return nil
	case UserIncompatibleProtocol, UserUnknown, UserNoConsent, UserNoConsentForThisRoom, UserDeleted:
		if len(r.Clients) == 0 {
			return nil
		}
	}
	return malformed("KeyMaterialResponse: user status")
}

func (r *KeyMaterialResponse) marshal(b *cryptobyte.Builder) {
	if err := r.check(); err != nil {
		b.SetError(err)
		return
	}
	addProtocol(b, r.Protocol)
	b.AddUint8(uint8(r.UserStatus))
	addURI(b, r.UserURI)
	addList(b, r.Clients, func(b *cryptobyte.Builder, c *ClientKeyMaterial) { c.marshal(b) })
}

// Bytes encodes the response.
func (r *KeyMaterialResponse) Bytes() ([]byte, error) { return encode(r.marshal) }
