package policy

import "strings"

// Post is what an instant message does, as far as capabilities tell it apart. A hub cannot see it: clients show
// nothing of a message whose sender may not do what it does.
//
// draft-ietf-mimi-room-policy-03, Section 8.3
type Post struct {
	Reaction bool // it is a reaction, or changes or takes back one
	Edit     bool // it replaces an earlier message
	Delete   bool // it retracts an earlier message
	Own      bool // that earlier message is the sender's own
	Reply    bool // it answers a message
	Topic    bool // it belongs to a topic
	NewTopic bool // it moves an earlier message to another topic
	Link     bool // it has an inline link
	Preview  bool // it has a link with a preview
}

// needs lists the capabilities a post asks for. It is false for what nobody may do: to put words in another's mouth.
func (p Post) needs() ([]Capability, bool) {
	caps := []Capability{CanSendMessage}
	either := func(own, other Capability) {
		if p.Own {
			caps = append(caps, own)
		} else {
			caps = append(caps, other)
		}
	}
	switch {
	case p.Reaction && p.Delete:
		either(CanDeleteOwnReaction, CanDeleteOtherReaction)
	case p.Reaction && p.Edit:
		caps = append(caps, CanEditReaction)
	case p.Reaction:
		caps = append(caps, CanReactToMessage)
	case p.Delete:
		either(CanDeleteOwnMessage, CanDeleteOtherMessage)
	case p.NewTopic:
		either(CanEditOwnTopic, CanEditOtherTopic)
	case p.Edit:
		caps = append(caps, CanEditOwnMessage)
	case p.Reply && p.Topic:
		caps = append(caps, CanReplyToMessage, CanReplyInTopic)
	case p.Reply:
		caps = append(caps, CanReplyToMessage)
	case p.Topic:
		caps = append(caps, CanStartTopic)
	}
	if p.Link || p.Preview {
		caps = append(caps, CanSendLink)
	}
	if p.Preview {
		caps = append(caps, CanSendLinkPreview)
	}
	return caps, p.Own || !p.Edit || p.NewTopic && !p.Reaction
}

// MayPost tells whether a holder of the role may send a message that does this.
func (r *Role) MayPost(p Post) bool {
	caps, ok := p.needs()
	for _, c := range caps {
		ok = ok && r.Can(c)
	}
	return ok
}

// optional decodes a component that a room need not have.
func optional[T any](s *State, id uint16, unmarshal func([]byte) (T, error)) (T, bool) {
	data, ok := s.get(id)
	if !ok {
		return *new(T), false
	}
	v, err := unmarshal(data)
	return v, err == nil
}

// StatusNotifications returns the room's rules for delivery and read notifications, if it has any.
func (s *State) StatusNotifications() (StatusNotifications, bool) {
	return optional(s, StatusNotificationPolicy, UnmarshalStatusNotifications)
}

// LinkPreviews returns the room's rules for links, if it has any.
func (s *State) LinkPreviews() (LinkPreviews, bool) {
	return optional(s, LinkPreviewPolicy, UnmarshalLinkPreviews)
}

// Assets returns the room's rules for assets, if it has any.
func (s *State) Assets() (Assets, bool) { return optional(s, AssetPolicy, UnmarshalAssets) }

// Logging returns the room's rules for logging, if it has any.
func (s *State) Logging() (Logging, bool) { return optional(s, LoggingPolicy, UnmarshalLogging) }

// ChatHistory returns the room's rules for sharing history, if it has any.
func (s *State) ChatHistory() (ChatHistory, bool) {
	return optional(s, ChatHistoryPolicy, UnmarshalChatHistory)
}

// Bots returns the bots that are allowed in the room, if it says so.
func (s *State) Bots() (Bots, bool) { return optional(s, BotPolicy, UnmarshalBots) }

// Expiration returns the room's rules for expiring messages, if it has any.
func (s *State) Expiration() (Expiration, bool) {
	return optional(s, MessageExpiration, UnmarshalExpiration)
}

// Allows tells whether a message may vanish after so many seconds, 0 for never.
//
// draft-ietf-mimi-room-policy-03, Section 6.8
func (p Expiration) Allows(seconds uint32) bool {
	switch {
	case seconds == 0:
		return p.ExpiringMessages != Required
	case p.ExpiringMessages == Forbidden:
		return false
	}
	return seconds >= p.MinDuration && seconds <= p.MaxDuration
}

// Allows tells whether an asset of a media type and size may be sent. A limit of zero is none: our rooms start
// without limits, and a room that wants no assets takes the capability to upload them.
//
// draft-ietf-mimi-room-policy-03, Section 6.4
func (p Assets) Allows(m MediaType, size uint64) bool {
	limit := p.MaxAttachment
	switch major, _, _ := strings.Cut(strings.ToLower(m.Type), "/"); major {
	case "image":
		limit = p.MaxImage
	case "audio":
		limit = p.MaxAudio
	case "video":
		limit = p.MaxVideo
	}
	if limit != 0 && size > limit || m.listed(p.ForbiddenMediaTypes) {
		return false
	}
	return p.PermittedMediaTypes == nil || m.listed(p.PermittedMediaTypes)
}

// listed: an entry without parameters stands for all of its type and subtype.
//
// draft-ietf-mimi-room-policy-03, Section 6.4
func (m MediaType) listed(list []MediaType) bool {
	for _, l := range list {
		if strings.EqualFold(l.Type, m.Type) && (len(l.Parameters) == 0 || sameParameters(l.Parameters, m.Parameters)) {
			return true
		}
	}
	return false
}

func sameParameters(a, b []MediaTypeParameter) bool {
	if len(a) != len(b) {
		return false
	}
	values := make(map[string]string, len(a))
	for _, p := range a {
		values[strings.ToLower(p.Name)] = p.Value
	}
	for _, p := range b {
		if v, ok := values[strings.ToLower(p.Name)]; !ok || v != p.Value {
			return false
		}
	}
	return true
}

// MayShare tells whether users of a role may show newcomers what was written up to so many seconds ago.
//
// draft-ietf-mimi-room-policy-03, Section 6.6
func (p ChatHistory) MayShare(role uint32, age uint32) bool {
	if p.HistorySharing == Forbidden || age > p.MaxTimePeriod {
		return false
	}
	for _, r := range p.RolesThatCanShare {
		if r == role {
			return true
		}
	}
	return false
}
