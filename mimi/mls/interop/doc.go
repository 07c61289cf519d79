// Package interop tests mimi/mls against other implementations of MLS. It has no code but tests.
//
// The tests drive our library inside their own process and the peers as processes: mlsgo (github.com/thomas-vilte/mls-go),
// ts (ts-mls) and rust (OpenMLS and mls-rs). Every flow of flows_test.go is run with each peer in both directions and in
// every cipher suite that both have; after each step all members must agree on epoch, members, tree hash, epoch
// authenticator and an exported secret. .ci/run interop runs everything and prints the table.
//
//	INTEROP_PEERS     peers to try, "all" for all of them; without it mls-go in one suite, which needs only Go
//	INTEROP_REQUIRED  peers whose absence is a failure and not a skipped test
//	INTEROP_QUICK     with any value: the first common suite only
//	INTEROP_FLOW      the name of a flow: that one only
//	INTEROP_CACHE     where peers are built; without it the user's cache directory
//
// # Known deviations
//
// What does not work is listed here, with the section of RFC 9420 or of a draft that it is about. The tests assert each
// row: a flow that fails in another way, fails without a row, or works in spite of a row, is a failure.
//
//	ours   | unsupported     | Section 12.4.3.3 | ours never puts ratchet_tree into a GroupInfo
//	mls-go | unsupported     | Section 12.4.3.1 | joins by a Welcome only with ratchet_tree inside the GroupInfo
//	mls-go | unsupported     | Section 12.4 | always makes a path in a group of more than one
//	mls-go | known deviation | Section 6.3.1 | refuses handshakes with padding
//	mls-go | unsupported     | draft-ietf-mls-extensions, Section 6.3 | does not know SelfRemove
//	mls-rs | unsupported     | draft-ietf-mls-extensions, Section 6.3 | has SelfRemove under the private number 0xF003, not 0x000A
//	openmls | known deviation | Section 8.4 | hashes the PSKs of its commit before those that were proposed, but lists them after
//	ts-mls | known deviation | Section 12.4.3.2 | reads and writes external_pub without the length of its vector
//	ts-mls | known deviation | Section 5.1.1 | generates ECDSA keys as compressed points
//	ts-mls | known deviation | Section 12.4.3.1 | refuses trees in which a parent has unmerged leaves that another below it has not
//	ts-mls | unsupported     | Section 12.1.2 | makes no Update proposal
//	ts-mls | unsupported     | draft-ietf-mls-extensions, Section 6.3 | does not know SelfRemove
//
// # Protocol
//
// A peer answers lines of JSON on stdin with lines on stdout, one for one: {"op": …} with {"ok": {…}} or {"error": text}.
// What a library cannot do is the error "unsupported: why". Octet strings are base64, messages are MLSMessages, a tree is
// the body of ratchet_tree. A process is one client in at most one group; the operation client begins anew.
//
//	hello                                       → peer, version, suites, ops
//	client suite, name, encryptHandshake, generatedKey → (basic credential; handshake as PrivateMessage; the signature
//	                                              key in any case from the library's own generator)
//	keyPackage                                  → keyPackage
//	psk id, secret                              → (registers an external PSK)
//	create groupId                              → (a group at epoch 0)
//	join welcome, tree                          → (tree absent: it is in the Welcome's GroupInfo)
//	groupInfo                                   → groupInfo, tree
//	joinExternal groupInfo, tree, removeLeaf    → commit, merged by the joiner; with removeLeaf a resync
//	commit adds, removes, psks, path, aad, treeInWelcome → commit, welcome, tree of the new epoch; pending
//	merge                                       → welcome, tree, where the library makes them only now
//	discard                                     → (forgets the pending commit)
//	propose kind, keyPackage | leaf | id        → message
//	encrypt data, aad                           → message
//	process message                             → kind, data, aad, sender, removed; commits are merged at once
//	state                                       → epoch, treeHash, authenticator, exporter, members, leaf
//
// ops lists join.tree if join takes a tree from outside, and commit.treeInWelcome if commit can put it into the Welcome.
package interop
