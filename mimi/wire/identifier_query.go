package wire

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/internal/syntax"
	"kith/mimi/mls"
)

// maxField limits a searched or found value, in octets.
const maxField = 64 << 10

// SearchIdentifierType says what a QueryElement is compared with.
type SearchIdentifierType uint8

// The values of SearchIdentifierType.
const (
	SearchHandle       SearchIdentifierType = 1
	SearchNick         SearchIdentifierType = 2
	SearchEmail        SearchIdentifierType = 3
	SearchPhone        SearchIdentifierType = 4
	SearchPartialName  SearchIdentifierType = 5
	SearchWholeProfile SearchIdentifierType = 6
	SearchOIDCStdClaim SearchIdentifierType = 7
	SearchVCardField   SearchIdentifierType = 8
)

// QueryElement is one condition; all elements of a request must match.
type QueryElement struct {
	SearchType  SearchIdentifierType
	FieldName   string // claimName of SearchOIDCStdClaim, propertyName of SearchVCardField
	SearchValue string
}

func (q *QueryElement) unmarshal(s *cryptobyte.String) error {
	ok := s.ReadUint8((*uint8)(&q.SearchType)) && q.SearchType >= SearchHandle && q.SearchType <= SearchVCardField
	if ok && q.SearchType >= SearchOIDCStdClaim {
		ok = readText(s, &q.FieldName, maxField)
	}
	if !ok || !readText(s, &q.SearchValue, maxField) {
		return malformed("QueryElement")
	}
	return nil
}

func (q *QueryElement) marshal(b *cryptobyte.Builder) {
	if q.SearchType < SearchHandle || q.SearchType > SearchVCardField {
		b.SetError(errors.New("wire: unknown search type"))
		return
	}
	b.AddUint8(uint8(q.SearchType))
	if q.SearchType >= SearchOIDCStdClaim {
		addText(b, q.FieldName, maxField)
	}
	addText(b, q.SearchValue, maxField)
}

// IdentifierRequest asks a provider for the URIs of its users that match.
//
// draft-ietf-mimi-protocol-06, Section 5.8
type IdentifierRequest struct {
	QueryElements       []QueryElement
	IDRequestExtensions mls.AppDataDictionary
}

// UnmarshalIdentifierRequest decodes a body that holds nothing else.
func UnmarshalIdentifierRequest(data []byte) (*IdentifierRequest, error) {
	r := new(IdentifierRequest)
	if err := decode(data, "IdentifierRequest", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *IdentifierRequest) unmarshal(s *cryptobyte.String) (err error) {
	r.QueryElements, err = readList(s, "IdentifierRequest", func(s *cryptobyte.String, q *QueryElement) error {
		return q.unmarshal(s)
	})
	if err != nil {
		return err
	}
	return r.IDRequestExtensions.Unmarshal(s)
}

func (r *IdentifierRequest) marshal(b *cryptobyte.Builder) {
	addList(b, r.QueryElements, func(b *cryptobyte.Builder, q *QueryElement) { q.marshal(b) })
	b.AddValue(r.IDRequestExtensions)
}

// Bytes encodes the request.
func (r *IdentifierRequest) Bytes() ([]byte, error) { return encode(r.marshal) }

// IdentifierQueryCode is the outcome of a query.
type IdentifierQueryCode uint8

// The values of IdentifierQueryCode.
const (
	QuerySuccess          IdentifierQueryCode = 0
	QueryNotFound         IdentifierQueryCode = 1
	QueryAmbiguous        IdentifierQueryCode = 2
	QueryForbidden        IdentifierQueryCode = 3
	QueryUnsupportedField IdentifierQueryCode = 4
)

// FieldSource says where the name of a ProfileField is defined.
type FieldSource uint8

// The values of FieldSource.
const (
	FieldOIDCStdClaim FieldSource = 7
	FieldVCard        FieldSource = 8
)

// ProfileField is one public field of a found user.
type ProfileField struct {
	FieldSource FieldSource
	FieldName   string
	FieldValue  []byte
}

func (f *ProfileField) unmarshal(s *cryptobyte.String) error {
	if !s.ReadUint8((*uint8)(&f.FieldSource)) || f.FieldSource < FieldOIDCStdClaim || f.FieldSource > FieldVCard ||
		!readText(s, &f.FieldName, maxField) || !syntax.ReadVector(s, &f.FieldValue) {
		return malformed("ProfileField")
	}
	return nil
}

func (f *ProfileField) marshal(b *cryptobyte.Builder) {
	if f.FieldSource < FieldOIDCStdClaim || f.FieldSource > FieldVCard {
		b.SetError(errors.New("wire: unknown field source"))
		return
	}
	b.AddUint8(uint8(f.FieldSource))
	addText(b, f.FieldName, maxField)
	syntax.AddVector(b, f.FieldValue)
}

// UserProfile is a found user with its public fields.
type UserProfile struct {
	StableURI mimi.UserID
	Fields    []ProfileField
}

func (p *UserProfile) unmarshal(s *cryptobyte.String) (err error) {
	if !readURI(s, &p.StableURI, parseUser) {
		return malformed("UserProfile")
	}
	p.Fields, err = readList(s, "UserProfile", func(s *cryptobyte.String, f *ProfileField) error {
		return f.unmarshal(s)
	})
	return err
}

func (p *UserProfile) marshal(b *cryptobyte.Builder) {
	addURI(b, p.StableURI)
	addList(b, p.Fields, func(b *cryptobyte.Builder, f *ProfileField) { f.marshal(b) })
}

// IdentifierResponse answers an IdentifierRequest.
//
// draft-ietf-mimi-protocol-06, Section 5.8
type IdentifierResponse struct {
	ResponseCode         IdentifierQueryCode
	URI                  []mimi.UserID
	FoundProfiles        []UserProfile
	IDResponseExtensions mls.AppDataDictionary
}

// UnmarshalIdentifierResponse decodes a body that holds nothing else.
func UnmarshalIdentifierResponse(data []byte) (*IdentifierResponse, error) {
	r := new(IdentifierResponse)
	if err := decode(data, "IdentifierResponse", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *IdentifierResponse) unmarshal(s *cryptobyte.String) (err error) {
	if !s.ReadUint8((*uint8)(&r.ResponseCode)) || r.ResponseCode > QueryUnsupportedField {
		return malformed("IdentifierResponse")
	}
	r.URI, err = readList(s, "IdentifierResponse", func(s *cryptobyte.String, u *mimi.UserID) error {
		if !readURI(s, u, parseUser) {
			return malformed("IdentifierResponse: uri")
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.FoundProfiles, err = readList(s, "IdentifierResponse", func(s *cryptobyte.String, p *UserProfile) error {
		return p.unmarshal(s)
	})
	if err != nil {
		return err
	}
	return r.IDResponseExtensions.Unmarshal(s)
}

func (r *IdentifierResponse) marshal(b *cryptobyte.Builder) {
	if r.ResponseCode > QueryUnsupportedField {
		b.SetError(errors.New("wire: unknown query response code"))
		return
	}
	b.AddUint8(uint8(r.ResponseCode))
	addList(b, r.URI, func(b *cryptobyte.Builder, u *mimi.UserID) { addURI(b, *u) })
	addList(b, r.FoundProfiles, func(b *cryptobyte.Builder, p *UserProfile) { p.marshal(b) })
	b.AddValue(r.IDResponseExtensions)
}

// Bytes encodes the response.
func (r *IdentifierResponse) Bytes() ([]byte, error) { return encode(r.marshal) }
