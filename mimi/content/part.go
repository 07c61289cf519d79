package content

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

const (
	// MaxParts is the greatest number of parts of a message, counting those that hold others.
	MaxParts = 1024
	// MaxDepth is the greatest number of levels of parts; the outermost part is the first.
	MaxDepth = 4
)

var (
	errParts       = errors.New("content: too many parts")
	errCardinality = errors.New("content: part of an unknown kind")
	errSemantics   = errors.New("content: unknown part semantics")
	errFewParts    = errors.New("content: fewer than two parts in a multipart")
	errEncryption  = errors.New("content: key without an encryption algorithm")
)

// A Disposition is what a part is for. Values that are not named here are treated as [Render].
type Disposition uint8

// The dispositions of draft-ietf-mimi-content-08, Section 8.2.2.
const (
	Unspecified Disposition = 0
	Render      Disposition = 1
	Reaction    Disposition = 2
	Profile     Disposition = 3
	Inline      Disposition = 4
	Icon        Disposition = 5
	Attachment  Disposition = 6
	Session     Disposition = 7
	Preview     Disposition = 8
)

// Known returns d, or Render if d is unknown.
func (d Disposition) Known() Disposition {
	// draft-ietf-mimi-content-08, Section 9.1
	if d > Preview {
		return Render
	}
	return d
}

// Semantics tells how the parts of a [MultiPart] belong together.
type Semantics uint8

// The part semantics of draft-ietf-mimi-content-08, Section 4.4.
const (
	ChooseOne  Semantics = 0 // alternatives; the receiver takes the one it likes best
	SingleUnit Semantics = 1 // all or nothing
	ProcessAll Semantics = 2 // as many as possible
)

// A Part is a body of a message, and what it is for.
type Part struct {
	Disposition Disposition
	Language    string // language tags separated by commas, or empty
	Body        Body
}

// A Body is a [NullPart], a [SinglePart], an [ExternalPart] or a [MultiPart].
type Body interface {
	cardinality() uint64
}

// A NullPart is nothing: the body of a deletion.
type NullPart struct{}

// A SinglePart is content that the message carries itself.
type SinglePart struct {
	ContentType string
	Content     []byte
}

// An ExternalPart is content that is to be fetched. Size and ContentHash are of what is found at the URL, that is,
// of the encrypted form.
type ExternalPart struct {
	ContentType string
	URL         string
	Expires     uint32 // seconds since 1970; 0 for never
	Size        uint64 // 0 if not told
	EncAlg      uint16 // IANA AEAD algorithm; 0 for not encrypted
	Key         []byte
	Nonce       []byte
	AAD         []byte
	HashAlg     uint8 // IANA named information hash algorithm
	ContentHash []byte
	Description string
	Filename    string
}

// A MultiPart is two or more parts that belong together.
type MultiPart struct {
	Semantics Semantics
	Parts     []Part
}

const (
	cardinalityNull     = 0
	cardinalitySingle   = 1
	cardinalityExternal = 2
	cardinalityMulti    = 3
)

func (NullPart) cardinality() uint64     { return cardinalityNull }
func (SinglePart) cardinality() uint64   { return cardinalitySingle }
func (ExternalPart) cardinality() uint64 { return cardinalityExternal }
func (MultiPart) cardinality() uint64    { return cardinalityMulti }

// Walk calls visit for p and all parts in it, depth first, with the index by which the parts of a message refer to
// each other, until visit returns false. The level of p itself is 1.
func (p *Part) Walk(visit func(index, level int, p *Part) bool) {
	index := 0
	p.walk(&index, 1, visit)
}

func (p *Part) walk(index *int, level int, visit func(index, level int, p *Part) bool) bool {
	// draft-ietf-mimi-content-08, Section 4.4
	if !visit(*index, level, p) {
		return false
	}
	*index++
	if multi, ok := p.Body.(MultiPart); ok {
		for i := range multi.Parts {
			if !multi.Parts[i].walk(index, level+1, visit) {
				return false
			}
		}
	}
	return true
}

// At returns the part with the given index.
func (p *Part) At(index int) (*Part, bool) {
	var found *Part
	p.Walk(func(i, _ int, p *Part) bool {
		if i == index {
			found = p
		}
		return found == nil
	})
	return found, found != nil
}

const (
	cidScheme = "cid:"
	cidHost   = "@local.invalid"
)

// ContentID returns the URI by which another part of the same message refers to the part with the given index.
func ContentID(index int) string { return cidScheme + strconv.Itoa(index) + cidHost }

// Resolve returns the part of the message that a cid: URI refers to. Only single and external parts can be.
func (m *Message) Resolve(uri string) (*Part, bool) {
	index, ok := parseContentID(uri)
	if !ok {
		return nil, false
	}
	p, ok := m.Part.At(index)
	if !ok {
		return nil, false
	}
	switch p.Body.(type) {
	case SinglePart, ExternalPart:
		return p, true
	}
	return nil, false
}

func parseContentID(uri string) (int, bool) {
	digits, ok1 := strings.CutPrefix(uri, cidScheme)
	digits, ok2 := strings.CutSuffix(digits, cidHost)
	index, err := strconv.Atoi(digits)
	// The comparison refuses signs and leading zeros.
	return index, ok1 && ok2 && err == nil && ContentID(index) == uri
}

// check refuses trees that cannot be encoded at all. The rest of the rules is left to the decoder.
func (p *Part) check() (err error) {
	p.Walk(func(index, level int, p *Part) bool {
		switch {
		case p.Body == nil:
			err = errCardinality
		case level > MaxDepth:
			err = errDeep
		case index >= MaxParts:
			err = errParts
		}
		return err == nil
	})
	return err
}

func (p *Part) append(b []byte) []byte {
	start := func(fields uint64) {
		b = appendHead(b, majorArray, 3+fields)
		b = appendUint(b, uint64(p.Disposition))
		b = appendText(b, p.Language)
		b = appendUint(b, p.Body.cardinality())
	}
	switch body := p.Body.(type) {
	case NullPart:
		start(0)
	case SinglePart:
		start(2)
		b = appendText(b, body.ContentType)
		b = appendBytes(b, body.Content)
	case ExternalPart:
		start(12)
		b = body.append(b)
	case MultiPart:
		start(2)
		b = appendUint(b, uint64(body.Semantics))
		b = appendHead(b, majorArray, uint64(len(body.Parts)))
		for i := range body.Parts {
			b = body.Parts[i].append(b)
		}
	}
	return b
}

func (e *ExternalPart) append(b []byte) []byte {
	b = appendText(b, e.ContentType)
	b = appendText(b, e.URL)
	b = appendUint(b, uint64(e.Expires))
	b = appendUint(b, e.Size)
	b = appendUint(b, uint64(e.EncAlg))
	b = appendBytes(b, e.Key)
	b = appendBytes(b, e.Nonce)
	b = appendBytes(b, e.AAD)
	b = appendUint(b, uint64(e.HashAlg))
	b = appendBytes(b, e.ContentHash)
	b = appendText(b, e.Description)
	return appendText(b, e.Filename)
}

// part reads a part and all parts in it; count is the number of parts read before.
func (r *reader) part(level int, count *int) (p Part, err error) {
	// draft-ietf-mimi-content-08, Sections 6.3 and 9.1
	if level > MaxDepth {
		return p, errDeep
	}
	if *count++; *count > MaxParts {
		return p, errParts
	}
	fields, err := r.array()
	if err != nil {
		return p, err
	}
	disposition, err := r.uint(math.MaxUint8)
	if err != nil {
		return p, err
	}
	language, err := r.text()
	if err != nil {
		return p, err
	}
	p.Disposition, p.Language = Disposition(disposition), string(language)
	cardinality, err := r.uint(math.MaxUint8)
	if err != nil {
		return p, err
	}
	switch {
	case cardinality == cardinalityNull && fields == 3:
		p.Body = NullPart{}
	case cardinality == cardinalitySingle && fields == 5:
		p.Body, err = r.single()
	case cardinality == cardinalityExternal && fields == 15:
		p.Body, err = r.external()
	case cardinality == cardinalityMulti && fields == 5:
		p.Body, err = r.multi(level, count)
	default:
		err = errCardinality
	}
	return p, err
}

func (r *reader) single() (s SinglePart, err error) {
	contentType, err := r.text()
	if err != nil {
		return s, err
	}
	content, err := r.bytes()
	return SinglePart{string(contentType), content}, err
}

func (r *reader) multi(level int, count *int) (m MultiPart, err error) {
	semantics, err := r.uint(math.MaxUint64)
	if err != nil {
		return m, err
	}
	// draft-ietf-mimi-content-08, Section 9.1
	if semantics > uint64(ProcessAll) {
		return m, errSemantics
	}
	n, err := r.array()
	if err != nil {
		return m, err
	}
	if n < 2 {
		return m, errFewParts
	}
	m.Semantics = Semantics(semantics)
	for range n {
		p, err := r.part(level+1, count)
		if err != nil {
			return m, err
		}
		m.Parts = append(m.Parts, p)
	}
	return m, nil
}

// external reads the fields of an external part in their order.
func (r *reader) external() (e ExternalPart, err error) {
	text := func(field *string) {
		if err == nil {
			var b []byte
			b, err = r.text()
			*field = string(b)
		}
	}
	octets := func(field *[]byte) {
		if err == nil {
			*field, err = r.bytes()
		}
	}
	number := func(limit uint64) (v uint64) {
		if err == nil {
			v, err = r.uint(limit)
		}
		return v
	}
	text(&e.ContentType)
	text(&e.URL)
	e.Expires = uint32(number(math.MaxUint32))
	e.Size = number(math.MaxUint64)
	e.EncAlg = uint16(number(math.MaxUint16))
	octets(&e.Key)
	octets(&e.Nonce)
	octets(&e.AAD)
	e.HashAlg = uint8(number(math.MaxUint8))
	octets(&e.ContentHash)
	text(&e.Description)
	text(&e.Filename)
	// draft-ietf-mimi-content-08, Section 4.5
	if err == nil && e.EncAlg == 0 && len(e.Key)+len(e.Nonce)+len(e.AAD) > 0 {
		err = errEncryption
	}
	return e, err
}
