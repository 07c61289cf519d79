package content

import (
	"errors"
	"io"
	"math"

	"kith/mimi"
)

// MediaTypeStatus is the media type of a status report.
const MediaTypeStatus = "application/mimi-message-status"

// A Status is what became of a message at one receiver. Values that are not named here are kept.
type Status uint8

// The values of draft-mahy-mimi-message-status-01, Section 3.
const (
	StatusUnread    Status = 0
	StatusDelivered Status = 1
	StatusRead      Status = 2
	StatusExpired   Status = 3
	StatusDeleted   Status = 4
	StatusHidden    Status = 5
	StatusError     Status = 6
)

// Follows reports whether a later report of s makes sense after old. One that does not is to be ignored.
func (s Status) Follows(old Status) bool {
	// draft-mahy-mimi-message-status-01, Section 3
	if s == old {
		return true
	}
	switch old {
	case StatusDeleted:
		return false
	case StatusExpired:
		return s == StatusDeleted
	}
	switch s {
	case StatusDelivered:
		// It is the first thing to happen, unless reception had failed.
		return old == StatusError || old > StatusError
	case StatusError:
		return old == StatusDelivered || old > StatusError
	}
	return true
}

// A MessageStatus is the status of one message.
type MessageStatus struct {
	ID     MessageID
	Status Status
}

// A StatusReport is the status of messages of one room at the sender of the report. A later entry or report
// supersedes an earlier one.
type StatusReport []MessageStatus

// entrySize is the length of the shortest encoding of an entry.
const entrySize = 1 + 2 + 32 + 1

var errReport = errors.New("content: status report without entries")

// ParseStatusReport reads a status report.
func ParseStatusReport(raw []byte) (StatusReport, error) {
	r := reader{raw}
	n, err := r.array()
	if err != nil {
		return nil, err
	}
	if n > len(r.rest)/entrySize {
		return nil, errTruncated
	}
	report := make(StatusReport, n)
	for i := range report {
		if report[i], err = r.messageStatus(); err != nil {
			return nil, err
		}
	}
	return report, r.end()
}

func (r *reader) messageStatus() (s MessageStatus, err error) {
	if err = r.fixedArray(2); err != nil {
		return s, err
	}
	id, err := r.messageID()
	if err != nil {
		return s, err
	}
	if id == nil {
		return s, errType
	}
	status, err := r.uint(math.MaxUint8)
	return MessageStatus{*id, Status(status)}, err
}

// Bytes encodes the report.
func (s StatusReport) Bytes() []byte {
	// draft-mahy-mimi-message-status-01, Section 4
	b := appendHead(nil, majorArray, uint64(len(s)))
	for _, e := range s {
		b = appendHead(b, majorArray, 2)
		b = appendBytes(b, e.ID[:])
		b = appendUint(b, uint64(e.Status))
	}
	return b
}

// NewStatus returns a message that carries a report. No report is made on such a message.
func NewStatus(rand io.Reader, sender mimi.UserID, room mimi.RoomID, report StatusReport) (*Message, error) {
	if len(report) == 0 {
		return nil, errReport
	}
	body := SinglePart{ContentType: MediaTypeStatus, Content: report.Bytes()}
	return New(rand, sender, room, Part{Disposition: Unspecified, Body: body})
}

// StatusReport returns the report in a message of [KindStatus]. It is false if the message is something else or the
// report is malformed.
func (m *Message) StatusReport() (StatusReport, bool) {
	if m.Kind() != KindStatus {
		return nil, false
	}
	body, _ := m.Part.Body.(SinglePart)
	report, err := ParseStatusReport(body.Content)
	return report, err == nil
}

func isStatus(body Body) bool {
	single, ok := body.(SinglePart)
	name, _ := parseMediaType(single.ContentType)
	return ok && name == MediaTypeStatus
}
