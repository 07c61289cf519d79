package policy

// Capability is something a role may do.
//
// draft-ietf-mimi-room-policy-03, Section 10.2
type Capability uint16

// Membership capabilities.
//
// draft-ietf-mimi-room-policy-03, Section 8.1
const (
	CanAddParticipant      Capability = 0x0000
	CanRemoveParticipant   Capability = 0x0001
	CanAddOwnClient        Capability = 0x0002
	CanRemoveOwnClient     Capability = 0x0003
	CanOpenJoin            Capability = 0x0004
	CanJoinIfPreauthorized Capability = 0x0005
	CanRemoveSelf          Capability = 0x0006
	CanCreateJoinCode      Capability = 0x0007
	CanDeleteJoinCode      Capability = 0x0008
	CanUseJoinCode         Capability = 0x0009
	CanBan                 Capability = 0x000a
	CanUnBan               Capability = 0x000b
	CanKick                Capability = 0x000c
	CanKnock               Capability = 0x000d
	CanAcceptKnock         Capability = 0x000e
	CanChangeUserRole      Capability = 0x000f
	CanChangeOwnRole       Capability = 0x0010
	CanCreateSubgroup      Capability = 0x0011
)

// Message capabilities.
//
// draft-ietf-mimi-room-policy-03, Section 8.3
const (
	CanSendMessage         Capability = 0x0100
	CanReceiveMessage      Capability = 0x0101
	CanCopyMessage         Capability = 0x0102
	CanReportAbuse         Capability = 0x0103
	CanReplyToMessage      Capability = 0x0104
	CanReactToMessage      Capability = 0x0105
	CanEditReaction        Capability = 0x0106
	CanDeleteOwnReaction   Capability = 0x0107
	CanDeleteOtherReaction Capability = 0x0108
	CanEditOwnMessage      Capability = 0x0109
	CanDeleteOwnMessage    Capability = 0x010a
	CanDeleteOtherMessage  Capability = 0x010b
	CanStartTopic          Capability = 0x010c
	CanReplyInTopic        Capability = 0x010d
	CanEditOwnTopic        Capability = 0x010e
	CanEditOtherTopic      Capability = 0x010f
	CanSendDirectMessage   Capability = 0x0110
	CanTargetMessage       Capability = 0x0111
)

// Asset and link capabilities.
//
// draft-ietf-mimi-room-policy-03, Section 8.4
const (
	CanUploadImage        Capability = 0x0200
	CanUploadAudio        Capability = 0x0201
	CanUploadVideo        Capability = 0x0202
	CanUploadAttachment   Capability = 0x0203
	CanDownloadImage      Capability = 0x0204
	CanDownloadAudio      Capability = 0x0205
	CanDownloadVideo      Capability = 0x0206
	CanDownloadAttachment Capability = 0x0207
	CanSendLink           Capability = 0x0208
	CanSendLinkPreview    Capability = 0x0209
	CanFollowLink         Capability = 0x020a
	CanCopyLink           Capability = 0x020b
)

// Metadata capabilities.
//
// draft-ietf-mimi-room-policy-03, Section 8.2
const (
	CanChangeRoomName        Capability = 0x0300
	CanChangeRoomDescription Capability = 0x0301
	CanChangeRoomAvatar      Capability = 0x0302
	CanChangeRoomSubject     Capability = 0x0303
	CanChangeRoomMood        Capability = 0x0304
	CanChangeOwnName         Capability = 0x0380
	CanChangeOwnPresence     Capability = 0x0381
	CanChangeOwnMood         Capability = 0x0382
	CanChangeOwnAvatar       Capability = 0x0383
)

// Disruptive changes. Those the draft only reserves gate the components it assigns no capability to.
//
// draft-ietf-mimi-room-policy-03, Section 8.6
const (
	CanCreateRoom                   Capability = 0x0500
	CanDestroyRoom                  Capability = 0x0501
	CanChangeRoomMembershipStyle    Capability = 0x0502
	CanChangeRoleDefinitions        Capability = 0x0503
	CanChangePreauthorizedUserList  Capability = 0x0504
	CanChangeOtherPolicyAttribute   Capability = 0x0505
	CanChangeMLSOperationalPolicies Capability = 0x0600
	CanSendMLSReinitProposal        Capability = 0x0601
	CanSendMLSUpdate                Capability = 0x0602
	CanSendMLSPSK                   Capability = 0x0603
	CanSendMLSExternalProposal      Capability = 0x0604
	CanSendMLSExternalCommit        Capability = 0x0605
)
