package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"
	"unicode/utf8"

	"kith/db"
	"kith/mimi"
	"kith/mimi/content"
	"kith/mimi/room"
	"kith/mimi/wire"
	"kith/web/api"
)

const (
	maxReported   = 20      // messages in one report
	maxReportNote = 4 << 10 // octets of a note that are kept
)

// How often somebody may report, and how often all of one other provider together.
const (
	reportBurst, reportEvery         = 10, 5 * time.Minute
	peerReportBurst, peerReportEvery = 50, 30 * time.Second
)

// reportLimits are the limits of reports to a hub.
type reportLimits struct{ users, peers *limiter }

func newReportLimits() reportLimits {
	return reportLimits{newLimiter(reportBurst, reportEvery), newLimiter(peerReportBurst, peerReportEvery)}
}

// take spends a report of whoever sends it. A provider may make up the names of its users, but not its own.
func (l *reportLimits) take(from room.Origin, reporter mimi.UserID, now time.Time) bool {
	if from.Client.IsZero() {
		if _, ok := l.peers.take(from.Provider.String(), now); !ok {
			return false
		}
	} else if user, ok := from.Client.User(); ok {
		reporter = user
	}
	_, ok := l.users.take(from.Provider.String()+" "+reporter.String(), now)
	return ok
}

// ReportAbuse implements hub. nil means that the report was received, and nothing else: not whether it was verified, nor
// whether there is such a room (RA-1).
//
// draft-ietf-mimi-protocol-06, Section 5.9
func (h *localHub) ReportAbuse(ctx context.Context, from room.Origin, id mimi.RoomID, body []byte) error {
	report, err := wire.UnmarshalAbuseReport(body)
	if err != nil || len(report.Messages) > maxReported {
		return opBadRequest
	}
	if !isReporter(from, report.ReportingUser) {
		return opNotAllowed
	}
	if !h.reports.take(from, report.ReportingUser, h.now()) {
		return opRateLimited
	}
	r, err := h.rooms.acquire(ctx, id)
	if errors.Is(err, opUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.release()
	r.mu.Lock()
	view := r.hub.View()
	r.mu.Unlock()
	row := h.judge(view, report)
	row.Hash, row.Provider = reportHash(from, id, body), from.Provider.Host()
	if err := h.db.Write(ctx, func(tx *db.Tx) error { return tx.AddReport(row) }); err != nil {
		return err
	}
	h.metrics.reported(len(row.Messages) > 0)
	return nil
}

// isReporter tells whether a report can be that of the user it names; it need not name one (TR-6).
func isReporter(from room.Origin, user mimi.UserID) bool {
	if user.IsZero() {
		return true
	}
	if from.Client.IsZero() {
		return user.Provider() == from.Provider
	}
	own, ok := from.Client.User()
	return ok && own == user
}

// reportHash is by what a report that comes again is known.
func reportHash(from room.Origin, id mimi.RoomID, body []byte) []byte {
	h := sha256.New()
	for _, s := range []string{from.Provider.String(), id.String()} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	h.Write(body)
	return h.Sum(nil)
}

// judge sorts the messages of a report: what this hub distributed is kept as evidence, of anything else only how many
// there were, because anybody can make them up (RA-4).
func (h *localHub) judge(v *room.View, report *wire.AbuseReport) db.Report {
	row := db.Report{At: h.now().UnixMilli(), Room: v.Room().String(), Reporter: report.ReportingUser.String(),
		Abuser: report.AllegedAbuserURI.String(), Reason: int64(report.ReasonCode), Note: clipText(report.Note, maxReportNote)}
	franker := h.authority.Franker()
	for i := range report.Messages {
		m := &report.Messages[i]
		c, err := reportedContent(v, m.MessageContent)
		if err != nil || franker.VerifyReported(frankedOf(c, m), report.AllegedAbuserURI, v.Room()) != nil {
			row.Unverified++
			continue
		}
		frank, err := m.Frank.Bytes()
		if err != nil {
			row.Unverified++
			continue
		}
		row.Messages = append(row.Messages, db.ReportedMessage{Time: int64(m.AcceptedTimestamp), Data: m.MessageContent,
			Frank: frank, Text: c.Text()})
	}
	return row
}

// frankedOf finds in a reported message what its content says about itself.
//
// draft-ietf-mimi-protocol-06, Section 5.9
func frankedOf(c *content.Message, m *wire.AbusiveMessage) *room.Franked {
	f := &room.Franked{ApplicationData: m.MessageContent, Salt: c.Salt, Frank: m.Frank, AcceptedTimestamp: m.AcceptedTimestamp}
	f.SenderURI, _ = c.SenderURI()
	f.RoomURI, _ = c.RoomURI()
	return f
}

// reportedContent reads the content out of application data.
func reportedContent(v *room.View, data []byte) (*content.Message, error) {
	mediaType, raw, err := v.UnframeContent(data)
	if err != nil {
		return nil, err
	}
	if mediaType != content.MediaType {
		return nil, errors.New("server: reported message is no mimi-content")
	}
	return content.Parse(raw)
}

// clipText cuts a text between characters.
func clipText(text string, max int) string {
	if len(text) <= max {
		return text
	}
	for max > 0 && !utf8.RuneStart(text[max]) {
		max--
	}
	return text[:max]
}

// reportAbuse hands a report to the hub of its room. A browser reports for its own user, or for nobody.
func (s *socket) reportAbuse(r *api.Request) error {
	report, err := wire.UnmarshalAbuseReport(r.Body)
	if err != nil {
		return opBadRequest
	}
	if !isReporter(room.From(s.client), report.ReportingUser) {
		return opNotAllowed
	}
	id, h, err := s.m.hubFor(r.Target)
	if err != nil {
		return err
	}
	return h.ReportAbuse(s.context, room.From(s.client), id, r.Body)
}

// ReportAbuse implements hub: only the room's hub can recognise what it distributed (RA-1).
func (h *remoteHub) ReportAbuse(ctx context.Context, _ room.Origin, id mimi.RoomID, body []byte) error {
	_, err := h.ask(ctx, endpointReportAbuse, id, body)
	return err
}

func (m *messenger) peerReportAbuse(ctx context.Context, from mimi.ProviderID, target string, body []byte) ([]byte, error) {
	id, err := m.roomOf(target, true)
	if err != nil {
		return nil, err
	}
	return nil, m.hub.ReportAbuse(ctx, room.Origin{Provider: from}, id, body)
}
