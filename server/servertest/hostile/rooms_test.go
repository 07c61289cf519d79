package hostile_test

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"slices"
	"testing"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/server/servertest"
	"kith/server/servertest/hostile"
)

// events are the events that evil.example has for Mallory's device, as they came.
func (s *siege) events() [][]byte {
	s.t.Helper()
	var list [][]byte
	must(s.t, s.evil.Read(ctx, func(tx *db.Tx) error {
		d, err := tx.DeviceByClient(s.mallory.Client.String())
		if err != nil {
			return err
		}
		page, _, err := tx.Backlog(d.ID, 0, db.Page{Rows: 1000, Bytes: 1 << 30, Window: 1 << 20})
		for _, e := range page {
			list = append(list, e.Body)
		}
		return err
	}))
	return list
}

func (s *siege) lastEvent() []byte {
	s.t.Helper()
	list := s.events()
	return list[len(list)-1]
}

// update sends a handshake of Mallory's and returns the hub's answer.
func (s *siege) update(what string, body []byte) *wire.UpdateRoomResponse {
	s.t.Helper()
	a := s.ask(hostile.Request{Endpoint: "update", Target: s.room.String()}, body)
	resp, err := wire.UnmarshalUpdateRoomResponse(a.Body)
	if a.Status != http.StatusOK || err != nil {
		s.t.Fatalf("%s: %d %.60q", what, a.Status, a.Body)
	}
	return resp
}

// submit sends a message of Mallory's and returns the hub's answer.
func (s *siege) submit(what string, body []byte) *wire.SubmitMessageResponse {
	s.t.Helper()
	a := s.ask(hostile.Request{Endpoint: "submitMessage", Target: s.room.String()}, body)
	resp, err := wire.UnmarshalSubmitMessageResponse(a.Body)
	if a.Status != http.StatusOK || err != nil {
		s.t.Fatalf("%s: %d %.60q", what, a.Status, a.Body)
	}
	return resp
}

// inEpoch rewrites the epoch of an MLSMessage within a body, where it stands behind the group's id.
func (s *siege) inEpoch(body []byte, epoch uint64) []byte {
	s.t.Helper()
	id := s.mallory.Rooms[s.room].Context().GroupID
	i := bytes.Index(body, id)
	if i < 0 {
		s.t.Fatal("no group id in the body")
	}
	out := slices.Clone(body)
	binary.BigEndian.PutUint64(out[i+len(id):], epoch)
	return out
}

// notAllowed demands that the hub refuses changes of Mallory's, and that the room does not change.
func (s *siege) notAllowed(what string, changes ...servertest.Propose) {
	s.t.Helper()
	body, err := s.mallory.Commit(s.room, changes...)
	must(s.t, err)
	defer s.mallory.Rooms[s.room].DiscardPending()
	s.refusedUpdate(what, body)
}

func (s *siege) refusedUpdate(what string, body []byte) {
	s.t.Helper()
	before := s.hub()
	if resp := s.update(what, body); resp.ResponseCode != wire.UpdateNotAllowed || resp.ErrorDescription == "" {
		s.t.Errorf("%s: answer %d %q", what, resp.ResponseCode, resp.ErrorDescription)
	}
	if after := s.hub(); after.Epoch() != before.Epoch() {
		s.t.Errorf("%s: the room went on to epoch %d", what, after.Epoch())
	}
}

func (s *siege) hub() *room.Hub {
	s.t.Helper()
	hub, err := s.a.Hub(ctx, s.room.String())
	must(s.t, err)
	return hub
}

// TestUP3AgainstThePolicy: a plain member changes nothing that is not its own, by commit or by proposal.
func TestUP3AgainstThePolicy(t *testing.T) {
	besiege(t, func(s *siege) {
		alice, bob, mallory := s.alice.Account.User, s.bob.Account.User, s.mallory.User
		for what, change := range map[string]servertest.Propose{
			"remove Alice": func(v *room.View) ([]mls.Proposal, error) { return room.RemoveUser(v, alice) },
			"kick Bob":     func(v *room.View) ([]mls.Proposal, error) { return room.Kick(v, bob) },
			"ban Bob":      func(v *room.View) ([]mls.Proposal, error) { return room.Ban(v, bob) },
			"become admin": func(v *room.View) ([]mls.Proposal, error) { return room.ChangeRole(v, mallory, policy.RoleAdmin) },
			"rename":       func(v *room.View) ([]mls.Proposal, error) { return room.Rename(v, "Mallory's") },
		} {
			s.notAllowed(what, change)
		}
		view, err := s.mallory.View(s.room)
		must(t, err)
		list, err := room.RemoveUser(view, alice)
		must(t, err)
		req, _, err := room.NewProposalRequest(s.mallory.Rooms[s.room], list)
		must(t, err)
		s.refusedUpdate("propose to remove Alice", encode(t, req))
	})
}

// TestUP14ForeignKeyPackages: nobody is added with a KeyPackage that was not handed out for the room.
func TestUP14ForeignKeyPackages(t *testing.T) {
	besiege(t, func(s *siege) {
		second, err := s.evil.Device(ctx, "mallory", s.a, s.b)
		must(t, err)
		defer second.Conn.Close()
		packages, err := second.NewPackages(1)
		must(t, err)
		s.notAllowed("an own device with a package that nobody asked for", func(v *room.View) ([]mls.Proposal, error) {
			return room.AddOwnClients(v, s.mallory.User, packages)
		})
	})
}

// TestCO7ListedWithoutConsent: nobody becomes a participant, and so a room's guest, by a stranger's word alone: neither in
// one commit nor by a proposal that others are to commit. A ban is no invitation.
func TestCO7ListedWithoutConsent(t *testing.T) {
	besiege(t, func(s *siege) {
		list := func(v *room.View) ([]mls.Proposal, error) { return room.AddUser(v, s.dave.Account.User, nil) }
		s.notAllowed("a commit that lists Dave", list)
		v, err := s.mallory.View(s.room)
		must(t, err)
		proposals, err := list(v)
		must(t, err)
		req, refs, err := room.NewProposalRequest(s.mallory.Rooms[s.room], proposals)
		must(t, err)
		s.refusedUpdate("a proposal that lists Dave", encode(t, req))
		for _, ref := range refs {
			s.mallory.Rooms[s.room].ForgetProposal(ref)
		}
		time.Sleep(time.Minute)
		if r := s.dave.Room(ctx, s.room.String()); r.ID != "" {
			t.Error("Dave is in the room")
		}
		must(t, s.alice.Session.AddMembers(ctx, s.room.String(), []string{s.dave.Account.User.String()}))
		s.until("Dave is there, since Alice has added him", func() bool { return s.dave.Room(ctx, s.room.String()).ID != "" })
	})
}

// TestUP6RemovedUser: who was removed can neither commit nor write nor come back.
func TestUP6RemovedUser(t *testing.T) {
	besiege(t, func(s *siege) {
		message, err := s.mallory.Encrypt(s.room, "too late")
		must(t, err)
		commit, err := s.mallory.CommitProposals(s.room, nil)
		must(t, err)
		must(t, s.alice.Session.RemoveMember(ctx, s.room.String(), s.mallory.User.String()))
		epoch := s.hub().Epoch()
		if resp := s.update("a commit of before", commit); resp.ResponseCode == wire.UpdateSuccess {
			t.Errorf("a commit of before: %d", resp.ResponseCode)
		}
		if resp := s.update("a commit made to look new", s.inEpoch(commit, epoch)); resp.ResponseCode == wire.UpdateSuccess {
			t.Errorf("a commit made to look new: %d", resp.ResponseCode)
		}
		for what, body := range map[string][]byte{"a message of before": message, "a message made to look new": s.inEpoch(message, epoch)} {
			if resp := s.submit(what, body); resp.StatusCode != wire.SubmitNotAllowed {
				t.Errorf("%s: %d", what, resp.StatusCode)
			}
		}
		req, key, err := room.NewGroupInfoRequest(s.mallory.Config.Rand, s.mallory.MLS)
		must(t, err)
		a := s.ask(hostile.Request{Endpoint: "groupInfo", Target: s.room.String()}, encode(t, req))
		resp, err := wire.UnmarshalGroupInfoResponse(a.Body)
		if err != nil || a.Status != http.StatusOK || resp.Status != wire.GroupInfoNotAuthorized {
			t.Errorf("the group for who is out: %d %+v %v %v", a.Status, resp, err, key == nil)
		}
		if got := s.hub().Epoch(); got != epoch {
			t.Errorf("the room went on from epoch %d to %d", epoch, got)
		}
	})
}

// TestSM3Epochs: what comes from the future is refused, and nobody is confused by it. UP-2 for commits.
func TestSM3Epochs(t *testing.T) {
	besiege(t, func(s *siege) {
		epoch := s.hub().Epoch()
		body, err := s.mallory.Encrypt(s.room, "from the future")
		must(t, err)
		if resp := s.submit("a message of the next epoch", s.inEpoch(body, epoch+1)); resp.StatusCode != wire.SubmitNotAllowed {
			t.Errorf("a message of the next epoch: %d", resp.StatusCode)
		}
		if resp := s.submit("a message of the last epoch there is", s.inEpoch(body, 1<<64-1)); resp.StatusCode != wire.SubmitNotAllowed {
			t.Errorf("a message of the last epoch there is: %d", resp.StatusCode)
		}
		commit, err := s.mallory.CommitProposals(s.room, nil)
		must(t, err)
		for _, e := range []uint64{epoch + 1, epoch - 1, 1<<64 - 1} {
			if resp := s.update("a commit of another epoch", s.inEpoch(commit, e)); resp.ResponseCode != wire.UpdateWrongEpoch || resp.CurrentEpoch != epoch {
				t.Errorf("a commit of epoch %d: %d, epoch %d", e, resp.ResponseCode, resp.CurrentEpoch)
			}
		}
		s.mallory.Rooms[s.room].DiscardPending()
	})
}

// TestSM4Replays: the same request again has the same answer and no effect, a message cannot be sent again as another
// one, and one that does not decrypt spoils nothing.
func TestSM4Replays(t *testing.T) {
	besiege(t, func(s *siege) {
		body, err := s.mallory.Encrypt(s.room, "once")
		must(t, err)
		first := s.submit("a message", body)
		again := s.submit("the same message", body)
		if first.StatusCode != wire.SubmitAccepted || again.StatusCode != wire.SubmitAccepted || first.AcceptedTimestamp != again.AcceptedTimestamp {
			t.Errorf("accepted %d at %d and %d at %d", first.StatusCode, first.AcceptedTimestamp, again.StatusCode, again.AcceptedTimestamp)
		}
		rubbish := slices.Clone(body)
		rubbish[len(rubbish)-len(s.mallory.User.String())-10] ^= 1 // in the ciphertext
		s.submit("a message that nobody can decrypt", rubbish)
		_, err = s.alice.Session.Send(ctx, s.room.String(), "we go on")
		must(t, err)
		s.until("Bob reads on", func() bool { return slices.Contains(s.texts(s.bob, s.room.String()), "we go on") })
	})
}

// TestEN6EventBeyondAFrame: an event that fits into a request of notify, but into no frame, is of no use to anybody; what
// comes after it reaches the devices all the same.
func TestEN6EventBeyondAFrame(t *testing.T) {
	besiege(t, func(s *siege) {
		id, err := mimi.NewRoomID(s.evil.Domain, "den")
		must(t, err)
		must(t, s.bob.Session.AcceptRequest(ctx, s.mallory.User.String(), ""))
		must(t, s.mallory.CreateRoom(ctx, s.mallory.Conn, id, "den", mimi.UserID{}))
		must(t, s.mallory.Add(ctx, s.mallory.Conn, id, s.bob.Account.User))
		s.until("Bob is in the den", func() bool { return s.bob.Room(ctx, id.String()).ID != "" })

		context := s.mallory.Rooms[id].Context()
		header := binary.BigEndian.AppendUint64(nil, 1)     // a FanoutMessage
		header = append(header, 0, 1, 0, 2)                 // with a PrivateMessage of MLS 1.0
		header = append(header, byte(len(context.GroupID))) // less than 64
		header = append(header, context.GroupID...)         //
		header = binary.BigEndian.AppendUint64(header, context.Epoch)
		header = append(header, 1, 0, 1, 'x') // application data without more in the clear
		ciphertext := 16<<20 - len(header) - 4 - 1
		event := binary.BigEndian.AppendUint32(header, 1<<31|uint32(ciphertext))
		event = append(event, make([]byte, ciphertext+1)...) // and no frank
		s.bob.SetOffline(true)
		a := s.ask(hostile.Request{To: s.b.Domain, Endpoint: "notify", Target: id.String()}, event)
		if a.Status != http.StatusCreated {
			t.Fatalf("a large event: %d %.40q", a.Status, a.Body)
		}
		s.bob.SetOffline(false)
	})
}

// TestNT5ForgedEvents: the hub of a room can tell its followers lies about it, but they harm nobody else, and show
// nothing twice.
func TestNT5ForgedEvents(t *testing.T) {
	besiege(t, func(s *siege) {
		id, err := mimi.NewRoomID(s.evil.Domain, "den")
		must(t, err)
		must(t, s.bob.Session.AcceptRequest(ctx, s.mallory.User.String(), ""))
		must(t, s.mallory.CreateRoom(ctx, s.mallory.Conn, id, "den", mimi.UserID{}))
		must(t, s.mallory.Add(ctx, s.mallory.Conn, id, s.bob.Account.User))
		s.until("Bob is in the den", func() bool { return s.bob.Room(ctx, id.String()).ID != "" })
		_, err = s.mallory.Send(ctx, s.mallory.Conn, id, "not a content")
		must(t, err)
		_, err = s.bob.Session.Send(ctx, id.String(), "hello")
		must(t, err)
		s.until("the den has what Bob wrote", func() bool { return slices.Equal(s.texts(s.bob, id.String()), []string{"hello"}) })

		notify := hostile.Request{To: s.b.Domain, Endpoint: "notify", Target: id.String()}
		created := func(what string, body []byte) {
			t.Helper()
			if a := s.ask(notify, body); a.Status != http.StatusCreated || len(a.Body) > 0 {
				t.Errorf("%s: %d %.40q", what, a.Status, a.Body)
			}
		}
		events := s.events()
		for _, e := range events {
			f, err := wire.UnmarshalFanoutMessage(e)
			must(t, err)
			created("the same event again", e)
			f.Timestamp += 7
			created("the same message as another event", encode(t, f))
		}
		slices.Reverse(events)
		created("all again, backwards", slices.Concat(events...))
		for what, body := range map[string][]byte{"no event": nil, "rubbish": []byte("rubbish"), "half an event": events[0][:len(events[0])/2],
			"an event and rubbish": append(slices.Clone(events[0]), 'x')} {
			s.refused(what, notify, body, http.StatusBadRequest, "bad_request")
		}
		// A Welcome leads into the room only for which its KeyPackages were handed out (KM-8), and who comes in by it is
		// up to it alone.
		notify.Target = "mimi://evil.example/r/unheard-of"
		for _, e := range events {
			created("an event of another room", e)
		}
		time.Sleep(time.Minute)
		if s.bob.Room(ctx, notify.Target).ID != "" {
			t.Error("Bob is in a room for which nobody asked for his KeyPackages")
		}
		if got := s.texts(s.bob, id.String()); !slices.Equal(got, []string{"hello"}) {
			t.Errorf("Bob sees %q in the den", got)
		}
	})
}
