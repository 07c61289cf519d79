package client

import (
	"fmt"
	"sync"

	"kith/mimi"
	"kith/mimi/mls"
)

// device is this device's identity. Its key is stored before it is used for the first time; client and certificate
// are empty until the provider has registered it.
type device struct {
	user        mimi.UserID
	displayName string
	client      mimi.ClientID
	key         func() (*mls.SignatureKey, error) // see lazyKey
	private     []byte                            // what key is made from
	certificate []byte                            // DER
	root        []byte                            // DER; the provider's identity root, pinned on first use
}

func (d *device) bytes() []byte {
	e := newEncoder()
	e.str(d.user.String())
	e.str(d.displayName)
	e.str(d.client.String())
	e.bytes(d.private)
	e.bytes(d.certificate)
	e.bytes(d.root)
	return e.done()
}

func parseDevice(data []byte) (*device, error) {
	in, d := newDecoder(data), new(device)
	user, name, client, key := in.str(), in.str(), in.str(), in.bytes()
	d.displayName, d.certificate, d.root = name, in.bytes(), in.bytes()
	if err := in.done(); err != nil {
		return nil, err
	}
	var err error
	if d.user, err = mimi.ParseUserID(user); err != nil {
		return nil, err
	}
	if client != "" {
		if d.client, err = mimi.ParseClientID(client); err != nil {
			return nil, err
		}
	}
	if len(key) != signatureKeySize {
		return nil, errRecord
	}
	d.private, d.key = key, lazyKey(key)
	return d, nil
}

// signatureKeySize is that of suite: an Ed25519 seed, and any octets of this number are one.
const signatureKeySize = 32

// lazyKey makes the key when it is asked for first. Deriving the public key is the first curve operation of a life and
// costs more than all else that an engine does before it is ready; the key is not needed until it greets the provider.
func lazyKey(private []byte) func() (*mls.SignatureKey, error) {
	return sync.OnceValues(func() (*mls.SignatureKey, error) { return mls.ParseSignatureKey(suite, private) })
}

// roomRecord is what the room list needs without touching MLS.
type roomRecord struct {
	name       string
	peer       mimi.UserID // zero: a group
	members    int
	canSend    bool
	canManage  bool
	removed    bool // by somebody; final unless a Welcome comes
	broken     bool // our group state is of no use: rejoin by external commit
	waiting    bool // direct room whose peer has no device in it yet and in which nothing was said
	unread     int
	readKey    string // the newest message read
	lastText   string
	lastSender string
	lastTime   int64
	lastKey    string
	expire     uint64 // after how many seconds what is written here vanishes; 0: never
	plain      bool   // web addresses are not to be made links
	order      uint64 // accepted_timestamp of the last event that changed the room: sorts silent rooms
}

func (r *roomRecord) bytes() []byte {
	e := newEncoder()
	e.str(r.name)
	e.str(r.peer.String())
	e.u64(uint64(r.members))
	for _, f := range []bool{r.canSend, r.canManage, r.removed, r.broken, r.waiting} {
		e.flag(f)
	}
	e.u64(uint64(r.unread))
	e.str(r.readKey)
	e.str(r.lastText)
	e.str(r.lastSender)
	e.u64(uint64(r.lastTime))
	e.str(r.lastKey)
	e.u64(r.order)
	if r.expire != 0 || r.plain {
		e.u64(r.expire)
		e.flag(r.plain)
	}
	return e.done()
}

func parseRoomRecord(data []byte) (*roomRecord, error) {
	d, r := newDecoder(data), new(roomRecord)
	r.name = d.str()
	peer := d.str()
	r.members = int(d.u64())
	for _, f := range []*bool{&r.canSend, &r.canManage, &r.removed, &r.broken, &r.waiting} {
		*f = d.flag()
	}
	r.unread = int(d.u64())
	r.readKey, r.lastText, r.lastSender = d.str(), d.str(), d.str()
	r.lastTime = int64(d.u64())
	r.lastKey = d.str()
	r.order = d.u64()
	if !d.s.Empty() { // of a room with rules of that kind
		r.expire, r.plain = d.u64(), d.flag()
	}
	if err := d.done(); err != nil {
		return nil, err
	}
	var err error
	if peer != "" {
		r.peer, err = mimi.ParseUserID(peer)
	}
	return r, err
}

// message is a row of a timeline: a message with its exact content octets, or a notice.
type message struct {
	id      string // hex
	key     string
	state   string
	sender  string // user URI
	time    int64
	content []byte // mimi-content octets; empty for a notice
	errCode string
	notice  string // code; empty for a message
	whom    string // user URI
	name    string

	// What proves to the hub that it distributed the message: its frank, verified, and what stood before the content in
	// the application data. Empty if there is no frank.
	// draft-ietf-mimi-protocol-06, Section 5.4.1.3
	frank, framing []byte

	vanish    uint64 // when the row is to be deleted, in ms since 1970; 0: never, or not before it was read
	afterRead uint64 // how long after that, in ms
}

func (m *message) bytes() []byte {
	e := newEncoder()
	for _, s := range []string{m.id, m.state, m.sender, m.errCode, m.notice, m.whom, m.name} {
		e.str(s)
	}
	e.u64(uint64(m.time))
	e.bytes(m.content)
	end := m.vanish != 0 || m.afterRead != 0
	if len(m.frank) > 0 || end {
		e.bytes(m.frank)
		e.bytes(m.framing)
	}
	if end {
		e.u64(m.vanish)
		e.u64(m.afterRead)
	}
	return e.done()
}

func parseMessage(key string, data []byte) (*message, error) {
	d, m := newDecoder(data), &message{key: key}
	for _, s := range []*string{&m.id, &m.state, &m.sender, &m.errCode, &m.notice, &m.whom, &m.name} {
		*s = d.str()
	}
	m.time = int64(d.u64())
	m.content = d.bytes()
	if !d.s.Empty() { // rows from before franks end here
		m.frank, m.framing = d.bytes(), d.bytes()
	}
	if !d.s.Empty() {
		m.vanish, m.afterRead = d.u64(), d.u64()
	}
	return m, d.done()
}

// Keys of timeline rows sort by place: confirmed ones by the hub's timestamp and an index for several rows of one
// event, unconfirmed ones behind them all in the order in which they were written.
func timelineKey(timestamp uint64, index int) string {
	return fmt.Sprintf("%016x.%02x", timestamp, index)
}

// messageKey is the place of a message. Hubs may give one time to several: none of them takes the place of another, and the
// lowest message ID comes first.
//
// draft-ietf-mimi-content-08, Section 9.1
func messageKey(timestamp uint64, id string) string { return timelineKey(timestamp, 0) + "." + id }

func provisionalKey(seq uint64) string { return fmt.Sprintf("~%016x", seq) }

// outgoing is a message on its way out. The content never changes; the request is made when it is first encrypted
// and again only after the hub has refused the old one for its epoch.
type outgoing struct {
	seq     uint64
	id      string // hex message id
	content []byte
	request []byte // SubmitMessageRequest, empty until encrypted
	hash    string // of the MLSMessage in request
	failed  bool   // waits for the user
}

func (o *outgoing) bytes() []byte {
	e := newEncoder()
	e.str(o.id)
	e.bytes(o.content)
	e.bytes(o.request)
	e.str(o.hash)
	e.flag(o.failed)
	return e.done()
}

func parseOutgoing(seq uint64, data []byte) (*outgoing, error) {
	d, o := newDecoder(data), &outgoing{seq: seq}
	o.id, o.content, o.request, o.hash, o.failed = d.str(), d.bytes(), d.bytes(), d.str(), d.flag()
	return o, d.done()
}

// change is what we want to be true of a room. It is stored, so that after a lost race, or a restart in the middle,
// the same is tried again upon the new epoch.
type change struct {
	kind     string
	users    []string // user URIs
	packages [][]byte // KeyPackages claimed for them: claimed once, used in every attempt
	name     string
}

// Kinds of changes. A new room goes through three of them: create, invite, add.
const (
	changeCreate = "create" // upload the new group, then invite users
	changeInvite = "invite" // claim KeyPackages of users, then add them
	changeAdd    = "add"
	changeRemove = "remove"
	changeRename = "rename"
	changeRenew  = "renew"  // our leaf gets our new certificate
	changeCommit = "commit" // what others have proposed

	changeDescribe = "describe"
	changeKick     = "kick"
	changeBan      = "ban"
	changeUnban    = "unban"
	changeRole     = "role"   // name: index of the role
	changeDetach   = "detach" // name: URI of a device of ours that we have no more
	changeLink     = "link"   // name: the offer
	changeUnlink   = "unlink" // name: hash of the code
	changeRule     = "rule"   // name: the rule and its value
	changeLeave    = "leave"  // proposals, for others to commit
)

// pendingChange is a change of ours on its way. Between the store and the stream the group state beside it holds the
// staged commit's secrets; the request is sent again byte for byte until there is an answer.
type pendingChange struct {
	change  change
	request []byte // CreateRoomRequest or UpdateRequest; empty: not staged upon this epoch
	hash    string // of the commit's MLSMessage
	over    bool   // nothing is left to do; err tells how it went
	err     error
	tries   int
	denied  bool // the hub has refused it once
}

func (p *pendingChange) bytes() []byte {
	e := newEncoder()
	e.str(p.change.kind)
	e.list(p.change.users)
	packages := make([]string, len(p.change.packages))
	for i, k := range p.change.packages {
		packages[i] = string(k)
	}
	e.list(packages)
	e.str(p.change.name)
	e.bytes(p.request)
	e.str(p.hash)
	return e.done()
}

func parsePendingChange(data []byte) (*pendingChange, error) {
	d, p := newDecoder(data), new(pendingChange)
	p.change.kind, p.change.users, p.change.packages, p.change.name = d.str(), d.list(), d.blobs(), d.str()
	p.request, p.hash = d.bytes(), d.str()
	return p, d.done()
}

// pendingJoin is an external commit of ours between the store and the stream, with the group it leads to.
type pendingJoin struct {
	request  []byte
	hash     string
	state    []byte
	ratchets []byte
	byLink   bool // the user is not listed yet
}

func (p *pendingJoin) bytes() []byte {
	e := newEncoder()
	e.bytes(p.request)
	e.str(p.hash)
	e.bytes(p.state)
	e.bytes(p.ratchets)
	e.flag(p.byLink)
	return e.done()
}

func parsePendingJoin(data []byte) (*pendingJoin, error) {
	d, p := newDecoder(data), new(pendingJoin)
	p.request, p.hash, p.state, p.ratchets = d.bytes(), d.str(), d.bytes(), d.bytes()
	p.byLink = len(d.s) > 0 && d.flag() // there were no links once
	return p, d.done()
}
