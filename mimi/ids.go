package mimi

import (
	"encoding/base64"
	"errors"
	"strings"
)

// MaxURI is the longest identifier accepted, in octets.
const MaxURI = 512

const scheme = "mimi://"

var (
	errLength = errors.New("mimi: identifier is too long")
	errScheme = errors.New("mimi: identifier has another scheme")
	errHost   = errors.New("mimi: invalid host in identifier")
	errPath   = errors.New("mimi: invalid path in identifier")
	errKind   = errors.New("mimi: identifier of another kind")
	errName   = errors.New("mimi: invalid user name")
	errZero   = errors.New("mimi: identifier without a provider")
)

// A ProviderID names a provider: mimi://a.example.
type ProviderID struct{ uri string }

// A UserID names a user, mimi://a.example/u/alice, or the pseudonym of one, mimi://a.example/p/koala.
type UserID struct{ uri string }

// A ClientID names one client of a user, mimi://a.example/d/alice/phone. Other providers may use the form with a
// single segment, mimi://a.example/d/ClientA1, which does not tell the user.
type ClientID struct{ uri string }

// A RoomID names a room: mimi://a.example/r/clubhouse. Its provider is the room's hub.
type RoomID struct{ uri string }

// A GroupID names an MLS group; its octets are the group_id: mimi://a.example/g/TII9t5viBrXiXc.
type GroupID struct{ uri string }

// ParseProviderID reads a provider's URI, which is nothing but scheme and host.
func ParseProviderID(s string) (ProviderID, error) {
	path, err := split(s)
	if err != nil {
		return ProviderID{}, err
	}
	if path != "" {
		return ProviderID{}, errKind
	}
	return ProviderID{s}, nil
}

// ParseUserID reads the URI of a user or of a pseudonym.
func ParseUserID(s string) (UserID, error) {
	kind, n, err := parse(s)
	if err != nil {
		return UserID{}, err
	}
	// draft-mahy-mimi-identity-05, Section 4
	if (kind != 'u' && kind != 'p') || n != 1 {
		return UserID{}, errKind
	}
	return UserID{s}, nil
}

// ParseClientID reads a client's URI, with one segment or with two.
func ParseClientID(s string) (ClientID, error) {
	kind, n, err := parse(s)
	if err != nil {
		return ClientID{}, err
	}
	if kind != 'd' || n > 2 {
		return ClientID{}, errKind
	}
	return ClientID{s}, nil
}

// ParseRoomID reads a room's URI.
func ParseRoomID(s string) (RoomID, error) {
	kind, n, err := parse(s)
	if err != nil {
		return RoomID{}, err
	}
	if kind != 'r' || n != 1 {
		return RoomID{}, errKind
	}
	return RoomID{s}, nil
}

// ParseGroupID reads the URI of an MLS group.
func ParseGroupID(s string) (GroupID, error) {
	kind, n, err := parse(s)
	if err != nil {
		return GroupID{}, err
	}
	if kind != 'g' || n != 1 {
		return GroupID{}, errKind
	}
	return GroupID{s}, nil
}

// NewProviderID names the provider of a domain, given in lower case and with A-labels.
func NewProviderID(host string) (ProviderID, error) { return ParseProviderID(scheme + host) }

// NewUserID names a user of ours. The names we give are narrower than those we accept from other providers: 1 to 32
// of a-z, 0-9, '.', '_' and '-', so that they can be spoken, typed and compared by eye.
func NewUserID(p ProviderID, name string) (UserID, error) {
	if p.IsZero() {
		return UserID{}, errZero
	}
	if len(name) == 0 || len(name) > 32 {
		return UserID{}, errName
	}
	for i := range len(name) {
		if c := name[i]; !isLower(c) && !isDigit(c) && c != '.' && c != '_' && c != '-' {
			return UserID{}, errName
		}
	}
	return ParseUserID(p.uri + "/u/" + name)
}

// NewClientID names a client of a user, at the user's provider.
func NewClientID(u UserID, device string) (ClientID, error) {
	if u.IsZero() {
		return ClientID{}, errZero
	}
	if strings.Contains(device, "/") {
		return ClientID{}, errPath
	}
	return ParseClientID(u.Provider().uri + "/d/" + u.Name() + "/" + device)
}

// NewRoomID names a room whose hub is p; local is its one path segment.
func NewRoomID(p ProviderID, local string) (RoomID, error) {
	if p.IsZero() {
		return RoomID{}, errZero
	}
	return ParseRoomID(p.uri + "/r/" + local)
}

// NewGroupID names an MLS group of a hub by 128 random bits.
func NewGroupID(p ProviderID, random [16]byte) (GroupID, error) {
	if p.IsZero() {
		return GroupID{}, errZero
	}
	return ParseGroupID(p.uri + "/g/" + base64.RawURLEncoding.EncodeToString(random[:]))
}

// String returns the URI.
func (id ProviderID) String() string { return id.uri }

// String returns the URI.
func (id UserID) String() string { return id.uri }

// String returns the URI.
func (id ClientID) String() string { return id.uri }

// String returns the URI.
func (id RoomID) String() string { return id.uri }

// String returns the URI.
func (id GroupID) String() string { return id.uri }

// IsZero reports whether id names nothing.
func (id ProviderID) IsZero() bool { return id.uri == "" }

// IsZero reports whether id names nothing.
func (id UserID) IsZero() bool { return id.uri == "" }

// IsZero reports whether id names nothing.
func (id ClientID) IsZero() bool { return id.uri == "" }

// IsZero reports whether id names nothing.
func (id RoomID) IsZero() bool { return id.uri == "" }

// IsZero reports whether id names nothing.
func (id GroupID) IsZero() bool { return id.uri == "" }

// Provider returns the provider the user belongs to.
func (id UserID) Provider() ProviderID { return provider(id.uri) }

// Provider returns the provider the client's user belongs to.
func (id ClientID) Provider() ProviderID { return provider(id.uri) }

// Provider returns the room's hub.
func (id RoomID) Provider() ProviderID { return provider(id.uri) }

// Provider returns the group's hub.
func (id GroupID) Provider() ProviderID { return provider(id.uri) }

// Host returns the domain of the provider.
func (id ProviderID) Host() string { return strings.TrimPrefix(id.uri, scheme) }

// Name returns what follows /u/ or /p/.
func (id UserID) Name() string { return lastSegment(id.uri) }

// IsPseudonym reports whether the identifier is a pseudonym.
func (id UserID) IsPseudonym() bool { return strings.HasPrefix(pathOf(id.uri), "/p/") }

// User returns the user a client's URI tells: mimi://a.example/d/alice/phone is a client of
// mimi://a.example/u/alice. It is false for the form with a single segment. What the URI tells is a claim; the
// client's certificate is what proves it.
func (id ClientID) User() (UserID, bool) {
	user, _, found := strings.Cut(strings.TrimPrefix(pathOf(id.uri), "/d/"), "/")
	if !found {
		return UserID{}, false
	}
	u, err := ParseUserID(provider(id.uri).uri + "/u/" + user)
	return u, err == nil
}

// Device returns the last path segment.
func (id ClientID) Device() string { return lastSegment(id.uri) }

// Name returns what follows /r/. It is an identifier, not the name people gave the room.
func (id RoomID) Name() string { return lastSegment(id.uri) }

func provider(uri string) ProviderID { return ProviderID{uri[:len(uri)-len(pathOf(uri))]} }

func pathOf(uri string) string {
	rest := strings.TrimPrefix(uri, scheme)
	i := strings.IndexByte(rest, '/')
	if i < 0 {
		return ""
	}
	return rest[i:]
}

func lastSegment(uri string) string {
	path := pathOf(uri)
	return path[strings.LastIndexByte(path, '/')+1:]
}

// parse checks an identifier that has a path and returns the letter of its kind and the number of segments after it.
// The first path segment alone discriminates the kind.
func parse(s string) (kind byte, segments int, err error) {
	path, err := split(s)
	if err != nil {
		return 0, 0, err
	}
	if len(path) < 4 || path[2] != '/' {
		return 0, 0, errKind
	}
	for segment := range strings.SplitSeq(path[3:], "/") {
		if !validSegment(segment) {
			return 0, 0, errPath
		}
		segments++
	}
	return path[1], segments, nil
}

// split checks scheme and host and returns what follows them.
func split(s string) (path string, err error) {
	if len(s) > MaxURI {
		return "", errLength
	}
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return "", errScheme
	}
	path = pathOf(s)
	if !validHost(rest[:len(rest)-len(path)]) {
		return "", errHost
	}
	return path, nil
}

// validHost accepts a domain name in lower case with A-labels. A port, user information, an address literal and a
// final dot have no place in it.
func validHost(host string) bool {
	// RFC 1035, Section 2.3.4
	if len(host) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return false
		}
		last = label
	}
	// RFC 3696, Section 2: no top-level domain is all digits, so that an IPv4 address is not a host name.
	return strings.Trim(last, "0123456789") != ""
}

func validLabel(label string) bool {
	if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		if c := label[i]; !isLower(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

// validSegment accepts a path segment of RFC 3986 in its one normal form.
func validSegment(segment string) bool {
	if segment == "" || segment == "." || segment == ".." {
		return false
	}
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c == '%' {
			if !validEscape(segment[i:]) {
				return false
			}
			i += 2
			continue
		}
		// RFC 3986, Section 3.3: pchar
		if !isUnreserved(c) && strings.IndexByte("!$&'()*+,;=:@", c) < 0 {
			return false
		}
	}
	return true
}

// validEscape accepts a percent-encoded octet only where and how RFC 3986 wants it normalised: with capital hex
// digits, and never for a character that needs no encoding. A dot segment can therefore not hide in one.
func validEscape(s string) bool {
	if len(s) < 3 {
		return false
	}
	hi, ok1 := upperHex(s[1])
	lo, ok2 := upperHex(s[2])
	// RFC 3986, Section 6.2.2
	return ok1 && ok2 && !isUnreserved(hi<<4|lo)
}

func upperHex(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// RFC 3986, Section 2.3
func isUnreserved(c byte) bool {
	return isLower(c) || isDigit(c) || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' || c == '~'
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
