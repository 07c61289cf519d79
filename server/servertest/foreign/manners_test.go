package foreign_test

import (
	"net/http"
	"testing"
	"time"

	"kith/mimi/mls"
	"kith/mimi/policy"
	"kith/mimi/wire"
	"kith/server/servertest/foreign"
)

// TestNT11HubsOfOtherManners goes through the life of a guest at hubs that do what the drafts permit, but ours does not.
func TestNT11HubsOfOtherManners(t *testing.T) {
	for _, tt := range []struct {
		name    string
		manners foreign.Manners
		change  func(*foreign.Provider) func(mls.AppDataDictionary) (mls.AppDataDictionary, error)
	}{
		// Section 5.5: "The hub is not expected to forward the client's own message to the client or its provider."
		{name: "what we have sent does not come back", manners: foreign.Manners{Silent: true}},
		{name: "everything comes three times", manners: foreign.Manners{Repeat: 2}},
		{name: "events come together", manners: foreign.Manners{Batch: 300 * time.Millisecond}},
		{name: "events come late", manners: foreign.Manners{Batch: 4 * time.Second}},
		{name: "again in other portions", manners: foreign.Manners{Rebatch: true, Batch: 50 * time.Millisecond}},
		{name: "silent, and again in other portions", manners: foreign.Manners{Silent: true, Rebatch: true, Repeat: 1, Batch: 50 * time.Millisecond}},
		// A38
		{name: "other codes of success", manners: foreign.Manners{Status: http.StatusAccepted, BodyCode: http.StatusCreated, Consents: http.StatusNotFound}},
		{name: "no content", manners: foreign.Manners{Status: http.StatusNoContent, BodyCode: http.StatusNonAuthoritativeInfo}},
		{name: "HTTP/1.1 only", manners: foreign.Manners{Protocols: []string{"http/1.1"}}},
		// RS-3 is about our rooms.
		{name: "no safe AAD", manners: foreign.Manners{Strip: []mls.ComponentID{mls.ComponentSafeAAD}}},
		{name: "no media types", manners: foreign.Manners{Strip: []mls.ComponentID{mls.ComponentContentMediaTypes}}},
		{name: "nothing but what is needed", manners: foreign.Manners{Silent: true, Strip: []mls.ComponentID{mls.ComponentSafeAAD, mls.ComponentContentMediaTypes,
			policy.StatusNotificationPolicy, policy.AssetPolicy, policy.MessageExpiration}}},
		{name: "other media types first", change: func(*foreign.Provider) func(mls.AppDataDictionary) (mls.AppDataDictionary, error) { return plainFirst }},
		// PL-5 is about our hub.
		{name: "the hub is no participant", change: func(p *foreign.Provider) func(mls.AppDataDictionary) (mls.AppDataDictionary, error) { return p.Unlist }},
		{name: "Welcome without a tree", manners: foreign.Manners{Tree: wire.TreeDistributionService}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			visit(t, tt.manners, func(l *land) {
				var change func(mls.AppDataDictionary) (mls.AppDataDictionary, error)
				if tt.change != nil {
					change = tt.change(l.other)
				}
				id, err := l.oscar.Found("club", change)
				must(t, err)
				must(t, l.oscar.Add(id, l.alice.Account.User))
				guest(l, id)
			})
		})
	}
}

// plainFirst lets text/plain be the media type of what states none.
func plainFirst(dict mls.AppDataDictionary) (mls.AppDataDictionary, error) {
	data, err := mls.MediaTypeList{{Type: "text/plain"}, {Type: "application/mimi-content"}}.Bytes()
	return dict.Set(mls.ComponentContentMediaTypes, data), err
}
