package client

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"strings"

	"kith/mimi"
	"kith/mimi/wire"
	"kith/web/api"
)

// maxSearch is the longest search text, in octets.
const maxSearch = 200

// handle is the short form of a user's address: name, or name@domain at another provider.
func (e *engine) handle(u mimi.UserID) string {
	if u.Provider() == e.user.Provider() {
		return u.Name()
	}
	return u.Name() + "@" + u.Provider().Host()
}

// name is what to call a user: the display name, or the short form of the address until that is known.
func (e *engine) name(u mimi.UserID) string {
	if u == e.user && e.dev != nil && e.dev.displayName != "" {
		return e.dev.displayName
	}
	if n := e.names[u]; n != "" {
		return n
	}
	e.wantName(u)
	return e.handle(u)
}

// wantName asks for a display name that is not known, together with others.
func (e *engine) wantName(u mimi.UserID) {
	if u.IsZero() || u == e.user || e.names[u] != "" || e.asking[u] {
		return
	}
	e.asking[u] = true
	if e.ready() && !e.namesAsked {
		e.askNames()
	}
}

// askNames asks for all names wanted, and for the known ones once per connection: people change them.
func (e *engine) askNames() {
	if e.namesAsked || len(e.asking)+len(e.names) == 0 {
		return
	}
	e.namesAsked = true
	e.spawn(func(ctx context.Context) {
		var users []mimi.UserID
		err := e.do(ctx, func() error {
			for u := range e.asking {
				users = append(users, u)
			}
			for u := range e.names {
				users = append(users, u)
			}
			clear(e.asking)
			return nil
		})
		if err != nil {
			return
		}
		found, err := e.fetchNames(ctx, users)
		_ = e.do(ctx, func() error {
			e.namesAsked = false
			for _, u := range users {
				if _, ok := found[u]; !ok && err == nil && e.names[u] == "" {
					e.names[u] = e.handle(u) // nobody knows another one: do not ask again and again
				}
			}
			if len(e.asking) > 0 && e.ready() {
				e.askNames()
			}
			return nil
		})
	})
}

// fetchNames asks the provider for profiles and remembers them. Unknown users are absent from the result.
func (e *engine) fetchNames(ctx context.Context, users []mimi.UserID) (map[mimi.UserID]string, error) {
	if len(users) == 0 {
		return nil, nil
	}
	var list api.StringList
	for _, u := range users {
		list = append(list, u.String())
	}
	body, err := list.Bytes()
	if err == nil {
		body, err = e.call(ctx, api.OpProfiles, "", body)
	}
	if err != nil {
		return nil, err
	}
	profiles, err := api.UnmarshalProfileList(body)
	if err != nil {
		return nil, err
	}
	found := map[mimi.UserID]string{}
	for _, p := range profiles {
		if u, err := mimi.ParseUserID(p.User); err == nil && slices.Contains(users, u) {
			found[u] = p.DisplayName
		}
	}
	return found, e.do(ctx, func() error { return e.learnNames(found) })
}

// learnNames stores names that are new.
func (e *engine) learnNames(found map[mimi.UserID]string) error {
	b := new(batch)
	for u, name := range found {
		if u == e.user || name == "" || e.names[u] == name {
			continue
		}
		e.names[u] = name
		b.put(keyName+u.String(), []byte(name))
	}
	if len(b.ops) == 0 {
		return nil
	}
	b.then = append(b.then, func() {
		e.roomsChanged = true
		for _, r := range e.rooms {
			if r.shown() {
				e.cfg.Post(View{ViewTimeline, RoomRef{r.id.String()}})
			}
		}
	})
	return e.commit(b)
}

// search finds people by exact name or part of the display name.
func (e *engine) search(ctx context.Context, text string) ([]PersonView, error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxSearch {
		return nil, nil
	}
	found := map[mimi.UserID]PersonView{}
	err := e.query(ctx, "", wire.QueryElement{SearchType: wire.SearchPartialName, SearchValue: text}, found)
	if err != nil {
		return nil, err
	}
	if u, err := e.address(text); err == nil {
		q := wire.QueryElement{SearchType: wire.SearchHandle, SearchValue: u.String()}
		if u.Provider() == e.user.Provider() {
			err = e.query(ctx, "", q, found)
		} else if e.query(ctx, u.Provider().String(), q, found) != nil {
			e.drop("search at another provider") // what was found here is worth showing
		}
		if err != nil {
			return nil, err
		}
	}
	delete(found, e.user)
	list := make([]PersonView, 0, len(found))
	for _, p := range found {
		list = append(list, p)
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := list[i], list[j]
		return cmp.Or(cmp.Compare(a.DisplayName, b.DisplayName), cmp.Compare(a.User, b.User)) < 0
	})
	return list, nil
}

// query asks a provider, or our own if none is named (IQ-1). What others say of people who are not theirs is not heard.
func (e *engine) query(ctx context.Context, target string, q wire.QueryElement, found map[mimi.UserID]PersonView) error {
	body, err := (&wire.IdentifierRequest{QueryElements: []wire.QueryElement{q}}).Bytes()
	if err == nil {
		body, err = e.call(ctx, api.OpIdentifierQuery, target, body)
	}
	if err != nil {
		return err
	}
	resp, err := wire.UnmarshalIdentifierResponse(body)
	if err != nil || resp.ResponseCode != wire.QuerySuccess {
		return err
	}
	foreign := func(u mimi.UserID) bool { return target != "" && u.Provider().String() != target }
	for _, u := range resp.URI {
		if foreign(u) {
			continue
		}
		found[u] = PersonView{User: u.String(), Name: e.handle(u), DisplayName: e.handle(u)}
	}
	for _, p := range resp.FoundProfiles {
		if foreign(p.StableURI) {
			continue
		}
		person := PersonView{User: p.StableURI.String(), Name: e.handle(p.StableURI), DisplayName: e.handle(p.StableURI)}
		for _, f := range p.Fields {
			if f.FieldSource == wire.FieldVCard && f.FieldName == "FN" && len(f.FieldValue) > 0 {
				person.DisplayName = strings.ToValidUTF8(string(f.FieldValue), "\uFFFD")
			}
		}
		found[p.StableURI] = person
	}
	return nil
}
