// Package content is what people say to each other: the application/mimi-content container of
// draft-ietf-mimi-content-08, and the delivery and read reports of draft-mahy-mimi-message-status-01 inside it.
//
// A [Message] is the container: what it refers to (a reply, an edit, a deletion, a reaction), when it expires, and a
// tree of parts with the words or the media. [Parse] decides everything that can be decided from the octets alone:
// encoding, structure, sizes, counts and depth. [Message.Check] decides what also needs the circumstances: sender,
// room and time. What needs other messages (is this edit by the author of the original, is this a duplicate) is left
// to the caller, with helpers such as [ReplyLoop] and [Message.Edited].
//
// # Encoding
//
// There is one encoding of each message, the deterministic one of RFC 8949, Section 4.2.1, and Parse refuses every
// other. Hence whatever parses encodes to the same octets again. Message IDs are nevertheless computed from the
// octets as received, by [ID].
//
// The CBOR codec is our own, some 300 lines in cbor.go, and not github.com/fxamacker/cbor, which is a good library
// and serves as the oracle in the tests here. It is built on reflection and encoding/json's conventions and added
// 0.2 MB to the compressed WebAssembly program when measured, of a budget of 1.3 MB. And a general decoder accepts
// what this format forbids: unsorted maps, numbers in long form, other NaNs, integers that double precision loses.
//
// # Limits
//
// A message is at most [MaxSize] octets, has at most [MaxParts] parts at most [MaxDepth] levels deep, and a topic of
// at most [MaxTopic] octets. Decoding takes time linear in the input and allocates in proportion to the
// octets present, never to a number it was told. Values of unknown extensions are kept as they came.
package content
