package client

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"kith/mimi/mls"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// How a room works can be changed as long as it is there: by those who may change its roles, and its other policies.

// rulesByName are the rules of roles by what the page calls them.
var rulesByName = [...]string{policy.RuleWrite: "write", policy.RuleInvite: "invite", policy.RuleLinks: "links"}

// ruleExpire is how long messages stay, as the page calls it.
const ruleExpire = "expire"

// maxExpiry is the longest time, in seconds, after which our rooms have messages vanish.
const maxExpiry = 365 * 24 * 3600

// setRule turns a rule on and off: n is 0 or 1, or for how many seconds messages stay, 0 for ever.
func (e *engine) setRule(ctx context.Context, id, rule string, n int) error {
	c := change{kind: changeRule, name: rule + " " + strconv.Itoa(n)}
	if _, _, ok := parseRule(c.name); !ok {
		return fail(CodeNotAllowed, "no such rule")
	}
	return e.requestIf(ctx, id, c, func(v *rooms.View) bool { return e.mayRule(v, rule) })
}

// mayRule: who changes a rule may change what it is made of.
//
// draft-ietf-mimi-room-policy-03, Sections 8.6 and 8.7
func (e *engine) mayRule(v *rooms.View, rule string) bool {
	if rule == ruleExpire {
		return v.Can(e.user, policy.CanChangeOtherPolicyAttribute)
	}
	return !v.State().Base.FixedMembership && v.Can(e.user, policy.CanChangeRoleDefinitions)
}

// parseRule reads the name of a change of rules. index is that of policy, or len(rulesByName) for the time of messages.
func parseRule(name string) (index, n int, ok bool) {
	rule, number, _ := strings.Cut(name, " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return 0, 0, false
	}
	if rule == ruleExpire {
		return len(rulesByName), n, n <= maxExpiry
	}
	for i, known := range rulesByName {
		if known == rule {
			return i, n, n <= 1
		}
	}
	return 0, 0, false
}

// ruleProposals are what is missing for a rule to be in force, or to be so no more.
func ruleProposals(v *rooms.View, name string) ([]mls.Proposal, error) {
	index, n, ok := parseRule(name)
	switch {
	case !ok:
		return nil, fail(CodeNotAllowed, "no such rule")
	case index == len(rulesByName):
		return expiryProposals(v, uint32(n))
	}
	rule, on := policy.Rule(index), n == 1
	if v.State().Roles.Holds(rule) == on {
		return nil, nil
	}
	return rooms.SetPolicy(v, policy.RolesList, v.State().Roles.With(rule, on))
}

// expiryProposals make messages vanish after so many seconds, where their writers say nothing else.
//
// draft-ietf-mimi-room-policy-03, Section 6.8
func expiryProposals(v *rooms.View, seconds uint32) ([]mls.Proposal, error) {
	if expiry(v) == seconds {
		return nil, nil
	}
	p := policy.Expiration{ExpiringMessages: policy.Optional, MaxDuration: math.MaxUint32} // as in a new room
	if seconds > 0 {
		p = policy.Expiration{ExpiringMessages: policy.Required, MinDuration: seconds, MaxDuration: seconds, DefaultDuration: &seconds}
	}
	return rooms.SetPolicy(v, policy.MessageExpiration, p)
}

// expiry is after how many seconds what is written into the room vanishes, 0 for never: the room's default, or the
// longest that it allows where it demands some end.
//
// draft-ietf-mimi-room-policy-03, Section 6.8
func expiry(v *rooms.View) uint32 {
	p, ok := v.State().Expiration()
	switch {
	case !ok || p.ExpiringMessages == policy.Forbidden:
		return 0
	case p.DefaultDuration != nil && p.Allows(*p.DefaultDuration):
		return *p.DefaultDuration
	case p.ExpiringMessages == policy.Required:
		return p.MaxDuration
	}
	return 0
}

// ruleDetails adds the rules of a room, and which of them this user may change.
func (e *engine) ruleDetails(v *rooms.View, d *DetailsView) {
	roles := v.State().Roles
	d.Rules = RulesView{
		Write: roles.Holds(policy.RuleWrite), Invite: roles.Holds(policy.RuleInvite), Links: roles.Holds(policy.RuleLinks),
		Expire: int(expiry(v)), CanChange: e.mayRule(v, ""), CanExpire: e.mayRule(v, ruleExpire),
	}
	// draft-ietf-mimi-room-policy-03, Section 6.5
	log, _ := v.State().Logging()
	d.Logged = log.Active()
	// There is no way to ask another provider for that.
	d.CanClose = d.HostOurs && v.Can(e.user, policy.CanDestroyRoom)
}

// closeRoom closes a room for everybody and for good. MLS knows nothing of it: the hub distributes no more.
//
// draft-ietf-mimi-room-policy-03, Section 8.6: canDestroyRoom
func (e *engine) closeRoom(ctx context.Context, id string) error {
	err := e.do(ctx, func() error {
		r, v, err := e.look(id)
		if err == nil && (r.id.Provider() != e.user.Provider() || !v.Can(e.user, policy.CanDestroyRoom)) {
			err = fail(CodeNotAllowed, "not allowed in this room")
		}
		return err
	})
	if err == nil {
		_, err = e.call(ctx, api.OpDestroyRoom, id, nil)
	}
	if err != nil {
		return err
	}
	return e.do(ctx, func() error { return e.closed(id, e.user.String()) })
}

// closed ends a room that its hub has closed. Who did it is known to himself only.
func (e *engine) closed(id, by string) error {
	r, err := e.find(id)
	if err != nil || r.rec.removed || r.rec.order == 0 {
		return nil
	}
	b := new(batch)
	r.rec.broken = false
	e.depart(b, r, max(e.nowMS(), uint64(r.rec.lastTime)+1), &message{notice: NoticeClosed, sender: by})
	return e.commit(b)
}

// suspectClosed asks the hub of a room whether it is still there, after it has refused what it should not have: there is
// no message that says so.
func (e *engine) suspectClosed(r *room) {
	if r.asking || r.rec.removed || r.rec.order == 0 || e.link == nil {
		return
	}
	r.asking = true
	l := e.link
	e.spawn(func(ctx context.Context) {
		gone := e.isClosed(ctx, l, r)
		_ = e.do(ctx, func() error {
			r.asking = false
			if !gone {
				return nil
			}
			return e.closed(r.id.String(), "")
		})
	})
}

// isClosed asks for the group as if to join. That there is no such room is told to those only who were in it.
//
// draft-ietf-mimi-protocol-06, Section 5.6
func (e *engine) isClosed(ctx context.Context, l *link, r *room) bool {
	var body []byte
	err := e.do(ctx, func() error {
		c, err := e.mlsClient()
		if err != nil {
			return err
		}
		req, _, err := rooms.NewJoinRequest(e.cfg.Rand, c, nil)
		if err == nil {
			body, err = req.Bytes()
		}
		return err
	})
	if err == nil {
		body, err = e.callHub(ctx, l, api.OpGroupInfo, r, body)
	}
	return err == nil && noSuchRoom(body)
}

func noSuchRoom(body []byte) bool {
	resp, err := wire.UnmarshalGroupInfoResponse(body)
	return err == nil && resp.Status == wire.GroupInfoNoSuchRoom
}

// missed looks after rooms of our provider that it does not name among ours any more.
func (e *engine) missed(list []string) {
	for _, r := range e.rooms {
		if r.id.Provider() == e.user.Provider() && r.usable() && r.change == nil && !slices.Contains(list, r.id.String()) {
			e.suspectClosed(r)
		}
	}
}
