package client

// View is news for the pages: Kind is one of the View constants and Value the struct that belongs to it.
type View struct {
	Kind  string
	Value any
}

// Kinds of views.
const (
	ViewState    = "state"    // StateView
	ViewRooms    = "rooms"    // []RoomView, all of them
	ViewMessage  = "message"  // MessageChange: put or replace one message
	ViewTimeline = "timeline" // RoomRef: load the timeline again
	ViewMembers  = "members"  // RoomRef: load the members again
	ViewRequests = "requests" // RequestsView, all of them
)

// States of a StateView.
const (
	StateLoading = "loading"
	StateReady   = "ready"
	StateError   = "error"
)

// StateView tells how the engine is.
type StateView struct {
	State      string
	Online     bool
	Connecting bool
	Me         MeView
	Error      *Error // nil: none

	ChangedIdentities []string // domains of providers that identify themselves otherwise than before; see AcceptIdentity
}

// MeView is the user of this session.
type MeView struct {
	URI         string
	Name        string
	DisplayName string
	Client      string
}

// RoomView is one line of the room list.
type RoomView struct {
	ID         string
	Name       string
	Kind       string // "direct" or "group"
	Peer       string // the other user of a direct room
	Unread     int
	LastText   string
	LastSender string
	LastTime   int64 // ms since 1970
	Members    int
	CanSend    bool
	CanManage  bool
	Removed    bool   // the user is no longer in the room; its timeline stays
	Hub        string // domain of the provider that orders the room
	HubAway    bool   // it cannot be reached now; what is to be sent waits
	Held       bool   // news wait until the identity of a provider of some member can be checked
	Waiting    bool   // the other has been asked and has not agreed yet: nothing can be written
}

// States of a MessageView.
const (
	MessageSending  = "sending"
	MessageSent     = "sent"
	MessageFailed   = "failed"
	MessageReceived = "received"
)

// MessageView is one entry of a timeline.
type MessageView struct {
	ID         string // hex
	Key        string // its place in the timeline, compared as a string; may change when the message is confirmed
	Room       string
	Mine       bool
	State      string
	Sender     string
	SenderName string
	Text       string
	Time       int64  // ms since 1970
	Kind       string // "message" or "notice"
	Notice     *NoticeView
	Error      *Error
	Plain      bool // web addresses in it are not to be made links
	Reportable bool // somebody else's, and the hub can be shown that it distributed it
}

// NoticeView is a change of the room, told by code: the page has the words.
type NoticeView struct {
	Code string // one of the Notice constants
	Who  string // display name of who did it, or the room's server
	Whom string // display name of whom it concerns
	Me   bool   // that is this user
	Name string // new name of the room, or of a role
}

// Codes of notices.
const (
	NoticeCreated  = "created"
	NoticeAdded    = "added"
	NoticeRemoved  = "removed"
	NoticeLeft     = "left"
	NoticeRenamed  = "renamed"
	NoticeRejoined = "rejoined"

	NoticeJoined      = "joined" // by a link, or because the room is open
	NoticeKicked      = "kicked"
	NoticeDetached    = "detached" // this device alone, by another one of the user's
	NoticeBanned      = "banned"
	NoticeUnbanned    = "unbanned"
	NoticeRole        = "role"
	NoticeDescribed   = "described"
	NoticePolicy      = "policy"
	NoticeLinkMade    = "link_made"
	NoticeLinkRevoked = "link_revoked"
	NoticeClosed      = "closed" // for everybody, by somebody or by the server
)

// MessageChange carries one message that is new or different.
type MessageChange struct {
	Room    string
	Message MessageView
}

// RoomRef names a room.
type RoomRef struct{ Room string }

// TimelineView is a page of a timeline, oldest first.
type TimelineView struct {
	Messages []MessageView
	More     bool // there are older ones
}

// MemberView is one participant of a room, or somebody who is banned from it.
type MemberView struct {
	User        string
	Name        string // with the server, if it is another one
	DisplayName string
	Role        RoleView
	Me          bool
	Banned      bool
	Devices     int

	// What this user may do about the member; Roles are those that the member may be given.
	CanRemove, CanKick, CanBan, CanUnban bool
	Roles                                []RoleView
}

// RoleView is a role of a room.
type RoleView struct {
	Index        int
	Name         string // in the room's policy; for those of our templates the page has words
	Organisation string // the domain whose people it is for, where a room tells organisations apart
}

// DetailsView is what only the page about a room shows.
type DetailsView struct {
	Room        string
	Description string
	Host        string // domain of the provider that keeps the room in order
	HostOurs    bool
	Links       []LinkView
	Rules       RulesView
	Logged      bool // somebody keeps what is written, as the room says

	CanRename, CanDescribe, CanAdd, CanLeave, CanLink, CanUnlink, CanClose bool
}

// RulesView is how a room works, as far as people turn that on and off.
type RulesView struct {
	Write  bool // everybody writes, not only those who look after the room
	Invite bool // everybody brings in others
	Links  bool // join links let people in
	Expire int  // after how many seconds messages vanish; 0: never

	CanChange bool // the first three
	CanExpire bool
}

// LinkView is a join link of a room.
type LinkView struct {
	ID    string // to revoke it by
	Offer string // what the link holds; "" if somebody else made it: only the maker has the code
	Until int64  // ms since 1970; 0: for good
}

// DeviceView is one of the user's devices.
type DeviceView struct {
	Client  string
	Name    string
	Me      bool
	Created int64 // ms since 1970
	Seen    int64
}

// PersonView is a search result.
type PersonView struct {
	User        string
	Name        string
	DisplayName string
}

// RequestView is a request for consent, or somebody who is blocked. It tells nothing that a stranger wrote.
type RequestView struct {
	User     string // URI
	Address  string // name@domain
	Room     string // the one room it is for; empty: any
	RoomName string // if it is a room of ours
	Time     int64  // ms since 1970
}

// RequestsView is everything about consent that concerns the user, in no order.
type RequestsView struct {
	Incoming []RequestView // to be accepted, declined or blocked
	Outgoing []RequestView // the others have not answered
	Blocked  []RequestView
}

// Error is what a person can be told: a code of the catalogue, and a text for developers without anything private.
type Error struct {
	Code string
	Text string
}

// Error implements error.
func (e *Error) Error() string { return "client: " + e.Text }

// Codes of errors.
const (
	CodeOffline         = "offline"
	CodeNotFound        = "not_found"
	CodeNoDevices       = "no_devices"
	CodeNotAllowed      = "not_allowed"
	CodeTooLong         = "too_long"
	CodeEmpty           = "empty"
	CodeRateLimited     = "rate_limited"
	CodeDiskFull        = "disk_full"
	CodeInternal        = "internal"
	CodeSignedOut       = "signed_out"
	CodeConflict        = "conflict"
	CodeIdentityChanged = "identity_changed"
	CodeNotReportable   = "not_reportable"
	CodeHubUnreachable  = "hub_unreachable"
	CodePeerRefused     = "peer_refused"
	CodeBlocked         = "blocked"
	CodeYourself        = "yourself"
	CodeLinkGone        = "link_gone"
	CodeForeignRoom     = "foreign_room"
	CodeIncompatible    = "incompatible"
)

func fail(code, text string) *Error { return &Error{Code: code, Text: text} }
