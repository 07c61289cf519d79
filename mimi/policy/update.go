package policy

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// replacement checks the form of data that replaces a component whole.
//
// draft-ietf-mimi-room-policy-03: every component but the join links; draft-ietf-mimi-protocol-06, Section 7.
func replacement(id uint16, data []byte) error {
	var err error
	switch id {
	case MLSOperationalPolicy:
		// read leniently, see EpochTolerance
	case AppComponents, SafeAAD:
		_, err = unmarshalIDs(data)
	case ContentMediaTypes:
		var list []MediaType
		err = decode(data, "list of media types", func(s *cryptobyte.String) bool { return readList(s, &list, readMediaType) })
	case RoomMetadata:
		_, err = UnmarshalMetadata(data)
	case RolesList:
		_, err = UnmarshalRoles(data)
	case PreauthList:
		_, err = UnmarshalPreAuth(data)
	case BaseRoomPolicy:
		_, err = UnmarshalBasePolicy(data)
	case StatusNotificationPolicy:
		_, err = UnmarshalStatusNotifications(data)
	case JoinLinkPolicy:
		_, err = UnmarshalJoinLinkRules(data)
	case LinkPreviewPolicy:
		_, err = UnmarshalLinkPreviews(data)
	case AssetPolicy:
		_, err = UnmarshalAssets(data)
	case LoggingPolicy:
		_, err = UnmarshalLogging(data)
	case ChatHistoryPolicy:
		_, err = UnmarshalChatHistory(data)
	case BotPolicy:
		_, err = UnmarshalBots(data)
	case MessageExpiration:
		_, err = UnmarshalExpiration(data)
	default:
		err = errors.New("policy: component is not known")
	}
	return err
}

// unmarshalIDs decodes a list of component ids.
//
// draft-ietf-mls-extensions, Section 4.6: ComponentsList.
func unmarshalIDs(data []byte) (l []uint16, err error) {
	err = decode(data, "list of components", func(s *cryptobyte.String) bool { return syntax.ReadUint16s(s, &l) })
	return l, err
}

// UpdateComponent applies the updates a commit holds for one component, in their order; old is nil if the
// component has no data yet. It checks form, not authority: that is Check's part.
//
// draft-ietf-mls-extensions, Section 4.7
func UpdateComponent(id uint16, old []byte, updates [][]byte) ([]byte, error) {
	if len(updates) == 0 {
		return nil, errors.New("policy: no update")
	}
	switch id {
	case ParticipantList:
		return updateParticipants(old, updates)
	case JoinLinks:
		return updateLinks(old, updates)
	}
	// Two replacements of the same data contradict each other.
	// draft-ietf-mimi-protocol-06, Section 7.6 says so for the metadata.
	if len(updates) != 1 {
		return nil, errors.New("policy: component replaced twice")
	}
	if err := replacement(id, updates[0]); err != nil {
		return nil, err
	}
	return updates[0], nil
}
