// Package mls implements Messaging Layer Security (RFC 9420) and draft-ietf-mls-extensions: the application data
// dictionary, AppDataUpdate, AppEphemeral, AppAck, SelfRemove, safe AAD, the safe exporter, media types, wire formats,
// multi-credentials and KeyPackages of last resort. It knows no room, user or provider, has no clock, no I/O and no
// goroutine, and takes its randomness from the caller.
//
// # The parts
//
// A [Client] is one device in groups of one cipher suite: a signature key, a credential, capabilities. A [Group] is a
// member's view of a group, a [PublicGroup] that of a verifier without secrets, such as a hub or delivery service. An
// [Application] is what they ask: whether a credential is good (RFC 9420, Section 5.3.1), and what an update makes of a
// component's data. What an application need not know is an optional interface: [EphemeralApplication],
// [ComponentRemover], [ClientIdentifier]. [Config] carries the application, the time, the randomness and the PSKs.
// What a group asks for beyond MLS, the application checks on what is to come: [StagedCommit.CheckComponents],
// [CheckMultiCredentials].
//
// # An epoch and the next
//
// Nothing enters a new epoch by itself. A commit of others is verified by [Group.Process], which returns a
// [StagedCommit]: the caller looks at its proposals, its members and its application data, and enters it by
// [Group.Merge] or leaves it. A commit of our own is made by [Group.Commit] and stays pending until the delivery service
// has accepted it, [Group.MergePending], or another one for the epoch, whose Merge drops ours. A verifier needs the new
// epoch's GroupInfo, too: [PublicGroup.Merge].
//
// Proposals wait for a commit: [Group.Propose], [Group.ProposeUpdate], [Group.SelfRemove]; from outside
// [ProposeExternal] and [ProposeJoin]. A commit takes all valid ones along and says what it had to drop. Those that wait
// are committed before anything is sent: [Group.ProposalsToCommit], [Config.CommitFirst]. Commits and proposals are
// public, so that a verifier can follow, unless [Config.EncryptHandshakes] says otherwise.
//
// # Ways into a group
//
//   - [NewGroup] makes one.
//   - [JoinWelcome] joins with the KeyPackage that a member has added; [NewKeyPackage] and [NewLastResortKeyPackage] make
//     those.
//   - [JoinExternal] and [JoinExternalWith] join by an external commit, with a GroupInfo.
//   - [Group.Reinitialize] makes the group that follows from a committed ReInit, perhaps of another suite, and
//     [Group.JoinReinitialized] joins it.
//   - [Group.Branch] makes a group of some of the members, and [Group.JoinBranch] joins it.
//
// The ratchet tree travels beside GroupInfo and Welcome; it is verified against them, as is everything in it.
//
// # Secrets for the application
//
// [Group.Export] derives secrets of the epoch by label. [Group.SafeExportSecret] gives each component one, once, after
// which it cannot be derived again; prefer it. [Group.EpochAuthenticator] is for comparing. PSKs enter a commit by
// [NewPSKProposal] and are looked up by [Config.PSK]; [Group.ResumptionPSK] is one to take elsewhere. Components sign and
// encrypt with the keys of MLS by [SignatureKey.SafeSignWithLabel], [SafeEncryptWithLabel] and their counterparts.
//
// # What is stored
//
// [Group.State] changes with epochs and proposals, [Group.RatchetState] with every message; [RestoreGroup] takes both,
// saved together. In a large group the ratchet state is better stored in pieces, of which a message changes few:
// [Group.RatchetChanges], [RestoreGroupFrom]. The caller saves before it sends: a key whose use was not saved would be
// used twice, a pending commit that was not saved could not be followed. [PublicGroup.State] and [RestorePublicGroup] are
// a verifier's. The first octet is a version; older versions are read. Consumed secrets are neither in memory nor in a
// state. Five past epochs are kept to read late messages, and sixteen resumption PSKs.
//
// # Errors
//
// An error that callers branch on has a name: [ErrOwnMessage], [ErrPastEpoch], [ErrFutureEpoch], [ErrWrongGroup],
// [ErrReplayed], [ErrInactive], [ErrPendingCommit], [ErrPendingProposals], [ErrStaleCommit], [ErrUnknownPSK],
// [ErrLinkedWelcome], [ErrExported]. All others say in words which rule was broken; whatever they refuse has changed
// nothing. No error holds key material.
//
// # Cipher suites
//
// Those of RFC 9420 but 0x0004 and 0x0006, as the standard library has no X448. The post-quantum suite 0x004D has no
// registered number; it is what OpenMLS has under that one. It takes [Config.ProvisionalSuites]: without that a group or
// KeyPackage of it is refused like one of an unknown suite. With the build tag mls_suite1 only suite 0x0001 is compiled
// in; the chat client's engine is built like that, to stay small.
//
// # Limits
//
// What a decoder returns shares the memory of its input. Decoders accept one encoding per value, are linear in their
// input and never allocate more than in proportion to it. Bounds: 2^16 leaves; 1,024 pending proposals and 4,096
// in a commit; at most 1,000 generations of a ratchet are skipped and 20 skipped keys kept; proposals of unknown type
// are refused, as their length is unknown. Lifetimes are at most [DefaultMaxLifetime] unless [Config.MaxLifetime] says
// otherwise.
package mls
