package client

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/mls"
	rooms "kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

// MaxNote is the longest note of a report, in octets of UTF-8; maxReported how many messages one report carries.
const (
	MaxNote     = 1000
	maxReported = 10
)

// parseAgent reads what our provider says about its franking agent; nil if it says nothing.
func parseAgent(data []byte) (*wire.FrankingAgentData, error) {
	if len(data) == 0 {
		return nil, nil
	}
	return wire.UnmarshalFrankingAgentData(data)
}

// commitment is the authenticated data of a message: the sender cannot deny later what the data says. The content
// names its sender and room, as all of ours do (FR-1).
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.1
func commitment(g *mls.Group, raw, applicationData []byte) ([]byte, error) {
	m, err := content.Parse(raw)
	if err != nil {
		return nil, err
	}
	return rooms.MessageAAD(g.Context(), m.Salt, applicationData)
}

// keepFrank keeps the frank of a message with its row, if it proves what it should. Otherwise the message is as good as
// others, but cannot be reported.
//
// draft-ietf-mimi-protocol-06, Section 5.4.1.3
func (e *engine) keepFrank(r *room, v *rooms.View, row *message, f *wire.FanoutMessage, applicationData []byte, m *content.Message) {
	framing, ok := bytes.CutSuffix(applicationData, row.content)
	sender, err := mimi.ParseUserID(row.sender)
	if f.Frank == nil || !ok || err != nil || !e.trustsAgent(r, v) {
		return
	}
	franked := &rooms.Franked{ApplicationData: applicationData, Salt: m.Salt, Frank: *f.Frank, AcceptedTimestamp: f.Timestamp}
	franked.SenderURI, _ = m.SenderURI()
	franked.RoomURI, _ = m.RoomURI()
	if v.VerifyFrank(franked, sender, f.Message.AuthenticatedData()) != nil {
		e.drop(dropFrank)
		return
	}
	if frank, err := f.Frank.Bytes(); err == nil {
		row.frank, row.framing = frank, framing
	}
}

// trustsAgent reports whether the room's franking agent is its hub, and remembers that it is.
func (e *engine) trustsAgent(r *room, v *rooms.View) bool {
	agent := v.FrankingAgent()
	if agent == nil {
		return false
	}
	data, err := agent.Bytes()
	if err != nil {
		return false
	}
	if bytes.Equal(data, r.agent) {
		return true
	}
	if rooms.CheckAgent(e.application(), v) != nil {
		return false
	}
	r.agent = data
	return true
}

// report sends messages to the hub of their room with what proves that it distributed them. There is no answer but that
// it was received.
//
// draft-ietf-mimi-protocol-06, Section 5.9
func (e *engine) report(ctx context.Context, id string, ids []string, note string) error {
	note = strings.ToValidUTF8(strings.TrimSpace(note), "\uFFFD")
	switch {
	case len(note) > MaxNote || len(ids) > maxReported:
		return fail(CodeTooLong, "note too long, or too many messages")
	case len(ids) == 0:
		return fail(CodeNotReportable, "no message to report")
	}
	var body []byte
	err := e.do(ctx, func() error {
		r, err := e.find(id)
		if err != nil {
			return err
		}
		report := &wire.AbuseReport{ReportingUser: e.user, Note: note}
		for _, mid := range ids {
			if err := e.addReported(r, report, mid); err != nil {
				return err
			}
		}
		body, err = report.Bytes()
		return err
	})
	if err != nil {
		return err
	}
	_, err = e.call(ctx, api.OpReportAbuse, id, body)
	return err
}

// addReported adds one message to a report, which is about one person. The hub gets the exact application data.
func (e *engine) addReported(r *room, report *wire.AbuseReport, id string) error {
	m, err := e.row(r, id)
	if err != nil {
		return err
	}
	if m == nil || len(m.frank) == 0 || m.sender == e.user.String() {
		return fail(CodeNotReportable, "no message that can be reported")
	}
	sender, err := mimi.ParseUserID(m.sender)
	if err != nil {
		return err
	}
	if !report.AllegedAbuserURI.IsZero() && report.AllegedAbuserURI != sender {
		return fail(CodeNotAllowed, "messages of several people")
	}
	frank, err := wire.UnmarshalFrank(m.frank)
	if err != nil {
		return err
	}
	report.AllegedAbuserURI = sender
	report.Messages = append(report.Messages, wire.AbusiveMessage{
		MessageContent: slices.Concat(m.framing, m.content), Frank: *frank, AcceptedTimestamp: uint64(m.time)})
	return nil
}
