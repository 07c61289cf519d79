package server

import (
	"net/http"
	"strings"
	"testing"

	"kith/db"
)

// TestRA4AdministratorReadsReports stores reports as the hub does, and has them read and closed by an administrator.
func TestRA4AdministratorReadsReports(t *testing.T) {
	s := newSite(t)
	admin := s.withAdmin()
	bob := s.visitor()
	bob.join(admin.invite(), "bob", "Bob")
	const evil = `<script>alert(1)</script>`
	err := s.db.Write(t.Context(), func(tx *db.Tx) error {
		for i, r := range []db.Report{
			{Abuser: "mimi://b.example/u/mallory", Reporter: "mimi://localhost/u/bob", Provider: "localhost", Note: evil,
				Messages: []db.ReportedMessage{{Time: 1, Data: []byte{1}, Frank: []byte{2}, Text: evil}}},
			{Abuser: "mimi://b.example/u/eve", Provider: "c.example", Note: "made up", Unverified: 1},
		} {
			r.Hash, r.At, r.Room = []byte{byte(i)}, s.now().UnixMilli(), "mimi://localhost/r/x"
			if err := tx.AddReport(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	list := admin.get("/admin").id("admin-reports").Find(`[data-testid="report"]`)
	if list.Length() != 2 || strings.TrimSpace(list.First().Find("blockquote").Text()) != evil ||
		!strings.Contains(list.First().Text(), "mallory@b.example, reported by bob@localhost") ||
		!strings.Contains(list.Last().Text(), "eve@b.example, reported by somebody at c.example") || list.Find("script").Length() != 0 {
		t.Fatalf("reports: %s", list.Text())
	}
	id := list.First().Find(`[data-testid="report-handled"]`).AttrOr("value", "")
	if got := bob.post("/admin/report/handled", "id", id); got.StatusCode != http.StatusForbidden {
		t.Errorf("somebody else closes a report: %d", got.StatusCode)
	}
	for range 2 { // also when another administrator was faster
		if got := admin.post("/admin/report/handled", "id", id); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/admin#reports" {
			t.Errorf("closing: %d", got.StatusCode)
		}
	}
	list = admin.get("/admin").id("admin-reports").Find(`[data-testid="report"]`)
	if list.Length() != 1 || !strings.Contains(list.Text(), "eve") {
		t.Errorf("after closing: %s", list.Text())
	}
	if got := admin.post("/admin/report/handled", "id", "x"); got.StatusCode != http.StatusNotFound {
		t.Errorf("nonsense: %d", got.StatusCode)
	}
	if log := s.log.String(); strings.Contains(log, "mallory") || strings.Contains(log, "made up") {
		t.Error("the log tells what was reported")
	}
}
