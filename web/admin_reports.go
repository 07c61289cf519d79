package web

import "time"

// ReportedMessage is a message in a report that was verified.
type ReportedMessage struct {
	Sent time.Time
	Text string // empty: it is not text
}

// ReportRow is a report of abuse that nobody has dealt with yet.
type ReportRow struct {
	ID         int64
	At         time.Time
	Abuser     string // address
	Reporter   string // address, or "" if it was not told
	Provider   string // where the report came from
	Note       string
	Messages   []ReportedMessage
	Unverified int // messages in it that could not be verified
}

// ReportsView is the part of the administrator's page about reports.
type ReportsView struct {
	Action     string // where "handled" is posted
	Verified   []ReportRow
	Unverified []ReportRow
	More       int // open reports that are not in the lists
}
