package server

import (
	"context"
	"errors"
	"strings"

	"kith/db"
	"kith/mimi"
	"kith/mimi/wire"
	"kith/web/api"
)

const (
	maxFound    = 20  // users in the answer to a query (IQ-3)
	maxElements = 8   // conditions in a query
	maxSearch   = 256 // octets of a searched value
	maxProfiles = 1000
)

// rooms lists where the account is a participant.
func (s *socket) rooms() ([]byte, error) {
	var list api.StringList
	err := s.m.DB.Read(s.context, func(tx *db.Tx) (err error) {
		list, err = tx.RoomsOf(s.account.User.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return list.Bytes()
}

// profiles tells the names of users of this provider, and of others as far as they tell us.
func (s *socket) profiles(r *api.Request) ([]byte, error) {
	users, err := api.UnmarshalStringList(r.Body)
	if err != nil {
		return nil, opBadRequest
	}
	if len(users) > maxProfiles {
		return nil, opTooLarge
	}
	var list api.ProfileList
	var abroad []mimi.UserID
	err = s.m.DB.Read(s.context, func(tx *db.Tx) error {
		for _, uri := range users {
			user, err := mimi.ParseUserID(uri)
			if err != nil {
				return opBadRequest
			}
			if user.Provider() != s.m.domain {
				abroad = append(abroad, user)
				continue
			}
			account, err := s.m.account(tx, user)
			if errors.Is(err, db.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			list = append(list, api.Profile{User: uri, DisplayName: account.DisplayName})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(abroad) > 0 {
		list = append(list, s.namesAbroad(abroad)...)
	}
	return list.Bytes()
}

// account finds the account of one of our users.
func (m *messenger) account(tx *db.Tx, user mimi.UserID) (db.Account, error) {
	if user.Provider() != m.domain || user.IsPseudonym() {
		return db.Account{}, db.ErrNotFound
	}
	return tx.AccountByName(user.Name())
}

// identifierQuery finds users of this provider or, with a target, of another.
func (s *socket) identifierQuery(r *api.Request) ([]byte, error) {
	if r.Target == "" || r.Target == s.m.domain.String() {
		return s.m.queryHere(s.context, r.Body)
	}
	domain, err := mimi.ParseProviderID(r.Target)
	if err != nil {
		return nil, opBadRequest
	}
	return s.m.peers.ask(s.context, domain, endpointIdentifierQuery, map[string]string{"domain": domain.String()}, r.Body)
}

// queryHere finds users of this provider. All elements must match (IQ-2).
//
// draft-ietf-mimi-protocol-06, Section 5.8
func (m *messenger) queryHere(ctx context.Context, body []byte) ([]byte, error) {
	req, err := wire.UnmarshalIdentifierRequest(body)
	if err != nil || len(req.QueryElements) == 0 || len(req.QueryElements) > maxElements {
		return nil, opBadRequest
	}
	query := make([]func(db.Account) bool, 0, len(req.QueryElements))
	broadest := ""
	for _, e := range req.QueryElements {
		if len(e.SearchValue) > maxSearch || strings.TrimSpace(e.SearchValue) == "" {
			return nil, opBadRequest
		}
		match, text := m.condition(e)
		if match == nil {
			// IQ-3: what is not searchable is said to be so.
			return (&wire.IdentifierResponse{ResponseCode: wire.QueryUnsupportedField}).Bytes()
		}
		query = append(query, match)
		if len(text) > len(broadest) {
			broadest = text
		}
	}
	var found []db.Account
	err = m.DB.Read(ctx, func(tx *db.Tx) (err error) {
		found, err = findAccounts(tx, broadest, query)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m.found(found)
}

// condition turns a query element into a test of an account and a text by which the database can preselect.
func (m *messenger) condition(e wire.QueryElement) (match func(db.Account) bool, text string) {
	switch e.SearchType {
	case wire.SearchHandle:
		user, err := mimi.ParseUserID(e.SearchValue)
		if err != nil || user.Provider() != m.domain || user.IsPseudonym() {
			return func(db.Account) bool { return false }, e.SearchValue
		}
		return func(a db.Account) bool { return a.Username == user.Name() }, user.Name()
	case wire.SearchNick:
		return func(a db.Account) bool { return a.Username == e.SearchValue }, e.SearchValue
	case wire.SearchPartialName:
		folded := strings.ToLower(e.SearchValue)
		return func(a db.Account) bool { return strings.Contains(strings.ToLower(a.DisplayName), folded) }, ""
	}
	return nil, ""
}

// findAccounts returns up to maxFound accounts that meet all conditions. text, if not empty, is a username.
func findAccounts(tx *db.Tx, text string, query []func(db.Account) bool) (found []db.Account, err error) {
	var candidates []db.Account
	if text != "" {
		a, err := tx.AccountByName(text)
		if err != nil && !errors.Is(err, db.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			candidates = []db.Account{a}
		}
	} else if candidates, err = tx.Accounts(); err != nil {
		// All of them: SQLite folds the case of ASCII letters only, names are in every script.
		return nil, err
	}
next:
	for _, a := range candidates {
		if a.DisabledAt != 0 || len(found) == maxFound {
			continue
		}
		for _, match := range query {
			if !match(a) {
				continue next
			}
		}
		found = append(found, a)
	}
	return found, nil
}

// found is the answer to a query.
func (m *messenger) found(accounts []db.Account) ([]byte, error) {
	resp := &wire.IdentifierResponse{ResponseCode: wire.QuerySuccess}
	if len(accounts) == 0 {
		resp.ResponseCode = wire.QueryNotFound
	}
	for _, a := range accounts {
		user, err := mimi.NewUserID(m.domain, a.Username)
		if err != nil {
			return nil, err
		}
		resp.URI = append(resp.URI, user)
		resp.FoundProfiles = append(resp.FoundProfiles, wire.UserProfile{StableURI: user, Fields: []wire.ProfileField{
			{FieldSource: wire.FieldVCard, FieldName: "FN", FieldValue: []byte(a.DisplayName)}}})
	}
	return resp.Bytes()
}
