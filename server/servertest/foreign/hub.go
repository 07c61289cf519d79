package foreign

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
)

// hosted is a room of its own.
type hosted struct {
	hub    *room.Hub
	queues map[mimi.ProviderID]*queue
}

// queue is what a follower is to get.
type queue struct {
	wake chan struct{}
	list [][]byte
}

func (p *Provider) now() uint64 { return uint64(p.net.Now().UnixMilli()) }

// Found makes a room in which the device is alone. change, if not nil, alters what the room starts with.
func (d *Device) Found(name string, change func(mls.AppDataDictionary) (mls.AppDataDictionary, error)) (mimi.RoomID, error) {
	id, err := mimi.NewRoomID(d.p.Domain, name)
	if err != nil {
		return id, err
	}
	ext, err := room.NewRoomExtensions(room.Spec{Room: id, Name: name, Creator: d.User, Hub: d.p.sender})
	if err != nil {
		return id, err
	}
	if ext, err = d.p.alter(ext, change); err != nil {
		return id, err
	}
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return id, err
	}
	group, err := mimi.NewGroupID(d.p.Domain, random)
	if err != nil {
		return id, err
	}
	g, err := mls.NewGroup(d.config, d.client, []byte(group.String()), ext)
	if err != nil {
		return id, err
	}
	info, err := g.GroupInfo()
	if err != nil {
		return id, err
	}
	tree, err := g.RatchetTree()
	if err != nil {
		return id, err
	}
	hub, err := d.p.open(d.config, info, tree)
	if err != nil {
		return id, err
	}
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	d.Groups[id] = g
	d.p.rooms[id] = &hosted{hub: hub, queues: map[mimi.ProviderID]*queue{}}
	return id, nil
}

// open makes the hub's side of a new room, whatever it starts with: what ours would not take, others may.
func (p *Provider) open(cfg mls.Config, info *mls.GroupInfo, tree mls.RatchetTree) (*room.Hub, error) {
	group, err := mls.NewPublicGroup(cfg, info, tree)
	if err != nil {
		return nil, err
	}
	state, err := group.State()
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder([]byte{2, 0}) // version; not closed
	b.AddValue(p.sender)
	// RFC 9420, Section 2.1.2
	switch n := len(state); {
	case n < 1<<6:
		b.AddUint8(uint8(n))
	case n < 1<<14:
		b.AddUint16(1<<14 | uint16(n))
	default:
		b.AddUint32(1<<31 | uint32(n))
	}
	b.AddBytes(state)
	b.AddUint8(0) // nothing is pending
	data, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return room.Restore(cfg, data, p.now())
}

// alter takes components out of the state of a new room, and lets change do what it likes with it.
func (p *Provider) alter(ext mls.Extensions, change func(mls.AppDataDictionary) (mls.AppDataDictionary, error)) (mls.Extensions, error) {
	dict, err := ext.AppData()
	if err != nil {
		return nil, err
	}
	for _, id := range p.Manners.Strip {
		dict = dict.Remove(id)
	}
	if change != nil {
		if dict, err = change(dict); err != nil {
			return nil, err
		}
	}
	var list mls.ComponentsList
	for _, c := range dict {
		list = append(list, c.ID)
	}
	data, err := list.Bytes()
	if err != nil {
		return nil, err
	}
	return ext.SetAppData(dict.Set(mls.ComponentAppComponents, data))
}

// Unlist is a change for Found: the hub is not in the participant list, and there is no role for it.
func (p *Provider) Unlist(dict mls.AppDataDictionary) (mls.AppDataDictionary, error) {
	data, _ := dict.Get(policy.ParticipantList)
	list, err := policy.UnmarshalParticipants(data)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(x policy.Participant) bool { return x.User == p.Domain.String() })
	if data, err = list.Bytes(); err != nil {
		return nil, err
	}
	dict = dict.Set(policy.ParticipantList, data)
	data, _ = dict.Get(policy.RolesList)
	roles, err := policy.UnmarshalRoles(data)
	if err != nil {
		return nil, err
	}
	roles = slices.DeleteFunc(roles, func(r policy.Role) bool { return r.RoleIndex == policy.RolePolicyEnforcer })
	data, err = roles.Bytes()
	return dict.Set(policy.RolesList, data), err
}

func (p *Provider) hosted(target string) (*hosted, mimi.RoomID, error) {
	id, err := mimi.ParseRoomID(target)
	if err != nil {
		return nil, id, err
	}
	h := p.rooms[id]
	if h == nil {
		return nil, id, errors.New("no such room")
	}
	return h, id, nil
}

// update is the endpoint of that name.
func (p *Provider) update(from mimi.ProviderID, target string, body []byte) ([]byte, error) {
	req, err := wire.UnmarshalUpdateRequest(body)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h, id, err := p.hosted(target)
	if err != nil {
		return nil, err
	}
	before := h.followers()
	out, err := h.hub.Update(p.now(), room.Origin{Provider: from}, req)
	if err != nil {
		return nil, err
	}
	if out.Next != nil {
		h.hub = out.Next
		for _, e := range out.Events {
			if err := p.distribute(h, id, from, before, e); err != nil {
				return nil, err
			}
		}
	}
	return out.Response.Bytes()
}

// submit is the endpoint submitMessage.
func (p *Provider) submit(from mimi.ProviderID, target string, body []byte) ([]byte, error) {
	req, err := wire.UnmarshalSubmitMessageRequest(body)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h, id, err := p.hosted(target)
	if err != nil {
		return nil, err
	}
	resp, accepted, err := h.hub.Submit(p.now(), room.Origin{Provider: from}, req)
	if err != nil {
		return nil, err
	}
	if accepted != nil {
		e := room.Event{Kind: room.EventMessage, Timestamp: resp.AcceptedTimestamp,
			Body: wire.FanoutApplication(resp.AcceptedTimestamp, req.AppMessage, nil)}
		if err := p.distribute(h, id, from, h.followers(), e); err != nil {
			return nil, err
		}
	}
	return resp.Bytes()
}

// groupInfo is the endpoint of that name.
func (p *Provider) groupInfo(target string, body []byte) ([]byte, error) {
	req, err := wire.UnmarshalGroupInfoRequest(body)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h, _, err := p.hosted(target)
	if err != nil {
		return nil, err
	}
	resp, err := h.hub.GroupInfo(p.now(), req, p.hubKey, rand.Reader)
	if err != nil {
		return nil, err
	}
	if p.Manners.Suite != 0 {
		resp.CipherSuite = p.Manners.Suite
	}
	return resp.Bytes()
}

// followers are the other providers with somebody in the room.
func (h *hosted) followers() (list []mimi.ProviderID) {
	for _, m := range h.hub.Members() {
		if d := m.User.Provider(); d != h.hub.Room().Provider() && !slices.Contains(list, d) {
			list = append(list, d)
		}
	}
	return list
}

// distribute gives an event to the own devices and to the queues of those who are to get it.
func (p *Provider) distribute(h *hosted, id mimi.RoomID, from mimi.ProviderID, before []mimi.ProviderID, e room.Event) error {
	f, err := wire.UnmarshalFanoutMessage(e.Body)
	if err != nil {
		return err
	}
	targets := before
	body := e.Body
	switch {
	case e.Kind == room.EventWelcome:
		targets = nil
		for _, s := range f.Message.Welcome.Secrets {
			if d := p.handed[string(s.NewMember)]; !d.IsZero() && d != p.Domain && !slices.Contains(targets, d) {
				targets = append(targets, d)
			}
		}
		if p.Manners.Tree != 0 {
			sent := *f
			sent.RatchetTreeOption = wire.RatchetTreeOption{Representation: p.Manners.Tree}
			if body, err = sent.Bytes(); err != nil {
				return err
			}
		}
	case e.Kind == room.EventCommit && !slices.Contains(before, from) && from != p.Domain && !p.Manners.Silent:
		targets = append(slices.Clone(before), from) // somebody has just come in
	}
	for _, d := range targets {
		if p.Manners.Silent && d == from && e.Kind != room.EventWelcome {
			continue
		}
		p.enqueue(h, id, d, body)
	}
	p.take(id, f)
	return nil
}

func (p *Provider) enqueue(h *hosted, id mimi.RoomID, to mimi.ProviderID, body []byte) {
	q := h.queues[to]
	if q == nil {
		q = &queue{wake: make(chan struct{}, 1)}
		h.queues[to] = q
		go p.deliver(id, to, q)
	}
	q.list = append(q.list, body)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// deliver sends what is in a queue, in order, until the end of the provider.
func (p *Provider) deliver(id mimi.RoomID, to mimi.ProviderID, q *queue) {
	for n := 0; ; {
		select {
		case <-p.ended.Done():
			return
		case <-q.wake:
		}
		if p.Manners.Batch > 0 {
			time.Sleep(p.Manners.Batch)
		}
		for {
			p.mu.Lock()
			list := slices.Clone(q.list)
			p.mu.Unlock()
			if len(list) == 0 || p.ended.Err() != nil {
				break
			}
			if p.Manners.Batch == 0 {
				list = list[:1]
			}
			n++
			if p.Manners.Rebatch && n%2 == 1 { // the answer to this one gets lost; what has come meanwhile goes with it then
				_ = p.post(id, to, list[:1])
				time.Sleep(3 * time.Second)
				p.mu.Lock()
				list = slices.Clone(q.list)
				p.mu.Unlock()
			}
			if !p.post(id, to, list) {
				time.Sleep(time.Second)
				continue
			}
			for range p.Manners.Repeat {
				p.post(id, to, list)
			}
			p.mu.Lock()
			q.list = q.list[len(list):]
			p.mu.Unlock()
		}
	}
}

// post sends events; it reports whether they were taken.
func (p *Provider) post(id mimi.RoomID, to mimi.ProviderID, list [][]byte) bool {
	a, err := p.Post(p.ended, p.peers[to], "notify", id.String(), slices.Concat(list...), nil)
	return err == nil && a.Status == http.StatusCreated
}
