package mls

import (
	"bytes"
	"errors"
	"slices"
	"time"
)

// EphemeralApplication is an Application that knows components of AppEphemeral proposals. Without it every
// AppEphemeral proposal is invalid.
type EphemeralApplication interface {
	// CheckEphemeral judges the data of one AppEphemeral proposal.
	CheckEphemeral(id ComponentID, data []byte) error
}

// ComponentRemover is an Application that judges the removal of components. Without it a component that has data
// may be removed.
type ComponentRemover interface {
	// CheckRemoval judges an AppDataUpdate that removes a component with the given data.
	CheckRemoval(id ComponentID, old []byte) error
}

// StagedProposal is a proposal with its sender: for a proposal by value that is the committer.
type StagedProposal struct {
	Proposal Proposal
	Sender   Sender
	// Ref is the reference of a proposal that was sent by itself, nil for one by value.
	Ref ProposalRef
	// verified is set when its signatures and credential were verified on receipt in the same epoch
	verified bool
}

// proposalList is the list of a commit, by type.
type proposalList struct {
	all          []StagedProposal
	extensions   []StagedProposal
	updates      []StagedProposal
	selfRemoves  []StagedProposal
	removes      []StagedProposal
	adds         []StagedProposal
	psks         []StagedProposal
	externalInit []StagedProposal
	reInit       []StagedProposal
	ephemeral    []StagedProposal
	appData      []StagedProposal
	nonDefault   []ProposalType
}

// maxProposals bounds the list of a commit, and with it what a commit can cost.
const maxProposals = 4096

func newProposalList(all []StagedProposal) (*proposalList, error) {
	if len(all) > maxProposals {
		return nil, errors.New("mls: too many proposals in a commit")
	}
	l := &proposalList{all: all}
	bins := map[ProposalType]*[]StagedProposal{
		ProposalAdd:                    &l.adds,
		ProposalUpdate:                 &l.updates,
		ProposalRemove:                 &l.removes,
		ProposalPSK:                    &l.psks,
		ProposalReInit:                 &l.reInit,
		ProposalExternalInit:           &l.externalInit,
		ProposalGroupContextExtensions: &l.extensions,
		ProposalAppDataUpdate:          &l.appData,
		ProposalAppEphemeral:           &l.ephemeral,
		ProposalSelfRemove:             &l.selfRemoves,
	}
	for _, p := range all {
		t := p.Proposal.Type
		bin, ok := bins[t]
		if !ok || !p.Proposal.complete() {
			return nil, errors.New("mls: unknown or incomplete proposal")
		}
		*bin = append(*bin, p)
		if !t.isDefault() && !slices.Contains(l.nonDefault, t) {
			l.nonDefault = append(l.nonDefault, t)
		}
	}
	return l, nil
}

// complete reports whether the field of the proposal's type is set. What was decoded always is; what an application
// made may not be.
func (p *Proposal) complete() bool {
	switch p.Type {
	case ProposalAdd:
		return p.Add != nil
	case ProposalUpdate:
		return p.Update != nil
	case ProposalPSK:
		return p.PSK != nil
	case ProposalReInit:
		return p.ReInit != nil
	case ProposalAppDataUpdate:
		return p.AppDataUpdate != nil
	case ProposalAppEphemeral:
		return p.AppEphemeral != nil
	}
	return true
}

// pathRequired tells whether the commit must have an UpdatePath.
//
// RFC 9420, Section 12.4; draft-ietf-mls-extensions, Sections 4.7, 4.8 and 6.3
func (l *proposalList) pathRequired() bool {
	optional := len(l.adds) + len(l.psks) + len(l.reInit) + len(l.appData) + len(l.ephemeral)
	return len(l.all) == 0 || optional != len(l.all)
}

// checkRegular are the rules for the list of a member's commit that need no tree.
//
// RFC 9420, Section 12.2
func (l *proposalList) checkRegular(committer LeafIndex) error {
	if len(l.externalInit) > 0 {
		return errors.New("mls: ExternalInit in a regular commit")
	}
	if len(l.extensions) > 1 {
		return errors.New("mls: several GroupContextExtensions proposals")
	}
	if len(l.reInit) > 0 && len(l.all) > 1 {
		return errors.New("mls: ReInit with other proposals")
	}
	touched := make(map[LeafIndex]bool)
	touch := func(i LeafIndex) error {
		if touched[i] {
			return errors.New("mls: several proposals for one leaf")
		}
		touched[i] = true
		return nil
	}
	for _, p := range l.updates {
		// an Update by value would be the committer's own
		if p.Ref == nil || p.Sender.Type != SenderMember || p.Sender.Leaf == committer {
			return errors.New("mls: Update of the committer")
		}
		if err := touch(p.Sender.Leaf); err != nil {
			return err
		}
	}
	for _, p := range l.selfRemoves {
		if p.Ref == nil || p.Sender.Type != SenderMember || p.Sender.Leaf == committer {
			return errors.New("mls: SelfRemove of the committer")
		}
		if err := touch(p.Sender.Leaf); err != nil {
			return err
		}
	}
	for _, p := range l.removes {
		if p.Proposal.Remove == committer {
			return errors.New("mls: Remove of the committer")
		}
		if err := touch(p.Proposal.Remove); err != nil {
			return err
		}
	}
	return l.checkPSKs()
}

// checkExternal are the rules for the list of an external commit.
//
// RFC 9420, Section 12.2; draft-ietf-mls-extensions, Sections 4.7, 4.8 and 6.3
func (l *proposalList) checkExternal() error {
	if len(l.externalInit) != 1 || len(l.removes) > 1 {
		return errors.New("mls: invalid proposals in an external commit")
	}
	allowed := len(l.externalInit) + len(l.removes) + len(l.psks) + len(l.appData) + len(l.ephemeral) + len(l.selfRemoves)
	if allowed != len(l.all) {
		return errors.New("mls: invalid proposals in an external commit")
	}
	left := make(map[LeafIndex]bool)
	for _, p := range l.removes {
		left[p.Proposal.Remove] = true
	}
	for _, p := range l.all {
		// RFC 9420, Section 12.4.3.2: nothing by reference; SelfRemove by reference only
		if byRef := p.Ref != nil; byRef != (p.Proposal.Type == ProposalSelfRemove) {
			return errors.New("mls: invalid reference in an external commit")
		}
	}
	for _, p := range l.selfRemoves {
		if p.Sender.Type != SenderMember || left[p.Sender.Leaf] {
			return errors.New("mls: several proposals for one leaf")
		}
		left[p.Sender.Leaf] = true
	}
	return l.checkPSKs()
}

// checkPSKs refuses a PSK that is injected twice.
//
// RFC 9420, Sections 12.1.4 and 12.2
func (l *proposalList) checkPSKs() error {
	seen := make(map[string]bool, len(l.psks))
	for _, p := range l.psks {
		id, err := marshal(p.Proposal.PSK)
		if err != nil {
			return err
		}
		if seen[string(id)] {
			return errors.New("mls: PSK is referenced twice")
		}
		seen[string(id)] = true
	}
	return nil
}

// provisional is the state after a list of proposals, on its way to the next epoch. The state it came from is
// untouched.
type provisional struct {
	old     *publicState
	list    *proposalList
	tree    *ratchetTree
	ext     Extensions
	rules   *groupRules
	sender  Sender
	leaf    LeafIndex   // of the committer in the new tree
	added   []LeafIndex // in the order of the Add proposals
	updated []LeafIndex
	gone    []LeafIndex // removed, in any way
	// predecessor is the leaf that the committer's new one replaces, nil for a joiner
	predecessor *LeafNode
	hasPath     bool
	link        ResumptionPSKUsage // of the PSK that ties a new group to another, 0 in any other commit
}

// applyProposals checks a list and applies it to a copy of the state, for the committer as for everybody else. now
// is for the lifetimes of KeyPackages; zero leaves them out.
//
// RFC 9420, Section 12.3, with the order of draft-ietf-mls-extensions, Sections 4.7, 4.8 and 6.3
func (s *publicState) applyProposals(cfg *Config, all []StagedProposal, sender Sender, now time.Time) (*provisional, error) {
	return s.applyLinked(cfg, all, sender, now, 0)
}

// applyLinked is applyProposals for the first commit of a group that follows another, in which a PSK of the usage link
// is allowed.
func (s *publicState) applyLinked(cfg *Config, all []StagedProposal, sender Sender, now time.Time, link ResumptionPSKUsage) (*provisional, error) {
	list, err := newProposalList(all)
	if err != nil {
		return nil, err
	}
	p := &provisional{old: s, list: list, tree: s.tree.clone(), ext: s.context.Extensions, sender: sender, link: link}
	if sender.Type == SenderMember {
		p.leaf, p.predecessor = sender.Leaf, s.tree.leaf(sender.Leaf)
		err = list.checkRegular(sender.Leaf)
	} else {
		err = list.checkExternal()
	}
	if err != nil {
		return nil, err
	}
	steps := []func(*Config) error{
		p.applyExtensions,
		p.applyUpdates,
		p.applyRemoves,
		func(cfg *Config) error { return p.applyAdds(cfg, now) },
		p.checkOthers,
		p.applyEphemeral,
		p.applyAppData,
		p.placeJoiner,
		p.checkTree,
	}
	for _, step := range steps {
		if err := step(cfg); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// applyExtensions replaces the GroupContext extensions.
//
// RFC 9420, Section 12.1.7
func (p *provisional) applyExtensions(cfg *Config) error {
	for _, x := range p.list.extensions {
		if err := p.old.checkExtensions(cfg, x.Proposal.GroupContextExtensions); err != nil {
			return err
		}
		p.ext = x.Proposal.GroupContextExtensions
	}
	var err error
	p.rules, err = newGroupRules(cfg, p.old.suite, p.old.context.GroupID, p.ext)
	return err
}

// checkExtensions judges the extensions of a GroupContextExtensions proposal by themselves.
func (s *publicState) checkExtensions(cfg *Config, ext Extensions) error {
	old := s.context.Extensions
	required, err := old.requiredCapabilities()
	if err != nil {
		return err
	}
	was, had := old.Get(ExtensionAppDataDictionary)
	is, has := ext.Get(ExtensionAppDataDictionary)
	// draft-ietf-mls-extensions, Section 4.7: the dictionary is left as it was
	if slices.Contains(required.Proposals, ProposalAppDataUpdate) && (had != has || !bytes.Equal(was, is)) {
		return errors.New("mls: GroupContextExtensions changes the application data")
	}
	if err := checkContextExtensions(ext); err != nil {
		return err
	}
	return validateExternalSenders(cfg.Application, old, ext)
}

// checkContextExtensions verifies that the extensions we know are well-formed. A commit that breaks the form
// would lock everybody out.
func checkContextExtensions(ext Extensions) error {
	// RFC 9420, Section 13.4: GroupInfo's and leaves' own extensions have no place in the GroupContext
	for _, t := range []ExtensionType{ExtensionRatchetTree, ExtensionExternalPub} {
		if _, ok := ext.Get(t); ok {
			return errors.New("mls: extension does not belong into the GroupContext")
		}
	}
	if _, err := ext.requiredCapabilities(); err != nil {
		return err
	}
	if _, err := ext.wireFormats(ExtensionRequiredWireFormats); err != nil {
		return err
	}
	_, err := ext.AppData()
	return err
}

// validateExternalSenders asks the application about external senders that are new or changed.
//
// RFC 9420, Section 5.3.1
func validateExternalSenders(app Application, old, ext Extensions) error {
	data, ok := ext.Get(ExtensionExternalSenders)
	was, _ := old.Get(ExtensionExternalSenders)
	if !ok || bytes.Equal(data, was) {
		return nil
	}
	senders, err := UnmarshalExternalSenders(data)
	if err != nil {
		return err
	}
	for _, x := range senders {
		if err := app.ValidateCredential(x.Credential, x.SignatureKey, nil); err != nil {
			return err
		}
	}
	return nil
}

// applyUpdates replaces the leaves of Update proposals.
func (p *provisional) applyUpdates(cfg *Config) error {
	for _, u := range p.list.updates {
		i := u.Sender.Leaf
		check := func() error { return p.old.checkUpdate(cfg, p.rules, i, u.Proposal.Update) }
		if u.verified {
			check = func() error { return p.rules.checkCapabilities(u.Proposal.Update) }
		}
		if err := check(); err != nil {
			return err
		}
		p.tree.updateLeaf(i, u.Proposal.Update)
		p.updated = append(p.updated, i)
	}
	return nil
}

// checkUpdate judges an Update of leaf i.
//
// RFC 9420, Sections 7.3 and 12.1.2
func (s *publicState) checkUpdate(cfg *Config, rules *groupRules, i LeafIndex, l *LeafNode) error {
	old := s.tree.leaf(i)
	if old == nil || l == nil {
		return errors.New("mls: Update of a leaf that is blank")
	}
	if bytes.Equal(old.EncryptionKey, l.EncryptionKey) {
		return errors.New("mls: Update does not change the encryption key")
	}
	if err := rules.checkLeaf(l, LeafNodeSourceUpdate, i, false); err != nil {
		return err
	}
	return validateSuccessor(cfg.Application, l, old)
}

// applyRemoves blanks the leaves of SelfRemove and Remove proposals.
func (p *provisional) applyRemoves(*Config) error {
	for _, r := range p.list.selfRemoves {
		p.gone = append(p.gone, r.Sender.Leaf)
	}
	for _, r := range p.list.removes {
		p.gone = append(p.gone, r.Proposal.Remove)
	}
	for _, i := range p.gone {
		leaf := p.tree.leaf(i)
		if leaf == nil {
			return errors.New("mls: Remove of a leaf that is blank")
		}
		if p.sender.Type == SenderNewMemberCommit && len(p.list.removes) == 1 && i == p.list.removes[0].Proposal.Remove {
			p.predecessor = leaf
		}
		p.tree.blankLeaf(i)
	}
	if len(p.gone) > 0 {
		p.tree.truncate()
	}
	return nil
}

// applyAdds gives each new member its leaf.
func (p *provisional) applyAdds(cfg *Config, now time.Time) error {
	leaves := make([]*LeafNode, 0, len(p.list.adds))
	signed := confirmAdds(cfg, p.old.suite, slices.DeleteFunc(slices.Clone(p.list.adds), func(a StagedProposal) bool { return a.verified }))
	for _, a := range p.list.adds {
		if err := p.checkAdd(cfg, &a, now, signed[&a.Proposal.Add.LeafNode]); err != nil {
			return err
		}
		leaves = append(leaves, &a.Proposal.Add.LeafNode)
	}
	if err := p.checkNew(cfg.Application, leaves); err != nil {
		return err
	}
	var err error
	p.added, err = p.tree.addLeaves(leaves)
	return err
}

// checkAdd judges an Add. What was verified when it came is not verified again: the rules may have changed in the same
// commit, and a committer looks at the time. signed says that the signatures are known to be valid.
func (p *provisional) checkAdd(cfg *Config, a *StagedProposal, now time.Time, signed bool) error {
	k := a.Proposal.Add
	if a.verified {
		if !now.IsZero() && !k.LeafNode.Lifetime.Contains(now) {
			return errLifetime
		}
		return p.rules.checkCapabilities(&k.LeafNode)
	}
	if err := p.rules.checkKeyPackage(k, now, signed); err != nil {
		return err
	}
	// RFC 9420, Section 5.3.1
	return validateCredential(cfg.Application, &k.LeafNode, nil)
}

// checkNew refuses to add a client twice, or one that is a member and stays it. That its keys are new is seen later;
// whether other keys are of the same client only the application can say.
//
// RFC 9420, Section 12.2
func (p *provisional) checkNew(app Application, added []*LeafNode) error {
	if _, ok := app.(ClientIdentifier); !ok || len(added) == 0 {
		return nil
	}
	clients := clientsOf(app, p.tree.leaves())
	for _, l := range added {
		id := clientOf(app, l.Credential)
		if clients[id] {
			return errors.New("mls: client is a member already")
		}
		clients[id] = true
	}
	return nil
}

// checkOthers judges the proposals that change neither tree nor GroupContext.
func (p *provisional) checkOthers(*Config) error {
	for _, x := range p.list.psks {
		if err := checkPSKProposal(p.old.suite, x.Proposal.PSK, p.link); err != nil {
			return err
		}
	}
	for _, x := range p.list.reInit {
		if err := checkReInit(x.Proposal.ReInit); err != nil {
			return err
		}
	}
	return nil
}

// checkPSKProposal judges a PreSharedKey proposal.
//
// RFC 9420, Section 12.1.4: neither reinit nor branch has a place in the proposals of a running group
func checkPSKProposal(s *suite, id *PreSharedKeyID, link ResumptionPSKUsage) error {
	if id.linking() && id.Usage != link {
		return errors.New("mls: PSK of a reinitialization or branch")
	}
	if len(id.Nonce) != s.hashSize {
		return errNonce
	}
	return nil
}

// checkReInit judges a ReInit proposal.
//
// RFC 9420, Section 12.1.5
func checkReInit(r *ReInit) error {
	if r.Version < VersionMLS10 {
		return errors.New("mls: ReInit to an older version")
	}
	return nil
}

// applyEphemeral shows AppEphemeral proposals to the application.
//
// draft-ietf-mls-extensions, Section 4.8
func (p *provisional) applyEphemeral(cfg *Config) error {
	for _, x := range p.list.ephemeral {
		if err := checkEphemeral(cfg.Application, x.Proposal.AppEphemeral); err != nil {
			return err
		}
	}
	return nil
}

func checkEphemeral(app Application, e *AppEphemeral) error {
	known, ok := app.(EphemeralApplication)
	if !ok {
		return errors.New("mls: AppEphemeral for an unknown component")
	}
	return known.CheckEphemeral(e.Component, e.Data)
}

// applyAppData applies the AppDataUpdate proposals, component by component.
//
// draft-ietf-mls-extensions, Section 4.7
func (p *provisional) applyAppData(cfg *Config) error {
	if len(p.list.appData) == 0 {
		return nil
	}
	dict, err := p.ext.AppData()
	if err != nil {
		return err
	}
	var order []ComponentID
	updates := make(map[ComponentID][]*AppDataUpdate)
	for _, x := range p.list.appData {
		u := x.Proposal.AppDataUpdate
		if updates[u.Component] == nil {
			order = append(order, u.Component)
		}
		updates[u.Component] = append(updates[u.Component], u)
	}
	changes := make(map[ComponentID]*ComponentData, len(order))
	for _, id := range order {
		if changes[id], err = updateComponent(cfg.Application, dict, id, updates[id]); err != nil {
			return err
		}
	}
	if p.ext, err = p.ext.SetAppData(dict.merge(changes)); err != nil {
		return err
	}
	p.rules, err = newGroupRules(cfg, p.old.suite, p.old.context.GroupID, p.ext)
	return err
}

// updateComponent applies the proposals for one component: a single remove, which gives nil, or updates in their order.
func updateComponent(app Application, dict AppDataDictionary, id ComponentID, list []*AppDataUpdate) (*ComponentData, error) {
	old, has := dict.Get(id)
	var updates [][]byte
	for _, u := range list {
		if u.Remove && (len(list) > 1 || !has) {
			return nil, errors.New("mls: invalid removal of application data")
		}
		updates = append(updates, u.Update)
	}
	if list[0].Remove {
		if judge, ok := app.(ComponentRemover); ok {
			if err := judge.CheckRemoval(id, old); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	data, err := app.UpdateComponent(id, old, updates)
	if err != nil {
		return nil, err
	}
	return &ComponentData{ID: id, Data: data}, nil
}

// placeJoiner gives the sender of an external commit its leaf, which stays blank until the path is merged.
//
// RFC 9420, Section 12.4.2
func (p *provisional) placeJoiner(*Config) error {
	if p.sender.Type == SenderMember {
		return nil
	}
	var err error
	p.leaf, err = p.tree.freeLeaf()
	return err
}

// checkTree verifies what the proposals made of the tree.
//
// RFC 9420, Section 12.2: after processing the commit the tree is valid
func (p *provisional) checkTree(*Config) error {
	changed := slices.Concat(p.updated, p.added)
	if len(changed) > 0 {
		var keys newKeys
		for _, i := range changed {
			if err := keys.addLeaf(i, p.tree.leaf(i)); err != nil {
				return err
			}
		}
		if err := p.tree.checkUnique(&keys); err != nil {
			return err
		}
		if err := p.tree.checkCredentialTypes(changed); err != nil {
			return err
		}
	}
	if len(p.list.extensions)+len(p.list.appData) > 0 && !slices.Equal(p.ext.types(), p.old.context.Extensions.types()) || len(p.list.extensions) > 0 {
		for _, l := range p.tree.members {
			if err := p.rules.checkCapabilities(l); err != nil {
				return err
			}
		}
	}
	return p.tree.checkProposalTypes(p.list.nonDefault, p.added)
}
