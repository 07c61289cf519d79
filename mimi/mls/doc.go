// Package mls implements Messaging Layer Security (RFC 9420) and the parts of draft-ietf-mls-extensions that MIMI
// uses: the application data dictionary, AppDataUpdate, AppEphemeral, SelfRemove, safe AAD and media types.
//
// A Group is a member's view of a group, a PublicGroup that of a verifier without secrets, such as a hub. Processing a
// commit verifies it and returns the state of the next epoch without entering it: the caller looks at it and merges
// it, or does not. The package knows no room, user or provider; it asks an Application about credentials and about
// the meaning of component data. It has no clock, no I/O, no goroutine, and takes its randomness from the caller.
//
// What a decoder returns shares the memory of its input. Decoders accept one encoding per value, are linear in their
// input and never allocate more than in proportion to it. No error holds key material.
//
// Limits: cipher suite 0x0001; 2^16 leaves; 1,024 pending proposals and 4,096 in a commit; at most 1,000 generations of a ratchet are skipped and 20 skipped keys
// kept; proposals of unknown type are refused, as their length is unknown.
package mls
