package server

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"kith/db"
	"kith/mimi"
	"kith/web"
)

const (
	peersPath     = "/admin/peers"
	maxPeersShown = 500
)

// peersPage shows the other providers to the administrator.
func (s *Server) peersPage(w http.ResponseWriter, r *http.Request, _ principal) error {
	view := web.PeersView{}
	query := r.URL.Query()
	if domain, err := mimi.NewProviderID(query.Get("changed")); err == nil {
		view.Notice = web.T("peers.changed", "domain", domain.Host())
	} else if domain, err := mimi.NewProviderID(query.Get("gone")); err == nil {
		view.Notice = web.T("peers.gone", "domain", domain.Host())
	} else if query.Has("saved") {
		view.Notice = web.T("peers.mode_saved")
	}
	return s.renderPeers(w, r, http.StatusOK, view)
}

func (s *Server) renderPeers(w http.ResponseWriter, r *http.Request, status int, view web.PeersView) error {
	mode, list, err := s.chat.PeerStates(r.Context())
	if err != nil {
		return err
	}
	view.Page = s.page(r)
	view.Path = peersPath
	view.Back, view.Mode, view.Modes = "/admin", string(mode), []string{string(modeOpen), string(modeDeny), string(modeAllow)}
	view.Action.Mode, view.Action.Add = peersPath+"/mode", peersPath+"/add"
	view.Off = s.cfg.Dev && s.cfg.Federation == ""
	for _, p := range list[:min(len(list), maxPeersShown)] {
		view.Peers = append(view.Peers, peerRow(mode, p, s.now()))
	}
	view.More = max(0, len(list)-maxPeersShown)
	// What needs a person comes first.
	slices.SortStableFunc(view.Peers, func(a, b web.PeerRow) int { return peerOrder[a.Kind] - peerOrder[b.Kind] })
	return s.render(w, r, status, web.PeersPage(view))
}

var peerOrder = map[string]int{"bad": 0, "wait": 1, "good": 2, "off": 3}

// peerRow puts into words how a provider is.
func peerRow(mode peerMode, p peerState, now time.Time) web.PeerRow {
	row := web.PeerRow{Domain: p.Domain, LastOK: timeOf(p.LastOK), Away: p.awaySince, Rooms: p.waiting.Rooms, Events: p.waiting.Events,
		Since: timeOf(p.waiting.Since), Parked: p.waiting.Parked, Expires: timeOf(p.ExpiresAt), Refused: int(min(p.refused, 1<<30)),
		Why: p.refusal, Offered: p.offered,
		Action: peersPath + "/change?" + url.Values{"domain": {p.Domain}, "offered": p.offered}.Encode()}
	row.Kind, row.State, row.Advice = peerWords(p, now)
	row.Actions = peerActions(mode, p)
	return row
}

func peerWords(p peerState, now time.Time) (kind string, state, advice web.Text) {
	switch {
	case p.Suspended != 0:
		return "off", web.T("peers.is_suspended"), web.Text{}
	case !p.admitted:
		return "off", web.T("peers.is_refused"), web.Text{}
	case len(p.offered) > 0:
		return "bad", web.T("peers.is_new_identity"), web.T("peers.new_identity_advice")
	case slices.Contains(peerProblems, p.Error):
		kind = "bad"
		if p.Error == peerBusy || p.LastOK != 0 && now.Sub(timeOf(p.LastOK)) < time.Hour {
			kind = "wait"
		}
		return kind, web.T("peers.is_" + p.Error), web.T("peers." + p.Error + "_advice")
	case p.LastOK == 0:
		return "wait", web.T("peers.is_never"), web.Text{}
	}
	return "good", web.T("peers.is_good"), web.Text{}
}

func peerActions(mode peerMode, p peerState) []web.PeerAction {
	var all []web.PeerAction
	add := func(change peerChange, good bool) {
		all = append(all, web.PeerAction{Name: string(change), Text: web.T("peers.do_" + string(change)), Good: good})
	}
	if len(p.offered) > 0 {
		add(peerAccept, false)
	}
	if p.admitted && (p.Error != "" || p.waiting.Events > 0) {
		add(peerTry, true)
	}
	if p.Suspended != 0 {
		add(peerResume, true)
	} else if p.FirstSeen != 0 {
		add(peerSuspend, false)
	}
	if p.Verdict != db.VerdictNone {
		add(peerForget, false)
	}
	if mode == modeAllow && p.Verdict != db.VerdictAllow || p.Verdict == db.VerdictDeny {
		add(peerAllow, true)
	}
	if mode == modeDeny && p.Verdict != db.VerdictDeny || p.Verdict == db.VerdictAllow {
		add(peerDeny, false)
	}
	return all
}

func timeOf(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis)
}

// audit is a line in the audit log as part of a transaction.
func (s *Server) audit(p principal, action string) func(*db.Tx) error {
	return func(tx *db.Tx) error {
		return tx.Audit(db.AuditEntry{At: s.now().UnixMilli(), Actor: p.Account.ID, Action: action})
	}
}

func (s *Server) peersMode(w http.ResponseWriter, r *http.Request, p principal) error {
	if err := readForm(w, r); err != nil {
		return badForm(err)
	}
	mode := peerMode(r.PostForm.Get("mode"))
	if !mode.valid() {
		return badForm(errPeerChange)
	}
	if err := s.chat.SetPeerMode(r.Context(), mode, s.audit(p, "peers "+string(mode))); err != nil {
		return err
	}
	http.Redirect(w, r, peersPath+"?saved", http.StatusSeeOther)
	return nil
}

// peersAdd gives a verdict on a domain that is typed in.
func (s *Server) peersAdd(w http.ResponseWriter, r *http.Request, p principal) error {
	if err := readForm(w, r); err != nil {
		return badForm(err)
	}
	entered := r.PostForm.Get("domain")
	domain, err := mimi.NewProviderID(strings.ToLower(strings.TrimSuffix(strings.TrimSpace(entered), ".")))
	if err != nil || domain == s.identity.provider {
		view := web.PeersView{Domain: web.Field{Value: clip(entered), Error: web.T("peers.domain_bad")}}
		return s.renderPeers(w, r, http.StatusUnprocessableEntity, view)
	}
	change := peerChange(r.PostForm.Get("verdict"))
	if change != peerAllow && change != peerDeny {
		return badForm(errPeerChange)
	}
	return s.changePeer(w, r, p, domain, change)
}

func (s *Server) peersChange(w http.ResponseWriter, r *http.Request, p principal) error {
	if err := readForm(w, r); err != nil {
		return badForm(err)
	}
	domain, err := mimi.NewProviderID(r.URL.Query().Get("domain"))
	if err != nil || domain == s.identity.provider {
		return badForm(errPeerChange)
	}
	return s.changePeer(w, r, p, domain, peerChange(r.PostForm.Get("do")))
}

func (s *Server) changePeer(w http.ResponseWriter, r *http.Request, p principal, domain mimi.ProviderID, change peerChange) error {
	err := s.chat.ChangePeer(r.Context(), domain, change, r.URL.Query()["offered"], s.audit(p, "peer "+string(change)+" "+domain.Host()))
	outcome := "changed"
	switch {
	case errors.Is(err, errPeerChange):
		return badForm(err)
	case errors.Is(err, db.ErrNotFound): // somebody else was faster
		outcome = "gone"
	case err != nil:
		return err
	}
	http.Redirect(w, r, peersPath+"?"+outcome+"="+url.QueryEscape(domain.Host()), http.StatusSeeOther)
	return nil
}
