package room_test

import (
	"bytes"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// TestPL4RP2RandomRooms lets users of two providers do whatever comes to their minds, permitted or not, by commits and
// by proposals, while devices join and the hub removes, renews its certificate and restarts. After every step hub and
// members agree about the room, and it is one that may be.
func TestPL4RP2RandomRooms(t *testing.T) {
	did := make(map[string]int)
	seeds := uint64(6)
	if testing.Short() {
		seeds = 3 // one of each kind of room
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			a := newAnarchy(t, seed)
			a.live(80)
			for what, n := range a.did {
				did[what] += n
			}
		})
	}
	t.Log(did)
	for _, want := range []string{"commit", "proposal", "join", "hub", "RP-4", "RP-2", "UP-6"} {
		if did[want] == 0 {
			t.Errorf("never: %s", want)
		}
	}
}

// anarchy is a room where everybody tries everything.
type anarchy struct {
	*world
	r     *rand.Rand
	gone  map[mimi.UserID]bool // accepted to be removed or banned, not committed yet
	codes []room.JoinOffer
	did   map[string]int // what was accepted, and by which rules something was refused
}

func newAnarchy(t *testing.T, seed uint64) *anarchy {
	w := newWorld(t)
	a := &anarchy{world: w, r: rand.New(rand.NewPCG(seed, 11)), gone: make(map[mimi.UserID]bool), did: make(map[string]int)}
	w.remote = true
	alice := w.device("mimi://a.example/u/alice", "1")
	for _, name := range []string{"mimi://a.example/u/alice", "mimi://b.example/u/bob", "mimi://a.example/u/carol", "mimi://b.example/u/dan", "mimi://b.example/u/eve"} {
		for _, label := range []string{"1", "2"} {
			if name != alice.user.String() || label != "1" {
				w.device(name, label)
			}
		}
	}
	spec := w.spec(alice)
	if seed%3 == 1 {
		spec.Template = policy.Moderated
	}
	w.create(alice, spec)
	roles := spec.Template.Roles()
	if seed%3 == 2 {
		roles[0].RoleCapabilities = append(roles[0].RoleCapabilities, policy.CanOpenJoin)
	}
	two, three := uint32(2), uint32(3)
	for i := range roles {
		switch roles[i].RoleIndex {
		case policy.RoleModerator:
			roles[i].MaximumParticipants, roles[i].MaximumActive = &two, &two
		case policy.RoleAdmin:
			roles[i].MinimumActive, roles[i].MaximumParticipants = 1, &three
		}
	}
	w.accept(alice, alice.commit(proposals(t)(room.SetPolicy(alice.view, policy.RolesList, roles))...))
	return a
}

func (a *anarchy) live(steps int) {
	a.t.Helper()
	for range steps {
		a.now = a.now.Add(time.Duration(a.r.IntN(5000)) * time.Millisecond)
		inside := a.members()
		switch x := a.r.IntN(20); {
		case x < 8:
			a.commits(inside[a.r.IntN(len(inside))])
		case x < 12:
			a.proposes(inside[a.r.IntN(len(inside))])
		case x < 16:
			a.joins(a.devices[a.r.IntN(len(a.devices))])
		case x < 18:
			a.hubActs()
		case x < 19:
			a.restart()
		default:
			d := inside[a.r.IntN(len(inside))]
			resp := a.submit(d, d.say("x"))
			if a.gone[d.user] && resp.StatusCode != wire.SubmitNotAllowed {
				a.t.Fatalf("UP-6: %s sends", d.id.Device())
			}
		}
		a.check()
	}
}

// members are the devices in the room.
func (a *anarchy) members() []*device {
	var out []*device
	for _, d := range a.devices {
		if d.group == nil || d.out {
			continue
		}
		if _, ok := a.hub.View().Client(d.id); ok {
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		a.t.Fatal("RP-2: nobody is left, though one admin has to be active")
	}
	return out
}

// wish is something that d might want.
func (a *anarchy) wish(d *device) []mls.Proposal {
	other := a.devices[a.r.IntN(len(a.devices))]
	var list []mls.Proposal
	var err error
	switch a.r.IntN(13) {
	case 0, 1, 2:
		var packages []*mls.KeyPackage
		for _, x := range a.devices {
			if _, in := d.view.Client(x.id); x.user == other.user && !in && a.r.IntN(3) > 0 {
				packages = append(packages, x.kp.KeyPackage)
			}
		}
		list, err = room.AddUserAs(d.view, other.user, 2+uint32(a.r.IntN(3))*uint32(a.r.IntN(2)), packages)
	case 3:
		list, err = room.RemoveUser(d.view, other.user)
	case 4:
		list, err = room.Ban(d.view, other.user)
	case 5:
		list, err = room.Unban(d.view, other.user, uint32(a.r.IntN(2))*policy.RoleMember)
	case 6, 7:
		list, err = room.ChangeRole(d.view, other.user, 2+uint32(a.r.IntN(5)))
	case 8:
		list, err = room.Kick(d.view, other.user)
	case 9:
		list, err = room.RemoveLostDevice(d.view, d.user, other.id)
	case 10:
		var offer room.JoinOffer
		list, offer, _, err = room.CreateJoinLink(d.view, crand.Reader, policy.RoleMember, a.r.IntN(2) == 0, 0)
		a.codes = append(a.codes, offer)
	case 11:
		list, err = room.Rename(d.view, fmt.Sprint(a.r.IntN(100)))
	case 12:
		if links := d.view.JoinLinks(); len(links) > 0 {
			list, err = room.RevokeJoinLink(d.view, links[0])
		}
	}
	if err != nil {
		return nil // not possible in this room
	}
	// a part of it, now and then
	if len(list) > 1 && a.r.IntN(6) == 0 {
		list = list[:len(list)-1]
	}
	return list
}

func (a *anarchy) commits(d *device) {
	a.t.Helper()
	list := a.wish(d)
	d.group.DiscardPending()
	b, err := d.group.Commit(mls.CommitOptions{Proposals: list, AAD: room.EmptyAAD()})
	if err != nil {
		return // such as one that would remove its own leaf
	}
	d.own = must[[]byte](a.t)(b.Commit.Bytes())
	req := must[*wire.UpdateRequest](a.t)(wire.NewCommitRequest(b))
	out := a.update(d, req)
	if out.Next != nil {
		a.did["commit"]++
		for user := range a.gone {
			if a.hub.IsParticipant(user) {
				a.t.Fatal("UP-7: a removal was accepted and is not in the commit")
			}
		}
		clear(a.gone)
		return
	}
	a.did[out.Refusal.Rule]++
	a.everybodyRefuses(d, req, out.Refusal.Rule)
	d.group.DiscardPending()
}

// everybodyRefuses checks that members judge a commit like the hub, as far as it rests on what they see, too.
func (a *anarchy) everybodyRefuses(by *device, req *wire.UpdateRequest, rule string) {
	a.t.Helper()
	seen := []string{"PL", "RP", "MD", "UP-4", "UP-5", "RS"}
	if !slices.ContainsFunc(seen, func(p string) bool { return strings.HasPrefix(rule, p) }) {
		return
	}
	for _, d := range a.members() {
		if d == by {
			continue
		}
		r, err := d.group.Process(must[wire.MLSMessage](a.t)(wire.ParseMLSMessage(req.ProposalOrCommit.Raw)).Message)
		if err != nil {
			a.t.Fatalf("%s: %v", d.id.Device(), err)
		}
		if _, got := room.CheckCommit(d.view, r.Commit, a.hub.LastTimestamp()+1); got == nil || got.Rule != rule {
			a.t.Fatalf("%s: %v, the hub refuses by %s", d.id.Device(), got, rule)
		}
	}
}

func (a *anarchy) proposes(d *device) {
	a.t.Helper()
	list := a.wish(d)
	if a.r.IntN(3) == 0 {
		list = proposals(a.t)(room.Leave(d.view, d.id))
	}
	if len(list) == 0 {
		return
	}
	req, refs, err := room.NewProposalRequest(d.group, list)
	if err != nil {
		return // a second SelfRemove
	}
	out := a.update(d, req)
	if out.Next == nil {
		a.did[out.Refusal.Rule]++
		for _, ref := range refs {
			d.group.ForgetProposal(ref)
		}
		return
	}
	a.did["proposal"]++
	a.noteGone()
}

// noteGone reads from the hub who is not heard any more, although listed.
func (a *anarchy) noteGone() {
	for _, u := range a.hub.View().Users() {
		if a.hub.IsParticipant(u.ID) && !a.hub.MayReceive(u.ID) {
			a.gone[u.ID] = true
		}
	}
}

func (a *anarchy) joins(d *device) {
	a.t.Helper()
	var code []byte
	if len(a.codes) > 0 && a.r.IntN(2) == 0 {
		code = a.codes[a.r.IntN(len(a.codes))].Code
	}
	resp, key := a.askWith(d, code)
	if resp.Status != wire.GroupInfoSuccess {
		a.did["not authorised"]++
		return
	}
	info := must[*wire.GroupInfoRatchetTree](a.t)(room.OpenGroupInfo(a.room, &resp, key))
	g, bundle, err := room.JoinRoomWith(a.config(), d.client, a.room, info, code)
	if err != nil {
		return // a code for which only a proposal is pending
	}
	before := d.group
	d.group, d.own = g, must[[]byte](a.t)(bundle.Commit.Bytes())
	was := d.out
	d.out = false
	out := a.update(d, must[*wire.UpdateRequest](a.t)(wire.NewCommitRequest(bundle)))
	if out.Next == nil {
		a.did[out.Refusal.Rule]++
		d.group, d.out = before, was
		return
	}
	a.did["join"]++
	for user := range a.gone {
		// UP-6: gone, by the SelfRemoves that the commit had to contain, or still silent
		if a.hub.MayReceive(user) {
			a.lapsed(user)
		}
		if !a.hub.IsParticipant(user) || a.hub.MayReceive(user) {
			delete(a.gone, user)
		}
	}
}

// lapsed checks that a removal did not outlive an external commit only because it is not possible any more: it went
// with the promotion of another admin, which is not the hub's to make anew.
func (a *anarchy) lapsed(user mimi.UserID) {
	a.t.Helper()
	out, err := a.hub.Evict(a.ms(), []mimi.UserID{user}, nil)
	if err != nil || out == nil || out.Refusal == nil || out.Refusal.Rule != "RP-2" {
		a.t.Fatalf("NT-10: a removal was forgotten over an external commit: %v %v", out, err)
	}
	a.did["lapsed"]++
}

func (a *anarchy) hubActs() {
	a.t.Helper()
	d := a.devices[a.r.IntN(len(a.devices))]
	var out *room.UpdateOutcome
	var err error
	switch a.r.IntN(4) {
	case 0:
		out, err = a.hub.Evict(a.ms(), []mimi.UserID{d.user}, nil)
	case 1:
		out, err = a.hub.Rotate(a.ms(), mls.ExternalSender{SignatureKey: a.hubKey.Public(),
			Credential: a.authorities["a.example"].issue(a.t, a.hubKey.Public(), a.now, "a.example", "mimi://a.example")})
	default:
		out, err = a.hub.Evict(a.ms(), nil, []mimi.ClientID{d.id})
	}
	if err != nil {
		a.t.Fatal(err)
	}
	if out == nil || out.Next == nil {
		return
	}
	a.did["hub"]++
	a.take(out)
	a.noteGone()
}

// check computes from the GroupContext of the hub, and of every member, what must hold.
func (a *anarchy) check() {
	a.t.Helper()
	state := must[[]byte](a.t)(a.hub.State())
	again, err := room.Restore(a.config(), state, a.hub.LastTimestamp())
	if err != nil || !bytes.Equal(must[[]byte](a.t)(again.State()), state) {
		a.t.Fatalf("state is not restored: %v", err)
	}
	want := a.lawful(a.hub.View())
	for _, d := range a.members() {
		if d.group.Epoch() != a.hub.Epoch() {
			a.t.Fatalf("%s is at epoch %d of %d", d.id.Device(), d.group.Epoch(), a.hub.Epoch())
		}
		if got := a.lawful(must[*room.View](a.t)(room.NewView(d.group.Context(), d.group.Members()))); got != want {
			a.t.Fatalf("%s sees\n%s, the hub\n%s", d.id.Device(), got, want)
		}
	}
}

// lawful checks a view without the help of package policy's own checks, and describes it.
func (a *anarchy) lawful(v *room.View) string {
	a.t.Helper()
	role := make(map[string]uint32)
	var text strings.Builder
	for _, p := range v.Participants() {
		if _, twice := role[p.User]; twice || p.RoleIndex == 0 {
			a.t.Fatalf("PL-1: %s is listed twice, or in role 0", p.User)
		}
		role[p.User] = p.RoleIndex
		fmt.Fprintln(&text, p.User, p.RoleIndex)
	}
	active := make(map[string]bool)
	for _, m := range v.Members() {
		active[m.User.String()] = true
		fmt.Fprintln(&text, m.Leaf, m.Client)
		if role[m.User.String()] == 0 || role[m.User.String()] == policy.RoleBanned {
			a.t.Fatalf("PL-4: client of %s in role %d", m.User, role[m.User.String()])
		}
	}
	listed, present := make(map[uint32]uint32), make(map[uint32]uint32)
	for user, r := range role {
		listed[r]++
		if active[user] {
			present[r]++
		}
	}
	for _, r := range v.State().Roles {
		n, p := listed[r.RoleIndex], present[r.RoleIndex]
		tooMany := r.MaximumParticipants != nil && n > *r.MaximumParticipants || r.MaximumActive != nil && p > *r.MaximumActive
		if r.RoleIndex != 0 && (tooMany || n < r.MinimumParticipants || p < r.MinimumActive) {
			a.t.Fatalf("RP-2: %d in role %d, %d active", n, r.RoleIndex, p)
		}
		delete(listed, r.RoleIndex)
	}
	if len(listed) > 0 {
		a.t.Fatalf("PL-1: roles that do not exist: %v", listed)
	}
	return text.String() + v.Name()
}
