//go:build !js

package interop

import (
	"slices"
	"strings"
)

// The kinds of deviations: what a library does not offer, and what it does differently from the RFC.
const (
	missing = "unsupported"
	known   = "known deviation"
)

// deviation is a flow that is known not to work with a peer. doc.go lists the same for readers.
type deviation struct {
	peer, flow string
	direction  string   // "": both
	suites     []uint16 // nil: all
	kind       string
	match      string // what the error that ends the flow contains; alternatives are separated by |
	section    string // where the rule stands
	what       string
}

// explains reports whether a flow ended as the row says.
func (d *deviation) explains(err error) bool {
	return slices.ContainsFunc(strings.Split(d.match, "|"), func(m string) bool { return strings.Contains(err.Error(), m) })
}

// lookUp returns the row for a flow, or nil.
func lookUp(peer, flow, direction string, suite uint16) *deviation {
	for i, d := range deviations {
		if (d.peer == peer || d.peer == "ours" && strings.HasPrefix(direction, "ours ")) && d.flow == flow && (d.direction == "" || d.direction == direction) &&
			(d.suites == nil || slices.Contains(d.suites, suite)) {
			return &deviations[i]
		}
	}
	return nil
}

var deviations = []deviation{
	{"ours", "Welcome, tree inside", "", nil, missing, "the tree travels beside",
		"Section 12.4.3.3", "ours never puts ratchet_tree into a GroupInfo"},

	{"mls-go", "Welcome, tree beside", "ours → mls-go", nil, missing, "takes no ratchet tree from outside",
		"Section 12.4.3.1", "joins by a Welcome only with ratchet_tree inside the GroupInfo"},
	{"mls-go", "add several", "ours → mls-go", nil, missing, "the tree travels beside",
		"Section 12.4.3.1", "joins by a Welcome only with ratchet_tree inside the GroupInfo"},
	{"mls-go", "commit without path", "mls-go → ours", nil, missing, "a commit without path",
		"Section 12.4", "always makes a path in a group of more than one"},
	{"mls-go", "PrivateMessage handshake", "", nil, known, "unable to locate raw handshake body",
		"Section 6.3.1", "refuses handshakes with padding"},
	{"mls-go", "self-remove", "ours → mls-go", nil, missing, "proposal selfRemove",
		"draft-ietf-mls-extensions, Section 6.3", "does not know SelfRemove"},
	{"mls-go", "self-remove", "mls-go → ours", nil, missing, "does not support a proposal type",
		"draft-ietf-mls-extensions, Section 6.3", "does not know SelfRemove"},

	{"openmls", "external PSKs both ways", "ours → openmls", nil, known, "invalid confirmation tag",
		"Section 8.4", "hashes the PSKs of its commit before those that were proposed, but lists them after"},

	{"mls-rs", "self-remove", "ours → mls-rs", nil, missing, "SelfRemove is 0xF003 here",
		"draft-ietf-mls-extensions, Section 6.3", "has SelfRemove under the private number 0xF003, not 0x000A"},
	{"mls-rs", "self-remove", "mls-rs → ours", nil, missing, "does not support a proposal type",
		"draft-ietf-mls-extensions, Section 6.3", "has SelfRemove under the private number 0xF003, not 0x000A"},

	{"ts-mls", "generated signature key", "ours → ts-mls", []uint16{2, 5, 7}, known, "invalid signature key",
		"Section 5.1.1", "generates ECDSA keys as compressed points"},
	{"ts-mls", "generated signature key", "ts-mls → ours", []uint16{2, 5, 7}, known, "invalid group info signature",
		"Section 5.1.1", "generates ECDSA keys as compressed points"},
	{"ts-mls", "external join", "ours → ts-mls", nil, known, "DeserializeError: Invalid",
		"Section 12.4.3.2", "reads and writes external_pub without the length of its vector"},
	// one key in 256 begins with an octet that is the length of what follows
	{"ts-mls", "external join", "ts-mls → ours", nil, known, "group info lacks external_pub|invalid HPKE key",
		"Section 12.4.3.2", "reads and writes external_pub without the length of its vector"},
	{"ts-mls", "resync", "ours → ts-mls", nil, known, "DeserializeError: Invalid",
		"Section 12.4.3.2", "reads and writes external_pub without the length of its vector"},
	{"ts-mls", "resync", "ts-mls → ours", nil, known, "group info lacks external_pub|invalid HPKE key",
		"Section 12.4.3.2", "reads and writes external_pub without the length of its vector"},
	{"ts-mls", "unmerged leaves", "", nil, known, "must list leaf node in its unmerged_leaves",
		"Section 12.4.3.1", "refuses trees in which a parent has unmerged leaves that another below it has not"},
	{"ts-mls", "update", "ts-mls → ours", nil, missing, "proposal update",
		"Section 12.1.2", "makes no Update proposal"},
	{"ts-mls", "self-remove", "ours → ts-mls", nil, missing, "proposal selfRemove",
		"draft-ietf-mls-extensions, Section 6.3", "does not know SelfRemove"},
	{"ts-mls", "self-remove", "ts-mls → ours", nil, missing, "does not support a proposal type",
		"draft-ietf-mls-extensions, Section 6.3", "does not know SelfRemove"},
}
