package policy

import (
	"golang.org/x/crypto/cryptobyte"

	"kith/mimi/internal/syntax"
)

// EpochTolerance reads from the data of MLSOperationalPolicy how many epochs an application message may be late. It is
// all that is used of that component, whose syntax the draft leaves open in places: what cannot be read up to there
// means no tolerance, and what follows is not looked at.
//
// draft-ietf-mimi-room-policy-03, Section 7.1: OperationalParameters.
func EpochTolerance(data []byte) uint8 {
	s := cryptobyte.String(data)
	var list []byte
	// three times ExtendedCapabilities, which are ten vectors each, and handshake_formats
	for range 3*10 + 1 {
		if !syntax.ReadVector(&s, &list) {
			return 0
		}
	}
	var tolerance uint8
	// external_proposal_allowed and external_commit_allowed; minimum, default and maximum of LeafNode_update_time
	if !s.Skip(2) || !skipPendingProposalPolicy(&s) || !s.Skip(3*8) || !s.ReadUint8(&tolerance) {
		return 0
	}
	return tolerance
}

// skipPendingProposalPolicy passes over a PendingProposalPolicy. The value of the strategy "extension" is not defined:
// any beyond those that are is taken for it.
func skipPendingProposalPolicy(s *cryptobyte.String) bool {
	var strategy uint8
	if !s.ReadUint8(&strategy) {
		return false
	}
	switch strategy {
	case 0, 1: // unspecified, immediate_commit
		return true
	case 2: // random_delay: minimum_delay_ms, maximum_delay_ms
		return s.Skip(2 * 8)
	}
	return s.Skip(2) // id_of_strategy_params
}
