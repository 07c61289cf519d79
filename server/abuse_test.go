package server_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/mls"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/server/servertest"
	"kith/web/api"
)

// written is a content as its sender has it.
type written struct {
	data    []byte // application data
	request []byte // SubmitMessageRequest
}

// write makes a message that says text, with a tag for it.
func (m *member) write(id mimi.RoomID, text string) written {
	m.t.Helper()
	c, err := content.NewText(rand.Reader, m.User, id, text)
	if err != nil {
		m.t.Fatal(err)
	}
	raw, err := c.Bytes()
	if err != nil {
		m.t.Fatal(err)
	}
	data, err := room.FrameContent(raw)
	if err != nil {
		m.t.Fatal(err)
	}
	aad, err := room.MessageAAD(m.Rooms[id].Context(), c.Salt, data)
	if err != nil {
		m.t.Fatal(err)
	}
	return written{data, m.submission(id, aad, data)}
}

// submission encrypts application data under any authenticated data.
func (m *member) submission(id mimi.RoomID, aad, data []byte) []byte {
	m.t.Helper()
	encrypted, err := m.Rooms[id].Encrypt(aad, data)
	if err != nil {
		m.t.Fatal(err)
	}
	message, err := wire.NewMLSMessage(encrypted)
	if err != nil {
		m.t.Fatal(err)
	}
	body, err := (&wire.SubmitMessageRequest{Protocol: wire.ProtocolMLS10, AppMessage: message, SendingURI: m.User}).Bytes()
	if err != nil {
		m.t.Fatal(err)
	}
	return body
}

// submitted is the hub's answer to a message it has to accept.
func (m *member) submitted(id mimi.RoomID, request []byte) *wire.SubmitMessageResponse {
	m.t.Helper()
	body, err := m.c.Call(m.t.Context(), api.OpSubmitMessage, id.String(), request)
	if err != nil {
		m.t.Fatal(err)
	}
	resp, err := wire.UnmarshalSubmitMessageResponse(body)
	if err != nil || resp.StatusCode != wire.SubmitAccepted {
		m.t.Fatal(resp, err)
	}
	return resp
}

// nextMessage is the next application message in the stream, undecrypted.
func (m *member) nextMessage() *wire.FanoutMessage {
	m.t.Helper()
	for {
		e, err := m.c.NextEvent(m.t.Context())
		if err != nil {
			m.t.Fatal(err)
		}
		m.Cursor = e.Cursor
		f, err := wire.UnmarshalFanoutMessage(e.Message)
		if err != nil {
			m.t.Fatal(err)
		}
		if f.Message.WireFormat == mls.WireFormatPrivateMessage {
			return f
		}
	}
}

// evidence is a message as a receiver reports it.
func (m *member) evidence(id mimi.RoomID, text string) wire.AbusiveMessage {
	m.t.Helper()
	w := m.write(id, text)
	resp := m.submitted(id, w.request)
	if resp.Frank == nil {
		m.t.Fatal("not franked")
	}
	return wire.AbusiveMessage{MessageContent: w.data, Frank: *resp.Frank, AcceptedTimestamp: resp.AcceptedTimestamp}
}

// report sends a report and returns the refusal, or nil.
func (m *member) report(id mimi.RoomID, r *wire.AbuseReport) error {
	m.t.Helper()
	body, err := r.Bytes()
	if err != nil {
		m.t.Fatal(err)
	}
	answer, err := m.c.Call(m.t.Context(), api.OpReportAbuse, id.String(), body)
	if len(answer) > 0 {
		m.t.Errorf("answer to a report: %x", answer)
	}
	return err
}

// openReports stops the server and reads what it has stored.
func (p *provider) openReports() (verified, unverified []db.Report) {
	p.t.Helper()
	p.stop()
	store, err := db.Open(p.t.Context(), p.dir, db.Options{Now: p.config.Now})
	if err != nil {
		p.t.Fatal(err)
	}
	err = store.Read(p.t.Context(), func(tx *db.Tx) (err error) {
		if verified, err = tx.OpenReports(true, 100); err != nil {
			return err
		}
		unverified, err = tx.OpenReports(false, 100)
		return err
	})
	if err = errors.Join(err, store.Close()); err != nil {
		p.t.Fatal(err)
	}
	p.start()
	return verified, unverified
}

// TestFR4OneTimestampAndOneFrank: response, event and what the frank is about are the same.
func TestFR4OneTimestampAndOneFrank(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		resp := alice.submitted(id, alice.write(id, "hello").request)
		event := bob.nextMessage()
		if resp.Frank == nil || event.Frank == nil || event.Timestamp != resp.AcceptedTimestamp || event.Frank.ServerFrank != resp.Frank.ServerFrank ||
			!bytes.Equal(event.Frank.FrankingIntegritySignature, resp.Frank.FrankingIntegritySignature) {
			t.Fatalf("response %+v, event %+v", resp, event)
		}
		view, err := bob.View(id)
		if err != nil {
			t.Fatal(err)
		}
		context := wire.ServerFrankingContext{SenderURI: alice.User, RoomURI: id, AcceptedTimestamp: resp.AcceptedTimestamp}
		if err := event.Frank.Verify(view.FrankingAgent().FrankingSignatureKey, context); err != nil {
			t.Error(err)
		}
	})
}

// TestFR3UntaggedMessagesPass: a client that knows no franks can talk.
func TestFR3UntaggedMessagesPass(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		w := alice.write(id, "x")
		for _, aad := range [][]byte{room.EmptyAAD(), {0x05, 0xf0, 0x00, 0x02, 1, 2}} {
			resp := alice.submitted(id, alice.submission(id, aad, w.data))
			if event := bob.nextMessage(); resp.Frank != nil || event.Frank != nil || event.Timestamp != resp.AcceptedTimestamp {
				t.Errorf("authenticated data %x: franked", aad)
			}
		}
		old := p.room("old") // as rooms were before franks
		alice.Agent = nil
		if err := alice.CreateRoom(t.Context(), alice.c, old, "Old", mimi.UserID{}); err != nil {
			t.Fatal(err)
		}
		if resp := alice.submitted(old, alice.write(old, "x").request); resp.Frank != nil {
			t.Error("franked without an agent")
		}
	})
}

// TestFR3ForeignAgentRefused: a room that names another key as this hub's is not made.
func TestFR3ForeignAgentRefused(t *testing.T) {
	inBubble(t, []string{"alice"}, func(t *testing.T, p *provider) {
		alice := p.device("alice")
		own := alice.Agent
		for name, agent := range map[string]*wire.FrankingAgentData{
			"the proposing key": {FrankingSignatureKey: alice.Hub.SignatureKey, Credential: alice.Hub.Credential},
			"a device's key":    {FrankingSignatureKey: alice.Key.Public(), Credential: own.Credential},
		} {
			alice.Agent = agent
			if err := alice.CreateRoom(t.Context(), alice.c, p.room("r1"), "Room", mimi.UserID{}); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		alice.Agent = own
		if err := alice.CreateRoom(t.Context(), alice.c, p.room("r1"), "Room", mimi.UserID{}); err != nil {
			t.Error(err)
		}
	})
}

// TestSM4TheSameFrankAgain repeats a message in its epoch, at the same time, in a later epoch and after a restart.
func TestSM4TheSameFrankAgain(t *testing.T) {
	inBubble(t, []string{"alice", "bob", "carol"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		carol := p.device("carol")
		p.group(id, alice, bob)
		w := alice.write(id, "once")
		first := alice.submitted(id, w.request)
		same := func(when string) {
			t.Helper()
			got := alice.submitted(id, w.request)
			if got.AcceptedTimestamp != first.AcceptedTimestamp || got.Frank == nil || got.Frank.ServerFrank != first.Frank.ServerFrank ||
				!bytes.Equal(got.Frank.FrankingIntegritySignature, first.Frank.FrankingIntegritySignature) {
				t.Errorf("%s: %+v, want %+v", when, got, first)
			}
		}
		same("at once")
		twice := alice.write(id, "twice").request
		r := &api.Request{ID: 900, Op: api.OpSubmitMessage, Target: id.String(), Body: twice}
		again := *r
		again.ID = 901
		if err := alice.c.Send(t.Context(), r, &again); err != nil {
			t.Fatal(err)
		}
		a, err1 := alice.c.Await(t.Context(), 900)
		b, err2 := alice.c.Await(t.Context(), 901)
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) || len(a) < 100 {
			t.Errorf("on their way at once: %x %v, %x %v", a, err1, b, err2)
		}
		alice.nextMessage()
		alice.nextMessage()
		if err := alice.Add(t.Context(), alice.c, id, carol.User); err != nil {
			t.Fatal(err)
		}
		same("in a later epoch")
		p.stop()
		p.start()
		alice.c = p.dial("alice")
		alice.hello()
		same("after a restart")
	})
}

func TestRA1OnlyReceived(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		m := alice.evidence(id, "you fool")
		for name, tt := range map[string]struct {
			room mimi.RoomID
			r    wire.AbuseReport
			want uint16
		}{
			"verified":             {id, wire.AbuseReport{ReportingUser: bob.User, AllegedAbuserURI: alice.User, Messages: []wire.AbusiveMessage{m}}, 0},
			"anonymous":            {id, wire.AbuseReport{AllegedAbuserURI: alice.User, Messages: []wire.AbusiveMessage{m}}, 0},
			"nothing but a note":   {id, wire.AbuseReport{ReportingUser: bob.User, AllegedAbuserURI: alice.User, Note: "bad"}, 0},
			"of another user":      {id, wire.AbuseReport{ReportingUser: bob.User, AllegedAbuserURI: bob.User, Messages: []wire.AbusiveMessage{m}}, 0},
			"in no room":           {p.room("none"), wire.AbuseReport{ReportingUser: bob.User, AllegedAbuserURI: alice.User, Messages: []wire.AbusiveMessage{m}}, 0},
			"in somebody's name":   {id, wire.AbuseReport{ReportingUser: alice.User, AllegedAbuserURI: alice.User}, api.StatusForbidden},
			"with a lot of copies": {id, wire.AbuseReport{ReportingUser: bob.User, AllegedAbuserURI: alice.User, Messages: slices.Repeat([]wire.AbusiveMessage{m}, 21)}, api.StatusBadRequest},
		} {
			err := bob.report(tt.room, &tt.r)
			var refusal *servertest.StatusError
			if tt.want == 0 && err != nil || tt.want != 0 && (!errors.As(err, &refusal) || refusal.Status != tt.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := bob.c.Call(t.Context(), api.OpReportAbuse, id.String(), []byte("rubbish")); err == nil {
			t.Error("rubbish was received")
		}
	})
}

// TestRA2WhatTheHubDistributed: only exactly that is verified, and only that is kept.
func TestRA2WhatTheHubDistributed(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		real := alice.evidence(id, "you fool")
		forged := alice.evidence(id, "you dear")
		forged.MessageContent = bytes.Replace(forged.MessageContent, []byte("you dear"), []byte("you fool"), 1)
		late := alice.evidence(id, "late")
		late.AcceptedTimestamp++
		err := bob.report(id, &wire.AbuseReport{ReportingUser: bob.User, AllegedAbuserURI: alice.User, Note: "rude",
			Messages: []wire.AbusiveMessage{forged, real, late, {MessageContent: []byte("junk"), Frank: real.Frank}}})
		if err != nil {
			t.Fatal(err)
		}
		verified, unverified := p.openReports()
		if len(verified) != 1 || len(unverified) != 0 {
			t.Fatalf("%d verified, %d unverified", len(verified), len(unverified))
		}
		r := verified[0]
		if r.Unverified != 3 || len(r.Messages) != 1 || r.Messages[0].Text != "you fool" || r.Messages[0].Time != int64(real.AcceptedTimestamp) ||
			!bytes.Equal(r.Messages[0].Data, real.MessageContent) || r.Note != "rude" || r.Reporter != bob.User.String() ||
			r.Abuser != alice.User.String() || r.Room != id.String() || r.Provider != testDomain {
			t.Errorf("%+v", r)
		}
		frank, err := wire.UnmarshalFrank(r.Messages[0].Frank)
		if err != nil || frank.ServerFrank != real.Frank.ServerFrank {
			t.Errorf("frank: %v", err)
		}
	})
}

// TestRA4QueuesAreApart: what nothing proves never stands beside what is proved, and brings no text with it.
func TestRA4QueuesAreApart(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id, other := p.device("alice"), p.device("bob"), p.room("r1"), p.room("r2")
		p.group(id, alice, bob)
		if err := bob.CreateRoom(t.Context(), bob.c, other, "Other", mimi.UserID{}); err != nil {
			t.Fatal(err)
		}
		m := alice.evidence(id, "you fool")
		reports := map[mimi.RoomID][]*wire.AbuseReport{
			id: {
				{ReportingUser: bob.User, AllegedAbuserURI: bob.User, Note: "another abuser", Messages: []wire.AbusiveMessage{m}},
				{ReportingUser: bob.User, AllegedAbuserURI: alice.User, Note: "no message"},
				{AllegedAbuserURI: alice.User, Note: "verified", Messages: []wire.AbusiveMessage{m}},
				{AllegedAbuserURI: alice.User, Note: "verified", Messages: []wire.AbusiveMessage{m}}, // sent again
			},
			other: {{ReportingUser: bob.User, AllegedAbuserURI: alice.User, Note: "another room", Messages: []wire.AbusiveMessage{m}}},
		}
		for in, list := range reports {
			for _, r := range list {
				if err := bob.report(in, r); err != nil {
					t.Fatal(err)
				}
			}
		}
		verified, unverified := p.openReports()
		if len(verified) != 1 || verified[0].Note != "verified" || verified[0].Reporter != "" || verified[0].Unverified != 0 {
			t.Errorf("verified: %+v", verified)
		}
		var notes []string
		for _, r := range unverified {
			notes = append(notes, r.Note)
			if len(r.Messages) != 0 {
				t.Errorf("%s: text of what is not verified was kept", r.Note)
			}
		}
		slices.Sort(notes)
		if !slices.Equal(notes, []string{"another abuser", "another room", "no message"}) {
			t.Errorf("unverified: %q", notes)
		}
	})
}

func TestRA1ReportsAreLimited(t *testing.T) {
	inBubble(t, []string{"alice", "bob"}, func(t *testing.T, p *provider) {
		alice, bob, id := p.device("alice"), p.device("bob"), p.room("r1")
		p.group(id, alice, bob)
		send := func(i int) error {
			return bob.report(id, &wire.AbuseReport{AllegedAbuserURI: alice.User, Note: strings.Repeat("x", i)})
		}
		for i := range 10 {
			if err := send(i); err != nil {
				t.Fatal(i, err)
			}
		}
		var refusal *servertest.StatusError
		if err := send(11); !errors.As(err, &refusal) || refusal.Status != api.StatusRateLimited {
			t.Errorf("the eleventh in a row: %v", err)
		}
		if err := alice.report(id, &wire.AbuseReport{AllegedAbuserURI: bob.User}); err != nil {
			t.Errorf("of somebody else: %v", err)
		}
		time.Sleep(6 * time.Minute)
		p.reconnect(bob)
		if err := send(12); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}
