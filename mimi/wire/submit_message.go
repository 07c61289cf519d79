package wire

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/internal/syntax"
	"kith/mimi/mls"
)

// SubmitMessageRequest brings one application message to the hub.
//
// draft-ietf-mimi-protocol-06, Section 5.4
type SubmitMessageRequest struct {
	Protocol   Protocol
	AppMessage MLSMessage // a PrivateMessage of content type application
	SendingURI mimi.UserID
}

// UnmarshalSubmitMessageRequest decodes a body that holds nothing else. The message keeps its octets: nothing of
// them is copied here.
func UnmarshalSubmitMessageRequest(data []byte) (*SubmitMessageRequest, error) {
	r := new(SubmitMessageRequest)
	if err := decode(data, "SubmitMessageRequest", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *SubmitMessageRequest) unmarshal(s *cryptobyte.String) error {
	if !readProtocol(s, &r.Protocol) {
		return malformed("SubmitMessageRequest")
	}
	if err := r.AppMessage.unmarshal(s); err != nil {
		return err
	}
	if !isApplication(&r.AppMessage) || !readURI(s, &r.SendingURI, parseUser) {
		return malformed("SubmitMessageRequest")
	}
	return nil
}

// isApplication tells whether m may carry application data: only as PrivateMessage.
//
// draft-ietf-mimi-protocol-06, Section 5.4
func isApplication(m *MLSMessage) bool {
	return m.Message != nil && m.WireFormat == mls.WireFormatPrivateMessage &&
		m.ContentType() == mls.ContentTypeApplication
}

func (r *SubmitMessageRequest) marshal(b *cryptobyte.Builder) {
	if !isApplication(&r.AppMessage) {
		b.SetError(errors.New("wire: not an application message"))
		return
	}
	addProtocol(b, r.Protocol)
	r.AppMessage.marshal(b)
	addURI(b, r.SendingURI)
}

// Bytes encodes the request.
func (r *SubmitMessageRequest) Bytes() ([]byte, error) { return encode(r.marshal) }

// SubmitResponseCode is the hub's decision on a SubmitMessageRequest.
type SubmitResponseCode uint8

// The values of SubmitResponseCode.
const (
	SubmitAccepted    SubmitResponseCode = 0
	SubmitNotAllowed  SubmitResponseCode = 1
	SubmitEpochTooOld SubmitResponseCode = 2
)

// Frank is a hub's stamp on a message.
//
// draft-ietf-mimi-protocol-06, Section 5.4
type Frank struct {
	ServerFrank                [32]byte
	FrankingSignatureSuite     mls.CipherSuite
	FrankingIntegritySignature []byte
}

func (f *Frank) unmarshal(s *cryptobyte.String) error {
	if !s.CopyBytes(f.ServerFrank[:]) || !s.ReadUint16((*uint16)(&f.FrankingSignatureSuite)) ||
		!syntax.ReadVector(s, &f.FrankingIntegritySignature) {
		return malformed("Frank")
	}
	return nil
}

func (f *Frank) marshal(b *cryptobyte.Builder) {
	b.AddBytes(f.ServerFrank[:])
	b.AddUint16(uint16(f.FrankingSignatureSuite))
	syntax.AddVector(b, f.FrankingIntegritySignature)
}

func readOptionalFrank(s *cryptobyte.String) (*Frank, error) {
	var present bool
	if !syntax.ReadOptional(s, &present) {
		return nil, malformed("Frank")
	}
	if !present {
		return nil, nil
	}
	f := new(Frank)
	return f, f.unmarshal(s)
}

func addOptionalFrank(b *cryptobyte.Builder, f *Frank) {
	syntax.AddOptional(b, f != nil)
	if f != nil {
		f.marshal(b)
	}
}

// SubmitMessageResponse answers a SubmitMessageRequest.
//
// draft-ietf-mimi-protocol-06, Section 5.4
type SubmitMessageResponse struct {
	Protocol          Protocol
	StatusCode        SubmitResponseCode
	AcceptedTimestamp uint64 // accepted: milliseconds since 1970
	Frank             *Frank // accepted, may be nil
	CurrentEpoch      uint64 // epochTooOld
}

// UnmarshalSubmitMessageResponse decodes a body that holds nothing else.
func UnmarshalSubmitMessageResponse(data []byte) (*SubmitMessageResponse, error) {
	r := new(SubmitMessageResponse)
	if err := decode(data, "SubmitMessageResponse", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *SubmitMessageResponse) unmarshal(s *cryptobyte.String) (err error) {
	ok := readProtocol(s, &r.Protocol) && s.ReadUint8((*uint8)(&r.StatusCode))
	switch r.StatusCode {
	case SubmitAccepted:
		if ok = ok && s.ReadUint64(&r.AcceptedTimestamp); ok {
			r.Frank, err = readOptionalFrank(s)
		}
	case SubmitNotAllowed:
	case SubmitEpochTooOld:
		ok = ok && s.ReadUint64(&r.CurrentEpoch)
	default:
		ok = false
	}
	if !ok {
		return malformed("SubmitMessageResponse")
	}
	return err
}

func (r *SubmitMessageResponse) marshal(b *cryptobyte.Builder) {
	addProtocol(b, r.Protocol)
	b.AddUint8(uint8(r.StatusCode))
	switch r.StatusCode {
	case SubmitAccepted:
		b.AddUint64(r.AcceptedTimestamp)
		addOptionalFrank(b, r.Frank)
	case SubmitNotAllowed:
	case SubmitEpochTooOld:
		b.AddUint64(r.CurrentEpoch)
	default:
		b.SetError(errors.New("wire: unknown submit response code"))
	}
}

// Bytes encodes the response.
func (r *SubmitMessageResponse) Bytes() ([]byte, error) { return encode(r.marshal) }
