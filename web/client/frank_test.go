package client_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/mls"
	"kith/mimi/policy"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
	"kith/web/client"
)

// frankOf is the encoded frank at the end of an event, empty if it has none.
func frankOf(t *testing.T, event []byte) []byte {
	t.Helper()
	m, err := wire.UnmarshalFanoutMessage(event)
	must(t, err)
	if m.Frank == nil {
		return nil
	}
	frank, err := m.Frank.Bytes()
	must(t, err)
	return frank
}

// reportable says of each message of others whether it can be reported, in order.
func (a *agent) reportable(room string) (list []bool) {
	for _, m := range a.messages(room) {
		if m.Reportable && (m.Mine || m.Kind != "message") {
			a.t.Errorf("%s can report its own %s", a.user.Name(), m.Kind)
		}
		if !m.Mine && m.Kind == "message" {
			list = append(list, m.Reportable)
		}
	}
	return list
}

// last is the newest message of a room.
func (a *agent) last(room string) client.MessageView {
	list := a.messages(room)
	return list[len(list)-1]
}

// applications are the application messages among the submitted ones, handshakes the rest of what a hub got.
func (h *hub) submitted(t *testing.T) (applications []*mls.Message, handshakes []wire.MLSMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, data := range h.frames {
		f, _, err := api.Next(data)
		must(t, err)
		req, ok := f.(*api.Request)
		if !ok {
			continue
		}
		switch req.Op {
		case api.OpSubmitMessage:
			r, err := wire.UnmarshalSubmitMessageRequest(req.Body)
			must(t, err)
			applications = append(applications, r.AppMessage.Message)
		case api.OpUpdate:
			r, err := wire.UnmarshalUpdateRequest(req.Body)
			must(t, err)
			handshakes = append(append(handshakes, r.ProposalOrCommit), r.MoreProposals...)
		}
	}
	return applications, handshakes
}

// TestFR2OnlyMessagesCarryATag: application messages commit to their content, handshakes have an empty SafeAAD.
func TestFR2OnlyMessagesCarryATag(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		r, err := alice.session.NewGroup(context.Background(), "Club", []string{"bob"})
		must(t, err)
		bob.awaitRoom("Club")
		must(t, alice.session.Rename(context.Background(), r.ID, "Klub"))
		alice.send(r.ID, "one")
		alice.send(r.ID, "one")
		bob.sees(r.ID, "Alice: one", "Alice: one")
		applications, handshakes := h.submitted(t)
		if len(applications) != 2 || len(handshakes) < 2 {
			t.Fatalf("%d messages, %d handshakes", len(applications), len(handshakes))
		}
		var tags [][]byte
		for _, m := range applications {
			aad, err := mls.UnmarshalSafeAAD(m.AuthenticatedData())
			must(t, err)
			tag, ok := aad.Get(policy.FrankAAD)
			if !ok || len(tag) != 32 || len(aad) != 1 {
				t.Errorf("authenticated data %x", m.AuthenticatedData())
			}
			tags = append(tags, tag)
		}
		if bytes.Equal(tags[0], tags[1]) {
			t.Error("the same text has the same tag: it can be guessed")
		}
		for _, m := range handshakes {
			if !bytes.Equal(m.AuthenticatedData(), rooms.EmptyAAD()) {
				t.Errorf("handshake with authenticated data %x", m.AuthenticatedData())
			}
		}
	})
}

// TestFR5WhatDoesNotVerifyIsShownUnfranked has a provider in between change franks.
func TestFR5WhatDoesNotVerifyIsShownUnfranked(t *testing.T) {
	changes := []func(*wire.FanoutMessage){
		func(m *wire.FanoutMessage) {},
		func(m *wire.FanoutMessage) { m.Frank = nil },
		func(m *wire.FanoutMessage) { m.Frank.ServerFrank[0] ^= 1 },
		func(m *wire.FanoutMessage) { m.Frank.FrankingIntegritySignature[0] ^= 1 },
		func(m *wire.FanoutMessage) { m.Frank.FrankingSignatureSuite = 3 },
		func(m *wire.FanoutMessage) { m.Timestamp++ },
	}
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		n := 0
		h.mu.Lock()
		h.tamper = func(e *hubEvent, _ uint64, device mimi.ClientID) [][]byte {
			if user, _ := device.User(); e.kind != rooms.EventMessage || user != bob.user {
				return [][]byte{e.body}
			}
			m, err := wire.UnmarshalFanoutMessage(bytes.Clone(e.body))
			must(t, err)
			changes[n](m)
			n++
			body, err := m.Bytes()
			must(t, err)
			return [][]byte{body}
		}
		h.mu.Unlock()
		var want []string
		for i := range changes {
			text := strings.Repeat("x", i+1)
			alice.send(ab, text)
			want = append(want, "Alice: "+text)
			bob.sees(ab, want...)
		}
		if got := bob.reportable(ab); !slices.Equal(got, []bool{true, false, false, false, false, false}) {
			t.Errorf("can be reported: %v", got)
		}
		alice.reportable(ab) // none of her own
		dropped, err := bob.session.Dropped(context.Background())
		must(t, err)
		if dropped["frank that does not verify"] != 4 {
			t.Errorf("dropped: %v", dropped)
		}
	})
}

// TestFR5AgentOfAnother: what somebody else signs, in a room that names him as its hub's agent, is no frank.
func TestFR5AgentOfAnother(t *testing.T) {
	world(t, func(h *hub) {
		eve, err := mls.GenerateSignatureKey(suite, nil)
		must(t, err)
		h.franker.Agent = eve
		h.franks.FrankingSignatureKey = eve.Public() // the credential is for another key
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		alice.send(ab, "hello")
		bob.sees(ab, "Alice: hello")
		if got := bob.reportable(ab); !slices.Equal(got, []bool{false}) {
			t.Errorf("can be reported: %v", got)
		}
	})
}

func TestFR3HubWithoutFranks(t *testing.T) {
	world(t, func(h *hub) {
		h.franks = nil
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		alice.send(ab, "hello")
		bob.sees(ab, "Alice: hello")
		applications, _ := h.submitted(t)
		if got := bob.reportable(ab); !slices.Equal(got, []bool{false}) || !bytes.Equal(applications[0].AuthenticatedData(), rooms.EmptyAAD()) {
			t.Errorf("can be reported: %v", got)
		}
	})
}

// TestFR6FrankIsKept reports after a restart: what the hub gets is what it distributed, octet by octet (RA-3).
func TestFR6FrankIsKept(t *testing.T) {
	world(t, func(h *hub) {
		alice, bob := h.join("alice"), h.join("bob")
		ab := alice.chat("bob")
		bob.awaitRoom("Alice")
		alice.send(ab, "you fool")
		bob.sees(ab, "Alice: you fool")
		bob.restart()
		bob.until("online", func() bool { return bob.state().Online })
		must(t, bob.session.Report(context.Background(), ab, []string{bob.last(ab).ID}, " she is rude "))
		r := h.onlyReport(t)
		room, err := mimi.ParseRoomID(ab)
		must(t, err)
		m := r.Messages[0]
		framed, err := mls.UnmarshalApplicationFraming(m.MessageContent)
		must(t, err)
		c, err := content.Parse(framed.Content)
		must(t, err)
		if c.Text() != "you fool" || framed.MediaType.Type != "" {
			t.Errorf("reported %q as %q", c.Text(), framed.MediaType.Type)
		}
		sender, _ := c.SenderURI()
		in, _ := c.RoomURI()
		reported := &rooms.Franked{ApplicationData: m.MessageContent, Salt: c.Salt, SenderURI: sender, RoomURI: in,
			Frank: m.Frank, AcceptedTimestamp: m.AcceptedTimestamp}
		if refusal := h.franker.VerifyReported(reported, r.AllegedAbuserURI, room); refusal != nil {
			t.Error(refusal)
		}
	})
}

func (h *hub) onlyReport(t *testing.T) *wire.AbuseReport {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.reports) != 1 {
		t.Fatalf("%d reports", len(h.reports))
	}
	return h.reports[0]
}

func TestRA3ReportIsAboutOnePerson(t *testing.T) {
	world(t, func(h *hub) {
		ctx := context.Background()
		alice, bob, carol := h.join("alice"), h.join("bob"), h.join("carol")
		r, err := alice.session.NewGroup(ctx, "Club", []string{"bob", "carol"})
		must(t, err)
		bob.awaitRoom("Club")
		carol.awaitRoom("Club")
		alice.send(r.ID, "one")
		bob.sees(r.ID, "Alice: one")
		bob.send(r.ID, "two")
		alice.sees(r.ID, "Alice: one", "Bob: two")
		alice.send(r.ID, "three")
		want := []string{"Alice: one", "Bob: two", "Alice: three"}
		for _, a := range []*agent{alice, bob, carol} {
			a.sees(r.ID, want...)
		}
		var ids []string
		for _, m := range carol.messages(r.ID) {
			if m.Kind == "message" {
				ids = append(ids, m.ID)
			}
		}
		for name, tt := range map[string]struct {
			by   *agent
			room string
			ids  []string
			note string
			code string
		}{
			"nothing":        {carol, r.ID, nil, "", client.CodeNotReportable},
			"unknown":        {carol, r.ID, []string{"00"}, "", client.CodeNotReportable},
			"another room":   {carol, "mimi://a.example/r/x", ids[:1], "", client.CodeNotFound},
			"several people": {carol, r.ID, ids, "", client.CodeNotAllowed},
			"oneself":        {alice, r.ID, ids[:1], "", client.CodeNotReportable},
			"too many":       {carol, r.ID, slices.Repeat(ids[:1], 11), "", client.CodeTooLong},
			"a novel":        {carol, r.ID, ids[:1], strings.Repeat("x", client.MaxNote+1), client.CodeTooLong},
		} {
			err := tt.by.session.Report(ctx, tt.room, tt.ids, tt.note)
			var refusal *client.Error
			if !errors.As(err, &refusal) || refusal.Code != tt.code {
				t.Errorf("%s: %v", name, err)
			}
		}
		must(t, carol.session.Report(ctx, r.ID, []string{ids[0], ids[2]}, "Böse\xff"))
		report := h.onlyReport(t)
		if report.AllegedAbuserURI != alice.user || report.ReportingUser != carol.user || report.ReasonCode != 0 ||
			report.Note != "Böse\uFFFD" || len(report.Messages) != 2 {
			t.Errorf("report %+v", report)
		}
		carol.transport.setDown(true)
		carol.until("offline", func() bool { return !carol.state().Online })
		var refusal *client.Error
		if err := carol.session.Report(ctx, r.ID, ids[:1], ""); !errors.As(err, &refusal) || refusal.Code != client.CodeOffline {
			t.Errorf("offline: %v", err)
		}
	})
}
