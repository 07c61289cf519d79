package server

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/web"
)

// maxReports is how many reports of each kind the administrator's page shows.
const maxReports = 20

// address is how a user is written for people: alice@a.example.
func address(uri string) string {
	u, err := mimi.ParseUserID(uri)
	if err != nil {
		return ""
	}
	return u.Name() + "@" + u.Provider().Host()
}

// reportsView reads the open reports.
func reportsView(tx *db.Tx) (web.ReportsView, error) {
	v := web.ReportsView{Action: "/admin/report/handled"}
	for _, part := range []struct {
		verified bool
		list     *[]web.ReportRow
	}{{true, &v.Verified}, {false, &v.Unverified}} {
		rows, err := tx.OpenReports(part.verified, maxReports)
		if err != nil {
			return v, err
		}
		n, err := tx.CountReports(part.verified)
		if err != nil {
			return v, err
		}
		v.More += n - len(rows)
		for _, r := range rows {
			*part.list = append(*part.list, reportRow(r))
		}
	}
	return v, nil
}

func reportRow(r db.Report) web.ReportRow {
	row := web.ReportRow{ID: r.ID, At: time.UnixMilli(r.At), Abuser: address(r.Abuser), Reporter: address(r.Reporter),
		Provider: r.Provider, Note: r.Note, Unverified: r.Unverified}
	for _, m := range r.Messages {
		row.Messages = append(row.Messages, web.ReportedMessage{Sent: time.UnixMilli(m.Time), Text: m.Text})
	}
	return row
}

// reportHandled closes a report. One that is closed already, as by another administrator, is fine.
func (s *Server) reportHandled(w http.ResponseWriter, r *http.Request, p principal) error {
	if err := readForm(w, r); err != nil {
		return badForm(err)
	}
	id, err := strconv.ParseInt(r.PostForm.Get("id"), 10, 64)
	if err != nil {
		return errNotHere
	}
	err = s.db.Write(r.Context(), func(tx *db.Tx) error {
		if err := tx.HandleReport(id, p.Account.ID); err != nil {
			return err
		}
		return tx.Audit(db.AuditEntry{At: s.now().UnixMilli(), Actor: p.Account.ID, Action: "report_handled"})
	})
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	http.Redirect(w, r, "/admin#reports", http.StatusSeeOther)
	return nil
}
