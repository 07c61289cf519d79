// Package mimi holds the identifiers of More Instant Messaging Interoperability: mimi: URIs as typed, comparable
// values.
//
// An identifier is parsed once, where it enters the program, and from there on is a [ProviderID], [UserID],
// [ClientID], [RoomID] or [GroupID] and no longer a string. Only the canonical spelling is accepted: identifiers
// feed hashes, signatures and encryption contexts on both sides of a federation, so two spellings of one name would
// be two names. Consequently two identifiers are the same exactly if they are equal under ==, and String gives back
// the octets that were parsed. The zero value of each type means "none"; it is never the result of a parse.
//
// The packages below this one, each of which follows one document:
//
//   - mls: Messaging Layer Security, RFC 9420 with draft-ietf-mls-extensions. Knows no room, user or URI.
//   - mls/interop: tests of mls against other implementations; no code.
//   - content: draft-ietf-mimi-content-08, what is inside a message, and draft-mahy-mimi-message-status-01.
//   - identity: the certificates that tie an MLS signature key to a client and a user.
//   - policy: draft-ietf-mimi-room-policy-03, roles, capabilities and the other components of a room's state.
//   - wire: the request and response bodies of draft-ietf-mimi-protocol-06.
//   - room: what a hub and its followers decide about a room.
//   - internal/hpke: HPKE with the algorithms of suite 0x0001 alone, for the chat client.
//   - internal/syntax: the TLS presentation language, as RFC 9420 uses it.
//   - internal/vectors: finds published test vectors; for tests only.
//
// All of them are pure: no input or output, no clock, no goroutine, no logger, no state outside their values. The
// time and the source of randomness are parameters. The same code runs in the server and, as WebAssembly, in the
// browser.
package mimi
