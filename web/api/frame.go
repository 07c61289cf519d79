package api

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
)

// Frame is one of *Request, *Response, *Event, *Greeting, *Ack, *CaughtUp and *Hint.
type Frame interface {
	// Kind is the frame's kind.
	Kind() Kind
	marshal(b *cryptobyte.Builder)
	unmarshal(s *cryptobyte.String) bool
}

// Request asks the server for an operation. ID is the client's own and comes back in the Response.
type Request struct {
	ID     uint32
	Op     Op
	Target string // a room or user URI, or empty
	Body   []byte
}

// Response answers the Request with the same ID. The body is the operation's own if Status is StatusOK, else one of
// the Code constants.
type Response struct {
	ID     uint32
	Status uint16
	Body   []byte
}

// Event is one entry of the device's stream. Cursors strictly increase within a connection.
type Event struct {
	Cursor  uint64
	Room    string
	Message []byte // wire FanoutMessage
}

// Greeting is the server's first frame.
type Greeting struct {
	Nonce       [NonceSize]byte
	Time        uint64 // ms since 1970, the server's clock
	User        string // the session's user URI
	DisplayName string
	Root        []byte // identity root certificate, DER
	Hub         []byte // mls ExternalSender of this provider as hub
	Agent       []byte // FrankingAgentData of this provider as hub; empty: it does not frank
}

// Ack tells that all events up to Cursor are durably processed. It has no answer.
type Ack struct{ Cursor uint64 }

// CaughtUp is sent once after Hello, when the backlog up to Cursor has been sent.
type CaughtUp struct{ Cursor uint64 }

// Hint tells that something outside of the rooms has changed and is worth asking for again. One may be lost; after Hello
// everything is.
type Hint struct{ What HintKind }

// HintKind says what has changed.
type HintKind uint8

// The kinds of hints.
const (
	HintConsents HintKind = 1 // OpConsents has news
	HintProfiles HintKind = 2 // OpProfiles or OpIdentityRoots has news
	HintRooms    HintKind = 3 // OpRooms has news that no event tells: a room was closed, or another device has entered one
)

// Kind is KindRequest.
func (*Request) Kind() Kind { return KindRequest }

// Kind is KindResponse.
func (*Response) Kind() Kind { return KindResponse }

// Kind is KindEvent.
func (*Event) Kind() Kind { return KindEvent }

// Kind is KindGreeting.
func (*Greeting) Kind() Kind { return KindGreeting }

// Kind is KindAck.
func (*Ack) Kind() Kind { return KindAck }

// Kind is KindCaughtUp.
func (*CaughtUp) Kind() Kind { return KindCaughtUp }

// Kind is KindHint.
func (*Hint) Kind() Kind { return KindHint }

// Append encodes a frame behind dst. It fails if the frame, or a string in it, is longer than its limit.
func Append(dst []byte, f Frame) ([]byte, error) {
	b := cryptobyte.NewBuilder(dst)
	b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(uint8(f.Kind()))
		f.marshal(b)
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, ErrTooLarge
	}
	if _, err := checkLength(out[len(dst):]); err != nil {
		return nil, err
	}
	return out, nil
}

// Bytes encodes one frame alone.
func Bytes(f Frame) ([]byte, error) { return Append(nil, f) }

// Next decodes the frame at the front of data and returns what follows it. The frame shares data's memory.
func Next(data []byte) (f Frame, rest []byte, err error) {
	n, err := checkLength(data)
	if err != nil {
		return nil, nil, err
	}
	s := cryptobyte.String(data[lengthSize+1 : lengthSize+n])
	switch Kind(data[lengthSize]) {
	case KindRequest:
		f = new(Request)
	case KindResponse:
		f = new(Response)
	case KindEvent:
		f = new(Event)
	case KindGreeting:
		f = new(Greeting)
	case KindAck:
		f = new(Ack)
	case KindCaughtUp:
		f = new(CaughtUp)
	case KindHint:
		f = new(Hint)
	default:
		return nil, nil, ErrKind
	}
	if !f.unmarshal(&s) || !s.Empty() {
		return nil, nil, ErrMalformed
	}
	return f, data[lengthSize+n:], nil
}

// checkLength returns the length of the frame at the front of data, which is whole and within its limit. A length
// beyond the limit is ErrTooLarge whether or not the bytes are there.
func checkLength(data []byte) (int, error) {
	if len(data) < lengthSize {
		return 0, ErrTruncated
	}
	n := binary.BigEndian.Uint32(data)
	if n > maxAnyFrame {
		return 0, ErrTooLarge
	}
	if n == 0 {
		return 0, ErrMalformed
	}
	if uint32(len(data)-lengthSize) < n {
		return 0, ErrTruncated
	}
	frame := data[lengthSize : lengthSize+int(n)]
	limit := MaxServerFrame
	switch Kind(frame[0]) {
	case KindRequest:
		limit = MaxClientFrame
		if len(frame) > opOffset {
			limit = Op(frame[opOffset]).limit()
		}
	case KindAck, KindCaughtUp:
		limit = ackFrame
	case KindHint:
		limit = hintFrame
	}
	if len(frame) > limit {
		return 0, ErrTooLarge
	}
	return int(n), nil
}

func (r *Request) marshal(b *cryptobyte.Builder) {
	b.AddUint32(r.ID)
	b.AddUint8(uint8(r.Op))
	addString(b, r.Target)
	b.AddBytes(r.Body)
}

func (r *Request) unmarshal(s *cryptobyte.String) bool {
	return s.ReadUint32(&r.ID) && s.ReadUint8((*uint8)(&r.Op)) && readString(s, &r.Target) && readRest(s, &r.Body)
}

func (r *Response) marshal(b *cryptobyte.Builder) {
	b.AddUint32(r.ID)
	b.AddUint16(r.Status)
	b.AddBytes(r.Body)
}

func (r *Response) unmarshal(s *cryptobyte.String) bool {
	return s.ReadUint32(&r.ID) && s.ReadUint16(&r.Status) && readRest(s, &r.Body)
}

func (e *Event) marshal(b *cryptobyte.Builder) {
	b.AddUint64(e.Cursor)
	addString(b, e.Room)
	b.AddBytes(e.Message)
}

func (e *Event) unmarshal(s *cryptobyte.String) bool {
	return s.ReadUint64(&e.Cursor) && readString(s, &e.Room) && readRest(s, &e.Message)
}

func (g *Greeting) marshal(b *cryptobyte.Builder) {
	b.AddBytes(g.Nonce[:])
	b.AddUint64(g.Time)
	addString(b, g.User)
	addString(b, g.DisplayName)
	addOpaque32(b, g.Root)
	addOpaque32(b, g.Hub)
	addOpaque32(b, g.Agent)
}

func (g *Greeting) unmarshal(s *cryptobyte.String) bool {
	return s.CopyBytes(g.Nonce[:]) && s.ReadUint64(&g.Time) && readString(s, &g.User) &&
		readString(s, &g.DisplayName) && readOpaque32(s, &g.Root) && readOpaque32(s, &g.Hub) &&
		readOpaque32(s, &g.Agent)
}

func (a *Ack) marshal(b *cryptobyte.Builder) { b.AddUint64(a.Cursor) }

func (a *Ack) unmarshal(s *cryptobyte.String) bool { return s.ReadUint64(&a.Cursor) }

func (c *CaughtUp) marshal(b *cryptobyte.Builder) { b.AddUint64(c.Cursor) }

func (c *CaughtUp) unmarshal(s *cryptobyte.String) bool { return s.ReadUint64(&c.Cursor) }

func (h *Hint) marshal(b *cryptobyte.Builder) { b.AddUint8(uint8(h.What)) }

func (h *Hint) unmarshal(s *cryptobyte.String) bool { return s.ReadUint8((*uint8)(&h.What)) }

// addString adds a u16-string; the builder fails if it is too long.
func addString(b *cryptobyte.Builder, v string) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(v)) })
}

func readString(s *cryptobyte.String, out *string) bool {
	var v cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&v) {
		return false
	}
	*out = string(v)
	return true
}

func addOpaque16(b *cryptobyte.Builder, v []byte) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
}

func readOpaque16(s *cryptobyte.String, out *[]byte) bool {
	return s.ReadUint16LengthPrefixed((*cryptobyte.String)(out))
}

func addOpaque32(b *cryptobyte.Builder, v []byte) {
	b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
}

// readOpaque32 exists because cryptobyte reads prefixes of up to 24 bits only.
func readOpaque32(s *cryptobyte.String, out *[]byte) bool {
	var n uint32
	if !s.ReadUint32(&n) || uint64(n) > uint64(len(*s)) {
		return false
	}
	return s.ReadBytes(out, int(n))
}

func readRest(s *cryptobyte.String, out *[]byte) bool { return s.ReadBytes(out, len(*s)) }
