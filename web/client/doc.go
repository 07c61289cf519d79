// Package client is the user agent of Kith: plain Go without a browser. The browser's worker (web/wasm) gives it a
// Store (IndexedDB) and a Transport (a websocket); tests and tools give it others.
//
// # The life of a message
//
//  1. Session.Send (ops.go) hands the text to the engine's loop, which owns all state. compose (outbox.go) makes the
//     mimi-content, computes the message id, encrypts, and stores in one Commit: the timeline row as "sending", the
//     outbox entry with the ciphertext, and the ratchet without the key it used. Only then the message shows, and
//     only then anything is sent.
//  2. runOutbox sends the room's entries one after the other as SubmitMessage. Without an answer the same octets go
//     out again on the next connection; the hub knows them. If the hub says epochTooOld, the room is drained to that
//     epoch and the same content is encrypted anew: its message id stays, so that nobody can see it twice.
//  3. The hub's answer, or the echo in the stream, whichever is first, moves the row to its final place: the key made
//     of the hub's accepted_timestamp, which is the order everybody sees. The echo is known by its hash, because MLS
//     cannot decrypt what it sent itself.
//  4. At the others, onEvent (events.go) processes the stream one event at a time: decrypt, check who says what about
//     whom, verify the hub's frank (frank.go; without one a message shows, but cannot be reported), and store group
//     state, row and cursor in one Commit. The acknowledgement follows.
//
// # Changes of a room
//
// What people want of a room (a change, commits.go) is stored before it is tried. A commit is staged, stored, sent,
// and merged only when it comes back in the stream, where the hub has put it in order. Whoever loses a race drops the
// staged commit, drains, and stages the same wish upon the new epoch. New rooms are changes too: create, invite, add
// (chats.go). A device that is not in a room where it should be, or whose state fell behind, joins by an external
// commit (join.go), and so does whoever has a join link (links.go).
//
// Nobody commits his own removal: who leaves proposes it, and with the hub's answer it counts (leave.go). Devices that
// were lost are taken out of all rooms by those that are left (devices.go). What a commit has done is told by who wanted
// it, who need not be who committed (notices.go); what people may do is read from the room's roles (membership.go).
//
// # Rooms across providers
//
// A room of another provider looks like one of our own: what is asked of it goes to our provider, which asks its hub
// (hubaway.go: if that cannot be reached, everything waits, for days if need be, and people are told). What differs is
// whom to believe. The identity roots of other providers are pinned when somebody of theirs is met first (roots.go). An
// event that needs a root that is not there is held, with everything behind it in its room, and so is one that has
// overtaken a commit (held.go). Roots that change are shown, and taken only when the user says so.
//
// Proposals of others take effect by a commit of whoever is there: before a message, or after a moment (proposals.go).
//
// # Invariants
//
//   - Nothing is sent before it is stored; each step is one Commit. A failed Commit ends the engine, and the Session
//     starts the next one from the store, so memory that ran ahead is never acted upon.
//   - One goroutine, the loop, owns the state. A flow is a goroutine that alternates between the network and the loop;
//     it never touches state outside do.
//   - What a provider or peer sends is hostile: what cannot be used is dropped with a counted reason, and the timeline
//     goes on. Only a commit that cannot be followed, or has not come in time, leads to a rejoin; so does a room whose
//     state in the store is damaged, which concerns no other.
//   - Errors for people are codes (views.go); the page has the words.
//
// # Limits
//
// The program has to be small: no fmt.Sscanf, and sort.SliceStable instead of slices.SortFunc, which is compiled anew for
// each type. One connection and one engine at a time; a room's messages go out one by one; text only; timelines are read by page
// from the store, records of rooms are kept in memory.
package client
