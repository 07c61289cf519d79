package policy

import "errors"

// State is the decoded state of a room in one epoch. It is not changed after NewState.
type State struct {
	Participants Participants
	Metadata     Metadata
	Roles        Roles
	Base         BasePolicy
	Preauth      PreAuth

	// Clients counts the leaves of each user in the group.
	Clients map[string]int

	role      map[string]*Role // of each listed user
	links     []JoinLink       // those of our making
	linkCount int              // all
	get       func(id uint16) ([]byte, bool)
}

// NewState decodes the components of a room. get returns the data of a component; clients holds the user of every
// leaf of the group, so one entry per client.
func NewState(get func(id uint16) ([]byte, bool), clients []string) (*State, error) {
	s := &State{Clients: make(map[string]int), get: get}
	for _, user := range clients {
		s.Clients[user]++
	}
	for _, c := range []struct {
		id       uint16
		required bool
		read     func([]byte) error
	}{
		{ParticipantList, true, func(d []byte) (err error) { s.Participants, err = UnmarshalParticipants(d); return }},
		{RoomMetadata, true, func(d []byte) (err error) { s.Metadata, err = UnmarshalMetadata(d); return }},
		{RolesList, true, func(d []byte) (err error) { s.Roles, err = UnmarshalRoles(d); return }},
		{BaseRoomPolicy, true, func(d []byte) (err error) { s.Base, err = UnmarshalBasePolicy(d); return }},
		{PreauthList, false, func(d []byte) (err error) { s.Preauth, err = UnmarshalPreAuth(d); return }},
		{JoinLinks, false, s.readLinks},
	} {
		data, ok := get(c.id)
		if !ok && !c.required {
			continue
		}
		if !ok {
			return nil, errors.New("policy: component of the room is missing")
		}
		if err := c.read(data); err != nil {
			return nil, err
		}
	}
	s.index()
	return s, nil
}

// readLinks keeps the join links that are of our making.
func (s *State) readLinks(data []byte) error {
	list, err := UnmarshalLinks(data)
	s.linkCount = len(list)
	for _, raw := range list {
		if l, err := UnmarshalJoinLink(raw); err == nil {
			s.links = append(s.links, l)
		}
	}
	return err
}

func (s *State) index() {
	byIndex := make(map[uint32]*Role, len(s.Roles))
	for i := range s.Roles {
		byIndex[s.Roles[i].RoleIndex] = &s.Roles[i]
	}
	s.role = make(map[string]*Role, len(s.Participants))
	for _, p := range s.Participants {
		s.role[p.User] = byIndex[p.RoleIndex]
	}
}

// WithParticipants returns the state with another participant list: what holds once the hub has accepted
// proposals that nobody has committed yet.
//
// draft-ietf-mimi-protocol-06, Section 7.1
func (s *State) WithParticipants(p Participants) *State {
	next := *s
	next.Participants = p
	next.index()
	return &next
}

// RoleOf returns a user's role: role 0 (or nil) for whoever is not listed, nil for a role that does not exist.
func (s *State) RoleOf(user string) *Role {
	if role, ok := s.role[user]; ok {
		return role
	}
	return s.Roles.Get(RoleNone)
}

// IsListed tells whether a user is in the participant list, banned or not.
func (s *State) IsListed(user string) bool {
	_, ok := s.role[user]
	return ok
}

// IsBanned tells whether a user is listed with the banned role.
func (s *State) IsBanned(user string) bool {
	role, ok := s.role[user]
	return ok && role != nil && role.RoleIndex == RoleBanned && s.Roles.hasBan()
}

// Can tells whether a listed user holds a capability.
func (s *State) Can(user string, c Capability) bool {
	return s.role[user].Can(c)
}

// Validate checks what must hold in every epoch, whoever brought it about.
func (s *State) Validate() *Refusal {
	for _, check := range []func() *Refusal{
		func() *Refusal { return s.Roles.validate(s.Base.FixedMembership) },
		s.validatePreauth, s.validateParticipants, s.validateClients, s.validateCounts,
	} {
		if r := check(); r != nil {
			return r
		}
	}
	return nil
}

// validatePreauth: only roles that exist are promised.
//
// draft-ietf-mimi-room-policy-03, Section 4
func (s *State) validatePreauth() *Refusal {
	for i := range s.Preauth {
		if s.Roles.Get(s.Preauth[i].TargetRole.RoleIndex) == nil {
			return refuse("RP-5", "preauthorization for a role that does not exist")
		}
	}
	return nil
}

func (s *State) validateParticipants() *Refusal {
	if s.Participants.validate() != nil {
		return refuse("PL-1", "user listed twice or with role 0")
	}
	for _, p := range s.Participants {
		if s.role[p.User] == nil {
			return refuse("PL-1", "participant in a role that does not exist")
		}
	}
	return nil
}

// validateClients: every leaf belongs to a listed user whose role permits clients.
//
// draft-ietf-mimi-arch-02, Section 4.2
func (s *State) validateClients() *Refusal {
	total := 0
	for user, n := range s.Clients {
		if !s.IsListed(user) {
			return refuse("PL-4", "client of a user who is not listed")
		}
		if !s.role[user].MayBeActive() {
			return refuse("PL-4", "client of a user whose role has none")
		}
		// draft-ietf-mimi-room-policy-03, Section 5
		if !s.Base.MultiDevice && n > 1 {
			return refuse("RP-7", "second client of a user in a room of single devices")
		}
		total += n
	}
	if s.Base.MaxClients != nil && uint64(total) > uint64(*s.Base.MaxClients) {
		return refuse("RP-7", "too many clients")
	}
	return nil
}

// validateCounts: the limits of roles, and max_users over all who are not banned.
//
// draft-ietf-mimi-room-policy-03, Sections 3 and 5
func (s *State) validateCounts() *Refusal {
	listed := make(map[uint32]uint64)
	active := make(map[uint32]uint64)
	users := uint64(0)
	for _, p := range s.Participants {
		listed[p.RoleIndex]++
		if s.Clients[p.User] > 0 {
			active[p.RoleIndex]++
		}
		if !s.IsBanned(p.User) {
			users++
		}
	}
	if s.Base.MaxUsers != nil && users > uint64(*s.Base.MaxUsers) {
		return refuse("RP-7", "too many users")
	}
	for i := range s.Roles {
		role := &s.Roles[i]
		if role.RoleIndex == RoleNone {
			continue
		}
		n, a := listed[role.RoleIndex], active[role.RoleIndex]
		switch {
		case n < uint64(role.MinimumParticipants):
			return refuse("RP-2", "too few participants in a role")
		case role.MaximumParticipants != nil && n > uint64(*role.MaximumParticipants):
			return refuse("RP-2", "too many participants in a role")
		case a < uint64(role.MinimumActive):
			return refuse("RP-2", "too few active participants in a role")
		case role.MaximumActive != nil && a > uint64(*role.MaximumActive):
			return refuse("RP-2", "too many active participants in a role")
		}
	}
	return nil
}
