package room

import (
	"bytes"
	"errors"
	"slices"

	"kith/mimi"
	"kith/mimi/identity"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
)

// FrankingAgent returns with which key the hub signs franks of the room; nil if it does not frank, or if what the room
// says about it cannot be read.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1
func (v *View) FrankingAgent() *wire.FrankingAgentData { return v.agent }

// readAgent leaves a malformed agent out: its room has no franks, and is otherwise as good as others.
func readAgent(dict mls.AppDataDictionary) *wire.FrankingAgentData {
	data, ok := dict.Get(policy.FrankingAgent)
	if !ok {
		return nil
	}
	agent, err := wire.UnmarshalFrankingAgentData(data)
	if err != nil {
		return nil
	}
	return agent
}

// MessageAAD is the authenticated data of an application message in a group: it commits to the data where the hub franks.
// salt is that of the content in it. It reads the context alone, because there is one for every message.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.1
func MessageAAD(c *mls.GroupContext, salt [wire.SaltSize]byte, applicationData []byte) ([]byte, error) {
	dict, err := c.Extensions.AppData()
	if err != nil {
		return nil, err
	}
	_, safe := dict.Get(mls.ComponentSafeAAD)
	switch {
	case !safe:
		return nil, nil
	case readAgent(dict) == nil:
		return EmptyAAD(), nil
	}
	tag := wire.NewFrankAAD(salt, applicationData)
	return mls.SafeAAD{{Component: policy.FrankAAD, Data: tag.FrankingTag[:]}}.Bytes()
}

// frankAAD finds the tag in the authenticated data of a message.
func (v *View) frankAAD(aad []byte) (wire.FrankAAD, bool) {
	if v.agent == nil || !v.safeAAD {
		return wire.FrankAAD{}, false
	}
	items, err := mls.UnmarshalSafeAAD(aad)
	if err != nil {
		return wire.FrankAAD{}, false
	}
	data, ok := items.Get(policy.FrankAAD)
	if !ok {
		return wire.FrankAAD{}, false
	}
	tag, err := wire.UnmarshalFrankAAD(data)
	return tag, err == nil
}

// CheckAgent judges whom a room names as the hub's franking agent: a key that the hub's provider vouches for, other than
// the one with which it proposes.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.3
func CheckAgent(app mls.Application, v *View) error {
	if v.agent == nil {
		return errors.New("room: no franking agent")
	}
	cert, err := identity.FromCredential(v.agent.Credential)
	if err != nil {
		return err
	}
	if cert.Hub != v.Hub() {
		return errors.New("room: franking agent is not the hub's")
	}
	return app.ValidateCredential(v.agent.Credential, v.agent.FrankingSignatureKey, nil)
}

// CheckAgent judges whether a new room names this hub's own franking agent, or none.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.2
func (h *Hub) CheckAgent(key mls.SignaturePublicKey) *wire.UpdateRoomResponse {
	dict, err := h.view.context.Extensions.AppData()
	if _, ok := dict.Get(policy.FrankingAgent); err == nil && !ok {
		return nil
	}
	if CheckAgent(h.cfg.Application, h.view) != nil || !bytes.Equal(h.view.agent.FrankingSignatureKey, key) {
		return notAllowed(refusal("FR-3", "franking agent is not this hub"))
	}
	return nil
}

// Accepted is an application message that the hub has accepted. It stays apart from its event, because signing a frank
// takes longer than everything else about a message and needs no turn in the room.
type Accepted struct {
	Timestamp uint64

	message wire.MLSMessage
	sender  mimi.UserID
	room    mimi.RoomID
	tag     *wire.FrankAAD // nil: not to be franked
}

// accept notes what Submit has accepted.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.2: a message without a tag, or in a room without an agent, goes unfranked.
func (h *Hub) accept(req *wire.SubmitMessageRequest) *Accepted {
	a := &Accepted{Timestamp: h.last, message: req.AppMessage, sender: req.SendingURI, room: h.view.room}
	if tag, ok := h.view.frankAAD(req.AppMessage.AuthenticatedData()); ok {
		a.tag = &tag
	}
	return a
}

// Event encodes the event to distribute. frank is what Franker.Frank made.
func (a *Accepted) Event(frank *wire.Frank) []byte {
	return wire.FanoutApplication(a.Timestamp, a.message, frank)
}

// HubKey is the secret with which a hub recognises its own franks of the time from From, in milliseconds since 1970, to
// that of the next key.
type HubKey struct {
	From uint64
	Key  [wire.HubKeySize]byte
}

// Franker franks the messages of a hub. It does not change. HubKeys are in the order of their times; there is at least
// one, and the first serves for all that was before it, too.
type Franker struct {
	Agent   *mls.SignatureKey
	HubKeys []HubKey
}

// at is the index of the key for a time.
func (f *Franker) at(timestamp uint64) int {
	for i := len(f.HubKeys) - 1; i > 0; i-- {
		if f.HubKeys[i].From <= timestamp {
			return i
		}
	}
	return 0
}

// Frank makes the frank of an accepted message, nil if it gets none. It is the same however often it is made.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.2
func (f *Franker) Frank(a *Accepted) (*wire.Frank, error) {
	if a.tag == nil {
		return nil, nil
	}
	return wire.NewFrank(&f.HubKeys[f.at(a.Timestamp)].Key, f.Agent, *a.tag,
		wire.ServerFrankingContext{SenderURI: a.sender, RoomURI: a.room, AcceptedTimestamp: a.Timestamp})
}

// Franked is a message as a receiver has it, with what its content says about itself.
type Franked struct {
	ApplicationData   []byte // framing included
	Salt              [wire.SaltSize]byte
	SenderURI         mimi.UserID // extension 1
	RoomURI           mimi.RoomID // extension 2
	Frank             wire.Frank
	AcceptedTimestamp uint64
}

func (m *Franked) context() wire.ServerFrankingContext {
	return wire.ServerFrankingContext{SenderURI: m.SenderURI, RoomURI: m.RoomURI, AcceptedTimestamp: m.AcceptedTimestamp}
}

// VerifyFrank is the receiver's check of a message with authenticated data aad, which the user sender sent. The agent
// must have passed CheckAgent.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.3
func (v *View) VerifyFrank(m *Franked, sender mimi.UserID, aad []byte) *policy.Refusal {
	tag, ok := v.frankAAD(aad)
	switch {
	case !ok:
		return refusal("FR-5", "message has no franking tag, or the room no agent")
	case m.Frank.FrankingSignatureSuite != v.context.CipherSuite:
		return refusal("FR-7", "frank of another cipher suite than the group's")
	case m.SenderURI != sender || m.RoomURI != v.room:
		return refusal("FR-5", "content names another sender or room")
	case tag != wire.NewFrankAAD(m.Salt, m.ApplicationData):
		return refusal("FR-5", "tag is not that of the content")
	case m.Frank.Verify(v.agent.FrankingSignatureKey, m.context()) != nil:
		return refusal("FR-5", "signature of the franking agent does not verify")
	}
	return nil
}

// VerifyReported is the hub's check of a reported message: that it distributed this very content in the room from the
// user. It uses the hub key of the time first, then the others: a clock may have been wrong.
//
// draft-ietf-mimi-protocol-06, Section 5.9
func (f *Franker) VerifyReported(m *Franked, abuser mimi.UserID, room mimi.RoomID) *policy.Refusal {
	if m.SenderURI != abuser || m.RoomURI != room {
		return refusal("RA-4", "content names another sender or room than the report")
	}
	tag, context := wire.NewFrankAAD(m.Salt, m.ApplicationData), m.context()
	first := f.at(m.AcceptedTimestamp)
	stamped := func(k HubKey) bool { return m.Frank.Stamped(&k.Key, tag, context) }
	if !stamped(f.HubKeys[first]) && !slices.ContainsFunc(f.HubKeys, stamped) {
		return refusal("RA-2", "server_frank is not this hub's")
	}
	if m.Frank.Verify(f.Agent.Public(), context) != nil {
		return refusal("RA-2", "signature of the franking agent does not verify")
	}
	return nil
}
