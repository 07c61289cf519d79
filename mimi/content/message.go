package content

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"unicode/utf8"

	"kith/mimi"
)

const (
	// MediaType is the media type of what Parse reads.
	MediaType = "application/mimi-content"

	// MaxSize is the longest message, in octets. What a hub takes is not larger.
	MaxSize = 1 << 20
	// MaxTopic is the longest topic ID, in octets.
	MaxTopic = 4096

	saltSize = 16
	// hashSHA256 is the first octet of each message ID there is today.
	hashSHA256 = 1
)

var (
	errSize      = errors.New("content: message is too large")
	errTopic     = errors.New("content: topic ID is too long")
	errMessageID = errors.New("content: message ID of an unknown kind")
	errText      = errors.New("content: text is empty or not UTF-8")
	errIdentity  = errors.New("content: message without sender or room")
)

// A MessageID names one version of one message.
type MessageID [32]byte

// IsZero reports whether id is the zero value, which names no message.
func (id MessageID) IsZero() bool { return id == MessageID{} }

// String returns id in hexadecimal.
func (id MessageID) String() string { return hex.EncodeToString(id[:]) }

// ID returns the ID of a message that sender sent to room, from its octets as they were received. It is zero if raw
// cannot be a message.
func ID(sender mimi.UserID, room mimi.RoomID, raw []byte) (id MessageID) {
	r := reader{raw}
	if r.fixedArray(7) != nil {
		return MessageID{}
	}
	salt, err := r.bytes()
	if err != nil || len(salt) != saltSize {
		return MessageID{}
	}
	// draft-ietf-mimi-content-08, Section 3.3
	h := sha256.New()
	for _, uri := range []string{sender.String(), room.String()} {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(uri))))
		io.WriteString(h, uri)
	}
	h.Write(raw)
	h.Write(salt)
	id[0] = hashSHA256
	copy(id[1:], h.Sum(nil))
	return id
}

// Expiration is the sender's wish when a message is to be deleted where it was received.
type Expiration struct {
	Relative bool   // Time counts from when the message was read
	Time     uint32 // seconds; if not relative, since 1 January 1970
}

// A Message is the container of draft-ietf-mimi-content-08, Section 4.
type Message struct {
	Salt       [saltSize]byte
	Replaces   *MessageID  // the first version of the message this one edits or deletes
	TopicID    []byte      // empty for none
	Expires    *Expiration // nil for never
	InReplyTo  *MessageID  // the version this one answers or reacts to
	Extensions Extensions
	Part       Part
}

// New returns a message of a sender to a room with a fresh salt.
func New(rand io.Reader, sender mimi.UserID, room mimi.RoomID, part Part) (*Message, error) {
	if sender.IsZero() || room.IsZero() {
		return nil, errIdentity
	}
	m := &Message{Extensions: identify(sender, room), Part: part}
	if _, err := io.ReadFull(rand, m.Salt[:]); err != nil {
		return nil, err
	}
	return m, nil
}

// NewText returns a message that says text, taken literally.
func NewText(rand io.Reader, sender mimi.UserID, room mimi.RoomID, text string) (*Message, error) {
	part, err := textPart(Render, text)
	if err != nil {
		return nil, err
	}
	return New(rand, sender, room, part)
}

// NewReply returns an answer to the version of a message that to names, which should be the latest.
func NewReply(rand io.Reader, sender mimi.UserID, room mimi.RoomID, to MessageID, text string) (*Message, error) {
	m, err := NewText(rand, sender, room, text)
	if err != nil {
		return nil, err
	}
	m.InReplyTo = &to
	return m, nil
}

// NewReaction returns a reaction, usually one emoji, to a version of a message.
func NewReaction(rand io.Reader, sender mimi.UserID, room mimi.RoomID, to MessageID, emoji string) (*Message, error) {
	if !isReaction(emoji) {
		return nil, errText
	}
	part, err := textPart(Reaction, emoji)
	if err != nil {
		return nil, err
	}
	m, err := New(rand, sender, room, part)
	if err != nil {
		return nil, err
	}
	m.InReplyTo = &to
	return m, nil
}

// NewEdit returns a new version of original, whose first version is called first.
func NewEdit(rand io.Reader, sender mimi.UserID, room mimi.RoomID, first MessageID, original *Message, text string) (*Message, error) {
	part, err := textPart(original.Part.Disposition, text)
	if err != nil {
		return nil, err
	}
	return newVersion(rand, sender, room, first, original, part)
}

// NewDelete returns the deletion of original, whose first version is called first. If original is a reaction, this
// takes it back.
func NewDelete(rand io.Reader, sender mimi.UserID, room mimi.RoomID, first MessageID, original *Message) (*Message, error) {
	// draft-ietf-mimi-content-08, Sections 5.6 and 5.7
	return newVersion(rand, sender, room, first, original, Part{Disposition: original.Part.Disposition, Body: NullPart{}})
}

func newVersion(rand io.Reader, sender mimi.UserID, room mimi.RoomID, first MessageID, original *Message, part Part) (*Message, error) {
	m, err := New(rand, sender, room, part)
	if err != nil {
		return nil, err
	}
	// draft-ietf-mimi-content-08, Section 9.3: only the part may differ.
	m.Replaces = &first
	m.TopicID = bytes.Clone(original.TopicID)
	if original.Expires != nil {
		e := *original.Expires
		m.Expires = &e
	}
	if original.InReplyTo != nil {
		id := *original.InReplyTo
		m.InReplyTo = &id
	}
	return m, nil
}

func textPart(d Disposition, text string) (Part, error) {
	if text == "" || !utf8.ValidString(text) {
		return Part{}, errText
	}
	return Part{Disposition: d, Body: SinglePart{ContentType: PlainText, Content: []byte(text)}}, nil
}

// Parse reads a message. It accepts only the one permitted encoding, and shares no memory with raw afterwards.
func Parse(raw []byte) (*Message, error) {
	if len(raw) > MaxSize {
		return nil, errSize
	}
	// One copy; the octets of the message are parts of it.
	r := reader{bytes.Clone(raw)}
	m := new(Message)
	if err := r.message(m); err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the message. It fails if Parse would refuse the result.
func (m *Message) Bytes() ([]byte, error) {
	if err := m.Part.check(); err != nil {
		return nil, err
	}
	b := appendHead(nil, majorArray, 7)
	b = appendBytes(b, m.Salt[:])
	b = appendMessageID(b, m.Replaces)
	b = appendBytes(b, m.TopicID)
	if m.Expires == nil {
		b = append(b, cborNull)
	} else {
		b = appendHead(b, majorArray, 2)
		b = appendBool(b, m.Expires.Relative)
		b = appendUint(b, uint64(m.Expires.Time))
	}
	b = appendMessageID(b, m.InReplyTo)
	b = m.Extensions.append(b)
	b = m.Part.append(b)
	if _, err := Parse(b); err != nil {
		return nil, err
	}
	return b, nil
}

func appendMessageID(b []byte, id *MessageID) []byte {
	if id == nil {
		return append(b, cborNull)
	}
	return appendBytes(b, id[:])
}

// message reads the fields in their order.
func (r *reader) message(m *Message) (err error) {
	if err = r.fixedArray(7); err != nil {
		return err
	}
	salt, err := r.bytes()
	if err != nil {
		return err
	}
	if len(salt) != saltSize {
		return errType
	}
	copy(m.Salt[:], salt)
	if m.Replaces, err = r.messageID(); err != nil {
		return err
	}
	topic, err := r.bytes()
	if err != nil {
		return err
	}
	// draft-ietf-mimi-content-08, Section 9.1
	if len(topic) > MaxTopic {
		return errTopic
	}
	if len(topic) > 0 {
		m.TopicID = topic
	}
	if m.Expires, err = r.expiration(); err != nil {
		return err
	}
	if m.InReplyTo, err = r.messageID(); err != nil {
		return err
	}
	if m.Extensions, err = r.extensions(); err != nil {
		return err
	}
	parts := 0
	m.Part, err = r.part(1, &parts)
	return err
}

// messageID reads a message ID or null.
func (r *reader) messageID() (*MessageID, error) {
	if r.null() {
		return nil, nil
	}
	b, err := r.bytes()
	if err != nil {
		return nil, err
	}
	if len(b) != len(MessageID{}) {
		return nil, errType
	}
	// draft-ietf-mimi-content-08, Section 9.1: an unknown hash algorithm.
	if b[0] != hashSHA256 {
		return nil, errMessageID
	}
	return (*MessageID)(b), nil
}

// expiration reads an expiration or null.
func (r *reader) expiration() (*Expiration, error) {
	if r.null() {
		return nil, nil
	}
	if err := r.fixedArray(2); err != nil {
		return nil, err
	}
	relative, err := r.bool()
	if err != nil {
		return nil, err
	}
	t, err := r.uint(math.MaxUint32)
	return &Expiration{relative, uint32(t)}, err
}
