// Package api is the language between a browser and its server: one websocket at Path, whose binary messages hold
// frames back to back, in both directions.
//
//	frame = u32 length of what follows | u8 kind | payload        (big-endian)
//
// The bodies of most operations are the MIMI structs themselves and opaque here; the few that MIMI leaves to the
// provider are in bodies.go. A decoder consumes everything it is given, allocates nothing for bytes that are not there
// and returns slices of its input. Decoding what was encoded, and encoding what was decoded, gives the same bytes.
package api

import "errors"

// Path is where the websocket is served.
const Path = "/api/socket"

// Size limits of one frame, counted without its four length octets.
const (
	MaxServerFrame = 16 << 20       // anything from the server
	MaxClientFrame = 1<<20 + 64<<10 // a request, unless its operation is bulky
	MaxBulkFrame   = 16 << 20       // Update, CreateRoom and PublishKeyPackages

	// NonceSize is the size of the greeting's nonce.
	NonceSize = 32

	lengthSize  = 4     // the length in front of a frame
	ackFrame    = 1 + 8 // an acknowledgement: kind and cursor
	hintFrame   = 1 + 1 // a hint: kind and what
	maxAnyFrame = 16 << 20
	opOffset    = 1 + 4 // of the operation within a request
)

// Kind says what a frame is.
type Kind uint8

// The frame kinds.
const (
	KindRequest  Kind = 1
	KindResponse Kind = 2
	KindEvent    Kind = 3
	KindGreeting Kind = 4
	KindAck      Kind = 5
	KindCaughtUp Kind = 6
	KindHint     Kind = 7
)

// Op is an operation a browser asks for.
type Op uint8

// The table of operations. Each says what its target is and which bodies go out and come back; wire means the struct
// of mimi/wire with that name.
const (
	// OpRegisterDevice: no target (or the own client URI, to renew its certificate under the same key);
	// RegisterDeviceRequest → RegisterDeviceResponse.
	OpRegisterDevice Op = 1
	// OpHello: target is the client URI; HelloRequest → HelloResponse, then events with a greater cursor.
	OpHello Op = 2
	// OpPublishKeyPackages: no target; MLS KeyPackage<V> → PublishResponse.
	OpPublishKeyPackages Op = 3
	// OpKeyMaterial: target is a user; wire KeyMaterialRequest → KeyMaterialResponse.
	OpKeyMaterial Op = 4
	// OpUpdate: target is a room; wire UpdateRequest → UpdateRoomResponse.
	OpUpdate Op = 5
	// OpSubmitMessage: target is a room; wire SubmitMessageRequest → SubmitMessageResponse.
	OpSubmitMessage Op = 6
	// OpGroupInfo: target is a room; wire GroupInfoRequest → GroupInfoResponse.
	OpGroupInfo Op = 7
	// OpCreateRoom: target is a room; CreateRoomRequest → wire UpdateRoomResponse.
	OpCreateRoom Op = 8
	// OpRooms: no target; empty → StringList of the rooms the user participates in.
	OpRooms Op = 9
	// OpIdentifierQuery: target is a provider, or empty for one's own; wire IdentifierRequest → IdentifierResponse.
	OpIdentifierQuery Op = 10
	// OpProfiles: no target; StringList of user URIs → ProfileList (unknown users are absent).
	OpProfiles Op = 11
	// OpPing: no target; empty → empty.
	OpPing Op = 12
	// OpConsent: no target; wire ConsentEntry, which this user makes → empty. A request or its cancellation has the user
	// as requester, a grant or revocation as target.
	OpConsent Op = 13
	// OpConsents: no target; empty → ConsentList.
	OpConsents Op = 14
	// OpReportAbuse: target is a room; wire AbuseReport → empty.
	OpReportAbuse Op = 15
	// OpIdentityRoots: target is a provider; empty → DERList of the roots of its identity authority.
	OpIdentityRoots Op = 16
	// OpLeft: target is a room of another provider; empty → empty. The device is no longer a member of it.
	OpLeft Op = 17
	// OpDevices: no target; empty → DeviceList of the user's devices.
	OpDevices Op = 20
	// OpRemoveDevice: target is a device of the user; empty → empty. It is forgotten with its KeyPackages, and the session
	// it used ends.
	OpRemoveDevice Op = 21
	// OpDestroyRoom: target is a room of this provider; empty → empty. It is closed for everybody and for good.
	OpDestroyRoom Op = 22
)

var opNames = [...]string{"", "register_device", "hello", "publish_key_packages", "key_material", "update",
	"submit_message", "group_info", "create_room", "rooms", "identifier_query", "profiles", "ping",
	"consent", "consents", "report_abuse", "identity_roots", "left", "", "", "devices", "remove_device", "destroy_room"}

// Valid reports whether the operation is in the table.
func (o Op) Valid() bool { return int(o) < len(opNames) && opNames[o] != "" }

// NeedsDevice reports whether the operation is refused before OpHello.
func (o Op) NeedsDevice() bool {
	return o >= OpPublishKeyPackages && o <= OpCreateRoom || o == OpReportAbuse || o == OpLeft || o == OpDestroyRoom
}

// String is the operation's name in snake case, for logs and metrics.
func (o Op) String() string {
	if !o.Valid() {
		return "unknown"
	}
	return opNames[o]
}

// limit is the largest request frame of the operation.
func (o Op) limit() int {
	switch o {
	case OpUpdate, OpCreateRoom, OpPublishKeyPackages:
		return MaxBulkFrame
	}
	return MaxClientFrame
}

// The statuses of a response.
const (
	StatusOK           = 200
	StatusBadRequest   = 400
	StatusUnauthorized = 401
	StatusForbidden    = 403
	StatusNotFound     = 404
	StatusConflict     = 409
	StatusTooLarge     = 413
	StatusRateLimited  = 429
	StatusInternal     = 500
	StatusUnavailable  = 503
	StatusDiskFull     = 507
)

// The machine codes that are the body of a response whose status is not StatusOK.
const (
	CodeBadRequest   = "bad_request"
	CodeUnknownOp    = "unknown_op"
	CodeNoDevice     = "no_device"
	CodeBadSignature = "bad_signature"
	CodeNotAllowed   = "not_allowed"
	CodeNotFound     = "not_found"
	CodeConflict     = "conflict"
	CodeTooLarge     = "too_large"
	CodeRateLimited  = "rate_limited"
	CodeInternal     = "internal"
	CodeStopping     = "stopping"
	CodeDiskFull     = "disk_full"

	CodeHubUnreachable = "hub_unreachable" // StatusUnavailable: the other provider does not answer now; later it may
	CodePeerRefused    = "peer_refused"    // StatusForbidden: this provider has nothing to do with that one
)

// The websocket close codes of our own, and the standard ones the server uses, with their reasons.
const (
	CloseSignedOut = 4001 // the session ended
	CloseReplaced  = 4002 // the same device said Hello on another connection
	CloseSlow      = 1013 // the reader does not keep up at all
	CloseStopping  = 1001 // the server stops; connect again
	CloseProtocol  = 1002 // a frame that does not parse
	CloseTooLarge  = 1009 // a message over the limit

	ReasonSignedOut = "signed_out"
	ReasonReplaced  = "replaced"
	ReasonSlow      = "slow"
	ReasonStopping  = "stopping"
	ReasonProtocol  = "protocol"
)

// The labels under which a device signs (RFC 9420, Section 5.1.2: SignWithLabel).
const (
	LabelRegisterDevice = "KithRegisterDevice" // over the greeting's nonce
	LabelHello          = "KithHello"          // over HelloContent
)

// HelloContent is what a device signs to say Hello: the greeting's nonce and its own client URI.
func HelloContent(nonce [NonceSize]byte, client string) []byte {
	return append(nonce[:len(nonce):len(nonce)], client...)
}

// Errors of the decoders. ErrTooLarge is kept apart because the server closes with another code.
var (
	ErrTruncated = errors.New("api: truncated frame")
	ErrTooLarge  = errors.New("api: frame too large")
	ErrKind      = errors.New("api: unknown frame kind")
	ErrMalformed = errors.New("api: malformed frame")
	errBody      = errors.New("api: malformed body")
)
