package wire

import (
	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/internal/syntax"
	"kith/mimi/mls"
)

// AbusiveMessage is a message under report, with what proves that the hub distributed it.
//
// draft-ietf-mimi-protocol-06, Section 5.9
type AbusiveMessage struct {
	MessageContent    []byte // the application data, framing included
	Frank             Frank
	AcceptedTimestamp uint64
}

func (m *AbusiveMessage) unmarshal(s *cryptobyte.String) error {
	if !syntax.ReadVector(s, &m.MessageContent) {
		return malformed("AbusiveMessage")
	}
	if err := m.Frank.unmarshal(s); err != nil {
		return err
	}
	if !s.ReadUint64(&m.AcceptedTimestamp) {
		return malformed("AbusiveMessage")
	}
	return nil
}

func (m *AbusiveMessage) marshal(b *cryptobyte.Builder) {
	syntax.AddVector(b, m.MessageContent)
	m.Frank.marshal(b)
	b.AddUint64(m.AcceptedTimestamp)
}

// AbuseReport tells the hub of a room about an abusive user.
//
// draft-ietf-mimi-protocol-06, Section 5.9
type AbuseReport struct {
	ReportingUser    mimi.UserID // zero: anonymous
	AllegedAbuserURI mimi.UserID
	ReasonCode       uint8 // no values are defined; 0
	Note             string
	Messages         []AbusiveMessage
	AbuseExtensions  mls.AppDataDictionary
}

// UnmarshalAbuseReport decodes a body that holds nothing else.
func UnmarshalAbuseReport(data []byte) (*AbuseReport, error) {
	r := new(AbuseReport)
	if err := decode(data, "AbuseReport", r.unmarshal); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *AbuseReport) unmarshal(s *cryptobyte.String) (err error) {
	if !readOptionalURI(s, &r.ReportingUser, parseUser) || !readURI(s, &r.AllegedAbuserURI, parseUser) ||
		!s.ReadUint8(&r.ReasonCode) || !readText(s, &r.Note, maxField) {
		return malformed("AbuseReport")
	}
	r.Messages, err = readList(s, "AbuseReport", func(s *cryptobyte.String, m *AbusiveMessage) error {
		return m.unmarshal(s)
	})
	if err != nil {
		return err
	}
	return r.AbuseExtensions.Unmarshal(s)
}

func (r *AbuseReport) marshal(b *cryptobyte.Builder) {
	addOptionalURI(b, r.ReportingUser)
	addURI(b, r.AllegedAbuserURI)
	b.AddUint8(r.ReasonCode)
	addText(b, r.Note, maxField)
	addList(b, r.Messages, func(b *cryptobyte.Builder, m *AbusiveMessage) { m.marshal(b) })
	b.AddValue(r.AbuseExtensions)
}

// Bytes encodes the report.
func (r *AbuseReport) Bytes() ([]byte, error) { return encode(r.marshal) }
