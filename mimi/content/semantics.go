package content

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"kith/mimi"
)

const (
	second = 1000 // in the unit of timestamps, milliseconds
	minute = 60 * second
	// year is generous, so that an expiration of "one year" passes across a leap day.
	year = 366 * 24 * 60 * minute

	// maxAhead is how far a hub's clock may run ahead of ours.
	maxAhead = 5 * minute
	// maxReaction is the longest reaction, in octets. The longest emoji in use have about 35.
	maxReaction = 64
)

var (
	errSender    = errors.New("content: message names another sender")
	errRoom      = errors.New("content: message names another room")
	errExpires   = errors.New("content: expiration is more than a year away")
	errFuture    = errors.New("content: message was accepted in the future")
	errBeforeAll = errors.New("content: message is older than its room")
)

// A Kind is what a message does.
type Kind int

// The kinds of messages.
const (
	KindMessage  Kind = iota // something said, possibly as an answer
	KindReaction             // a reaction to the message in InReplyTo
	KindEdit                 // a new version of the message in Replaces
	KindDelete               // the message in Replaces is retracted
	KindUnlike               // the reaction in Replaces is taken back
	KindStatus               // a report on the delivery of other messages
	KindEmpty                // nothing at all
)

// Kind returns what the message does.
func (m *Message) Kind() Kind {
	_, null := m.Part.Body.(NullPart)
	reaction := m.Part.Disposition == Reaction
	// draft-ietf-mimi-content-08, Sections 5.3 and 5.5 to 5.7
	switch {
	case m.Replaces != nil && null && reaction:
		return KindUnlike
	case m.Replaces != nil && null:
		return KindDelete
	case m.Replaces != nil:
		return KindEdit
	case null:
		return KindEmpty
	case reaction && m.InReplyTo != nil:
		return KindReaction
	case isStatus(m.Part.Body):
		return KindStatus
	}
	return KindMessage
}

// SenderURI returns the sender the message names, if it names one properly. It is a claim to compare, see
// [Message.Check].
func (m *Message) SenderURI() (mimi.UserID, bool) {
	v, _ := m.Extensions.Get(keySenderURI)
	s, _ := v.Text()
	u, err := mimi.ParseUserID(s)
	return u, err == nil
}

// RoomURI returns the room the message names, if it names one properly. It is a claim to compare, see
// [Message.Check].
func (m *Message) RoomURI() (mimi.RoomID, bool) {
	v, _ := m.Extensions.Get(keyRoomURI)
	s, _ := v.Text()
	r, err := mimi.ParseRoomID(s)
	return r, err == nil
}

// A Context is what is known about a message from elsewhere. Times are milliseconds since 1 January 1970; zero is
// for unknown.
type Context struct {
	Sender      mimi.UserID // as the MLS credential of the sender proves
	Room        mimi.RoomID
	Now         uint64 // as close to the hub's clock as it can be told, since a wrong clock would discard everything
	Accepted    uint64 // the hub's timestamp of the message
	RoomCreated uint64
}

// Check refuses messages that contradict the circumstances in which they came. They are to be discarded.
func (m *Message) Check(c Context) error {
	// draft-ietf-mimi-content-08, Section 9.1
	if v, ok := m.Extensions.Get(keySenderURI); ok {
		if s, _ := v.Text(); s != c.Sender.String() {
			return errSender
		}
	}
	if v, ok := m.Extensions.Get(keyRoomURI); ok {
		if s, _ := v.Text(); s != c.Room.String() {
			return errRoom
		}
	}
	if c.Accepted != 0 && c.Now != 0 && c.Accepted > c.Now && c.Accepted-c.Now > maxAhead {
		return errFuture
	}
	if c.Accepted != 0 && c.Accepted < c.RoomCreated {
		return errBeforeAll
	}
	// The hub's timestamp makes the decision the same at every receiver and at every time.
	sent := c.Accepted
	if sent == 0 {
		sent = c.Now
	}
	return m.Expires.check(sent)
}

func (e *Expiration) check(sent uint64) error {
	if e == nil {
		return nil
	}
	t := uint64(e.Time) * second
	switch {
	case e.Relative && t > year,
		!e.Relative && sent != 0 && t > sent && t-sent > year,
		!e.Relative && sent != 0 && t < sent && sent-t > year:
		return errExpires
	}
	return nil
}

// DeleteAt returns the time at which the message is to be deleted, given when it was read; zero is for unread. It is
// false as long as there is no such time.
func (e *Expiration) DeleteAt(read uint64) (uint64, bool) {
	switch {
	case e == nil, e.Relative && read == 0:
		return 0, false
	case !e.Relative:
		return uint64(e.Time) * second, true
	case read > math.MaxUint64-uint64(e.Time)*second:
		return math.MaxUint64, true
	}
	return read + uint64(e.Time)*second, true
}

// Edited returns what m, the first version of a message, became by an edit or a deletion. Nothing but the part is
// taken from the new version. Who may edit is for the caller to decide.
func (m *Message) Edited(edit *Message) *Message {
	// draft-ietf-mimi-content-08, Section 9.3
	after := *m
	after.Part = edit.Part
	return &after
}

// Before reports whether a message accepted at t1 sorts before another accepted at t2.
func Before(t1 uint64, id1 MessageID, t2 uint64, id2 MessageID) bool {
	// draft-ietf-mimi-content-08, Section 5.11
	if t1 != t2 {
		return t1 < t2
	}
	return bytes.Compare(id1[:], id2[:]) < 0
}

// ReplyLoop reports whether a message, by answering to, closes a circle of answers. The parent of a message is what
// it answers; it is false if the message is unknown or answers nothing.
func ReplyLoop(id, to MessageID, parent func(MessageID) (MessageID, bool)) bool {
	// draft-ietf-mimi-content-08, Section 4.1
	seen := map[MessageID]bool{id: true}
	for known := true; known; to, known = parent(to) {
		if seen[to] {
			return true
		}
		seen[to] = true
	}
	return false
}

// Reactions returns the reactions in a message of [KindReaction] that can be shown as such, each a single symbol. If
// there are none, the message is to be shown as an answer.
func (m *Message) Reactions() []string {
	var out []string
	for _, s := range m.Select(textRank) {
		single, ok := s.Part.Body.(SinglePart)
		if !ok || textFormat(single.ContentType) != formatPlain {
			continue
		}
		if text := string(single.Content); isReaction(text) {
			out = append(out, text)
		}
	}
	return out
}

// isReaction reports whether s is one symbol: something visible, then only what modifies or continues it. That is
// the part of the grapheme clusters of UAX #29 that symbols need.
func isReaction(s string) bool {
	// draft-ietf-mimi-content-08, Section 5.3
	if len(s) > maxReaction || !utf8.ValidString(s) || s == "" {
		return false
	}
	const joiner = 0x200d
	first, size := utf8.DecodeRuneInString(s)
	if !unicode.IsGraphic(first) || unicode.IsSpace(first) || extends(first) {
		return false
	}
	last, count := first, 1
	for _, r := range s[size:] {
		flag := count == 1 && isRegional(first) && isRegional(r)
		if !flag && last != joiner && r != joiner && !extends(r) {
			return false
		}
		if last == joiner && (!unicode.IsGraphic(r) || unicode.IsSpace(r)) {
			return false
		}
		last = r
		count++
	}
	return last != joiner
}

// extends reports whether a rune changes the symbol before it: marks, variation selectors, skin tones and tags.
func extends(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc) || r >= 0x1f3fb && r <= 0x1f3ff || r >= 0xe0020 && r <= 0xe007f
}

func isRegional(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

// A Selected is a part that is to be processed, and its index in the message.
type Selected struct {
	Index int
	Part  *Part
}

// Select returns the single and external parts of the message that are to be processed, in order. The rank of such a
// part tells how well the receiver can process it; 0 is for not at all.
func (m *Message) Select(rank func(*Part) int) []Selected {
	var (
		index    int
		chosen   []Selected
		included = map[int]bool{}
	)
	m.Part.choose(&index, rank, &chosen)
	kept := chosen[:0]
	for _, s := range chosen {
		// draft-ietf-mimi-content-08, Section 4.4: a part is not processed twice.
		if included[s.Index] {
			continue
		}
		kept = append(kept, s)
		for _, i := range references(s.Part) {
			included[i] = true
		}
	}
	return kept
}

// rank returns how well the part as a whole can be processed.
func (p *Part) rank(rank func(*Part) int) int {
	multi, ok := p.Body.(MultiPart)
	if _, null := p.Body.(NullPart); null {
		return 1
	}
	if !ok {
		return rank(p)
	}
	best := 0
	for i := range multi.Parts {
		n := multi.Parts[i].rank(rank)
		if n == 0 && multi.Semantics == SingleUnit {
			return 0
		}
		best = max(best, n)
	}
	return best
}

// choose appends the parts to process in p, whose index is given, and moves the index past p.
func (p *Part) choose(index *int, rank func(*Part) int, chosen *[]Selected) {
	multi, ok := p.Body.(MultiPart)
	if _, null := p.Body.(NullPart); !ok {
		if !null && rank(p) > 0 {
			*chosen = append(*chosen, Selected{*index, p})
		}
		*index++
		return
	}
	// draft-ietf-mimi-content-08, Section 4.4
	if p.rank(rank) == 0 {
		p.skip(index)
		return
	}
	*index++
	best := multi.best(rank)
	for i := range multi.Parts {
		if multi.Semantics == ChooseOne && i != best {
			multi.Parts[i].skip(index)
		} else {
			multi.Parts[i].choose(index, rank, chosen)
		}
	}
}

// best returns the place of the part that can be processed best; among equals, the one the sender put first.
func (m *MultiPart) best(rank func(*Part) int) int {
	best, at := -1, 0
	for i := range m.Parts {
		if n := m.Parts[i].rank(rank); n > best {
			best, at = n, i
		}
	}
	return at
}

// skip moves the index past p.
func (p *Part) skip(index *int) {
	p.Walk(func(int, int, *Part) bool { *index++; return true })
}

// references returns the indices of the parts a text refers to.
func references(p *Part) (indices []int) {
	single, ok := p.Body.(SinglePart)
	if !ok || !strings.HasPrefix(strings.ToLower(single.ContentType), "text/") {
		return nil
	}
	const longest = len(cidScheme) + 4 + len(cidHost)
	rest := string(single.Content)
	for {
		at := strings.Index(rest, cidScheme)
		if at < 0 {
			return indices
		}
		rest = rest[at:]
		window := rest[:min(len(rest), longest)]
		if end := strings.Index(window, cidHost); end >= 0 {
			if index, ok := parseContentID(window[:end+len(cidHost)]); ok {
				indices = append(indices, index)
			}
		}
		rest = rest[len(cidScheme):]
	}
}
