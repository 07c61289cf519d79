// Package policy holds the state of a room that MLS carries but does not understand: who takes part in which role,
// what each role may do, and the other components of draft-ietf-mimi-room-policy-03.
//
// It decides, it does not act. [UpdateComponent] applies changes to a component, [State] is the decoded state of
// one epoch, [Check] says whether a commit leads from one state to the next by permitted steps. Hub and clients
// run the same code, so that they refuse the same commits. A refusal is a value with the rule it rests on.
//
// The package knows neither MLS nor keys: its caller has verified who proposed what and names everybody by the
// URI that also stands in the participant list.
package policy

import (
	"errors"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// Component ids. They are untyped, to serve as mls.ComponentID without this package knowing MLS.
//
// draft-ietf-mimi-protocol-06, Section 10 and draft-ietf-mimi-room-policy-03, Section 10.1
const (
	AppComponents            = 0x0001
	SafeAAD                  = 0x0002
	ContentMediaTypes        = 0x0003
	FrankAAD                 = 0x0020
	FrankingAgent            = 0x0021
	ParticipantList          = 0x0022
	RoomMetadata             = 0x0023
	MLSOperationalPolicy     = 0x0024
	RolesList                = 0x0025
	PreauthList              = 0x0026
	BaseRoomPolicy           = 0x0027
	StatusNotificationPolicy = 0x0028
	JoinLinkPolicy           = 0x0029
	JoinLinks                = 0x002A
	LinkPreviewPolicy        = 0x002B
	AssetPolicy              = 0x002C
	LoggingPolicy            = 0x002D
	ChatHistoryPolicy        = 0x002E
	BotPolicy                = 0x002F
	MessageExpiration        = 0x0030
)

// Refusal says why a change is not allowed. It is an answer, not a fault.
type Refusal struct {
	Rule   string // of the conformance matrix, such as "RP-4"
	Reason string // for people and logs; names no user
}

// String returns the reason with its rule.
func (r *Refusal) String() string { return r.Reason + " (" + r.Rule + ")" }

func refuse(rule, reason string) *Refusal { return &Refusal{Rule: rule, Reason: reason} }

// Optionality is how a room treats a feature.
//
// draft-ietf-mimi-room-policy-03, Section 6.1
type Optionality uint8

// The values of Optionality.
const (
	Optional  Optionality = 0
	Required  Optionality = 1
	Forbidden Optionality = 2
)

func malformed(what string) error { return errors.New("policy: malformed " + what) }

// decode runs read over all of data. It is not generic, because in the browser every instance weighs. What read has
// filled before an error is of no use.
func decode(data []byte, what string, read func(*cryptobyte.String) bool) error {
	s := cryptobyte.String(data)
	if !read(&s) || !s.Empty() {
		return malformed(what)
	}
	return nil
}

// encode returns what add writes to an empty builder.
func encode(add func(*cryptobyte.Builder)) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	add(b)
	return b.Bytes()
}

func readBool(s *cryptobyte.String, out *bool) bool { return syntax.ReadOptional(s, out) }

func addBool(b *cryptobyte.Builder, v bool) { syntax.AddOptional(b, v) }

func readOptionality(s *cryptobyte.String, out *Optionality) bool {
	return s.ReadUint8((*uint8)(out)) && *out <= Forbidden
}

func addOptionality(b *cryptobyte.Builder, o Optionality) {
	if o > Forbidden {
		b.SetError(errors.New("policy: unknown optionality"))
	}
	b.AddUint8(uint8(o))
}

func readOptionalUint32(s *cryptobyte.String, out **uint32) bool {
	var present bool
	if !syntax.ReadOptional(s, &present) {
		return false
	}
	*out = nil
	if !present {
		return true
	}
	*out = new(uint32)
	return s.ReadUint32(*out)
}

func addOptionalUint32(b *cryptobyte.Builder, v *uint32) {
	syntax.AddOptional(b, v != nil)
	if v != nil {
		b.AddUint32(*v)
	}
}

// readText reads a UTF8String or Uri: valid UTF-8 without NUL.
//
// draft-ietf-mimi-protocol-06, Section 7.6
func readText(s *cryptobyte.String, out *string) bool {
	var raw []byte
	if !syntax.ReadVector(s, &raw) || !validText(raw) {
		return false
	}
	*out = string(raw)
	return true
}

func validText(raw []byte) bool {
	for _, c := range raw {
		if c == 0 {
			return false
		}
	}
	return utf8.Valid(raw)
}

func addText(b *cryptobyte.Builder, text string) {
	if !validText([]byte(text)) {
		b.SetError(errors.New("policy: text is not UTF-8 without NUL"))
		return
	}
	syntax.AddVector(b, []byte(text))
}

func readList[T any](s *cryptobyte.String, out *[]T, read func(*cryptobyte.String, *T) bool) bool {
	var list cryptobyte.String
	if !syntax.ReadList(s, &list) {
		return false
	}
	*out = nil
	for !list.Empty() {
		var v T
		if !read(&list, &v) {
			return false
		}
		*out = append(*out, v)
	}
	return true
}

func addList[T any](b *cryptobyte.Builder, list []T, add func(*cryptobyte.Builder, T)) {
	syntax.AddList(b, func(b *cryptobyte.Builder) {
		for _, v := range list {
			add(b, v)
		}
	})
}

func readUint32(s *cryptobyte.String, out *uint32) bool { return s.ReadUint32(out) }

func addUint32(b *cryptobyte.Builder, v uint32) { b.AddUint32(v) }
