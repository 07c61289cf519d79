package web

import "time"

// PeersView is the page of the other providers.
type PeersView struct {
	Page
	Back   string // the administrator's page
	Mode   string // "open", "deny" or "allow"
	Modes  []string
	Action struct{ Mode, Add string } // where the forms are posted
	Off    bool                       // this server has nothing to do with others
	Domain Field                      // what was entered to be added
	Peers  []PeerRow
	More   int // providers that are not shown
	Notice Text
}

// PeerRow is one other provider.
type PeerRow struct {
	Domain  string
	Kind    string // "good", "wait", "bad" or "off", for its colour
	State   Text   // in words, how it is
	Advice  Text   // and what can be done, if anything
	LastOK  time.Time
	Away    time.Time // since when it takes nothing
	Rooms   int       // in which something waits for it
	Events  int
	Since   time.Time // when the oldest of that was sent
	Parked  int       // rooms of which it refuses the events
	Expires time.Time // of the certificate it has shown last
	Refused int       // its requests that were refused since the server started
	Why     string    // the code of the last one
	Offered []string  // fingerprints of its new identity
	Action  string    // where what is wanted of it is posted
	Actions []PeerAction
}

// PeerAction is a button.
type PeerAction struct {
	Name string // what is posted
	Text Text
	Good bool // the one to press
}

// facts are the lines about a provider, those that say something.
func (p PeerRow) facts(l Lang) (lines []string) {
	if !p.LastOK.IsZero() {
		lines = append(lines, l.T("peers.last_ok", "when", l.DateTime(p.LastOK)))
	}
	if p.Events > 0 {
		lines = append(lines, l.Count("peers.waiting_events", p.Events)+" "+l.Count("peers.waiting_rooms", p.Rooms)+" "+
			l.T("peers.waiting_since", "when", l.DateTime(p.Since)))
	}
	if !p.Away.IsZero() {
		lines = append(lines, l.T("peers.away_since", "when", l.DateTime(p.Away)))
	}
	if p.Parked > 0 {
		lines = append(lines, l.Count("peers.parked", p.Parked))
	}
	if !p.Expires.IsZero() {
		lines = append(lines, l.T("peers.expires", "when", l.DateTime(p.Expires)))
	}
	if p.Refused > 0 {
		lines = append(lines, l.Count("peers.refused", p.Refused)+" "+l.T("peers.refused_why", "code", p.Why))
	}
	return lines
}

func (v PeersView) domain() fieldView {
	return fieldView{id: "peers-domain", name: "domain", label: v.Lang.T("peers.domain"), kind: "text", value: v.Domain.Value,
		fault: v.Lang.Text(v.Domain.Error), autocomplete: "off", plain: true}
}
