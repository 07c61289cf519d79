package policy

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// LinkPreviews says how clients treat hyperlinks in texts.
//
// draft-ietf-mimi-room-policy-03, Section 6.3: LinkPreviewPolicy. The proxies exist unless their use is forbidden.
type LinkPreviews struct {
	AutodetectHyperlinksInText Optionality
	SendLinkPreviews           Optionality
	AutomaticLinkPreviews      Optionality
	LinkPreviewProxyUse        Optionality
	LinkPreviewProxy           []string // URIs
}

// UnmarshalLinkPreviews decodes the data of LinkPreviewPolicy; an update has the same form.
func UnmarshalLinkPreviews(data []byte) (p LinkPreviews, err error) {
	err = decode(data, "link preview policy", func(s *cryptobyte.String) bool {
		ok := readOptionality(s, &p.AutodetectHyperlinksInText) && readOptionality(s, &p.SendLinkPreviews) &&
			readOptionality(s, &p.AutomaticLinkPreviews) && readOptionality(s, &p.LinkPreviewProxyUse)
		return ok && (p.LinkPreviewProxyUse == Forbidden || readList(s, &p.LinkPreviewProxy, readText))
	})
	return p, err
}

// Bytes encodes the policy.
func (p LinkPreviews) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addOptionality(b, p.AutodetectHyperlinksInText)
		addOptionality(b, p.SendLinkPreviews)
		addOptionality(b, p.AutomaticLinkPreviews)
		addOptionality(b, p.LinkPreviewProxyUse)
		if p.LinkPreviewProxyUse != Forbidden {
			addList(b, p.LinkPreviewProxy, addText)
		}
	})
}

// sensible: nobody can be made to detect links, and who may or must use a proxy is told which.
//
// draft-ietf-mimi-room-policy-03, Section 6.3
func (p LinkPreviews) sensible() bool {
	return p.AutodetectHyperlinksInText != Required && (p.LinkPreviewProxyUse == Forbidden || len(p.LinkPreviewProxy) > 0)
}

// Logging says whether messages are logged, by whom and under which rules.
//
// draft-ietf-mimi-room-policy-03, Section 6.5: LoggingPolicy. All but the first field exist unless logging is
// forbidden.
type Logging struct {
	Logging               Optionality
	LoggingClients        []string // URIs
	MachineReadablePolicy string
	HumanReadablePolicy   string
}

// UnmarshalLogging decodes the data of LoggingPolicy; an update has the same form.
func UnmarshalLogging(data []byte) (p Logging, err error) {
	err = decode(data, "logging policy", func(s *cryptobyte.String) bool {
		if !readOptionality(s, &p.Logging) {
			return false
		}
		return p.Logging == Forbidden || readList(s, &p.LoggingClients, readText) &&
			readText(s, &p.MachineReadablePolicy) && readText(s, &p.HumanReadablePolicy)
	})
	return p, err
}

// Bytes encodes the policy.
func (p Logging) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addOptionality(b, p.Logging)
		if p.Logging == Forbidden {
			return
		}
		addList(b, p.LoggingClients, addText)
		addText(b, p.MachineReadablePolicy)
		addText(b, p.HumanReadablePolicy)
	})
}

// Active tells whether the room is logged.
//
// draft-ietf-mimi-room-policy-03, Section 6.5
func (p Logging) Active() bool { return p.Logging != Forbidden && len(p.LoggingClients) > 0 }

// sensible: required logging names who logs.
//
// draft-ietf-mimi-room-policy-03, Section 6.5
func (p Logging) sensible() bool { return p.Logging != Required || len(p.LoggingClients) > 0 }

// ChatHistory says who may show newcomers what was written before.
//
// draft-ietf-mimi-room-policy-03, Section 6.6: HistoryPolicy. All but the first field exist unless sharing is
// forbidden.
type ChatHistory struct {
	HistorySharing     Optionality
	RolesThatCanShare  []uint32
	AutomaticallyShare bool
	MaxTimePeriod      uint32 // seconds
}

// UnmarshalChatHistory decodes the data of ChatHistoryPolicy; an update has the same form.
func UnmarshalChatHistory(data []byte) (p ChatHistory, err error) {
	err = decode(data, "chat history policy", func(s *cryptobyte.String) bool {
		if !readOptionality(s, &p.HistorySharing) {
			return false
		}
		return p.HistorySharing == Forbidden || readList(s, &p.RolesThatCanShare, readUint32) &&
			readBool(s, &p.AutomaticallyShare) && s.ReadUint32(&p.MaxTimePeriod)
	})
	return p, err
}

// Bytes encodes the policy.
func (p ChatHistory) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		addOptionality(b, p.HistorySharing)
		if p.HistorySharing == Forbidden {
			return
		}
		addList(b, p.RolesThatCanShare, addUint32)
		addBool(b, p.AutomaticallyShare)
		b.AddUint32(p.MaxTimePeriod)
	})
}

// sensible: only those share history who have seen it.
//
// draft-ietf-mimi-room-policy-03, Section 6.6: neither role 0, nor 1, nor one without clients.
func (p ChatHistory) sensible(roles Roles) bool {
	for _, index := range p.RolesThatCanShare {
		if index == RoleBanned || !roles.Get(index).MayBeActive() {
			return false
		}
	}
	return true
}

// Bot is a chat bot that is allowed in the room.
//
// draft-ietf-mimi-room-policy-03, Section 6.7
type Bot struct {
	Name                    string
	Description             string
	Homepage                string // a URI
	LocalClientBot          bool
	BotRoleIndex            uint32 // 0: takes no part in the room
	CanTargetMessageInGroup bool
	PerUserContent          bool
}

func readBot(s *cryptobyte.String, p *Bot) bool {
	return readText(s, &p.Name) && readText(s, &p.Description) && readText(s, &p.Homepage) &&
		readBool(s, &p.LocalClientBot) && s.ReadUint32(&p.BotRoleIndex) &&
		readBool(s, &p.CanTargetMessageInGroup) && readBool(s, &p.PerUserContent)
}

func addBot(b *cryptobyte.Builder, p Bot) {
	addText(b, p.Name)
	addText(b, p.Description)
	addText(b, p.Homepage)
	addBool(b, p.LocalClientBot)
	b.AddUint32(p.BotRoleIndex)
	addBool(b, p.CanTargetMessageInGroup)
	addBool(b, p.PerUserContent)
}

// Bots are the allowed bots.
//
// draft-ietf-mimi-room-policy-03, Section 6.7: BotPolicy.
type Bots []Bot

// UnmarshalBots decodes the data of BotPolicy; an update has the same form.
func UnmarshalBots(data []byte) (p Bots, err error) {
	err = decode(data, "bot policy", func(s *cryptobyte.String) bool {
		return readList(s, (*[]Bot)(&p), readBot)
	})
	return p, err
}

// Bytes encodes the policy.
func (p Bots) Bytes() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) { addList(b, p, addBot) })
}

// sensible: a bot that sees the room through its user's client has no role of its own; any other's role exists.
//
// draft-ietf-mimi-room-policy-03, Section 6.7
func (p Bots) sensible(roles Roles) bool {
	for i := range p {
		bot := &p[i]
		if bot.LocalClientBot && bot.BotRoleIndex != RoleNone {
			return false
		}
		if bot.BotRoleIndex != RoleNone && !roles.Get(bot.BotRoleIndex).MayBeActive() {
			return false
		}
	}
	return true
}

// sensible: the durations are in order.
//
// draft-ietf-mimi-room-policy-03, Section 6.8
func (p Expiration) sensible() bool {
	if p.ExpiringMessages == Forbidden {
		return true
	}
	d := p.DefaultDuration
	return p.MinDuration <= p.MaxDuration && (d == nil || *d >= p.MinDuration && *d <= p.MaxDuration)
}

// sensible: what is suggested is not forbidden, and a hub that takes all uploads is the one provider named.
//
// draft-ietf-mimi-room-policy-03, Section 6.4
func (p Assets) sensible() bool {
	for _, t := range p.ForbiddenDownloadTypes {
		if t == p.DefaultDownloadType {
			return false
		}
	}
	return p.AssetUploadLocation != UploadHub || len(p.UploadDomains) == 1
}

var errNotSensible = errors.New("policy: component contradicts itself or the roles")

// sensible judges new data of a component of Section 6, as far as the draft says what may stand in it.
func sensible(id uint16, data []byte, roles Roles) (err error) {
	ok := true
	switch id {
	case LinkPreviewPolicy:
		var p LinkPreviews
		p, err = UnmarshalLinkPreviews(data)
		ok = p.sensible()
	case AssetPolicy:
		var p Assets
		p, err = UnmarshalAssets(data)
		ok = p.sensible()
	case LoggingPolicy:
		var p Logging
		p, err = UnmarshalLogging(data)
		ok = p.sensible()
	case ChatHistoryPolicy:
		var p ChatHistory
		p, err = UnmarshalChatHistory(data)
		ok = p.sensible(roles)
	case BotPolicy:
		var p Bots
		p, err = UnmarshalBots(data)
		ok = p.sensible(roles)
	case MessageExpiration:
		var p Expiration
		p, err = UnmarshalExpiration(data)
		ok = p.sensible()
	}
	if err == nil && !ok {
		err = errNotSensible
	}
	return err
}
