package servertest_test

import (
	"errors"
	"testing"

	"kith/db"
	"kith/server/servertest"
	"kith/web/client"
)

// newest is the newest message of a room as a user has it.
func newest(t *testing.T, u *servertest.User, room string) client.MessageView {
	t.Helper()
	page, err := u.Session.Timeline(ctx, room, "", 1)
	must(t, err)
	if len(page.Messages) != 1 {
		t.Fatal("no message")
	}
	return page.Messages[0]
}

// reports are the open reports at a provider.
func reports(t *testing.T, p *servertest.Provider) (verified, unverified []db.Report) {
	t.Helper()
	must(t, p.Read(ctx, func(tx *db.Tx) (err error) {
		if verified, err = tx.OpenReports(true, 100); err != nil {
			return err
		}
		unverified, err = tx.OpenReports(false, 100)
		return err
	}))
	return verified, unverified
}

// TestRA1ReportGoesToTheHub: Bob at b reports what Alice wrote in a room of a, and Alice what Bob wrote. Both messages were
// franked by a, over both providers (FR-5), and both reports are a's, verified. Of what nobody else sent, or one wrote
// oneself, there is nothing to report.
func TestRA1ReportGoesToTheHub(t *testing.T) {
	providers(t, func(_ *servertest.Net, a, b, _ *servertest.Provider) {
		alice, bob := a.User("alice"), b.User("bob")
		online(t, alice, bob)
		must(t, servertest.Acquaint(ctx, alice, bob))
		club, err := alice.Session.NewGroup(ctx, "club", nil)
		must(t, err)
		room := club.ID
		must(t, alice.Session.AddMembers(ctx, room, []string{bob.Account.User.String()}))
		until(t, "bob is in", has(bob, room))
		for _, step := range []struct {
			from, to *servertest.User
			text     string
		}{{alice, bob, "you fool"}, {bob, alice, "you too"}} {
			_, err = step.from.Session.Send(ctx, room, step.text)
			must(t, err)
			until(t, step.text+" arrives", func() bool { return newest(t, step.to, room).Text == step.text })
			m := newest(t, step.to, room)
			if !m.Reportable || newest(t, step.from, room).Reportable {
				t.Errorf("%s: reportable for the receiver %t", step.text, m.Reportable)
			}
			must(t, step.to.Session.Report(ctx, room, []string{m.ID}, "rude"))
			var refusal *client.Error
			if err := step.from.Session.Report(ctx, room, []string{m.ID}, ""); !errors.As(err, &refusal) || refusal.Code != client.CodeNotReportable {
				t.Errorf("one's own: %v", err)
			}
		}
		verified, unverified := reports(t, a)
		if len(verified) != 2 || len(unverified) != 0 {
			t.Fatalf("%d verified, %d unverified", len(verified), len(unverified))
		}
		for i, want := range []struct{ abuser, reporter, provider, text string }{
			{"mimi://b.example/u/bob", "mimi://a.example/u/alice", "a.example", "you too"},
			{"mimi://a.example/u/alice", "mimi://b.example/u/bob", "b.example", "you fool"},
		} {
			r := verified[i]
			if r.Abuser != want.abuser || r.Reporter != want.reporter || r.Provider != want.provider || r.Room != room ||
				len(r.Messages) != 1 || r.Messages[0].Text != want.text || r.Note != "rude" || r.Unverified != 0 {
				t.Errorf("%+v", r)
			}
		}
		if verified, unverified := reports(t, b); len(verified)+len(unverified) != 0 {
			t.Error("a follower keeps reports")
		}
	})
}
